//! Locks that name what is none of their bundle's business: nothing is asked for them anywhere but in the bundle's own
//! repository, unless the operator lets images stay at their origins (`origins::reach`).

use std::collections::BTreeSet;

use super::parts::{Mode, Setup, World, own_realm};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::ScriptedUpstream;
use crate::upstream::server::{Reply, Server};

#[tokio::test]
async fn a_lock_leads_to_no_host_and_to_no_other_repository() {
    for mode in Mode::ALL {
        let setup = Setup::new(mode);
        let (upstream, private, evil) =
            (ScriptedUpstream::start().await, ScriptedUpstream::start().await, Server::start(|_| Reply::ok("")).await);
        let secrets = ["neighbour", "elsewhere", "ours"].map(Bundle::image);
        let [neighbour, elsewhere, ours] = &secrets;
        upstream.put("secret/app", &neighbour.layout(Some("v1")));
        private.put("secret/app", &elsewhere.layout(Some("v1")));
        upstream.put("public/app", &ours.layout(None));
        let locks = [
            vec![format!("{}/secret/app@{}", upstream.authority(), neighbour.digest())],
            vec![format!("private.example/secret/app@{}", elsewhere.digest())],
            vec![format!("{}/secret/app@{}", private.authority(), elsewhere.digest())],
            vec![format!("{}/x/y@{}", evil.alias("").authority(), elsewhere.digest())],
            vec![format!("169.254.169.254/latest/meta-data@{}", elsewhere.digest())],
            // Which is there, whatever else the reference says.
            vec![format!("{}/public/app@{}", evil.alias("").authority(), ours.digest())],
        ];
        let mut bundles: Vec<Bundle> =
            locks.iter().map(|lock| BundleBuilder::with_lock(&lock_of(lock)).build()).collect();
        bundles.push(BundleBuilder::with_lock(&lock_of(&locks.concat())).build());
        for (index, bundle) in bundles.iter().enumerate() {
            upstream.put("public/app", &bundle.layout(Some(&format!("v{index}"))));
        }
        own_realm(&upstream, &setup.accepted());
        let further = format!("{{registry: private.example, url: '{}', client_credentials: false}}", private.url());
        let config = setup.config(upstream.url(), "");
        let config = match mode {
            Mode::Exchange => config.replace("upstreams: [", &format!("upstreams: [{further}, ")),
            Mode::PassThrough => config.replace("upstream: {", &format!("upstreams: [{further}]\nupstream: {{")),
            _ => format!("{config}upstreams: [{further}]\n"),
        };
        let world = World::new(&format!("{config}relocation: {{from_origin: []}}\n")).await;
        let (name, shown) = (setup.name("public/app"), setup.shown());
        // With several upstreams behind one host, the proxy asks for user and password itself.
        for (index, bundle) in bundles.iter().enumerate() {
            let target = format!("/v2/{name}/manifests/v{index}");
            let answer = world.get(&target, &[("authorization", &shown)]).await;
            assert_eq!(answer.status, 200, "{mode:?} {index}: {answer:?}");
            let is_original = answer.body == bundle.manifest.bytes;
            assert_eq!(is_original, index != 5, "{mode:?} {index}: only what is in the repository is colocated");
        }
        let paths: BTreeSet<String> = upstream.requests().into_iter().map(|seen| seen.path).collect();
        let astray: Vec<_> =
            paths.iter().filter(|path| !path.starts_with("/v2/public/app/") && *path != "/token").collect();
        assert!(astray.is_empty(), "{mode:?}: {astray:?}");
        assert_eq!((private.connections(), evil.connections()), (0, 0), "{mode:?}");
    }
}

//! One client that has the proxy rewrite without end.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::parts::{Mode, Setup, World, own_realm};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};

#[tokio::test]
async fn a_client_that_wants_much_keeps_no_other_waiting() {
    let setup = Setup::new(Mode::Open);
    let upstream = ScriptedUpstream::start().await;
    let image = Bundle::image("of all");
    let lock = lock_of(&[format!("registry.example/acme/app@{}", image.digest())]);
    let bundle = |name: &str| BundleBuilder::with_lock(&lock).file("name", name).build();
    upstream.put("acme/app", &image.layout(None));
    own_realm(&upstream, &setup.accepted());
    let gate = Gate::new();
    let greedy: Vec<Bundle> = (0..12).map(|index| bundle(&format!("greedy {index}"))).collect();
    for (index, bundle) in greedy.iter().enumerate() {
        upstream.put("acme/app", &bundle.layout(Some(&format!("greedy-{index}"))));
    }
    let modest = bundle("modest");
    upstream.put("acme/app", &modest.layout(Some("modest")));
    let config = format!(
        "{}relocation: {{max_passes: 2, max_passes_per_client: 1, deadline: 50s}}\n",
        setup.config(upstream.url(), "")
    );
    let world = World::new(&config).await;
    // A token first, so that the rules below stand before no other.
    assert_eq!(world.get("/v2/acme/app/tags/list", &[]).await.status, 200);
    for bundle in &greedy {
        let layer = format!("/v2/acme/app/blobs/{}", bundle.layer_digest());
        upstream.on(&layer).get().fails(Fault::Hold(gate.clone()));
    }
    let answered = AtomicUsize::new(0);
    let all = async {
        let ask = async |index: usize| {
            let answer = world.get(&format!("/v2/acme/app/manifests/greedy-{index}"), &[]).await;
            answered.fetch_add(1, Ordering::SeqCst);
            answer
        };
        let (a, b, c, d, e, f) = tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5));
        let (g, h, i, j, k, l) = tokio::join!(ask(6), ask(7), ask(8), ask(9), ask(10), ask(11));
        [a, b, c, d, e, f, g, h, i, j, k, l]
    };
    let other = async {
        upstream.reached("GET", "/v2/acme/app/manifests/greedy-*", 1).await;
        upstream.reached("GET", &format!("/v2/acme/app/blobs/{}", greedy[0].config_digest()), 1).await;
        let answer = world.ask_from(Ipv4Addr::new(127, 0, 0, 2), "GET", "/v2/acme/app/manifests/modest", &[]).await;
        assert_eq!(answered.load(Ordering::SeqCst), 0, "those of the first client still wait");
        gate.open();
        answer
    };
    let (all, modest_answer) = tokio::join!(all, other);
    assert_eq!(modest_answer.status, 200);
    assert_ne!(modest_answer.body, modest.manifest.bytes, "it is relocated");
    for (answer, bundle) in all.iter().zip(&greedy) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_ne!(answer.body, bundle.manifest.bytes);
    }
}

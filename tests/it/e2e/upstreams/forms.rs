//! Each form of a name, by each tool that has it: which lock comes of it, and that what the lock names can be pulled.

use super::puller::{Puller, images};
use super::{Behind, ENDPOINT, World, ready};
use crate::support::layout::Golden;
use serde_json::json;

/// A tool, what it is told to pull, and what the lock has to name then.
type Case = (Puller, String, String);

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_a_name_gets_a_lock_that_it_can_pull() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let mut further = world.sections();
    // The first is the default, under no prefix.
    let mut default = further[0].take();
    default["prefix"] = json!("none");
    let further: Vec<_> =
        further.as_array().into_iter().flatten().filter(|section| !section.is_null()).cloned().collect();
    let settings = world.settings().set("upstream", default).set("upstreams", further).set("access.allow_public", true);
    let front = world.serve(settings).await;

    let prefixed = |behind: &Behind| match behind.prefix {
        "passwords" => format!("{ENDPOINT}/{}", behind.golden.repository),
        _ => behind.prefixed(),
    };
    for behind in world.behind() {
        let (by_path, by_host, original) = (prefixed(behind), behind.hosted(), behind.original());
        let location = by_path.strip_suffix(&format!("/{}", behind.golden.repository)).expect("the endpoint");
        let (itself, own) = (format!("https://{ENDPOINT}"), format!("https://{}", behind.host));
        let cases: [Case; 8] = [
            (Puller::skopeo(&front.visitor), by_path.clone(), by_path.clone()),
            (Puller::skopeo(&front.visitor), by_host.clone(), by_host.clone()),
            (Puller::podman(&front.visitor, &[]), by_path.clone(), by_path.clone()),
            // A mirror is asked for its own names, and says nothing of the registry it stands for.
            (Puller::podman(&front.visitor, &[(behind.name, location)]), original.clone(), by_path.clone()),
            (Puller::podman(&front.visitor, &[(behind.name, behind.host)]), original.clone(), by_host.clone()),
            (Puller::ctr(&front.visitor, &[]).await, by_path.clone(), by_path.clone()),
            (Puller::ctr(&front.visitor, &[(behind.name, &itself)]).await, original.clone(), original.clone()),
            (Puller::ctr(&front.visitor, &[(behind.name, &own)]).await, original.clone(), original.clone()),
        ];
        for (puller, reference, target) in cases {
            puller.pull(&format!("{reference}:{}", Golden::TAG)).await;
            let lock = puller.lock();
            assert_eq!(lock, behind.lock_at(&target), "{} {reference}", puller.name());
            for image in images(&lock) {
                assert!(image.starts_with(&format!("{target}@sha256:")), "{image}");
                puller.pull(&image).await;
            }
        }
    }
    let asked = front.names.asked();
    assert!(asked.iter().all(|name| name.ends_with("colocate.example:443")), "nobody else was asked: {asked:?}");
    assert!(
        world.tokens.count(Some(super::PROXY), &format!("repository:{}:pull", world.tokened.golden.repository)) > 0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_nowhere_is_no_name() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let settings = world.settings().set("upstreams", world.sections()).set("access.allow_public", true);
    let front = world.serve(settings).await;
    let manifest = |name: &str| format!("/v2/{name}/manifests/{}", Golden::TAG);
    let repository = &world.passwords.golden.repository;
    for (host, path) in [
        (ENDPOINT, manifest(repository)),
        (ENDPOINT, manifest(&format!("mirror/{repository}"))),
        (ENDPOINT, manifest(&format!("tokens.example/{repository}"))),
        (ENDPOINT, manifest(repository) + "?ns=evil.example"),
        (ENDPOINT, manifest(repository) + "?ns=localhost"),
        // Not one of the proxy's names: as if it were the endpoint.
        ("evil.example", manifest(repository)),
    ] {
        let answer = front.get(&front.visitor, host, &path).await.expect(404);
        assert_eq!(answer.error_code().as_deref(), Some("NAME_UNKNOWN"), "{host} {path}");
    }
    // At a registry's own host, prefixes are part of its names.
    let path = manifest(&format!("{}/{repository}", world.passwords.prefix));
    let answer = front.get(&front.visitor, world.passwords.host, &path).await.expect(404);
    assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"));
    let path = manifest(repository) + "?ns=passwords.example";
    let answer = front.get(&front.visitor, "evil.example", &path).await.expect(200);
    assert_eq!(answer.header("oci-namespace"), Some("passwords.example"));
}

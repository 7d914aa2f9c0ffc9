//! Clients that the proxy knows: by passwords, and by certificates.

use std::fs;

use serde_json::json;

use super::puller::{Puller, images};
use super::{ENDPOINT, World, ready, text};
use crate::support::certificates::Authority;
use crate::support::layout::Golden;
use crate::support::process::succeed;
use crate::support::secrets::secret;

/// What tools say when they are not let in, and when they are let in and may not.
const UNAUTHORIZED: [&str; 3] = ["unauthorized", "401 Unauthorized", "authentication required"];
const DENIED: [&str; 3] = ["denied", "403 Forbidden", "403 (Forbidden)"];

#[tokio::test(flavor = "multi_thread")]
async fn passwords_let_in_who_has_one() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    // Not the passwords that the registries know.
    let (ann, ben) = (secret("ann's password"), secret("ben's password"));
    let lines = succeed("htpasswd", &["-Bbn", "ann", &ann]).await + &succeed("htpasswd", &["-Bbn", "ben", &ben]).await;
    let rules = json!([
        {"identity": "user:ben", "registry": "passwords.example", "allow": []},
        {"identity": "user:**", "allow": ["pull"]},
    ]);
    let settings = world
        .settings()
        .set("upstreams", world.sections())
        .set("access.mode", "htpasswd")
        .set("access.htpasswd", world.file("users", &lines))
        .set("access.rules", rules);
    let front = world.serve(settings).await;
    let nobody = front.visitor.clone();
    let (ann, wrong) = (nobody.clone().login("ann", &ann), nobody.clone().login("ann", "guessed"));
    let (ben, unknown) = (nobody.clone().login("ben", &ben), nobody.clone().login("carl", "guessed"));
    let bundle = |target: String| format!("{target}:{}", Golden::TAG);

    for behind in [&world.passwords, &world.certificates] {
        for puller in Puller::all(&ann).await {
            puller.pull(&bundle(behind.prefixed())).await;
            let lock = puller.lock();
            assert_eq!(lock, behind.lock_at(&behind.prefixed()), "{}", puller.name());
            puller.pull(&images(&lock)[0]).await;
        }
    }
    // By now all of it is in the cache, which is no reason to give it away.
    for access in [&wrong, &unknown, &nobody] {
        for puller in Puller::all(access).await {
            puller.refused(&bundle(world.passwords.prefixed()), &UNAUTHORIZED).await;
        }
    }
    for puller in Puller::all(&ben).await {
        puller.refused(&bundle(world.passwords.prefixed()), &DENIED).await;
        puller.pull(&bundle(world.certificates.prefixed())).await;
    }

    // `docker login` asks for the root, and takes a 200 for a yes.
    let challenge = || Some(r#"Basic realm="Colocate""#.to_owned());
    for host in [ENDPOINT, world.tokened.host, world.passwords.host] {
        assert_eq!(front.login(&ann, host).await, (200, None), "{host}");
        for access in [&nobody, &wrong, &unknown] {
            assert_eq!(front.login(access, host).await, (401, challenge()), "{host}");
        }
    }
    // A token is not for this proxy, and whether something is there is told to nobody.
    let bearer = nobody.clone().bearer(&secret("a token of another's"));
    assert_eq!(front.login(&bearer, ENDPOINT).await, (401, challenge()));
    let there = format!("/v2/passwords/{}/manifests/{}", world.passwords.golden.repository, Golden::TAG);
    for (access, status) in [(&nobody, 401), (&wrong, 401), (&ben, 403)] {
        let there = front.get(access, ENDPOINT, &there).await.expect(status);
        let absent = front.get(access, ENDPOINT, "/v2/passwords/absent/manifests/v1").await.expect(status);
        assert_eq!(there.body, absent.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_let_in_who_has_one() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let rules = json!([
        {"identity": "cn:ben", "registry": "tokens.example", "allow": []},
        {"identity": "cn:*", "allow": ["pull"]},
    ]);
    let settings = world
        .settings()
        .set("upstreams", world.sections())
        .set("server.tls.client_ca", text(world.members.file()))
        .set("access.mode", "certificate")
        .set("access.rules", rules);
    let front = world.serve(settings.clone()).await;
    let nobody = front.visitor.clone();
    let member = |name: &str| nobody.clone().presenting(&world.members.client(name));
    let (ann, ben) = (member("ann"), member("ben"));
    let others = world.directory.path().join("others");
    fs::create_dir(&others).expect("a directory for an authority");
    let stranger = nobody.clone().presenting(&Authority::new(&others).client("ann"));
    let bundle = format!("{}:{}", world.tokened.prefixed(), Golden::TAG);

    for puller in Puller::all(&ann).await {
        puller.pull(&bundle).await;
        let lock = puller.lock();
        assert_eq!(lock, world.tokened.lock_at(&world.tokened.prefixed()), "{}", puller.name());
        puller.pull(&images(&lock)[0]).await;
    }
    for puller in Puller::all(&ben).await {
        puller.refused(&bundle, &DENIED).await;
    }
    for access in [&nobody, &stranger] {
        for puller in Puller::all(access).await {
            puller.refused(&bundle, &["tls:", "EOF", "connection reset", "broken pipe"]).await;
        }
        let url = format!("{}/v2/", front.colocate.url());
        assert!(access.try_send(http::Method::GET, &url, &[], "").await.is_err());
    }
    // A password adds nothing, and takes nothing away.
    for access in [ann.clone(), ann.login("ann", "guessed"), ben] {
        assert_eq!(front.login(&access, ENDPOINT).await, (200, None));
    }

    // Where a certificate is not insisted on, who has none is told by an answer.
    let front = world.serve(settings.set("server.tls.client_certificate", "optional")).await;
    let (status, challenge) = front.login(&front.visitor, ENDPOINT).await;
    assert_eq!((status, challenge), (403, None));
    for puller in Puller::all(&front.visitor).await {
        puller.refused(&bundle, &DENIED).await;
    }
}

//! Clients that the registry knows, at an endpoint that leads to several: the proxy asks for their passwords, and shows
//! them to the one registry that they are for.

use serde_json::json;

use super::puller::{Puller, images};
use super::{ENDPOINT, Front, World, ready};
use crate::support::layout::Golden;
use crate::support::secrets::secret;

const UNAUTHORIZED: [&str; 3] = ["unauthorized", "401 Unauthorized", "authentication required"];

/// The registry with passwords gets what clients say; the one with tokens does not.
async fn serve(world: &World) -> Front {
    let mut passwords = world.section(&world.passwords);
    passwords["prefix"] = json!(world.passwords.prefix);
    let mut tokened = world.section(&world.tokened);
    tokened["prefix"] = json!(world.tokened.prefix);
    tokened["client_credentials"] = json!(false);
    tokened["auth"] = json!({"realms": [world.token_host()]});
    let settings = world.settings().set("upstreams", json!([passwords, tokened])).set("access.mode", "upstream");
    world.serve(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_at_the_endpoint_is_for_one_registry() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let front = serve(&world).await;
    let nobody = front.visitor.clone();
    let alice = nobody.clone().login("alice", &world.known["alice"]);
    let wrong = nobody.clone().login("alice", "guessed");
    let behind = &world.passwords;
    let bundle = format!("{}:{}", behind.prefixed(), Golden::TAG);
    for puller in Puller::all(&alice).await {
        puller.pull(&bundle).await;
        let lock = puller.lock();
        assert_eq!(lock, behind.lock_at(&behind.prefixed()), "{}", puller.name());
        puller.pull(&images(&lock)[0]).await;
    }
    let itself = format!("https://{ENDPOINT}");
    let by_name = Puller::ctr(&alice, &[(behind.name, &itself)]).await;
    by_name.pull(&format!("{}:{}", behind.original(), Golden::TAG)).await;
    assert_eq!(by_name.lock(), behind.lock_at(&behind.original()));
    for access in [&wrong, &nobody] {
        for puller in Puller::all(access).await {
            puller.refused(&bundle, &UNAUTHORIZED).await;
        }
    }
    // Of the other registry, everyone sees what everyone may see there, and alice no more.
    for access in [&alice, &nobody] {
        let skopeo = Puller::skopeo(access);
        skopeo.pull(&format!("{ENDPOINT}/{}/public/app:{}", world.tokened.prefix, Golden::TAG)).await;
        skopeo.refused(&format!("{}:{}", world.tokened.prefixed(), Golden::TAG), &["denied"]).await;
    }
    assert!(world.tokens.requests().iter().all(|asked| asked.user.is_none()), "alice's password went nowhere else");

    let challenge = Some(r#"Basic realm="Colocate""#.to_owned());
    assert_eq!(front.login(&alice, ENDPOINT).await, (200, None));
    for access in [&nobody, &wrong, &nobody.clone().bearer(&secret("a token of another's"))] {
        assert_eq!(front.login(access, ENDPOINT).await, (401, challenge.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_at_the_endpoint_buys_tokens() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let behind = &world.tokened;
    let mut section = world.section(behind);
    section["prefix"] = json!(behind.prefix);
    section["auth"] = json!({"realms": [world.token_host()]});
    let front = world.serve(world.settings().set("upstreams", json!([section])).set("access.mode", "upstream")).await;
    let nobody = front.visitor.clone();
    let login = |name: &str| nobody.clone().login(name, &world.known[name]);
    let (alice, bob, wrong) = (login("alice"), login("bob"), nobody.clone().login("alice", "guessed"));
    let bundle = format!("{}:{}", behind.prefixed(), Golden::TAG);
    for puller in Puller::all(&alice).await {
        puller.pull(&bundle).await;
        let lock = puller.lock();
        assert_eq!(lock, behind.lock_at(&behind.prefixed()), "{}", puller.name());
        for image in images(&lock) {
            puller.pull(&image).await;
        }
    }
    // For the name that the registry knows, and once for all of it.
    let scope = format!("repository:{}:pull", behind.golden.repository);
    assert_eq!(world.tokens.count(Some("alice"), &scope), 1);
    for access in [&bob, &wrong, &nobody] {
        for puller in Puller::all(access).await {
            puller.refused(&bundle, &[&UNAUTHORIZED[..], &["denied"]].concat()).await;
        }
    }
    // Whom the token server knows is let in, for whatever that is good for.
    let challenge = Some(r#"Basic realm="Colocate""#.to_owned());
    assert_eq!((front.login(&alice, ENDPOINT).await, front.login(&bob, ENDPOINT).await), ((200, None), (200, None)));
    for access in [&nobody, &wrong] {
        assert_eq!(front.login(access, ENDPOINT).await, (401, challenge.clone()));
    }
    // What everyone may read is read by those who give no name, and by those who are somebody else elsewhere.
    let public = format!("{ENDPOINT}/{}/public/app:{}", behind.prefix, Golden::TAG);
    for access in [&alice, &bob] {
        Puller::skopeo(access).pull(&public).await;
    }
    for puller in Puller::all(&nobody).await {
        puller.pull(&public).await;
    }
}

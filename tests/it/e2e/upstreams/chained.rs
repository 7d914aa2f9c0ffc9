//! One proxy in front of another, both private.

use serde_json::json;

use super::puller::{Puller, images};
use super::{ENDPOINT, Front, World, ready, text};
use crate::support::access::Access;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::Method;
use crate::support::layout::Golden;
use crate::support::process::succeed;
use crate::support::secrets::secret;

/// What the inner one is called.
const INNER: &str = "inner.example";

/// The outer one's section for the inner one, by an address, which is not how the token server is called.
fn section(world: &World, inner: &Colocate) -> serde_json::Value {
    json!({
        "registry": INNER,
        "url": format!("https://{}", inner.authority()),
        "ca_file": text(world.authority.file()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outer_one_has_a_password_for_the_inner_one() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let password = secret("the outer one's password");
    let users = succeed("htpasswd", &["-Bbn", "outer", &password]).await;
    let settings = world
        .settings()
        .set("endpoint", INNER)
        .set("upstreams", world.sections())
        .set("access.mode", "htpasswd")
        .set("access.htpasswd", world.file("users", &users));
    // With the helper, and so by the way that outer ones take.
    let inner = world.serve(settings).await;
    let mut section = section(&world, &inner.colocate);
    let file = world.file("outer", "out of date");
    section["credentials"] = json!({"username": "outer", "password_file": file});
    let outer = world.settings().set("upstream", section).set("access.allow_public", true);
    let outer = world.serve(outer).await;

    let skopeo = Puller::skopeo(&outer.visitor);
    for behind in world.behind() {
        skopeo.refused(&format!("{}:{}", behind.prefixed(), Golden::TAG), &["unauthorized", "denied"]).await;
    }
    world.file("outer", &password);
    for behind in world.behind() {
        // The inner one's names are the outer one's.
        let target = behind.prefixed();
        for puller in Puller::all(&outer.visitor).await {
            puller.pull(&format!("{target}:{}", Golden::TAG)).await;
            let lock = puller.lock();
            assert_eq!(lock, behind.lock_at(&target), "{}", puller.name());
            puller.pull(&images(&lock)[0]).await;
        }
    }
}

/// Two proxies between clients and the token registry, neither with anything of its own.
async fn passage(world: &World) -> (Colocate, Front) {
    let upstream = |settings: Settings, mut section: serde_json::Value| {
        section["auth"] = json!({"realms": [world.token_host()]});
        settings.set("upstream", section).set("access.mode", "upstream")
    };
    let settings = world.settings().set("endpoint", INNER);
    let inner = Colocate::start(upstream(settings, world.section(&world.tokened))).await;
    let outer = world.serve(upstream(world.settings(), section(world, &inner))).await;
    (inner, outer)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_through_both() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let (inner, outer) = passage(&world).await;
    let behind = &world.tokened;
    let nobody = outer.visitor.clone();
    let login = |name: &str| nobody.clone().login(name, &world.known[name]);
    let target = format!("{ENDPOINT}/{}", behind.golden.repository);
    for puller in Puller::all(&login("alice")).await {
        puller.pull(&format!("{target}:{}", Golden::TAG)).await;
        let lock = puller.lock();
        assert_eq!(lock, behind.lock_at(&target), "{}", puller.name());
        puller.pull(&images(&lock)[0]).await;
    }
    for access in [login("bob"), nobody.clone()] {
        for puller in Puller::all(&access).await {
            puller.refused(&format!("{target}:{}", Golden::TAG), &["denied", "401 Unauthorized"]).await;
            puller.pull(&format!("{ENDPOINT}/public/app:{}", Golden::TAG)).await;
        }
    }
    // Both say what the registry says.
    let challenge = async |url: &str| {
        let answer = Access::send(&nobody, Method::GET, &format!("{url}/v2/"), &[], "").await.expect(401);
        answer.header("www-authenticate").expect("a challenge").to_owned()
    };
    let own = challenge(&behind.url).await;
    assert_eq!((challenge(&inner.url()).await, challenge(&outer.colocate.url()).await), (own.clone(), own));
}

//! Clients that the registry knows, at a host that is that registry's: their tokens go through.

use serde_json::{Value, json};

use super::puller::{Puller, images};
use super::{Behind, ENDPOINT, Front, World, ready};
use crate::support::access::Access;
use crate::support::http::Method;
use crate::support::layout::Golden;

/// What tools say when a token does not help, and when none was given.
const DENIED: [&str; 3] = ["denied", "401 Unauthorized", "403 Forbidden"];
const WRONG: [&str; 4] = ["incorrect username or password", "unauthorized", "401 Unauthorized", "403 Forbidden"];

/// The token registry with a host of its own, and nothing of the proxy's own.
async fn serve(world: &World) -> Front {
    let mut section = world.section(&world.tokened);
    section["hosts"] = json!([world.tokened.host]);
    section["prefix"] = json!(world.tokened.prefix);
    section["auth"] = json!({"realms": [world.token_host()]});
    let settings = world.settings().set("upstreams", json!([section])).set("access.mode", "upstream");
    world.serve(settings).await
}

fn manifest(behind: &Behind, reference: &str) -> String {
    format!("/v2/{}/manifests/{reference}", behind.golden.repository)
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_fetch_their_tokens_from_the_registry_s_own_server() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let front = serve(&world).await;
    let nobody = front.visitor.clone();
    let login = |name: &str| nobody.clone().login(name, &world.known[name]);
    let (alice, bob) = (login("alice"), login("bob"));
    let wrong = nobody.clone().login("alice", "guessed");
    let (behind, host) = (&world.tokened, world.tokened.host);
    let bundle = format!("{}:{}", behind.hosted(), Golden::TAG);

    for puller in Puller::all(&alice).await {
        puller.pull(&bundle).await;
        let lock = puller.lock();
        assert_eq!(lock, behind.lock_at(&behind.hosted()), "{}", puller.name());
        for image in images(&lock) {
            puller.pull(&image).await;
        }
    }
    let mirror = format!("https://{host}");
    let by_name = Puller::ctr(&alice, &[(behind.name, &mirror)]).await;
    by_name.pull(&format!("{}:{}", behind.original(), Golden::TAG)).await;
    assert_eq!(by_name.lock(), behind.lock_at(&behind.original()));
    // The proxy asked for none: every token was a client's, with the scope of the name it used.
    let scope = format!("repository:{}:pull", behind.golden.repository);
    assert!(world.tokens.count(Some("alice"), &scope) >= 4);
    assert!(world.tokens.requests().iter().all(|asked| asked.user.as_deref() == Some("alice")));

    // What is in the cache by now is still not theirs.
    for puller in Puller::all(&bob).await {
        puller.refused(&bundle, &DENIED).await;
    }
    for puller in Puller::all(&nobody).await {
        puller.refused(&bundle, &DENIED).await;
        puller.pull(&format!("{host}/public/app:{}", Golden::TAG)).await;
        let lock = behind.lock_at(&format!("{host}/public/app"));
        assert_eq!(puller.lock(), lock, "{}", puller.name());
    }
    for puller in Puller::all(&wrong).await {
        puller.refused(&bundle, &WRONG).await;
    }
    // Nor at the endpoint, where nobody's token is passed on; everyone may read there what everyone may.
    let elsewhere = Puller::skopeo(&alice);
    elsewhere.refused(&format!("{}:{}", behind.prefixed(), Golden::TAG), &["denied", "unauthorized"]).await;
    elsewhere.pull(&format!("{ENDPOINT}/{}/public/app:{}", behind.prefix, Golden::TAG)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_digest_and_the_tags_are_for_those_who_may_read_them() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let mut front = serve(&world).await;
    let (behind, host) = (&world.tokened, world.tokened.host);
    let repository = &behind.golden.repository;
    let alice = bearing(&world, &front, "alice", repository).await;
    let bob = bearing(&world, &front, "bob", repository).await;

    let bundle = front.get(&alice, host, &manifest(behind, Golden::TAG)).await.expect(200);
    let relocated = bundle.digest();
    assert_ne!(relocated, behind.golden.digest);
    let digest_of = |part: &Value| part["digest"].as_str().expect("a digest").to_owned();
    let parts = bundle.json();
    let blob = |digest: &str| format!("/v2/{repository}/blobs/{digest}");
    let paths = [
        manifest(behind, Golden::TAG),
        manifest(behind, &relocated.to_string()),
        manifest(behind, &behind.golden.digest.to_string()),
        blob(&digest_of(&parts["config"])),
        blob(&digest_of(&parts["layers"][0])),
        format!("/v2/{repository}/tags/list"),
    ];
    for path in &paths {
        front.get(&alice, host, path).await.expect(200);
    }
    // Made again from nothing but the digest that alice wrote down, by what alice may read.
    front.colocate.start_empty().await;
    for access in [&bob, &front.visitor] {
        front.get(access, host, &paths[1]).await.expect(401);
    }
    assert_eq!(front.get(&alice, host, &paths[1]).await.expect(200).body, bundle.body);
    for path in &paths {
        for access in [&bob, &front.visitor] {
            for method in [Method::GET, Method::HEAD] {
                let answer = front.ask(access, method, host, path).await.expect(401);
                let challenge = answer.header("www-authenticate").expect("a challenge");
                assert!(challenge.contains(&world.tokens.realm()) && challenge.contains(repository), "{challenge}");
            }
        }
        front.get(&alice, host, path).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_through_as_they_are() {
    if !ready(&["skopeo", "podman", "containerd", "ctr"]) {
        return;
    }
    let world = World::new().await;
    let behind = &world.passwords;
    let mut section = world.section(behind);
    section["hosts"] = json!([behind.host]);
    let front = world.serve(world.settings().set("upstreams", json!([section])).set("access.mode", "upstream")).await;
    let nobody = &front.visitor;
    let alice = nobody.clone().login("alice", &world.known["alice"]);
    // Whom the registry does not know, with a password that is right elsewhere.
    let bob = nobody.clone().login("bob", &world.known["bob"]);
    let wrong = nobody.clone().login("alice", "guessed");
    let bundle = format!("{}:{}", behind.hosted(), Golden::TAG);
    for puller in Puller::all(&alice).await {
        puller.pull(&bundle).await;
        let lock = puller.lock();
        assert_eq!(lock, behind.lock_at(&behind.hosted()), "{}", puller.name());
        puller.pull(&images(&lock)[0]).await;
    }
    let challenge = Some(r#"Basic realm="colocate tests""#.to_owned());
    assert_eq!(front.login(&alice, behind.host).await, (200, None));
    for access in [nobody, &bob, &wrong] {
        for puller in Puller::all(access).await {
            puller.refused(&bundle, &["unauthorized", "401 Unauthorized", "authentication required"]).await;
        }
        assert_eq!(front.login(access, behind.host).await, (401, challenge.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_login_is_sent_to_the_token_server() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let front = serve(&world).await;
    let host = world.tokened.host;
    let challenge = Some(format!("Bearer realm=\"{}\"", world.tokens.realm()));
    let alice = front.visitor.clone().login("alice", &world.known["alice"]);
    // A password is for the token server, so the registry does not take it, right or not.
    for access in [&front.visitor, &alice] {
        assert_eq!(front.login(access, host).await, (401, challenge.clone()));
    }
    let alice = bearing(&world, &front, "alice", "any").await;
    assert_eq!(front.login(&alice, host).await, (200, None));
    let forged = front.visitor.clone().bearer("forged");
    assert_eq!(front.login(&forged, host).await, (401, challenge));
    // Nobody's credential goes anywhere from the endpoint, so none is asked for.
    assert_eq!(front.login(&front.visitor, ENDPOINT).await, (200, None));
}

/// As this user's token for a repository lets it.
async fn bearing(world: &World, front: &Front, user: &str, repository: &str) -> Access {
    let login = front.visitor.clone().login(user, &world.known[user]);
    let service = world.tokens.service().replace(' ', "+");
    let url = format!("{}?service={service}&scope=repository:{repository}:pull", world.tokens.realm());
    let answer = login.get(&url).await.expect(200).json();
    front.visitor.clone().bearer(answer["token"].as_str().expect("a token"))
}

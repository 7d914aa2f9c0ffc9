//! A registry that sends its clients to a token server.

use std::time::Duration;

use tempfile::TempDir;

use super::{golden, seed};
use crate::support::access::Access;
use crate::support::certificates::Authority;
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::podman::Podman;
use crate::support::registry::DockerRegistry;
use crate::support::secrets::secret;
use crate::support::skopeo::Skopeo;
use crate::support::token_server::{Asked, Mischief, TokenServer};
use crate::support::{require, require_root};

/// A token server with users, and a registry that believes it.
struct World {
    tokens: TokenServer,
    registry: DockerRegistry,
    alice: Access,
    bob: Access,
    everyone: Access,
}

impl World {
    async fn new(tls: Option<&Authority>) -> Self {
        let server = tls.map(|authority| authority.server(&[]));
        let tokens = match &server {
            Some(server) => TokenServer::start_tls(server).await,
            None => TokenServer::start().await,
        };
        let everyone = tls.into_iter().fold(Access::anonymous(), Access::trusting);
        let user = |name: &str, may| {
            let password = secret(&format!("{name}'s password"));
            tokens.user(name, &password, &[(may, "pull")]);
            everyone.clone().login(name, &password)
        };
        let (alice, bob) = (user("alice", "acme/*"), user("bob", "bob/*"));
        tokens.everyone(&[("public/*", "pull")]);
        let setup = server.iter().fold(DockerRegistry::setup().tokens_of(&tokens), |setup, server| setup.tls(server));
        let registry = setup.start().await;
        let world = Self { tokens, registry, alice, bob, everyone };
        for repository in ["acme/app", "bob/app", "public/app"] {
            let token = world.tokens.token(repository, &["pull", "push"]);
            seed(&world.everyone.clone().bearer(&token), &world.url(), repository).await;
        }
        world
    }

    fn url(&self) -> String {
        if self.everyone.is_secure() { self.registry.tls_url() } else { self.registry.url() }
    }

    /// By a name that is in its certificate.
    fn reference(&self, repository: &str) -> String {
        format!("localhost:{}/{repository}:{}", self.registry.port(), Golden::TAG)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_by_user_and_repository() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let world = World::new(None).await;
    let clients = [(&world.alice, Some("alice")), (&world.bob, Some("bob")), (&world.everyone, None)];
    for (access, user) in clients {
        let skopeo = Skopeo::new(access);
        for (repository, allowed) in
            [("acme/app", user == Some("alice")), ("bob/app", user == Some("bob")), ("public/app", true)]
        {
            let out = TempDir::new().expect("a directory");
            let copied = skopeo.copy(&world.reference(repository), out.path()).await;
            assert_eq!(copied.status.success(), allowed, "{user:?} {repository} {copied:?}");
            assert!(allowed || copied.stderr.contains("denied"), "{copied:?}");
            // skopeo has asked before, with the same scope, whether it may come in at all.
            assert!(world.tokens.count(user, &format!("repository:{repository}:pull")) > 0);
        }
    }
    let wrong = Skopeo::new(&world.everyone.clone().login("alice", "guessed"));
    let refused = wrong.inspect(&world.reference("public/app")).await;
    assert!(!refused.status.success() && refused.stderr.contains("incorrect username or password"), "{refused:?}");
    let last = world.tokens.requests().pop().expect("a request");
    assert_eq!((last.user, last.status), (None, Some(401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_fetches_tokens_over_tls() {
    if !require(&["docker-registry", "podman", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let world = World::new(Some(&Authority::new(directory.path()))).await;
    let reference = world.reference("acme/app");
    let podman = Podman::new(&world.alice);
    let pulled = podman.pull(&reference).await;
    assert!(pulled.status.success(), "{pulled:?}");
    assert_eq!(podman.digest(&reference).await, golden().digest.to_string());
    let refused = Podman::new(&world.bob).pull(&reference).await;
    assert!(!refused.status.success() && refused.stderr.contains("denied"), "{refused:?}");

    let containerd = Containerd::start().await;
    let pulled = containerd.pull_as(&world.alice, &[], &reference).await;
    assert!(pulled.status.success(), "{pulled:?}");
    let refused = containerd.pull_as(&world.bob, &[], &world.reference("acme/app").replace("app:", "app2:")).await;
    assert!(!refused.status.success(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_server_misbehaves_as_it_is_told() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new(None).await;
    let (realm, scope) = (world.tokens.realm(), "repository:acme/app:pull");
    let ask = format!("{realm}?service=any&scope={scope}&offline_token=true");
    let manifest = format!("{}/v2/acme/app/manifests/{}", world.url(), Golden::TAG);
    let pull = async |token: &str| world.everyone.clone().bearer(token).get(&manifest).await.status.as_u16();

    let answer = world.alice.get(&ask).await.expect(200).json();
    assert_eq!(
        (answer["expires_in"].as_u64(), pull(answer["token"].as_str().expect("a token")).await),
        (Some(300), 200)
    );
    // OAuth 2, with what came of the request before.
    let refresh = answer["refresh_token"].as_str().expect("a refresh token");
    let form = format!("grant_type=refresh_token&service=any&client_id=tests&refresh_token={refresh}&scope={scope}");
    let post = async |form: String| {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        world.everyone.send(http::Method::POST, &realm, &kind, form).await
    };
    let answer = post(form.clone()).await.expect(200).json();
    assert_eq!(pull(answer["access_token"].as_str().expect("a token")).await, 200);
    post(form.replace(refresh, "guessed")).await.expect(400);
    let asked = Asked {
        user: Some("alice".to_owned()),
        scopes: vec![scope.to_owned()],
        method: "POST".to_owned(),
        status: Some(200),
    };
    assert_eq!(world.tokens.requests()[1], asked);

    world.tokens.lifetime(Duration::from_secs(7));
    world.tokens.misbehave(Some(Mischief::Expired));
    let answer = world.alice.get(&ask).await.expect(200).json();
    assert_eq!((answer["expires_in"].as_u64(), pull(answer["token"].as_str().expect("a token")).await), (Some(7), 401));
    world.tokens.misbehave(Some(Mischief::Garbage));
    assert!(world.alice.get(&ask).await.expect(200).body.starts_with(b"<html>"));
    world.tokens.misbehave(Some(Mischief::Redirect));
    assert!(world.alice.get(&ask).await.expect(307).header("location").is_some_and(|to| ask.ends_with(to)));
    world.tokens.misbehave(Some(Mischief::Status(500)));
    world.alice.get(&ask).await.expect(500);
    world.tokens.misbehave(Some(Mischief::Stall));
    let seen = world.tokens.requests().len();
    let stalled = async { drop(world.alice.try_send(http::Method::GET, &ask, &[], "").await) };
    tokio::select! {
        () = stalled => panic!("an answer"),
        () = crate::support::eventually("it was asked", Duration::from_secs(20), async || world.tokens.requests().len() > seen) => {}
    }
    assert_eq!(world.tokens.requests()[seen].status, None);
    world.tokens.misbehave(None);
    world.alice.get(&ask).await.expect(200);
}

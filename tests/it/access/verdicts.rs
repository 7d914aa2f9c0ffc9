//! How long a word of the registry behind holds, about whom, and about what.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;

use super::content::{OTHERS, REPOSITORY};
use super::mode::Mode;
use super::world::{Caller, Proxy, Who, World};
use crate::support::bundle::Bundle;
use crate::support::eventually;
use crate::support::secrets::secret;

/// Longer than any word holds that these tests let expire.
const PATIENCE: Duration = Duration::from_secs(30);

const BY_PASSWORD: [Mode; 2] = [Mode::Passed, Mode::Exchanged];

fn manifest(mode: Mode, repository: &str, reference: &str) -> String {
    format!("/v2/{}/manifests/{reference}", mode.called(repository))
}

async fn status(caller: &Caller, proxy: &Proxy, path: &str) -> u16 {
    caller.get(proxy, path).await.status.as_u16()
}

#[tokio::test]
async fn one_name_with_two_passwords_is_two_clients() {
    for mode in BY_PASSWORD {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let path = manifest(mode, REPOSITORY, "plain");
        let (alice, wrong) = (world.caller(Who::Owner), world.caller(Who::Wrong));
        for _ in 0..2 {
            assert_eq!(status(wrong, &proxy, &path).await, 401, "{mode:?}");
            assert_eq!(status(alice, &proxy, &path).await, 200, "{mode:?}");
        }
        let another = Caller::login("alice", &secret("another password of alice's"));
        assert_eq!(status(&another, &proxy, &path).await, 401, "{mode:?}");
    }
}

#[tokio::test]
async fn what_alice_may_read_says_nothing_of_bob() {
    for mode in [Mode::Passed, Mode::PassedTokens, Mode::Exchanged, Mode::ExchangedTokens] {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let (alice, bob) = (world.caller(Who::Owner), world.caller(Who::Other));
        let (hers, his) = (manifest(mode, REPOSITORY, "plain"), manifest(mode, OTHERS, "own"));
        assert_eq!(status(alice, &proxy, &hers).await, 200, "{mode:?}");
        assert_eq!(status(bob, &proxy, &his).await, 200, "{mode:?}");
        world.behind.upstream.forget();
        assert_eq!(status(alice, &proxy, &hers).await, 200, "{mode:?}");
        assert_eq!(world.behind.upstream.requests().len(), 0, "{mode:?}: what is known is not asked again");
        for (caller, path) in [(bob, &hers), (alice, &his)] {
            assert!(matches!(status(caller, &proxy, path).await, 401 | 403), "{mode:?}");
            assert_ne!(world.behind.upstream.requests().len(), 0, "{mode:?}: that is for the registry to say");
            world.behind.upstream.forget();
        }
    }
}

#[tokio::test]
async fn a_right_that_was_taken_away_ends_with_the_word_that_gave_it() {
    for mode in BY_PASSWORD {
        let world = World::new(mode).await;
        let caches = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let lasting = world.proxy(caches[0].path(), "").await;
        let brief = world.proxy_believing(caches[1].path(), "1s").await;
        let path = manifest(mode, REPOSITORY, "plain");
        let alice = world.caller(Who::Owner);
        for proxy in [&lasting, &brief] {
            assert_eq!(status(alice, proxy, &path).await, 200, "{mode:?}");
        }
        world.behind.may("alice", &[]);
        eventually("the right ends", PATIENCE, async || status(alice, &brief, &path).await == 403).await;
        assert_eq!(status(alice, &lasting, &path).await, 200, "{mode:?}: it is believed for longer there");
        // By digest, as a blob and as a list likewise: it was about the repository.
        let things = world.behind.upstream.requests().len();
        for path in [path.clone(), manifest(mode, REPOSITORY, "v1"), manifest(mode, REPOSITORY, "none")] {
            assert_eq!(status(alice, &brief, &path).await, 403, "{mode:?} {path}");
        }
        assert!(world.behind.upstream.requests().len() <= things + 3, "{mode:?}");
        world.behind.may("alice", &["acme/*"]);
        eventually("the right is back", PATIENCE, async || status(alice, &brief, &path).await == 200).await;
    }
}

#[tokio::test]
async fn without_a_word_that_holds_every_request_is_asked() {
    for mode in BY_PASSWORD {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy_believing(cache.path(), "0s").await;
        let path = manifest(mode, REPOSITORY, "plain");
        let alice = world.caller(Who::Owner);
        assert_eq!(status(alice, &proxy, &path).await, 200, "{mode:?}");
        world.behind.may("alice", &["bob/*"]);
        assert_eq!(status(alice, &proxy, &path).await, 403, "{mode:?}");
    }
}

#[tokio::test]
async fn that_one_thing_is_not_there_says_nothing_of_another() {
    for mode in [Mode::Passed, Mode::PassedHiding, Mode::Exchanged] {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let (alice, bob) = (world.caller(Who::Owner), world.caller(Who::Other));
        let refused = if mode == Mode::PassedHiding { 404 } else { 403 };
        let (absent, there) = (manifest(mode, REPOSITORY, "none"), manifest(mode, REPOSITORY, "plain"));
        for _ in 0..2 {
            assert_eq!(status(alice, &proxy, &absent).await, 404, "{mode:?}");
            assert_eq!(status(alice, &proxy, &there).await, 200, "{mode:?}");
            assert_eq!(status(bob, &proxy, &there).await, refused, "{mode:?}");
            assert_eq!(status(bob, &proxy, &absent).await, refused, "{mode:?}");
        }
        // A repository that is pushed to for the first time is there at once.
        let new = manifest(mode, "acme/new", "v1");
        assert_eq!(status(alice, &proxy, &new).await, 404, "{mode:?}");
        world.behind.upstream.put("acme/new", &Bundle::image("a new one").layout(Some("v1")));
        assert_eq!(status(alice, &proxy, &new).await, 200, "{mode:?}");
        assert_eq!(status(bob, &proxy, &new).await, refused, "{mode:?}");
    }
}

#[tokio::test]
async fn each_of_many_who_ask_at_once_gets_an_own_answer() {
    for mode in BY_PASSWORD {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let (world, proxy) = (Arc::new(world), Arc::new(proxy));
        let mut asking = JoinSet::new();
        for at in 0..48 {
            let (who, expected) = [(Who::Owner, 200), (Who::Other, 403), (Who::Wrong, 401), (Who::Nobody, 401)][at % 4];
            // Every second client of each kind asks for what is not there.
            let absent = at % 8 < 4;
            let expected = if absent && expected == 200 { 404 } else { expected };
            let path = manifest(mode, REPOSITORY, if absent { "none" } else { "plain" });
            let (world, proxy) = (Arc::clone(&world), Arc::clone(&proxy));
            asking.spawn(async move {
                let answer = world.ask(&proxy, who, Method::GET, &path, &[]).await.expect("an answer");
                assert_eq!(answer.status.as_u16(), expected, "{mode:?} {who:?} {path}");
            });
        }
        asking.join_all().await;
    }
}

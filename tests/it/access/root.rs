//! `/v2/`, from which clients find out how to log in.

use http::Method;

use super::matrix::Told;
use super::mode::{EVERY_MODE, Mode};
use super::world::{CHALLENGE, EVERYONE, Who, World};
use crate::support::secrets::secret;

/// What containers/image sends when it has nothing to say: an empty name and an empty password.
const EMPTY: &str = "Basic Og==";

/// Nine modes, four clients and a stranger's token.
const CELLS: usize = 45;

#[tokio::test]
async fn everyone_learns_there_how_to_log_in() {
    let mut cells = 0;
    for mode in EVERY_MODE {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let token = world.somebody(&format!("Bearer {}", secret("a token of somebody's")));
        let callers = EVERYONE.map(|who| (Some(who), world.caller(who)));
        for (who, caller) in callers.into_iter().chain([(None, &token)]) {
            let answer = caller.ask(&proxy, Method::GET, "/v2/", &[]).await;
            let what = format!("{mode:?} {who:?}: {answer:?}");
            assert_eq!(answer.as_ref().map(|answer| answer.status.as_u16()), status(mode, who), "{what}");
            let Some(answer) = answer else { continue };
            let challenge = (answer.status == 401).then(|| challenge(&world));
            assert_eq!(answer.header("www-authenticate"), challenge.as_deref(), "{what}");
            assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"), "{what}");
            cells += 1;
        }
        cells += usize::from(mode == Mode::Certificate);
    }
    assert_eq!(cells, CELLS, "the table has shrunk, or grown");
}

#[tokio::test]
async fn an_empty_name_and_password_are_nobody_s() {
    for mode in EVERY_MODE {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let empty = world.somebody(EMPTY);
        for path in ["/v2/".to_owned(), format!("/v2/{}/manifests/plain", mode.called("acme/app"))] {
            let nobody = Told::of(world.caller(Who::Nobody).get(&proxy, &path).await);
            // What the first is told of the cache is told of the cold one.
            let nobody =
                if mode.is_open() { Told::of(world.caller(Who::Nobody).get(&proxy, &path).await) } else { nobody };
            assert_eq!(Told::of(empty.get(&proxy, &path).await), nobody, "{mode:?} {path}");
        }
        assert!(!world.behind.was_shown().contains(&Some(EMPTY.to_owned())), "{mode:?}");
    }
}

#[tokio::test]
async fn a_registry_in_trouble_turns_nobody_away_there_who_shows_something() {
    for mode in EVERY_MODE {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        world.behind.goes_down();
        assert_eq!(world.caller(Who::Owner).get(&proxy, "/v2/").await.status, 200, "{mode:?}");
        let nobody = world.caller(Who::Nobody).get(&proxy, "/v2/").await;
        let expected = match mode {
            Mode::Passed | Mode::PassedHiding | Mode::PassedTokens => 503,
            // These do not ask for it.
            _ => status(mode, Some(Who::Nobody)).expect("an answer"),
        };
        assert_eq!(nobody.status.as_u16(), expected, "{mode:?}");
    }
}

/// None where no connection comes about; `who` is none for whoever has a token that nobody here gave out.
fn status(mode: Mode, who: Option<Who>) -> Option<u16> {
    Some(match (mode, who) {
        (Mode::Open | Mode::Public, _) | (_, Some(Who::Owner | Who::Other)) => 200,
        (Mode::Certificate, Some(Who::Wrong)) => return None,
        (Mode::Certificate, _) => 403,
        _ => 401,
    })
}

fn challenge(world: &World) -> String {
    match &world.behind.tokens {
        _ if world.mode == Mode::Htpasswd || world.mode.is_exchanged() => CHALLENGE.to_owned(),
        None => r#"Basic realm="behind""#.to_owned(),
        Some(tokens) => format!(r#"Bearer realm="{}",service="{}""#, tokens.realm(), tokens.service()),
    }
}

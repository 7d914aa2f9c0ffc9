//! What a registry has had enough of, by whom.

use http::Method;

use super::content::REPOSITORY;
use super::mode::Mode;
use super::world::{Who, World};

#[tokio::test]
async fn what_one_client_has_used_up_is_no_other_s() {
    for mode in [Mode::Passed, Mode::Exchanged] {
        let world = World::new(mode).await;
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        world.behind.has_enough_of("bob");
        let ask = async |who, repository: &str, reference: &str| {
            let path = format!("/v2/{}/manifests/{reference}", mode.called(repository));
            world.ask(&proxy, who, Method::GET, &path, &[]).await.expect("an answer")
        };
        let held = ask(Who::Other, "bob/app", "own").await;
        assert_eq!((held.status.as_u16(), held.header("retry-after")), (429, Some("600")), "{mode:?}");
        world.behind.upstream.forget();
        assert_eq!(ask(Who::Other, "bob/app", "own").await.status, 429, "{mode:?}");
        assert_eq!(world.behind.upstream.requests().len(), 0, "{mode:?}: he is held back here");
        for reference in ["plain", "v1"] {
            assert_eq!(ask(Who::Owner, REPOSITORY, reference).await.status, 200, "{mode:?} {reference}");
        }
        assert_eq!(ask(Who::Nobody, REPOSITORY, "plain").await.status, 401, "{mode:?}");
    }
}

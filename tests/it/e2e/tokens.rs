//! What the proxy asks of a token server.

use std::sync::Arc;

use http::Method;

use crate::support::colocate::{Colocate, Settings};
use crate::support::http::{ACCEPT, send};
use crate::support::layout::Golden;
use crate::support::registry::DockerRegistry;
use crate::support::require;
use crate::support::secrets::secret;
use crate::support::token_server::TokenServer;

use crate::support::access::Access;

const REQUESTS: usize = 1_000;
/// So many at one time.
const CLIENTS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_in_one_scope_cost_one_token() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (tokens, password) = (TokenServer::start().await, secret("the proxy's password"));
    tokens.user("proxy", &password, &[("mirror2/*", "pull"), ("another/*", "pull")]);
    let registry = DockerRegistry::setup().tokens_of(&tokens).start().await;
    let golden = Golden::read("wide-app");
    let repositories = [golden.repository.as_str(), "another/app"];
    for repository in repositories {
        let token = tokens.token(repository, &["pull", "push"]);
        golden.colocated.push_as(&Access::anonymous().bearer(&token), &registry.url(), repository).await;
    }
    let realm = tokens.realm();
    let settings = Settings::new(&registry.url())
        .set("upstream.credentials.username", "proxy")
        .set("upstream.credentials.password", password)
        .set(
            "upstream.auth.realms",
            serde_json::json!([realm.trim_start_matches("http://").trim_end_matches("/token")]),
        )
        .set("access.allow_public", true);
    let colocate = Colocate::start(settings).await;

    let base = format!("{}/v2/{}", colocate.url(), golden.repository);
    // The tags are always asked for, and so is the length of what is not in the cache, which a HEAD does not change.
    let (layer, _) = golden.colocated.blobs.last().expect("a blob");
    let asked: Vec<(Method, String)> = [
        vec![(Method::GET, format!("{base}/manifests/{}", Golden::TAG)), (Method::GET, format!("{base}/tags/list"))],
        golden.colocated.blobs.iter().map(|(blob, _)| (Method::GET, format!("{base}/blobs/{blob}"))).collect(),
        golden
            .colocated
            .manifests
            .iter()
            .map(|own| (Method::GET, format!("{base}/manifests/{}", own.digest)))
            .collect(),
        vec![(Method::HEAD, format!("{base}/blobs/{layer}"))],
    ]
    .concat();
    let asked = Arc::new(asked);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let asked = asked.clone();
            tokio::spawn(async move {
                for request in (client..REQUESTS).step_by(CLIENTS) {
                    let (method, url) = &asked[request % asked.len()];
                    send(method.clone(), url, &[("accept", ACCEPT)], "").await.expect(200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client that got all it asked for");
    }
    let scope = |repository: &str| format!("repository:{repository}:pull");
    assert_eq!(tokens.count(Some("proxy"), &scope(&golden.repository)), 1);
    assert_eq!(tokens.requests().len(), 1, "{:?}", tokens.requests());

    // Another scope is another token.
    colocate.manifest("another/app", Golden::TAG).await.expect(200);
    assert_eq!((tokens.count(Some("proxy"), &scope("another/app")), tokens.requests().len()), (1, 2));

    // What the proxy may not read costs no token each time, either: a young one is taken at its word.
    let url = format!("{}/v2/secret/app/tags/list", colocate.url());
    for _ in 0..20 {
        send(Method::GET, &url, &[], "").await.expect(403);
    }
    let asked = tokens.count(Some("proxy"), &scope("secret/app"));
    assert!(asked < 5, "{asked} tokens for 20 refusals");
}

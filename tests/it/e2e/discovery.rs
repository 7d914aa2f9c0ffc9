//! What is in a registry that ignores how lists are asked for, and knows of no referrers.

use colocate::oci::Tag;
use serde_json::{Value, json};

use crate::support::bundle::{Bundle, index};
use crate::support::colocate::{Colocate, Settings};
use crate::support::http;
use crate::support::layout::push_manifest;
use crate::support::registry::DockerRegistry;
use crate::support::require;

/// All of a list, by its links.
async fn walk(colocate: &Colocate, path: &str, key: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let answer = http::get(&format!("{}{path}", colocate.url())).await.expect(200);
        let page = answer.json()[key].as_array().expect("a list").clone();
        assert!(page.len() <= 2, "{path}: {page:?}");
        found.extend(page);
        let link = answer.header("link").map(|link| link.trim_start_matches('<').trim_end_matches(">; rel=\"next\""));
        next = link.map(str::to_owned);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_found_in_docker_registry() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::start().await;
    let image = Bundle::image("an image");
    for tag in ["v10", "v2", "latest", "v1", "V1"] {
        image.layout(Some(tag)).push(&registry.url(), "acme/app").await;
    }
    for name in ["acme/lib", "a/b/c", "z"] {
        image.layout(Some("v1")).push(&registry.url(), name).await;
    }
    let colocate = Colocate::start(Settings::new(&registry.url())).await;
    let tags = walk(&colocate, "/v2/acme/app/tags/list?n=2", "tags").await;
    assert_eq!(tags, ["V1", "latest", "v1", "v10", "v2"]);
    assert_eq!(walk(&colocate, "/v2/acme/app/tags/list?n=2&last=v1", "tags").await, ["v10", "v2"]);
    let repositories = walk(&colocate, "/v2/_catalog?n=2", "repositories").await;
    assert_eq!(repositories, ["a/b/c", "acme/app", "acme/lib", "z"]);

    let signature = Bundle::image("a signature");
    signature.layout(None).push(&registry.url(), "acme/app").await;
    let listed = format!("{}/v2/acme/app/referrers/{}", colocate.url(), image.digest());
    assert_eq!(http::get(&listed).await.expect(200).json()["manifests"], json!([]));
    let list = index(&[&signature]);
    push_manifest(&registry.url(), "acme/app", Tag::of_referrers(&image.digest()).as_str(), &list).await;
    let expected: Value = serde_json::from_slice(&list.bytes).expect("JSON");
    assert_eq!(http::get(&listed).await.expect(200).json()["manifests"], expected["manifests"]);
}

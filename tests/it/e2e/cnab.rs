//! A CNAB bundle in the registry that many run, pulled through the program with the requests of Porter's puller.

use colocate::oci::{Digest, Tag};
use http::Method;
use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::cnab::{Cnab, MANIFEST, document, index};
use crate::support::colocate::{Colocate, Settings, colocate};
use crate::support::http::{self, Answer};
use crate::support::layout::{Document, push_manifest};
use crate::support::porter::{self, Pulled, Reply};
use crate::support::registry::DockerRegistry;
use crate::support::require;

const REPOSITORY: &str = "acme/spring-music";
const MAP_TYPE: &str = "application/vnd.colocate.relocation-map.v1%2Bjson";

async fn pull(server: &str, host: &str, repository: &str, reference: &str) -> Pulled {
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let method: Method = method.parse().expect("a method");
        let answer = http::send(method, &format!("{server}{path}"), &[headers, &[("host", host)]].concat(), "").await;
        assert_eq!(answer.broken, None, "{path}");
        Reply {
            status: answer.status.as_u16(),
            content_type: answer.header("content-type").unwrap_or_default().to_owned(),
            length: answer.header("content-length").and_then(|length| length.parse().ok()),
            digest: answer.header("docker-content-digest").map(str::to_owned),
            body: answer.body,
        }
    };
    porter::pull(ask, host, repository, reference).await.expect("a pull like Porter's")
}

/// GET by this host of something below a repository.
async fn get(colocate: &Colocate, host: &str, path: &str) -> Answer {
    let headers = [("host", host), ("accept", http::ACCEPT)];
    http::send(Method::GET, &format!("{}/v2/{path}", colocate.url()), &headers, "").await
}

/// The map that is among the referrers of an index.
async fn listed_map(colocate: &Colocate, host: &str, repository: &str, index: &Digest) -> String {
    let path = format!("{repository}/referrers/{index}?artifactType={MAP_TYPE}");
    let listed = get(colocate, host, &path).await.expect(200).json();
    assert_eq!(listed["manifests"].as_array().map(Vec::len), Some(1), "{listed}");
    let digest = listed["manifests"][0]["digest"].as_str().expect("a digest");
    let artifact = get(colocate, host, &format!("{repository}/manifests/{digest}")).await.expect(200).json();
    assert_eq!(artifact["layers"][0]["annotations"]["org.opencontainers.image.title"], "relocation-mapping.json");
    let layer = artifact["layers"][0]["digest"].as_str().expect("a digest");
    let map = get(colocate, host, &format!("{repository}/blobs/{layer}")).await.expect(200).body;
    assert_eq!(Digest::of(&map).to_string(), layer);
    String::from_utf8(map.to_vec()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn porter_pulls_it_as_it_is_with_a_map_that_leads_here() {
    if !require(&["docker-registry"]) {
        return;
    }
    for cnab in [Cnab::golden(), Cnab::fallback()] {
        let registry = DockerRegistry::start().await;
        cnab.tagged("v1").push(&registry.url(), REPOSITORY).await;
        let settings = Settings::new("").set("upstream", Value::Null).set("endpoint", "proxy.example");
        let settings = settings
            .set("upstream.url", registry.url())
            .set("upstream.registry", "reg.example")
            .set("upstreams", json!([{"registry": "prefixed.example", "url": registry.url(), "prefix": "mirror/far"}]));
        let colocate = Colocate::start(settings).await;
        let direct = pull(&registry.url(), "reg.example", REPOSITORY, "v1").await;
        for repository in [REPOSITORY.to_owned(), format!("mirror/far/{REPOSITORY}")] {
            let host = "proxy.example";
            let by_tag = pull(&colocate.url(), host, &repository, "v1").await;
            let by_digest = pull(&colocate.url(), host, &repository, &cnab.index.digest.to_string()).await;
            for pulled in [&by_tag, &by_digest] {
                assert_eq!(
                    (&pulled.index, &pulled.config, &pulled.file),
                    (&direct.index, &direct.config, &direct.file)
                );
                assert_eq!(pulled.digest, direct.digest);
                let location = format!("reg.example/{REPOSITORY}@");
                assert_eq!(pulled.map, direct.map.replace(&location, &format!("{host}/{repository}@")));
                assert_ne!(pulled.map, direct.map);
            }
            assert_eq!(listed_map(&colocate, host, &repository, &cnab.index.digest).await, by_tag.map);
            // All that it names, and what that is made of.
            for Document { digest, media_type, bytes } in &cnab.layout.manifests {
                let answer = get(&colocate, host, &format!("{repository}/manifests/{digest}")).await.expect(200);
                assert_eq!((&answer.body, answer.header("content-type")), (bytes, Some(media_type.as_str())));
            }
            for (digest, bytes) in &cnab.layout.blobs {
                assert_eq!(get(&colocate, host, &format!("{repository}/blobs/{digest}")).await.expect(200).body, bytes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_and_pushed_referrers_pass() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (registry, cnab) = (DockerRegistry::start().await, Cnab::golden());
    cnab.tagged("v1").push(&registry.url(), REPOSITORY).await;
    let signature = Bundle::image("a signature");
    let tag = format!("sha256-{}.sig", cnab.index.digest.hex());
    signature.layout(Some(&tag)).push(&registry.url(), REPOSITORY).await;
    // The registry has no list: who pushes a referrer writes the tag that stands in for it.
    let config = format!(r#"{{"mediaType":"application/vnd.x.config","digest":"{}","size":2}}"#, Digest::of(b"{}"));
    let subject =
        format!(r#"{{"mediaType":"{}","digest":"{}","size":1092}}"#, cnab.index.media_type, cnab.index.digest);
    let referrer =
        format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[],"subject":{subject}}}"#);
    let referrer = document(MANIFEST, referrer);
    let settings = Settings::forwarding(&registry.url()).set("endpoint", "proxy.example");
    let colocate = Colocate::start(settings).await;
    let mut layout = Bundle::image("x").layout(None);
    (layout.manifests, layout.blobs) = (vec![referrer.clone()], vec![(Digest::of(b"{}"), "{}".into())]);
    layout.push(&colocate.url(), REPOSITORY).await;
    let answer = get(&colocate, "proxy.example", &format!("{REPOSITORY}/manifests/{tag}")).await.expect(200);
    assert_eq!(answer.body, signature.manifest.bytes);
    let listed = get(&colocate, "proxy.example", &format!("{REPOSITORY}/referrers/{}", cnab.index.digest)).await;
    let listed = listed.expect(200).json();
    let types: Vec<_> =
        listed["manifests"].as_array().expect("a list").iter().map(|it| it["artifactType"].clone()).collect();
    assert_eq!(types, ["application/vnd.x.config", "application/vnd.colocate.relocation-map.v1+json"], "{listed}");
    // And one that was listed beside the proxy.
    let list = index(&[json!({"mediaType": MANIFEST, "digest": referrer.digest, "size": referrer.bytes.len()})]);
    push_manifest(&registry.url(), REPOSITORY, Tag::of_referrers(&cnab.index.digest).as_str(), &list).await;
    let listed = get(&colocate, "proxy.example", &format!("{REPOSITORY}/referrers/{}", cnab.index.digest)).await;
    assert_eq!(listed.expect(200).json()["manifests"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_it_only_names_come_from_their_origin() {
    if !require(&["docker-registry"]) {
        return;
    }
    let (own, apps) = (DockerRegistry::start().await, DockerRegistry::start().await);
    let image = Bundle::image("an image at its origin");
    image.layout(Some("v1")).push(&apps.url(), "apps/web").await;
    let named = [("web", "apps.example/apps/web:v1", Some(&image))];
    let file = crate::support::cnab::bundle_file("apps.example/apps/installer:v1", &named);
    let cnab = Cnab::of(file, &[]);
    cnab.tagged("v1").push(&own.url(), REPOSITORY).await;
    let settings = Settings::new(&own.url())
        .set("endpoint", "proxy.example")
        .set("upstreams", json!([{"registry": "apps.example", "url": apps.url()}]));
    let told = {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("colocate.yaml");
        let settings = settings.clone().set("listen", "127.0.0.1:1").set("cache.dir", "/nowhere");
        std::fs::write(&file, settings.text()).expect("a configuration file");
        colocate(&["explain", "--config", &file.to_string_lossy(), &format!("{REPOSITORY}:v1")]).await
    };
    assert!(told.stdout.contains("not in the index; granted from its origin, apps.example/apps/web"), "{told:?}");
    let mut colocate = Colocate::start(settings).await;
    for _ in 0..2 {
        let path = format!("{REPOSITORY}/manifests/{}", image.digest());
        let answer = get(&colocate, "proxy.example", &path).await.expect(200);
        assert_eq!(answer.body, image.manifest.bytes);
        let layer = get(&colocate, "proxy.example", &format!("{REPOSITORY}/blobs/{}", image.layer_digest())).await;
        assert_eq!(layer.expect(200).body, image.layers[0]);
        colocate.start_empty().await;
    }
}

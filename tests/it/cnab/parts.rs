//! What the tests have in common.

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::Value;

use crate::hostile::parts::{ENDPOINT, World};
pub(super) use crate::origins::parts::{APPS, REPOSITORY, Registries, blob, get, manifest, pull_image};
use crate::support::cnab::Cnab;
use crate::support::colocate::colocate;
use crate::support::porter::{self, Pulled, Reply};

/// The type of the artifact with the map.
pub(super) const MAP_TYPE: &str = "application/vnd.colocate.relocation-map.v1+json";

/// Pulls as Porter does, from any repository by any host.
pub(super) async fn porter_at(world: &World, host: &str, repository: &str, reference: &str) -> Result<Pulled, String> {
    let ask = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = world.ask(method, path, &[headers, &[("host", host)]].concat()).await;
        Reply {
            status: answer.status,
            content_type: answer.header("content-type").unwrap_or_default().to_owned(),
            length: answer.header("content-length").map(|length| length.parse().unwrap()),
            digest: answer.header("docker-content-digest").map(str::to_owned),
            body: Bytes::from(answer.body),
        }
    };
    porter::pull(ask, host, repository, reference).await
}

/// The same from the bundles' repository.
pub(super) async fn porter(world: &World, reference: &str) -> Result<Pulled, String> {
    porter_at(world, ENDPOINT, REPOSITORY, reference).await
}

/// What refers to a digest; of one type, if that is said.
pub(super) async fn referrers(world: &World, subject: &Digest, artifact_type: Option<&str>) -> Vec<Value> {
    let filter = artifact_type.map(|name| format!("?artifactType={}", name.replace('+', "%2B"))).unwrap_or_default();
    let answer = get(world, &format!("/v2/{REPOSITORY}/referrers/{subject}{filter}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// The map that is listed for an index, with all of the artifact pulled by digest; `None` if none is listed.
pub(super) async fn map_of(world: &World, index: &Digest) -> Option<String> {
    let listed = referrers(world, index, Some(MAP_TYPE)).await;
    let [descriptor] = listed.as_slice() else {
        assert!(listed.is_empty(), "{listed:?}");
        return None;
    };
    assert_eq!(descriptor["artifactType"], MAP_TYPE);
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let artifact = get(world, &manifest(digest)).await;
    artifact.expect(&digest);
    let document: Value = serde_json::from_slice(&artifact.body).unwrap();
    assert_eq!(document["subject"]["digest"], index.to_string());
    let parts = crate::origins::parts::parts(&artifact.body);
    let [config, layer] = parts.as_slice() else { panic!("{document}") };
    get(world, &blob(config)).await.expect(config);
    let map = get(world, &blob(layer)).await;
    map.expect(layer);
    Some(String::from_utf8(map.body).unwrap())
}

/// What `colocate explain` says of a tag, by itself.
pub(super) async fn explain(config: &str, tag: &str) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    let listen = format!("listen: 127.0.0.1:1\nendpoint: {ENDPOINT}\ncache: {{dir: /nowhere}}\n");
    std::fs::write(&file, format!("{listen}{config}")).unwrap();
    let (file, reference) = (file.to_str().unwrap(), format!("{REPOSITORY}:{tag}"));
    let told = colocate(&["explain", "--config", file, &reference]).await;
    let json = colocate(&["explain", "--config", file, "--json", &reference]).await;
    assert!(told.status.success() && json.status.success(), "{told:?} {json:?}");
    (serde_json::from_str(&json.stdout).unwrap(), told.stdout)
}

/// Insists that every byte of a bundle comes as it was pushed, by GET and HEAD.
pub(super) async fn passes(world: &World, cnab: &Cnab, tag: &str) {
    let by_tag = get(world, &manifest(tag)).await;
    assert_eq!((by_tag.status, &by_tag.body[..]), (200, &cnab.index.bytes[..]), "{by_tag:?}");
    for document in &cnab.layout.manifests {
        let path = manifest(document.digest);
        let (answer, head) = (get(world, &path).await, world.ask("HEAD", &path, &[]).await);
        answer.expect(&document.digest);
        for answer in [&answer, &head] {
            assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
            assert_eq!(answer.header("content-length"), Some(document.bytes.len().to_string().as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(document.digest.to_string().as_str()));
        }
    }
    for (digest, bytes) in &cnab.layout.blobs {
        let (answer, head) = (get(world, &blob(digest)).await, world.ask("HEAD", &blob(digest), &[]).await);
        answer.expect(digest);
        assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
    }
}

//! Every byte.

use std::fs;

use colocate::oci::Digest;
use serde_json::json;

use super::parts::{REPOSITORY, Registries, get, manifest, passes, porter, porter_at, referrers};
use crate::hostile::parts::{ENDPOINT, World};
use crate::support::bundle::Bundle;
use crate::support::cnab::Cnab;

/// What Porter makes of the golden bundle, pulled from here.
fn golden_map(location: &str) -> String {
    let web = "sha256:146adb38e14044fb478a0cb1e4b3a908402165632f6944b59760d188da4dea90";
    let invocation = "sha256:98683dc562ed6048e1e4555901a14eb7eeff60dabbc9a9a37fd1a74ef03382f0";
    format!(
        r#"{{"docker.io/jeremyrickard/spring-music:v1.0.0":"{location}@{web}","ghcr.io/acme/spring-music@{invocation}":"{location}@{invocation}"}}"#
    )
}

#[tokio::test]
async fn every_byte_passes_as_it_was_pushed() {
    for cnab in [Cnab::golden(), Cnab::fallback()] {
        let registries = Registries::start().await;
        registries.own.put(REPOSITORY, &cnab.tagged("v1"));
        let world = registries.world("").await;
        for _ in 0..2 {
            passes(&world, &cnab, "v1").await;
        }
        for reference in ["v1", &cnab.index.digest.to_string()] {
            let pulled = porter(&world, reference).await.unwrap();
            assert_eq!(pulled.digest, cnab.index.digest.to_string());
            assert_eq!(
                (&pulled.index, &pulled.config, &pulled.file),
                (&cnab.index.bytes, &cnab.config.bytes, &cnab.file)
            );
            assert_eq!(pulled.map, golden_map(&format!("{ENDPOINT}/{REPOSITORY}")));
        }
        // What a resolver falls back to when there is no such manifest.
        let file = format!("/v2/{REPOSITORY}/blobs/{}", Digest::of(&cnab.file));
        let head = world.ask("HEAD", &file, &[("accept", "application/vnd.oci.image.index.v1+json, */*")]).await;
        assert_eq!((head.status, head.header("content-length")), (200, Some(cnab.file.len().to_string().as_str())));
        let nowhere = Digest::of(b"nowhere");
        for path in [manifest(nowhere), format!("/v2/{REPOSITORY}/blobs/{nowhere}")] {
            assert_eq!(world.ask("HEAD", &path, &[]).await.status, 404);
        }
    }
}

#[tokio::test]
async fn by_every_form_of_a_name() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.apps.put("acme/thing", &cnab.tagged("v1"));
    let config = registries.config("").replace("apps.example, url", "apps.example, hosts: [apps.proxy.example], url");
    let world = World::new(&config).await;
    for (host, name) in [(ENDPOINT, "apps.example/acme/thing"), ("apps.proxy.example", "acme/thing")] {
        let pulled = porter_at(&world, host, name, "v1").await.unwrap();
        assert_eq!((&pulled.index, &pulled.file), (&cnab.index.bytes, &cnab.file));
        assert_eq!(pulled.map, golden_map(&format!("{host}/{name}")));
        for document in &cnab.layout.manifests {
            let path = format!("/v2/{name}/manifests/{}", document.digest);
            world.get(&path, &[("host", host)]).await.expect(&document.digest);
        }
    }
    let by_ns = world.get("/v2/acme/thing/manifests/v1?ns=apps.example", &[]).await;
    by_ns.expect(&cnab.index.digest);
}

#[tokio::test]
async fn signatures_and_what_else_refers_to_it_pass() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let signature = Bundle::image("a signature");
    let tag = format!("sha256-{}.sig", cnab.index.digest.hex());
    registries.own.put(REPOSITORY, &signature.layout(Some(&tag)));
    let descriptor = json!({"mediaType": signature.manifest.media_type, "digest": signature.digest(),
        "size": signature.manifest.bytes.len(), "artifactType": "application/vnd.cncf.notary.signature"});
    registries.own.refer(REPOSITORY, &cnab.index.digest, descriptor.clone());
    let world = registries.world("").await;
    get(&world, &manifest(&tag)).await.expect(&signature.digest());
    let all = referrers(&world, &cnab.index.digest, None).await;
    assert_eq!((all.len(), &all[0]), (2, &descriptor));
    let one = referrers(&world, &cnab.index.digest, Some("application/vnd.cncf.notary.signature")).await;
    assert_eq!(one, [descriptor]);
}

#[tokio::test]
async fn from_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let (cnab, blobs) = (Cnab::golden(), directory.path().join("blobs/sha256"));
    fs::create_dir_all(&blobs).unwrap();
    let manifests = cnab.layout.manifests.iter().map(|document| (&document.digest, &document.bytes));
    for (digest, bytes) in cnab.layout.blobs.iter().map(|(digest, bytes)| (digest, bytes)).chain(manifests) {
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
    }
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let entry = json!({"mediaType": cnab.index.media_type, "digest": cnab.index.digest, "size": cnab.index.bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": format!("reg.example/{REPOSITORY}:v1")}});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    fs::write(directory.path().join("index.json"), index).unwrap();
    let world = World::new(&format!("upstream: {{url: 'layout:{}'}}\n", directory.path().display())).await;
    passes(&world, &cnab, "v1").await;
    assert_eq!(porter(&world, "v1").await.unwrap().map, golden_map(&format!("{ENDPOINT}/{REPOSITORY}")));
}

//! Bundles that are odd, broken or hostile: every byte passes, only the map is left out, and why is told.

use bytes::Bytes;
use colocate::oci::Digest;
use serde_json::{Value, json};

use super::parts::{REPOSITORY, Registries, explain, get, manifest, map_of, passes, porter};
use crate::hostile::parts::ENDPOINT;
use crate::support::bundle::Bundle;
use crate::support::cnab::{CONFIG, Cnab, DOCKER_MANIFEST, bundle_file, config_manifest, document, index, listed};
use crate::support::layout::Document;
use crate::support::scripted::Fault;

/// An image in the repository, and how an index lists it as the component `web`.
fn web(registries: &Registries) -> (Bundle, Value) {
    let image = Bundle::image("web");
    registries.own.put(REPOSITORY, &image.layout(None));
    let web = listed(&image.manifest, "component", Some("web"));
    (image, web)
}

fn web_map(image: &Bundle) -> String {
    format!(r#"{{"origin/web:v1":"{ENDPOINT}/{REPOSITORY}@{}"}}"#, image.digest())
}

/// Insists that a bundle passes and has no map, and that this is told as the reason.
async fn has_no_map(registries: &Registries, cnab: &Cnab, reason: &str) {
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    passes(&world, cnab, "v1").await;
    assert_eq!(map_of(&world, &cnab.index.digest).await, None, "{reason}");
    assert_eq!(get(&world, &manifest(Digest::of(b"nowhere"))).await.status, 404, "a search ends, too");
    assert!(world.log().contains(reason), "{reason} in the log");
    told(registries, reason).await;
}

async fn told(registries: &Registries, reason: &str) {
    let (json, text) = explain(&registries.config(""), "v1").await;
    assert!(json["cnab"]["relocation_map"].is_null(), "{json}");
    assert!(text.contains(&format!("its map    is not made: {reason}")), "{reason} in {text}");
}

/// Insists that a bundle passes and has this map, which is Porter's, too.
async fn has_map(registries: &Registries, cnab: &Cnab, map: &str) {
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    passes(&world, cnab, "v1").await;
    assert_eq!(porter(&world, "v1").await.unwrap().map, map);
    assert_eq!(map_of(&world, &cnab.index.digest).await.as_deref(), Some(map));
}

#[tokio::test]
async fn indexes() {
    let file = || Bytes::from(bundle_file("origin/inv:v1", &[("web", "origin/web:v1", None)]));
    let config = || config_manifest(CONFIG, &file());
    let registries = Registries::start().await;
    let (image, web) = web(&registries);
    let digest = image.digest();
    let of = |children: &[Value]| Cnab::with(file(), config(), index(children));
    let with = |child: Value| of(&[listed(&config(), "config", None), child]);
    has_no_map(&registries, &of(std::slice::from_ref(&web)), "no descriptor in the index is of the type config").await;
    let unknown = with(listed(&image.manifest, "sidecar", None));
    has_no_map(&registries, &unknown, &format!("the index says that {digest} is `sidecar` to the bundle")).await;
    let unnamed = with(listed(&image.manifest, "component", None));
    has_no_map(&registries, &unnamed, &format!("the index does not name the component {digest}")).await;
    let other = with(listed(&image.manifest, "component", Some("db")));
    has_no_map(&registries, &other, "bundle.json has no image `db`, which the index lists").await;
    let mut unsaid = web.clone();
    unsaid["annotations"] = json!({});
    has_no_map(&registries, &with(unsaid), &format!("the index does not say what {digest} is to the bundle")).await;
    let mut artifact = web.clone();
    artifact["mediaType"] = "application/vnd.x+json".into();
    let reason = format!("the index lists {digest} as application/vnd.x+json, which is no manifest");
    has_no_map(&registries, &with(artifact), &reason).await;

    // Without the annotation of its own it is known by its config.
    let mut unmarked: Value = serde_json::from_slice(&with(web.clone()).index.bytes).unwrap();
    unmarked.as_object_mut().unwrap().remove("annotations");
    let unmarked = document(crate::support::cnab::INDEX, unmarked.to_string());
    has_map(&registries, &Cnab::with(file(), config(), unmarked), &web_map(&image)).await;
    // A second config, which leads to another bundle.json, is skipped.
    let second = Bytes::from(bundle_file("other/inv:v1", &[("web", "other/web:v1", None)]));
    let second = config_manifest(CONFIG, &second);
    let twice = of(&[listed(&config(), "config", None), web, listed(&second, "config", None)]);
    registries.own.put_manifest(REPOSITORY, &second.media_type, second.bytes.clone());
    has_map(&registries, &twice, &web_map(&image)).await;
}

#[tokio::test]
async fn files() {
    let registries = Registries::start().await;
    let (image, web) = web(&registries);
    let of = |file: &str| Cnab::of(file.to_owned(), std::slice::from_ref(&web));
    for (file, reason) in [
        ("<html>".to_owned(), "bundle.json cannot be read: "),
        ("{".to_owned(), "bundle.json cannot be read: "),
        (r#"{"images":{"web":{"image":7}}}"#.to_owned(), "bundle.json cannot be read: "),
        (r#"{"images":{"web":{"image":"a"},"web":{"image":"b"}}}"#.to_owned(), "bundle.json has the key `web` twice"),
        (r#"{"images":{},"images":{"web":{"image":"b"}}}"#.to_owned(), "bundle.json has the key `images` twice"),
        (r#"{"images":{"web":{"Image":"a"}}}"#.to_owned(), "bundle.json has the key `Image`, which some readers take"),
        ("{}".to_owned(), "bundle.json has no image `web`"),
        (
            format!(r#"{{"images":{{"web":{{"image":"{}"}}}}}}"#, "a".repeat(5 << 20)),
            "bundle.json names an image by more than 4096 bytes",
        ),
    ] {
        has_no_map(&registries, &of(&file), reason).await;
    }
    let invocation = listed(&image.manifest, "invocation", None);
    let without = Cnab::of(r#"{"images":{}}"#, &[invocation]);
    has_no_map(&registries, &without, "bundle.json has no invocation image").await;

    // Not canonical, and not what a reader of Go's needs to be told of.
    let loose = "{\n  \"version\" : \"1\", \"custom\": {\"a\": 1, \"a\": 2},\n  \"images\": { \"web\": \
                 {\"image\":\"origin\\/web:v1\", \"labels\": null} }, \"name\":\"\\u0061\" }\n";
    has_map(&registries, &of(loose), &web_map(&image)).await;
}

#[tokio::test]
async fn files_that_are_not_there_or_too_large() {
    let registries = Registries::start().await;
    let (_, web) = web(&registries);
    let file = Bytes::from(bundle_file("origin/inv:v1", &[("web", "origin/web:v1", None)]));
    let whole = Cnab::of(file.clone(), std::slice::from_ref(&web));
    let lacking = |remove: Digest| {
        let mut cnab = whole.clone();
        cnab.layout.blobs.retain(|(digest, _)| *digest != remove);
        cnab.layout.manifests.retain(|document| document.digest != remove);
        cnab
    };
    let config = whole.config.digest;
    has_no_map(&registries, &lacking(config), &format!("the config manifest {config} is not there")).await;
    let digest = Digest::of(&file);
    let other = Registries::start().await;
    has_no_map(&other, &lacking(digest), &format!("bundle.json ({digest}) is not there")).await;

    let large = format!("{{\"description\":\"{}\"}}", "a".repeat(8 << 20));
    has_no_map(&registries, &Cnab::of(large, &[]), "bundle.json is larger than 8388608 bytes").await;
    // One that says it is small.
    let large = Bytes::from(format!("{{\"name\":\"{}\"}}", "b".repeat(8 << 20)));
    let mut lying: Value = serde_json::from_slice(&config_manifest(CONFIG, &large).bytes).unwrap();
    lying["config"]["size"] = 100.into();
    let lying = document(crate::support::cnab::MANIFEST, lying.to_string());
    let lying = Cnab::with(large, lying.clone(), index(&[listed(&lying, "config", None)]));
    has_no_map(&registries, &lying, "bundle.json is larger than 8388608 bytes").await;

    let index_for_config =
        Cnab::with(file.clone(), whole.index.clone(), index(&[listed(&whole.index, "config", None)]));
    let reason = format!("the config manifest {} is no image manifest", whole.index.digest);
    has_no_map(&registries, &index_for_config, &reason).await;
}

#[tokio::test]
async fn a_file_with_another_digest_is_never_given() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let digest = Digest::of(&cnab.file);
    let wrong = String::from_utf8(cnab.file.to_vec()).unwrap().replace("docker.io", "docker.ev");
    registries.own.on(&format!("*/blobs/{digest}")).get().fails(Fault::body(200, "application/octet-stream", wrong));
    let world = registries.world("").await;
    get(&world, &manifest("v1")).await.expect(&cnab.index.digest);
    assert_eq!(map_of(&world, &cnab.index.digest).await, None);
    let answer = get(&world, &super::parts::blob(&digest)).await;
    assert!(answer.status != 200 || !answer.is_whole(), "{answer:?}");
    told(&registries, &format!("the registry gives something else for bundle.json ({digest})")).await;
}

#[tokio::test]
async fn all_media_types_of_configs() {
    let registries = Registries::start().await;
    let (image, web) = web(&registries);
    let file = Bytes::from(bundle_file("origin/inv:v1", &[("web", "origin/web:v1", None)]));
    for config_type in [
        CONFIG,
        "application/vnd.cnab.bundle.config.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ] {
        let oci = config_manifest(config_type, &file);
        // Docker's, in which the config is a layer, too.
        let config = json!({"mediaType": config_type, "digest": Digest::of(&file), "size": file.len()});
        let docker = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": [config]});
        let docker: Document = document(DOCKER_MANIFEST, docker.to_string());
        for config in [oci, docker] {
            let index = index(&[listed(&config, "config", None), web.clone()]);
            has_map(&registries, &Cnab::with(file.clone(), config, index), &web_map(&image)).await;
        }
    }
}

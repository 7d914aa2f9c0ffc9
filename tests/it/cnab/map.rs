//! The relocation map, as a referrer.

use std::collections::BTreeSet;

use colocate::oci::Digest;
use serde_json::{Value, json};

use super::parts::{MAP_TYPE, REPOSITORY, Registries, blob, get, manifest, map_of, porter, referrers};
use crate::hostile::parts::ENDPOINT;
use crate::origins::parts::parts;
use crate::support::bundle::Bundle;
use crate::support::cnab::{Cnab, bundle_file, listed};
use crate::support::scripted::Fault;

#[tokio::test]
async fn it_is_what_porter_makes() {
    for cnab in [Cnab::golden(), Cnab::fallback()] {
        let registries = Registries::start().await;
        registries.own.put(REPOSITORY, &cnab.tagged("v1"));
        let world = registries.world("").await;
        let pulled = porter(&world, "v1").await.unwrap();
        assert_eq!(map_of(&world, &cnab.index.digest).await, Some(pulled.map));
        // What is in it has none, nor has anything else.
        for document in &cnab.layout.manifests[..3] {
            assert_eq!(referrers(&world, &document.digest, None).await, [Value::Null; 0]);
        }
    }
}

/// Changing any of these changes what clients have pinned.
#[tokio::test]
async fn its_bytes_are_pinned() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    let [descriptor] = referrers(&world, &cnab.index.digest, None).await.try_into().unwrap();
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let artifact = get(&world, &manifest(digest)).await;
    assert_eq!(descriptor["size"], artifact.body.len());
    let layer = parts(&artifact.body)[1];
    let map = get(&world, &blob(&layer)).await.body;
    let expected = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"artifactType\":\"{MAP_TYPE}\",\
         \"config\":{{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"{}\",\"size\":2}},\
         \"layers\":[{{\"mediaType\":\"application/json\",\"digest\":\"{layer}\",\"size\":{},\
         \"annotations\":{{\"org.opencontainers.image.title\":\"relocation-mapping.json\"}}}}],\
         \"subject\":{{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"{}\",\"size\":1092}}}}",
        Digest::of(b"{}"),
        map.len(),
        cnab.index.digest
    );
    assert_eq!(String::from_utf8(artifact.body).unwrap(), expected);
}

#[tokio::test]
async fn it_is_found_again_with_an_empty_cache() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let first = registries.world("").await;
    let [descriptor] = referrers(&first, &cnab.index.digest, Some(MAP_TYPE)).await.try_into().unwrap();
    let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let artifact = get(&first, &manifest(digest)).await.body;
    let layer = parts(&artifact)[1];
    for (path, digest) in [(manifest(digest), digest), (blob(&layer), layer)] {
        let mut other = registries.world("").await;
        get(&other, &path).await.expect(&digest);
        other.restart().await;
        get(&other, &path).await.expect(&digest);
    }
    // And with no registry, by whoever has it.
    let mut world = registries.world("tags: {immutable: ['**:v1']}").await;
    porter(&world, "v1").await.unwrap();
    let map = map_of(&world, &cnab.index.digest).await;
    world.restart().await;
    registries.own.on("/v2/*/manifests/*").fails(Fault::status(500));
    registries.own.on("/v2/*/blobs/*").fails(Fault::status(500));
    get(&world, &blob(&layer)).await.expect(&layer);
    get(&world, &manifest(digest)).await.expect(&digest);
    registries.own.heal();
    assert_eq!(map_of(&world, &cnab.index.digest).await, map);
}

#[tokio::test]
async fn each_target_has_its_own_and_the_exact_view_none() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let rules = "endpoints: [other.example, third.example, exact.example]\nrelocation: {max_targets_per_bundle: 2}\n\
                 rules: [{endpoint: exact.example, relocation: {when: never}}]";
    let world = registries.world(rules).await;
    let path = format!("/v2/{REPOSITORY}/referrers/{}", cnab.index.digest);
    let mut digests = BTreeSet::new();
    for host in [ENDPOINT, "other.example", "third.example", "exact.example"] {
        let answer = world.get(&path, &[("host", host)]).await;
        let listed: Value = serde_json::from_slice(&answer.body).unwrap();
        let listed = listed["manifests"].as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap().to_owned());
        digests.insert((host, listed.collect::<Vec<_>>()));
    }
    let count = |wanted: &str| digests.iter().find(|(host, _)| *host == wanted).unwrap().1.len();
    assert_eq!([ENDPOINT, "other.example", "exact.example"].map(count), [1, 1, 0]);
    assert_eq!(count("third.example"), 0, "relocation.max_targets_per_bundle");
    let digest = &digests.iter().find(|(host, _)| *host == ENDPOINT).unwrap().1[0];
    let exact = world.get(&manifest(digest), &[("host", "exact.example")]).await;
    assert_eq!(exact.status, 404);
    get(&world, &manifest(digest)).await.expect(&digest.parse().unwrap());
}

#[tokio::test]
async fn what_html_gives_a_meaning_to_is_written_as_go_does() {
    let registries = Registries::start().await;
    let image = Bundle::image("an image");
    registries.own.put(REPOSITORY, &image.layout(None));
    let file = bundle_file("x", &[("a", "a<b>&c", Some(&image)), ("b", "not listed", Some(&image))]);
    let cnab = Cnab::of(file, &[listed(&image.manifest, "component", Some("a"))]);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    let map = map_of(&world, &cnab.index.digest).await.unwrap();
    let location = format!("{ENDPOINT}/{REPOSITORY}@{}", image.digest());
    assert_eq!(map, format!(r#"{{"a\u003cb\u003e\u0026c":"{location}"}}"#));
    let read: Value = serde_json::from_str(&porter(&world, "v1").await.unwrap().map).unwrap();
    assert_eq!(
        (serde_json::from_str::<Value>(&map).unwrap(), read),
        (json!({"a<b>&c": location}), json!({"a<b>&c": location}))
    );
}

#[tokio::test]
async fn a_registry_in_trouble_is_asked_again() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    get(&world, &manifest("v1")).await.expect(&cnab.index.digest);
    let path = format!("/v2/{REPOSITORY}/blobs/*");
    registries.own.on(&path).fails(Fault::status(500));
    assert_eq!(map_of(&world, &cnab.index.digest).await, None);
    registries.own.heal();
    assert!(map_of(&world, &cnab.index.digest).await.is_some());
}

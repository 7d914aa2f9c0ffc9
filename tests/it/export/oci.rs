//! OCI image layouts in a tar.

use colocate::oci::Digest;
use serde_json::Value;

use super::*;
use crate::support::bundle::index;
use crate::support::exported::{OciArchive, entries};
use crate::support::layout::Document;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_it_by_its_digest_and_name() {
    let world = World::golden().await;
    for golden in Golden::all() {
        let reference = format!("fx/{}:{}", golden.name, Golden::TAG);
        let tar = world.export("cache", "archive.tar", &[&reference, "--format", "oci"]).await;
        let archive = OciArchive::read(&tar);
        let names = archive.names();
        assert_eq!(names[0], (format!("{REGISTRY}/{reference}"), golden.digest));
        let imgpkg = fs::read(fixture(format!("tars/{}.tar", golden.name))).unwrap();
        let described: Value = serde_json::from_slice(&entries(&imgpkg)[0].data).unwrap();
        // The same images under the same names, but for the root's.
        let mut expected: Vec<(String, Digest)> = described.as_array().unwrap().iter().map(named).collect();
        expected.retain(|(_, digest)| *digest != golden.digest);
        expected.sort_by_key(|(_, digest)| *digest);
        assert_eq!(names[1..], expected, "{}", golden.name);
        for listed in archive.index["manifests"].as_array().unwrap() {
            archive.layout(listed);
        }
        // Made by another process from another cache.
        let again = world.export(golden.name, "again.tar", &[&reference, "--format", "oci"]).await;
        assert!(again == tar, "{}", golden.name);
    }
}

/// What imgpkg calls an image or index, and its digest.
fn named(described: &Value) -> (String, Digest) {
    let found = if described["Image"].is_null() { &described["ImageIndex"] } else { &described["Image"] };
    let name = found["Refs"][0].as_str().unwrap().to_owned();
    let digest = name.split_once('@').unwrap().1.parse().unwrap();
    (name, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_references_and_names() {
    let images = [Bundle::image("one"), Bundle::image("two")];
    let (world, bundle) = World::with_bundle(&images.each_ref()).await;
    world.put(&images[0], Some("one"));
    world.upstream.tag(REPOSITORY, "same", &bundle.digest());
    let by_digest = format!("{REPOSITORY}@{}", images[1].digest());
    let references = ["acme/app:v1", "acme/app:one", "acme/app:same", &by_digest, "acme/app:v1"];
    let arguments = [&references[..], &["--format", "oci"]].concat();
    let archive = OciArchive::read(&world.export("cache", "archive.tar", &arguments).await);
    let name = |rest: &str| format!("{REGISTRY}/{REPOSITORY}{rest}");
    let (one, two) = (images[0].digest(), images[1].digest());
    let expected = [
        (name(":v1"), bundle.digest()),
        (name(":one"), one),
        (name(":same"), bundle.digest()),
        (name(&format!("@{two}")), two),
        (name(&format!("@{one}")), one),
    ];
    assert_eq!(archive.names(), expected);
    assert_eq!(archive.len(), 9);

    // imgpkg has a description for each tag.
    let tar = world.export("cache", "imgpkg.tar", &references).await;
    let described: Value = serde_json::from_slice(&entries(&tar)[0].data).unwrap();
    let mut found: Vec<(String, &str, bool)> = described
        .as_array()
        .unwrap()
        .iter()
        .map(|described| {
            let image = &described["Image"];
            let digest = image["Manifest"]["Digest"].as_str().unwrap().to_owned();
            assert_eq!(image["Refs"], json!([name(&format!("@{digest}"))]));
            (digest, image["Tag"].as_str().unwrap(), image["Labels"].is_object())
        })
        .collect();
    found.sort();
    let v1 = bundle.digest().to_string();
    let mut expected =
        [(v1.clone(), "same", true), (v1, "v1", true), (one.to_string(), "one", false), (two.to_string(), "", false)];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_for_some_platforms() {
    let images = ["amd64", "arm64", "any"].map(Bundle::image);
    let world = World::new().await;
    images.iter().for_each(|image| world.put(image, None));
    let Document { bytes, media_type, .. } = index(&images.each_ref());
    let mut listed: Value = serde_json::from_slice(&bytes).unwrap();
    for (at, architecture) in ["amd64", "arm64"].iter().enumerate() {
        listed["manifests"][at]["platform"] = json!({"os": "linux", "architecture": architecture});
    }
    let digest = world.upstream.put_manifest(REPOSITORY, &media_type, listed.to_string());
    world.upstream.tag(REPOSITORY, "all", &digest);

    let arguments = ["acme/app:all", "--format", "oci", "--platform", "linux/arm64"];
    let archive = OciArchive::read(&world.export("cache", "some.tar", &arguments).await);
    assert_eq!(archive.names(), [(format!("{REGISTRY}/{REPOSITORY}:all"), digest)]);
    let there: Vec<bool> = images.iter().map(|image| archive.has(&image.digest())).collect();
    assert_eq!(there, [false, true, true]);
    assert!(archive.has(&digest) && archive.len() == 7);
    let archive = OciArchive::read(&world.export("cache", "all.tar", &arguments[..3]).await);
    assert_eq!(archive.len(), 10);

    let refused = world.try_export("cache", "none.tar", &["acme/app:all", "--platform", "linux/arm64"]).await;
    bad(&refused, 2, "use --format oci");
    let none = ["acme/app:all", "--format", "oci", "--platform", "plan9/mips"];
    // The image without a platform is for it, too.
    assert_eq!(OciArchive::read(&world.export("cache", "any.tar", &none).await).len(), 4);
}

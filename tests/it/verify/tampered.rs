//! Bundles that are nearly right, as a bad proxy would serve them. Each has digests that hold, but where it says so.

use super::*;
use crate::support::bundle::index;

#[tokio::test(flavor = "multi_thread")]
async fn locks() {
    let world = World::new();
    let lock = world.lock.clone();
    let image = |hex: &str| format!("{TARGET}@{}", digest(hex));
    let line = |hex: &str| format!("- image: {}\n", image(hex));
    let swapped = lock.replace(&digest("1"), "X").replace(&digest("2"), &digest("1")).replace('X', &digest("2"));
    for (what, lock, expected) in [
        ("a digest", lock.replace(&digest("2"), &digest("f")), &["lock images[1].image digest changed"][..]),
        ("a host", lock.replacen("proxy.example", "evil.example", 1), &["lock images[0].image location changed"]),
        ("a repository", lock.replacen("acme/app@", "acme/evil@", 1), &["lock images[0].image location changed"]),
        ("a tag", lock.replacen("acme/app@", "acme/app:v1@", 1), &["lock images[0].image location changed"]),
        ("an annotation", lock.replace("mine", "yours"), &["lock images[2].annotations[\"note\"] - changed"]),
        (
            "another annotation",
            lock.replace("note: mine", "note: mine\n    other: mine"),
            &["lock images[2].annotations[\"other\"] - added"],
        ),
        (
            "no annotation",
            lock.replace("note: mine", "notes: mine"),
            &["lock images[2].annotations[\"note\"] - removed", "lock images[2].annotations[\"notes\"] - added"],
        ),
        ("swapped", swapped, &["lock images[0].image digest moved", "lock images[1].image digest moved"]),
        ("dropped", lock.replace(&line("2"), ""), &["lock images[1] - removed"]),
        ("added", lock.replace(&line("2"), &(line("2") + &line("f"))), &["lock images[2] - added"]),
        ("a comment", lock.replace("kind:", "# nothing\nkind:"), &["lock .imgpkg/images.yml - rewritten"]),
        ("none", "kind: ImagesLock\n".to_owned(), &["lock .imgpkg/images.yml - unreadable"]),
    ] {
        assert_ne!(lock, world.lock, "{what}");
        assert_eq!(world.differences(&world.with_lock(&lock)).await, expected, "{what}");
    }
    // An image that is left where it was is no lie: the proxy may not have it for this client.
    let kept = lock.replace(&image("2"), &format!("ghcr.io/acme/two@{}", digest("2")));
    let report = world.report(&world.with_lock(&kept)).await;
    assert_eq!((&report["verdict"], &report["images"][1]["relocated"]), (&"content_equal".into(), &false.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents() {
    let world = World::new();
    let right = world.right();
    let config = |config: String| world.with_config(right.layer.clone(), config);
    let manifest = |manifest: String| Fake { manifest, ..world.right() };
    let layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let size = format!("\"size\":{}", right.layer.len());
    let label = r#""dev.carvel.imgpkg.bundle":"true""#;
    let own_diff_id = serde_json::from_str::<Value>(&right.config).unwrap()["rootfs"]["diff_ids"][0].to_string();
    for (what, fake, expected) in [
        (
            "a label",
            config(right.config.replace(label, &format!("{label},\"x\":\"y\""))),
            "config config.Labels.x - added",
        ),
        (
            "no label",
            config(right.config.replace(label, "")),
            "config config.Labels[\"dev.carvel.imgpkg.bundle\"] - removed",
        ),
        (
            "an environment",
            config(right.config.replace("\"Labels\"", "\"Env\":[\"A=b\"],\"Labels\"")),
            "config config.Env - added",
        ),
        ("an author", config(right.config.replace("\"imgpkg\"", "\"me\"")), "config history[0].author - changed"),
        (
            "a diff id",
            config(right.config.replace(own_diff_id.trim_matches('"'), &digest("e"))),
            "config rootfs.diff_ids[0] - changed",
        ),
        ("white space", config(right.config.replace("\"os\":", "\"os\": ")), "config $ - rewritten"),
        (
            "an annotation",
            manifest(right.manifest.replacen('{', "{\"annotations\":{\"a.b\":\"c\"},", 1)),
            "manifest annotations - added",
        ),
        (
            "a media type",
            manifest(right.manifest.replace(layer_type, "application/vnd.oci.image.layer.v1.tar+gzip")),
            "manifest layers[0].mediaType - changed",
        ),
        ("a size", manifest(right.manifest.replace(&size, "\"size\":1")), "manifest layers[0].size - changed"),
        ("a subject", manifest(right.manifest.replacen('{', "{\"subject\":null,", 1)), "manifest subject - added"),
        (
            "another key",
            manifest(right.manifest.replacen('{', "{\"schemaVersion\":2,", 1)),
            "manifest schemaVersion - added",
        ),
    ] {
        assert!(fake.manifest != right.manifest, "{what}");
        assert_eq!(world.differences(&fake).await, [expected], "{what}");
    }
    assert_eq!(world.differences(&world.two_layers()).await, ["manifest layers[1] - added"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_hash() {
    let world = World::new();
    let right = world.right();
    for (bytes, part) in [(right.layer.clone(), "layer"), (Bytes::from(right.config.clone()), "config")] {
        let other = if part == "layer" { gzip(&world.tar.bytes, 6) } else { Bytes::from_static(b"{}") };
        let proxy = world.serve(&right).await;
        // Under the digest of what it should be.
        let wrong = Layout { blobs: vec![(Digest::of(&bytes), other.clone())], ..Layout::default() };
        proxy.put(REPOSITORY, &wrong);
        let finished = world.verify(&proxy, &["--json"]).await;
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let report = json(&finished);
        assert_eq!(report["verdict"], "not_proven");
        let difference = &report["differences"][0];
        assert_eq!((&difference["part"], &difference["kind"]), (&part.into(), &"wrong_bytes".into()));
        assert_eq!(difference["found"], Digest::of(&other).to_string());
        // And gone.
        proxy.remove(REPOSITORY, &Digest::of(&bytes).to_string());
        let report = json(&world.verify(&proxy, &["--json"]).await);
        assert_eq!(
            (&report["differences"][0]["part"], &report["differences"][0]["kind"]),
            (&part.into(), &"removed".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_altogether() {
    let world = World::new();
    let proxy = world.serve(&world.right()).await;
    let image = Bundle::image("other");
    let list = index(&[&image]);
    proxy.put(REPOSITORY, &image.layout(None));
    proxy.put(
        REPOSITORY,
        &Layout { manifests: vec![list.clone()], tags: vec![("v1".to_owned(), list.digest)], ..Layout::default() },
    );
    let finished = world.verify(&proxy, &["--json"]).await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let differences = json(&finished)["differences"].clone();
    let places: Vec<_> = differences.as_array().unwrap().iter().map(|one| one["at"].as_str().unwrap()).collect();
    assert_eq!(places, ["config", "layers", "mediaType", "manifests"]);
    // An index in the place of itself is the original.
    let (reference, digest) = (reference(&proxy), list.digest.to_string());
    let finished = colocate(&["verify", &reference, "--original", &digest]).await;
    assert!(finished.status.success() && finished.stdout.contains("byte for byte"), "{finished:?}");
    // What is no bundle is never relocated, however well.
    let fake = Fake { ..world.right() };
    proxy.put(REPOSITORY, &fake.layout());
    let finished = colocate(&["verify", &reference, "--original", &image.digest().to_string()]).await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.contains("never relocated, since its config does not carry the label"), "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_one_is_proven() {
    let world = World::new();
    let proxy = world.serve(&world.right()).await;
    let finished = world.verify(&proxy, &[]).await;
    assert!(finished.status.success() && finished.stdout.contains("\nproven: "), "{finished:?}");
    assert!(finished.stdout.contains(&format!("ghcr.io/acme/one@{0}\n         -> {TARGET}@{0}", digest("1"))));
}

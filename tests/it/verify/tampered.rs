//! Bundles that are nearly right, as a bad proxy would serve them. Each has digests that hold, but where it says so.

use super::*;
use crate::support::bundle::{Writer, index};

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
async fn layers() {
    let world = World::new();
    let tar = world.tar.with_lock(&world.lock);
    let edited = |edit: &dyn Fn(&mut Tarball)| {
        let mut other = Tarball::new();
        edit(&mut other);
        other.bytes
    };
    let entries = |tar: &mut Tarball, app: &[u8]| {
        tar.folder(".imgpkg").file("config/app.yml", app).lock(&world.lock);
    };
    assert_eq!(
        tar,
        edited(&|tar| {
            entries(tar, b"a: 1\n");
            tar.file("run.sh", b"#!/bin/sh\n").finish();
        })
    );
    for (what, tar, expected) in [
        (
            "a file's data",
            edited(&|tar| {
                entries(tar, b"a: 2\n");
                tar.file("run.sh", b"#!/bin/sh\n").finish();
            }),
            "layer config/app.yml data changed",
        ),
        (
            "a file's size",
            edited(&|tar| {
                entries(tar, &b"a: 1\n".repeat(300));
                tar.file("run.sh", b"#!/bin/sh\n").finish();
            }),
            "layer config/app.yml data changed",
        ),
        (
            "one more",
            edited(&|tar| {
                entries(tar, b"a: 1\n");
                tar.file("evil.sh", b"#!/bin/sh\n").file("run.sh", b"#!/bin/sh\n").finish();
            }),
            "layer evil.sh - added",
        ),
        (
            "one less",
            edited(&|tar| {
                entries(tar, b"a: 1\n");
                tar.finish();
            }),
            "layer run.sh - removed",
        ),
        (
            "another name",
            edited(&|tar| {
                entries(tar, b"a: 1\n");
                tar.file("ran.sh", b"#!/bin/sh\n").finish();
            }),
            "layer run.sh name changed",
        ),
        (
            "a link",
            edited(&|tar| {
                entries(tar, b"a: 1\n");
                tar.hard_link("run.sh", "config/app.yml").finish();
            }),
            "layer run.sh type changed",
        ),
        (
            "an extended header",
            edited(&|tar| {
                entries(tar, b"a: 1\n");
                tar.pax(&[("SCHILY.xattr.security.capability", "x")]).file("run.sh", b"#!/bin/sh\n").finish();
            }),
            "layer run.sh extended header changed",
        ),
        ("more at the end", [&tar[..], &[0; 512]].concat(), "layer end of the archive - changed"),
        ("an end in the middle", tar[..tar.len() - 1200].to_vec(), "layer $ - unreadable"),
        ("padding", patched(&tar, b"a: 1\n\0", b"a: 1\n!"), "layer config/app.yml padding changed"),
        ("a mode", with_mode(&tar, "run.sh", "0004755"), "layer run.sh mode changed"),
    ] {
        let found = world.differences(&world.with_tar(&tar)).await;
        assert_eq!(found[0], expected, "{what}: {found:?}");
        assert!(found.len() == 1 || what == "a link" && found.len() == 3, "{what}: {found:?}");
    }
    let raw = |layer: &[u8]| world.with_layer(layer.to_vec().into(), &Digest::of(&tar));
    let gzipped = gzip(&tar, 9);
    for (what, layer) in [
        ("cut short", &gzipped[..gzipped.len() - 9]),
        ("garbage behind", &[&gzipped[..], b"garbage"].concat()),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]),
        ("nothing", b""),
    ] {
        let found = world.differences(&raw(layer)).await;
        assert!(found.contains(&"layer $ - unreadable".to_owned()) || what == "nothing", "{what}: {found:?}");
    }
    let report = world.report(&world.with_tar(&tar)).await;
    assert_eq!(report["verdict"], "content_equal");
    assert_eq!(
        (&report["differences"][0]["aspect"], &report["differences"][0]["kind"]),
        (&"compression".into(), &"rewritten".into())
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_any_writer() {
    for writer in [Writer::Plain, Writer::Zlib(1), Writer::Libdeflate(12), Writer::Zopfli] {
        let world = World::of(BundleBuilder::new().oci().writer(writer));
        let proxy = world.serve(&world.right()).await;
        let finished = world.verify(&proxy, &["--json"]).await;
        assert_eq!((finished.status.code(), &json(&finished)["verdict"]), (Some(0), &"proven".into()), "{finished:?}");
        // The same tar in another form.
        let tar = world.tar.with_lock(&world.lock);
        let again = if matches!(writer, Writer::Plain) { gzip(&tar, 6) } else { tar.clone().into() };
        assert_eq!(world.report(&world.with_layer(again, &Digest::of(&tar))).await["verdict"], "content_equal");
    }
}

fn patched(tar: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = tar.windows(old.len()).position(|window| window == old).unwrap();
    [&tar[..at], new, &tar[at + old.len()..]].concat()
}

/// The tar with another mode for one entry, and its header's checksum right.
fn with_mode(tar: &[u8], name: &str, mode: &str) -> Vec<u8> {
    let at = (0..tar.len()).step_by(512).find(|at| tar[*at..].starts_with(name.as_bytes())).unwrap();
    let mut other = tar.to_vec();
    other[at + 100..at + 107].copy_from_slice(mode.as_bytes());
    other[at + 148..at + 156].fill(b' ');
    let sum: u64 = other[at..at + 512].iter().map(|byte| u64::from(*byte)).sum();
    other[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    other
}

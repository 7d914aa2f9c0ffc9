//! Layers that are nearly right, and the same ones compressed otherwise.

use super::*;
use crate::support::bundle::Writer;

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_tar() {
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

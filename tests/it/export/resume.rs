//! Archives that were broken off, by whatever means.

use std::process::Command;

use super::*;
use crate::support::colocate::BINARY;
use crate::support::exported::{Entry, entries};
use crate::support::process::Process;
use crate::support::scripted::Fault;
use crate::support::tarball::{Tarball, noise};

/// An image with a layer of so many bytes that do not compress.
fn large_image(seed: u64, size: usize) -> Bundle {
    BundleBuilder::new().label(None).raw_layer(noise(seed, size)).build()
}

fn blob_path(hex: &str) -> String {
    format!("/v2/{REPOSITORY}/blobs/sha256:{hex}")
}

/// The digest in a layer's name.
fn hex(entry: &Entry) -> Option<&str> {
    entry.name.strip_prefix("sha256-")?.strip_suffix(".tar.gz")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_gone_on_with_wherever_it_was_cut() {
    let images = [Bundle::image("small"), large_image(1, 400_000), large_image(2, 1_024)];
    let (world, bundle) = World::with_bundle(&images.each_ref()).await;
    let whole = world.export("first", "whole.tar", &["acme/app:v1"]).await;
    let files = entries(&whole);
    assert_eq!(files.len(), 5);
    let mut cuts = vec![0, 100, whole.len() - 1, whole.len() - 512, whole.len() - 1024, whole.len()];
    for Entry { start, end, data, .. } in &files {
        cuts.extend([start + 300, start + 512, start + 512 + data.len() / 2, end - 1, *end]);
    }
    cuts.sort_unstable();
    cuts.dedup();
    for cut in cuts {
        world.upstream.forget();
        let file = format!("cut-{cut}.tar");
        fs::write(partial(&world.path(&file)), &whole[..cut]).unwrap();
        let archive = world.export(&format!("cache-{cut}"), &file, &["acme/app:v1"]).await;
        assert!(archive == whole, "cut at {cut}");
        // The bundle's own is read for its lock, whatever there is.
        let own = bundle.layer_digest().hex();
        for file in &files {
            let Some(hex) = hex(file).filter(|hex| **hex != own) else { continue };
            let asked = world.upstream.count("GET", &blob_path(hex));
            assert_eq!(asked, usize::from(file.end > cut), "cut at {cut}: {}", file.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_right_of_it_is_written_again() {
    let images = [Bundle::image("small"), large_image(1, 100_000)];
    let (world, _) = World::with_bundle(&images.each_ref()).await;
    let whole = world.export("cache", "whole.tar", &["acme/app:v1"]).await;
    let files = entries(&whole);
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for Entry { name, start, end, .. } in &files {
        // In the name, the mode, the size, the checksum, the content and behind it.
        for at in [*start, start + 106, start + 130, start + 150, start + 600, end - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            found.push((format!("{name} at {}", at - start), flipped));
        }
    }
    let mut other = Tarball::new();
    other.file("manifest.json", &files[0].data).file(&files[1].name, b"something else").finish();
    let twice = [&whole[..files[1].end], &whole[files[1].start..]].concat();
    found.extend([
        ("noise".to_owned(), noise(7, 10_000)),
        ("text".to_owned(), b"not an archive".to_vec()),
        ("zeros".to_owned(), vec![0; 5_000]),
        ("longer".to_owned(), [whole.as_slice(), &noise(8, 3_000)].concat()),
        ("another archive".to_owned(), other.bytes),
        ("a file twice".to_owned(), twice),
        ("without the first".to_owned(), whole[files[0].end..].to_vec()),
    ]);
    for (what, bytes) in found {
        fs::write(partial(&world.path("archive.tar")), bytes).unwrap();
        assert!(world.export("cache", "archive.tar", &["acme/app:v1"]).await == whole, "{what}");
        fs::remove_file(world.path("archive.tar")).unwrap();
    }
    // The same content by other names.
    let oci = world.export("cache", "oci.tar", &["acme/app:v1", "--format", "oci"]).await;
    fs::write(partial(&world.path("archive.tar")), &oci).unwrap();
    assert!(world.export("cache", "archive.tar", &["acme/app:v1"]).await == whole);
    fs::write(partial(&world.path("oci.tar")), &whole).unwrap();
    assert!(world.export("cache", "oci.tar", &["acme/app:v1", "--format", "oci"]).await == oci);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_leaves_what_there_is() {
    let images = [large_image(1, 100_000), large_image(2, 1_000_000)];
    let (world, _) = World::with_bundle(&images.each_ref()).await;
    let layer = blob_path(&images[1].layer_digest().hex());
    world.upstream.on(&layer).get().fails(Fault::StallAt(600_000));
    let (config, file) = (world.config("cache", world.settings()), world.path("archive.tar"));
    fs::write(&file, "what was there before").unwrap();
    let mut command = Command::new(BINARY);
    command.args(["export", "--config", &config, "acme/app:v1", "-o"]).arg(&file).env_remove("RUST_LOG");
    let mut process = Process::spawn(command);
    world.upstream.sent(&layer, 600_000).await;
    crate::support::eventually("it is written", std::time::Duration::from_secs(20), async || {
        fs::metadata(partial(&file)).is_ok_and(|found| found.len() > 300_000)
    })
    .await;
    // Nobody else may write to it meanwhile.
    let other = world.try_export("other", "archive.tar", &["acme/app:v1"]).await;
    bad(&other, 1, "another export is writing");
    let status = process.stop().await;
    assert_eq!(status.code(), Some(1));
    let said = process.stderr();
    assert!(said.contains("the same command goes on from there") && said.contains("stopped by SIGTERM"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"what was there before");
    assert!(partial(&file).exists());
    world.upstream.heal();
    let archive = world.export("cache", "archive.tar", &["acme/app:v1"]).await;
    assert!(archive == world.export("other", "other.tar", &["acme/app:v1"]).await);
}

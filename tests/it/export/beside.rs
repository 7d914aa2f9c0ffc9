//! Beside a colocate that serves from the cache directory, which does the work then.

use std::process::Command;

use super::*;
use crate::support::colocate::{BINARY, Colocate};
use crate::support::process::Process;
use crate::support::scripted::Fault;
use crate::support::tarball::noise;

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_is_the_same() {
    let image = BundleBuilder::new().label(None).raw_layer(noise(1, 1_000_000)).build();
    let (world, _) = World::with_bundle(&[&image, &Bundle::image("small")]).await;
    let expected = world.export("alone", "alone.tar", &["acme/app:v1"]).await;
    let mut served = Colocate::start(world.settings()).await;
    let cache = served.cache().to_string_lossy().into_owned();
    let file = world.path("archive.tar");
    let output = file.to_string_lossy().into_owned();
    let arguments = ["export", "--cache", &cache, "-o", &output, "proxy.example/acme/app:v1"];

    let layer = format!("/v2/{REPOSITORY}/blobs/{}", image.layer_digest());
    world.upstream.on(&layer).get().fails(Fault::StallAt(600_000));
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("RUST_LOG");
    let mut export = Process::spawn(command);
    world.upstream.sent(&layer, 600_000).await;
    crate::support::eventually("it is written", std::time::Duration::from_secs(20), async || {
        fs::metadata(partial(&file)).is_ok_and(|found| found.len() > 300_000)
    })
    .await;
    served.stop().await;
    let status = export.wait().await;
    assert_eq!(status.code(), Some(1));
    assert!(export.stderr().contains("stopped before the task was done"), "{}", export.stderr());
    assert!(export.stderr().contains("the same command goes on from there"), "{}", export.stderr());
    world.upstream.heal();

    served.start_again().await;
    let finished = colocate(&arguments).await;
    assert!(finished.status.success(), "{finished:?}");
    assert!(world.archive("archive.tar") == expected);
    served.stop().await;
    bad(&colocate(&arguments).await, 2, "give --upstream");
}

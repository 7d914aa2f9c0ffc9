//! Disks that are full, or read-only: the cache suffers, no pull does.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::{Colocate, Pulled, Settings};
use crate::support::eventually;
use crate::support::mount::Mount;
use crate::support::pattern::Pattern;
use crate::support::process::free_address;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::ScriptedUpstream;
use crate::support::stored::Stored;

const REPOSITORY: &str = "acme/app";
/// The disk.
const DISK: u64 = 16 << 20;
/// A blob of which it takes three, and a little more.
const BLOB: u64 = (5 << 20) - 7;

/// An upstream, and the program with its cache on a small disk.
struct World {
    upstream: ScriptedUpstream,
    colocate: Colocate,
    disk: PathBuf,
    // After what uses it: fields go in this order.
    _mount: Mount,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let upstream = ScriptedUpstream::start().await;
        let directory = TempDir::new().expect("a directory");
        let disk = directory.path().to_owned();
        let mount = Mount::small(&disk, DISK).await;
        let settings = Settings::new(&upstream.url())
            .set("cache.dir", disk.to_string_lossy().as_ref())
            .set("admin.listen", free_address().to_string());
        let colocate = Colocate::start(settings).await;
        Self { upstream, colocate, disk, _mount: mount, _directory: directory }
    }

    fn blob(&self, seed: u64, size: u64) -> Pattern {
        let blob = Pattern::new(seed, size);
        self.upstream.put_pattern(REPOSITORY, &blob);
        blob
    }

    /// A bundle under this tag, with its image.
    fn bundle(&self, tag: &str) -> Bundle {
        let image = Bundle::image(tag);
        let bundle = BundleBuilder::with_lock(&lock_of(&[format!("registry.test/app@{}", image.digest())])).build();
        self.upstream.put(REPOSITORY, &image.layout(None));
        self.upstream.put(REPOSITORY, &bundle.layout(Some(tag)));
        bundle
    }

    async fn pull(&self, blob: &Pattern) {
        assert_eq!(Pull::of(&self.colocate.url(), REPOSITORY, blob).run().await, Ended::Whole, "{blob:?}");
    }

    /// The bundle of `tag`, checked, and relocated.
    async fn pull_bundle(&self, tag: &str) -> Pulled {
        let bundle = self.bundle(tag);
        let pulled = self.colocate.pull(REPOSITORY, tag).await;
        assert_ne!(pulled.digest, bundle.digest(), "relocated");
        pulled
    }

    /// Whether a pull of this blob asks the upstream for none of it.
    async fn is_hit(&self, blob: &Pattern) -> bool {
        let path = format!("*/blobs/{}", blob.digest());
        let asked = self.upstream.count("GET", &path);
        self.pull(blob).await;
        self.upstream.count("GET", &path) == asked
    }

    /// The trouble so far was counted, and told once.
    async fn told_of(&self, kind: &str) {
        let counted = format!("colocate_cache_trouble_total{{kind=\"{kind}\"}} ");
        let metrics = self.colocate.metrics().await;
        let times = metrics.lines().find_map(|line| line.strip_prefix(&counted));
        assert!(times.is_some_and(|times| times != "0"), "{metrics}");
        let log = self.colocate.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("disk is in trouble")).collect();
        assert_eq!(lines.len(), 1, "{}", lines.join("\n"));
    }

    /// Caching has resumed: what is pulled now is kept.
    async fn keeps(&self, blob: &Pattern) {
        eventually("what is pulled is kept again", Duration::from_secs(60), async || self.is_hit(blob).await).await;
        eventually("nothing is left over", Duration::from_secs(20), async || {
            Stored::audit(&self.disk).partials.is_empty()
        })
        .await;
    }
}

/// Takes all that is left of a disk.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut file = File::create(&path).expect("creatable");
    let error = (0..).find_map(|_| file.write_all(&[1; 4096]).err()).expect("the disk is small");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_during_a_pull_makes_room() {
    if !Mount::is_possible() {
        return;
    }
    let world = World::new().await;
    let blobs: Vec<_> = (0..8).map(|seed| world.blob(seed, BLOB)).collect();
    // In turn, and then several at a time, which fill it up in each other's way.
    for blob in &blobs[..5] {
        world.pull(blob).await;
    }
    world.keeps(&blobs[4]).await;
    tokio::join!(world.pull(&blobs[5]), world.pull(&blobs[6]), world.pull(&blobs[7]), world.pull(&blobs[0]));
    world.keeps(&blobs[7]).await;
    // One that will never fit.
    let huge = world.blob(9, 3 * DISK);
    tokio::join!(world.pull(&huge), world.pull(&huge), world.pull(&huge));
    world.pull_bundle("after").await;
    let small = world.blob(10, 5_000);
    world.keeps(&small).await;
    world.keeps(&blobs[3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_others_filled_stops_no_pull() {
    if !Mount::is_possible() {
        return;
    }
    let world = World::new().await;
    let ballast = fill(&world.disk);
    let blobs = [5_000, BLOB, 2 * DISK].map(|size| world.blob(size, size));
    for blob in &blobs {
        tokio::join!(world.pull(blob), world.pull(blob));
    }
    let pulled = world.pull_bundle("full").await;
    world.told_of("full").await;
    std::fs::remove_file(ballast).expect("removable");
    world.keeps(&blobs[0]).await;
    world.keeps(&blobs[1]).await;
    assert_eq!(world.colocate.pull(REPOSITORY, "full").await, pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_stops_no_pull() {
    if !Mount::is_possible() {
        return;
    }
    let world = World::new().await;
    let (before, large) = (world.blob(1, 5_000), world.blob(2, BLOB));
    for blob in [&before, &large] {
        world.keeps(blob).await;
    }
    let bundle = world.pull_bundle("before").await;

    let read_only = Mount::read_only(&world.disk).await;
    for blob in [&before, &large] {
        assert!(world.is_hit(blob).await, "what was kept is still served");
    }
    let later = [5_001, BLOB + 1].map(|size| world.blob(size, size));
    for blob in &later {
        tokio::join!(world.pull(blob), world.pull(blob));
    }
    assert_eq!(world.colocate.pull(REPOSITORY, "before").await, bundle);
    world.pull_bundle("meanwhile").await;

    world.told_of("read_only").await;
    drop(read_only);
    for blob in &later {
        world.keeps(blob).await;
    }
}

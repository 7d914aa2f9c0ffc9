//! What relocating a layer costs, on a 200 MB and a 1 GB layer: `cargo bench --bench rewrite`.
//!
//! All figures are ratios taken in one run, the compared passes taking turns, since the machine may be noisy:
//! the splice pass against one inflate + SHA-256 pass over the same layer, and against decompress-edit-recompress
//! at gzip level 6. Memory is the peak of a process of its own that runs one pass. What a relocated bundle adds to
//! a cache is the growth of a real cache directory behind a real proxy.

#![allow(clippy::print_stdout, reason = "a benchmark talks")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colocate::body::SystemClock;
use colocate::cache::{Cache, CacheLimits, LocalStore};
use colocate::config::{Files, FilesPlace};
use colocate::imgpkg::Target;
use colocate::oci::{Algorithm, Digest, Hasher, Reference, Repository};
use colocate::proxy::{OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy, View};
use colocate::rewrite::{LayerRewriter, RelocatedLayer};
use colocate::telemetry::Metrics;
use colocate::upstream::{FilesUpstream, Upstream};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;

#[path = "../tests/it/support/tarball.rs"]
#[expect(dead_code, reason = "a helper of the tests, of which little is used here")]
mod tarball;

use tarball::{Tarball, noise, prose};

const CHUNK: usize = 256 << 10;
const ROUNDS: usize = 3;
const IMAGES: usize = 30;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, pass, layer] = arguments.as_slice()
        && let Some(pass) = pass.strip_prefix("--only=")
    {
        return only(pass, Path::new(layer));
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    println!("medians of {ROUNDS} rounds taken in turns; layer sizes are compressed bytes");
    for (name, size) in [("200 MB", 200_000_000), ("1 GB", 1_000_000_000)] {
        let layout = Layout::write(&folder.path().join(size.to_string()), size);
        measure(name, &layout);
        std::fs::remove_dir_all(&layout.folder).expect("removable");
    }
}

fn measure(name: &str, layout: &Layout) {
    let layer = &layout.layer;
    let mut inflate = Vec::new();
    let mut splice = Vec::new();
    for _ in 0..ROUNDS {
        inflate.push(timed(|| _ = inflate_and_hash(layer)));
        splice.push(timed(|| _ = spliced(layer)));
    }
    let recompress = timed(|| recompressed(layer));
    let (inflate, splice) = (median(inflate), median(splice));
    let relocated = spliced(layer);
    let size = std::fs::metadata(layer).expect("there").len();
    println!("\n{name} layer ({size} bytes, {} inflated)", layout.tar_bytes);
    println!("  inflate + SHA-256 pass          {inflate:>8.2?}");
    println!("  splice pass                     {splice:>8.2?}  {:.2}x of it", ratio(splice, inflate));
    println!("  decompress-edit-recompress      {recompress:>8.2?}  {:.1}x the splice", ratio(recompress, splice));
    let (base, inflating, splicing) = (peak("nothing", layer), peak("inflate", layer), peak("splice", layer));
    println!("  peak memory over an idle process: inflate {} KiB, splice {} KiB", inflating - base, splicing - base);
    println!(
        "  patch                           {} bytes for a lock of {}",
        relocated.recipe.inline_bytes(),
        layout.lock_bytes
    );
    let added = cache_growth(layout);
    println!(
        "  added to the cache              {added} bytes: the lock and {} KiB",
        added.saturating_sub(layout.lock_bytes) / 1024
    );
}

/// One pass in a process of its own, which tells its peak memory.
fn only(pass: &str, layer: &Path) {
    match pass {
        "inflate" => _ = inflate_and_hash(layer),
        "splice" => _ = spliced(layer),
        _ => {}
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    println!("{}", peak.trim().trim_end_matches(" kB"));
}

fn peak(pass: &str, layer: &Path) -> u64 {
    let own = std::env::current_exe().expect("known");
    let output = Command::new(own).arg(format!("--only={pass}")).arg(layer).output().expect("runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of KiB")
}

fn inflate_and_hash(layer: &Path) -> Digest {
    let mut decoder = MultiGzDecoder::new(std::io::BufReader::with_capacity(CHUNK, File::open(layer).expect("there")));
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match decoder.read(&mut buffer).expect("valid") {
            0 => return hasher.finish(),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn spliced(layer: &Path) -> RelocatedLayer {
    let target = target();
    let change =
        Box::new(move |found: colocate::rewrite::FoundLock<'_>| Ok(found.images.relocate(&target).expect("changes")));
    let mut rewriter = LayerRewriter::new(Algorithm::Sha256, Algorithm::Sha256, change);
    let mut file = File::open(layer).expect("there");
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).expect("readable") {
            0 => return rewriter.finish().expect("spliced"),
            n => rewriter.push(&chunk[..n]).expect("spliced"),
        }
    }
}

/// What a rewriter without a splice would do: everything again, and both digests.
fn recompressed(layer: &Path) {
    let mut decoder = MultiGzDecoder::new(std::io::BufReader::with_capacity(CHUNK, File::open(layer).expect("there")));
    let mut diff = Hasher::new(Algorithm::Sha256);
    let mut encoder = GzEncoder::new(Counter(Hasher::new(Algorithm::Sha256)), Compression::new(6));
    let mut buffer = vec![0; 64 << 10];
    loop {
        match decoder.read(&mut buffer).expect("valid") {
            0 => break,
            n => {
                diff.update(&buffer[..n]);
                encoder.write_all(&buffer[..n]).expect("in memory");
            }
        }
    }
    let _ = (diff.finish(), encoder.finish().expect("in memory").0.finish());
}

struct Counter(Hasher);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How many bytes a relocated bundle adds to a cache that has the original.
fn cache_growth(layout: &Layout) -> u64 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary directory");
    runtime.block_on(async {
        let clock = Arc::new(SystemClock);
        let store = LocalStore::open(folder.path()).expect("opens");
        let cache = Cache::new(Arc::new(store), clock.clone(), CacheLimits::default(), Metrics::new());
        let upstream =
            FilesUpstream::open(Files { places: vec![FilesPlace::Layout(layout.folder.clone())], called: None }, None)
                .expect("opens");
        let proxy = Proxy::new(ProxyParts {
            upstreams: HashMap::from([(repository().registry, Arc::new(upstream) as Arc<dyn Upstream>)]),
            cache,
            clock,
            verdict_ttl: Duration::from_secs(60),
            relocation: RelocationLimits {
                deadline: Duration::from_secs(600),
                undecided_original: false,
                negative_ttl: Duration::from_secs(60),
                max_layer_bytes: u64::MAX,
                concurrency: 16,
                max_passes: 1,
                max_passes_per_client: 1,
                max_targets: 4,
                max_images: 1000,
            },
            origins: OriginPolicy::default(),
            tags: TagPolicy { ttl: Duration::from_secs(600), ..TagPolicy::default() },
            metrics: Metrics::new(),
        });
        let tag: Reference = "v1".parse().expect("a tag");
        let exact = View::exact(repository());
        let original = proxy.manifest(&exact, &tag).await.expect("there").manifest;
        for digest in &layout.blobs {
            let blob = proxy.blob(&exact, digest).await.expect("there");
            let mut body = blob.body(0..blob.size);
            while let Some(frame) = body.frame().await {
                frame.expect("whole");
            }
        }
        let before = size_of(folder.path());
        let view = View::relocated(repository(), target());
        let relocated = proxy.manifest(&view, &tag).await.expect("there").manifest;
        assert_ne!(relocated.digest, original.digest, "relocated");
        size_of(folder.path()) - before
    })
}

fn size_of(folder: &Path) -> u64 {
    let mut size = 0;
    for entry in std::fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let metadata = entry.metadata().expect("there");
        size += if metadata.is_dir() { size_of(&entry.path()) } else { metadata.len() };
    }
    size
}

fn repository() -> Repository {
    "registry.example/bench/app".parse().expect("a name")
}

fn target() -> Target {
    Target { endpoint: "proxy.example:5000".into(), repository: repository().name }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

/// An OCI layout with one bundle of one large layer, and the images that its lock names.
struct Layout {
    folder: PathBuf,
    layer: PathBuf,
    blobs: [Digest; 2],
    lock_bytes: u64,
    tar_bytes: u64,
}

impl Layout {
    fn write(folder: &Path, size: u64) -> Self {
        std::fs::create_dir_all(folder.join("blobs/sha256")).expect("creatable");
        let mut index = Vec::new();
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            std::fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).expect("writable");
            digest
        };
        let mut lock = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n".to_owned();
        let empty = put(b"{}");
        for image in 0..IMAGES {
            let manifest = manifest(&empty, 2, &[], &format!(r#","annotations":{{"image":"{image}"}}"#));
            let digest = put(manifest.as_bytes());
            index.push(descriptor(
                "application/vnd.oci.image.manifest.v1+json",
                &digest,
                manifest.len() as u64,
                &format!("image{image}"),
            ));
            lock.push_str(&format!("- image: registry.example.com/apps/app{image}@{digest}\n"));
        }
        let (layer, layer_size, diff_id, tar_bytes) = write_layer(folder, &lock, size);
        let config = format!(
            r#"{{"config":{{"Labels":{{"dev.carvel.imgpkg.bundle":"true"}}}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let config_digest = put(config.as_bytes());
        let manifest = manifest(&config_digest, config.len(), &[(layer, layer_size)], "");
        let digest = put(manifest.as_bytes());
        index.push(descriptor("application/vnd.oci.image.manifest.v1+json", &digest, manifest.len() as u64, "v1"));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, index.join(","));
        std::fs::write(folder.join("index.json"), index).expect("writable");
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("writable");
        let path = folder.join("blobs/sha256").join(layer.hex());
        let lock_bytes = lock.len() as u64;
        Self { folder: folder.to_owned(), layer: path, blobs: [config_digest, layer], lock_bytes, tar_bytes }
    }
}

fn manifest(config: &Digest, config_size: usize, layers: &[(Digest, u64)], more: &str) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|(digest, size)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":{size}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{}]{more}}}"#,
        layers.join(",")
    )
}

fn descriptor(media_type: &str, digest: &Digest, size: u64, tag: &str) -> String {
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},"annotations":{{"org.opencontainers.image.ref.name":"registry.example.com/bench/app:{tag}"}}}}"#
    )
}

/// A layer of at least `size` compressed bytes, with the lock in front as imgpkg puts it: three parts text and one
/// part noise, which compress about 2.6 to 1, as programs do.
fn write_layer(folder: &Path, lock: &str, size: u64) -> (Digest, u64, Digest, u64) {
    let path = folder.join("layer");
    let mut out = GzEncoder::new(Tee::new(File::create(&path).expect("creatable")), Compression::new(6));
    let mut diff = Hasher::new(Algorithm::Sha256);
    let mut tar_bytes = 0;
    let mut write = |out: &mut GzEncoder<Tee>, tar: &[u8]| {
        diff.update(tar);
        tar_bytes += tar.len() as u64;
        out.write_all(tar).expect("writable");
    };
    let mut head = Tarball::new();
    head.folder(".").folder(".imgpkg").lock(lock);
    write(&mut out, &head.bytes);
    // A writer's window is far smaller than a piece, so repeating them changes nothing.
    let mut pieces = Tarball::new();
    pieces.file("text", &prose(1, 3 << 20)).file("noise", &noise(2, 1 << 20));
    while out.get_ref().written < size {
        write(&mut out, &pieces.bytes);
    }
    write(&mut out, &[0; 1024]);
    let tee = out.finish().expect("writable");
    let (digest, written) = tee.finish();
    std::fs::rename(&path, folder.join("blobs/sha256").join(digest.hex())).expect("renamable");
    (digest, written, diff.finish(), tar_bytes)
}

struct Tee {
    file: BufWriter<File>,
    hasher: Hasher,
    written: u64,
}

impl Tee {
    fn new(file: File) -> Self {
        Self { file: BufWriter::new(file), hasher: Hasher::new(Algorithm::Sha256), written: 0 }
    }

    fn finish(mut self) -> (Digest, u64) {
        self.file.flush().expect("writable");
        (self.hasher.finish(), self.written)
    }
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

//! What it takes to serve an archive where it lies, and that it hardly depends on how large that is:
//! `cargo bench --bench archive`. `COLOCATE_BENCH=short` runs a small form of it.
//!
//! Two archives, the same but for the size of their layers, each served by a process of its own: from its start to the
//! first answers, once as an archive that nothing is known of, and once with what the first start wrote down; then with
//! all layers pulled. The machine may be noisy, and the archives are in its disk cache: read the figures as ratios
//! between the sizes. What is insisted on is work and not time: bytes read and memory.
//! It needs so much room on the disk of temporary files as both archives take.

#![allow(clippy::print_stdout, reason = "a benchmark talks")]

#[path = "serve/client.rs"]
#[expect(dead_code, reason = "shared with another benchmark, which needs more of it")]
mod client;
#[path = "../tests/it/support/pattern.rs"]
#[expect(dead_code, reason = "a helper of the tests, of which not all is used here")]
mod pattern;
#[path = "serve/servers.rs"]
#[expect(dead_code, reason = "shared with other benchmarks, which need other servers")]
mod servers;
#[path = "../tests/it/support/tarball.rs"]
#[expect(dead_code, reason = "a helper of the tests, of which little is used here")]
mod tarball;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use client::Connection;
use colocate::oci::Digest;
use pattern::Pattern;
use serde_json::{Value, json};
use servers::Server;
use tarball::Tarball;

const LAYERS: u64 = 8;
/// A file that was left alone for so long is known to be still the same, so what it has is written down.
const SETTLED: Duration = Duration::from_millis(2500);
/// What may be read from the start to the first manifest, the program's own libraries and settings included.
const MOST_READ: u64 = 2 << 20;
/// What pulling all of the large archive may take beyond pulling all of the small one.
const MOST_MEMORY: u64 = 32 << 20;

/// How many bytes of layers.
struct Scale {
    sizes: [u64; 2],
}

impl Scale {
    const FULL: Self = Self { sizes: [20 << 20, 2000 << 20] };
    const SHORT: Self = Self { sizes: [4 << 20, 128 << 20] };

    fn chosen() -> Self {
        let short = std::env::var_os("COLOCATE_BENCH").is_some_and(|form| form == "short");
        if short { Self::SHORT } else { Self::FULL }
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(&Scale::chosen(), folder.path()));
}

async fn run(scale: &Scale, folder: &Path) {
    let archives = scale.sizes.map(|size| Archive::write(&folder.join(format!("{}.tar", size >> 20)), size));
    sleep(SETTLED);
    let mut measured = Vec::new();
    for (archive, size) in archives.iter().zip(scale.sizes) {
        let place = folder.join(format!("served-{}", size >> 20));
        fs::create_dir(&place).expect("creatable");
        let first = archive.started(&place).await.1;
        assert!(fs::read_dir(place.join("cache/archives")).is_ok_and(|kept| kept.count() == 1), "nothing is kept");
        let (server, second) = archive.started(&place).await;
        let begun = Instant::now();
        archive.pull_all(&server).await;
        let pulled = Pulled { seconds: begun.elapsed().as_secs_f64(), memory: server.peak_memory() };
        measured.push((first, second, pulled));
    }
    let [small, large] = &measured[..] else { unreachable!("two sizes") };

    println!("archives of {} MiB and of {} MiB, in {LAYERS} layers each", scale.sizes[0] >> 20, scale.sizes[1] >> 20);
    for (what, small, large) in [("first start", &small.0, &large.0), ("second start", &small.1, &large.1)] {
        println!("{what}");
        row("until it answers", "ms", small.answers * 1e3, large.answers * 1e3);
        row("until the first manifest", "ms", small.manifest * 1e3, large.manifest * 1e3);
        row("read until then", "KiB", kibibytes(small.read), kibibytes(large.read));
        row("of that from the disk", "KiB", kibibytes(small.read_from_disk), kibibytes(large.read_from_disk));
        row("memory, at most so far", "MiB", mebibytes(small.memory), mebibytes(large.memory));
    }
    println!("all layers pulled");
    row("time", "ms", small.2.seconds * 1e3, large.2.seconds * 1e3);
    row("memory, at most so far", "MiB", mebibytes(small.2.memory), mebibytes(large.2.memory));

    for (first, second, _) in &measured {
        assert!(first.read < MOST_READ && second.read < MOST_READ, "{} and {} bytes read", first.read, second.read);
    }
    let more = large.2.memory.saturating_sub(small.2.memory);
    assert!(more < MOST_MEMORY, "{more} bytes of memory more for the large one");
}

/// A start, in seconds and bytes.
struct Started {
    answers: f64,
    manifest: f64,
    read: u64,
    read_from_disk: u64,
    memory: u64,
}

struct Pulled {
    seconds: f64,
    memory: u64,
}

/// A tar of an image layout with one image.
struct Archive {
    path: std::path::PathBuf,
    layers: Vec<Pattern>,
}

impl Archive {
    /// Writes one with so many bytes in its layers, none of them a hole.
    fn write(path: &Path, size: u64) -> Self {
        let layers: Vec<Pattern> = (1..=LAYERS).map(|seed| Pattern::new(seed, size / LAYERS)).collect();
        let mut file = BufWriter::new(File::create(path).expect("creatable"));
        let mut put = |bytes: &[u8]| file.write_all(bytes).expect("room on the disk");
        for layer in &layers {
            put(&Tarball::new().file_header(&blob_name(&layer.digest()), layer.size()).bytes);
            let mut at = 0;
            while at < layer.size() {
                let piece = layer.piece(at..layer.size());
                put(&piece);
                at += piece.len() as u64;
            }
            put(&vec![0; (layer.size().next_multiple_of(512) - layer.size()) as usize]);
        }
        let config = json!({"architecture": "amd64", "os": "linux"}).to_string();
        let listed: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer.digest(), layer.size()))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": of("application/vnd.oci.image.config.v1+json", &config), "layers": listed,
        });
        let manifest = manifest.to_string();
        let mut entry = of("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "bench/app:v1"});
        let mut rest = Tarball::new();
        for blob in [&config, &manifest] {
            rest.file(&blob_name(&Digest::of(blob.as_bytes())), blob.as_bytes());
        }
        rest.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        rest.file("index.json", json!({"schemaVersion": 2, "manifests": [entry]}).to_string().as_bytes());
        put(&rest.finish().bytes);
        file.flush().expect("room on the disk");
        Self { path: path.to_owned(), layers }
    }

    /// Starts a server over it, and waits for the image's manifest.
    async fn started(&self, place: &Path) -> (Server, Started) {
        let begun = Instant::now();
        let server = Server::archive(place, &self.path);
        let mut connection = Connection::open(server.address).await;
        connection.get("/v2/").await;
        let answers = begun.elapsed().as_secs_f64();
        connection.get("/v2/bench/app/manifests/v1").await;
        let manifest = begun.elapsed().as_secs_f64();
        let ((read, read_from_disk), memory) = (server.reads(), server.peak_memory());
        (server, Started { answers, manifest, read, read_from_disk, memory })
    }

    async fn pull_all(&self, server: &Server) {
        let mut connection = Connection::open(server.address).await;
        for layer in &self.layers {
            let digest = layer.digest();
            connection.verify(&format!("/v2/bench/app/blobs/{digest}"), &digest).await;
        }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn of(media_type: &str, text: &str) -> Value {
    descriptor(media_type, Digest::of(text.as_bytes()), text.len() as u64)
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn row(what: &str, unit: &str, small: f64, large: f64) {
    println!("  {what:<26}{small:>10.1} {unit:<4}{large:>10.1} {unit:<4}{:>8.2}x", large / small.max(0.1));
}

fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

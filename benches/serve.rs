//! What a pull through the proxy costs against asking the upstream, and a hit against nginx `proxy_cache`:
//! `cargo bench --bench serve`. `COLOCATE_BENCH=short` runs a small form of it.
//!
//! Everything is on loopback, over plain HTTP, in one run, and whatever is compared takes turns, since the machine may
//! be noisy: read the figures as ratios. The servers are processes of their own and write access logs; client and
//! upstream are this process, and the same for all. Server time is what the kernel counted for a server's processes.

#![allow(clippy::print_stdout, reason = "a benchmark talks")]

#[path = "serve/client.rs"]
mod client;
#[path = "../tests/it/support/pattern.rs"]
#[expect(dead_code, reason = "a helper of the tests, of which not all is used here")]
mod pattern;
#[path = "serve/servers.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs other servers")]
mod servers;
#[path = "../tests/it/support/tarball.rs"]
#[expect(dead_code, reason = "a helper of the tests, of which little is used here")]
mod tarball;
#[path = "serve/upstream.rs"]
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use client::{Connection, Served, load};
use colocate::oci::Digest;
use pattern::Pattern;
use servers::Server;
use upstream::{REPOSITORY, Upstream};

/// What a first byte may come later than the upstream's own.
const LATER: Duration = Duration::from_millis(10);
const CONNECTIONS: usize = 32;

/// How much of everything.
struct Scale {
    misses: u64,
    missed_bytes: u64,
    rounds: usize,
    time: Duration,
    blob_bytes: u64,
}

impl Scale {
    const FULL: Self =
        Self { misses: 100, missed_bytes: 4 << 20, rounds: 7, time: Duration::from_secs(2), blob_bytes: 300_000_000 };
    const SHORT: Self =
        Self { misses: 20, missed_bytes: 1 << 20, rounds: 3, time: Duration::from_millis(300), blob_bytes: 30_000_000 };
}

fn main() {
    let short = std::env::var_os("COLOCATE_BENCH").is_some_and(|form| form == "short");
    let scale = if short { Scale::SHORT } else { Scale::FULL };
    let folder = tempfile::tempdir().expect("a temporary directory");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(&scale, folder.path()));
}

async fn run(scale: &Scale, folder: &Path) {
    let upstream = Upstream::start().await;
    let place = |name: &str| {
        let place = folder.join(name);
        std::fs::create_dir(&place).expect("creatable");
        place
    };
    let mut servers = vec![Server::colocate(&place("colocate"), upstream.address)];
    match Server::nginx(&place("nginx"), upstream.address) {
        Some(nginx) => servers.push(nginx),
        None => println!("nginx is left out: it is not installed (apt-get install nginx-light)"),
    }
    let late = misses(scale, &upstream, &servers).await;
    hits(scale, &upstream, &servers).await;
    assert!(late.is_empty(), "the first byte comes too late: {}", late.join(", "));
}

/// The first byte of what no cache has. Gives where it comes too late.
async fn misses(scale: &Scale, upstream: &Upstream, servers: &[Server]) -> Vec<String> {
    let mut late = Vec::new();
    println!("first byte of a miss, medians and 90th percentiles of {} in turns", scale.misses);
    let mut asked: Vec<(&str, SocketAddr)> = vec![("the upstream", upstream.address)];
    asked.extend(servers.iter().map(|server| (server.name, server.address)));
    let blob = |seed| upstream.blob(Pattern::new(seed, scale.missed_bytes));
    let manifest = |seed| upstream.manifest(image(&format!("miss {seed}")), None);
    let what = format!("blob of {} MiB", scale.missed_bytes >> 20);
    let makers: [(&str, &dyn Fn(u64) -> String); 2] = [(&what, &blob), ("manifest", &manifest)];
    for (what, make) in makers {
        let mut times = vec![Vec::new(); asked.len()];
        let mut connections = Vec::new();
        for (_, address) in &asked {
            connections.push(Connection::open(*address).await);
        }
        for round in 0..scale.misses {
            let path = make(round);
            for (connection, times) in connections.iter_mut().zip(&mut times) {
                times.push(connection.first_byte(&path).await);
            }
        }
        let direct = median(&mut times[0]);
        for ((name, _), times) in asked.iter().zip(&mut times) {
            let (middle, most) = (median(times), times[times.len() * 9 / 10]);
            let later = middle.saturating_sub(direct);
            println!("  {what:<16} {name:<14} {middle:>9.2?} {most:>9.2?}   {:.2} ms later", millis(later));
            if *name == "colocate" && later >= LATER {
                late.push(format!("{what}, {later:.2?}"));
            }
        }
    }
    late
}

/// What the caches have.
async fn hits(scale: &Scale, upstream: &Upstream, servers: &[Server]) {
    let blob = Pattern::new(1 << 20, scale.blob_bytes);
    let path = upstream.blob(blob);
    let manifest = image("hit");
    let by_digest = upstream.manifest(manifest.clone(), Some("v1"));
    let by_tag = format!("/v2/{REPOSITORY}/manifests/v1");
    let manifest = Digest::of(manifest.as_bytes());
    let blob_size = format!("{} MB blob", scale.blob_bytes / 1_000_000);
    println!("\nhits, medians of {} rounds in turns", scale.rounds);
    let rows = [
        ("manifest by digest", &by_digest, manifest, CONNECTIONS),
        ("manifest by tag", &by_tag, manifest, CONNECTIONS),
        (&blob_size, &path, blob.digest(), 1),
        (&blob_size, &path, blob.digest(), 4),
    ];
    for (what, path, digest, connections) in rows {
        for server in servers {
            let mut connection = Connection::open(server.address).await;
            // Twice, since nginx may have been writing the first to its disk.
            connection.verify(path, &digest).await;
            connection.verify(path, &digest).await;
        }
        let before = upstream.requests();
        let mut rounds = vec![Vec::new(); servers.len()];
        for _ in 0..scale.rounds {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                let cpu = server.cpu();
                let served = load(server.address, path, connections, scale.time).await;
                rounds.push((served, server.cpu() - cpu));
            }
        }
        assert_eq!(upstream.requests(), before, "{what}: these are hits");
        let figures: Vec<Figures> = rounds.iter().map(|rounds| Figures::of(rounds, path == rows[2].1)).collect();
        for (server, figure) in servers.iter().zip(&figures) {
            let ratio = match figures.as_slice() {
                [own, nginx] if server.name == "colocate" => format!(
                    "   {:.2}x the rate of nginx, {:.1}x its time",
                    own.rate / nginx.rate,
                    own.cost / nginx.cost
                ),
                _ => String::new(),
            };
            println!("  {what:<18} {connections:>2} clients  {:<9} {figure}{ratio}", server.name);
        }
    }
}

/// One server at one row.
struct Figures {
    rate: f64,
    cost: f64,
    is_blob: bool,
}

impl Figures {
    fn of(rounds: &[(Served, f64)], is_blob: bool) -> Self {
        let amount = |served: &Served| if is_blob { served.bytes as f64 / 1e9 } else { served.requests as f64 };
        let mut rates: Vec<f64> = rounds.iter().map(|(served, _)| amount(served) / served.seconds).collect();
        rates.sort_unstable_by(f64::total_cmp);
        // The kernel counts in hundredths of a second, so only the sum means something.
        let total: f64 = rounds.iter().map(|(served, _)| amount(served)).sum();
        let cpu: f64 = rounds.iter().map(|(_, cpu)| cpu).sum();
        Self { rate: rates[rates.len() / 2], cost: cpu / total, is_blob }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_blob {
            true => write!(f, "{:>8.2} GB/s {:>8.3} s of server time per GB", self.rate, self.cost),
            false => write!(f, "{:>8.0} /s   {:>8.3} s of server time per 1000", self.rate, self.cost * 1000.0),
        }
    }
}

/// An image of some layers, which is no bundle: one manifest of the size that they have.
fn image(name: &str) -> String {
    let digest = Digest::of(name.as_bytes());
    let layer =
        format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":1234567}}"#);
    let layers = vec![layer; 8].join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":7023}},"layers":[{layers}],"annotations":{{"name":"{name}"}}}}"#
    )
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! What a push through the proxy costs against pushing to the registry behind it, and what memory it takes:
//! `cargo bench --bench push`. `COLOCATE_BENCH=short` runs a small form of it, `COLOCATE_BENCH_PUSH_MIB` sets the size.
//!
//! Everything is on loopback, over plain HTTP, in one run; both ways take turns, since the machine and its disk may be
//! noisy: read the figures as ratios. The layer is made as it is sent, never held. A layer is pushed once each way and
//! then removed from the registry's disk, so that neither push finds anything of the other.
//! It needs Debian's `docker-registry`, and so much room on the disk of temporary files as two layers take.

#![allow(clippy::print_stdout, reason = "a benchmark talks")]

#[path = "push/client.rs"]
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

use std::fs;
use std::path::Path;
use std::time::Instant;

use client::Connection;
use pattern::Pattern;
use servers::Server;

/// What goes before the large layers, so that the memory of a push is seen beside that of the program.
const SMALL: u64 = 1 << 20;

/// How much of everything.
struct Scale {
    bytes: u64,
    rounds: u64,
}

impl Scale {
    const FULL: Self = Self { bytes: 4 << 30, rounds: 3 };
    const SHORT: Self = Self { bytes: 64 << 20, rounds: 3 };

    fn chosen() -> Self {
        let short = std::env::var_os("COLOCATE_BENCH").is_some_and(|form| form == "short");
        let scale = if short { Self::SHORT } else { Self::FULL };
        match std::env::var("COLOCATE_BENCH_PUSH_MIB") {
            Ok(size) => Self { bytes: size.parse::<u64>().expect("a number of MiB") << 20, ..scale },
            Err(_) => scale,
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(&Scale::chosen(), folder.path()));
}

async fn run(scale: &Scale, folder: &Path) {
    let place = |name: &str| {
        let place = folder.join(name);
        fs::create_dir(&place).expect("creatable");
        place
    };
    let registry_place = place("registry");
    let Some(registry) = Server::docker_registry(&registry_place) else {
        println!("left out: docker-registry is not installed (apt-get install docker-registry)");
        return;
    };
    let colocate = Server::forwarding(&place("colocate"), registry.address);
    let forget = || fs::remove_dir_all(registry_place.join("storage")).expect("a storage to remove");

    let push = async |server: &Server, blob: Pattern| {
        let begun = Instant::now();
        // A connection each, as each run of a client has its own.
        Connection::open(server.address).await.push("bench/app", blob).await;
        begun.elapsed().as_secs_f64()
    };
    println!("memory of the proxy, at most so far");
    println!("  started                  {:>8.1} MiB", mebibytes(colocate.peak_memory()));
    push(&colocate, Pattern::new(0, SMALL)).await;
    forget();
    let small = colocate.peak_memory();
    println!("  after a layer of {:>4} MiB {:>7.1} MiB", SMALL >> 20, mebibytes(small));

    let mut rounds = Vec::new();
    for round in 1..=scale.rounds {
        let blob = Pattern::new(round, scale.bytes);
        let mut seconds = [0.0; 2];
        let mut cpu = [0.0; 2];
        // Who goes first has the emptier disk cache.
        let order = if round % 2 == 1 { [0, 1] } else { [1, 0] };
        for which in order {
            let used = || [registry.cpu(), colocate.cpu()];
            let before = used();
            seconds[which] = push(if which == 0 { &registry } else { &colocate }, blob).await;
            let after = used();
            cpu[which] = after[0] - before[0] + after[1] - before[1];
            forget();
        }
        rounds.push((seconds, cpu));
    }
    let large = colocate.peak_memory();
    println!("  after layers of {:>5} MiB {:>7.1} MiB", scale.bytes >> 20, mebibytes(large));
    println!("  more for the large ones  {:>8.1} MiB", mebibytes(large - small));

    println!("\npushes of {} MiB: POST, streamed PATCH, PUT", scale.bytes >> 20);
    let rate = |seconds: f64| scale.bytes as f64 / 1e6 / seconds;
    for (seconds, cpu) in &rounds {
        println!(
            "  to the registry {:>7.0} MB/s   through the proxy {:>7.0} MB/s   {:.2}x the time, {:.2}x the servers' own",
            rate(seconds[0]),
            rate(seconds[1]),
            seconds[1] / seconds[0],
            cpu[1] / cpu[0]
        );
    }
    let mut ratios: Vec<f64> = rounds.iter().map(|(seconds, _)| seconds[1] / seconds[0]).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!("  median: {:.2}x the time", ratios[ratios.len() / 2]);
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

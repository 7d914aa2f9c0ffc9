//! What the tests stand on: real programs under guard, a registry that follows a script, bundles made in memory,
//! the golden bundles, and a small HTTP client.
//!
//! Nothing here knows how Colocate works inside; it only speaks the registry protocol and starts processes.

pub(crate) mod access;
pub(crate) mod archive;
pub(crate) mod browser;
pub(crate) mod buildah;
pub(crate) mod bundle;
pub(crate) mod certificates;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod cnab;
pub(crate) mod colocate;
pub(crate) mod containerd;
pub(crate) mod exported;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod layout;
pub(crate) mod log;
pub(crate) mod mount;
pub(crate) mod names;
pub(crate) mod nginx;
pub(crate) mod pattern;
pub(crate) mod podman;
pub(crate) mod porter;
pub(crate) mod process;
pub(crate) mod pull;
pub(crate) mod pusher;
pub(crate) mod raw;
pub(crate) mod registry;
pub(crate) mod scripted;
pub(crate) mod secrets;
pub(crate) mod seen;
pub(crate) mod skopeo;
pub(crate) mod stored;
pub(crate) mod tarball;
pub(crate) mod token_server;
pub(crate) mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whether every one of these programs is installed.
///
/// Without one the test says so and should return: `cargo test` passes on a machine with nothing but Rust. In CI
/// (`COLOCATE_E2E=required`) a missing program is a failure, so that nothing is skipped unnoticed.
pub(crate) fn require(tools: &[&str]) -> bool {
    let missing: Vec<_> = tools.iter().copied().filter(|tool| find(tool).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let packages: Vec<_> = missing.iter().map(|tool| package(tool)).collect();
    skip(&format!("needs {} (apt-get install {})", missing.join(", "), packages.join(" ")))
}

/// Whether a program is there that Debian's stable release does not have, so that not even CI can insist on it.
#[expect(clippy::print_stderr, reason = "what is left out has to be said, and the test harness shows its output")]
pub(crate) fn optional(tool: &str) -> bool {
    let found = find(tool).is_some();
    if !found {
        eprintln!("left out: {tool} is not installed");
    }
    found
}

/// Whether the test runs as root, which containerd needs; skips and fails as [`require`] does.
pub(crate) fn require_root() -> bool {
    let output = std::process::Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0") || skip("needs root")
}

/// The target directory of a build for release, as `cargo build --release` leaves it; skips and fails as [`require`] does.
pub(crate) fn require_release_build() -> Option<PathBuf> {
    let target = Path::new(colocate::BINARY).ancestors().nth(2).expect("a target directory");
    let is_built = target.join("release/colocate").is_file() || skip("needs `cargo build --release`");
    is_built.then(|| target.to_owned())
}

/// The program with the feature `otlp`; skips and fails as [`require`] does.
pub(crate) fn require_otlp() -> Option<PathBuf> {
    let binary = colocate::otlp_binary();
    if binary.is_none() {
        skip("needs a build with the feature otlp, and its path in COLOCATE_OTLP_BINARY");
    }
    binary
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say so, and the test harness shows its output")]
fn skip(why: &str) -> bool {
    let required = std::env::var_os("COLOCATE_E2E").is_some_and(|value| value == "required");
    assert!(!required, "skipping is forbidden (COLOCATE_E2E=required), and this test {why}");
    eprintln!("skipped: {why}");
    false
}

/// Where a program is: on the path, or where Debian keeps what only root runs.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(tool))
        .find(|candidate| candidate.is_file())
}

fn package(tool: &str) -> &str {
    match tool {
        "ctr" => "containerd",
        "chromedriver" => "chromium-driver",
        "htpasswd" => "apache2-utils",
        "nginx" => "nginx-light",
        "kill" => "procps",
        "promtool" => "prometheus",
        "setpriv" => "util-linux",
        "systemd-analyze" | "systemd-socket-activate" => "systemd",
        "umount" => "mount",
        other => other,
    }
}

/// A path under `tests/fixtures`.
pub(crate) fn fixture(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// Asks until the answer is yes, and fails once `patience` has passed.
pub(crate) async fn eventually(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

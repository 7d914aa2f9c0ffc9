//! Finds out what the program is built from, for `--version` and the metrics: see `telemetry::BUILD`.
//!
//! The commit is git's, or what `COLOCATE_COMMIT` and `COLOCATE_COMMIT_DATE` say where there is no repository, as in a
//! container; else it is unknown. The time of the build is left out: the same sources make the same program.

use std::env;
use std::path::Path;
use std::process::Command;

/// What goes into the program: a change of anything else, such as a test, does not make it another one.
const SOURCES: [&str; 4] = ["src", "config/sample", "Cargo.toml", "Cargo.lock"];

fn main() {
    for path in SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    for name in ["COLOCATE_COMMIT", "COLOCATE_COMMIT_DATE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let said = variable("COLOCATE_COMMIT").map(|commit| (commit, variable("COLOCATE_COMMIT_DATE")));
    let (commit, date) = match said.or_else(from_git) {
        Some((commit, date)) => (commit, date.unwrap_or_else(unknown)),
        None => (unknown(), unknown()),
    };
    let rustc = variable("RUSTC").and_then(|rustc| said_by(Command::new(rustc).arg("--version")));
    let rustc = rustc.map(|said| said.trim_start_matches("rustc ").to_owned());
    for (name, fact) in [
        ("COMMIT", commit),
        ("COMMIT_DATE", date),
        ("RUSTC", rustc.unwrap_or_else(unknown)),
        ("TARGET", variable("TARGET").unwrap_or_else(unknown)),
        ("PROFILE", variable("PROFILE").unwrap_or_else(unknown)),
        ("FEATURES", features()),
    ] {
        println!("cargo::rustc-env=COLOCATE_BUILD_{name}={fact}");
    }
}

/// The commit that is checked out, `-dirty` if the sources are not as it has them, and its date.
fn from_git() -> Option<(String, Option<String>)> {
    // A repository around the sources, as a tarball may be unpacked in, has nothing to do with them.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != env::current_dir().ok()?.canonicalize().ok()? {
        return None;
    }
    // Worktrees have some of these elsewhere. A file that is missing would make cargo run this each time.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let shown = git(&["show", "--no-patch", "--format=%h %cs", "--abbrev=12", "HEAD"])?;
    let (commit, date) = shown.split_once(' ')?;
    let changed = said_by(Command::new("git").args(["status", "--porcelain", "--"]).args(SOURCES));
    let dirty = if changed.is_some() { "-dirty" } else { "" };
    Some((format!("{commit}{dirty}"), Some(date.to_owned())))
}

fn git(arguments: &[&str]) -> Option<String> {
    said_by(Command::new("git").args(arguments))
}

/// The one line that a program says; nothing if it fails, or says nothing.
fn said_by(command: &mut Command) -> Option<String> {
    // Looking must not change anything: git would write down what it found out of files.
    let output = command.env("GIT_OPTIONAL_LOCKS", "0").output().ok().filter(|output| output.status.success())?;
    let said = String::from_utf8(output.stdout).ok()?;
    said.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

fn features() -> String {
    let mut features: Vec<String> = env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")))
        .collect();
    features.sort();
    if features.is_empty() { "none".to_owned() } else { features.join(" ") }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty() && !value.contains('\n'))
}

fn unknown() -> String {
    "unknown".to_owned()
}

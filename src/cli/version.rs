//! What `--version` says: which build this is, for whoever is told of a bug.

use std::sync::LazyLock;

use crate::telemetry::{BUILD, Build};

/// `-V`: one line.
pub(super) fn short() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| one_line(&BUILD));
    &TEXT
}

/// `--version`: all that is known.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let Build { commit, commit_date, rustc, target, profile, features, tls, .. } = BUILD;
        let first = one_line(&BUILD);
        format!(
            "{first}\ncommit: {commit}\ncommit date: {commit_date}\nrustc: {rustc}\ntarget: {target}\n\
             profile: {profile}\nfeatures: {features}\nTLS: {tls}"
        )
    });
    &TEXT
}

fn one_line(build: &Build) -> String {
    let Build { version, commit, commit_date, .. } = build;
    match (*commit, *commit_date) {
        ("unknown", _) => format!("{version} (commit unknown)"),
        (commit, "unknown") => format!("{version} ({commit})"),
        (commit, date) => format!("{version} ({commit}, {date})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let line = |commit, commit_date| one_line(&Build { version: "1.2.3", commit, commit_date, ..BUILD });
        assert_eq!(line("0123456789ab-dirty", "2026-05-31"), "1.2.3 (0123456789ab-dirty, 2026-05-31)");
        assert_eq!(line("0123456789ab", "unknown"), "1.2.3 (0123456789ab)");
        assert_eq!(line("unknown", "unknown"), "1.2.3 (commit unknown)");
    }
}

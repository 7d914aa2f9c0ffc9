//! What the running program was built from.

/// Facts about a build. The build script finds them (`src/build.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit, shortened; with `-dirty` where the sources were changed after it, or `unknown`.
    pub commit: &'static str,
    /// Its date, as `2026-05-31`, or `unknown`.
    pub commit_date: &'static str,
    /// The compiler, as it calls itself.
    pub rustc: &'static str,
    /// What it was built for, as `x86_64-unknown-linux-gnu`.
    pub target: &'static str,
    /// `release` or `debug`.
    pub profile: &'static str,
    /// The cargo features, or `none`.
    pub features: &'static str,
    /// Who speaks TLS and does its cryptography.
    pub tls: &'static str,
}

/// This build.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("COLOCATE_BUILD_COMMIT"),
    commit_date: env!("COLOCATE_BUILD_COMMIT_DATE"),
    rustc: env!("COLOCATE_BUILD_RUSTC"),
    target: env!("COLOCATE_BUILD_TARGET"),
    profile: env!("COLOCATE_BUILD_PROFILE"),
    features: env!("COLOCATE_BUILD_FEATURES"),
    tls: "rustls with aws-lc-rs",
};

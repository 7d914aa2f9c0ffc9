//! The image of config/container, built by buildah from what was compiled on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::buildah::Buildah;
use super::process::succeed;

/// What the image is called.
const NAME: &str = "localhost/colocate:test";
/// What stands in for the public image that the program is compiled in.
const BUILDER: &str = "localhost/builder:test";
/// What of this machine is mounted into that, as far as it is there: programs, libraries, and certificates.
const MACHINE: [&str; 6] = ["/usr", "/bin", "/lib", "/lib64", "/etc/ssl", "/etc/alternatives"];
/// Nothing is compiled if the sources are those that were compiled before; all of it otherwise.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The image, as long as this is there.
pub(crate) struct Image {
    buildah: Buildah,
}

impl Image {
    /// Builds it, both stages. Without the network: the base is this machine's own toolchain, mounted. And without
    /// compiling anew: what `target` holds of a build for release is taken, from a copy, as other tests run what is there.
    pub(crate) async fn build(target: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (cargo, rustup) = (home("CARGO_HOME", ".cargo"), home("RUSTUP_HOME", ".rustup"));
        let buildah = Buildah::new();
        let path = format!("{}/bin:/usr/bin:/bin", cargo.display());
        let (cargo, rustup) = (cargo.display().to_string(), rustup.display().to_string());
        let environment =
            [("PATH", &*path), ("CARGO_HOME", &cargo), ("RUSTUP_HOME", &rustup), ("CARGO_NET_OFFLINE", "true")];
        buildah.empty(&environment, BUILDER).await;

        let compiled = compiled(target).await;
        let mut arguments = vec![
            format!("--file={}", source.join("config/container/Containerfile").display()),
            format!("--tag={NAME}"),
            format!("--build-arg=BUILDER={BUILDER}"),
            // Where Cargo takes them for those that it compiled.
            format!("--build-arg=SOURCE={}", source.display()),
            format!("--volume={}:{}/target", compiled.path().display(), source.display()),
        ];
        // What it was compiled from is told in the same way as it was then, or else it is compiled for another answer.
        for name in ["COLOCATE_COMMIT", "COLOCATE_COMMIT_DATE"] {
            arguments.extend(std::env::var(name).map(|value| format!("--build-arg={name}={value}")));
        }
        let git = source.join(".git").display().to_string();
        let machine = MACHINE.into_iter().chain([&*cargo, &*rustup, &*git]).filter(|path| Path::new(path).is_dir());
        arguments.extend(machine.map(|path| format!("--volume={path}:{path}:ro")));
        arguments.push(source.display().to_string());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let built = buildah.build(&arguments, PATIENCE).await;
        assert!(built.status.success(), "{}{}", built.stdout, built.stderr);
        Self { buildah }
    }

    /// Its name in [`Image::archive`]s.
    pub(crate) fn name(&self) -> &'static str {
        NAME
    }

    /// What its configuration says, as the OCI's image-spec has it.
    pub(crate) async fn configuration(&self) -> Value {
        self.buildah.configuration(NAME).await
    }

    /// The directory that holds its files, with their owners.
    pub(crate) async fn files(&self) -> PathBuf {
        self.buildah.files(NAME).await
    }

    /// Writes it to an archive.
    pub(crate) async fn archive(&self, file: &Path) {
        self.buildah.archive(NAME, file, NAME).await;
    }
}

/// What Cargo keeps of a build for release. Its notes are copied, and the rest has the same content by another name.
async fn compiled(target: &Path) -> TempDir {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory beside what was compiled");
    let to = directory.path().join("release");
    std::fs::create_dir(&to).expect("a directory for what was compiled");
    for (how, part) in [("-al", "deps"), ("-al", "build"), ("-a", ".fingerprint")] {
        let from = target.join("release").join(part).display().to_string();
        succeed("cp", &[how, &from, &to.display().to_string()]).await;
    }
    directory
}

fn home(variable: &str, default: &str) -> PathBuf {
    let of_user = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(default);
    std::env::var_os(variable).map_or_else(of_user, PathBuf::from)
}

//! A containerd of the test's own, with `ctr` to pull into it. It unpacks what it pulls and checks `diff_ids`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Finished, Process, attempt};
use super::{eventually, find};

/// A running daemon with nothing in it.
pub(crate) struct Containerd {
    process: Process,
    directory: TempDir,
}

impl Containerd {
    /// Starts it; needs root.
    pub(crate) async fn start() -> Self {
        // Short, because a socket's path may have 107 bytes.
        let directory = tempfile::Builder::new().prefix("ctd").tempdir_in("/tmp").expect("a directory for containerd");
        let path = |name| directory.path().join(name);
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\n  address = {:?}\n",
            path("root"),
            path("state"),
            path("sock")
        );
        fs::write(path("config.toml"), config).expect("containerd's configuration");
        let mut command = Command::new(find("containerd").expect("containerd is installed"));
        command.arg("--config").arg(path("config.toml"));
        let mut containerd = Self { process: Process::spawn(command), directory };
        eventually("containerd answers", Duration::from_secs(30), async || {
            containerd.process.assert_running();
            containerd.ctr(&["version"]).await.status.success()
        })
        .await;
        containerd
    }

    /// `ctr images pull --plain-http --snapshotter native`; bundles name no platform, and it does not mind.
    pub(crate) async fn pull(&self, reference: &str) -> Finished {
        self.ctr(&["images", "pull", "--plain-http", "--snapshotter", "native", reference]).await
    }

    /// What `ctr images ls` says of an image's digest.
    pub(crate) async fn digest(&self, reference: &str) -> String {
        let list = self.ctr(&["images", "ls"]).await.stdout;
        let line = list.lines().find(|line| line.starts_with(&format!("{reference} "))).unwrap_or_default();
        let digest = line.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no {reference} in\n{list}")).to_owned()
    }

    /// A file of what was unpacked, by its name; for a daemon that holds one image.
    pub(crate) fn unpacked(&self, file: &str) -> Vec<u8> {
        let snapshots = self.directory.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
        let found: Vec<PathBuf> = fs::read_dir(&snapshots)
            .expect("the native snapshotter's directory")
            .map(|entry| entry.expect("a snapshot").path().join(file))
            .filter(|file| file.is_file())
            .collect();
        let [file] = found.as_slice() else { panic!("{file} once in {}: {found:?}", snapshots.display()) };
        fs::read(file).expect("an unpacked file")
    }

    async fn ctr(&self, arguments: &[&str]) -> Finished {
        let socket = self.directory.path().join("sock");
        let socket = socket.to_string_lossy();
        attempt("ctr", &[&["--address", &socket][..], arguments].concat()).await
    }
}

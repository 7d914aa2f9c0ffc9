//! buildah, with storage and a policy of the test's own. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::access::Access;
use super::find;
use super::process::{Finished, Process, run};

/// buildah as somebody without a login, with nothing built.
pub(crate) struct Buildah {
    access: Access,
    home: TempDir,
}

impl Buildah {
    /// Over plain HTTP.
    pub(crate) fn new() -> Self {
        let home = TempDir::new().expect("a directory for buildah");
        let policy = json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string();
        fs::write(home.path().join("policy.json"), policy).expect("a file for buildah");
        fs::write(home.path().join("registries.conf"), "unqualified-search-registries = []\n")
            .expect("a file for buildah");
        Self { access: Access::anonymous(), home }
    }

    /// Builds a bundle of one layer from a directory, as imgpkg would have it: from nothing, with the label.
    pub(crate) async fn bundle(&self, directory: &Path, image: &str) {
        let container = self.succeed(&["from", "scratch"]).await;
        let container = container.trim();
        self.succeed(&["copy", container, &directory.display().to_string(), "/"]).await;
        self.succeed(&["config", "--label", "dev.carvel.imgpkg.bundle=true", container]).await;
        let policy = self.policy();
        self.succeed(&["commit", "--signature-policy", &policy, container, image]).await;
    }

    /// `buildah push` of an image that was built.
    pub(crate) async fn push(&self, image: &str, reference: &str) -> Finished {
        let policy = self.policy();
        let to = format!("docker://{reference}");
        self.buildah(&["push", "--tls-verify=false", "--signature-policy", &policy, image, &to]).await
    }

    /// Makes an image of nothing but environment variables, for what is mounted into its containers to be run.
    pub(crate) async fn empty(&self, environment: &[(&str, &str)], image: &str) {
        let container = self.succeed(&["from", "scratch"]).await;
        let container = container.trim();
        for (name, value) in environment {
            self.succeed(&["config", "--env", &format!("{name}={value}"), container]).await;
        }
        self.succeed(&["commit", "--signature-policy", &self.policy(), container, image]).await;
    }

    /// `buildah build` with these arguments, out of images that are there.
    pub(crate) async fn build(&self, arguments: &[&str], patience: Duration) -> Finished {
        let policy = self.policy();
        let build = ["build", "--signature-policy", &policy, "--pull-never"];
        let mut process = Process::spawn(self.command(&[&build[..], arguments].concat()));
        let status = process.wait_for(patience).await;
        Finished { status, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// What an image's configuration says, as the OCI's image-spec has it.
    pub(crate) async fn configuration(&self, image: &str) -> Value {
        let inspected = self.succeed(&["inspect", "--type", "image", image]).await;
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        inspected["OCIv1"]["config"].clone()
    }

    /// The directory that holds an image's files, with their owners.
    pub(crate) async fn files(&self, image: &str) -> PathBuf {
        let container = self.succeed(&["from", "--signature-policy", &self.policy(), "--pull-never", image]).await;
        self.succeed(&["mount", container.trim()]).await.trim().into()
    }

    /// Writes an image to an archive, under this name.
    pub(crate) async fn archive(&self, image: &str, file: &Path, name: &str) {
        let to = format!("oci-archive:{}:{name}", file.display());
        self.succeed(&["push", "--signature-policy", &self.policy(), image, &to]).await;
    }

    fn policy(&self) -> String {
        self.home.path().join("policy.json").display().to_string()
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let finished = self.buildah(arguments).await;
        assert!(finished.status.success(), "buildah {arguments:?}: {finished:?}");
        finished.stdout
    }

    async fn buildah(&self, arguments: &[&str]) -> Finished {
        run(self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(find("buildah").expect("buildah is installed"));
        for (option, directory) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(self.home.path().join(directory));
        }
        // Neither overlay mounts nor namespaces are there on every machine.
        command.args(["--storage-driver", "vfs"]).args(arguments).env("BUILDAH_ISOLATION", "chroot");
        command.env("CONTAINERS_REGISTRIES_CONF", self.home.path().join("registries.conf"));
        self.access.prepare(&mut command, self.home.path());
        command
    }
}

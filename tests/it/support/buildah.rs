//! buildah, with storage and a policy of the test's own. Needs root.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::access::Access;
use super::find;
use super::process::{Finished, run};

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

    fn policy(&self) -> String {
        self.home.path().join("policy.json").display().to_string()
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let finished = self.buildah(arguments).await;
        assert!(finished.status.success(), "buildah {arguments:?}: {finished:?}");
        finished.stdout
    }

    async fn buildah(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(find("buildah").expect("buildah is installed"));
        for (option, directory) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(self.home.path().join(directory));
        }
        // Neither overlay mounts nor namespaces are there on every machine.
        command.args(["--storage-driver", "vfs"]).args(arguments).env("BUILDAH_ISOLATION", "chroot");
        command.env("CONTAINERS_REGISTRIES_CONF", self.home.path().join("registries.conf"));
        self.access.prepare(&mut command, self.home.path());
        run(command).await
    }
}

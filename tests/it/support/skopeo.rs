//! skopeo, with certificates and logins of the test's own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::access::Access;
use super::find;
use super::process::{Finished, run};

/// skopeo as one client.
pub(crate) struct Skopeo {
    access: Access,
    home: TempDir,
}

impl Skopeo {
    /// For a client with this access.
    pub(crate) fn new(access: &Access) -> Self {
        let home = TempDir::new().expect("a directory for skopeo");
        access.certificates_in(&home.path().join("certificates"));
        Self { access: access.clone(), home }
    }

    /// `skopeo inspect --raw docker://…`: the manifest is what it writes.
    pub(crate) async fn inspect(&self, reference: &str) -> Finished {
        self.run("inspect", &[""], &["--raw", &format!("docker://{reference}")]).await
    }

    /// `skopeo copy docker://… dir:…`, which checks every digest.
    pub(crate) async fn copy(&self, reference: &str, directory: &Path) -> Finished {
        let to = format!("dir:{}", directory.display());
        self.run("copy", &["src-"], &[&format!("docker://{reference}"), &to]).await
    }

    /// `skopeo copy … docker://…` from any other transport, as it stands.
    pub(crate) async fn push(&self, source: &str, reference: &str) -> Finished {
        self.run("copy", &["dest-"], &["--preserve-digests", source, &format!("docker://{reference}")]).await
    }

    /// `skopeo copy docker://… docker://…`, as it stands; the same login at both ends.
    pub(crate) async fn transfer(&self, from: &str, to: &str) -> Finished {
        let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
        self.run("copy", &["src-", "dest-"], &["--preserve-digests", &from, &to]).await
    }

    async fn run(&self, what: &str, sides: &[&str], arguments: &[&str]) -> Finished {
        let mut command = Command::new(find("skopeo").expect("skopeo is installed"));
        command.args(["--insecure-policy", what]);
        for side in sides {
            match self.access.credentials() {
                Some(credentials) => command.arg(format!("--{side}creds={credentials}")),
                None => command.arg(format!("--{side}no-creds")),
            };
            if self.access.is_secure() {
                command.arg(format!("--{side}cert-dir")).arg(self.home.path().join("certificates"));
            } else {
                command.arg(format!("--{side}tls-verify=false"));
            }
        }
        command.args(arguments);
        self.access.prepare(&mut command, self.home.path());
        run(command).await
    }
}

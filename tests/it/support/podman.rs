//! podman, with storage, certificates, logins and mirrors of the test's own. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::access::Access;
use super::find;
use super::process::{Finished, run};

/// podman as one client, with nothing pulled.
pub(crate) struct Podman {
    access: Access,
    /// Each registry, and the mirror that is asked in its place.
    mirrors: Vec<(String, String)>,
    /// What it reads in their place.
    registries: Option<PathBuf>,
    home: TempDir,
}

impl Podman {
    /// For a client with this access.
    pub(crate) fn new(access: &Access) -> Self {
        let home = TempDir::new().expect("a directory for podman");
        access.certificates_in(&home.path().join("certificates"));
        Self { access: access.clone(), mirrors: Vec::new(), registries: None, home }
    }

    /// Asks `location` (`host[:port][/path]`) before `registry` (`host[:port]`).
    pub(crate) fn mirror(mut self, registry: &str, location: &str) -> Self {
        self.mirrors.push((registry.to_owned(), location.to_owned()));
        self
    }

    /// Reads this `registries.conf`, and not one made of mirrors.
    pub(crate) fn reading(mut self, registries: &Path) -> Self {
        self.registries = Some(registries.to_owned());
        self
    }

    /// `podman pull`. The login is for the registry that is named, and for every mirror.
    pub(crate) async fn pull(&self, reference: &str) -> Finished {
        let registries = std::iter::once(reference).chain(self.mirrors.iter().map(|(_, location)| location.as_str()));
        let registries = registries.map(|name| name.split('/').next().unwrap_or_default().to_owned());
        self.write("auth.json", &self.access.logins_at(&registries.collect::<Vec<_>>()).to_string());
        self.talk("pull", &[reference]).await
    }

    /// `podman push` of an image that was pulled; the login is for the registry it goes to.
    pub(crate) async fn push(&self, image: &str, reference: &str) -> Finished {
        let registry = reference.split('/').next().unwrap_or_default().to_owned();
        self.write("auth.json", &self.access.logins_at(&[registry]).to_string());
        self.talk("push", &[image, &format!("docker://{reference}")]).await
    }

    /// What has to do with a registry.
    async fn talk(&self, what: &str, arguments: &[&str]) -> Finished {
        self.write("policy.json", &json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string());
        let certificates = self.path("certificates").display().to_string();
        let (policy, logins) = (self.path("policy.json").display().to_string(), self.path("auth.json"));
        let (verify, logins) = (format!("--tls-verify={}", self.access.is_secure()), logins.display().to_string());
        let options =
            [what, &verify, "--cert-dir", &certificates, "--authfile", &logins, "--signature-policy", &policy];
        self.podman(&[&options[..], arguments].concat()).await
    }

    /// The digest of an image that was pulled.
    pub(crate) async fn digest(&self, reference: &str) -> String {
        let inspected = self.podman(&["image", "inspect", "--format", "{{.Digest}}", reference]).await;
        assert!(inspected.status.success(), "{inspected:?}");
        inspected.stdout.trim().to_owned()
    }

    /// A file of what was unpacked, by its name; for a client that pulled one image of one layer.
    pub(crate) fn unpacked(&self, file: &str) -> Vec<u8> {
        let layers = self.path("root/vfs/dir");
        let layers = fs::read_dir(&layers).expect("the layers of the vfs driver").flatten();
        let found: Vec<PathBuf> = layers.map(|layer| layer.path().join(file)).filter(|file| file.is_file()).collect();
        let [file] = found.as_slice() else { panic!("{file} once: {found:?}") };
        fs::read(file).expect("an unpacked file")
    }

    async fn podman(&self, arguments: &[&str]) -> Finished {
        let mut registries = "unqualified-search-registries = []\n".to_owned();
        for (registry, location) in &self.mirrors {
            let insecure = !self.access.is_secure();
            registries += &format!(
                "[[registry]]\nlocation = {registry:?}\ninsecure = {insecure}\n\
                 [[registry.mirror]]\nlocation = {location:?}\ninsecure = {insecure}\n"
            );
        }
        self.write("registries.conf", &registries);
        let registries = self.registries.clone().unwrap_or_else(|| self.path("registries.conf"));
        let mut command = Command::new(find("podman").expect("podman is installed"));
        for (option, directory) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.path(directory));
        }
        // Neither overlay mounts, nor cgroups, nor a journal are there on every machine.
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(arguments).env("CONTAINERS_REGISTRIES_CONF", registries);
        self.access.prepare(&mut command, self.home.path());
        run(command).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file for podman");
    }
}

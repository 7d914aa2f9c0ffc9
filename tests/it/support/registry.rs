//! Debian's `docker-registry`: the registry that most of the fleet is, under the harness.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_address, succeed};
use super::{eventually, find, http};

/// A running registry. Its storage outlives a [`DockerRegistry::stop`].
pub(crate) struct DockerRegistry {
    process: Process,
    address: SocketAddr,
    storage: PathBuf,
    directory: TempDir,
}

impl DockerRegistry {
    /// An empty one, over plain HTTP.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a directory for the registry");
        let storage = directory.path().join("storage");
        let registry = Self::run(directory, storage, "", "").await;
        registry.ready().await;
        registry
    }

    /// A pull-through cache of another registry, which has to be up.
    pub(crate) async fn pull_through(remote: &str) -> Self {
        let directory = TempDir::new().expect("a directory for the registry");
        let storage = directory.path().join("storage");
        let registry = Self::run(directory, storage, "", &format!("proxy: {{remoteurl: {remote:?}}}\n")).await;
        registry.ready().await;
        registry
    }

    /// One with a certificate and a password, on the content of another, which has to have stopped.
    pub(crate) async fn private(content: &Self, certificate: &Path, key: &Path, user: &str, password: &str) -> Self {
        let directory = TempDir::new().expect("a directory for the registry");
        let passwords = directory.path().join("htpasswd");
        fs::write(&passwords, succeed("htpasswd", &["-Bbn", user, password]).await).expect("a password file");
        let tls = format!("tls: {{certificate: {certificate:?}, key: {key:?}}}");
        let auth = format!("auth: {{htpasswd: {{realm: colocate tests, path: {passwords:?}}}}}\n");
        let mut registry = Self::run(directory, content.storage.clone(), &tls, &auth).await;
        let address = registry.address;
        eventually("the private registry listens", Duration::from_secs(20), async || {
            registry.process.assert_running();
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        registry
    }

    async fn run(directory: TempDir, storage: PathBuf, http: &str, rest: &str) -> Self {
        let address = free_address();
        let file = directory.path().join("config.yml");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n\
             http:\n  addr: {address}\n  {http}\n{rest}"
        );
        fs::write(&file, config).expect("the registry's configuration");
        let mut command = Command::new(find("docker-registry").expect("docker-registry is installed"));
        command.arg("serve").arg(&file);
        // Without this it sends traces nowhere and complains about it.
        command.env("OTEL_TRACES_EXPORTER", "none");
        Self { process: Process::spawn(command), address, storage, directory }
    }

    async fn ready(&self) {
        let url = format!("{}/v2/", self.url());
        eventually("the registry answers", Duration::from_secs(20), async || {
            http::try_send(http::Method::GET, &url, &[], "").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// `http://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `https://localhost:port`, as certificates name it.
    pub(crate) fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A directory that lives as long as the registry.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops it; what it stored stays until it is dropped.
    pub(crate) async fn stop(&mut self) {
        self.process.stop().await;
    }
}

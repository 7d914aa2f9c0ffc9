//! Debian's `docker-registry`: the registry that most of the fleet is, under the harness.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use colocate::oci::Digest;
use tempfile::TempDir;

use super::certificates::{Authority, Identity};
use super::process::{Process, free_address, succeed};
use super::stored::files;
use super::token_server::TokenServer;
use super::{eventually, find, http, secrets};

/// A running registry. Its storage outlives a [`DockerRegistry::stop`].
pub(crate) struct DockerRegistry {
    process: Process,
    address: SocketAddr,
    storage: PathBuf,
    directory: TempDir,
}

/// A registry to be, whom it lets in and how it is spoken to.
#[derive(Default)]
#[must_use]
pub(crate) struct Setup {
    storage: Option<PathBuf>,
    server: Option<Identity>,
    clients: Option<PathBuf>,
    passwords: Vec<(String, String)>,
    deletes: bool,
    /// Top-level sections of its configuration.
    sections: String,
}

impl Setup {
    /// Over TLS, with this certificate.
    pub(crate) fn tls(mut self, server: &Identity) -> Self {
        self.server = Some(server.clone());
        self
    }

    /// Only for clients that this authority vouches for; on top of TLS.
    pub(crate) fn clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.file().to_owned());
        self
    }

    /// Only for those who know a password; may be said several times.
    pub(crate) fn password(mut self, user: &str, password: &str) -> Self {
        secrets::register(&format!("{user}'s password at the registry"), password);
        self.passwords.push((user.to_owned(), password.to_owned()));
        self
    }

    /// Only for those to whom this server gives a token.
    pub(crate) fn tokens_of(mut self, server: &TokenServer) -> Self {
        self.sections += &format!(
            "auth: {{token: {{realm: {:?}, service: {:?}, issuer: {:?}, rootcertbundle: {:?}}}}}\n",
            server.realm(),
            server.service(),
            server.issuer(),
            server.certificate()
        );
        self
    }

    /// Takes deletions of manifests and blobs, which it does not unless it is told to.
    pub(crate) fn deleting(mut self) -> Self {
        self.deletes = true;
        self
    }

    /// On the content of another, which has to have stopped.
    pub(crate) fn content_of(mut self, other: &DockerRegistry) -> Self {
        self.storage = Some(other.storage.clone());
        self
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(mut self) -> DockerRegistry {
        let directory = TempDir::new().expect("a directory for the registry");
        if !self.passwords.is_empty() {
            let file = directory.path().join("htpasswd");
            let mut lines = String::new();
            for (user, password) in &self.passwords {
                lines += succeed("htpasswd", &["-Bbn", user, password]).await.trim();
                lines.push('\n');
            }
            fs::write(&file, lines).expect("a password file");
            self.sections += &format!("auth: {{htpasswd: {{realm: colocate tests, path: {file:?}}}}}\n");
        }
        let tls = self.server.iter().map(|Identity { certificate, key }| {
            let clients = self.clients.iter().map(|file| format!(", clientcas: [{file:?}]")).collect::<String>();
            format!("tls: {{certificate: {certificate:?}, key: {key:?}{clients}}}")
        });
        let tls = tls.collect::<String>();
        let storage = self.storage.take().unwrap_or_else(|| directory.path().join("storage"));
        let address = free_address();
        let file = directory.path().join("config.yml");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}, delete: {{enabled: {}}}}}\n\
             http:\n  addr: {address}\n  {tls}\n{}",
            self.deletes, self.sections
        );
        fs::write(&file, config).expect("the registry's configuration");
        let mut command = Command::new(find("docker-registry").expect("docker-registry is installed"));
        command.arg("serve").arg(&file);
        // Without this it sends traces nowhere and complains about it.
        command.env("OTEL_TRACES_EXPORTER", "none");
        let mut registry = DockerRegistry { process: Process::spawn(command), address, storage, directory };
        registry.ready(self.server.is_none() && !self.sections.contains("auth:")).await;
        registry
    }
}

impl DockerRegistry {
    /// One that can be made different from the others.
    pub(crate) fn setup() -> Setup {
        Setup::default()
    }

    /// An empty one, over plain HTTP.
    pub(crate) async fn start() -> Self {
        Self::setup().start().await
    }

    /// A pull-through cache of another registry, which has to be up.
    pub(crate) async fn pull_through(remote: &str) -> Self {
        let sections = format!("proxy: {{remoteurl: {remote:?}}}\n");
        Setup { sections, ..Setup::default() }.start().await
    }

    /// One with a certificate and a password, on the content of another, which has to have stopped.
    pub(crate) async fn private(content: &Self, certificate: &Path, key: &Path, user: &str, password: &str) -> Self {
        let server = Identity { certificate: certificate.to_owned(), key: key.to_owned() };
        Self::setup().content_of(content).tls(&server).password(user, password).start().await
    }

    /// Waits until it answers; one that does not answer everybody, until it listens.
    async fn ready(&mut self, open: bool) {
        let (address, url) = (self.address, format!("{}/v2/", self.url()));
        eventually("the registry answers", Duration::from_secs(20), async || {
            self.process.assert_running();
            if open {
                http::try_send(http::Method::GET, &url, &[], "").await.is_ok_and(|answer| answer.status == 200)
            } else {
                tokio::net::TcpStream::connect(address).await.is_ok()
            }
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

    /// For a server that goes by other names.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A directory that lives as long as the registry.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The digests of all blobs and manifests that it stores, whether or not a repository has them. Uploads that have
    /// not ended are none.
    pub(crate) fn stored(&self) -> BTreeSet<Digest> {
        let blobs = self.storage.join("docker/registry/v2/blobs");
        let data = files(&blobs).into_iter().filter(|file| file.ends_with("data"));
        data.map(|file| {
            let names: Vec<_> =
                file.strip_prefix(&blobs).expect("below").iter().map(|name| name.to_string_lossy()).collect();
            let [algorithm, _, hex, _] = names.as_slice() else { panic!("a stray file: {}", file.display()) };
            format!("{algorithm}:{hex}").parse().expect("a digest for a name")
        })
        .collect()
    }

    /// Stops it; what it stored stays until it is dropped.
    pub(crate) async fn stop(&mut self) {
        self.process.stop().await;
    }
}

//! A token server of the tests' own, for registries that send their clients to one
//! (distribution, docs/spec/auth/token.md and oauth.md).
//!
//! ```ignore
//! let tokens = TokenServer::start().await;
//! tokens.user("alice", &password, &[("acme/*", "pull")]);
//! tokens.everyone(&[("public/*", "pull")]);
//! let registry = DockerRegistry::setup().tokens_of(&tokens).start().await;
//! …
//! assert_eq!(tokens.count(Some("alice"), "repository:acme/app:pull"), 1);
//! ```

mod answer;
mod rights;
mod token;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::certificates::Identity;
use rights::Rights;
use token::{Claims, Expiry, ISSUER, SERVICE, Signer};

/// The server. It is gone when this is dropped.
pub(crate) struct TokenServer {
    address: SocketAddr,
    scheme: &'static str,
    certificate: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    _directory: TempDir,
}

struct Shared {
    signer: Signer,
    state: Mutex<State>,
}

struct State {
    rights: Rights,
    requests: Vec<Asked>,
    mischief: Option<Mischief>,
    lifetime: Duration,
    issued: usize,
}

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Who asked, with a password or refresh token that is right.
    pub(crate) user: Option<String>,
    /// Each scope by itself, as it was asked for.
    pub(crate) scopes: Vec<String>,
    /// GET with Basic, or POST as in OAuth 2.
    pub(crate) method: String,
    /// The status it was answered with, if it was.
    pub(crate) status: Option<u16>,
}

/// How to behave badly, from the next request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// No answer comes.
    Stall,
    /// Go and ask here, for ever.
    Redirect,
    /// 200, and a page of HTML.
    Garbage,
    /// This status.
    Status(u16),
    /// Tokens that are said to hold, and that the registry refuses since they ended long ago.
    Expired,
}

impl TokenServer {
    /// Over plain HTTP. It lets nobody do anything.
    pub(crate) async fn start() -> Self {
        Self::launch(None).await
    }

    /// Over TLS with this certificate.
    pub(crate) async fn start_tls(server: &Identity) -> Self {
        let certificate = CertificateDer::from_pem_file(&server.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&server.key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a key that fits");
        Self::launch(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn launch(tls: Option<TlsAcceptor>) -> Self {
        let directory = TempDir::new().expect("a directory for the token server");
        let certificate = directory.path().join("tokens.pem");
        let state = State {
            rights: Rights::default(),
            requests: Vec::new(),
            mischief: None,
            lifetime: Duration::from_secs(300),
            issued: 0,
        };
        let shared = Arc::new(Shared { signer: Signer::new(&certificate), state: Mutex::new(state) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accepting = tokio::spawn(accept(listener, tls, shared.clone()));
        Self { address, scheme, certificate, shared, accepting, _directory: directory }
    }

    /// Someone with a password may do this: patterns of repositories, each with actions between commas.
    pub(crate) fn user(&self, name: &str, password: &str, may: &[(&str, &str)]) {
        super::secrets::register(&format!("{name}'s password at the token server"), password);
        self.shared.state().rights.user(name, password, may);
    }

    /// Everyone may do this, also without a password.
    pub(crate) fn everyone(&self, may: &[(&str, &str)]) {
        self.shared.state().rights.everyone(may);
    }

    /// How long tokens hold from now on; 300 s unless it is said.
    pub(crate) fn lifetime(&self, lifetime: Duration) {
        self.shared.state().lifetime = lifetime;
    }

    /// Behaves badly from now on, or well again.
    pub(crate) fn misbehave(&self, mischief: Option<Mischief>) {
        self.shared.state().mischief = mischief;
    }

    /// A token that nobody asked for, for the tests themselves: to fill a registry with.
    pub(crate) fn token(&self, repository: &str, actions: &[&str]) -> String {
        let access = json!({"type": "repository", "name": repository, "actions": actions});
        let mut state = self.shared.state();
        state.issued += 1;
        let expires = Expiry::In(state.lifetime);
        self.shared.signer.sign(&Claims { subject: "tests", access: vec![access], number: state.issued, expires })
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.shared.state().requests.clone()
    }

    /// How many requests this user (nobody: without a password) made for this scope, such as
    /// `repository:acme/app:pull`.
    pub(crate) fn count(&self, user: Option<&str>, scope: &str) -> usize {
        let wanted = |asked: &&Asked| asked.user.as_deref() == user && asked.scopes.iter().any(|own| own == scope);
        self.shared.state().requests.iter().filter(wanted).count()
    }

    /// Where clients are sent, as certificates name it.
    pub(crate) fn realm(&self) -> String {
        format!("{}://localhost:{}/token", self.scheme, self.address.port())
    }

    /// The audience of its tokens.
    pub(crate) fn service(&self) -> &'static str {
        SERVICE
    }

    /// Who it says it is.
    pub(crate) fn issuer(&self) -> &'static str {
        ISSUER
    }

    /// The certificate of the key that signs tokens, in PEM.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        connections.spawn(async move {
            match tls {
                None => converse(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| answer::answer(shared.clone(), request));
    // A client that hangs up has its reasons.
    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}

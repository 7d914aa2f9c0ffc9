//! What a client brings along: whom it trusts, what it shows, and by which way it finds names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use super::certificates::{Authority, Identity};
use super::http::{ACCEPT, Answer, send_by};
use super::names::Names;

/// The drivers of real clients take one; it is also a client of its own.
#[derive(Clone, Default)]
pub(crate) struct Access {
    authority: Option<PathBuf>,
    identity: Option<Identity>,
    login: Option<(String, String)>,
    bearer: Option<String>,
    names: Option<String>,
}

impl Access {
    /// Nothing at all: plain HTTP, and no name.
    pub(crate) fn anonymous() -> Self {
        Self::default()
    }

    /// Speaks TLS, and trusts this authority.
    pub(crate) fn trusting(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.file().to_owned());
        self
    }

    /// Shows a client certificate.
    pub(crate) fn presenting(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Has a name and a password.
    pub(crate) fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Has a token already. For its own requests only: the real clients fetch theirs.
    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// Finds servers by names. For the real clients only.
    pub(crate) fn finding(mut self, names: &Names) -> Self {
        self.names = Some(names.url());
        self
    }

    /// GET with an `Accept` for every manifest type.
    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Method::GET, url, &[("accept", ACCEPT)], "").await
    }

    /// Any request, to a server that answers.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let what = format!("{method} {url}");
        self.try_send(method, url, headers, body).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Any request; without an answer, what went wrong.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let client = self.connecting(0);
        let authorization = self.authorization();
        let own = authorization.iter().map(|value| ("authorization", value.as_str()));
        let headers: Vec<_> = own.chain(headers.iter().copied()).collect();
        send_by(&client, method, url, &headers, body).await
    }

    /// A client that keeps so many connections to each server.
    pub(crate) fn connecting(&self, idle: usize) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(self.tls()).https_or_http().enable_http1().build();
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(connector)
    }

    /// The header by which it says who it is.
    pub(crate) fn authorization(&self) -> Option<String> {
        let basic = |(user, password): &(String, String)| format!("Basic {}", encoded(user, password));
        self.bearer.as_ref().map(|token| format!("Bearer {token}")).or_else(|| self.login.as_ref().map(basic))
    }

    fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.authority {
            roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots);
        match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a key that fits")
            }
        }
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.authority.is_some()
    }

    /// The authority it trusts.
    pub(crate) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// The client certificate it shows.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// `user:password`, as programs take it on the command line.
    pub(crate) fn credentials(&self) -> Option<String> {
        self.login.as_ref().map(|(user, password)| format!("{user}:{password}"))
    }

    /// A directory of certificates as skopeo and podman want it (containers-certs.d(5)).
    pub(crate) fn certificates_in(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a directory for certificates");
        let identity = self.identity.iter();
        let identity = identity.flat_map(|own| [(&own.certificate, "client.cert"), (&own.key, "client.key")]);
        for (file, name) in self.authority.iter().map(|file| (file, "ca.crt")).chain(identity) {
            fs::copy(file, directory.join(name)).expect("a certificate");
        }
    }

    /// The file that `podman login` would leave (containers-auth.json(5)), for these registries.
    pub(crate) fn logins_at(&self, registries: &[String]) -> Value {
        let entry = |(user, password): &(String, String)| json!({"auth": encoded(user, password)});
        let logins = registries.iter().filter_map(|at| Some((at.clone(), entry(self.login.as_ref()?))));
        json!({"auths": logins.collect::<serde_json::Map<_, _>>()})
    }

    /// Has a program look names up where this client does, and find nothing that lies about on the machine.
    pub(crate) fn prepare(&self, command: &mut Command, home: &Path) {
        command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env_remove("REGISTRY_AUTH_FILE");
        for variable in ["HTTP_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "HTTPS_PROXY"] {
            command.env_remove(variable);
        }
        if let Some(names) = &self.names {
            command.env("HTTPS_PROXY", names);
        }
    }
}

fn encoded(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

//! The section `server`, and `listen`: how clients are served.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checker::{Checker, address, certificates, positive, private_key};
use super::values;
use super::{AccessMode, AdminConfig, ListenAddress, TrustedProxy, raw};

/// How connections are served.
#[derive(Debug, PartialEq)]
pub struct ServerConfig {
    /// How long a request's head may take, and how long a connection may stay idle between two.
    pub header_read_timeout: Duration,
    /// Connections at one time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long clients are still accepted after SIGTERM, while readiness says no.
    pub drain_delay: Duration,
    /// How long running requests may take to end after SIGTERM.
    pub drain_timeout: Duration,
    /// How long a client may take nothing of a response.
    pub idle_body_timeout: Duration,
    /// Whose word on whom they connect for is taken.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// The certificate to serve with; plain HTTP when `None`.
    pub tls: Option<TlsConfig>,
}

/// The server's certificate. The files are read again when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// The chain, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities that clients' certificates have to be from; clients are asked for none when `None`.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without one is refused.
    pub client_certificate_required: bool,
}

impl Checker {
    pub(super) fn listen(&mut self, raw: Option<raw::Listen>) -> Vec<ListenAddress> {
        let read = |text: &str| text.parse::<ListenAddress>().map_err(|err| format!("`{text}` {err}"));
        match raw {
            Some(raw::Listen::Several(addresses)) => {
                if addresses.is_empty() {
                    self.problem("listen", "is empty; nobody could connect");
                }
                let addresses = self.list("listen", Some(addresses), read);
                // Port 0 is another one each time.
                let same = |one: &ListenAddress| one.tcp().is_none_or(|address| address.port() != 0);
                for (index, address) in addresses.iter().enumerate() {
                    if same(address) && addresses[..index].contains(address) {
                        self.problem("listen", format!("has `{address}` twice; it can be listened on once"));
                    }
                }
                addresses
            }
            Some(raw::Listen::One(address)) => vec![self.setting("listen", Some(address), DEFAULT_LISTEN, read)],
            None => vec![self.setting("listen", None, DEFAULT_LISTEN, read)],
        }
    }

    pub(super) fn admin(&mut self, raw: raw::Admin) -> AdminConfig {
        let listen = |text: &str| if text == "none" { Ok(None) } else { address(text).map(Some) };
        AdminConfig {
            listen: self.setting("admin.listen", raw.listen, "127.0.0.1:8081", listen),
            names: self.list("admin.names", raw.names, |text| {
                let labels = text.split('.').all(|label| {
                    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    !label.is_empty() && label.chars().all(inside)
                });
                let name = labels.then(|| text.to_ascii_lowercase());
                name.ok_or_else(|| format!("`{text}` is not a host name, such as colocate.example; leave out the port"))
            }),
        }
    }

    pub(super) fn server(&mut self, raw: raw::Server, access: &AccessMode) -> ServerConfig {
        let tls = raw.tls.and_then(|tls| self.tls(tls));
        if *access == AccessMode::Certificate && tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
            let reason = "is needed with `access.mode: certificate`: the authority that clients' certificates are from";
            self.problem("server.tls.client_ca", reason);
        }
        ServerConfig {
            header_read_timeout: self.setting("server.header_read_timeout", raw.header_read_timeout, "30s", positive),
            max_connections: self.setting("server.max_connections", raw.max_connections, "4096", values::count),
            drain_delay: self.setting("server.drain_delay", raw.drain_delay, "0s", values::duration),
            drain_timeout: self.setting("server.drain_timeout", raw.drain_timeout, "30s", values::duration),
            idle_body_timeout: self.setting("server.idle_body_timeout", raw.idle_body_timeout, "60s", positive),
            trusted_proxies: self.list("server.trusted_proxies", raw.trusted_proxies, |text| {
                text.parse().map_err(|err| format!("`{text}` {err}"))
            }),
            tls,
        }
    }

    fn tls(&mut self, raw: raw::Tls) -> Option<TlsConfig> {
        let (Some(cert), Some(key)) = (raw.cert, raw.key) else {
            self.problem("server.tls", "needs both `cert` and `key`, the paths of PEM files");
            return None;
        };
        // Read once now, so that what cannot be read is told with all other problems.
        let is_read = |path: &str| certificates(Path::new(path)).map(|_| PathBuf::from(path));
        let cert = self.optional("server.tls.cert", Some(cert), is_read);
        let key = self
            .optional("server.tls.key", Some(key), |path| private_key(Path::new(path)).map(|_| PathBuf::from(path)));
        let asked = raw.client_certificate.is_some();
        let client_ca = self.optional("server.tls.client_ca", raw.client_ca, is_read);
        if asked && client_ca.is_none() {
            self.problem("server.tls.client_certificate", "means nothing without `client_ca`");
        }
        let client_certificate_required =
            self.setting("server.tls.client_certificate", raw.client_certificate, "required", |text| match text {
                "required" => Ok(true),
                "optional" => Ok(false),
                _ => Err(format!("`{text}` is neither required nor optional")),
            });
        let (cert, key) = cert.zip(key)?;
        Some(TlsConfig { cert, key, client_ca, client_certificate_required })
    }
}

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

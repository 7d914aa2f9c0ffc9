//! Every way to set the proxy up.

use std::fs;
use std::path::Path;

use super::registry::{Guard, Guarded};
use crate::support::certificates::{Authority, Identity};
use crate::support::token_server::TokenServer;

/// How clients are told apart, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nobody is, upstream neither.
    Open,
    /// Nobody is; the proxy has a credential of its own.
    Public,
    /// By passwords that the proxy knows.
    Htpasswd,
    /// By certificates.
    Certificate,
    /// By the registry behind, by password.
    Passed,
    /// The same, where it says "not there" to those who may not read.
    PassedHiding,
    /// The same, by tokens that clients fetch.
    PassedTokens,
    /// By the registry behind one prefix, by password.
    Exchanged,
    /// The same, by tokens that the proxy fetches.
    ExchangedTokens,
}

impl Mode {
    pub(super) fn guard(self) -> Guard {
        match self {
            Self::Open => Guard::None,
            Self::Htpasswd | Self::Certificate | Self::Passed | Self::Exchanged => Guard::Basic,
            Self::PassedHiding => Guard::Hiding,
            Self::Public | Self::PassedTokens | Self::ExchangedTokens => Guard::Tokens,
        }
    }

    /// Whether the registry behind judges.
    pub(super) fn is_judged_upstream(self) -> bool {
        !matches!(self, Self::Open | Self::Public | Self::Htpasswd | Self::Certificate)
    }

    /// Whether everyone may read.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Public)
    }

    /// Whether the registry is behind a prefix.
    pub(super) fn is_exchanged(self) -> bool {
        matches!(self, Self::Exchanged | Self::ExchangedTokens)
    }

    /// A repository of the registry's, as clients of the proxy call it.
    pub(super) fn called(self, repository: &str) -> String {
        if self.is_exchanged() { format!("mirror/{repository}") } else { repository.to_owned() }
    }
}

/// All of them.
pub(super) const EVERY_MODE: [Mode; 9] = [
    Mode::Open,
    Mode::Public,
    Mode::Htpasswd,
    Mode::Certificate,
    Mode::Passed,
    Mode::PassedHiding,
    Mode::PassedTokens,
    Mode::Exchanged,
    Mode::ExchangedTokens,
];

/// Who is who where certificates say it.
pub(super) struct Certificates {
    pub(super) authority: Authority,
    server: Identity,
    pub(super) alice: Identity,
    pub(super) bob: Identity,
    /// Called Alice as well, by an authority that the proxy does not know.
    pub(super) stranger: Identity,
}

impl Certificates {
    pub(super) fn new(directory: &Path) -> Self {
        let of = |name: &str| {
            let directory = directory.join(name);
            fs::create_dir(&directory).expect("a directory");
            Authority::new(&directory)
        };
        let authority = of("known");
        let (server, alice, bob) = (authority.server(&[]), authority.client("alice"), authority.client("bob"));
        Self { server, alice, bob, stranger: of("unknown").client("alice"), authority }
    }
}

/// What the configuration says of listeners.
pub(super) const LISTEN: &str = "listen: 127.0.0.1:0\nadmin: {listen: none}\nendpoint: proxy.example:5000\n";

/// The configuration, but for the cache.
pub(super) fn setup(
    mode: Mode,
    behind: &Guarded,
    directory: &Path,
    passwords: &[String; 2],
    certificates: &Certificates,
) -> String {
    let url = behind.upstream.url();
    let realms = behind.tokens.as_ref().map(realm_host).unwrap_or_default();
    let own = |name: &str| format!("credentials: {{username: {name}, password: {}}}", behind.user(name, &["*"]));
    let upstream =
        |more: &str| format!("{{url: '{url}', registry: registry.example, auth: {{realms: [{realms}]}}{more}}}");
    let rules = |alice: &str, bob: &str| {
        format!(
            "rules: [{{identity: '{alice}', repository: 'acme/**', allow: [pull]}}, \
             {{identity: '{bob}', repository: 'bob/**', allow: [pull]}}]"
        )
    };
    let (upstreams, access, more) = match mode {
        Mode::Open => (format!("upstream: {}", upstream("")), "mode: open".to_owned(), String::new()),
        Mode::Public => {
            let upstream = upstream(&format!(", {}", own("proxy")));
            (format!("upstream: {upstream}"), "mode: open, allow_public: true".to_owned(), String::new())
        }
        Mode::Htpasswd => {
            let file = directory.join("users");
            let line = |(user, password)| format!("{user}:{}\n", bcrypt::hash(password, 4).expect("a hash"));
            fs::write(&file, ["alice", "bob"].into_iter().zip(passwords).map(line).collect::<String>())
                .expect("a file");
            let access = format!("mode: htpasswd, htpasswd: '{}', {}", file.display(), rules("user:alice", "user:bob"));
            (format!("upstream: {}", upstream(&format!(", {}", own("proxy")))), access, String::new())
        }
        Mode::Certificate => {
            let Certificates { authority, server, .. } = certificates;
            let tls = format!(
                "server: {{tls: {{cert: '{}', key: '{}', client_ca: '{}', client_certificate: optional}}}}\n",
                server.certificate.display(),
                server.key.display(),
                authority.file().display()
            );
            let access = format!("mode: certificate, {}", rules("cn:alice", "cn:bob"));
            (format!("upstream: {}", upstream(&format!(", {}", own("proxy")))), access, tls)
        }
        Mode::Passed | Mode::PassedHiding | Mode::PassedTokens => {
            (format!("upstream: {}", upstream("")), "mode: upstream, verdict_ttl: 600s".to_owned(), String::new())
        }
        Mode::Exchanged | Mode::ExchangedTokens => {
            let upstreams = format!("upstreams: [{}]", upstream(", prefix: mirror"));
            (upstreams, "mode: upstream, verdict_ttl: 600s".to_owned(), String::new())
        }
    };
    format!("{LISTEN}{upstreams}\naccess: {{{access}}}\n{more}")
}

/// The token server, as the configuration lists those that are not on the registry's own host.
pub(super) fn realm_host(tokens: &TokenServer) -> String {
    let url: url::Url = tokens.realm().parse().expect("a URL");
    format!("'{}:{}'", url.host_str().expect("a host"), url.port().expect("a port"))
}

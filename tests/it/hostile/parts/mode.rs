//! The ways in which a proxy can tell its clients apart, and who is who in each.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::support::secrets::secret;

/// How the proxy tells its clients apart, and so whose credentials the upstream gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all; the upstream sees the proxy's.
    Open,
    /// By a file of users; the upstream sees the proxy's.
    Htpasswd,
    /// The upstream does, by the header that a client sends.
    PassThrough,
    /// The upstream does, by a user and password that the proxy asked for.
    Exchange,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Htpasswd, Self::PassThrough, Self::Exchange];
}

/// A mode, with passwords.
pub(crate) struct Setup {
    pub(crate) mode: Mode,
    own: String,
    client: String,
    directory: TempDir,
}

impl Setup {
    pub(crate) fn new(mode: Mode) -> Self {
        let (own, client) = (secret("the proxy's password"), secret("a client's password"));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("users"), format!("anna:{}\n", bcrypt::hash(&client, 4).unwrap())).unwrap();
        Self { mode, own, client, directory }
    }

    /// In front of one upstream, about which there is `more` to say.
    pub(crate) fn config(&self, url: impl ToString, more: &str) -> String {
        let (url, own) = (url.to_string(), &self.own);
        let with_own = format!("upstream: {{url: '{url}', credentials: {{username: proxy, password: {own}}}{more}}}");
        match self.mode {
            Mode::Open => format!("{with_own}\naccess: {{mode: open, allow_public: true}}\n"),
            Mode::Htpasswd => {
                let users = self.directory.path().join("users");
                format!("{with_own}\naccess: {{mode: htpasswd, htpasswd: '{}'}}\n", users.display())
            }
            Mode::PassThrough => {
                format!("upstream: {{url: '{url}'{more}}}\naccess: {{mode: upstream, allow_public: true}}\n")
            }
            Mode::Exchange => {
                format!(
                    "upstreams: [{{registry: reg.example, url: '{url}'{more}}}]\naccess: {{mode: upstream, allow_public: true}}\n"
                )
            }
        }
    }

    /// What clients call a repository of the upstream's.
    pub(crate) fn name(&self, name: &str) -> String {
        if self.mode == Mode::Exchange { format!("reg.example/{name}") } else { name.to_owned() }
    }

    /// `Authorization`, as the client sends it, needed or not.
    pub(crate) fn shown(&self) -> String {
        basic("anna", &self.client)
    }

    /// `Authorization`, as it should reach the upstream or its token server.
    pub(crate) fn accepted(&self) -> String {
        match self.mode {
            Mode::Open | Mode::Htpasswd => basic("proxy", &self.own),
            Mode::PassThrough | Mode::Exchange => self.shown(),
        }
    }
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

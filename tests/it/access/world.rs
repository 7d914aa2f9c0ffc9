//! The proxy in one of its modes, the registry behind, and everyone who asks.

use std::path::Path;

use bytes::Bytes;
use colocate::cli::{Running, start};
use colocate::config::Config;
use http::Method;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tempfile::TempDir;

use super::content::{Content, OTHERS, REPOSITORY};
use super::mode::{Certificates, Mode};
use super::registry::Guarded;
use crate::support::access::Access;
use crate::support::http::{ACCEPT, Answer, send_by};
use crate::support::secrets::secret;
use crate::support::seen::{Pulled, Seen};

/// What the proxy itself asks for.
pub(super) const CHALLENGE: &str = r#"Basic realm="Colocate", charset="UTF-8""#;

/// One of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Alice, whose repository it is.
    Owner,
    /// Bob, who has one, too.
    Other,
    /// Alice, by something that is not hers.
    Wrong,
    /// Nobody in particular.
    Nobody,
}

pub(super) const EVERYONE: [Who; 4] = [Who::Owner, Who::Other, Who::Wrong, Who::Nobody];

/// The registry behind, and everyone who asks.
pub(super) struct World {
    pub(super) mode: Mode,
    pub(super) behind: Guarded,
    pub(super) content: Content,
    callers: [Caller; 4],
    setup: String,
    _directory: TempDir,
}

/// A client, with what it shows.
pub(super) struct Caller {
    access: Access,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub(super) authorization: Option<String>,
}

/// A proxy that runs.
pub(super) struct Proxy {
    running: Running,
    pub(super) url: String,
}

impl World {
    pub(super) async fn new(mode: Mode) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let behind = Guarded::start(mode.guard()).await;
        let content = Content::new();
        content.put(&behind.upstream);
        let passwords = if matches!(mode, Mode::Htpasswd) {
            [secret("alice's password"), secret("bob's password")]
        } else {
            [behind.user("alice", &["acme/*"]), behind.user("bob", &["bob/*"])]
        };
        let certificates = Certificates::new(directory.path());
        let setup = super::mode::setup(mode, &behind, directory.path(), &passwords, &certificates);
        let callers = callers(mode, &behind, &passwords, &certificates).await;
        Self { mode, behind, content, callers, setup, _directory: directory }
    }

    /// A client.
    pub(super) fn caller(&self, who: Who) -> &Caller {
        &self.callers[EVERYONE.iter().position(|other| *other == who).expect("one of them")]
    }

    /// A proxy over the cache in this directory. More configuration may be given.
    pub(super) async fn proxy(&self, cache: &Path, more: &str) -> Proxy {
        let text = format!("{}cache: {{dir: '{}'}}\n{more}", self.setup, cache.display());
        Proxy::start(&text, self.mode == Mode::Certificate).await
    }

    /// One that believes the registry's word on who may read for no longer than this.
    pub(super) async fn proxy_believing(&self, cache: &Path, verdict_ttl: &str) -> Proxy {
        let setup = self.setup.replace("verdict_ttl: 600s", &format!("verdict_ttl: {verdict_ttl}"));
        assert_ne!(setup, self.setup);
        Proxy::start(&format!("{setup}cache: {{dir: '{}'}}\n", cache.display()), false).await
    }

    /// Somebody without a name or a certificate, who shows this header.
    pub(super) fn somebody(&self, authorization: &str) -> Caller {
        let access = self.caller(Who::Nobody).access.clone();
        Caller { authorization: Some(authorization.to_owned()), ..Caller::with(access) }
    }

    /// Alice pulls an image of one layer, carefully.
    pub(super) async fn pull(&self, proxy: &Proxy, repository: &str, reference: &str) -> Pulled {
        let access = self.caller(Who::Owner).access.clone();
        Seen::new(&access, &proxy.url).pull(repository, reference).await
    }

    /// Asks the proxy for a path as someone; no answer if no connection came about.
    pub(super) async fn ask(
        &self,
        proxy: &Proxy,
        who: Who,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        self.caller(who).ask(proxy, method, path, headers).await
    }
}

impl Caller {
    /// One with a name and password.
    pub(super) fn login(user: &str, password: &str) -> Self {
        Self::with(Access::anonymous().login(user, password))
    }

    /// One that brings this along.
    pub(super) fn with(access: Access) -> Self {
        Self { client: access.connecting(1), authorization: access.authorization(), access }
    }

    /// Asks for a path; no answer if no connection came about.
    pub(super) async fn ask(
        &self,
        proxy: &Proxy,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let own = self.authorization.iter().map(|value| ("authorization", value.as_str()));
        let headers: Vec<_> = own.chain([("accept", ACCEPT)]).chain(headers.iter().copied()).collect();
        let url = format!("{}{path}", proxy.url);
        send_by(&self.client, method, &url, &headers, "").await.ok()
    }

    /// Asks for a path of a server that answers.
    pub(super) async fn get(&self, proxy: &Proxy, path: &str) -> Answer {
        self.ask(proxy, Method::GET, path, &[]).await.expect("an answer")
    }
}

impl Proxy {
    /// A proxy of this configuration.
    pub(super) async fn start(text: &str, tls: bool) -> Self {
        let config = Config::parse("test", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let running = start(config).await.expect("a proxy");
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", running.address().expect("an address"));
        Self { running, url }
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }
}

/// Who asks, in the order of [`EVERYONE`].
async fn callers(mode: Mode, behind: &Guarded, [alice, bob]: &[String; 2], certificates: &Certificates) -> [Caller; 4] {
    let anonymous = Access::anonymous;
    let all = match mode {
        Mode::Certificate => {
            let Certificates { authority, alice, bob, stranger, .. } = certificates;
            let trusting = || anonymous().trusting(authority);
            let [alice, bob, stranger] = [alice, bob, stranger].map(|identity| trusting().presenting(identity));
            [alice, bob, stranger, trusting()]
        }
        _ => {
            let (alice, bob) = (anonymous().login("alice", alice), anonymous().login("bob", bob));
            if mode == Mode::PassedTokens {
                let wrong = anonymous().bearer(&secret("no token at all"));
                [token(behind, &alice).await, token(behind, &bob).await, wrong, anonymous()]
            } else {
                [alice, bob, anonymous().login("alice", &secret("not alice's password")), anonymous()]
            }
        }
    };
    all.map(Caller::with)
}

/// A client that went for a token, as it was told to, for both repositories: it is granted what it may read.
async fn token(behind: &Guarded, access: &Access) -> Access {
    let tokens = behind.tokens.as_ref().expect("a token server");
    let mut realm: url::Url = tokens.realm().parse().expect("a URL");
    let scopes = [REPOSITORY, OTHERS].map(|name| ("scope", format!("repository:{name}:pull")));
    realm.query_pairs_mut().append_pair("service", tokens.service()).extend_pairs(scopes);
    let answer = access.get(realm.as_str()).await.expect(200);
    Access::anonymous().bearer(answer.json()["token"].as_str().expect("a token"))
}

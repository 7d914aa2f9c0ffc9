//! A proxy on a real socket, clients that send it exact bytes, and its log.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use colocate::cli::{Running, start};
use colocate::config::Config;
use colocate::oci::Digest;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::log::{Capture, Log};
use crate::support::secrets::assert_absent;

/// What the proxy calls itself, and what its clients call it unless they say something else.
pub(crate) const ENDPOINT: &str = "proxy.example";
/// How long an answer may take: more than any timeout that is under test, less than for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy. When it is dropped, its log is searched for secrets.
pub(crate) struct World {
    running: Option<Running>,
    config: String,
    /// How much of it is not the test's.
    own: usize,
    log: Log,
    scratch: TempDir,
    _capture: Capture,
}

impl World {
    /// With a cache of its own; the rest is `config`.
    pub(crate) async fn new(config: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (log, capture) = Log::capture("trace");
        let own = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: none}}\nendpoint: {ENDPOINT}\ncache: {{dir: '{}'}}\n",
            scratch.path().join("cache").display()
        );
        let (own, config) = (own.len(), format!("{own}{config}"));
        let running = Some(start(Config::parse("test", &config).unwrap()).await.unwrap());
        Self { running, config, own, log, scratch, _capture: capture }
    }

    /// Stops it and starts it again, with the same cache.
    pub(crate) async fn restart(&mut self) {
        self.running.take().unwrap().stop().await;
        self.running = Some(start(Config::parse("test", &self.config).unwrap()).await.unwrap());
    }

    /// Stops it and starts it again with other settings, and the same cache.
    pub(crate) async fn reconfigure(&mut self, config: &str) {
        let (own, _) = self.config.split_at(self.own);
        self.config = format!("{own}{config}");
        self.restart().await;
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// A directory that lives as long as this.
    pub(crate) fn scratch(&self) -> &std::path::Path {
        self.scratch.path()
    }

    /// All that was logged.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, headers).await
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_from(Ipv4Addr::LOCALHOST, method, target, headers).await
    }

    /// A request with a body.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nHost: {ENDPOINT}\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let answer = self.raw(Ipv4Addr::LOCALHOST, &[request.as_bytes(), body].concat()).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// A request from this address. Without a Host, for [`ENDPOINT`].
    pub(crate) async fn ask_from(
        &self,
        from: Ipv4Addr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {ENDPOINT}\r\n"));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        let answer = self.raw(from, format!("{head}\r\n").as_bytes()).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// Exactly these bytes; `None` if the connection ends without an answer.
    pub(crate) async fn raw(&self, from: Ipv4Addr, request: &[u8]) -> Option<Answer> {
        let address = self.running.as_ref().unwrap().address().unwrap();
        let exchange = async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((from, 0))).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            // One that has answered may hang up before it has read everything.
            let _ = stream.write_all(request).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            Answer::parse(&bytes)
        };
        timeout(PATIENCE, exchange).await.expect("an answer within bounded time")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_absent("the proxy's log", self.log());
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Some(Self { status, headers: lines.filter_map(pair).collect(), body: bytes[end + 4..].to_vec() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether the body is all that its length promises.
    pub(crate) fn is_whole(&self) -> bool {
        self.header("content-length") == Some(self.body.len().to_string().as_str())
    }

    /// Insists on content of this digest.
    #[track_caller]
    pub(crate) fn expect(&self, digest: &Digest) {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(Digest::of(&self.body), *digest);
    }

    /// Status, code and message of the distribution error document.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, String, String) {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no document: {self:?}"));
        let text = |key: &str| document["errors"][0][key].as_str().unwrap_or_default().to_owned();
        (self.status, text("code"), text("message"))
    }

    /// Status and code alone.
    #[track_caller]
    pub(crate) fn code(&self) -> (u16, String) {
        let (status, code, message) = self.error();
        assert!(!message.is_empty());
        (status, code)
    }
}

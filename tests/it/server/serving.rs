//! A server made of its parts, on the listeners a test wants, and clients that speak to it by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use colocate::body::SystemClock;
use colocate::cache::{Cache, CacheLimits, MemoryStore};
use colocate::config::{Config, Files, FilesPlace, ListenAddress};
use colocate::proxy::{OriginPolicy, Proxy, ProxyParts, RelocationLimits, TagPolicy};
use colocate::server::{
    Access, AccessRules, Directory, Drained, Gate, ListenError, Mode, Server, ServerLimits, ServerParts, WithoutRules,
};
use colocate::telemetry::Metrics;
use colocate::upstream::FilesUpstream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::sample;
use crate::support::view::{REGISTRY, only};

/// How long a test waits for what is a matter of milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const LOOPBACK: &str = "127.0.0.1:0";

/// In front of the sample layout, as `own.example` and `pull.example`; all else is the test's.
pub(super) fn parts() -> ServerParts {
    let files = Files { places: vec![FilesPlace::Layout(sample())], called: None };
    let metrics = Metrics::new();
    let clock = Arc::new(SystemClock);
    let cache = Cache::new(Arc::new(MemoryStore::default()), clock.clone(), CacheLimits::default(), metrics.clone());
    let proxy = Proxy::new(ProxyParts {
        upstreams: only(Arc::new(FilesUpstream::open(files, None).unwrap())),
        cache,
        clock,
        verdict_ttl: Duration::from_secs(60),
        relocation: RelocationLimits {
            deadline: PATIENCE,
            undecided_original: false,
            negative_ttl: PATIENCE,
            max_layer_bytes: 1 << 30,
            concurrency: 4,
            max_passes: 2,
            max_passes_per_client: 2,
            max_targets: 8,
            max_images: 1000,
        },
        origins: OriginPolicy::default(),
        tags: TagPolicy::default(),
        metrics: metrics.clone(),
    });
    let text = format!("upstream: {{url: 'https://{REGISTRY}'}}\nendpoint: own.example\nendpoints: [pull.example]");
    let config = Config::parse("test", &text).unwrap();
    ServerParts {
        proxy,
        metrics,
        directory: Directory::new(&config),
        access: Access {
            mode: Mode::Own(Gate::Open),
            rules: AccessRules::new(Vec::new(), WithoutRules::EveryonePulls).into(),
        },
        limits: ServerLimits {
            header_read_timeout: PATIENCE,
            max_connections: 64,
            drain_timeout: PATIENCE,
            idle_body_timeout: PATIENCE,
        },
        tls: None,
        trusted_proxies: Vec::new(),
    }
}

pub(super) struct Serving {
    pub(super) addresses: Vec<ListenAddress>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Drained>,
}

impl Serving {
    pub(super) async fn start(addresses: &[&str], parts: ServerParts) -> Self {
        Self::try_start(addresses, parts).await.unwrap()
    }

    pub(super) async fn try_start(addresses: &[&str], parts: ServerParts) -> Result<Self, ListenError> {
        let addresses: Vec<ListenAddress> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let server = Server::bind(&addresses, parts).await?;
        let addresses = server.addresses().to_vec();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Ok(Self { addresses, stop, server })
    }

    /// The first network address.
    pub(super) fn tcp(&self) -> SocketAddr {
        let tcp = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        };
        self.addresses.iter().find_map(tcp).unwrap()
    }

    /// Begins to drain.
    pub(super) fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).unwrap();
        self.server
    }
}

/// One request for `/v2/`, after which the connection goes on.
pub(super) async fn base(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let head = send(stream, "/v2/", "Host: own.example\r\n").await?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(())
}

/// One request, with the header lines given; gives the head of the answer and takes in the body.
pub(super) async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &str,
    lines: &str,
) -> io::Result<String> {
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(head)
}

pub(super) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

//! Host names on a machine without a name server.
//!
//! The tools that people pull with find names in DNS alone, and reach none but `localhost` and addresses without it.
//! All of them honour `HTTPS_PROXY`, though. So this is a proxy (RFC 9110 §9.3.6) that connects each name it was given
//! to a port on loopback, and nothing else to anything: `https://registry.example` without a port works, too.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The longest head of a request.
const HEAD: u64 = 16 << 10;

/// The proxy. It is gone when this is dropped.
pub(crate) struct Names {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Names {
    /// Each `host:port`, or host for port 443, is a port on loopback.
    pub(crate) async fn start(names: &[(&str, u16)]) -> Self {
        let full = |name: &str| if name.contains(':') { name.to_owned() } else { format!("{name}:443") };
        let names: Arc<BTreeMap<_, _>> = Arc::new(names.iter().map(|(name, port)| (full(name), *port)).collect());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = asked.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (names, log) = (names.clone(), log.clone());
                // Either side may hang up whenever it likes.
                connections.spawn(async move { drop(connect(stream, &names, &log).await) });
            }
        });
        Self { address, asked, accepting }
    }

    /// For `HTTPS_PROXY`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Each `host:port` that was asked for, also those that are unknown.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(
    mut client: TcpStream,
    names: &BTreeMap<String, u16>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut limited = (&mut client).take(HEAD);
    // The client says nothing more until it has an answer, so nothing of the tunnel is read here.
    while !head.ends_with(b"\r\n\r\n") {
        if limited.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
    match names.get(target).filter(|_| method == "CONNECT") {
        None => client.write_all(b"HTTP/1.1 502 No Such Name\r\nContent-Length: 0\r\n\r\n").await,
        Some(port) => {
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
    }
}

//! Requests that no HTTP client would send, said word by word on a socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server over plain HTTP. Dropping it cuts it.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects to `host:port`.
    pub(crate) async fn open(authority: &str) -> Self {
        Self(TcpStream::connect(authority).await.expect("a server that listens"))
    }

    /// Says the head of a request; `path` may also be a whole URL. A `Host` is added.
    pub(crate) async fn head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let host = self.0.peer_addr().expect("a connection");
        let path = path.find("/v2/").map_or(path, |at| &path[at..]);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.say((head + "\r\n").as_bytes()).await;
    }

    /// Says some bytes. The server may have had enough already, which its answer tells.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// Says no more, but listens on.
    pub(crate) async fn fall_silent(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// The status of the next answer; `None` if the connection ends without one.
    pub(crate) async fn status(&mut self) -> Option<u16> {
        let mut line = Vec::new();
        let read = async {
            while !line.ends_with(b"\n") {
                line.push(self.0.read_u8().await.ok()?);
            }
            String::from_utf8_lossy(&line).split(' ').nth(1)?.parse().ok()
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no answer for {PATIENCE:?}"))
    }
}

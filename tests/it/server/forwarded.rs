//! What a proxy in front says of its clients: believed of those that are trusted, and of nobody else.

use tokio::net::{TcpStream, UnixStream};

use super::NAME;
use super::serving::{LOOPBACK, Serving, header, parts, send};
use crate::support::log::Log;

/// Asks for a bundle, whose digest tells for which endpoint it was relocated.
async fn digest(serving: &Serving, lines: &str) -> String {
    let mut stream = TcpStream::connect(serving.tcp()).await.unwrap();
    let head = send(&mut stream, &format!("/v2/{NAME}/manifests/v1.0.0"), lines).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    header(&head, "docker-content-digest").unwrap().to_owned()
}

async fn serve(trusted: &[&str]) -> Serving {
    let mut parts = parts();
    parts.trusted_proxies = trusted.iter().map(|text| text.parse().unwrap()).collect();
    Serving::start(&[LOOPBACK], parts).await
}

#[tokio::test]
async fn the_forwarded_host_chooses_the_view() {
    let trusting = serve(&["127.0.0.0/8"]).await;
    let own = digest(&trusting, "Host: own.example\r\n").await;
    let pull = digest(&trusting, "Host: pull.example\r\n").await;
    assert_ne!(own, pull);
    for lines in [
        "Forwarded: for=\"[2001:db8::1]:443\";host=pull.example;proto=https\r\n",
        "X-Forwarded-Host: pull.example\r\n",
        "X-Forwarded-Host: evil.example, PULL.example\r\nX-Forwarded-For: 192.0.2.1\r\n",
    ] {
        assert_eq!(digest(&trusting, &format!("Host: inner\r\n{lines}")).await, pull, "{lines}");
    }
    // One that is not listed gets into no lock, whoever names it; damage is as if it were not there.
    for lines in ["X-Forwarded-Host: evil.example\r\n", "Forwarded: host=\"\r\n", "X-Forwarded-Host: \u{e9}\r\n"] {
        assert_eq!(digest(&trusting, &format!("Host: own.example\r\n{lines}")).await, own, "{lines}");
    }
    let wary = serve(&["10.0.0.0/8", "unix"]).await;
    for lines in ["Forwarded: for=10.0.0.1;host=pull.example\r\n", "X-Forwarded-Host: pull.example\r\n"] {
        assert_eq!(digest(&wary, &format!("Host: own.example\r\n{lines}")).await, own, "{lines}");
    }
}

#[tokio::test]
async fn several_forwarded_hosts_are_refused_as_several_hosts_are() {
    let lines = "Host: own.example\r\nX-Forwarded-Host: pull.example\r\nX-Forwarded-Host: own.example\r\n";
    let target = format!("/v2/{NAME}/tags/list");
    for (trusted, status) in [("127.0.0.1", "400"), ("127.0.0.2", "200")] {
        let serving = serve(&[trusted]).await;
        let mut stream = TcpStream::connect(serving.tcp()).await.unwrap();
        let head = send(&mut stream, &target, lines).await.unwrap();
        assert_eq!(&head[9..12], status, "{trusted}");
    }
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn the_access_line_names_the_client_and_not_the_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let mut parts = parts();
    parts.trusted_proxies = vec!["unix".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let serving = Serving::start(&[LOOPBACK, &format!("unix:{}", socket.display())], parts).await;
    let mut tcp = TcpStream::connect(serving.tcp()).await.unwrap();
    let peer = tcp.local_addr().unwrap();
    let mut unix = UnixStream::connect(&socket).await.unwrap();
    let (log, _capture) = Log::capture("colocate=info");
    // By the socket, which is trusted: what its proxy appended counts, and what the client put before does not.
    for (lines, line) in [
        ("", "client=unix secure=false"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "client=192.0.2.1 secure=false"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.2, 10.0.0.1\r\n", "client=192.0.2.2 secure=false"),
        ("Forwarded: for=\"[2001:db8::1]:443\";proto=https\r\n", "client=2001:db8::1 secure=true"),
        ("Forwarded: for=_hidden\r\nVia: a\r\n", "client=unix secure=false"),
        ("Forwarded: for=unknown;proto=https\r\n", "client=unix secure=true"),
        ("Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 192.0.2.3\r\n", "client=unix secure=false"),
    ] {
        let before = log.count(line);
        send(&mut unix, "/v2/", &format!("Host: a\r\n{lines}")).await.unwrap();
        crate::support::eventually(line, super::serving::PATIENCE, async || log.count(line) > before).await;
    }
    let claims = "Host: a\r\nX-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: https\r\n";
    send(&mut tcp, "/v2/", claims).await.unwrap();
    log.until(&format!("client={peer} secure=false")).await;
    assert!(!log.text().contains("6.6.6.6") && !log.text().contains("10.0.0.7"));
}

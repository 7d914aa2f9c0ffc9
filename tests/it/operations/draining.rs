//! The end of a process that clients still want something from.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::{REPOSITORY, put_bundle, watched};
use crate::support::colocate::Colocate;
use crate::support::eventually;
use crate::support::http;
use crate::support::pattern::Pattern;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that takes a blob a little at a time, by a window that holds no more; gives what came.
async fn slowly(authority: String, path: String, pause: Duration) -> Vec<u8> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small window");
    let mut stream = socket.connect(authority.parse().expect("an address")).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 128 << 10]);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
        tokio::time::sleep(pause).await;
    }
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    bytes.split_off(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_ends_right_and_readiness_goes_first() {
    let upstream = ScriptedUpstream::start().await;
    put_bundle(&upstream, REPOSITORY, true);
    let (cached, arriving) = (Pattern::new(1, 8 << 20), Pattern::new(2, 8 << 20));
    upstream.put_pattern(REPOSITORY, &cached);
    let held = upstream.put_pattern(REPOSITORY, &arriving);
    let gate = Gate::new();
    upstream.on(&format!("*/blobs/{held}")).get().fails(Fault::HoldAt(1 << 20, gate.clone()));
    let settings = watched(&upstream).set("server.drain_delay", "3s").set("server.drain_timeout", "60s");
    let colocate = Colocate::start(settings).await;
    colocate.blob(REPOSITORY, &cached.digest().to_string()).await.expect(200);
    let (authority, admin) = (colocate.authority(), colocate.admin());
    let path = |pattern: &Pattern| format!("/v2/{REPOSITORY}/blobs/{}", pattern.digest());
    let readiness = async || http::try_send(Method::GET, &format!("{admin}/readyz"), &[], "").await;
    assert_eq!(readiness().await.expect("an answer").status, 200);

    // Slow clients: of what is there, and of what is still arriving.
    let clients: Vec<_> = [(&cached, 20), (&cached, 25), (&arriving, 20), (&arriving, 1)]
        .into_iter()
        .map(|(pattern, pause)| {
            let client = slowly(authority.clone(), path(pattern), Duration::from_millis(pause));
            (*pattern, tokio::spawn(client))
        })
        .collect();
    upstream.sent(&format!("*/blobs/{held}"), 1 << 20).await;

    colocate.signal("TERM");
    eventually("readiness says no", PATIENCE, async || {
        readiness().await.is_ok_and(|answer| answer.status == 503 && answer.body.starts_with(b"not ready: draining"))
    })
    .await;
    // Whoever has not heard of it is served all the same.
    colocate.manifest(REPOSITORY, "v1").await.expect(200);
    assert_eq!(http::get(&format!("{admin}/healthz")).await.status, 200);
    let url = format!("http://{authority}/v2/");
    eventually("no client is accepted any more", PATIENCE, async || {
        http::try_send(Method::GET, &url, &[], "").await.is_err()
    })
    .await;
    // It still says so, to who asks there.
    assert_eq!(readiness().await.expect("an answer").status, 503);
    gate.open();
    for (pattern, client) in clients {
        let bytes = client.await.expect("no panic");
        assert!(bytes.len() as u64 == pattern.size() && pattern.holds(0, &bytes), "{} bytes", bytes.len());
    }
    let finished = colocate.ended().await;
    assert!(finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("stopped") && !finished.stderr.contains("connections were cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_deadline_is_cut() {
    let upstream = ScriptedUpstream::start().await;
    let pattern = Pattern::new(3, 1 << 20);
    let digest = upstream.put_pattern(REPOSITORY, &pattern);
    upstream.on(&format!("*/blobs/{digest}")).get().fails(Fault::StallAt(512 << 10));
    let colocate = Colocate::start(watched(&upstream).set("server.drain_timeout", "1s")).await;
    let url = format!("{}/v2/{REPOSITORY}/blobs/{digest}", colocate.url());
    let mut body = http::open(Method::GET, &url, &[], "").await.expect("an answer");
    body.next().await.expect("bytes").expect("the first ones");
    colocate.signal("TERM");
    while let Some(piece) = body.next().await {
        if piece.is_err() {
            let finished = colocate.ended().await;
            assert!(finished.status.success() && finished.stderr.contains("connections were cut"), "{finished:?}");
            return;
        }
    }
    panic!("a body that was cut ended cleanly");
}

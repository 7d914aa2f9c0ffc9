//! Sockets that systemd made before the program was started.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::json;
use tempfile::TempDir;

use crate::support::colocate::{Colocate, Settings};
use crate::support::process::free_address;
use crate::support::{http, require};

const ACTIVATE: &str = "systemd-socket-activate";

#[tokio::test(flavor = "multi_thread")]
async fn each_is_used_where_the_configuration_names_it() {
    if !require(&[ACTIVATE]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let (address, admin) = (free_address().to_string(), free_address().to_string());
    let socket = directory.path().join("socket");
    let path = socket.to_str().expect("a name of plain text");
    let settings = Settings::new("http://127.0.0.1:1")
        .set("listen", json!([format!("unix:{path}"), address]))
        .set("admin.listen", admin.as_str());
    let mut colocate = Colocate::launch(&[ACTIVATE, "-l", &address, "-l", &admin, "-l", path], settings);
    // It is started by the first connection, which is kept waiting until then. One address more is bound by itself.
    let mut first = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    colocate.ready().await;
    let request = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    first.write_all(request).expect("a request is taken");
    first.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut unix = UnixStream::connect(&socket).expect("a connection");
    unix.write_all(request).expect("a request is taken");
    answer.clear();
    unix.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    http::get(&format!("http://{address}/v2/")).await.expect(200);
    assert!(colocate.metrics().await.contains("colocate_build_info"));
    colocate.stop().await;
    assert!(socket.exists(), "the one who made it takes it away");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nothing_asks_for_is_an_error() {
    if !require(&[ACTIVATE]) {
        return;
    }
    let address = free_address().to_string();
    let colocate = Colocate::launch(&[ACTIVATE, "-l", &address], Settings::new("http://127.0.0.1:1"));
    while TcpStream::connect(&address).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let finished = colocate.ended().await;
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
    let expected = format!("the socket {address} that this process was started with (LISTEN_FDS) is none of");
    assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
}

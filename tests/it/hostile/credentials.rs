//! `Authorization` as no client should send it.

use std::net::Ipv4Addr;

use super::parts::{ENDPOINT, Mode, Setup, World, own_realm};
use crate::support::bundle::Bundle;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::secret;

/// Header lines, and whether a proxy that only looks whether somebody may come in can take them for nothing said.
fn odd(password: &str) -> Vec<(&'static str, Vec<u8>)> {
    let line = |value: &[u8]| [b"Authorization: ", value, b"\r\n"].concat();
    let basic = super::parts::basic("anna", password);
    let twice = [line(basic.as_bytes()), line(basic.as_bytes())].concat();
    vec![
        ("twice the same", twice),
        ("two", [line(basic.as_bytes()), line(b"Bearer let-me-in")].concat()),
        ("64 KiB", line(format!("Bearer {}", "x".repeat(64 << 10)).as_bytes())),
        ("64 KiB of Basic", line(format!("Basic {}", "YTpi".repeat(16 << 10)).as_bytes())),
        ("12 KiB", line(format!("Bearer {}", "x".repeat(12 << 10)).as_bytes())),
        ("an empty token", line(b"Bearer")),
        ("a token of spaces", line(b"Bearer    ")),
        ("two tokens", line(b"Bearer a b")),
        ("bytes that are no text", line(b"Bearer \xff\xfe")),
        ("Basic that is no text", line(b"Basic \xff\xfe")),
        ("user and password that are no text", line(b"Basic YTr/")),
        ("a line's end in the password", line(super::parts::basic("anna", &format!("{password}\n")).as_bytes())),
        ("no colon", line(b"Basic YW5uYQ==")),
        ("an unknown scheme", line(b"Negotiate YWJj")),
        ("nothing", line(b"")),
    ]
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_and_goes_nowhere() {
    for mode in Mode::ALL {
        let setup = Setup::new(mode);
        let upstream = ScriptedUpstream::start().await;
        upstream.put("acme/app", &Bundle::image("app").layout(Some("v1")));
        own_realm(&upstream, &setup.accepted());
        let world = World::new(&setup.config(upstream.url(), "")).await;
        let password = secret("a password that is sent in odd ways");
        for (what, lines) in odd(&password) {
            for path in [format!("/v2/{}/manifests/v1", setup.name("acme/app")), "/v2/".to_owned()] {
                let start = format!("GET {path} HTTP/1.1\r\nHost: {ENDPOINT}\r\nConnection: close\r\n");
                let request = [start.as_bytes(), &lines, b"\r\n"].concat();
                let answer = world.raw(Ipv4Addr::LOCALHOST, &request).await;
                let answer = answer.unwrap_or_else(|| panic!("{mode:?} {what}: no answer"));
                match mode {
                    // More than the head of a request may have.
                    _ if what.starts_with("64 KiB") && answer.status == 431 => {}
                    // Nobody is asked who they are.
                    Mode::Open => assert_eq!(answer.status, 200, "{what}"),
                    _ => {
                        let (status, code, message) = answer.error();
                        assert_eq!((status, code.as_str()), (401, "UNAUTHORIZED"), "{mode:?} {what}: {message}");
                        assert!(answer.header("www-authenticate").is_some(), "{mode:?} {what}");
                        assert!(!message.is_empty() && !message.contains(&password), "{mode:?} {what}");
                    }
                }
            }
        }
        let seen = format!("{:?}", upstream.requests());
        assert!(!seen.contains(&password) && !seen.contains("xxxx") && !seen.contains("YTpiYTpi"), "{mode:?}");
        if mode != Mode::Open {
            assert_eq!(upstream.connections(), 0, "{mode:?}: the upstream was asked");
        }
    }
}

#[tokio::test]
async fn bytes_that_no_header_may_have_end_the_request() {
    let setup = Setup::new(Mode::PassThrough);
    let upstream = ScriptedUpstream::start().await;
    let world = World::new(&setup.config(upstream.url(), "")).await;
    for value in [&b"Bearer a\0b"[..], b"Bearer a\x0bb", b"Bearer a\x7fb", b"Bearer a\rX: b"] {
        let start = format!("GET /v2/acme/app/manifests/v1 HTTP/1.1\r\nHost: {ENDPOINT}\r\nAuthorization: ");
        let request = [start.as_bytes(), value, b"\r\n\r\n"].concat();
        let answer = world.raw(Ipv4Addr::LOCALHOST, &request).await;
        assert!(answer.is_none_or(|answer| answer.status == 400), "{value:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

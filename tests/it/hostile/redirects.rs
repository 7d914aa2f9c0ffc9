//! Redirects to other hosts: what is there may be taken, and nothing that says who asks goes along.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use colocate::oci::Digest;

use super::parts::{Mode, Setup, World, acceptor, image};
use crate::support::certificates::Authority;
use crate::support::secrets::assert_absent;
use crate::upstream::server::{Reply, Server};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn another_host_gives_the_bytes_and_sees_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::new(scratch.path());
    let (server, client) = (authority.server(&[]), authority.client("proxy"));
    let more = format!(
        ", ca_file: '{}', tls: {{cert: '{}', key: '{}'}}",
        authority.file().display(),
        client.certificate.display(),
        client.key.display()
    );
    for mode in Mode::ALL {
        let (manifest, config) = image("app");
        let (digest, blob) = (Digest::of(manifest.as_bytes()), Digest::of(config.as_bytes()));
        // The first two times something else, as long as what is asked for.
        let asked = AtomicUsize::new(0);
        let storage = Server::launch(Some(acceptor(&server, Some(&authority))), move |seen| {
            let lie = |truth: &str| match asked.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => truth.replace("name", "lies").replace("schema", "Schema"),
                _ => truth.to_owned(),
            };
            match seen.path.as_str() {
                "/manifest" => Reply::ok(manifest.clone()).kind(OCI),
                _ => Reply::ok(lie(&config)),
            }
        })
        .await;
        let setup = Setup::new(mode);
        let (to, accepted) = (storage.alias(""), setup.accepted());
        let upstream = Server::launch(Some(acceptor(&server, Some(&authority))), move |seen| {
            let at = if seen.path.contains("/manifests/") { "manifest" } else { "blob" };
            match seen.header("authorization") {
                Some(shown) if shown == accepted => Reply::new(307).with("location", format!("{to}{at}?signature=x")),
                _ => Reply::new(401).with("www-authenticate", "Basic realm=\"registry\""),
            }
        })
        .await;
        let world = World::new(&setup.config(upstream.url(""), &more)).await;
        let (name, shown) = (setup.name("acme/app"), setup.shown());
        let headers = [("authorization", shown.as_str())];
        world.get(&format!("/v2/{name}/manifests/v1"), &headers).await.expect(&digest);
        let target = format!("/v2/{name}/blobs/{blob}");
        for _ in 0..2 {
            let wrong = world.get(&target, &headers).await;
            assert!(wrong.status >= 500 || !wrong.is_whole(), "{mode:?}: wrong bytes, and {wrong:?}");
        }
        world.get(&target, &headers).await.expect(&blob);
        let before = storage.seen().len();
        world.get(&target, &headers).await.expect(&blob);
        assert_eq!(storage.seen().len(), before, "what was right is kept");
        assert!(storage.seen().len() >= 4, "{mode:?}");
        for seen in storage.seen() {
            assert_eq!(seen.header("authorization"), None, "{mode:?}");
            assert_eq!(seen.header("colocate-view"), None, "{mode:?}");
            assert!(!seen.certificate, "{mode:?}: the certificate was shown to another host");
        }
        assert_absent("what the storage saw", format!("{:?}", storage.seen()));
        assert!(upstream.seen().iter().all(|seen| seen.certificate), "{mode:?}: the upstream saw no certificate");
    }
}

#[tokio::test]
async fn a_way_back_from_another_host_brings_no_password_along() {
    for mode in Mode::ALL {
        let setup = Setup::new(mode);
        let bounces = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&bounces);
        let evil = Server::start(move |seen| {
            counted.fetch_add(1, Ordering::SeqCst);
            // Back to where it came from, to another path.
            Reply::new(307).with("location", format!("{}/v2/acme/other/blobs/x", seen.query))
        })
        .await;
        let (to, accepted) = (evil.alias("/"), setup.accepted());
        let upstream = Server::start(move |seen| {
            let back = format!("{to}?http://{}", seen.header("host").unwrap());
            match seen.header("authorization") {
                _ if seen.path.contains("/other/") => Reply::new(404),
                Some(shown) if shown == accepted => Reply::new(307).with("location", back),
                _ => Reply::new(401).with("www-authenticate", "Basic realm=\"registry\""),
            }
        })
        .await;
        let world = World::new(&setup.config(upstream.url(""), "")).await;
        let target = format!("/v2/{}/manifests/v1", setup.name("acme/app"));
        let answer = world.get(&target, &[("authorization", &setup.shown())]).await;
        assert_eq!(answer.code().0, 404, "{mode:?}");
        assert!(bounces.load(Ordering::SeqCst) > 0);
        let back: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.path.contains("/other/")).collect();
        assert!(!back.is_empty() && back.iter().all(|seen| seen.header("authorization").is_none()), "{mode:?}");
        assert_absent("what the attacker was sent", format!("{:?}", evil.seen()));
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_end_soon_and_say_so() {
    let setup = Setup::new(Mode::Open);
    let upstream = Server::start(|seen| {
        let location = match seen.path.rsplit('/').next().unwrap() {
            "round" => seen.path.clone(),
            "file" => "file:///etc/passwd".to_owned(),
            "user" => format!("http://me:you@{}/", seen.header("host").unwrap()),
            _ => return Reply::new(302),
        };
        Reply::new(302).with("location", location)
    })
    .await;
    let world = World::new(&setup.config(upstream.url(""), "")).await;
    for tag in ["round", "file", "user", "nowhere"] {
        let (status, _, message) = world.get(&format!("/v2/acme/app/manifests/{tag}"), &[]).await.error();
        assert!(status == 502 && message.contains("redirects"), "{tag}: {status} {message}");
    }
    assert!(upstream.seen().len() < 20);
}

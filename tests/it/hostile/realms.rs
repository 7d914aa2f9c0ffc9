//! Challenges that would have passwords sent to where they must not go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::parts::{Mode, Setup, World, acceptor, challenge, guard, image, own_realm};
use crate::support::bundle::Bundle;
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::assert_absent;
use crate::upstream::server::{Reply, Server};

const TIMEOUTS: &str = ", timeouts: {connect: 5s, response: 5s, progress: 5s}";

/// What an attacker's server does with those who come.
const ATTACKERS: [fn() -> Reply; 3] = [
    || Reply::ok(r#"{"token":"worthless","expires_in":300}"#),
    || Reply::new(401).with("www-authenticate", "Basic realm=\"your password, please\""),
    || Reply::ok("<html>"),
];

/// The answer names what to do, the attacker saw no secret, and the client is sent nowhere.
fn judge(mode: Mode, realm: &str, answer: &super::parts::Answer, evil: &[&Server]) {
    let (status, _, message) = answer.error();
    assert_eq!(status, 502, "{mode:?} {realm}: {message}");
    assert!(message.contains("sends clients for tokens to"), "{mode:?} {realm}: {message}");
    assert!(message.contains("auth.realms") || realm.contains('@'), "{mode:?} {realm}: {message}");
    assert_eq!(answer.header("www-authenticate"), None, "{mode:?} {realm}");
    for evil in evil {
        assert_absent("what the attacker was sent", format!("{:?}", evil.seen()));
        assert!(evil.seen().iter().all(|seen| seen.header("authorization").is_none()), "{mode:?} {realm}");
        assert!(mode != Mode::PassThrough || evil.connections() == 0, "{mode:?} {realm}");
    }
}

#[tokio::test]
async fn a_forged_realm_gets_no_password_and_the_client_learns_why() {
    for mode in Mode::ALL {
        for attack in ATTACKERS {
            let evil = Server::start(move |_| attack()).await;
            let alike = Server::start_at("127.0.0.10", move |_| attack()).await;
            let upstream = ScriptedUpstream::start().await;
            let (setup, bundle) = (Setup::new(mode), Bundle::image("app"));
            upstream.put("acme/app", &bundle.layout(Some("v1")));
            let world = World::new(&setup.config(upstream.url(), TIMEOUTS)).await;
            let target = format!("/v2/{}/manifests/v1", setup.name("acme/app"));
            let shown = setup.shown();
            let evil_at = evil.alias("").authority().to_owned();
            for realm in [
                evil.alias("/token").to_string(),
                evil.alias(&format!("/{}/token?{}", upstream.authority(), upstream.url())).to_string(),
                // The upstream is 127.0.0.1, which this begins with.
                alike.url("/token").to_string(),
                format!("http://{}@{evil_at}/token", upstream.authority()),
                format!("http://127.0.0.1:x@{evil_at}/token"),
            ] {
                upstream.heal();
                guard(&upstream, "/v2/*", "nothing will do", &challenge(&realm));
                let answer = world.get(&target, &[("authorization", &shown)]).await;
                judge(mode, &realm, &answer, &[&evil, &alike]);
                let base = world.get("/v2/", &[("authorization", &shown)]).await;
                assert!(base.header("www-authenticate").is_none_or(|value| !value.contains(&realm)), "{realm}");
            }
            assert_absent("what the attacker was sent", format!("{:?} {:?}", evil.seen(), alike.seen()));
            // Once it tells the truth again, everything goes on.
            upstream.heal();
            own_realm(&upstream, &setup.accepted());
            // What was said of a client's right to read is believed for some seconds.
            eventually("the truth is believed", Duration::from_secs(60), async || {
                world.get(&target, &[("authorization", &shown)]).await.status == 200
            })
            .await;
            world.get(&target, &[("authorization", &shown)]).await.expect(&bundle.digest());
        }
    }
}

#[tokio::test]
async fn a_realm_over_http_gets_no_password_of_an_https_upstream() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::new(scratch.path());
    let more = format!(", ca_file: '{}'{TIMEOUTS}", authority.file().display());
    for mode in Mode::ALL {
        for attack in ATTACKERS {
            let evil = Server::start(move |_| attack()).await;
            // On the upstream's own host, but for everyone on the way to read; and on another.
            for realm in [evil.url("/token").to_string(), evil.alias("/token").to_string()] {
                let forged = challenge(&realm);
                let script = move |_: &_| Reply::new(401).with("www-authenticate", &forged);
                let upstream = Server::launch(Some(acceptor(&authority.server(&[]), None)), script).await;
                let setup = Setup::new(mode);
                let world = World::new(&setup.config(upstream.url(""), &more)).await;
                let target = format!("/v2/{}/manifests/v1", setup.name("acme/app"));
                let answer = world.get(&target, &[("authorization", &setup.shown())]).await;
                judge(mode, &realm, &answer, &[&evil]);
            }
        }
    }
}

#[tokio::test]
async fn a_second_challenge_that_is_honest_is_all_that_a_client_sees() {
    let evil = Server::start(|_| Reply::ok(r#"{"token":"worthless"}"#)).await;
    let forged = challenge(evil.alias("/token").as_str());
    let upstream = Server::start(move |_| {
        let honest = Reply::new(401).with("www-authenticate", "Basic realm=\"honest\"");
        honest.with("www-authenticate", &forged)
    })
    .await;
    let setup = Setup::new(Mode::PassThrough);
    let world = World::new(&setup.config(upstream.url(""), TIMEOUTS)).await;
    for target in ["/v2/acme/app/manifests/v1", "/v2/"] {
        let answer = world.get(target, &[]).await;
        assert_eq!(answer.code(), (401, "UNAUTHORIZED".to_owned()));
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"honest\""));
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn a_realm_that_turns_bad_later_gets_nothing_either() {
    for mode in [Mode::Open, Mode::Htpasswd, Mode::Exchange] {
        let evil = Server::start(|_| Reply::ok(r#"{"token":"worthless"}"#)).await;
        let (manifest, _) = image("app");
        let turned = Arc::new(AtomicBool::new(false));
        let (is_turned, realm) = (Arc::clone(&turned), evil.alias("/token").to_string());
        let upstream = Server::start(move |seen| {
            let own = format!("http://{}/token", seen.header("host").unwrap());
            match (seen.path.as_str(), seen.header("authorization")) {
                ("/token", Some(_)) => Reply::ok(super::parts::TOKEN),
                ("/token", None) => Reply::new(401),
                _ if is_turned.load(Ordering::SeqCst) => Reply::new(401).with("www-authenticate", challenge(&realm)),
                (_, Some("Bearer let-me-in")) => {
                    Reply::ok(manifest.clone()).kind("application/vnd.oci.image.manifest.v1+json")
                }
                _ => Reply::new(401).with("www-authenticate", challenge(&own)),
            }
        })
        .await;
        let setup = Setup::new(mode);
        let world = World::new(&setup.config(upstream.url(""), TIMEOUTS)).await;
        let target = |tag: &str| format!("/v2/{}/manifests/{tag}", setup.name("acme/app"));
        let shown = setup.shown();
        assert_eq!(world.get(&target("v1"), &[("authorization", &shown)]).await.status, 200, "{mode:?}");
        turned.store(true, Ordering::SeqCst);
        let answer = world.get(&target("v2"), &[("authorization", &shown)]).await;
        judge(mode, "later", &answer, &[&evil]);
    }
}

//! Another configuration, another certificate, other users, while clients pull.

use std::fs;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::load::Load;
use super::{REPOSITORY, api, put_bundle, watched};
use crate::support::access::Access;
use crate::support::bundle::Bundle;
use crate::support::certificates::{Authority, Identity};
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::http;
use crate::support::pattern::Pattern;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::secrets::secret;

/// Files are looked at every few seconds, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that have to be answered after each change.
const REQUESTS: usize = 40;

fn users(all: &[(&str, &str)]) -> String {
    let line = |(user, password): &(&str, &str)| format!("{user}:{}\n", bcrypt::hash(password, 4).expect("a hash"));
    all.iter().map(line).collect()
}

fn copy(from: &Identity, to: &Identity) {
    fs::copy(&from.certificate, &to.certificate).expect("a certificate");
    fs::copy(&from.key, &to.key).expect("a key");
}

async fn says(colocate: &Colocate, what: &str) {
    eventually(what, PATIENCE, async || colocate.log().contains(what)).await;
}

fn server(authority: &Authority, directory: &std::path::Path) -> Identity {
    let made = authority.server(&[]);
    let own = Identity { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
    copy(&made, &own);
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_configuration_certificate_and_users_change() {
    let upstream = ScriptedUpstream::start().await;
    let (_, images) = put_bundle(&upstream, REPOSITORY, true);
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path());
    let tls = server(&authority, directory.path());
    let (ann, ben) = (secret("ann's password under load"), secret("ben's password under load"));
    let file = directory.path().join("users");
    fs::write(&file, users(&[("ann", &ann)])).expect("a file of users");
    let settings = watched(&upstream)
        .set("server.tls.cert", tls.certificate.to_string_lossy())
        .set("server.tls.key", tls.key.to_string_lossy())
        .set("access.mode", "htpasswd")
        .set("access.htpasswd", file.to_string_lossy());
    let mut colocate = Colocate::start(settings).await;
    let visitor = Access::anonymous().trusting(&authority);
    let (ann, ben) = (visitor.clone().login("ann", &ann), (visitor.login("ben", &ben), ben));
    let url = |path: &str| format!("{}/v2/{path}", colocate.url());
    let urls = [
        url(&format!("{REPOSITORY}/manifests/v1")),
        url(&format!("{REPOSITORY}/manifests/{}", images[0].manifest.digest)),
        url(&format!("{REPOSITORY}/blobs/{}", colocate::oci::Digest::of(&images[0].layers[0]))),
    ];
    let other = url(&format!("second/{REPOSITORY}/manifests/v1"));
    let status = async |access: &Access, url: &str| {
        access
            .try_send(Method::GET, url, &[("accept", http::ACCEPT)], "")
            .await
            .map_or(0, |answer| answer.status.as_u16())
    };
    let load = Load::start(&ann, &urls);
    load.goes_on(REQUESTS).await;

    // A second registry, by the file alone.
    assert_ne!(status(&ann, &other).await, 200);
    let second = upstream.url().replace("127.0.0.1", "localhost");
    colocate.reconfigure(|settings| {
        settings.set("upstreams", json!([{"url": second, "prefix": "second"}])).set("tags.ttl", "2s")
    });
    eventually("the second registry is there", PATIENCE, async || status(&ann, &other).await == 200).await;
    load.goes_on(REQUESTS).await;

    // Its certificate.
    copy(&authority.server(&["renewed.example"]), &tls);
    colocate.signal("HUP");
    says(&colocate, "new connections are served with the changed TLS files").await;
    load.goes_on(REQUESTS).await;

    // Its users.
    assert_eq!(status(&ben.0, &urls[0]).await, 401);
    let (name, password) = ("ben", ben.1.as_str());
    let before = fs::read_to_string(&file).expect("the users");
    fs::write(&file, before + &users(&[(name, password)])).expect("a file of users");
    eventually("ben gets in", PATIENCE, async || status(&ben.0, &urls[0]).await == 200).await;
    load.goes_on(REQUESTS).await;

    // One that is broken changes nothing, and is told wherever one looks.
    colocate.write_configuration("listen: [127.0.0.1:1\nupstream: {}\n");
    says(&colocate, "is refused; the old one goes on").await;
    let refused = api(&colocate, "status").await["config"]["refused"].clone();
    assert!(refused["problems"].as_str().is_some_and(|text| text.contains("colocate.yaml")), "{refused}");
    let metrics = colocate.metrics().await;
    for line in ["colocate_config_last_reload_successful 0", "colocate_config_reloads_total{outcome=\"refused\"} 1"] {
        assert!(metrics.contains(line), "{line}\nnot in\n{metrics}");
    }
    load.goes_on(REQUESTS).await;

    // One that would need a new process is refused, too, with what it is about.
    colocate.reconfigure(|settings| settings.set("server.max_connections", "77"));
    colocate.signal("HUP");
    says(&colocate, "server.max_connections cannot change while colocate runs").await;
    load.goes_on(REQUESTS).await;

    // And one that is right ends it.
    colocate.reconfigure(|settings| settings.set("server.max_connections", "4096").set("tags.ttl", "3s"));
    eventually("the configuration is taken", PATIENCE, async || {
        api(&colocate, "status").await["config"]["refused"] == Value::Null
    })
    .await;
    assert!(colocate.metrics().await.contains("colocate_config_last_reload_successful 1"));
    load.goes_on(REQUESTS).await;
    load.stop().await;
    colocate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_on_its_way_and_a_connection_that_is_kept_outlive_a_change() {
    let upstream = ScriptedUpstream::start().await;
    let pattern = Pattern::new(5, 3 << 20);
    let digest = upstream.put_pattern(REPOSITORY, &pattern);
    put_bundle(&upstream, REPOSITORY, true);
    let gate = Gate::new();
    upstream.on(&format!("*/blobs/{digest}")).get().fails(Fault::HoldAt(1 << 20, gate.clone()));
    let mut colocate = Colocate::start(watched(&upstream)).await;
    let blob = format!("{}/v2/{REPOSITORY}/blobs/{digest}", colocate.url());
    let mut arriving = http::open(Method::GET, &blob, &[], "").await.expect("an answer");
    let first = arriving.next().await.expect("bytes").expect("whole");
    let client = Access::anonymous().connecting(1);
    let tag = format!("{}/v2/{REPOSITORY}/manifests/v1", colocate.url());
    let ask =
        async || http::send_by(&client, Method::GET, &tag, &[("accept", http::ACCEPT)], "").await.expect("an answer");
    assert_eq!(ask().await.status, 200);

    // Nobody may pull that repository any more: also not by a connection from before.
    colocate.reconfigure(|settings| {
        settings.set("access.rules", json!([{"identity": "**", "repository": "nothing/at/all", "allow": ["pull"]}]))
    });
    colocate.signal("HUP");
    eventually("the rule holds", PATIENCE, async || ask().await.status == 403).await;

    // What was begun under the old one ends as it began.
    gate.open();
    let mut bytes = first.to_vec();
    while let Some(piece) = arriving.next().await {
        bytes.extend_from_slice(&piece.expect("a whole body"));
    }
    assert!(bytes.len() as u64 == pattern.size() && pattern.holds(0, &bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_no_configuration_even_if_it_parses() {
    let upstream = ScriptedUpstream::start().await;
    put_bundle(&upstream, REPOSITORY, true);
    let rules = json!([{"identity": "**", "repository": "nothing/at/all", "allow": ["pull"]}]);
    let settings = |upstream: &ScriptedUpstream| watched(upstream).set("access.rules", rules.clone());
    let mut colocate = Colocate::start(settings(&upstream)).await;
    let status = async || colocate.manifest(REPOSITORY, "v1").await.status.as_u16();
    assert_eq!(status().await, 403);
    // As an editor leaves it for a moment: without the rules that are still to be written. Two looks are two seconds apart.
    let whole = colocate.settings().text();
    colocate.write_configuration(&colocate.settings().without("access").text());
    for _ in 0..10 {
        assert_eq!(status().await, 403);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What is no file is not waited for: a pipe gives nothing until somebody writes into it.
    let file = colocate.configuration();
    fs::remove_file(&file).expect("a configuration file");
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    says(&colocate, "is no regular file any more").await;
    fs::remove_file(&file).expect("a pipe");
    colocate.write_configuration(&whole);
    says(&colocate, "the configuration is the one that runs, again").await;
    colocate.signal("HUP");
    says(&colocate, "SIGHUP: the configuration has not changed").await;
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.status.as_u16(), 403);
    colocate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_a_hangup_ends_nothing() {
    let upstream = ScriptedUpstream::start().await;
    put_bundle(&upstream, REPOSITORY, true);
    let arguments =
        ["serve", "--upstream", &upstream.url(), "--listen", "{listen}", "--cache", "{cache}", "--admin", "none"];
    let mut colocate = Colocate::start_with(&arguments).await;
    colocate.signal("HUP");
    says(&colocate, "is in no file that can be read again").await;
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.status.as_u16(), 200);
    colocate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_asked_for_is_kept_where_its_settings_are() {
    let upstream = ScriptedUpstream::start().await;
    put_bundle(&upstream, REPOSITORY, true);
    let mut colocate = Colocate::start(watched(&upstream)).await;
    upstream.on("*").fails(Fault::status(429).with("retry-after", "600"));
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.status.as_u16(), 429);
    upstream.heal();
    colocate.reconfigure(|settings: Settings| settings.set("tags.ttl", "5s"));
    colocate.signal("HUP");
    says(&colocate, "requests from now on are answered by it").await;
    let asked = upstream.requests().len();
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.status.as_u16(), 429);
    assert_eq!(upstream.requests().len(), asked, "the registry wants to be left alone");
    let told = api(&colocate, "status").await["upstreams"][0].clone();
    assert_eq!((told["state"].as_str(), told["failures"].as_u64()), (Some("waiting"), Some(1)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_before_a_change_is_not_believed_after_a_push() {
    let upstream = ScriptedUpstream::start().await;
    let (old, new) = (Bundle::image("old"), Bundle::image("new"));
    upstream.put(REPOSITORY, &old.layout(Some("v1")));
    upstream.put(REPOSITORY, &new.layout(None));
    let settings = Settings::forwarding(&upstream.url()).set("tags.ttl", "0s");
    let mut colocate = Colocate::start(settings).await;
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.expect(200).digest(), old.manifest.digest);
    // Somebody asks what the tag stands for, and is answered when it has long stood for something else.
    let (gate, before) = (Gate::new(), old.manifest.digest.to_string());
    let path = "*/manifests/v1";
    let late = [Fault::Hold(gate.clone()), Fault::Header("docker-content-digest", Some(before))];
    upstream.on(path).head().times(1).fails_with(late);
    let url = format!("{}/v2/{REPOSITORY}/manifests/v1", colocate.url());
    upstream.forget();
    let asking = tokio::spawn({
        let url = url.clone();
        async move { http::get(&url).await }
    });
    upstream.reached("HEAD", path, 1).await;
    colocate.reconfigure(|settings| settings.set("tags.ttl", "1h"));
    colocate.signal("HUP");
    says(&colocate, "requests from now on are answered by it").await;
    let kind = [("content-type", new.manifest.media_type.as_str())];
    http::send(Method::PUT, &url, &kind, new.manifest.bytes.clone()).await.expect(201);
    gate.open();
    asking.await.expect("no panic").expect(200);
    assert_eq!(colocate.manifest(REPOSITORY, "v1").await.expect(200).digest(), new.manifest.digest);
    colocate.stop().await;
}

//! Token servers that lead in circles, think for ever, drip, never end, or answer something else.

use std::time::Duration;

use super::parts::{Mode, Setup, TOKEN, World, challenge, image};
use crate::support::secrets::assert_absent;
use crate::upstream::server::{Reply, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Short enough for a test to wait for, long enough for a busy machine.
const TIMEOUTS: &str = ", timeouts: {connect: 5s, response: 2s, progress: 2s}";

/// How a token server answers.
type Answering = fn() -> Reply;

/// What a token server answers, and the status of what clients get then.
const TROUBLE: [(&str, Answering, u16); 13] = [
    ("circle", || Reply::new(307).with("location", "/token/circle"), 502),
    ("away", || Reply::new(302).with("location", "http://localhost:1/"), 502),
    ("silent", || Reply::ok(TOKEN).after(Duration::from_secs(600)), 504),
    ("stalling", || Reply::ok("{").stalling(), 504),
    ("dripping", || Reply::ok("{").dripping(), 504),
    ("endless", || Reply::ok("{\"token\": \"".repeat(512)).endless(), 502),
    ("breaking", || Reply::ok("{").breaking(), 502),
    ("garbage", || Reply::ok("<!DOCTYPE html>"), 502),
    ("empty", || Reply::ok("{}"), 502),
    ("unsendable", || Reply::ok(r#"{"token":"a\r\nb: c"}"#), 502),
    ("lost", || Reply::new(404), 502),
    ("broken", || Reply::new(500), 503),
    ("busy", || Reply::new(429).with("retry-after", "7"), 429),
];

/// Repositories are called as their token server answers; `fine` is one that works.
async fn registry(accepted: &str) -> Server {
    let (accepted, (manifest, _)) = (accepted.to_owned(), image("app"));
    let tokens = Server::start(move |seen| match seen.path.trim_start_matches("/token/") {
        "fine" if seen.header("authorization") == Some(&accepted) => Reply::ok(TOKEN),
        "fine" => Reply::new(401),
        name => {
            let trouble = TROUBLE.iter().find(|(own, ..)| *own == name);
            trouble.map_or_else(|| Reply::new(404), |(_, reply, _)| reply())
        }
    })
    .await;
    Server::start(move |seen| {
        let repository = seen.path.split('/').nth(2).unwrap_or_default();
        match seen.header("authorization") {
            Some("Bearer let-me-in") => Reply::ok(manifest.clone()).kind(MANIFEST),
            _ => Reply::new(401)
                .with("www-authenticate", challenge(tokens.url(&format!("/token/{repository}")).as_str())),
        }
    })
    .await
}

#[tokio::test]
async fn trouble_with_tokens_is_bounded_told_and_nobody_else_s() {
    for mode in [Mode::Open, Mode::Htpasswd, Mode::Exchange] {
        let setup = Setup::new(mode);
        let upstream = registry(&setup.accepted()).await;
        let (manifest, _) = image("other");
        let other = Server::start(move |_| Reply::ok(manifest.clone()).kind(MANIFEST)).await;
        let further = format!("{{registry: other.example, url: '{}', client_credentials: false}}", other.url(""));
        let config = setup.config(upstream.url(""), TIMEOUTS);
        let config = match mode {
            Mode::Exchange => config.replace("upstreams: [", &format!("upstreams: [{further}, ")),
            _ => format!("{config}upstreams: [{further}]\n"),
        };
        let world = World::new(&config).await;
        let shown = setup.shown();
        let headers = [("authorization", shown.as_str())];
        let get = async |name: &str, tag: &str| {
            world.get(&format!("/v2/{}/manifests/{tag}", setup.name(name)), &headers).await
        };
        assert_eq!(get("fine", "v1").await.status, 200, "{mode:?}");
        for (index, (name, _, expected)) in TROUBLE.iter().enumerate() {
            let meanwhile = async {
                let (tag, elsewhere) = (format!("v{index}-2"), format!("/v2/other.example/a/manifests/v{index}"));
                let (here, elsewhere) = tokio::join!(get("fine", &tag), world.get(&elsewhere, &headers));
                (here.status, elsewhere.status)
            };
            let (answer, meanwhile) = tokio::join!(get(name, "v1"), meanwhile);
            let (status, _, message) = answer.error();
            assert_eq!(status, *expected, "{mode:?} {name}: {message}");
            assert!(
                message.contains("token") || *name == "breaking" || matches!(status, 429 | 503),
                "{mode:?} {name}: {message}"
            );
            assert_eq!(answer.header("retry-after").is_some(), matches!(status, 429 | 503), "{mode:?} {name}");
            assert_eq!(meanwhile, (200, 200), "{mode:?} {name}");
        }
        assert_absent("what another upstream saw", format!("{:?}", other.seen()));
    }
}

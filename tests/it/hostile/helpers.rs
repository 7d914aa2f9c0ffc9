//! Credential helpers that hang, talk nonsense or are not there: the proxy does not know who it is, says so, and asks
//! the upstream nothing.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::access::Access;
use crate::support::bundle::Bundle;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::ACCEPT;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::{assert_absent, secret};

/// By another process: a program that this one has open for writing cannot be run by any that it starts meanwhile.
fn program(at: &Path, script: &str) {
    let mut command = Command::new("sh");
    let mut writer =
        command.args(["-c", r#"cat > "$0" && chmod +x "$0""#]).arg(at).stdin(Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
}

#[tokio::test]
async fn without_its_credentials_the_proxy_asks_for_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let password = secret("what a helper prints");
    program(&scratch.path().join("docker-credential-hangs"), "exec sleep 1000");
    program(&scratch.path().join("docker-credential-babbles"), &format!("echo 'Username: me, Secret: {password}'"));
    program(
        &scratch.path().join("docker-credential-fails"),
        &format!("echo '{{\"Username\":\"me\",\"Secret\":\"{password}\"}}'; echo {password} >&2; exit 3"),
    );
    let path = format!("PATH={}:/usr/bin:/bin", scratch.path().display());
    let upstream = ScriptedUpstream::start().await;
    upstream.put("acme/app", &Bundle::image("app").layout(Some("v1")));
    for helper in ["hangs", "babbles", "fails", "is-not-there"] {
        let config = scratch.path().join(format!("{helper}.json"));
        fs::write(&config, json!({"credHelpers": {"reg.example": helper}}).to_string()).unwrap();
        let settings = Settings::new(&upstream.url())
            .set("upstream.registry", "reg.example")
            .set("upstream.credentials.docker_config", config.to_string_lossy())
            .set("access.allow_public", true);
        let mut colocate = Colocate::launch(&["env", &path], settings);
        colocate.ready().await;
        let access = Access::anonymous();
        let blob = format!("sha256:{}", "0".repeat(64));
        for target in ["manifests/v1".to_owned(), format!("blobs/{blob}"), "tags/list".to_owned()] {
            let url = format!("{}/v2/acme/app/{target}", colocate.url());
            let answer = access.send(http::Method::GET, &url, &[("accept", ACCEPT)], "").await;
            let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
            assert_eq!(answer.status, 500, "{helper} {target}: {message}");
            assert!(message.contains("could not obtain its own credentials"), "{helper} {target}: {message}");
            assert_absent("the answer", &answer.body);
            if helper == "hangs" {
                // Ten seconds each, and the first tells enough.
                break;
            }
        }
        assert!(colocate.log().contains(&format!("docker-credential-{helper}")), "{helper}: the operator learns which");
        assert_eq!(upstream.connections(), 0, "{helper}: the upstream was asked");
    }
}

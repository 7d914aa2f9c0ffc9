//! Files that change while the proxy serves.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{ENDPOINT, PROXY, World, ready};
use crate::support::access::Access;
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::http::Method;
use crate::support::layout::Golden;
use crate::support::process::succeed;
use crate::support::secrets::secret;

/// Files are looked at every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_clients() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let settings = world.settings().set("upstreams", world.sections()).set("access.allow_public", true);
    let front = world.serve(settings).await;
    let others = world.directory.path().join("others");
    fs::create_dir(&others).expect("a directory for an authority");
    let other = Authority::new(&others);
    let (old, new) = (&front.visitor, Access::anonymous().trusting(&other));
    let url = format!("{}/v2/", front.colocate.url());
    let trusts = async |access: &Access| access.try_send(Method::GET, &url, &[], "").await.is_ok();
    assert!(trusts(old).await && !trusts(&new).await);

    let renewed = other.server(&[ENDPOINT]);
    fs::copy(&renewed.certificate, &world.server.certificate).expect("a certificate");
    fs::copy(&renewed.key, &world.server.key).expect("a key");
    eventually("the new certificate is shown", PATIENCE, async || trusts(&new).await).await;
    assert!(!trusts(old).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_with_the_password_file() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let (ann, ben) = (secret("ann's password"), secret("ben's password"));
    let line = async |user: &str, password: &str| succeed("htpasswd", &["-Bbn", user, password]).await;
    let users = world.file("users", &line("ann", &ann).await);
    let settings = world
        .settings()
        .set("upstreams", world.sections())
        .set("access.mode", "htpasswd")
        .set("access.htpasswd", users);
    let front = world.serve(settings).await;
    let (ann, new) = (front.visitor.clone().login("ann", &ann), front.visitor.clone().login("ben", &ben));
    let behind = &world.passwords;
    let path = format!("/v2/{}/manifests/{}", behind.golden.repository, Golden::TAG);
    let status = async |access: &Access| front.get(access, behind.host, &path).await.status.as_u16();
    assert_eq!((status(&ann).await, status(&new).await), (200, 401));

    world.file("users", &line("ben", &ben).await);
    eventually("ben gets in", PATIENCE, async || status(&new).await == 200).await;
    assert_eq!(status(&ann).await, 401, "ann does not any more, whatever was known of her password");
    // As if the file were being written.
    world.file("users", "ben");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((status(&ann).await, status(&new).await), (401, 200), "a broken file changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_follow_docker_s_configuration() {
    if !ready(&[]) {
        return;
    }
    let world = World::new().await;
    let behind = &world.passwords;
    let logged_in = |user: &str, password: &str| {
        let access = Access::anonymous().login(user, password);
        access.logins_at(&[behind.name.to_owned()]).to_string()
    };
    let file = world.file("docker.json", &logged_in(PROXY, "out of date"));
    let mut section = world.section(behind);
    section["prefix"] = json!(behind.prefix);
    section["credentials"] = json!({"docker_config": file});
    let settings = world.settings().set("upstreams", json!([section])).set("access.allow_public", true);
    let front = world.serve(settings).await;
    let path = |reference: &str| format!("/v2/passwords/{}/manifests/{reference}", behind.golden.repository);
    let status = async |reference: &str| front.get(&front.visitor, ENDPOINT, &path(reference)).await.status.as_u16();
    assert_ne!(status(Golden::TAG).await, 200);
    world.file("docker.json", &logged_in(PROXY, &world.known[PROXY]));
    eventually("the new password is used", PATIENCE, async || status(Golden::TAG).await == 200).await;

    // Nobody, and then another user.
    world.file("docker.json", "{}");
    eventually("none is used", PATIENCE, async || status(Golden::TAG).await != 200).await;
    world.file("docker.json", &logged_in("alice", &world.known["alice"]));
    eventually("alice's is used", PATIENCE, async || status(Golden::TAG).await == 200).await;
}

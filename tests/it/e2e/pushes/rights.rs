//! Who may push: nobody unless it is said, then those of whom it is said.

use serde_json::json;

use super::World;
use crate::support::access::Access;
use crate::support::bundle::Bundle;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::Method;
use crate::support::pusher::{OCTETS, Outcome, Pusher, refused};
use crate::support::registry::DockerRegistry;
use crate::support::require;
use crate::support::secrets::secret;

/// Every request that writes is refused so.
async fn refuses_writes(at: &Pusher, image: &Bundle, statuses: &[u16], codes: &[&str]) -> Outcome {
    let (digest, blob) = (image.digest(), image.layer_digest());
    for (method, path) in [
        (Method::POST, "blobs/uploads/".to_owned()),
        (Method::POST, format!("blobs/uploads/?digest={blob}")),
        (Method::POST, format!("blobs/uploads/?mount={blob}&from=acme/app")),
        (Method::PATCH, "blobs/uploads/a-session".to_owned()),
        (Method::PUT, format!("blobs/uploads/a-session?digest={blob}")),
        (Method::DELETE, "blobs/uploads/a-session".to_owned()),
        (Method::PUT, "manifests/v1".to_owned()),
        (Method::PUT, format!("manifests/{digest}")),
        (Method::DELETE, "manifests/v1".to_owned()),
        (Method::DELETE, format!("manifests/{digest}")),
        (Method::DELETE, format!("blobs/{blob}")),
    ] {
        let (headers, body) = match path.starts_with("manifests/") && method == Method::PUT {
            true => ([("content-type", image.manifest.media_type.as_str())], image.manifest.bytes.clone()),
            false => ([OCTETS], image.layers[0].clone()),
        };
        let what = format!("{method} {path}");
        refused(&what, at.ask(method, &path, &headers, body).await?, statuses, codes)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forwarded_unless_it_is_said() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::setup().deleting().start().await;
    let image = Bundle::image("there already");
    image.layout(Some("v1")).push(&registry.url(), "acme/app").await;
    let before = registry.stored();
    let forwarding = Settings::forwarding(&registry.url());
    // Somebody has to be able to push, or the configuration makes no sense.
    let elsewhere = json!([
        {"identity": "**", "repository": "elsewhere/*", "allow": ["pull", "push", "delete"]},
        {"identity": "**", "allow": ["pull"]},
    ]);
    for (settings, statuses, codes) in [
        (Settings::new(&registry.url()), &[405][..], &["UNSUPPORTED"][..]),
        (forwarding.clone().set("upstream.writes", "refuse"), &[405], &["UNSUPPORTED"]),
        (forwarding.set("access.rules", elsewhere), &[401, 403], &["UNAUTHORIZED", "DENIED"]),
    ] {
        let colocate = Colocate::start(settings.clone()).await;
        for repository in ["acme/app", "acme/new"] {
            let at = Pusher::anonymous(&colocate.url(), repository);
            let done = refuses_writes(&at, &Bundle::image("new"), statuses, codes).await;
            done.unwrap_or_else(|error| panic!("{error}\n{}", settings.text()));
            let done = refuses_writes(&at, &image, statuses, codes).await;
            done.unwrap_or_else(|error| panic!("{error}\n{}", settings.text()));
        }
        assert_eq!(colocate.pull("acme/app", "v1").await.digest, image.digest());
    }
    assert_eq!(registry.stored(), before);
    let catalog = Pusher::anonymous(&registry.url(), "acme/app").get("/v2/_catalog").await.expect("an answer");
    assert_eq!(catalog.json()["repositories"], json!(["acme/app"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_needs_no_right_to_delete_nor_gives_it() {
    if !require(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::setup().deleting().start().await;
    let rules = json!([
        {"identity": "**", "repository": "team/*", "allow": ["pull", "push"]},
        {"identity": "**", "allow": ["pull"]},
    ]);
    let colocate = Colocate::start(Settings::forwarding(&registry.url()).set("access.rules", rules)).await;
    let image = Bundle::image("of the team");
    image.layout(Some("v1")).push(&colocate.url(), "team/app").await;
    assert_eq!(colocate.pull("team/app", "v1").await.digest, image.digest());
    let (team, others) =
        (Pusher::anonymous(&colocate.url(), "team/app"), Pusher::anonymous(&colocate.url(), "acme/app"));
    let (statuses, codes) = ([401, 403], ["UNAUTHORIZED", "DENIED"]);
    for path in ["manifests/v1", &format!("manifests/{}", image.digest()), &format!("blobs/{}", image.layer_digest())] {
        refused(path, team.delete(path).await.expect("an answer"), &statuses, &codes).expect("no right to delete");
    }
    refuses_writes(&others, &image, &statuses, &codes).await.expect("no right elsewhere");
    // Nor by way of a repository where there is one.
    let path = format!("blobs/uploads/?mount={}&from=team/app", image.layer_digest());
    let answer = others.ask(Method::POST, &path, &[], "").await.expect("an answer");
    refused("a mount", answer, &statuses, &codes).expect("no right elsewhere");
    let behind = Pusher::anonymous(&registry.url(), "team/app");
    behind.holds("manifests/v1", &image.manifest.bytes).await.expect("it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_judges_pushes_where_it_judges_pulls() {
    if !require(&["docker-registry", "htpasswd"]) {
        return;
    }
    let password = secret("alice's password");
    let registry = DockerRegistry::setup().deleting().password("alice", &password).start().await;
    let settings = Settings::forwarding(&registry.url()).set("access.mode", "upstream");
    // Whether its rules say anything there or nothing, the registry has the last word.
    let colocate = Colocate::start(settings).await;
    let alice = Access::anonymous().login("alice", &password);
    let wrong = Access::anonymous().login("alice", &secret("not alice's password"));
    let image = Bundle::image("alice's");
    for stranger in [Access::anonymous(), wrong] {
        let at = Pusher::new(&stranger, &colocate.url(), "acme/app");
        // An upload that never was is not there for anybody.
        let codes = ["UNAUTHORIZED", "DENIED", "BLOB_UPLOAD_UNKNOWN"];
        refuses_writes(&at, &image, &[401, 403, 404], &codes).await.expect("nothing by strangers");
    }
    assert_eq!(registry.stored().len(), 0);
    image.layout(Some("v1")).push_as(&alice, &colocate.url(), "acme/app").await;
    assert_eq!(colocate.seen_by(&alice).pull("acme/app", "v1").await.digest, image.digest());
    let at = Pusher::new(&alice, &colocate.url(), "acme/app");
    let path = format!("manifests/{}", image.digest());
    at.delete(&path).await.expect("an answer").expect(202);
    at.lacks(&path).await.expect("it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_push_is_nothing_that_can_be_pulled() {
    if !require(&["docker-registry"]) {
        return;
    }
    let world = World::new().await;
    let (at, image) = (world.through("acme/app"), Bundle::image("unfinished"));
    let location = at.begin().await.expect("an upload");
    at.chunk(&location, 0, &image.layers[0]).await.expect("an answer").expect(202);
    at.lacks(&format!("blobs/{}", image.layer_digest())).await.expect("no blob before its end");
    // Another repository's blob is not this one's, however well it is known to the proxy.
    world.through("acme/other").blob(&image.layers[0]).await.expect("a blob is taken");
    at.lacks(&format!("blobs/{}", image.layer_digest())).await.expect("no blob of another repository");
}

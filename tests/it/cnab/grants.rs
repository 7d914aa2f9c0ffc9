//! Images that a bundle names by digest and does not list: pulled under its repository from where it says they came from, as
//! far as that is allowed.

use std::collections::BTreeSet;
use std::time::Duration;

use colocate::oci::Digest;

use super::parts::{APPS, REPOSITORY, Registries, blob, explain, get, manifest, map_of, passes, porter, pull_image};
use crate::hostile::parts::{World, guard};
use crate::origins::parts::put;
use crate::support::bundle::{Bundle, index as image_index};
use crate::support::cnab::{Cnab, bundle_file, listed};
use crate::support::colocate::colocate;
use crate::support::eventually;
use crate::support::scripted::Fault;

/// How `bundle.json` names an image at its origin.
fn at_apps() -> String {
    format!("apps.example/{APPS}:v1")
}

/// A bundle that names these images, and lists none.
fn naming(images: &[&Bundle]) -> Cnab {
    let names: Vec<String> = (0..images.len()).map(|at| format!("c{at}")).collect();
    let named: Vec<_> = names
        .iter()
        .zip(images)
        .map(|(name, image)| (name.as_str(), "apps.example/apps/web:v1", Some(*image)))
        .collect();
    Cnab::of(bundle_file("apps.example/apps/installer:v1", &named), &[])
}

/// The same, pushed.
fn push(registries: &Registries, images: &[&Bundle]) -> Cnab {
    let cnab = naming(images);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    cnab
}

#[tokio::test]
async fn an_image_is_granted_when_it_is_asked_for() {
    let registries = Registries::start().await;
    let images = registries.images(2);
    push(&registries, &[&images[0], &images[1]]);
    // Whatever is asked for first.
    let image = &images[0];
    for (path, digest) in [
        (manifest(image.digest()), image.digest()),
        (blob(&image.layer_digest()), image.layer_digest()),
        (blob(&image.config_digest()), image.config_digest()),
    ] {
        let mut world = registries.world("").await;
        get(&world, &path).await.expect(&digest);
        pull_image(&world, &images[1]).await;
        world.restart().await;
        pull_image(&world, image).await;
    }
}

#[tokio::test]
async fn grants_are_there_before_a_client_that_pulled_the_bundle_asks() {
    let registries = Registries::start().await;
    let images = registries.images(2);
    let cnab = push(&registries, &[&images[0], &images[1]]);
    for reference in ["v1".to_owned(), cnab.index.digest.to_string()] {
        let world = registries.world("").await;
        registries.apps.forget();
        get(&world, &manifest(&reference)).await.expect(&cnab.index.digest);
        registries.apps.reached("HEAD", "/v2/apps/web/manifests/*", 2).await;
        eventually("the images are granted", Duration::from_secs(10), async || {
            registries.own.forget();
            get(&world, &manifest(images[0].digest())).await.status == 200
                && registries.own.count("", "*/tags/list") == 0
        })
        .await;
        pull_image(&world, &images[1]).await;
        passes(&world, &cnab, "v1").await;
        assert_eq!(registries.own.count("", "*/tags/list"), 0, "no search");
    }
}

#[tokio::test]
async fn an_index_at_its_origin_pulls_with_its_children() {
    let registries = Registries::start().await;
    let images = registries.images(2);
    let list = image_index(&[&images[0], &images[1]]);
    put(&registries.apps, APPS, &list);
    let file = format!(r#"{{"images":{{"web":{{"image":"apps.example/{APPS}@{}"}}}}}}"#, list.digest);
    registries.own.put(REPOSITORY, &Cnab::of(file, &[]).tagged("v1"));
    // The name's own digest counts where there is no other.
    for first in [list.digest, images[1].digest(), images[1].layer_digest()] {
        let world = registries.world("").await;
        let path = if first == images[1].layer_digest() { blob(&first) } else { manifest(first) };
        get(&world, &path).await.expect(&first);
        pull_image(&world, &images[0]).await;
    }
}

#[tokio::test]
async fn nothing_but_what_is_named_by_digest() {
    let registries = Registries::start().await;
    let (images, other) = (registries.images(2), Bundle::image("another"));
    registries.apps.put(APPS, &other.layout(Some("v1")));
    let named = [("web", at_apps(), Some(&images[0])), ("tagged", at_apps(), None)];
    let named: Vec<_> = named.iter().map(|(name, image, digest)| (*name, image.as_str(), *digest)).collect();
    let cnab = Cnab::of(bundle_file(&at_apps(), &named), &[]);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    for _ in 0..2 {
        for digest in [other.digest(), images[1].digest()] {
            assert_eq!(get(&world, &manifest(digest)).await.status, 404);
        }
        assert_eq!(get(&world, &manifest("v2")).await.status, 404);
        // For this repository alone.
        let elsewhere = format!("/v2/acme/other/manifests/{}", images[0].digest());
        assert_eq!(get(&world, &elsewhere).await.status, 404);
        porter(&world, "v1").await.unwrap();
        pull_image(&world, &images[0]).await;
    }
    let asked: BTreeSet<String> = registries.apps.requests().into_iter().map(|seen| seen.path).collect();
    assert!(asked.iter().all(|path| path.starts_with(&format!("/v2/{APPS}/"))), "{asked:?}");
}

#[tokio::test]
async fn a_bundle_never_chooses_where_requests_go() {
    let forms: [(&str, &str); 5] = [
        ("unknown.invalid/apps/web:v1", "no registry of that name is behind this proxy"),
        ("apps.example/secret/web:v1", "relocation.from_origin does not allow it"),
        ("apps.example/apps/none:v1", "it is not there"),
        ("https://apps.example/apps/web", "is no name of an image"),
        ("web", "no registry of that name is behind this proxy"),
    ];
    for (name, reason) in forms {
        let registries = Registries::start().await;
        let image = registries.images(1).remove(0);
        registries.apps.put("secret/web", &image.layout(None));
        let cnab = Cnab::of(bundle_file("x", &[("web", name, Some(&image))]), &[]);
        registries.own.put(REPOSITORY, &cnab.tagged("v1"));
        let rules = "relocation: {from_origin: [{origins: 'apps.example/apps/**'}]}";
        let world = registries.world(rules).await;
        assert_eq!(get(&world, &manifest(image.digest())).await.status, 404, "{name}");
        passes(&world, &cnab, "v1").await;
        let (json, text) = explain(&registries.config(rules), "v1").await;
        assert!(text.contains(reason), "{name}: {text}");
        assert_eq!(json["cnab"]["images"][1]["found"], "missing", "{json}");
        assert_eq!(registries.apps.count("", "/v2/secret/*"), 0);
    }
}

#[tokio::test]
async fn what_is_not_for_everyone_needs_credentials_that_count() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    guard(&registries.apps, "/v2/*", "Basic cHJveHk6c2VjcmV0", "Basic realm=\"apps\"");
    push(&registries, &[&image]);
    let world = registries.world("").await;
    assert_eq!(get(&world, &manifest(image.digest())).await.status, 404);
    // As it is for bundles: also when it was for everyone before.
    let open = Registries::start().await;
    open.apps.put(APPS, &image.layout(None));
    let cnab = push(&open, &[&image]);
    let mut world = open.world("").await;
    get(&world, &manifest(image.digest())).await.expect(&image.digest());
    open.apps.on("/v2/*").fails(Fault::status(401).with("www-authenticate", "Basic realm=\"apps\""));
    world.restart().await;
    get(&world, &manifest("v1")).await.expect(&cnab.index.digest);
    eventually("the grant is revoked", Duration::from_secs(10), async || {
        get(&world, &manifest(image.digest())).await.status == 404
    })
    .await;
}

#[tokio::test]
async fn an_origin_in_trouble_is_no_404() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let cnab = push(&registries, &[&image]);
    registries.apps.on("/v2/apps/*").fails(Fault::status(500));
    let world = registries.world("").await;
    assert_eq!(get(&world, &manifest(image.digest())).await.status, 503);
    // Which is no trouble to the bundle.
    passes(&world, &cnab, "v1").await;
    assert_eq!(map_of(&world, &cnab.index.digest).await, Some("{}".to_owned()));
    registries.apps.heal();
    let world = registries.world("").await;
    pull_image(&world, &image).await;
}

#[tokio::test]
async fn a_slow_origin_delays_no_bundle() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let cnab = push(&registries, &[&image]);
    registries.apps.on("/v2/apps/*").fails(Fault::Stall);
    let world = registries.world("").await;
    let begun = std::time::Instant::now();
    passes(&world, &cnab, "v1").await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn more_images_than_may_be_asked_for() {
    let registries = Registries::start().await;
    let images = registries.images(3);
    push(&registries, &[&images[0], &images[1], &images[2]]);
    let rules = "relocation: {max_images: 2}";
    let world = registries.world(rules).await;
    assert_eq!(get(&world, &manifest(images[0].digest())).await.status, 404);
    assert_eq!(registries.apps.requests().len(), 0);
    let (_, text) = explain(&registries.config(rules), "v1").await;
    assert!(text.contains("3 images would have to be asked for one by one"), "{text}");
}

#[tokio::test]
async fn what_is_nowhere_is_not_looked_for_again_at_once() {
    let registries = Registries::start().await;
    let absent = Bundle::image("absent");
    push(&registries, &[&absent]);
    let world = registries.world("").await;
    for _ in 0..5 {
        assert_eq!(get(&world, &manifest(absent.digest())).await.status, 404);
    }
    assert_eq!(registries.apps.count("HEAD", &format!("/v2/{APPS}/manifests/{}", absent.digest())), 1);
}

#[tokio::test]
async fn what_it_lists_is_not_looked_for() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    registries.own.put(REPOSITORY, &image.layout(None));
    let file = bundle_file("x", &[("web", &at_apps(), Some(&image))]);
    let cnab = Cnab::of(file, &[listed(&image.manifest, "component", Some("web"))]);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let world = registries.world("").await;
    porter(&world, "v1").await.unwrap();
    pull_image(&world, &image).await;
    assert_eq!(get(&world, &manifest(Digest::of(b"nowhere"))).await.status, 404);
    assert_eq!(registries.apps.requests().len(), 0);
}

#[tokio::test]
async fn a_warm_bundle_needs_neither_its_registry_nor_its_origins() {
    let registries = Registries::start().await;
    let images = registries.images(1);
    let cnab = push(&registries, &[&images[0]]);
    let mut world: World = registries.world("tags: {immutable: ['**:v1']}").await;
    let file = world.scratch().join("c.yaml");
    std::fs::write(&file, world.config()).unwrap();
    let told = colocate(&["warm", "--config", file.to_str().unwrap(), &format!("{REPOSITORY}:v1")]).await;
    assert!(told.status.success(), "{told:?}");
    world.restart().await;
    registries.own.on("/v2/*").fails(Fault::status(500));
    registries.apps.on("/v2/*").fails(Fault::status(500));
    passes(&world, &cnab, "v1").await;
    pull_image(&world, &images[0]).await;
}

//! Clients that are told apart: what is at an origin is for those who may read it there.

use std::fs;

use colocate::oci::Digest;
use tempfile::TempDir;

use super::parts::{APPS, REPOSITORY, Registries, at_apps, blob, get, manifest, parts};
use crate::hostile::parts::{Answer, World, basic, guard};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::Fault;
use crate::support::secrets::secret;

fn users(names: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let line = |(user, password): &(&str, &str)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    fs::write(directory.path().join("users"), names.iter().map(line).collect::<String>()).unwrap();
    directory
}

/// Anna may read all registries, Bob the bundles' alone.
fn only_anna_reads_origins(users: &TempDir) -> String {
    format!(
        "access: {{mode: htpasswd, htpasswd: '{}', rules: [{{identity: 'user:anna', allow: [pull]}}, \
         {{identity: 'user:bob', registry: registry.example, allow: [pull]}}]}}",
        users.path().join("users").display()
    )
}

async fn ask(world: &World, who: &str, path: &str) -> Answer {
    world.get(path, &[("authorization", who)]).await
}

#[tokio::test]
async fn by_the_rules() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(2);
    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let users = users(&[("anna", &anna), ("bob", &bob)]);
    let rules = only_anna_reads_origins(&users);
    let (anna, bob) = (basic("anna", &anna), basic("bob", &bob));
    for bob_first in [false, true] {
        let world = registries.world(&rules).await;
        let tag = manifest("v1");
        if bob_first {
            assert_eq!(Digest::of(&ask(&world, &bob, &tag).await.body), bundle.digest());
        }
        let relocated = ask(&world, &anna, &tag).await;
        assert_ne!(Digest::of(&relocated.body), bundle.digest(), "{bob_first}");
        assert_eq!(Digest::of(&ask(&world, &bob, &tag).await.body), bundle.digest(), "{bob_first}");
        for image in &images {
            for path in [manifest(image.digest()), blob(&image.layer_digest())] {
                assert_eq!(ask(&world, &anna, &path).await.status, 200);
                // Also once it is in the cache.
                assert_eq!(ask(&world, &bob, &path).await.status, 404);
            }
        }
        // What is made of the bundle is for those who may read the bundle: its text is no image.
        let digest = Digest::of(&relocated.body);
        ask(&world, &bob, &manifest(digest)).await.expect(&digest);
    }
}

/// What is made of a bundle that is itself only granted is text of that bundle.
#[tokio::test]
async fn what_is_made_of_a_granted_bundle_is_for_who_may_read_that() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let inner = BundleBuilder::with_lock(&lock_of(&[at_apps(&image.digest())])).file("inner", "its text").build();
    registries.apps.put(APPS, &inner.layout(None));
    registries.push(&[at_apps(&inner.digest())], "v1");
    // The same at the same target, where it is the repository's own, is relocated to the same.
    let twin = Registries::start().await;
    twin.apps.put(APPS, &image.layout(None));
    twin.own.put(REPOSITORY, &inner.layout(Some("v1")));
    let twin = get(&twin.world("").await, &manifest("v1")).await;
    let relocated = Digest::of(&twin.body);
    assert_ne!(relocated, inner.digest());

    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let users = users(&[("anna", &anna), ("bob", &bob)]);
    let world = registries.world(&only_anna_reads_origins(&users)).await;
    let (anna, bob) = (basic("anna", &anna), basic("bob", &bob));
    let derived = |digest: &Digest| format!("{}.image-locations.imgpkg", digest.to_string().replace(':', "-"));
    let mut paths = vec![manifest(relocated)];
    paths.extend(parts(&twin.body).iter().map(blob));
    paths.extend([manifest(derived(&inner.digest())), manifest(derived(&relocated))]);
    for path in paths.clone() {
        let answer = ask(&world, &anna, &path).await;
        assert_eq!(answer.status, 200, "{path}");
        if path.ends_with(".imgpkg") {
            paths.push(manifest(Digest::of(&answer.body)));
            paths.extend(parts(&answer.body).iter().map(blob));
        }
    }
    for path in &paths {
        for method in ["GET", "HEAD"] {
            let answer = world.ask(method, path, &[("authorization", &bob)]).await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
        assert_eq!(ask(&world, &anna, path).await.status, 200, "{path}");
    }
    let referrers = format!("/v2/{REPOSITORY}/referrers/{relocated}");
    for (who, count) in [(&anna, 1), (&bob, 0)] {
        let answer = ask(&world, who, &referrers).await;
        let index: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, index["manifests"].as_array().map(Vec::len)), (200, Some(count)));
    }
}

#[tokio::test]
async fn each_image_for_itself_is_each_that_this_client_may_read() {
    let registries = Registries::start().await;
    let (image, own) = (registries.images(1).remove(0), Bundle::image("its own"));
    registries.own.put(REPOSITORY, &own.layout(None));
    let bundle = registries.push(&[at_apps(&image.digest()), at_apps(&own.digest())], "v1");
    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let users = users(&[("anna", &anna), ("bob", &bob)]);
    let config = format!("relocation: {{when: each}}\n{}", only_anna_reads_origins(&users));
    let world = registries.world(&config).await;
    let mut digests = Vec::new();
    for who in [basic("anna", &anna), basic("bob", &bob)] {
        for _ in 0..2 {
            digests.push(Digest::of(&ask(&world, &who, &manifest("v1")).await.body));
        }
    }
    assert!(digests[0] == digests[1] && digests[2] == digests[3] && digests[0] != digests[2]);
    assert!(!digests.contains(&bundle.digest()));
}

/// Where the upstream judges: one registry with a public and a private repository.
#[tokio::test]
async fn by_the_upstream() {
    let registries = Registries::start().await;
    let (public, private) = (Bundle::image("public"), Bundle::image("private"));
    registries.own.put("images/public", &public.layout(None));
    registries.own.put("images/private", &private.layout(None));
    let anna = secret("Anna's password");
    let anna = basic("anna", &anna);
    guard(&registries.own, "/v2/images/private/*", &anna, "Basic realm=\"own\"");
    let names = |image: &Bundle, repository: &str| format!("registry.example/images/{repository}@{}", image.digest());
    let open = registries.push(&[names(&public, "public")], "open");
    let shut = registries.push(&[names(&private, "private")], "shut");
    let both = "access: {mode: upstream}\nrelocation: {from_origin: [\
        {origins: 'registry.example/images/private', credentials: true}, {origins: '**'}]}";
    let config = format!("upstream: {{registry: registry.example, url: '{}'}}\n{both}\n", registries.own.url());
    for anna_first in [false, true] {
        let world = World::new(&config).await;
        let nobody = async |path: &str| world.get(path, &[]).await;
        assert_ne!(Digest::of(&nobody(&manifest("open")).await.body), open.digest());
        nobody(&manifest(public.digest())).await.expect(&public.digest());
        if anna_first {
            assert_ne!(Digest::of(&ask(&world, &anna, &manifest("shut")).await.body), shut.digest());
        }
        assert_eq!(Digest::of(&nobody(&manifest("shut")).await.body), shut.digest());
        let relocated = Digest::of(&ask(&world, &anna, &manifest("shut")).await.body);
        assert_ne!(relocated, shut.digest(), "what was missing to others is not missing to her");
        ask(&world, &anna, &manifest(private.digest())).await.expect(&private.digest());
        ask(&world, &anna, &blob(&private.layer_digest())).await.expect(&private.layer_digest());
        for path in [manifest(private.digest()), blob(&private.layer_digest())] {
            assert_eq!(nobody(&path).await.status, 404, "{path}");
        }
        assert_eq!(Digest::of(&nobody(&manifest("shut")).await.body), shut.digest());
    }
}

#[tokio::test]
async fn an_origin_that_shuts_its_doors_takes_its_images_along() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(1);
    // Every look is a look again.
    let world = registries.world("").await;
    assert_ne!(Digest::of(&world.get(&manifest("v1"), &[]).await.body), bundle.digest());
    world.get(&manifest(images[0].digest()), &[]).await.expect(&images[0].digest());
    registries.apps.on(&format!("/v2/{APPS}/*")).fails(Fault::status(403));
    // What is not in the cache cannot be had any more, whatever was granted.
    assert_eq!(world.get(&blob(&images[0].layer_digest()), &[]).await.status, 404);
    let lock = lock_of(&[at_apps(&images[0].digest())]);
    let later = BundleBuilder::with_lock(&lock).file("later", "x").build();
    registries.own.put(REPOSITORY, &later.layout(Some("later")));
    assert_eq!(Digest::of(&world.get(&manifest("later"), &[]).await.body), later.digest());
}

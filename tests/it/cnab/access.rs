//! Clients that are told apart: what is made of a bundle is for those who may read it, and what is at an origin for those who
//! may read that, too.

use colocate::oci::Digest;
use serde_json::Value;

use super::parts::{APPS, MAP_TYPE, REPOSITORY, Registries, blob, manifest};
use crate::hostile::parts::{Answer, World, basic};
use crate::support::cnab::{Cnab, bundle_file};
use crate::support::secrets::secret;

async fn ask(world: &World, who: &str, path: &str) -> Answer {
    world.get(path, &[("authorization", who)]).await
}

#[tokio::test]
async fn by_the_rules() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let origin = format!("apps.example/{APPS}:v1");
    let cnab = Cnab::of(bundle_file("x", &[("web", &origin, Some(&image))]), &[]);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let people = ["anna", "bob", "carol"].map(|name| (name, secret(&format!("{name}'s password"))));
    let directory = tempfile::tempdir().unwrap();
    let lines = people.iter().map(|(name, password)| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap()));
    std::fs::write(directory.path().join("users"), lines.collect::<String>()).unwrap();
    // Anna may read all registries, Bob the bundles' alone, Carol another repository.
    let rules = format!(
        "access: {{mode: htpasswd, htpasswd: '{}', rules: [{{identity: 'user:anna', allow: [pull]}}, \
         {{identity: 'user:bob', registry: registry.example, allow: [pull]}}, \
         {{identity: 'user:carol', registry: registry.example, repository: other/**, allow: [pull]}}]}}",
        directory.path().join("users").display()
    );
    let [anna, bob, carol] = people.map(|(name, password)| basic(name, &password));
    for first in [&anna, &bob] {
        let world = registries.world(&rules).await;
        ask(&world, first, &manifest("v1")).await.expect(&cnab.index.digest);
        for path in [manifest(image.digest()), blob(&image.layer_digest())] {
            assert_eq!(ask(&world, &anna, &path).await.status, 200);
            // Also once it is in the cache.
            assert_eq!(ask(&world, &bob, &path).await.status, 404);
        }
        let referrers = format!("/v2/{REPOSITORY}/referrers/{}", cnab.index.digest);
        let listed: Value = serde_json::from_slice(&ask(&world, &bob, &referrers).await.body).unwrap();
        assert_eq!(listed["manifests"][0]["artifactType"], MAP_TYPE);
        let digest: Digest = listed["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
        ask(&world, &bob, &manifest(digest)).await.expect(&digest);
        for path in [manifest("v1"), manifest(digest), blob(&Digest::of(b"{}"))] {
            let answer = ask(&world, &carol, &path).await;
            assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
        }
        assert_eq!(world.get(&manifest(digest), &[]).await.status, 401);
    }
}

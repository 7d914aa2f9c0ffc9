//! What a grant does not reach: whatever a lock says, only what it names, from where that is allowed, and with nobody's
//! credential.

use std::collections::BTreeSet;

use colocate::oci::Digest;
use serde_json::json;

use super::parts::{APPS, REPOSITORY, Registries, at_apps, blob, get, manifest, pull, pull_image};
use crate::hostile::parts::{World, basic, guard};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::secrets::secret;
use crate::upstream::server::{Reply, Server};

#[tokio::test]
async fn nothing_but_what_a_lock_names_and_what_that_is_made_of() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(1);
    // Others in the origin's repository, in another of its registry, and in another of the bundle's.
    let others = ["in the same repository", "in another", "beside the bundle"].map(Bundle::image);
    registries.apps.put(APPS, &others[0].layout(Some("latest")));
    registries.apps.put("apps/other", &others[1].layout(Some("latest")));
    registries.own.put("acme/other", &others[2].layout(Some("latest")));
    let world = registries.world("").await;
    for round in ["before any pull", "after it"] {
        for other in &others {
            for path in [manifest(other.digest()), blob(&other.layer_digest()), blob(&other.config_digest())] {
                for method in ["GET", "HEAD"] {
                    assert_eq!(world.ask(method, &path, &[]).await.status, 404, "{round}: {method} {path}");
                }
            }
        }
        // A grant is for a digest, and for one repository.
        for path in [
            manifest("latest"),
            format!("/v2/acme/other/manifests/{}", images[0].digest()),
            format!("/v2/acme/other/blobs/{}", images[0].layer_digest()),
            format!("/v2/{REPOSITORY}/manifests/{}?ns=registry.example", images[0].digest()),
        ] {
            assert_eq!(get(&world, &path).await.status, 404, "{round}: {path}");
        }
        pull(&world, "v1").await;
        pull_image(&world, &images[0]).await;
    }
    let asked: BTreeSet<String> = registries.apps.requests().into_iter().map(|seen| seen.path).collect();
    let astray: Vec<_> = asked.iter().filter(|path| !path.starts_with(&format!("/v2/{APPS}/"))).collect();
    assert!(astray.is_empty(), "{astray:?}");
}

#[tokio::test]
async fn no_host_that_is_not_configured_and_no_repository_that_is_not_allowed() {
    let registries = Registries::start().await;
    let images = registries.images(1);
    let digest = images[0].digest();
    let evil = Server::start(|_| Reply::ok("")).await;
    registries.apps.put("secret/web", &images[0].layout(None));
    let alias = evil.alias("");
    let authority = alias.authority();
    let places = [
        format!("{authority}/apps/web"),
        // The address of a registry that is configured, and not the name it goes by.
        format!("{}/{APPS}", registries.apps.authority()),
        "169.254.169.254/latest/meta-data".to_owned(),
        "apps.example:443/apps/web".to_owned(),
        format!("apps.example.evil.invalid/{APPS}"),
        "apps.example/secret/web".to_owned(),
        "apps.example/apps/../secret/web".to_owned(),
        "apps.example/apps//web".to_owned(),
        "web".to_owned(),
    ];
    let world = registries
        .world("relocation: {from_origin: [{bundles: 'registry.example/acme/**', origins: 'apps.example/apps/*'}]}")
        .await;
    for (number, place) in places.iter().enumerate() {
        let bundle = registries.push(&[format!("{place}@{digest}")], &format!("v{number}"));
        assert_eq!(pull(&world, &format!("v{number}")).await.digest, bundle.digest(), "{place}");
        assert_eq!(get(&world, &manifest(digest)).await.status, 404, "{place}");
    }
    assert!(registries.apps.requests().is_empty(), "{:?}", registries.apps.requests());
    assert_eq!(evil.connections(), 0);
    // And a bundle of which the pair does not speak.
    let bundle = BundleBuilder::with_lock(&lock_of(&[at_apps(&digest)])).build();
    registries.own.put("other/app", &bundle.layout(Some("v1")));
    let answer = get(&world, "/v2/other/app/manifests/v1").await;
    assert_eq!(Digest::of(&answer.body), bundle.digest());
    // The first pair that matches holds.
    let config = "relocation: {from_origin: [{bundles: '**', origins: 'apps.example/apps/*'}, \
                  {bundles: 'registry.example/other/**', origins: 'apps.example/secret/**'}]}";
    let world = registries.world(config).await;
    assert_ne!(Digest::of(&get(&world, "/v2/other/app/manifests/v1").await.body), bundle.digest());
    let world = registries.world("relocation: {from_origin: []}").await;
    assert_eq!(Digest::of(&get(&world, "/v2/other/app/manifests/v1").await.body), bundle.digest());
    assert_eq!(get(&world, &format!("/v2/other/app/manifests/{digest}")).await.status, 404);
}

/// A registry that lets nobody in without the proxy's password.
struct Private {
    registries: Registries,
    private: ScriptedUpstream,
    accepted: String,
    config: String,
}

impl Private {
    async fn start() -> Self {
        let (registries, private) = (Registries::start().await, ScriptedUpstream::start().await);
        let own = secret("the proxy's password");
        let accepted = basic("proxy", &own);
        guard(&private, "/v2/*", &accepted, "Basic realm=\"private\"");
        let config = registries.config("access: {mode: open, allow_public: true}").replace(
            "upstreams: [",
            &format!(
                "upstreams: [{{registry: private.example, url: '{}', credentials: {{username: proxy, password: {own}}}}}, ",
                private.url()
            ),
        );
        Self { registries, private, accepted, config }
    }

    fn shown(&self) -> Vec<String> {
        let shown = self.private.requests().into_iter().filter_map(|seen| seen.headers.get("authorization").cloned());
        shown.map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_private_image_is_none_of_a_public_bundle_s() {
    let setup = Private::start().await;
    let secret = Bundle::image("a secret");
    setup.private.put("secret/app", &secret.layout(Some("v1")));
    let reference = format!("private.example/secret/app@{}", secret.digest());
    let bundle = setup.registries.push(&[reference], "v1");
    let world = World::new(&setup.config).await;
    assert_eq!(pull(&world, "v1").await.digest, bundle.digest());
    let nothing = async |world: &World| {
        for path in [manifest(secret.digest()), blob(&secret.layer_digest()), blob(&secret.config_digest())] {
            assert_eq!(get(world, &path).await.status, 404, "{path}");
        }
    };
    nothing(&world).await;
    assert!(setup.shown().is_empty(), "no credential is used: {:?}", setup.shown());
    // Nor once somebody who may has brought it into the cache.
    get(&world, &format!("/v2/private.example/secret/app/manifests/{}", secret.digest()))
        .await
        .expect(&secret.digest());
    let path = format!("/v2/private.example/secret/app/blobs/{}", secret.layer_digest());
    get(&world, &path).await.expect(&secret.layer_digest());
    nothing(&world).await;
    let pulled = pull(&world, "v1").await;
    assert_eq!(pulled.digest, bundle.digest());
}

#[tokio::test]
async fn what_the_operator_shares_is_asked_for_with_that_registry_s_credential_alone() {
    let setup = Private::start().await;
    let shared = Bundle::image("shared");
    setup.private.put("shared/app", &shared.layout(None));
    setup.private.put("secret/app", &Bundle::image("secret").layout(None));
    let names = |repository: &str, image: &Bundle| format!("private.example/{repository}@{}", image.digest());
    setup.registries.push(&[names("shared/app", &shared)], "v1");
    let secret = setup.registries.push(&[names("secret/app", &Bundle::image("secret"))], "v2");
    let pairs = "relocation: {from_origin: [\
        {bundles: registry.example/acme/*, origins: private.example/shared/*, credentials: true}, {origins: '**'}]}";
    let world = World::new(&format!("{}{pairs}\n", setup.config)).await;
    pull(&world, "v1").await;
    pull_image(&world, &shared).await;
    assert_eq!(pull(&world, "v2").await.digest, secret.digest());
    assert!(!setup.shown().is_empty() && setup.shown().iter().all(|shown| *shown == setup.accepted));
    let others = setup.registries.own.requests().into_iter().chain(setup.registries.apps.requests());
    assert!(others.into_iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[tokio::test]
async fn a_manifest_at_an_origin_lends_nothing_that_the_origin_has_not() {
    let setup = Private::start().await;
    let secret = Bundle::image("a secret");
    setup.private.put("secret/app", &secret.layout(Some("v1")));
    // Mallory's image at an origin that everyone may read names a private layer, and her index a private manifest.
    let media_type = secret.manifest.media_type.clone();
    let descriptor = |media_type: &str, digest: Digest| json!({"mediaType": media_type, "digest": digest, "size": 7});
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let forged = json!({"schemaVersion": 2, "mediaType": media_type,
        "config": descriptor("application/vnd.docker.container.image.v1+json", secret.config_digest()),
        "layers": [descriptor(layer, secret.layer_digest()), descriptor(layer, secret.config_digest())]});
    let forged = setup.registries.apps.put_manifest(APPS, &media_type, forged.to_string());
    let list = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": list, "manifests": [descriptor(&media_type, secret.digest())]});
    let index = setup.registries.apps.put_manifest(APPS, list, index.to_string());
    setup.registries.push(&[at_apps(&forged), at_apps(&index)], "v1");
    let world = World::new(&setup.config).await;
    let path = format!("/v2/private.example/secret/app/blobs/{}", secret.layer_digest());
    get(&world, &path).await.expect(&secret.layer_digest());
    let path = format!("/v2/private.example/secret/app/manifests/{}", secret.digest());
    get(&world, &path).await.expect(&secret.digest());
    let before = setup.private.requests().len();
    pull(&world, "v1").await;
    get(&world, &manifest(forged)).await.expect(&forged);
    get(&world, &manifest(index)).await.expect(&index);
    for path in [manifest(secret.digest()), blob(&secret.layer_digest()), blob(&secret.config_digest())] {
        assert_eq!(get(&world, &path).await.status, 404, "{path}");
        assert_eq!(world.ask("HEAD", &path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(setup.private.requests().len(), before, "nobody asked there");
}

#[tokio::test]
async fn foreign_layers_and_redirects_lead_nowhere_else() {
    let registries = Registries::start().await;
    let evil = Server::start(|_| Reply::ok("")).await;
    let url = format!("http://{}/layer", evil.alias("").authority());
    let foreign = Digest::of(b"a foreign layer");
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let config = registries.apps.put_blob(APPS, "{}");
    let image = json!({"schemaVersion": 2, "mediaType": media_type,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": foreign,
            "size": 15, "urls": [url]}]});
    let image = registries.apps.put_manifest(APPS, media_type, image.to_string());
    registries.push(&[at_apps(&image)], "v1");
    let world = registries.world("").await;
    pull(&world, "v1").await;
    get(&world, &manifest(image)).await.expect(&image);
    assert_eq!(get(&world, &blob(&foreign)).await.status, 404);
    assert_eq!(evil.connections(), 0, "clients go there themselves, if they like");

    // An origin that sends the proxy elsewhere for a manifest gets no credential there, and nothing that is not the image.
    let target = format!("http://{}/x", evil.alias("").authority());
    registries.apps.on(&format!("/v2/{APPS}/manifests/*")).fails(Fault::status(307).with("location", &target));
    let other = registries.world("").await;
    assert!(get(&other, &manifest(image)).await.status >= 400);
}

#[tokio::test]
async fn a_grant_ends_where_the_configuration_takes_it_back() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(1);
    let mut world = registries.world("").await;
    pull(&world, "v1").await;
    pull_image(&world, &images[0]).await;
    world.reconfigure(&registries.config("relocation: {from_origin: []}")).await;
    assert_eq!(pull(&world, "v1").await.digest, bundle.digest());
    assert_eq!(get(&world, &manifest(images[0].digest())).await.status, 404);
    assert_eq!(get(&world, &blob(&images[0].layer_digest())).await.status, 404);
}

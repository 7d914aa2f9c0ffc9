//! Locks and origins that are odd, broken or hostile: the bundle passes, and `explain` says why it is not relocated.

use colocate::imgpkg::{ImageLocation, ImageLocations, LOCATIONS_FILE, locations_tag};
use colocate::oci::Digest;
use serde_json::Value;

use super::parts::{APPS, REPOSITORY, Registries, at_apps, at_target, get, manifest, pull, put};
use crate::hostile::parts::World;
use crate::support::bundle::{Bundle, BundleBuilder, index, lock_of};
use crate::support::colocate::colocate;
use crate::support::scripted::Fault;

/// What `colocate explain` says of a tag.
async fn explain(config: &str, tag: &str) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    let listen = "listen: 127.0.0.1:1\nendpoint: proxy.example\n";
    std::fs::write(&file, format!("{listen}cache: {{dir: /nowhere}}\n{config}")).unwrap();
    let (file, reference) = (file.to_str().unwrap(), format!("{REPOSITORY}:{tag}"));
    let told = colocate(&["explain", "--config", file, &reference]).await;
    let json = colocate(&["explain", "--config", file, "--json", &reference]).await;
    assert!(told.status.success() && json.status.success(), "{told:?} {json:?}");
    (serde_json::from_str(&json.stdout).unwrap(), told.stdout)
}

/// Insists that a bundle passes as it stands, and that this is told as the reason.
async fn passes(registries: &Registries, config: &str, bundle: &Bundle, reason: &str) {
    let config = registries.config(config);
    let world = World::new(&config).await;
    assert_eq!(pull(&world, "v1").await.digest, bundle.digest(), "{reason}");
    let (json, text) = explain(&config, "v1").await;
    assert_eq!(json["outcome"], "original", "{json}");
    assert!(text.contains(reason), "{text}");
}

#[tokio::test]
async fn why_an_image_elsewhere_does_not_count() {
    let forms: [(&str, Option<Fault>, &str); 7] = [
        ("unknown.invalid/apps/web", None, "no registry of that name is behind this proxy"),
        ("apps.example/apps/none", None, "it is not there"),
        ("apps.example/apps/web", Some(Fault::status(401)), "it is not for everyone to read"),
        ("apps.example/apps/web", Some(Fault::status(403)), "it is not for everyone to read"),
        (
            "apps.example/apps/web",
            Some(Fault::Header("docker-content-digest", Some(Digest::of(b"another").to_string()))),
            "something else for this digest",
        ),
        (
            "apps.example/apps/web",
            Some(Fault::body(200, "application/vnd.example.thing+json", "{}")),
            "application/vnd.example.thing+json, which is no manifest",
        ),
        ("apps.example/secret/web", None, "relocation.from_origin does not allow it"),
    ];
    for (place, fault, reason) in forms {
        let registries = Registries::start().await;
        let image = registries.images(1).remove(0);
        registries.apps.put("secret/web", &image.layout(None));
        if let Some(fault) = fault {
            registries.apps.on(&format!("/v2/{APPS}/*")).fails(fault);
        }
        let bundle = registries.push(&[format!("{place}@{}", image.digest())], "v1");
        passes(&registries, "relocation: {from_origin: [{origins: 'apps.example/apps/**'}]}", &bundle, reason).await;
    }
}

#[tokio::test]
async fn credentials_that_an_origin_refuses() {
    let registries = Registries::start().await;
    let (bundle, _) = registries.bundle(1);
    registries.apps.on("/v2/apps/*").fails(Fault::status(401).with("www-authenticate", "Basic realm=\"apps\""));
    let reason = "the credentials for that registry do not let it be read";
    let pairs = "relocation: {from_origin: [{origins: 'apps.example/**', credentials: true}]}";
    passes(&registries, pairs, &bundle, reason).await;
}

#[tokio::test]
async fn an_origin_in_trouble_leaves_it_open() {
    for fault in [Fault::status(500), Fault::status(429), Fault::html()] {
        let registries = Registries::start().await;
        let _ = registries.bundle(2);
        registries.apps.on("/v2/apps/*").fails(fault);
        let world = registries.world("").await;
        let answer = get(&world, &manifest("v1")).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        let (json, _) = explain(&registries.config(""), "v1").await;
        assert_eq!(
            (&json["outcome"], &json["images"][0]["origin"]),
            (&"undecided".into(), &"apps.example/apps/web".into())
        );
        registries.apps.heal();
        let world = registries.world("").await;
        assert!(pull(&world, "v1").await.lock.contains("proxy.example/"));
    }
}

#[tokio::test]
async fn ten_thousand_images() {
    let registries = Registries::start().await;
    let digests: Vec<Digest> = (0..10_000).map(|number: u32| Digest::of(&number.to_le_bytes())).collect();
    let references: Vec<String> = digests.iter().map(at_apps).collect();
    let bundle = registries.push(&references, "v1");
    let reason = "10000 images of its lock would have to be asked for one by one";
    passes(&registries, "", &bundle, reason).await;
    assert_eq!(registries.own.count("HEAD", "*/manifests/sha256:*") + registries.apps.requests().len(), 0);
    // With imgpkg's own list, nothing has to be asked for.
    let located = references.iter().map(|image| ImageLocation { image: image.clone(), is_bundle: false });
    let list = ImageLocations::new(located).to_yaml();
    let list = BundleBuilder::new().label(None).file(LOCATIONS_FILE, list).build();
    registries.own.put(REPOSITORY, &list.layout(Some(&locations_tag(&bundle.digest()))));
    let world = registries.world("").await;
    assert!(pull(&world, "v1").await.lock.contains(&at_target(&digests[9_999])));
}

#[tokio::test]
async fn lists_that_lead_in_circles() {
    // No digest can name itself; what imgpkg writes beside a bundle can say that it does.
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let inner = BundleBuilder::with_lock(&lock_of(&[at_apps(&image.digest())])).build();
    registries.own.put(REPOSITORY, &inner.layout(None));
    registries.own.put(REPOSITORY, &image.layout(None));
    let bundle = registries.push(&[at_apps(&inner.digest())], "v1");
    let says = |of: &Bundle, images: &[Digest]| {
        let located = images.iter().map(|digest| ImageLocation { image: at_apps(digest), is_bundle: true });
        let list =
            BundleBuilder::new().label(None).file(LOCATIONS_FILE, ImageLocations::new(located).to_yaml()).build();
        registries.own.put(REPOSITORY, &list.layout(Some(&locations_tag(&of.digest()))));
    };
    says(&bundle, &[inner.digest(), bundle.digest()]);
    says(&inner, &[image.digest(), bundle.digest(), inner.digest()]);
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    assert!(pulled.lock.contains(&at_target(&inner.digest())));
    assert_eq!(get(&world, &manifest(Digest::of(b"nowhere"))).await.status, 404);
    let answer = get(&world, &manifest(locations_tag(&pulled.digest))).await;
    assert_eq!(answer.status, 200);
    let (json, _) = explain(&registries.config(""), "v1").await;
    let nested = &json["images"][0]["nested"]["images"];
    assert_eq!(nested.as_array().unwrap().len(), 1, "{json}");
    assert!(nested[0].get("nested").is_none());
}

#[tokio::test]
async fn a_lock_that_names_its_own_repository() {
    let registries = Registries::start().await;
    let bundle = registries.push(&[format!("registry.example/{REPOSITORY}@{}", Digest::of(b"nothing"))], "v1");
    passes(&registries, "", &bundle, "is not in its repository").await;
    assert_eq!(
        registries.own.count("HEAD", "*/manifests/sha256:*"),
        3,
        "once for the pull, once to explain it in JSON, and once in text"
    )
}

#[tokio::test]
async fn bundles_within_bundles_are_told_to_the_end() {
    let registries = Registries::start().await;
    let image = registries.images(1).remove(0);
    let (mut inner, mut place) = (image, at_apps(&Digest::of(b"")));
    for level in 0..10 {
        let lock = lock_of(&[at_apps(&inner.digest())]);
        inner = BundleBuilder::with_lock(&lock).file("level", level.to_string()).build();
        registries.apps.put(APPS, &inner.layout(None));
        place = at_apps(&inner.digest());
    }
    registries.push(&[place], "v1");
    let (json, text) = explain(&registries.config(""), "v1").await;
    assert_eq!(json["outcome"], "relocated");
    let mut depth = 0;
    let mut at = &json["images"][0];
    while let Some(nested) = at.get("nested") {
        depth += 1;
        match nested["images"].get(0) {
            Some(image) => at = image,
            None => {
                assert!(nested["reason"].as_str().unwrap().contains("8 deep"), "{nested}");
                break;
            }
        }
    }
    assert_eq!(depth, 9);
    assert!(text.contains("is a bundle itself") && text.contains("from its origin, apps.example/apps/web"), "{text}");
    let world = registries.world("").await;
    assert!(pull(&world, "v1").await.lock.contains("proxy.example/"));
}

#[tokio::test]
async fn an_index_of_bundles_passes_and_is_told() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(1);
    let list = index(&[&bundle, &images[0]]);
    registries.own.put(REPOSITORY, &images[0].layout(None));
    put(&registries.own, REPOSITORY, &list);
    registries.own.tag(REPOSITORY, "list", &list.digest);
    let world = registries.world("").await;
    get(&world, &manifest("list")).await.expect(&list.digest);
    let (json, text) = explain(&registries.config(""), "list").await;
    assert_eq!(json["bundles"][0]["digest"], bundle.digest().to_string());
    assert_eq!(json["bundles"].as_array().unwrap().len(), 1);
    assert!(text.contains("it is an index, of bundles among others"), "{text}");
}

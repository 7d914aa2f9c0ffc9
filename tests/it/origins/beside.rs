//! What is asked for beside a bundle: where its images are, what it was made of, who signed it.

use colocate::imgpkg::{ImageLocation, ImageLocations, LOCATIONS_FILE, locations_tag};
use colocate::oci::Digest;
use serde_json::{Value, json};

use super::parts::{
    APPS, REPOSITORY, Registries, at_apps, at_target, blob, get, manifest, parts, pull, pull_image, put,
};
use crate::hostile::parts::World;
use crate::support::bundle::{Bundle, BundleBuilder, gunzip, index, lock_of};
use crate::support::layout::Document;
use crate::support::scripted::Fault;

/// The list that the locations image of `bundle` holds, read as imgpkg does.
async fn locations(world: &World, bundle: &Digest) -> Option<ImageLocations> {
    let answer = get(world, &manifest(locations_tag(bundle))).await;
    if answer.status == 404 {
        return None;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/vnd.docker.distribution.manifest.v2+json"));
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    let [config, layer] = parts(&answer.body).try_into().unwrap();
    get(world, &manifest(Digest::of(&answer.body))).await.expect(&Digest::of(&answer.body));
    get(world, &blob(&config)).await.expect(&config);
    let layer = get(world, &blob(&layer)).await;
    Some(ImageLocations::parse(&file_in(&gunzip(&layer.body), LOCATIONS_FILE)).unwrap())
}

fn file_in(tar: &[u8], name: &str) -> Vec<u8> {
    let mut at = 0;
    loop {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(std::str::from_utf8(&header[124..135]).unwrap(), 8).unwrap();
        if header.starts_with(name.as_bytes()) {
            return tar[at + 512..at + 512 + size].to_vec();
        }
        at += 512 + size.next_multiple_of(512);
    }
}

fn list(images: &[(String, bool)]) -> ImageLocations {
    let located = |(image, is_bundle): &(String, bool)| ImageLocation { image: image.clone(), is_bundle: *is_bundle };
    ImageLocations::new(images.iter().map(located))
}

/// A bundle of an image, an index and a bundle.
async fn mixed(registries: &Registries) -> (Bundle, [Digest; 3]) {
    let images = registries.images(2);
    let children = index(&[&images[1]]);
    put(&registries.apps, APPS, &children);
    let inner = BundleBuilder::with_lock(&lock_of(&[at_apps(&images[0].digest())])).build();
    registries.apps.put(APPS, &inner.layout(None));
    let named = [images[0].digest(), children.digest, inner.digest()];
    (registries.push(&named.map(|digest| at_apps(&digest)), "v1"), named)
}

#[tokio::test]
async fn one_request_says_where_all_images_are() {
    let registries = Registries::start().await;
    let (bundle, [image, children, inner]) = mixed(&registries).await;
    let world = registries.world("").await;
    // As imgpkg pulls by tag: the relocated bundle, and its locations.
    let pulled = pull(&world, "v1").await;
    let expected = [(image, false), (children, false), (inner, true)];
    let relocated = list(&expected.map(|(digest, is_bundle)| (at_target(&digest), is_bundle)));
    assert_eq!(locations(&world, &pulled.digest).await, Some(relocated));
    // By digest: the original, in whose lock the images are where they were.
    let original = list(&expected.map(|(digest, is_bundle)| (at_apps(&digest), is_bundle)));
    assert_eq!(locations(&world, &bundle.digest()).await, Some(original.clone()));
    // And for the bundle within.
    assert_eq!(locations(&world, &inner).await, Some(list(&[(at_apps(&image), false)])));
    for digest in [image, children, inner] {
        get(&world, &manifest(digest)).await.expect(&digest);
    }

    // Who has only the digest finds all of it, too, and another replica makes the same.
    let other = registries.world("").await;
    get(&other, &manifest(bundle.digest())).await.expect(&bundle.digest());
    assert_eq!(locations(&other, &bundle.digest()).await, Some(original));
    for digest in [image, children, inner] {
        get(&other, &manifest(digest)).await.expect(&digest);
    }
    for bundle in [bundle.digest(), pulled.digest] {
        let path = manifest(locations_tag(&bundle));
        assert_eq!(get(&world, &path).await.body, get(&other, &path).await.body);
    }
    // A third one is asked for a part first.
    let tag = get(&world, &manifest(locations_tag(&pulled.digest))).await;
    for part in parts(&tag.body) {
        let third = registries.world("").await;
        get(&third, &blob(&part)).await.expect(&part);
    }
}

#[tokio::test]
async fn the_upstream_s_own_list_is_given_where_it_says_the_same() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(2);
    images.iter().for_each(|image| registries.own.put(REPOSITORY, &image.layout(None)));
    let own = list(&images.iter().map(|image| (at_apps(&image.digest()), false)).collect::<Vec<_>>());
    let own = BundleBuilder::new().label(None).file(LOCATIONS_FILE, own.to_yaml()).build();
    registries.own.put(REPOSITORY, &own.layout(Some(&locations_tag(&bundle.digest()))));
    let world = registries.world("").await;
    pull(&world, "v1").await;
    registries.own.forget();
    get(&world, &manifest(locations_tag(&bundle.digest()))).await.expect(&own.digest());
    assert!(registries.own.requests().is_empty(), "{:?}", registries.own.requests());

    // One that lacks an image is made anew.
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(2);
    let half = list(&[(at_apps(&images[0].digest()), false)]);
    let half = BundleBuilder::new().label(None).file(LOCATIONS_FILE, half.to_yaml()).build();
    registries.own.put(REPOSITORY, &half.layout(Some(&locations_tag(&bundle.digest()))));
    registries.own.put(REPOSITORY, &images[0].layout(None));
    let world = registries.world("").await;
    let whole = list(&images.iter().map(|image| (at_apps(&image.digest()), false)).collect::<Vec<_>>());
    assert_eq!(locations(&world, &bundle.digest()).await, Some(whole));
}

#[tokio::test]
async fn there_is_no_list_unless_every_image_is_there() {
    let registries = Registries::start().await;
    let images = registries.images(1);
    let bundle = registries.push(&[at_apps(&images[0].digest()), at_apps(&Digest::of(b"gone"))], "v1");
    let image = Bundle::image("no bundle");
    registries.own.put(REPOSITORY, &image.layout(Some("image")));
    let world = registries.world("").await;
    assert_eq!(pull(&world, "v1").await.digest, bundle.digest());
    for digest in [bundle.digest(), image.digest(), Digest::of(b"nothing")] {
        assert_eq!(locations(&world, &digest).await, None);
    }
    // Nothing is made up for the exact view.
    let (registries, rules) = (Registries::start().await, "rules: [{relocation: {when: never}}]");
    let (bundle, images) = registries.bundle(1);
    let world = registries.world(rules).await;
    assert_eq!(pull(&world, "v1").await.digest, bundle.digest());
    assert_eq!(locations(&world, &bundle.digest()).await, None);
    assert_eq!(get(&world, &manifest(images[0].digest())).await.status, 404);
}

#[tokio::test]
async fn a_tag_made_of_a_digest_gives_that_digest() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(1);
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    let tag = |digest: &Digest| manifest(format!("sha256-{}.imgpkg", digest.hex()));
    for digest in [bundle.digest(), pulled.digest, images[0].digest()] {
        get(&world, &tag(&digest)).await.expect(&digest);
    }
    assert_eq!(get(&world, &tag(&Digest::of(b"nothing"))).await.status, 404);
    // What the registry means by such a tag goes first.
    registries.own.tag(REPOSITORY, &format!("sha256-{}.imgpkg", Digest::of(b"other").hex()), &bundle.digest());
    assert_eq!(Digest::of(&get(&world, &tag(&Digest::of(b"other"))).await.body), pulled.digest);
}

#[tokio::test]
async fn a_relocated_bundle_says_what_it_was_made_of() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(2);
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    let path = format!("/v2/{REPOSITORY}/referrers/{}", pulled.digest);
    let listed = get(&world, &path).await;
    assert_eq!((listed.status, listed.header("content-type")), (200, Some("application/vnd.oci.image.index.v1+json")));
    let index: Value = serde_json::from_slice(&listed.body).unwrap();
    let [artifact] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    let media_type = "application/vnd.colocate.provenance.v1+json";
    assert_eq!(artifact["artifactType"], media_type);
    let digest: Digest = artifact["digest"].as_str().unwrap().parse().unwrap();
    for replica in [&world, &registries.world("").await] {
        let answer = get(replica, &manifest(digest)).await;
        answer.expect(&digest);
        assert_eq!(answer.body.len() as u64, artifact["size"].as_u64().unwrap());
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["subject"]["digest"], pulled.digest.to_string());
        assert_eq!(document["subject"]["size"], pulled.answer.body.len());
        let [empty, statement] = parts(&answer.body).try_into().unwrap();
        assert_eq!(get(replica, &blob(&empty)).await.body, b"{}");
        let statement: Value = serde_json::from_slice(&get(replica, &blob(&statement)).await.body).unwrap();
        let named = images.iter().map(|image| {
            let digest = image.digest();
            json!({"digest": digest, "before": at_apps(&digest), "after": at_target(&digest)})
        });
        let expected = json!({
            "original": bundle.digest(), "relocated": pulled.digest,
            "target": at_target(&digest).split_once('@').unwrap().0, "images": named.collect::<Vec<_>>(),
        });
        assert_eq!(statement, expected);
    }
    // Filtered, as was asked.
    for (wanted, count) in [(media_type, 1), ("application/vnd.other", 0)] {
        let filtered = get(&world, &format!("{path}?artifactType={}", wanted.replace('+', "%2B"))).await;
        assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
        let index: Value = serde_json::from_slice(&filtered.body).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), count, "{wanted}");
    }
    // Of the original, the registry knows, and nothing is made up.
    let original = get(&world, &format!("/v2/{REPOSITORY}/referrers/{}", bundle.digest())).await;
    let index: Value = serde_json::from_slice(&original.body).unwrap();
    assert_eq!((original.status, &index["manifests"]), (200, &json!([])));
}

#[tokio::test]
async fn signatures_of_the_original_pass() {
    let registries = Registries::start().await;
    let (bundle, _) = registries.bundle(1);
    let signature = Bundle::image("a signature");
    let tag = format!("sha256-{}.sig", bundle.digest().hex());
    registries.own.put(REPOSITORY, &signature.layout(Some(&tag)));
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": signature.digest(),
        "size": 7, "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json", "annotations": {"a": "b"}});
    let page = |entries: Value| {
        let body = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        Fault::body(200, "application/vnd.oci.image.index.v1+json", body)
    };
    let path = format!("/v2/{REPOSITORY}/referrers/{}", bundle.digest());
    let world = registries.world("").await;
    pull(&world, "v1").await;
    get(&world, &manifest(&tag)).await.expect(&signature.digest());
    // In two pages, of which the second is elsewhere if one believes the link.
    registries.own.on(&path).fails(page(json!([])));
    registries
        .own
        .on(&path)
        .times(1)
        .fails(page(json!([entry])).with("link", "<https://evil.invalid/x?page=2>; rel=\"next\""));
    let listed = get(&world, &path).await;
    let index: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(index["manifests"], json!([entry]), "as the registry wrote it");
    let queries: Vec<_> =
        registries.own.requests().into_iter().filter(|seen| seen.path == path).map(|seen| seen.query).collect();
    assert_eq!(queries, ["", "page=2"]);
    registries.own.on(&path).fails(Fault::status(500));
    assert!(get(&world, &path).await.status >= 500);
    // Each registry has its own way of saying that it does not know the question.
    for fault in [400, 404, 405, 406, 501].map(Fault::status).into_iter().chain([Fault::html()]) {
        registries.own.on(&path).fails(fault);
        let listed = get(&world, &path).await;
        let index: Value = serde_json::from_slice(&listed.body).unwrap();
        assert_eq!((listed.status, &index["manifests"]), (200, &json!([])));
    }
    let relocated: Document = bundle.manifest.clone();
    pull_image(&world, &bundle).await;
    assert_eq!(relocated.digest, bundle.digest());
}

//! What a pull costs the registries.

use colocate::imgpkg::{ImageLocation, ImageLocations, LOCATIONS_FILE, locations_tag};

use super::parts::{REPOSITORY, Registries, at_apps, blob, get, manifest, parts, pull, pull_image};
use crate::hostile::parts::World;
use crate::support::bundle::{Bundle, BundleBuilder};

const IMAGES: usize = 100;

/// All that `imgpkg pull` and then a node ask for.
async fn pull_all(world: &World, images: &[Bundle]) {
    let pulled = pull(world, "v1").await;
    let locations = get(world, &manifest(locations_tag(&pulled.digest))).await;
    assert_eq!(locations.status, 200);
    for part in parts(&locations.body) {
        get(world, &blob(&part)).await.expect(&part);
    }
    for image in images {
        pull_image(world, image).await;
    }
}

fn requests(registries: &Registries, blobs: bool) -> Vec<String> {
    let all = registries.own.requests().into_iter().chain(registries.apps.requests());
    let lines = all.map(|seen| format!("{} {}", seen.method, seen.path));
    lines.filter(|line| blobs || !line.contains("/blobs/")).collect()
}

#[tokio::test]
async fn the_second_pull_of_a_hundred_images_asks_for_the_tag_and_nothing_else() {
    for tags in ["tags: {ttl: 0s}", "tags: {ttl: 1h}"] {
        let registries = Registries::start().await;
        let (_, images) = registries.bundle(IMAGES);
        let world = registries.world(tags).await;
        pull_all(&world, &images).await;
        registries.own.forget();
        registries.apps.forget();
        pull_all(&world, &images).await;
        let expected = if tags.contains("0s") { vec![format!("HEAD {}", manifest("v1"))] } else { Vec::new() };
        assert_eq!(requests(&registries, true), expected);
    }
}

#[tokio::test]
async fn with_a_locations_image_the_first_pull_asks_for_five_things_at_most_beyond_blobs() {
    let registries = Registries::start().await;
    let (bundle, images) = registries.bundle(IMAGES);
    images.iter().for_each(|image| registries.own.put(REPOSITORY, &image.layout(None)));
    let located = images.iter().map(|image| ImageLocation { image: at_apps(&image.digest()), is_bundle: false });
    let list = ImageLocations::new(located).to_yaml();
    let list = BundleBuilder::new().label(None).file(LOCATIONS_FILE, list).build();
    registries.own.put(REPOSITORY, &list.layout(Some(&locations_tag(&bundle.digest()))));
    let world = registries.world("").await;
    let pulled = pull(&world, "v1").await;
    let locations = get(&world, &manifest(locations_tag(&pulled.digest))).await;
    assert_eq!(locations.status, 200);
    for part in parts(&locations.body) {
        get(&world, &blob(&part)).await.expect(&part);
    }
    let asked = requests(&registries, false);
    assert!(asked.len() <= 5, "{asked:?}");
    assert!(registries.apps.requests().is_empty());
}

#[tokio::test]
async fn without_one_each_image_costs_one_question_where_it_is_and_one_where_it_is_not() {
    let registries = Registries::start().await;
    let (_, images) = registries.bundle(IMAGES);
    let world = registries.world("").await;
    pull(&world, "v1").await;
    assert_eq!(registries.own.count("HEAD", &manifest("sha256:*")), IMAGES);
    assert_eq!(registries.apps.count("HEAD", "*"), IMAGES);
    // What is pulled afterwards is asked for once, where it is.
    registries.own.forget();
    registries.apps.forget();
    for image in &images[..10] {
        pull_image(&world, image).await;
    }
    assert_eq!((requests(&registries, false).len(), registries.own.requests().len()), (10, 0));
}

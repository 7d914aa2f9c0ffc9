//! `colocate explain` of bundles that were only pushed.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Origins, Spread, images_in, lock_as_pushed, pushed_to};
use crate::support::colocate::{Settings, colocate};
use crate::support::layout::Golden;
use crate::support::require;

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_where_each_image_is_from() {
    if !require(&["docker-registry"]) {
        return;
    }
    let bundles = Golden::all();
    for spread in Spread::ALL {
        let origins = Origins::start(spread, &bundles).await;
        let settings = origins.settings();
        for golden in &bundles {
            let (told, text) = explain(&settings, &format!("{}:{}", pushed_to(golden), Golden::TAG)).await;
            assert_eq!((&told["outcome"], &told["reason"]), (&json!("relocated"), &Value::Null), "{text}");
            assert_eq!(told["original"], json!(golden.digest.to_string()));
            all_from_their_origins(&told["images"], &lock_as_pushed(golden));
            let nested =
                told["images"].as_array().expect("images").iter().filter(|image| image.get("nested").is_some());
            let nested: Vec<_> = nested.collect();
            if golden.name != "nested-app" {
                assert!(nested.is_empty(), "{text}");
                continue;
            }
            let [inner] = nested.as_slice() else { panic!("one bundle in it: {text}") };
            let simple = Golden::read("simple-app");
            assert!(inner["image"].as_str().expect("text").ends_with(&format!("@{}", simple.digest)), "{inner}");
            all_from_their_origins(&inner["nested"]["images"], &lock_as_pushed(&simple));
            assert!(text.contains("is a bundle itself, of 1 images"), "{text}");
        }
    }
}

/// Each image of the lock, in order, with the repository that it names.
#[track_caller]
fn all_from_their_origins(images: &Value, lock: &[u8]) {
    let told = images.as_array().expect("images").iter();
    let told: Vec<_> =
        told.map(|image| (image["image"].clone(), image["found"].clone(), image["origin"].clone())).collect();
    let expected = images_in(lock).into_iter().map(|image| {
        let (repository, _) = image.split_once('@').expect("a digest");
        (json!(image), json!("origin"), json!(repository))
    });
    assert_eq!(told, expected.collect::<Vec<_>>());
}

/// What `explain` says, as JSON and as text, of a proxy that is configured like this.
pub(super) async fn explain(settings: &Settings, reference: &str) -> (Value, String) {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("colocate.yaml");
    fs::write(&file, settings.text()).expect("a configuration file");
    let file = file.to_string_lossy();
    let json = colocate(&["explain", "--config", &file, "--json", reference]).await;
    let text = colocate(&["explain", "--config", &file, reference]).await;
    assert!(json.status.success() && text.status.success(), "{json:?} {text:?}");
    (serde_json::from_str(&json.stdout).expect("JSON"), text.stdout)
}

//! What `colocate explain` tells of a CNAB bundle.

use serde_json::json;

use super::parts::{APPS, MAP_TYPE, REPOSITORY, Registries, explain, referrers};
use crate::hostile::parts::ENDPOINT;
use crate::support::bundle::Bundle;
use crate::support::cnab::{Cnab, bundle_file, index, listed};

#[tokio::test]
async fn each_image_with_where_it_came_from_and_where_it_is() {
    for cnab in [Cnab::golden(), Cnab::fallback()] {
        let registries = Registries::start().await;
        registries.own.put(REPOSITORY, &cnab.tagged("v1"));
        let (json, text) = explain(&registries.config(""), "v1").await;
        let location = |digest: &str| format!("{ENDPOINT}/{REPOSITORY}@{digest}");
        let web = location("sha256:146adb38e14044fb478a0cb1e4b3a908402165632f6944b59760d188da4dea90");
        let invocation = "sha256:98683dc562ed6048e1e4555901a14eb7eeff60dabbc9a9a37fd1a74ef03382f0";
        let world = registries.world("").await;
        let map = referrers(&world, &cnab.index.digest, Some(MAP_TYPE)).await.remove(0);
        let told = json!({"name": "spring-music", "version": "0.5.0", "relocation_map": map["digest"], "images": [
            {"original": format!("ghcr.io/acme/spring-music@{invocation}"), "location": location(invocation), "found": "index"},
            {"component": "web", "original": "docker.io/jeremyrickard/spring-music:v1.0.0", "location": web, "found": "index"},
        ]});
        assert_eq!(json["cnab"], told);
        assert_eq!(json["outcome"], "original");
        for line in [
            "  CNAB       spring-music 0.5.0\n",
            "  image      of the component web\n             original  docker.io/jeremyrickard/spring-music:v1.0.0\n",
            &format!("             image     {web}\n"),
            "it is a CNAB bundle, which passes as it stands",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

#[tokio::test]
async fn images_that_it_does_not_list() {
    let registries = Registries::start().await;
    let (granted, own) = (registries.images(1).remove(0), Bundle::image("its own"));
    registries.own.put(REPOSITORY, &own.layout(None));
    let (at_apps, hidden) = (format!("apps.example/{APPS}:v1"), "a\u{1b}[31mb\nc");
    let named = [("a", at_apps.as_str(), Some(&granted)), ("b", &at_apps, Some(&own)), ("c", hidden, None)];
    let cnab = Cnab::of(bundle_file(&at_apps, &named), &[]);
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let (json, text) = explain(&registries.config(""), "v1").await;
    let images = json["cnab"]["images"].as_array().unwrap();
    let found: Vec<_> = images.iter().map(|image| image["found"].as_str().unwrap()).collect();
    assert_eq!(found, ["not named by digest", "origin", "repository", "not named by digest"]);
    assert_eq!(images[1]["origin"], format!("apps.example/{APPS}"));
    assert_eq!(images[1]["location"], format!("{ENDPOINT}/{REPOSITORY}@{}", granted.digest()));
    assert!(images[3]["location"].is_null() && images[3]["original"] == hidden);
    assert!(text.contains(&format!("not in the index; granted from its origin, apps.example/{APPS}\n")), "{text}");
    assert!(text.contains(r"a\u{1b}[31mb\nc") && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn the_exact_view_and_an_index_that_is_none() {
    let registries = Registries::start().await;
    let cnab = Cnab::golden();
    registries.own.put(REPOSITORY, &cnab.tagged("v1"));
    let rules = format!("rules: [{{endpoint: {ENDPOINT}, relocation: {{when: never}}}}]");
    let (json, text) = explain(&registries.config(&rules), "v1").await;
    assert!(json["cnab"]["images"][0]["location"].is_null() && json["cnab"]["name"] == "spring-music", "{json}");
    assert!(text.contains("its map    is not made: this is the exact view"), "{text}");

    let image = Bundle::image("an image");
    registries.own.put(REPOSITORY, &image.layout(None));
    let plain = crate::support::bundle::index(&[&image]);
    registries.own.put_manifest(REPOSITORY, &plain.media_type, plain.bytes.clone());
    registries.own.tag(REPOSITORY, "plain", &plain.digest);
    assert!(explain(&registries.config(""), "plain").await.0["cnab"].is_null());

    // One without a bundle.json is told by its index.
    let lone = Cnab { index: index(&[listed(&image.manifest, "component", Some("web"))]), ..cnab };
    registries.own.put_manifest(REPOSITORY, &lone.index.media_type, lone.index.bytes.clone());
    registries.own.tag(REPOSITORY, "lone", &lone.index.digest);
    let (json, _) = explain(&registries.config(""), "lone").await;
    let told = json!([{"component": "web", "original": null, "found": "index",
        "location": format!("{ENDPOINT}/{REPOSITORY}@{}", image.digest())}]);
    assert_eq!(json["cnab"]["images"], told);
}

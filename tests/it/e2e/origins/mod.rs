//! Bundles that were pushed and never copied: their images are where their locks say, and are pulled beside the bundle.

mod beside;
mod explained;
mod fetching;
mod imgpkg;
mod lost;
mod nested;
mod pinned;
mod secluded;

use serde_json::json;

use crate::support::bundle::{gunzip, lock_in};
use crate::support::colocate::{Colocate, Settings};
use crate::support::fixture;
use crate::support::layout::{Document, Golden, Layout};
use crate::support::process::free_address;
use crate::support::registry::DockerRegistry;

/// Where the images of the golden locks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// In other repositories of the bundles' registry.
    OneRegistry,
    /// In another registry than the bundles.
    TwoRegistries,
}

impl Spread {
    const ALL: [Self; 2] = [Self::OneRegistry, Self::TwoRegistries];
}

/// What `imgpkg push` left: each bundle alone in its repository, and the images at their origins.
struct Origins {
    /// The bundles' registry first.
    registries: Vec<DockerRegistry>,
}

impl Origins {
    /// With these bundles, and with all images that a golden lock names.
    async fn start(spread: Spread, bundles: &[Golden]) -> Self {
        let mut registries = vec![DockerRegistry::start().await];
        if spread == Spread::TwoRegistries {
            registries.push(DockerRegistry::start().await);
        }
        let url = registries.last().expect("a registry").url();
        push_images(&url).await;
        for bundle in bundles {
            bundle.origin.push(&registries[0].url(), &pushed_to(bundle)).await;
        }
        Self { registries }
    }

    /// A proxy in front of them, whose locks name the address it listens at: what is in them can be pulled as written.
    fn settings(&self) -> Settings {
        let address = free_address().to_string();
        let settings = Settings::new(&self.registries[0].url()).set("endpoint", address.clone());
        let settings = settings.set("listen", json!([address]));
        match self.registries.get(1) {
            None => settings.set("upstream.registry", Golden::ENDPOINT),
            Some(other) => settings.set("upstreams", json!([{"registry": Golden::ENDPOINT, "url": other.url()}])),
        }
    }

    async fn serve(&self) -> Front {
        Front::start(self.settings()).await
    }

    /// From now on, nothing is to be had of them.
    async fn stop(&mut self) {
        for registry in &mut self.registries {
            registry.stop().await;
        }
    }
}

/// Looks at every golden bundle, wherever its images are, through a proxy that has seen none of it.
async fn each_pushed(look: impl AsyncFn(&Front, &Golden)) {
    let bundles = Golden::all();
    for spread in Spread::ALL {
        let origins = Origins::start(spread, &bundles).await;
        let front = origins.serve().await;
        for golden in &bundles {
            look(&front, golden).await;
        }
    }
}

/// The proxy, and what its locks call it.
struct Front {
    colocate: Colocate,
    endpoint: String,
}

impl Front {
    async fn start(settings: Settings) -> Self {
        let text: serde_json::Value = serde_json::from_str(&settings.text()).expect("JSON");
        let endpoint = text["endpoint"].as_str().expect("an endpoint").to_owned();
        Self { colocate: Colocate::start(settings).await, endpoint }
    }

    /// The lock that imgpkg would have written for a bundle in this repository, had it been copied there.
    fn lock(&self, golden: &Golden, repository: &str) -> Vec<u8> {
        let target = |endpoint: &str, repository: &str| format!("{endpoint}/{repository}@");
        let text = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
        let before = target(Golden::ENDPOINT, &golden.repository);
        assert!(text.contains(&before), "{text}");
        text.replace(&before, &target(&self.endpoint, repository)).into_bytes()
    }
}

/// Where `imgpkg push` put a golden bundle.
fn pushed_to(golden: &Golden) -> String {
    format!("fx/{}", golden.name)
}

/// Puts everything that golden locks name where they say that it is: three images, and a bundle.
async fn push_images(registry: &str) {
    for name in ["one", "two", "multi"] {
        image(name).push(registry, &format!("apps/{name}")).await;
    }
    let inner = Golden::read("simple-app");
    inner.origin.push(registry, &pushed_to(&inner)).await;
}

/// The image that golden locks call `apps/<name>`.
fn image(name: &str) -> Layout {
    Layout::read(&fixture(format!("bundles/apps/{name}")))
}

/// The manifest of an image that a golden lock names, or of one in an index that it names.
fn named(digest: &str) -> Document {
    let layouts = ["multi", "one", "two"].map(image).into_iter().chain([Golden::read("simple-app").origin]);
    let mut manifests = layouts.flat_map(|layout| layout.manifests);
    manifests.find(|document| document.digest.to_string() == digest).unwrap_or_else(|| panic!("no image {digest}"))
}

/// The digests of what an index lists; none for an image.
fn children(document: &Document) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(&document.bytes).expect("JSON");
    let children = value["manifests"].as_array().into_iter().flatten();
    children.map(|child| child["digest"].as_str().expect("a digest").to_owned()).collect()
}

/// The lock with which a golden bundle was pushed.
fn lock_as_pushed(golden: &Golden) -> Vec<u8> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&golden.origin.manifest(&golden.digest).bytes).expect("JSON");
    let layer = manifest["layers"][0]["digest"].as_str().expect("a layer").parse().expect("a digest");
    lock_in(&gunzip(golden.origin.blob(&layer)))
}

/// What a lock, or a list of locations, names as images.
fn images_in(text: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(text).expect("text");
    let named = |line: &str| line.trim_start_matches(['-', ' ']).strip_prefix("image: ").map(str::to_owned);
    let images: Vec<String> = text.lines().filter_map(named).collect();
    assert!(!images.is_empty(), "{text}");
    images
}

/// Repository and digest of a reference that begins with the endpoint.
#[track_caller]
fn at<'a>(endpoint: &str, reference: &'a str) -> (&'a str, &'a str) {
    let name = reference.strip_prefix(endpoint).and_then(|rest| rest.strip_prefix('/'));
    let name = name.unwrap_or_else(|| panic!("{reference} is not at {endpoint}"));
    name.split_once('@').expect("a reference by digest")
}

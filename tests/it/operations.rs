//! What operators do with a proxy that serves: have it go on with another configuration, end it, look into it.

mod draining;
mod load;
mod reload;
mod status;

use serde_json::Value;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::{Colocate, Settings};
use crate::support::http;
use crate::support::process::free_address;
use crate::support::scripted::ScriptedUpstream;

const REPOSITORY: &str = "acme/app";

/// Settings with a place for operators to look.
fn watched(upstream: &ScriptedUpstream) -> Settings {
    Settings::new(&upstream.url()).set("admin.listen", free_address().to_string())
}

/// A bundle tagged `v1` with two images, of which the last may be missing.
fn put_bundle(upstream: &ScriptedUpstream, repository: &str, whole: bool) -> (Bundle, Vec<Bundle>) {
    let images: Vec<Bundle> = (0..2).map(|index| Bundle::image(&format!("{repository} {index}"))).collect();
    let reference = |image: &Bundle| format!("registry.example/other/app@{}", image.manifest.digest);
    let lock = lock_of(&images.iter().map(reference).collect::<Vec<_>>());
    let bundle = BundleBuilder::with_lock(&lock).file("config.yml", "a: b\n".repeat(9000)).build();
    upstream.put(repository, &bundle.layout(Some("v1")));
    for image in &images[..if whole { 2 } else { 1 }] {
        upstream.put(repository, &image.layout(None));
    }
    (bundle, images)
}

/// What operators' JSON says.
async fn api(colocate: &Colocate, path: &str) -> Value {
    http::get(&format!("{}/api/{path}", colocate.admin())).await.expect(200).json()
}

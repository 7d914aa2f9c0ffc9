//! The status page, opened in a browser while bundles are pulled.

mod alignment;
mod reading;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::{Colocate, Pulled, Settings};
use crate::support::http;
use crate::support::pattern::Pattern;
use crate::support::process::free_address;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::{eventually, require};

/// What no text may become.
const MARKUP: &str = r#"<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"#;
/// The bundle that is whole, and the one that lacks an image.
const WHOLE: &str = "acme/app";
const LACKING: &str = "acme/shop";

/// A registry, a proxy in front of it, and a browser.
struct World {
    upstream: ScriptedUpstream,
    served: Colocate,
    admin: SocketAddr,
    browser: Browser,
}

impl World {
    async fn start() -> Self {
        let upstream = ScriptedUpstream::start().await;
        let admin = free_address();
        let served = Colocate::start(Settings::new(&upstream.url()).set("admin.listen", admin.to_string())).await;
        Self { upstream, served, admin, browser: Browser::start().await }
    }

    /// The page with something behind `#`, or nothing.
    async fn open(&self, route: &str) {
        self.browser.open(&format!("http://{}/{route}", self.admin)).await;
    }

    /// Puts a bundle of three images under `v1`, of which the second may be `there` or not, and pulls it.
    async fn pull(&self, repository: &str, there: bool) -> (Pulled, Vec<Bundle>) {
        let images: Vec<Bundle> =
            ["web", "api", "jobs"].map(|name| Bundle::image(&format!("{repository}/{name}"))).into();
        let lock = self.lock(&images);
        let bundle = BundleBuilder::with_lock(&lock).build();
        self.upstream.put(repository, &bundle.layout(Some("v1")));
        for image in images.iter().enumerate().filter(|(at, _)| there || *at != 1).map(|(_, image)| image) {
            self.upstream.put(repository, &image.layout(None));
        }
        (self.served.pull(repository, "v1").await, images)
    }

    /// As somebody wrote it who does not wish well.
    fn lock(&self, images: &[Bundle]) -> String {
        let references: Vec<String> =
            images.iter().map(|image| format!("origin.example/team/image@{}", image.digest())).collect();
        let hostile = format!("  annotations:\n    note: '{MARKUP}'\n");
        lock_of(&references).replacen("- image", "# as somebody wrote it\n- image", 1) + &hostile
    }

    /// Nothing was refused by the page's policy, nothing failed in its script, and no text became markup.
    async fn assert_clean(&self) {
        let pwned =
            self.browser.script("return window.pwned ?? document.querySelectorAll('img').length", json!([])).await;
        assert_eq!(pwned, json!(0));
        assert_eq!(self.browser.console().await, Vec::<String>::new());
    }

    /// The lock as one side of the page shows it.
    async fn lock_shown(&self, side: &str) -> String {
        let texts = "return Array.from(document.querySelectorAll(`.lock tbody .text.${arguments[0]}:not(.none)`), \
            (cell) => cell.textContent + '\\n').join('')";
        self.browser.script(texts, json!([side])).await.as_str().expect("text").to_owned()
    }
}

fn has_browser() -> bool {
    require(&["chromium", "chromedriver"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relocated_bundle_with_its_lock_before_and_after() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    world.open("").await;
    browser.shows("#bundles-empty", "No bundle was pulled by tag").await;
    // It comes by itself.
    let (pulled, images) = world.pull(WHOLE, true).await;
    let row = browser.shows(".bundles tbody tr", WHOLE).await;
    assert!(row.contains(":v1") && row.contains("relocated"), "{row}");

    browser.click(".bundles tbody a").await;
    browser.shows("#verdict", "A tag gives the relocated bundle.").await;
    browser.shows("#details .facts", &pulled.digest.to_string()).await;
    assert_eq!(browser.texts("#images .badge").await.len(), 3);
    browser.shows("#images", "All 3 images were found.").await;

    let (before, after) = (world.lock_shown("before").await, world.lock_shown("after").await);
    assert_eq!(before, world.lock(&images));
    assert_eq!(after.as_bytes(), pulled.lock());
    // Line by line, with what changed in it marked.
    let digest = images[0].digest();
    let line = browser.shows(".lock .changed .before", &digest.to_string()).await;
    assert!(line.contains(&format!("image: origin.example/team/image@{digest}")), "{line}");
    assert_eq!(browser.texts(".lock .changed del").await[0], "origin.example/team/image");
    assert_eq!(browser.texts(".lock .changed ins").await[0], "127.0.0.1:5900/acme/app");
    browser.shows(".lock .removed .text.before", "# as somebody wrote it").await;
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_not_relocated_says_which_image_is_missing() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    let (pulled, images) = world.pull(LACKING, false).await;
    world.open("").await;
    let row = browser.shows(".bundles tbody tr", LACKING).await;
    assert!(row.contains("original") && row.contains(&images[1].digest().to_string()), "{row}");

    browser.click(".bundles tbody a").await;
    browser.shows("#verdict", "A tag gives the original.").await;
    browser.shows("#details .facts", &pulled.digest.to_string()).await;
    let lost = browser.shows("#images tr.lost", &images[1].digest().to_string()).await;
    assert!(lost.contains("not there") && lost.contains("origin.example/team/image: no registry"), "{lost}");
    assert_eq!(world.lock_shown("before").await, world.lock(&images));
    assert_eq!(browser.texts(".lock .text.after").await, Vec::<String>::new());

    // Once it was copied, the same page says so.
    world.upstream.put(LACKING, &images[1].layout(None));
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    world.served.pull(LACKING, "v1").await;
    browser.shows("#verdict", "A tag gives the relocated bundle.").await;
    browser.shows("#images", "All 3 images were found.").await;
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_explained() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    // By nobody else before.
    let image = Bundle::image("nothing special");
    world.upstream.put("acme/image", &image.layout(Some("v2")));
    world.open("").await;
    browser.click("#reference").await;
    browser.press(&format!("acme/image:v2{}", crate::support::browser::ENTER)).await;
    browser.shows("#verdict", "No bundle: it passes as it stands").await;
    browser.shows("#details .facts", &image.digest().to_string()).await;

    // As a link that somebody sent.
    let (pulled, _) = world.pull(WHOLE, true).await;
    world.open(&format!("#explain={WHOLE}:v1")).await;
    browser.shows("#verdict", "A tag gives the relocated bundle.").await;
    browser.shows("#details .facts", &pulled.digest.to_string()).await;
    assert_eq!(world.lock_shown("after").await.as_bytes(), pulled.lock());
    world.assert_clean().await;

    for (reference, told) in
        [(MARKUP, MARKUP), ("acme/none:v1", "acme/none:v1"), ("other.example/app", "other.example")]
    {
        let encoded = percent_encoding(reference);
        world.open(&format!("#explain={encoded}")).await;
        browser.shows("#details .problem", "").await;
        browser.shows("#details", told).await;
        // That such a thing is not to be had is an answer with a status of its own, which browsers tell, too.
        browser.console().await;
        world.assert_clean().await;
    }
}

/// As an address has it.
fn percent_encoding(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_in_progress_has_a_bar_and_a_proxy_that_is_gone_is_told() {
    if !has_browser() {
        return;
    }
    let mut world = World::start().await;
    let browser = &world.browser;
    let (half, whole) = (3 << 20, 6 << 20);
    let pattern = Pattern::new(1, whole);
    let digest = world.upstream.put_pattern(WHOLE, &pattern);
    let path = format!("/v2/{WHOLE}/blobs/{digest}");
    let gate = Gate::new();
    world.upstream.on(&path).get().fails(Fault::HoldAt(half, gate.clone()));
    world.open("").await;
    browser.shows("#fills-empty", "None at the moment.").await;

    let url = format!("{}{path}", world.served.url());
    let client = tokio::spawn(async move { http::get(&url).await });
    world.upstream.sent(&path, half).await;
    let fill = browser.shows("#fills-list li", &digest.to_string()[..19]).await;
    assert!(fill.contains(WHOLE) && fill.contains("1 reader"), "{fill}");
    browser.shows("#fills-list li", "3.0 MiB of 6.0 MiB").await;
    browser.shows("#fills-list .share", "50 %").await;
    let bar =
        browser.script("const bar = document.querySelector('progress'); return [bar.value, bar.max]", json!([])).await;
    assert_eq!(bar, json!([half, whole]));
    browser.shows("#fills-list li", "standing still").await;

    gate.open();
    client.await.expect("a client").expect(200);
    let over = async || browser.texts("#fills-list li").await.is_empty();
    eventually("the download is no longer shown", Duration::from_secs(20), over).await;
    browser.shows("#fills-empty", "None at the moment.").await;
    world.assert_clean().await;

    world.served.kill();
    browser.shows("#gone", "The proxy does not answer since").await;
    world.served.start_again().await;
    browser.shows("#fresh", "Up to date").await;
    assert_eq!(browser.texts("#gone").await, [""]);
}

//! Whoever reads the page: in a narrow window, in the dark, by keyboard, with a screen reader, while it renews itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LACKING, WHOLE, World, has_browser};
use crate::support::browser::{Browser, ENTER, LEFT, TAB};

/// Sentences on what a reader stumbles over.
const CHECKS: &str = include_str!("checks.js");
/// What has to have a name for those who do not see it.
const NAMED: &[&str] = &[
    "button",
    "checkbox",
    "DisclosureTriangle",
    "link",
    "meter",
    "progressbar",
    "region",
    "searchbox",
    "slider",
    "table",
];

#[tokio::test(flavor = "multi_thread")]
async fn by_all_widths_and_colours() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    world.pull(WHOLE, true).await;
    world.pull(LACKING, false).await;
    world.pull("acme/a-long-name-for-a-team/and-for-its-platform/and-for-what-it-makes-of-both", true).await;
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        browser.resize(width, 900).await;
        browser.prefer("prefers-color-scheme", scheme).await;
        let ground =
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part < 128)";
        for (name, route, ready, text) in [
            ("overview", "", ".bundles tbody tr", LACKING),
            ("relocated", &format!("#explain={WHOLE}:v1"), "#lock", "127.0.0.1:5900/acme/app"),
            ("original", &format!("#explain={LACKING}:v1"), "#images", "not there"),
        ] {
            world.open(route).await;
            browser.shows(ready, text).await;
            browser.shows("#fresh", "Up to date").await;
            assert_eq!(browser.script(ground, json!([])).await, json!(scheme == "dark"), "{name} {scheme}");
            assert_eq!(browser.script(CHECKS, json!([])).await, json!([]), "{name} {width} {scheme}");
            browser.screenshot(&format!("{name}-{width}-{scheme}")).await;
        }
    }
    // Side by side where there is room, else one below the other.
    let sides = "const side = (of) => document.querySelector(`.lock .changed .text.${of}`).getBoundingClientRect(); \
        return side('before').bottom <= side('after').top";
    world.open(&format!("#explain={WHOLE}:v1")).await;
    browser.shows("#lock", "127.0.0.1:5900/acme/app").await;
    assert_eq!(browser.script(sides, json!([])).await, json!(true), "narrow");
    browser.resize(1280, 900).await;
    assert_eq!(browser.script(sides, json!([])).await, json!(false), "wide");
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_keyboard_and_by_name() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    world.pull(WHOLE, true).await;
    world.pull(LACKING, false).await;
    world.open("").await;
    browser.shows(".bundles tbody tr", WHOLE).await;
    browser.shows("#upstreams-list li", "answers").await;
    assert_names(browser, &["banner", "main", "contentinfo", "search"]).await;

    // Skip, home, search, its button, the first bundle.
    let mut way = Vec::new();
    for _ in 0..5 {
        browser.press(TAB).await;
        way.push(focused(browser).await);
        assert_eq!(outlined(browser).await, json!(true), "{way:?}");
    }
    assert_eq!(way[..4], ["Skip to the content", "Colocate", "reference", "Explain"]);
    // Of two that were pulled within a second, either is first.
    let first = browser.texts(".bundles tbody .name > a").await.remove(0);
    assert_eq!(way[4], first);
    browser.press(ENTER).await;
    browser.shows("#verdict", "A tag gives the").await;
    assert!(focused(browser).await.contains(&first), "the heading of what was opened");
    assert_names(browser, &[]).await;
    browser.back().await;
    browser.shows(".bundles tbody tr", LACKING).await;
    assert_eq!(focused(browser).await, way[4], "back where it was");

    // The box leaves those that fit while somebody types.
    browser.script("document.getElementById('reference').focus()", json!([])).await;
    browser.press("APP v1").await;
    browser.shows("#matches", "1 of 2 recent bundles fits.").await;
    let rows = browser.texts(".bundles tbody tr").await;
    assert!(rows.len() == 1 && rows[0].contains(WHOLE), "{rows:?}");
    browser.press("zzz").await;
    browser.shows("#bundles-empty", "None of the 2 recent bundles fits").await;
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_does_lasts_while_the_page_renews_itself() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    let browser = &world.browser;
    world.pull(WHOLE, true).await;
    world.open("").await;
    browser.shows(".bundles tbody tr", WHOLE).await;
    browser.script("document.querySelector('.bundles tbody a').focus()", json!([])).await;
    let kept = "window.kept ??= document.querySelector('.bundles tbody tr'); \
        return window.kept.isConnected && window.kept.contains(document.activeElement)";
    assert_eq!(browser.script(kept, json!([])).await, json!(true));
    // Others come on top, and the same one is pulled once more.
    world.pull(LACKING, false).await;
    world.served.pull(WHOLE, "v1").await;
    browser.shows(".bundles tbody tr", LACKING).await;
    browser.shows(".bundles tbody tr .count", "2").await;
    assert_eq!(browser.script(kept, json!([])).await, json!(true));

    // Charts need a minute to have anything to show, so they are given an hour.
    browser.script(HOUR, json!([])).await;
    browser.script("document.querySelector('.chart').focus()", json!([])).await;
    browser.press(&LEFT.repeat(2)).await;
    let told = "return document.querySelector('.chart').getAttribute('aria-valuetext').replace(/\\u00a0/g, ' ')";
    let told = browser.script(told, json!([])).await;
    assert!(told.as_str().is_some_and(|told| told.ends_with(": 58 %")), "{told}");
    let shown = browser.texts("figure").await;
    assert!(shown[1].contains("served") && shown[2].contains("failed"), "{shown:?}");

    // The same in one bundle's details.
    browser.click(".bundles tbody a").await;
    browser.shows("#verdict", "A tag gives").await;
    browser.script("window.heading = document.getElementById('details-title')", json!([])).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let same = "return window.heading.isConnected && document.activeElement === window.heading";
    assert_eq!(browser.script(same, json!([])).await, json!(true));
    world.assert_clean().await;
}

/// Sixty minutes with hit rates of 1 to 60 percent, drawn by the page's own code.
const HOUR: &str = "return import('./charts.js').then(({ updateCharts }) => { \
    const samples = Array.from({ length: 60 }, (_, at) => ({ at: 6_000_000 + at * 60, requests: 100, hits: at, errors: 1, \
        served: 5000, fetched: 100 })); \
    updateCharts({ every: 60, samples }, 6_003_540); })";

/// The text of what has the focus, or else its id.
async fn focused(browser: &Browser) -> String {
    let text = "const node = document.activeElement; return node.innerText || node.id";
    browser.script(text, json!([])).await.as_str().unwrap_or_default().trim().to_owned()
}

/// Whether one sees what has the focus.
async fn outlined(browser: &Browser) -> Value {
    let outlined = "const style = getComputedStyle(document.activeElement); \
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 || document.activeElement.id === 'skip'";
    browser.script(outlined, json!([])).await
}

/// What a screen reader is told: names for all there is to use, and these landmarks.
async fn assert_names(browser: &Browser, landmarks: &[&str]) {
    let tree = browser.chrome("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().expect("nodes");
    let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_owned();
    let of_use = nodes.iter().filter(|node| node["ignored"] == false && NAMED.contains(&role(node).as_str()));
    let nameless: Vec<_> = of_use.filter(|node| node["name"]["value"].as_str().is_none_or(str::is_empty)).collect();
    assert!(nameless.is_empty(), "{nameless:#?}");
    for landmark in landmarks {
        assert!(nodes.iter().any(|node| role(node) == *landmark), "{landmark}");
    }
}

//! How the page sets two locks side by side, by its own code in a browser.

use std::fs;

use serde_json::{Value, json};

use super::{World, has_browser};
use crate::support::fixture;

/// Rows as `[kind, before, after]`.
const COMPARE: &str = "return import('./difference.js').then(({ compare }) => compare(arguments[0], arguments[1]) \
    .map((row) => [row.kind, row.before?.text ?? null, row.after?.text ?? null]))";

async fn compare(world: &World, before: &str, after: &str) -> Vec<Value> {
    let rows = world.browser.script(COMPARE, json!([before, after])).await;
    let rows = rows.as_array().expect("rows").clone();
    // Whatever the pairs are, nothing is lost, and nothing is made up.
    for (side, text) in [(1, before), (2, after)] {
        let shown: Vec<&str> = rows.iter().filter_map(|row| row[side].as_str()).collect();
        assert_eq!(shown, text.strip_suffix('\n').unwrap_or(text).split('\n').collect::<Vec<_>>());
    }
    for row in &rows {
        let kind = match (row[1].as_str(), row[2].as_str()) {
            (Some(before), Some(after)) if before == after => "same",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
            (None, _) => "added",
        };
        assert_eq!(row[0], kind, "{row}");
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_golden_lock_has_its_images_line_by_line() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    world.open("").await;
    let mut seen = 0;
    for entry in fs::read_dir(fixture("locks")).expect("golden locks") {
        let directory = entry.expect("a directory entry").path();
        let read = |name: &str| fs::read_to_string(directory.join(name));
        let (Ok(before), Ok(after)) = (read("images.yml"), read("relocated.yml")) else { continue };
        seen += 1;
        let rows = compare(&world, &before, &after).await;
        for row in rows.iter().filter(|row| row[0] == "changed") {
            let digest = |side: usize| {
                row[side].as_str().and_then(|line| line.split_once("@sha256:")).map(|(_, hex)| hex.get(..64))
            };
            if let (Some(before), Some(after)) = (digest(1), digest(2)) {
                assert_eq!(before, after, "{}: {row}", directory.display());
            }
        }
    }
    assert!(seen > 5, "{seen} locks");
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_locks_and_odd_ones() {
    if !has_browser() {
        return;
    }
    let world = World::start().await;
    world.open("").await;
    let lock = |place: &str| -> String {
        let image = |at: usize| format!("- annotations:\n    id: number {at}\n  image: {place}@sha256:{at:064x}\n");
        (0..20_000).map(image).collect()
    };
    let rows = compare(&world, &lock("origin.example/image"), &lock("127.0.0.1:5900/acme/app")).await;
    assert_eq!(rows.len(), 60_000);
    assert_eq!(rows.iter().filter(|row| row[0] == "changed").count(), 20_000);
    // With nothing to hold on to.
    let (one, other) = ("a\nb\n".repeat(3000), "b\nc\na\n".repeat(3000));
    compare(&world, &one, &other).await;
    compare(&world, "x", "y").await;
    compare(&world, "same\n", "same\n").await;
    world.assert_clean().await;
}

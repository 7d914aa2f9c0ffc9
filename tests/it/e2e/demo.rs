//! The first thing anyone runs.

use crate::support::colocate::colocate;

#[tokio::test]
async fn demo_shows_both_locks_and_ends() {
    let demo = colocate(&["demo", "--once", "--listen", "127.0.0.1:0"]).await;
    assert!(demo.status.success(), "{demo:?}");
    assert!(demo.stdout.contains(".imgpkg/images.yml"), "{}", demo.stdout);
    // Before: as its author wrote it; after: at the address that the demo listens on.
    let digests: Vec<_> = demo.stdout.split("@sha256:").skip(1).map(|rest| &rest[..16]).collect();
    assert!(digests.len() >= 2, "{}", demo.stdout);
    assert!(digests.iter().any(|digest| digests.iter().filter(|other| *other == digest).count() >= 2), "{digests:?}");
    let relocated = demo.stdout.lines().any(|line| line.contains("127.0.0.1:") && line.contains("@sha256:"));
    assert!(relocated, "{}", demo.stdout);
}

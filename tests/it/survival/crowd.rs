//! A crowd on one large blob.

use std::sync::Arc;
use std::time::Duration;

use crate::support::chance::Chance;
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::ScriptedUpstream;
use crate::support::stored::{Stored, files};

const REPOSITORY: &str = "acme/app";
const BLOBS: &str = "/v2/acme/app/blobs/*";
const SIZE: u64 = 1 << 30;
const CLIENTS: u64 = 64;
/// How many of them read all of it. More would measure the machine: each is a GiB through two sockets.
const READERS: u64 = 6;
/// What the process may grow by, at its largest.
const MEMORY: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_cost_one_download_and_little_memory() {
    let mut chance = Chance::new();
    let blob = tokio::task::spawn_blocking(|| Pattern::new(64, SIZE)).await.expect("a pattern");
    let upstream = Arc::new(ScriptedUpstream::start().await);
    upstream.put_pattern(REPOSITORY, &blob);
    let colocate = Colocate::start(Settings::new(&upstream.url())).await;
    let idle = colocate.memory("VmRSS");

    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (pull, ended) = behaviour(client, &colocate, &blob, &mut chance);
            // The first leaves while the others are still to come; some come when all is there.
            let begins = SIZE / CLIENTS * client;
            let upstream = Arc::clone(&upstream);
            let client = async move {
                upstream.sent(BLOBS, begins).await;
                (format!("{pull:?}"), pull.run().await, ended)
            };
            tokio::spawn(client)
        })
        .collect();
    for client in clients {
        let (pull, actual, expected) = client.await.expect("a client that saw nothing wrong");
        assert_eq!(actual, expected, "{pull}");
    }
    assert_eq!(upstream.bytes_sent(BLOBS), SIZE, "of a blob of {SIZE} bytes");
    assert_eq!(upstream.count("GET", BLOBS), 1);
    let grown = colocate.memory("VmHWM").saturating_sub(idle);
    assert!(grown < MEMORY, "the process grew by {} KiB over {} KiB", grown >> 10, idle >> 10);
    // The last byte was right a moment before all of them were on the disk.
    let partial = colocate.cache().join("partial");
    eventually("it is stored", Duration::from_secs(60), async || files(&partial).is_empty()).await;
    let stored = Stored::audit(&colocate.cache());
    assert!(stored.contents.contains(&blob.digest()) && stored.partials.is_empty(), "{stored:?}");
}

/// What one of them does, and how it ends.
fn behaviour(client: u64, colocate: &Colocate, blob: &Pattern, chance: &mut Chance) -> (Pull, Ended) {
    let pull = Pull::of(&colocate.url(), REPOSITORY, blob);
    let part = |length: u64, chance: &mut Chance| {
        let start = chance.within(0, SIZE - length);
        start..start + length
    };
    if client.is_multiple_of(CLIENTS / READERS) && client > 0 {
        return (pull, Ended::Whole);
    }
    match client % 4 {
        // Anywhere: behind the download, before it, and in its last bytes.
        1 => (pull.range(part(chance.within(1, 64 << 20), chance)), Ended::Whole),
        // So slow that most of the download passes by.
        2 => (pull.range(part(8 << 20, chance)).slowly(Duration::from_millis(10)), Ended::Whole),
        3 => (pull.range(part(96 << 20, chance)).leaves_after(chance.within(0, 64 << 20)), Ended::Left),
        _ => (pull.leaves_after(chance.within(0, 64 << 20)), Ended::Left),
    }
}

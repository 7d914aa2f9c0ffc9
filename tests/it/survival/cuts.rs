//! Upstreams that break off in the middle, and ones that lie.

use std::time::Duration;

use colocate::oci::Digest;

use crate::support::chance::Chance;
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::stored::Stored;

const REPOSITORY: &str = "acme/app";
const BLOBS: &str = "/v2/acme/app/blobs/*";
const SIZE: u64 = (16 << 20) + 3;
const CUTS: usize = 10;
/// What is held back until it was verified.
const TAIL: u64 = 64 << 10;

/// An upstream with one blob, and the program in front of it.
struct World {
    upstream: ScriptedUpstream,
    colocate: Colocate,
    blob: Pattern,
}

impl World {
    async fn new(size: u64) -> Self {
        let upstream = ScriptedUpstream::start().await;
        let blob = Pattern::new(size, size);
        upstream.put_pattern(REPOSITORY, &blob);
        let settings = Settings::new(&upstream.url()).set("upstream.timeouts.progress", "500ms");
        let colocate = Colocate::start(settings).await;
        Self { upstream, colocate, blob }
    }

    fn pull(&self) -> Pull {
        Pull::of(&self.colocate.url(), REPOSITORY, &self.blob)
    }

    fn digest(&self) -> Digest {
        self.blob.digest()
    }

    /// What is whole is stored, and served without another question.
    async fn is_stored(&self) {
        eventually("it is stored, and nothing else", Duration::from_secs(20), async || {
            let stored = Stored::audit(&self.colocate.cache());
            stored.contents.contains(&self.digest()) && stored.partials.is_empty()
        })
        .await;
        let asked = self.upstream.count("GET", BLOBS);
        assert_eq!(self.pull().run().await, Ended::Whole);
        assert_eq!(self.upstream.count("GET", BLOBS), asked);
    }

    /// Nothing of it is stored, and the next pull succeeds once the upstream behaves.
    async fn is_forgotten_and_fetched_anew(&self) {
        eventually("nothing is left of it", Duration::from_secs(20), async || {
            let stored = Stored::audit(&self.colocate.cache());
            !stored.contents.contains(&self.digest()) && stored.partials.is_empty()
        })
        .await;
        self.upstream.heal();
        assert_eq!(self.pull().run().await, Ended::Whole);
        self.is_stored().await;
    }
}

/// Ten offsets in order: one before the first chunk ends, one in the tail, the others anywhere.
fn offsets(chance: &mut Chance) -> Vec<u64> {
    let mut offsets = vec![chance.within(1, 1_000), chance.within(SIZE - TAIL, SIZE)];
    while offsets.len() < CUTS {
        offsets.push(chance.within(1, SIZE));
        offsets.sort_unstable();
        offsets.dedup();
    }
    offsets
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_cuts_are_one_unbroken_body() {
    let mut chance = Chance::new();
    for ignores_range in [false, true] {
        let world = World::new(SIZE).await;
        let offsets = offsets(&mut chance);
        if ignores_range {
            world.upstream.on(BLOBS).get().fails(Fault::IgnoreRange);
        }
        // The newest rule wins as long as it lasts.
        for offset in offsets.iter().rev() {
            let ignore = ignores_range.then_some(Fault::IgnoreRange);
            world.upstream.on(BLOBS).get().times(1).fails_with([Fault::BreakAt(*offset)].into_iter().chain(ignore));
        }
        let part = chance.within(0, SIZE / 2)..chance.within(SIZE / 2, SIZE);
        let (whole, part) = tokio::join!(world.pull().run(), world.pull().range(part).run());
        assert_eq!((whole, part), (Ended::Whole, Ended::Whole), "cut at {offsets:?}, {ignores_range}");

        let requests = world.upstream.requests();
        let ranges: Vec<_> = requests.iter().filter_map(|seen| seen.headers.get("range")).collect();
        assert_eq!(ranges.len(), CUTS, "each cut is followed by one request for the rest: {ranges:?}");
        let sent = world.upstream.bytes_sent(BLOBS);
        // What was on its way when the connection broke may come twice.
        let lost = CUTS as u64 * (64 << 10);
        assert!(ignores_range || (SIZE..=SIZE + lost).contains(&sent), "{sent} bytes for {SIZE}");
        world.is_stored().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_refusals_after_a_cut_are_waited_out() {
    let world = World::new(SIZE).await;
    let first = world.upstream.on(BLOBS).get().times(2);
    first.fails(Fault::error(503, "UNAVAILABLE"));
    world.upstream.on(BLOBS).get().times(1).fails(Fault::StallAt(SIZE / 3));
    assert_eq!(world.pull().run().await, Ended::Whole);
    assert_eq!(world.upstream.count("GET", BLOBS), 4);
    world.is_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_after_a_cut_never_end_cleanly() {
    let cut = SIZE / 2 + 1;
    let longer = Fault::Header("content-range", Some(format!("bytes {cut}-{}/{}", SIZE - 1, SIZE + 1)));
    for (what, faults) in [
        ("wrong in what was missing", vec![Fault::Flip(SIZE - 5)]),
        ("another length", vec![longer]),
        ("from the start, wrong in what was served", vec![Fault::IgnoreRange, Fault::Flip(cut / 3)]),
        ("from the start, wrong in what was missing", vec![Fault::IgnoreRange, Fault::Flip(cut + 9)]),
    ] {
        let world = World::new(SIZE).await;
        world.upstream.on(BLOBS).get().fails_with(faults);
        world.upstream.on(BLOBS).get().times(1).fails(Fault::BreakAt(cut));
        let (whole, part) = (world.pull().trustingly(), world.pull().range(5..cut).trustingly());
        let ended = tokio::join!(whole.run(), part.run());
        assert!(ended.0 != Ended::Whole && ended.1 != Ended::Whole, "{what}: {ended:?}");
        world.is_forgotten_and_fetched_anew().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_ends_cleanly_for_nobody() {
    let mut chance = Chance::new();
    for size in [SIZE, TAIL - 1] {
        let world = World::new(size).await;
        let (gate, flipped) = (Gate::new(), chance.within(0, size));
        world.upstream.on(BLOBS).get().fails_with([Fault::Flip(flipped), Fault::HoldAt(size / 2, gate.clone())]);
        let clients = (0..12).map(|client| match client {
            // Of what was right and of what was not.
            8.. => world.pull().range(client * 11..size - client * 7),
            _ => world.pull(),
        });
        let clients: Vec<_> = clients.map(|pull| tokio::spawn(pull.trustingly().run())).collect();
        world.upstream.reached("GET", BLOBS, 1).await;
        gate.open();
        for client in clients {
            let ended = client.await.expect("a client");
            let small = size < TAIL;
            // What is small is known to be wrong before there is a response.
            let right = if small { ended == Ended::Status(502) } else { ended != Ended::Whole };
            assert!(right, "{ended:?}, flipped at {flipped} of {size}");
        }
        world.is_forgotten_and_fetched_anew().await;
    }
}

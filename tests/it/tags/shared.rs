//! Many who ask for one tag at once, and an upstream that takes its time.

use std::time::Duration;

use colocate::proxy::{Forward, Outcome, TagPolicy};

use super::{TAG, TTL, World, policy, pull};
use crate::support::scripted::{Fault, Gate};

const CLIENTS: usize = 32;

/// So many pulls at once, of which the upstream sees nothing before the gate opens.
async fn crowd(world: &World, method: &str) -> Vec<Outcome> {
    let gate = Gate::new();
    world.upstream.on(TAG).times(1).fails(Fault::Hold(gate.clone()));
    let before = world.upstream.count(method, TAG);
    let pulls: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let proxy = world.proxy.clone();
            tokio::spawn(async move { pull(&proxy, "v1").await })
        })
        .collect();
    world.upstream.reached(method, TAG, before + 1).await;
    gate.open();
    let mut outcomes = Vec::new();
    for pull in pulls {
        let served = pull.await.expect("runs").expect("there");
        assert_eq!(served.manifest.digest, world.image.digest());
        assert_eq!(served.status.collapsed, served.status.outcome == Outcome::Collapsed);
        outcomes.push(served.status.outcome);
    }
    outcomes
}

#[tokio::test]
async fn one_question_serves_all_who_want_to_know() {
    let world = World::new().await;
    let count = |outcomes: &[Outcome], wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();

    let first = crowd(&world, "GET").await;
    assert_eq!(world.upstream.requests().len(), 1, "{first:?}");
    // Who came when it was over found the record.
    assert_eq!(count(&first, Outcome::Miss), 1);
    assert_eq!(count(&first, Outcome::Collapsed) + count(&first, Outcome::Hit), CLIENTS - 1, "{first:?}");

    world.clock.advance(TTL);
    let again = crowd(&world, "HEAD").await;
    assert_eq!((world.heads(), world.upstream.requests().len()), (1, 2), "{again:?}");
    assert_eq!(count(&again, Outcome::Revalidated), 1);
    assert_eq!(count(&again, Outcome::Collapsed) + count(&again, Outcome::Hit), CLIENTS - 1, "{again:?}");
}

#[tokio::test]
async fn one_failure_serves_all_who_waited_and_nobody_after_them() {
    let world = World::new().await;
    let gate = Gate::new();
    let held = |status| [Fault::status(status), Fault::Hold(gate.clone())];
    world.upstream.on(TAG).times(1).fails_with(held(500));
    let (one, two) = (pull(&world.proxy, "v1"), pull(&world.proxy, "v1"));
    let open = async {
        world.upstream.reached("GET", TAG, 1).await;
        gate.open();
    };
    let (one, two, ()) = tokio::join!(one, two, open);
    assert!(one.is_err() && two.is_err());
    assert_eq!(world.upstream.count("GET", TAG), 1);
    world.first().await;
}

#[tokio::test]
async fn it_goes_on_when_the_first_to_ask_has_left() {
    let world = World::new().await;
    world.first().await;
    world.clock.advance(TTL);
    let gate = Gate::new();
    world.upstream.on(TAG).times(1).fails(Fault::Hold(gate.clone()));
    let proxy = world.proxy.clone();
    let first = tokio::spawn(async move { pull(&proxy, "v1").await });
    world.upstream.reached("HEAD", TAG, 1).await;
    first.abort();
    assert!(first.await.is_err());
    let (second, ()) = tokio::join!(world.pull(), async { gate.open() });
    let status = second.expect("there").status;
    assert!(matches!(status.outcome, Outcome::Collapsed | Outcome::Hit), "{status:?}");
    assert_eq!(world.heads(), 1);
}

#[tokio::test]
async fn a_slow_answer_is_stood_in_for_and_counts_when_it_comes() {
    let world = World::with(TagPolicy { patience: Duration::from_millis(20), ..policy() }).await;
    world.first().await;
    let second = world.moved();
    world.clock.advance(TTL);
    let gate = Gate::new();
    world.upstream.on(TAG).times(1).fails(Fault::Hold(gate.clone()));
    let slow = world.first().await;
    assert_eq!((slow.outcome, slow.forward, slow.detail), (Outcome::Stale, Some(Forward::Stale), Some("slow")));
    let joined = world.first().await;
    assert!(joined.outcome == Outcome::Stale && joined.collapsed, "{joined:?}");
    assert_eq!(world.heads(), 1);
    gate.open();
    // The same question is still on its way, so sooner or later a pull finds its answer.
    crate::support::eventually("the tag has moved", Duration::from_secs(20), async || {
        world.pull().await.expect("there").manifest.digest == second.digest()
    })
    .await;
    assert_eq!(world.heads(), 1);
}

#[tokio::test]
async fn without_anything_to_stand_in_a_slow_answer_is_waited_for() {
    let world = World::with(TagPolicy { patience: Duration::ZERO, ..policy() }).await;
    world.upstream.on(TAG).times(1).fails(Fault::Delay(Duration::from_millis(50)));
    assert_eq!(world.first().await.outcome, Outcome::Miss);
}

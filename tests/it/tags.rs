//! Tags through the proxy, in one process: how long they are believed, and what stands in when nobody can be asked.
//! What happens at the same time is in `shared`.

mod shared;

use std::sync::Arc;
use std::time::Duration;

use colocate::cache::{Cache, CacheLimits, MemoryStore, Store};
use colocate::config::{AbsentTag, Glob};
use colocate::oci::Digest;
use colocate::proxy::{
    CacheStatus, Forward, OriginPolicy, Outcome, Proxy, ProxyError, ProxyParts, RelocationLimits, ServedManifest,
    TagPolicy,
};
use colocate::telemetry::Metrics;
use colocate::upstream::{RegistryConfig, RegistryUpstream, Timeouts};
use http::StatusCode;

use crate::support::bundle::Bundle;
use crate::support::clock::TestClock;
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::view::{exact, only};

const REPOSITORY: &str = "acme/app";
const TAG: &str = "/v2/acme/app/manifests/v1";
const TTL: Duration = Duration::from_secs(60);
const STALE_FOR: Duration = Duration::from_secs(3600);
/// Longer than trouble is remembered for.
const LATER: Duration = Duration::from_secs(6);

/// An upstream with one image, and a proxy in front of it.
struct World {
    upstream: ScriptedUpstream,
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    proxy: Proxy,
    image: Bundle,
}

impl World {
    async fn new() -> Self {
        Self::with(policy()).await
    }

    async fn with(policy: TagPolicy) -> Self {
        let upstream = ScriptedUpstream::start().await;
        let image = Bundle::image("first");
        upstream.put(REPOSITORY, &image.layout(Some("v1")));
        upstream.put(REPOSITORY, &image.layout(Some("v2")));
        let (store, clock): (Arc<dyn Store>, Arc<TestClock>) = (Arc::new(MemoryStore::default()), Arc::default());
        let proxy = proxy_of(&upstream.url(), Arc::clone(&store), Arc::clone(&clock), policy);
        Self { upstream, store, clock, proxy, image }
    }

    async fn pull(&self) -> Result<ServedManifest, ProxyError> {
        pull(&self.proxy, "v1").await
    }

    /// A pull that succeeds, with the image that the tag had first.
    async fn first(&self) -> CacheStatus {
        let served = self.pull().await.expect("there");
        assert_eq!(served.manifest.digest, self.image.digest());
        served.status
    }

    async fn status(&self) -> StatusCode {
        self.pull().await.expect_err("refused").answer().0
    }

    /// Moves the tag to another image.
    fn moved(&self) -> Bundle {
        let image = Bundle::image("second");
        self.upstream.put(REPOSITORY, &image.layout(Some("v1")));
        image
    }

    fn heads(&self) -> usize {
        self.upstream.count("HEAD", TAG)
    }
}

fn proxy_of(upstream: &str, store: Arc<dyn Store>, clock: Arc<TestClock>, tags: TagPolicy) -> Proxy {
    let mut config = RegistryConfig::new(upstream.parse().expect("a URL"));
    let second = Duration::from_secs(1);
    // Long enough for a busy machine, short enough to be waited for.
    config.timeouts = Timeouts { connect: second, response: 2 * second, progress: second };
    Proxy::new(ProxyParts {
        upstreams: only(Arc::new(RegistryUpstream::new(config).expect("a registry"))),
        // Nothing in memory, so that what is taken from the store is gone.
        cache: Cache::new(
            store,
            clock.clone(),
            CacheLimits { memory_bytes: 0, ..CacheLimits::default() },
            Metrics::new(),
        ),
        clock,
        verdict_ttl: Duration::from_secs(60),
        relocation: RelocationLimits {
            deadline: second,
            undecided_original: false,
            negative_ttl: second,
            max_layer_bytes: 1 << 20,
            concurrency: 1,
            max_passes: 1,
            max_passes_per_client: 1,
            max_targets: 1,
            max_images: 1000,
        },
        origins: OriginPolicy::default(),
        tags,
        metrics: Metrics::new(),
    })
}

fn policy() -> TagPolicy {
    TagPolicy { ttl: TTL, stale_for: STALE_FOR, ..TagPolicy::default() }
}

async fn pull(proxy: &Proxy, reference: &str) -> Result<ServedManifest, ProxyError> {
    proxy.manifest(&exact(REPOSITORY), &reference.parse().expect("a reference")).await
}

#[tokio::test]
async fn a_tag_is_believed_for_its_ttl_and_then_asked_for_by_head() {
    let world = World::new().await;
    let miss = world.first().await;
    assert_eq!((miss.outcome, miss.forward, miss.stored), (Outcome::Miss, Some(Forward::UriMiss), true));
    assert_eq!((miss.age, miss.ttl), (None, Some(60)), "it was asked for just now");
    world.clock.advance(Duration::from_secs(50));
    let hit = world.first().await;
    assert!(hit.is_hit() && hit.outcome == Outcome::Hit, "{hit:?}");
    // A second more may have passed on the real clock.
    assert!(hit.age.is_some_and(|age| (50..55).contains(&age)) && hit.ttl == hit.age.map(|age| 60 - age as i64));
    assert_eq!(world.upstream.requests().len(), 1);

    world.clock.advance(Duration::from_secs(10));
    let asked = world.first().await;
    assert_eq!((asked.outcome, asked.forward, asked.age), (Outcome::Revalidated, Some(Forward::Stale), None));
    assert_eq!((asked.upstream, asked.ttl), (Some(StatusCode::OK), Some(60)));
    assert_eq!((world.heads(), world.upstream.requests().len()), (1, 2));

    let second = world.moved();
    assert_eq!(world.first().await.outcome, Outcome::Hit, "not asked for yet");
    world.clock.advance(TTL);
    let moved = world.pull().await.expect("there");
    assert_eq!(moved.manifest.digest, second.digest());
    assert_eq!((moved.status.outcome, moved.status.forward), (Outcome::Miss, Some(Forward::Stale)));
}

#[tokio::test]
async fn an_immutable_tag_is_asked_for_once() {
    let immutable = vec![Glob::new("acme/**:v*").expect("a pattern")];
    let world = World::with(TagPolicy { immutable, ..policy() }).await;
    assert_eq!(world.first().await.ttl, None);
    world.moved();
    world.clock.advance(Duration::from_secs(365 * 24 * 3600));
    let hit = world.first().await;
    assert_eq!((hit.outcome, hit.ttl), (Outcome::Hit, None));
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn trouble_by_class_is_served_stale_for_a_while_and_then_told() {
    for (fault, detail, upstream, error) in [
        (Fault::status(500), "unavailable", Some(500), 503),
        (Fault::status(503), "unavailable", Some(503), 503),
        (Fault::status(429), "rate_limited", Some(429), 429),
        (Fault::Stall, "timeout", None, 504),
    ] {
        let world = World::new().await;
        world.first().await;
        world.upstream.on(TAG).fails(fault);
        world.clock.advance(TTL + Duration::from_secs(40));
        let stale = world.first().await;
        assert_eq!((stale.outcome, stale.detail), (Outcome::Stale, Some(detail)));
        assert_eq!((stale.forward, stale.upstream.map(|status| status.as_u16())), (Some(Forward::Stale), upstream));
        assert!(stale.age.is_some_and(|age| (100..105).contains(&age)), "{stale:?}");
        assert_eq!(stale.ttl, stale.age.map(|age| 60 - age as i64));
        world.clock.advance(STALE_FOR);
        assert_eq!(world.status().await, error, "{detail}: stale for too long");
    }
}

#[tokio::test]
async fn without_a_connection_other_tags_do_not_wait_for_it_either() {
    let world = World::new().await;
    world.first().await;
    pull(&world.proxy, "v2").await.expect("there");
    world.clock.advance(TTL);
    let World { upstream, clock, proxy, .. } = world;
    drop(upstream);
    tokio::task::yield_now().await;
    let asked = pull(&proxy, "v1").await.expect("stale").status;
    assert_eq!((asked.outcome, asked.forward), (Outcome::Stale, Some(Forward::Stale)));
    let detail = asked.detail;
    assert!(matches!(detail, Some("unreachable" | "interrupted")), "{asked:?}");
    // By now nothing of the connection before is left.
    clock.advance(LATER);
    assert_eq!(pull(&proxy, "v1").await.expect("stale").status.detail, Some("unreachable"));
    let spared = pull(&proxy, "v2").await.expect("stale").status;
    assert!(spared.is_hit() && spared.outcome == Outcome::Stale && spared.ttl < Some(0), "{spared:?}");
    assert_eq!(spared.detail, Some("unreachable"));
    clock.advance(STALE_FOR);
    assert_eq!(pull(&proxy, "v1").await.expect_err("too old").answer().0, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn trouble_is_not_met_again_by_every_pull() {
    let world = World::new().await;
    world.first().await;
    world.clock.advance(TTL);
    world.upstream.on(TAG).fails(Fault::status(500));
    assert!(!world.first().await.is_hit());
    let spared = world.first().await;
    assert!(spared.is_hit() && spared.outcome == Outcome::Stale && spared.ttl < Some(0), "{spared:?}");
    assert_eq!(world.heads(), 1);
    world.clock.advance(LATER);
    world.first().await;
    assert_eq!(world.heads(), 2);
    world.upstream.heal();
    world.clock.advance(LATER);
    assert_eq!(world.first().await.outcome, Outcome::Revalidated);
    assert_eq!(world.first().await.outcome, Outcome::Hit);

    // As long as the upstream says, if it says so.
    world.upstream.on(TAG).fails(Fault::status(500).with("retry-after", "100"));
    world.clock.advance(TTL);
    world.first().await;
    world.clock.advance(Duration::from_secs(90));
    assert!(world.first().await.is_hit());
    world.clock.advance(Duration::from_secs(10));
    assert!(!world.first().await.is_hit());
}

#[tokio::test]
async fn a_tag_that_is_gone_is_gone_or_stale_as_configured() {
    let world = World::new().await;
    world.first().await;
    world.upstream.remove(REPOSITORY, "v1");
    world.clock.advance(TTL);
    assert_eq!(world.status().await, StatusCode::NOT_FOUND);
    // Nothing of it is left to stand in.
    world.upstream.on(TAG).fails(Fault::status(500));
    assert_eq!(world.status().await, StatusCode::SERVICE_UNAVAILABLE);

    let world = World::with(TagPolicy { absent: AbsentTag::Stale, ..policy() }).await;
    world.first().await;
    world.upstream.remove(REPOSITORY, "v1");
    world.clock.advance(TTL);
    let stale = world.first().await;
    assert_eq!(
        (stale.outcome, stale.detail, stale.upstream),
        (Outcome::Stale, Some("not_found"), Some(StatusCode::NOT_FOUND))
    );
    world.clock.advance(STALE_FOR);
    assert_eq!(world.status().await, StatusCode::NOT_FOUND);
    assert_eq!(pull(&world.proxy, "never").await.expect_err("never was").answer().0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_refused_is_never_served_stale_also_not_later() {
    for status in [401, 403] {
        let world = World::with(TagPolicy { absent: AbsentTag::Stale, ..policy() }).await;
        world.first().await;
        world.clock.advance(TTL);
        world.upstream.on(TAG).fails(Fault::status(status));
        assert_eq!(world.status().await, StatusCode::FORBIDDEN);
        // The upstream goes away, and what it last said was no.
        world.upstream.heal();
        world.upstream.on(TAG).fails(Fault::status(502));
        assert_eq!(world.status().await, StatusCode::SERVICE_UNAVAILABLE, "after {status}");
        world.upstream.heal();
        assert_eq!(world.first().await.outcome, Outcome::Revalidated);
        world.clock.advance(TTL);
        world.upstream.on(TAG).fails(Fault::status(502));
        assert_eq!(world.first().await.outcome, Outcome::Stale);
    }
}

#[tokio::test]
async fn a_tag_moves_only_to_what_can_be_had() {
    let world = World::new().await;
    world.first().await;
    let second = world.moved();
    world.clock.advance(TTL);
    world.upstream.on(&format!("/v2/{REPOSITORY}/manifests/sha256:*")).fails(Fault::status(500));
    let stale = world.first().await;
    assert_eq!((stale.outcome, stale.detail), (Outcome::Stale, Some("unavailable")));
    world.clock.advance(LATER);
    assert_eq!(world.first().await.outcome, Outcome::Stale, "also for those who come later");
    world.upstream.heal();
    world.clock.advance(LATER);
    assert_eq!(world.pull().await.expect("there").manifest.digest, second.digest());
}

#[tokio::test]
async fn a_manifest_that_was_evicted_is_fetched_or_told_why_not() {
    let world = World::new().await;
    world.first().await;
    let evict = async || world.store.remove(&world.image.digest()).await.expect("removed");
    evict().await;
    let fetched = world.first().await;
    assert_eq!((fetched.outcome, fetched.forward), (Outcome::Miss, Some(Forward::UriMiss)));
    evict().await;
    world.upstream.on("*").fails(Fault::status(500));
    assert_eq!(world.status().await, StatusCode::SERVICE_UNAVAILABLE, "what the tag stands for is known, but not here");
    world.clock.advance(TTL);
    assert_eq!(world.status().await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_restart_with_nobody_to_ask_serves_what_there_is() {
    let World { upstream, store, clock, proxy, image } = World::new().await;
    pull(&proxy, "v1").await.expect("there");
    let address = upstream.url();
    drop((upstream, proxy));
    clock.advance(TTL);
    let restarted = proxy_of(&address, store, Arc::clone(&clock), policy());
    let stale = pull(&restarted, "v1").await.expect("stale");
    assert_eq!((stale.manifest.digest, stale.status.outcome), (image.digest(), Outcome::Stale));
    let exact = pull(&restarted, &image.digest().to_string()).await.expect("cached");
    assert_eq!((Digest::of(&exact.manifest.bytes), exact.status.outcome), (image.digest(), Outcome::Hit));
}

//! SIGKILL at any moment, again and again, on one cache directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use colocate::oci::Digest;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::chance::Chance;
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::http::{ACCEPT, Answer, Method, get, try_send};
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::stored::Stored;
use crate::support::tarball::noise;

const ROUNDS: u64 = 50;
const CLIENTS: usize = 6;
const REPOSITORY: &str = "acme/app";
/// Around the tail that is held back (64 KiB), and up to what takes the upstream a good part of a round.
const SIZES: [u64; 7] = [1, 5_000, 65_536, 65_537, 300_000, 1_000_003, 4_000_037];

#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_it_serves_and_stores_only_what_is_right() {
    let mut chance = Chance::new();
    let upstream = ScriptedUpstream::start().await;
    upstream.on("/v2/*/blobs/*").get().fails(Fault::Slow { chunk: 64 << 10, pause: Duration::from_millis(2) });
    let settings = Settings::new(&upstream.url()).set("tags.ttl", "100ms");
    // What a bundle is relocated to does not depend on who does it: this one is never killed.
    let calm = Colocate::start(settings.clone()).await;
    let mut colocate = Colocate::start(settings).await;
    let mut known = Known::default();
    for round in 0..ROUNDS {
        known.grow(round, &upstream, &calm, &mut chance).await;
        if chance.once_in(8) {
            // While it starts.
            colocate.kill();
            colocate.launch_again();
            tokio::time::sleep(Duration::from_millis(chance.within(0, 60))).await;
            colocate.kill();
        } else {
            kill_under_load(&mut colocate, &Arc::new(known.clone()), &mut chance).await;
        }
        Stored::audit(&colocate.cache());
        colocate.start_again().await;
    }
    // More than one at a time, so that downloads begun before are taken up by several.
    let url = colocate.url();
    tokio::join!(known.pull_all(&url), known.pull_all(&url), known.pull_all(&url));
    let everything = known.digests();
    eventually("all is stored and nothing is left over", Duration::from_secs(30), async || {
        let stored = Stored::audit(&colocate.cache());
        // A blob's repository is recorded a moment after its last byte was sent.
        let members = stored.records_of("members") >= everything.len();
        members && stored.partials.is_empty() && everything.is_subset(&stored.contents)
    })
    .await;
    colocate.kill();
    drop(upstream);
    colocate.start_again().await;
    known.pull_all(&url).await;
    Stored::audit(&colocate.cache());
}

async fn kill_under_load(colocate: &mut Colocate, known: &Arc<Known>, chance: &mut Chance) {
    let killed = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client {
            url: colocate.url(),
            known: Arc::clone(known),
            killed: Arc::clone(&killed),
            chance: chance.split(),
        })
        .map(|client| tokio::spawn(client.ask_until_it_is_gone()))
        .collect();
    tokio::time::sleep(Duration::from_millis(chance.within(0, 300))).await;
    killed.store(true, Ordering::SeqCst);
    colocate.kill();
    for client in clients {
        client.await.expect("a client that saw nothing wrong");
    }
}

/// All that the upstream has, and what has to come of it.
#[derive(Clone, Default)]
struct Known {
    blobs: Vec<Pattern>,
    /// Originals and relocated ones.
    manifests: BTreeMap<Digest, Bytes>,
    /// The digests of the originals.
    originals: BTreeSet<Digest>,
    /// What `latest` is or was relocated to.
    latest: Vec<Digest>,
    /// Configs and layers of relocated bundles.
    parts: BTreeMap<Digest, Bytes>,
}

impl Known {
    /// New blobs, and a bundle that the tag moves to.
    async fn grow(&mut self, round: u64, upstream: &ScriptedUpstream, calm: &Colocate, chance: &mut Chance) {
        for blob in 0..3 {
            let pattern = Pattern::new(round * 3 + blob, *chance.pick(&SIZES));
            upstream.put_pattern(REPOSITORY, &pattern);
            self.blobs.push(pattern);
        }
        let image = Bundle::image(&format!("round {round}"));
        let lock = lock_of(&[format!("registry.test/app@{}", image.digest())]);
        let bundle = BundleBuilder::with_lock(&lock).file("noise", noise(round, 300_000)).build();
        upstream.put(REPOSITORY, &image.layout(None));
        upstream.put(REPOSITORY, &bundle.layout(Some(&format!("v{round}"))));
        let pulled = calm.pull(REPOSITORY, &format!("v{round}")).await;
        assert_ne!(pulled.digest, bundle.digest(), "relocated");
        upstream.tag(REPOSITORY, "latest", &bundle.digest());
        for original in [&image, &bundle] {
            self.originals.insert(original.digest());
            self.manifests.insert(original.digest(), original.manifest.bytes.clone());
        }
        self.parts.insert(pulled.config_digest(), pulled.config.clone());
        self.parts.insert(pulled.layer_digest(), pulled.layer.clone());
        self.manifests.insert(pulled.digest, pulled.manifest);
        self.latest.push(pulled.digest);
    }

    /// What has to be in the store in the end; some blobs may be alike.
    fn digests(&self) -> BTreeSet<Digest> {
        self.blobs.iter().map(Pattern::digest).chain(self.originals.iter().copied()).collect()
    }

    /// Pulls everything to its end.
    async fn pull_all(&self, url: &str) {
        let base = format!("{url}/v2/{REPOSITORY}");
        self.check("manifests/latest", &get(&format!("{base}/manifests/latest")).await.expect(200));
        let manifests = self.manifests.keys().map(|digest| format!("manifests/{digest}"));
        for path in manifests.chain(self.parts.keys().map(|digest| format!("blobs/{digest}"))) {
            self.check(&path, &get(&format!("{base}/{path}")).await.expect(200));
        }
        for blob in &self.blobs {
            assert_eq!(Pull::of(url, REPOSITORY, blob).run().await, Ended::Whole, "{blob:?}");
        }
    }

    /// An answer is right, as far as it came. A tag may be behind; what it never was it must not be.
    fn check(&self, path: &str, answer: &Answer) {
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let digest = answer.digest();
        let right = match path {
            "manifests/latest" => self.latest.contains(&digest),
            _ => path.ends_with(&digest.to_string()),
        };
        assert!(right, "{path} is answered with {digest}");
        let bytes = self.manifests.get(&digest).or(self.parts.get(&digest)).expect("known");
        assert!(bytes.starts_with(&answer.body), "wrong bytes of {path}");
        assert!(answer.broken.is_some() || answer.body.len() == bytes.len(), "a clean end of {path} too early");
    }
}

/// Asks for this and that.
struct Client {
    url: String,
    known: Arc<Known>,
    killed: Arc<AtomicBool>,
    chance: Chance,
}

impl Client {
    async fn ask_until_it_is_gone(mut self) {
        while self.ask().await {}
        assert!(self.killed.load(Ordering::SeqCst), "it broke before it was killed");
    }

    /// One request; whether it was answered to its end.
    async fn ask(&mut self) -> bool {
        let known = Arc::clone(&self.known);
        let path = match self.chance.within(0, 10) {
            0..6 => return self.pull().await,
            6 => "manifests/latest".to_owned(),
            7 => format!("blobs/{}", self.chance.pick(&Vec::from_iter(known.parts.keys()))),
            _ => format!("manifests/{}", self.chance.pick(&Vec::from_iter(known.manifests.keys()))),
        };
        let url = format!("{}/v2/{REPOSITORY}/{path}", self.url);
        let Ok(answer) = try_send(Method::GET, &url, &[("accept", ACCEPT)], "").await else { return false };
        known.check(&path, &answer);
        answer.broken.is_none()
    }

    /// Mostly the latest blobs, which are not stored yet.
    async fn pull(&mut self) -> bool {
        let blobs = &self.known.blobs;
        let recent = if self.chance.once_in(4) { blobs } else { &blobs[blobs.len() - 3..] };
        let blob = *self.chance.pick(recent);
        let mut pull = Pull::of(&self.url, REPOSITORY, &blob);
        if self.chance.once_in(3) {
            let start = self.chance.within(0, blob.size());
            pull = pull.range(start..self.chance.within(start, blob.size()) + 1);
        }
        if self.chance.once_in(4) {
            pull = pull.leaves_after(self.chance.within(0, blob.size()));
        }
        match pull.run().await {
            Ended::Whole | Ended::Left => true,
            Ended::Broken(_) | Ended::Unreachable => false,
            Ended::Status(status) => panic!("{status} for {blob:?}"),
        }
    }
}

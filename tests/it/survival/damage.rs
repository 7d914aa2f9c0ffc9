//! Every kind of file in the cache directory, ruined in every way while the program was down.
//!
//! What the store does about single files is tested where it stands, in `cache/durable.rs`. Here the program starts on
//! the damage and is asked for what the file was for: it gives the right answer, or says what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use colocate::oci::Digest;
use tempfile::TempDir;

use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::colocate::{Colocate, Settings};
use crate::support::pattern::Pattern;
use crate::support::process::succeed;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::{Fault, ScriptedUpstream};
use crate::support::stored::{Stored, files};
use crate::support::{eventually, require, require_root};

const REPOSITORY: &str = "acme/app";
const TAG: &str = "v1";

/// What a file is ruined by.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 4] = [
    ("delete", |path| fs::remove_file(path).expect("removable")),
    ("truncate", |path| {
        let bytes = fs::read(path).expect("readable");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("writable");
    }),
    ("flip", |path| {
        let mut bytes = fs::read(path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(path, bytes).expect("writable");
    }),
    ("replace by a directory", |path| {
        fs::remove_file(path).expect("removable");
        fs::create_dir_all(path.join("deep")).expect("creatable");
        fs::write(path.join("deep/file"), "x").expect("writable");
    }),
];

const WRONG_OWNER: Damage = ("wrong owner", |path| {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
    // Nobody, as Debian numbers it.
    chown(path, Some(65_534), Some(65_534)).expect("an owner");
});

/// Takes from root what lets it read the files of others, so that it is a user like any other.
const AS_A_USER: [&str; 4] = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner", "--"];

/// An upstream, and the cache directory of a program that was killed in the middle of a download.
struct World {
    upstream: ScriptedUpstream,
    small: Pattern,
    large: Pattern,
    unfinished: Pattern,
    relocated: (Digest, Bytes),
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let upstream = ScriptedUpstream::start().await;
        let [small, large, unfinished] = [5_000, 1_000_003, 4_000_037].map(|size| Pattern::new(size, size));
        for blob in [&small, &large, &unfinished] {
            upstream.put_pattern(REPOSITORY, blob);
        }
        let image = Bundle::image("an image");
        let bundle = BundleBuilder::with_lock(&lock_of(&[format!("registry.test/app@{}", image.digest())])).build();
        upstream.put(REPOSITORY, &image.layout(None));
        upstream.put(REPOSITORY, &bundle.layout(Some(TAG)));

        let directory = TempDir::new().expect("a directory");
        let base = directory.path().join("base");
        let settings = Settings::new(&upstream.url()).set("cache.dir", base.to_string_lossy().as_ref());
        let mut colocate = Colocate::start(settings).await;
        let pulled = colocate.pull(REPOSITORY, TAG).await;
        for blob in [&small, &large] {
            assert_eq!(Pull::of(&colocate.url(), REPOSITORY, blob).run().await, Ended::Whole);
        }
        upstream.on(&format!("*/{}", unfinished.digest())).get().fails(Fault::StallAt(3 << 20));
        let left = Pull::of(&colocate.url(), REPOSITORY, &unfinished).leaves_after(1 << 20).run().await;
        assert_eq!(left, Ended::Left);
        eventually("all is stored but what never ends", Duration::from_secs(20), async || {
            let stored = Stored::audit(&base);
            let members = stored.records.iter().any(|path| names(path, &large.digest()));
            members && stored.contents.contains(&large.digest()) && !stored.partials.is_empty()
        })
        .await;
        colocate.kill();
        upstream.heal();
        Self { upstream, small, large, unfinished, relocated: (pulled.digest, pulled.manifest), directory }
    }

    /// A copy of the cache directory, as the kill left it.
    async fn copy(&self, name: &str) -> PathBuf {
        let copy = self.directory.path().join(name);
        let base = self.directory.path().join("base");
        succeed("cp", &["-a", &base.to_string_lossy(), &copy.to_string_lossy()]).await;
        copy
    }

    /// The program on this directory.
    fn launch(&self, cache: &Path, damage: &str) -> Colocate {
        let settings = Settings::new(&self.upstream.url()).set("cache.dir", cache.to_string_lossy().as_ref());
        let wrapper = if damage == WRONG_OWNER.0 { &AS_A_USER[..] } else { &[] };
        Colocate::launch(wrapper, settings)
    }
}

fn names(path: &Path, digest: &Digest) -> bool {
    path.to_string_lossy().contains(&digest.hex())
}

/// A kind of file.
#[derive(Clone, Copy, Debug)]
enum Kind {
    SmallBlob,
    LargeBlob,
    Partial,
    Tag,
    Relocation,
    Member,
}

impl Kind {
    const ALL: [Self; 6] = [Self::SmallBlob, Self::LargeBlob, Self::Partial, Self::Tag, Self::Relocation, Self::Member];

    /// The files of this kind.
    fn files(self, world: &World, cache: &Path) -> Vec<PathBuf> {
        let below = |directory: &str, digest: Option<Digest>| {
            let mut files = files(&cache.join(directory));
            files.retain(|path| digest.is_none_or(|digest| names(path, &digest)));
            files
        };
        match self {
            Self::SmallBlob => below("blobs", Some(world.small.digest())),
            Self::LargeBlob => below("blobs", Some(world.large.digest())),
            Self::Partial => below("partial", None),
            Self::Tag => below("records/tags", None),
            Self::Relocation => below("records/relocations", None),
            Self::Member => below("records/members", Some(world.large.digest())),
        }
    }

    /// Asks for what the file was for; gives what the upstream has to have been asked for then.
    async fn ask(self, world: &World, colocate: &Colocate) -> String {
        let blob = match self {
            Self::SmallBlob => &world.small,
            Self::LargeBlob | Self::Member => &world.large,
            Self::Partial => &world.unfinished,
            Self::Tag | Self::Relocation => {
                let (digest, bytes) = &world.relocated;
                let by_digest = digest.to_string();
                let reference = if matches!(self, Self::Tag) { TAG } else { &by_digest };
                let answer = colocate.manifest(REPOSITORY, reference).await.expect(200);
                assert_eq!((answer.digest(), &answer.body), (*digest, bytes));
                return "*/manifests/*".to_owned();
            }
        };
        let pull = || Pull::of(&colocate.url(), REPOSITORY, blob);
        // What shows only when all of it is read may break the first answer, which then never ends cleanly.
        if pull().trustingly().run().await != Ended::Whole {
            assert_eq!(pull().run().await, Ended::Whole);
        }
        format!("*/blobs/{}", blob.digest())
    }
}

fn damages() -> Vec<Damage> {
    let mut damages = DAMAGES.to_vec();
    if require_root() && require(&["setpriv"]) {
        damages.push(WRONG_OWNER);
    }
    damages
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_heals_from_every_kind_of_damage() {
    let world = World::new().await;
    for (damage, ruin) in damages() {
        for kind in Kind::ALL {
            let what = format!("{damage}, {kind:?}");
            let cache = world.copy(&what).await;
            let ruined = kind.files(&world, &cache);
            assert!(!ruined.is_empty(), "{what}: there is such a file");
            ruined.iter().for_each(|path| ruin(path));
            world.upstream.forget();
            let mut colocate = world.launch(&cache, damage);
            colocate.ready().await;
            let asked = kind.ask(&world, &colocate).await;
            assert!(world.upstream.count("", &asked) > 0, "{what}: the upstream was not asked");
            let is_partial = matches!(kind, Kind::Partial);
            eventually(&format!("{what}: healed"), Duration::from_secs(20), async || {
                let healed = is_partial || kind.files(&world, &cache) == ruined;
                healed && (!is_partial || files(&cache.join("partial")).is_empty())
            })
            .await;
            Stored::audit(&cache);
            // And it stays so, also without the upstream's help.
            colocate.stop().await;
            colocate.start_again().await;
            world.upstream.forget();
            kind.ask(&world, &colocate).await;
            assert_eq!(world.upstream.count("GET", &asked), 0, "{what}: it is served from the cache again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stamp_is_an_error_that_says_what_to_do() {
    let world = World::new().await;
    for (damage, ruin) in damages() {
        let cache = world.copy(damage).await;
        ruin(&cache.join("version"));
        let before = files(&cache);
        let ended = world.launch(&cache, damage).ended().await;
        assert_eq!(ended.status.code(), Some(1), "{damage}: {ended:?}");
        let said = |text: &str| ended.stderr.contains(text);
        assert!(said(&cache.to_string_lossy()) && said("`version`"), "{damage} names the file: {ended:?}");
        assert!(said("empty") || said("must belong to"), "{damage} has a remedy: {ended:?}");
        assert_eq!(files(&cache), before, "{damage}: nothing was touched");
    }
}

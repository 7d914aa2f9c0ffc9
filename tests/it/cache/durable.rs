//! What survives a restart, and what damage does.

use super::*;

#[tokio::test(start_paused = true)]
async fn everything_committed_survives_a_restart() {
    for bench in Bench::both() {
        let (small, large) = (sample(100), sample(LARGE));
        let key = RecordKey::new(["tags", "acme/app", "V1.0"]);
        bench.cache.put(&Digest::of(&small), small.clone()).await.unwrap();
        let reader = bench.cache.fill(&Digest::of(&large), None, Scripted::whole(&large, 9_999)).await.unwrap();
        reader.complete().await.unwrap();
        bench.cache.put_record(&key, "value").await.unwrap();
        drop(reader);
        let bench = bench.restart().await;
        for bytes in [small, large] {
            let reader = bench.cache.content(&Digest::of(&bytes)).await.unwrap();
            assert!(reader.is_complete());
            assert_eq!(read_all(&reader).await.unwrap(), bytes);
        }
        assert_eq!(bench.cache.get::<String>(&key).await.unwrap().as_deref(), Some("value"));
    }
}

#[tokio::test(start_paused = true)]
async fn records() {
    for bench in Bench::both() {
        let cache = &bench.cache;
        let tag = |repository: &str, tag: &str| RecordKey::new(["tags", repository, tag]);
        let hostile = ["", ".", "..", "../../escape", "a\0b", "CON", "a/b", "é", "%2e", &"x".repeat(300)];
        for (number, name) in hostile.iter().enumerate() {
            cache.put_record(&tag("acme/app", name), &number).await.unwrap();
        }
        // A key that another one goes on from, and names that some file systems take for the same.
        cache.put_record(&RecordKey::new(["tags", "acme/app"]), &100).await.unwrap();
        cache.put_record(&tag("acme/app", "v1"), &101).await.unwrap();
        cache.put_record(&tag("acme/app", "V1"), &102).await.unwrap();
        cache.put_record(&tag("acme/app2", "v1"), &103).await.unwrap();
        let bench = bench.restart().await;
        let cache = &bench.cache;
        for (number, name) in hostile.iter().enumerate() {
            assert_eq!(cache.get::<usize>(&tag("acme/app", name)).await.unwrap(), Some(number), "{name:?}");
        }
        let mut expected: Vec<_> = hostile.iter().chain(&["v1", "V1"]).map(|name| tag("acme/app", name)).collect();
        expected.sort();
        assert_eq!(cache.list(&RecordKey::new(["tags", "acme/app"])).await.unwrap(), expected);
        assert_eq!(cache.list(&RecordKey::new(["tags"])).await.unwrap().len(), expected.len() + 2);
        assert_eq!(cache.list(&RecordKey::new(["none"])).await.unwrap(), []);
        cache.delete(&tag("acme/app", "v1")).await.unwrap();
        cache.delete(&tag("acme/app", "v1")).await.unwrap();
        assert_eq!(cache.get::<usize>(&tag("acme/app", "v1")).await.unwrap(), None);
        assert_eq!(cache.get::<usize>(&tag("acme/app", "V1")).await.unwrap(), Some(102));
        cache.put_record(&tag("acme/app", "V1"), &7).await.unwrap();
        assert_eq!(cache.get::<usize>(&tag("acme/app", "V1")).await.unwrap(), Some(7));
        let nowhere = cache.put_record(&RecordKey::new([""; 0]), &1).await.unwrap_err();
        assert_eq!(nowhere.kind(), io::ErrorKind::InvalidInput);
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_shape_is_removed_and_absent() {
    for bench in Bench::both() {
        let key = RecordKey::new(["tags", "acme/app", "v1"]);
        for garbage in ["", "{", "\"text\""] {
            bench.store.put_record(&key, Bytes::from_static(garbage.as_bytes())).await.unwrap();
            let cache = over(Arc::clone(&bench.store));
            assert_eq!(cache.get::<u64>(&key).await.unwrap(), None);
            assert_eq!(bench.store.record(&key).await.unwrap(), None);
            cache.put_record(&key, &5).await.unwrap();
            assert_eq!(cache.get::<u64>(&key).await.unwrap(), Some(5));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn members_are_per_repository() {
    for bench in Bench::both() {
        let (ours, theirs): (Repository, Repository) = ("a.b/acme/app".parse().unwrap(), "a.b/acme".parse().unwrap());
        let digest = Digest::of(b"x");
        let typed = Member { media_type: Some("text/plain".to_owned()), size: 1 };
        let bare = Member { media_type: None, size: 1 };
        bench.cache.put(&digest, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(bench.cache.member(&ours, &digest).await.unwrap(), None);
        bench.cache.add_member(&ours, &digest, bare.clone()).await.unwrap();
        assert_eq!(bench.cache.member(&ours, &digest).await.unwrap(), Some(bare.clone()));
        bench.cache.add_member(&ours, &digest, typed.clone()).await.unwrap();
        bench.cache.add_member(&ours, &digest, bare).await.unwrap();
        let bench = bench.restart().await;
        assert_eq!(bench.cache.member(&ours, &digest).await.unwrap(), Some(typed));
        assert_eq!(bench.cache.member(&theirs, &digest).await.unwrap(), None);
        bench.cache.remove_member(&ours, &digest).await.unwrap();
        assert_eq!(bench.cache.member(&ours, &digest).await.unwrap(), None);
    }
}

#[test]
fn a_directory_has_one_user_and_says_whose_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/cache");
    let first = LocalStore::open(&path).unwrap();
    let clone = first.clone();
    drop(first);
    let second = LocalStore::open(&path).map(drop).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }));
    assert!(second.to_string().contains("in use by another colocate"), "{second}");
    drop(clone);
    drop(LocalStore::open(&path).unwrap());

    for stamp in ["colocate cache 2\n", "", "\0\0\0"] {
        fs::write(path.join("version"), stamp).unwrap();
        assert!(matches!(LocalStore::open(&path), Err(OpenError::Version { .. })), "{stamp:?}");
    }
    fs::remove_file(path.join("version")).unwrap();
    assert!(matches!(LocalStore::open(&path), Err(OpenError::NotACache { .. })));

    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("partial")).unwrap();
    fs::write(home.path().join("partial/precious"), "text").unwrap();
    assert!(matches!(LocalStore::open(home.path()), Err(OpenError::NotACache { .. })));
    assert_eq!(files(home.path()).len(), 1, "not touched");

    let file = home.path().join("partial/precious");
    assert!(matches!(LocalStore::open(file), Err(OpenError::Io { .. })));
    // A crash between the first steps of making one.
    let young = tempfile::tempdir().unwrap();
    fs::write(young.path().join("lock"), "").unwrap();
    fs::write(young.path().join("version.new"), "colo").unwrap();
    fs::create_dir(young.path().join("lost+found")).unwrap();
    assert!(LocalStore::open(young.path()).is_ok());
}

type Damage = fn(&Path);

/// Ways to ruin a file.
const DAMAGES: [(&str, Damage); 8] = [
    ("delete", |path| fs::remove_file(path).unwrap()),
    ("truncate to half", |path| truncate(path, |len| len / 2)),
    ("truncate by a byte", |path| truncate(path, |len| len - 1)),
    ("truncate to nothing", |path| truncate(path, |_| 0)),
    ("flip", |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(path, bytes).unwrap();
    }),
    ("append", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes.push(b'x');
        fs::write(path, bytes).unwrap();
    }),
    ("replace by a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir_all(path.join("deep")).unwrap();
        fs::write(path.join("deep/file"), "x").unwrap();
    }),
    ("replace by a link to itself", |path| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(path, path).unwrap();
    }),
];

#[tokio::test(start_paused = true)]
async fn damaged_files_are_a_miss_and_a_repair() {
    let (small, large) = (sample(5_000), sample(LARGE));
    let key = RecordKey::new(["tags", "acme/app", "v1"]);
    for (name, damage) in DAMAGES {
        let bench = Bench::local();
        for bytes in [&small, &large] {
            bench.cache.put(&Digest::of(bytes), bytes.clone()).await.unwrap();
        }
        bench.cache.put_record(&key, "a value long enough to have a middle").await.unwrap();
        let bench = bench.restart().await;
        for bytes in [&small, &large] {
            damage(&blob_path(bench.path(), &Digest::of(bytes)));
        }
        damage(&bench.path().join("records/tags/acme%2fapp/v1.record"));

        assert_eq!(bench.cache.get::<String>(&key).await.unwrap(), None, "{name}");
        bench.cache.put_record(&key, "new").await.unwrap();
        for bytes in [&small, &large] {
            let digest = Digest::of(bytes);
            assert!(bench.cache.load(&digest, 1 << 20).await.is_none(), "{name}");
            assert!(!blob_path(bench.path(), &digest).exists(), "{name}");
            let reader = bench.cache.fill(&digest, None, Scripted::whole(bytes, 99_999)).await.unwrap();
            assert_eq!(read_all(&reader).await.unwrap(), bytes);
            reader.complete().await.unwrap();
        }
        let bench = bench.restart().await;
        for bytes in [&small, &large] {
            assert_eq!(bench.cache.load(&Digest::of(bytes), 1 << 20).await.as_ref(), Some(bytes), "{name}");
        }
        assert_eq!(bench.cache.get::<String>(&key).await.unwrap().as_deref(), Some("new"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ways_to_a_file_are_repaired_too() {
    let bench = Bench::local();
    let bytes = sample(5_000);
    let digest = Digest::of(&bytes);
    fs::write(bench.path().join("blobs/sha256"), "a file").unwrap();
    fs::write(bench.path().join("records/tags"), "a file").unwrap();
    fs::remove_dir(bench.path().join("partial")).unwrap();
    assert!(bench.cache.content(&digest).await.is_none());
    bench.cache.put(&digest, bytes.clone()).await.unwrap();
    let key = RecordKey::new(["tags", "acme/app", "v1"]);
    assert_eq!(bench.cache.get::<u8>(&key).await.unwrap(), None);
    assert_eq!(bench.cache.list(&RecordKey::new(["tags"])).await.unwrap(), []);
    bench.cache.put_record(&key, &1).await.unwrap();
    // A directory where a file is about to be put.
    let other = sample(6_000);
    fs::create_dir_all(blob_path(bench.path(), &Digest::of(&other)).join("x")).unwrap();
    bench.cache.put(&Digest::of(&other), other.clone()).await.unwrap();
    let bench = bench.restart().await;
    assert_eq!(bench.cache.load(&digest, 5_000).await.unwrap(), bytes);
    assert_eq!(bench.cache.load(&Digest::of(&other), 6_000).await.unwrap(), other);
    assert_eq!(bench.cache.get::<u8>(&key).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn discarding_damage_spares_the_repair() {
    for bench in Bench::both() {
        let bytes = sample(5_000);
        let digest = Digest::of(&bytes);
        bench.cache.put(&digest, bytes.clone()).await.unwrap();
        let old: Arc<dyn Content> = bench.store.content(&digest).await.unwrap().unwrap();
        bench.store.remove(&digest).await.unwrap();
        over(Arc::clone(&bench.store)).put(&digest, bytes.clone()).await.unwrap();
        old.discard().await.unwrap();
        let new = bench.store.content(&digest).await.unwrap().unwrap();
        assert_eq!(old.read_at(4_000, 9_999).await.unwrap(), bytes[4_000..], "still readable");
        new.discard().await.unwrap();
        assert!(bench.store.content(&digest).await.unwrap().is_none());
    }
}

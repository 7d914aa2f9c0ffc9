//! Damage that happened while nobody looked.

use super::*;

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 1;
    fs::write(path, content).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_damaged_is_found_by_the_first_read_and_fetched_again() {
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    let bench = Bench::local();
    bench.cache.put(&digest, bytes.clone()).await.unwrap();
    for range in [0..LARGE as u64, 5..70_005] {
        flip(&blob_path(bench.path(), &digest), 100);
        let cache = over(Arc::clone(&bench.store));
        let reader = cache.content(&digest).await.unwrap();
        let err = collect(reader.body(range)).await.unwrap_err();
        assert!(matches!(find_source(&*err), Some(ReadError::Store(_))), "{err:?}");
        assert!(reader.verified().await.is_err());
        assert!(cache.content(&digest).await.is_none());
        let again = cache.fill(&digest, None, Scripted::whole(&bytes, LARGE)).await.unwrap();
        assert_eq!(read_all(&again).await.unwrap(), bytes);
        again.complete().await.unwrap();
    }
    let cache = over(Arc::clone(&bench.store));
    let reader = cache.content(&digest).await.unwrap();
    assert_eq!(read_all(&reader).await.unwrap(), bytes);
    assert!(cache.entries()[0].verified);
}

#[tokio::test(start_paused = true)]
async fn content_is_hashed_once_after_a_start_however_many_read_it() {
    let reads = Arc::new(AtomicUsize::new(0));
    let faults = {
        let reads = Arc::clone(&reads);
        Arc::new(move |operation: &Operation| {
            reads.fetch_add(usize::from(matches!(operation, Operation::Read(_, 0))), Ordering::SeqCst);
            Ok(())
        })
    };
    let store = MemoryStore::with_faults(faults);
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    over(Arc::new(store.clone())).put(&digest, bytes.clone()).await.unwrap();
    let cache = over(Arc::new(store));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { read_all(&cache.content(&digest).await.unwrap()).await.unwrap() })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), bytes);
    }
    read_all(&cache.content(&digest).await.unwrap()).await.unwrap();
    assert_eq!(reads.load(Ordering::SeqCst), 9 + 1);
}

#[tokio::test(start_paused = true)]
async fn the_scrub_finds_damage_that_nobody_reads() {
    let hour = Duration::from_secs(3600);
    let limits = CacheLimits { scrub: Some(hour), ..CacheLimits::default() };
    let bench = Bench::local();
    let cache = Cache::new(Arc::clone(&bench.store), Arc::new(SystemClock), limits, Metrics::new());
    let contents: Vec<Bytes> = [10, 100_000, LARGE].map(sample).into();
    for bytes in &contents {
        cache.put(&Digest::of(bytes), bytes.clone()).await.unwrap();
    }
    flip(&blob_path(bench.path(), &Digest::of(&contents[2])), 9);
    let upkeep = tokio::spawn(cache.upkeep());
    let there = |cache: &Cache| {
        let mut sizes: Vec<_> = cache.entries().iter().map(|entry| entry.size as usize).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(there(&cache), [10, 100_000, LARGE]);
    tokio::time::sleep(hour + Duration::from_secs(1)).await;
    eventually(|| (there(&cache) == [10, 100_000]).then_some(())).await;
    assert!(!blob_path(bench.path(), &Digest::of(&contents[2])).exists());
    drop(cache);
    upkeep.await.unwrap();
}

//! Fills and who follows them.

use super::*;

#[tokio::test(start_paused = true)]
async fn any_number_of_readers_share_one_download() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let (source, script) = Scripted::new(Some(LARGE as u64));
        let readers: Vec<_> = (0..32)
            .map(|number| {
                let (cache, source) = (bench.cache.clone(), Arc::clone(&source));
                tokio::spawn(async move {
                    let reader = cache.fill(&digest, None, source).await.unwrap();
                    if number % 4 == 3 {
                        // One who leaves in the middle of the body.
                        let mut body = reader.body(0..reader.size());
                        body.frame().await.unwrap().unwrap();
                        return (reader.lookup(), None);
                    }
                    (reader.lookup(), Some(read_all(&reader).await.unwrap()))
                })
            })
            .collect();
        for chunk in bytes.chunks(70_001) {
            script.send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
            tokio::task::yield_now().await;
        }
        drop(script);
        let mut misses = 0;
        for reader in readers {
            let (lookup, body) = reader.await.unwrap();
            misses += usize::from(lookup == Lookup::Miss);
            assert!(body.is_none_or(|body| body == bytes));
        }
        assert_eq!((misses, source.opened()), (1, 1));
        let late = bench.cache.fill(&digest, None, source.clone()).await.unwrap();
        assert_eq!(read_all(&late).await.unwrap(), bytes);
        assert_eq!(source.opened(), 1);
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_goes_on_when_everybody_left() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let (source, script) = Scripted::new(Some(LARGE as u64));
        let request = {
            let (cache, source) = (bench.cache.clone(), source.clone());
            tokio::spawn(async move { cache.fill(&digest, None, source).await.map(drop) })
        };
        script.send(Ok(bytes.slice(..100_000))).unwrap();
        request.await.unwrap().unwrap();
        let left = bench.cache.fill(&digest, None, source.clone()).await.unwrap();
        assert!(!left.is_complete());
        drop(left);
        script.send(Ok(bytes.slice(100_000..))).unwrap();
        drop(script);
        let follower = bench.cache.fill(&digest, None, source.clone()).await.unwrap();
        follower.complete().await.unwrap();
        assert!(follower.is_complete());
        assert_eq!(read_all(&bench.cache.content(&digest).await.unwrap()).await.unwrap(), bytes);
        assert_eq!(source.opened(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_tail_waits_for_the_verification() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let (source, script) = Scripted::new(Some(LARGE as u64));
        script.send(Ok(bytes.slice(..LARGE - 1))).unwrap();
        let reader = bench.cache.fill(&digest, None, source).await.unwrap();
        let held = LARGE - TAIL_BYTES as usize;

        let mut whole = reader.body(0..reader.size());
        assert_eq!(whole.size_hint().exact(), Some(LARGE as u64));
        let mut got = until_it_stalls(&mut whole).await;
        assert_eq!(got, bytes[..held]);
        assert_eq!(whole.size_hint().exact(), Some(TAIL_BYTES));
        // A part has its own end, which must not come before the verification either.
        let mut part = reader.body(1_000..201_000);
        assert_eq!(until_it_stalls(&mut part).await, bytes[1_000..201_000 - TAIL_BYTES as usize]);
        let mut small = reader.body(5..6);
        assert_eq!(until_it_stalls(&mut small).await, b"");
        assert_eq!(reader.read_at(held as u64 - 3, 10).await.unwrap(), bytes[held - 3..held]);
        assert!(timeout(Duration::from_secs(1), reader.read_at(held as u64, 1)).await.is_err());
        assert!(timeout(Duration::from_secs(1), reader.verified()).await.is_err());

        script.send(Ok(bytes.slice(LARGE - 1..))).unwrap();
        drop(script);
        reader.verified().await.unwrap();
        got.extend_from_slice(&collect(whole).await.unwrap());
        assert_eq!(got, bytes);
        assert_eq!(collect(part).await.unwrap(), bytes[201_000 - TAIL_BYTES as usize..201_000]);
        assert_eq!(collect(small).await.unwrap(), bytes[5..6]);
        assert_eq!(reader.read_at(LARGE as u64, 1).await.unwrap(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_are_cut_to_what_there_is() {
    for bench in Bench::both() {
        let (large, small) = (sample(LARGE), sample(100));
        for bytes in [large, small] {
            let digest = Digest::of(&bytes);
            let size = bytes.len() as u64;
            let source = Scripted::whole(&bytes, 7_777);
            let filling = bench.cache.fill(&digest, Some(size), source.clone()).await.unwrap();
            filling.complete().await.unwrap();
            let committed = bench.cache.content(&digest).await.unwrap();
            for reader in [filling, committed] {
                for (range, is) in [
                    (0..size, 0..size),
                    (size - 7..size + 7, size - 7..size),
                    (size + 1..size + 9, size..size),
                    (9..9, 9..9),
                    (3..u64::MAX, 3..size),
                ] {
                    let body = reader.body(range);
                    assert_eq!(body.size_hint().exact(), Some(is.end - is.start));
                    assert_eq!(collect(body).await.unwrap(), bytes[is.start as usize..is.end as usize]);
                }
                assert_eq!(reader.read_at(size + 5, 1).await.unwrap(), "");
                assert_eq!(reader.read_at(u64::MAX, 1).await.unwrap(), "");
                assert_eq!(reader.read_at(0, 0).await.unwrap(), "");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_joined_a_fill_that_failed_elsewhere_tries_its_own_source() {
    let [_, bench] = Bench::both();
    let bytes = sample(300);
    let digest = Digest::of(&bytes);
    let (failing, script) = Scripted::new(Some(300));
    let first = tokio::spawn({
        let (cache, failing) = (bench.cache.clone(), failing.clone());
        async move { cache.fill(&digest, None, failing).await.map(drop) }
    });
    eventually(|| (failing.opened() == 1).then_some(())).await;
    let (elsewhere, pieces) = Scripted::new(Some(300));
    pieces.send(Ok(bytes.clone())).unwrap();
    drop(pieces);
    let elsewhere = Arc::into_inner(elsewhere).unwrap();
    let elsewhere = Arc::new(Scripted { origin: "elsewhere", ..elsewhere });
    let fill = |source: Arc<Scripted>| {
        let cache = bench.cache.clone();
        tokio::spawn(async move { cache.fill(&digest, None, source).await })
    };
    let (same, other) = (fill(failing.clone()), fill(elsewhere.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(elsewhere.opened(), 0);
    script.send(Ok(sample(301))).unwrap();
    assert!(first.await.unwrap().is_err());
    assert!(same.await.unwrap().is_err(), "the same origin is not asked again");
    assert_eq!(read_all(&other.await.unwrap().unwrap()).await.unwrap(), bytes);
    assert_eq!((failing.opened(), elsewhere.opened()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn empty_content_and_content_of_unknown_length() {
    for bench in Bench::both() {
        for len in [0, 1, 70_000, LARGE] {
            let bytes = sample(len);
            let digest = Digest::of(&bytes);
            let (source, script) = Scripted::new(None);
            script.send(Ok(bytes.clone())).unwrap();
            drop(script);
            let reader = bench.cache.fill(&digest, None, source).await.unwrap();
            assert_eq!(reader.size(), len as u64);
            assert_eq!(reader.body(0..len as u64).is_end_stream(), len == 0);
            assert_eq!(read_all(&reader).await.unwrap(), bytes);
            reader.complete().await.unwrap();
            let committed = bench.cache.content(&digest).await.unwrap();
            assert_eq!(read_all(&committed).await.unwrap(), bytes);
        }
        let reader = bench.cache.fill(&Digest::of(b""), Some(0), Scripted::whole(&Bytes::new(), 1)).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn sha512_content() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(&bytes);
        let digest = hasher.finish();
        let reader = bench.cache.fill(&digest, None, Scripted::whole(&bytes, 100_000)).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), bytes);
        reader.complete().await.unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"small");
        let small = hasher.finish();
        bench.cache.put(&small, Bytes::from_static(b"small")).await.unwrap();
        drop(reader);
        let bench = bench.restart().await;
        assert_eq!(bench.cache.load(&small, 5).await.unwrap(), "small");
        assert_eq!(read_all(&bench.cache.content(&digest).await.unwrap()).await.unwrap(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn fills_wait_for_their_turn() {
    let memory = MemoryStore::default();
    let limits = CacheLimits { concurrent_fills: 2, ..CacheLimits::default() };
    let cache = Cache::new(Arc::new(memory), Arc::new(SystemClock), limits, Metrics::new());
    let mut running = Vec::new();
    for number in 0..5_u8 {
        let (source, script) = Scripted::new(Some(1));
        let (cache, fill) = (cache.clone(), source.clone());
        let task = tokio::spawn(async move { cache.fill(&Digest::of(&[number]), None, fill).await.map(drop) });
        running.push((number, source, script, task));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.iter().map(|(_, source, ..)| source.opened()).sum::<usize>(), 2);
    for (number, _, script, task) in running {
        script.send(Ok(Bytes::from(vec![number]))).unwrap();
        drop(script);
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn put_keeps_only_what_is_true() {
    for bench in Bench::both() {
        let (small, large) = (sample(100), sample(LARGE));
        for bytes in [small, large] {
            let digest = Digest::of(&bytes);
            let lie = bench.cache.put(&digest, Bytes::from_static(b"other")).await.unwrap_err();
            assert_eq!(lie.kind(), io::ErrorKind::InvalidData);
            assert!(bench.cache.content(&digest).await.is_none());
            bench.cache.put(&digest, bytes.clone()).await.unwrap();
            bench.cache.put(&digest, bytes.clone()).await.unwrap();
            assert_eq!(bench.cache.load(&digest, bytes.len()).await.unwrap(), bytes);
            assert!(bench.cache.load(&digest, bytes.len() - 1).await.is_none());
            bench.cache.remove(&digest).await.unwrap();
            assert!(bench.cache.content(&digest).await.is_none());
            bench.cache.remove(&digest).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn small_content_is_served_from_memory() {
    let reads = Arc::new(AtomicUsize::new(0));
    let faults = {
        let reads = Arc::clone(&reads);
        Arc::new(move |_: &Operation| {
            reads.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    };
    let store = MemoryStore::with_faults(faults);
    let (digest, key) = (Digest::of(b"small"), RecordKey::new(["a"]));
    over(Arc::new(store.clone())).put(&digest, Bytes::from_static(b"small")).await.unwrap();
    let cache = over(Arc::new(store));
    cache.content(&digest).await.unwrap();
    cache.put_record(&key, &1).await.unwrap();
    let before = reads.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(read_all(&cache.content(&digest).await.unwrap()).await.unwrap(), "small");
        assert_eq!(cache.get::<u8>(&key).await.unwrap(), Some(1));
        cache.put_record(&key, &1).await.unwrap();
    }
    assert_eq!(reads.load(Ordering::SeqCst), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_few_blobs_opens_each_source_once() {
    let bench = Bench::local();
    let blobs: Vec<Bytes> = (0..6).map(|number| sample(number * 150_001)).collect();
    let sources: Vec<_> = blobs.iter().map(|bytes| Scripted::whole(bytes, 10_007)).collect();
    let gate = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..120)
        .map(|number| {
            let (cache, gate) = (bench.cache.clone(), gate.clone());
            let (bytes, source) = (blobs[number % 6].clone(), sources[number % 6].clone());
            tokio::spawn(async move {
                let _ = gate.acquire().await;
                let reader = cache.fill(&Digest::of(&bytes), None, source).await.unwrap();
                let from = (number as u64 * 997).min(reader.size());
                assert_eq!(collect(reader.body(from..u64::MAX)).await.unwrap(), bytes[from as usize..]);
            })
        })
        .collect();
    gate.close();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(sources.iter().all(|source| source.opened() == 1));
    bench.assert_no_partials().await;
}

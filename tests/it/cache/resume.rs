//! Downloads that break off, and go on.

use super::flaky::{Act, Flaky};
use super::*;
use colocate::cache::FinishAbandoned;

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_ten_times_is_one_body() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let cuts = [1, 70_000, 3, 65_536, 200_000, 0, 1, 99_999, 250_000, 12];
        let source = Flaky::new(&bytes, cuts.map(Act::Cut));
        let reader = bench.cache.fill(&Digest::of(&bytes), None, source.clone()).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), bytes);
        let mut at = 0;
        let starts = cuts.map(|cut| {
            at += cut as u64;
            at - cut as u64
        });
        assert_eq!(source.asked(), [&starts[..], &[at]].concat());
        assert_eq!(source.sent(), LARGE, "no byte came twice");
        reader.complete().await.unwrap();
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_without_ranges_is_read_again_and_compared() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let acts = [Act::NoRange(300_001), Act::NoRange(200_000), Act::Refuse, Act::NoRange(700_000)];
        let source = Flaky::new(&bytes, acts);
        let reader = bench.cache.fill(&Digest::of(&bytes), None, source.clone()).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), bytes);
        assert_eq!(source.asked(), [0, 300_001, 300_001, 300_001, 700_000]);

        let other = sample(LARGE + 1);
        let source = Flaky::new(&other, [Act::Cut(300_001), Act::Other]);
        let reader = bench.cache.fill(&Digest::of(&other), None, source).await.unwrap();
        let err = read_all(&reader).await.unwrap_err();
        assert!(matches!(find_source(&*err), Some(FillError::Changed { at: 300_001 })), "{err:?}");
        bench.assert_no_partials().await;
        assert!(bench.cache.content(&Digest::of(&other)).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_download_that_was_given_up_is_gone_on_with() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let source = Flaky::new(&bytes, std::iter::once(Act::Cut(400_000)).chain(vec![Act::Refuse; 100]));
        let reader = bench.cache.fill(&digest, None, source.clone()).await.unwrap();
        assert!(read_all(&reader).await.is_err());
        assert_eq!(source.asked().len(), 9);
        drop(reader);
        let gone = Flaky::new(&bytes, [Act::Cut(1), Act::Gone]);
        let reader = bench.cache.fill(&digest, None, gone.clone()).await.unwrap();
        assert!(read_all(&reader).await.is_err());
        assert_eq!(gone.asked(), [400_000, 400_001], "what is gone for good is not asked for again");
        drop(reader);
        let bench = bench.restart().await;
        let good = Flaky::new(&bytes, []);
        let reader = bench.cache.fill(&digest, None, good.clone()).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), bytes);
        assert_eq!(good.asked(), [400_001]);
        reader.complete().await.unwrap();
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_is_gone_on_with_or_swept() {
    let bench = Bench::local();
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    let (source, script) = Scripted::new(Some(LARGE as u64));
    script.send(Ok(bytes.slice(..100_000))).unwrap();
    let reader = bench.cache.fill(&digest, None, source).await.unwrap();
    let partial = files(&bench.path().join("partial")).pop().unwrap();
    // As a crash leaves it: a copy of the directory at this instant, and what else may lie there.
    let crash = || {
        let crashed = tempfile::tempdir().unwrap();
        for from in [bench.path().join("version"), partial.clone()] {
            let to = crashed.path().join(from.strip_prefix(bench.path()).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
        fs::create_dir(crashed.path().join("partial/odd")).unwrap();
        fs::write(crashed.path().join("partial/17"), "half a record").unwrap();
        let copy = crashed.path().join("partial").join(partial.file_name().unwrap());
        let older = copy.with_file_name(partial.file_name().unwrap().to_str().unwrap().replace("-0", "-9"));
        fs::write(older, &bytes[..50_000]).unwrap();
        (crashed, copy)
    };
    let (crashed, _) = crash();
    let store = LocalStore::open(crashed.path()).unwrap();
    assert_eq!(files(&crashed.path().join("partial")).len(), 1, "only the longer beginning stays");
    let cache = over(Arc::new(store));
    assert!(cache.content(&digest).await.is_none());
    let source = Flaky::new(&bytes, []);
    let resumed = cache.fill(&digest, None, source.clone()).await.unwrap();
    assert_eq!(read_all(&resumed).await.unwrap(), bytes);
    assert_eq!(source.asked(), [100_000]);

    let (crashed, copy) = crash();
    fs::write(&copy, vec![7; 100_000]).unwrap();
    let cache = over(Arc::new(LocalStore::open(crashed.path()).unwrap()));
    // It may have been found out before there was anything to read.
    if let Ok(damaged) = cache.fill(&digest, None, Flaky::new(&bytes, [])).await {
        assert!(read_all(&damaged).await.is_err(), "never a clean end");
    }
    let again = cache.fill(&digest, None, Flaky::new(&bytes, [])).await.unwrap();
    assert_eq!(read_all(&again).await.unwrap(), bytes);

    let (crashed, copy) = crash();
    // Whole, and stopped before it was moved to its place.
    let blob = bench.path().join("whole");
    over(Arc::new(LocalStore::open(&blob).unwrap())).put(&digest, bytes.clone()).await.unwrap();
    fs::copy(blob_path(&blob, &digest), &copy).unwrap();
    let cache = over(Arc::new(LocalStore::open(crashed.path()).unwrap()));
    let source = Flaky::new(&bytes, []);
    let whole = cache.fill(&digest, Some(LARGE as u64), source.clone()).await.unwrap();
    assert_eq!(read_all(&whole).await.unwrap(), bytes);
    assert_eq!(source.asked(), [0], "only whether it has it");

    let (crashed, _) = crash();
    let store = LocalStore::open(crashed.path()).unwrap();
    assert_eq!(store.sweep(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(files(&crashed.path().join("partial")).len(), 0);
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_download_ends_as_configured() {
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    for (policy, stops_at_a_tenth, stops_at_half) in [
        (FinishAbandoned::Always, false, false),
        (FinishAbandoned::IfStartedOver(40), true, false),
        (FinishAbandoned::Never, true, true),
    ] {
        for (there, stops) in [(100_000, stops_at_a_tenth), (500_000, stops_at_half)] {
            let store = MemoryStore::default();
            let limits = CacheLimits { finish_abandoned: policy, ..CacheLimits::default() };
            let cache = Cache::new(Arc::new(store.clone()), Arc::new(SystemClock), limits, Metrics::new());
            let (source, script) = Scripted::new(Some(LARGE as u64));
            script.send(Ok(bytes.slice(..there))).unwrap();
            let reader = cache.fill(&digest, None, source.clone()).await.unwrap();
            let bystander = reader.bystander();
            let other = cache.fill(&digest, None, source.clone()).await.unwrap();
            drop(reader);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(store.left(), 0, "somebody still waits");
            drop(other);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(store.left(), usize::from(stops), "{policy:?} {there}");
            let _ = script.send(Ok(bytes.slice(there..)));
            drop(script);
            assert_eq!(bystander.complete().await.is_err(), stops);
            let rest = Flaky::new(&bytes, []);
            let reader = cache.fill(&digest, None, rest.clone()).await.unwrap();
            assert_eq!(read_all(&reader).await.unwrap(), bytes);
            assert_eq!(rest.asked(), if stops { vec![there as u64] } else { vec![] });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_whose_task_is_gone_is_taken_over() {
    let bytes = sample(300);
    let digest = Digest::of(&bytes);
    let appends = AtomicUsize::new(0);
    let store = MemoryStore::with_faults(Arc::new(move |operation: &Operation| {
        let first = matches!(operation, Operation::Append(..)) && appends.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "a bug in the middle of a download");
        Ok(())
    }));
    let cache = over(Arc::new(store.clone()));
    let source = Flaky::new(&bytes, []);
    let reader = cache.fill(&digest, None, source.clone()).await.unwrap();
    assert_eq!(read_all(&reader).await.unwrap(), bytes);
    assert_eq!(source.asked(), [0, 0]);
    assert_eq!(store.partials(), 0);
}

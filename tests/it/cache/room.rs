//! Bounds, pins, and disks that take no more.

use super::flaky::{Act, Flaky};
use super::*;
use colocate::cache::{Bounds, Pin};

const BOUNDS: Bounds = Bounds { max: 1_000_000, high: 900_000, low: 500_000 };

fn bounded(store: &Arc<dyn Store>) -> Cache {
    let limits = CacheLimits { bounds: Some(BOUNDS), ..CacheLimits::default() };
    Cache::new(Arc::clone(store), Arc::new(SystemClock), limits, Metrics::new())
}

/// Content of its own for each number, 100,000 bytes long and so not held in memory.
fn numbered(number: u8) -> (Digest, Bytes) {
    let bytes = Bytes::from([&[number], &sample(99_999)[..]].concat());
    (Digest::of(&bytes), bytes)
}

async fn fill(cache: &Cache, number: u8) -> Reader {
    let (digest, bytes) = numbered(number);
    let reader = cache.fill(&digest, None, Flaky::new(&bytes, [])).await.unwrap();
    assert_eq!(read_all(&reader).await.unwrap(), bytes);
    let _ = reader.complete().await;
    // A paused clock stands still while anything can move, and the order of use is by time.
    tokio::time::sleep(Duration::from_secs(1)).await;
    reader
}

async fn there(store: &Arc<dyn Store>) -> Vec<u8> {
    let digests: Vec<_> = store.list_content().await.unwrap().iter().map(|listed| listed.digest).collect();
    (0..40).filter(|number| digests.contains(&numbered(*number).0)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_used_for_longest_goes_but_never_what_is_open_or_pinned() {
    for bench in Bench::both() {
        let cache = bounded(&bench.store);
        for number in 0..9 {
            fill(&cache, number).await;
        }
        assert_eq!(there(&bench.store).await, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let open = cache.content(&numbered(1).0).await.unwrap();
        drop(cache.content(&numbered(2).0).await.unwrap());
        let repository: Repository = "a.b/acme/app".parse().unwrap();
        let pin = Pin { repository: repository.clone(), reference: "v1".to_owned(), digests: vec![numbered(0).0] };
        cache.pin(&pin).await.unwrap();
        cache.keep(&[numbered(3).0]).await.unwrap();
        fill(&cache, 9).await;
        assert_eq!(there(&bench.store).await, [0, 1, 2, 3, 9]);
        assert_eq!(cache.usage().bytes, 500_000);
        assert_eq!(read_all(&open).await.unwrap(), numbered(1).1);
        drop((open, cache));

        // All of that is still known to another process, and what is kept goes before what must not go at all.
        let cache = bounded(&bench.store);
        cache.take_stock().await.unwrap();
        assert_eq!(cache.usage().bytes, 500_000);
        assert_eq!(cache.pins().await.unwrap(), [pin]);
        let readers: Vec<_> = [fill(&cache, 10).await, fill(&cache, 11).await, fill(&cache, 12).await].into();
        assert_eq!(there(&bench.store).await, [0, 1, 2, 3, 9, 10, 11, 12]);
        let more = [fill(&cache, 13).await, fill(&cache, 14).await];
        assert_eq!(there(&bench.store).await, [0, 3, 10, 11, 12, 13, 14]);
        let even_more = [fill(&cache, 15).await, fill(&cache, 16).await, fill(&cache, 17).await];
        assert_eq!(there(&bench.store).await, [0, 10, 11, 12, 13, 14, 15, 16, 17]);
        assert!(cache.unpin(&repository, "v1").await.unwrap());
        assert!(!cache.unpin(&repository, "v1").await.unwrap());
        // What has no room is served all the same.
        let last = [fill(&cache, 18).await, fill(&cache, 19).await, fill(&cache, 20).await];
        assert_eq!(there(&bench.store).await, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert!(last[2].complete().await.is_err());
        assert!(cache.usage().bytes <= BOUNDS.max);
        drop((readers, more, even_more, last));
        fill(&cache, 21).await;
        assert_eq!(there(&bench.store).await.len(), 5);
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn content_larger_than_the_bound_evicts_nothing_and_passes_through() {
    for bench in Bench::both() {
        let cache = bounded(&bench.store);
        fill(&cache, 0).await;
        let bytes = sample(LARGE);
        let source = Flaky::new(&bytes, []);
        let reader = cache.fill(&Digest::of(&bytes), None, source).await.unwrap();
        assert_eq!(read_all(&reader).await.unwrap(), bytes);
        assert_eq!(collect(reader.body(10..999_999)).await.unwrap(), bytes[10..999_999]);
        assert_eq!(there(&bench.store).await, [0]);
        bench.assert_no_partials().await;
    }
}

/// A store that fails as `broken` says.
fn failing(kind: io::ErrorKind, when: fn(&Operation) -> bool) -> (MemoryStore, Arc<AtomicUsize>) {
    let broken = Arc::new(AtomicUsize::new(1));
    let switch = Arc::clone(&broken);
    let store = MemoryStore::with_faults(Arc::new(move |operation: &Operation| {
        if switch.load(Ordering::SeqCst) == 1 && when(operation) { Err(kind.into()) } else { Ok(()) }
    }));
    (store, broken)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_no_more_ends_no_pull() {
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    let writes: [fn(&Operation) -> bool; 3] = [
        |operation| matches!(operation, Operation::Create(_)),
        |operation| matches!(operation, Operation::Append(_, written) if *written > 300_000),
        |operation| matches!(operation, Operation::Commit(_)),
    ];
    for when in writes {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other] {
            let (store, broken) = failing(kind, when);
            let cache = over(Arc::new(store.clone()));
            let (source, script) = Scripted::new(Some(LARGE as u64));
            let rest = Flaky::new(&bytes, [Act::Cut(5), Act::NoRange(LARGE)]);
            let source = Arc::new(Then { first: source, then: rest });
            for chunk in bytes.chunks(10_000) {
                script.send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
            }
            drop(script);
            let reader = cache.fill(&digest, None, source).await.unwrap();
            let size = LARGE as u64;
            for range in [0..size, 100_000..200_000, 299_000..301_000, 600_000..size, size - 5..size, 7..8] {
                let (start, end) = (range.start as usize, range.end as usize);
                assert_eq!(collect(reader.body(range)).await.unwrap(), bytes[start..end], "{kind} {start}..{end}");
            }
            assert!(reader.complete().await.is_err() && !reader.is_complete());
            assert!(cache.content(&digest).await.is_none());
            assert_eq!((store.partials(), store.left()), (0, 0));
            drop(reader);
            broken.store(0, Ordering::SeqCst);
            let again = cache.fill(&digest, None, Flaky::new(&bytes, [])).await.unwrap();
            again.complete().await.unwrap();
        }
    }
}

/// One source for the first request, and another for those after it.
struct Then {
    first: Arc<Scripted>,
    then: Arc<Flaky>,
}

impl Source for Then {
    fn open(&self, offset: u64) -> BoxFuture<'_, Result<SourceBody, SourceError>> {
        if self.first.opened() == 0 { self.first.open(offset) } else { self.then.open(offset) }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_past_the_store_never_end_cleanly() {
    let bytes = sample(LARGE);
    let (store, _) = failing(io::ErrorKind::StorageFull, |operation| matches!(operation, Operation::Create(_)));
    let cache = over(Arc::new(store));
    let source = Flaky::new(&bytes, [Act::Cut(0), Act::Other]);
    let reader = cache.fill(&Digest::of(&bytes), None, source).await.unwrap();
    let err = collect(reader.body(5..6)).await.unwrap_err();
    assert!(matches!(find_source(&*err), Some(FillError::DigestMismatch { .. })), "{err:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_relieved_by_evicting() {
    // A disk of 350,000 bytes.
    let used = Arc::new(Mutex::new(None::<MemoryStore>));
    let seen = Arc::clone(&used);
    let store = MemoryStore::with_faults(Arc::new(move |operation: &Operation| {
        let store = seen.lock().unwrap().clone();
        let bytes = store.map_or(0, |store| store.contents().iter().map(|(_, bytes)| bytes.len()).sum());
        match operation {
            Operation::Append(_, written) if bytes + *written as usize + 10_007 > 350_000 => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }));
    *used.lock().unwrap() = Some(store.clone());
    let cache = over(Arc::new(store.clone()));
    let store: Arc<dyn Store> = Arc::new(store);
    for number in 0..10 {
        fill(&cache, number).await.complete().await.unwrap();
        assert!(there(&store).await.contains(&number));
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_disk_in_trouble_small_things_are_remembered_in_memory() {
    let (store, broken) = failing(io::ErrorKind::ReadOnlyFilesystem, |_| true);
    let cache = over(Arc::new(store));
    let key = RecordKey::new(["a"]);
    cache.put_record(&key, &1).await.unwrap();
    assert_eq!(cache.get::<u8>(&key).await.unwrap(), Some(1));
    cache.put(&Digest::of(b"small"), Bytes::from_static(b"small")).await.unwrap();
    assert_eq!(cache.load(&Digest::of(b"small"), 10).await.unwrap(), "small");
    assert!(cache.get::<u8>(&RecordKey::new(["b"])).await.is_err(), "nobody knows");
    assert!(cache.content(&Digest::of(b"other")).await.is_none());
    broken.store(0, Ordering::SeqCst);
    cache.put_record(&key, &2).await.unwrap();
    assert_eq!(cache.get::<u8>(&key).await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn who_makes_room_while_it_writes_waits_for_nobody() {
    for bench in Bench::both() {
        let cache = bounded(&bench.store);
        let puts = (0..400_u32).map(|number| {
            let cache = cache.clone();
            let bytes = Bytes::from([&number.to_le_bytes()[..], &sample(20_000)].concat());
            tokio::spawn(async move { cache.put(&Digest::of(&bytes), bytes.clone()).await.unwrap() })
        });
        for put in puts.collect::<Vec<_>>() {
            tokio::time::timeout(Duration::from_secs(3600), put).await.expect("it ends").unwrap();
        }
        assert!(cache.usage().bytes <= BOUNDS.max && cache.usage().arriving == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn fills_that_find_room_at_one_time_do_not_all_take_it() {
    for bench in Bench::both() {
        let cache = bounded(&bench.store);
        let mut hold = cache.hold();
        hold.add((0..20).map(|number| numbered(number).0));
        let fills: Vec<_> = (0..20)
            .map(|number| {
                let (cache, (digest, bytes)) = (cache.clone(), numbered(number));
                tokio::spawn(async move {
                    let reader = cache.fill(&digest, None, Flaky::new(&bytes, [])).await.unwrap();
                    assert_eq!(read_all(&reader).await.unwrap(), bytes);
                    reader.complete().await.is_ok()
                })
            })
            .collect();
        let mut kept = 0;
        for fill in fills {
            kept += usize::from(fill.await.unwrap());
            assert!(cache.usage().bytes <= BOUNDS.max);
        }
        assert_eq!(there(&bench.store).await.len(), kept);
        assert!((1..=10).contains(&kept), "{kept}");
    }
}

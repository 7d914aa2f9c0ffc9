//! Sources that lie or break, disks that fail.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_wrong_bit_breaks_every_body_and_leaves_nothing() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let mut wrong = bytes.to_vec();
        wrong[12_345] ^= 1;
        let (source, script) = Scripted::new(Some(LARGE as u64));
        script.send(Ok(Bytes::from(wrong.clone()).slice(..500_000))).unwrap();
        let reader = bench.cache.fill(&digest, None, source).await.unwrap();
        let mut bodies: Vec<_> = (0..4).map(|_| reader.body(0..reader.size())).collect();
        bodies.push(reader.body(0..1_000));
        for body in &mut bodies[..2] {
            body.frame().await.unwrap().unwrap();
        }
        script.send(Ok(Bytes::from(wrong).slice(500_000..))).unwrap();
        drop(script);
        for body in bodies {
            let err = collect(body).await.unwrap_err();
            let Some(FillError::DigestMismatch { expected, .. }) = find_source(&*err) else { panic!("{err:?}") };
            assert_eq!(*expected, digest);
        }
        assert!(reader.verified().await.is_err() && reader.complete().await.is_err() && !reader.is_complete());
        assert!(reader.read_at(0, 1).await.is_err(), "bytes known to be wrong are not handed out");
        assert!(bench.cache.content(&digest).await.is_none());
        bench.assert_no_partials().await;
        let again = bench.cache.fill(&digest, None, Scripted::whole(&bytes, LARGE)).await.unwrap();
        assert_eq!(read_all(&again).await.unwrap(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn small_wrong_content_is_an_error_before_the_response() {
    for bench in Bench::both() {
        let digest = Digest::of(b"right");
        let result = bench.cache.fill(&digest, None, Scripted::whole(&Bytes::from_static(b"wrong"), 2)).await;
        assert!(matches!(result, Err(FillError::DigestMismatch { .. })));
        bench.assert_no_partials().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_length_is_refused() {
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    let size = LARGE as u64;
    // (what the descriptor says, what the source says, how much comes)
    for (expected, announced, comes) in [
        (Some(size + 1), Some(size), LARGE),
        (Some(size + 1), None, LARGE),
        (None, Some(size + 1), LARGE),
        (None, Some(size - 1), LARGE),
        (Some(size), Some(size), LARGE - 1),
        (Some(0), None, LARGE),
    ] {
        for bench in Bench::both() {
            let (source, script) = Scripted::new(announced);
            script.send(Ok(bytes.slice(..comes))).unwrap();
            drop(script);
            let error = match bench.cache.fill(&digest, expected, source).await {
                Err(err) => err,
                Ok(reader) => {
                    assert!(read_all(&reader).await.is_err());
                    let ReadError::Fill(error) = reader.verified().await.unwrap_err() else { panic!() };
                    error
                }
            };
            assert!(matches!(error, FillError::SizeMismatch { .. }), "{error:?}");
            assert!(bench.cache.content(&digest).await.is_none());
            bench.assert_no_partials().await;
        }
    }
    // A joiner with another descriptor is told so, and does the fill no harm.
    let [bench, _] = Bench::both();
    let reader = bench.cache.fill(&digest, Some(size), Scripted::whole(&bytes, 1_000)).await.unwrap();
    if !reader.is_complete() {
        let other = bench.cache.fill(&digest, Some(7), Scripted::whole(&bytes, 1_000)).await;
        assert!(matches!(other, Err(FillError::SizeMismatch { expected: 7, .. }) | Ok(_)));
    }
    reader.complete().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_source_breaks_the_body_but_not_what_had_come() {
    for bench in Bench::both() {
        let bytes = sample(LARGE);
        let digest = Digest::of(&bytes);
        let (source, script) = Scripted::new(Some(LARGE as u64));
        let source =
            Arc::new(Scripted { end: Some(io::ErrorKind::ConnectionReset), ..Arc::into_inner(source).unwrap() });
        script.send(Ok(bytes.slice(..400_000))).unwrap();
        let reader = bench.cache.fill(&digest, None, source.clone()).await.unwrap();
        script.send(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())).unwrap();
        let err = read_all(&reader).await.unwrap_err();
        assert!(matches!(find_source(&*err), Some(FillError::Source(_))));
        let reset = find_source::<io::Error>(&*err).unwrap();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset, "the cause is in the chain");
        assert_eq!(reader.read_at(399_990, 100).await.unwrap(), bytes[399_990..400_000]);
        assert!(reader.read_at(400_000, 1).await.is_err());
        assert!(collect(reader.body(0..10)).await.is_err(), "never verified, so never a clean end");
        assert_eq!(source.opened(), 9, "asked again, but not for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_opened_is_an_error_with_its_cause() {
    for bench in Bench::both() {
        let digest = Digest::of(b"x");
        let (source, _) = Scripted::new(None);
        source.bodies.lock().unwrap().clear();
        let Err(FillError::Source(cause)) = bench.cache.fill(&digest, None, source).await else { panic!() };
        assert!(cause.to_string().contains("no further body"));
        assert!(bench.cache.fill(&digest, None, Scripted::whole(&Bytes::from_static(b"x"), 1)).await.is_ok());
    }
}

#[tokio::test]
async fn a_process_that_goes_down_leaves_no_reader_waiting() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let cache = over(Arc::new(MemoryStore::default()));
    let digest = Digest::of(&sample(LARGE));
    let (source, script) = Scripted::new(Some(LARGE as u64));
    script.send(Ok(sample(LARGE).slice(..100_000))).unwrap();
    let (sender, receiver) = oneshot::channel();
    runtime.spawn(async move {
        let _ = sender.send(cache.fill(&digest, None, source).await);
    });
    let reader = receiver.await.unwrap().unwrap();
    runtime.shutdown_background();
    assert!(matches!(reader.verified().await, Err(ReadError::Fill(FillError::Stopped))));
}

#[tokio::test(start_paused = true)]
async fn wrong_small_content_in_memory_heals() {
    let [_, bench] = Bench::both();
    let digest = Digest::of(b"right");
    bench.memory.as_ref().unwrap().damage(&digest, "wrong");
    assert!(bench.cache.content(&digest).await.is_none());
    let reader = bench.cache.fill(&digest, None, Scripted::whole(&Bytes::from_static(b"right"), 1)).await.unwrap();
    assert_eq!(read_all(&reader).await.unwrap(), "right");
}

#[tokio::test(start_paused = true)]
async fn content_shortened_under_a_reader_never_ends_cleanly() {
    let bench = Bench::local();
    let bytes = sample(LARGE);
    let digest = Digest::of(&bytes);
    bench.cache.put(&digest, bytes).await.unwrap();
    let reader = bench.cache.content(&digest).await.unwrap();
    truncate(&blob_path(bench.path(), &digest), |_| 500_000);
    assert!(read_all(&reader).await.is_err());
}

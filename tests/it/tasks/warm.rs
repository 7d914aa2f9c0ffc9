//! Pulling a reference with all that belongs to it.

use super::*;
use crate::support::eventually;
use crate::support::scripted::{Fault, Gate};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_bundle_comes_with_every_image_and_is_then_served_without_the_registry() {
    let bench = Bench::new().await;
    let images: Vec<Bundle> = ["one", "two", "three", "four"].map(Bundle::image).into();
    images.iter().for_each(|image| bench.put(image, None));
    let both = index(&[(&images[1], "linux/amd64"), (&images[2], "linux/arm64"), (&images[3], "unknown/unknown")]);
    bench.upstream.put_manifest(REPOSITORY, &both.media_type, both.bytes.clone());
    let bundle = bench.put_bundle(&[images[0].digest(), both.digest], Some("v1"));

    let told = bench.warm("acme/app:v1").await.good();
    let warmed = told.warmed();
    assert_eq!((warmed.digest, warmed.manifests, warmed.stale), (bundle.digest(), 6, false));
    assert!(warmed.relocated.is_some() && warmed.reason.is_none());
    assert!(bench.has_image(&bundle) && images.iter().all(|image| bench.has_image(image)));
    let last = told.0.iter().rev().find_map(|event| if let Event::Progress(it) = event { Some(*it) } else { None });
    let last = last.expect("progress");
    assert_eq!((last.done, last.done_bytes), (last.known, last.known_bytes));
    assert_eq!((last.known, last.known_bytes), (warmed.manifests + warmed.blobs, warmed.bytes));
    for image in &images {
        assert_eq!(bench.upstream.count("GET", &manifest_path(&image.digest())), 1);
        assert_eq!(bench.upstream.count("GET", &blob_path(&image.layer_digest())), 1);
        assert_eq!(bench.upstream.count("GET", &blob_path(&image.config_digest())), 1);
    }

    bench.upstream.forget();
    let again = bench.warm("acme/app:v1").await.good();
    assert_eq!(again.warmed(), warmed);
    assert_eq!(bench.upstream.requests().len(), 0, "{:?}", bench.upstream.requests());

    // As a client pulls it, with the registry gone.
    let mut bench = bench;
    bench.restart().await;
    bench.upstream.on("*").fails(Fault::status(500));
    let view = relocated(REPOSITORY, ENDPOINT);
    let served = bench.proxy().manifest(&view, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(Some(served.manifest.digest), warmed.relocated);
    for image in &images {
        bench.proxy().manifest(&view, &Reference::Digest(image.digest())).await.unwrap();
        let blob = bench.proxy().blob(&view, &image.layer_digest()).await.unwrap();
        assert_eq!(colocate::body::collect(blob.body(0..blob.size), 1 << 20).await.unwrap(), image.layers[0]);
    }
    let again = bench.warm("acme/app:v1").await.good();
    assert_eq!(again.warmed().relocated, warmed.relocated);
    assert_eq!(bench.upstream.requests().len(), 0);
}

#[tokio::test]
async fn only_the_platforms_that_are_asked_for() {
    let bench = Bench::new().await;
    let images: Vec<Bundle> = ["one", "two", "attestation", "any"].map(Bundle::image).into();
    images.iter().for_each(|image| bench.put(image, None));
    let platforms = ["linux/amd64", "linux/arm64", "unknown/unknown", ""];
    let entries: Vec<_> = images.iter().zip(platforms).collect();
    let all = index(&entries);
    bench.upstream.put_manifest(REPOSITORY, &all.media_type, all.bytes.clone());
    bench.upstream.tag(REPOSITORY, "all", &all.digest);

    bench.warm_for("acme/app:all", &["linux/arm64"]).await.good();
    let there: Vec<bool> = images.iter().map(|image| bench.has_image(image)).collect();
    assert_eq!(there, [false, true, false, true]);
    assert_eq!(bench.upstream.count("", &manifest_path(&images[0].digest())), 0);
    bench.warm_for("acme/app:all", &["linux/arm64", "linux/amd64"]).await.good();
    assert!(bench.has_image(&images[0]) && !bench.has_image(&images[2]));

    let only = index(&entries[..1]);
    bench.upstream.put_manifest(REPOSITORY, &only.media_type, only.bytes.clone());
    bench.upstream.tag(REPOSITORY, "only", &only.digest);
    for platforms in [&["plan9/mips"][..], &["linux/amd64", "plan9/mips"]] {
        let problems = bench.warm_for("acme/app:only", platforms).await.problems();
        assert_eq!(problems, [format!("{REGISTRY}/acme/app@{}: it has no image for plan9/mips", only.digest)]);
    }
    bench.warm("acme/app:all").await.good();
    assert!(images.iter().all(|image| bench.has_image(image)));
}

#[tokio::test]
async fn nested_bundles_are_followed_and_what_is_shared_is_asked_for_once() {
    let bench = Bench::new().await;
    let (shared, deep) = (Bundle::image("shared"), Bundle::image("deep"));
    [&shared, &deep].iter().for_each(|image| bench.put(image, None));
    let inner = bench.put_bundle(&[shared.digest(), deep.digest()], None);
    let middle = bench.put_bundle(&[inner.digest(), shared.digest()], None);
    // By two ways to the same, and an index that lists it twice.
    let twice = index(&[(&middle, "linux/amd64"), (&middle, "linux/arm64"), (&inner, "")]);
    bench.upstream.put_manifest(REPOSITORY, &twice.media_type, twice.bytes.clone());
    let outer = bench.put_bundle(&[middle.digest(), inner.digest(), twice.digest], Some("v1"));

    let told = bench.warm("acme/app:v1").await.good();
    assert_eq!(told.warmed().manifests, 6);
    for image in [&shared, &deep, &inner, &middle, &outer] {
        assert!(bench.has_image(image));
        assert_eq!(bench.upstream.count("GET", &blob_path(&image.layer_digest())), 1);
        assert!(bench.upstream.count("GET", &manifest_path(&image.digest())) <= 1);
    }
}

#[tokio::test]
async fn nesting_has_an_end() {
    let bench = Bench::new().await;
    let mut chain = vec![Bundle::image("innermost")];
    bench.put(&chain[0], None);
    for _ in 0..10 {
        let inner = chain.last().unwrap().digest();
        chain.push(bench.put_bundle(&[inner], None));
    }
    let outermost = chain.last().unwrap().digest();
    bench.upstream.tag(REPOSITORY, "v1", &outermost);
    let problems = bench.warm("acme/app:v1").await.problems();
    // The outermost and eight below it.
    let cut = chain[chain.len() - 10].digest();
    assert_eq!(problems, [format!("{REGISTRY}/acme/app@{cut}: is nested more than 8 deep, and was not pulled")]);
    assert!(bench.has_image(&chain[chain.len() - 9]) && !bench.has(&cut));
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_and_the_rest_goes_on() {
    let bench = Bench::new().await;
    let (there, missing) = (Bundle::image("there"), Bundle::image("missing"));
    bench.put(&there, None);
    let bundle = bench.put_bundle(&[missing.digest(), there.digest()], Some("v1"));
    let told = bench.warm("acme/app:v1").await;
    let name = format!("{REGISTRY}/acme/app@{}", missing.digest());
    assert_eq!(told.problems(), [format!("{name}: this image is not in the repository")]);
    assert!(bench.has_image(&there) && bench.has_image(&bundle));
    let Warmed { relocated, reason, .. } = told.warmed();
    assert_eq!(*relocated, None);
    assert!(reason.as_ref().unwrap().contains("is not in its repository"), "{reason:?}");

    let told = bench.warm("acme/app:v2").await;
    assert_eq!(told.problems().len(), 1);
    assert!(!told.0.iter().any(|event| matches!(event, Event::Warmed(_))));
    assert_eq!(bench.warm("Acme").await.problems(), ["Acme: no reference"]);
}

#[tokio::test]
async fn odd_images() {
    let bench = Bench::new().await;
    // Ordinary, by digest, and with a layer that nobody may pass on.
    let plain = large_image(1, 100_000);
    bench.put(&plain, None);
    bench.warm(&format!("acme/app@{}", plain.digest())).await.good();
    assert!(bench.has_image(&plain));

    let text = String::from_utf8(plain.manifest.bytes.to_vec()).unwrap();
    let absent = Digest::of(b"elsewhere");
    let foreign = text.replace(&plain.layer_digest().to_string(), &absent.to_string()).replacen(
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        1,
    );
    let digest = bench.upstream.put_manifest(REPOSITORY, &plain.manifest.media_type, foreign.clone());
    bench.warm(&format!("acme/app@{digest}")).await.good();
    let lost = foreign.replace(".foreign", "");
    let digest = bench.upstream.put_manifest(REPOSITORY, &plain.manifest.media_type, lost);
    let problems = bench.warm(&format!("acme/app@{digest}")).await.problems();
    assert_eq!(problems, [format!("{REGISTRY}/acme/app@{absent}: acme/app has no such blob")]);

    // A bundle whose lock cannot be read: what it names cannot be there.
    let broken = BundleBuilder::with_lock("kind: Nonsense\n").build();
    bench.put(&broken, Some("broken"));
    let told = bench.warm("acme/app:broken").await;
    assert_eq!(told.problems().len(), 1);
    assert!(told.problems()[0].contains("the images of this bundle are not known"), "{told:?}");
    assert!(bench.has_image(&broken));

    // By the digest of what was made of it, the original is meant.
    bench.put(&Bundle::image("image"), None);
    bench.put_bundle(&[Bundle::image("image").digest()], Some("v1"));
    let relocated = bench.warm("acme/app:v1").await.good().warmed().relocated.unwrap();
    let told = bench.warm(&format!("acme/app@{relocated}")).await.good();
    assert_eq!(told.warmed().manifests, 2);
}

#[tokio::test]
async fn a_slow_pass_and_a_bad_moment_are_waited_for() {
    let bench = Bench::with(CacheLimits::default(), Duration::from_millis(1)).await;
    let image = Bundle::image("one");
    bench.put(&image, None);
    let bundle = bench.put_bundle(&[image.digest()], Some("v1"));
    bench.upstream.on(&manifest_path(&image.digest())).get().times(1).fails(Fault::status(503));
    let slow = Fault::Delay(Duration::from_millis(100));
    bench.upstream.on(&blob_path(&bundle.layer_digest())).get().fails(slow);
    let told = bench.warm("acme/app:v1").await.good();
    assert!(told.warmed().relocated.is_some());
    assert_eq!(bench.upstream.count("GET", &manifest_path(&image.digest())), 2);
}

#[tokio::test]
async fn what_was_interrupted_is_gone_on_with() {
    for finish_abandoned in [FinishAbandoned::Never, FinishAbandoned::Always] {
        let limits = CacheLimits { finish_abandoned, ..CacheLimits::default() };
        let mut bench = Bench::with(limits, PATIENCE).await;
        let (large, small) = (large_image(1, 1_000_000), Bundle::image("small"));
        [&large, &small].iter().for_each(|image| bench.put(image, None));
        bench.put_bundle(&[small.digest(), large.digest()], Some("v1"));
        let layer = blob_path(&large.layer_digest());
        let gate = Gate::new();
        bench.upstream.on(&layer).get().fails(Fault::HoldAt(600_000, gate.clone()));

        let mut events =
            bench.tasks().run(Task::Warm { references: vec!["acme/app:v1".to_owned()], platforms: vec![] });
        // All but the rest of that layer.
        let all_but = loop {
            match events.next().await {
                Some(Event::Progress(it)) if it.known > 8 && it.done + 1 == it.known && it.done_bytes > 600_000 => {
                    break it;
                }
                Some(_) => {}
                None => panic!("it ended"),
            }
        };
        assert!(all_but.done_bytes < 1_000_000, "what is not there yet does not count: {all_but:?}");
        drop(events);
        if finish_abandoned == FinishAbandoned::Never {
            eventually("the download stops", PATIENCE, async || bench.cache().usage().arriving == 0).await;
            bench.restart().await;
            bench.upstream.heal();
        }
        gate.open();

        bench.warm("acme/app:v1").await.good();
        assert!(bench.has_image(&large) && bench.has_image(&small));
        assert_eq!(bench.upstream.bytes_sent(&layer), 1_000_000, "{finish_abandoned:?}");
        assert_eq!(bench.upstream.count("GET", &blob_path(&small.layer_digest())), 1);
    }
}

#[tokio::test]
async fn what_has_no_room_is_told() {
    let bench = Bench::bounded(1_000_000).await;
    let images: Vec<Bundle> = (0..4).map(|seed| large_image(seed, 300_000)).collect();
    images.iter().for_each(|image| bench.put(image, None));
    let digests: Vec<Digest> = images.iter().map(Bundle::digest).collect();
    bench.put_bundle(&digests, Some("v1"));
    let problems = bench.warm("acme/app:v1").await.problems();
    assert!(problems.iter().any(|problem| problem.contains("cache.max_bytes is used up")), "{problems:?}");
    // What was pulled made no room for the rest: whatever is not told of is there.
    let layers = images.iter().filter(|image| bench.has(&image.layer_digest())).count();
    assert!(layers < images.len());
    for image in &images {
        let parts = image.layers.iter().chain([&image.config]).map(|part| Digest::of(part));
        for digest in parts.chain([image.digest()]) {
            let told = problems.iter().any(|problem| problem.contains(&digest.to_string()));
            assert_ne!(bench.has(&digest), told, "{digest}: {problems:?}");
        }
    }
}

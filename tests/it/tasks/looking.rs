//! Listing, counting and hashing.

use std::fs;

use super::*;

#[tokio::test]
async fn damage_is_found_removed_and_repaired() {
    let mut bench = Bench::new().await;
    let images: Vec<Bundle> = (0..4).map(|seed| large_image(seed, 200_000)).collect();
    images.iter().for_each(|image| bench.put(image, None));
    let digests: Vec<Digest> = images.iter().map(Bundle::digest).collect();
    bench.put_bundle(&digests, Some("v1"));
    bench.warm("acme/app:v1").await.good();
    let contents = bench.cache().entries().len() as u64;
    let told = bench.run(Task::Verify).await.good();
    assert!(told.0.iter().any(|event| matches!(event, Event::Verified { contents: found, .. } if *found == contents)));

    for restart in [false, true] {
        let files: Vec<_> = images.iter().map(|image| bench.file(&image.layer_digest())).collect();
        let mut flipped = fs::read(&files[0]).unwrap();
        flipped[100_000] ^= 1;
        fs::write(&files[0], flipped).unwrap();
        fs::OpenOptions::new().write(true).open(&files[1]).unwrap().set_len(150_000).unwrap();
        if restart {
            bench.restart().await;
        }
        fs::remove_file(&files[2]).unwrap();
        let told = bench.run(Task::Verify).await;
        assert!(told.problems().is_empty());
        let mut damaged: Vec<Digest> = told
            .0
            .iter()
            .filter_map(|event| if let Event::Damaged { digest, .. } = event { Some(*digest) } else { None })
            .collect();
        damaged.sort();
        let mut expected: Vec<Digest> = images[..3].iter().map(Bundle::layer_digest).collect();
        expected.sort();
        assert_eq!(damaged, expected, "after a restart: {restart}");
        assert!(files[..3].iter().all(|file| !file.exists()) && files[3].exists());
        bench.run(Task::Verify).await.good();

        bench.upstream.forget();
        bench.warm("acme/app:v1").await.good();
        assert_eq!(bench.upstream.requests().len(), 3, "only what was damaged");
        assert!(images.iter().all(|image| bench.has_image(image)));
    }
}

#[tokio::test]
async fn everything_is_listed_and_counted() {
    let bench = Bench::bounded(10_000_000).await;
    let image = large_image(1, 100_000);
    bench.put(&image, None);
    let bundle = bench.put_bundle(&[image.digest()], Some("v1"));
    bench.upstream.put("acme/copy", &image.layout(Some("v1")));
    bench.warm("acme/app:v1").await.good();
    bench.pin("acme/copy:v1").await.good();

    let listed: Vec<_> = bench
        .run(Task::List)
        .await
        .good()
        .0
        .into_iter()
        .filter_map(|event| if let Event::Content(content) = event { Some(content) } else { None })
        .collect();
    assert_eq!(listed.len(), bench.cache().entries().len());
    assert!(listed.is_sorted_by_key(|content| std::cmp::Reverse(content.used)));
    let find = |digest: Digest| listed.iter().find(|content| content.digest == digest).unwrap();
    let layer = find(image.layer_digest());
    assert_eq!(
        (layer.bytes, layer.kept, layer.pins.as_slice()),
        (100_000, false, &[format!("{REGISTRY}/acme/copy:v1")][..])
    );
    let repositories: Vec<&str> = layer.repositories.iter().map(|repository| repository.name.as_str()).collect();
    assert_eq!(repositories, ["acme/app", "acme/copy"]);
    let original = find(bundle.layer_digest());
    assert!(original.kept && original.pins.is_empty());

    let told = bench.run(Task::Stats).await.good();
    let Some(Event::Stats(stats)) = told.0.first() else { panic!("{told:?}") };
    assert_eq!(stats.contents.count, listed.len() as u64);
    assert_eq!(stats.contents.bytes, listed.iter().map(|content| content.bytes).sum::<u64>());
    assert_eq!((stats.pinned.count, stats.kept.count), (4, 2));
    assert_eq!(stats.bound.map(|bound| bound.max), Some(10_000_000));
    assert_eq!((stats.records["tags"], stats.records["pins"], stats.records["relocations"]), (2, 1, 1));
    assert!(stats.disk.is_some_and(|disk| disk.total >= disk.free && disk.free > 0));
    assert_eq!(stats.arriving_bytes, 0);
}

#[tokio::test]
async fn a_cache_without_a_registry_can_be_looked_into() {
    let mut bench = Bench::new().await;
    let image = Bundle::image("one");
    bench.put(&image, Some("v1"));
    bench.pin("acme/app:v1").await.good();
    bench.restart().await;
    let tasks = Tasks::new(bench.cache().clone(), None, Arc::new(read));
    for (task, problems) in [
        (Task::List, 0),
        (Task::Verify, 0),
        (Task::Stats, 0),
        (Task::Unpin { references: vec!["acme/app:v1".to_owned()] }, 0),
        (Task::Remove { what: vec!["acme/app:v1".to_owned()], force: false }, 0),
        (Task::Warm { references: vec!["acme/app:v1".to_owned()], platforms: vec![] }, 1),
    ] {
        let mut events = tasks.run(task.clone());
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        assert_eq!(last, Some(Event::End { problems }), "{task:?}");
    }
}

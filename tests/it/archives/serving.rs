//! How content is given out that is read where it lies, and that nothing of it is kept.

use colocate::oci::Digest;
use http::Method;
use tempfile::TempDir;

use super::parts::Edge;
use crate::support::archive::{LayoutTar, golden_tar};
use crate::support::bundle::BundleBuilder;
use crate::support::http::{self, Answer};
use crate::support::layout::Golden;
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::stored::files;

const IN_PLACE: &str = "colocate; fwd=bypass; fwd-status=200; detail=in_place";

#[track_caller]
fn assert_in_place(answer: &Answer) {
    assert_eq!(answer.header("cache-status"), Some(IN_PLACE), "{answer:?}");
    assert_eq!(answer.header("age"), None);
}

#[tokio::test]
async fn every_answer_says_so_also_the_second() {
    let golden = Golden::read("wide-app");
    let edge = Edge::of(&golden_tar(golden.name)).await;
    for _ in 0..2 {
        for reference in ["latest", &edge.digest("apps/one", "latest").await.to_string()] {
            assert_in_place(&edge.manifest("apps/one", reference).await.expect(200));
            assert_in_place(&edge.seen().manifest_head("apps/one", reference).await.expect(200));
        }
        for (digest, bytes) in &golden.origin.blobs {
            let url = edge.blob_url("fx/wide-app", digest);
            let head = http::head(&url).await.expect(200);
            assert_in_place(&head);
            assert_eq!(head.header("content-length"), Some(bytes.len().to_string().as_str()));
            assert_eq!(head.digest(), *digest);
            let whole = http::get(&url).await.expect(200);
            assert_in_place(&whole);
            assert_eq!(whole.body, bytes);
        }
    }
}

#[tokio::test]
async fn ranges_are_those_of_the_blob_and_not_of_the_archive() {
    let golden = Golden::read("wide-app");
    let edge = Edge::of(&golden_tar(golden.name)).await;
    for (digest, bytes) in &golden.origin.blobs {
        let url = edge.blob_url("fx/wide-app", digest);
        let (size, middle) = (bytes.len(), bytes.len() / 2);
        for (range, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            (format!("bytes=1-{middle}"), 1..middle + 1),
            (format!("bytes={middle}-"), middle..size),
            ("bytes=-7".to_owned(), size - 7..size),
            (format!("bytes={}-", size - 1), size - 1..size),
            (format!("bytes=5-{}", size + 5000), 5..size),
        ] {
            let part = http::send(Method::GET, &url, &[("range", &range)], "").await.expect(206);
            assert_in_place(&part);
            let said = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(part.header("content-range"), Some(said.as_str()));
            assert_eq!(part.body, bytes[expected], "{range}");
        }
        let beyond = format!("bytes={size}-");
        let part = http::send(Method::GET, &url, &[("range", &beyond)], "").await.expect(416);
        assert_eq!(part.header("content-range"), Some(format!("bytes */{size}").as_str()));
        let tag = http::get(&url).await.header("etag").map(str::to_owned);
        if let Some(tag) = tag {
            http::send(Method::GET, &url, &[("if-none-match", &tag)], "").await.expect(304);
        }
    }
}

#[tokio::test]
async fn nothing_of_an_archive_is_kept_but_what_was_made_of_it() {
    for golden in Golden::all() {
        let mut edge = Edge::of(&golden_tar(golden.name)).await;
        let repository = format!("fx/{}", golden.name);
        for restarted in [false, true] {
            if restarted {
                edge.restart().await;
            }
            edge.pull_whole(&repository, golden.digest).await;
            edge.pull_whole(&repository, Golden::TAG).await;
            let lock = edge.pull(&repository, Golden::TAG).await.lock();
            for image in super::parts::images_in(&lock) {
                let (_, digest) = image.split_once('@').unwrap();
                edge.pull_whole(&repository, digest).await;
            }
            let mut originals: Vec<Digest> = golden.colocated.blobs.iter().map(|(digest, _)| *digest).collect();
            originals.extend(golden.colocated.manifests.iter().map(|manifest| manifest.digest));
            let stored = files(&edge.cache().join("blobs"));
            for digest in originals {
                let hex = digest.hex();
                let kept = stored.iter().find(|path| path.ends_with(&hex));
                assert!(kept.is_none(), "{digest} of {} is in the cache: {kept:?}", golden.name);
            }
        }
    }
}

#[tokio::test]
async fn images_alone_leave_the_cache_empty() {
    let edge = Edge::of(&golden_tar("multi-app")).await;
    edge.pull_whole("apps/multi", "latest").await;
    assert_eq!(files(&edge.cache().join("blobs")), Vec::<std::path::PathBuf>::new());
    assert_eq!(files(&edge.cache().join("partial")), Vec::<std::path::PathBuf>::new());
}

/// By many at once, in parts and whole, at sizes where buffers end.
#[tokio::test(flavor = "multi_thread")]
async fn many_readers_of_blobs_of_many_sizes() {
    let sizes = [1, 511, 512, 513, 65_535, 65_536, 65_537, 131_072, 1 << 20, (5 << 20) + 3];
    let contents: Vec<Pattern> = (1..).zip(sizes).map(|(seed, size)| Pattern::new(seed, size)).collect();
    let layer = |content: &Pattern| {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < content.size() {
            bytes.extend_from_slice(&content.piece(bytes.len() as u64..u64::MAX));
        }
        bytes
    };
    let image = BundleBuilder::new().label(None).raw_layer(layer(&contents[0]));
    let image = contents[1..].iter().fold(image, |image, content| image.extra_layer(layer(content))).build();
    let directory = TempDir::new().unwrap();
    let path = LayoutTar::of(&image, "acme/app:v1").write(&directory.path().join("a.tar"));
    let edge = Edge::of(&path).await;
    let mut pulls = tokio::task::JoinSet::new();
    for content in &contents {
        for part in [None, Some(0..1), Some(content.size() / 3..content.size())] {
            let pull = Pull::of(&edge.url, "acme/app", content);
            match part {
                None => drop(pulls.spawn(pull.run())),
                Some(range) if range.start < range.end && range.end <= content.size() => {
                    pulls.spawn(pull.range(range).run());
                }
                Some(_) => {}
            }
        }
    }
    while let Some(ended) = pulls.join_next().await {
        assert_eq!(ended.unwrap(), Ended::Whole);
    }
    edge.pull_whole("acme/app", "v1").await;
}

#[tokio::test]
async fn what_is_only_read_cannot_be_pushed_to() {
    let edge = Edge::of(&golden_tar("simple-app")).await;
    let url = format!("{}/v2/fx/simple-app/blobs/uploads/", edge.url);
    let answer = http::send(Method::POST, &url, &[("content-length", "0")], "").await;
    assert_eq!(answer.status, 405, "{answer:?}");
}

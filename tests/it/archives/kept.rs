//! What is written down of archives, so that not even their headers are read twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::parts::Edge;
use crate::support::archive::LayoutTar;
use crate::support::bundle::Bundle;
use crate::support::stored::files;

/// How long an archive has to have been left alone; there is no other way to make one old than to wait.
const SETTLED: Duration = Duration::from_millis(2200);

#[tokio::test]
async fn it_is_believed_after_a_restart_and_no_more_than_it_deserves() {
    let directory = TempDir::new().unwrap();
    let image = Bundle::image("image");
    let path = LayoutTar::of(&image, "acme/app:v1").write(&directory.path().join("a.tar"));
    let mut edge = Edge::of(directory.path()).await;
    edge.pull_whole("acme/app", "v1").await;
    // Of one that was just written, nothing is.
    assert_eq!(kept(&edge.cache()), Vec::<PathBuf>::new());
    tokio::time::sleep(SETTLED).await;
    edge.restart().await;
    let [file] = &kept(&edge.cache())[..] else { panic!("{:?}", kept(&edge.cache())) };
    edge.pull_whole("acme/app", "v1").await;
    let written = fs::read(file).unwrap();

    // With one entry less in it, that is missing: so it is read.
    let mut document: Value = serde_json::from_slice(&written).unwrap();
    let layer = image.layer_digest().to_string();
    document["table"]["contents"].as_object_mut().unwrap().remove(&layer).unwrap();
    fs::write(file, document.to_string()).unwrap();
    edge.restart().await;
    edge.manifest("acme/app", "v1").await.expect(200);
    edge.blob("acme/app", &image.layer_digest()).await.expect(404);

    // With a wrong place in it, the bytes there are still not what they are called.
    let mut document: Value = serde_json::from_slice(&written).unwrap();
    let config = document["table"]["contents"][image.config_digest().to_string()].clone();
    document["table"]["contents"][&layer] = config;
    fs::write(file, document.to_string()).unwrap();
    edge.restart().await;
    edge.blob("acme/app", &image.layer_digest()).await.expect(502);

    // Garbage, and what is not of this file as it is now, is made anew.
    let mut version: Value = serde_json::from_slice(&written).unwrap();
    version["version"] = 999.into();
    let mut size: Value = serde_json::from_slice(&written).unwrap();
    size["stamp"]["size"] = 1.into();
    let mut place: Value = serde_json::from_slice(&written).unwrap();
    place["table"]["index"]["offset"] = (u64::MAX - 3).into();
    let text = |value: Value| value.to_string().into_bytes();
    for garbage in [Vec::new(), b"garbage".to_vec(), written[..written.len() / 2].to_vec()]
        .into_iter()
        .chain([version, size, place].map(text))
    {
        fs::write(file, garbage).unwrap();
        edge.restart().await;
        edge.pull_whole("acme/app", "v1").await;
        assert_eq!(document_of(&fs::read(file).unwrap()), document_of(&written), "written again");
    }
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    edge.restart().await;
    edge.pull_whole("acme/app", "v1").await;
    fs::remove_dir(file).unwrap();
    edge.restart().await;
    assert!(file.exists());

    // It goes when its archive does, and says nothing of what is put in its place.
    let other = Bundle::image("other");
    let tar = LayoutTar::of(&other, "acme/app:v1").bytes();
    fs::write(directory.path().join(".part"), tar).unwrap();
    fs::rename(directory.path().join(".part"), &path).unwrap();
    edge.restart().await;
    assert_eq!(edge.digest("acme/app", "v1").await, other.digest());
    edge.pull_whole("acme/app", "v1").await;
    fs::remove_file(&path).unwrap();
    edge.manifest("acme/app", "v1").await.expect(404);
    assert_eq!(kept(&edge.cache()), Vec::<PathBuf>::new());
}

fn kept(cache: &Path) -> Vec<PathBuf> {
    files(&cache.join("archives"))
}

/// Whatever the order is in which it was written.
fn document_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

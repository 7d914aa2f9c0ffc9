//! Archives that change while they are read, and between reads.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use super::parts::Edge;
use crate::support::archive::LayoutTar;
use crate::support::bundle::{Bundle, BundleBuilder};
use crate::support::http::{self, Arriving};
use crate::support::pattern::Pattern;

/// More than what the sockets on both sides and the server hold, so that most of it is read after the change.
const SIZE: u64 = 48 << 20;

/// An archive with a large layer, served from a directory.
struct Scene {
    edge: Edge,
    image: Bundle,
    content: Pattern,
    path: PathBuf,
    _directory: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let content = Pattern::new(5, SIZE);
        let image = image_of(&content);
        let directory = TempDir::new().unwrap();
        let path = LayoutTar::of(&image, "acme/app:v1").write(&directory.path().join("a.tar"));
        let edge = Edge::of(directory.path()).await;
        Self { edge, image, content, path, _directory: directory }
    }

    /// A client that has had the first bytes of the layer.
    async fn reader(&self) -> SlowReader {
        let url = self.edge.blob_url("acme/app", &self.image.layer_digest());
        let arriving = http::open(Method::GET, &url, &[], "").await.unwrap();
        assert_eq!(arriving.status, 200);
        let mut reader = SlowReader { arriving, content: self.content, at: 0 };
        assert!(reader.next().await.unwrap());
        reader
    }

    /// Replaces what the archive has, as `mv` does.
    fn replace(&self, archive: &[u8]) {
        let hidden = self.path.with_file_name(".part");
        fs::write(&hidden, archive).unwrap();
        fs::rename(hidden, &self.path).unwrap();
    }

    /// Writes into the archive where it is: all of the layer but its first megabyte becomes something else.
    fn overwrite(&self) {
        let mut file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.seek(SeekFrom::Start(1 << 20)).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..(SIZE >> 20) - 2).for_each(|_| file.write_all(&zeros).unwrap());
    }
}

fn image_of(content: &Pattern) -> Bundle {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < content.size() {
        bytes.extend_from_slice(&content.piece(bytes.len() as u64..u64::MAX));
    }
    BundleBuilder::new().label(None).raw_layer(Bytes::from(bytes)).build()
}

struct SlowReader {
    arriving: Arriving,
    content: Pattern,
    at: u64,
}

impl SlowReader {
    /// Whether there was more; an error where the body breaks. What comes has to be right.
    async fn next(&mut self) -> Result<bool, String> {
        let Some(piece) = self.arriving.next().await else { return Ok(false) };
        let piece = piece?;
        assert!(self.content.holds(self.at, &piece), "wrong bytes at {}", self.at);
        self.at += piece.len() as u64;
        Ok(true)
    }

    /// Reads to the end, and tells whether all of it came.
    async fn ends_whole(mut self) -> bool {
        loop {
            match self.next().await {
                Ok(true) => {}
                Ok(false) => {
                    assert_eq!(self.at, SIZE, "a clean end of too few bytes");
                    return true;
                }
                Err(_) => return false,
            }
        }
    }
}

#[tokio::test]
async fn one_that_is_overwritten_breaks_whoever_reads_it() {
    let scene = Scene::new().await;
    let reader = scene.reader().await;
    scene.overwrite();
    assert!(!reader.ends_whole().await);
    // The next one sees what is there now, which is not what it is called.
    let answer = scene.edge.blob("acme/app", &scene.image.layer_digest()).await;
    assert!(answer.broken.is_some(), "{}", answer.status);
    scene.edge.manifest("acme/app", "v1").await.expect(200);
}

#[tokio::test]
async fn one_that_is_cut_short_breaks_whoever_reads_it() {
    let scene = Scene::new().await;
    let reader = scene.reader().await;
    File::options().write(true).open(&scene.path).unwrap().set_len(2 << 20).unwrap();
    assert!(!reader.ends_whole().await);
    scene.edge.manifest("acme/app", "v1").await.expect(404);
}

#[tokio::test]
async fn one_that_is_replaced_is_read_to_its_end() {
    let scene = Scene::new().await;
    let other = Bundle::image("other");
    let reader = scene.reader().await;
    scene.replace(&LayoutTar::of(&other, "acme/app:v1").bytes());
    assert_eq!(scene.edge.digest("acme/app", "v1").await, other.digest());
    scene.edge.blob("acme/app", &scene.image.layer_digest()).await.expect(404);
    assert!(reader.ends_whole().await);
    scene.edge.pull_whole("acme/app", "v1").await;
}

#[tokio::test]
async fn one_that_is_removed_is_read_to_its_end() {
    let scene = Scene::new().await;
    let reader = scene.reader().await;
    fs::remove_file(&scene.path).unwrap();
    scene.edge.manifest("acme/app", "v1").await.expect(404);
    scene.edge.blob("acme/app", &scene.image.layer_digest()).await.expect(404);
    assert!(reader.ends_whole().await);
}

#[tokio::test]
async fn what_was_right_once_is_looked_at_again_when_it_has_changed() {
    let scene = Scene::new().await;
    let digest = scene.image.layer_digest();
    let whole = fs::read(&scene.path).unwrap();
    for _ in 0..2 {
        assert!(scene.reader().await.ends_whole().await);
        flip(&scene.path, SIZE / 2);
        assert!(scene.edge.blob("acme/app", &digest).await.broken.is_some());
        flip(&scene.path, SIZE / 2);
        assert!(scene.reader().await.ends_whole().await);
        flip(&scene.path, SIZE / 2);
        assert!(scene.edge.blob("acme/app", &digest).await.broken.is_some());
        scene.replace(&whole);
    }
}

/// Another archive under the same name, in which the same digest lies somewhere else.
#[tokio::test]
async fn what_lies_elsewhere_after_a_change_is_found_there() {
    let scene = Scene::new().await;
    let more = (0..20).map(|at| Bundle::image(&at.to_string()));
    let tar = more.fold(LayoutTar::new(), |tar, image| tar.image(&image, Some("acme/more:v1")));
    let archive = tar.image(&scene.image, Some("acme/app:v1")).bytes();
    assert!(scene.reader().await.ends_whole().await);
    // In place: the same file, other bytes in it.
    fs::write(&scene.path, archive).unwrap();
    assert!(scene.reader().await.ends_whole().await);
    scene.edge.pull_whole("acme/app", "v1").await;
}

fn flip(path: &Path, at: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    std::io::Read::read_exact(&mut file, &mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

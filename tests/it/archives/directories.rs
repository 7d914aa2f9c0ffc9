//! Directories in which archives come and go.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use colocate::oci::Digest;
use serde_json::json;
use tempfile::TempDir;

use super::parts::{Edge, bundle_of, images_in, relocated_lock};
use crate::support::access::Access;
use crate::support::archive::{ImgpkgTar, LayoutTar, REF_NAME, golden_tar};
use crate::support::bundle::Bundle;
use crate::support::cnab::{Cnab, INDEX, document};
use crate::support::colocate::{Colocate, Settings};
use crate::support::layout::Golden;
use crate::support::tarball::Tarball;

/// A directory of archives.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts an archive there at once, as `mv` does.
    fn drop_in(&self, name: &str, bytes: &[u8]) {
        let hidden = self.path(&format!(".{name}.part"));
        fs::write(&hidden, bytes).unwrap();
        fs::rename(hidden, self.path(name)).unwrap();
    }

    fn take_away(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

#[tokio::test]
async fn what_is_dropped_in_is_served_and_what_is_taken_away_is_gone() {
    let shelf = Shelf::new();
    let edge = Edge::of(shelf.0.path()).await;
    assert_eq!(edge.repositories().await, Vec::<String>::new());
    let golden = Golden::read("simple-app");
    let archive = fs::read(golden_tar(golden.name)).unwrap();
    for _ in 0..2 {
        edge.manifest("fx/simple-app", Golden::TAG).await.expect(404);
        shelf.drop_in("one.tar", &archive);
        let pulled = edge.pull("fx/simple-app", Golden::TAG).await;
        assert_ne!(pulled.digest, golden.digest);
        edge.pull_whole("fx/simple-app", golden.digest).await;
        let [image] = &images_in(&pulled.lock())[..] else { panic!("one image") };
        let (_, image) = image.split_once('@').unwrap();
        edge.pull_whole("fx/simple-app", image).await;

        shelf.take_away("one.tar");
        // Of it, nothing is left, and nothing of what was made of it.
        for reference in [Golden::TAG, &golden.digest.to_string(), &pulled.digest.to_string(), image] {
            let answer = edge.manifest("fx/simple-app", reference).await.expect(404);
            assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_UNKNOWN"), "{reference}");
        }
        let own = golden.origin.blobs.iter().map(|(digest, _)| *digest);
        for digest in own.chain([pulled.layer_digest(), pulled.config_digest()]) {
            edge.blob("fx/simple-app", &digest).await.expect(404);
        }
        assert_eq!(edge.tags("fx/simple-app").await, None);
        assert_eq!(edge.tags("apps/one").await, None);
        assert_eq!(edge.repositories().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_is_put_in_another_s_place_is_served_in_its_place() {
    let shelf = Shelf::new();
    let images = [Bundle::image("first"), Bundle::image("second")];
    let bundles = images.each_ref().map(|image| bundle_of(&[image]));
    let archive = |at: usize| {
        let tar = ImgpkgTar::new().root(&bundles[at], "h.example/acme/app", "v1");
        tar.image(&images[at], "h.example/apps/image").bytes()
    };
    shelf.drop_in("app.tar", &archive(0));
    let edge = Edge::of(shelf.0.path()).await;
    let before = edge.pull("acme/app", "v1").await;
    assert_eq!(images_in(&before.lock()), relocated_lock(&[&images[0]], "acme/app"));
    shelf.drop_in("app.tar", &archive(1));
    let after = edge.pull("acme/app", "v1").await;
    assert_eq!(images_in(&after.lock()), relocated_lock(&[&images[1]], "acme/app"));
    for gone in [before.digest, bundles[0].digest(), images[0].digest()] {
        edge.manifest("acme/app", gone).await.expect(404);
    }
    for gone in [before.layer_digest(), bundles[0].layer_digest(), images[0].layer_digest()] {
        edge.blob("acme/app", &gone).await.expect(404);
    }
    edge.pull_whole("acme/app", images[1].digest()).await;
}

#[tokio::test]
async fn an_image_comes_and_goes_with_its_archive_wherever_its_bundle_is() {
    let shelf = Shelf::new();
    let image = Bundle::image("image");
    let bundle = bundle_of(&[&image]);
    shelf.drop_in("bundle.tar", &LayoutTar::of(&bundle, "acme/app:v1").bytes());
    let edge = Edge::of(shelf.0.path()).await;
    let archive = LayoutTar::of(&image, "apps/image:v1").bytes();
    // Each time by the next request, whatever was believed before.
    for _ in 0..2 {
        assert_eq!(edge.digest("acme/app", "v1").await, bundle.digest());
        shelf.drop_in("image.tar", &archive);
        assert_ne!(edge.digest("acme/app", "v1").await, bundle.digest());
        edge.pull_whole("acme/app", image.digest()).await;
        shelf.take_away("image.tar");
        edge.manifest("acme/app", image.digest()).await.expect(404);
        edge.blob("acme/app", &image.layer_digest()).await.expect(404);
    }
}

#[tokio::test]
async fn an_archive_that_does_not_count_hides_none_that_does() {
    let shelf = Shelf::new();
    let golden = Golden::read("simple-app");
    shelf.drop_in("one.tar", &fs::read(golden_tar(golden.name)).unwrap());
    let origins = "relocation: {from_origin: [{bundles: '**', origins: 'archive/apps/**'}]}";
    let config = format!("upstream: {{url: 'archive:{}'}}\n{origins}", shelf.0.path().display());
    let edge = Edge::configured(&config).await;
    let relocated = edge.digest("fx/simple-app", Golden::TAG).await;
    assert_ne!(relocated, golden.digest);
    // The same image by a name that comes first, and is not allowed.
    let mut other = fs::read(golden_tar("wide-app")).unwrap();
    let named: Vec<usize> =
        other.windows(9).enumerate().filter(|(_, it)| it == b"apps/one@").map(|(at, _)| at).collect();
    assert!(!named.is_empty());
    named.into_iter().for_each(|at| other[at..at + 4].copy_from_slice(b"aaas"));
    shelf.drop_in("a.tar", &other);
    assert!(edge.repositories().await.contains(&"aaas/one".to_owned()));
    assert_eq!(Edge::configured(&config).await.digest("fx/simple-app", Golden::TAG).await, relocated);
}

/// Both have the same map made for them.
#[tokio::test]
async fn what_two_bundles_have_in_common_stays_with_the_one_that_stays() {
    let shelf = Shelf::new();
    let first = Cnab::golden();
    let text = String::from_utf8(first.index.bytes.to_vec()).unwrap().replace("0.5.0", "0.6.0");
    let second = Cnab { index: document(INDEX, text), ..first.clone() };
    for (tag, cnab) in [("v1", &first), ("v2", &second)] {
        let parts = cnab.layout.blobs.iter().map(|(_, bytes)| bytes);
        let parts =
            parts.chain(cnab.layout.manifests.iter().map(|document| &document.bytes)).chain([&cnab.index.bytes]);
        let tar = parts.fold(LayoutTar::new(), |tar, part| tar.blob(part));
        let named = json!({ REF_NAME: format!("acme/music:{tag}") });
        shelf.drop_in(&format!("{tag}.tar"), &tar.list(&cnab.index, named).bytes());
    }
    let edge = Edge::of(shelf.0.path()).await;
    let artifact_of = async |cnab: &Cnab| {
        let url = format!("{}/v2/acme/music/referrers/{}", edge.url, cnab.index.digest);
        let listed = Access::anonymous().get(&url).await.expect(200).json();
        listed["manifests"][0]["digest"].as_str().expect("an artifact").to_owned()
    };
    let (kept, gone) = (artifact_of(&first).await, artifact_of(&second).await);
    edge.pull_whole("acme/music", &gone).await;
    shelf.take_away("v2.tar");
    edge.pull_whole("acme/music", &kept).await;
    assert_eq!(artifact_of(&first).await, kept);
    edge.manifest("acme/music", &gone).await.expect(404);
}

#[tokio::test]
async fn a_link_is_followed_to_where_it_leads_now() {
    let shelf = Shelf::new();
    let elsewhere = TempDir::new().unwrap();
    let link = elsewhere.path().join("current.tar");
    for (at, image) in [Bundle::image("first"), Bundle::image("second")].iter().enumerate() {
        shelf.drop_in(&format!("{at}.tar"), &LayoutTar::of(image, "acme/app:v1").bytes());
    }
    symlink(shelf.path("0.tar"), &link).unwrap();
    let edge = Edge::of(&link).await;
    assert_eq!(edge.digest("acme/app", "v1").await, Bundle::image("first").digest());
    fs::remove_file(&link).unwrap();
    symlink(shelf.path("1.tar"), &link).unwrap();
    assert_eq!(edge.digest("acme/app", "v1").await, Bundle::image("second").digest());
    edge.pull_whole("acme/app", "v1").await;
}

#[tokio::test]
async fn an_archive_that_is_being_copied_is_served_once_it_is_whole() {
    let shelf = Shelf::new();
    let (good, coming) = (Bundle::image("good"), Bundle::image("coming"));
    shelf.drop_in("good.tar", &LayoutTar::of(&good, "acme/good:v1").bytes());
    let edge = Edge::of(shelf.0.path()).await;
    let archive = LayoutTar::of(&coming, "acme/coming:v1").bytes();
    let mut file = File::create(shelf.path("coming.tar")).unwrap();
    // At every block, and in the middle of each. The second of the two at the end needs not be there.
    let steps = (0..archive.len() - 1024).step_by(256);
    let mut written = 0;
    for step in steps {
        file.write_all(&archive[written..step]).unwrap();
        written = step;
        edge.manifest("acme/coming", "v1").await.expect(404);
        assert_eq!(edge.digest("acme/good", "v1").await, good.digest());
        edge.blob("acme/coming", &coming.layer_digest()).await.expect(404);
    }
    edge.pull_whole("acme/good", "v1").await;
    file.write_all(&archive[written..]).unwrap();
    edge.pull_whole("acme/coming", "v1").await;
    assert_eq!(edge.repositories().await, ["acme/coming", "acme/good"]);
}

#[tokio::test]
async fn what_is_no_archive_does_not_disturb_the_others() {
    let shelf = Shelf::new();
    let image = Bundle::image("image");
    let layout = LayoutTar::of(&image, "acme/app:v1");
    shelf.drop_in("m.tar", &layout.bytes());
    shelf.drop_in("a.tar", b"no tar at all");
    shelf.drop_in("b.tar", b"");
    shelf.drop_in("c.tar", &Tarball::new().file("readme", b"no images").finish().bytes);
    shelf.drop_in("z.tar", &layout.bytes()[..700]);
    shelf.drop_in("other.txt", b"of no interest");
    // By another name, or hidden: left alone.
    shelf.drop_in("noted.tar.sha256", &LayoutTar::of(&image, "acme/noted:v1").bytes());
    shelf.drop_in(".hidden.tar", &LayoutTar::of(&image, "acme/hidden:v1").bytes());
    fs::create_dir(shelf.path("folder.tar")).unwrap();
    fs::write(shelf.path("folder.tar/x.tar"), LayoutTar::of(&image, "acme/deeper:v1").bytes()).unwrap();
    std::os::unix::fs::symlink("nothing", shelf.path("dangling.tar")).unwrap();
    let edge = Edge::of(shelf.0.path()).await;
    assert_eq!(edge.repositories().await, ["acme/app"]);
    edge.pull_whole("acme/app", "v1").await;
    edge.manifest("acme/other", "v1").await.expect(404);
    // Mended in its place.
    shelf.drop_in("a.tar", &LayoutTar::of(&image, "acme/mended:v1").bytes());
    assert_eq!(edge.repositories().await, ["acme/app", "acme/mended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_archives_with_one_name_the_first_by_file_name_counts() {
    let shelf = Shelf::new();
    let [a, b] = ["a", "b"].map(Bundle::image);
    shelf.drop_in("b.tar", &LayoutTar::of(&b, "acme/app:v1").bytes());
    let served = Colocate::start(Settings::new(&format!("archive:{}", shelf.0.path().display()))).await;
    let current = async || Digest::of(&served.manifest("acme/app", "v1").await.expect(200).body);
    assert_eq!(current().await, b.digest());
    shelf.drop_in("a.tar", &LayoutTar::of(&a, "acme/app:v1").bytes());
    assert_eq!(current().await, a.digest());
    // The other is there by its digest.
    for image in [&a, &b] {
        served.manifest("acme/app", &image.digest().to_string()).await.expect(200);
        served.blob("acme/app", &image.layer_digest().to_string()).await.expect(200);
    }
    assert!(served.log().contains("both have acme/app:v1, and not the same; the first by name counts"));
    shelf.take_away("a.tar");
    assert_eq!(current().await, b.digest());
    served.manifest("acme/app", &a.digest().to_string()).await.expect(404);
    assert!(served.log().contains("an archive is gone"));
}

#[tokio::test]
async fn a_directory_that_is_taken_away_whole_is_trouble_and_not_absence() {
    let shelf = Shelf::new();
    let image = Bundle::image("image");
    let place = shelf.path("mounted");
    let archive = LayoutTar::of(&image, "acme/app:v1").bytes();
    let mount = || {
        fs::create_dir(&place).unwrap();
        fs::write(place.join("a.tar"), &archive).unwrap();
    };
    mount();
    let edge = Edge::of(&place).await;
    edge.pull_whole("acme/app", "v1").await;
    fs::remove_dir_all(&place).unwrap();
    let answer = edge.manifest("acme/app", "v1").await.expect(502);
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!said.contains(place.to_str().unwrap()), "no names of this machine's: {said}");
    mount();
    edge.pull_whole("acme/app", "v1").await;
}

#[tokio::test]
async fn a_layout_directory_by_either_word() {
    let golden = Golden::read("simple-app");
    let layout = crate::support::fixture("bundles/simple-app/colocated");
    for word in ["archive", "layout"] {
        let edge = Edge::configured(&format!("upstream: {{url: '{word}:{}'}}", layout.display())).await;
        let pulled = edge.pull(&golden.repository, Golden::TAG).await;
        assert_ne!(pulled.digest, golden.digest);
        edge.pull_whole(&golden.repository, golden.digest).await;
    }
}

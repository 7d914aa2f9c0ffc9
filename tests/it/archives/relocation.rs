//! Bundles in archives, their images in the same one, in another, or in none.

use colocate::oci::Digest;
use tempfile::TempDir;

use super::parts::{ENDPOINT, Edge, bundle_of, images_in, relocated_lock};
use crate::support::archive::{ImgpkgTar, LayoutTar, golden_tar};
use crate::support::bundle::{Bundle, BundleBuilder, index, lock_of};
use crate::support::colocate::colocate;
use crate::support::layout::Golden;
use crate::support::scripted::ScriptedUpstream;

fn images(count: usize) -> Vec<Bundle> {
    (0..count).map(|at| Bundle::image(&format!("image {at}"))).collect()
}

#[tokio::test]
async fn images_in_the_same_archive() {
    let images = images(3);
    let all: Vec<&Bundle> = images.iter().collect();
    let bundle = bundle_of(&all);
    let imgpkg = images
        .iter()
        .enumerate()
        .fold(ImgpkgTar::new(), |tar, (at, image)| tar.image(image, &format!("registry.example/apps/{at}")));
    let layout =
        images.iter().enumerate().fold(LayoutTar::of(&bundle, "h.example/acme/bundle:v1"), |tar, (at, image)| {
            tar.image(image, Some(&format!("elsewhere.example/copied/{at}")))
        });
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    for tar in [
        imgpkg.root(&bundle, "h.example/acme/bundle", "v1").write(&path("imgpkg.tar")),
        layout.write(&path("layout.tar")),
    ] {
        let edge = Edge::of(&tar).await;
        let pulled = edge.pull("acme/bundle", "v1").await;
        assert_eq!(images_in(&pulled.lock()), relocated_lock(&all, "acme/bundle"), "{}", tar.display());
        for image in &images {
            edge.pull_whole("acme/bundle", image.digest()).await;
        }
        // What is not in its lock is not.
        edge.manifest("acme/bundle", Digest::of(b"other")).await.expect(404);
        edge.pull_whole("acme/bundle", bundle.digest()).await;
    }
}

#[tokio::test]
async fn an_image_in_another_archive_of_the_same_registry() {
    let images = images(2);
    let list = index(&[&images[1]]);
    let references = [
        format!("registry.example/apps/0@{}", images[0].digest()),
        format!("registry.example/apps/list@{}", list.digest),
    ];
    let bundle = BundleBuilder::with_lock(&lock_of(&references)).build();
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let first = ImgpkgTar::new().root(&bundle, "h.example/acme/bundle", "v1").write(&path("bundle.tar"));
    let second = LayoutTar::new().content(&images[1]).blob(&list.bytes);
    let second = second.list(&list, serde_json::json!(null)).image(&images[0], None).write(&path("images.tar"));
    let both = format!("upstream: {{archives: ['{}', '{}']}}", first.display(), second.display());
    let edge = Edge::configured(&both).await;
    let pulled = edge.pull("acme/bundle", "v1").await;
    let expected = [images[0].digest(), list.digest].map(|digest| format!("{ENDPOINT}/acme/bundle@{digest}"));
    assert_eq!(images_in(&pulled.lock()), expected);
    for digest in [images[0].digest(), list.digest, images[1].digest()] {
        edge.pull_whole("acme/bundle", digest).await;
    }
    // With the bundle alone it stays what it is.
    let alone = Edge::of(&first).await;
    assert_eq!(alone.digest("acme/bundle", "v1").await, bundle.digest());
}

#[tokio::test]
async fn an_archive_beside_a_registry_gives_that_one_s_bundles_their_images() {
    let images = images(2);
    let all: Vec<&Bundle> = images.iter().collect();
    let bundle = bundle_of(&all);
    let registry = ScriptedUpstream::start().await;
    registry.put("acme/bundle", &bundle.layout(Some("v1")));
    let directory = TempDir::new().unwrap();
    let tar = LayoutTar::of(&images[0], "apps/zero:v1").image(&images[1], Some("apps/one:v1"));
    let tar = tar.write(&directory.path().join("images.tar"));
    let config = format!(
        "upstream: {{registry: registry.example, url: '{}'}}\n\
         upstreams: [{{registry: images.example, archives: ['{}']}}]",
        registry.url(),
        tar.display()
    );
    let edge = Edge::configured(&config).await;
    let pulled = edge.pull("acme/bundle", "v1").await;
    assert_eq!(images_in(&pulled.lock()), relocated_lock(&all, "acme/bundle"));
    for image in &images {
        edge.pull_whole("acme/bundle", image.digest()).await;
    }
    edge.pull_whole("images.example/apps/zero", "v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_image_the_original_and_the_reason() {
    let images = images(2);
    let bundle = bundle_of(&images.iter().collect::<Vec<_>>());
    let directory = TempDir::new().unwrap();
    let tar = ImgpkgTar::new().root(&bundle, "h.example/acme/bundle", "v1").image(&images[0], "h.example/apps/zero");
    let path = tar.write(&directory.path().join("bundle.tar"));
    let edge = Edge::of(&path).await;
    let pulled = edge.pull("acme/bundle", "v1").await;
    assert_eq!(pulled.digest, bundle.digest());
    edge.manifest("acme/bundle", images[1].digest()).await.expect(404);
    // Of an original, nothing is there but what it has itself.
    edge.manifest("acme/bundle", images[0].digest()).await.expect(404);

    let url = format!("archive:{}", path.display());
    let told = colocate(&["explain", "--upstream", &url, "--endpoint", ENDPOINT, "acme/bundle:v1"]).await.stdout;
    for expected in ["a tag gives the original", "not in the bundle's repository", &images[1].digest().to_string()] {
        assert!(told.contains(expected), "{expected} in\n{told}");
    }
    assert!(told.contains("registry.example/apps/1: no registry of that name is behind this proxy"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_origins_do_not_count_the_original() {
    let golden = Golden::read("simple-app");
    let tar = golden_tar(golden.name);
    let rest = "relocation: {from_origin: []}";
    let edge = Edge::configured(&format!("upstream: {{archives: ['{}']}}\n{rest}", tar.display())).await;
    assert_eq!(edge.digest("fx/simple-app", Golden::TAG).await, golden.digest);
    // All in one repository need no origin.
    let config = format!("upstream: {{archives: ['{}'], as: acme/app}}\n{rest}", tar.display());
    assert_ne!(Edge::configured(&config).await.digest("acme/app", Golden::TAG).await, golden.digest);

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("colocate.yaml");
    std::fs::write(&file, format!("upstream: {{archives: ['{}']}}\nendpoint: {ENDPOINT}\n{rest}\n", tar.display()))
        .unwrap();
    let told = colocate(&["explain", "--config", file.to_str().unwrap(), "fx/simple-app:v1.0.0"]).await;
    assert!(told.stdout.contains("archive/apps/one: relocation.from_origin does not allow it"), "{told:?}");
}

#[tokio::test]
async fn a_bundle_that_only_a_lock_names_is_found_through_two_archives() {
    let leaf = Bundle::image("leaf");
    let inner = BundleBuilder::with_lock(&lock_of(&[format!("r.example/leaf@{}", leaf.digest())])).build();
    let outer = BundleBuilder::with_lock(&lock_of(&[format!("r.example/inner@{}", inner.digest())])).build();
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    ImgpkgTar::new().root(&outer, "r.example/acme/outer", "v1").write(&path("a.tar"));
    ImgpkgTar::new().image(&inner, "r.example/acme/inner").write(&path("b.tar"));
    LayoutTar::of(&leaf, "r.example/acme/leaf:v1").write(&path("c.tar"));
    let edge = Edge::of(directory.path()).await;
    let pulled = edge.pull("acme/outer", "v1").await;
    assert_eq!(images_in(&pulled.lock()), [format!("{ENDPOINT}/acme/outer@{}", inner.digest())]);
    edge.pull_whole("acme/outer", inner.digest()).await;
    edge.pull_whole("acme/outer", leaf.digest()).await;
}

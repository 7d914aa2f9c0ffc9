//! Archives by another name than they came with, on the command line and in the configuration.

use colocate::config::{Called, Config};
use colocate::oci::Digest;
use tempfile::TempDir;

use super::parts::{Edge, images_in, open_as, shown};
use crate::support::archive::{LayoutTar, golden_tar};
use crate::support::bundle::Bundle;
use crate::support::colocate::{Colocate, colocate};
use crate::support::layout::Golden;

fn called(repository: &str, tag: Option<&str>) -> Option<Called> {
    Some(Called { repository: repository.parse().unwrap(), tag: tag.map(|tag| tag.parse().unwrap()) })
}

#[test]
fn all_of_it_is_in_one_repository() {
    for (bundle, own, tagged) in [
        // What was asked for has the tag, and what it names has none.
        ("nested-app", "acme/app: v1.0.0", "acme/app: v7"),
        ("multi-app", "acme/app: v1.0.0", "acme/app: v7"),
    ] {
        let tar = golden_tar(bundle);
        assert_eq!(shown(&open_as(&tar, called("acme/app", None)).unwrap()), [own], "{bundle}");
        assert_eq!(shown(&open_as(&tar, called("acme/app", Some("v7"))).unwrap()), [tagged], "{bundle}");
    }
}

#[test]
fn a_tag_is_for_one_image() {
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("images.tar");
    let open = |tar: LayoutTar, tag| open_as(&tar.write(&path), called("acme/app", tag)).map(|files| shown(&files));
    let both = || LayoutTar::of(&one, "a/one:v1").image(&two, Some("a/two:v2"));
    assert_eq!(open(both(), None).unwrap(), ["acme/app: v1 v2"]);
    let refused = open(both(), Some("v7")).unwrap_err();
    assert!(refused.contains("holds several images, which cannot all be called v7; leave the tag out"), "{refused}");
    // Without names, all of them were asked for; with one name, that one was.
    let nameless = || LayoutTar::new().image(&one, None).image(&two, None);
    assert!(open(nameless(), Some("v7")).is_err());
    assert_eq!(open(nameless(), None).unwrap(), ["acme/app: "]);
    let one_named = LayoutTar::of(&one, "a/one:v1").image(&two, None);
    assert_eq!(open(one_named, Some("v7")).unwrap(), ["acme/app: v7"]);
    // Two names of one image become one.
    let twice = LayoutTar::of(&one, "a/one:v1").image(&one, Some("a/other:v2"));
    assert_eq!(open(twice, Some("v7")).unwrap(), ["acme/app: v7"]);
    assert_eq!(open(LayoutTar::new().image(&one, None), Some("v7")).unwrap(), ["acme/app: v7"]);
}

#[tokio::test]
async fn what_is_renamed_is_relocated_to_its_new_name() {
    let golden = Golden::read("simple-app");
    let tar = golden_tar(golden.name);
    for (upstream, tag) in [
        (format!("{{url: 'archive:{}', as: acme/app}}", tar.display()), Golden::TAG),
        (format!("{{archives: ['{}'], as: 'acme/app:v7'}}", tar.display()), "v7"),
    ] {
        let edge = Edge::configured(&format!("upstream: {upstream}")).await;
        assert_eq!(edge.repositories().await, ["acme/app"]);
        assert_eq!(edge.tags("acme/app").await.unwrap(), [tag]);
        let pulled = edge.pull("acme/app", tag).await;
        for image in images_in(&pulled.lock()) {
            let (place, digest) = image.split_once('@').unwrap();
            assert_eq!(place, "edge.example/acme/app");
            edge.pull_whole("acme/app", digest).await;
        }
        assert_eq!(edge.manifest("fx/simple-app", Golden::TAG).await.status, 404);
    }
}

#[tokio::test]
async fn several_archives_by_the_url_and_by_the_list() {
    let (one, two) = (Golden::read("simple-app"), Golden::read("multi-app"));
    let (first, second) = (golden_tar(one.name), golden_tar(two.name));
    for upstream in [
        format!("{{url: 'archive:{}', archives: ['{}']}}", first.display(), second.display()),
        format!("{{archives: ['{}', '{}']}}", first.display(), second.display()),
        format!("{{archives: ['{}', '{}', '{}']}}", first.display(), second.display(), first.display()),
    ] {
        let edge = Edge::configured(&format!("upstream: {upstream}")).await;
        assert_eq!(edge.repositories().await, ["apps/multi", "apps/one", "fx/multi-app", "fx/simple-app"]);
        for golden in [&one, &two] {
            let pulled = edge.pull(&format!("fx/{}", golden.name), Golden::TAG).await;
            assert_ne!(pulled.digest, golden.digest);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_command_line() {
    let (simple, multi) = (golden_tar("simple-app"), golden_tar("multi-app"));
    let (simple, multi) = (simple.to_str().unwrap(), multi.to_str().unwrap());
    let settled = ["--listen", "{listen}", "--cache", "{cache}", "--admin", "none"];
    let start = async |arguments: &[&str]| Colocate::start_with(&[&["serve"], arguments, &settled].concat()).await;

    let served = start(&[simple, multi]).await;
    for name in ["simple-app", "multi-app"] {
        let golden = Golden::read(name);
        let pulled = served.pull(&format!("fx/{name}"), Golden::TAG).await;
        assert_ne!(pulled.digest, golden.digest);
        // Without an endpoint: the address that it listens on.
        let own = format!("{}/fx/{name}@", served.authority());
        assert!(
            images_in(&pulled.lock()).iter().all(|image| image.starts_with(&own)),
            "{:?}",
            images_in(&pulled.lock())
        );
    }
    let served = start(&[simple, "--as", "acme/app:v7", "--endpoint", "edge.example"]).await;
    let pulled = served.pull("acme/app", "v7").await;
    assert!(images_in(&pulled.lock()).iter().all(|image| image.starts_with("edge.example/acme/app@sha256:")));
    served.manifest("acme/app", Golden::TAG).await.expect(404);
    let url = format!("archive:{simple}");
    let served = start(&["--upstream", &url, "--as", "acme/app"]).await;
    assert_ne!(served.manifest("acme/app", Golden::TAG).await.expect(200).digest(), Golden::read("simple-app").digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_so_is_refused_at_the_start() {
    let (one, two) = (Bundle::image("one"), Bundle::image("two"));
    let directory = TempDir::new().unwrap();
    let path = LayoutTar::of(&one, "a/one:v1").image(&two, Some("a/two:v2")).write(&directory.path().join("both.tar"));
    let cache = directory.path().join("cache").display().to_string();
    let serve = async |name: &str| {
        let tar = path.to_str().unwrap();
        let rest = ["--listen", "127.0.0.1:0", "--cache", &cache, "--admin", "none"];
        colocate(&[&["serve", tar, "--as", name], &rest[..]].concat()).await
    };
    let refused = serve("acme/app:v7").await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("holds several images, which cannot all be called v7"), "{refused:?}");
    for (name, why) in
        [("Acme/App", "`Acme/App` is no repository with or without a tag"), ("a:b c", "is no repository")]
    {
        let refused = serve(name).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(refused.stderr.contains(why) && refused.stderr.contains("upstream.as"), "{refused:?}");
    }
}

#[test]
fn what_means_nothing_to_a_registry_or_to_files_is_refused() {
    let problems = |text: &str| Config::parse("test", text).err().map(|error| error.to_string()).unwrap_or_default();
    for (text, refused) in [
        ("upstream: {archives: [a.tar]}", ""),
        ("upstream: {url: 'archive:a.tar', as: a/b}", ""),
        ("upstreams: [{registry: images.example, archives: [a.tar], as: a/b}]", ""),
        ("upstream: {url: 'https://a.example', archives: [a.tar]}", "upstream.archives: means nothing to a registry"),
        ("upstream: {url: 'https://a.example', as: a/b}", "upstream.as: means nothing to a registry"),
        ("upstream: {url: 'archive:'}", "upstream.url: is empty; write archive:FILE"),
        ("upstream: {archives: ['']}", "upstream.archives[0]"),
        ("upstream: {archives: []}", "upstream.url: is needed; write https://HOST[:PORT], archive:FILE"),
        ("upstream: {archives: [a.tar], writes: forward}", "upstream.writes: cannot be `forward` for files"),
        (
            "upstream: {archives: [a.tar], credentials: {username: a, password: b}}",
            "upstream.credentials: means nothing to files",
        ),
    ] {
        let said = problems(text);
        assert!(if refused.is_empty() { said.is_empty() } else { said.contains(refused) }, "{text}\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explained_and_checked_without_being_served() {
    let golden = Golden::read("nested-app");
    let url = format!("archive:{}", golden_tar(golden.name).display());
    let explain = async |reference: &str| {
        let finished = colocate(&["explain", "--upstream", &url, "--endpoint", "edge.example", reference]).await;
        assert!(finished.status.success(), "{finished:?}");
        finished.stdout
    };
    let told = explain("fx/nested-app:v1.0.0").await;
    for expected in [
        "a tag gives the relocated bundle".to_owned(),
        format!("original   {}", golden.digest),
        "colocated (from its origin, archive/fx/simple-app): edge.example/fx/nested-app@sha256:".to_owned(),
        "is a bundle itself, of 1 images".to_owned(),
        format!("fx/nested-app:v1.0.0 at {}", golden_tar(golden.name).display()),
    ] {
        assert!(told.contains(&expected), "{expected} in\n{told}");
    }
    let relocated: Digest =
        told.lines().find_map(|line| line.trim().strip_prefix("relocated  ")).unwrap().parse().unwrap();
    let edge = Edge::of(&golden_tar(golden.name)).await;
    assert_eq!(edge.digest("fx/nested-app", Golden::TAG).await, relocated);
    assert!(explain("apps/one:latest").await.contains("a tag gives the original"));

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("colocate.yaml");
    // The files need not be there yet.
    std::fs::write(&file, "upstream: {archives: [/srv/a.tar, /srv/bundles], as: 'acme/app:v7'}\n").unwrap();
    let checked = colocate(&["check", "--config", file.to_str().unwrap()]).await;
    assert!(checked.status.success(), "{checked:?}");
    let expected = "archive, from /srv/a.tar, /srv/bundles, as acme/app:v7, asked as the files are";
    assert!(checked.stdout.contains(expected), "{checked:?}");
}

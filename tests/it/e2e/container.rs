//! The image of config/container: what is in it, and that it does its work for nobody in particular, on a root that
//! cannot be written to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::demo::assert_both_locks;
use super::edge::lock_at;
use crate::support::access::Access;
use crate::support::archive::golden_tar;
use crate::support::containerd::Containerd;
use crate::support::http::{self, Method};
use crate::support::image::Image;
use crate::support::layout::Golden;
use crate::support::process::free_address;
use crate::support::seen::Seen;
use crate::support::{eventually, require, require_release_build, require_root};

/// The image's user and group.
const USER: u32 = 65532;
/// What an image of one program may come to.
const MAX_BYTES: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_small_and_serves_without_any_rights() {
    if !require(&["buildah", "containerd", "ctr", "runc"]) || !require_root() {
        return;
    }
    let Some(target) = require_release_build() else { return };
    let image = Image::build(&target).await;
    holds_what_it_needs(&image.files().await);
    says_how_it_is_run(&image.configuration().await);

    let directory = TempDir::new().expect("a directory");
    let archive = directory.path().join("image.tar");
    image.archive(&archive).await;
    let containerd = Containerd::start().await;
    containerd.import(&archive).await;
    shows_the_demo(&containerd, image.name()).await;
    serves_by_a_configuration(&containerd, image.name()).await;
    writes_nowhere_else(&containerd, image.name()).await;
}

/// Every file, and whose it is.
fn holds_what_it_needs(root: &Path) {
    let (mut files, mut bytes, mut empty) = (BTreeSet::new(), 0, BTreeSet::new());
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file");
        let name = path.strip_prefix(root).expect("a file of the image").display().to_string();
        let (owner, mode) = match name.as_str() {
            "var/lib/colocate" => (USER, 0o700),
            "tmp" => (0, 0o1777),
            // Nobody but root may change it, and nothing gives more rights to who runs it.
            _ => (0, metadata.mode() & 0o755),
        };
        assert_eq!((metadata.uid(), metadata.gid()), (owner, owner), "{name}");
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
        if metadata.is_file() {
            assert!(metadata.mode() & 0o004 != 0, "{name} is not for everyone");
            bytes += metadata.len();
            files.insert(name);
            continue;
        }
        assert!(metadata.is_dir(), "{name} is neither file nor directory");
        let inside: Vec<_> =
            fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("one").path()).collect();
        if inside.is_empty() {
            empty.insert(name);
        }
        left.extend(inside);
    }
    let libraries = |name: &String| name.starts_with("lib") && name.contains(".so");
    let (libraries, others): (Vec<_>, Vec<_>) = files.into_iter().partition(libraries);
    let wanted =
        ["etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/bin/colocate"];
    assert_eq!(
        others.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(wanted),
        "no shell among them"
    );
    assert!((1..=5).contains(&libraries.len()), "{libraries:?}");
    assert_eq!(empty, BTreeSet::from(["etc/colocate", "tmp", "var/lib/colocate"].map(str::to_owned)));
    assert!(bytes < MAX_BYTES, "{bytes} bytes");
    let users = fs::read_to_string(root.join("etc/passwd")).expect("users");
    assert!(users.contains(&format!("colocate:x:{USER}:{USER}:")), "{users}");
}

fn says_how_it_is_run(configuration: &Value) {
    assert_eq!(configuration["User"], format!("{USER}:{USER}"));
    assert_eq!(configuration["Entrypoint"], json!(["/usr/bin/colocate"]));
    assert_eq!(configuration["Cmd"], json!(["serve", "--config", "/etc/colocate/colocate.yaml"]));
    assert_eq!(configuration["Volumes"], json!({"/var/lib/colocate": {}}));
    assert_eq!(configuration["ExposedPorts"], json!({"8080/tcp": {}, "8081/tcp": {}}));
    let label = |name: &str| configuration["Labels"][format!("org.opencontainers.image.{name}")].as_str();
    assert_eq!(label("title"), Some("Colocate"));
    assert_eq!(label("description"), Some(env!("CARGO_PKG_DESCRIPTION")));
    assert_eq!(label("version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(label("licenses"), Some(env!("CARGO_PKG_LICENSE")));
    let commit = std::env::var("COLOCATE_COMMIT").unwrap_or_default();
    assert_eq!(label("revision"), Some(commit.as_str()));
}

async fn shows_the_demo(containerd: &Containerd, image: &str) {
    let demo = containerd.run(image, &read_only(), &["/usr/bin/colocate", "demo", "--once"]).ended().await;
    assert!(demo.status.success(), "{demo:?}");
    assert_both_locks(&demo.stdout);
}

/// With the image's own command, and a configuration that says no more than it has to.
async fn serves_by_a_configuration(containerd: &Containerd, image: &str) {
    let golden = Golden::read("simple-app");
    let (directory, cache, address) = (TempDir::new().expect("a directory"), cache(), free_address());
    let configuration =
        json!({"listen": address, "admin": {"listen": "none"}, "upstream": {"url": "archive:/etc/colocate/app.tar"}});
    let file = |name: &str| directory.path().join(name);
    fs::write(file("colocate.yaml"), configuration.to_string()).expect("a configuration");
    fs::copy(golden_tar(golden.name), file("app.tar")).expect("an archive");
    for (path, mode) in [(directory.path(), 0o755), (&file("colocate.yaml"), 0o644), (&file("app.tar"), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    let mounts = [bind(directory.path(), "/etc/colocate", "ro"), bind(cache.path(), "/var/lib/colocate", "rw")];
    let mut container = containerd.run(image, &[&read_only()[..], &mounts.concat()].concat(), &[]);
    let url = format!("http://{address}");
    eventually("the container answers", Duration::from_secs(30), async || {
        container.assert_running();
        http::try_send(Method::GET, &format!("{url}/v2/"), &[], "").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let seen = Seen::new(&Access::anonymous(), &url);
    let pulled = seen.pull(&format!("fx/{}", golden.name), Golden::TAG).await;
    assert_eq!(String::from_utf8_lossy(&pulled.lock()), lock_at(&golden, &address.to_string()));

    let status = container.status().await;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // Real, effective, saved and for files.
    let nobody = vec![USER.to_string(); 4].join(" ");
    assert_eq!((field("Uid:"), field("Gid:")), (nobody.clone(), nobody));
    assert_eq!((field("CapEff:"), field("NoNewPrivs:"), field("Seccomp:")), ("0".repeat(16), "1".into(), "2".into()));
    assert!(cache.path().join("control").exists(), "its cache is where the image says");
    assert!(container.stop().await.success());
}

/// Neither where it cannot, nor where it may not.
async fn writes_nowhere_else(containerd: &Containerd, image: &str) {
    let serve = ["/usr/bin/colocate", "serve", "--upstream", "https://registry.example", "--admin", "none"];
    for (options, cache, why) in [
        (read_only(), "/elsewhere", "Read-only file system"),
        (read_only(), "/var/lib/colocate", "Read-only file system"),
        (Vec::new(), "/elsewhere", "Permission denied"),
        (Vec::new(), "/etc/colocate", "Permission denied"),
    ] {
        let listen = free_address().to_string();
        let arguments = [&serve[..], &["--listen", &listen, "--cache", cache]].concat();
        let served = containerd.run(image, &options, &arguments).ended().await;
        assert!(!served.status.success() && served.stderr.contains(why), "{cache}: {served:?}");
    }
}

fn read_only() -> Vec<String> {
    vec!["--read-only".to_owned()]
}

fn bind(from: &Path, to: &str, how: &str) -> [String; 2] {
    ["--mount".to_owned(), format!("type=bind,src={},dst={to},options=rbind:{how}", from.display())]
}

/// A directory that is the image's user's.
fn cache() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    chown(directory.path(), Some(USER), Some(USER)).expect("root may give it away");
    directory
}

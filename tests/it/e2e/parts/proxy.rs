//! The proxy with a certificate and a name of its own, and the clients that know both.

use tempfile::TempDir;

use crate::e2e::golden_registry;
use crate::support::access::Access;
use crate::support::certificates::Authority;
use crate::support::colocate::{Colocate, Settings};
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::names::Names;
use crate::support::podman::Podman;
use crate::support::skopeo::Skopeo;
use crate::support::{require, require_root};

/// A name that only the tests know.
const NAME: &str = "colocate.example";
/// Where a lock is in an unpacked bundle.
const LOCK: &str = ".imgpkg/images.yml";

#[tokio::test(flavor = "multi_thread")]
async fn every_client_pulls_through_it_by_its_name() {
    if !require(&["docker-registry", "skopeo", "podman", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new(directory.path());
    let server = authority.server(&[NAME]);
    let registry = golden_registry().await;
    let settings = Settings::new(&registry.url())
        .set("server.tls.cert", server.certificate.to_string_lossy().as_ref())
        .set("server.tls.key", server.key.to_string_lossy().as_ref());
    let colocate = Colocate::start(settings).await;
    let names = Names::start(&[(NAME, colocate.port())]).await;
    let access = Access::anonymous().trusting(&authority).finding(&names);
    let golden = Golden::read("simple-app");
    let pulled = colocate.seen_by(&access).pull(&golden.repository, Golden::TAG).await;
    assert_eq!(pulled.lock(), golden.pulled);
    let reference = format!("{NAME}/{}:{}", golden.repository, Golden::TAG);

    let out = TempDir::new().expect("a directory");
    let copied = Skopeo::new(&access).copy(&reference, out.path()).await;
    assert!(copied.status.success(), "{copied:?}");

    let podman = Podman::new(&access);
    let result = podman.pull(&reference).await;
    assert!(result.status.success(), "{result:?}");
    assert_eq!(podman.digest(&reference).await, pulled.digest.to_string());
    assert_eq!(podman.unpacked(LOCK), golden.pulled);

    let containerd = Containerd::start().await;
    let result = containerd.pull_as(&access, &[], &reference).await;
    assert!(result.status.success(), "{result:?}");
    assert_eq!(containerd.digest(&reference).await, pulled.digest.to_string());
    assert_eq!(containerd.unpacked(LOCK), golden.pulled);

    // Every one of them went by the name, and to nobody else.
    assert!(names.asked().len() >= 3 && names.asked().iter().all(|asked| *asked == format!("{NAME}:443")));
}

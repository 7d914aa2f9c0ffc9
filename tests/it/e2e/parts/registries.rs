//! Registries that ask for certificates or passwords, and the clients that have them.

use tempfile::TempDir;

use super::{golden, seed};
use crate::support::access::Access;
use crate::support::certificates::Authority;
use crate::support::containerd::Containerd;
use crate::support::layout::Golden;
use crate::support::names::Names;
use crate::support::podman::Podman;
use crate::support::registry::DockerRegistry;
use crate::support::secrets::secret;
use crate::support::seen::Seen;
use crate::support::skopeo::Skopeo;
use crate::support::{require, require_root};

/// A name that only the tests know.
const NAME: &str = "registry.example";
/// Where a lock is in an unpacked bundle.
const LOCK: &str = ".imgpkg/images.yml";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_and_a_password_let_every_client_in() {
    let tools = ["docker-registry", "htpasswd", "skopeo", "podman", "containerd", "ctr"];
    if !require(&tools) || !require_root() {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new(directory.path());
    let (server, client) = (authority.server(&[NAME, "mirror.example"]), authority.client("client"));
    let password = secret("alice's password");
    let registry = DockerRegistry::setup().tls(&server).clients_of(&authority).password("alice", &password);
    let registry = registry.start().await;
    let trusting = Access::anonymous().trusting(&authority);
    let alice = trusting.clone().presenting(&client).login("alice", &password);
    seed(&alice, &registry.tls_url(), "acme/app").await;
    let names = Names::start(&[(NAME, registry.port()), ("mirror.example", registry.port())]).await;
    let alice = alice.finding(&names);
    let stranger = trusting.clone().presenting(&client).login("alice", "guessed").finding(&names);
    let reference = format!("{NAME}/acme/app:{}", Golden::TAG);
    let digest = golden().digest.to_string();

    // Without a certificate there is not even an answer.
    let url = format!("{}/v2/", registry.tls_url());
    assert!(trusting.try_send(http::Method::GET, &url, &[], "").await.is_err());
    assert_eq!(stranger.get(&url).await.status, 401);

    let pulled = Seen::new(&alice, &registry.tls_url()).pull("acme/app", Golden::TAG).await;
    assert_eq!(pulled.digest, golden().digest);
    let inspected = Skopeo::new(&alice).inspect(&reference).await;
    assert_eq!(inspected.stdout.as_bytes(), golden().origin.manifest(&golden().digest).bytes, "{inspected:?}");
    let refused = Skopeo::new(&stranger).inspect(&reference).await;
    assert!(!refused.status.success() && refused.stderr.contains("unauthorized"), "{refused:?}");
    let refused = Skopeo::new(&trusting.finding(&names)).inspect(&reference).await;
    assert!(!refused.status.success() && refused.stderr.contains("tls:"), "{refused:?}");

    // By its name, and by a mirror for a name that nobody answers to.
    let podman = Podman::new(&alice).mirror("absent.example", "mirror.example");
    for reference in [reference.clone(), reference.replace(NAME, "absent.example")] {
        let pulled = podman.pull(&reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        assert_eq!(podman.digest(&reference).await, digest);
    }
    assert!(!podman.unpacked(LOCK).is_empty());
    assert!(!names.asked().contains(&"absent.example:443".to_owned()), "the mirror is enough");
    let refused = Podman::new(&stranger).pull(&reference).await;
    assert!(!refused.status.success() && refused.stderr.contains("unauthorized"), "{refused:?}");

    let containerd = Containerd::start().await;
    let refused = containerd.pull_as(&stranger, &[], &reference).await;
    assert!(!refused.status.success() && refused.stderr.contains("401 Unauthorized"), "{refused:?}");
    let mirror = registry.tls_url();
    let mirrors = [("absent.example", mirror.as_str())];
    for reference in [reference.clone(), reference.replace(NAME, "absent.example")] {
        let pulled = containerd.pull_as(&alice, &mirrors, &reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        assert_eq!(containerd.digest(&reference).await, digest);
    }
    assert!(!containerd.unpacked(LOCK).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_pulls_over_plain_http_too() {
    if !require(&["docker-registry", "skopeo", "podman", "containerd", "ctr"]) || !require_root() {
        return;
    }
    let registry = DockerRegistry::start().await;
    let access = Access::anonymous();
    seed(&access, &registry.url(), "acme/app").await;
    // One server by two names.
    for host in ["127.0.0.1", "localhost"] {
        let reference = format!("{host}:{}/acme/app:{}", registry.port(), Golden::TAG);
        let out = TempDir::new().expect("a directory");
        let copied = Skopeo::new(&access).copy(&reference, out.path()).await;
        assert!(copied.status.success(), "{copied:?}");
        let podman = Podman::new(&access);
        let pulled = podman.pull(&reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        let containerd = Containerd::start().await;
        let pulled = containerd.pull_as(&access, &[], &reference).await;
        assert!(pulled.status.success(), "{pulled:?}");
        assert_eq!(containerd.unpacked(LOCK), podman.unpacked(LOCK));
    }
}

//! Pulled ahead with one command, and then served with the registry gone.

use colocate::oci::Digest;

use super::golden_registry;
use crate::support::colocate::{Colocate, Settings, colocate};
use crate::support::layout::Golden;
use crate::support::{process, require};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_warmed_is_served_without_the_registry() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let mut registry = golden_registry().await;
    let goldens = Golden::all();
    let mut served = Colocate::start(Settings::new(&registry.url()).set("tags.ttl", "1s")).await;
    let references: Vec<String> =
        goldens.iter().map(|golden| format!("{}:{}", golden.repository, Golden::TAG)).collect();
    // One beside the proxy that serves, the rest while none does.
    let file = served.cache().with_file_name("colocate.yaml").to_string_lossy().into_owned();
    let warm = async |references: &[String]| {
        let mut arguments = vec!["warm", "--config", &file];
        arguments.extend(references.iter().map(String::as_str));
        let done = colocate(&arguments).await;
        assert!(done.status.success(), "{done:?}");
    };
    warm(&references[..1]).await;
    served.stop().await;
    warm(&references[1..]).await;
    registry.stop().await;

    served.start_again().await;
    for golden in &goldens {
        assert_eq!(served.pull(&golden.repository, Golden::TAG).await.lock(), golden.pulled, "{}", golden.name);
        for digest in images(&golden.pulled) {
            // With all platforms and every layer, by a client that checks what it copies.
            let copied = tempfile::tempdir().expect("a directory");
            let from = format!("docker://{}/{}@{digest}", served.authority(), golden.repository);
            let to = format!("dir:{}", copied.path().join("image").display());
            process::succeed("skopeo", &["copy", "--all", "--src-tls-verify=false", &from, &to]).await;
        }
    }
}

/// What a lock names.
fn images(lock: &[u8]) -> Vec<Digest> {
    let lock = std::str::from_utf8(lock).expect("a lock is text");
    let digests = lock.lines().filter(|line| line.contains("image: "));
    let digests: Vec<Digest> =
        digests.filter_map(|line| line.split_once('@')?.1.trim_matches(['"', ' ']).parse().ok()).collect();
    assert!(!digests.is_empty(), "{lock}");
    digests
}

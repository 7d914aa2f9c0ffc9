//! A registry as a client sees it, and pulls from it.

use bytes::Bytes;
use colocate::oci::Digest;
use http::Method;
use serde_json::{Value, json};

use super::access::Access;
use super::http::{ACCEPT, Answer};

/// One registry by one client: the program's, or the one behind it.
pub(crate) struct Seen {
    access: Access,
    url: String,
}

impl Seen {
    /// The registry at this URL, by a client with this access.
    pub(crate) fn new(access: &Access, url: &str) -> Self {
        Self { access: access.clone(), url: url.to_owned() }
    }

    /// GET of a manifest.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.access.get(&format!("{}/v2/{repository}/manifests/{reference}", self.url)).await
    }

    /// HEAD of a manifest.
    pub(crate) async fn manifest_head(&self, repository: &str, reference: &str) -> Answer {
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.url);
        self.access.send(Method::HEAD, &url, &[("accept", ACCEPT)], "").await
    }

    /// GET of a blob.
    pub(crate) async fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.access.get(&format!("{}/v2/{repository}/blobs/{digest}", self.url)).await
    }

    /// Pulls an image of one layer as a careful client does: every digest is checked, `diff_ids` too.
    pub(crate) async fn pull(&self, repository: &str, reference: &str) -> Pulled {
        let answer = self.manifest(repository, reference).await.expect(200);
        let digest = Digest::of(&answer.body);
        assert_eq!(answer.digest(), digest, "Docker-Content-Digest lies");
        let manifest = answer.json();
        let [layer] = manifest["layers"].as_array().expect("layers").as_slice() else {
            panic!("one layer: {manifest}")
        };
        let mut parts = Vec::new();
        for descriptor in [&manifest["config"], layer] {
            let wanted = descriptor["digest"].as_str().expect("a digest");
            let blob = self.blob(repository, wanted).await.expect(200);
            assert_eq!(Digest::of(&blob.body).to_string(), wanted, "not the bytes that were asked for");
            assert_eq!(Some(blob.body.len() as u64), descriptor["size"].as_u64());
            parts.push(blob.body);
        }
        let [config, layer] = parts.try_into().expect("a config and a layer");
        let tar = super::bundle::gunzip(&layer);
        let document: Value = serde_json::from_slice(&config).expect("a config is JSON");
        assert_eq!(document["rootfs"]["diff_ids"], json!([Digest::of(&tar)]), "diff_ids");
        let media_type = answer.header("content-type").expect("a media type").to_owned();
        Pulled { digest, media_type, manifest: answer.body, config, layer, tar }
    }
}

/// An image of one layer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) manifest: Bytes,
    pub(crate) config: Bytes,
    pub(crate) layer: Bytes,
    /// The layer, decompressed.
    pub(crate) tar: Vec<u8>,
}

impl Pulled {
    /// The config's digest, as the manifest has it.
    pub(crate) fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// The layer's digest, as the manifest has it.
    pub(crate) fn layer_digest(&self) -> Digest {
        Digest::of(&self.layer)
    }

    /// The lock in the layer.
    pub(crate) fn lock(&self) -> Vec<u8> {
        super::bundle::lock_in(&self.tar)
    }
}

//! A process of which all metrics can be seen: behind a certificate, with a bounded cache, and in front of an upstream
//! that is pushed to, gets into trouble, and has enough at last.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::access::Access;
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::certificates::Authority;
use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;
use crate::support::http::{Answer, Method};
use crate::support::process::free_address;
use crate::support::pusher::Pusher;
use crate::support::scripted::{Fault, ScriptedUpstream};

const REPOSITORY: &str = "acme/app";

/// The process, its upstream, and a client.
pub(crate) struct Scene {
    colocate: Colocate,
    upstream: ScriptedUpstream,
    client: Access,
    admin: String,
    _certificates: TempDir,
}

impl Scene {
    /// Starts it. Nobody has asked for anything yet.
    pub(crate) async fn start() -> Self {
        let certificates = TempDir::new().expect("a directory");
        let authority = Authority::new(certificates.path());
        let server = authority.server(&[]);
        let (upstream, admin) = (ScriptedUpstream::start().await, free_address().to_string());
        let settings = Settings::forwarding(&upstream.url())
            .set("tags.ttl", "0s")
            .set("admin.listen", admin.as_str())
            .set("cache.max_bytes", "1GiB")
            .set("server.tls", json!({"cert": server.certificate, "key": server.key}));
        let colocate = Colocate::start(settings).await;
        let client = Access::anonymous().trusting(&authority);
        let scene = Self { colocate, upstream, client, admin, _certificates: certificates };
        eventually("the disk was looked at", Duration::from_secs(20), async || {
            scene.metrics("text/plain").await.1.contains("colocate_cache_disk_free_bytes ")
        })
        .await;
        scene
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> String {
        self.upstream.authority()
    }

    /// The type and the text of `/metrics`, for a client that accepts this.
    pub(crate) async fn metrics(&self, accept: &str) -> (String, String) {
        let url = format!("http://{}/metrics", self.admin);
        let answer = Access::anonymous().send(Method::GET, &url, &[("accept", accept)], "").await.expect(200);
        let content_type = answer.header("content-type").expect("a type").to_owned();
        (content_type, String::from_utf8(answer.body.to_vec()).expect("text"))
    }

    /// Has happen what there is to be counted.
    pub(crate) async fn drive(&self) {
        let upstream = &self.upstream;
        let (image, newer) = (Bundle::image("a"), Bundle::image("b"));
        let lock = lock_of(&[format!("registry.example/apps/one@{}", image.digest())]);
        let lacking = lock_of(&[format!("registry.example/apps/one@sha256:{}", "1".repeat(64))]);
        let (bundle, lacking) = (BundleBuilder::with_lock(&lock).build(), BundleBuilder::with_lock(&lacking).build());
        for (one, tag) in [(&image, Some("v1")), (&newer, None), (&bundle, Some("bundle")), (&lacking, Some("lacking"))]
        {
            upstream.put(REPOSITORY, &one.layout(tag));
        }
        for path in [
            "manifests/v1",
            "manifests/v1",
            "manifests/bundle",
            "manifests/lacking",
            &format!("blobs/{}", image.layer_digest()),
            &format!("manifests/{}", image.digest()),
            "tags/list",
        ] {
            self.get(path).await.expect(200);
        }
        self.get("manifests/none").await.expect(404);
        self.client.get(&self.colocate.url()).await.expect(404);

        // A tag that moves, and goes.
        upstream.tag(REPOSITORY, "v1", &newer.digest());
        self.get("manifests/v1").await.expect(200);
        upstream.remove(REPOSITORY, "v1");
        self.get("manifests/v1").await.expect(404);

        let pusher = Pusher::new(&self.client, &self.colocate.url(), REPOSITORY);
        let pushed = pusher.blob(b"a blob").await.expect("a push");
        self.get(&format!("blobs/{pushed}")).await.expect(200);

        upstream.on("*/manifests/bundle").times(1).fails(Fault::status(502));
        self.get("manifests/bundle").await.expect(200);
        // From here on nothing is sent there any more.
        let enough = Fault::error(429, "TOOMANYREQUESTS")
            .with("retry-after", "600")
            .with("ratelimit-limit", "100;w=21600")
            .with("ratelimit-remaining", "0;w=21600");
        upstream.on("*").fails(enough);
        self.get("manifests/new").await.expect(429);
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("{}/v2/{REPOSITORY}/{path}", self.colocate.url())).await
    }
}

//! Manifests that name other repositories' content: a digest that is in the cache is served only where the upstream
//! says that it belongs.

use std::fs;

use colocate::oci::Digest;
use serde_json::json;
use tempfile::TempDir;

use super::parts::{World, basic, guard};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::pattern::Pattern;
use crate::support::scripted::{Fault, Gate, ScriptedUpstream};
use crate::support::secrets::secret;

/// Anna reads everything of the private registry, Mallory what is public; both read all of the other registry.
struct Registries {
    private: ScriptedUpstream,
    other: ScriptedUpstream,
    anna: String,
    mallory: String,
    config: String,
    _users: TempDir,
}

impl Registries {
    async fn start() -> Self {
        let (private, other) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
        let [own, anna, mallory] = ["the proxy's password", "Anna's password", "Mallory's password"].map(secret);
        guard(&private, "/v2/*", &basic("proxy", &own), "Basic realm=\"private\"");
        let users = tempfile::tempdir().unwrap();
        let file = users.path().join("users");
        let line = |user: &str, password: &str| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
        fs::write(&file, line("anna", &anna) + &line("mallory", &mallory)).unwrap();
        let config = format!(
            "upstream: {{registry: private.example, url: '{}', hosts: [own.proxy.example], \
               credentials: {{username: proxy, password: {own}}}}}\n\
             upstreams: [{{registry: other.example, url: '{}', prefix: mirror/other, hosts: [other.proxy.example]}}]\n\
             access: {{mode: htpasswd, htpasswd: '{}', rules: [\
               {{identity: 'user:anna', allow: [pull]}}, \
               {{identity: 'user:mallory', registry: private.example, repository: 'public/**', allow: [pull]}}, \
               {{identity: 'user:mallory', registry: other.example, allow: [pull]}}]}}\n",
            private.url(),
            other.url(),
            file.display()
        );
        let (anna, mallory) = (basic("anna", &anna), basic("mallory", &mallory));
        Self { private, other, anna, mallory, config, _users: users }
    }

    /// Whatever Mallory asks for by digest, in all the names of her repositories, is not there.
    async fn nothing_for_mallory(&self, world: &World, digests: &[(Digest, &str)]) {
        let places = [
            ("proxy.example", "public/mallory", ""),
            ("own.proxy.example", "public/mallory", ""),
            ("proxy.example", "public/mallory", "?ns=private.example"),
            ("proxy.example", "mirror/other/mallory", ""),
            ("other.proxy.example", "mallory", ""),
            ("proxy.example", "mallory", "?ns=other.example"),
            ("own.proxy.example", "mallory", "?ns=other.example"),
        ];
        self.private.forget();
        self.other.forget();
        for (digest, what) in digests {
            for (host, name, query) in places {
                for kind in ["manifests", "blobs"] {
                    let target = format!("/v2/{name}/{kind}/{digest}{query}");
                    let who = [("authorization", self.mallory.as_str()), ("host", host)];
                    let ranged = [&who[..], &[("range", "bytes=0-3")]].concat();
                    let etag = format!("\"{digest}\"");
                    let conditional = [&who[..], &[("if-none-match", &etag)]].concat();
                    for (method, headers) in [
                        ("GET", &who[..]),
                        ("HEAD", &who),
                        ("GET", &ranged),
                        ("GET", &conditional),
                        ("HEAD", &conditional),
                    ] {
                        let answer = world.ask(method, &target, headers).await;
                        assert_eq!(answer.status, 404, "{what}: {method} {host}{target} {headers:?}: {answer:?}");
                    }
                }
            }
        }
        // What anybody may ask, a lock may have asked, too: whether an image is public.
        let is_anonymous_look = |seen: &crate::support::scripted::Seen| {
            seen.method == "HEAD" && !seen.headers.contains_key("authorization")
        };
        let astray = |seen: &&crate::support::scripted::Seen, name: &str| {
            !seen.path.starts_with(&format!("/v2/{name}/")) && !is_anonymous_look(seen)
        };
        assert_eq!(
            self.private.requests().iter().find(|seen| astray(seen, "public/mallory")).map(|seen| &seen.path),
            None
        );
        assert_eq!(self.other.requests().iter().find(|seen| astray(seen, "mallory")).map(|seen| &seen.path), None);
        assert!(self.other.requests().iter().all(|seen| !seen.headers.contains_key("authorization")));
    }

    /// Has Mallory's repositories hold manifests that name all of this.
    fn forge(&self, manifests: &[(&str, Digest)], blobs: &[Digest]) {
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let oci = "application/vnd.oci.image.index.v1+json";
        let descriptor =
            |media_type: &str, digest: &Digest| json!({"mediaType": media_type, "digest": digest, "size": 7});
        let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers: Vec<_> = blobs.iter().map(|digest| descriptor(layer, digest)).collect();
        let config = descriptor("application/vnd.docker.container.image.v1+json", &blobs[0]);
        let image = json!({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": layers[1..]});
        // As a bundle has it: config and one layer, so that the proxy may want to look into both.
        let bundle = json!({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": [layers[1]]});
        let index = manifests.iter().map(|(media_type, digest)| descriptor(media_type, digest)).collect::<Vec<_>>();
        let index = json!({"schemaVersion": 2, "mediaType": oci, "manifests": index});
        let images: Vec<String> =
            manifests.iter().map(|(_, digest)| format!("private.example/secret/app@{digest}")).collect();
        let lock = BundleBuilder::with_lock(&lock_of(&images)).build();
        for (upstream, name) in [(&self.private, "public/mallory"), (&self.other, "mallory")] {
            for (tag, media_type, document) in [("v1", docker, &image), ("v2", oci, &index), ("v3", docker, &bundle)] {
                let digest = upstream.put_manifest(name, media_type, document.to_string());
                upstream.tag(name, tag, &digest);
            }
            upstream.put(name, &lock.layout(Some("v4")));
        }
    }

    async fn mallory_pulls_her_own(&self, world: &World) {
        for name in ["public/mallory", "mirror/other/mallory"] {
            for tag in ["v1", "v2", "v3", "v4"] {
                let target = format!("/v2/{name}/manifests/{tag}");
                world.get(&target, &[("authorization", &self.mallory)]).await;
            }
        }
    }
}

#[tokio::test]
async fn naming_a_digest_is_no_right_to_it() {
    let registries = Registries::start().await;
    let image = Bundle::image("of the bundle");
    let bundle =
        BundleBuilder::with_lock(&lock_of(&[format!("private.example/secret/app@{}", image.digest())])).build();
    let registry = &registries.private;
    registry.put("secret/app", &image.layout(Some("image")));
    registry.put("secret/app", &bundle.layout(Some("v1")));
    let mut world = World::new(&registries.config).await;
    let anna = [("authorization", registries.anna.as_str())];
    let get = async |world: &World, path: String| world.get(&format!("/v2/secret/app/{path}"), &anna).await;

    let relocated = get(&world, "manifests/v1".to_owned()).await;
    let manifest: serde_json::Value = serde_json::from_slice(&relocated.body).unwrap();
    let part = |value: &serde_json::Value| value["digest"].as_str().unwrap().parse::<Digest>().unwrap();
    let made = [Digest::of(&relocated.body), part(&manifest["config"]), part(&manifest["layers"][0])];
    assert_ne!(made[0], bundle.digest());
    for digest in
        [made[1], made[2], bundle.config_digest(), bundle.layer_digest(), image.layer_digest(), image.config_digest()]
    {
        get(&world, format!("blobs/{digest}")).await.expect(&digest);
    }
    for digest in [made[0], bundle.digest(), image.digest()] {
        get(&world, format!("manifests/{digest}")).await.expect(&digest);
    }
    let digests = [
        (made[0], "the relocated manifest"),
        (made[1], "the relocated config"),
        (made[2], "the relocated layer"),
        (bundle.digest(), "the bundle"),
        (bundle.config_digest(), "the bundle's config"),
        (bundle.layer_digest(), "the bundle's layer"),
        (image.digest(), "the image"),
        (image.layer_digest(), "the image's layer"),
    ];
    let media_type = bundle.manifest.media_type.as_str();
    let manifests = [bundle.digest(), made[0], image.digest()].map(|digest| (media_type, digest));
    registries
        .forge(&manifests, &[bundle.config_digest(), bundle.layer_digest(), made[1], made[2], image.layer_digest()]);
    for round in ["before", "after"] {
        registries.mallory_pulls_her_own(&world).await;
        registries.nothing_for_mallory(&world, &digests).await;
        // What she may not name at all is refused whether it is there or not.
        for name in ["secret/app", "secret/nothing"] {
            let target = format!("/v2/{name}/blobs/{}", bundle.layer_digest());
            let answer = world.get(&target, &[("authorization", &registries.mallory)]).await;
            assert_eq!(answer.code(), (403, "DENIED".to_owned()), "{round} the restart");
        }
        world.restart().await;
    }
    get(&world, format!("blobs/{}", made[2])).await.expect(&made[2]);
}

#[tokio::test]
async fn a_download_under_way_is_joined_by_nobody_who_may_not() {
    let registries = Registries::start().await;
    let pattern = Pattern::new(5, 3 << 20);
    let digest = registries.private.put_pattern("secret/app", &pattern);
    registries.forge(&[], &[digest, digest]);
    let own = registries.config.split("password: ").nth(1).unwrap().split('}').next().unwrap();
    let gate = Gate::new();
    // The rule that holds it up stands before the one that wants a password, and so has to want it, too.
    let accepted = basic("proxy", own);
    registries.private.on(&format!("/v2/secret/app/blobs/{digest}")).get().times(2).fails_with([
        Fault::make(move |seen| {
            let shown = seen.headers.get("authorization").is_some_and(|shown| *shown == *accepted);
            let challenge = http::Response::builder().status(401).header("www-authenticate", "Basic realm=\"private\"");
            (!shown).then(|| challenge.body(bytes::Bytes::new()).unwrap())
        }),
        Fault::HoldAt(1 << 20, gate.clone()),
    ]);
    let world = World::new(&registries.config).await;
    let anna = [("authorization", registries.anna.as_str())];
    let target = format!("/v2/secret/app/blobs/{digest}");
    let path = format!("/v2/secret/app/blobs/{digest}");
    let meanwhile = async {
        registries.private.sent(&path, 1 << 20).await;
        registries.nothing_for_mallory(&world, &[(digest, "a blob on its way")]).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(world.get(&target, &anna), meanwhile);
    answer.expect(&digest);
    registries.nothing_for_mallory(&world, &[(digest, "a blob that has come")]).await;
}

#[tokio::test]
async fn whoever_asks_first_in_vain_spoils_nothing_for_who_may() {
    let registries = Registries::start().await;
    let digest = registries.private.put_blob("secret/app", "the secret".repeat(1000));
    let gate = Gate::new();
    registries.other.on("/v2/mallory/blobs/*").fails(Fault::Hold(gate.clone()));
    let world = World::new(&registries.config).await;
    let (mallory, anna) =
        ([("authorization", registries.mallory.as_str())], [("authorization", registries.anna.as_str())]);
    let forged = format!("/v2/mirror/other/mallory/blobs/{digest}");
    let honest = format!("/v2/secret/app/blobs/{digest}");
    let first = world.get(&forged, &mallory);
    let second = async {
        registries.other.reached("GET", "/v2/mallory/blobs/*", 1).await;
        let opened = async {
            // Both wait for the same download now, or the second one does not.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            gate.open();
        };
        tokio::join!(world.get(&honest, &anna), opened).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 404);
    second.expect(&digest);
}

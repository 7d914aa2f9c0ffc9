//! Origins that want a password: of no use to bundles unless somebody says so, and then nobody else learns it.

use serde_json::json;
use tempfile::TempDir;

use super::explained::explain;
use super::{Front, at, images_in, lock_as_pushed, named, push_images, pushed_to};
use crate::support::access::Access;
use crate::support::colocate::Settings;
use crate::support::layout::Golden;
use crate::support::process::free_address;
use crate::support::registry::DockerRegistry;
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::secret;
use crate::support::skopeo::Skopeo;
use crate::support::{http, require};

const USER: &str = "colocate";
const BUNDLES: &str = "bundles.example";

/// The bundles' registry, which shows what it was sent, and an origin that wants a password.
struct Secluded {
    bundles: ScriptedUpstream,
    origin: DockerRegistry,
    /// Has the origin's content, and has stopped.
    _open: DockerRegistry,
    password: String,
    goldens: Vec<Golden>,
}

impl Secluded {
    async fn start() -> Self {
        let mut open = DockerRegistry::start().await;
        push_images(&open.url()).await;
        open.stop().await;
        let password = secret("the proxy's password at the origin");
        let origin = DockerRegistry::setup().content_of(&open).password(USER, &password).start().await;
        let bundles = ScriptedUpstream::start().await;
        let goldens = Golden::all();
        for golden in &goldens {
            bundles.put(&pushed_to(golden), &golden.origin);
        }
        Self { bundles, origin, _open: open, password, goldens }
    }

    fn settings(&self, knows_password: bool) -> Settings {
        let mut origin = json!({"registry": Golden::ENDPOINT, "url": self.origin.url()});
        if knows_password {
            origin["credentials"] = json!({"username": USER, "password": self.password});
        }
        let address = free_address().to_string();
        Settings::new(&self.bundles.url())
            .set("upstream.registry", BUNDLES)
            .set("upstreams", json!([origin]))
            .set("access.allow_public", true)
            .set("endpoint", address.clone())
            .set("listen", json!([address]))
    }

    /// Whatever the proxy sent to the bundles' registry, it was asked often and shown nothing.
    fn assert_shown_nothing(&self) {
        let requests = self.bundles.requests();
        assert!(!requests.is_empty());
        let encoded = Access::anonymous().login(USER, &self.password).authorization().expect("a login");
        for request in requests {
            assert!(!request.headers.contains_key("authorization"), "{request:?}");
            let all = format!("{request:?}");
            assert!(!all.contains(&self.password) && !all.contains(&encoded), "{all}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_wants_a_password_is_none_for_everyone() {
    if !require(&["docker-registry", "htpasswd"]) {
        return;
    }
    let world = Secluded::start().await;
    http::get(&format!("{}/v2/apps/one/manifests/v1", world.origin.url())).await.expect(401);
    // Without the password, and with one that no pair of patterns lends to any bundle.
    for knows_password in [false, true] {
        let settings = world.settings(knows_password);
        let front = Front::start(settings.clone()).await;
        for golden in &world.goldens {
            let repository = pushed_to(golden);
            let answer = front.colocate.manifest(&repository, Golden::TAG).await.expect(200);
            let document = golden.origin.manifest(&golden.digest);
            assert_eq!((answer.digest(), &answer.body), (golden.digest, &document.bytes), "as it stands");
            for image in images_in(&lock_as_pushed(golden)) {
                let (_, digest) = at(Golden::ENDPOINT, &image);
                front.colocate.manifest(&repository, digest).await.expect(404);
            }
            let (told, text) = explain(&settings, &format!("{repository}:{}", Golden::TAG)).await;
            assert_eq!(told["outcome"], "original", "{text}");
            for image in told["images"].as_array().expect("images") {
                assert_eq!(image["found"], "missing", "{text}");
                let [why] = image["elsewhere"].as_array().expect("a reason").as_slice() else { panic!("{text}") };
                let why = why.as_str().expect("text");
                assert!(why.starts_with(Golden::ENDPOINT) && why.contains("not for everyone to read"), "{why}");
                assert!(why.contains("`credentials: true`"), "it says what to do: {why}");
            }
            assert!(text.contains("not for everyone to read"), "{text}");
        }
    }
    world.assert_shown_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_with_credentials_that_count_is_one() {
    if !require(&["docker-registry", "htpasswd", "skopeo"]) {
        return;
    }
    let world = Secluded::start().await;
    let lent = json!([{
        "bundles": format!("{BUNDLES}/fx/*"), "origins": format!("{}/**", Golden::ENDPOINT), "credentials": true,
    }]);
    let settings = world.settings(true).set("relocation.from_origin", lent);
    // Of a repository that the pair is not about.
    let golden = Golden::read("simple-app");
    world.bundles.put("other/simple-app", &golden.origin);
    let front = Front::start(settings.clone()).await;
    for golden in &world.goldens {
        let repository = pushed_to(golden);
        let pulled = front.colocate.pull(&repository, Golden::TAG).await;
        assert_eq!(pulled.lock(), front.lock(golden, &repository), "{}", golden.name);
        for image in images_in(&pulled.lock()) {
            let (_, digest) = at(&front.endpoint, &image);
            if !super::children(&named(digest)).is_empty() {
                let seen = Skopeo::new(&Access::anonymous()).inspect(&image).await;
                assert!(seen.status.success(), "{image}: {seen:?}");
                assert_eq!(seen.stdout.as_bytes(), named(digest).bytes);
                continue;
            }
            let out = TempDir::new().expect("a directory");
            let copied = Skopeo::new(&Access::anonymous()).copy(&image, out.path()).await;
            assert!(copied.status.success(), "{image}: {copied:?}");
        }
        let (told, text) = explain(&settings, &format!("{repository}:{}", Golden::TAG)).await;
        assert_eq!(told["outcome"], "relocated", "{text}");
    }
    let answer = front.colocate.manifest("other/simple-app", Golden::TAG).await.expect(200);
    assert_eq!(answer.digest(), golden.digest);
    let images = images_in(&lock_as_pushed(&golden));
    let (_, digest) = at(Golden::ENDPOINT, &images[0]);
    front.colocate.manifest("other/simple-app", digest).await.expect(404);
    world.assert_shown_nothing();
}

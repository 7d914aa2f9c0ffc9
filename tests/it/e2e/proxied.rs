//! Behind nginx, which says what clients asked it for: believed of the proxy that is trusted, and of no other.

use serde_json::json;
use tempfile::TempDir;

use super::golden_registry;
use crate::support::access::Access;
use crate::support::bundle::lock_in;
use crate::support::certificates::Authority;
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::{ACCEPT, Method};
use crate::support::layout::Golden;
use crate::support::names::Names;
use crate::support::nginx::Nginx;
use crate::support::require;
use crate::support::seen::Seen;
use crate::support::skopeo::Skopeo;

const OWN: &str = "own.example";
const PULL: &str = "pull.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_which_endpoint_a_lock_names() {
    if !require(&["docker-registry", "nginx", "skopeo"]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let socket = directory.path().join("colocate.sock");
    let authority = Authority::new(directory.path());
    let server = authority.server(&[OWN, PULL]);
    let registry = golden_registry().await;
    let golden = Golden::read("simple-app");
    let settings = Settings::new(&registry.url()).set("endpoint", OWN).set("endpoints", json!([PULL]));
    let socket_settings = settings
        .clone()
        .set("listen", json!([format!("unix:{}", socket.display())]))
        .set("server.trusted_proxies", json!(["unix"]));
    let by_socket = Colocate::start(socket_settings).await;
    let trusting = Colocate::start(settings.clone().set("server.trusted_proxies", json!(["127.0.0.0/8"]))).await;
    let wary = Colocate::start(settings.set("server.trusted_proxies", json!(["10.0.0.0/8", "unix"]))).await;
    let path = format!("/v2/{}/manifests/{}", golden.repository, Golden::TAG);
    let access = Access::anonymous().trusting(&authority);

    // What there is to be told apart.
    let digest = async |url: &str, headers: &[(&str, &str)]| {
        let headers = [headers, &[("accept", ACCEPT)]].concat();
        access.send(Method::HEAD, &format!("{url}{path}"), &headers, "").await.expect(200).digest()
    };
    let own = digest(&wary.url(), &[("host", OWN)]).await;
    let pull = digest(&wary.url(), &[("host", PULL)]).await;
    assert_ne!(own, pull);

    for (colocate, upstream, believed) in [
        (&by_socket, format!("http://unix:{}:", socket.display()), true),
        (&trusting, trusting.url(), true),
        (&wary, wary.url(), false),
    ] {
        let nginx = Nginx::start(&server, &upstream).await;
        let expected = if believed { pull } else { own };
        assert_eq!(digest(&nginx.url(), &[("host", PULL)]).await, expected, "{upstream}");
        assert_eq!(digest(&nginx.url(), &[("host", OWN)]).await, own, "{upstream}");
        // nginx says what it was asked for, whatever clients say it was; and a name that is not listed is in no lock.
        let forged = [("host", OWN), ("x-forwarded-host", PULL)];
        assert_eq!(digest(&nginx.url(), &forged).await, own, "{upstream}");
        assert_eq!(digest(&nginx.url(), &[("host", "evil.example")]).await, own, "{upstream}");
        // A neighbour of nginx's is believed if all of its network is; the socket is no network.
        let direct = if std::ptr::eq(colocate, &raw const trusting) { pull } else { own };
        assert_eq!(digest(&colocate.url(), &forged).await, direct, "{upstream}");

        // As a tool sees it, which knows nothing but a name.
        let names = Names::start(&[(PULL, nginx.port())]).await;
        let out = TempDir::new().expect("a directory");
        let reference = format!("{PULL}/{}:{}", golden.repository, Golden::TAG);
        let copied = Skopeo::new(&access.clone().finding(&names)).copy(&reference, out.path()).await;
        assert!(copied.status.success(), "{copied:?}");
        let pulled = Seen::new(&access, &nginx.url()).pull(&golden.repository, &expected.to_string()).await;
        let lock = String::from_utf8(lock_in(&pulled.tar)).expect("a lock is text");
        let host = if believed { PULL } else { OWN };
        let target = |host: &str| format!("{host}/{}@", golden.repository);
        let written = String::from_utf8(golden.pulled.clone()).expect("a lock is text");
        assert_eq!(lock, written.replace(&target(Golden::ENDPOINT), &target(host)));
    }
}

//! `ns`, by which a client says which registry it means: only ever one of those that are configured.

use super::parts::{ENDPOINT, Mode, Setup, World};
use crate::support::bundle::Bundle;
use crate::support::scripted::ScriptedUpstream;
use crate::upstream::server::{Reply, Server};

#[tokio::test]
async fn names_that_are_not_configured_lead_nowhere() {
    let evil = Server::start(|_| Reply::ok("{}")).await;
    let at = evil.alias("").authority().to_owned();
    let long = "a".repeat(30_000);
    let escaped: String = at.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for mode in Mode::ALL {
        let setup = Setup::new(mode);
        let upstream = ScriptedUpstream::start().await;
        let bundle = Bundle::image("app");
        upstream.put("acme/app", &bundle.layout(Some("v1")));
        let world = World::new(&setup.config(upstream.url(), ", hosts: [own.proxy.example]")).await;
        let own = if mode == Mode::Exchange { "reg.example".to_owned() } else { upstream.authority() };
        let shown = setup.shown();
        let port = own.rsplit(':').next().unwrap().to_owned();
        for ns in [
            "",
            &at,
            &escaped,
            "169.254.169.254",
            "[::1]",
            "evil.example",
            &format!("{own}/acme"),
            &format!("{own}%2Facme"),
            &format!("{own}%20"),
            &format!("%0a{own}"),
            &format!("{own}."),
            &format!("{own}%23"),
            &format!("{own}%3F"),
            &format!("{own}@{at}"),
            &format!("user:password@{own}"),
            &format!("http://{own}"),
            &format!("127.0.0.2:{port}"),
            &format!("0{own}"),
            "%0d%0aX-Injected:%20yes",
            "%00",
            "%c3%a9.example",
            "%ff",
            "%",
            "..",
            &long,
        ] {
            for query in [
                format!("?ns={ns}"),
                format!("?a=b&ns={ns}"),
                format!("?ns={own}&ns={ns}"),
                format!("?ns={ns}&ns={own}"),
            ] {
                for host in [ENDPOINT, "own.proxy.example"] {
                    for path in ["/v2/acme/app/manifests/v1", "/v2/acme/app/tags/list", "/v2/"] {
                        let headers = [("host", host), ("authorization", shown.as_str())];
                        let answer = world.get(&format!("{path}{query}"), &headers).await;
                        assert_eq!(answer.header("x-injected"), None);
                        assert_eq!(answer.header("oci-namespace"), None, "{mode:?} {path}{query}");
                        assert_eq!(answer.code(), (404, "NAME_UNKNOWN".to_owned()), "{mode:?} {host}{path}{query}");
                    }
                }
            }
        }
        assert_eq!((evil.connections(), upstream.connections()), (0, 0), "{mode:?}");
        for query in [format!("?ns={own}"), format!("?ns={own}&ns={own}"), format!("?ns={}", own.to_uppercase())] {
            let answer = world.get(&format!("/v2/acme/app/manifests/v1{query}"), &[("authorization", &shown)]).await;
            answer.expect(&bundle.digest());
            assert!(answer.header("oci-namespace").unwrap().eq_ignore_ascii_case(&own));
        }
    }
}

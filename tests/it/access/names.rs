//! A rule is about a repository, by whatever name it is asked for.

use std::fs;

use http::Method;

use super::content::Content;
use super::mode::LISTEN;
use super::world::{Caller, Proxy};
use crate::support::scripted::ScriptedUpstream;
use crate::support::secrets::secret;

/// What is in both registries, under both names.
const NAMES: [&str; 2] = ["acme/secret/app", "acme/open/app"];

/// How clients may try to say that they mean `NAME` of the first registry: a host, if it matters, a path, and whether
/// it leads there.
const WAYS: &[(Option<&str>, &str, bool)] = &[
    (None, "/v2/m/one/NAME", true),
    (None, "/v2/NAME?ns=one.example", true),
    (Some("one.proxy"), "/v2/NAME", true),
    (Some("ONE.proxy"), "/v2/NAME", true),
    (Some("one.proxy:80"), "/v2/NAME", false),
    (Some("one.proxy"), "/v2/NAME?ns=one.example", true),
    (Some("two.proxy"), "/v2/NAME?ns=one.example", true),
    (Some("one.proxy"), "/v2/NAME?ns=ONE.example", true),
    (None, "/v2/NAME?ns=ONE.example", true),
    (None, "/v2/NAME?ns=one.example&ns=two.example", false),
    (None, "/v2/NAME?ns=two.example&ns=one.example", false),
    (None, "/v2/NAME?n%73=one.example", true),
    (None, "/v2/NAME?x=y&ns=one%2Eexample", true),
    (None, "/v2/%6d/one/NAME", true),
    (None, "/v2/m%2Fone/NAME", false),
    (None, "/v2/m/one//NAME", false),
    (None, "/v2/m/one/./NAME", false),
    (None, "/v2/m/two/../one/NAME", false),
    (None, "/v2/M/one/NAME", false),
    (Some("one.proxy"), "/v2/m/one/NAME", false),
    (Some("one.proxy."), "/v2/NAME", false),
    (Some("evil.example"), "/v2/m/one/NAME", true),
];

type Spelling = fn(&str) -> String;

/// The repository's name, as it may be written, and whether that is it.
const SPELLINGS: &[(Spelling, bool)] = &[
    (str::to_owned, true),
    (|name| name.replacen('a', "%61", 1), true),
    (|name| name.replace('/', "%2F"), false),
    (|name| name.replace('/', "//"), false),
    (|name| name.replacen('/', "/x/../", 1), false),
    (str::to_uppercase, false),
    (|name| format!("{name}/"), false),
    (|name| format!("./{name}"), false),
];

#[tokio::test]
async fn no_other_name_gets_around_a_rule() {
    let (one, two) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let content = Content::new();
    for name in NAMES {
        content.put_as(&one, name);
        content.put_as(&two, name);
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let password = secret("alice's password");
    let users = scratch.path().join("users");
    fs::write(&users, format!("alice:{}\n", bcrypt::hash(&password, 4).expect("a hash"))).expect("a file");
    let htpasswd = format!("mode: htpasswd, htpasswd: '{}'", users.display());
    let setups = [(htpasswd.as_str(), "identity: 'user:alice', "), ("mode: open", ""), ("mode: upstream", "")];
    for (at, (mode, identity)) in setups.into_iter().enumerate() {
        let text = format!(
            "{LISTEN}cache: {{dir: '{}'}}\nupstreams:\n\
             - {{url: '{}', registry: one.example, prefix: m/one, hosts: [one.proxy]}}\n\
             - {{url: '{}', registry: two.example, prefix: m/two, hosts: [two.proxy]}}\n\
             access:\n  {}\n  rules:\n\
             {}",
            scratch.path().join(at.to_string()).display(),
            one.url(),
            two.url(),
            mode.replace(", ", "\n  "),
            format_args!(
                "  - {{{identity}registry: one.example, repository: 'acme/secret/**', allow: []}}\n  \
                 - {{{identity}registry: one.example, repository: 'acme/**', allow: [pull]}}\n"
            )
        );
        let proxy = Proxy::start(&text, false).await;
        let alice = Caller::login("alice", &password);
        for ((host, way, leads), (spelling, is_name)) in
            WAYS.iter().flat_map(|way| SPELLINGS.iter().map(move |name| (way, name)))
        {
            for what in ["manifests/plain", "tags/list"] {
                let ask = async |name: &str| {
                    let path = way.replace("NAME", &format!("{}/{what}", spelling(name)));
                    let host: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
                    alice.ask(&proxy, Method::GET, &path, &host).await.expect("an answer").status.as_u16()
                };
                let (secret, open) = (ask(NAMES[0]).await, ask(NAMES[1]).await);
                let what = format!("{mode}: {host:?} {way} as {}: {what}", spelling("a/b"));
                if *leads && *is_name {
                    assert_eq!((secret, open), (403, 200), "{what}");
                } else {
                    // At best it is another repository, about which no rule says anything.
                    assert!(matches!(secret, 400 | 403 | 404), "{what}: {secret}");
                    assert_eq!(secret, open, "{what}");
                }
            }
        }
        for registry in [&one, &two] {
            assert_eq!(registry.count("", "/v2/acme/secret/*"), 0, "{mode}: it is not even asked");
        }
        assert_eq!(two.requests().len(), 0, "{mode}: no rule is about it");
    }
}

//! The sections `upstream` and `upstreams`: what each key means, and every way to be refused.

use std::fs;
use std::time::Duration;

use colocate::config::{Config, Credentials, UpstreamPlace};

use super::{expect_problems, problems};
use crate::support::certificates::Authority;
use crate::support::secrets::secret;

/// A configuration whose second further upstream has these keys as well, all else being in order.
fn second(keys: &str) -> String {
    format!(
        "endpoint: proxy.example\nupstream: {{url: 'https://main.example'}}\naccess: {{allow_public: true}}\n\
         upstreams: [{{registry: first.example, hosts: [first.proxy.example]}}, {{registry: second.example{keys}}}]"
    )
}

#[test]
fn every_refusal_of_a_further_upstream_names_its_key() {
    Config::parse("c", &second("")).unwrap();
    for (keys, expected) in [
        (", url: x", "upstreams[1].url: `x` is none of https://HOST[:PORT], archive:FILE and layout:DIRECTORY"),
        (", url: 'https://a.b/v2'", "upstreams[1].url: `https://a.b/v2` ends in /v2; leave that out"),
        (", prefix: A", "upstreams[1].prefix: `A` cannot begin a repository's name"),
        (", prefix: ''", "upstreams[1].prefix: `` cannot begin a repository's name"),
        (", prefix: first.example", "upstreams[1].prefix: is also that of `upstreams[0]`"),
        (
            ", hosts: [first.proxy.example]",
            "upstreams[1].hosts: has `first.proxy.example`, which leads to `upstreams[0]`",
        ),
        (
            ", hosts: [FIRST.proxy.example]",
            "upstreams[1].hosts: has `first.proxy.example`, which leads to `upstreams[0]`",
        ),
        (
            ", hosts: [proxy.example]",
            "upstreams[1].hosts: has `proxy.example`, which is one of `endpoint` and `endpoints`",
        ),
        (", hosts: [a.b, 'https://c.d']", "upstreams[1].hosts[1]: `https://c.d` is not host[:port]"),
        (", client_credentials: perhaps", "upstreams[1].client_credentials: `perhaps` is neither true nor false"),
        (", writes: 'yes'", "upstreams[1].writes: `yes` is none of refuse and forward"),
        (", writes: forward", "upstreams[1].writes: is `forward`, and nobody may push"),
        (", insecure: 'no'", "upstreams[1].insecure: `no` is neither true nor false"),
        (", ca_file: /nowhere/ca", "upstreams[1].ca_file: cannot read /nowhere/ca"),
        (", ca_file: Cargo.toml", "upstreams[1].ca_file: Cargo.toml holds no certificate"),
        (", tls: {cert: a}", "upstreams[1].tls: needs both `cert` and `key`"),
        (", tls: {cert: /nowhere/c, key: /nowhere/k}", "upstreams[1].tls.cert: cannot read /nowhere/c"),
        (", tls: {cert: /nowhere/c, key: /nowhere/k}", "upstreams[1].tls.key: cannot read /nowhere/k"),
        (", tls: {cert: Cargo.toml, key: Cargo.toml}", "upstreams[1].tls.key: Cargo.toml has no private key"),
        (", auth: {realms: [a.b, 'c/d']}", "upstreams[1].auth.realms[1]: `c/d` is not host[:port]"),
        (", timeouts: {connect: 0s}", "upstreams[1].timeouts.connect: zero would leave no time at all"),
        (", timeouts: {response: soon}", "upstreams[1].timeouts.response: `soon` is not a duration"),
        (", timeouts: {progress: 0s}", "upstreams[1].timeouts.progress: zero"),
        (", concurrency: 0", "upstreams[1].concurrency: `0` is not a whole number from 1 up"),
        (", concurency: 1", "upstreams[1]: unknown key `concurency` in `upstreams[1]`; did you mean `concurrency`?"),
        (", credentials: {}", "upstreams[1].credentials: needs exactly one of `password`, `password_file`,"),
        (", credentials: {username: u}", "upstreams[1].credentials: needs exactly one"),
        (", credentials: {token: a, token_env: B}", "upstreams[1].credentials: needs exactly one"),
        (", credentials: {password: a}", "upstreams[1].credentials.username: is needed, and has no colon"),
        (", credentials: {username: 'a:b', password: a}", "upstreams[1].credentials.username: is needed, and has no"),
        (", credentials: {username: u, token: t}", "upstreams[1].credentials.username: means nothing beside `token`"),
        (", credentials: {username: u, docker_config: d}", "upstreams[1].credentials.username: means nothing beside"),
        (", credentials: {token_env: COLOCATE_TEST_UNSET}", "upstreams[1].credentials.token_env: the environment var"),
        (", credentials: {token_file: /nowhere/t}", "upstreams[1].credentials.token_file: cannot read /nowhere/t"),
        (
            ", credentials: {docker_config: /nowhere/d}",
            "upstreams[1].credentials.docker_config: cannot read /nowhere/d",
        ),
        (
            ", url: 'http://second.example', credentials: {token: t}",
            "upstreams[1].credentials: would go over http for everyone on the way to read; use https, or say `insecure: true`",
        ),
        (", url: 'layout:/x', credentials: {token: t}", "upstreams[1].credentials: means nothing to files"),
    ] {
        expect_problems(&second(keys), &[expected]);
    }
}

#[test]
fn names_must_lead_to_one_upstream_each() {
    for (text, expected) in [
        ("upstreams: [{}]", "upstreams[0].url: or `registry` is needed; write https://HOST[:PORT], or the"),
        ("upstreams: [{registry: 'a b'}]", "upstreams[0].registry: `a b` is no registry's name"),
        ("upstreams: [{registry: a.b/c}]", "upstreams[0].registry: `a.b/c` is no registry's name"),
        (
            "upstreams: [{registry: a.b}, {registry: A.b, prefix: x}]",
            "upstreams[1].registry: is `a.b`, as for `upstreams[0]`",
        ),
        ("upstreams: [{registry: a.b}, {url: 'https://a.b/c', prefix: x}]", "upstreams[1].registry: is `a.b`, as for"),
        (
            "upstream: {url: 'https://a.b'}\nupstreams: [{registry: a.b, url: 'https://c.d'}]",
            "upstreams[0].registry: is `a.b`, as for `upstream`; each needs a name of its own",
        ),
        (
            "upstreams: [{registry: docker.io}, {url: 'https://registry-1.docker.io', prefix: x}]",
            "upstreams[1].registry: is `docker.io`, as for `upstreams[0]`",
        ),
        (
            "upstreams: [{url: 'layout:/a', prefix: a}, {url: 'layout:/b', prefix: b}]",
            "upstreams[1].registry: is `layout`, as for `upstreams[0]`",
        ),
    ] {
        expect_problems(text, &[expected]);
    }
}

#[test]
fn all_problems_come_at_once_and_hold_no_secret() {
    let password = secret("a password in a configuration that is refused");
    let text = format!(
        "upstream: {{url: 'https://me:{password}@a.b', credentials: {{username: u, password: {password}, token: t}}}}\n\
         upstreams:\n- {{registry: a.b, url: 'http://a.b', credentials: {{username: me, password: {password}}}}}\n\
         - {{registry: a.b, prefix: X, hosts: [proxy], concurrency: none, credentials: {{password: {password}}}}}\n\
         - 'https://me:{password}@c.d'\n"
    );
    let said = problems(&text);
    assert!(!said.contains(&password), "a password was shown");
    let text = text.lines().filter(|line| !line.starts_with("- '")).collect::<Vec<_>>().join("\n");
    let said = problems(&text);
    assert!(!said.contains(&password), "a password was shown");
    for expected in [
        "upstream.url: holds a user name or password",
        "upstream.credentials: needs exactly one",
        "upstreams[0].credentials: would go over http",
        "upstreams[1].registry: is `a.b`",
        "upstreams[1].prefix: `X`",
        "upstreams[1].hosts[0]: `proxy` has neither a dot nor a port",
        "upstreams[1].concurrency: `none`",
        "upstreams[1].credentials.username: is needed",
        "access.allow_public: must be true",
    ] {
        assert!(said.contains(expected), "{expected}\nnot in\n{said}");
    }
}

#[test]
fn credentials_may_go_over_http_to_this_machine_or_if_it_is_said() {
    let text = |url: &str, more: &str| {
        format!("upstream: {{url: '{url}', credentials: {{token: t}}{more}}}\naccess: {{allow_public: true}}")
    };
    for url in ["http://127.0.0.1:1", "http://127.9.9.9", "http://localhost", "http://[::1]:5000", "https://a.b"] {
        Config::parse("c", &text(url, "")).unwrap_or_else(|err| panic!("{url}: {err}"));
    }
    for url in
        ["http://a.b", "http://10.0.0.1", "http://localhost.evil.example", "http://[::2]", "http://127.0.0.1.nip.io"]
    {
        expect_problems(&text(url, ""), &["upstream.credentials: would go over http"]);
        assert!(Config::parse("c", &text(url, ", insecure: true")).unwrap().upstream.unwrap().insecure);
    }
}

#[test]
fn docker_hub_needs_only_its_name() {
    for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        let config =
            Config::parse("c", &format!("upstreams: [{{registry: {name}, auth: {{realms: [a.b]}}}}]")).unwrap();
        let upstream = &config.upstreams[0];
        assert_eq!(upstream.registry.as_str(), "docker.io");
        assert_eq!(upstream.place, UpstreamPlace::Registry("https://registry-1.docker.io".parse().unwrap()));
        let realms: Vec<_> = upstream.realms.iter().map(|realm| realm.as_str()).collect();
        assert_eq!(realms, ["a.b", "auth.docker.io"]);
        assert_eq!(upstream.prefix.as_ref().unwrap().as_str(), "docker.io");
    }
    let config = Config::parse("c", "upstream: {registry: docker.io, url: 'https://mirror.example'}").unwrap();
    let upstream = config.upstream.unwrap();
    assert_eq!(upstream.place, UpstreamPlace::Registry("https://mirror.example".parse().unwrap()));
    assert_eq!(upstream.registry.as_str(), "docker.io");
}

#[test]
fn a_further_upstream_has_the_same_defaults_and_a_prefix() {
    let shown = |text: &str| {
        let config = Config::parse("c", text).unwrap();
        let [upstream] = config.all_upstreams().collect::<Vec<_>>()[..] else { panic!("one upstream") };
        (
            upstream.prefix.as_ref().map(ToString::to_string),
            format!("{upstream:#?}").replace("Some(\n        ghcr.io,\n    )", "None"),
        )
    };
    let (prefix, further) = shown("upstreams: [{registry: ghcr.io}]");
    let (none, default) = shown("upstream: {registry: ghcr.io}");
    assert_eq!((prefix.as_deref(), none), (Some("ghcr.io"), None));
    assert_eq!(further, default);
    // A port cannot be in a path.
    assert_eq!(shown("upstreams: [{registry: 'ghcr.io:444', hosts: [a.b]}]").0, None);
    assert_eq!(shown("upstreams: [{registry: ghcr.io, prefix: none}]").0, None);
    assert_eq!(shown("upstreams: [{registry: ghcr.io, prefix: mirror/g}]").0.as_deref(), Some("mirror/g"));
}

#[test]
fn every_kind_of_credentials_is_read_and_none_is_shown() {
    let scratch = tempfile::tempdir().unwrap();
    let value = secret("credentials in a configuration");
    let file = scratch.path().join("secret");
    fs::write(&file, format!("{value}\n")).unwrap();
    let docker = scratch.path().join("config.json");
    fs::write(&docker, "{}").unwrap();
    for keys in [
        format!("username: me, password: {value}"),
        format!("username: me, password_file: '{}'", file.display()),
        format!("token: {value}"),
        format!("token_file: '{}'", file.display()),
        format!("docker_config: '{}'", docker.display()),
        // Whatever it holds here: only that it is read.
        "token_env: PATH".to_owned(),
        "username: me, password_env: PATH".to_owned(),
    ] {
        let config = Config::parse("c", &second(&format!(", credentials: {{{keys}}}"))).unwrap();
        assert!(!format!("{config:?}").contains(&value), "it was shown");
        let read = config.upstreams[1].credentials.as_ref().unwrap();
        let (key, said) = keys.rsplit_once(", ").map_or(keys.as_str(), |(_, last)| last).split_once(": ").unwrap();
        let path = std::env::var("PATH").unwrap();
        let expected = if said == "PATH" { path.as_str() } else { said.trim_matches('\'') };
        match (key, read) {
            ("password" | "password_env", Credentials::Password { username, password }) => {
                assert_eq!((username.as_str(), password.expose()), ("me", expected));
            }
            ("token" | "token_env", Credentials::Token(token)) => assert_eq!(token.expose(), expected),
            ("password_file", Credentials::PasswordFile { file, .. })
            | ("token_file", Credentials::TokenFile(file))
            | ("docker_config", Credentials::DockerConfig(file)) => assert_eq!(file.to_str(), Some(expected)),
            (key, read) => panic!("{key} is {read:?}"),
        }
    }
}

#[test]
fn all_else_of_an_upstream_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::new(scratch.path());
    let client = authority.client("proxy");
    let tls = format!("tls: {{cert: '{}', key: '{}'}}", client.certificate.display(), client.key.display());
    let keys = format!(
        ", url: 'https://a.b:444/c', hosts: [X.y], client_credentials: false, ca_file: '{}', {tls}, \
         timeouts: {{connect: 1s, response: 2s, progress: 3s}}, concurrency: 4, auth: {{realms: ['t.example:1']}}",
        authority.file().display()
    );
    let config = Config::parse("c", &second(&keys)).unwrap();
    let upstream = &config.upstreams[1];
    assert_eq!(upstream.place, UpstreamPlace::Registry("https://a.b:444/c".parse().unwrap()));
    assert_eq!(upstream.hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["x.y"]);
    assert!(!upstream.client_credentials && !upstream.insecure);
    assert_eq!((upstream.extra_ca.len(), upstream.identity.as_ref().unwrap().0.len()), (1, 1));
    let timeouts = [upstream.connect_timeout, upstream.response_timeout, upstream.progress_timeout];
    assert_eq!(timeouts, [1, 2, 3].map(Duration::from_secs));
    assert_eq!((upstream.concurrency, upstream.realms[0].as_str()), (4, "t.example:1"));
    assert!(!format!("{upstream:?}").contains("BEGIN"));
    expect_problems(&second(&format!(", url: 'layout:/x', {tls}")), &["upstreams[1].tls: means nothing to files"]);
}

//! The section `access`, and what it has to do with upstreams, listeners and certificates.

use std::fs;
use std::time::Duration;

use colocate::config::{AccessMode, Action, Config};

use super::expect_problems;
use crate::support::certificates::Authority;

const ANONYMOUS: &str = "upstream: {url: 'https://a.b'}\n";
const WITH: &str = "upstream: {url: 'https://a.b', credentials: {token: t}}\n";
const TWO: &str = "upstreams: [{registry: a.b}, {registry: c.d, credentials: {token: t}}]\n";

/// Files that configurations name.
struct Files {
    scratch: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("users"), "").unwrap();
        Self { authority: Authority::new(scratch.path()), scratch }
    }

    fn htpasswd(&self, more: &str) -> String {
        let users = self.scratch.path().join("users");
        format!("access: {{mode: htpasswd, htpasswd: '{}'{more}}}\n", users.display())
    }

    fn tls(&self, more: &str) -> String {
        let server = self.authority.server(&[]);
        format!(
            "server: {{tls: {{cert: '{}', key: '{}'{more}}}}}\n",
            server.certificate.display(),
            server.key.display()
        )
    }

    /// A certificate that the proxy shows to a registry.
    fn identity(&self) -> String {
        let shown = self.authority.server(&[]);
        format!("tls: {{cert: '{}', key: '{}'}}", shown.certificate.display(), shown.key.display())
    }

    fn client_ca(&self) -> String {
        format!(", client_ca: '{}'", self.authority.file().display())
    }
}

#[test]
fn every_refusal_names_its_key() {
    let files = Files::new();
    for (upstreams, access, expected) in [
        (ANONYMOUS, "{mode: closed}", "access.mode: `closed` is none of open, htpasswd, certificate and upstream"),
        (ANONYMOUS, "{allow_public: 'yes'}", "access.allow_public: `yes` is neither true nor false"),
        (ANONYMOUS, "{verdict_ttl: 5}", "access.verdict_ttl: `5` is not a duration"),
        (ANONYMOUS, "{mode: htpasswd}", "access.htpasswd: is needed: the file with users"),
        (ANONYMOUS, "{mode: htpasswd, htpasswd: /nowhere/users}", "access.htpasswd: cannot read /nowhere/users"),
        (ANONYMOUS, "{htpasswd: Cargo.toml}", "access.htpasswd: is read only with `access.mode: htpasswd`"),
        (ANONYMOUS, "{mode: certificate}", "server.tls.client_ca: is needed with `access.mode: certificate`"),
        (ANONYMOUS, "{rules: [{}]}", "access.rules[0]: says nothing; add `allow: [pull]`, or `allow: []`"),
        (ANONYMOUS, "{rules: [{identity: alice, allow: [pull]}]}", "access.rules[0].identity: `alice` names nobody"),
        (ANONYMOUS, "{rules: [{identity: 'user:', allow: []}]}", "access.rules[0].identity: `user:` names nobody"),
        (
            ANONYMOUS,
            "{rules: [{registry: '', allow: []}]}",
            "access.rules[0].registry: an empty pattern matches nothing",
        ),
        (ANONYMOUS, "{rules: [{repository: '', allow: []}]}", "access.rules[0].repository: an empty pattern"),
        (ANONYMOUS, "{rules: [{allow: [pull, read]}]}", "access.rules[0].allow[1]: `read` is none of pull, push and"),
        (ANONYMOUS, "{rules: [{alow: []}]}", "access.rules[0]: unknown key `alow` in `access.rules[0]`; did you mean"),
        (
            ANONYMOUS,
            "{rules: [{identity: 'user:a', allow: [pull]}]}",
            "access.rules[0].identity: is `user:a`, whom `access.mode: open` never sees",
        ),
        (WITH, "{}", "access.allow_public: must be true: `access.mode: open` lets everyone who reaches `listen` read"),
        (WITH, "{}", "whatever `upstream.credentials` can read"),
        (TWO, "{mode: open}", "whatever `upstreams[1].credentials` can read"),
        (WITH, "{mode: upstream}", "upstream.credentials: are never used with `access.mode: upstream`"),
        (
            "upstreams: [{registry: a.b}, {registry: c.d}, {registry: e.f, hosts: [g.h]}, {registry: i.j}]\n",
            "{mode: upstream}",
            "upstreams[0].client_credentials: must be true for one only of `upstreams[0]` and `upstreams[1] and upstreams[3]`",
        ),
        (
            "upstream: {url: 'layout:/x'}\n",
            "{mode: upstream}",
            "upstream.url: names files, which cannot tell who may read",
        ),
        (
            ANONYMOUS,
            "{mode: upstream, rules: [{identity: 'user:a', allow: [pull]}]}",
            "access.rules[0].identity: cannot be told with",
        ),
        (
            ANONYMOUS,
            "{mode: upstream, rules: [{identity: anonymous, allow: [pull]}]}",
            "access.rules[0].identity: cannot be told",
        ),
    ] {
        expect_problems(&format!("{upstreams}access: {access}\n"), &[expected]);
    }
    let client = files.authority.client("proxy");
    let shown = format!(
        "upstream: {{url: 'https://a.b', tls: {{cert: '{}', key: '{}'}}}}\n",
        client.certificate.display(),
        client.key.display()
    );
    expect_problems(&shown, &["access.allow_public: must be true", "whatever `upstream.tls` can read"]);
    let tls = |more: &str| format!("{ANONYMOUS}{}", files.tls(more));
    expect_problems(&tls(", client_ca: /nowhere/ca"), &["server.tls.client_ca: cannot read /nowhere/ca"]);
    expect_problems(&tls(", client_ca: Cargo.toml"), &["server.tls.client_ca: Cargo.toml holds no certificate"]);
    expect_problems(
        &tls(", client_certificate: optional"),
        &["server.tls.client_certificate: means nothing without `client_ca`"],
    );
    expect_problems(
        &tls(&format!("{}, client_certificate: perhaps", files.client_ca())),
        &["server.tls.client_certificate: `perhaps` is neither required nor optional"],
    );
    expect_problems(&format!("{}access: {{mode: certificate}}", tls("")), &["server.tls.client_ca: is needed with"]);
}

#[test]
fn rules_that_let_the_nameless_read_with_credentials_have_to_say_so() {
    let files = Files::new();
    for identity in ["anonymous", "'**'"] {
        let rule = format!(", rules: [{{identity: 'user:a', allow: []}}, {{identity: {identity}, allow: [pull]}}]");
        let expected = "access.rules[1].identity: lets those in who give no name, with an upstream's credentials";
        for upstreams in [WITH, TWO] {
            expect_problems(&format!("{upstreams}{}", files.htpasswd(&rule)), &[expected, "`user:**`", "allow_public"]);
            let said = format!("{upstreams}{}", files.htpasswd(&format!(", allow_public: true{rule}")));
            Config::parse("c", &said).unwrap();
        }
        Config::parse("c", &format!("{ANONYMOUS}{}", files.htpasswd(&rule))).unwrap();
    }
    for fine in [
        "",
        ", rules: [{identity: 'user:**', allow: [pull]}]",
        ", rules: [{identity: anonymous, allow: []}, {identity: 'user:**', allow: [pull]}]",
    ] {
        Config::parse("c", &format!("{WITH}{}", files.htpasswd(fine))).unwrap();
    }
    // One that leaves the identity out is about everyone.
    let all = ", rules: [{repository: 'acme/**', allow: [pull]}]";
    expect_problems(&format!("{WITH}{}", files.htpasswd(all)), &["access.rules[0].identity: lets those in who"]);
}

#[test]
fn rules_about_those_whom_a_mode_never_sees_are_refused() {
    let files = Files::new();
    let rules = |identity: &str| format!("rules: [{{identity: '{identity}', allow: [pull]}}]");
    let certificate = format!("{ANONYMOUS}{}", files.tls(&files.client_ca()));
    for (mode, sees, never) in [
        ("open", &["anonymous", "**"][..], &["user:a", "user:**", "cn:a"][..]),
        ("htpasswd", &["anonymous", "**", "user:a"], &["cn:a", "dns:**"]),
        ("certificate", &["**", "cn:a", "uri:**", "email:a"], &["anonymous", "user:a"]),
        ("upstream", &["**"], &["anonymous", "user:a", "cn:a"]),
    ] {
        let text = |identity: &str| match mode {
            "htpasswd" => format!("{ANONYMOUS}{}", files.htpasswd(&format!(", {}", rules(identity)))),
            "certificate" => format!("{certificate}access: {{mode: certificate, {}}}", rules(identity)),
            mode => format!("{ANONYMOUS}access: {{mode: {mode}, {}}}", rules(identity)),
        };
        for identity in sees {
            Config::parse("c", &text(identity)).unwrap_or_else(|err| panic!("{mode} {identity}: {err}"));
        }
        for identity in never {
            expect_problems(&text(identity), &["access.rules[0].identity: ", &format!("`access.mode: {mode}`")]);
        }
    }
}

#[test]
fn what_goes_together_is_taken() {
    let files = Files::new();
    let certificate = format!("{}access: {{mode: certificate}}\n", files.tls(&files.client_ca()));
    for (text, mode) in [
        (ANONYMOUS.to_owned(), "Open"),
        (format!("{WITH}access: {{allow_public: true}}\n"), "Open"),
        (format!("{WITH}{}", files.htpasswd("")), "Htpasswd"),
        (format!("{WITH}{certificate}"), "Certificate"),
        (format!("{ANONYMOUS}access: {{mode: upstream}}\n"), "Upstream"),
        (
            "upstreams: [{registry: a.b, hosts: [x.y]}, {registry: c.d, hosts: [z.y]}]\naccess: {mode: upstream}"
                .to_owned(),
            "Upstream",
        ),
        (
            "upstreams: [{registry: a.b}, {registry: c.d, client_credentials: false}]\naccess: {mode: upstream}"
                .to_owned(),
            "Upstream",
        ),
        (
            "upstreams: [{registry: a.b}, {registry: c.d, hosts: [x.y]}]\naccess: {mode: upstream}".to_owned(),
            "Upstream",
        ),
    ] {
        let config = Config::parse("c", &text).unwrap_or_else(|err| panic!("{text}: {err}"));
        assert!(format!("{:?}", config.access.mode).starts_with(mode), "{text}");
    }
}

#[test]
fn rules_are_read_in_order() {
    let files = Files::new();
    let text = format!(
        "{ANONYMOUS}{}",
        files.htpasswd(
            ", verdict_ttl: 5s, rules: [{identity: 'user:ci-*', registry: a.b, repository: 'acme/**', \
             allow: [pull, push, delete]}, {allow: []}]"
        )
    );
    let access = Config::parse("c", &text).unwrap().access;
    assert!(matches!(access.mode, AccessMode::Htpasswd(_)));
    assert_eq!(access.verdict_ttl, Duration::from_secs(5));
    let [first, last] = access.rules.as_slice() else { panic!("{:?}", access.rules) };
    assert_eq!(first.allow, [Action::Pull, Action::Push, Action::Delete]);
    assert!(first.identity.matches("user:ci-1") && !first.identity.matches("user:anna"));
    assert!(first.registry.matches("a.b") && !first.registry.matches("c.d"));
    assert!(first.repository.matches("acme/x/y") && !first.repository.matches("other"));
    assert!(last.allow.is_empty() && last.identity.matches("anonymous") && last.registry.matches("c.d"));
}

#[test]
fn listeners_and_trusted_proxies_are_read_before_anything_is_bound() {
    for (text, expected) in [
        ("listen: []", "listen: is empty; nobody could connect"),
        ("listen: ['127.0.0.1:1', here]", "listen[1]: `here` is neither ADDRESS:PORT, such as"),
        ("listen: ['127.0.0.1:1', 'unix:/a', '127.0.0.1:1']", "listen: has `127.0.0.1:1` twice"),
        ("listen: ['unix:/a', '127.0.0.1:1', 'unix:/a']", "listen: has `unix:/a` twice"),
        ("listen: 'unix:run/x'", "listen: `unix:run/x` does not name a socket by a whole path"),
        ("listen: ['unix:/a', '127.0.0.1:1']\nadmin: {listen: '127.0.0.1:1'}", "admin.listen: is the same address"),
        ("listen: 'unix:/run/x'", "endpoint: is needed, because nobody can pull by what is listened on"),
        ("listen: 'unix:/run/x'\naccess: {mode: certificate}", "listen: has sockets alone, by which nobody shows"),
        ("server: {trusted_proxies: [unix, 10.0.0.0/33]}", "server.trusted_proxies[1]: `10.0.0.0/33` is neither"),
        ("server: {header_read_timeout: 0s}", "server.header_read_timeout: zero"),
        ("server: {idle_body_timeout: 0s}", "server.idle_body_timeout: zero"),
        ("server: {max_connections: 0}", "server.max_connections: `0` is not a whole number"),
        ("relocation: {max_passes_per_client: 0}", "relocation.max_passes_per_client: `0` is not a whole number"),
        ("rules: [{registry: '', relocation: {when: all}}]", "rules[0].registry: an empty pattern"),
    ] {
        expect_problems(&format!("{ANONYMOUS}{text}"), &[expected]);
    }
    Config::parse("c", &format!("{ANONYMOUS}listen: ['127.0.0.1:0', '127.0.0.1:0']")).unwrap();
    expect_problems(
        &format!("{ANONYMOUS}listen: 'unix:/{}'\nendpoint: a.b", "x".repeat(107)),
        &["listen: ", "more than 107 bytes"],
    );
}

#[test]
fn pushes_that_are_forwarded_need_somebody_who_may_push() {
    let files = Files::new();
    let forward = |keys: &str| format!("upstream: {{url: 'https://a.b', writes: forward{keys}}}\n");
    let rule = |allow: &str| format!("access: {{rules: [{{allow: [{allow}]}}]}}\n");
    for text in [
        forward("") + &rule("push"),
        forward("") + &rule("pull, delete"),
        forward("") + "access: {mode: upstream}\n",
        format!("upstreams: [{{registry: a.b}}]\n{}", rule("pull")),
    ] {
        Config::parse("c", &text).unwrap_or_else(|err| panic!("{text}: {err}"));
    }
    let nobody = &["upstream.writes: is `forward`, and nobody may push: say who by a rule of `access.rules`"][..];
    for text in
        [forward(""), forward("") + &rule("pull"), forward("") + "access: {mode: upstream, rules: [{allow: [pull]}]}\n"]
    {
        expect_problems(&text, nobody);
    }
    let layout = format!("upstream: {{url: 'layout:/srv', writes: forward}}\n{}", rule("push"));
    expect_problems(&layout, &["upstream.writes: cannot be `forward` for files"]);
    // A certificate is the proxy's whoever asks.
    let shown = format!("upstream: {{url: 'https://a.b', writes: forward, {}}}\n", files.identity());
    let text = shown + "access: {mode: upstream, allow_public: true}\n";
    expect_problems(&text, &["upstream.writes: cannot be `forward` with `access.mode: upstream` and a certificate"]);
}

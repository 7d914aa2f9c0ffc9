//! The configuration file: its documented defaults, and every way to be refused.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod access;
mod check;
mod explained;
mod origins;
mod reference;
mod shipped;
mod upstreams;

use std::fs;

use colocate::config::{CommandLine, Config, Credentials, Files, FilesPlace, UpstreamPlace, When};

const DEFAULT: &str = include_str!("../../config/default.yaml");
const MINIMAL: &str = "upstream: {url: https://registry.example}";

fn problems(text: &str) -> String {
    match Config::parse("colocate.yaml", text) {
        Ok(config) => panic!("accepted as {config:?}"),
        Err(err) => err.problems().iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

/// Insists that a configuration is refused with all of these words.
#[track_caller]
fn expect_problems(text: &str, expected: &[&str]) {
    let said = problems(text);
    for expected in expected {
        assert!(said.contains(expected), "{text}\nsaid\n{said}not\n{expected}");
    }
}

fn with(extra: &str) -> String {
    format!("{MINIMAL}\n{extra}")
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let documented = Config::parse("default.yaml", DEFAULT).unwrap();
    let minimal = Config::parse("minimal.yaml", MINIMAL).unwrap();
    assert_eq!(format!("{documented:#?}"), format!("{minimal:#?}"));
}

/// The lines of a comment that are an example, from the one that begins it, as they would stand in a file.
fn example(begins: &str) -> String {
    let lines = DEFAULT.lines().skip_while(|line| line.trim() != begins).map(str::trim_start);
    lines.map_while(|line| line.strip_prefix('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_examples_in_comments_are_valid() {
    let users = tempfile::NamedTempFile::new().unwrap();
    let htpasswd = format!("access:\n mode: htpasswd\n htpasswd: '{}'\n", users.path().display());
    let indented = |text: String| text.lines().map(|line| format!(" {line}\n")).collect::<String>();
    // Rules name a registry that has to be there.
    let more = "upstreams: [{registry: ghcr.io}]\n";
    let examples = [
        example("#upstreams:"),
        with(&format!("{more}{htpasswd}{}", indented(example("#rules:")))),
        with(&format!(
            "{more}endpoint: exact.registry.example\n{}",
            DEFAULT.split_once("matches everything.\n").unwrap().1.split_once("rules: []").unwrap().0.replace('#', "")
        )),
    ];
    let [upstreams, access, rules] =
        examples.map(|text| Config::parse("example", &text).unwrap_or_else(|err| panic!("{err}\n{text}")));
    assert_eq!(upstreams.upstreams.len(), 2);
    assert_eq!(upstreams.upstreams[1].prefix.as_ref().unwrap().as_str(), "mirror/docker.io");
    assert_eq!((access.access.rules.len(), access.access.rules[0].allow.len()), (1, 1));
    assert!(!rules.rules.never_relocate());
}

#[test]
fn unknown_keys_come_all_at_once_with_the_nearest_known() {
    let said = problems(
        "lisen: 127.0.0.1:1\nupstream: {url: https://a.b, timeout: 3s}\ncache: {deadline: 1s}\n\
         rules: [{relocation: {wen: all}}]\nrelocation.when: all\nserver: {unheard_of: 1}\n",
    );
    for expected in [
        "unknown key `lisen` at the top level; did you mean `listen`?",
        "upstream: unknown key `timeout` in `upstream`; did you mean `timeouts`?",
        "cache: unknown key `deadline` in `cache`; `deadline` belongs in `relocation`",
        "rules[0].relocation: unknown key `wen` in `rules[0].relocation`; did you mean `when`?",
        "unknown key `relocation.when` at the top level; write `relocation:` and `when:` indented below it",
        "server: unknown key `unheard_of` in `server`; it knows header_read_timeout, max_connections,",
    ] {
        assert!(said.contains(expected), "{expected}\nnot in\n{said}");
    }
}

#[test]
fn every_refusal_names_its_key() {
    for (text, expected) in [
        ("", "upstream.url: is needed"),
        ("upstream: {url: registry.example}", "upstream.url: `registry.example` is none of"),
        ("upstream: {url: 'ftp://a.b'}", "upstream.url: `ftp://a.b` is none of"),
        ("upstream: {url: 'https://a.b/v2/'}", "upstream.url: `https://a.b/v2/` ends in /v2"),
        ("upstream: {url: 'https://a.b/?c=d'}", "upstream.url: `https://a.b/?c=d` has a query"),
        ("upstream: {url: 'layout:'}", "upstream.url: is empty"),
        (&with("listen: 8080"), "listen: `8080` is neither ADDRESS:PORT"),
        (&with("listen: '0.0.0.0:8080'"), "endpoint: is needed"),
        (&with("admin: {listen: '127.0.0.1:8080'}"), "admin.listen: is the same address"),
        (&with("endpoint: https://a.b"), "endpoint: `https://a.b` is not host[:port]"),
        (&with("endpoint: proxy"), "endpoint: `proxy` has neither a dot nor a port"),
        (&with("endpoints: [a.b, 'c d']"), "endpoints[1]: `c d` is not host[:port]"),
        (&with("cache: {memory: lots}"), "cache.memory: `lots` is not a size"),
        (&with("cache: {max_fills: 0}"), "cache.max_fills: `0` is not a whole number from 1 up"),
        (&with("tags: {ttl: 60}"), "tags.ttl: `60` is not a duration"),
        (&with("tags: {immutable: ['acme/**']}"), "tags.immutable[0]: `acme/**` names no tag"),
        (&with("tags: {absent: maybe}"), "tags.absent: `maybe` is neither gone nor stale"),
        (&with("tags: {stale_for: long}"), "tags.stale_for: `long` is not a duration"),
        (&with("relocation: {when: maybe}"), "relocation.when: `maybe` is none of"),
        (&with("relocation: {deadline: 0s}"), "relocation.deadline: zero"),
        (&with("relocation: {undecided: guess}"), "relocation.undecided: `guess` is neither"),
        (&with("rules: [{repository: a}]"), "rules[0]: says nothing"),
        (&with("rules: [{repository: '', relocation: {when: all}}]"), "rules[0].repository: an empty pattern"),
        (
            &with("endpoint: a.b\nrules: [{endpoint: 'x.*', relocation: {when: never}}]"),
            "rules[0].endpoint: `x.*` matches neither",
        ),
        (&with("access: {mode: closed}"), "access.mode: `closed` is none of"),
        (&with("access: {allow_public: 'yes'}"), "access.allow_public: `yes` is neither true nor false"),
        (&with("server: {tls: {cert: a.pem}}"), "server.tls: needs both"),
        (&with("server: {tls: {cert: /nowhere/a, key: /nowhere/b}}"), "server.tls.key: cannot read /nowhere/b"),
        (&with("log: {format: xml}"), "log.format: `xml` is neither"),
        (&with("log: {filter: '=='}"), "log.filter: `==` is not a filter"),
        (&with("cache: [1]"), "cache: invalid type: sequence"),
        (&with("listen: {}"), "listen: invalid type: map"),
        (&with("listen: a\nlisten: b"), "duplicate"),
        ("{", "not a configuration"),
    ] {
        let said = problems(text);
        assert!(said.contains(expected), "{text}\nsaid\n{said}not\n{expected}");
    }
}

#[test]
fn problems_come_all_at_once() {
    let said = problems("listen: here\ncache: {memory: lots}\nrelocation: {deadline: soon, undecided: maybe}");
    assert_eq!(said.lines().count(), 5, "{said}");
}

#[test]
fn credentials_need_one_password_and_a_word_on_who_reads_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "s3cret\n").unwrap();
    let text = |credentials: &str, access: &str| {
        format!("upstream: {{url: https://a.b, credentials: {{{credentials}}}}}\naccess: {{allow_public: {access}}}")
    };
    let from_file = format!("username: me, password_file: {}", file.display());

    let config = Config::parse("c", &text(&from_file, "true")).unwrap();
    let upstream = config.upstream.as_ref().unwrap();
    let Some(Credentials::PasswordFile { username, file: path }) = &upstream.credentials else {
        panic!("{upstream:?}")
    };
    assert_eq!((username.as_str(), path), ("me", &file));
    assert!(!format!("{config:?}").contains("s3cret"));

    for (credentials, access, expected) in [
        (from_file.as_str(), "false", "access.allow_public: must be true"),
        ("username: me", "true", "upstream.credentials: needs exactly one"),
        ("username: me, password: a, password_env: B", "true", "upstream.credentials: needs exactly one"),
        ("password: a", "true", "upstream.credentials.username: is needed"),
        ("username: me, password_env: COLOCATE_TEST_UNSET", "true", "upstream.credentials.password_env: the environ"),
        ("username: me, password_file: /nowhere/p", "true", "upstream.credentials.password_file: cannot read"),
    ] {
        let said = problems(&text(credentials, access));
        assert!(said.contains(expected), "{credentials}\nsaid\n{said}");
    }
    for literal in ["1e3", "0123", "yes", "0x10", "1_000"] {
        let config = Config::parse("c", &text(&format!("username: me, password: {literal}"), "true")).unwrap();
        let Some(Credentials::Password { password, .. }) = config.upstream.unwrap().credentials else {
            panic!("{literal}")
        };
        assert_eq!(password.expose(), literal, "YAML made another password of it");
    }
    let said = problems("upstream: {url: 'https://me:hunter2@a.b'}");
    assert!(said.contains("under `credentials`") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_password_in_the_wrong_place_is_not_shown() {
    for (text, expected) in [
        ("upstream: {url: 'me:hunter2@a.b'}", "upstream.url: "),
        ("upstream: {url: 'https://me:hunter2@a b'}", "upstream.url: "),
        ("upstream: {url: 'https://a.b/?me:hunter2@'}", "upstream.url: "),
        ("upstream: {url: 'https://a.b/me:hunter2@/v2'}", "upstream.url: "),
        ("upstream: {url: https://a.b, credentials: 'me:hunter2'}", "upstream.credentials: "),
        ("upstream: {url: https://a.b, credentials: ['me:hunter2']}", "upstream.credentials: "),
        ("upstream: {url: https://a.b, credentials: {me:hunter2}}", "upstream.credentials: "),
        ("upstream: 'https://me:hun\"ter2@a.b'", "upstream: invalid type: a text, expected struct"),
        ("upstream: 'https://me:hunter2@a.b'", "upstream: invalid type: a text, expected struct"),
    ] {
        let said = problems(text);
        assert!(said.contains(expected) && !said.contains("ter2"), "{text}\nsaid\n{said}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let config = Config::parse(
        "c",
        &with(
            "endpoint: a.b\nendpoints: [exact.a.b]\nrelocation: {when: each}\nrules:\n\
             - {endpoint: exact.*, relocation: {when: never}}\n\
             - {repository: 'acme/**', relocation: {when: all}}\n",
        ),
    )
    .unwrap();
    for (endpoint, repository, expected) in [
        ("exact.a.b", "acme/app", When::Never),
        ("a.b", "acme/app", When::All),
        ("a.b", "acme/team/app", When::All),
        ("a.b", "other", When::Each),
    ] {
        assert_eq!(
            config.rules.when(endpoint, &format!("a.b/{repository}").parse().unwrap()),
            expected,
            "{endpoint} {repository}"
        );
    }
}

#[test]
fn certificates_are_read_before_anything_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key, junk) = (dir.path().join("cert"), dir.path().join("key"), dir.path().join("junk"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&junk, "junk").unwrap();
    let text = |cert: &std::path::Path, key: &std::path::Path| {
        with(&format!("server: {{tls: {{cert: {}, key: {}}}}}", cert.display(), key.display()))
    };
    let config = Config::parse("c", &text(&cert, &key)).unwrap();
    assert!(config.server.tls.is_some());
    assert!(problems(&text(&junk, &key)).contains("server.tls.cert: "));
    assert!(problems(&text(&cert, &junk)).contains("server.tls.key: "));
}

#[test]
fn the_command_line_is_checked_by_the_same_rules() {
    let arguments = CommandLine { upstream: Some("layout:/data".into()), ..CommandLine::default() };
    let config = Config::from_command_line(arguments).unwrap();
    let files = Files { places: vec![FilesPlace::Layout("/data".into())], called: None };
    assert_eq!(config.upstream.unwrap().place, UpstreamPlace::Files(files));
    let arguments = CommandLine { listen: Some("nowhere".into()), ..CommandLine::default() };
    let said = Config::from_command_line(arguments).unwrap_err().to_string();
    assert!(said.starts_with("the command line has 2 problems:\n  listen: "), "{said}");
}

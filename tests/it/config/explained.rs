//! `colocate check` with references: what becomes of them by a configuration, word for word.

use std::fs;

use serde_json::Value;

use crate::support::colocate::colocate;

/// What the check of a configuration says of these arguments.
async fn check(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("colocate.yaml");
    fs::write(&file, text).unwrap();
    let finished = colocate(&[&["check", "--config", file.to_str().unwrap()], arguments].concat()).await;
    (finished.status.code(), finished.stdout, finished.stderr)
}

const SEVERAL: &str = "
listen: 0.0.0.0:5000
endpoint: proxy.example
endpoints: [exact.example]
upstream: {url: 'https://main.example/docker'}
upstreams:
- {registry: docker.io, prefix: mirror/hub, hosts: [hub.proxy.example]}
- {registry: 'quay.example:444', url: 'http://10.0.0.1:5000', always_proxied: true, writes: forward}
- {registry: files.example, url: 'layout:/srv/images'}
tags: {ttl: 90s, immutable: ['acme/**:v*']}
relocation:
  from_origin:
  - {bundles: 'main.example/**', origins: 'docker.io/library/**'}
  - {bundles: 'main.example/acme/**', origins: 'quay.example:444/**', credentials: true}
rules:
- {endpoint: exact.example, relocation: {when: never}}
- {registry: docker.io, repository: 'acme/*', relocation: {when: each}}
access:
  rules:
  - {identity: anonymous, repository: 'secret/**', allow: []}
  - {registry: quay.example:444, allow: [pull, push, delete]}
  - {repository: '*/**', allow: [pull]}
";

#[tokio::test]
async fn each_way_with_its_rules() {
    let references = [
        "acme/app:v1",
        "exact.example/acme/app",
        "proxy.example/mirror/hub/acme/app:edge",
        "hub.proxy.example/ubuntu",
        "quay.example:444/secret/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "files.example/a",
    ];
    let (code, said, errors) = check(SEVERAL, &references).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    let expected = "\
acme/app:v1 is main.example/acme/app:v1
  by         no prefix: it is the default registry's
  upstream   https://main.example/docker/v2/acme/app/manifests/v1, asked anonymously (upstream)
  relocated  if all images of a bundle are there, by relocation.when
  locks      name proxy.example/acme/app
  images     also at docker.io/library/**, if everyone may read them (relocation.from_origin[0])
  images     also at quay.example:444/**, with the credentials there are (relocation.from_origin[1])
  tag        believed for good, by tags.immutable[0] (acme/**:v*)
  writes     are refused (upstream.writes: refuse)
  anonymous  may pull, by access.rules[2] (identity **, registry **, repository */**)

exact.example/acme/app is main.example/acme/app:latest
  by         no prefix: it is the default registry's
  upstream   https://main.example/docker/v2/acme/app/manifests/latest, asked anonymously (upstream)
  relocated  never, by rules[0] (endpoint exact.example, registry **, repository **)
  locks      stay as they are: the view is exact
  tag        believed for 1m 30s (tags.ttl)
  writes     are refused (upstream.writes: refuse)
  anonymous  may pull, by access.rules[2] (identity **, registry **, repository */**)

proxy.example/mirror/hub/acme/app:edge is docker.io/acme/app:edge
  by         the prefix mirror/hub
  upstream   https://registry-1.docker.io/v2/acme/app/manifests/edge, asked anonymously (upstreams[0])
  relocated  each image that is there, by rules[1] (endpoint **, registry docker.io, repository acme/*)
  locks      name proxy.example/mirror/hub/acme/app
  images     only in their bundle's repository: no pair of relocation.from_origin is about bundles there
  tag        believed for 1m 30s (tags.ttl)
  writes     are refused (upstreams[0].writes: refuse)
  anonymous  may pull, by access.rules[2] (identity **, registry **, repository */**)

hub.proxy.example/ubuntu is docker.io/library/ubuntu:latest
  by         the host hub.proxy.example, which is that registry's alone
  upstream   https://registry-1.docker.io/v2/library/ubuntu/manifests/latest, asked anonymously (upstreams[0])
  relocated  if all images of a bundle are there, by relocation.when
  locks      name hub.proxy.example/library/ubuntu
  images     only in their bundle's repository: no pair of relocation.from_origin is about bundles there
  tag        believed for 1m 30s (tags.ttl)
  writes     are refused (upstreams[0].writes: refuse)
  anonymous  may pull, by access.rules[2] (identity **, registry **, repository */**)

quay.example:444/secret/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 is \
quay.example:444/secret/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  by         the registry's own name (quay.example:444)
  upstream   http://10.0.0.1:5000/v2/secret/app/manifests/\
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, asked anonymously (upstreams[1])
  relocated  if all images of a bundle are there, by relocation.when
  locks      stay as they are: a digest gives exactly what it is of
  writes     go on to the registry, of those who may (upstreams[1].writes: forward)
  anonymous  may do nothing, by access.rules[0] (identity anonymous, registry **, repository secret/**)

files.example/a is files.example/a:latest
  by         the registry's own name (files.example)
  upstream   from the layout in /srv/images, asked as the files are (upstreams[2])
  relocated  if all images of a bundle are there, by relocation.when
  locks      name files.example/a
  images     only in their bundle's repository: files.example may be asked directly by who reads such a lock \
(always_proxied: false)
  tag        believed for 1m 30s (tags.ttl)
  writes     are refused (upstreams[2].writes: refuse)
  anonymous  may do nothing: no rule of access.rules is about them
";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_name_beside_it_says_which_registry_is_meant() {
    for reference in ["acme/app:v1", "docker.io/acme/app:v1", "hub.proxy.example/acme/app:v1"] {
        let (code, said, errors) = check(SEVERAL, &[reference, "--ns", "registry-1.docker.io"]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
        assert!(
            said.starts_with(&format!("{reference} is docker.io/acme/app:v1\n  by         the registry's own name"))
        );
        assert!(said.contains("\n  locks      name index.docker.io/acme/app\n"), "{said}");
    }
}

#[tokio::test]
async fn who_may_do_what_depends_on_who_they_are() {
    let scratch = tempfile::tempdir().unwrap();
    let users = scratch.path().join("users");
    fs::write(&users, format!("anna:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    let with = |access: &str| format!("upstream: {{url: 'https://main.example'}}\naccess: {{{access}}}\n");
    let htpasswd = |rules: &str| with(&format!("mode: htpasswd, htpasswd: '{}'{rules}", users.display()));
    let (plain, ruled) = (
        htpasswd(""),
        htpasswd(", rules: [{identity: 'user:an*', repository: 'acme/*', allow: [pull, push, delete]}]"),
    );
    let (open, judged) = (with("mode: open"), with("mode: upstream, rules: [{repository: 'acme/*', allow: [pull]}]"));
    for (text, identity, expected) in [
        (&open, "anonymous", "anonymous  may pull: there are no access.rules (access.mode: open)"),
        (&plain, "anonymous", "anonymous  may do nothing: they have to say who they are (access.mode: htpasswd)"),
        (&plain, "user:anna", "user:anna  may pull: there are no access.rules (access.mode: htpasswd)"),
        (
            &ruled,
            "user:anna",
            "user:anna  may pull, push and delete, by access.rules[0] (identity user:an*, registry **, repository acme/*)",
        ),
        (&ruled, "user:bob", "user:bob   may do nothing: no rule of access.rules is about them"),
        (
            &judged,
            "anonymous",
            "may pull, as far as the registry lets them, by access.rules[0] (identity **, registry **, repository acme/*)",
        ),
    ] {
        let (code, said, errors) = check(text, &["acme/app", "--identity", identity]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{text}");
        assert!(said.ends_with(&format!("{expected}\n")), "{text}\n{said}");
    }
    for (text, identity) in [(&open, "user:anna"), (&plain, "dns:a.b"), (&judged, "user:anna"), (&open, "anna")] {
        let (code, said, errors) = check(text, &["acme/app", "--identity", identity]).await;
        assert_eq!((code, said.as_str()), (Some(2), ""), "{errors}");
    }
}

#[tokio::test]
async fn what_leads_nowhere_says_what_would() {
    let prefixed =
        "endpoint: proxy.example\nupstreams: [{registry: ghcr.io}, {registry: docker.io, prefix: mirror/hub}]\n";
    let (code, said, errors) = check(prefixed, &["acme/app:v1", "proxy.example/ghcr.io/a", "b.example/a"]).await;
    assert_eq!((code, errors.as_str()), (Some(1), "colocate: 2 references lead nowhere\n"), "{said}");
    let begins = "\
acme/app:v1 leads nowhere
  because  this name leads to no registry behind this proxy; it needs one of the prefixes its operator has set up
  instead  begin it with one of ghcr.io/, mirror/hub/; or set `upstream.url` for names that begin with none

proxy.example/ghcr.io/a is ghcr.io/a:latest
";
    let ends = "
b.example/a leads nowhere
  because  clients reach the proxy by none of that name (b.example), and it is no registry behind it
  instead  leave the host out; or list b.example in `endpoints` if clients reach this proxy by it, or in `upstreams` if it \
is a registry (those behind are ghcr.io, docker.io)
";
    assert!(said.starts_with(begins) && said.ends_with(ends), "{said}");
    let (code, said, _) = check(prefixed, &["acme/app", "--ns", "quay.io"]).await;
    assert_eq!(code, Some(1));
    assert!(said.ends_with("instead  name one of ghcr.io, docker.io; or list it under `upstreams`\n"), "{said}");
    for bad in ["", "Acme", "acme/app:", "acme/app@sha256:00", "acme/../app"] {
        let (code, said, errors) = check(prefixed, &["proxy.example/ghcr.io/a", bad]).await;
        assert_eq!((code, said.as_str()), (Some(2), ""), "{bad}: {errors}");
        assert!(errors.contains("is not a reference"), "{errors}");
    }
}

#[tokio::test]
async fn machines_read_it_too() {
    let (code, said, errors) = check(SEVERAL, &["mirror/hub/acme/app:v1", "b.example/a", "--json"]).await;
    assert_eq!((code, errors.as_str()), (Some(1), "colocate: a reference leads nowhere\n"), "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!(
        {"reference": "mirror/hub/acme/app:v1", "leads": {
            "repository": "docker.io/acme/app",
            "asked_for": "v1",
            "way": {"by": "prefix", "name": "mirror/hub"},
            "upstream": {
                "setting": "upstreams[0]",
                "at": "https://registry-1.docker.io/v2/acme/app/manifests/v1",
                "asked": "anonymously",
                "takes_writes": false,
            },
            "relocation": {
                "when": "each",
                "rule": {"setting": "rules[1]", "patterns": "endpoint **, registry docker.io, repository acme/*"},
                "target": "proxy.example/mirror/hub/acme/app",
                "because": null,
                "origins": [],
                "no_origins": "no pair of relocation.from_origin is about bundles there",
            },
            "tag": {"ttl": null, "immutable": {"setting": "tags.immutable[0]", "patterns": "acme/**:v*"}},
            "access": {
                "identity": "anonymous",
                "allows": ["pull"],
                "rule": {"setting": "access.rules[2]", "patterns": "identity **, registry **, repository */**"},
                "because": null,
                "as_far_as_upstream": false,
            },
        }}
    );
    assert_eq!(told[0], expected);
    assert_eq!(told[1]["reference"], "b.example/a");
    let nowhere = &told[1]["nowhere"];
    assert!(nowhere["because"].is_string() && nowhere["advice"].is_string(), "{told}");
}

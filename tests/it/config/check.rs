//! `colocate check`: what a configuration comes to.

use std::fs;

use crate::support::certificates::Authority;
use crate::support::colocate::{Colocate, Settings, colocate};
use crate::support::secrets::secret;

async fn check(text: &str) -> (Option<i32>, String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("colocate.yaml");
    fs::write(&file, text).unwrap();
    let finished = colocate(&["check", "--config", file.to_str().unwrap()]).await;
    (finished.status.code(), finished.stdout, finished.stderr)
}

#[tokio::test]
async fn each_upstream_is_told_with_its_names() {
    let password = secret("a password that check reads");
    let (code, said, errors) = check(&format!(
        "listen: 127.0.0.1:5000\nendpoint: proxy.example\nendpoints: [other.example:5000]\n\
         upstream: {{url: 'https://main.example', credentials: {{username: robot, password: {password}}}}}\n\
         upstreams:\n- {{registry: docker.io, prefix: mirror/hub, hosts: [hub.proxy.example], credentials: {{token: {password}}}}}\n\
         - {{registry: 'quay.example:444', url: 'http://10.0.0.1:5000', insecure: true}}\n\
         - {{registry: files.example, url: 'layout:/srv/images'}}\naccess: {{allow_public: true}}\n"
    ))
    .await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let expected = "The configuration is valid.
clients connect to 127.0.0.1:5000 (plain HTTP)
who may read: everyone who reaches that, without being asked
bundles in any repository may have images at any repository, if everyone may read them

main.example, at https://main.example/, asked as robot
  proxy.example/NAME       locks name proxy.example/NAME
  other.example:5000/NAME  locks name other.example:5000/NAME
  ?ns=main.example         mirrors' clients; locks name main.example/NAME

docker.io, at https://registry-1.docker.io/, asked with a token
  hub.proxy.example/NAME              locks name hub.proxy.example/NAME
  proxy.example/mirror/hub/NAME       locks name proxy.example/mirror/hub/NAME
  other.example:5000/mirror/hub/NAME  locks name other.example:5000/mirror/hub/NAME
  ?ns=docker.io                       mirrors' clients; locks name index.docker.io/NAME

quay.example:444, at http://10.0.0.1:5000/, asked anonymously
  ?ns=quay.example:444  mirrors' clients; locks name quay.example:444/NAME

files.example, from the layout in /srv/images, asked as the files are
  proxy.example/files.example/NAME       locks name proxy.example/files.example/NAME
  other.example:5000/files.example/NAME  locks name other.example:5000/files.example/NAME
  ?ns=files.example                      mirrors' clients; locks name files.example/NAME

WARNING: quay.example:444 is insecure: ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("WARNING: nobody is asked who they are (access.allow_public)"), "{said}");
    assert_eq!(said.matches("WARNING").count(), 2, "{said}");
}

#[tokio::test]
async fn who_may_read_is_told_for_each_mode() {
    let scratch = tempfile::tempdir().unwrap();
    let (users, authority) = (scratch.path().join("users"), Authority::new(scratch.path()));
    fs::write(&users, format!("anna:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    let server = authority.server(&[]);
    let tls = format!(
        "server: {{tls: {{cert: '{}', key: '{}', client_ca: '{}'}}}}\n",
        server.certificate.display(),
        server.key.display(),
        authority.file().display()
    );
    let htpasswd = format!("mode: htpasswd, htpasswd: '{}'", users.display());
    let in_clear = "WARNING: clients' passwords go over plain HTTP";
    let outside = "listen: 0.0.0.0:5000\nendpoint: a.b\n";
    for (more, access, expected, warned) in [
        ("", htpasswd.as_str(), "by password\n", false),
        (outside, &htpasswd, "by password\n", true),
        (&format!("{outside}{tls}"), &htpasswd, "(TLS)\n", false),
        ("listen: 'unix:/run/x'\nendpoint: a.b\n", &htpasswd, "clients connect to unix:/run/x (plain", false),
        (outside, "mode: upstream", "who may read: who may read upstream, which is asked with the client's own", true),
        (outside, "mode: upstream", "at https://c.d/, asked as each client says who it is", true),
        (outside, "mode: open", "who may read: everyone", false),
        (&tls, "mode: certificate", "who may read: who has a certificate of server.tls.client_ca\n", false),
        ("", "rules: [{allow: [pull]}]", "; as far as the one rule of access.rules allows\n", false),
        ("relocation: {when: never}\n", "mode: open", "127.0.0.1:8080/NAME  locks stay as they are\n", false),
    ] {
        let text = format!("{more}upstream: {{url: 'https://c.d'}}\naccess: {{{access}}}\n");
        let (code, said, errors) = check(&text).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{text}");
        assert!(said.contains(expected), "{text}\n{said}");
        assert_eq!(said.contains(in_clear), warned, "{text}\n{said}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_with_is_refused_before_it_is_served() {
    let scratch = tempfile::tempdir().unwrap();
    let (users, junk) = (scratch.path().join("users"), scratch.path().join("junk.pem"));
    fs::write(&users, "anna:plain\n").unwrap();
    fs::write(&junk, "-----BEGIN CERTIFICATE-----\nMAMBAgM=\n-----END CERTIFICATE-----\n").unwrap();
    let htpasswd =
        format!("upstream: {{url: 'https://a.b'}}\naccess: {{mode: htpasswd, htpasswd: '{}'}}", users.display());
    let ca = format!("upstreams: [{{registry: a.b}}, {{registry: c.d, ca_file: '{}'}}]", junk.display());
    for (text, expected) in [(htpasswd, "access.htpasswd cannot be used"), (ca, "the upstream c.d cannot be used")] {
        let (code, said, errors) = check(&text).await;
        assert_eq!((code, said.as_str()), (Some(2), ""), "{text}");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[tokio::test]
async fn an_insecure_upstream_is_told_of_at_the_start() {
    for insecure in [true, false] {
        let settings = Settings::new("https://127.0.0.1:1").set("upstream.insecure", insecure);
        let colocate = Colocate::start(settings).await;
        let log = colocate.log();
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains("is NOT verified"));
        assert_eq!(warned, insecure, "{log}");
    }
}

#[tokio::test]
async fn pushes_are_told_and_who_may_without_a_name() {
    let config = |identity: &str| {
        format!(
            "listen: 127.0.0.1:5000\nupstream: {{url: 'https://main.example', writes: forward}}\n\
             access: {{rules: [{{identity: '{identity}', allow: [push]}}]}}\n"
        )
    };
    let (code, said, _) = check(&config("**")).await;
    assert_eq!(code, Some(0));
    assert!(said.contains("asked anonymously; pushes and deletes go on to it\n"), "{said}");
    assert!(said.contains("WARNING: who gives no name may push"), "{said}");
    let (code, _, errors) = check(&config("user:anna")).await;
    assert_eq!(code, Some(2), "{errors}");
}

//! The binary itself, with its log and its exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{NAME, sample};

#[test]
fn the_binary_serves_says_what_it_did_and_drains_on_sigterm() {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("colocate.yaml");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: none}}\nupstream: {{url: 'layout:{}'}}\ncache: {{dir: '{}'}}\n\
         log: {{format: json}}\n",
        sample().display(),
        scratch.path().join("cache").display()
    );
    fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_colocate"))
        .args(["serve", "--config"])
        .arg(&config)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| {
        let line = line.unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    });
    let mut until = |message: &str| lines.find(|line| line["message"] == message).unwrap();
    let address = until("serving")["address"].as_str().unwrap().to_owned();

    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let request = format!(
        "GET /v2/{NAME}/tags/list?secret=hunter2 HTTP/1.1\r\nHost: {address}\r\n\
                           Authorization: Bearer hunter2\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let line = until("request");
    let expected =
        json!({"method": "GET", "path": format!("/v2/{NAME}/tags/list"), "status": 200, "ended": "complete"});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{line}");
    }
    assert!(line["bytes"].as_u64().unwrap() > 0 && line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(!line.to_string().contains("hunter2"));

    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    until("stopped");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_command_line_goes_before_file_and_environment_for_the_log() {
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("colocate.yaml");
    // It cannot start, and warns before it finds out.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "listen: '{}'\nadmin: {{listen: none}}\nupstream: {{url: 'https://a.b', insecure: true}}\ncache: {{dir: '{}'}}\n\
         log: {{format: text, filter: error}}\n",
        taken.local_addr().unwrap(),
        scratch.path().join("cache").display()
    );
    fs::write(&config, text).unwrap();
    let log = |arguments: &[&str], environment: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_colocate"));
        command.args(["serve", "--config"]).arg(&config).args(arguments).env_remove("RUST_LOG");
        command.envs(environment.map(|filter| ("RUST_LOG", filter)));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let warned = |(code, log): (i32, String)| (code, log.contains("is NOT verified"), log.contains('{'));
    assert_eq!(warned(log(&[], None)), (1, false, false));
    assert_eq!(warned(log(&["--log-format", "json"], None)), (1, false, false));
    assert_eq!(warned(log(&["--log-filter", "warn"], None)), (1, true, false));
    assert_eq!(warned(log(&["--log-filter", "warn", "--log-format", "json"], None)), (1, true, true));
    assert_eq!(warned(log(&[], Some("warn"))), (1, true, false));
    assert_eq!(warned(log(&["--log-filter", "error"], Some("warn"))), (1, false, false));
    let (code, said) = log(&["--log-filter", "=="], None);
    assert!(code == 2 && said.contains("`==` in --log-filter is not a log filter"), "{said}");
}

#[test]
fn which_build_it_is() {
    let said = |argument: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_colocate")).arg(argument).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let (short, long) = (said("-V"), said("--version"));
    let begins = concat!("colocate ", env!("CARGO_PKG_VERSION"), " (");
    assert!(short.starts_with(begins) && short.ends_with(")\n") && short.lines().count() == 1, "{short}");
    assert!(long.starts_with(&short), "{long}");
    let facts: Vec<_> = long.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    let expected = ["commit", "commit date", "rustc", "target", "profile", "features", "TLS"];
    assert_eq!(facts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected, "{long}");
    assert!(facts.iter().all(|(_, fact)| !fact.is_empty()), "{long}");
}

#[test]
fn the_demo_relocates_and_mistakes_have_their_exit_codes() {
    let colocate = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_colocate")).args(arguments).env("COLUMNS", "240").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, shown, errors) = colocate(&["demo", "--once"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(shown.contains("127.0.0.1:5900/apps/two@sha256") && shown.contains("/samples/guestbook@sha256"), "{shown}");

    let (code, shown, errors) = colocate(&["demo", "--once", "--listen", "0.0.0.0:0"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(shown.contains("Pulled 127.0.0.1:"), "{shown}");

    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = write("cert.pem", &made().cert.pem());
    let key = write("key.pem", &made().signing_key.serialize_pem());
    let junk = write("junk.pem", "-----BEGIN CERTIFICATE-----\nMAMBAgM=\n-----END CERTIFICATE-----\n");
    let tls = format!("server: {{tls: {{cert: {}, key: {}}}}}", cert.display(), key.display());
    let mismatched = write("mismatched.yaml", &format!("upstream: {{url: https://a.b}}\n{tls}"));
    let no_anchor = write("no_anchor.yaml", &format!("upstream: {{url: https://a.b, ca_file: {}}}", junk.display()));
    for (arguments, code, expected) in [
        (&["check", "--config", "/nowhere"][..], 2, "cannot read /nowhere"),
        (&["serve", "--upstream", "nowhere"], 2, "upstream.url: `nowhere` is none of"),
        (
            &["serve", "--upstream", "layout:/nowhere", "--cache", "/tmp/unused"],
            1,
            "served from files cannot be opened",
        ),
        (&["explain", "--upstream", "https://a.b", "c.d/e:f"], 2, "leave the host out"),
        (&["serve"], 2, "--config"),
        (&["check", "--config", mismatched.to_str().unwrap()], 2, "server.tls cannot be used"),
        (&["check", "--config", no_anchor.to_str().unwrap()], 2, "a CA certificate cannot be used"),
    ] {
        let (actual, _, errors) = colocate(arguments);
        assert_eq!(actual, code, "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

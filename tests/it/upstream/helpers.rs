//! Credential helpers: programs that know passwords, and programs that should.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use colocate::upstream::{
    CredentialSource, DockerConfig, HelperConfig, RegistryConfig, RegistryUpstream, Upstream, UpstreamError,
};
use tempfile::TempDir;

use super::server::{Reply, Server};
use super::{IMAGE, OCI, patient, repository, tag};
use crate::support::eventually;

/// Each run leaves a line in `runs`, and reads who it is asked for.
const PRELUDE: &str =
    r#"here=$(dirname "$0"); echo "$$ $1" >> "$here/runs"; read -r server; echo "$server" >> "$here/servers""#;

/// A directory with one helper, `test`, and a `config.json` that names it for `reg.example`.
struct Helper {
    directory: TempDir,
    timeout: Duration,
}

impl Helper {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-test");
        // By another process: a program that one of this one's has open for writing cannot be run, and a process that
        // is just being started has open whatever this one has.
        let mut writer = Command::new("sh")
            .args(["-c", r#"cat > "$0" && chmod +x "$0""#])
            .arg(&program)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{PRELUDE}\n{script}\n").as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        let helper = Self { directory, timeout: Duration::from_secs(60) };
        helper.configure("test");
        helper
    }

    fn configure(&self, name: &str) {
        let config = format!(r#"{{"auths":{{"reg.example":{{}}}},"credHelpers":{{"reg.example":"{name}"}}}}"#);
        fs::write(self.path().join("config.json"), config).unwrap();
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn upstream(&self, server: &Server) -> RegistryUpstream {
        let helpers =
            HelperConfig { directory: Some(self.path().to_owned()), timeout: self.timeout, ..HelperConfig::default() };
        let config = DockerConfig { helpers, ..DockerConfig::new(self.path().join("config.json"), ["reg.example"]) };
        let credentials = CredentialSource::Docker(config);
        RegistryUpstream::new(RegistryConfig { credentials, ..patient(server) }).unwrap()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A registry that takes `Basic` with this user and password.
async fn registry(accepted: &'static str) -> Server {
    Server::start(move |seen| match seen.header("authorization") {
        Some(sent) if sent == accepted => Reply::ok(IMAGE).kind(OCI),
        _ => Reply::new(401).with("www-authenticate", "Basic realm=\"r\""),
    })
    .await
}

const FIRST: &str = "Basic dTpmaXJzdA==";
const SECOND: &str = "Basic dTpzZWNvbmQ=";
const GIVE_FIRST: &str = r#"echo '{"ServerURL":"x","Username":"u","Secret":"first"}'"#;

async fn pull(upstream: &RegistryUpstream) -> Result<(), UpstreamError> {
    upstream.manifest(&repository(), &tag("v1")).await.map(|_| ())
}

/// What the proxy says of the helper; the registry must not have been asked.
async fn problem(helper: &Helper) -> String {
    let server = registry(FIRST).await;
    let pull = pull(&helper.upstream(&server)).await;
    let error = pull.unwrap_err();
    assert!(matches!(error, UpstreamError::Credentials { .. }), "{error:?}");
    assert!(server.seen().is_empty());
    let told = colocate::body::with_causes(&error);
    assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
    told
}

#[tokio::test]
async fn one_run_is_for_everyone_and_for_a_while() {
    let helper = Helper::new(&format!("sleep 0.2; {GIVE_FIRST}"));
    let server = registry(FIRST).await;
    let upstream = Arc::new(helper.upstream(&server));
    let pulls: Vec<_> = (0..100)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { pull(&upstream).await })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    pull(&upstream).await.unwrap();
    assert_eq!(helper.lines("runs").len(), 1);
    assert!(helper.lines("runs")[0].ends_with(" get"));
    assert_eq!(helper.lines("servers"), ["reg.example"]);
}

#[tokio::test]
async fn a_password_that_is_rejected_is_asked_for_anew_but_not_again_and_again() {
    // As with ECR, whose passwords live for hours: the first is good no more.
    let script = r#"case $(wc -l < "$here/runs") in *1) password=first;; *) password=second;; esac
        echo "{\"ServerURL\":\"x\",\"Username\":\"u\",\"Secret\":\"$password\"}""#;
    let helper = Helper::new(script);
    let server = registry(SECOND).await;
    pull(&helper.upstream(&server)).await.unwrap();
    assert_eq!(helper.lines("runs").len(), 2);
    let helper = Helper::new(GIVE_FIRST);
    let upstream = helper.upstream(&server);
    let started = Instant::now();
    for _ in 0..20 {
        assert!(matches!(pull(&upstream).await, Err(UpstreamError::Unauthorized { .. })));
    }
    // However slow this machine is: no more than one in five seconds.
    let allowed = 2 + started.elapsed().as_secs() / 5;
    assert!((2..=allowed).contains(&(helper.lines("runs").len() as u64)), "{:?}", helper.lines("runs"));
}

#[tokio::test]
async fn a_helper_that_has_nothing_makes_it_anonymous() {
    let helper = Helper::new("echo 'credentials not found in native keychain'; exit 1");
    let server = Server::start(|_| Reply::ok(IMAGE).kind(OCI)).await;
    pull(&helper.upstream(&server)).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed_with_all_it_started() {
    let helper = Helper { timeout: Duration::from_millis(500), ..Helper::new("sleep 1000 & wait") };
    let told = problem(&helper).await;
    assert!(told.contains("docker-credential-test") && told.contains("500ms"), "{told}");
    let group = helper.lines("runs")[0].split(' ').next().unwrap().to_owned();
    eventually("nobody of it is left", Duration::from_secs(60), async || members(&group).is_empty()).await;
}

#[tokio::test]
async fn a_child_that_a_helper_leaves_behind_keeps_nobody_waiting() {
    let helper = Helper::new(&format!("sleep 1000 & {GIVE_FIRST}"));
    let server = registry(FIRST).await;
    pull(&helper.upstream(&server)).await.unwrap();
    let group = helper.lines("runs")[0].split(' ').next().unwrap().to_owned();
    eventually("it is gone", Duration::from_secs(60), async || members(&group).is_empty()).await;
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_the_helper_with_it() {
    let helper = Helper::new("sleep 1000 & wait");
    let server = registry(FIRST).await;
    let upstream = helper.upstream(&server);
    {
        let pull = pull(&upstream);
        tokio::pin!(pull);
        let started = eventually("it runs", Duration::from_secs(60), async || !helper.lines("servers").is_empty());
        tokio::select! {
            _ = &mut pull => panic!("there is an answer"),
            () = started => {}
        }
    }
    let group = helper.lines("runs")[0].split(' ').next().unwrap().to_owned();
    eventually("nobody of it is left", Duration::from_secs(60), async || members(&group).is_empty()).await;
}

#[tokio::test]
async fn a_helper_that_prints_something_else_is_told_of_and_not_quoted() {
    for (script, expected) in [
        ("echo hunter2", "JSON object"),
        ("echo '{\"Username\":\"u\"}'", "JSON object"),
        ("echo '[\"hunter2\"]'", "JSON object"),
        ("head -c 1048576 /dev/zero", "65536 bytes"),
        ("echo hunter2; echo hunter2 >&2; exit 3", "failed (exit status: 3)"),
        ("kill -9 $$", "failed (signal: 9"),
    ] {
        let told = problem(&Helper::new(script)).await;
        assert!(told.contains(expected), "{script}: {told}");
    }
}

#[tokio::test]
async fn a_helper_that_is_not_there_or_should_not_be_is_told_of() {
    let helper = Helper::new("exit 0");
    for (name, expected) in [("none", "PATH"), ("../test", "may only have"), ("a b", "may only have")] {
        helper.configure(name);
        let told = problem(&helper).await;
        assert!(told.contains(expected), "{told}");
    }
    assert!(helper.lines("runs").is_empty());
}

/// The processes of a group that are not just waiting to be reaped.
fn members(group: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let of_group = |stat: &str| {
        // `pid (name) state parent group …`
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, _, own) = (fields.next()?, fields.next()?, fields.next()?);
        (own == group && state != "Z").then(|| stat.to_owned())
    };
    processes.filter_map(|pid| of_group(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

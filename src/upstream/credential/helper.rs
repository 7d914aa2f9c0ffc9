//! Docker's credential helpers: programs that know passwords (docker/docker-credential-helpers, "Development").

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::HelperProblem;
use super::{Credential, Credentials};

/// Credentials have some KiB at most.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// How long what a helper printed may take to arrive once it has ended. Only one that left a child behind, which has its
/// output open, makes anyone wait for this.
const GRACE: Duration = Duration::from_millis(500);
/// How long a helper that was killed may take to be gone.
const BURIAL: Duration = Duration::from_secs(1);
/// How helpers say that they have nothing for a server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// How a service manager speaks to the process it started, which no child of that is (sd_notify(3), sd_listen_fds(3)).
const MANAGER_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// The user name that says that the secret is a token for the token server.
pub(super) const IDENTITY_USER: &str = "<token>";

/// How credential helpers are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperConfig {
    /// Where they are; on the `PATH` without it.
    pub directory: Option<PathBuf>,
    /// How long one may take.
    pub timeout: Duration,
    /// How long what it said is believed, unless the registry rejects it before.
    pub keep: Duration,
}

impl Default for HelperConfig {
    fn default() -> Self {
        Self { directory: None, timeout: Duration::from_secs(10), keep: Duration::from_secs(300) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper `name` knows of `server`; nothing if it says so.
///
/// When this is dropped, the helper is killed, with all it started.
pub(super) async fn ask(config: &HelperConfig, name: &str, server: &str) -> Result<Option<Credential>, HelperProblem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(HelperProblem::Name);
    }
    let program = format!("docker-credential-{name}");
    let program = config.directory.as_ref().map_or_else(|| PathBuf::from(&program), |found| found.join(&program));
    let mut command = Command::new(program);
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Not into the log: it may say more than it should.
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    for variable in MANAGER_VARIABLES {
        command.env_remove(variable);
    }
    let child = command.spawn().map_err(|error| HelperProblem::Start(error.kind()))?;
    let mut family = Family::new(child);
    let spoken = timeout(config.timeout, family.converse(server)).await;
    match spoken {
        Ok(Ok((status, output))) => read(status, &output),
        Ok(Err(problem)) => {
            family.end().await;
            Err(problem)
        }
        Err(_) => {
            family.end().await;
            Err(HelperProblem::TooSlow(config.timeout))
        }
    }
}

fn read(status: std::process::ExitStatus, output: &[u8]) -> Result<Option<Credential>, HelperProblem> {
    if !status.success() {
        let said = output.trim_ascii();
        return if said == NOT_FOUND.as_bytes() { Ok(None) } else { Err(HelperProblem::Failed(status)) };
    }
    let Answer { username, secret } = serde_json::from_slice(output).map_err(|_| HelperProblem::Garbage)?;
    match (username.as_str(), secret.as_str()) {
        ("", "") => Ok(None),
        (_, "") => Err(HelperProblem::Garbage),
        (IDENTITY_USER, _) => Ok(Some(Credential::Identity(secret))),
        _ => Ok(Some(Credential::Password(Credentials { user: username, password: secret }))),
    }
}

/// A helper and the processes it started: its process group.
struct Family {
    child: Child,
    // While there is someone to kill.
    group: Option<Pid>,
}

impl Family {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, group }
    }

    /// Asks, and waits until it has ended.
    async fn converse(&mut self, server: &str) -> Result<(std::process::ExitStatus, Vec<u8>), HelperProblem> {
        let broken = |error: io::Error| HelperProblem::Io(error.kind());
        let (Some(mut stdin), Some(stdout)) = (self.child.stdin.take(), self.child.stdout.take()) else {
            return Err(HelperProblem::Io(io::ErrorKind::BrokenPipe));
        };
        // One that knows what to say without reading may be gone by now.
        let asked = async move {
            let _ = stdin.write_all(server.as_bytes()).await;
            drop(stdin);
        };
        let mut output = Vec::new();
        let status = {
            let printed = async {
                asked.await;
                drain(stdout, &mut output).await
            };
            tokio::pin!(printed);
            let ended = tokio::select! {
                biased;
                printed = &mut printed => printed.map(|()| None)?,
                status = self.child.wait() => Some(status.map_err(broken)?),
            };
            match ended {
                None => self.child.wait().await.map_err(broken)?,
                Some(status) => {
                    match timeout(GRACE, printed).await {
                        Ok(printed) => printed?,
                        // Whoever holds the output open was left behind, and belongs to the group.
                        Err(_) => self.kill(),
                    }
                    status
                }
            }
        };
        // With nobody left in the group, its number may be someone else's by now.
        self.group = None;
        Ok((status, output))
    }

    /// Kills all of it, and waits until the helper itself is gone.
    async fn end(&mut self) {
        self.kill();
        // What cannot be killed now is waited for by the runtime.
        let _ = timeout(BURIAL, self.child.wait()).await;
        self.group = None;
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // The only error is that there is nobody left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn drain(stdout: impl AsyncRead + Unpin, output: &mut Vec<u8>) -> Result<(), HelperProblem> {
    let mut limited = stdout.take(MAX_OUTPUT_BYTES as u64 + 1);
    limited.read_to_end(output).await.map_err(|error| HelperProblem::Io(error.kind()))?;
    if output.len() > MAX_OUTPUT_BYTES { Err(HelperProblem::TooLong(MAX_OUTPUT_BYTES)) } else { Ok(()) }
}

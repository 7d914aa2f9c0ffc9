//! Other programs, which never outlive the test that started them.

use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::colocate::is_tested;
use super::secrets;

/// How long a program may take to end after it was asked to, or a tool to do its work.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program. Dropping it kills it, and shows what it wrote if the test is failing. The program under test
/// also fails the test if it wrote any secret.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: TempDir,
    /// Whether it is the program under test.
    tested: bool,
}

/// What a program that ended had written.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Starts `command` with nothing on its standard input.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Also behind a program that starts it.
        let tested = std::iter::once(command.get_program()).chain(command.get_args()).any(is_tested);
        let output =
            if tested { secrets::log_directory() } else { TempDir::new().expect("a directory for the output") };
        let file = |stream| File::create(output.path().join(stream)).expect("a file for the output");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, output, tested }
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, stream: &str) -> String {
        String::from_utf8_lossy(&self.bytes(stream)).into_owned()
    }

    fn bytes(&self, stream: &str) -> Vec<u8> {
        std::fs::read(self.output.path().join(stream)).unwrap_or_default()
    }

    /// Fails the test if the program ended already, with what it said.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("{} ended ({status}):\n{}{}", self.name, self.stdout(), self.stderr());
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        // The shell has one built in; kill(1) is not on every machine.
        let kill = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("/bin/sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success(), "{} is not there for SIG{signal}", self.name);
    }

    /// Ends it where it stands (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Waits for its end, not for ever.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        self.wait_for(PATIENCE).await
    }

    /// As [`Process::wait`], with patience of one's own.
    pub(crate) async fn wait_for(&mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < patience, "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.show();
        } else if self.tested {
            for stream in ["stdout", "stderr"] {
                secrets::assert_absent(&format!("what {} wrote to {stream}", self.name), self.bytes(stream));
            }
        }
    }
}

impl Process {
    #[expect(clippy::print_stderr, reason = "the harness shows it with the failing test")]
    fn show(&self) {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        eprintln!("--- {} wrote to stdout:\n{}--- and to stderr:\n{}---", self.name, tail(&stdout), tail(&stderr));
    }
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(16 << 10);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    &text[start..]
}

/// Runs a tool to its end, whatever that is.
pub(crate) async fn run(command: Command) -> Finished {
    let mut process = Process::spawn(command);
    let status = process.wait().await;
    Finished { status, stdout: process.stdout(), stderr: process.stderr() }
}

/// Runs a tool that has to succeed, and gives what it wrote to standard output.
pub(crate) async fn succeed(tool: &str, arguments: &[&str]) -> String {
    let finished = attempt(tool, arguments).await;
    assert!(
        finished.status.success(),
        "{tool} {} failed ({}):\n{}{}",
        arguments.join(" "),
        finished.status,
        finished.stdout,
        finished.stderr
    );
    finished.stdout
}

/// Runs a tool that may fail.
pub(crate) async fn attempt(tool: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(super::find(tool).unwrap_or_else(|| panic!("{tool} is not installed")));
    command.args(arguments);
    run(command).await
}

/// A loopback address that nothing listens on.
///
/// From below the range that the kernel gives to outgoing connections, so that none takes it before it is bound;
/// starting at a place of this process's own, so that test processes side by side do not meet.
pub(crate) fn free_address() -> SocketAddr {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    const FIRST: u32 = 20_000;
    const PORTS: u32 = 12_000;
    let mut taken = TAKEN.lock().expect("no test panics while it picks a port");
    let taken = taken.get_or_insert_default();
    let start = std::process::id().wrapping_mul(97) % PORTS;
    (0..PORTS)
        .map(|step| u16::try_from(FIRST + (start + step) % PORTS).expect("a port"))
        .filter(|&port| taken.insert(port))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|&address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}

//! A containerd of the test's own, with `ctr` to pull into it. It unpacks what it pulls and checks `diff_ids`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::access::Access;
use super::certificates::Identity;
use super::process::{Finished, Process, run};
use super::{eventually, find};

/// A running daemon with nothing in it.
pub(crate) struct Containerd {
    process: Process,
    directory: TempDir,
}

impl Containerd {
    /// Starts it; needs root.
    pub(crate) async fn start() -> Self {
        // Short, because a socket's path may have 107 bytes.
        let directory = tempfile::Builder::new().prefix("ctd").tempdir_in("/tmp").expect("a directory for containerd");
        let path = |name| directory.path().join(name);
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\n  address = {:?}\n",
            path("root"),
            path("state"),
            path("sock")
        );
        fs::write(path("config.toml"), config).expect("containerd's configuration");
        let mut command = Command::new(find("containerd").expect("containerd is installed"));
        command.arg("--config").arg(path("config.toml"));
        let mut containerd = Self { process: Process::spawn(command), directory };
        eventually("containerd answers", Duration::from_secs(30), async || {
            containerd.process.assert_running();
            containerd.ctr(&["version"]).await.status.success()
        })
        .await;
        containerd
    }

    /// `ctr images pull --plain-http --snapshotter native`; bundles name no platform, and it does not mind.
    pub(crate) async fn pull(&self, reference: &str) -> Finished {
        self.ctr(&["images", "pull", "--plain-http", "--snapshotter", "native", reference]).await
    }

    /// `ctr images pull --hosts-dir`, by a client with this access. Each registry (`host[:port]`) may have a mirror (a
    /// URL), which is then asked as `…?ns=<registry>`, with the same login and certificates.
    pub(crate) async fn pull_as(&self, access: &Access, mirrors: &[(&str, &str)], reference: &str) -> Finished {
        let directory = tempfile::tempdir_in(self.directory.path()).expect("a directory for hosts");
        let own = reference.split('/').next().unwrap_or_default();
        let scheme = if access.is_secure() { "https" } else { "http" };
        let itself = (own, format!("{scheme}://{own}"));
        let mirrors = mirrors.iter().map(|(registry, mirror)| (*registry, (*mirror).to_owned()));
        // A later entry takes the place of an earlier one: a registry without a mirror is asked itself.
        for (registry, host) in std::iter::once(itself).chain(mirrors) {
            let mut files = String::new();
            if let Some(file) = access.authority() {
                files += &format!("ca = {file:?}\n");
            }
            if let Some(Identity { certificate, key }) = access.identity() {
                files += &format!("client = [[{certificate:?}, {key:?}]]\n");
            }
            // For the registry as well, which is asked when the host does not help.
            let table = format!(
                "server = \"{scheme}://{registry}\"\n{files}[host.{host:?}]\n\
                 capabilities = [\"pull\", \"resolve\"]\n{files}"
            );
            let of_registry = directory.path().join(registry);
            fs::create_dir_all(&of_registry).expect("a directory for a registry");
            fs::write(of_registry.join("hosts.toml"), table).expect("a file for a registry");
        }
        self.pull_by(access, directory.path(), reference).await
    }

    /// `ctr images pull --hosts-dir` with a directory as it is. The authority that the client trusts counts as one of the
    /// system's.
    pub(crate) async fn pull_by(&self, access: &Access, hosts: &Path, reference: &str) -> Finished {
        let hosts = hosts.to_string_lossy();
        let mut arguments = vec!["images", "pull", "--snapshotter", "native", "--hosts-dir", &hosts];
        let credentials = access.credentials();
        arguments.extend(credentials.iter().flat_map(|credentials| ["--user", credentials.as_str()]));
        let mut command = self.command(&[&arguments[..], &[reference]].concat());
        access.prepare(&mut command, self.directory.path());
        command.envs(access.authority().map(|file| ("SSL_CERT_FILE", file)));
        run(command).await
    }

    /// `ctr images import` of an archive of one image.
    pub(crate) async fn import(&self, archive: &Path) {
        let archive = archive.display().to_string();
        let imported = self.ctr(&["images", "import", "--snapshotter", "native", "--all-platforms", &archive]).await;
        assert!(imported.status.success(), "{imported:?}");
    }

    /// `ctr run` of an image as restricted as it gets, on the host's network, with a `/tmp` and these options; without
    /// arguments, with the image's own.
    pub(crate) fn run(&self, image: &str, options: &[String], arguments: &[&str]) -> Container<'_> {
        // runc keeps containers by name, for all of the machine.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("colocate-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let fifos = self.directory.path().join("fifos").display().to_string();
        let fixed = ["run", "--rm", "--net-host", "--snapshotter", "native", "--seccomp", "--fifo-dir", &fifos];
        let tmp = ["--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=mode=1777"];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let process = Process::spawn(self.command(&[&fixed[..], &tmp, &options, &[image, &name], arguments].concat()));
        Container { containerd: self, process, name }
    }

    /// What `ctr images ls` says of an image's digest.
    pub(crate) async fn digest(&self, reference: &str) -> String {
        let list = self.ctr(&["images", "ls"]).await.stdout;
        let line = list.lines().find(|line| line.starts_with(&format!("{reference} "))).unwrap_or_default();
        let digest = line.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no {reference} in\n{list}")).to_owned()
    }

    /// A file of what was unpacked, by its name; for a daemon that holds one image.
    pub(crate) fn unpacked(&self, file: &str) -> Vec<u8> {
        let snapshots = self.directory.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
        let found: Vec<PathBuf> = fs::read_dir(&snapshots)
            .expect("the native snapshotter's directory")
            .map(|entry| entry.expect("a snapshot").path().join(file))
            .filter(|file| file.is_file())
            .collect();
        let [file] = found.as_slice() else { panic!("{file} once in {}: {found:?}", snapshots.display()) };
        fs::read(file).expect("an unpacked file")
    }

    async fn ctr(&self, arguments: &[&str]) -> Finished {
        run(self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(find("ctr").expect("ctr is installed"));
        command.arg("--address").arg(self.directory.path().join("sock")).args(arguments);
        command
    }
}

/// A container that runs, until it is dropped.
pub(crate) struct Container<'a> {
    containerd: &'a Containerd,
    process: Process,
    name: String,
}

impl Container<'_> {
    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Finished {
        let status = self.process.wait().await;
        Finished { status, stdout: self.process.stdout(), stderr: self.process.stderr() }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.process.stop().await
    }

    /// Fails the test if it ended already.
    pub(crate) fn assert_running(&mut self) {
        self.process.assert_running();
    }

    /// What the kernel says of its process (`/proc/PID/status`).
    pub(crate) async fn status(&self) -> String {
        let tasks = self.containerd.ctr(&["tasks", "ls"]).await.stdout;
        let task = tasks.lines().find_map(|line| line.strip_prefix(&self.name));
        let id = task.and_then(|task| task.split_whitespace().next()).unwrap_or_else(|| panic!("no task in {tasks}"));
        fs::read_to_string(format!("/proc/{id}/status")).expect("a running process")
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.process.has_ended() {
            // The process is containerd's, and outlives the one that asked for it.
            let _ = self.containerd.command(&["tasks", "delete", "--force", &self.name]).output();
        }
    }
}

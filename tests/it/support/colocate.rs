//! The program under test, as its users start it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::access::Access;
use super::http::{self, Answer, Method};
use super::process::{Finished, Process, free_address, run};
pub(crate) use super::seen::Pulled;
use super::seen::Seen;
use super::{eventually, layout::Golden};

/// The program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_colocate");

/// The same with the feature `otlp`, where somebody has built it and says where it is (`.ci/run` does).
pub(crate) fn otlp_binary() -> Option<PathBuf> {
    std::env::var_os("COLOCATE_OTLP_BINARY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Whether a word of a command line is the program under test.
pub(crate) fn is_tested(word: &OsStr) -> bool {
    word == BINARY || otlp_binary().is_some_and(|binary| binary.as_os_str() == word)
}

/// A configuration file in the making, with dotted keys.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Value);

impl Settings {
    /// In front of an upstream, for the endpoint the golden locks name, and quick to change its mind.
    pub(crate) fn new(upstream: &str) -> Self {
        Self(Value::Object(Map::new()))
            .set("upstream.url", upstream)
            .set("endpoint", Golden::ENDPOINT)
            .set("admin.listen", "none")
            .set("tags.ttl", "1s")
            .set("relocation.negative_ttl", "1s")
    }

    /// As a file has them.
    pub(crate) fn read(yaml: &str) -> Self {
        Self(serde_yaml::from_str(yaml).expect("YAML"))
    }

    /// As [`Settings::new`], and everyone may push and delete. Nothing that the proxy believes for a while ends in a
    /// test's time: what is seen after a push is seen because of it.
    pub(crate) fn forwarding(upstream: &str) -> Self {
        Self::new(upstream)
            .set("upstream.writes", "forward")
            .set("access.rules", json!([{"identity": "**", "allow": ["pull", "push", "delete"]}]))
            .set("tags.ttl", "1h")
            .set("relocation.negative_ttl", "1h")
    }

    /// Sets `section.key`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let pointer = key.split('.').fold(&mut self.0, |section, name| {
            if section.is_null() {
                *section = json!({});
            }
            section.as_object_mut().expect("a section").entry(name).or_insert(Value::Null)
        });
        *pointer = value.into();
        self
    }

    /// The same without a whole section.
    pub(crate) fn without(mut self, section: &str) -> Self {
        self.0.as_object_mut().expect("sections").remove(section);
        self
    }

    /// What is in the list `key`, to be changed.
    pub(crate) fn list(&mut self, key: &str) -> &mut [Value] {
        self.0[key].as_array_mut().expect("a list")
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.pointer(&format!("/{}", key.replace('.', "/")))
    }

    /// The file's content: JSON, which YAML readers read.
    pub(crate) fn text(&self) -> String {
        format!("{:#}\n", self.0)
    }
}

/// `colocate serve`, with a directory of its own.
pub(crate) struct Colocate {
    process: Process,
    address: SocketAddr,
    settings: Settings,
    directory: TempDir,
}

impl Colocate {
    /// Starts it and waits until it answers. Without a `cache.dir` it gets one of its own, and a port besides all that
    /// `listen` has.
    pub(crate) async fn start(settings: Settings) -> Self {
        let mut colocate = Self::launch(&[], settings);
        colocate.ready().await;
        colocate
    }

    /// Starts it, by a program before it on the command line if there is one, and does not wait for it.
    pub(crate) fn launch(wrapper: &[&str], settings: Settings) -> Self {
        let directory = TempDir::new().expect("a directory for Colocate");
        let address = free_address();
        let own = directory.path().join("cache").to_string_lossy().into_owned();
        let cache = settings.get("cache.dir").and_then(Value::as_str).map_or(own, str::to_owned);
        let mut listen = settings.get("listen").and_then(Value::as_array).cloned().unwrap_or_default();
        listen.push(address.to_string().into());
        let settings = settings.set("listen", listen).set("cache.dir", cache);
        let file = directory.path().join("colocate.yaml");
        fs::write(&file, settings.text()).expect("a configuration file");
        let serve = [BINARY, "serve", "--config", &file.to_string_lossy()];
        let process = Self::spawn(&[wrapper, &serve].concat());
        Self { process, address, settings, directory }
    }

    /// Starts it with command line arguments only; `{listen}` and `{cache}` are filled in.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory for Colocate");
        let address = free_address();
        let cache = directory.path().join("cache");
        let fill = |argument: &&str| {
            argument.replace("{listen}", &address.to_string()).replace("{cache}", &cache.to_string_lossy())
        };
        let arguments: Vec<String> = arguments.iter().map(fill).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Self::spawn(&[&[BINARY], &arguments[..]].concat());
        let mut colocate = Self { process, address, settings: Settings::new(""), directory };
        colocate.ready().await;
        colocate
    }

    fn spawn(command_line: &[&str]) -> Process {
        let mut command = Command::new(command_line[0]);
        // As much as it can tell, for the search for secrets.
        command.args(&command_line[1..]).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        Process::spawn(command)
    }

    /// Waits until it answers: also that it does not know the client. One that may want to see a certificate first
    /// only has to listen.
    pub(crate) async fn ready(&mut self) {
        let (address, secure, url) = (self.address, self.is_secure(), format!("{}/v2/", self.url()));
        eventually("colocate answers", Duration::from_secs(20), async || {
            self.process.assert_running();
            if secure {
                return TcpStream::connect(address).await.is_ok();
            }
            let answer = http::try_send(Method::GET, &url, &[], "").await;
            answer.is_ok_and(|answer| matches!(answer.status.as_u16(), 200 | 401))
        })
        .await;
    }

    /// Asks it to end, which it has to do in good order.
    pub(crate) async fn stop(&mut self) {
        let status = self.process.stop().await;
        assert!(status.success(), "colocate ended with {status}:\n{}", self.process.stderr());
    }

    /// Ends it where it stands.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Puts another configuration in the place of its file, which it does not have to like; what listens and the cache stay
    /// the same unless `change` says otherwise.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(Settings) -> Settings) {
        self.settings = change(self.settings.clone());
        self.write_configuration(&self.settings.text());
    }

    /// The file of its configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.path().join("colocate.yaml")
    }

    /// Puts any text in the place of its configuration.
    pub(crate) fn write_configuration(&self, text: &str) {
        let file = self.configuration();
        let next = self.directory.path().join("colocate.yaml.next");
        fs::write(&next, text).expect("a configuration file");
        fs::rename(next, file).expect("the configuration file's place");
    }

    /// How it was configured last.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Where its operators look, as `http://host:port`; for this, `admin.listen` has to be set.
    pub(crate) fn admin(&self) -> String {
        let admin = self.settings.get("admin.listen").and_then(Value::as_str).expect("an address");
        format!("http://{admin}")
    }

    /// Waits for an end that it comes to by itself.
    pub(crate) async fn ended(mut self) -> Finished {
        let status = self.process.wait().await;
        Finished { status, stdout: self.process.stdout(), stderr: self.process.stderr() }
    }

    /// Starts it again after [`Colocate::stop`] or [`Colocate::kill`]: same configuration, same cache.
    pub(crate) async fn start_again(&mut self) {
        self.launch_again();
        self.ready().await;
    }

    /// As [`Colocate::start_again`], and does not wait for it.
    pub(crate) fn launch_again(&mut self) {
        let file = self.configuration();
        assert!(!self.settings.text().is_empty() && file.exists(), "it was started from a file");
        self.process = Self::spawn(&[BINARY, "serve", "--config", &file.to_string_lossy()]);
    }

    /// Stops it, forgets its cache and starts it again.
    pub(crate) async fn start_empty(&mut self) {
        self.stop().await;
        fs::remove_dir_all(self.cache()).expect("a cache to remove");
        self.start_again().await;
    }

    /// Its cache directory.
    pub(crate) fn cache(&self) -> PathBuf {
        match self.settings.get("cache.dir").and_then(Value::as_str) {
            Some(cache) => cache.into(),
            None => self.directory.path().join("cache"),
        }
    }

    /// Memory in bytes, as the kernel counts it: `VmRSS` now, `VmHWM` at most so far.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc/PID/status");
        let kilobytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().expect("a number of kB") << 10
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// Its metrics, as text; for this, `admin.listen` has to be set.
    pub(crate) async fn metrics(&self) -> String {
        let answer = http::get(&format!("{}/metrics", self.admin())).await.expect(200);
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// `http://host:port`; with a certificate, `https://localhost:port`.
    pub(crate) fn url(&self) -> String {
        if self.is_secure() { format!("https://localhost:{}", self.port()) } else { format!("http://{}", self.address) }
    }

    /// For a proxy that goes by other names.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    fn is_secure(&self) -> bool {
        self.settings.get("server.tls").is_some()
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// As a client with this access sees it.
    pub(crate) fn seen_by(&self, access: &Access) -> Seen {
        Seen::new(access, &self.url())
    }

    /// GET of a manifest.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.seen_by(&Access::anonymous()).manifest(repository, reference).await
    }

    /// HEAD of a manifest.
    pub(crate) async fn manifest_head(&self, repository: &str, reference: &str) -> Answer {
        self.seen_by(&Access::anonymous()).manifest_head(repository, reference).await
    }

    /// GET of a blob.
    pub(crate) async fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.seen_by(&Access::anonymous()).blob(repository, digest).await
    }

    /// Pulls an image of one layer as a careful client does: every digest is checked, `diff_ids` too.
    pub(crate) async fn pull(&self, repository: &str, reference: &str) -> Pulled {
        self.seen_by(&Access::anonymous()).pull(repository, reference).await
    }
}

/// Runs `colocate` with these arguments to its end.
pub(crate) async fn colocate(arguments: &[&str]) -> Finished {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("RUST_LOG");
    // Somewhere that holds no file it could find by accident.
    command.current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    run(command).await
}

#[test]
fn settings_nest() {
    let settings = Settings::new("http://a").set("upstream.credentials.username", "u").set("listen", "x");
    let value: Value = serde_json::from_str(&settings.text()).expect("JSON");
    assert_eq!(value["upstream"], json!({"url": "http://a", "credentials": {"username": "u"}}));
    assert_eq!(value["listen"], "x");
}

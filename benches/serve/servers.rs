//! The servers that are compared, each a process of its own, with its cache and its access log on the same disk.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Of `/proc/PID/stat`: on every Linux that Rust runs on, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server, ended when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// The program under test, as released.
    pub(crate) fn colocate(directory: &Path, upstream: SocketAddr) -> Self {
        let address = free_address();
        let config = json!({
            "listen": address.to_string(),
            "admin": {"listen": "none"},
            "upstream": {"url": format!("http://{upstream}")},
            "cache": {"dir": directory.join("cache")},
            // Both believe a tag for as long as this runs.
            "tags": {"ttl": "1h"},
        });
        Self::serve(directory, address, &config)
    }

    /// The program under test, through which everyone may push.
    pub(crate) fn forwarding(directory: &Path, upstream: SocketAddr) -> Self {
        let address = free_address();
        let config = json!({
            "listen": address.to_string(),
            "admin": {"listen": "none"},
            "upstream": {"url": format!("http://{upstream}"), "writes": "forward"},
            "access": {"rules": [{"identity": "**", "allow": ["pull", "push", "delete"]}]},
            "cache": {"dir": directory.join("cache")},
        });
        Self::serve(directory, address, &config)
    }

    /// The program under test, over an archive.
    pub(crate) fn archive(directory: &Path, archive: &Path) -> Self {
        let address = free_address();
        let config = json!({
            "listen": address.to_string(),
            "admin": {"listen": "none"},
            "upstream": {"url": format!("archive:{}", archive.display())},
            "cache": {"dir": directory.join("cache")},
        });
        Self::serve(directory, address, &config)
    }

    fn serve(directory: &Path, address: SocketAddr, config: &Value) -> Self {
        let file = directory.join("colocate.yaml");
        fs::write(&file, config.to_string()).expect("writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_colocate"));
        command.arg("serve").arg("--config").arg(file).env_remove("RUST_LOG");
        Self::spawn("colocate", address, command, directory)
    }

    /// Debian's registry, which stores below `storage` of its directory; `None` where it is not installed.
    pub(crate) fn docker_registry(directory: &Path) -> Option<Self> {
        let program = find("docker-registry")?;
        let address = free_address();
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": directory.join("storage")}},
            "http": {"addr": address.to_string()},
        });
        let file = directory.join("config.yml");
        fs::write(&file, config.to_string()).expect("writable");
        let mut command = Command::new(program);
        // Without this it sends traces nowhere and complains about it.
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        Some(Self::spawn("docker-registry", address, command, directory))
    }

    /// nginx as people put it in front of registries; `None` where it is not installed.
    pub(crate) fn nginx(directory: &Path, upstream: SocketAddr) -> Option<Self> {
        let program = find("nginx")?;
        let address = free_address();
        let place = directory.display();
        // As root its workers would be somebody who may not read this directory.
        let user = if is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} worker_processes auto; pid {place}/pid; error_log {place}/error.log; daemon off;
             events {{ worker_connections 1024; }}
             http {{
               access_log {place}/access.log combined; sendfile on; tcp_nopush on; keepalive_requests 100000000;
               client_body_temp_path {place}/body; proxy_temp_path {place}/temp; fastcgi_temp_path {place}/fastcgi;
               uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
               proxy_cache_path {place}/cache levels=1:2 keys_zone=cache:16m max_size=20g inactive=1h use_temp_path=off;
               server {{
                 listen {address};
                 location / {{
                   proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Connection \"\";
                   proxy_cache cache; proxy_cache_valid 200 1h; proxy_cache_lock on;
                 }}
               }}
             }}"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config).expect("writable");
        let mut command = Command::new(program);
        command.arg("-c").arg(file).arg("-p").arg(directory).arg("-e").arg(directory.join("error.log"));
        Some(Self::spawn("nginx", address, command, directory))
    }

    fn spawn(name: &'static str, address: SocketAddr, mut command: Command, directory: &Path) -> Self {
        let output = |stream| File::create(directory.join(stream)).expect("writable");
        let command = command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let mut server = Self { name, address, child };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().expect("a child");
            let said = || fs::read_to_string(directory.join("stderr")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(20), "{name}: {ended:?} {}", said());
            sleep(Duration::from_millis(1));
        }
        server
    }

    /// The most memory it has had so far in bytes, as the kernel counts it (`VmHWM`).
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a field of /proc/PID/status");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
    }

    /// What it has read so far in bytes: from anywhere (`rchar`), and of that from a disk (`read_bytes`).
    pub(crate) fn reads(&self) -> (u64, u64) {
        let counts = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect("a running process");
        let count = |field: &str| {
            let line = counts.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc/PID/io");
            line.trim_start_matches(':').trim().parse::<u64>().expect("a number")
        };
        (count("rchar"), count("read_bytes"))
    }

    /// Processor time it has used so far in seconds, its children included.
    pub(crate) fn cpu(&self) -> f64 {
        let own = self.child.id();
        let processes = fs::read_dir("/proc").expect("a Linux system").flatten();
        let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let ticks: f64 = stats
            .filter_map(|stat| {
                // The name before may hold anything, up to the last parenthesis.
                let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
                let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
                let id: u32 = stat.split_once(' ')?.0.parse().ok()?;
                let ticks = f64::from(number(11)?) + f64::from(number(12)?);
                (id == own || number(1)? == own).then_some(ticks)
            })
            .sum();
        ticks / TICKS_PER_SECOND
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, since nginx's master takes its workers along only then.
        let _ = Command::new("/bin/sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status();
        let _ = self.child.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(program)).find(|program| program.is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("a bound address")
}

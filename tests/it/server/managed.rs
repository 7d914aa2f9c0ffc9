//! What a service manager is told.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use super::serving::PATIENCE;
use crate::support::colocate::{BINARY, Settings};
use crate::support::process::Process;

/// The manager's end, and how it speaks to a process.
struct Manager {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, socket }
    }

    fn start(&self, listen: &str) -> Process {
        let settings = Settings::new("http://127.0.0.1:1")
            .set("listen", listen)
            .set("cache.dir", self.directory.path().join("cache").to_str().unwrap());
        let file = self.directory.path().join("colocate.yaml");
        std::fs::write(&file, settings.text()).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["serve", "--config"]).arg(&file);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).env("WATCHDOG_USEC", "100000");
        Process::spawn(command)
    }

    fn told(&self) -> String {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[tokio::test]
async fn that_it_is_ready_alive_and_stopping() {
    let manager = Manager::new();
    let mut process = manager.start("127.0.0.1:0");
    let ready = manager.told();
    let address = ready.strip_prefix("READY=1\nSTATUS=serving on ").unwrap_or_else(|| panic!("{ready}"));
    // Clients can connect from then on.
    std::net::TcpStream::connect(address).unwrap();
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    assert!(process.stop().await.success());
    let mut rest = vec![];
    manager.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 512];
    while let Ok(length) = manager.socket.recv(&mut buffer) {
        rest.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    rest.retain(|message| message != "WATCHDOG=1");
    assert_eq!(rest, ["STOPPING=1\nSTATUS=draining"]);
}

#[tokio::test]
async fn nothing_of_a_start_that_fails() {
    let manager = Manager::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = manager.start(&taken.local_addr().unwrap().to_string());
    assert!(!process.wait().await.success());
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0]).is_err());
}

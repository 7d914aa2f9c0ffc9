//! What a service manager is told, as systemd reads it (sd_notify(3)). Without one (`NOTIFY_SOCKET`) nothing happens.
//!
//! What cannot be sent is logged and otherwise forgotten: clients are served all the same, and a manager that waits for
//! it acts on its own.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

/// Clients can connect; also that a reload is over.
pub(super) fn ready(status: &str) {
    tell(&format!("READY=1\n{}", status_line(status)));
}

/// Another configuration is being read; [`ready`] says that this is over, whatever came of it.
pub(super) fn reloading() {
    tell(&reloading_message());
}

/// No more clients are taken, and requests are let end.
pub(super) fn stopping() {
    tell(&format!("STOPPING=1\n{}", status_line("draining")));
}

/// Shows that the runtime is alive, as often as the manager wants to see it, for as long as it is; not at all if it does
/// not want to.
pub(super) fn keep_watchdog() {
    let read = |name| env::var(name).ok();
    let Some(period) = watchdog_period(read("WATCHDOG_USEC").as_deref(), read("WATCHDOG_PID").as_deref()) else {
        return;
    };
    tokio::spawn(async move {
        let mut ticks = interval(period);
        // What was missed is not made up for: the manager counts from the last one.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell("WATCHDOG=1");
        }
    });
}

/// Half of the time after which the manager takes the process for dead, as sd_watchdog_enabled(3) advises.
fn watchdog_period(microseconds: Option<&str>, of: Option<&str>) -> Option<Duration> {
    let is_own = of.is_none_or(|process| process.parse() == Ok(process::id()));
    let microseconds = microseconds.filter(|_| is_own)?.parse().ok().filter(|count| *count > 0)?;
    Some((Duration::from_micros(microseconds) / 2).max(Duration::from_millis(1)))
}

/// systemd takes a reload for over only by a READY that comes after this time.
fn reloading_message() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    format!("RELOADING=1\nMONOTONIC_USEC={}", i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000)
}

/// One line, as the next one would be another variable.
fn status_line(text: &str) -> String {
    format!("STATUS={}", text.replace(char::is_control, " "))
}

fn tell(message: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(err) = send(&socket, message) {
        let socket = socket.display();
        tracing::warn!(%socket, error = %err, "the service manager cannot be told");
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    // In the abstract namespace, a zero stands where the text has an `@`.
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let own = UnixDatagram::unbound()?;
    // A manager that does not read is no reason for requests to wait.
    own.set_nonblocking(true)?;
    own.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn by_a_path_and_by_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&socket), "READY=1");
        let name = format!("colocate-test-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
        assert!(send(directory.path().join("nobody").as_os_str(), "").is_err());
    }

    #[test]
    fn what_is_said() {
        // There is no manager, and so nothing happens.
        reloading();
        assert_eq!(status_line("a\nREADY=1"), "STATUS=a READY=1");
        let said = reloading_message();
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{said}");
    }

    #[test]
    fn the_watchdog_is_this_process_s() {
        let own = process::id().to_string();
        let second = Some(Duration::from_millis(500));
        assert_eq!(watchdog_period(Some("1000000"), None), second);
        assert_eq!(watchdog_period(Some("1000000"), Some(&own)), second);
        for (period, of) in [(None, None), (Some("0"), None), (Some("x"), None), (Some("1000000"), Some("1x"))] {
            assert_eq!(watchdog_period(period, of), None, "{period:?} {of:?}");
        }
        assert_eq!(watchdog_period(Some("1"), None), Some(Duration::from_millis(1)));
    }
}

//! Several listeners, and Unix sockets among them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use colocate::config::ListenAddress;
use colocate::server::{Drained, ListenError, Server};
use colocate::tls::ServerTls;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::authority::{Authority, Files};
use super::serving::{LOOPBACK, PATIENCE, Serving, base, parts};

struct Place {
    directory: TempDir,
    socket: PathBuf,
    address: String,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("colocate.sock");
    let address = format!("unix:{}", socket.display());
    Place { directory, socket, address }
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A socket whose listener is gone without cleaning up.
fn leave_stale(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

#[tokio::test]
async fn a_socket_is_served_by_owner_and_group_and_gone_at_the_end() {
    let place = place();
    let serving = Serving::start(&[&place.address], parts()).await;
    let metadata = fs::symlink_metadata(&place.socket).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    assert_eq!(names(place.directory.path()), ["colocate.sock"]);
    let mut stream = UnixStream::connect(&place.socket).await.unwrap();
    base(&mut stream).await.unwrap();
    base(&mut stream).await.unwrap();
    assert_eq!(serving.stop().await.unwrap(), Drained::Complete);
    assert_eq!(names(place.directory.path()), [""; 0]);
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let place = place();
    leave_stale(&place.socket);
    let serving = Serving::start(&[&place.address], parts()).await;
    base(&mut UnixStream::connect(&place.socket).await.unwrap()).await.unwrap();
    serving.stop().await.unwrap();
    assert!(!place.socket.exists());
}

#[tokio::test]
async fn a_socket_that_somebody_listens_on_is_left_to_them() {
    let place = place();
    let first = Serving::start(&[&place.address], parts()).await;
    let error = Serving::try_start(&[&place.address], parts()).await.err().unwrap();
    assert!(matches!(error, ListenError::InUse(path) if path == place.socket));
    base(&mut UnixStream::connect(&place.socket).await.unwrap()).await.unwrap();
    assert_eq!(first.stop().await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn what_is_no_socket_stays() {
    let place = place();
    let refused = async || match Serving::try_start(&[&place.address], parts()).await.err() {
        Some(ListenError::NotASocket(path)) => path,
        other => panic!("{other:?}"),
    };
    fs::write(&place.socket, "precious").unwrap();
    assert_eq!(refused().await, place.socket);
    assert_eq!(fs::read(&place.socket).unwrap(), b"precious");
    fs::remove_file(&place.socket).unwrap();
    leave_stale(&place.directory.path().join("elsewhere"));
    symlink("elsewhere", &place.socket).unwrap();
    refused().await;
    fs::remove_file(&place.socket).unwrap();
    fs::create_dir(&place.socket).unwrap();
    refused().await;
    assert!(place.socket.is_dir());
}

#[tokio::test]
async fn a_socket_of_the_next_process_is_not_removed() {
    let place = place();
    let serving = Serving::start(&[&place.address], parts()).await;
    fs::remove_file(&place.socket).unwrap();
    let next = std::os::unix::net::UnixListener::bind(&place.socket).unwrap();
    serving.stop().await.unwrap();
    assert!(place.socket.exists());
    drop(next);
}

#[tokio::test]
async fn paths_up_to_the_longest() {
    let place = place();
    let base_length = place.directory.path().as_os_str().len() + 1;
    // The last directory fills up what the name of the socket leaves.
    for name in ["s", "sock", "colocate.sock"] {
        let middle = place.directory.path().join("d".repeat(107 - base_length - name.len() - 1));
        fs::create_dir(&middle).unwrap();
        let path = middle.join(name);
        assert_eq!(path.as_os_str().len(), 107);
        let serving = Serving::start(&[&format!("unix:{}", path.display())], parts()).await;
        base(&mut UnixStream::connect(&path).await.unwrap()).await.unwrap();
        serving.stop().await.unwrap();
        assert_eq!(names(&middle), [""; 0]);
    }
    let long = place.directory.path().join("s".repeat(108 - base_length));
    let error = Server::bind(&[ListenAddress::Unix(long.clone())], parts()).await.err().unwrap();
    assert!(matches!(&error, ListenError::PathTooLong(path) if *path == long));
    assert!(error.to_string().contains("at most 107 bytes"));
    let absent = ListenAddress::Unix(place.directory.path().join("absent/sock"));
    let error = Server::bind(&[absent], parts()).await.err().unwrap();
    assert!(error.to_string().contains("its directory must exist"), "{error}");
    assert!(matches!(Server::bind(&[], parts()).await.err(), Some(ListenError::Nowhere)));
}

#[tokio::test]
async fn one_address_that_cannot_be_had_takes_the_others_with_it() {
    let place = place();
    let holder = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let error = Serving::try_start(&[&place.address, &taken], parts()).await.err().unwrap();
    assert!(matches!(&error, ListenError::Tcp { address, .. } if address.to_string() == taken), "{error}");
    assert!(!place.socket.exists());
}

#[tokio::test]
async fn all_listeners_are_served_and_drained_together() {
    let place = place();
    let serving = Serving::start(&[LOOPBACK, &place.address, LOOPBACK], parts()).await;
    let [ListenAddress::Tcp(one), ListenAddress::Unix(_), ListenAddress::Tcp(other)] = serving.addresses[..] else {
        panic!("{:?}", serving.addresses)
    };
    let mut unix = UnixStream::connect(&place.socket).await.unwrap();
    let mut tcp = [TcpStream::connect(one).await.unwrap(), TcpStream::connect(other).await.unwrap()];
    base(&mut unix).await.unwrap();
    for stream in &mut tcp {
        base(stream).await.unwrap();
    }
    let stopping = serving.stop();
    // Idle connections are closed at once.
    assert_eq!(unix.read(&mut [0]).await.unwrap(), 0);
    for stream in &mut tcp {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    assert_eq!(stopping.await.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(one).await.is_err() && TcpStream::connect(other).await.is_err());
    assert!(UnixStream::connect(&place.socket).await.is_err());
}

#[tokio::test]
async fn the_limit_on_connections_is_of_all_listeners_together() {
    let place = place();
    let mut parts = parts();
    parts.limits.max_connections = 1;
    let serving = Serving::start(&[LOOPBACK, &place.address], parts).await;
    let mut first = TcpStream::connect(serving.tcp()).await.unwrap();
    base(&mut first).await.unwrap();
    let mut second = UnixStream::connect(&place.socket).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(300), base(&mut second)).await;
    assert!(waits.is_err());
    drop(first);
    // The request is on its way already.
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, second.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_socket_is_plain_where_the_network_has_tls() {
    let place = place();
    let files = Files::write(place.directory.path(), &Authority::new().server());
    let mut parts = parts();
    parts.tls = Some(ServerTls::load(files.plain()).unwrap());
    let serving = Serving::start(&[LOOPBACK, &place.address], parts).await;
    base(&mut UnixStream::connect(&place.socket).await.unwrap()).await.unwrap();
    assert!(base(&mut TcpStream::connect(serving.tcp()).await.unwrap()).await.is_err());
}

//! The sockets that clients connect to.
//!
//! A Unix socket is made under a name of its own beside the one it gets, so that nobody can connect before its
//! permissions stand and it listens: between `bind` and `chmod` a socket has what the process's umask leaves it,
//! and the umask is all threads'.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::inherited::Inherited;
use super::peer::PeerAddress;
use crate::config::{ListenAddress, MAX_SOCKET_PATH_BYTES};

/// Owner and group may connect: whom else to let in is a matter of the directory and the group.
const SOCKET_MODE: u32 = 0o660;
/// Connections that wait to be accepted; the same as tokio's for TCP.
const BACKLOG: u32 = 1024;
/// The longest name a socket has until it gets its own.
const MAX_INTERIM_BYTES: usize = 12;

/// Why clients cannot connect where they should.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing was asked for.
    #[error("there is no address to listen on")]
    Nowhere,
    /// An address of a network.
    #[error(
        "cannot listen on {address}; another program may have it, or another address of the list ([::] takes \
        0.0.0.0 with it), or it is not this machine's"
    )]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A path that does not fit into a socket's address.
    #[error("cannot listen on unix:{}; a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes", .0.display())]
    PathTooLong(PathBuf),
    /// Somebody serves there.
    #[error("cannot listen on unix:{}; another process does", .0.display())]
    InUse(PathBuf),
    /// Something else has the name; it is left alone.
    #[error("cannot listen on unix:{}; a file that is no socket is there", .0.display())]
    NotASocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on unix:{}; its directory must exist, and be writable to this process", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// All of them, which are accepted from in turn.
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// The one asked first.
    next: usize,
}

enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// `None` for one that was inherited: whoever made it takes it away.
        _file: Option<SocketFile>,
    },
}

/// A connection, as it comes.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listeners {
    /// Makes them, or takes those of `inherited` that listen there already, and gives the addresses with the ports that the
    /// system chose.
    pub(super) async fn bind(
        addresses: &[ListenAddress],
        inherited: &mut Inherited,
    ) -> Result<(Self, Vec<ListenAddress>), ListenError> {
        let (mut all, mut bound) = (Vec::new(), Vec::new());
        for address in addresses {
            let (listener, address) = match address {
                ListenAddress::Tcp(own) => {
                    let failed = |source| ListenError::Tcp { address: *own, source };
                    let listener = match inherited.tcp(address) {
                        Some(listener) => TcpListener::from_std(listener).map_err(failed)?,
                        None => TcpListener::bind(own).await.map_err(failed)?,
                    };
                    let address = listener.local_addr().map_err(failed)?;
                    (Listener::Tcp(listener), ListenAddress::Tcp(address))
                }
                ListenAddress::Unix(path) => {
                    let (listener, file) = match inherited.unix(address) {
                        Some(listener) => {
                            let failed = |source| ListenError::Unix { path: path.clone(), source };
                            (UnixListener::from_std(listener).map_err(failed)?, None)
                        }
                        None => bind_unix(path).await.map(|(listener, file)| (listener, Some(file)))?,
                    };
                    (Listener::Unix { listener, _file: file }, address.clone())
                }
            };
            all.push(listener);
            bound.push(address);
        }
        if all.is_empty() { Err(ListenError::Nowhere) } else { Ok((Self { all, next: 0 }, bound)) }
    }

    /// The next connection to any of them.
    pub(super) async fn accept(&mut self) -> io::Result<(Stream, PeerAddress)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Begins after the one that had its turn, so that a busy listener does not starve the others.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, PeerAddress)>> {
        let count = self.all.len();
        for at in (self.next..count).chain(0..self.next) {
            let polled = match &self.all[at] {
                Listener::Tcp(listener) => {
                    listener.poll_accept(cx).map_ok(|(stream, address)| (Stream::Tcp(stream), PeerAddress::ip(address)))
                }
                Listener::Unix { listener, .. } => {
                    listener.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), PeerAddress::Unix))
                }
            };
            if polled.is_ready() {
                self.next = (at + 1) % count;
                return polled;
            }
        }
        Poll::Pending
    }
}

/// A socket in the file system, which is removed with this, unless another has taken its name by then.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let path = self.path.display();
            let _ = fs::remove_file(&self.path).inspect_err(|err| {
                tracing::warn!(%path, error = %err, "cannot remove the socket");
            });
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What has the name that a socket is to get.
enum Occupied {
    No,
    /// By a socket whose process is gone.
    Stale,
}

async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH_BYTES {
        return Err(ListenError::PathTooLong(path.to_owned()));
    }
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidFilename.into()));
    };
    let occupied = occupied(path).await?;
    // No longer than the name it gets, so that it fits into an address where that does.
    let length = name.len().min(MAX_INTERIM_BYTES);
    let prefix = if length > 4 { "." } else { "" };
    let interim =
        tempfile::Builder::new().prefix(prefix).rand_bytes(length - prefix.len()).make_in(directory, |path| {
            let socket = UnixSocket::new_stream()?;
            socket.bind(path)?;
            Ok(socket)
        });
    let interim = interim.map_err(failed)?;
    fs::set_permissions(interim.path(), Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    let identity = identity(interim.path()).map_err(failed)?;
    let (socket, interim) = interim.into_parts();
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let placed = match occupied {
        Occupied::No => interim.persist_noclobber(path),
        Occupied::Stale => interim.persist(path),
    };
    match placed {
        Ok(()) => Ok((listener, SocketFile { path: path.to_owned(), identity })),
        // Somebody was faster.
        Err(err) if err.error.kind() == io::ErrorKind::AlreadyExists => Err(ListenError::InUse(path.to_owned())),
        Err(err) => Err(failed(err.error)),
    }
}

/// Looks who has the name, by knocking: a socket that nobody listens on refuses.
async fn occupied(path: &Path) -> Result<Occupied, ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Occupied::No),
        Err(err) => return Err(failed(err)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => Ok(Occupied::Stale),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Occupied::No),
        // The latter is a queue that is full.
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse(path.to_owned())),
        Err(err) => Err(failed(err)),
    }
}

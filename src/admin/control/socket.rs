//! Where the socket is, and who may connect.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::cache::CONTROL_SOCKET;

/// The longest path that fits into a socket's address everywhere: 108 bytes on Linux, 104 elsewhere, with the zero
/// that ends it.
const MAX_ADDRESS_BYTES: usize = 103;
/// Commands wait here until they are served.
const BACKLOG: u32 = 16;

/// A path to the socket that fits into an address.
struct Address {
    path: PathBuf,
    // What a path by way of it needs to be open.
    _directory: Option<File>,
}

/// A long path is gone around by way of the open directory, which Linux shows under a short name.
fn address(directory: &Path) -> io::Result<Address> {
    let path = directory.join(CONTROL_SOCKET);
    if path.as_os_str().as_bytes().len() <= MAX_ADDRESS_BYTES {
        return Ok(Address { path, _directory: None });
    }
    let open = File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string());
    if !short.exists() {
        let what = format!("the path of the cache directory is longer than {MAX_ADDRESS_BYTES} bytes with `/control`");
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, what));
    }
    Ok(Address { path: short.join(CONTROL_SOCKET), _directory: Some(open) })
}

/// Makes the socket. Whoever calls has the directory locked, so what is there is left from a process that is gone.
pub(super) fn bind(directory: &Path) -> io::Result<UnixListener> {
    remove(directory)?;
    let address = address(directory)?;
    let socket = UnixSocket::new_stream()?;
    // Before it has a name, since it can be connected to from then on; not every system knows it of sockets.
    let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE.into()));
    socket.bind(&address.path)?;
    fs::set_permissions(directory.join(CONTROL_SOCKET), Permissions::from_mode(MODE.into()))?;
    socket.listen(BACKLOG)
}

/// For the directory's owner alone, whatever the directory allows.
const MODE: u16 = 0o600;

/// Takes the socket away.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(CONTROL_SOCKET)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

pub(super) async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let address = address(directory)?;
    UnixStream::connect(&address.path).await
}

//! Sockets that the process was started with, as systemd does it for socket units (sd_listen_fds(3)).
//!
//! The configuration says where clients connect, here as everywhere: an inherited socket is used in place of one that
//! would be bound to the same address. One that nothing asks for is an error, as whoever passed it expects it to be
//! served, and it would take connections that nobody accepts.
//!
//! What they are for: a service manager that binds ports below 1024 for a process without rights, and that keeps
//! connections waiting while the process is replaced.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::ListenAddress;

/// The first descriptor that is passed; those before it are the standard streams (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: usize = 3;

/// Why sockets that the process was started with cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// Not what clients could connect to.
    #[error("descriptor {descriptor} (LISTEN_FDS) is neither a TCP socket nor a Unix stream socket")]
    Kind {
        /// Its number.
        descriptor: usize,
        /// What was found out last.
        source: io::Error,
    },
    /// A connection, for example.
    #[error("descriptor {0} (LISTEN_FDS) is a socket that does not listen; a systemd socket unit has to say Accept=no")]
    NotListening(usize),
    /// It is in no file system.
    #[error("descriptor {0} (LISTEN_FDS) is a Unix socket without a path, which `listen` cannot name")]
    Nameless(usize),
    /// The system does not say what it is.
    #[error("descriptor {descriptor} (LISTEN_FDS) cannot be used")]
    Io {
        /// Its number.
        descriptor: usize,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing asks for it.
    #[error(
        "the socket {address} that this process was started with (LISTEN_FDS) is none of what is to be listened on \
         ({wanted}); name it in `listen` or `admin.listen`, or take it out of the socket unit"
    )]
    Unwanted {
        /// Where it listens.
        address: ListenAddress,
        /// What the configuration names.
        wanted: String,
    },
    /// There is another one at the same address.
    #[error("this process was started with two sockets that listen on {0} (LISTEN_FDS); pass one")]
    Twice(ListenAddress),
}

/// Sockets that the process was started with and that nothing has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(ListenAddress, InheritedSocket)>);

#[derive(Debug)]
enum InheritedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// Those that the environment tells of, which are then no longer there for others: neither for a second call nor
    /// for processes that this one starts. To be called before there are threads, as it changes the environment.
    ///
    /// # Errors
    /// When one is nothing that clients can connect to.
    pub fn from_environment() -> Result<Self, InheritedError> {
        let mut descriptors = ListenFd::from_env();
        (0..descriptors.len()).map(|index| taken(&mut descriptors, index)).collect::<Result<_, _>>().map(Self)
    }

    /// Insists that all of them are among `wanted`, each once.
    ///
    /// # Errors
    /// About the first that is not.
    pub fn only(&self, wanted: &[ListenAddress]) -> Result<(), InheritedError> {
        for (index, (address, _)) in self.0.iter().enumerate() {
            if !wanted.contains(address) {
                let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(InheritedError::Unwanted { address: address.clone(), wanted });
            }
            if self.0[..index].iter().any(|(other, _)| other == address) {
                return Err(InheritedError::Twice(address.clone()));
            }
        }
        Ok(())
    }

    /// The one that listens on this TCP address.
    pub fn tcp(&mut self, address: &ListenAddress) -> Option<TcpListener> {
        let at = self.0.iter().position(|(own, socket)| own == address && matches!(socket, InheritedSocket::Tcp(_)))?;
        match self.0.swap_remove(at) {
            (_, InheritedSocket::Tcp(listener)) => Some(listener),
            (_, InheritedSocket::Unix(_)) => None,
        }
    }

    /// The one that listens on this Unix socket.
    pub(super) fn unix(&mut self, address: &ListenAddress) -> Option<UnixListener> {
        let at =
            self.0.iter().position(|(own, socket)| own == address && matches!(socket, InheritedSocket::Unix(_)))?;
        match self.0.swap_remove(at) {
            (_, InheritedSocket::Unix(listener)) => Some(listener),
            (_, InheritedSocket::Tcp(_)) => None,
        }
    }
}

fn taken(descriptors: &mut ListenFd, index: usize) -> Result<(ListenAddress, InheritedSocket), InheritedError> {
    let descriptor = FIRST_DESCRIPTOR + index;
    let failed = |source| InheritedError::Io { descriptor, source };
    let listens = |socket: &dyn AsFd| match socket_acceptconn(socket.as_fd()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(InheritedError::NotListening(descriptor)),
        Err(err) => Err(failed(err.into())),
    };
    if let Ok(Some(listener)) = descriptors.take_tcp_listener(index) {
        listens(&listener)?;
        // As the runtime needs it; sockets come as whoever passes them made them.
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        return Ok((ListenAddress::Tcp(address), InheritedSocket::Tcp(listener)));
    }
    let kind = |source| InheritedError::Kind { descriptor, source };
    let gone = || kind(io::ErrorKind::NotFound.into());
    let listener = descriptors.take_unix_listener(index).map_err(kind)?.ok_or_else(gone)?;
    listens(&listener)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let path = address.as_pathname().ok_or(InheritedError::Nameless(descriptor))?;
    Ok((ListenAddress::Unix(path.to_owned()), InheritedSocket::Unix(listener)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn tcp() -> (ListenAddress, InheritedSocket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (ListenAddress::Tcp(listener.local_addr().unwrap()), InheritedSocket::Tcp(listener))
    }

    #[test]
    fn each_is_taken_once_by_its_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = ListenAddress::Unix(path.clone());
        let (first, second) = (tcp(), tcp());
        let addresses = [first.0.clone(), second.0.clone(), unix.clone()];
        let socket = (unix.clone(), InheritedSocket::Unix(UnixListener::bind(&path).unwrap()));
        let mut inherited = Inherited(vec![first, second, socket]);
        assert!(inherited.only(&addresses).is_ok());
        assert!(inherited.tcp(&"127.0.0.1:1".parse().unwrap()).is_none() && inherited.tcp(&unix).is_none());
        let taken = inherited.tcp(&addresses[1]).unwrap();
        assert_eq!(ListenAddress::Tcp(taken.local_addr().unwrap()), addresses[1]);
        assert!(inherited.tcp(&addresses[1]).is_none());
        assert!(inherited.unix(&addresses[0]).is_none() && inherited.unix(&unix).is_some());
        assert!(inherited.unix(&unix).is_none() && inherited.tcp(&addresses[0]).is_some());
    }

    #[test]
    fn what_nothing_asks_for_is_told() {
        let (one, two) = (tcp(), tcp());
        let (first, second) = (one.0.clone(), two.0.clone());
        let inherited = Inherited(vec![one, two]);
        let error = inherited.only(std::slice::from_ref(&first)).unwrap_err();
        assert!(matches!(&error, InheritedError::Unwanted { address, .. } if *address == second));
        assert!(error.to_string().contains(&format!("({first}); name it in `listen`")), "{error}");
        // The same port of another address is another socket.
        let ListenAddress::Tcp(address) = &first else { panic!("{first}") };
        let any = format!("0.0.0.0:{}", address.port()).parse().unwrap();
        assert!(inherited.only(&[any, second.clone()]).is_err());
        let (same, other) = (tcp(), tcp());
        let address = same.0.clone();
        let twice = Inherited(vec![same, (address.clone(), other.1)]);
        assert!(matches!(twice.only(&[address]), Err(InheritedError::Twice(_))));
    }
}

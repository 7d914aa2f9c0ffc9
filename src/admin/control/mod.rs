//! The control socket: how a command has the process that serves from a cache directory work on it.
//!
//! A Unix socket in that directory, so that who may is who may use the directory. Both ends are here: the client
//! writes one [`Task`](crate::proxy::Task) as a line of JSON, the server answers with
//! [`Event`](crate::proxy::Event)s, a line each, and closes after the last. A client that hangs up stops its task.
//! Apart from the HTTP listener beside it, because that one may be reached over a network, and this one changes
//! things.

mod client;
mod server;
mod socket;

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

pub use client::{ControlError, RemoteEvents, send};
pub use server::Control;

/// The longest task: thousands of references.
const MAX_TASK_BYTES: u64 = 1 << 20;
/// The longest event: content that is in tens of thousands of repositories.
const MAX_EVENT_BYTES: u64 = 16 << 20;

/// A line without its end; `None` at the end of all, also if the last line has none.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin), max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(max).read_until(b'\n', &mut line).await?;
    if line.pop() == Some(b'\n') {
        return Ok(Some(line));
    }
    if line.len() as u64 + 1 >= max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {max} bytes")));
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_have_an_end_and_a_bound() {
        let mut text = &b"one\n\ntwo"[..];
        assert_eq!(read_line(&mut text, 4).await.unwrap().unwrap(), b"one");
        assert_eq!(read_line(&mut text, 4).await.unwrap().unwrap(), b"");
        assert_eq!(read_line(&mut text, 10).await.unwrap(), None);
        assert_eq!(read_line(&mut text, 10).await.unwrap(), None);
        assert_eq!(read_line(&mut &b"four\n"[..], 4).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

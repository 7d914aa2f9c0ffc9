//! The asking end.

use std::io;
use std::path::Path;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{MAX_EVENT_BYTES, MAX_TASK_BYTES, read_line, socket};
use crate::proxy::{Event, Task};

/// Why a process that serves cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no socket, or nobody behind it.
    #[error("no colocate takes tasks in the cache directory")]
    NotServed(#[source] io::Error),
    /// It can neither be told nor heard.
    #[error("cannot speak with the colocate that serves from the cache directory")]
    Io(#[from] io::Error),
    /// More than the other end would read.
    #[error("so many references are too many at once; give them in several commands")]
    TaskTooLarge,
    /// What it says makes no sense.
    #[error("the colocate that serves from the cache directory is of another version")]
    Event(#[from] serde_json::Error),
    /// It stopped in the middle.
    #[error("the colocate that serves from the cache directory stopped before the task was done; give it again")]
    Stopped,
}

/// What a task tells that runs in another process. It is stopped when this is dropped.
pub struct RemoteEvents {
    read: BufReader<OwnedReadHalf>,
    // Closing it is hanging up.
    _write: OwnedWriteHalf,
    ended: bool,
}

/// Has the process that serves from `directory` run a task.
///
/// # Errors
/// When there is none, or it cannot be told.
pub async fn send(directory: &Path, task: &Task) -> Result<RemoteEvents, ControlError> {
    let mut line = serde_json::to_vec(task)?;
    line.push(b'\n');
    if line.len() as u64 > MAX_TASK_BYTES {
        return Err(ControlError::TaskTooLarge);
    }
    let stream = socket::connect(directory).await.map_err(|err| match err.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotServed(err),
        _ => ControlError::Io(err),
    })?;
    let (read, mut write) = stream.into_split();
    write.write_all(&line).await?;
    Ok(RemoteEvents { read: BufReader::new(read), _write: write, ended: false })
}

impl RemoteEvents {
    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// When the other end stops before that, or is not understood.
    pub async fn next(&mut self) -> Result<Option<Event>, ControlError> {
        if self.ended {
            return Ok(None);
        }
        let line = match read_line(&mut self.read, MAX_EVENT_BYTES).await {
            Ok(line) => line.ok_or(ControlError::Stopped)?,
            Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Err(ControlError::Stopped),
            Err(err) => return Err(err.into()),
        };
        let event = serde_json::from_slice(&line)?;
        self.ended = matches!(event, Event::End { .. });
        Ok(Some(event))
    }
}

//! The serving end.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{MAX_TASK_BYTES, read_line, socket};
use crate::proxy::{Event, Task, Tasks};

/// Tasks at one time.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take to say what it wants; it has it at hand.
const TASK_TIME: Duration = Duration::from_secs(10);
/// How long a command may take no events: a person with a pager has that much patience, too.
const READ_TIME: Duration = Duration::from_secs(600);
/// How long to wait after accept failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound control socket.
pub struct Control {
    listener: UnixListener,
    directory: PathBuf,
}

impl Control {
    /// Makes the socket in a cache directory that this process has opened.
    ///
    /// # Errors
    /// When the file system does not take it, or the path is too long.
    pub fn bind(directory: &Path) -> io::Result<Self> {
        Ok(Self { listener: socket::bind(directory)?, directory: directory.to_owned() })
    }

    /// Runs the tasks that are sent until `shutdown`, which stops those under way: they can be given again.
    pub async fn run(self, tasks: Tasks, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let tasks = tasks.clone();
                        connections.spawn(async move {
                            // Whoever hangs up knows that it has.
                            let _ = serve(stream, &tasks).await;
                        });
                    }
                    Err(err) => {
                        tracing::error!(error = %err, "cannot accept control connections");
                        sleep(ACCEPT_RETRY).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        // While `tasks` keeps the directory locked: later, it could be another process's.
        let _ = socket::remove(&self.directory);
    }
}

async fn serve(stream: UnixStream, tasks: &Tasks) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let line = timeout(TASK_TIME, read_line(&mut read, MAX_TASK_BYTES)).await.map_err(io::Error::from)??;
    let Some(line) = line else { return Ok(()) };
    let task: Task = match serde_json::from_slice(&line) {
        Ok(task) => task,
        Err(err) => return refuse(&mut write, &err).await,
    };
    tracing::info!(task = task.label(), "running a task");
    let mut events = tasks.run(task);
    let mut extra = [0];
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Its end is all that can come.
            _ = read.read(&mut extra) => return Ok(()),
        };
        match event {
            Some(event) => tell(&mut write, &event).await?,
            None => return write.shutdown().await,
        }
    }
}

/// Most likely a command of another version.
async fn refuse(write: &mut OwnedWriteHalf, err: &serde_json::Error) -> io::Result<()> {
    let problem = format!("the colocate that serves does not know this task, perhaps it is of another version: {err}");
    tell(write, &Event::Problem { subject: "the task".to_owned(), problem }).await?;
    tell(write, &Event::End { problems: 1 }).await
}

async fn tell(write: &mut OwnedWriteHalf, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    // Who does not read keeps one of few places, and whatever the task holds.
    timeout(READ_TIME, write.write_all(&line)).await.map_err(io::Error::from)?
}

//! Why a command cannot work on a cache, or not write what it gave.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why a task cannot run in a directory.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PlaceError {
    /// It must not be made by looking for it.
    #[error("there is no cache in {}", directory.display())]
    NoCache { directory: PathBuf },
    /// Files of ours would be in the way of the cache's own user.
    #[error(
        "the cache directory {} belongs to user {owner}, and this is user {own}; run the command as that user, or while \
         a colocate serves from it", directory.display()
    )]
    OtherUser { directory: PathBuf, owner: u32, own: u32 },
    /// Somebody else works on it without serving.
    #[error("the cache directory {} is in use by another colocate that takes no tasks, such as another of these \
             commands; try again when it is done", directory.display())]
    Busy { directory: PathBuf },
    /// Nobody to ask for it, and no registry given.
    #[error("no colocate serves from {}; give --upstream, or --config, to pull from", directory.display())]
    NoUpstream { directory: PathBuf },
    /// Without having come to its end.
    #[error("the task was stopped")]
    Stopped,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ExportError {
    /// It would have to be deleted.
    #[error("{} is there, and is no regular file", path.display())]
    NotAFile { path: PathBuf },
    /// Whoever that is would write between this one's bytes.
    #[error("another export is writing {}", path.display())]
    Busy { path: PathBuf },
    /// It cannot be looked into, or written.
    #[error("{} cannot be {what}", path.display())]
    File { path: PathBuf, what: &'static str, source: io::Error },
    /// The other end has lost count.
    #[error(
        "what was told of the archive does not fit together; perhaps another version of colocate serves from the \
             cache directory"
    )]
    Confused,
    /// Something was missing, or a signal came.
    #[error("the archive is not whole; what there is of it is in {}, and the same command goes on from there", partial.display())]
    Unfinished {
        partial: PathBuf,
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
}

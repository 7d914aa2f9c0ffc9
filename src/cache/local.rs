//! A store in a local directory.
//!
//! ```text
//! version                             what wrote this directory, so that another layout is never misread
//! lock                                held while a process uses the directory
//! control                             where a process that serves from the directory takes tasks
//! blobs/<algorithm>/<2 hex>/<hex>     content, and behind it a trailer that says it is whole
//! records/<component>/…/<last>.record a line with the digest of the rest, and the rest
//! partial/                            whatever is not committed; what is the beginning of content is gone on with
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::disk::{self, blocking, ensure_directory, remove_anything, sync_directory};
use super::key::RecordKey;
use super::local_content::{self, LocalPartial, open_content};
use super::local_directory::Directory;
use super::local_record;
use super::store::{Content, Listed, PartialContent, Space, Store};
use crate::body::BoxFuture;
use crate::oci::Digest;

/// Why a directory cannot be used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it.
    #[error(
        "the cache directory {} is in use by another colocate; stop that one, or give this one a directory of its own",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// There are files, and none says that they are a cache.
    #[error(
        "{} is not empty and has no file `version`, so it is not a colocate cache; give an empty directory, or, if it \
         was a cache once, empty it: a cache can always be filled again",
        directory.display()
    )]
    NotACache {
        /// The directory.
        directory: PathBuf,
    },
    /// A cache of another layout, or a damaged stamp.
    #[error(
        "the cache directory {} says {found:?} in its file `version`, and this colocate reads {STAMP:?}; empty the \
         directory, or give another one",
        directory.display()
    )]
    Version {
        /// The directory.
        directory: PathBuf,
        /// What the stamp says, shortened.
        found: String,
    },
    /// The file system refused.
    #[error("cannot {action} in the cache directory {}; it must belong to the user colocate runs as", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Content and records as files in one directory.
///
/// Cheap to clone. The directory stays locked until the last clone and the last content being written is gone.
#[derive(Clone)]
pub struct LocalStore(Arc<Directory>);

/// The name of the socket on which whoever uses the directory takes tasks from others. It is not the store's: a crash
/// leaves it behind, and the next process makes its own.
pub const CONTROL_SOCKET: &str = "control";

/// What the file `version` says. The number changes with the layout.
const STAMP: &str = "colocate cache 1\n";

impl LocalStore {
    /// Whether `directory` was a cache before, so that looking into it makes none.
    pub fn exists(directory: &Path) -> bool {
        directory.join("version").exists()
    }

    /// Opens a cache directory, making it if there is none, and takes stock of what a crash left half written.
    ///
    /// Blocks on the disk: call it before serving.
    ///
    /// # Errors
    /// When the directory is in use, or not a cache, or of another version, or the file system refuses.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let root = directory.into();
        let failed = |action: &'static str| {
            let directory = root.clone();
            move |source| OpenError::Io { directory, action, source }
        };
        // Private content may be kept here, so a directory of our making is ours alone to read.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(failed("make the directory"))?;
        // Before anything is written: a mistyped path leaves no trace.
        if !Self::exists(&root) && has_foreign_entries(&root).map_err(failed("list files"))? {
            return Err(OpenError::NotACache { directory: root });
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(root.join("lock"));
        let lock = lock.map_err(failed("open the file `lock`"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { directory: root }),
            Err(TryLockError::Error(err)) => return Err(failed("lock the file `lock`")(err)),
        }
        check_stamp(&root)?;
        for name in ["blobs", "records", "partial"] {
            ensure_directory(&root, &root.join(name)).map_err(failed("make a directory"))?;
        }
        let directory = Directory::new(root.clone(), lock);
        let (left, swept) = directory.take_stock().map_err(failed("sweep `partial`"))?;
        if left + swept > 0 {
            let directory = root.display();
            tracing::info!(%directory, left, swept, "found downloads that were not finished; those left will be gone on with");
        }
        Ok(Self(Arc::new(directory)))
    }
}

/// Whether there is anything beside what opening makes first, and what a new file system brings.
fn has_foreign_entries(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if !["lock", "version.new", "lost+found", CONTROL_SOCKET].iter().any(|own| name == *own) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check_stamp(root: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { directory: root.to_owned(), action: "use the file `version`", source };
    let (stamp, new) = (root.join("version"), root.join("version.new"));
    match fs::read(&stamp) {
        Ok(found) if found == STAMP.as_bytes() => Ok(()),
        Ok(found) => {
            let found = String::from_utf8_lossy(&found).chars().take(32).collect();
            Err(OpenError::Version { directory: root.to_owned(), found })
        }
        Err(err) if err.kind() == io::ErrorKind::IsADirectory => {
            Err(OpenError::Version { directory: root.to_owned(), found: "(it is a directory)".to_owned() })
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let write = || {
                let mut file = File::create(&new)?;
                file.write_all(STAMP.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, &stamp)?;
                sync_directory(root)
            };
            write().map_err(failed)
        }
        Err(err) => Err(failed(err)),
    }
}

impl Store for LocalStore {
    fn content<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Arc<dyn Content>>>> {
        let directory = Arc::clone(&self.0);
        let path = directory.blob(digest);
        Box::pin(blocking(move || {
            let content = open_content(&directory, path)?;
            Ok(content.map(|content| Arc::new(content) as Arc<dyn Content>))
        }))
    }

    fn create<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Box<dyn PartialContent>>> {
        let directory = Arc::clone(&self.0);
        let digest = *digest;
        Box::pin(blocking(move || Ok(Box::new(LocalPartial::create(directory, digest)?) as Box<dyn PartialContent>)))
    }

    fn resume<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<Option<Box<dyn PartialContent>>>> {
        let (directory, digest) = (Arc::clone(&self.0), *digest);
        Box::pin(blocking(move || {
            let partial = LocalPartial::resume(directory, digest)?;
            Ok(partial.map(|partial| Box::new(partial) as Box<dyn PartialContent>))
        }))
    }

    fn sweep(&self, age: Duration) -> BoxFuture<'_, io::Result<usize>> {
        let directory = Arc::clone(&self.0);
        Box::pin(blocking(move || directory.sweep(age)))
    }

    fn left_bytes(&self) -> u64 {
        self.0.left_bytes()
    }

    fn list_content(&self) -> BoxFuture<'_, io::Result<Vec<Listed>>> {
        let directory = Arc::clone(&self.0);
        Box::pin(blocking(move || local_content::list(&directory)))
    }

    fn space(&self) -> BoxFuture<'_, io::Result<Option<Space>>> {
        let directory = Arc::clone(&self.0);
        Box::pin(blocking(move || disk::space(&directory.blobs()).map(Some)))
    }

    fn touch<'a>(&'a self, digest: &'a Digest, at: SystemTime) -> BoxFuture<'a, io::Result<()>> {
        let (directory, digest) = (Arc::clone(&self.0), *digest);
        Box::pin(blocking(move || local_content::touch(&directory, &digest, at)))
    }

    fn remove<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, io::Result<()>> {
        let path = self.0.blob(digest);
        Box::pin(blocking(move || remove_anything(&path)))
    }

    fn record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<Option<Bytes>>> {
        let (directory, key) = (Arc::clone(&self.0), key.clone());
        Box::pin(blocking(move || local_record::read(&directory, &key)))
    }

    fn put_record<'a>(&'a self, key: &'a RecordKey, bytes: Bytes) -> BoxFuture<'a, io::Result<()>> {
        let (directory, key) = (Arc::clone(&self.0), key.clone());
        Box::pin(blocking(move || local_record::write(&directory, &key, &bytes)))
    }

    fn delete_record<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, io::Result<()>> {
        let (directory, key) = (Arc::clone(&self.0), key.clone());
        Box::pin(blocking(move || local_record::delete(&directory, &key)))
    }

    fn list_records<'a>(&'a self, prefix: &'a RecordKey) -> BoxFuture<'a, io::Result<Vec<RecordKey>>> {
        let (directory, prefix) = (Arc::clone(&self.0), prefix.clone());
        Box::pin(blocking(move || local_record::list(&directory, &prefix)))
    }
}

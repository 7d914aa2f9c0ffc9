//! The layouts and archives that there are now.
//!
//! What is there is looked at before each answer, by the times and lengths of files alone: who drops an archive into a
//! directory finds it served by the next request, and gone by the next after it was taken away.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files_layout;
use super::files_opened::Stamp;
use super::files_scan;
use super::index::Entries;
use super::store::Store;
use crate::config::{Files, FilesPlace};
use crate::upstream::UpstreamError;

/// What archives in a directory are called; everything else there is left alone.
const ARCHIVE_SUFFIX: &str = "tar";

/// How many names are told of what is served; the catalog has all.
const MAX_NAMES_TOLD: usize = 20;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Library {
    files: Files,
    /// Where it is written down what archives hold.
    kept: Option<PathBuf>,
    known: HashMap<PathBuf, Known>,
}

/// What was found at a path.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    found: Result<Arc<Store>, UpstreamError>,
}

/// What is there now.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    /// In the order in which they are asked.
    pub(super) stores: Vec<Arc<Store>>,
    /// Why a place that was named cannot be looked at.
    pub(super) trouble: Option<UpstreamError>,
}

impl Library {
    /// Opens what is there.
    ///
    /// # Errors
    /// When a place that was named cannot be opened. What is in a directory of archives can be mended later.
    pub(super) fn open(files: Files, kept: Option<PathBuf>) -> Result<Self, UpstreamError> {
        let mut library = Self { files, kept, known: HashMap::new() };
        match library.look().trouble {
            Some(trouble) => Err(trouble),
            None => Ok(library),
        }
    }

    /// Looks at what is there.
    pub(super) fn look(&mut self) -> Holdings {
        let (mut holdings, mut present) = (Holdings::default(), Vec::new());
        for place in self.files.places.clone() {
            let paths = match place {
                FilesPlace::Archive(path) if path.is_dir() && !files_layout::is_layout(&path) => archives_in(&path),
                FilesPlace::Archive(path) if path.is_dir() => Ok(vec![Named::Layout(path)]),
                FilesPlace::Archive(path) => Ok(vec![Named::Archive(path)]),
                FilesPlace::Layout(path) => Ok(vec![Named::Layout(path)]),
            };
            let paths = paths.unwrap_or_else(|error| {
                holdings.trouble.get_or_insert(error);
                Vec::new()
            });
            for named in paths {
                match self.find(&named) {
                    Ok(store) => holdings.stores.push(store),
                    Err(_) if matches!(named, Named::InDirectory(_)) => {}
                    Err(error) => drop(holdings.trouble.get_or_insert_with(|| of_file(named.path(), error))),
                }
                present.push(named.into_path());
            }
        }
        if holdings.trouble.is_some() {
            // What cannot be looked at need not be gone.
            return holdings;
        }
        let kept = self.kept.clone();
        self.known.retain(|path, _| {
            let is_present = present.contains(path);
            if !is_present {
                tracing::info!(path = %path.display(), "an archive is gone");
                files_scan::forget(path, kept.as_deref());
            }
            is_present
        });
        holdings
    }

    /// The store at a path, opened again if it is another than before.
    fn find(&mut self, named: &Named) -> Result<Arc<Store>, UpstreamError> {
        let path = named.path();
        let stamp = match named {
            Named::Layout(path) => files_layout::stamp(path)?,
            Named::Archive(path) | Named::InDirectory(path) => {
                Stamp::of(path).map_err(|cause| files_layout::unreadable(path, cause))?
            }
        };
        if let Some(known) = self.known.get(path).filter(|known| known.stamp == stamp) {
            return known.found.clone();
        }
        let called = self.files.called.as_ref();
        let opened = match named {
            Named::Layout(path) => Store::layout(path, called),
            Named::Archive(path) | Named::InDirectory(path) => Store::archive(path, called, self.kept.as_deref()),
        };
        let found = match opened {
            Ok(store) => {
                let store = Arc::new(store);
                self.introduce(&store);
                Ok(store)
            }
            // Still being written, perhaps: looked at again each time, until it is left alone.
            Err(error) if !stamp.is_settled() && !matches!(named, Named::Layout(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "this cannot be served");
                // Tools write the index of a layout in place, so this may be half of it; digests keep the old one true.
                match (named, self.known.remove(path)) {
                    (Named::Layout(_), Some(Known { found: Ok(before), .. })) => Ok(before),
                    _ => Err(error),
                }
            }
        };
        self.known.insert(path.to_owned(), Known { stamp, found: found.clone() });
        found
    }

    /// Tells of a store that is new, and of names in it that stand for something else already.
    fn introduce(&self, store: &Store) {
        let path = store.path.display();
        let images: usize = store.index.repositories().map(|(_, entries)| entries.roots.len()).sum();
        let tagged =
            |(name, entries): (_, &Entries)| entries.tags.keys().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>();
        let names: Vec<String> = store.index.repositories().flat_map(tagged).take(MAX_NAMES_TOLD).collect();
        tracing::info!(%path, images, names = names.join(" "), "serving from files");
        for other in self.known.values().filter_map(|known| known.found.as_ref().ok()) {
            for (name, entries) in store.index.repositories().filter(|_| other.path != store.path) {
                let Some(others) = other.index.repository(name) else { continue };
                for (tag, digest) in &entries.tags {
                    if others.tags.get(tag).is_some_and(|other| other != digest) {
                        let other = other.path.display();
                        tracing::warn!(%path, %other, "both have {name}:{tag}, and not the same; the first by name counts");
                    }
                }
            }
        }
    }
}

/// Something to be served, and how it came to be.
enum Named {
    Layout(PathBuf),
    Archive(PathBuf),
    /// In a directory that somebody named.
    InDirectory(PathBuf),
}

impl Named {
    fn path(&self) -> &Path {
        match self {
            Self::Layout(path) | Self::Archive(path) | Self::InDirectory(path) => path,
        }
    }

    fn into_path(self) -> PathBuf {
        match self {
            Self::Layout(path) | Self::Archive(path) | Self::InDirectory(path) => path,
        }
    }
}

/// The archives in a directory, by name: which of two counts that have the same names in them is the same everywhere.
fn archives_in(directory: &Path) -> Result<Vec<Named>, UpstreamError> {
    let unreadable = |cause| files_layout::unreadable(directory, cause);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == ARCHIVE_SUFFIX) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths.into_iter().map(Named::InDirectory).collect())
}

/// An error that tells which of several files it is about.
fn of_file(path: &Path, error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Io { .. } => error,
        other => UpstreamError::io(format!("{} cannot be served", path.display()), io::Error::other(other)),
    }
}

/// A path as it is known by, whatever becomes of the current directory. Links in it are followed each time: they may be what
/// is changed to have something else served.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, UpstreamError> {
    std::path::absolute(path).map_err(|cause| files_layout::unreadable(path, cause))
}

//! Upstreams that are files: image layouts and archives.

use std::path::PathBuf;

use super::checker::{Checker, directory};
use crate::oci::{RepositoryName, Tag};

/// Files that stand for a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Where they are. Of what has one name in several, the first counts.
    pub places: Vec<FilesPlace>,
    /// The name of all that is in them, rather than the names that it came with.
    pub called: Option<Called>,
}

/// A place of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesPlace {
    /// An OCI image layout directory.
    Layout(PathBuf),
    /// An archive, an image layout, or a directory in which archives come and go.
    Archive(PathBuf),
}

/// A name in place of the one that images came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag of what was asked for when the archive was made; what it has already, without.
    pub tag: Option<Tag>,
}

impl Files {
    /// Whether all of it is image layout directories.
    pub(super) fn is_layout(&self) -> bool {
        self.places.iter().all(|place| matches!(place, FilesPlace::Layout(_)))
    }
}

impl Checker {
    /// Adds the keys about files to those that the URL says.
    pub(super) fn files(
        &mut self,
        path: &str,
        mut files: Files,
        archives: Option<Vec<String>>,
        name: Option<String>,
    ) -> Files {
        let archives = self.list(&format!("{path}.archives"), archives, directory);
        files.places.extend(archives.into_iter().map(FilesPlace::Archive));
        files.called = self.optional(&format!("{path}.as"), name, called);
        files
    }

    /// Refuses the keys about files where there are none.
    pub(super) fn no_files(&mut self, path: &str, archives: Option<&Vec<String>>, name: Option<&String>) {
        let has_archives = archives.is_some_and(|archives| !archives.is_empty());
        for (key, is_there) in [("archives", has_archives), ("as", name.is_some())] {
            if is_there {
                self.problem(format!("{path}.{key}"), "means nothing to a registry; remove it, or `url`");
            }
        }
    }
}

/// What stands behind `layout:` or `archive:`; `None` for other URLs.
pub(super) fn place(text: &str) -> Option<Result<FilesPlace, String>> {
    if let Some(path) = text.strip_prefix("layout:") {
        return Some(directory(path).map(FilesPlace::Layout));
    }
    let path = text.strip_prefix("archive:")?;
    let path = if path.is_empty() { Err("is empty; write archive:FILE".to_owned()) } else { Ok(PathBuf::from(path)) };
    Some(path.map(FilesPlace::Archive))
}

/// `REPOSITORY[:TAG]`
fn called(text: &str) -> Result<Called, String> {
    let (repository, tag) = text.split_once(':').map_or((text, None), |(repository, tag)| (repository, Some(tag)));
    let bad = |error: &dyn std::fmt::Display| format!("`{text}` is no repository with or without a tag: {error}");
    Ok(Called {
        repository: repository.parse().map_err(|error| bad(&error))?,
        tag: tag.map(str::parse).transpose().map_err(|error| bad(&error))?,
    })
}

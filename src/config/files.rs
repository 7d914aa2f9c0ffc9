//! Upstreams that are files: image layouts and archives.

use std::path::PathBuf;

use super::checker::{Checker, directory};
use super::upstream::UpstreamPlace;
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
    /// Adds the keys about files to the place that the URL says.
    pub(super) fn files(
        &mut self,
        path: &str,
        place: Option<UpstreamPlace>,
        archives: Option<Vec<String>>,
        name: Option<String>,
    ) -> Option<UpstreamPlace> {
        let archives = self.list(&format!("{path}.archives"), archives, directory);
        let called = self.optional(&format!("{path}.as"), name, called);
        let mut files = match place {
            Some(UpstreamPlace::Files(files)) => files,
            None if !archives.is_empty() => Files::default(),
            place => {
                for (key, is_there) in [("archives", !archives.is_empty()), ("as", called.is_some())] {
                    if is_there {
                        self.problem(format!("{path}.{key}"), "means nothing to a registry; remove it, or `url`");
                    }
                }
                return place;
            }
        };
        files.places.extend(archives.into_iter().map(FilesPlace::Archive));
        files.called = called;
        Some(UpstreamPlace::Files(files))
    }
}

/// What stands behind `layout:` or `archive:`.
pub(super) fn place(text: &str) -> Option<Result<UpstreamPlace, String>> {
    let files = |place| UpstreamPlace::Files(Files { places: vec![place], called: None });
    if let Some(path) = text.strip_prefix("layout:") {
        return Some(directory(path).map(FilesPlace::Layout).map(files));
    }
    let path = text.strip_prefix("archive:")?;
    let path = if path.is_empty() { Err("is empty; write archive:FILE".to_owned()) } else { Ok(PathBuf::from(path)) };
    Some(path.map(FilesPlace::Archive).map(files))
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

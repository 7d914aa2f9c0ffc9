//! Archives of images, as they would be copied.
//!
//! First everything is found that belongs to what is wanted, by the walk that `warm` makes: manifests, and configs where they
//! are described, are then in memory, and how each image is named is known. From that follows the archive byte for byte
//! (`plan`, by `imgpkg` or `oci`), but for the layers, which are told piece by piece while they arrive (`pieces`). The same
//! images make the same archive, whoever makes it and whenever.
//!
//! An archive that was broken off is gone on with: whoever has its beginning says so by the marks of the files in it
//! (`mark`), and as many of these as are those of the plan are not told again.
//!
//! Originals only: what is relocated is for the clients of one place. Layers that may not be passed on are left out, as imgpkg
//! does by default.

mod imgpkg;
mod mark;
mod oci;
mod pieces;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;

pub use mark::EntryMark;
use mark::mark;
use pieces::{Broken, Pieces};
use plan::{Content, Entry, Refused, Root, length};

use super::Wanted;
use super::event::{Amount, ArchiveFormat, Event, Exported, ExportedRoot};
use super::findings::Findings;
use super::pull::Puller;
use super::teller::Teller;
use super::walk::Walk;
use crate::oci::{Digest, Platform, Reference, Repository};
use crate::proxy::{Proxy, ProxyError};

/// More than any file system holds.
const MAX_ENTRY_BYTES: u64 = 1 << 60;

/// How an archive is to be.
pub(super) struct Wish {
    pub(super) platforms: Vec<Platform>,
    pub(super) format: ArchiveFormat,
    pub(super) kept: Vec<Digest>,
}

/// Tells the archive of what is wanted. It tells nothing of it while something is missing.
pub(super) async fn export(proxy: &Proxy, wanted: &[Wanted], wish: &Wish, teller: &Arc<Teller>) {
    if wish.format == ArchiveFormat::Imgpkg && !wish.platforms.is_empty() {
        let problem = "an imgpkg archive has the images of an index for all platforms; use --format oci";
        return teller.problem("--platform", problem).await;
    }
    let mut findings = Findings::new(wish.format);
    let (mut roots, mut told) = (Vec::new(), Vec::new());
    for wanted in wanted {
        if let Some((root, exported)) = find(proxy, wanted, &wish.platforms, &mut findings, teller).await {
            roots.push(root);
            told.push(exported);
        }
    }
    if teller.problems() > 0 {
        return;
    }
    let planned = distinct(&roots).and_then(|()| match wish.format {
        ArchiveFormat::Imgpkg => imgpkg::plan(&roots, &findings),
        ArchiveFormat::Oci => oci::plan(&roots, &findings),
    });
    let entries = match planned.and_then(possible) {
        Ok(entries) => entries,
        Err(Refused { digest, problem }) => return teller.problem(digest, problem).await,
    };
    let exported = Exported {
        roots: told,
        manifests: findings.manifests.len() as u64,
        entries: entries.len() as u64,
        bytes: length(&entries),
    };
    // What is said of them is in the archive now.
    drop(findings);
    if tell(&entries, &wish.kept, exported.bytes, teller).await {
        teller.tell(Event::Exported(exported)).await;
    }
}

/// Finds everything that belongs to a reference.
async fn find(
    proxy: &Proxy,
    wanted: &Wanted,
    platforms: &[Platform],
    findings: &mut Findings,
    teller: &Arc<Teller>,
) -> Option<(Root, ExportedRoot)> {
    let Wanted { view, reference } = wanted;
    let found = async {
        let puller = Arc::new(Puller::new(proxy, view, Arc::clone(teller)).await?.reading_locks());
        let original = puller.original(wanted).await?;
        Ok::<_, ProxyError>((puller, original))
    };
    let (puller, original) = match found.await {
        Ok(found) => found,
        Err(error) => {
            teller.failed(wanted.name(), &error).await;
            return None;
        }
    };
    let (digest, stale) = (original.manifest.digest, original.stale);
    let upstream = &puller.contents.upstream;
    let name = match upstream.original_name(&view.repository.name, &digest).await {
        Some(name) => normalized(&name),
        None => written_in_full(&view.repository),
    };
    Walk::new(&puller, platforms, original).finding(findings).run().await;
    let tag = match reference {
        Reference::Tag(tag) => Some(tag.to_string()),
        Reference::Digest(_) => None,
    };
    let exported = ExportedRoot { name: name.clone(), reference: reference.to_string(), digest, stale };
    Some((Root { name, tag, digest }, exported))
}

/// Refuses what would have one name for two images.
fn distinct(roots: &[Root]) -> Result<(), Refused> {
    let mut named = HashMap::new();
    for Root { name, tag, digest } in roots {
        let Some(tag) = tag else { continue };
        if named.insert((name, tag), digest).is_some_and(|other| other != digest) {
            let problem = format!("{name}:{tag} is the name of another image, too; export them into two archives");
            return Err(Refused::new(*digest, problem));
        }
    }
    Ok(())
}

/// Refuses sizes that no file can have.
fn possible(entries: Vec<Entry>) -> Result<Vec<Entry>, Refused> {
    match entries.iter().find(|entry| entry.size > MAX_ENTRY_BYTES) {
        Some(Entry { digest, size, .. }) => {
            Err(Refused::new(*digest, format!("has {size} bytes by its manifest, which nothing has")))
        }
        None => Ok(entries),
    }
}

/// A repository as references to it are written in full.
fn written_in_full(repository: &Repository) -> String {
    let Repository { registry, name } = repository;
    if registry.is_docker_hub() { format!("index.docker.io/{name}") } else { repository.to_string() }
}

/// The same for the name that an upstream gives. One without a host stays without: there is no other that would come back
/// when the archive is served, and exported again.
fn normalized(name: &str) -> String {
    let has_host = name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
    match name.parse::<Repository>() {
        Ok(Repository { registry, name }) if has_host => written_in_full(&registry.repository(&name)),
        _ => name.to_owned(),
    }
}

/// Tells the files behind those that are kept; whether that was all of them.
async fn tell(entries: &[Entry], kept: &[Digest], bytes: u64, teller: &Teller) -> bool {
    let same = entries.iter().zip(kept).take_while(|(entry, kept)| entry.mark() == **kept).count();
    let kept_bytes = entries[..same].iter().map(Entry::length).sum();
    {
        let mut tally = teller.tally();
        tally.known = Amount { count: entries.len() as u64, bytes };
        tally.done = Amount { count: same as u64, bytes: kept_bytes };
    }
    let planned = Event::Planned { entries: entries.len() as u64, bytes, kept: same as u64, kept_bytes };
    teller.tell(planned).await;
    let mut pieces = Pieces::new(teller);
    for entry in &entries[same..] {
        let Err(broken) = pieces.entry(entry).await else { continue };
        match (broken, &entry.content) {
            (Broken::Length { actual }, _) => {
                let problem = format!("has {actual} bytes, and its manifest says {}", entry.size);
                teller.problem(entry.digest, problem).await;
            }
            (Broken::Blob(error), Content::Blob(puller)) => puller.failed(&entry.digest, &error).await,
            (Broken::Blob(error), Content::Bytes(_)) => teller.failed(entry.digest, &error).await,
        }
        // What came before it need not be told again.
        pieces.flush().await;
        return false;
    }
    pieces.finish().await;
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_full() {
        let repository: Repository = "registry.example/acme/app".parse().unwrap();
        for (given, full) in [
            ("ghcr.io/acme/app", "ghcr.io/acme/app"),
            ("127.0.0.1:5900/app", "127.0.0.1:5900/app"),
            ("docker.io/redis", "index.docker.io/library/redis"),
            ("localhost/app", "localhost/app"),
            ("acme/other", "acme/other"),
            ("app", "app"),
        ] {
            assert_eq!(normalized(given), full);
        }
        assert_eq!(written_in_full(&repository), "registry.example/acme/app");
        assert_eq!(written_in_full(&"docker.io/library/redis".parse().unwrap()), "index.docker.io/library/redis");
    }
}

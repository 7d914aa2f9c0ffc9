//! `colocate verify`: a proof, for someone who does not trust the proxy, that a bundle is its original with images
//! relocated.
//!
//! `place` reads where the bundle is, and the original. Its digest comes from the user or from the registry behind, and
//! from nowhere else; whatever is asked for by digest is believed if it has it (`fetch`), so that the proxy may as well
//! give the original's bytes. [`compare::prove`] makes the relocated bundle again, and `show` tells what came of it.
//! Neither the proxy's configuration nor its cache is looked at: any Colocate can be asked, by its URL.

pub(super) mod arguments;
pub(super) mod error;
mod fetch;
mod place;
mod show;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;

use super::error::CliError;
use super::serve::Signals;
use crate::imgpkg::{MAX_LOCK_BYTES, Target, has_bundle_label};
use crate::oci::{Descriptor, Digest, Manifest, Reference};
use crate::rewrite::compare::{self, Content, Original, Report, Served, ServedParts, Verdict};
use crate::rewrite::{Candidate, Unchanged, candidate};
use crate::tls::read_certificates;
use crate::upstream::{Egress, UpstreamError};
use arguments::VerifyArguments;
use error::VerifyError;
use fetch::{Access, Source};
use place::Place;
use show::{Shown, Truth};

/// The largest file with CAs; one of all public ones has a quarter of it.
const MAX_CA_BYTES: u64 = 1 << 20;
/// By how much a relocated layer may be larger than its original: by a lock, and what stands around it (128 KiB). More is
/// not downloaded.
const MAX_GROWTH_BYTES: u64 = MAX_LOCK_BYTES as u64 + (1 << 20);

/// What is to be verified, and by what.
struct Plan {
    bundle: Place,
    reference: Reference,
    target: Target,
    truth: Where,
    access: Access,
}

/// Where the original is known from.
enum Where {
    /// The user says its digest.
    Told(Digest),
    /// The registry behind does, and is asked for the rest, too.
    Upstream(Place, Reference),
}

/// Verifies, or is ended by a signal.
pub(super) async fn verify(arguments: &VerifyArguments) -> Result<(), CliError> {
    let plan = plan(arguments)?;
    let mut signals = Signals::new()?;
    let (shown, report) = tokio::select! {
        done = run(plan) => done?,
        name = signals.next() => return Err(CliError::Stopped(name)),
    };
    let text = show::text(&shown, &report, arguments.json).map_err(|err| CliError::Output(err.into()))?;
    io::stdout().write_all(text.as_bytes()).map_err(CliError::Output)?;
    match report.verdict {
        Verdict::Proven | Verdict::Identical => Ok(()),
        Verdict::ContentEqual | Verdict::NotProven => Err(VerifyError::NotProven.into()),
    }
}

fn plan(arguments: &VerifyArguments) -> Result<Plan, CliError> {
    let read = |argument: &str, text: &str| {
        Place::read(text).map_err(|problem| CliError::Usage(format!("{argument} cannot be read: {problem}")))
    };
    let bundle = read("REFERENCE", &arguments.reference)?;
    let reference = bundle.reference_or(place::latest().map_err(CliError::Usage)?);
    let target = match &arguments.target {
        None => bundle.target(),
        Some(text) => match read("--target", text)? {
            target @ Place { reference: None, .. } => target.target(),
            _ => return Err(CliError::Usage("--target is a host and a repository, without tag or digest".to_owned())),
        },
    };
    let truth = match (arguments.original, &arguments.upstream) {
        (Some(digest), _) => Where::Told(digest),
        (None, Some(text)) => {
            let upstream = read("--upstream", text)?;
            if upstream.url.origin() == bundle.url.origin() {
                let problem = "--upstream is the very host that is to be verified; name the registry behind it, or give \
                               --original";
                return Err(CliError::Usage(problem.to_owned()));
            }
            let reference = upstream.reference_or(reference.clone());
            Where::Upstream(upstream, reference)
        }
        (None, None) => return Err(CliError::Usage("give --original or --upstream".to_owned())),
    };
    let access = Access {
        extra_ca: arguments.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        docker_config: arguments.docker_config.clone().or_else(docker_config),
        egress: Egress::from_environment().map_err(VerifyError::Egress)?,
    };
    Ok(Plan { bundle, reference, target, truth, access })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_CA_BYTES).read_to_end(&mut pem));
    read.map_err(|err| CliError::Usage(format!("--ca-file {} cannot be read: {err}", path.display())))?;
    Ok(read_certificates(&pem).map_err(VerifyError::Ca)?)
}

/// Where `docker login` leaves credentials, if it did.
fn docker_config() -> Option<PathBuf> {
    let directory = match std::env::var_os("DOCKER_CONFIG").filter(|directory| !directory.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    Some(directory.join("config.json")).filter(|file| file.is_file())
}

async fn run(plan: Plan) -> Result<(Shown, Report), VerifyError> {
    let Plan { bundle, reference, target, truth, access } = plan;
    let name = Place { reference: Some(reference.clone()), ..bundle.clone() }.to_string();
    let proxy = Source::new(bundle, false, &access)?;
    let (truth, registry, original) = match truth {
        Where::Told(digest) => (Truth::Told, None, Reference::Digest(digest)),
        Where::Upstream(place, reference) => {
            let truth = Truth::Upstream(Place { reference: Some(reference.clone()), ..place.clone() }.to_string());
            (truth, Some(Source::new(place, true, &access)?), reference)
        }
    };
    let registry = registry.as_ref().unwrap_or(&proxy);
    let (original, served) = tokio::join!(registry.manifest(&original), proxy.manifest(&reference));
    // If both fail, of what is verified is told.
    let (served, original) = (served?, original?);
    let shown =
        Shown { reference: name, truth, original: original.digest, served: served.digest, target: target.to_string() };
    let report = compare(registry, original, &proxy, served, target).await?;
    Ok((shown, report))
}

/// Fetches what is in both, and compares it.
async fn compare(
    registry: &Source,
    original: Manifest,
    proxy: &Source,
    served: Manifest,
    target: Target,
) -> Result<Report, VerifyError> {
    if original.bytes == served.bytes {
        return Ok(compare::prove_unchanged(&original, &served, Unchanged::NothingChanges));
    }
    let (found, obstacle) = match glance(&original) {
        Ok(found) => found,
        Err(reason) => return Ok(compare::prove_unchanged(&original, &served, reason)),
    };
    let limit = found.layer.size.saturating_add(MAX_GROWTH_BYTES);
    let (own, parts) =
        tokio::try_join!(original_parts(registry, &found, obstacle.as_ref()), served_parts(proxy, &served, limit))?;
    let work = move || {
        let (config, layer) = own;
        let original = Original { manifest: &original, candidate: (found, obstacle), config, layer };
        compare::prove(original, Served { manifest: &served, parts }, &target)
    };
    // A thread of its own: one of the runtime's would have to end before the process can, minutes after a signal.
    let (done, report) = oneshot::channel();
    let thread = std::thread::Builder::new().name("compare".to_owned());
    thread.spawn(move || done.send(work())).map_err(VerifyError::Scratch)?;
    report.await.map_err(io::Error::other).and_then(|report| report).map_err(VerifyError::Scratch)
}

fn glance(manifest: &Manifest) -> Result<(Candidate, Option<Unchanged>), Unchanged> {
    let view = manifest.view();
    candidate(view.map_err(|_| Unchanged::Document { document: "manifest", problem: "does not parse" })?)
}

/// The original's config, and its layer if it is a bundle that can be relocated.
async fn original_parts(
    registry: &Source,
    found: &Candidate,
    obstacle: Option<&Unchanged>,
) -> Result<(Bytes, File), VerifyError> {
    let config = genuine(registry, "config", &found.config, registry.config(&found.config).await?)?;
    if obstacle.is_some() || !has_bundle_label(&config) {
        return Ok((config, tempfile::tempfile().map_err(VerifyError::Scratch)?));
    }
    let layer = registry.layer(&found.layer, found.layer.size).await?;
    Ok((config, genuine(registry, "layer", &found.layer, layer)?))
}

/// A part of the original, which has to be what its digest stands for.
fn genuine<T>(source: &Source, what: &str, part: &Descriptor, content: Content<T>) -> Result<T, VerifyError> {
    let error = match content {
        Content::Verified(content) => return Ok(content),
        Content::Missing => UpstreamError::NotFound,
        Content::TooLarge => UpstreamError::TooLarge { limit: part.size },
        Content::Wrong(actual) => {
            UpstreamError::DigestMismatch { expected: Box::new(part.digest), actual: Box::new(actual) }
        }
    };
    Err(source.failed(&format!("the original's {what} {}", part.digest), error))
}

/// The parts of what is served, if it is an image of one layer.
async fn served_parts(
    proxy: &Source,
    manifest: &Manifest,
    limit: u64,
) -> Result<Option<ServedParts<File>>, VerifyError> {
    let Ok((candidate, _)) = glance(manifest) else { return Ok(None) };
    let (config, layer) = tokio::try_join!(proxy.config(&candidate.config), proxy.layer(&candidate.layer, limit))?;
    Ok(Some(ServedParts { candidate, config, layer }))
}

//! From an index to its `bundle.json`.

use super::odd::Odd;
use crate::cnab::{BundleFile, Index, MAX_BUNDLE_FILE_BYTES};
use crate::oci::ManifestView;
use crate::proxy::error::ProxyError;
use crate::proxy::sources::Sources;
use crate::upstream::UpstreamError;

/// The `bundle.json` of an index, or what is odd about the way to it. Its media types are not looked at: there are four of
/// them, by age and registry, and clients do not look either.
///
/// # Errors
/// When it cannot be read now.
pub(in crate::proxy) async fn read(contents: &Sources, index: &Index) -> Result<Result<BundleFile, Odd>, ProxyError> {
    let config = match index.config() {
        Ok(config) => config,
        Err(error) => return Ok(Err(error.into())),
    };
    let manifest = match contents.manifest(&config).await {
        Ok((manifest, _)) => manifest,
        Err(ProxyError::NotFound { .. }) => return Ok(Err(Odd::NoConfigManifest(config))),
        Err(error) => return Err(error),
    };
    let Ok(ManifestView::Image { config: file, .. }) = manifest.view() else { return Ok(Err(Odd::NotAnImage(config))) };
    if file.size > MAX_BUNDLE_FILE_BYTES as u64 {
        return Ok(Err(Odd::LargeFile));
    }
    let bytes = match contents.small_blob(&file.digest, MAX_BUNDLE_FILE_BYTES).await {
        Ok(bytes) => bytes,
        Err(ProxyError::NotFound { .. }) => return Ok(Err(Odd::NoFile(file.digest))),
        Err(ProxyError::Upstream(UpstreamError::TooLarge { .. })) => return Ok(Err(Odd::LargeFile)),
        Err(ProxyError::Upstream(UpstreamError::DigestMismatch { .. } | UpstreamError::Malformed { .. })) => {
            return Ok(Err(Odd::OtherFile(file.digest)));
        }
        Err(error) => return Err(error),
    };
    // As large as it may be, it takes a processor for a while.
    let parsed = tokio::task::spawn_blocking(move || BundleFile::parse(&bytes)).await;
    Ok(parsed.map_err(std::io::Error::other)?.map_err(Odd::from))
}

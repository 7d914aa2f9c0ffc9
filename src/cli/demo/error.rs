//! What can go wrong with the demo.

use std::io;

use super::pull::PullError;

/// Why the demo is not one.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum DemoError {
    /// The machine does not let it.
    #[error("the sample data cannot be written to a temporary directory")]
    Scratch(#[source] io::Error),
    /// The sample in the binary has no such bundle.
    #[error("the sample data in this binary is damaged; build it again")]
    Sample,
    /// The pull failed, as a client's would have.
    #[error("the sample bundle cannot be pulled through the proxy")]
    Pull(#[from] PullError),
    /// The pull worked, but what it is all about did not happen.
    #[error("the pulled lock is not relocated: it still names {0}")]
    NotRelocated(String),
    /// An image is not where the relocated lock says.
    #[error("the relocated lock names an image that cannot be pulled: {0}")]
    NotThere(String),
}

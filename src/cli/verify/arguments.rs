//! What `colocate verify` looks like.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::oci::Digest;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("truth").required(true).args(["original", "upstream"])))]
pub(in crate::cli) struct VerifyArguments {
    /// The original's digest, from wherever you trust it. Its bytes are fetched through the proxy, and hashed.
    #[arg(long, value_name = "DIGEST")]
    pub(super) original: Option<Digest>,
    // Not doc comments: rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "REFERENCE",
        help = "[https://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST] at the registry behind the proxy, which is asked directly; \
                the tag is that of the bundle if there is none"
    )]
    pub(super) upstream: Option<String>,
    #[arg(
        long,
        value_name = "HOST[:PORT]/REPOSITORY",
        help = "What the bundle's images should be named by [default: the bundle's own host and repository]"
    )]
    pub(super) target: Option<String>,
    /// CAs in PEM form to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Credentials as `docker login` leaves them [default: $DOCKER_CONFIG/config.json or ~/.docker/config.json]. Each
    /// host sees only its own, and over http none does but on this machine.
    #[arg(long, value_name = "FILE")]
    pub(super) docker_config: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[arg(
        value_name = "REFERENCE",
        help = "The bundle as clients pull it: [https://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]; the tag is latest if there \
                is none, and localhost is asked over http"
    )]
    pub(super) reference: String,
}

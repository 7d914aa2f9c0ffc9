//! What `colocate check` looks like.

use std::path::PathBuf;

use clap::Args;

use crate::server::Identity;

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArguments {
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(
        value_name = "REFERENCE",
        help = "Tell what becomes of these, as clients write them: [HOST/]REPOSITORY[:TAG|@DIGEST]"
    )]
    pub(super) references: Vec<String>,
    /// As clients ask for them that take the proxy for a mirror of this registry, as containerd does.
    #[arg(long, value_name = "REGISTRY", requires = "references")]
    pub(super) ns: Option<String>,
    /// What somebody may do there: anonymous, user:NAME, or cn:, dns:, uri: or email:NAME of a client certificate.
    #[arg(long, value_name = "ID", requires = "references", default_value = "anonymous")]
    pub(super) identity: Identity,
    /// As JSON.
    #[arg(long, requires = "references")]
    pub(super) json: bool,
}

//! What the commands on a cache look like.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::oci::Platform;
use crate::proxy::ArchiveFormat;

/// Which cache.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlaceArguments {
    /// The configuration, whose `cache` it is.
    #[arg(long, value_name = "FILE", required_unless_present = "cache")]
    pub(super) config: Option<PathBuf>,
    /// The cache's directory; a colocate may be serving from it.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(super) cache: Option<String>,
    /// As JSON, a line for each thing that happens.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WarmArguments {
    #[command(flatten)]
    pub(super) place: PlaceArguments,
    /// The registry to pull from, if no colocate serves from the directory, as for `serve`.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(super) upstream: Option<String>,
    /// What is written into locks, if no colocate serves from the directory, as for `serve`.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "config", requires = "upstream")]
    pub(super) endpoint: Option<String>,
    // Not doc comments: rustdoc would take the brackets for links.
    #[arg(
        long = "platform",
        value_name = "OS/ARCH[/VARIANT]",
        help = "Only the images for this platform, such as linux/arm64; can be given several times [default: all]"
    )]
    pub(super) platforms: Vec<Platform>,
    #[arg(
        value_name = "REFERENCE",
        required = true,
        help = "[HOST/]REPOSITORY[:TAG|@DIGEST]; the host is the name by which clients reach the proxy, the tag is \
                latest if there is none"
    )]
    pub(super) references: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    #[command(flatten)]
    pub(super) what: WarmArguments,
    /// The archive. Until it is whole it is FILE.partial, which the same command goes on with.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Whose archive.
    #[arg(long, value_enum, default_value_t = Format::Imgpkg)]
    pub(super) format: Format,
}

/// Whose archive it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// What `imgpkg copy --tar` reads; indexes are in it for all platforms.
    Imgpkg,
    /// An OCI image layout.
    Oci,
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Imgpkg => Self::Imgpkg,
            Format::Oci => Self::Oci,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UnpinArguments {
    #[command(flatten)]
    pub(super) place: PlaceArguments,
    #[arg(value_name = "REFERENCE", required = true, help = "As it was pinned: [HOST/]REPOSITORY[:TAG|@DIGEST]")]
    pub(super) references: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CacheCommand {
    /// List all content, what was used last in front.
    Ls(PlaceArguments),
    /// Take content out.
    Rm {
        #[command(flatten)]
        place: PlaceArguments,
        /// Also what is pinned.
        #[arg(long)]
        force: bool,
        #[arg(
            value_name = "DIGEST|REFERENCE",
            required = true,
            help = "A digest stands for that content; REPOSITORY[:TAG|@DIGEST] for a manifest and what it names, and \
                    the tag is forgotten"
        )]
        what: Vec<String>,
    },
    /// Hash all content, and take out what is damaged. It exits with 1 if there was any.
    Verify(PlaceArguments),
    /// Tell how much there is.
    Stats(PlaceArguments),
}

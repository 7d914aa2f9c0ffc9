//! What the command line looks like.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::check::arguments::CheckArguments;
use super::tasks::arguments::{CacheCommand, ExportArguments, UnpinArguments, WarmArguments};
use super::verify::arguments::VerifyArguments;
use super::version;
use crate::config::{CommandLine, Config, ConfigError, LogFormat};

/// A reverse proxy in front of an OCI registry that serves imgpkg bundles with their images named where the client
/// can pull them.
#[derive(Debug, Parser)]
#[command(version = version::short(), long_version = version::long(), propagate_version = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve a registry.
    Serve(ServeArguments),
    /// Serve a sample bundle, pull it, and show what became of its lock.
    Demo(DemoArguments),
    /// Tell what becomes of a reference, and why.
    Explain(ExplainArguments),
    /// Prove that a bundle, as a proxy serves it, is its original with images relocated, and nothing else.
    ///
    /// The proxy is not trusted, and needs not be this one's: the original's digest comes from you or from the registry
    /// behind. It exits with 0 if that is proven, or the original itself is served; else with 1.
    Verify(VerifyArguments),
    /// Pull images into a cache before anybody asks: of a bundle, every image its lock names.
    Warm(WarmArguments),
    /// Pull images into a cache as `warm` does, and never evict them.
    Pin(WarmArguments),
    /// Write images into one archive: of a bundle, every image its lock names.
    ///
    /// What is cached is taken from there, the rest is pulled as `warm` does it. An archive that was broken off is gone on
    /// with by the same command. The same images make the same archive, byte for byte.
    Export(ExportArguments),
    /// Take pins back, so that what was pinned may be evicted.
    Unpin(UnpinArguments),
    /// Look into a cache, and take things out.
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Check a configuration file, and tell what it comes to; or, for references, what becomes of them by it and why.
    ///
    /// Nobody is asked. It exits with 2 if the file is wrong or a reference is none, and with 1 if one leads nowhere.
    Check(CheckArguments),
    /// Write what makes a shell complete this program's arguments.
    ///
    /// For bash: colocate completions bash > /usr/share/bash-completion/completions/colocate
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page, or all of them into a directory.
    Man {
        /// Write a page for this program and one for each of its commands there: colocate.1, colocate-serve.1, and so on.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("from").args(["config", "upstream", "archives"]).required(true).multiple(true))]
pub(super) struct ServeArguments {
    #[command(flatten)]
    source: Source,
    // Not doc comments: rustdoc would take the brackets for links.
    #[arg(
        value_name = "ARCHIVE",
        conflicts_with_all = ["config", "upstream"],
        help = "What to serve: tars of `imgpkg copy --to-tar` and of OCI image layouts, layout directories, and \
                directories in which tars come and go"
    )]
    archives: Vec<String>,
    #[arg(
        long = "as",
        value_name = "REPOSITORY[:TAG]",
        conflicts_with = "config",
        help = "The name of all that is in the archives [default: the names that it came with]"
    )]
    called: Option<String>,
    /// Where clients connect [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    listen: Option<String>,
    /// Where content is kept [default: /var/lib/colocate, or for users other than root ~/.cache/colocate].
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    cache: Option<String>,
    /// Where health and metrics are served, or none [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    admin: Option<String>,
    /// How log lines look, whatever the configuration says [default there: text].
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// What is logged, such as info or colocate=debug,info, whatever the configuration and RUST_LOG say.
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Exit after the pull instead of serving on.
    #[arg(long)]
    pub(super) once: bool,
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from").args(["config", "upstream"]).required(true))]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    source: Source,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(value_name = "REFERENCE", help = "[HOST/]REPOSITORY[:TAG|@DIGEST]; the tag is latest if there is none")]
    pub(super) reference: String,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
struct Source {
    /// The configuration; config/default.yaml documents it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The registry behind: https://HOST, with a port if need be; or archive:FILE, or layout:DIR for an OCI image layout.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    upstream: Option<String>,
    /// What is written into locks: how clients reach this proxy [default: the address listened on].
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "config")]
    endpoint: Option<String>,
}

impl Source {
    fn config(&self, rest: CommandLine) -> Result<Config, ConfigError> {
        match &self.config {
            Some(file) => Config::load(file),
            None => Config::from_command_line(CommandLine {
                upstream: self.upstream.clone(),
                endpoint: self.endpoint.clone(),
                ..rest
            }),
        }
    }
}

impl ServeArguments {
    /// The configuration's file, if it is from one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.source.config.clone()
    }

    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let Self { archives, called, listen, cache, admin, .. } = self;
        let mut config = self.source.config(CommandLine {
            archives: archives.clone(),
            called: called.clone(),
            listen: listen.clone(),
            cache: cache.clone().or_else(own_cache),
            admin: admin.clone(),
            ..CommandLine::default()
        })?;
        config.log.format = self.log_format.map_or(config.log.format, |format| match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        });
        config.log.filter = self.log_filter.clone().unwrap_or(config.log.filter);
        Ok(config)
    }

    /// Whether the log's filter is the command line's.
    pub(super) fn has_log_filter(&self) -> bool {
        self.log_filter.is_some()
    }
}

/// Where a user keeps what can be had again; root has a place in the system.
fn own_cache() -> Option<String> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    cache.join("colocate").into_os_string().into_string().ok()
}

impl ExplainArguments {
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        self.source.config(CommandLine::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        for good in [
            &["colocate", "serve", "--config", "c.yaml"][..],
            &["colocate", "serve", "--upstream", "layout:d", "--listen", "127.0.0.1:1", "--cache", "c"],
            &["colocate", "serve", "a.tar", "b.tar", "--as", "c/d:v1", "--endpoint", "e.f"],
            &["colocate", "serve", "--upstream", "archive:a.tar", "--as", "c/d"],
            &["colocate", "serve", "--config", "c.yaml", "--log-format", "json", "--log-filter", "debug"],
            &["colocate", "explain", "--upstream", "https://a.b", "--endpoint", "c.d", "--json", "e/f:g"],
            &["colocate", "warm", "--config", "c.yaml", "a/b:v1", "c/d"],
            &["colocate", "warm", "--cache", "c", "a/b", "--platform", "linux/amd64", "--platform", "linux/arm/v7"],
            &["colocate", "pin", "--cache", "c", "--upstream", "https://a.b", "--endpoint", "c.d", "a/b"],
            &["colocate", "export", "--config", "c.yaml", "a/b:v1", "c/d", "-o", "f.tar"],
            &[
                "colocate",
                "export",
                "--cache",
                "c",
                "a/b",
                "--output",
                "f",
                "--format",
                "oci",
                "--platform",
                "linux/arm64",
            ],
            &["colocate", "unpin", "--cache", "c", "a/b"],
            &["colocate", "cache", "ls", "--cache", "c", "--json"],
            &["colocate", "cache", "rm", "--config", "c.yaml", "--force", "a/b:v1"],
            &["colocate", "demo", "--once"],
            &["colocate", "verify", "a.b/c:v1", "--original", DIGEST, "--target", "d.e/c", "--json"],
            &["colocate", "verify", "a.b/c", "--upstream", "f.g/c", "--ca-file", "ca.pem", "--docker-config", "c.json"],
            &["colocate", "check", "--config", "c.yaml"],
            &[
                "colocate",
                "check",
                "--config",
                "c.yaml",
                "a.b/c:v1",
                "d",
                "--ns",
                "e.f",
                "--identity",
                "user:g",
                "--json",
            ],
            &["colocate", "completions", "fish"],
            &["colocate", "man", "--dir", "d"],
        ] {
            assert!(Arguments::try_parse_from(good).is_ok(), "{good:?}");
        }
        for bad in [
            &["colocate", "serve"][..],
            &["colocate", "serve", "--config", "c.yaml", "--listen", "a"],
            &["colocate", "serve", "--config", "c.yaml", "--upstream", "a"],
            &["colocate", "serve", "--as", "c/d"],
            &["colocate", "serve", "a.tar", "--log-format", "xml"],
            &["colocate", "serve", "--config", "c.yaml", "a.tar"],
            &["colocate", "explain", "a/b"],
            &["colocate", "warm", "a/b"],
            &["colocate", "warm", "--cache", "c"],
            &["colocate", "warm", "--upstream", "https://a.b", "a/b"],
            &["colocate", "warm", "--cache", "c", "a/b", "--platform", "linux"],
            &["colocate", "export", "--cache", "c", "a/b"],
            &["colocate", "export", "--cache", "c", "-o", "f.tar"],
            &["colocate", "export", "--cache", "c", "a/b", "-o", "f", "--format", "docker"],
            &["colocate", "pin", "--config", "c", "--cache", "c", "a/b"],
            &["colocate", "cache", "ls"],
            &["colocate", "cache", "rm", "--cache", "c"],
            &["colocate", "check"],
            &["colocate", "check", "--config", "c.yaml", "--json"],
            &["colocate", "check", "--config", "c.yaml", "a", "--identity", "anna"],
            &["colocate", "completions"],
            &["colocate", "completions", "cmd"],
            &["colocate", "verify", "a.b/c"],
            &["colocate", "verify", "--original", DIGEST],
            &["colocate", "verify", "a.b/c", "--original", "sha256:00"],
            &["colocate", "verify", "a.b/c", "--original", DIGEST, "--upstream", "f.g/c"],
        ] {
            assert!(Arguments::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}

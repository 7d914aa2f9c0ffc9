//! `colocate demo`: the real server on a real socket, pulled from as any client would.

pub(super) mod error;
mod pull;
mod sample;
mod show;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use super::arguments::DemoArguments;
use super::error::CliError;
use super::running;
use super::serve::{Signals, stop};
use super::wire::StartError;
use crate::config::{CommandLine, Config};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use error::DemoError;
use pull::{Client, Pulled};

/// Starts on the sample, pulls it, shows what became of it, and serves on unless it is to be done `--once`.
pub(super) async fn demo(arguments: &DemoArguments) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let (repository, tag, original) = sample::bundle().ok_or(DemoError::Sample)?;
    let scratch = tempfile::Builder::new().prefix("colocate-demo-").tempdir().map_err(DemoError::Scratch)?;
    let layout = scratch.path().join("layout");
    sample::write(&layout).map_err(DemoError::Scratch)?;
    let listen = with_port(arguments.listen)?;
    let config = Config::from_command_line(CommandLine {
        upstream: Some(format!("layout:{}", layout.display())),
        archives: Vec::new(),
        called: None,
        listen: Some(listen.to_string()),
        cache: Some(scratch.path().join("cache").display().to_string()),
        endpoint: endpoint(listen),
        admin: Some("127.0.0.1:0".to_owned()),
    })?;
    let running = running::start(config).await?;

    let address = reachable(running.address().unwrap_or(listen));
    let story = pull_and_tell(address, &repository, &tag, &original).await?;
    say(&story)?;
    if arguments.once {
        running.stop().await;
        return Ok(());
    }
    say(&show::what_next(address, running.admin(), &repository, &tag, &original))?;
    stop(running, &mut signals).await;
    Ok(())
}

/// `listen` with a port that is free, where it asks for any on every interface: what locks name has to be known
/// before the proxy starts. Another program may take the port in between; the demo then says so and ends.
fn with_port(listen: SocketAddr) -> Result<SocketAddr, StartError> {
    if !listen.ip().is_unspecified() || listen.port() != 0 {
        return Ok(listen);
    }
    let probe = std::net::TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    probe.map_err(|source| StartError::Bind { key: "listen", address: listen, source })
}

/// What locks name when every interface is listened on: this machine's own name for itself, since nobody can pull
/// from 0.0.0.0.
fn endpoint(listen: SocketAddr) -> Option<String> {
    listen.ip().is_unspecified().then(|| reachable(listen).to_string())
}

/// The address to connect to for a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

async fn pull_and_tell(
    address: SocketAddr,
    repository: &RepositoryName,
    tag: &Tag,
    original: &Digest,
) -> Result<String, DemoError> {
    let client = Client::new(address);
    let pulled = client.pull(repository, &Reference::Tag(tag.clone())).await?;
    let before = client.pull(repository, &Reference::Digest(*original)).await?;
    let here = format!("{address}/{repository}@");
    for image in pulled.images()? {
        let Some(digest) = image.strip_prefix(&here) else { return Err(DemoError::NotRelocated(image)) };
        if !client.has_manifest(repository, digest).await? {
            return Err(DemoError::NotThere(image));
        }
    }
    Ok(tell(address, repository, tag, &before, &pulled))
}

fn tell(address: SocketAddr, repository: &RepositoryName, tag: &Tag, before: &Pulled, after: &Pulled) -> String {
    let mut story = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(story, "colocate demo: a sample registry behind a proxy on http://{address}\n");
    let _ = writeln!(story, "Pulled {address}/{repository}:{tag} over HTTP, digests and diff_id verified:");
    for (what, digest) in
        [("manifest", &after.manifest), ("config", &after.config), ("layer", &after.layer), ("diff_id", &after.diff_id)]
    {
        let _ = writeln!(story, "  {what:<9}{digest}");
    }
    let _ = writeln!(
        story,
        "The bundle as it was pushed, still there by its digest:\n  {:<9}{}\n",
        "manifest", before.manifest
    );
    story.push_str(&show::side_by_side(
        ("as pushed", &before.lock),
        (&format!("as pulled from {address}"), &after.lock),
        show::terminal_width(),
    ));
    let _ = writeln!(story, "\nEvery image is named where this client can pull it, and each was found there.");
    story
}

fn say(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
}

//! Upstreams against servers that follow a script, on loopback sockets, and against golden layouts.

#![expect(clippy::unwrap_used, reason = "the panic is the failure, and its place says enough")]

mod answers;
mod auth;
mod courtesy;
mod credentials;
mod egress;
mod faces;
mod helpers;
mod layout;
pub(crate) mod server;
mod tls;
mod tokens;
mod transfer;

use std::time::Duration;

use bytes::Bytes;
use colocate::body::collect;
use colocate::oci::{Digest, Reference, RepositoryName};
use colocate::upstream::{Blob, RegistryConfig, RegistryUpstream, Timeouts, UpstreamError};

/// Short enough for a test to wait for, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(300);
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",
    "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;

fn config(server: &server::Server) -> RegistryConfig {
    RegistryConfig {
        timeouts: Timeouts { connect: Duration::from_secs(5), response: SHORT, progress: SHORT },
        ..RegistryConfig::new(server.url("/"))
    }
}

/// For answers that must come, however busy the machine is.
fn patient(server: &server::Server) -> RegistryConfig {
    let long = Duration::from_secs(60);
    RegistryConfig { timeouts: Timeouts { connect: long, response: long, progress: long }, ..config(server) }
}

fn upstream(server: &server::Server) -> RegistryUpstream {
    RegistryUpstream::new(config(server)).unwrap()
}

fn repository() -> RepositoryName {
    "acme/app".parse().unwrap()
}

fn tag(text: &str) -> Reference {
    text.parse().unwrap()
}

async fn bytes(blob: Blob) -> Result<Bytes, UpstreamError> {
    match collect(blob.body, 64 << 20).await {
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(colocate::body::find_source::<UpstreamError>(&error).cloned().unwrap()),
    }
}

fn digest_of(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

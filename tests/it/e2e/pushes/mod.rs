//! Pushes through the proxy into `docker-registry`: by the tools that people push with, between pulls, by those who may
//! not, and by those who mean no good.

mod bad;
mod clients;
mod copies;
mod interplay;
mod pieces;
mod rights;
mod sessions;

use crate::support::colocate::{Colocate, Settings};
use crate::support::layout::{Golden, Layout};
use crate::support::pusher::Pusher;
use crate::support::registry::DockerRegistry;

/// A registry that takes everything, and the proxy, through which everyone may push.
struct World {
    registry: DockerRegistry,
    colocate: Colocate,
}

impl World {
    async fn new() -> Self {
        let registry = DockerRegistry::setup().deleting().start().await;
        let colocate = Colocate::start(Settings::forwarding(&registry.url())).await;
        Self { registry, colocate }
    }

    /// A client of the proxy.
    fn through(&self, repository: &str) -> Pusher {
        Pusher::anonymous(&self.colocate.url(), repository)
    }

    /// One that goes past it, to see what there is.
    fn behind(&self, repository: &str) -> Pusher {
        Pusher::anonymous(&self.registry.url(), repository)
    }

    /// Pushes what is in a golden bundle's repository, but for the bundle.
    async fn push_images(&self, golden: &Golden) {
        images(golden).push(&self.colocate.url(), &golden.repository).await;
    }

    /// A tag's bundle is relocated as imgpkg would have it, from the first answer on.
    async fn relocates(&self, golden: &Golden, tag: &str) {
        let pulled = self.colocate.pull(&golden.repository, tag).await;
        assert_eq!(pulled.lock(), golden.pulled, "{} at {tag}", golden.name);
    }
}

/// What is in a golden bundle's repository, but for the bundle.
fn images(golden: &Golden) -> Layout {
    let mut images = golden.colocated.clone();
    images.remove(&golden.digest).expect("a bundle");
    images
}

//! The one registry behind a proxy that is under test without its server, and how clients see it.

use std::collections::HashMap;
use std::sync::Arc;

use colocate::imgpkg::Target;
use colocate::oci::{RegistryName, Repository};
use colocate::proxy::View;
use colocate::upstream::Upstream;

/// What it is called.
pub(crate) const REGISTRY: &str = "registry.example";

/// It alone.
pub(crate) fn only(upstream: Arc<dyn Upstream>) -> HashMap<RegistryName, Arc<dyn Upstream>> {
    HashMap::from([(REGISTRY.parse().expect("a name"), upstream)])
}

/// A repository of its.
pub(crate) fn repository_of(name: &str) -> Repository {
    format!("{REGISTRY}/{name}").parse().expect("a name")
}

/// As it stands.
pub(crate) fn exact(name: &str) -> View {
    View::exact(repository_of(name))
}

/// As clients of `endpoint` see it, under the same name.
pub(crate) fn relocated(name: &str, endpoint: &str) -> View {
    View::relocated(repository_of(name), target(name, endpoint))
}

/// The same where each image counts for itself.
pub(crate) fn each(name: &str, endpoint: &str) -> View {
    View::each(repository_of(name), target(name, endpoint))
}

fn target(name: &str, endpoint: &str) -> Target {
    Target { endpoint: endpoint.into(), repository: name.parse().expect("a name") }
}

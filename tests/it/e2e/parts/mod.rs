//! The parts that tests of private registries are made of, put together without the proxy, or with nothing private
//! about it: what goes wrong in the tests of both together is then the proxy's fault.

mod proxy;
mod registries;
mod tokens;

use crate::support::access::Access;
use crate::support::layout::Golden;

/// The golden bundle that is pulled.
fn golden() -> Golden {
    Golden::read("simple-app")
}

/// Puts the original bundle into a repository, under its tag.
async fn seed(access: &Access, registry: &str, repository: &str) {
    let golden = golden();
    let mut layout = golden.origin.clone();
    layout.tags = vec![(Golden::TAG.to_owned(), golden.digest)];
    layout.push_as(access, registry, repository).await;
}

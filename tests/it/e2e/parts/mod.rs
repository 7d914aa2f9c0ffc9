//! The parts that tests of private registries are made of, without the proxy between them: what goes wrong with it in
//! between is then its fault.

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

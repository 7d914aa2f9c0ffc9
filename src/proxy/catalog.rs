//! Which repositories there are, as far as a client may know.

use super::Proxy;
use super::error::ProxyError;
use super::reader::Reader;
use crate::oci::{RegistryName, RepositoryName};
use crate::upstream::{ListPage, NameList};

/// How many pages of nothing but repositories that are not shown are passed over for one request. A client that is led on
/// from behind them is told the name of one, as there is no other way to say where.
const MAX_PAGES: usize = 64;

impl Proxy {
    /// One page of a registry's repositories, of which only those are listed that are `shown`; for a reader, as the registry
    /// lists them to that one.
    ///
    /// # Errors
    /// When the registry has no such list, or fails.
    pub async fn catalog(
        &self,
        registry: &RegistryName,
        reader: Option<&Reader>,
        page: &ListPage,
        shown: impl Fn(&RepositoryName) -> bool + Send,
    ) -> Result<NameList, ProxyError> {
        let upstream = self.upstream(registry, reader).await?;
        // What is no name leads nowhere.
        let is_shown = |name: &String| name.parse().is_ok_and(|name| shown(&name));
        let mut asked = page.clone();
        for _ in 0..MAX_PAGES {
            let list = upstream.catalog(&asked).await;
            let list = list.map_err(|error| if error.is_absent() { ProxyError::NoCatalog } else { error.into() })?;
            let next = list.next().map(str::to_owned);
            let mut names: Vec<String> = list.names.into_iter().filter(is_shown).collect();
            if next.is_none() || !names.is_empty() {
                let limit = page.n.unwrap_or(usize::MAX);
                let more = next.is_some() || names.len() > limit;
                names.truncate(limit);
                // The next page starts after a name that this client may see.
                return Ok(NameList { more: more && !names.is_empty(), names, after: None });
            }
            // As many as the registry gives at once.
            asked = ListPage { n: None, last: next };
        }
        Ok(NameList { names: Vec::new(), more: true, after: asked.last })
    }
}

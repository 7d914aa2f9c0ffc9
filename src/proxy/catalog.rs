//! Which repositories there are, as far as a client may know.

use super::Proxy;
use super::error::ProxyError;
use super::reader::Reader;
use super::seal::Purpose;
use crate::oci::{RegistryName, RepositoryName};
use crate::upstream::{ListPage, NameList};

/// How many pages of nothing but repositories that are not shown are passed over for one request. A client is led on from
/// behind them by the name of the last, sealed.
const MAX_PAGES: usize = 64;
/// What a sealed name begins with, and no repository's does.
const SEALED: char = '~';

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
        if let Some(sealed) = page.last.as_deref().and_then(|last| last.strip_prefix(SEALED)) {
            let Some(last) = self.hidden(registry, sealed).await else { return Ok(NameList::default()) };
            asked.last = Some(last);
        }
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
        let last = format!("{registry} {}", asked.last.unwrap_or_default());
        let last = self.0.shared.seal.close(Purpose::Catalog, last.into_bytes()).await?;
        Ok(NameList { names: Vec::new(), more: true, after: Some(format!("{SEALED}{last}")) })
    }

    /// The name that was sealed for this registry's list.
    async fn hidden(&self, registry: &RegistryName, sealed: &str) -> Option<String> {
        let opened = String::from_utf8(self.0.shared.seal.open(Purpose::Catalog, sealed).await?).ok()?;
        let (own, last) = opened.split_once(' ')?;
        (own == registry.as_str()).then(|| last.to_owned())
    }
}

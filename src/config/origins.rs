//! Where a bundle's images may come from besides its own repository.

use std::fmt;

use super::checker::{Checker, glob};
use super::upstream::{UpstreamConfig, registry_glob};
use super::{Glob, raw, values};
use crate::oci::Repository;

/// One pair of patterns: bundles in these repositories may have images from those.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginRule {
    /// Where the bundles are.
    pub bundles: RepositoryPattern,
    /// Where their images may come from.
    pub origins: RepositoryPattern,
    /// Whether the origin is asked with credentials: the proxy's own for that registry, or the client's where those are
    /// what counts. Otherwise nobody's, and what nobody may read counts as not there.
    pub credentials: bool,
}

/// A pattern over repositories with their registries.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryPattern {
    registry: Glob,
    name: Glob,
}

impl RepositoryPattern {
    /// Matches every repository.
    pub fn any() -> Self {
        Self { registry: Glob::any(), name: Glob::any() }
    }

    /// Whether it is about this repository.
    pub fn matches(&self, repository: &Repository) -> bool {
        self.registry.matches(repository.registry.as_str()) && self.name.matches(repository.name.as_str())
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.registry == Glob::any() && self.name == Glob::any() {
            return f.write_str("any repository");
        }
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl OriginRule {
    /// Any image that its registry gives to everyone, for any bundle.
    pub fn public() -> Self {
        Self { bundles: RepositoryPattern::any(), origins: RepositoryPattern::any(), credentials: false }
    }
}

impl Checker {
    /// Checks the list `relocation.from_origin`; without one, what everyone may read is an origin.
    pub(super) fn origin_rules(
        &mut self,
        raw: Option<Vec<raw::FromOrigin>>,
        upstreams: &[(String, &UpstreamConfig)],
    ) -> Vec<OriginRule> {
        let Some(raw) = raw else { return vec![OriginRule::public()] };
        let rules = raw.into_iter().enumerate().map(|(index, rule)| {
            let at = |key: &str| format!("relocation.from_origin[{index}].{key}");
            if rule.bundles.is_none() && rule.origins.is_none() && rule.credentials.as_deref() == Some("true") {
                let reason = "with `credentials: true` needs `bundles` or `origins`, as every bundle could otherwise show \
                              its readers whatever the credentials can read";
                self.problem(format!("relocation.from_origin[{index}]"), reason);
            }
            OriginRule {
                bundles: self.setting(&at("bundles"), rule.bundles, "**", |text| pattern(text, upstreams)),
                origins: self.setting(&at("origins"), rule.origins, "**", |text| pattern(text, upstreams)),
                credentials: self.setting(&at("credentials"), rule.credentials, "false", values::boolean),
            }
        });
        rules.collect()
    }
}

/// `REGISTRY/REPOSITORY`, each a pattern, or `**` for every repository of every registry.
fn pattern(text: &str, upstreams: &[(String, &UpstreamConfig)]) -> Result<RepositoryPattern, String> {
    if text == "**" {
        return Ok(RepositoryPattern::any());
    }
    let (registry, name) = text
        .split_once('/')
        .ok_or_else(|| format!("`{text}` names no repository; write REGISTRY/REPOSITORY, such as ghcr.io/acme/**"))?;
    Ok(RepositoryPattern { registry: registry_glob(registry, upstreams)?, name: glob(name)? })
}

//! Which view of a repository an endpoint gives.

use super::glob::Glob;
use crate::oci::Repository;

/// When a bundle is relocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Only when every image its lock names is colocated, as imgpkg does.
    All,
    /// Each image that is colocated, whatever the others are.
    Each,
    /// Never: the exact view, for tools that copy, verify or mirror.
    Never,
}

/// One rule: for these endpoints and repositories, this.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Endpoints it is about.
    pub endpoint: Glob,
    /// Registries it is about.
    pub registry: Glob,
    /// Repositories it is about, as their registry names them.
    pub repository: Glob,
    /// What holds there.
    pub when: When,
}

/// Rules in order; the first that matches holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) default: When,
}

/// What holds for one repository at one endpoint, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    /// When its bundles are relocated.
    pub when: When,
    /// The rule that says so, by its place in the list; `None` if none is about it, and the default holds.
    pub rule: Option<(usize, &'a Rule)>,
}

impl Rules {
    /// When bundles of `repository` are relocated for clients that come by `endpoint`.
    pub fn when(&self, endpoint: &str, repository: &Repository) -> When {
        self.ruling(endpoint, repository).when
    }

    /// As [`when`](Self::when), with the rule that says so.
    pub fn ruling(&self, endpoint: &str, repository: &Repository) -> Ruling<'_> {
        let Repository { registry, name } = repository;
        let matches = |(_, rule): &(usize, &Rule)| {
            rule.endpoint.matches(endpoint)
                && rule.registry.matches(registry.as_str())
                && rule.repository.matches(name.as_str())
        };
        let rule = self.rules.iter().enumerate().find(matches);
        Ruling { when: rule.map_or(self.default, |(_, rule)| rule.when), rule }
    }

    /// Whether no bundle is ever relocated.
    pub fn never_relocate(&self) -> bool {
        self.default == When::Never && self.rules.iter().all(|rule| rule.when == When::Never)
    }
}

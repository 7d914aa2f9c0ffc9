//! What an identity may do with which repository.

use super::identity::Identity;
use crate::config::{AccessMode, AccessRule, Action};

/// What holds where no rules are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRules {
    /// Everyone may pull.
    EveryonePulls,
    /// Everyone who was identified may pull.
    IdentifiedPull,
    /// Nobody is kept from anything: somebody else judges it.
    Everything,
}

impl WithoutRules {
    /// What this mode has without rules.
    pub fn of(mode: &AccessMode) -> Self {
        match mode {
            AccessMode::Open => Self::EveryonePulls,
            AccessMode::Htpasswd(_) | AccessMode::Certificate => Self::IdentifiedPull,
            AccessMode::Upstream => Self::Everything,
        }
    }
}

/// What somebody may do with one repository, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRuling<'a> {
    /// This rule decides, by its place in the list.
    Rule(usize, &'a AccessRule),
    /// No rule is about them, so that nothing is allowed.
    NoRule,
    /// There are no rules at all.
    Without(WithoutRules),
}

/// Rules in order: the first that matches decides. What none matches is not allowed.
#[derive(Clone, Debug)]
pub struct AccessRules {
    rules: Vec<AccessRule>,
    without: WithoutRules,
}

impl AccessRules {
    /// These rules; or, when there are none, what `without` says.
    pub fn new(rules: Vec<AccessRule>, without: WithoutRules) -> Self {
        Self { rules, without }
    }

    /// Whether everyone who was let in may do the same.
    pub(in crate::server) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `identity` may do that with this repository of this registry.
    pub fn allows(&self, identity: &Identity, registry: &str, repository: &str, action: Action) -> bool {
        match self.ruling(identity, registry, repository) {
            AccessRuling::Rule(_, rule) => rule.allow.contains(&action),
            AccessRuling::NoRule => false,
            AccessRuling::Without(WithoutRules::EveryonePulls) => action == Action::Pull,
            AccessRuling::Without(WithoutRules::IdentifiedPull) => {
                action == Action::Pull && *identity != Identity::Anonymous
            }
            AccessRuling::Without(WithoutRules::Everything) => true,
        }
    }

    /// What decides over `identity` in this repository of this registry.
    pub fn ruling(&self, identity: &Identity, registry: &str, repository: &str) -> AccessRuling<'_> {
        if self.rules.is_empty() {
            return AccessRuling::Without(self.without);
        }
        let subjects = identity.subjects();
        let about = |(_, rule): &(usize, &AccessRule)| {
            subjects.iter().any(|subject| rule.identity.matches(subject))
                && rule.registry.matches(registry)
                && rule.repository.matches(repository)
        };
        let rule = self.rules.iter().enumerate().find(about);
        rule.map_or(AccessRuling::NoRule, |(index, rule)| AccessRuling::Rule(index, rule))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Glob;
    use crate::tls::CertificateNames;

    const PULL: &[Action] = &[Action::Pull];

    fn rules(rules: &[(&str, &str, &str, &[Action])]) -> AccessRules {
        let rule = |(identity, registry, repository, allow): &(&str, &str, &str, &[Action])| AccessRule {
            identity: identity.parse().unwrap(),
            registry: Glob::new(registry).unwrap(),
            repository: Glob::new(repository).unwrap(),
            allow: allow.to_vec(),
        };
        AccessRules::new(rules.iter().map(rule).collect(), WithoutRules::EveryonePulls)
    }

    fn user(name: &str) -> Identity {
        Identity::User(name.to_owned())
    }

    fn certificate(names: &[&str]) -> Identity {
        let dns = names.iter().map(|name| (*name).to_owned()).collect();
        Identity::Certificate(Arc::new(CertificateNames { dns, ..CertificateNames::default() }))
    }

    fn pulls(rules: &AccessRules, identity: &Identity) -> bool {
        rules.allows(identity, "ghcr.io", "acme/app", Action::Pull)
    }

    #[test]
    fn identities_by_pattern() {
        for (pattern, identity, expected) in [
            ("user:alice", user("alice"), true),
            ("user:alice", user("alice2"), false),
            ("user:alice", user("Alice"), false),
            ("user:alice", certificate(&["alice"]), false),
            ("user:*", user("alice"), true),
            ("user:*", user("team/alice"), false),
            ("user:**", user("team/alice"), true),
            ("user:**", Identity::Anonymous, false),
            ("user:**", certificate(&["user:alice"]), false),
            ("anonymous", Identity::Anonymous, true),
            ("anonymous", user("anonymous"), false),
            ("anonymous", certificate(&["anonymous"]), false),
            ("user:anonymous", user("anonymous"), true),
            ("dns:*.nodes.example", certificate(&["a.nodes.example"]), true),
            ("dns:*.Nodes.example", certificate(&["a", "10.0.0.1", "b.nodes.example"]), true),
            ("dns:*.nodes.example", certificate(&["nodes.example"]), false),
            ("dns:*.nodes.example", user("a.nodes.example"), false),
            ("dns:**", certificate(&[]), false),
            ("dns:a", certificate(&[]), false),
            ("**", Identity::Anonymous, true),
            ("**", user(""), true),
            ("**", certificate(&[]), true),
        ] {
            assert_eq!(pulls(&rules(&[(pattern, "**", "**", PULL)]), &identity), expected, "{pattern} on {identity}");
        }
    }

    #[test]
    fn a_certificate_s_name_of_one_kind_is_none_of_another() {
        let name = || "a@nodes.example".to_owned();
        for (kind, names) in [
            ("cn", CertificateNames { common_name: Some(name()), ..CertificateNames::default() }),
            ("dns", CertificateNames { dns: vec![name()], ..CertificateNames::default() }),
            ("uri", CertificateNames { uris: vec![name()], ..CertificateNames::default() }),
            ("email", CertificateNames { emails: vec![name()], ..CertificateNames::default() }),
        ] {
            let identity = Identity::Certificate(Arc::new(names));
            for pattern in ["user", "cn", "dns", "uri", "email"] {
                for name in ["**", "*nodes.example", "a@nodes.example"] {
                    let rules = rules(&[(&format!("{pattern}:{name}"), "**", "**", PULL)]);
                    assert_eq!(pulls(&rules, &identity), pattern == kind, "{pattern}:{name} on {identity}");
                }
            }
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(&[
            ("user:mallory", "**", "**", &[]),
            ("user:ci", "ghcr.io", "acme/*", &[Action::Pull, Action::Push]),
            ("user:ci", "ghcr.io", "acme/**", &[Action::Delete]),
            ("anonymous", "**", "public/**", PULL),
            ("user:**", "*.io", "**", PULL),
        ]);
        for (identity, registry, repository, expected) in [
            (user("mallory"), "ghcr.io", "public/a", [false, false, false]),
            (user("ci"), "ghcr.io", "acme/app", [true, true, false]),
            (user("ci"), "ghcr.io", "acme/team/app", [false, false, true]),
            (user("ci"), "quay.io", "acme/app", [true, false, false]),
            (user("ci"), "localhost:5000", "acme/app", [false, false, false]),
            (user("alice"), "ghcr.io", "acme/app", [true, false, false]),
            (Identity::Anonymous, "localhost:5000", "public/a/b", [true, false, false]),
            (Identity::Anonymous, "ghcr.io", "acme/app", [false, false, false]),
            (certificate(&["alice"]), "ghcr.io", "acme/app", [false, false, false]),
        ] {
            let allowed = [Action::Pull, Action::Push, Action::Delete]
                .map(|action| rules.allows(&identity, registry, repository, action));
            assert_eq!(allowed, expected, "{identity} {registry} {repository}");
        }
    }

    #[test]
    fn one_name_of_many_is_enough_to_be_shut_out() {
        let rules = rules(&[("dns:revoked.example", "**", "**", &[]), ("dns:**", "**", "**", PULL)]);
        assert!(pulls(&rules, &certificate(&["a"])));
        assert!(!pulls(&rules, &certificate(&["a", "revoked.example"])));
    }

    #[test]
    fn without_rules_there_is_only_pulling() {
        for (without, anonymous) in [(WithoutRules::EveryonePulls, true), (WithoutRules::IdentifiedPull, false)] {
            let rules = AccessRules::new(Vec::new(), without);
            assert_eq!(pulls(&rules, &Identity::Anonymous), anonymous);
            for identity in [user("alice"), user("anonymous"), certificate(&["a"]), certificate(&[])] {
                assert!(pulls(&rules, &identity), "{identity}");
                for action in [Action::Push, Action::Delete] {
                    assert!(!rules.allows(&identity, "ghcr.io", "acme/app", action), "{identity} {action:?}");
                }
            }
        }
    }
}

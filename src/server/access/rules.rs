//! What an identity may do with which repository.

use std::fmt;
use std::str::FromStr;

use super::identity::{ANONYMOUS, CERTIFICATE, Identity, USER};
use crate::config::Glob;

/// Matches every identity.
const EVERYONE: &str = "**";

/// Something a client can want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read manifests, blobs and tags.
    Pull,
    /// Write them.
    Push,
    /// Delete them.
    Delete,
}

impl Action {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    pull: bool,
    push: bool,
    delete: bool,
}

impl Actions {
    /// Whether it is among them.
    pub fn contains(self, action: Action) -> bool {
        match action {
            Action::Pull => self.pull,
            Action::Push => self.push,
            Action::Delete => self.delete,
        }
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        let mut set = Self::default();
        for action in actions {
            match action {
                Action::Pull => set.pull = true,
                Action::Push => set.push = true,
                Action::Delete => set.delete = true,
            }
        }
        set
    }
}

/// Whom a rule is about: `user:alice`, `user:ci-*`, `cert:*.nodes.example`, `anonymous`, or `**` for everyone.
///
/// After the prefix it is a [`Glob`], in which `*` stops at a slash: `cert:*` leaves out `spiffe://nodes/a`, `cert:**`
/// does not. A bare name is refused rather than never matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern(Glob);

/// A pattern that no identity can match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names nobody; write user:<name> or cert:<name>, in which * and ** may stand for parts, `anonymous` for those \
     who give no name, or ** for everyone"
)]
pub struct IdentityPatternError(String);

impl FromStr for IdentityPattern {
    type Err = IdentityPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named =
            [USER, CERTIFICATE].iter().filter_map(|prefix| text.strip_prefix(prefix)).any(|name| !name.is_empty());
        let pattern = Glob::new(text).filter(|_| named || text == ANONYMOUS || text == EVERYONE);
        pattern.map(Self).ok_or_else(|| IdentityPatternError(text.to_owned()))
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// Whom it is about.
    pub identity: IdentityPattern,
    /// Registries, by host and port.
    pub registry: Glob,
    /// Repositories there.
    pub repository: Glob,
    /// What they may do; nothing else. An empty set forbids what later rules would allow.
    pub allow: Actions,
}

/// What holds where no rules are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRules {
    /// Everyone may pull.
    EveryonePulls,
    /// Everyone who was identified may pull.
    IdentifiedPull,
}

/// Rules in order: the first that matches decides. What none matches is not allowed.
#[derive(Clone, Debug)]
pub struct AccessRules(Vec<AccessRule>);

impl AccessRules {
    /// These rules; or, when there are none, what `without` says, which never lets anyone push or delete.
    pub fn new(rules: Vec<AccessRule>, without: WithoutRules) -> Self {
        if !rules.is_empty() {
            return Self(rules);
        }
        let anywhere = |identity, allow| AccessRule { identity, registry: Glob::any(), repository: Glob::any(), allow };
        let everyone = anywhere(IdentityPattern(Glob::any()), Actions::from_iter([Action::Pull]));
        let anonymous = Glob::new(ANONYMOUS).map(|pattern| anywhere(IdentityPattern(pattern), Actions::default()));
        Self(match without {
            WithoutRules::EveryonePulls => vec![everyone],
            WithoutRules::IdentifiedPull => anonymous.into_iter().chain([everyone]).collect(),
        })
    }

    /// Whether `identity` may do that with this repository of this registry.
    pub fn allows(&self, identity: &Identity, registry: &str, repository: &str, action: Action) -> bool {
        let subjects = identity.subjects();
        let mut about = self.0.iter().filter(|rule| {
            subjects.iter().any(|subject| rule.identity.0.matches(subject))
                && rule.registry.matches(registry)
                && rule.repository.matches(repository)
        });
        about.next().is_some_and(|rule| rule.allow.contains(action))
    }

    /// Whether there may be something that those who give no name can pull: then what is behind is public in part,
    /// which whoever configures credentials for it should have meant. Errs towards yes, as rules may overlap.
    pub fn anonymous_may_pull_something(&self) -> bool {
        for rule in self.0.iter().filter(|rule| rule.identity.0.matches(ANONYMOUS)) {
            if rule.allow.contains(Action::Pull) {
                return true;
            }
            if rule.registry == Glob::any() && rule.repository == Glob::any() {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::super::identity::CertificateNames;
    use super::*;

    const PULL: &[Action] = &[Action::Pull];

    fn rules(rules: &[(&str, &str, &str, &[Action])]) -> AccessRules {
        let rule = |(identity, registry, repository, allow): &(&str, &str, &str, &[Action])| AccessRule {
            identity: identity.parse().unwrap(),
            registry: Glob::new(registry).unwrap(),
            repository: Glob::new(repository).unwrap(),
            allow: allow.iter().copied().collect(),
        };
        AccessRules::new(rules.iter().map(rule).collect(), WithoutRules::EveryonePulls)
    }

    fn user(name: &str) -> Identity {
        Identity::User(name.to_owned())
    }

    fn certificate(names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Identity::Certificate(CertificateNames::new(&names).unwrap())
    }

    fn pulls(rules: &AccessRules, identity: &Identity) -> bool {
        rules.allows(identity, "ghcr.io", "acme/app", Action::Pull)
    }

    #[test]
    fn patterns_that_name_somebody() {
        for good in ["user:alice", "user:*", "user:**", "cert:*.nodes.example", "anonymous", "**"] {
            assert_eq!(good.parse::<IdentityPattern>().unwrap().to_string(), good);
        }
        for bad in
            ["", "alice", "*", "***", "user:", "cert:", "user*", "anonymous*", "User:alice", " user:a", "everyone"]
        {
            let refused = bad.parse::<IdentityPattern>().unwrap_err();
            assert_eq!(refused, IdentityPatternError(bad.to_owned()));
        }
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
            ("cert:*.nodes.example", certificate(&["a.nodes.example"]), true),
            ("cert:*.nodes.example", certificate(&["a", "10.0.0.1", "b.nodes.example"]), true),
            ("cert:*.nodes.example", certificate(&["nodes.example"]), false),
            ("cert:*.nodes.example", user("a.nodes.example"), false),
            ("cert:spiffe://nodes/*", certificate(&["spiffe://nodes/a"]), true),
            ("cert:**", certificate(&[]), true),
            ("cert:a", certificate(&[]), false),
            ("**", Identity::Anonymous, true),
            ("**", user(""), true),
            ("**", certificate(&[]), true),
        ] {
            assert_eq!(pulls(&rules(&[(pattern, "**", "**", PULL)]), &identity), expected, "{pattern} on {identity}");
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
        let rules = rules(&[("cert:revoked.example", "**", "**", &[]), ("cert:**", "**", "**", PULL)]);
        assert!(pulls(&rules, &certificate(&["a"])));
        assert!(!pulls(&rules, &certificate(&["a", "revoked.example"])));
    }

    #[test]
    fn without_rules_there_is_only_pulling() {
        for (without, anonymous) in [(WithoutRules::EveryonePulls, true), (WithoutRules::IdentifiedPull, false)] {
            let rules = AccessRules::new(Vec::new(), without);
            assert_eq!(pulls(&rules, &Identity::Anonymous), anonymous);
            assert_eq!(rules.anonymous_may_pull_something(), anonymous);
            for identity in [user("alice"), user("anonymous"), certificate(&["a"]), certificate(&[])] {
                assert!(pulls(&rules, &identity), "{identity}");
                for action in [Action::Push, Action::Delete] {
                    assert!(!rules.allows(&identity, "ghcr.io", "acme/app", action), "{identity} {action:?}");
                }
            }
        }
    }

    #[test]
    fn what_anonymous_clients_may_read() {
        for (expected, list) in [
            (true, &[("anonymous", "**", "public/**", PULL)][..]),
            (true, &[("anonymous", "**", "private/**", &[][..]), ("**", "**", "**", PULL)]),
            (false, &[("user:**", "**", "**", PULL)]),
            (false, &[("anonymous", "**", "**", &[][..]), ("**", "**", "**", PULL)]),
            (false, &[("anonymous", "**", "**", &[Action::Push][..])]),
        ] {
            assert_eq!(rules(list).anonymous_may_pull_something(), expected, "{list:?}");
        }
    }
}

//! What is told is what is done, whatever the configuration.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::account::{Account, Asker, LeadingWay, Leads, Verdict, account};
use crate::cli::reference::Names;
use crate::config::{Action, Config};
use crate::oci::Repository;
use crate::server::{AccessRules, AccessRuling, Identity, WithoutRules};

const ACTIONS: [Action; 3] = [Action::Pull, Action::Push, Action::Delete];

#[derive(Clone, Debug)]
struct Setup {
    has_default: bool,
    rules: Vec<String>,
    access: Vec<String>,
    immutable: Vec<&'static str>,
}

impl Setup {
    fn config(&self) -> Config {
        let default = if self.has_default { "upstream: {url: 'https://main.io'}\n" } else { "" };
        let text = format!(
            "endpoint: own.example\nendpoints: [exact.example]\n{default}upstreams:\n- registry: ghcr.io\n\
             - {{registry: docker.io, prefix: mirror/hub, hosts: [hub.example]}}\n- {{registry: quay.io, prefix: none}}\n\
             rules: [{}]\naccess: {{rules: [{}]}}\ntags: {{immutable: [{}]}}\n",
            self.rules.join(", "),
            self.access.join(", "),
            self.immutable.join(", "),
        );
        Config::parse("test", &text).unwrap_or_else(|err| panic!("{err}\n{text}"))
    }
}

fn patterns() -> impl Strategy<Value = String> {
    let registry = select(vec!["**", "ghcr.io", "*.io", "docker.io"]);
    let repository = select(vec!["**", "*", "acme/*", "acme/app", "library/**"]);
    (registry, repository)
        .prop_map(|(registry, repository)| format!("registry: '{registry}', repository: '{repository}'"))
}

fn setups() -> impl Strategy<Value = Setup> {
    let endpoint = select(vec!["**", "own.example", "exact.*"]);
    let when = select(vec!["all", "each", "never"]);
    let rule = (endpoint, patterns(), when).prop_map(|(endpoint, patterns, when)| {
        format!("{{endpoint: '{endpoint}', {patterns}, relocation: {{when: {when}}}}}")
    });
    let allow = subsequence(ACTIONS.map(Action::as_str).to_vec(), 0..=3);
    let access =
        (patterns(), allow).prop_map(|(patterns, allow)| format!("{{{patterns}, allow: [{}]}}", allow.join(", ")));
    let immutable = subsequence(vec!["'acme/*:v*'", "'**:v1'", "'ghcr.io/**:main'"], 0..=3);
    (any::<bool>(), prop::collection::vec(rule, 0..4), prop::collection::vec(access, 0..4), immutable)
        .prop_map(|(has_default, rules, access, immutable)| Setup { has_default, rules, access, immutable })
}

fn references() -> impl Strategy<Value = String> {
    let digest = concat!("@sha256:", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let hosts =
        ["", "own.example/", "exact.example/", "hub.example/", "ghcr.io/", "quay.io/", "main.io/", "other.example/"];
    let names = ["acme/app", "app", "mirror/hub/acme/app", "mirror/hub/ubuntu", "mirror/hub", "ghcr.io/acme/app"];
    (select(hosts.to_vec()), select(names.to_vec()), select(vec!["", ":v1", ":main", digest]))
        .prop_map(|(host, name, rest)| format!("{host}{name}{rest}"))
}

fn told(setup: &Setup, ns: Option<&str>, text: &str) -> (Config, Names, Account) {
    let config = setup.config();
    let names = Names::new(&config, &config.listen);
    let account = account(&config, &names, &Asker { ns, identity: &Identity::Anonymous }, text);
    let account = account.unwrap_or_else(|err| panic!("{text}: {err}"));
    (config, names, account)
}

/// The place in its list of the rule that was named.
fn index(setting: &str, list: &str) -> usize {
    setting
        .strip_prefix(list)
        .and_then(|rest| rest.trim_matches(['[', ']']).parse().ok())
        .unwrap_or_else(|| panic!("{setting}"))
}

fn leads(setup: &Setup, ns: Option<&str>, text: &str) -> Leads {
    match told(setup, ns, text).2.verdict {
        Verdict::Leads(leads) => *leads,
        Verdict::Nowhere { because, .. } => panic!("{text}: {because}"),
    }
}

fn check_access(config: &Config, leads: &Leads) {
    let Repository { registry, name } = &leads.repository;
    let rules = |range: &[_]| AccessRules::new(range.to_vec(), WithoutRules::EveryonePulls);
    let all = rules(&config.access.rules);
    for action in ACTIONS {
        let allowed = all.allows(&Identity::Anonymous, registry.as_str(), name.as_str(), action);
        assert_eq!(leads.access.allows.contains(&action.as_str()), allowed, "{leads:?}");
    }
    let ruling = |range: &[_]| {
        let rules = rules(range);
        match rules.ruling(&Identity::Anonymous, registry.as_str(), name.as_str()) {
            AccessRuling::Rule(index, _) => Some(index),
            AccessRuling::NoRule | AccessRuling::Without(_) => None,
        }
    };
    let named = leads.access.rule.as_ref().map(|rule| index(&rule.setting, "access.rules"));
    match named {
        Some(named) => {
            assert_eq!(ruling(&config.access.rules[named..]), Some(0));
            assert_eq!(ruling(&config.access.rules[..named]), None);
        }
        None => assert_eq!(ruling(&config.access.rules), None),
    }
}

proptest! {
    #[test]
    fn the_account_is_what_is_served(
        setup in setups(),
        ns in prop::option::weighted(0.2, select(vec!["ghcr.io", "index.docker.io", "evil.example"])),
        text in references(),
    ) {
        let (config, names, account) = told(&setup, ns, &text);
        let Verdict::Leads(leads) = account.verdict else {
            prop_assert!(names.lead(&text, ns).is_err());
            return Ok(());
        };
        let found = names.lead(&text, ns).unwrap_or_else(|err| panic!("{text}: {err}"));
        let place = &found.lead.place;
        prop_assert_eq!(&leads.repository, &place.view.repository);
        prop_assert_eq!(leads.upstream.takes_writes, place.takes_writes);
        let is_digest = text.contains('@');
        let target = place.view.target.as_ref().filter(|_| !is_digest).map(ToString::to_string);
        prop_assert_eq!(leads.relocation.target.is_none(), leads.relocation.because.is_some());
        prop_assert_eq!(&leads.relocation.target, &target);
        prop_assert_eq!(leads.relocation.when == "never" || is_digest, leads.relocation.target.is_none());
        prop_assert_eq!(place.view.each, leads.relocation.when == "each");
        prop_assert_eq!(leads.tag.is_none(), is_digest);
        prop_assert_eq!(matches!(leads.way, LeadingWay::Ns(_)), ns.is_some() || found.lead.way == crate::server::Way::Namespace);
        if leads.relocation.target.is_some() {
            prop_assert_eq!(leads.relocation.origins.is_empty(), !place.view.from_origin);
        }
        check_access(&config, &leads);
    }

    /// Alone with those behind it, the rule that was named is the first that holds; with those before it, none is.
    #[test]
    fn the_rule_that_is_named_is_the_one_that_holds(setup in setups(), text in references()) {
        let Verdict::Leads(account) = told(&setup, None, &text).2.verdict else { return Ok(()) };
        let Some(named) = account.relocation.rule.map(|rule| index(&rule.setting, "rules")) else {
            return Ok(());
        };
        let without = Setup { rules: setup.rules[..named].to_vec(), ..setup.clone() };
        prop_assert!(leads(&without, None, &text).relocation.rule.is_none());
        let only = Setup { rules: setup.rules[named..].to_vec(), ..setup.clone() };
        let only = leads(&only, None, &text).relocation;
        prop_assert_eq!(only.rule.map(|rule| rule.setting), Some("rules[0]".to_owned()));
        prop_assert_eq!(only.when, account.relocation.when);
    }
}

//! The section `access`: who may read and push, and what the combination with the upstreams must be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checker::{Checker, MAX_FILE_BYTES, glob};
use super::upstream::registry_glob;
use super::upstream::{UpstreamConfig, UpstreamPlace, Writes};
use super::values;
use super::{ANONYMOUS, Action, Glob, IdentityPattern, raw};

/// Who may do what.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConfig {
    /// How clients show who they are.
    pub mode: AccessMode,
    /// How long the upstream's word on what a client may read is believed.
    pub verdict_ttl: Duration,
    /// What they may do, the first that matches; without any, everybody who was let in may pull.
    pub rules: Vec<AccessRule>,
}

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// They do not.
    Open,
    /// By a user name and a password from a file as Apache's `htpasswd -B` writes it.
    Htpasswd(PathBuf),
    /// By a client certificate.
    Certificate,
    /// By whatever credential the upstream takes.
    Upstream,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// For whom.
    pub identity: IdentityPattern,
    /// In which registry.
    pub registry: Glob,
    /// In which repository, as that registry names it.
    pub repository: Glob,
    /// What is allowed; nothing else is. An empty list forbids what later rules would allow.
    pub allow: Vec<Action>,
}

impl Checker {
    /// Checks the section, and whether it goes together with these upstreams.
    pub(super) fn access(&mut self, raw: raw::Access, upstreams: &[(String, &UpstreamConfig)]) -> AccessConfig {
        let word = self.setting("access.mode", raw.mode, "open", |text| match text {
            "open" | "htpasswd" | "certificate" | "upstream" => Ok(text.to_owned()),
            _ => Err(format!("`{text}` is none of open, htpasswd, certificate and upstream")),
        });
        let public = self.setting("access.allow_public", raw.allow_public, "false", values::boolean);
        let given = raw.htpasswd.is_some();
        let file = self.optional("access.htpasswd", raw.htpasswd, |file| {
            values::read_file(Path::new(file), MAX_FILE_BYTES).map(|_| PathBuf::from(file))
        });
        if given && word != "htpasswd" {
            self.problem("access.htpasswd", "is read only with `access.mode: htpasswd`; say so, or remove it");
        }
        let mode = match word.as_str() {
            "htpasswd" => {
                if !given {
                    self.problem("access.htpasswd", "is needed: the file with users, as `htpasswd -B` writes it");
                }
                AccessMode::Htpasswd(file.unwrap_or_default())
            }
            "certificate" => AccessMode::Certificate,
            "upstream" => AccessMode::Upstream,
            _ => AccessMode::Open,
        };
        let rules: Vec<AccessRule> = raw
            .rules
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(index, raw)| self.access_rule(index, raw, upstreams))
            .collect();
        match mode {
            AccessMode::Open if !public => self.open(upstreams),
            AccessMode::Htpasswd(_) if !public => self.nameless(upstreams, &rules),
            AccessMode::Upstream => self.judged_upstream(upstreams, &rules, public),
            _ => {}
        }
        self.unheard_of(&mode, &rules);
        self.nobody_writes(&mode, &rules, upstreams);
        AccessConfig {
            mode,
            verdict_ttl: self.setting("access.verdict_ttl", raw.verdict_ttl, "60s", values::duration),
            rules,
        }
    }

    /// A rule about somebody whom this mode never sees would never hold, and so neither let in nor keep out.
    fn unheard_of(&mut self, mode: &AccessMode, rules: &[AccessRule]) {
        let (word, knows): (_, fn(&IdentityPattern) -> bool) = match mode {
            AccessMode::Open => ("open", |identity| identity.matches(ANONYMOUS)),
            AccessMode::Htpasswd(_) => ("htpasswd", |identity| !identity.is_of_certificates()),
            AccessMode::Certificate => {
                ("certificate", |identity| *identity == IdentityPattern::any() || identity.is_of_certificates())
            }
            AccessMode::Upstream => return,
        };
        for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !knows(&rule.identity)) {
            let reason = format!(
                "is `{}`, whom `access.mode: {word}` never sees, so the rule would never hold; choose the mode in which \
                 clients show that, or remove the rule",
                rule.identity
            );
            self.problem(format!("access.rules[{index}].identity"), reason);
        }
    }

    /// Pushes that are forwarded need somebody who may push: where the proxy is to judge that, a rule.
    fn nobody_writes(&mut self, mode: &AccessMode, rules: &[AccessRule], upstreams: &[(String, &UpstreamConfig)]) {
        let writes = |rule: &AccessRule| rule.allow.iter().any(|action| *action != Action::Pull);
        if *mode == AccessMode::Upstream && rules.is_empty() || rules.iter().any(writes) {
            return;
        }
        for (path, _) in upstreams.iter().filter(|(_, upstream)| upstream.writes == Writes::Forward) {
            let reason = "is `forward`, and nobody may push: say who by a rule of `access.rules`, such as \
                          `{identity: 'user:ci', allow: [pull, push]}`";
            self.problem(format!("{path}.writes"), reason);
        }
    }

    fn open(&mut self, upstreams: &[(String, &UpstreamConfig)]) {
        let with: Vec<String> = upstreams
            .iter()
            .filter(|(_, upstream)| upstream.has_credentials())
            .map(|(path, upstream)| match upstream.credentials {
                Some(_) => format!("`{path}.credentials`"),
                None => format!("`{path}.tls`"),
            })
            .collect();
        if !with.is_empty() {
            let with = with.join(" and ");
            let reason = format!(
                "must be true: `access.mode: open` lets everyone who reaches `listen` read whatever {with} can read; \
                 say so, choose another mode, or remove the credentials"
            );
            self.problem("access.allow_public", reason);
        }
    }

    /// A rule that names nobody is about those, too, who give no name.
    fn nameless(&mut self, upstreams: &[(String, &UpstreamConfig)], rules: &[AccessRule]) {
        if !upstreams.iter().any(|(_, upstream)| upstream.has_credentials()) {
            return;
        }
        let public = |rule: &&AccessRule| rule.identity.matches(ANONYMOUS) && !rule.allow.is_empty();
        if let Some(index) = rules.iter().position(|rule| public(&rule)) {
            let reason = "lets those in who give no name, with an upstream's credentials; write `user:**` for all who \
                          do, or `access.allow_public: true` if everyone may";
            self.problem(format!("access.rules[{index}].identity"), reason);
        }
    }

    /// Where clients' own credentials are what counts, they must have somewhere to go, and only one place.
    fn judged_upstream(&mut self, upstreams: &[(String, &UpstreamConfig)], rules: &[AccessRule], public: bool) {
        for (path, upstream) in upstreams {
            if matches!(upstream.place, UpstreamPlace::Files(_)) {
                let reason = "names files, which cannot tell who may read; choose another `access.mode`";
                self.problem(format!("{path}.url"), reason);
            }
            if upstream.credentials.is_some() {
                let reason = "are never used with `access.mode: upstream`, where clients' own are; remove them";
                self.problem(format!("{path}.credentials"), reason);
            }
            if upstream.identity.is_some() && !public {
                let reason = "is shown to the registry whoever asks, so that everyone may read what the certificate may; \
                              say so by `access.allow_public: true`, or remove it";
                self.problem(format!("{path}.tls"), reason);
            }
            if upstream.identity.is_some() && upstream.writes == Writes::Forward {
                let reason = "cannot be `forward` with `access.mode: upstream` and a certificate (`tls`): it is shown whoever \
                              asks, so that everyone could push what the certificate may";
                self.problem(format!("{path}.writes"), reason);
            }
            if upstream.client_credentials && upstream.is_in_the_clear() {
                let reason = "would have clients' passwords go over http for everyone on the way to read; use https, or \
                              say `insecure: true`, or `client_credentials: false`";
                self.problem(format!("{path}.url"), reason);
            }
        }
        let shared: Vec<&str> = upstreams
            .iter()
            .filter(|(_, upstream)| upstream.client_credentials && upstream.hosts.is_empty())
            .map(|(path, _)| path.as_str())
            .collect();
        if let [first, others @ ..] = shared.as_slice()
            && !others.is_empty()
        {
            let others = others.join(" and ");
            let reason = format!(
                "must be true for one only of `{first}` and `{others}`: with `access.mode: upstream`, what a client \
                 says to this host would otherwise be told to several registries; give each its own `hosts`, or set \
                 it to false where clients are to be anonymous"
            );
            self.problem(format!("{first}.client_credentials"), reason);
        }
        for (index, rule) in rules.iter().enumerate() {
            if rule.identity != IdentityPattern::any() {
                let reason = "cannot be told with `access.mode: upstream`: who clients are is known upstream alone; \
                              leave it out";
                self.problem(format!("access.rules[{index}].identity"), reason);
            }
        }
    }

    fn access_rule(
        &mut self,
        index: usize,
        raw: raw::AccessRule,
        upstreams: &[(String, &UpstreamConfig)],
    ) -> AccessRule {
        let path = format!("access.rules[{index}]");
        if raw.allow.is_none() {
            self.problem(&path, "says nothing; add `allow: [pull]`, or `allow: []` for nothing at all");
        }
        AccessRule {
            identity: self.setting(&format!("{path}.identity"), raw.identity, "**", |text| {
                text.parse().map_err(|err| format!("{err}"))
            }),
            registry: self
                .setting(&format!("{path}.registry"), raw.registry, "**", |text| registry_glob(text, upstreams)),
            repository: self.setting(&format!("{path}.repository"), raw.repository, "**", glob),
            allow: self.list(&format!("{path}.allow"), raw.allow, |text| match text {
                "pull" => Ok(Action::Pull),
                "push" => Ok(Action::Push),
                "delete" => Ok(Action::Delete),
                _ => Err(format!("`{text}` is none of pull, push and delete")),
            }),
        }
    }
}

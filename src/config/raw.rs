//! The file's shape: every section and key, nothing checked yet.
//!
//! Settings are texts, whatever YAML would take them for, so that [`super::check`] can say of each what it should
//! read like, and all problems come at once. `serde_yaml` gives a `String` the scalar as it is written: `1e3` is
//! no number, and a password stays what it was. A test holds its successor to that.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::CommandLine;

type Setting = Option<String>;
type Section<T> = Option<T>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) listen: Option<Listen>,
    pub(super) admin: Section<Admin>,
    pub(super) endpoint: Setting,
    pub(super) endpoints: Option<Vec<String>>,
    pub(super) upstream: Section<Upstream>,
    pub(super) upstreams: Option<Vec<Upstream>>,
    pub(super) access: Section<Access>,
    pub(super) cache: Section<Cache>,
    pub(super) tags: Section<Tags>,
    pub(super) relocation: Section<Relocation>,
    pub(super) rules: Option<Vec<Rule>>,
    pub(super) server: Section<Server>,
    pub(super) log: Section<Log>,
}

/// One address or several.
#[derive(Debug)]
pub(super) enum Listen {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Listen {
    /// By hand: an untagged enum is read from what YAML takes things for, so that a port alone would be a number, and
    /// tells no key where it fails.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListenVisitor)
    }
}

struct ListenVisitor;

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<Listen, E> {
        Ok(Listen::One(text.to_owned()))
    }

    fn visit_bool<E>(self, word: bool) -> Result<Listen, E> {
        Ok(Listen::One(word.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Listen, E> {
        Ok(Listen::One(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Listen, E> {
        Ok(Listen::One(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Listen, E> {
        Ok(Listen::One(number.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Listen, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = items.next_element()? {
            addresses.push(address);
        }
        Ok(Listen::Several(addresses))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Setting,
    pub(super) names: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) registry: Setting,
    pub(super) url: Setting,
    pub(super) archives: Option<Vec<String>>,
    #[serde(rename = "as")]
    pub(super) called: Setting,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) prefix: Setting,
    pub(super) credentials: Section<Credentials>,
    pub(super) client_credentials: Setting,
    pub(super) always_proxied: Setting,
    pub(super) writes: Setting,
    pub(super) ca_file: Setting,
    pub(super) tls: Section<UpstreamTls>,
    pub(super) insecure: Setting,
    pub(super) auth: Section<Auth>,
    pub(super) timeouts: Section<Timeouts>,
    pub(super) concurrency: Setting,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) password_env: Option<String>,
    pub(super) token: Option<String>,
    pub(super) token_file: Option<String>,
    pub(super) token_env: Option<String>,
    pub(super) docker_config: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTls {
    pub(super) cert: Setting,
    pub(super) key: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) realms: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) connect: Setting,
    pub(super) response: Setting,
    pub(super) progress: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    pub(super) mode: Setting,
    pub(super) allow_public: Setting,
    pub(super) htpasswd: Setting,
    pub(super) verdict_ttl: Setting,
    pub(super) rules: Option<Vec<AccessRule>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessRule {
    pub(super) identity: Setting,
    pub(super) registry: Setting,
    pub(super) repository: Setting,
    pub(super) allow: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) dir: Setting,
    pub(super) memory: Setting,
    pub(super) max_fills: Setting,
    pub(super) max_bytes: Setting,
    pub(super) high_watermark: Setting,
    pub(super) low_watermark: Setting,
    pub(super) finish_abandoned: Option<FinishAbandoned>,
    pub(super) scrub: Setting,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum FinishAbandoned {
    Word(String),
    Over(StartedOver),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartedOver {
    pub(super) if_started_over: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    pub(super) ttl: Setting,
    pub(super) immutable: Option<Vec<String>>,
    pub(super) stale_for: Setting,
    pub(super) patience: Setting,
    pub(super) absent: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relocation {
    pub(super) when: Setting,
    pub(super) deadline: Setting,
    pub(super) undecided: Setting,
    pub(super) negative_ttl: Setting,
    pub(super) max_layer_bytes: Setting,
    pub(super) concurrency: Setting,
    pub(super) max_passes: Setting,
    pub(super) max_passes_per_client: Setting,
    pub(super) max_targets_per_bundle: Setting,
    pub(super) max_images: Setting,
    pub(super) from_origin: Option<Vec<FromOrigin>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromOrigin {
    pub(super) bundles: Setting,
    pub(super) origins: Setting,
    pub(super) credentials: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) endpoint: Setting,
    pub(super) registry: Setting,
    pub(super) repository: Setting,
    pub(super) relocation: Section<RuleRelocation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleRelocation {
    pub(super) when: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) header_read_timeout: Setting,
    pub(super) max_connections: Setting,
    pub(super) drain_delay: Setting,
    pub(super) drain_timeout: Setting,
    pub(super) idle_body_timeout: Setting,
    pub(super) trusted_proxies: Option<Vec<String>>,
    pub(super) tls: Section<Tls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Setting,
    pub(super) key: Setting,
    pub(super) client_ca: Setting,
    pub(super) client_certificate: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Setting,
    pub(super) filter: Setting,
}

impl From<CommandLine> for Raw {
    fn from(arguments: CommandLine) -> Self {
        Self {
            listen: arguments.listen.map(Listen::One),
            endpoint: arguments.endpoint,
            admin: Some(Admin { listen: arguments.admin, names: None }),
            upstream: Some(Upstream {
                url: arguments.upstream,
                archives: Some(arguments.archives),
                called: arguments.called,
                ..Upstream::default()
            }),
            cache: Some(Cache { dir: arguments.cache, ..Cache::default() }),
            ..Self::default()
        }
    }
}

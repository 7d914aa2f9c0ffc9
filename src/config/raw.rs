//! The file's shape: every section and key, nothing checked yet.
//!
//! Settings are texts, whatever YAML took them for, so that [`super::check`] can say of each what it should
//! read like, and all problems come at once. Only secrets insist on being strings: YAML would turn an unquoted
//! `1e3` into another password.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::CommandLine;

/// A scalar of any YAML type, as text.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl Visitor<'_> for AnyScalar {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

type Setting = Option<Text>;
type Section<T> = Option<T>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) listen: Setting,
    pub(super) admin: Section<Admin>,
    pub(super) endpoint: Setting,
    pub(super) endpoints: Option<Vec<Text>>,
    pub(super) upstream: Section<Upstream>,
    pub(super) access: Section<Access>,
    pub(super) cache: Section<Cache>,
    pub(super) tags: Section<Tags>,
    pub(super) relocation: Section<Relocation>,
    pub(super) rules: Option<Vec<Rule>>,
    pub(super) server: Section<Server>,
    pub(super) log: Section<Log>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) url: Setting,
    pub(super) credentials: Section<Credentials>,
    pub(super) ca_file: Setting,
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
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) realms: Option<Vec<Text>>,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) dir: Setting,
    pub(super) memory: Setting,
    pub(super) max_fills: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tags {
    pub(super) ttl: Setting,
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
    pub(super) max_targets_per_bundle: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) endpoint: Setting,
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
    pub(super) drain_timeout: Setting,
    pub(super) idle_body_timeout: Setting,
    pub(super) tls: Section<Tls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Setting,
    pub(super) key: Setting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Setting,
    pub(super) filter: Setting,
}

impl From<CommandLine> for Raw {
    fn from(arguments: CommandLine) -> Self {
        let text = |argument: Option<String>| argument.map(Text);
        Self {
            listen: text(arguments.listen),
            endpoint: text(arguments.endpoint),
            admin: Some(Admin { listen: text(arguments.admin) }),
            upstream: Some(Upstream { url: text(arguments.upstream), ..Upstream::default() }),
            cache: Some(Cache { dir: text(arguments.cache), ..Cache::default() }),
            ..Self::default()
        }
    }
}

//! Docker's `config.json`, and the credential helpers it names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::CredentialError;
use super::file::WatchedFile;
use super::helper::{self, HelperConfig};
use super::{Credential, Credentials};
use crate::oci::RegistryName;

/// Docker's own has some hundred bytes for each registry.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// How long nobody runs a helper that failed, and how long one that was rejected is not run for that reason again.
const PAUSE: Duration = Duration::from_secs(5);
/// How Docker calls Docker Hub, in the file and to helpers.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A `config.json` as `docker login` writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// The file.
    pub path: PathBuf,
    /// How the registry may be listed there, as `host` or `host:port`, the best first. Docker Hub is known by each of its
    /// names.
    pub names: Vec<String>,
    /// How the programs it names are run.
    pub helpers: HelperConfig,
}

impl DockerConfig {
    /// The file at `path`, for a registry with these names.
    pub fn new(path: impl Into<PathBuf>, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { path: path.into(), names, helpers: HelperConfig::default() }
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("path", &self.path).field("names", &self.names).finish_non_exhaustive()
    }
}

/// The file's content. Entries are made sense of when they are asked for: a broken one of another registry's is no
/// trouble of this one's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What the file says is to be done.
#[derive(Clone, PartialEq, Eq)]
struct Plan {
    /// A helper, and by which names it is asked, one after the other.
    helper: Option<(String, Vec<String>)>,
    /// What holds when there is no helper, or it has nothing.
    otherwise: Credential,
}

/// A `config.json` at work.
pub(super) struct Docker {
    file: WatchedFile<Plan>,
    helpers: HelperConfig,
    // Locked while a helper runs, so that one run is everybody's.
    kept: Mutex<Option<Kept>>,
}

/// What a helper said.
struct Kept {
    plan: Arc<Plan>,
    at: Instant,
    /// When it last ran because what it had said before was rejected.
    forced: Option<Instant>,
    outcome: Result<Arc<Credential>, CredentialError>,
}

impl Kept {
    /// Whether this is what was rejected.
    fn is(&self, rejected: Option<&Arc<Credential>>) -> bool {
        matches!((&self.outcome, rejected), (Ok(credential), Some(rejected)) if credential == rejected)
    }

    /// Whether the helper need not run again for one who asked at `asked`: what came after that is news to him.
    fn holds(&self, rejected: Option<&Arc<Credential>>, asked: Instant, keep: Duration) -> bool {
        match &self.outcome {
            Ok(_) if self.is(rejected) => self.at > asked || self.forced.is_some_and(|forced| forced.elapsed() < PAUSE),
            Ok(_) => self.at.elapsed() < keep,
            Err(_) => self.at > asked || self.at.elapsed() < PAUSE,
        }
    }
}

impl Docker {
    pub(super) fn new(config: DockerConfig) -> Self {
        let DockerConfig { path, names, helpers } = config;
        let file = WatchedFile::new(path, MAX_CONFIG_BYTES, move |bytes| plan(bytes, &names));
        Self { file, helpers, kept: Mutex::new(None) }
    }

    pub(super) async fn current(&self) -> Result<Arc<Credential>, CredentialError> {
        let plan = self.file.current().await?;
        self.resolve(plan, None).await
    }

    pub(super) async fn renewed(&self, rejected: &Arc<Credential>) -> Result<Arc<Credential>, CredentialError> {
        let plan = self.file.again().await?;
        self.resolve(plan, Some(rejected)).await
    }

    async fn resolve(
        &self,
        plan: Arc<Plan>,
        rejected: Option<&Arc<Credential>>,
    ) -> Result<Arc<Credential>, CredentialError> {
        let Some((name, servers)) = &plan.helper else { return Ok(Arc::new(plan.otherwise.clone())) };
        let asked = Instant::now();
        let mut kept = self.kept.lock().await;
        let last = kept.as_ref().filter(|last| last.plan == plan);
        if let Some(last) = last.filter(|last| last.holds(rejected, asked, self.helpers.keep)) {
            return last.outcome.clone();
        }
        let forced = match last {
            Some(last) if last.is(rejected) => Some(asked),
            last => last.and_then(|last| last.forced),
        };
        let found = self.run(name, servers).await;
        let outcome = found.map(|found| Arc::new(found.unwrap_or_else(|| plan.otherwise.clone())));
        *kept = Some(Kept { plan: Arc::clone(&plan), at: Instant::now(), forced, outcome: outcome.clone() });
        outcome
    }

    async fn run(&self, name: &str, servers: &[String]) -> Result<Option<Credential>, CredentialError> {
        for server in servers {
            let answer = helper::ask(&self.helpers, name, server).await;
            let answer = answer.map_err(|problem| CredentialError::Helper { name: name.to_owned(), problem })?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }
}

/// What the file has for a registry with these names: a helper of the registry's own; else the helper for all and, where
/// that has nothing, the file's own entries.
fn plan(bytes: &[u8], names: &[String]) -> Result<Plan, String> {
    let content: Content = serde_json::from_slice(bytes).map_err(|error| {
        // Not what it says, which may quote the file.
        format!("is no Docker configuration (line {}, column {})", error.line(), error.column())
    })?;
    let names: Vec<Name> = names.iter().map(|name| Name::of(name)).collect();
    let own = content.cred_helpers.as_ref().and_then(|helpers| best(helpers, &names));
    if let Some((key, helper)) = own.filter(|(_, helper)| !helper.is_empty()) {
        let server = if Name::of(key).host == DOCKER_HUB { DOCKER_HUB.to_owned() } else { key.clone() };
        return Ok(Plan { helper: Some((helper.clone(), vec![server])), otherwise: Credential::Anonymous });
    }
    let otherwise = match content.auths.as_ref().and_then(|auths| best(auths, &names)) {
        Some((key, Some(entry))) => entry.credential().map_err(|what| format!("has an entry for {key} {what}"))?,
        _ => Credential::Anonymous,
    };
    // An empty helper of its own says that this registry is kept in the file.
    let store = content.creds_store.filter(|store| !store.is_empty() && own.is_none());
    let mut servers: Vec<String> = Vec::new();
    for name in names {
        if !servers.contains(&name.host) {
            servers.push(name.host);
        }
    }
    Ok(Plan { helper: store.map(|store| (store, servers)), otherwise })
}

/// A registry's name without what may stand around it.
struct Name {
    /// In lower case, with the port if it has one; Docker Hub by Docker's name for it.
    host: String,
    /// Whether a path was left out that is not the registry protocol's own.
    has_path: bool,
}

impl Name {
    fn of(text: &str) -> Self {
        let text = text.trim();
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let is_docker_hub = host.parse::<RegistryName>().is_ok_and(|registry| registry.is_docker_hub());
        let host = if is_docker_hub { DOCKER_HUB.to_owned() } else { host.to_ascii_lowercase() };
        Self { host, has_path: !matches!(path.trim_end_matches('/'), "" | "v1" | "v2") }
    }
}

/// The entry for the first of `names` that has one; one without a path before one with.
fn best<'a, T>(entries: &'a BTreeMap<String, T>, names: &[Name]) -> Option<(&'a String, &'a T)> {
    let of = |wanted: &Name, with_path: bool| {
        entries.iter().find(|(key, _)| {
            let name = Name::of(key);
            name.host == wanted.host && name.has_path == with_path
        })
    };
    names.iter().find_map(|name| of(name, false).or_else(|| of(name, true)))
}

impl Entry {
    fn credential(&self) -> Result<Credential, &'static str> {
        let filled = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.registrytoken) {
            return Credential::bearer(&token).ok_or("whose registrytoken cannot be sent");
        }
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Credential::Identity(token));
        }
        let (user, password) = match (filled(&self.auth), filled(&self.username), filled(&self.password)) {
            (Some(auth), _, _) => decode(&auth).ok_or("whose auth is not user:password in base64")?,
            (None, Some(user), Some(password)) => (user, password),
            // As it is left behind when a helper keeps the rest.
            (None, None, None) => return Ok(Credential::Anonymous),
            (None, _, _) => return Err("with only one of username and password"),
        };
        Ok(match user.as_str() {
            helper::IDENTITY_USER => Credential::Identity(password),
            _ => Credential::Password(Credentials { user, password }),
        })
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    // Docker ends some with zeros.
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password(Credentials { user: user.to_owned(), password: password.to_owned() })
    }

    fn of(config: &str, names: &[&str]) -> Plan {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        plan(config.as_bytes(), &names).unwrap_or_else(|what| panic!("{what}"))
    }

    fn entry(key: &str, fields: &str, name: &str) -> Credential {
        of(&format!(r#"{{"auths":{{"{key}":{{{fields}}}}}}}"#), &[name]).otherwise
    }

    #[test]
    fn entries_by_every_way_to_write_a_name() {
        let auth = r#""auth":"dTpwOnE=""#;
        for (key, name) in [
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "GHCR.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("ghcr.io/acme", "ghcr.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "registry-1.docker.io"),
        ] {
            assert!(entry(key, auth, name) == password("u", "p:q"), "{key}");
        }
        for (key, name) in [
            ("ghcr.io", "evil.ghcr.io"),
            ("ghcr.io.evil", "ghcr.io"),
            ("localhost", "localhost:5000"),
            ("evil/ghcr.io", "ghcr.io"),
        ] {
            assert!(entry(key, auth, name) == Credential::Anonymous, "{key}");
        }
    }

    #[test]
    fn what_an_entry_may_hold() {
        let entry = |fields: &str| entry("a", fields, "a");
        assert!(entry(r#""username":"u","password":"p""#) == password("u", "p"));
        assert!(entry(r#""auth":"dTpw","identitytoken":"i""#) == Credential::Identity("i".to_owned()));
        assert!(Some(entry(r#""registrytoken":"r""#)) == Credential::bearer("r"));
        assert!(entry(r#""auth":"","email":null"#) == Credential::Anonymous);
        let broken = |text: &str| plan(text.as_bytes(), &["a".to_owned()]).err().expect(text);
        for bad in [
            r#"{"auths":{"a":{"auth":"hunter2"}}}"#,
            r#"{"auths":"hunter2"}"#,
            "hunter2",
            r#"{"auths":{"a":{"username":"u"}}}"#,
        ] {
            assert!(!broken(bad).contains("hunter2"), "{}", broken(bad));
        }
        assert!(plan(br#"{"auths":{"b":{"auth":"hunter2"}}}"#, &["a".to_owned()]).is_ok(), "another registry's");
    }

    #[test]
    fn helpers_before_entries() {
        let config = r#"{"auths":{"gcr.io":{"auth":"dTpw"},"b":{"auth":"dTpw"},"c":{"auth":"dTpw"}},
            "credHelpers":{"gcr.io":"gcloud","c":"","docker.io":"hub"},"credsStore":"desktop"}"#;
        let helper = |names: &[&str]| of(config, names).helper.map(|(name, servers)| (name, servers.join(" ")));
        let run = |name: &str, servers: &str| Some((name.to_owned(), servers.to_owned()));
        assert_eq!(helper(&["gcr.io"]), run("gcloud", "gcr.io"));
        assert!(of(config, &["gcr.io"]).otherwise == Credential::Anonymous, "its own helper has the last word");
        assert_eq!(helper(&["docker.io"]), run("hub", DOCKER_HUB));
        assert_eq!(helper(&["b", "alias", "B"]), run("desktop", "b alias"));
        assert!(of(config, &["b"]).otherwise == password("u", "p"));
        assert_eq!(helper(&["c"]), None);
        assert!(of(config, &["c"]).otherwise == password("u", "p"));
        assert!(of("{}", &["c"]).otherwise == Credential::Anonymous);
    }
}

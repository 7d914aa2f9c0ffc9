//! Which repository a client means, and how it sees it.
//!
//! Names lead to upstreams in a closed world: by the registry's own name (`?ns=`, as containerd says it to a mirror,
//! from the distribution spec's "Registry Proxying"), by a host that stands for one upstream, by a prefix of the
//! path, or to the default upstream. What is none of these is no repository here; no request ever leads to a host
//! that the configuration does not have.
//!
//! Each form is also what references have to say to lead back here, and so what is written into locks:
//!
//! | a client asks | for | locks name |
//! |---|---|---|
//! | `proxy/v2/acme/app?ns=ghcr.io` | `ghcr.io/acme/app` | `ghcr.io/acme/app`: its configuration leads back here |
//! | `ghcr.proxy/v2/acme/app`, a host of `ghcr.io`'s own | `ghcr.io/acme/app` | `ghcr.proxy/acme/app` |
//! | `proxy/v2/mirror/ghcr.io/acme/app`, with that prefix | `ghcr.io/acme/app` | `proxy/mirror/ghcr.io/acme/app` |
//! | `proxy/v2/acme/app` | the default upstream's `acme/app` | `proxy/acme/app` |

use crate::config::{Config, Endpoint, Rules, Ruling, UpstreamConfig, When, Writes};
use crate::imgpkg::Target;
use crate::oci::{RegistryName, RepositoryName};
use crate::proxy::View;

/// The names this proxy goes by, where they lead, and the rules about them.
#[derive(Clone, Debug)]
pub struct Directory {
    endpoint: Option<Endpoint>,
    endpoints: Vec<Endpoint>,
    entries: Vec<Entry>,
    /// Which entry has the names that lead to no other.
    default: Option<usize>,
    rules: Rules,
}

#[derive(Clone, Debug)]
struct Entry {
    registry: RegistryName,
    hosts: Vec<Endpoint>,
    prefix: Option<RepositoryName>,
    takes_credentials: bool,
    /// Whether its own name leads here wherever it is used.
    always_proxied: bool,
    takes_writes: bool,
}

/// What a client means by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// How it sees the repository.
    pub view: View,
    /// What becomes of credentials that the client shows.
    pub credentials: Passage,
    /// Whether pushes and deletes go on to there.
    pub takes_writes: bool,
}

/// A place, and how a name leads there.
#[derive(Clone, Debug)]
pub struct Lead<'a> {
    /// Where it leads.
    pub place: Place,
    /// By what.
    pub way: Way<'a>,
    /// The endpoint that rules see; `None` if the proxy has no name.
    pub endpoint: Option<&'a Endpoint>,
    /// What the rules say about bundles there.
    pub ruling: Ruling<'a>,
}

/// What about a name leads to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// The registry's own name, said beside it (`ns`).
    Namespace,
    /// The host, which is that upstream's alone.
    Host(&'a Endpoint),
    /// How it begins.
    Prefix(&'a RepositoryName),
    /// Nothing: it is the default one's.
    Default,
}

/// What becomes of a client's credentials where they are for the upstream to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// This host is that upstream's, under unchanged names: challenges and answers to them are passed on.
    Open,
    /// Names differ, or the host leads to other upstreams, too: the proxy asks for user and password itself, and
    /// shows them to this upstream, the only one they are for.
    Exchange,
    /// They are for another upstream, or for none.
    Closed,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchName {
    /// The `ns` of a request is none of the upstreams.
    #[error("no registry of that name is behind this proxy (`ns`); its operator lists them under `upstreams`")]
    Namespace,
    /// The name begins with no prefix, and there is no default.
    #[error("this name leads to no registry behind this proxy; it needs one of the prefixes its operator has set up")]
    Prefix,
    /// There is no default, so no one registry has the names here.
    #[error("several registries are behind this name, each with a catalog of its own; say which one is meant (`ns`)")]
    Catalog,
}

impl Directory {
    /// The directory of a configuration.
    pub fn new(config: &Config) -> Self {
        let entry = |upstream: &UpstreamConfig| Entry {
            registry: upstream.registry.clone(),
            hosts: upstream.hosts.clone(),
            prefix: upstream.prefix.clone(),
            takes_credentials: upstream.client_credentials,
            always_proxied: upstream.always_proxied,
            takes_writes: upstream.writes == Writes::Forward,
        };
        Self {
            endpoint: config.endpoint.clone(),
            endpoints: config.endpoints.clone(),
            entries: config.all_upstreams().map(entry).collect(),
            default: config.upstream.is_some().then_some(0),
            rules: config.rules.clone(),
        }
    }

    /// What the proxy is called if the configuration does not say.
    pub fn or_called(self, own: Option<Endpoint>) -> Self {
        Self { endpoint: self.endpoint.or(own), ..self }
    }

    /// What a request to `host` means by `name`, with the registry's own name if it says that (`ns`).
    ///
    /// A Host that is not listed never gets into a lock: it is the client's to choose, and whoever shares a
    /// cache with that client would run images from there. Without any endpoint of its own the proxy then has
    /// no name to write, and the view is exact.
    ///
    /// # Errors
    /// When it leads nowhere.
    pub fn find(&self, host: Option<&str>, ns: Option<&str>, name: &RepositoryName) -> Result<Place, NoSuchName> {
        self.lead(host, ns, name).map(|lead| lead.place)
    }

    /// As [`find`](Self::find), with what led there.
    ///
    /// # Errors
    /// When it leads nowhere.
    pub fn lead(&self, host: Option<&str>, ns: Option<&str>, name: &RepositoryName) -> Result<Lead<'_>, NoSuchName> {
        let own = host.and_then(|host| self.host_of(host));
        let endpoint = own.map(|(_, endpoint)| endpoint).or_else(|| self.endpoint_for(host));
        let (entry, named, way) = match (ns, own) {
            (Some(ns), _) => (self.named(ns)?, name.clone(), Way::Namespace),
            (None, Some((entry, host))) => (entry, name.clone(), Way::Host(host)),
            (None, None) => self.by_path(name)?,
        };
        let repository = entry.registry.repository(&named);
        let target = match (ns, own) {
            (Some(_), _) => Some(Target { endpoint: entry.registry.shared(), repository: repository.name.clone() }),
            (None, Some((_, host))) => Some(Target { endpoint: host.shared(), repository: repository.name.clone() }),
            (None, None) => endpoint.map(|endpoint| Target {
                endpoint: endpoint.shared(),
                repository: self.visible(entry, &repository.name),
            }),
        };
        let ruling = self.rules.ruling(endpoint.map_or("", Endpoint::as_str), &repository);
        let mut view = match (ruling.when, target) {
            (When::Never, _) | (_, None) => View::exact(repository),
            (When::All, Some(target)) => View::relocated(repository, target),
            (When::Each, Some(target)) => View::each(repository, target),
        };
        // What is written then is the registry's own name, by which it can be asked directly, too.
        view.from_origin = ns.is_none() || entry.always_proxied;
        let credentials = self.passage(entry, own.map(|(entry, _)| entry));
        Ok(Lead { place: Place { view, credentials, takes_writes: entry.takes_writes }, way, endpoint, ruling })
    }

    /// Whether any upstream takes pushes and deletes.
    pub fn takes_writes(&self) -> bool {
        self.entries.iter().any(|entry| entry.takes_writes)
    }

    /// Whether clients reach this proxy by `host`.
    pub fn knows(&self, host: &str) -> bool {
        let shared = self.endpoints.iter().chain(&self.endpoint).any(|endpoint| endpoint.is_host(host));
        shared || self.host_of(host).is_some()
    }

    /// Whether the default upstream has this name.
    pub fn is_default(&self, name: &str) -> bool {
        let default = self.default.and_then(|default| self.entries.get(default));
        default.zip(self.named(name).ok()).is_some_and(|(default, named)| default.registry == named.registry)
    }

    /// Whether one of the upstreams has this name.
    pub fn has_registry(&self, name: &str) -> bool {
        self.named(name).is_ok()
    }

    /// The upstream that gets to see what clients of `host` say to the API's root, and how; `None` if there is none.
    ///
    /// # Errors
    /// When `ns` is no registry here.
    pub fn passage_at(
        &self,
        host: Option<&str>,
        ns: Option<&str>,
    ) -> Result<Option<(&RegistryName, Passage)>, NoSuchName> {
        let own = host.and_then(|host| self.host_of(host)).map(|(entry, _)| entry);
        let entry = match ns {
            Some(ns) => Some(self.named(ns)?),
            None => own.or_else(|| self.shared_taker()),
        };
        Ok(entry.map(|entry| (&entry.registry, self.passage(entry, own))))
    }

    /// The upstream whose repositories are listed to clients of `host`, and what becomes of credentials there: the one that
    /// names lead to without a prefix. What only a prefix leads to is in no catalog but that of its registry (`ns`), as
    /// pages of several registries together would have no order that all of them keep to.
    ///
    /// # Errors
    /// When there is none.
    pub fn catalog_at(&self, host: Option<&str>, ns: Option<&str>) -> Result<(&RegistryName, Passage), NoSuchName> {
        let own = host.and_then(|host| self.host_of(host)).map(|(entry, _)| entry);
        let default = || self.default.and_then(|default| self.entries.get(default)).ok_or(NoSuchName::Catalog);
        let entry = match (ns, own) {
            (Some(ns), _) => self.named(ns)?,
            (None, Some(own)) => own,
            (None, None) => default()?,
        };
        Ok((&entry.registry, self.passage(entry, own)))
    }

    /// Whether clients of `host` mean this registry's by `name`, and not what is behind a prefix.
    pub fn leads_to(
        &self,
        registry: &RegistryName,
        host: Option<&str>,
        ns: Option<&str>,
        name: &RepositoryName,
    ) -> bool {
        ns.is_some()
            || host.and_then(|host| self.host_of(host)).is_some()
            || self.by_path(name).is_ok_and(|(entry, ..)| entry.registry == *registry)
    }

    /// The upstream that calls itself this.
    fn named(&self, ns: &str) -> Result<&Entry, NoSuchName> {
        let registry = ns.parse::<RegistryName>().map_err(|_| NoSuchName::Namespace)?;
        self.entries.iter().find(|entry| entry.registry == registry).ok_or(NoSuchName::Namespace)
    }

    /// `own` is the upstream whose host the request came to, if that leads to one alone.
    fn passage(&self, entry: &Entry, own: Option<&Entry>) -> Passage {
        let is = |other: Option<&Entry>| other.is_some_and(|other| other.registry == entry.registry);
        match own {
            _ if !entry.takes_credentials => Passage::Closed,
            Some(_) if is(own) => Passage::Open,
            Some(_) => Passage::Closed,
            None if !is(self.shared_taker()) => Passage::Closed,
            None if self.entries.len() == 1 && entry.prefix.is_none() => Passage::Open,
            None => Passage::Exchange,
        }
    }

    /// The upstream that credentials are for at hosts that lead to several: one that has no host of its own. The
    /// configuration has at most one, where it matters.
    fn shared_taker(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.takes_credentials && entry.hosts.is_empty())
    }

    /// The upstream that `host` stands for, and how it is written.
    fn host_of(&self, host: &str) -> Option<(&Entry, &Endpoint)> {
        let host_of = |entry: &'_ Entry| entry.hosts.iter().position(|own| own.is_host(host));
        self.entries.iter().find_map(|entry| Some((entry, entry.hosts.get(host_of(entry)?)?)))
    }

    fn endpoint_for(&self, host: Option<&str>) -> Option<&Endpoint> {
        let named = host.and_then(|host| self.endpoints.iter().find(|endpoint| endpoint.is_host(host)));
        named.or(self.endpoint.as_ref())
    }

    /// The upstream whose prefix `name` begins with, the longest if there are several, and the name behind it.
    fn by_path(&self, name: &RepositoryName) -> Result<(&Entry, RepositoryName, Way<'_>), NoSuchName> {
        let behind = |entry: &'_ Entry| {
            let prefix = entry.prefix.as_ref()?;
            let rest = name.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?;
            rest.parse::<RepositoryName>().ok()
        };
        let found = self.entries.iter().filter_map(|entry| Some((entry, entry.prefix.as_ref()?, behind(entry)?)));
        match found.max_by_key(|(_, prefix, _)| prefix.as_str().len()) {
            Some((entry, prefix, rest)) => Ok((entry, rest, Way::Prefix(prefix))),
            None => {
                let default = self.default.and_then(|default| self.entries.get(default));
                default.map(|entry| (entry, name.clone(), Way::Default)).ok_or(NoSuchName::Prefix)
            }
        }
    }

    /// A repository's name at endpoints that lead to several upstreams.
    fn visible(&self, entry: &Entry, name: &RepositoryName) -> RepositoryName {
        let Some(prefix) = &entry.prefix else { return name.clone() };
        // Too long together only where the client's own name was not: Docker Hub's `library/` was added.
        format!("{prefix}/{name}").parse().unwrap_or_else(|_| name.clone())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    const CONFIG: &str = "
listen: 0.0.0.0:1
endpoint: own.example
endpoints: [exact.example, Pull.example:5000]
upstream: {url: 'https://registry.example'}
upstreams:
- registry: ghcr.io
- {registry: docker.io, prefix: mirror/docker}
- {url: 'https://quay.example:5000', hosts: [quay.own.example, q.example]}
rules: [{endpoint: exact.example, relocation: {when: never}}, {registry: ghcr.io, repository: each/*, relocation: {when: each}}]
";

    fn directory(text: &str) -> Directory {
        Directory::new(&Config::parse("test", text).unwrap())
    }

    fn find(directory: &Directory, host: Option<&str>, ns: Option<&str>, name: &str) -> Option<(String, String)> {
        let place = directory.find(host, ns, &name.parse().unwrap()).ok()?;
        let target = place.view.target.map_or("as it stands".to_owned(), |target| target.to_string());
        Some((place.view.repository.to_string(), target))
    }

    #[test]
    fn what_each_form_leads_to_and_what_it_writes() {
        let directory = directory(CONFIG);
        for (host, ns, name, repository, target) in [
            (None, None, "acme/app", "registry.example/acme/app", "own.example/acme/app"),
            (Some("evil.example"), None, "acme/app", "registry.example/acme/app", "own.example/acme/app"),
            (Some("PULL.example:5000"), None, "acme/app", "registry.example/acme/app", "pull.example:5000/acme/app"),
            (Some("exact.example"), None, "acme/app", "registry.example/acme/app", "as it stands"),
            (None, None, "ghcr.io/acme/app", "ghcr.io/acme/app", "own.example/ghcr.io/acme/app"),
            (None, None, "ghcr.io", "registry.example/ghcr.io", "own.example/ghcr.io"),
            (None, None, "ghcr.iox/a", "registry.example/ghcr.iox/a", "own.example/ghcr.iox/a"),
            (
                None,
                None,
                "mirror/docker/ubuntu",
                "docker.io/library/ubuntu",
                "own.example/mirror/docker/library/ubuntu",
            ),
            (None, None, "mirror/docker/a/b", "docker.io/a/b", "own.example/mirror/docker/a/b"),
            (Some("q.example"), None, "acme/app", "quay.example:5000/acme/app", "q.example/acme/app"),
            (Some("quay.own.example"), None, "ghcr.io/x", "quay.example:5000/ghcr.io/x", "quay.own.example/ghcr.io/x"),
            (None, Some("ghcr.io"), "acme/app", "ghcr.io/acme/app", "ghcr.io/acme/app"),
            (Some("exact.example"), Some("ghcr.io"), "acme/app", "ghcr.io/acme/app", "as it stands"),
            (
                Some("q.example"),
                Some("registry-1.docker.io"),
                "ubuntu",
                "docker.io/library/ubuntu",
                "index.docker.io/library/ubuntu",
            ),
            (None, Some("quay.example:5000"), "a", "quay.example:5000/a", "quay.example:5000/a"),
        ] {
            let expected = Some((repository.to_owned(), target.to_owned()));
            assert_eq!(find(&directory, host, ns, name), expected, "{host:?} {ns:?} {name}");
        }
        let place = directory.find(None, Some("ghcr.io"), &"each/x".parse().unwrap()).unwrap();
        assert!(place.view.each);
        for ns in ["evil.example", "quay.example", "169.254.169.254", "", "ghcr.io/acme", "a b"] {
            assert_eq!(directory.find(None, Some(ns), &"a".parse().unwrap()), Err(NoSuchName::Namespace), "{ns}");
        }
        assert!(directory.knows("own.example") && directory.knows("q.example") && !directory.knows("evil.example"));
    }

    #[test]
    fn without_a_default_only_prefixes_lead_somewhere() {
        let directory = directory(
            "endpoint: own.example\nupstreams: [{registry: ghcr.io}, {registry: ghcr.io:444, prefix: ghcr.io/other}]",
        );
        assert_eq!(find(&directory, None, None, "acme/app"), None);
        assert_eq!(find(&directory, None, None, "ghcr.io/a").unwrap().0, "ghcr.io/a");
        assert_eq!(find(&directory, None, None, "ghcr.io/other/a").unwrap().0, "ghcr.io:444/a", "the longest counts");
        assert_eq!(find(&directory, None, None, "ghcr.io/others/a").unwrap().0, "ghcr.io/others/a");
    }

    #[test]
    fn without_an_endpoint_there_is_nothing_to_write() {
        let directory = directory("upstream: {url: 'https://a.b'}");
        assert_eq!(find(&directory, Some("evil.example"), None, "a").unwrap().1, "as it stands");
        assert_eq!(find(&directory, None, Some("a.b"), "a").unwrap().1, "a.b/a");
    }

    #[test]
    fn whose_catalog_it_is() {
        let directory = directory(CONFIG);
        let at = |host, ns| directory.catalog_at(host, ns).map(|(registry, _)| registry.to_string());
        assert_eq!(at(None, None), Ok("registry.example".to_owned()));
        assert_eq!(at(Some("q.example"), None), Ok("quay.example:5000".to_owned()));
        assert_eq!(at(Some("q.example"), Some("ghcr.io")), Ok("ghcr.io".to_owned()));
        assert_eq!(at(None, Some("evil.example")), Err(NoSuchName::Namespace));
        let leads = |registry: &str, host, ns, name: &str| {
            directory.leads_to(&registry.parse().unwrap(), host, ns, &name.parse().unwrap())
        };
        assert!(leads("registry.example", None, None, "acme/app"));
        assert!(!leads("registry.example", None, None, "ghcr.io/acme/app"), "that is the other one's");
        assert!(leads("quay.example:5000", Some("q.example"), None, "ghcr.io/acme/app"));
        assert!(leads("ghcr.io", None, Some("ghcr.io"), "ghcr.io/acme/app"));
        let prefixed = self::directory("endpoint: own.example\nupstreams: [{registry: ghcr.io}]");
        assert_eq!(prefixed.catalog_at(None, None), Err(NoSuchName::Catalog));
    }

    #[test]
    fn whom_credentials_are_for() {
        let passage = |text: &str, host: Option<&str>, ns: Option<&str>, name: &str| {
            let directory = directory(text);
            directory.find(host, ns, &name.parse().unwrap()).unwrap().credentials
        };
        let one = "endpoint: own.example\nupstream: {url: 'https://a.b'}";
        assert_eq!(passage(one, None, None, "a"), Passage::Open);
        assert_eq!(passage(one, None, Some("a.b"), "a"), Passage::Open);
        let prefixed = "endpoint: own.example\nupstreams: [{registry: ghcr.io}]";
        assert_eq!(passage(prefixed, None, None, "ghcr.io/a"), Passage::Exchange);
        let two = "endpoint: own.example\nupstream: {url: 'https://a.b', client_credentials: false}\n\
            upstreams: [{registry: ghcr.io}, {registry: quay.io, hosts: [q.example]}]";
        assert_eq!(passage(two, None, None, "a"), Passage::Closed);
        assert_eq!(passage(two, None, None, "ghcr.io/a"), Passage::Exchange);
        assert_eq!(passage(two, None, Some("ghcr.io"), "a"), Passage::Exchange);
        assert_eq!(passage(two, None, None, "quay.io/a"), Passage::Closed);
        assert_eq!(passage(two, Some("q.example"), None, "a"), Passage::Open);
        assert_eq!(passage(two, Some("q.example"), Some("quay.io"), "a"), Passage::Open);
        assert_eq!(passage(two, Some("q.example"), Some("ghcr.io"), "a"), Passage::Closed);
    }
}

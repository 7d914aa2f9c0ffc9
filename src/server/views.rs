//! Which view of a repository a client gets.

use crate::config::{Endpoint, Rules, When};
use crate::oci::RepositoryName;
use crate::proxy::View;

/// The names this proxy goes by, and the rules about them.
#[derive(Clone, Debug)]
pub struct Views {
    endpoint: Option<Endpoint>,
    endpoints: Vec<Endpoint>,
    rules: Rules,
}

impl Views {
    /// `endpoint` is written into locks unless the request's Host is one of `endpoints`.
    pub fn new(endpoint: Option<Endpoint>, endpoints: Vec<Endpoint>, rules: Rules) -> Self {
        Self { endpoint, endpoints, rules }
    }

    /// The view for a request to `host`.
    ///
    /// A Host that is not listed never gets into a lock: it is the client's to choose, and whoever shares a
    /// cache with that client would run images from there. Without any endpoint of its own the proxy then has
    /// no name to write, and the view is exact.
    pub fn select(&self, host: Option<&str>, repository: &RepositoryName) -> View {
        let chosen = self.endpoint_for(host);
        match chosen.map(|endpoint| (endpoint, self.rules.when(endpoint.as_str(), repository.as_str()))) {
            None | Some((_, When::Never)) => View::exact(),
            Some((endpoint, When::All)) => View::relocated(endpoint.as_str()),
            Some((endpoint, When::Each)) => View::each(endpoint.as_str()),
        }
    }

    /// Whether clients reach this proxy by `host`.
    pub fn knows(&self, host: &str) -> bool {
        self.endpoints.iter().chain(&self.endpoint).any(|endpoint| endpoint.is_host(host))
    }

    fn endpoint_for(&self, host: Option<&str>) -> Option<&Endpoint> {
        let named = host.and_then(|host| self.endpoints.iter().find(|endpoint| endpoint.is_host(host)));
        named.or(self.endpoint.as_ref())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use crate::config::Config;

    fn views(endpoint: Option<&str>) -> Views {
        let text = "listen: 0.0.0.0:1\nupstream: {url: https://a.b}\nendpoints: [exact.example, Pull.example:5000]\n\
            rules: [{endpoint: exact.example, relocation: {when: never}}]";
        let config = Config::parse("test", text).unwrap();
        Views::new(endpoint.map(|text| text.parse().unwrap()), config.endpoints, config.rules)
    }

    #[test]
    fn only_listed_hosts_get_into_a_lock() {
        let repository = "acme/app".parse().unwrap();
        let select = |views: &Views, host| {
            let View { endpoint, each } = views.select(host, &repository);
            assert!(!each);
            endpoint
        };
        let own = views(Some("own.example"));
        assert_eq!(select(&own, None).as_deref(), Some("own.example"));
        assert_eq!(select(&own, Some("evil.example")).as_deref(), Some("own.example"));
        assert_eq!(select(&own, Some("pull.EXAMPLE:5000")).as_deref(), Some("pull.example:5000"));
        assert_eq!(select(&own, Some("exact.example")), None);
        assert_eq!(select(&views(None), Some("evil.example")), None);
        assert!(own.knows("own.example") && !own.knows("evil.example"));
    }
}

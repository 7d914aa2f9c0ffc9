//! Tokens: fetched once per repository, shared, kept until shortly before they expire. `realm` decides who is asked
//! for one, and with what; `token` what is asked for, and how long the answer holds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moka::future::Cache;
use tokio::time::Instant;
use url::Url;

use super::ask::AGENT;
use super::challenge::Challenge;
use super::courtesy::Role;
use super::error::UpstreamError;
use super::realm::Realms;
use super::token::{Token, scopes, secret};
use super::transport::{Answer, Transport};
use crate::oci::RepositoryName;

/// Younger than this, a credential that is denied is taken at its word; older, it is renewed first, as
/// permissions may have changed since.
const FRESH: Duration = Duration::from_secs(5);
/// Tokens have up to some KiB, in groups and claims.
const MAX_TOKEN_DOCUMENT_BYTES: usize = 64 << 10;
/// What all tokens of one upstream may take, in KiB.
const MAX_GRANTS_KIB: u64 = 4 << 10;
/// Repositories that nobody asks for lose their token after this.
const IDLE: Duration = Duration::from_secs(3600);

/// A user and a password, or whatever a registry takes for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    fn basic(&self) -> Result<HeaderValue, UpstreamError> {
        let pair = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        secret(&format!("Basic {pair}")).ok_or(UpstreamError::Unauthorized)
    }
}

/// What to send so that the upstream answers for one repository.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    challenge: Challenge,
    obtained: Instant,
    expires: Option<Instant>,
}

impl Grant {
    fn is_usable(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// A shared attempt's outcome. A failure is in the cache only for those who wait for it: the next one asks anew.
type Outcome = Result<Arc<Grant>, UpstreamError>;

/// The tokens of one upstream.
pub(super) struct Authenticator {
    credentials: Option<Credentials>,
    realms: Realms,
    grants: Cache<RepositoryName, Outcome>,
}

impl Authenticator {
    pub(super) fn new(credentials: Option<Credentials>, realms: Realms) -> Self {
        let grants = Cache::builder()
            .weigher(|repository: &RepositoryName, outcome: &Outcome| {
                let token = outcome.as_ref().map_or(0, |grant| grant.header.len());
                u32::try_from((256 + repository.as_str().len() + token).div_ceil(1024)).unwrap_or(u32::MAX)
            })
            .max_capacity(MAX_GRANTS_KIB)
            .time_to_idle(IDLE)
            .build();
        Self { credentials, realms, grants }
    }

    /// What worked before; fetched anew from where it came from, if it has expired.
    ///
    /// # Errors
    /// When the token server fails.
    pub(super) async fn current(
        &self,
        transport: &Transport,
        repository: &RepositoryName,
    ) -> Result<Option<Arc<Grant>>, UpstreamError> {
        match self.grants.get(repository).await {
            Some(Ok(grant)) if !grant.is_usable() => {
                self.share(transport, repository, grant.challenge.clone(), None).await.map(Some)
            }
            Some(Ok(grant)) => Ok(Some(grant)),
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// Something better than `rejected` after a 401 or 403, or nothing if there is nothing better.
    ///
    /// # Errors
    /// When the token server fails, or must not be asked.
    pub(super) async fn renew(
        &self,
        transport: &Transport,
        repository: &RepositoryName,
        rejected: Option<&Arc<Grant>>,
        answer: &Answer,
    ) -> Result<Option<Arc<Grant>>, UpstreamError> {
        if let (StatusCode::FORBIDDEN, Some(rejected)) = (answer.status(), rejected)
            && rejected.obtained.elapsed() < FRESH
        {
            return Ok(None);
        }
        // A 403 mostly comes without a challenge; the one that led to the token still holds.
        let challenge = Challenge::choose(&answer.head.headers).or_else(|| Some(rejected?.challenge.clone()));
        let Some(challenge) = challenge else { return Ok(None) };
        if challenge == Challenge::Basic {
            let known = rejected.is_some_and(|rejected| rejected.challenge == Challenge::Basic);
            if known || self.credentials.is_none() {
                return Ok(None);
            }
        }
        self.share(transport, repository, challenge, rejected).await.map(Some)
    }

    /// Whoever comes first fetches, the others wait for it. One who was rejected with what is now in the
    /// cache replaces it; one who is late finds the replacement and takes it.
    async fn share(
        &self,
        transport: &Transport,
        repository: &RepositoryName,
        challenge: Challenge,
        rejected: Option<&Arc<Grant>>,
    ) -> Outcome {
        let stale = |found: &Outcome| match found {
            Ok(found) => !found.is_usable() || rejected.is_some_and(|rejected| Arc::ptr_eq(found, rejected)),
            Err(_) => true,
        };
        let fetch = self.fetch(transport, repository, challenge);
        self.grants.entry_by_ref(repository).or_insert_with_if(fetch, stale).await.into_value()
    }

    async fn fetch(&self, transport: &Transport, repository: &RepositoryName, challenge: Challenge) -> Outcome {
        let (header, expires) = match &challenge {
            Challenge::Basic => {
                let credentials = self.credentials.as_ref().ok_or(UpstreamError::Unauthorized)?;
                (credentials.basic()?, None)
            }
            Challenge::Bearer { realm, service, scope } => {
                let scopes = scopes(repository, scope.as_deref());
                let token = self.token(transport, realm, service.as_deref(), &scopes).await?;
                (token.header, Some(Instant::now() + token.lifetime))
            }
        };
        Ok(Arc::new(Grant { header, challenge, obtained: Instant::now(), expires }))
    }

    async fn token(
        &self,
        transport: &Transport,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<Token, UpstreamError> {
        let mut url: Url = realm
            .parse()
            .map_err(|_| UpstreamError::malformed("sends clients for tokens to something that is no URL"))?;
        let trusted = self.realms.judge(&url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        url.set_fragment(None);
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        match &self.credentials {
            Some(credentials) if trusted => {
                headers.insert(AUTHORIZATION, credentials.basic()?);
            }
            Some(_) => tracing::warn!(
                realm = host,
                upstream = self.realms.upstream.host_str(),
                "the upstream's token server is another host and not on the list that may have the credentials; \
                 it is asked anonymously"
            ),
            None => {}
        }
        let answer = transport.send(&Method::GET, &url, &headers, Role::Token).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            return Err(match answer.into_error().await {
                // Not there is the token server, not the image.
                UpstreamError::NotFound | UpstreamError::UnexpectedStatus { .. } => {
                    UpstreamError::malformed(format!("sends clients for tokens to {host}, which answers {status}"))
                }
                error => {
                    if error.is_forbidden() {
                        tracing::warn!(realm = host, status = status.as_u16(), "the token server refuses a token");
                    }
                    error
                }
            });
        }
        Token::read(&answer.require_identity()?.collect(MAX_TOKEN_DOCUMENT_BYTES).await?, SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials { user: "u".to_owned(), password: "hunter2".to_owned() };
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert!(credentials.basic().expect("a header").is_sensitive());
    }
}

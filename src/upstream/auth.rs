//! Tokens: fetched once per repository, shared, kept until shortly before they expire. `credential` knows who asks for
//! one, `realm` decides who is asked and who may be told, `token_server` asks, `token` knows what for, and how long the
//! answer holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use moka::future::Cache;
use tokio::time::Instant;

use super::challenge::{self, Challenge};
use super::credential::{Credential, Source};
use super::error::UpstreamError;
use super::face::ClientCredential;
use super::token::Scope;
use super::token_server::TokenServer;
use super::transport::{Answer, Transport};

/// Younger than this, a credential that is denied is taken at its word; older, it is renewed first, as
/// permissions may have changed since.
const FRESH: Duration = Duration::from_secs(5);
/// What all tokens of one authenticator may take, in KiB.
const MAX_GRANTS_KIB: u64 = 4 << 10;
/// Repositories that nobody asks for lose their token after this.
const IDLE: Duration = Duration::from_secs(3600);

/// What to send so that the upstream answers for one repository.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    /// What it answers; none when it is sent unasked.
    challenge: Option<Challenge>,
    /// What it was obtained with.
    credential: Arc<Credential>,
    obtained: Instant,
    expires: Option<Instant>,
}

impl Grant {
    /// A token that is sent as it stands.
    fn fixed(header: &HeaderValue, credential: Arc<Credential>) -> Arc<Self> {
        Arc::new(Self { header: header.clone(), challenge: None, credential, obtained: Instant::now(), expires: None })
    }

    /// Whether it is the operator's own password or token, and not one that was got for it.
    pub(super) fn is_as_it_was_given(&self) -> bool {
        !matches!(self.challenge, Some(Challenge::Bearer { .. }))
    }

    fn is_usable(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// A shared attempt's outcome. A failure is in the cache only for those who wait for it: the next one asks anew.
type Outcome = Result<Arc<Grant>, UpstreamError>;

/// Who one face of an upstream is, and the tokens it has.
pub(super) struct Authenticator {
    who: Who,
    /// Whether the upstream asked for nothing when it was greeted.
    needless: AtomicBool,
}

enum Who {
    /// Whoever the header says, with no other way to say it.
    PassedOn(Option<Arc<Grant>>),
    Known(Box<Known>),
}

/// Whoever has these credentials.
struct Known {
    source: Source,
    grants: Cache<Scope, Outcome>,
}

impl Authenticator {
    pub(super) fn new(source: Source) -> Self {
        let grants = Cache::builder()
            .weigher(|scope: &Scope, outcome: &Outcome| {
                let token = outcome.as_ref().map_or(0, |grant| grant.header.len());
                u32::try_from((256 + scope.weight() + token).div_ceil(1024)).unwrap_or(u32::MAX)
            })
            .max_capacity(MAX_GRANTS_KIB)
            .time_to_idle(IDLE)
            .build();
        Self::of(Who::Known(Box::new(Known { source, grants })))
    }

    fn of(who: Who) -> Self {
        Self { who, needless: AtomicBool::new(false) }
    }

    /// For a client: nothing of any other's is ever used.
    pub(super) fn of_client(credential: &ClientCredential) -> Self {
        match credential {
            ClientCredential::PassedOn(header) => {
                let grant = header.clone().map(|mut header| {
                    header.set_sensitive(true);
                    Grant::fixed(&header, Arc::new(Credential::Anonymous))
                });
                Self::of(Who::PassedOn(grant))
            }
            ClientCredential::Exchanged(credentials) => Self::new(Source::of_client(credentials.clone())),
        }
    }

    /// Whether the upstream is known to want no credentials.
    pub(super) fn is_needless(&self) -> bool {
        self.needless.load(Ordering::Relaxed)
    }

    /// Remembers whether it does.
    pub(super) fn needed(&self, needed: bool) {
        self.needless.store(!needed, Ordering::Relaxed);
    }

    /// Whether there is something to show to a token server that may see it.
    pub(super) async fn is_for_tokens(&self) -> bool {
        let Who::Known(known) = &self.who else { return false };
        known.source.current().await.is_ok_and(|credential| credential.is_for_tokens())
    }

    /// What worked before; fetched anew from where it came from, if it has expired or was someone else's.
    ///
    /// # Errors
    /// When the credentials cannot be had, or the token server fails.
    pub(super) async fn current(
        &self,
        transport: &Transport,
        scope: &Scope,
    ) -> Result<Option<Arc<Grant>>, UpstreamError> {
        let (source, grants) = match &self.who {
            Who::PassedOn(grant) => return Ok(grant.clone()),
            Who::Known(known) => (&known.source, &known.grants),
        };
        let credential = source.current().await?;
        if let Credential::Bearer(header) = &*credential {
            return Ok(Some(Grant::fixed(header, Arc::clone(&credential))));
        }
        let Some(Ok(grant)) = grants.get(scope).await else { return Ok(None) };
        if grant.is_usable() && grant.credential == credential {
            return Ok(Some(grant));
        }
        // With other credentials the upstream may as well have another way to take them.
        let Some(challenge) = grant.challenge.clone().filter(|challenge| answers(&credential, challenge)) else {
            return Ok(None);
        };
        self.share(transport, scope, challenge, Some(&grant)).await.map(Some)
    }

    /// Something better than `rejected` after a 401 or 403, or nothing if there is nothing better.
    ///
    /// # Errors
    /// When the token server fails, or must not be asked.
    pub(super) async fn renew(
        &self,
        transport: &Transport,
        scope: &Scope,
        rejected: Option<&Arc<Grant>>,
        answer: &Answer,
    ) -> Result<Option<Arc<Grant>>, UpstreamError> {
        let Who::Known(known) = &self.who else { return Ok(None) };
        let source = &known.source;
        let headers = &answer.head.headers;
        let denied = answer.status() == StatusCode::FORBIDDEN || challenge::is_insufficient_scope(headers);
        if let Some(rejected) = rejected.filter(|_| denied)
            && rejected.obtained.elapsed() < FRESH
            && rejected.challenge.is_some()
        {
            return Ok(None);
        }
        // A 403 mostly comes without a challenge; the one that led to the token still holds.
        let challenge = Challenge::choose(headers).or_else(|| rejected?.challenge.clone());
        let mut credential = match rejected {
            Some(rejected) => Arc::clone(&rejected.credential),
            None => source.current().await?,
        };
        // What would be sent the same way again must be something else.
        let resent = rejected.is_some_and(|rejected| {
            rejected.is_as_it_was_given() && (rejected.challenge.is_none() || challenge == Some(Challenge::Basic))
        });
        if resent {
            let newer = source.renewed(&credential).await?;
            if newer == credential {
                return Ok(None);
            }
            credential = newer;
        }
        if let Credential::Bearer(header) = &*credential {
            return Ok(Some(Grant::fixed(header, Arc::clone(&credential))));
        }
        let Some(challenge) = challenge.filter(|challenge| answers(&credential, challenge)) else { return Ok(None) };
        let renewed = self.share(transport, scope, challenge, rejected).await;
        renewed.map(Some).map_err(|error| match error {
            // Of the token server's refusal the client is told in the upstream's words.
            UpstreamError::Unauthorized { .. } => UpstreamError::Unauthorized { challenges: answer.challenges() },
            error => error,
        })
    }

    /// Whoever comes first fetches, the others wait for it. One who was rejected with what is now in the
    /// cache replaces it; one who is late finds the replacement and takes it.
    async fn share(
        &self,
        transport: &Transport,
        scope: &Scope,
        challenge: Challenge,
        rejected: Option<&Arc<Grant>>,
    ) -> Outcome {
        let Who::Known(known) = &self.who else { return Err(UpstreamError::unauthorized()) };
        let stale = |found: &Outcome| match found {
            Ok(found) => !found.is_usable() || rejected.is_some_and(|rejected| Arc::ptr_eq(found, rejected)),
            Err(_) => true,
        };
        let fetch = fetch(&known.source, transport, scope, challenge);
        known.grants.entry_by_ref(scope).or_insert_with_if(fetch, stale).await.into_value()
    }
}

/// Whether there is any use in answering a challenge so.
fn answers(credential: &Credential, challenge: &Challenge) -> bool {
    match challenge {
        Challenge::Bearer { .. } => true,
        Challenge::Basic => matches!(credential, Credential::Password(_)),
    }
}

async fn fetch(source: &Source, transport: &Transport, scope: &Scope, challenge: Challenge) -> Outcome {
    let credential = source.current().await?;
    match exchange(source, &credential, transport, scope, &challenge).await {
        // The file may have changed, or the helper's password have expired.
        Err(error) if error.is_forbidden() => {
            let newer = source.renewed(&credential).await?;
            if newer == credential { Err(error) } else { exchange(source, &newer, transport, scope, &challenge).await }
        }
        outcome => outcome,
    }
}

/// What answers a challenge.
async fn exchange(
    source: &Source,
    credential: &Arc<Credential>,
    transport: &Transport,
    scope: &Scope,
    challenge: &Challenge,
) -> Outcome {
    let (header, expires) = match challenge {
        Challenge::Basic => {
            let Credential::Password(credentials) = &**credential else { return Err(UpstreamError::unauthorized()) };
            (credentials.basic().ok_or_else(UpstreamError::unauthorized)?, None)
        }
        Challenge::Bearer { realm, service, scope: wanted } => {
            let scopes = scope.scopes(wanted.as_deref());
            let (service, of_client) = (service.as_deref(), source.is_client());
            let token =
                async { TokenServer::new(transport, realm, service, &scopes, of_client)?.ask(credential).await };
            let token = token.await;
            transport.metrics().token(
                match **credential {
                    Credential::Anonymous => "none",
                    _ if of_client => "client",
                    _ => "own",
                },
                match &token {
                    Ok(_) => "fetched",
                    Err(error) if error.is_forbidden() => "refused",
                    Err(_) => "failed",
                },
            );
            let token = token?;
            (token.header, Some(Instant::now() + token.lifetime))
        }
    };
    let (challenge, credential) = (Some(challenge.clone()), Arc::clone(credential));
    Ok(Arc::new(Grant { header, challenge, credential, obtained: Instant::now(), expires }))
}

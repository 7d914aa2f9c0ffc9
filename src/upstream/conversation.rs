//! A request and its answer, with the credentials that it takes.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::ask::Ask;
use super::auth::Grant;
use super::error::UpstreamError;
use super::payload::Payload;
use super::registry::RegistryUpstream;
use super::token::Scope;
use super::transport::Answer;

/// Without credentials, with the ones that were known, and with newer ones.
const MAX_ATTEMPTS: usize = 3;

/// A request, ready to be sent.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// What the credentials are to be good for.
    pub(super) scope: Scope,
    pub(super) payload: Payload,
    /// Where it takes its place. What goes at the pace of a client takes none: many slow ones would keep all others waiting.
    pub(super) lane: Option<&'a Arc<Semaphore>>,
}

impl RegistryUpstream {
    /// Asks a question, following redirects.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, UpstreamError> {
        let request = Request {
            url: ask.url(self.base()),
            headers: ask.headers(),
            scope: ask.scope(),
            payload: Payload::none(),
            lane: Some(self.lane(&ask)),
            method: ask.method,
        };
        self.exchange(request, true).await
    }

    /// Asks for a change, which goes to exactly that URL.
    pub(super) async fn converse(&self, request: Request<'_>) -> Result<Answer, UpstreamError> {
        self.exchange(request, false).await
    }

    /// Sends a request with the repository's token; a 401 or 403 gets one more try with a new one. A password gets
    /// another, as the one that answered the challenge may be out of date itself.
    async fn exchange(&self, request: Request<'_>, follows: bool) -> Result<Answer, UpstreamError> {
        let Request { method, url, headers, scope, mut payload, lane } = request;
        let (transport, authenticator) = (self.transport(), self.authenticator());
        transport.admits(&url)?;
        let permit = match lane {
            // Never closed, so never refused.
            Some(lane) => Arc::clone(lane).acquire_owned().await.ok(),
            None => None,
        };
        let mut grant = authenticator.current(transport, &scope).await?;
        if grant.is_none() && !payload.is_at_hand() && !authenticator.is_needless() {
            grant = self.introduce(&scope).await?;
        }
        for attempt in 0..MAX_ATTEMPTS {
            let authorization = grant.as_ref().map(|grant| &grant.header);
            let mut answer = if follows {
                transport.follow(&method, &url, &headers, authorization).await?
            } else {
                transport.submit(&method, &url, &headers, authorization, &mut payload).await?
            };
            let refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if refused {
                authenticator.needed(true);
            }
            let withheld = if refused { self.withheld(&answer).await } else { None };
            let again = match attempt {
                0 => true,
                _ => attempt + 1 < MAX_ATTEMPTS && grant.as_ref().is_some_and(|grant| grant.is_as_it_was_given()),
            };
            if refused && again && !answer.foreign {
                let renewed = authenticator.renew(transport, &scope, grant.as_ref(), &answer);
                let renewed = renewed.await.map_err(|error| withheld.clone().unwrap_or(error))?;
                if let Some(renewed) = renewed {
                    // Read to its end, the first answer leaves its connection for the second.
                    answer.into_error().await;
                    if !payload.is_at_hand() {
                        return Err(UpstreamError::Renewed);
                    }
                    grant = Some(renewed);
                    continue;
                }
            }
            if let Some(withheld) = withheld {
                return Err(withheld);
            }
            if let Some(permit) = permit {
                answer.hold(permit);
            }
            return Ok(answer);
        }
        Err(UpstreamError::unauthorized())
    }

    /// What a body that comes only once is to be sent with: so that no challenge comes when it is gone, the upstream is
    /// asked for it before.
    async fn introduce(&self, scope: &Scope) -> Result<Option<Arc<Grant>>, UpstreamError> {
        let hello = Ask::ping();
        let (url, headers) = (hello.url(self.base()), hello.headers());
        let answer = self.transport().follow(&hello.method, &url, &headers, None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            self.authenticator().needed(false);
            return Ok(None);
        }
        let renewed = self.authenticator().renew(self.transport(), scope, None, &answer).await?;
        answer.into_error().await;
        Ok(renewed)
    }

    /// Why nothing came of credentials that there are: they would have had to go to a host that must not see them. That
    /// a token for nobody is no use either, or not to be had there, would say nothing of it.
    async fn withheld(&self, answer: &Answer) -> Option<UpstreamError> {
        let foreign: UpstreamError = answer.challenges().for_clients().err().filter(|_| !answer.foreign)?.into();
        self.authenticator().is_for_tokens().await.then_some(foreign)
    }
}

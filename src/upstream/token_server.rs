//! Asking a token server: by GET with a password (distribution spec, token authentication), or by a POST of an OAuth2
//! form (distribution spec, OAuth2 token authentication).

use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Bytes;
use url::{Url, form_urlencoded};

use super::ask::AGENT;
use super::courtesy::Role;
use super::credential::{Credential, Credentials};
use super::error::{TimeoutStage, UpstreamError};
use super::payload::Payload;
use super::realm::Standing;
use super::token::Token;
use super::transport::{Answer, Outgoing, Transport};

/// Tokens have up to some KiB, in groups and claims.
const MAX_TOKEN_DOCUMENT_BYTES: usize = 64 << 10;
/// What this program is called in OAuth2 forms; the specification wants a name there.
const CLIENT_ID: &str = "colocate";

/// A token server, and what is wanted of it.
pub(super) struct TokenServer<'a> {
    transport: &'a Transport,
    realm: Url,
    standing: Standing,
    service: Option<&'a str>,
    scopes: &'a [String],
    /// Whether it is asked for a client, with the client's credentials.
    for_client: bool,
}

/// How OAuth2 is told who asks.
enum OAuthGrant<'a> {
    RefreshToken(&'a str),
    Password(&'a Credentials),
}

impl<'a> TokenServer<'a> {
    /// The server that a challenge names. What it says to a client's own credentials is between the two.
    ///
    /// # Errors
    /// When it must not be asked.
    pub(super) fn new(
        transport: &'a Transport,
        realm: &str,
        service: Option<&'a str>,
        scopes: &'a [String],
        for_client: bool,
    ) -> Result<Self, UpstreamError> {
        let mut realm: Url = realm
            .parse()
            .map_err(|_| UpstreamError::malformed("sends clients for tokens to something that is no URL"))?;
        let standing = transport.realms().judge(&realm).map_err(|bad| UpstreamError::malformed(bad.to_string()))?;
        realm.set_fragment(None);
        Ok(Self { transport, realm, standing, service, scopes, for_client })
    }

    /// A token for whoever `credential` says; for nobody, from a server that must not see it.
    ///
    /// # Errors
    /// When there is none, within bounded time.
    pub(super) async fn ask(&self, credential: &Credential) -> Result<Token, UpstreamError> {
        let trusted = self.standing != Standing::Foreign;
        let answer = match credential {
            Credential::Password(credentials) if trusted => {
                let answer = self.get(Some(credentials)).await?;
                // Some servers only know the newer way.
                if matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                    drop(answer);
                    self.post(OAuthGrant::Password(credentials)).await?
                } else {
                    answer
                }
            }
            Credential::Identity(token) if trusted => self.post(OAuthGrant::RefreshToken(token)).await?,
            // It is for the upstream alone.
            Credential::Anonymous | Credential::Bearer(_) => self.get(None).await?,
            Credential::Password(_) | Credential::Identity(_) => {
                self.complain(
                    "the upstream's token server is another host and not on the list that may have the credentials; \
                     it is asked anonymously",
                    None,
                );
                self.get(None).await?
            }
        };
        self.read(answer).await
    }

    fn host(&self) -> &str {
        self.realm.host_str().unwrap_or_default()
    }

    /// Tells the operator of trouble with the credentials: with a client's only who looks closely, since anyone could
    /// fill the log with those.
    fn complain(&self, trouble: &str, status: Option<StatusCode>) {
        let (realm, upstream) = (self.host(), self.transport.realms().upstream.host_str());
        let status = status.map(|status| status.as_u16());
        if self.for_client {
            tracing::debug!(realm, upstream, status, "{trouble}");
        } else {
            tracing::warn!(realm, upstream, status, "{trouble}");
        }
    }

    async fn get(&self, credentials: Option<&Credentials>) -> Result<Answer, UpstreamError> {
        let mut url = self.realm.clone();
        url.query_pairs_mut()
            .extend_pairs(self.service.map(|service| ("service", service)))
            .extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
        if url.query() == Some("") {
            url.set_query(None);
        }
        let mut headers = headers();
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, credentials.basic().ok_or_else(UpstreamError::unauthorized)?);
        }
        self.send(&Method::GET, &url, &headers, Bytes::new()).await
    }

    fn form(&self, grant: OAuthGrant<'_>) -> Bytes {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match grant {
            OAuthGrant::RefreshToken(token) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
            }
            OAuthGrant::Password(Credentials { user, password }) => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", user).append_pair("password", password);
            }
        }
        // Required of the client, also where a challenge named none.
        form.append_pair("service", self.service.unwrap_or_default());
        form.append_pair("client_id", CLIENT_ID).append_pair("access_type", "online");
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        Bytes::from(form.finish())
    }

    async fn post(&self, grant: OAuthGrant<'_>) -> Result<Answer, UpstreamError> {
        let body = self.form(grant);
        let mut headers = headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let answer = self.send(&Method::POST, &self.realm, &headers, body).await?;
        // RFC 6749 §5.2: `invalid_grant` and its like.
        if answer.status() == StatusCode::BAD_REQUEST {
            answer.into_error().await;
            self.complain("the token server does not take the credentials", Some(StatusCode::BAD_REQUEST));
            return Err(UpstreamError::unauthorized());
        }
        Ok(answer)
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, UpstreamError> {
        let patience = self.patience();
        let outgoing = Outgoing { method, url, headers, role: Role::Token, standing: self.standing, patience };
        self.transport.send(outgoing, &mut Payload::Whole(body)).await.map_err(|error| {
            if matches!(error, UpstreamError::Connect { .. } | UpstreamError::Interrupted { .. }) {
                // The client is told of the upstream, to which this belongs; the operator has to know where to look.
                tracing::warn!(realm = self.host(), %error, "the upstream's token server does not answer");
            }
            slow(error)
        })
    }

    async fn read(&self, answer: Answer) -> Result<Token, UpstreamError> {
        let (host, status) = (self.host(), answer.status());
        if status != StatusCode::OK {
            return Err(match answer.into_error().await {
                // Not there is the token server, not the image.
                UpstreamError::NotFound | UpstreamError::UnexpectedStatus { .. } => {
                    UpstreamError::malformed(format!("sends clients for tokens to {host}, which answers {status}"))
                }
                error => {
                    if error.is_forbidden() {
                        self.complain("the token server refuses a token", Some(status));
                    }
                    // Its challenges are its own, and nothing for the upstream's clients.
                    if matches!(error, UpstreamError::Unauthorized { .. }) {
                        UpstreamError::unauthorized()
                    } else {
                        error
                    }
                }
            });
        }
        let document = answer.require_identity()?.collect(MAX_TOKEN_DOCUMENT_BYTES, self.patience()).await;
        let document = document.map_err(|error| match error {
            UpstreamError::TooLarge { limit } => UpstreamError::malformed(format!(
                "sends clients for tokens to {host}, which sent more than the {limit} bytes that a token may have"
            )),
            error => slow(error),
        })?;
        Token::read(&document, SystemTime::now())
    }

    /// For the whole document, as it is small: one that drips would have everyone wait who needs the token.
    fn patience(&self) -> Duration {
        self.transport.timeouts().response
    }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers
}

fn slow(error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Timeout { what: TimeoutStage::Response | TimeoutStage::Body } => {
            UpstreamError::Timeout { what: TimeoutStage::Token }
        }
        error => error,
    }
}

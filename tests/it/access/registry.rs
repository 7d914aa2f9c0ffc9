//! A registry that lets nobody read who may not, by password or by token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Response, header};
use serde_json::{Value, json};

use crate::support::scripted::{Fault, ScriptedUpstream, Seen, matches};
use crate::support::secrets::secret;
use crate::support::token_server::TokenServer;

/// How it tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Not at all.
    None,
    /// By password. Who may not read is told so.
    Basic,
    /// By password. What somebody may not read is not there.
    Hiding,
    /// By tokens, of a server on another port.
    Tokens,
}

/// The registry, with everyone it knows.
pub(super) struct Guarded {
    pub(super) upstream: ScriptedUpstream,
    pub(super) tokens: Option<TokenServer>,
    rights: Rights,
}

/// Users by name.
#[derive(Clone, Default)]
struct Rights(Arc<Mutex<BTreeMap<String, User>>>);

struct User {
    password: String,
    /// Patterns of the repositories that may be read.
    may: Vec<String>,
    /// Asked too often.
    is_spent: bool,
}

impl Guarded {
    pub(super) async fn start(guard: Guard) -> Self {
        let (upstream, rights) = (ScriptedUpstream::start().await, Rights::default());
        let tokens = if guard == Guard::Tokens { Some(TokenServer::start().await) } else { None };
        let own = rights.clone();
        match &tokens {
            None if guard == Guard::None => {}
            None => upstream.on("*").fails(Fault::make(move |seen| by_password(&own, guard, seen))),
            Some(tokens) => {
                let challenge = format!(r#"Bearer realm="{}", service="{}""#, tokens.realm(), tokens.service());
                upstream.on("*").fails(Fault::make(move |seen| by_token(&challenge, seen)));
            }
        }
        Self { upstream, tokens, rights }
    }

    /// Lets someone in with a new password, to read what matches these; gives the password.
    pub(super) fn user(&self, name: &str, may: &[&str]) -> String {
        let password = secret(&format!("{name}'s password upstream"));
        match &self.tokens {
            Some(tokens) => {
                let may: Vec<_> = may.iter().map(|pattern| (*pattern, "pull")).collect();
                tokens.user(name, &password, &may);
            }
            None => self.knows(name, &password, may),
        }
        password
    }

    /// Lets someone in who has a password already.
    pub(super) fn knows(&self, name: &str, password: &str, may: &[&str]) {
        let user = User { password: password.to_owned(), may: owned(may), is_spent: false };
        self.rights.users().insert(name.to_owned(), user);
    }

    /// Changes what someone may read, by password.
    pub(super) fn may(&self, name: &str, may: &[&str]) {
        self.rights.users().get_mut(name).expect("a user").may = owned(may);
    }

    /// Has enough of someone for ten minutes.
    pub(super) fn has_enough_of(&self, name: &str) {
        self.rights.users().get_mut(name).expect("a user").is_spent = true;
    }

    /// It answers nothing any more.
    pub(super) fn goes_down(&self) {
        self.upstream.on("*").fails(Fault::status(503));
    }

    /// What was in `Authorization` of all requests so far.
    pub(super) fn was_shown(&self) -> Vec<Option<String>> {
        let shown = |seen: &Seen| authorization(seen).map(str::to_owned);
        let mut shown: Vec<_> = self.upstream.requests().iter().map(shown).collect();
        shown.sort();
        shown.dedup();
        shown
    }
}

impl Rights {
    fn users(&self) -> MutexGuard<'_, BTreeMap<String, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

fn by_password(rights: &Rights, guard: Guard, seen: &Seen) -> Option<Response<Bytes>> {
    let decoded = authorization(seen).and_then(|value| value.strip_prefix("Basic "));
    let decoded = decoded.and_then(|value| STANDARD.decode(value).ok()).and_then(|pair| String::from_utf8(pair).ok());
    let users = rights.users();
    let user = decoded.as_deref().and_then(|pair| pair.split_once(':')).and_then(|(name, password)| {
        let user = users.get(name)?;
        (user.password == password).then_some(user)
    });
    let Some(user) = user else { return Some(refusal(401, "UNAUTHORIZED", Some(r#"Basic realm="behind""#))) };
    if user.is_spent {
        let mut response = refusal(429, "TOOMANYREQUESTS", None);
        response.headers_mut().insert(header::RETRY_AFTER, 600.into());
        return Some(response);
    }
    let allowed = repository(seen).is_none_or(|name| user.may.iter().any(|pattern| matches(pattern, name)));
    match guard {
        _ if allowed => None,
        Guard::Hiding => Some(refusal(404, "NAME_UNKNOWN", None)),
        _ => Some(refusal(403, "DENIED", None)),
    }
}

fn by_token(challenge: &str, seen: &Seen) -> Option<Response<Bytes>> {
    let claims = authorization(seen).and_then(|value| value.strip_prefix("Bearer ")).and_then(claims);
    let Some(name) = repository(seen) else {
        return claims.is_none().then(|| refusal(401, "UNAUTHORIZED", Some(challenge)));
    };
    let granted = |access: &Value| access["name"] == name && access["actions"] == json!(["pull"]);
    let scope = format!(r#"{challenge}, scope="repository:{name}:pull""#);
    match claims {
        None => Some(refusal(401, "UNAUTHORIZED", Some(&scope))),
        Some(claims) if claims["access"].as_array().is_some_and(|access| access.iter().any(granted)) => None,
        Some(_) => Some(refusal(401, "UNAUTHORIZED", Some(&format!(r#"{scope}, error="insufficient_scope""#)))),
    }
}

/// What a token says. Its signature is not looked at: nobody forges any here.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Which repository a request is about; none for the API's root.
fn repository(seen: &Seen) -> Option<&str> {
    let name = seen.path.strip_prefix("/v2/")?;
    let end = ["/manifests/", "/blobs/", "/tags/"].into_iter().find_map(|kind| name.rfind(kind))?;
    Some(&name[..end])
}

fn authorization(seen: &Seen) -> Option<&str> {
    Some(seen.headers.get(header::AUTHORIZATION)?.to_str().expect("text"))
}

fn refusal(status: u16, code: &str, challenge: Option<&str>) -> Response<Bytes> {
    let document = json!({"errors": [{"code": code, "message": "by the registry behind"}]});
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if let Some(challenge) = challenge {
        response = response.header(header::WWW_AUTHENTICATE, challenge);
    }
    response.body(Bytes::from(document.to_string())).expect("a response")
}

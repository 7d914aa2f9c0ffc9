//! The protocol between a client and a token server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::json;
use url::form_urlencoded;

use super::token::{Claims, Expiry};
use super::{Asked, Mischief, Shared, State};

/// The longest form.
const FORM: usize = 64 << 10;
/// Longer than the leeway of any registry.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// The parameters of a query or of a form.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Scopes come as several parameters, or as one with spaces.
    fn scopes(&self) -> Vec<String> {
        let scopes = self.0.iter().filter(|(name, _)| name == "scope");
        scopes.flat_map(|(_, value)| value.split_ascii_whitespace()).map(str::to_owned).collect()
    }
}

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() != "/token" {
        return Ok(plain(StatusCode::NOT_FOUND, ""));
    }
    let post = parts.method == Method::POST;
    let parameters = if post {
        match Limited::new(body, FORM).collect().await {
            Ok(form) => Parameters::parse(&form.to_bytes()),
            Err(_) => return Ok(plain(StatusCode::BAD_REQUEST, "no form")),
        }
    } else {
        Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes())
    };
    let user = who(&shared.state(), &parts.headers, &parameters, post);
    let asked = Asked {
        user: user.clone().unwrap_or_default(),
        scopes: parameters.scopes(),
        method: parts.method.to_string(),
        status: None,
    };
    let (at, mischief) = {
        let mut state = shared.state();
        state.requests.push(asked);
        (state.requests.len() - 1, state.mischief)
    };
    let response = match mischief {
        Some(Mischief::Stall) => std::future::pending().await,
        Some(Mischief::Redirect) => {
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
            let here = parts.uri.path_and_query().map_or("/token", |here| here.as_str());
            response.headers_mut().insert(header::LOCATION, here.parse().expect("what was a URI"));
            response
        }
        Some(Mischief::Garbage) => plain(StatusCode::OK, "<html>please log in</html>"),
        Some(Mischief::Status(status)) => plain(StatusCode::from_u16(status).expect("a status"), "as told"),
        Some(Mischief::Expired) | None => match user {
            Err(Refused) => refusal(post),
            Ok(user) => token(&shared, user.as_deref(), &parameters, post),
        },
    };
    shared.state().requests[at].status = Some(response.status().as_u16());
    Ok(response)
}

/// A password or a refresh token that is wrong.
#[derive(Clone)]
struct Refused;

fn who(state: &State, headers: &HeaderMap, parameters: &Parameters, post: bool) -> Result<Option<String>, Refused> {
    let known =
        |user: &str, password: &str| state.rights.knows(user, password).then(|| Some(user.to_owned())).ok_or(Refused);
    if post {
        return match (parameters.one("grant_type"), parameters.one("username"), parameters.one("password")) {
            (Some("password"), Some(user), Some(password)) => known(user, password),
            (Some("refresh_token"), ..) => {
                let owner = parameters.one("refresh_token").and_then(|token| state.rights.refreshed(token));
                owner.cloned().map(Some).ok_or(Refused)
            }
            _ => Err(Refused),
        };
    }
    let Some(authorization) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let decoded = authorization.to_str().ok().and_then(|value| value.strip_prefix("Basic "));
    let decoded = decoded.and_then(|value| STANDARD.decode(value).ok()).and_then(|value| String::from_utf8(value).ok());
    match decoded.as_ref().and_then(|pair| pair.split_once(':')) {
        Some((user, password)) => known(user, password),
        None => Err(Refused),
    }
}

fn token(shared: &Shared, user: Option<&str>, parameters: &Parameters, post: bool) -> Response<Full<Bytes>> {
    let mut state = shared.state();
    state.issued += 1;
    let scopes = parameters.scopes();
    let late = state.mischief == Some(Mischief::Expired);
    let claims = Claims {
        subject: user.unwrap_or_default(),
        access: state.rights.granted(user, &scopes),
        number: state.issued,
        expires: if late { Expiry::Ago(LONG_AGO) } else { Expiry::In(state.lifetime) },
    };
    let token = shared.signer.sign(&claims);
    let mut answer = json!({"expires_in": state.lifetime.as_secs()});
    answer[if post { "access_token" } else { "token" }] = token.into();
    if post {
        answer["scope"] = scopes.join(" ").into();
    }
    let offline = parameters.one("offline_token") == Some("true") || parameters.one("access_type") == Some("offline");
    if let Some(user) = user.filter(|_| offline) {
        answer["refresh_token"] = state.rights.refresh_token(user).into();
    }
    let mut response = plain(StatusCode::OK, answer.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// RFC 6749 §5.2 for a POST.
fn refusal(post: bool) -> Response<Full<Bytes>> {
    if post {
        return plain(StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}).to_string());
    }
    let mut response =
        plain(StatusCode::UNAUTHORIZED, json!({"details": "incorrect username or password"}).to_string());
    let challenge = HeaderValue::from_static("Basic realm=\"colocate tests\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

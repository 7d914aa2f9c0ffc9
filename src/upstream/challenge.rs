//! `WWW-Authenticate`: what an upstream wants to see before it answers.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// A registry sends one or two; a page of them is not read to its end.
const MAX_CHALLENGES: usize = 8;
/// Beyond this, one header line is not a challenge.
const MAX_LINE_BYTES: usize = 8 << 10;

/// What can be done about a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Fetch a token (distribution spec, "token authentication").
    Bearer {
        /// Where.
        realm: String,
        /// The registry's name at the token server.
        service: Option<String>,
        /// What the registry would have the token be for.
        scope: Option<String>,
    },
    /// Send user and password.
    Basic,
}

impl Challenge {
    /// The best challenge there is: a token before a password, as the token is worth less to a thief.
    pub(super) fn choose(headers: &HeaderMap) -> Option<Self> {
        let offers = offers(headers);
        let bearer = offers.iter().find_map(|offer| {
            let realm = offer.is("bearer").then(|| offer.parameter("realm")).flatten()?;
            Some(Self::Bearer { realm, service: offer.parameter("service"), scope: offer.parameter("scope") })
        });
        bearer.or_else(|| offers.iter().any(|offer| offer.is("basic")).then_some(Self::Basic))
    }
}

/// Whether a token was understood, and is not for this (RFC 6750, section 3.1). The RFC wants a 403 for it, and
/// docker-registry says it with a 401.
pub(super) fn is_insufficient_scope(headers: &HeaderMap) -> bool {
    let says = |offer: &Offer| offer.is("bearer") && offer.parameter("error").as_deref() == Some("insufficient_scope");
    offers(headers).iter().any(says)
}

/// The challenges of an answer, in order.
pub(super) fn offers(headers: &HeaderMap) -> Vec<Offer> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .filter(|line| line.len() <= MAX_LINE_BYTES)
        .flat_map(parse)
        .take(MAX_CHALLENGES)
        .collect()
}

/// One challenge, as it was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) scheme: String,
    /// In order, without quotes.
    pub(super) parameters: Vec<(String, String)>,
}

impl Offer {
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }
}

/// RFC 9110 §11.6.1: challenges and their parameters are separated by the same comma, so a word is a
/// parameter when `=` and a value follow, and a new scheme otherwise. What is out of shape ends the reading.
fn parse(line: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_word(rest);
        if word.is_empty() {
            return offers;
        }
        match (after.trim_start().strip_prefix('='), offers.last_mut()) {
            // Padding, as in `Negotiate YII==`: the word is a token68, which no scheme used here has.
            (Some(value), Some(_)) if value.trim_start_matches('=').trim_start().is_empty() => return offers,
            (Some(value), Some(offer)) => {
                let Some((value, after)) = split_value(value.trim_start()) else {
                    // An open quote: the parameters so far may be cut off too.
                    offers.pop();
                    return offers;
                };
                offer.parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => return offers,
            (None, _) => {
                offers.push(Offer { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// RFC 9110's `token`, and the `/` and `+` of a token68.
fn split_word(text: &str) -> (&str, &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    text.split_at(text.find(|c| !word(c)).unwrap_or(text.len()))
}

/// A quoted string, or, more than the RFC allows, anything up to a comma or space: some registries leave the
/// quotes of a URL out.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(lines: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, http::HeaderValue::from_static(line));
        }
        Challenge::choose(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn as_registries_send_it() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected =
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push"));
        assert_eq!(choose(&[hub]), expected);
        assert_eq!(choose(&[r#"Basic realm="Registry""#]), Some(Challenge::Basic));
        assert_eq!(choose(&["basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn several_challenges_in_one_line_and_in_several() {
        let both = bearer("https://t/", None, None);
        assert_eq!(choose(&[r#"Basic realm="a, b", Bearer realm="https://t/""#]), both);
        assert_eq!(choose(&[r#"Basic realm=x"#, r#"bearer  Realm = "https://t/" ,"#]), both);
        assert_eq!(choose(&["Negotiate", r#"NTLM TlRM=, Basic realm="x""#, "Basic"]), Some(Challenge::Basic));
        assert_eq!(choose(&["Negotiate, Basic realm=x"]), Some(Challenge::Basic));
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(
            choose(&[r#"Bearer realm="https://t/\"x\"",service=s"#]),
            bearer(r#"https://t/"x""#, Some("s"), None)
        );
        assert_eq!(choose(&["Bearer realm=https://t/token,service=s"]), bearer("https://t/token", Some("s"), None));
    }

    #[test]
    fn out_of_shape_is_no_challenge() {
        for bad in ["", ",,,", "=", r#"Bearer realm="https://t/"#, "Bearer", r#"Bearer realm="""#, "Bearer realm"] {
            let line: &'static str = bad;
            assert_eq!(choose(&[line]), None, "{bad}");
        }
    }
}

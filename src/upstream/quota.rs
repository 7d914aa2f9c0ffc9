//! How often a host says that it may be asked: `ratelimit-*`, in the forms that registries use.
//!
//! | form | example | who |
//! |---|---|---|
//! | three headers | `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600` | Docker Hub, without a reset |
//! | three headers | `ratelimit-limit: 100`, `ratelimit-remaining: 0`, `ratelimit-reset: 50` | IETF drafts to 06 |
//! | the same, with the time of day | `ratelimit-reset: 1700000050` | GitLab |
//! | one header | `ratelimit: limit=100, remaining=0, reset=50` | IETF draft 07 |
//! | one header and a policy | `ratelimit: "default";r=0;t=50`, `ratelimit-policy: "default";q=100` | later drafts |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};

const LIMIT: &str = "ratelimit-limit";
const REMAINING: &str = "ratelimit-remaining";
const RESET: &str = "ratelimit-reset";
const COMBINED: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";

/// Longer values are nobody's numbers.
const MAX_VALUE_BYTES: usize = 256;
/// A reset beyond this is a time of day: as a wait it would be thirty years.
const FIRST_TIME_OF_DAY: u64 = 1_000_000_000;

/// What a host last said of how often it may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// How many requests it allows.
    pub limit: Option<Figure>,
    /// How many of them are left.
    pub remaining: Option<Figure>,
    /// How long until there are more.
    pub reset: Option<Duration>,
}

/// A number, and how the host wrote it: Docker Hub adds the window it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The number.
    pub number: u64,
    /// The host's text, to be passed on.
    pub text: HeaderValue,
}

impl Quota {
    /// What the headers of an answer say, if they say anything.
    pub(super) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let own = Self {
            limit: headers.get(LIMIT).and_then(Figure::read),
            remaining: headers.get(REMAINING).and_then(Figure::read),
            reset: headers.get(RESET).and_then(Figure::read).map(|reset| until(reset.number, now)),
        };
        let quota = if own == Self::default() { combined(headers, now) } else { own };
        (quota != Self::default()).then_some(quota)
    }

    /// How long nothing more is allowed, if nothing is left and the host says until when.
    pub(super) fn exhausted(&self) -> Option<Duration> {
        self.reset.filter(|_| self.remaining.as_ref().is_some_and(|remaining| remaining.number == 0))
    }

    /// The same, told so much later.
    pub(super) fn after(&self, elapsed: Duration) -> Self {
        Self { reset: self.reset.map(|reset| reset.saturating_sub(elapsed)), ..self.clone() }
    }
}

impl Figure {
    /// The number that a value starts with: `100, 100;w=60` is 100, with the policies it comes from.
    fn read(value: &HeaderValue) -> Option<Self> {
        let number = leading(text(value)?)?;
        Some(Self { number, text: value.clone() })
    }
}

impl From<u64> for Figure {
    fn from(number: u64) -> Self {
        Self { number, text: number.into() }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.len() <= MAX_VALUE_BYTES)
}

fn leading(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let ends = rest.is_empty() || rest.starts_with([';', ',', ' ', '\t']);
    number.parse().ok().filter(|_| ends)
}

fn until(reset: u64, now: SystemTime) -> Duration {
    let reset = Duration::from_secs(reset);
    if reset.as_secs() < FIRST_TIME_OF_DAY {
        return reset;
    }
    reset.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The later drafts' one header: of several policies, the one that leaves the least.
fn combined(headers: &HeaderMap, now: SystemTime) -> Quota {
    let mut least = Quota::default();
    for member in members(headers, COMBINED) {
        // Draft 07 has one member for each number; later ones have a name, and the numbers as its parameters.
        let (name, mut quota) = match member.split_once(';') {
            Some((name, _)) if !name.contains('=') => (Some(name.trim()), Quota::default()),
            _ => (None, std::mem::take(&mut least)),
        };
        for (key, number) in parameters(member) {
            match key {
                "limit" => quota.limit = Some(number.into()),
                "remaining" | "r" => quota.remaining = Some(number.into()),
                "reset" | "t" => quota.reset = Some(until(number, now)),
                _ => {}
            }
        }
        if let Some(name) = name {
            let mut policies =
                members(headers, POLICY).filter(|policy| policy.split(';').next().map(str::trim) == Some(name));
            let allowed = policies.next().and_then(|policy| parameters(policy).find(|(key, _)| *key == "q"));
            quota.limit = allowed.map(|(_, number)| number.into());
        }
        let left = |quota: &Quota| quota.remaining.as_ref().map_or(u64::MAX, |remaining| remaining.number);
        if least == Quota::default() || left(&quota) < left(&least) {
            least = quota;
        }
    }
    least
}

/// The members of a list (RFC 8941, section 3.1). No name that a policy has holds a comma.
fn members<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(text).flat_map(|list| list.split(','))
}

fn parameters(member: &str) -> impl Iterator<Item = (&str, u64)> {
    let pairs = member.split(';').filter_map(|parameter| parameter.split_once('='));
    pairs.filter_map(|(key, value)| Some((key.trim(), value.trim().parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Option<(Option<u64>, Option<u64>, Option<u64>)> {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let headers =
            lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let number = |figure: Option<Figure>| figure.map(|figure| figure.number);
        let Quota { limit, remaining, reset } = Quota::read(&headers.collect(), now)?;
        Some((number(limit), number(remaining), reset.map(|reset| reset.as_secs())))
    }

    #[test]
    fn every_form_that_is_used() {
        let hub = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")];
        assert_eq!(read(&hub), Some((Some(100), Some(76), None)));
        let draft =
            [("ratelimit-limit", "10, 10;w=1, 50;w=60"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "50")];
        assert_eq!(read(&draft), Some((Some(10), Some(0), Some(50))));
        let gitlab = [("ratelimit-remaining", "0"), ("ratelimit-reset", "1700000050")];
        assert_eq!(read(&gitlab), Some((None, Some(0), Some(50))));
        let past = [("ratelimit-reset", "1600000000")];
        assert_eq!(read(&past), Some((None, None, Some(0))));
        assert_eq!(read(&[("ratelimit", "limit=100, remaining=5, reset=7")]), Some((Some(100), Some(5), Some(7))));
        let named = [("ratelimit", "\"a\";r=50;t=30, \"b\";r=0;t=9"), ("ratelimit-policy", "\"a\";q=99;w=1,\"b\";q=8")];
        assert_eq!(read(&named), Some((Some(8), Some(0), Some(9))));
        assert_eq!(read(&[("ratelimit", "\"a\";r=50")]), Some((None, Some(50), None)));
    }

    #[test]
    fn what_says_nothing() {
        assert_eq!(read(&[]), None);
        for bad in ["", "many", "-1", "1.5", "10x", "99999999999999999999999"] {
            assert_eq!(read(&[("ratelimit-remaining", bad)]), None, "{bad}");
            assert_eq!(read(&[("ratelimit", bad)]), None, "{bad}");
        }
    }

    #[test]
    fn only_an_end_with_a_time_is_waited_for() {
        let quota = |remaining: u64, reset| Quota {
            limit: None,
            remaining: Some(remaining.into()),
            reset: Some(Duration::from_secs(9)).filter(|_| reset),
        };
        assert_eq!(quota(0, true).exhausted(), Some(Duration::from_secs(9)));
        assert_eq!(quota(0, false).exhausted(), None);
        assert_eq!(quota(1, true).exhausted(), None);
        assert_eq!(quota(0, true).after(Duration::from_secs(4)).reset, Some(Duration::from_secs(5)));
    }
}

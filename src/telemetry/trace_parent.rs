//! Where in a trace a request stands, as `traceparent` and `tracestate` say it (W3C Trace Context, level 2).

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::request_id::random;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits. A later version may go on behind.
const LENGTH: usize = 55;
/// The bits that version 00 gives a meaning: sampled, and that the trace's id is random. What is not known is not passed on.
const KNOWN_FLAGS: u8 = 0b11;
/// What has to be passed on at least (section 3.3.1.5); more is dropped rather than carried through every request.
const MAX_STATE_BYTES: usize = 512;
const MAX_STATE_MEMBERS: usize = 32;
const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 256;

/// One piece of work in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace: NonZeroU128,
    pub(super) span: NonZeroU64,
    pub(super) flags: u8,
}

impl TraceParent {
    /// The one that a client sent. What is not right, and more than one, is as none: the trace begins here.
    pub(super) fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let one = given.next().filter(|_| given.next().is_none())?;
        Self::parse(one.as_bytes())
    }

    /// A trace that nobody knows yet, and of which nothing is recorded.
    pub(super) fn new() -> Self {
        let trace = u128::from(random()) << 64 | u128::from(random());
        Self { trace: NonZeroU128::new(trace).unwrap_or(NonZeroU128::MIN), span: new_span(), flags: 0 }
    }

    /// The work that is done for this one.
    pub(super) fn child(self) -> Self {
        Self { span: new_span(), ..self }
    }

    pub(super) fn header(self) -> HeaderValue {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// As section 3.2 has it, and for versions to come the part that will not change (section 3.2.4).
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let version = u8::try_from(hex(known.get(..2)?)?).ok()?;
        let ends_well = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
        if !ends_well || !dashes {
            return None;
        }
        let trace = NonZeroU128::new(hex(known.get(3..35)?)?)?;
        let span = NonZeroU64::new(u64::try_from(hex(known.get(36..52)?)?).ok()?)?;
        let flags = u8::try_from(hex(known.get(53..55)?)?).ok()? & KNOWN_FLAGS;
        Some(Self { trace, span, flags })
    }
}

/// The trace's id alone, as logs name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceId(pub(super) NonZeroU128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn new_span() -> NonZeroU64 {
    NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN)
}

/// Small letters only (section 3.2.2): what is written otherwise is not a `traceparent`.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// What a client's tracing systems say to each other, to be passed on as it is; nothing if it is too long or not as it should be
/// (section 3.3).
pub(super) fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut given = headers.get_all(TRACESTATE).iter();
    let first = given.next()?;
    let mut whole = first.as_bytes().to_vec();
    for more in given {
        // Looked at before it is put together: a head may have thousands of them.
        if whole.len() > MAX_STATE_BYTES {
            return None;
        }
        whole.push(b',');
        whole.extend_from_slice(more.as_bytes());
    }
    if whole.len() > MAX_STATE_BYTES {
        return None;
    }
    // Members may be empty.
    let members = || whole.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty());
    let right = (1..=MAX_STATE_MEMBERS).contains(&members().count()) && members().all(is_member);
    right.then(|| HeaderValue::from_bytes(&whole).ok()).flatten()
}

fn trim(member: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = member.iter().position(|byte| !is_blank(byte)).unwrap_or(member.len());
    let end = member.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    member.get(start..end).unwrap_or_default()
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let in_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| matches!(byte, 0x20..=0x7e) && !b",=".contains(byte);
    begins
        && key.len() <= MAX_KEY_BYTES
        && key.iter().all(in_key)
        && (1..=MAX_VALUE_BYTES).contains(&value.len())
        && value.iter().all(in_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(name: HeaderName, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_bytes(value).expect("a header"));
        }
        headers
    }

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::given(&headers(TRACEPARENT, &[text.as_bytes()]))
    }

    #[test]
    fn goes_in_and_out() {
        let parsed = parse(RIGHT).expect("a traceparent");
        assert_eq!(parsed.header(), RIGHT);
        assert_eq!(TraceId(parsed.trace).to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let child = parsed.child();
        assert!(child.trace == parsed.trace && child.flags == 1 && child.span != parsed.span);
        let made = TraceParent::new();
        assert_eq!(parse(made.header().to_str().expect("text")), Some(made));
    }

    #[test]
    fn unknown_flags_are_not_passed_on() {
        let flags = |text: &str| parse(&format!("{}{text}", &RIGHT[..53])).expect("a traceparent").flags;
        assert_eq!([flags("00"), flags("01"), flags("02"), flags("03"), flags("ff"), flags("fc")], [0, 1, 2, 3, 3, 0]);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_will_not_change() {
        let at = |version: &str, more: &str| parse(&format!("{version}{}{more}", &RIGHT[2..])).map(|it| it.header());
        let expected = Some(HeaderValue::from_static(RIGHT));
        for (version, more) in [("01", ""), ("cc", "-what-the-future-will-be-like"), ("fe", "-"), ("01", "-\t")] {
            assert_eq!(at(version, more), expected, "{version} {more}");
        }
        for (version, more) in [("00", "-"), ("00", "-more"), ("01", "."), ("01", "0"), ("ff", ""), ("ff", "-a")] {
            assert_eq!(at(version, more), None, "{version} {more}");
        }
    }

    #[test]
    fn what_is_not_right_begins_a_trace() {
        let huge = format!("01{}-{}", &RIGHT[2..], "a".repeat(60 << 10));
        assert!(parse(&huge).is_some(), "longer, and right in its beginning");
        for bad in [
            "",
            "00",
            "00-",
            &RIGHT[..54],
            &RIGHT.to_uppercase(),
            &RIGHT.replace("4bf9", "4BF9"),
            &RIGHT.replace("00f0", "00F0"),
            &RIGHT.replace("4bf9", "4bg9"),
            &RIGHT.replace("4bf9", "+bf9"),
            &RIGHT.replace("4bf9", "0x4b"),
            &RIGHT.replace('-', "_"),
            &RIGHT.replacen("00-", "0.-", 1),
            &RIGHT.replacen("00-", "000-", 1),
            &RIGHT.replacen("00-", "-00", 1),
            &format!("{RIGHT} "),
            &format!("{RIGHT},{RIGHT}"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
            &"0".repeat(60 << 10),
            &"-".repeat(55),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let given = |values: &[&[u8]]| TraceParent::given(&headers(TRACEPARENT, values));
        assert_eq!(given(&[RIGHT.as_bytes(), RIGHT.as_bytes()]), None, "which of the two?");
        assert_eq!(given(&["ü".repeat(28).as_bytes()]), None);
        assert_eq!(given(&[&[0xff; 55]]), None);
        assert_eq!(given(&[]), None);
    }

    #[test]
    fn state_is_passed_on_as_it_is_or_not_at_all() {
        let state = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
            state(&headers(TRACESTATE, &values)).map(|state| state.to_str().expect("text").to_owned())
        };
        let many = |count: usize| (0..count).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        let (most, longest) = (many(MAX_STATE_MEMBERS), format!("a={},b={}", "x".repeat(256), "y".repeat(251)));
        for right in
            ["rojo=00f067aa0ba902b7", "a=1,b=2", "a=1 , ,b=2,", "fw529a3039@dt=FfFf;Aa c", "0a/b-c_d*=!", &most]
        {
            assert_eq!(state(&[right]).as_deref(), Some(right));
        }
        assert_eq!(longest.len(), MAX_STATE_BYTES);
        assert!(state(&[&longest]).is_some());
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        for bad in
            ["", " ", ",", "a", "a=", "=1", "A=1", "a=1=2", "a=b,c", "a=ü", "_a=1", &many(33), &format!("{longest}y")]
        {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
        assert_eq!(state(&["a=1"; 20_000]), None);
        assert_eq!(state(&[]), None);
    }
}

//! What proxies in front say of the client they connect for: `Forwarded` (RFC 7239) and the older
//! `X-Forwarded-For`, `-Host` and `-Proto`.
//!
//! Anybody can write these headers, so they are read only when a trusted proxy sent the request, and from the
//! right: that proxy's own words come last, and what stands before them counts as long as each hop is a trusted
//! proxy too. The first that is not is the client, and all to its left is what the client made up.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use http::uri::Authority;

use super::host::AmbiguousHost;
use super::peer::covered;
use crate::config::TrustedProxy;

const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The hops of one line that are kept, from its end.
const MAX_HOPS: usize = 32;
/// The longest host name, and a port.
const MAX_HOST_BYTES: usize = 253 + 6;

/// What trusted proxies said; `None` where they said nothing that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told<'r> {
    /// The client, or the trusted proxy furthest from here that did not say for whom it connects.
    pub(super) address: Option<IpAddr>,
    /// The host the client asked for.
    pub(super) host: Option<Cow<'r, str>>,
    /// Whether the client came over TLS.
    pub(super) secure: Option<bool>,
}

/// Reads the headers of a request from a trusted proxy.
///
/// A proxy that writes one kind passes the other through as the client sent it. So where both kinds stand, only
/// what both say counts.
///
/// # Errors
/// When there are several `X-Forwarded-Host` headers, which is like several `Host`.
pub(super) fn told<'r>(headers: &'r HeaderMap, proxies: &[TrustedProxy]) -> Result<Told<'r>, AmbiguousHost> {
    if headers.get_all(X_HOST).iter().nth(1).is_some() {
        return Err(AmbiguousHost("X-Forwarded-Host"));
    }
    Ok(match (standard(headers, proxies), customary(headers, proxies)) {
        (Some(one), Some(other)) => one.agreed(other),
        (one, other) => one.or(other).unwrap_or_default(),
    })
}

impl<'r> Told<'r> {
    fn agreed(self, other: Self) -> Self {
        let same_host = |host: &Cow<'_, str>| other.host.as_ref().is_some_and(|o| o.eq_ignore_ascii_case(host));
        Self {
            address: self.address.filter(|address| other.address == Some(*address)),
            host: self.host.filter(same_host),
            secure: self.secure.filter(|secure| other.secure == Some(*secure)),
        }
    }

    /// Takes the hop to the left of those so far; gives whether the next one counts too.
    fn take(&mut self, hop: Hop<'r>, proxies: &[TrustedProxy]) -> bool {
        self.host = hop.host.filter(|host| is_host(host)).or(self.host.take());
        self.secure = hop.proto.and_then(|proto| is_secure(&proto)).or(self.secure);
        // Unknown or hidden, which proxies may say: then the hop that said so is the nearest there is.
        let Some(address) = hop.node.and_then(|node| node_address(&node)) else { return false };
        self.address = Some(address);
        covered(proxies, address)
    }
}

/// One element of `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop<'r> {
    node: Option<Cow<'r, str>>,
    host: Option<Cow<'r, str>>,
    proto: Option<Cow<'r, str>>,
}

/// `Forwarded`, if it is there at all.
fn standard<'r>(headers: &'r HeaderMap, proxies: &[TrustedProxy]) -> Option<Told<'r>> {
    let mut told = headers.contains_key(FORWARDED).then(Told::default)?;
    for line in headers.get_all(FORWARDED).iter().rev() {
        // A line that is damaged ends what can be known; a client may have damaged it.
        let Some(hops) = line.to_str().ok().and_then(hops) else { break };
        if !hops.into_iter().rev().all(|hop| told.take(hop, proxies)) {
            break;
        }
    }
    Some(told)
}

/// The older headers, if one is there.
fn customary<'r>(headers: &'r HeaderMap, proxies: &[TrustedProxy]) -> Option<Told<'r>> {
    [X_FOR, X_HOST, X_PROTO].iter().any(|name| headers.contains_key(name)).then_some(())?;
    // The last is what the proxy in front wrote, whether it adds to the others' words or replaces them.
    let last = |name| elements(headers, name).next().filter(|text| !text.is_empty());
    let mut told = Told { host: None, address: None, secure: last(X_PROTO).and_then(is_secure) };
    told.host = last(X_HOST).filter(|host| is_host(host)).map(Cow::Borrowed);
    for element in elements(headers, X_FOR) {
        let hop = Hop { node: Some(Cow::Borrowed(element)), ..Hop::default() };
        if !told.take(hop, proxies) {
            break;
        }
    }
    Some(told)
}

/// The elements of a plain list, from the last to the first; one that is no text stands as an empty one.
fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().rev().map(|value| value.to_str().unwrap_or_default());
    lines.flat_map(|line| line.rsplit(',')).map(str::trim)
}

/// The last elements of one `Forwarded` line (RFC 7239, section 4), or `None` if it is malformed. What ought to be
/// quoted for a colon or brackets is taken without, since many leave the quotes out.
fn hops(line: &str) -> Option<VecDeque<Hop<'_>>> {
    let mut hops = VecDeque::new();
    let mut hop = Hop::default();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        let length = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if length > 0 {
            let (name, after) = rest.split_at(length);
            let (value, after) = value(after.strip_prefix('=')?)?;
            hop.set(name, value)?;
            rest = after.trim_start();
        }
        let end = rest.chars().next();
        match end {
            Some(';') => {}
            Some(',') | None => {
                let whole = std::mem::take(&mut hop);
                if whole != Hop::default() {
                    hops.push_back(whole);
                }
                if hops.len() > MAX_HOPS {
                    hops.pop_front();
                }
            }
            Some(_) => return None,
        }
        if end.is_none() {
            return Some(hops);
        }
        rest = &rest[1..];
    }
}

impl<'r> Hop<'r> {
    /// `None` for what stands twice.
    fn set(&mut self, name: &str, value: Cow<'r, str>) -> Option<()> {
        let slot = match name {
            _ if name.eq_ignore_ascii_case("for") => &mut self.node,
            _ if name.eq_ignore_ascii_case("host") => &mut self.host,
            _ if name.eq_ignore_ascii_case("proto") => &mut self.proto,
            // `by`, and whatever else there is.
            _ => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }
}

/// A value and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let length = text.find(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | ';' | ',')).unwrap_or(text.len());
        let (value, after) = text.split_at(length);
        return (length > 0).then_some((Cow::Borrowed(value), after));
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (inner, after) = (&quoted[..end], &quoted[end + 1..]);
    Some((if inner.contains('\\') { Cow::Owned(unescaped(inner)) } else { Cow::Borrowed(inner) }, after))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80` and `[2001:db8::1]` (RFC 7239, section 6), and `2001:db8::1`,
/// which the older header has without brackets.
fn node_address(node: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(())?;
        address.parse::<Ipv6Addr>().ok()?.into()
    } else if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = node.split_once(':')?;
        is_port(port).then_some(())?;
        address.parse::<Ipv4Addr>().ok()?.into()
    };
    Some(address.to_canonical())
}

/// A number, or a hidden one: `_` and a few characters.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(hidden) => !hidden.is_empty() && hidden.chars().all(is_token),
        None => port.parse::<u16>().is_ok(),
    }
}

fn is_host(host: &str) -> bool {
    host.len() <= MAX_HOST_BYTES && !host.contains('@') && host.parse::<Authority>().is_ok()
}

fn is_secure(proto: &str) -> Option<bool> {
    let is = |name| proto.eq_ignore_ascii_case(name);
    if is("https") { Some(true) } else { is("http").then_some(false) }
}

/// RFC 9110, section 5.6.2.
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    type Expected = (Option<&'static str>, Option<&'static str>, Option<bool>);

    /// Behind proxies in 10.0.0.0/8 and fd00::/8.
    fn read(lines: &[(&str, &str)]) -> (Option<String>, Option<String>, Option<bool>) {
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let Told { address, host, secure } = told(&headers, &proxies).unwrap();
        (address.map(|address| address.to_string()), host.map(Cow::into_owned), secure)
    }

    #[track_caller]
    fn says(lines: &[(&str, &str)], (address, host, secure): Expected) {
        assert_eq!(read(lines), (address.map(str::to_owned), host.map(str::to_owned), secure), "{lines:?}");
    }

    #[test]
    fn the_standard_header() {
        let all = (Some("2001:db8::1"), Some("pull.example"), Some(true));
        says(&[("forwarded", r#"for="[2001:db8::1]:443";host=pull.example;proto=https"#)], all);
        says(&[("forwarded", r#"Proto=HTTPS ; For="[2001:db8::1]"; by=_x;HOST="pull.example""#)], all);
        says(&[("forwarded", r#"for="\[2001:db8::1]:_p";host=pull.example;proto=https;ext="a,\";b""#)], all);
        says(
            &[("forwarded", "for=192.0.2.1:80;host=a.example:5000")],
            (Some("192.0.2.1"), Some("a.example:5000"), None),
        );
        says(&[("forwarded", "for=::ffff:192.0.2.1;proto=http")], (Some("192.0.2.1"), None, Some(false)));
        for nothing in
            ["", ",;,", "for=unknown", "for=_hidden", "for=10.0.0", "proto=gopher", "host=a@b", "by=10.0.0.1"]
        {
            says(&[("forwarded", nothing)], (None, None, None));
        }
    }

    #[test]
    fn damage_in_the_standard_header_is_as_if_nothing_were_said() {
        for damaged in [
            "for",
            "for=",
            "=10.0.0.1",
            "for=192.0.2.1;for=192.0.2.2",
            r#"for="192.0.2.1"#,
            r#"for="192.0.2.1"x"#,
            "for=192.0.2.1 proto=https",
            "for=192.0.2.1;proto=https, é=1",
            "for:192.0.2.1",
        ] {
            says(&[("forwarded", damaged)], (None, None, None));
        }
        // What a client damaged does not reach what the proxy wrote into a line of its own.
        let lines = [("forwarded", "for=\""), ("forwarded", "for=192.0.2.1")];
        says(&lines, (Some("192.0.2.1"), None, None));
    }

    #[test]
    fn the_walk_ends_at_the_first_that_is_no_proxy() {
        let chain = "for=1.1.1.1;host=evil.example, for=192.0.2.1;host=a.example;proto=https, for=10.0.0.1;host=inner";
        says(&[("forwarded", chain)], (Some("192.0.2.1"), Some("a.example"), Some(true)));
        let lines = [("forwarded", "for=1.1.1.1, for=192.0.2.1"), ("forwarded", r#"for="[fd00::1]",for=10.0.0.2"#)];
        says(&lines, (Some("192.0.2.1"), None, None));
        // Nearest to the client of what trusted proxies said.
        says(
            &[("forwarded", "for=192.0.2.1, for=10.0.0.1;host=a.example")],
            (Some("192.0.2.1"), Some("a.example"), None),
        );
        says(&[("forwarded", "for=192.0.2.1, for=unknown, for=10.0.0.1")], (Some("10.0.0.1"), None, None));
        says(&[("forwarded", "for=10.0.0.3, for=10.0.0.1")], (Some("10.0.0.3"), None, None));
        let long = vec!["for=10.0.0.9"; MAX_HOPS + 1].join(",");
        says(&[("forwarded", &format!("for=192.0.2.1,{long}"))], (Some("10.0.0.9"), None, None));
    }

    #[test]
    fn the_older_headers() {
        let at = |address| (Some(address), None, None);
        for (value, expected) in [
            ("192.0.2.1", at("192.0.2.1")),
            ("6.6.6.6, 192.0.2.1", at("192.0.2.1")),
            ("6.6.6.6,192.0.2.1 ,10.0.0.1", at("192.0.2.1")),
            ("192.0.2.1:4711", at("192.0.2.1")),
            ("2001:db8::1", at("2001:db8::1")),
            ("6.6.6.6, [2001:db8::1]:443, fd00::1", at("2001:db8::1")),
            ("garbage, 10.0.0.1", at("10.0.0.1")),
            ("192.0.2.1, garbage", (None, None, None)),
            ("192.0.2.1,", (None, None, None)),
            ("192.0.2.1:99999", (None, None, None)),
            ("fe80::1%eth0", (None, None, None)),
            ("[10.0.0.1]", (None, None, None)),
            ("", (None, None, None)),
        ] {
            says(&[("x-forwarded-for", value)], expected);
        }
        says(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], at("192.0.2.1"));
        says(&[("x-forwarded-host", "evil.example, a.example")], (None, Some("a.example"), None));
        says(&[("x-forwarded-proto", "http, https")], (None, None, Some(true)));
        says(&[("x-forwarded-host", "a b"), ("x-forwarded-proto", "ftp")], (None, None, None));
    }

    #[test]
    fn two_kinds_count_where_they_agree() {
        let lines = [
            ("forwarded", "for=192.0.2.1;host=a.example;proto=https"),
            ("x-forwarded-for", "6.6.6.6, 192.0.2.1"),
            ("x-forwarded-host", "A.example"),
            ("x-forwarded-proto", "http"),
        ];
        says(&lines, (Some("192.0.2.1"), Some("a.example"), None));
        says(&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], (None, None, None));
    }

    #[test]
    fn several_hosts_are_ambiguous() {
        let x_host = || "x-forwarded-host".parse::<HeaderName>().unwrap();
        let mut headers = HeaderMap::new();
        headers.append(x_host(), "a.example".parse().unwrap());
        headers.append(x_host(), "a.example".parse().unwrap());
        assert_eq!(told(&headers, &[]), Err(AmbiguousHost("X-Forwarded-Host")));
    }
}

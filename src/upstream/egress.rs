//! The way out: straight to a host, or through the proxy that the environment names.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::body::{BoxError, BoxFuture};

/// Which hosts are reached through which HTTP proxy.
///
/// For an `https` destination the proxy is asked for a tunnel (CONNECT, RFC 9110 §9.3.6), and TLS is spoken with the
/// destination inside it; for an `http` one it is sent the whole request. User and password of a proxy's URL go to that
/// proxy only, and are never shown.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    // None when everything is reached directly.
    matcher: Option<Arc<Matcher>>,
}

/// Why a proxy cannot be used as configured. The URL itself may hold a password, and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} names no proxy that can be used; it reads http[s]://[user:password@]host[:port]")]
pub struct EgressError {
    /// The environment variable, or what stands for it.
    pub variable: &'static str,
}

/// Proxies by what they are for, as the environment variables have them; empty for none.
#[derive(Clone, Default)]
pub struct ProxyVariables {
    /// For `http` destinations.
    pub http_proxy: String,
    /// For `https` destinations.
    pub https_proxy: String,
    /// For destinations of a scheme that has no proxy of its own.
    pub all_proxy: String,
    /// What is reached directly: host names (with all below them), addresses and networks, separated by commas; `*`
    /// for everything.
    pub no_proxy: String,
}

impl ProxyVariables {
    /// What the environment says, by curl's rules: lower case before upper case, and `http_proxy` in lower case only,
    /// as a web server gives its programs a client's `Proxy` header as `HTTP_PROXY`.
    fn from_environment() -> Self {
        let read = |names: &[&str]| {
            let values = names.iter().filter_map(|name| std::env::var(name).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self {
            http_proxy: read(&["http_proxy"]),
            https_proxy: read(&["https_proxy", "HTTPS_PROXY"]),
            all_proxy: read(&["all_proxy", "ALL_PROXY"]),
            // What is on this machine is not to be found by way of another, which would get to see what is sent.
            no_proxy: format!("localhost,127.0.0.0/8,::1,{}", read(&["no_proxy", "NO_PROXY"])),
        }
    }
}

impl Egress {
    /// Everything is reached directly.
    pub fn direct() -> Self {
        Self::default()
    }

    /// What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say, the last three also in upper case.
    ///
    /// # Errors
    /// When one of them names something that is no HTTP proxy.
    pub fn from_environment() -> Result<Self, EgressError> {
        Self::new(ProxyVariables::from_environment())
    }

    /// What these variables say.
    ///
    /// # Errors
    /// When one of them names something that is no HTTP proxy.
    pub fn new(variables: ProxyVariables) -> Result<Self, EgressError> {
        let ProxyVariables { http_proxy, https_proxy, all_proxy, no_proxy } = variables;
        let exceptions: Vec<_> =
            no_proxy.split([',', ' ']).map(str::trim).filter(|exception| !exception.is_empty()).collect();
        // The matcher would take it for a name, and go on sending addresses through the proxy.
        let none = http_proxy.is_empty() && https_proxy.is_empty() && all_proxy.is_empty();
        if none || exceptions.contains(&"*") {
            return Ok(Self::direct());
        }
        for (variable, url) in [("http_proxy", &http_proxy), ("https_proxy", &https_proxy), ("all_proxy", &all_proxy)] {
            if !url.is_empty() && !is_http_proxy(url) {
                return Err(EgressError { variable });
            }
        }
        let matcher =
            Matcher::builder().http(http_proxy).https(https_proxy).all(all_proxy).no(exceptions.join(",")).build();
        Ok(Self { matcher: Some(Arc::new(matcher)) })
    }

    /// What the proxy must see with each request for `uri` that is sent to it whole.
    pub(super) fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let whole = uri.scheme() == Some(&Scheme::HTTP);
        self.proxy(uri).filter(|_| whole)?.basic_auth().cloned()
    }

    fn proxy(&self, uri: &Uri) -> Option<Intercept> {
        self.matcher.as_ref()?.intercept(uri)
    }
}

/// The matcher leaves out what it does not understand, and everything would go out directly.
fn is_http_proxy(url: &str) -> bool {
    let any = Uri::from_static("https://any.example/");
    let proxy = Matcher::builder().https(url).build().intercept(&any);
    proxy.is_some_and(|proxy| matches!(proxy.uri().scheme_str(), Some("http" | "https")))
}

/// Makes connections as an [`Egress`] says; TLS with the destination is made on top.
#[derive(Clone)]
pub(super) struct Dialer {
    egress: Egress,
    tcp: HttpConnector,
    // A proxy may be spoken to over TLS, too.
    to_proxy: HttpsConnector<HttpConnector>,
}

impl Dialer {
    pub(super) fn new(egress: Egress, tcp: HttpConnector, to_proxy: HttpsConnector<HttpConnector>) -> Self {
        Self { egress, tcp, to_proxy }
    }
}

impl Service<Uri> for Dialer {
    type Response = Dialed;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Dialed, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(proxy) = self.egress.proxy(&uri) else {
            let connecting = self.tcp.call(uri);
            return Box::pin(async move { Ok(Dialed { io: connecting.await?.into(), whole: false }) });
        };
        if uri.scheme() == Some(&Scheme::HTTP) {
            let connecting = self.to_proxy.call(proxy.uri().clone());
            return Box::pin(async move { Ok(Dialed { io: connecting.await?, whole: true }) });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let connecting = tunnel.call(uri);
        Box::pin(async move { Ok(Dialed { io: connecting.await?, whole: false }) })
    }
}

/// A connection to a host or, on the way to it, to a proxy.
pub(super) struct Dialed {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    // Whether the proxy reads the requests, and so wants to know for whom they are.
    whole: bool,
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed").field("whole", &self.whole).finish_non_exhaustive()
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.whole)
    }
}

impl Read for Dialed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(https_proxy: &str, no_proxy: &str) -> Result<Egress, EgressError> {
        Egress::new(ProxyVariables {
            https_proxy: https_proxy.to_owned(),
            no_proxy: no_proxy.to_owned(),
            ..ProxyVariables::default()
        })
    }

    #[test]
    fn who_is_reached_through_the_proxy() {
        let through = |no_proxy: &str, uri: &'static str| {
            let egress = egress("http://proxy.example:3128", no_proxy).expect("a proxy");
            egress.proxy(&Uri::from_static(uri)).is_some()
        };
        assert!(through("", "https://registry.example/v2/"));
        assert!(!through("", "http://registry.example/v2/"), "that is http_proxy's");
        assert!(!through("registry.example, other.example", "https://registry.example/v2/"));
        assert!(!through(".example", "https://registry.example/v2/"));
        assert!(through("gistry.example", "https://registry.example/v2/"));
        assert!(!through("other 10.0.0.0/8", "https://10.1.2.3/v2/"));
        assert!(!through("*", "https://10.1.2.3/v2/") && !through("*", "https://registry.example/"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_no_password_is_shown() {
        for bad in ["socks5://proxy.example", "ftp://proxy.example", "http://", "http://u:hunter2@", "a b"] {
            let error = egress(bad, "").expect_err(bad);
            assert_eq!(error.variable, "https_proxy");
            assert!(!error.to_string().contains("hunter2"));
        }
        let egress = egress("http://user:hunter2@proxy.example:3128", "").expect("a proxy");
        assert!(!format!("{egress:?}").contains("hunter2"));
        assert_eq!(egress.authorization(&Uri::from_static("https://a.example/")), None, "not inside the tunnel");
    }
}

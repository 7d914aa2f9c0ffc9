//! Ways out: a small HTTP proxy, and what goes through it.

use std::sync::{Arc, Mutex};

use colocate::upstream::{
    CredentialSource, Credentials, Egress, ProxyVariables, RegistryConfig, RegistryUpstream, Upstream, UpstreamError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::server::{Reply, Server};
use super::tls::{Authority, Clients};
use super::{IMAGE, OCI, bytes, digest_of, patient, repository, tag};

const PASSWORD: &str = "Basic dXNlcjpodW50ZXIy";

/// A proxy that makes tunnels, and passes plain requests on; it remembers the heads it was sent.
struct HttpProxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpProxy {
    /// One that answers tunnels with `status`.
    async fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, status, Arc::clone(&log)));
            }
        });
        Self { address, heads, task }
    }

    fn egress(&self, no_proxy: &str) -> Egress {
        let url = format!("http://user:hunter2@{}", self.address);
        Egress::new(ProxyVariables {
            http_proxy: url.clone(),
            https_proxy: url,
            no_proxy: no_proxy.to_owned(),
            ..ProxyVariables::default()
        })
        .unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(mut client: TcpStream, status: &str, log: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    log.lock().unwrap().push(head.clone());
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.ok()?;
        let mut server = TcpStream::connect(target).await.ok()?;
        copy_bidirectional(&mut client, &mut server).await.ok()?;
    } else {
        let rest = target.strip_prefix("http://")?;
        let (authority, _) = rest.split_once('/')?;
        let mut server = TcpStream::connect(authority).await.ok()?;
        let head =
            head.replacen(&format!("http://{authority}"), "", 1).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        server.write_all(head.as_bytes()).await.ok()?;
        tokio::io::copy(&mut server, &mut client).await.ok()?;
    }
    Some(())
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_the_registry_s_own_tls_inside() {
    let authority = Authority::new();
    let server = authority.serve(Clients::Ignored, |_| Reply::ok(IMAGE).kind(OCI)).await;
    let proxy = HttpProxy::start("200 OK").await;
    let direct = RegistryConfig { extra_ca: vec![authority.certificate()], ..patient(&server) };
    let config = RegistryConfig { egress: proxy.egress("other.example"), ..direct.clone() };
    let upstream = RegistryUpstream::new(config).unwrap();
    for _ in 0..3 {
        upstream.manifest(&repository(), &tag("v1")).await.unwrap();
    }
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    let host = format!("127.0.0.1:{}", server.url("/").port().unwrap());
    assert!(heads[0].starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads[0].contains(&format!("Proxy-Authorization: {PASSWORD}\r\n")), "{heads:?}");
    assert!(server.seen().iter().all(|seen| seen.header("proxy-authorization").is_none()));
    // A proxy that ends tunnels itself cannot show the registry's certificate.
    let elsewhere = RegistryConfig { extra_ca: Vec::new(), egress: proxy.egress(""), ..direct.clone() };
    let error = RegistryUpstream::new(elsewhere).unwrap().manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    for no_proxy in ["127.0.0.1", "127.0.0.0/8", "*"] {
        let config = RegistryConfig { egress: proxy.egress(no_proxy), ..direct.clone() };
        RegistryUpstream::new(config).unwrap().manifest(&repository(), &tag("v1")).await.unwrap();
    }
    assert_eq!(proxy.heads().len(), 2, "the others went directly");
}

#[tokio::test]
async fn http_is_passed_on_by_the_proxy_and_so_are_token_requests_and_redirects() {
    let storage = Server::start(|_| Reply::ok(IMAGE)).await;
    let target = String::from(storage.alias("/blob"));
    let server = Server::start(move |seen| match (seen.path.as_str(), seen.header("authorization")) {
        ("/token", _) => Reply::ok(r#"{"token":"good"}"#),
        (_, Some("Bearer good")) => Reply::new(307).with("location", &target),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Reply::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}""#))
        }
    })
    .await;
    let proxy = HttpProxy::start("200 OK").await;
    let password = Credentials { user: "u".to_owned(), password: "p".to_owned() };
    let credentials = CredentialSource::Password(password);
    let config = RegistryConfig { credentials, egress: proxy.egress(""), ..patient(&server) };
    let upstream = RegistryUpstream::new(config).unwrap();
    let blob = upstream.blob(&repository(), &digest_of(IMAGE), 0).await.unwrap();
    assert_eq!(bytes(blob).await.unwrap(), IMAGE);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 4, "{heads:?}");
    assert!(heads.iter().all(|head| head.starts_with("GET http://") && head.contains(PASSWORD)), "{heads:?}");
    assert!(heads[3].starts_with(&format!("GET {} HTTP/1.1\r\n", storage.alias("/blob"))));
    assert!(storage.seen()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_of_without_its_password() {
    let authority = Authority::new();
    let server = authority.serve(Clients::Ignored, |_| Reply::ok(IMAGE).kind(OCI)).await;
    let proxy = HttpProxy::start("407 Proxy Authentication Required").await;
    let config = RegistryConfig { egress: proxy.egress(""), ..patient(&server) };
    assert!(!format!("{config:?}").contains("hunter2"));
    let error = RegistryUpstream::new(config).unwrap().manifest(&repository(), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    let told = format!("{} {error:?}", colocate::body::with_causes(&error));
    assert!(told.contains("proxy authorization required"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains(PASSWORD), "{told}");
    assert!(server.seen().is_empty());
}

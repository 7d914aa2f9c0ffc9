//! The listener as clients meet it: routes, conditions, ranges and views, on real sockets in front of an image layout.
//! What it bears and how it ends is in `limits` and `idle`, the program around it in `binary` and `managed`; how clients connect is in
//! `sockets`, `tls`, `renewal` and `forwarded`.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod authority;
mod binary;
mod cache_status;
mod forwarded;
mod idle;
mod limits;
mod managed;
mod renewal;
pub(crate) mod serving;
mod sockets;
mod tls;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use colocate::cli::{Running, start};
use colocate::config::Config;
use colocate::oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const NAME: &str = "samples/guestbook";

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample")
}

fn sample_digest(tag: &str) -> String {
    let index: Value = serde_json::from_slice(&fs::read(sample().join("index.json")).unwrap()).unwrap();
    let is = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == format!("{NAME}:{tag}");
    index["manifests"].as_array().unwrap().iter().find(is).unwrap()["digest"].as_str().unwrap().to_owned()
}

struct Proxy {
    running: Running,
    _scratch: TempDir,
}

/// A proxy in front of `layout`; `extra` is more configuration.
async fn proxy(layout: &Path, extra: &str) -> Proxy {
    proxy_of(&format!("layout:{}", layout.display()), extra).await
}

/// A proxy in front of whatever is at `url`.
async fn proxy_of(url: &str, extra: &str) -> Proxy {
    let scratch = tempfile::tempdir().unwrap();
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\nupstream: {{url: '{url}'}}\n\
         cache: {{dir: '{}'}}\n{extra}",
        scratch.path().join("cache").display()
    );
    let running = start(Config::parse("test", &text).unwrap()).await.unwrap();
    Proxy { running, _scratch: scratch }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn code(&self) -> String {
        let document: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(!document["errors"][0]["message"].as_str().unwrap().is_empty());
        document["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// Exactly these bytes over a socket: a client library would tidy up what is tested here.
async fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap();
    Answer { status, headers: lines.map(pair).collect(), body: bytes[end + 4..].to_vec() }
}

async fn get(proxy: &Proxy, target: &str, headers: &[(&str, &str)]) -> Answer {
    ask(proxy.running.address().expect("an address"), "GET", target, headers).await
}

async fn metrics(proxy: &Proxy) -> String {
    let accept = [("Accept", "application/openmetrics-text")];
    let answer = ask(proxy.running.admin().unwrap(), "GET", "/metrics", &accept).await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    String::from_utf8(answer.body).unwrap()
}

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let proxy = proxy(&sample(), "").await;
    for path in ["/v2/", "/v2"] {
        let answer = get(&proxy, path, &[]).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
}

#[tokio::test]
async fn a_manifest_comes_with_what_clients_and_caches_need() {
    let proxy = proxy(&sample(), "").await;
    let original = sample_digest("v1.0.0");
    let by_tag = format!("/v2/{NAME}/manifests/v1.0.0");
    let relocated = get(&proxy, &by_tag, &[]).await;
    let digest = Digest::of(&relocated.body).to_string();
    assert_ne!(digest, original);
    assert_eq!(relocated.header("cache-control"), Some("no-cache"));
    let exact = get(&proxy, &format!("/v2/{NAME}/manifests/{original}"), &[]).await;
    assert_eq!(exact.body, fs::read(sample().join("blobs/sha256").join(&original[7..])).unwrap());

    for (target, answer, digest) in
        [(by_tag, relocated, digest), (format!("/v2/{NAME}/manifests/{original}"), exact, original)]
    {
        let tag = format!("\"{digest}\"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert_eq!(answer.header("content-type"), Some("application/vnd.docker.distribution.manifest.v2+json"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));

        let head = ask(proxy.running.address().expect("an address"), "HEAD", &target, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["docker-content-digest", "etag", "content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), answer.header(name), "{name}");
        }
        for condition in [tag.as_str(), "*", &format!("\"other\", W/{tag}")] {
            let same = get(&proxy, &target, &[("If-None-Match", condition)]).await;
            assert_eq!((same.status, same.body.len()), (304, 0), "{condition}");
            assert_eq!(same.header("etag"), Some(tag.as_str()));
        }
        assert_eq!(get(&proxy, &target, &[("If-None-Match", "\"other\"")]).await.status, 200);

        let immutable = get(&proxy, &format!("/v2/{NAME}/manifests/{digest}"), &[]).await;
        assert_eq!(immutable.body, answer.body);
        assert!(immutable.header("cache-control").unwrap().contains("immutable"));
    }
}

#[tokio::test]
async fn blobs_come_whole_or_in_part() {
    let proxy = proxy(&sample(), "").await;
    let manifest = get(&proxy, &format!("/v2/{NAME}/manifests/v1.0.0"), &[]).await;
    let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
    // The relocated layer is put together while it is sent; the original's is a file.
    let relocated = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let original = "sha256:8f639d86e12667050faa806645cfc0e03cdfae02dd0c978fc969c828b68373ae".to_owned();
    for digest in [relocated, original] {
        let target = format!("/v2/{NAME}/blobs/{digest}");
        let whole = get(&proxy, &target, &[]).await;
        assert_eq!((whole.status, Digest::of(&whole.body).to_string()), (200, digest.clone()));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
        assert_eq!(whole.header("docker-content-digest"), Some(digest.as_str()));
        let size = whole.body.len();
        let own = format!("\"{digest}\"");

        let cases = [
            ("bytes=0-0", 206, 0..1),
            ("bytes=10-19", 206, 10..20),
            ("bytes=100-", 206, 100..size),
            ("bytes=-7", 206, size - 7..size),
            ("bytes=0-999999", 206, 0..size),
            ("bytes=0-1,5-6", 200, 0..size),
            ("bytes=9-3", 200, 0..size),
            ("nonsense", 200, 0..size),
        ];
        for (range, status, expected) in cases {
            let answer = get(&proxy, &target, &[("Range", range)]).await;
            assert_eq!((answer.status, &answer.body[..]), (status, &whole.body[expected.clone()]), "{range}");
            let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(answer.header("content-range"), (status == 206).then_some(content_range.as_str()), "{range}");
        }
        for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
            let answer = get(&proxy, &target, &[("Range", &range)]).await;
            assert_eq!(answer.status, 416, "{range}");
            assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        let part = |condition| [("Range", "bytes=0-0"), ("If-Range", condition)];
        assert_eq!(get(&proxy, &target, &part(&own)).await.status, 206);
        assert_eq!(get(&proxy, &target, &part("\"other\"")).await.status, 200);
        assert_eq!(get(&proxy, &target, &[("Range", "bytes=0-0"), ("If-None-Match", &own)]).await.status, 304);
        let head = ask(proxy.running.address().expect("an address"), "HEAD", &target, &[("Range", "bytes=0-0")]).await;
        assert_eq!((head.status, head.header("content-length")), (200, Some(size.to_string().as_str())));
    }
}

#[tokio::test]
async fn refusals_say_which_and_what_to_do() {
    let proxy = proxy(&sample(), "").await;
    let absent = format!("sha256:{}", "0".repeat(64));
    for (method, target, status, code) in [
        ("GET", "/".to_owned(), 404, "UNSUPPORTED"),
        ("GET", "/v2/_catalog/".to_owned(), 404, "UNSUPPORTED"),
        ("GET", format!("/v2/{NAME}/manifests/none"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/{NAME}/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/{NAME}/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/no/such/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", format!("/v2/{NAME}/manifests/.INVALID_MANIFEST_NAME"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/{NAME}/manifests/sha256:00"), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/{NAME}/blobs/md5:00"), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/{NAME}/blobs/latest"), 400, "DIGEST_INVALID"),
        ("GET", "/v2/samples/../guestbook/manifests/v1.0.0".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2/samples%2fguestbook/manifests/v1.0.0".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2/samples/guestbook%00/manifests/v1.0.0".to_owned(), 400, "NAME_INVALID"),
        ("GET", "/v2//samples/guestbook/manifests/v1.0.0".to_owned(), 400, "NAME_INVALID"),
        ("GET", format!("/v2/{NAME}/tags/list?n=many"), 400, "UNSUPPORTED"),
        ("PUT", format!("/v2/{NAME}/manifests/v2"), 405, "UNSUPPORTED"),
        ("DELETE", format!("/v2/{NAME}/blobs/{absent}"), 405, "UNSUPPORTED"),
        ("POST", format!("/v2/{NAME}/blobs/uploads/"), 405, "UNSUPPORTED"),
    ] {
        let answer =
            ask(proxy.running.address().expect("an address"), method, &target, &[("Content-Length", "0")]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let allow = if target.contains("uploads") { "" } else { "GET, HEAD" };
        assert_eq!(answer.header("allow"), (status == 405).then_some(allow), "{method} {target}");
        if method == "GET" {
            let head = ask(proxy.running.address().expect("an address"), "HEAD", &target, &[]).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{target}");
        }
    }
    let twice =
        get(&proxy, &format!("/v2/{NAME}/manifests/v1.0.0"), &[("Host", "a.example"), ("Host", "b.example")]).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn tags_come_in_pages_that_lead_to_the_next() {
    let proxy = proxy(&sample(), "").await;
    let list = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).unwrap();
    let whole = get(&proxy, &format!("/v2/{NAME}/tags/list"), &[]).await;
    assert_eq!(whole.header("link"), None);
    let tags = list(&whole)["tags"].as_array().unwrap().clone();
    assert!(tags.contains(&json!("v1.0.0")) && list(&whole)["name"] == NAME);

    let (mut walked, mut next) = (Vec::new(), Some(format!("/v2/{NAME}/tags/list?n=4")));
    while let Some(target) = next {
        let page = get(&proxy, &target, &[]).await;
        assert_eq!(page.status, 200);
        walked.extend(list(&page)["tags"].as_array().unwrap().clone());
        let link =
            page.header("link").map(|link| link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap());
        next = link.map(str::to_owned);
    }
    assert_eq!(walked, tags);
    assert_eq!(list(&get(&proxy, &format!("/v2/{NAME}/tags/list?n=0"), &[]).await)["tags"], json!([]));
}

#[tokio::test]
async fn the_host_chooses_the_view_if_it_is_listed() {
    let extra = "endpoint: own.example\nendpoints: [other.example:5000, exact.example]\n\
                 rules: [{endpoint: exact.example, relocation: {when: never}}]";
    let proxy = proxy(&sample(), extra).await;
    let digest = async |host: &str| {
        let answer = get(&proxy, &format!("/v2/{NAME}/manifests/v1.0.0"), &[("Host", host)]).await;
        assert_eq!(answer.status, 200);
        Digest::of(&answer.body).to_string()
    };
    let own = digest("own.example").await;
    let other = digest("other.example:5000").await;
    assert_eq!(digest("exact.example").await, sample_digest("v1.0.0"));
    assert_eq!(digest("evil.example").await, own);
    assert_eq!(digest("OTHER.example:5000").await, other);
    assert_ne!(own, other);
    assert_ne!(own, sample_digest("v1.0.0"));
}

#[tokio::test]
async fn http2_is_spoken_with_and_without_tls() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::pki_types::pem::PemObject as _;

    async fn pull<S>(io: S, uri: String)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        for method in ["GET", "HEAD"] {
            let request = http::Request::builder().method(method).uri(&uri).body(Empty::<bytes::Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
            let digest = response.headers()["docker-content-digest"].to_str().unwrap().to_owned();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.is_empty(), method == "HEAD");
            if method == "GET" {
                assert_eq!(Digest::of(&body).to_string(), digest);
            }
        }
    }

    let plain = proxy(&sample(), "").await;
    let address = plain.running.address().expect("an address");
    pull(TcpStream::connect(address).await.unwrap(), format!("http://{address}/v2/{NAME}/manifests/v1.0.0")).await;

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let extra = format!("server: {{tls: {{cert: '{}', key: '{}'}}}}", cert.display(), key.display());
    let secure = proxy(&sample(), &extra).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&cert).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let stream = TcpStream::connect(secure.running.address().expect("an address")).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    pull(stream, format!("https://localhost/v2/{NAME}/manifests/v1.0.0")).await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_outcome() {
    let proxy = proxy(&sample(), "").await;
    for target in ["/v2/", "/v2/samples/guestbook/manifests/v1.0.0", "/v2/a/manifests/none", "/v2/A/tags/list"] {
        get(&proxy, target, &[]).await;
    }
    let text = metrics(&proxy).await;
    for line in [
        r#"colocate_requests_total{route="base",method="GET",status="2xx",outcome="local"} 1"#,
        r#"colocate_requests_total{route="manifest",method="GET",status="2xx",outcome="relocated"} 1"#,
        r#"colocate_requests_total{route="manifest",method="GET",status="4xx",outcome="not_found"} 1"#,
        r#"colocate_requests_total{route="unknown",method="GET",status="4xx",outcome="refused"} 1"#,
        r#"colocate_relocations_total{outcome="relocated",reason="colocated"} 1"#,
        r#"operation="manifest",outcome="ok"} "#,
        r#"operation="blob",outcome="ok"} "#,
    ] {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
}

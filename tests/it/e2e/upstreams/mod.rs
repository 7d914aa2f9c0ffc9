//! Three registries behind one proxy, each private in a way of its own, the proxy with a certificate and names, and the
//! tools that people pull with.
//!
//! | registry | lets in | what the proxy has for it |
//! |---|---|---|
//! | `passwords.example` | who knows a password | a file with one |
//! | `tokens.example` | who has a token of the token server | a credential helper, by Docker's configuration |
//! | `certificates.example` | who has a client certificate | one |
//!
//! Nothing listens by these names: they are only what the registries are called.

mod chained;
mod exchange;
mod forms;
mod gates;
mod passage;
mod puller;
mod reloads;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::access::Access;
use crate::support::certificates::{Authority, Identity};
use crate::support::colocate::{Colocate, Settings};
use crate::support::http::{ACCEPT, Answer, Method};
use crate::support::layout::Golden;
use crate::support::names::Names;
use crate::support::registry::DockerRegistry;
use crate::support::secrets::secret;
use crate::support::token_server::TokenServer;
use crate::support::{require, require_root};

/// The proxy's endpoint, which leads to all registries.
const ENDPOINT: &str = "colocate.example";
/// What the proxy is called at the registries that know users.
const PROXY: &str = "proxy";

/// Whether the programs are there that every test here needs.
fn ready(tools: &[&str]) -> bool {
    require(&[&["docker-registry", "htpasswd"], tools].concat()) && require_root()
}

/// One of the registries.
struct Behind {
    name: &'static str,
    /// By which names its repositories go at [`ENDPOINT`].
    prefix: &'static str,
    /// The host at the proxy that leads to it alone.
    host: &'static str,
    url: String,
    /// The bundle it holds, with its images.
    golden: Golden,
    _registry: DockerRegistry,
}

impl Behind {
    /// The bundle's repository, as clients of [`ENDPOINT`] write it.
    fn prefixed(&self) -> String {
        format!("{ENDPOINT}/{}/{}", self.prefix, self.golden.repository)
    }

    /// As clients of its own host write it.
    fn hosted(&self) -> String {
        format!("{}/{}", self.host, self.golden.repository)
    }

    /// As those write it who know nothing of a proxy.
    fn original(&self) -> String {
        format!("{}/{}", self.name, self.golden.repository)
    }

    /// The lock that imgpkg would have written for the bundle at this place.
    fn lock_at(&self, target: &str) -> String {
        let lock = String::from_utf8(self.golden.pulled.clone()).expect("a lock is text");
        lock.replace(&format!("{}/{}@", Golden::ENDPOINT, self.golden.repository), &format!("{target}@"))
    }
}

/// Registries, token server, certificates and passwords.
struct World {
    directory: TempDir,
    /// Vouches for servers.
    authority: Authority,
    /// The certificate of every server here, the proxy's too.
    server: Identity,
    /// Vouches for clients.
    members: Authority,
    tokens: TokenServer,
    passwords: Behind,
    tokened: Behind,
    certificates: Behind,
    /// What everyone's password is, by name, at both registries that have passwords.
    known: BTreeMap<&'static str, String>,
}

impl World {
    async fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let own = |name: &str| {
            let own = directory.path().join(name);
            fs::create_dir(&own).expect("a directory for an authority");
            Authority::new(&own)
        };
        let (authority, members) = (own("servers"), own("members"));
        let known: BTreeMap<_, _> =
            [PROXY, "alice", "bob"].map(|name| (name, secret(&format!("{name}'s password")))).into();
        let hosts = ["passwords.colocate.example", "tokens.colocate.example", "certificates.colocate.example"];
        let server = authority.server(&[&[ENDPOINT], &hosts[..]].concat());
        let everyone = Access::anonymous().trusting(&authority);

        let tokens = TokenServer::start_tls(&server).await;
        tokens.user(PROXY, &known[PROXY], &[("*", "pull")]);
        tokens.user("alice", &known["alice"], &[("mirror2/*", "pull")]);
        tokens.user("bob", &known["bob"], &[("bob/*", "pull")]);
        tokens.everyone(&[("public/*", "pull")]);
        let registry = DockerRegistry::setup().tls(&server).tokens_of(&tokens).start().await;
        // By another name than its token server's.
        let url = format!("https://127.0.0.1:{}", registry.port());
        let golden = Golden::read("wide-app");
        for repository in [&golden.repository, "public/app"] {
            let token = tokens.token(repository, &["pull", "push"]);
            golden.colocated.push_as(&everyone.clone().bearer(&token), &url, repository).await;
        }
        let (name, prefix, host) = ("tokens.example", "mirror/tokens", hosts[1]);
        let tokened = Behind { name, prefix, host, url, golden, _registry: registry };

        let setup = DockerRegistry::setup().tls(&server);
        let registry = setup.password(PROXY, &known[PROXY]).password("alice", &known["alice"]).start().await;
        let (url, golden) = (registry.tls_url(), Golden::read("simple-app"));
        let proxy = everyone.clone().login(PROXY, &known[PROXY]);
        golden.colocated.push_as(&proxy, &url, &golden.repository).await;
        let (name, prefix, host) = ("passwords.example", "passwords", hosts[0]);
        let passwords = Behind { name, prefix, host, url, golden, _registry: registry };

        let registry = DockerRegistry::setup().tls(&server).clients_of(&members).start().await;
        let (url, golden) = (registry.tls_url(), Golden::read("nested-app"));
        let member = everyone.presenting(&members.client("seed"));
        golden.colocated.push_as(&member, &url, &golden.repository).await;
        // A prefix that nobody has to say is the name.
        let (name, host) = ("certificates.example", hosts[2]);
        let certificates = Behind { name, prefix: name, host, url, golden, _registry: registry };
        Self { directory, authority, server, members, tokens, passwords, tokened, certificates, known }
    }

    fn behind(&self) -> [&Behind; 3] {
        [&self.passwords, &self.tokened, &self.certificates]
    }

    /// Settings without an upstream, for a proxy with a certificate.
    fn settings(&self) -> Settings {
        let server = &self.server;
        Settings::new("")
            .set("upstream", Value::Null)
            .set("endpoint", ENDPOINT)
            .set("server.tls.cert", text(&server.certificate))
            .set("server.tls.key", text(&server.key))
    }

    /// A section for one of the registries, with nobody's credentials.
    fn section(&self, behind: &Behind) -> Value {
        json!({"registry": behind.name, "url": behind.url, "ca_file": text(self.authority.file())})
    }

    /// All three with the proxy's credentials: what is below `upstreams`.
    fn sections(&self) -> Value {
        let file = self.file("password", &format!("{}\n", self.known[PROXY]));
        let mut passwords = self.section(&self.passwords);
        passwords["prefix"] = json!(self.passwords.prefix);
        passwords["hosts"] = json!([self.passwords.host]);
        passwords["credentials"] = json!({"username": PROXY, "password_file": file});

        let mut tokened = self.section(&self.tokened);
        tokened["prefix"] = json!(self.tokened.prefix);
        tokened["hosts"] = json!([self.tokened.host]);
        tokened["auth"] = json!({"realms": [self.token_host()]});
        let config = json!({"credHelpers": {"other.example": "absent", self.tokened.name: "colocate-tests"}});
        tokened["credentials"] = json!({"docker_config": self.file("config.json", &config.to_string())});

        let mut certificates = self.section(&self.certificates);
        certificates["hosts"] = json!([self.certificates.host]);
        let Identity { certificate, key } = self.members.client(PROXY);
        certificates["tls"] = json!({"cert": text(&certificate), "key": text(&key)});
        json!([passwords, tokened, certificates])
    }

    /// Where the token server is.
    fn token_host(&self) -> String {
        let realm = self.tokens.realm();
        realm.trim_start_matches("https://").split('/').next().unwrap_or_default().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).expect("a file");
        text(&path)
    }

    /// Starts the proxy where it finds the credential helper.
    async fn serve(&self, settings: Settings) -> Front {
        let helpers = self.directory.path().join("helpers");
        let answer = json!({"ServerURL": self.tokened.name, "Username": PROXY, "Secret": self.known[PROXY]});
        credential_helper(&helpers, &answer);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("PATH={}:{path}", helpers.display());
        let mut colocate = Colocate::launch(&["env", &path], settings);
        colocate.ready().await;
        let hosts = self.behind().map(|behind| (behind.host, colocate.port()));
        let names = Names::start(&[&hosts[..], &[(ENDPOINT, colocate.port())]].concat()).await;
        let visitor = Access::anonymous().trusting(&self.authority).finding(&names);
        Front { colocate, names, visitor }
    }
}

/// The proxy, and the way to it.
struct Front {
    colocate: Colocate,
    names: Names,
    /// Who knows that way, and trusts the proxy's certificate.
    visitor: Access,
}

impl Front {
    /// Any request of a client for a host of the proxy's.
    async fn ask(&self, access: &Access, method: Method, host: &str, path: &str) -> Answer {
        let url = format!("{}{path}", self.colocate.url());
        access.send(method, &url, &[("host", host), ("accept", ACCEPT)], "").await
    }

    /// GET.
    async fn get(&self, access: &Access, host: &str, path: &str) -> Answer {
        self.ask(access, Method::GET, host, path).await
    }

    /// What a client is told of how to log in: the status of `/v2/`, and the challenge's scheme and first parameter.
    async fn login(&self, access: &Access, host: &str) -> (u16, Option<String>) {
        let answer = self.get(access, host, "/v2/").await;
        let challenge = answer
            .header("www-authenticate")
            .map(|challenge| challenge.split(',').next().unwrap_or_default().to_owned());
        (answer.status.as_u16(), challenge)
    }
}

/// A program that knows the password: `docker-credential-colocate-tests`.
fn credential_helper(directory: &Path, answer: &Value) {
    fs::create_dir_all(directory).expect("a directory for the helper");
    let script = format!("#!/bin/sh\nread -r server\ncat <<'END'\n{answer}\nEND\n");
    // By another process: what one of this one's has open for writing cannot be run by its children.
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$0" && chmod +x "$0""#])
        .arg(directory.join("docker-credential-colocate-tests"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    writer.stdin.take().expect("its input").write_all(script.as_bytes()).expect("a script");
    assert!(writer.wait().expect("the shell's end").success());
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

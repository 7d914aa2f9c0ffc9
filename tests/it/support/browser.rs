//! Chromium without a window, by WebDriver (W3C) as Debian's `chromedriver` speaks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Method};
use super::process::{Process, free_address};
use super::{eventually, find};

/// How long a page may take to show what it should: it asks every few seconds, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys without a character, as WebDriver names them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const LEFT: &str = "\u{e012}";

/// A browser with one page. It is gone when this is dropped.
pub(crate) struct Browser {
    /// The session's URL.
    session: String,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with nothing remembered.
    pub(crate) async fn start() -> Self {
        let address = free_address();
        let profile = TempDir::new().expect("a directory for the browser");
        let mut command = Command::new(find("chromedriver").expect("chromedriver is installed"));
        command.arg(format!("--port={}", address.port())).env("HOME", profile.path());
        let mut process = Process::spawn(command);
        let driver = format!("http://{address}");
        eventually("chromedriver answers", PATIENCE, async || {
            process.assert_running();
            http::try_send(Method::GET, &format!("{driver}/status"), &[], "").await.is_ok()
        })
        .await;
        // By a pipe, the browser ends with its driver, also where that is killed; as root, it has no sandbox.
        let arguments = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let binary = find("chromium").expect("chromium is installed");
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": binary, "args": arguments},
        }}});
        let created = call(Method::POST, &format!("{driver}/session"), &capabilities).await;
        let id = created["sessionId"].as_str().expect("a session has an id");
        Self { session: format!("{driver}/session/{id}"), _process: process, _profile: profile }
    }

    /// Opens an address, anew even if only the part behind `#` differs.
    pub(crate) async fn open(&self, url: &str) {
        self.post("url", json!({"url": "about:blank"})).await;
        self.post("url", json!({"url": url})).await;
    }

    /// Runs the body of a function and gives what it returns, or what its promise comes to.
    pub(crate) async fn script(&self, body: &str, arguments: Value) -> Value {
        self.post("execute/sync", json!({"script": body, "args": arguments})).await
    }

    /// The text that is seen of each element, with ordinary spaces.
    pub(crate) async fn texts(&self, css: &str) -> Vec<String> {
        let texts = "return Array.from(document.querySelectorAll(arguments[0]), \
            (node) => node.innerText.replace(/[\\u00a0\\u202f]/g, ' '))";
        serde_json::from_value(self.script(texts, json!([css])).await).expect("texts")
    }

    /// Waits until an element that fits has this in its text; gives all of its text.
    #[track_caller]
    pub(crate) fn shows(&self, css: &str, text: &str) -> impl Future<Output = String> {
        let (css, text, place) = (css.to_owned(), text.to_owned(), std::panic::Location::caller());
        async move {
            let start = Instant::now();
            loop {
                if let Some(shown) = self.texts(&css).await.into_iter().find(|shown| shown.contains(&text)) {
                    return shown;
                }
                if start.elapsed() > PATIENCE {
                    let all = self.texts("body").await;
                    let console = self.console().await;
                    panic!("{place}: not in {css}: {text}\n--- the page:\n{all:?}\n--- its console:\n{console:?}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Clicks on the first element that fits, which has to be in reach.
    pub(crate) async fn click(&self, css: &str) {
        let found = self.post("element", json!({"using": "css selector", "value": css})).await;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        self.post(&format!("element/{}/click", id.expect("an element has an id")), json!({})).await;
    }

    /// Presses these keys, one after the other, whatever has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let press = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let presses: Vec<Value> = keys.chars().flat_map(press).collect();
        self.post("actions", json!({"actions": [{"type": "key", "id": "keys", "actions": presses}]})).await;
    }

    /// The page before this one.
    pub(crate) async fn back(&self) {
        self.post("back", json!({})).await;
    }

    /// Makes the page so wide and high, in CSS pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chrome("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Says what the reader prefers, such as `prefers-color-scheme: dark`.
    pub(crate) async fn prefer(&self, feature: &str, value: &str) {
        let features = json!({"features": [{"name": feature, "value": value}]});
        self.chrome("Emulation.setEmulatedMedia", features).await;
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn chrome(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// Draws the whole page into a file that outlives the test, for people to look at.
    #[expect(clippy::print_stderr, reason = "the test harness shows where it is")]
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let drawn = self.chrome("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
        let bytes = STANDARD.decode(drawn["data"].as_str().expect("a drawing")).expect("base64");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        fs::create_dir_all(&directory).expect("a directory for screenshots");
        let file = directory.join(format!("{name}.png"));
        fs::write(&file, bytes).expect("a file for the screenshot");
        eprintln!("screenshot: {}", file.display());
        file
    }

    /// What the page's console said since this was asked for last; violations of its policy are there, too.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    async fn post(&self, command: &str, parameters: Value) -> Value {
        call(Method::POST, &format!("{}/{command}", self.session), &parameters).await
    }
}

async fn call(method: Method, url: &str, parameters: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let answer = http::send(method, url, &headers, parameters.to_string()).await;
    assert_eq!(answer.status, 200, "{url} {parameters}: {}", answer.json());
    answer.json()["value"].clone()
}

//! A ledger of what must never be in a log: every password, token and key that tests hand to the program.
//!
//! [`secret`] makes one up and writes it down, in every form in which it could come to light. Whatever log the
//! program leaves is searched for all of them when the process is dropped. In CI (`COLOCATE_TEST_LEDGER`, a directory)
//! the logs are kept and the ledger is a file, so that a search by other means follows when all tests are done.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tempfile::TempDir;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 16;
/// Forms are looked up by so many of their first bytes.
const KEY: usize = 8;

static LEDGER: Mutex<Option<Ledger>> = Mutex::new(None);

#[derive(Default)]
struct Ledger {
    forms: HashMap<[u8; KEY], Vec<Form>>,
}

/// One way to write a secret.
#[derive(Clone)]
struct Form {
    name: Arc<str>,
    text: Vec<u8>,
}

/// A new password or key, unlike any other text, that no log may hold.
pub(crate) fn secret(name: &str) -> String {
    let value = noise();
    register(name, &value);
    value
}

fn noise() -> String {
    let noise = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", noise(), noise())
}

/// Has this value looked for as well. Its name is what a failing test shows in its place.
pub(crate) fn register(name: &str, value: &str) {
    assert!(value.len() >= SHORTEST, "{name} is too short to be looked for");
    let forms = forms(value);
    write_down(&forms);
    remember(name, forms);
}

/// For the searches of this process.
fn remember(name: &str, forms: Vec<String>) {
    let name: Arc<str> = name.into();
    let mut ledger = ledger();
    let ledger = ledger.get_or_insert_default();
    for text in forms.into_iter().map(String::into_bytes) {
        let key = *text.first_chunk().expect("a form is longer than its key");
        let known = ledger.forms.entry(key).or_default();
        if known.iter().all(|form| form.text != text) {
            known.push(Form { name: name.clone(), text });
        }
    }
}

/// Fails the test if `text` holds any secret that a test has registered so far.
#[track_caller]
pub(crate) fn assert_absent(what: &str, text: impl AsRef<[u8]>) {
    let found = found_in(text.as_ref());
    // Not the text itself: it would only be spread further.
    assert!(found.is_empty(), "{what} holds secrets: {}", found.join(", "));
}

/// The names of the secrets in `text`.
fn found_in(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let ledger = ledger();
    let Some(ledger) = ledger.as_ref() else { return found };
    for (at, key) in text.windows(KEY).enumerate() {
        for form in ledger.forms.get(key).into_iter().flatten() {
            if text[at..].starts_with(&form.text) && found.iter().all(|name| **name != *form.name) {
                found.push(form.name.to_string());
            }
        }
    }
    found
}

fn ledger() -> MutexGuard<'static, Option<Ledger>> {
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As it is, in a URL, as `Debug` shows bytes, and inside of base64, whatever stands around it: `user:secret` of any
/// user, and both alphabets.
fn forms(value: &str) -> Vec<String> {
    let listed: Vec<_> = value.bytes().map(|byte| byte.to_string()).collect();
    let mut forms = vec![value.to_owned(), listed.join(", ")];
    forms.extend(url::form_urlencoded::byte_serialize(value.as_bytes()).map(str::to_owned).reduce(|a, b| a + &b));
    for before in 0..3 {
        let bytes = [&vec![0; before], value.as_bytes()].concat();
        // Characters that also depend on what stands before or after do not count.
        let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&bytes)[first..last].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Where CI wants logs and ledger, and where nobody else does.
fn directory() -> Option<PathBuf> {
    std::env::var_os("COLOCATE_TEST_LEDGER").filter(|directory| !directory.is_empty()).map(PathBuf::from)
}

/// One form a line, as `grep --file` takes them.
fn write_down(forms: &[String]) {
    let Some(directory) = directory() else { return };
    let lines: String = forms.iter().flat_map(|form| [form, "\n"]).collect();
    let file = OpenOptions::new().create(true).append(true).open(directory.join("secrets"));
    file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("a ledger that can be added to");
}

/// A directory for what a process of the program writes: one that stays where logs are kept, else a temporary one.
pub(crate) fn log_directory() -> TempDir {
    let temporary = || TempDir::new().expect("a directory for the output");
    let Some(directory) = directory() else { return temporary() };
    let logs = directory.join("logs");
    fs::create_dir_all(&logs).expect("a directory for the logs");
    // Called as the test is that started it, which is the first thing to know of a leak.
    let test = std::thread::current().name().unwrap_or("unnamed").replace("::", ".");
    let kept = tempfile::Builder::new().prefix(&format!("{test}-")).tempdir_in(logs);
    let mut kept = kept.expect("a directory for the output");
    kept.disable_cleanup(true);
    kept
}

#[test]
fn a_secret_is_found_in_every_form() {
    let value = secret("the ledger's own");
    let listed = format!("{:?}", value.as_bytes());
    let mut texts = vec![format!("password={value}"), listed];
    for user in ["a", "ab", "abc", "alice"] {
        texts.push(STANDARD_NO_PAD.encode(format!("{user}:{value}")));
        texts.push(URL_SAFE_NO_PAD.encode(format!("{user}:{value}?and more")));
    }
    for text in texts {
        assert_eq!(found_in(format!("a log: {text}\n").as_bytes()), ["the ledger's own"], "{text}");
        assert_eq!(found_in(&text.as_bytes()[..text.len() / 2]), [""; 0], "half of it is not it");
    }
    register("with a space", "correct horse & battery");
    assert_eq!(found_in(b"?p=correct+horse+%26+battery"), ["with a space"]);
    assert_absent("nothing", "");
}

#[test]
#[should_panic(expected = "the log holds secrets: a leaked one")]
fn a_leak_fails_the_test_without_showing_it() {
    let value = secret("a leaked one");
    assert_absent("the log", value);
}

#[tokio::test]
#[should_panic(expected = "what colocate wrote to stderr holds secrets: a file's name")]
async fn a_program_that_leaks_fails_the_test() {
    // Not written down: this leak is none to be found when all tests are done.
    let value = noise();
    remember("a file's name", forms(&value));
    super::colocate::colocate(&["check", "--config", &format!("/absent/{value}")]).await;
}

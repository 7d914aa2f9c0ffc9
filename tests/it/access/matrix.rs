//! Everything, asked for by everyone, in every state of the cache and of the registry behind.
//!
//! Who may read gets exactly the bytes. Who may not gets an answer that is the same as for a repository, and for a
//! digest, that nobody has ever heard of.

use std::collections::BTreeMap;
use std::ops::Range;

use http::Method;

use super::content::{BUNDLE_TAG, Kind, NOWHERE, OTHERS, REPOSITORY, Thing};
use super::mode::Mode;
use super::world::{EVERYONE, Proxy, Who, World};
use crate::support::http::Answer;

/// Ten things, four clients, four states and four ways to ask, in each mode.
const CELLS: usize = 640;
/// Eight things that have a reference, four ways to ask: Bob, in his own repository.
const CELLS_ELSEWHERE: usize = 32;

/// What there is to answer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is cached.
    Cold,
    /// Alice has pulled everything.
    Cached,
    /// Then the registry behind went down, which had just let Alice in.
    Down,
    /// It went down before it let anybody in.
    Unjudged,
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    Head,
    Range,
    Conditional,
}

const WAYS: [Way; 4] = [Way::Get, Way::Head, Way::Range, Way::Conditional];

/// What is asked for by [`Way::Range`].
const PART: Range<usize> = 3..40;

#[tokio::test]
async fn open() {
    hold(Mode::Open).await;
}

#[tokio::test]
async fn open_with_a_credential_of_the_proxy_s() {
    hold(Mode::Public).await;
}

#[tokio::test]
async fn by_passwords() {
    hold(Mode::Htpasswd).await;
}

#[tokio::test]
async fn by_certificates() {
    hold(Mode::Certificate).await;
}

#[tokio::test]
async fn by_passwords_passed_on() {
    hold(Mode::Passed).await;
}

#[tokio::test]
async fn by_passwords_passed_on_to_a_registry_that_hides() {
    hold(Mode::PassedHiding).await;
}

#[tokio::test]
async fn by_tokens_passed_on() {
    hold(Mode::PassedTokens).await;
}

#[tokio::test]
async fn by_passwords_behind_a_prefix() {
    hold(Mode::Exchanged).await;
}

#[tokio::test]
async fn by_passwords_for_tokens_behind_a_prefix() {
    hold(Mode::ExchangedTokens).await;
}

/// The things, and who asks for them.
struct Table {
    world: World,
    things: Vec<Thing>,
}

/// One place in it.
#[derive(Clone, Copy, Debug)]
struct Cell<'t> {
    thing: &'t Thing,
    who: Who,
    state: State,
    way: Way,
}

/// Goes through the table of one mode.
async fn hold(mode: Mode) {
    let table = Table::new(mode).await;
    let cache = tempfile::tempdir().expect("a directory");
    let mut cells = 0;

    let proxy = table.world.proxy(cache.path(), "").await;
    let mut refused = Vec::new();
    for cell in table.cells(State::Cold) {
        if table.may(&cell) {
            let cache = tempfile::tempdir().expect("a directory");
            let proxy = table.world.proxy(cache.path(), "").await;
            table.check(&proxy, &cell).await;
        } else {
            refused.push(table.check(&proxy, &cell).await);
        }
        cells += 1;
    }

    table.pull_all(&proxy).await;
    let mut refused = refused.into_iter();
    for cell in table.cells(State::Cached) {
        let told = table.check(&proxy, &cell).await;
        if !table.may(&cell) {
            assert_eq!(told, refused.next().expect("as many"), "{mode:?} {cell:?}: it shows that it is cached");
        }
        cells += 1;
    }
    let elsewhere = table.elsewhere(&proxy).await;
    proxy.stop().await;

    let proxy = table.world.proxy(cache.path(), "").await;
    let path = table.things[0].path(&mode.called(REPOSITORY));
    table.world.ask(&proxy, Who::Owner, Method::HEAD, &path, &[]).await.expect("an answer").expect(200);
    table.world.behind.goes_down();
    for cell in table.cells(State::Down) {
        table.check(&proxy, &cell).await;
        cells += 1;
    }
    proxy.stop().await;

    let proxy = table.world.proxy(cache.path(), "").await;
    for cell in table.cells(State::Unjudged) {
        table.check(&proxy, &cell).await;
        cells += 1;
    }
    proxy.stop().await;

    assert_eq!((cells, elsewhere), (CELLS, CELLS_ELSEWHERE), "the table has shrunk, or grown");
    table.nothing_else_was_shown();
}

impl Table {
    async fn new(mode: Mode) -> Self {
        let world = World::new(mode).await;
        // What is made of the bundle depends on nothing but it and its name, so any proxy makes the same.
        let cache = tempfile::tempdir().expect("a directory");
        let proxy = world.proxy(cache.path(), "").await;
        let repository = mode.called(REPOSITORY);
        let relocated = world.pull(&proxy, &repository, BUNDLE_TAG).await;
        let lock = String::from_utf8(relocated.lock()).expect("text");
        assert!(lock.contains(&format!("image: proxy.example:5000/{repository}@sha256:")), "{lock}");
        let things = world.content.things(&repository, &relocated);
        Self { world, things }
    }

    fn cells(&self, state: State) -> impl Iterator<Item = Cell<'_>> {
        let whos = self.things.iter().flat_map(|thing| EVERYONE.map(|who| (thing, who)));
        whos.flat_map(move |(thing, who)| WAYS.map(|way| Cell { thing, who, state, way }))
    }

    /// Whether this client may read what it asks for.
    fn may(&self, cell: &Cell<'_>) -> bool {
        cell.who == Who::Owner || self.world.mode.is_open()
    }

    async fn pull_all(&self, proxy: &Proxy) {
        for thing in &self.things {
            let path = thing.path(&self.world.mode.called(REPOSITORY));
            let answer = self.world.ask(proxy, Who::Owner, Method::GET, &path, &[]).await.expect("an answer");
            assert_eq!(answer.expect(200).body, thing.bytes, "{}", thing.name);
        }
    }

    /// Checks one place. Gives what somebody was told who may not read.
    async fn check(&self, proxy: &Proxy, cell: &Cell<'_>) -> Option<Told> {
        let mode = self.world.mode;
        let answer = self.ask(proxy, cell, &cell.thing.path(&mode.called(REPOSITORY))).await;
        let what = format!("{mode:?} {cell:?}: {answer:?}");
        let down = matches!(cell.state, State::Down | State::Unjudged);
        let unjudged = mode.is_judged_upstream() && cell.state == State::Unjudged;
        if self.may(cell) {
            let answer = answer.unwrap_or_else(|| panic!("{what}"));
            if unjudged || (down && matches!(cell.thing.kind, Kind::Tags | Kind::Referrers)) {
                assert!(matches!(answer.status.as_u16(), 502..=504), "{what}");
                assert_nothing_of(cell.thing, &answer, &what);
            } else {
                cell.assert_served(&answer, &what);
            }
            return None;
        }
        assert_eq!(answer.as_ref().map(|answer| answer.status.as_u16()), self.refusal(cell), "{what}");
        if let Some(answer) = &answer {
            assert_nothing_of(cell.thing, answer, &what);
            let challenge = self.challenge(cell.who).filter(|_| answer.status == 401);
            let challenged = answer.header("www-authenticate").map(|value| value.replace(", ", ","));
            assert_eq!(challenged, challenge.map(|value| value.replace(", ", ",")), "{what}");
        }
        let told = answer.map(Told::of);
        let absent = cell.thing.absent();
        for repository in [NOWHERE, REPOSITORY] {
            let path = cell.thing.path_of(&mode.called(repository), &absent);
            let other = self.ask(proxy, cell, &path).await.map(Told::of);
            let other = other.map(|told| told.about(repository, &absent, cell.thing));
            assert_eq!(told, other, "{what}: not as for {path}");
        }
        told
    }

    /// Bob asks his own repository for what is in Alice's.
    async fn elsewhere(&self, proxy: &Proxy) -> usize {
        let mut cells = 0;
        let repository = self.world.mode.called(OTHERS);
        let things = self.things.iter().filter(|thing| matches!(thing.kind, Kind::Manifest | Kind::Blob));
        for cell in things.flat_map(|thing| WAYS.map(|way| Cell { thing, who: Who::Other, state: State::Cached, way }))
        {
            let absent = cell.thing.absent();
            let answer = self.ask(proxy, &cell, &cell.thing.path(&repository)).await.expect("an answer");
            let what = format!("{:?} elsewhere {cell:?}: {answer:?}", self.world.mode);
            assert_eq!(answer.status, 404, "{what}");
            assert_nothing_of(cell.thing, &answer, &what);
            let other = self.ask(proxy, &cell, &cell.thing.path_of(&repository, &absent)).await.map(Told::of);
            let other = other.map(|told| told.about(OTHERS, &absent, cell.thing));
            assert_eq!(Some(Told::of(answer).about(OTHERS, &absent, cell.thing)), other, "{what}");
            cells += 1;
        }
        cells
    }

    async fn ask(&self, proxy: &Proxy, cell: &Cell<'_>, path: &str) -> Option<Answer> {
        let (range, condition) = (format!("bytes={}-{}", PART.start, PART.end - 1), cell.thing.entity_tag());
        let headers: &[_] = match cell.way {
            Way::Get | Way::Head => &[],
            Way::Range => &[("range", range.as_str())],
            Way::Conditional => &[("if-none-match", condition.as_str())],
        };
        let method = if cell.way == Way::Head { Method::HEAD } else { Method::GET };
        self.world.ask(proxy, cell.who, method, path, headers).await
    }

    /// The status for whoever may not read; none where no connection comes about.
    fn refusal(&self, cell: &Cell<'_>) -> Option<u16> {
        let down = matches!(cell.state, State::Down | State::Unjudged);
        Some(match (self.world.mode, cell.who) {
            (Mode::Certificate, Who::Wrong) => return None,
            (mode, _) if mode.is_judged_upstream() && down => 503,
            (Mode::Certificate, _) | (Mode::Htpasswd | Mode::Passed | Mode::Exchanged, Who::Other) => 403,
            // What refers to something that is not there is an empty list.
            (Mode::PassedHiding, Who::Other) if cell.thing.kind == Kind::Referrers => 200,
            (Mode::PassedHiding, Who::Other) => 404,
            _ => 401,
        })
    }

    /// What a 401 asks for.
    fn challenge(&self, who: Who) -> Option<String> {
        let (mode, tokens) = (self.world.mode, &self.world.behind.tokens);
        Some(match mode {
            Mode::Open | Mode::Public | Mode::Certificate => return None,
            Mode::Htpasswd | Mode::Exchanged | Mode::ExchangedTokens => super::world::CHALLENGE.to_owned(),
            Mode::Passed | Mode::PassedHiding => r#"Basic realm="behind""#.to_owned(),
            Mode::PassedTokens => {
                let (tokens, scope) = (tokens.as_ref()?, format!("repository:{REPOSITORY}:pull"));
                let (realm, service) = (tokens.realm(), tokens.service());
                let told = format!(r#"Bearer realm="{realm}",service="{service}",scope="{scope}""#);
                // A token that says too little is told so.
                if who == Who::Other { format!(r#"{told},error="insufficient_scope""#) } else { told }
            }
        })
    }

    /// The registry behind saw nobody's credential but those that were for it.
    fn nothing_else_was_shown(&self) {
        let mode = self.world.mode;
        let clients: Vec<_> = EVERYONE.iter().filter_map(|who| self.world.caller(*who).authorization.clone()).collect();
        let shown: Vec<_> = self.world.behind.was_shown().into_iter().flatten().collect();
        assert_eq!(shown.is_empty(), mode == Mode::Open, "{mode:?}");
        for header in shown {
            match mode {
                Mode::Passed | Mode::PassedHiding | Mode::PassedTokens | Mode::Exchanged => {
                    assert!(clients.contains(&header), "{mode:?}: somebody else's");
                }
                Mode::Public | Mode::ExchangedTokens => assert!(header.starts_with("Bearer "), "{mode:?}: no token"),
                Mode::Open | Mode::Htpasswd | Mode::Certificate => {
                    assert!(!clients.contains(&header), "{mode:?}: a client's");
                }
            }
        }
    }
}

impl Cell<'_> {
    /// Insists on exactly the bytes.
    fn assert_served(&self, answer: &Answer, what: &str) {
        let Thing { kind, bytes, .. } = self.thing;
        let size = bytes.len().to_string();
        let (status, body, length) = match (self.way, kind) {
            (Way::Conditional, Kind::Manifest | Kind::Blob) => (304, &[][..], None),
            (Way::Range, Kind::Blob) => (206, &bytes[PART], Some(PART.len().to_string())),
            (Way::Head, _) => (200, &[][..], Some(size)),
            _ => (200, &bytes[..], Some(size)),
        };
        assert_eq!(answer.status.as_u16(), status, "{what}");
        assert!(answer.broken.is_none() && answer.body == body, "{what}");
        if let Some(length) = length {
            assert_eq!(answer.header("content-length"), Some(length.as_str()), "{what}");
        }
        if matches!(kind, Kind::Manifest | Kind::Blob) {
            assert_eq!(answer.digest(), self.thing.digest(), "{what}");
        }
    }
}

/// An answer without what every answer has anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Told {
    pub(super) fn of(answer: Answer) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
        let headers = answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
        Self {
            status: answer.status.as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: String::from_utf8(answer.body.into()).expect("text"),
        }
    }

    /// As if it were about this thing, and not about another name of the same length.
    fn about(mut self, repository: &str, reference: &str, thing: &Thing) -> Self {
        for text in self.headers.values_mut().chain([&mut self.body]) {
            *text = text.replace(repository, REPOSITORY).replace(reference, &thing.reference);
        }
        self
    }
}

/// Insists on an answer that tells nothing of a thing.
fn assert_nothing_of(thing: &Thing, answer: &Answer, what: &str) {
    if answer.status == 200 {
        assert!(answer.body.is_empty() || answer.json()["manifests"] == serde_json::json!([]), "{what}");
    } else {
        assert!(!thing.is_in(&answer.body), "{what}");
    }
    for name in ["docker-content-digest", "etag", "content-range", "accept-ranges", "last-modified", "age"] {
        assert_eq!(answer.header(name), None, "{what}");
    }
    assert!(answer.header("content-length") != Some(&thing.bytes.len().to_string()), "{what}");
    let (content_type, cache_control) = match answer.status.as_u16() {
        200 => ("application/vnd.oci.image.index.v1+json", "no-cache"),
        _ => ("application/json", "no-store"),
    };
    assert_eq!(answer.header("content-type"), Some(content_type), "{what}");
    assert_eq!(answer.header("cache-control"), Some(cache_control), "{what}");
}

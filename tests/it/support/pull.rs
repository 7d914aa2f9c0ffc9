//! A client of one blob that checks every byte as it comes, and keeps none.

use std::ops::Range;
use std::time::Duration;

use super::http::{self, Method};
use super::pattern::Pattern;

/// How long an answer, or the next bytes of it, may take before the client counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request for a blob, and how the client behaves.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    url: String,
    content: Pattern,
    range: Option<Range<u64>>,
    leaves_after: u64,
    pause: Option<Duration>,
    trusts: bool,
}

/// How a pull ended. Whatever came was right, or there would be a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that was asked for.
    Whole,
    /// The client left.
    Left,
    /// The body broke after so many bytes.
    Broken(u64),
    /// Another answer.
    Status(u16),
    /// No answer.
    Unreachable,
}

impl Pull {
    /// All of it, from the registry at this URL.
    pub(crate) fn of(registry: &str, repository: &str, content: &Pattern) -> Self {
        let url = format!("{registry}/v2/{repository}/blobs/{}", content.digest());
        Self { url, content: *content, range: None, leaves_after: u64::MAX, pause: None, trusts: false }
    }

    /// Only this part.
    pub(crate) fn range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// The client leaves when it has so many bytes.
    pub(crate) fn leaves_after(mut self, bytes: u64) -> Self {
        self.leaves_after = bytes;
        self
    }

    /// The client rests after each piece.
    pub(crate) fn slowly(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The client expects wrong bytes on the way, though never a clean end after them.
    pub(crate) fn trustingly(mut self) -> Self {
        self.trusts = true;
        self
    }

    /// Does it.
    pub(crate) async fn run(self) -> Ended {
        let wanted = self.range.clone().unwrap_or(0..self.content.size());
        let range = format!("bytes={}-{}", wanted.start, wanted.end - 1);
        let headers = self.range.as_ref().map(|_| ("range", range.as_str()));
        let opened = http::open(Method::GET, &self.url, headers.as_slice(), "");
        let Ok(mut arriving) = self.in_time(opened).await else { return Ended::Unreachable };
        let status = arriving.status.as_u16();
        if status != if self.range.is_some() { 206 } else { 200 } {
            return Ended::Status(status);
        }
        let length = arriving.headers.get("content-length").and_then(|length| length.to_str().ok());
        assert_eq!(length, Some((wanted.end - wanted.start).to_string().as_str()), "{self:?}");
        let (mut at, mut right) = (wanted.start, true);
        loop {
            if at - wanted.start >= self.leaves_after {
                return Ended::Left;
            }
            match self.in_time(arriving.next()).await {
                Some(Ok(piece)) => {
                    right &= self.content.holds(at, &piece);
                    assert!(right || self.trusts, "wrong bytes in {at}..+{} of {self:?}", piece.len());
                    at += piece.len() as u64;
                }
                Some(Err(_)) => return Ended::Broken(at - wanted.start),
                None => break,
            }
            if let Some(pause) = self.pause {
                tokio::time::sleep(pause).await;
            }
        }
        assert!(right, "a clean end after wrong bytes: {self:?}");
        assert_eq!(at, wanted.end, "a clean end of too few bytes: {self:?}");
        Ended::Whole
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> T {
        let waited = tokio::time::timeout(PATIENCE, answer).await;
        waited.unwrap_or_else(|_| panic!("nothing for {PATIENCE:?}: {self:?}"))
    }
}

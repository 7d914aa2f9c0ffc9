//! Response bodies that stall, break, crawl and lie.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::content::Content;
use super::script::Gate;
use super::{Shared, lock};

/// A range of content, and where on the way something happens.
pub(super) struct ScriptedBody {
    path: String,
    state: Shared,
    content: Content,
    /// Where in the content the next byte is.
    at: u64,
    end: u64,
    chunk: u64,
    pause: Option<Duration>,
    event: Option<(u64, Event)>,
    /// Which byte has a bit changed.
    flipped: Option<u64>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What happens at an offset.
pub(super) enum Event {
    Stall,
    Break,
    /// The break, once what came before it is out.
    Broken,
    Hold(Gate),
}

impl ScriptedBody {
    pub(super) fn new(path: &str, state: Shared, content: Content, range: Range<u64>) -> Self {
        let Range { start: at, end } = range;
        let (path, chunk) = (path.to_owned(), 64 << 10);
        Self { path, state, content, at, end, chunk, pause: None, event: None, flipped: None, waiting: None }
    }

    pub(super) fn slow(&mut self, chunk: usize, pause: Duration) {
        self.chunk = chunk as u64;
        self.pause = Some(pause);
    }

    pub(super) fn happen(&mut self, offset: u64, event: Event) {
        self.event = Some((offset, event));
    }

    pub(super) fn flip(&mut self, offset: u64) {
        self.flipped = Some(offset);
    }

    pub(super) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes, up to `end` or fewer.
    fn take(&mut self, end: u64) -> Bytes {
        let start = self.at;
        let mut data = self.content.piece(start..end);
        self.at += data.len() as u64;
        if let Some(offset) = self.flipped.filter(|offset| (start..self.at).contains(offset)) {
            let mut bytes = data.to_vec();
            bytes[usize::try_from(offset - start).expect("an offset in memory")] ^= 1;
            data = bytes.into();
        }
        *lock(&self.state).sent.entry(self.path.clone()).or_default() += data.len() as u64;
        data
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
            }
            if this.at == this.end {
                return Poll::Ready(None);
            }
            let mut end = this.end.min(this.at + this.chunk);
            match &this.event {
                Some((offset, _)) if *offset > this.at => end = end.min(*offset),
                Some((_, Event::Break)) => {
                    // hyper throws away what it has not sent when a body fails, so it gets time to send it.
                    this.waiting = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
                    this.event = Some((this.at, Event::Broken));
                    continue;
                }
                Some((_, Event::Broken)) => return Poll::Ready(Some(Err(io::Error::other("scripted break")))),
                Some((_, Event::Stall)) => {
                    this.waiting = Some(Box::pin(std::future::pending()));
                    continue;
                }
                Some((_, Event::Hold(gate))) => {
                    this.waiting = Some(Box::pin(gate.clone().passed()));
                    this.event = None;
                    continue;
                }
                None => {}
            }
            let data = this.take(end);
            if let Some(pause) = this.pause {
                this.waiting = Some(Box::pin(tokio::time::sleep(pause)));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

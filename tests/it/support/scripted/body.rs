//! Response bodies that stall, break, crawl and lie.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::script::Gate;
use super::{Shared, lock};

/// Content from an offset on, and where on the way something happens.
pub(super) struct ScriptedBody {
    path: String,
    state: Shared,
    content: Bytes,
    /// Where in the content the next byte is.
    at: usize,
    chunk: usize,
    pause: Option<Duration>,
    event: Option<(usize, Event)>,
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
    pub(super) fn new(path: &str, state: Shared, content: Bytes, start: usize) -> Self {
        let chunk = 64 << 10;
        Self { path: path.to_owned(), state, content, at: start, chunk, pause: None, event: None, waiting: None }
    }

    pub(super) fn slow(&mut self, chunk: usize, pause: Duration) {
        self.chunk = chunk;
        self.pause = Some(pause);
    }

    pub(super) fn happen(&mut self, offset: u64, event: Event) {
        self.event = Some((usize::try_from(offset).expect("an offset in memory"), event));
    }

    pub(super) fn flip(&mut self, offset: u64) {
        let mut content = self.content.to_vec();
        content[usize::try_from(offset).expect("an offset in memory")] ^= 1;
        self.content = content.into();
    }

    pub(super) fn remaining(&self) -> usize {
        self.content.len() - self.at
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
            if this.at == this.content.len() {
                return Poll::Ready(None);
            }
            let mut end = this.content.len().min(this.at + this.chunk);
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
            let data = this.content.slice(this.at..end);
            this.at = end;
            *lock(&this.state).sent.entry(this.path.clone()).or_default() += data.len() as u64;
            if let Some(pause) = this.pause {
                this.waiting = Some(Box::pin(tokio::time::sleep(pause)));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.content.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining() as u64)
    }
}

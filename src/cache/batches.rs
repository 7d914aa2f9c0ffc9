//! Bodies in pieces of a good size.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as _;

use crate::body::{Body, BoxError};

/// How much is taken at once, if it is there already: a write is a trip to another thread.
const BATCH_BYTES: usize = 256 << 10;
/// How many pieces are taken at once: a source that sends single bytes must not have each cost a `Bytes`.
const BATCH_PIECES: usize = 256;

/// A body in larger pieces: all that is there at once, up to the bounds above, and never waiting for more.
pub(super) struct Batches {
    body: Body,
    back: Vec<Bytes>,
    // How the body ended, if that was seen behind bytes that went first.
    end: Option<Result<(), BoxError>>,
}

impl Batches {
    pub(super) fn new(body: Body) -> Self {
        Self { body, back: Vec::new(), end: None }
    }

    /// Gives pieces that were taken out with the next batch.
    pub(super) fn put_back(&mut self, pieces: Vec<Bytes>) {
        self.back = pieces;
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, BoxError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Vec<Bytes>>, BoxError>> {
        if !self.back.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.back))));
        }
        let (mut batch, mut length) = (Vec::new(), 0);
        while self.end.is_none() && length < BATCH_BYTES && batch.len() < BATCH_PIECES {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Ready(Some(Err(err))) => self.end = Some(Err(err)),
                // Trailers are nobody's business here.
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        length += data.len();
                        batch.push(data);
                    }
                    _ => {}
                },
            }
        }
        if !batch.is_empty() {
            return Poll::Ready(Ok(Some(batch)));
        }
        // Asked again after an error it would say "ended"; nobody does.
        Poll::Ready(self.end.replace(Ok(())).unwrap_or(Ok(())).map(|()| None))
    }
}

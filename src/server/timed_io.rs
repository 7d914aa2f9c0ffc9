//! Time limits on a connection that hyper does not have.
//!
//! hyper limits how long a request's head takes, but not how long a response may wait for its reader, and
//! hyper-util waits without limit for the first bytes that tell HTTP/1.1 from HTTP/2.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What an HTTP/2 connection starts with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails when its start, or the taking of what was written, takes too long.
pub(super) struct TimedIo<S> {
    inner: S,
    /// The time for the bytes that tell the protocols apart; `None` once they came.
    start: Option<Pin<Box<Sleep>>>,
    /// How much of the preface the client has sent.
    preface: usize,
    idle: Duration,
    /// Runs while a write waits for the client; kept to be reset, since most connections write again.
    stalled: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<S> TimedIo<S> {
    /// `start` bounds the first bytes, `idle` each wait for the client to take some.
    pub(super) fn new(inner: S, start: Duration, idle: Duration) -> Self {
        Self { inner, start: Some(Box::pin(sleep(start))), preface: 0, idle, stalled: None, waiting: false }
    }

    fn started(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.preface..];
        let length = bytes.len().min(expected.len());
        self.preface += length;
        // Bytes that differ are HTTP/1.1, whose head is hyper's to time; so is HTTP/2 after its preface.
        if bytes[..length] != expected[..length] || self.preface == PREFACE.len() {
            self.start = None;
        }
    }

    /// Passes on how a write went, or gives up on one that waited too long.
    fn timed<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        let deadline = Instant::now() + self.idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if !self.waiting {
            self.waiting = true;
            stalled.as_mut().reset(deadline);
        }
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.start.is_none() {
            return polled;
        }
        if polled.is_ready() {
            self.started(&buf.filled()[before..]);
            return polled;
        }
        if self.start.as_mut().is_some_and(|start| start.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client sent no request")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.timed(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.timed(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.timed(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.timed(polled, cx)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const START: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_or_half_a_preface_is_cut() {
        for said in [&b""[..], &PREFACE[..7], &PREFACE[..23]] {
            let (mut client, server) = duplex(1024);
            let mut server = TimedIo::new(server, START, IDLE);
            client.write_all(said).await.unwrap();
            let begun = Instant::now();
            let err = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!((err.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, START), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn once_the_protocol_is_known_reading_is_hypers_to_time() {
        for said in [&b"G"[..], b"PRJ", PREFACE] {
            let (mut client, server) = duplex(1024);
            let mut server = TimedIo::new(server, START, IDLE);
            client.write_all(said).await.unwrap();
            let mut read = Vec::new();
            assert!(tokio::time::timeout(START * 9, server.read_to_end(&mut read)).await.is_err(), "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_cut_and_a_slow_one_is_not() {
        let (mut client, server) = duplex(4);
        let mut server = TimedIo::new(server, START, IDLE);
        let writing = tokio::spawn(async move { server.write_all(&[0; 32]).await.map_err(|err| err.kind()) });
        for _ in 0..4 {
            tokio::time::sleep(IDLE - START).await;
            client.read_exact(&mut [0; 4]).await.unwrap();
        }
        let begun = Instant::now();
        assert_eq!(writing.await.unwrap(), Err(io::ErrorKind::TimedOut));
        assert!(begun.elapsed() <= IDLE);
    }
}

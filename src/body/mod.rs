//! The small vocabulary every asynchronous room shares: boxed futures and errors, message bodies, the clock.
//!
//! A [`Body`] is what the server sends, an upstream answers and the cache streams; one boxed type, so that the
//! rooms between never name each other's wrappers. Bodies made here know their exact length where there is
//! one ([`sized`] enforces it), because `Content-Length` is taken from `size_hint`, and they end in an error
//! rather than early: a client must be able to tell a broken body from a whole one.
//!
//! The [`Clock`] stands here because everything that waits or ages takes one, so that schedules can be
//! simulated. What is left out: anything that knows HTTP, registries or files.

mod clock;
mod error;
mod sized;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};

pub use clock::{Clock, SystemClock, unix_seconds};
pub use error::{find_source, with_causes};
pub use sized::{SizeError, sized};

/// A future behind a trait object, as the narrow traits return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An error whose kind its receiver looks up with [`find_source`], if at all.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of every response, and of every blob.
pub type Body = BoxBody<Bytes, BoxError>;

/// A body without bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body of exactly `bytes`.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Why a body could not be taken in whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It has more bytes than the caller allows.
    #[error("the body is larger than {cap} bytes")]
    TooLarge {
        /// What was allowed.
        cap: usize,
    },
    /// It broke.
    #[error("the body broke off")]
    Body(#[source] BoxError),
}

/// Takes in a whole body of at most `cap` bytes; the only way to do so, since no buffer may be unbounded.
///
/// A body that announces more than `cap` is refused before its first byte is read.
///
/// # Errors
/// When the body is larger, or breaks.
pub async fn collect<B>(body: B, cap: usize) -> Result<Bytes, CollectError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let announced = body.size_hint().lower();
    if announced > cap as u64 {
        return Err(CollectError::TooLarge { cap });
    }
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| CollectError::Body(err.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > cap - first.len() - rest.len() {
            return Err(CollectError::TooLarge { cap });
        }
        // Most bodies that are collected are one frame, which then is not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::io;

    use http_body::Body as _;

    use super::*;

    fn pieces(pieces: Vec<Result<Bytes, io::Error>>, size: u64) -> Body {
        sized(size, pieces.into_iter(), |mut pieces| async move {
            match pieces.next() {
                Some(Ok(piece)) => Ok(Some((piece, pieces))),
                Some(Err(err)) => Err(err.into()),
                None => Ok(None),
            }
        })
    }

    #[tokio::test]
    async fn collects_up_to_the_cap_and_not_beyond() {
        let two = || pieces(vec![Ok("abc".into()), Ok("de".into())], 5);
        assert_eq!(collect(two(), 5).await.expect("5 bytes"), "abcde");
        assert!(matches!(collect(two(), 4).await, Err(CollectError::TooLarge { cap: 4 })));
        assert!(matches!(collect(full("abc"), 2).await, Err(CollectError::TooLarge { cap: 2 })));
        assert_eq!(collect(empty(), 0).await.expect("no bytes"), "");
        let broken = pieces(vec![Ok("abc".into()), Err(io::Error::other("gone"))], 5);
        assert!(matches!(collect(broken, 5).await, Err(CollectError::Body(_))));
    }

    #[tokio::test]
    async fn a_sized_body_never_ends_cleanly_at_another_length() {
        let body = pieces(vec![Ok("abc".into())], 3);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(collect(body, 10).await.expect("3 bytes"), "abc");
        for (size, actual) in [(4, 3), (2, 3)] {
            let Err(CollectError::Body(err)) = collect(pieces(vec![Ok("abc".into())], size), 10).await else {
                panic!("a body of 3 bytes passed for {size}");
            };
            assert_eq!(find_source::<SizeError>(&*err), Some(&SizeError { expected: size, actual }));
        }
        assert!(pieces(vec![], 0).is_end_stream());
    }
}

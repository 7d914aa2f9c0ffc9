//! Finding a cause inside an error.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// The first error of type `E` in the chain of causes, `err` itself included.
///
/// Following `source()` alone is not enough: `io::Error::other(e).source()` is `e`'s source and never `e`, and an
/// `Arc<E>` in the chain likewise answers with what is behind `E`. Both are looked into.
pub fn find_source<'a, E: Error + 'static>(err: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(err);
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<E>() {
            return Some(found);
        }
        if let Some(shared) = err.downcast_ref::<Arc<E>>() {
            return Some(shared);
        }
        next = inside(err).or_else(|| err.source());
    }
    None
}

/// What `err` merely wraps, for the wrappers whose `source()` skips it.
fn inside<'a>(err: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(io) = err.downcast_ref::<io::Error>() {
        return io.get_ref().map(|inner| inner as &(dyn Error + 'static));
    }
    if let Some(io) = err.downcast_ref::<Arc<io::Error>>() {
        return Some(&**io);
    }
    let shared = err.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    Some(&**shared)
}

/// An error and the chain of its causes on one line.
pub fn with_causes(err: &(dyn Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("cause {0}")]
    struct Cause(u8);

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer<S: Error + 'static>(#[source] S);

    #[test]
    fn looks_through_what_hides_its_cause() {
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(io::Error::other(Cause(2)));
        let chains: [(u8, Box<dyn Error>); 6] = [
            (0, Box::new(Cause(0))),
            (1, Box::new(Outer(io::Error::other(Outer(Cause(1)))))),
            (2, Box::new(io::Error::other(Outer(shared)))),
            (3, Box::new(Outer(Arc::new(Cause(3))))),
            (4, Box::new(Outer(Arc::new(io::Error::other(Cause(4)))))),
            (5, Box::new(io::Error::other(io::Error::other(Cause(5))))),
        ];
        for (number, chain) in &chains {
            assert_eq!(find_source::<Cause>(&**chain), Some(&Cause(*number)), "{chain:?}");
        }
        assert_eq!(find_source::<Cause>(&io::Error::other("text")), None);
        assert_eq!(find_source::<Cause>(&io::Error::from_raw_os_error(2)), None);
    }
}

//! Two sequences beside each other: what is in both, and what in one alone.

use std::collections::VecDeque;

/// How far is looked for where two sequences meet again. So much is held of each at most.
const WINDOW: usize = 1024;

/// A step through both.
pub(super) enum Step<T> {
    /// In both, or at least in the place of one another.
    Both(T, T),
    /// Missing in the second.
    Missing(T),
    /// Only in the second.
    Extra(T),
}

/// Walks two sequences in lockstep. Where they part, the nearest place at which they meet again decides what of each
/// stands alone.
pub(super) struct Alignment<T, E, F> {
    expected: Side<T, E>,
    found: Side<T, F>,
}

struct Side<T, S> {
    source: S,
    ahead: VecDeque<T>,
    ended: bool,
}

impl<T, S, Error> Side<T, S>
where
    S: FnMut() -> Result<Option<T>, Error>,
{
    /// The item so far ahead.
    fn peek(&mut self, distance: usize) -> Result<Option<&T>, Error> {
        while !self.ended && self.ahead.len() <= distance {
            match (self.source)()? {
                Some(item) => self.ahead.push_back(item),
                None => self.ended = true,
            }
        }
        Ok(self.ahead.get(distance))
    }
}

impl<T, E, F> Alignment<T, E, F> {
    /// Over what two sources give until each has no more.
    pub(super) fn new(expected: E, found: F) -> Self {
        let side = |source| Side { source, ahead: VecDeque::new(), ended: false };
        Self { expected: side(expected), found: Side { source: found, ahead: VecDeque::new(), ended: false } }
    }

    /// The next step; `same` says which items belong together.
    pub(super) fn next<Error>(&mut self, same: impl Fn(&T, &T) -> bool) -> Result<Option<Step<T>>, Error>
    where
        E: FnMut() -> Result<Option<T>, Error>,
        F: FnMut() -> Result<Option<T>, Error>,
    {
        let Self { expected, found } = self;
        let step = match (expected.peek(0)?.is_some(), found.peek(0)?.is_some()) {
            (false, false) => return Ok(None),
            (true, false) => Apart::Missing,
            (false, true) => Apart::Extra,
            (true, true) => meet(expected, found, same)?,
        };
        let (expected, found) = (&mut expected.ahead, &mut found.ahead);
        Ok(match step {
            Apart::Missing => expected.pop_front().map(Step::Missing),
            Apart::Extra => found.pop_front().map(Step::Extra),
            Apart::No => {
                expected.pop_front().zip(found.pop_front()).map(|(expected, found)| Step::Both(expected, found))
            }
        })
    }
}

enum Apart {
    No,
    Missing,
    Extra,
}

fn meet<T, E, F, Error>(
    expected: &mut Side<T, E>,
    found: &mut Side<T, F>,
    same: impl Fn(&T, &T) -> bool,
) -> Result<Apart, Error>
where
    E: FnMut() -> Result<Option<T>, Error>,
    F: FnMut() -> Result<Option<T>, Error>,
{
    let meets = |expected: Option<&T>, found: Option<&T>| expected.zip(found).is_some_and(|(a, b)| same(a, b));
    if meets(expected.peek(0)?, found.peek(0)?) {
        return Ok(Apart::No);
    }
    for distance in 1..WINDOW {
        let (_, _) = (expected.peek(distance)?, found.peek(distance)?);
        let (expected, found) = (&expected.ahead, &found.ahead);
        if meets(expected.front(), found.get(distance)) {
            return Ok(Apart::Extra);
        }
        if meets(expected.get(distance), found.front()) {
            return Ok(Apart::Missing);
        }
        if expected.len() <= distance && found.len() <= distance {
            break;
        }
    }
    // Neither is anywhere near in the other: one took the other's place.
    Ok(Apart::No)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn steps(expected: &str, found: &str) -> String {
        let (mut expected, mut found) = (expected.chars(), found.chars());
        let (expected, found) =
            (move || Ok::<_, Infallible>(expected.next()), move || Ok::<_, Infallible>(found.next()));
        let mut alignment = Alignment::new(expected, found);
        let mut told = String::new();
        while let Ok(Some(step)) = alignment.next(|a, b| a == b) {
            match step {
                Step::Both(a, b) if a == b => told.push(a),
                Step::Both(a, b) => told.extend(['(', a, b, ')']),
                Step::Missing(a) => told.extend(['-', a]),
                Step::Extra(b) => told.extend(['+', b]),
            }
        }
        told
    }

    #[test]
    fn sequences_meet_again() {
        for (expected, found, told) in [
            ("abc", "abc", "abc"),
            ("abc", "axc", "a(bx)c"),
            ("abc", "ac", "a-bc"),
            ("abc", "abxyc", "ab+x+yc"),
            ("abc", "", "-a-b-c"),
            ("", "ab", "+a+b"),
            ("ab", "ba", "+ba-b"),
            ("abc", "xyz", "(ax)(by)(cz)"),
        ] {
            assert_eq!(steps(expected, found), told, "{expected} {found}");
        }
    }
}

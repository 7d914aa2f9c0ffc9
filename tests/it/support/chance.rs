//! Random choices that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

use super::tarball::next;

/// Sets the seed, for all tests of a run.
const VARIABLE: &str = "COLOCATE_SEED";

/// A source of random choices.
pub(crate) struct Chance(u64);

impl Chance {
    /// From `COLOCATE_SEED`, else from the time; says which, so that a failure can be repeated.
    #[expect(clippy::print_stderr, reason = "the harness shows it with the failing test")]
    pub(crate) fn new() -> Self {
        let seed = match std::env::var(VARIABLE) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{VARIABLE}={text}: {error}")),
            // The microseconds: a number that people can copy.
            Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_micros()),
        };
        eprintln!("{VARIABLE}={seed} repeats the choices of this test");
        Self(seed)
    }

    /// From a seed.
    pub(crate) fn of(seed: u64) -> Self {
        // Not the seed itself: its neighbours would begin alike.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A source of its own for a task, so that the order in which tasks run changes no choice.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        next(&mut self.0)
    }

    /// A number of `from..to`.
    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    /// Whether what happens once in `times` happens now.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[(self.next() % choices.len() as u64) as usize]
    }
}

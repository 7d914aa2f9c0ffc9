//! The last hour, minute by minute.

use std::collections::VecDeque;

use serde::Serialize;

use crate::telemetry::Totals;

/// The length of an interval, in seconds.
pub(super) const INTERVAL_SECONDS: u64 = 60;
/// How many are kept.
const MAX_SAMPLES: usize = 60;

/// What there was in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    /// When it began, in seconds since 1970.
    at: u64,
    requests: u64,
    hits: u64,
    errors: u64,
    /// Bytes of bodies sent to clients.
    served: u64,
    /// Bytes of bodies received from the registries behind.
    fetched: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    before: Totals,
}

impl History {
    /// Takes in what there was until `now`, in seconds since 1970. Called more often than an interval is long.
    pub(super) fn take(&mut self, now: u64, totals: Totals) {
        let Totals { requests, hits, errors, served_bytes, received_bytes } = self.before;
        let at = now - now % INTERVAL_SECONDS;
        // A clock that was set back goes on with the last one.
        if self.samples.back().is_none_or(|last| last.at < at) {
            self.samples.push_back(Sample { at, ..Sample::default() });
        }
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
        if let Some(last) = self.samples.back_mut() {
            last.requests += totals.requests - requests;
            last.hits += totals.hits - hits;
            last.errors += totals.errors - errors;
            last.served += totals.served_bytes - served_bytes;
            last.fetched += totals.received_bytes - received_bytes;
        }
        self.before = totals;
    }

    /// The intervals, the oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_add_up_and_an_hour_is_kept() {
        let mut history = History::default();
        let totals = |requests| Totals { requests, served_bytes: requests * 10, ..Totals::default() };
        history.take(6000, totals(1));
        history.take(6059, totals(3));
        history.take(6060, totals(4));
        history.take(6000, totals(5));
        let told: Vec<_> = history.samples().iter().map(|s| (s.at, s.requests, s.served)).collect();
        assert_eq!(told, [(6000, 3, 30), (6060, 2, 20)]);
        for minute in 0..100 {
            history.take(6120 + minute * 60, totals(5));
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[59].at), (60, 6120 + 99 * 60));
    }
}

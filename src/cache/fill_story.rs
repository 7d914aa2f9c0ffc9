//! What is told of a fill at its end: one line, whatever became of it.

use std::time::Instant;

use super::progress::Phase;
use super::source::FillError;
use crate::body::with_causes;
use crate::oci::Digest;
use crate::telemetry::Span;

/// A fill, from its beginning.
pub(super) struct FillStory {
    begun: Instant,
    /// From where on it was fetched, once its source has begun to give it.
    from: Option<u64>,
    /// How often the source broke off and went on.
    pub(super) resumed: u32,
}

/// What is known of a fill when it is over.
pub(super) struct Ended<'a> {
    pub(super) digest: Digest,
    pub(super) origin: &'a str,
    /// How much of it is there.
    pub(super) bytes: u64,
    /// How many have joined it.
    pub(super) joined: u64,
}

impl FillStory {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), from: None, resumed: 0 }
    }

    /// The source gives it, from this offset on; what came before was left by an earlier one.
    pub(super) fn opened(&mut self, from: u64) {
        self.from = Some(from);
    }

    /// Tells how it ended; `span` is the fill in its trace.
    pub(super) fn tell(self, ended: &Ended<'_>, phase: &Phase, mut span: Span) {
        let Ended { digest, origin, bytes, joined } = *ended;
        let (outcome, error) = outcome(phase);
        span.note("colocate.digest", digest);
        span.note("colocate.outcome", outcome);
        span.count("colocate.bytes", bytes);
        if error.is_some() {
            span.fail(outcome);
        }
        drop(span);
        let Some(from) = self.from else {
            // Nothing was brought in: it was there after all, or nobody has it, or nobody wants it any more. Of what that
            // means, whoever asked tells, knowing for whom.
            let error = error.map(|error| with_causes(error));
            return tracing::debug!(%digest, origin, outcome, error, "nothing to fill");
        };
        let resumed = self.resumed;
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match error.map(|error| with_causes(error)) {
            // A disk in trouble tells of itself, and not once for each fill.
            Some(error) if outcome == "failed" => {
                tracing::warn!(%digest, origin, outcome, bytes, from, resumed, joined, duration_ms, error, "fill");
            }
            error => tracing::info!(%digest, origin, outcome, bytes, from, resumed, joined, duration_ms, error, "fill"),
        }
    }
}

/// A word for it, and what went wrong.
fn outcome(phase: &Phase) -> (&'static str, Option<&FillError>) {
    match phase {
        // Before its end it is not told.
        Phase::Filling | Phase::Verified | Phase::Committed => ("stored", None),
        Phase::Unstored(error) => ("not_stored", Some(error)),
        Phase::Bypassed(handover) => ("not_stored", Some(&handover.cause)),
        Phase::Failed(FillError::Stopped) => ("stopped", None),
        Phase::Failed(error) => ("failed", Some(error)),
    }
}

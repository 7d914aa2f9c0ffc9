//! What is counted of bundles and of the tags that name them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::gauged::Gauged;

/// From a bundle whose parts are all at hand to one that nobody waits for any more; imgpkg gives up at 30 s.
const SECONDS: [f64; 12] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 120.0];

pub(super) struct RelocationMetrics {
    relocations: Family<ReasonLabels, Counter>,
    seconds: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    passes: Gauge,
    changes: Family<ChangeLabels, Counter>,
    revalidations: Family<ResultLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChangeLabels {
    change: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl RelocationMetrics {
    pub(super) fn new() -> Self {
        let new = Self {
            relocations: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            passes: Gauge::default(),
            changes: Family::default(),
            revalidations: Family::default(),
        };
        for (outcome, reason) in [("relocated", "colocated"), ("undecided", "deadline"), ("undecided", "internal")] {
            drop(new.relocations.get_or_create(&ReasonLabels { outcome, reason }));
        }
        for outcome in ["relocated", "original", "undecided"] {
            drop(new.seconds.get_or_create(&OutcomeLabels { outcome }));
        }
        for change in ["original_to_relocated", "relocated_to_original"] {
            drop(new.changes.get_or_create(&ChangeLabels { change }));
        }
        for result in ["unchanged", "moved", "gone", "refused", "failed"] {
            drop(new.revalidations.get_or_create(&ResultLabels { result }));
        }
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("relocations", "Bundles looked at, by what became of them and why", self.relocations.clone());
        registry.register_with_unit(
            "relocation_duration",
            "How long it took to find out what becomes of a bundle",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register("relocation_passes", "Rewriting passes that are under way", self.passes.clone());
        registry.register("answer_changes", "Bundles answered differently from before", self.changes.clone());
        registry.register(
            "tag_revalidations",
            "Tags of which the registry behind was asked whether they still stand for the same, by what it said",
            self.revalidations.clone(),
        );
    }
}

impl Metrics {
    /// Counts a bundle that was looked at: `outcome` is what became of it (`relocated`, `original` or `undecided`),
    /// `reason` why.
    pub fn relocation(&self, outcome: &'static str, reason: &'static str) {
        self.0.relocations.relocations.get_or_create(&ReasonLabels { outcome, reason }).inc();
    }

    /// The same with how long it took, for one that was worked on to the end.
    pub fn relocation_ended(&self, outcome: &'static str, reason: &'static str, took: Duration) {
        self.relocation(outcome, reason);
        self.0.relocations.seconds.get_or_create(&OutcomeLabels { outcome }).observe(took.as_secs_f64());
    }

    /// Counts a rewriting pass as running until the guard is dropped.
    pub fn relocation_pass(&self) -> Gauged {
        Gauged::new(&self.0.relocations.passes)
    }

    /// Counts that one bundle under one endpoint is answered differently from before.
    pub fn answer_changed(&self, change: &'static str) {
        self.0.relocations.changes.get_or_create(&ChangeLabels { change }).inc();
    }

    /// Counts what came of asking whether a tag still stands for the same: `unchanged`, `moved`, `gone`, `refused` or
    /// `failed`.
    pub fn tag_revalidated(&self, result: &'static str) {
        self.0.relocations.revalidations.get_or_create(&ResultLabels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bundles_and_tags() {
        let metrics = Metrics::new();
        assert!(metrics.encode().contains("colocate_relocations_total{outcome=\"relocated\",reason=\"colocated\"} 0"));
        metrics.relocation_ended("relocated", "colocated", Duration::from_millis(20));
        metrics.relocation("undecided", "deadline");
        metrics.answer_changed("relocated_to_original");
        metrics.tag_revalidated("moved");
        let pass = metrics.relocation_pass();
        let text = metrics.encode();
        for line in [
            "colocate_relocations_total{outcome=\"relocated\",reason=\"colocated\"} 1",
            "colocate_relocations_total{outcome=\"undecided\",reason=\"deadline\"} 1",
            "colocate_relocation_duration_seconds_bucket{le=\"0.05\",outcome=\"relocated\"} 1",
            "colocate_relocation_duration_seconds_count{outcome=\"undecided\"} 0",
            "colocate_relocation_passes 1",
            "colocate_answer_changes_total{change=\"relocated_to_original\"} 1",
            "colocate_answer_changes_total{change=\"original_to_relocated\"} 0",
            "colocate_tag_revalidations_total{result=\"moved\"} 1",
            "colocate_tag_revalidations_total{result=\"gone\"} 0",
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
        drop(pass);
        assert!(metrics.encode().contains("colocate_relocation_passes 0"));
    }
}

//! What operators see: `/metrics` of a running process against the table that describes it, and what is drawn and alerted
//! of it.

mod documented;
mod exposition;
pub(crate) mod queries;
pub(crate) mod scene;

use std::collections::BTreeSet;

use documented::{Documented, Label};
use exposition::{Family, families};
use scene::Scene;

const OPEN_METRICS: &str = "application/openmetrics-text";

#[tokio::test(flavor = "multi_thread")]
async fn the_table_describes_every_metric_and_every_metric_is_there() {
    let scene = Scene::start().await;
    let documented = documented::table();
    // Before anybody asked for anything, too.
    check(&documented, &families(&scene.metrics(OPEN_METRICS).await.1));
    scene.drive().await;
    let seen = families(&scene.metrics(OPEN_METRICS).await.1);
    check(&documented, &seen);
    let missing: Vec<_> = documented.iter().filter(|one| !seen.iter().any(|family| one.is(family))).collect();
    assert!(missing.is_empty(), "described and not there: {missing:#?}");
}

/// Each metric is as the table says.
fn check(documented: &[Documented], seen: &[Family]) {
    for family in seen {
        let Some(one) = documented.iter().find(|one| one.is(family)) else {
            panic!("not in config/README.md: {family:?}");
        };
        assert_eq!((&family.kind, &family.unit), (&one.kind, &one.unit), "{}", one.name);
        assert!(!family.samples.is_empty(), "{}", one.name);
        for (sample, labels) in &family.samples {
            let names: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|name| *name != "le").collect();
            assert_eq!(names, one.labels.iter().map(|label| label.name.as_str()).collect(), "{sample}");
            for Label { name, values } in one.labels.iter().filter(|label| !label.values.is_empty()) {
                assert!(values.contains(&labels[name]), "{sample} has {name}=\"{}\", not of {values:?}", labels[name]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_counted() {
    let scene = Scene::start().await;
    scene.drive().await;
    let text = scene.metrics("text/plain").await.1;
    let upstream = scene.upstream();
    for line in [
        "colocate_requests_total{route=\"manifest\",method=\"GET\",status=\"2xx\",outcome=\"relocated\"} ",
        "colocate_request_hits_total{route=\"manifest\"} ",
        "colocate_request_received_bytes_total{route=\"upload\"} ",
        "colocate_relocations_total{outcome=\"relocated\",reason=\"colocated\"} ",
        "colocate_relocations_total{outcome=\"original\",reason=\"image_missing\"} ",
        "colocate_relocation_duration_seconds_count{outcome=\"relocated\"} ",
        "colocate_tag_revalidations_total{result=\"unchanged\"} ",
        "colocate_tag_revalidations_total{result=\"moved\"} ",
        "colocate_tag_revalidations_total{result=\"gone\"} ",
        "colocate_tag_revalidations_total{result=\"failed\"} ",
        "colocate_stale_answers_total{reason=\"unavailable\"} ",
        "colocate_cache_fills_started_total ",
        "colocate_cache_fills_ended_total{end=\"stored\"} ",
        "colocate_cache_limit_bytes ",
        "colocate_cache_disk_free_bytes ",
        "colocate_certificate_expiry_timestamp_seconds ",
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
        &format!("colocate_upstream_answers_total{{upstream=\"{upstream}\",host=\"registry\",status=\"5xx\"}} "),
        &format!("colocate_upstream_answers_total{{upstream=\"{upstream}\",host=\"registry\",status=\"404\"}} "),
        &format!("colocate_upstream_received_bytes_total{{upstream=\"{upstream}\"}} "),
        &format!("colocate_upstream_sent_bytes_total{{upstream=\"{upstream}\"}} "),
    ] {
        let number = text.lines().find_map(|written| written.strip_prefix(line));
        let number = number.unwrap_or_else(|| panic!("{line}\nnot in\n{text}"));
        assert!(number.parse::<f64>().expect("a number") > 0.0, "{line}{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_metrics_gets_a_format_it_reads() {
    let scene = Scene::start().await;
    for (accept, kind, end) in [
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", false),
    ] {
        let (content_type, text) = scene.metrics(accept).await;
        assert_eq!(content_type, kind);
        assert_eq!(text.ends_with("# EOF\n"), end, "{accept}");
    }
}

#[test]
fn what_is_drawn_and_alerted_is_described() {
    let documented = documented::table();
    let expressions = queries::all();
    assert!(expressions.len() > 50, "{}", expressions.len());
    let mut named = BTreeSet::new();
    for (place, expression) in expressions {
        for (metric, labels) in queries::metrics(&expression) {
            let one = documented.iter().find(|one| one.scraped().contains(&metric));
            let one = one.unwrap_or_else(|| panic!("{place}: {metric} is not in config/README.md"));
            for (label, values) in labels {
                if matches!(label.as_str(), "job" | "instance") {
                    continue;
                }
                let known = one.labels.iter().find(|known| known.name == label);
                let known = known.unwrap_or_else(|| panic!("{place}: {metric} has no label {label}"));
                let unknown: Vec<_> = values.iter().filter(|value| !known.values.contains(value)).collect();
                assert!(unknown.is_empty(), "{place}: {metric} never has {label}={unknown:?}");
            }
            named.insert(one.name.clone());
        }
    }
    let undrawn: Vec<_> = documented.iter().filter(|one| !named.contains(&one.name)).map(|one| &one.name).collect();
    assert!(undrawn.is_empty(), "neither drawn nor alerted, so why count it: {undrawn:?}");
}

//! What the dashboard draws and the alert rules watch.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The alert rules.
pub(crate) fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus/alerts.yaml")
}

/// What a panel draws, by its title, as Prometheus reads it: with the dashboard's variables filled in.
pub(crate) fn drawn() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grafana/colocate.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(file).expect("a dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let mut drawn = Vec::new();
    for panel in panels.filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let filled = [("$__rate_interval", "5m"), ("$__interval", "5m"), ("$job", ".*"), ("$instance", ".*")]
                .iter()
                .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value));
            assert!(!filled.contains('$'), "{title}: {filled}");
            drawn.push((title.to_owned(), filled));
        }
    }
    drawn
}

/// Every expression, and where it stands.
pub(super) fn all() -> Vec<(String, String)> {
    let rules: Value = serde_yaml::from_slice(&fs::read(alerts()).expect("alert rules")).expect("YAML");
    let rules = rules["groups"].as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array());
    let mut all = drawn();
    for rule in rules.flatten() {
        let name = rule["alert"].as_str().expect("a name");
        for told in ["summary", "description"] {
            assert!(rule["annotations"][told].as_str().is_some_and(|text| text.len() > 20), "{name} has no {told}");
        }
        all.push((name.to_owned(), rule["expr"].as_str().expect("an expression").to_owned()));
    }
    all
}

/// Labels that select, and the words that their values are made of.
type Selected = Vec<(String, Vec<String>)>;

/// The metrics that an expression names, each with what selects of it.
pub(super) fn metrics(expression: &str) -> Vec<(String, Selected)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut metrics = Vec::new();
    for (at, _) in expression.match_indices(|c: char| c.is_ascii_lowercase()) {
        let rest = &expression[at..];
        let ours = rest.starts_with("colocate_") || rest.starts_with("process_");
        if !ours || expression[..at].ends_with(is_name) {
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let selector = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let labels = selector.split(',').map(str::trim).filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once(['=', '!']).expect("a label and its value");
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            (name.to_owned(), value.split('|').map(str::to_owned).collect())
        });
        metrics.push((rest[..end].to_owned(), labels.collect()));
    }
    metrics
}

#[test]
fn finds_metrics_and_what_selects_of_them() {
    let expression = "sum by (le) (rate(colocate_a_bucket{job=~\".*\", x!~\"b|c\"}[5m])) / process_d > 0.5";
    let found = metrics(expression);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["colocate_a_bucket", "process_d"]);
    assert_eq!(found[0].1[1], ("x".to_owned(), vec!["b".to_owned(), "c".to_owned()]));
}

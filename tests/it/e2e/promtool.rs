//! Prometheus' own tool reads what operators are given: `/metrics`, the alert rules, and what the dashboard draws.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::process::succeed;
use crate::support::{find, fixture, require};
use crate::telemetry::queries;
use crate::telemetry::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    if !require(&["promtool"]) {
        return;
    }
    let (scene, directory) = (Scene::start().await, TempDir::new().expect("a directory"));
    let file = directory.path().join("metrics");
    let check = async || {
        let (_, text) = scene.metrics("text/plain").await;
        assert!(text.contains("colocate_build_info{"), "{text}");
        fs::write(&file, &text).expect("a file");
        check_metrics(&file);
    };
    check().await;
    scene.drive().await;
    check().await;
}

/// It reads its standard input, and says with its status whether it complains.
fn check_metrics(file: &Path) {
    let mut command = Command::new(find("promtool").expect("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::from(File::open(file).expect("a file")));
    let output = command.output().expect("promtool");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_when_they_have_to_and_not_before() {
    if !require(&["promtool"]) {
        return;
    }
    let (rules, tests) = (queries::alerts(), fixture("prometheus/alerts_test.yaml"));
    succeed("promtool", &["check", "rules", "--lint=all", "--lint-fatal", &rules.to_string_lossy()]).await;
    succeed("promtool", &["test", "rules", &tests.to_string_lossy()]).await;
    let (rules, tests) = (fs::read_to_string(rules).expect("rules"), fs::read_to_string(tests).expect("tests"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("\"{alert}\"")), "{alert} is in no test");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_the_dashboard_draws() {
    if !require(&["promtool"]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, (_, expression)) in queries::drawn().iter().enumerate() {
        // JSON is YAML.
        let expression = serde_json::Value::from(expression.as_str());
        writeln!(rules, "  - {{record: drawn:{number}, expr: {expression}}}").expect("a String takes it");
    }
    let file = directory.path().join("rules.yaml");
    fs::write(&file, rules).expect("a file");
    succeed("promtool", &["check", "rules", &file.to_string_lossy()]).await;
}

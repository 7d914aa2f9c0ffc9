//! The table of metrics in `config/README.md`.

use std::fs;
use std::path::Path;

use super::exposition::Family;

/// One row.
#[derive(Debug)]
pub(super) struct Documented {
    /// As it is scraped.
    pub(super) name: String,
    pub(super) kind: String,
    /// Empty for none.
    pub(super) unit: String,
    pub(super) labels: Vec<Label>,
}

/// A label, and all values it can have; none for one whose values are of another kind than words.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

impl Documented {
    /// Whether the row is about this family.
    pub(super) fn is(&self, family: &Family) -> bool {
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        self.name == format!("{}{suffix}", family.name)
    }

    /// What it is called in queries.
    pub(super) fn scraped(&self) -> Vec<String> {
        match self.kind.as_str() {
            "histogram" => ["bucket", "sum", "count"].iter().map(|suffix| format!("{}_{suffix}", self.name)).collect(),
            _ => vec![self.name.clone()],
        }
    }
}

/// All rows.
pub(super) fn table() -> Vec<Documented> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md");
    let text = fs::read_to_string(file).expect("config/README.md");
    let (_, section) = text.split_once("## Metrics\n").expect("a section about metrics");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).map(row).collect();
    assert!(rows.len() > 30, "{rows:#?}");
    rows
}

fn row(line: &str) -> Documented {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, kind, unit, labels, meaning] = cells[..] else { panic!("not five cells: {line}") };
    assert!(meaning.len() > 15, "{line}");
    let none = |cell: &str| if cell == "–" { String::new() } else { cell.to_owned() };
    let labels = none(labels);
    Documented {
        name: name.trim_matches('`').to_owned(),
        kind: kind.to_owned(),
        unit: none(unit),
        labels: labels.split(';').filter(|label| !label.is_empty()).map(label).collect(),
    }
}

/// `` `route`: `blob` `manifest` ``, or `` `upstream`: what it is ``.
fn label(text: &str) -> Label {
    let words: Vec<_> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let [name, values @ ..] = &words[..] else { panic!("no label: {text}") };
    Label { name: name.clone(), values: values.to_vec() }
}

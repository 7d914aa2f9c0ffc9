//! `config/README.md` names every key with its default.

use std::collections::{BTreeMap, BTreeSet};

use colocate::config::Config;

use super::DEFAULT;

const REFERENCE: &str = include_str!("../../../config/README.md");

/// Keys as the table writes them, and the defaults beside them.
fn documented() -> BTreeMap<String, String> {
    let table = REFERENCE.split_once("\n## Configuration\n").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split(" | ").map(str::trim).collect::<Vec<_>>());
    let bare = |cell: &str| cell.trim_matches(['|', ' ', '*', '`']).to_owned();
    // `**` is a default, and no asterisk.
    let default = |cell: &str| cell.trim_matches('`').to_owned();
    cells.map(|cells| (bare(cells[0]), default(cells[1]))).collect()
}

/// The keys that the program knows, as it says itself when it is given another.
fn known(section: &str, path: &str) -> BTreeSet<String> {
    let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).collect();
    let text = steps.iter().rev().fold("{zzzzzzzz: 1}".to_owned(), |inner, step| match step.strip_suffix("[]") {
        Some(list) => format!("{{{list}: [{inner}]}}"),
        None => format!("{{{step}: {inner}}}"),
    });
    let error = Config::parse("c", &text).unwrap_err().to_string();
    let (_, list) = error.split_once("it knows ").unwrap_or_else(|| panic!("{section}: {error}"));
    let list = list.lines().next().unwrap().replace(" and ", ", ");
    list.split(", ").map(|key| key.trim_matches(['`', '.']).to_owned()).filter(|key| !key.is_empty()).collect()
}

#[test]
fn every_key_is_in_the_reference_and_none_that_is_not_there() {
    let documented = documented();
    let mut sections: BTreeSet<&str> = documented.keys().filter_map(|key| Some(key.rsplit_once('.')?.0)).collect();
    sections.insert("");
    for section in sections {
        let inside = |key: &String| {
            let rest = if section.is_empty() { key.as_str() } else { key.strip_prefix(section)?.strip_prefix('.')? };
            let first = rest.split(['.', '[']).next()?;
            Some(first.to_owned())
        };
        let told: BTreeSet<String> = documented.keys().filter_map(inside).collect();
        assert_eq!(told, known(section, section), "the keys of `{section}`");
    }
}

#[test]
fn the_defaults_in_the_reference_are_those_of_the_file() {
    let mut checked = 0;
    for (key, default) in documented() {
        let (mut stack, mut found): (Vec<(usize, &str)>, Option<&str>) = (Vec::new(), None);
        for line in DEFAULT.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let (indent, name) =
                (name.len() - name.trim_start_matches([' ', '-']).len(), name.trim_start_matches([' ', '-']));
            stack.retain(|(outer, _)| *outer < indent);
            stack.push((indent, name));
            let path: Vec<&str> = stack.iter().map(|(_, name)| *name).collect();
            if path.join(".") == key.replace("[]", "") {
                found = Some(value.trim().trim_matches('\''));
            }
        }
        // What is only in a comment there has no default that could differ, nor has a section.
        let Some(value) = found.filter(|value| !value.is_empty() && key != "upstream.url") else { continue };
        assert_eq!(default, value, "{key}");
        checked += 1;
    }
    assert!(checked > 50, "{checked} defaults");
}

#[test]
fn what_takes_a_restart_is_marked() {
    let marked: BTreeSet<&str> = REFERENCE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` * |"))
        .map(|(key, _)| key)
        .collect();
    let cache = known("cache", "cache").into_iter().map(|key| format!("cache.{key}"));
    let fixed =
        ["listen", "admin.listen", "server.max_connections", "log.format", "cache.finish_abandoned.if_started_over"];
    let expected: BTreeSet<String> = cache.chain(fixed.map(str::to_owned)).collect();
    assert_eq!(marked.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}

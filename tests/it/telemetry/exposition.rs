//! Reading OpenMetrics text, as far as this program writes it.

use std::collections::BTreeMap;

/// One family, and its samples by name and labels.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    /// Empty for none.
    pub(super) unit: String,
    pub(super) samples: Vec<(String, BTreeMap<String, String>)>,
}

/// All families of a text that has to be whole.
pub(super) fn families(text: &str) -> Vec<Family> {
    let text = text.strip_suffix("# EOF\n").expect("an end");
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(help.ends_with('.') && help.len() > 10, "{line}");
                families.push(Family { name: name.to_owned(), ..Family::default() });
            }
            ["#", "TYPE", name, kind] => current(&mut families, name).kind = kind.to_owned(),
            ["#", "UNIT", name, unit] => current(&mut families, name).unit = unit.to_owned(),
            _ => {
                let (sample, value) = line.rsplit_once(' ').expect("a sample");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                let family = families.last_mut().expect("a family");
                assert!(name.starts_with(&family.name), "{line} is not of {}", family.name);
                family.samples.push((sample.to_owned(), labels_of(labels.strip_suffix('}').expect("a brace"))));
            }
        }
    }
    families
}

fn current<'a>(families: &'a mut [Family], name: &str) -> &'a mut Family {
    let family = families.last_mut().expect("a family");
    assert_eq!(family.name, name);
    family
}

/// `a="b",c="d"`, in which nothing is escaped: labels are words and hosts.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    assert!(!text.contains('\\'), "{text}");
    let pairs = text.split("\",").filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once("=\"").expect("a label");
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        })
        .collect()
}

#[test]
fn reads_what_is_written() {
    let text = "# HELP a_bytes What there is.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                a_bytes_total{x=\"1:2\",y=\"z\"} 5\n# HELP b More of it.\n# TYPE b gauge\nb 1.5\n# EOF\n";
    let families = families(text);
    assert_eq!(families.len(), 2);
    assert_eq!((families[0].kind.as_str(), families[0].unit.as_str()), ("counter", "bytes"));
    let labels: Vec<_> = families[0].samples[0].1.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("x", "1:2"), ("y", "z")]);
    assert!(families[1].samples[0].1.is_empty());
}

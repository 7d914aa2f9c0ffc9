//! Locks read and written as imgpkg does: its own files, the corners of YAML 1.1, hostile input, round trips.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use colocate::imgpkg::{ImageLocation, ImageLocations, ImagesLock, LockError, MAX_LOCK_BYTES, Target, locations_tag};
use proptest::prelude::*;

const DIGEST: &str = "sha256:7825fc52e96cdac282ddc3dbf27981f811ad4b29686bffac1a8812813f77db0f";

#[test]
fn every_golden_lock_is_written_as_imgpkg_did_or_refused() {
    let mut cases = 0;
    for case in golden_cases() {
        cases += 1;
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let input = fs::read(case.join("images.yml")).expect("images.yml");
        let parsed = ImagesLock::parse(&input);
        if case.join("error.txt").exists() {
            let error = parsed.expect_err(&name);
            assert!(!error.to_string().is_empty(), "{name}");
            continue;
        }
        let lock = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        let target = fs::read_to_string(case.join("target")).expect("target");
        let target = target_named(target.trim());
        if case.join("unchanged.yml").exists() {
            // imgpkg left this file alone because an image was missing; that is not the lock's own doing.
            assert!(lock.relocate(&target).is_some(), "{name}");
            continue;
        }
        let expected = fs::read_to_string(case.join("relocated.yml")).expect("relocated.yml");
        let written = match lock.relocate(&target) {
            Some(written) => written,
            None => {
                assert_eq!(lock.images().len(), 0, "{name}");
                lock.to_yaml()
            }
        };
        assert_eq!(String::from_utf8_lossy(&written), expected, "{name}");
        let again = ImagesLock::parse(&written).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again.relocate(&target), None, "{name}: idempotent");
        assert_eq!(again.to_yaml(), written, "{name}");
    }
    assert!(cases >= 26, "only {cases} golden cases found");
}

#[test]
fn refusals_name_their_cause() {
    let error = |name: &str| {
        let input = fs::read(golden().join(name).join("images.yml")).expect("images.yml");
        ImagesLock::parse(&input).expect_err(name)
    };
    assert!(matches!(error("duplicate-key"), LockError::DuplicateKey { key, line: Some(5) } if key == "image"));
    assert!(matches!(error("unknown-field"), LockError::UnknownField { key, line: Some(5) } if key == "extra"));
    assert!(matches!(error("unknown-top-field"), LockError::UnknownField { key, line: Some(3) } if key == "spec"));
    assert!(matches!(error("wrong-kind"), LockError::UnknownKind { found, .. } if found == "Other"));
    assert!(matches!(error("wrong-version"), LockError::UnknownVersion { found } if found.ends_with("v1alpha2")));
    assert!(matches!(error("empty-file"), LockError::UnknownVersion { found } if found.is_empty()));
    assert!(
        matches!(error("no-digest"), LockError::NotInDigestForm { reference } if reference == "ghcr.io/acme/web:1.2.3")
    );
    assert!(matches!(error("not-yaml"), LockError::NotYaml(message) if message.contains("line")));
}

#[test]
fn annotation_values_become_strings_as_in_yaml_1_1() {
    for (written, string) in [
        ("text", "text"),
        ("yes", "true"),
        ("\"yes\"", "yes"),
        ("'yes'", "yes"),
        ("&a yes", "true"),
        ("&a 'yes'", "yes"),
        ("on", "true"),
        ("No", "false"),
        ("True", "true"),
        ("~", ""),
        ("", ""),
        ("\"\"", ""),
        ("null", ""),
        ("12", "12"),
        ("012", "10"),
        ("08", "8"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("0b11", "3"),
        ("+1", "1"),
        ("1_000", "1000"),
        ("1:30", "1:30"),
        ("18446744073709551615", "18446744073709551615"),
        ("1.0", "1"),
        ("1.10", "1.1"),
        ("1e3", "1000"),
        ("1e7", "1e+07"),
        ("0.123456789", "0.12345679"),
        (".inf", "+Inf"),
        (".nan", "NaN"),
        ("2001-01-01", "2001-01-01"),
        ("<<", "<<"),
        ("1.2.3", "1.2.3"),
        ("a b # comment", "a b"),
        ("one\n     two", "one two"),
        ("\"\\\n     yes\"", "yes"),
        ("\"\\x79es\"", "yes"),
        ("|-\n     yes", "yes"),
        (">\n     one\n     two", "one two\n"),
        ("'it''s'", "it's"),
    ] {
        let lock = format!("{}  annotations:\n   k: {written}\n", one_image());
        let lock = ImagesLock::parse(lock.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
        let image = lock.images().next().expect("an image");
        assert_eq!(image.annotations["k"], string, "{written}");
    }
}

#[test]
fn annotation_keys_become_strings_too() {
    for (written, string) in [
        ("yes", "true"),
        ("1.0", "1"),
        (".inf", ".inf"),
        ("-.inf", "-.inf"),
        (".nan", ".nan"),
        ("0x10", "16"),
        ("''", ""),
    ] {
        let lock = format!("{}  annotations: {{{written}: v}}\n", one_image());
        let lock = ImagesLock::parse(lock.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
        let image = lock.images().next().expect("an image");
        assert_eq!(image.annotations.keys().collect::<Vec<_>>(), [string], "{written}");
    }
}

#[test]
fn merges_are_carried_out() {
    let lock = format!(
        "{}  annotations: &a {{x: '1'}}\n- <<: {{annotations: {{z: '2', <<: *a}}}}\n  image: ghcr.io/acme/web@{DIGEST}\n",
        one_image()
    );
    let lock = ImagesLock::parse(lock.as_bytes()).expect("a lock");
    let second = lock.images().nth(1).expect("two images");
    let expected = [("x", "1"), ("z", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(second.annotations, BTreeMap::from(expected));
}

#[test]
fn what_imgpkg_refuses_or_is_not_certain_about() {
    let head = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\n";
    let image = one_image();
    for lock in [
        format!("{head}images: {{}}\n"),
        format!("{head}images: foo\n"),
        format!("{head}images: [foo]\n"),
        format!("{head}images: [null]\n"),
        format!("{head}images: [[]]\n"),
        format!("{head}images:\n- image: [a]\n"),
        format!("{head}images:\n- image: 12\n"),
        format!("{head}<<: 12\n"),
        format!("{image}  annotations: []\n"),
        format!("{image}  annotations: foo\n"),
        format!("{image}  annotations: {{a: {{}}}}\n"),
        format!("{image}  annotations: {{a: []}}\n"),
        format!("{image}  annotations: {{~: a}}\n"),
        format!("{image}  annotations: {{[a]: a}}\n"),
        format!("{image}  annotations: {{18446744073709551615: a}}\n"),
        format!("{image}  annotations: {{a: 0xFFFFFFFFFFFFFFFFF}}\n"),
        format!("{image}  annotations: {{a: 36893488147419103232}}\n"),
        format!("{image}  annotations: {{1: a, '1': b}}\n"),
        format!("{image}  annotations: {{yes: a, on: b}}\n"),
        format!("{image}  annotations: {{a: !!str yes}}\n"),
        format!("{image}  annotations: {{a: !!binary aGk=}}\n"),
        format!("{image}  annotations: {{a: !<tag:yaml.org,2002:binary> aGk=}}\n"),
        format!("{image}  annotations: {{a: !foo yes}}\n"),
        format!("{image}  annotations: {{a: ! 'yes'}}\n"),
        format!("%TAG ! tag:yaml.org,2002:\n---\n{image}  annotations: {{a: !binary aGk=}}\n"),
        format!("{image}  annotations: {{'<<': a}}\n"),
        format!("{image}  annotations: {{v1a: a, v9: b, v10: c}}\n"),
        format!("{image}  annotations: {{a: \"x\\Ny\"}}\n"),
        format!("{image}  annotations: {{a: \"\\x7F\"}}\n"),
        format!("{image}  annotations: {{a: \"\\uFEFF\"}}\n"),
        format!("{image}  annotations: {{a: '2001-01-01 1:2:3.1234567890'}}\n"),
        format!("{image}  annotations: {{a: \"\\uFFFE\"}}\n"),
        format!("{image}  annotations:\n    ? {}\n    : v\n", "k".repeat(1023)),
        format!("{image}  Image: ghcr.io/acme/web@{DIGEST}\n"),
        format!("{image}  annotations: {{a: *missing}}\n"),
        format!("{image}Images: []\n"),
        format!("[{image}]\n"),
        "foo\n".to_owned(),
        "\u{FEFF}\u{FEFF}a: b\n".to_owned(),
        "a: \u{1}\n".to_owned(),
    ] {
        assert!(ImagesLock::parse(lock.as_bytes()).is_err(), "{lock}");
    }
    assert_eq!(ImagesLock::parse(b"a: \xFF\n"), Err(LockError::NotText));
    assert_eq!(ImagesLock::parse(b"\xFF\xFEa"), Err(LockError::NotText));
    assert_eq!(
        ImagesLock::parse(&vec![b'#'; MAX_LOCK_BYTES + 1]),
        Err(LockError::TooLarge { bytes: MAX_LOCK_BYTES + 1, limit: MAX_LOCK_BYTES })
    );
}

#[test]
fn reads_what_imgpkg_reads_though_it_looks_odd() {
    let image = one_image();
    let key = format!("{image}  annotations:\n    ? {}\n    : v\n", "k".repeat(1022));
    let utf16: Vec<u8> = format!("\u{FEFF}{image}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let second = format!("---\n{image}...\n]]] not yaml\n");
    let kelvin = image.replace("kind:", "\u{212A}ind:");
    let null_annotations = format!("{image}  annotations: null\n");
    for lock in [key.as_bytes(), &utf16, second.as_bytes(), kelvin.as_bytes(), null_annotations.as_bytes()] {
        let lock = ImagesLock::parse(lock).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(lock)));
        assert_eq!(lock.images().len(), 1);
    }
    let empty = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages: ~\n";
    let empty = ImagesLock::parse(empty.as_bytes()).expect("a lock");
    assert_eq!(empty.relocate(&target_named("a.b/c")), None);
}

#[test]
fn the_reference_counts_as_it_is_written() {
    let target = target_named("proxy.example/acme/app");
    let lock = |image: &str| {
        let lock = one_image().replace("ghcr.io/acme/web", image);
        ImagesLock::parse(lock.as_bytes()).expect("a lock")
    };
    assert_eq!(lock("proxy.example/acme/app").relocate(&target), None);
    assert!(lock("proxy.example/acme/app:v1").relocate(&target).is_some());
    let hub = target_named("docker.io/ubuntu");
    assert!(lock("ubuntu").relocate(&hub).is_some());
    assert_eq!(lock("index.docker.io/library/ubuntu").relocate(&hub), None);
}

#[test]
fn hostile_input_is_refused_in_bounded_time() {
    let head = one_image();
    let repeat = |unit: &str| unit.repeat(MAX_LOCK_BYTES / unit.len());
    let bomb = {
        let mut lock = format!("{head}  annotations: &a0 {{a: b}}\n");
        for level in 1..20 {
            let aliases = vec![format!("*a{}", level - 1); 20].join(", ");
            lock.push_str(&format!("x{level}: &a{level} [{aliases}]\n"));
        }
        lock
    };
    let quadratic = format!("{head}  annotations: &a {{{}}}\n{}", "a: b, ".repeat(50_000), "- *a\n".repeat(50_000));
    let text = format!(
        "{head}  annotations: &a {{a: \"{}\"}}\n{}",
        "\\n".repeat(1 << 20),
        "- annotations: *a\n".repeat(10_000)
    );
    for (name, lock) in [
        ("brackets", repeat("[")),
        ("braces", repeat("{")),
        ("maps in lists", repeat("[{")),
        ("nested lists", repeat("- ")),
        ("nested keys", repeat("? ")),
        ("colons", repeat(": ")),
        ("items", format!("[{}", repeat("a,"))),
        ("entries", repeat("a: b\n")),
        ("tags", repeat("!")),
        ("anchors", repeat("&a ")),
        ("aliases", repeat("*a ")),
        ("quotes", repeat("\"")),
        ("lines", repeat("\n")),
        ("indented lines", (0..4000).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("comments", repeat("#\n")),
        ("documents", repeat("---\n")),
        ("bomb", bomb),
        ("quadratic", quadratic),
        ("long text", text),
        ("one long line", repeat("a")),
        ("one long text", format!("a: \"{}\"", repeat("a "))),
        ("one long block", format!("a: |\n{}", repeat(" a\n"))),
        ("folded", format!("a: {}", repeat("a\n "))),
    ] {
        let start = Instant::now();
        assert!(ImagesLock::parse(&lock.as_bytes()[..lock.len().min(MAX_LOCK_BYTES)]).is_err(), "{name}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn the_largest_lock_is_read_and_written_in_reasonable_time() {
    let image = format!(
        "- image: ghcr.io/acme/web@{DIGEST}\n  annotations:\n    kbld.carvel.dev/id: ghcr.io/acme/web:1.2.3\n    \
         kbld.carvel.dev/origins: |\n      - resolved:\n          tag: 1.2.3\n          url: ghcr.io/acme/web:1.2.3\n"
    );
    let head = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n";
    let images = (MAX_LOCK_BYTES - head.len()) / image.len();
    let start = Instant::now();
    let lock = ImagesLock::parse((head.to_owned() + &image.repeat(images)).as_bytes()).expect("a lock");
    assert_eq!(lock.images().len(), images);
    let written = lock.relocate(&target_named("proxy.example/acme/app")).expect("a change");
    assert!(written.len() > MAX_LOCK_BYTES / 2);
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());

    // And where the last of many lines is at fault, that line is named.
    let wrong = head.to_owned() + &image.repeat(1000) + "  extra: 1\n";
    let line = wrong.lines().count();
    assert!(
        matches!(ImagesLock::parse(wrong.as_bytes()), Err(LockError::UnknownField { line: Some(at), .. }) if at == line)
    );
}

#[test]
fn locations_are_written_as_imgpkg_does() {
    let locations =
        ImageLocations::new([("b", true), ("a", false), ("a", false)].map(|(name, is_bundle)| ImageLocation {
            image: format!("127.0.0.1:5900/apps/{name}@{DIGEST}"),
            is_bundle,
        }));
    let expected = format!(
        "---\napiVersion: imgpkg.carvel.dev/v1alpha1\nimages:\n\
         - image: 127.0.0.1:5900/apps/a@{DIGEST}\n  isBundle: false\n\
         - image: 127.0.0.1:5900/apps/b@{DIGEST}\n  isBundle: true\n\
         kind: ImageLocations\n"
    );
    assert_eq!(String::from_utf8_lossy(&locations.to_yaml()), expected);
    assert_eq!(ImageLocations::parse(expected.as_bytes()), Ok(locations));
    let none = "---\napiVersion: imgpkg.carvel.dev/v1alpha1\nimages: null\nkind: ImageLocations\n";
    assert_eq!(String::from_utf8_lossy(&ImageLocations::default().to_yaml()), none);
    assert_eq!(ImageLocations::parse(none.as_bytes()), Ok(ImageLocations::default()));
    assert!(ImageLocations::parse(format!("{none}more: fields\n").as_bytes()).is_ok());
    assert!(matches!(ImageLocations::parse(one_image().as_bytes()), Err(LockError::UnknownKind { .. })));
    let tag = locations_tag(&DIGEST.parse().expect("a digest"));
    assert_eq!(tag, format!("{}.image-locations.imgpkg", DIGEST.replace(':', "-")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn annotations_survive(entries in annotations()) {
        let json = serde_json::to_string(&entries).expect("JSON");
        // Line breaks for YAML 1.1; for JSON they are like any other.
        let json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        let lock = match ImagesLock::parse(format!("{}  annotations: {json}\n", one_image()).as_bytes()) {
            // Keys that have no order in go-yaml.
            Err(LockError::Unsure { construct, .. }) if construct.contains("order") => return Ok(()),
            Err(LockError::Unwritable { key, .. }) if key == "<<" => return Ok(()),
            Err(error) if looks_like_a_tag(&error) => return Ok(()),
            lock => lock.expect("a lock"),
        };
        prop_assert_eq!(&lock.images().next().expect("an image").annotations, &entries);
        let target = target_named("proxy.example:8443/acme/app");
        let written = lock.relocate(&target).expect("a change");
        let again = match ImagesLock::parse(&written) {
            Err(error) if looks_like_a_tag(&error) => return Ok(()),
            again => again.expect("a lock"),
        };
        prop_assert_eq!(&again.images().next().expect("an image").annotations, &entries);
        prop_assert_eq!(again.relocate(&target), None);
        // And another reader sees the same: all that YAML 1.2 reads otherwise was quoted.
        let seen: serde_yaml::Value = serde_yaml::from_slice(&written).expect("YAML");
        for (key, value) in &entries {
            prop_assert_eq!(seen["images"][0]["annotations"][key.as_str()].as_str(), Some(value.as_str()));
        }
    }

    #[test]
    fn whatever_is_read_can_be_written_and_read_again(bytes in soup()) {
        round_trip(&bytes);
    }
}

/// A `!` that stands alone is refused wherever it is, in a string as well: the reader is told of no tag, so it goes
/// by the text. The bundle then passes as it is.
fn looks_like_a_tag(error: &LockError) -> bool {
    matches!(error, LockError::Unsure { construct: "a tag (!)", .. })
}

/// Also the body of the fuzz target.
fn round_trip(bytes: &[u8]) {
    let Ok(lock) = ImagesLock::parse(bytes) else { return };
    let again = match ImagesLock::parse(&lock.to_yaml()) {
        Ok(again) => again,
        Err(error) if looks_like_a_tag(&error) => return,
        Err(error) => panic!("what we write, we read: {error}"),
    };
    assert!(
        lock.images().zip(again.images()).all(|(a, b)| a.reference == b.reference && a.annotations == b.annotations)
    );
    assert_eq!(lock.images().len(), again.images().len());
}

/// Keys beyond ASCII only alone: their order is not certain.
fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop_oneof![
        prop::collection::btree_map(string(), string(), 1..2),
        prop::collection::btree_map(string().prop_map(|key| key.replace(|c: char| !c.is_ascii(), "x")), string(), 1..5),
    ]
}

/// Strings that imgpkg can write, with a liking for what YAML cares about.
fn string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(vec![
            " ", "  ", "\n", "\n\n", "\t", ": ", ":", " #", "- ", "-", "'", "\"", "\\", ",", "[", "]", "{", "}", "?",
            "yes", "no", "~", "null", "1", "0", "0x", "1.5", "e3", "_", "2001-01-01", "1:30", "<<", "=", "---", "...",
            "!", "&", "*", "|", ">", "%", "@", "`", "\u{2028}", "\u{A0}", "\r", "\u{7}", "\u{1F680}", "é",
            "word word word word word word word word word word word word word word word word word word word word",
        ]).prop_map(str::to_owned),
        1 => "[a-z]{1,8}",
        1 => any::<char>().prop_filter("writable", |c| {
            !matches!(c, '\u{7F}'..='\u{9F}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
        }).prop_map(String::from),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat()).prop_filter("read one way only", |text| {
        !text.contains("!!")
            && !text.contains("!<")
            && !text.contains("! ")
            && !text.contains("!\"")
            && !text.contains("!\n")
            && !text.starts_with("0x")
            && !text.ends_with('!')
    })
}

/// Something like a lock.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => prop::sample::select(vec![
            "  ", "\n", "\n   k: ", "\n   l: ", ": ", " #c\n", "- ", "'", "\"", "{", "}", "[", "]", ",", "|", ">", "? ",
            "&a ", "*a", "<<: ", "yes", "012", "1_0", "~", "a b", "---\n", "...\n", "\t", "\\", "\\n", "!", "%",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let parts = prop::collection::vec(part, 0..12);
    parts.prop_map(|parts| (one_image() + "  annotations:\n   j: " + &parts.concat() + "\n").into_bytes())
}

fn one_image() -> String {
    format!("apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n- image: ghcr.io/acme/web@{DIGEST}\n")
}

fn target_named(name: &str) -> Target {
    let (endpoint, repository) = name.split_once('/').expect("endpoint/repository");
    Target { endpoint: endpoint.into(), repository: repository.parse().expect("a repository name") }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/locks")
}

fn golden_cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden()).expect("tests/fixtures/locks");
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

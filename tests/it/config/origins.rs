//! The list `relocation.from_origin`.

use colocate::config::Config;

use super::{MINIMAL, expect_problems};

fn with(list: &str) -> String {
    format!("{MINIMAL}\nlisten: 127.0.0.1:1\nrelocation: {{from_origin: {list}}}")
}

#[test]
fn patterns_are_over_registries_and_repositories() {
    let text = with(
        "[{bundles: registry.example/acme/*, origins: 'registry.example/base/**', credentials: true}, {origins: '*/public/**'}]",
    );
    let rules = Config::parse("c", &text).unwrap().relocation.from_origin;
    let repository = |name: &str| name.parse().unwrap();
    assert!(rules[0].bundles.matches(&repository("registry.example/acme/app")) && rules[0].credentials);
    assert!(!rules[0].bundles.matches(&repository("registry.example/acme/team/app")));
    assert!(!rules[0].bundles.matches(&repository("registry.example.evil/acme/app")));
    assert!(rules[0].origins.matches(&repository("registry.example/base/a/b")));
    assert!(rules[1].bundles.matches(&repository("other.example/x")) && !rules[1].credentials);
    assert!(rules[1].origins.matches(&repository("other.example/public/x")));
    assert!(!rules[1].origins.matches(&repository("other.example/private/x")));

    let default = Config::parse("c", &format!("{MINIMAL}\nlisten: 127.0.0.1:1")).unwrap().relocation.from_origin;
    assert!(matches!(default.as_slice(), [rule] if !rule.credentials && rule.origins.matches(&repository("a.b/c"))));
    assert!(Config::parse("c", &with("[]")).unwrap().relocation.from_origin.is_empty());
}

#[test]
fn every_refusal_names_its_key() {
    for (list, expected) in [
        (
            "[{origins: acme}]",
            "relocation.from_origin[0].origins: `acme` names no repository; write REGISTRY/REPOSITORY",
        ),
        (
            "[{}, {bundles: ghcr.io/**}]",
            "relocation.from_origin[1].bundles: `ghcr.io` matches none of the registries behind",
        ),
        ("[{origins: 'registry.example/'}]", "relocation.from_origin[0].origins: an empty pattern matches nothing"),
        ("[{credentials: 'yes'}]", "relocation.from_origin[0].credentials: `yes` is neither true nor false"),
        ("[{credentials: true}]", "relocation.from_origin[0]: with `credentials: true` needs `bundles` or `origins`"),
        ("[{origin: a}]", "did you mean `origins`?"),
    ] {
        expect_problems(&with(list), &[expected]);
    }
}

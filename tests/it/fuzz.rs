//! The fuzz targets, on their corpus.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::Path;

type Check = fn(&[u8]);

#[test]
fn the_corpus_holds() {
    let targets: [(&str, Check, usize); 5] = [
        ("walker", checks::walker, 8),
        ("splice", checks::splice, 8),
        ("tar", checks::tar, 5),
        ("lock", checks::lock, 26),
        ("recipe", checks::recipe, 4),
    ];
    for (target, check, at_least) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let files: Vec<_> =
            std::fs::read_dir(&folder).expect("a corpus").map(|file| file.expect("readable").path()).collect();
        assert!(files.len() >= at_least, "{target}: only {} inputs", files.len());
        for file in files {
            let bytes = std::fs::read(&file).expect("readable");
            // A panic names the target's assertion; this names the input.
            assert!(std::panic::catch_unwind(|| check(&bytes)).is_ok(), "{}", file.display());
        }
    }
}

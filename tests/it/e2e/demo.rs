//! The first thing anyone runs.

use crate::support::colocate::colocate;

#[tokio::test]
async fn demo_shows_both_locks_and_ends() {
    let demo = colocate(&["demo", "--once", "--listen", "127.0.0.1:0"]).await;
    assert!(demo.status.success(), "{demo:?}");
    assert_both_locks(&demo.stdout);
}

/// What the demo says shows the sample's lock before and after, with every image renamed to what was pulled.
pub(super) fn assert_both_locks(output: &str) {
    let (before, after) = side_by_side(output);
    for lock in [&before, &after] {
        assert!(lock.starts_with("---apiVersion:imgpkg.carvel.dev/v1alpha1"), "{lock}");
        assert!(lock.contains("kind:ImagesLock"), "{lock}");
    }
    let (before, after) = (images(&before), images(&after));
    assert!(!before.is_empty() && before.len() == after.len(), "{output}");
    let pulled = output.lines().find_map(|line| line.strip_prefix("Pulled ")).expect("what was pulled");
    let (target, _) = pulled.rsplit_once(":v").expect("a tag");
    for ((was, digest), (is, same_digest)) in before.iter().zip(&after) {
        assert_eq!(digest, same_digest);
        assert_eq!(*is, target);
        assert_ne!(*was, target);
    }
}

/// The two columns under their headings, without the white space that wrapping adds.
fn side_by_side(output: &str) -> (String, String) {
    let mut lines = output.lines().skip_while(|line| !line.starts_with("as pushed")).skip(1);
    let rule = lines.next().expect("a rule below the headings");
    let width = rule.find(' ').expect("two columns");
    let (mut left, mut right) = (String::new(), String::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        let cells: Vec<char> = line.chars().collect();
        let cell = |from: usize, to: usize| cells[from.min(cells.len())..to.min(cells.len())].iter().copied();
        left.extend(cell(0, width).filter(|c| !c.is_whitespace()));
        right.extend(cell(width + 3, cells.len()).filter(|c| !c.is_whitespace()));
    }
    (left, right)
}

/// Name and digest of each image in a lock without white space.
fn images(lock: &str) -> Vec<(&str, &str)> {
    let references = lock.split("image:").skip(1).map(|rest| rest.split_once("@sha256:").expect("a digest"));
    references.map(|(name, rest)| (name, &rest[..64])).collect()
}

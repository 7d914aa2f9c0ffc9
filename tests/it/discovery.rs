//! What there is to be found: tags, repositories and referrers, all of them and in order, whatever the registry behind makes
//! of such questions.

#![expect(clippy::unwrap_used, reason = "the panic is the failure, and its place says enough")]

mod catalog;
mod odd;
mod referrers;
mod tags;

use serde_json::Value;

use crate::hostile::parts::{Answer, World};

/// The pages of a list, from `path` on by its links.
async fn walk(world: &World, path: &str, headers: &[(&str, &str)], key: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let answer = world.get(&path, headers).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        next = link(&answer);
        pages.push(list(&answer, key));
        assert!(pages.len() < 1000, "{path}");
    }
    pages
}

fn list(answer: &Answer, key: &str) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    document[key].as_array().unwrap_or_else(|| panic!("{document}")).clone()
}

/// Where the next page is.
fn link(answer: &Answer) -> Option<String> {
    Some(answer.header("link")?.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned())
}

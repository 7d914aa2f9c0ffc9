//! Content discovery: tags and repositories.

use serde_json::{Value, json};

use super::content::{MANIFEST, image};
use crate::support::http::Answer;
use crate::support::pusher::{Outcome, Pusher, refused, same, wanted};

/// Tags in order. The spec wants them "case-insensitive alphanumeric", most registries sort by bytes: these are in the
/// same order either way.
const TAGS: [&str; 7] = ["0.9", "1.0", "1.10", "1.2", "latest", "rc", "rc1"];

/// Pushes one image under all tags, in another order than theirs.
async fn tagged(at: &Pusher, seed: u64) -> Outcome {
    let manifest = image(at, seed, &json!({})).await?;
    for step in 0..TAGS.len() {
        at.manifest(TAGS[step * 3 % TAGS.len()], MANIFEST, &manifest).await?;
    }
    Ok(())
}

/// The strings in a field of an answer.
fn strings(answer: &Answer, field: &str) -> Outcome<Vec<String>> {
    let document: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let list = document[field].as_array().ok_or_else(|| format!("no list of {field}: {document}"))?;
    Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The tags that a list with this query has, and its answer.
async fn listed(at: &Pusher, query: &str) -> Outcome<(Vec<String>, Answer)> {
    let path = format!("tags/list{query}");
    let answer = wanted(&format!("GET {path}"), at.get(&path).await?, &[200])?;
    let document: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    same("the name in a list", document["name"].as_str(), Some(at.repository()))?;
    Ok((strings(&answer, "tags")?, answer))
}

/// Where the next page is (RFC 8288).
fn next(answer: &Answer) -> Outcome<Option<String>> {
    let Some(link) = answer.header("link") else { return Ok(None) };
    let (target, parameters) = link.trim_start().strip_prefix('<').and_then(|link| link.split_once('>')).ok_or(link)?;
    same("the relation in Link", parameters.contains("rel=\"next\""), true)?;
    let path = target.find("/v2/").ok_or_else(|| format!("Link: {link}"))?;
    Ok(Some(target[path..].to_owned()))
}

pub(super) async fn tags_are_listed(at: &Pusher) -> Outcome {
    tagged(at, 501).await?;
    let (mut tags, _) = listed(at, "").await?;
    tags.sort();
    same("all tags", tags, TAGS.map(str::to_owned).to_vec())
}

pub(super) async fn tags_are_in_order(at: &Pusher) -> Outcome {
    tagged(at, 502).await?;
    let (tags, answer) = listed(at, "").await?;
    same("tags in order", tags, TAGS.map(str::to_owned).to_vec())?;
    same("Link after the last page", answer.header("link"), None)
}

pub(super) async fn tags_come_in_pages(at: &Pusher) -> Outcome {
    tagged(at, 503).await?;
    for size in [1, 3, TAGS.len()] {
        let (mut found, mut answer) = listed(at, &format!("?n={size}")).await?;
        same("tags of a first page", found.len(), size)?;
        while let Some(path) = next(&answer)? {
            answer = wanted("GET of the next page", at.get(&path).await?, &[200])?;
            let page = strings(&answer, "tags")?;
            same("a page is no longer than asked for", page.len() <= size, true)?;
            same("pages come to an end", page.is_empty() && answer.header("link").is_some(), false)?;
            found.extend(page);
        }
        same(&format!("tags in pages of {size}"), found, TAGS.map(str::to_owned).to_vec())?;
    }
    let (all, _) = listed(at, "?n=100").await?;
    same("tags of a page with room to spare", all.len(), TAGS.len())
}

pub(super) async fn tags_after_one_are_listed(at: &Pusher) -> Outcome {
    tagged(at, 504).await?;
    for (query, expected) in [
        ("?n=2&last=1.0", &["1.10", "1.2"][..]),
        ("?last=1.2", &["latest", "rc", "rc1"]),
        // One that there never was.
        ("?last=2", &["latest", "rc", "rc1"]),
        ("?last=rc1", &[]),
    ] {
        let (tags, _) = listed(at, query).await?;
        same(&format!("tags of {query}"), tags.iter().map(String::as_str).collect::<Vec<_>>(), expected.to_vec())?;
    }
    Ok(())
}

pub(super) async fn no_tags_are_listed_if_none_are_wanted(at: &Pusher) -> Outcome {
    tagged(at, 505).await?;
    let (tags, answer) = listed(at, "?n=0").await?;
    same("tags of none", tags, Vec::new())?;
    same("Link with none", answer.header("link"), None)
}

pub(super) async fn an_unknown_repository_has_no_list(at: &Pusher) -> Outcome {
    refused("GET of tags", at.beside("nowhere").get("tags/list").await?, &[404], &["NAME_UNKNOWN"])
}

/// Not in the distribution spec, but in the API that it comes from, and in use.
pub(super) async fn repositories_are_listed(at: &Pusher) -> Outcome {
    for ending in ["a", "b", "c"] {
        let at = at.beside(ending);
        let manifest = image(&at, 506, &json!({})).await?;
        at.manifest("v1", MANIFEST, &manifest).await?;
    }
    let answer = wanted("GET of the catalog", at.get("/v2/_catalog?n=1000").await?, &[200])?;
    let all = strings(&answer, "repositories")?;
    same("repositories in order", all.is_sorted(), true)?;
    let own: Vec<_> = all.iter().filter(|name| name.starts_with(at.repository())).collect();
    same("repositories that were pushed to", own.len(), 3)?;
    // In pages, and as far as the pages go.
    let mut answer = wanted("GET of a page", at.get("/v2/_catalog?n=2").await?, &[200])?;
    let mut found = strings(&answer, "repositories")?;
    same("repositories of a first page", found.len(), 2)?;
    while let Some(path) = next(&answer)? {
        answer = wanted("GET of the next page", at.get(&path).await?, &[200])?;
        found.extend(strings(&answer, "repositories")?);
        same("pages come to an end", found.len() <= all.len(), true)?;
    }
    same("repositories in pages", found, all)
}

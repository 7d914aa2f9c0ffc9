//! Lists of names in lexical order, from registries that have them in any.
//!
//! A registry that pages as the distribution spec has it is asked page by page. Others ignore `n` and `last`, page by a
//! token of their own, or list by age: of them the whole list is taken in, put in order, and cut to pages here. One page
//! may be in order by chance, so the first hundred names are looked at before that is believed. What came of it is known
//! for a minute, long enough for a client to go from page to page; who begins anew has everything asked for anew.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;

use super::error::UpstreamError;
use super::lists::{Known, Listed};
use super::name_list::MAX_LIST_BYTES;
use super::registry::RegistryUpstream;
use super::{ListPage, NameList};

/// How many pages a list may have that is taken in whole: at 50 names each, as Quay has them, some ten thousand.
const MAX_PAGES: usize = 256;
/// How many names are looked at to see whether they are in order; as many as every registry gives at once.
const SAMPLE: usize = 100;
/// What a look at a list's beginning has shown.
enum Look {
    InOrder,
    /// It has no order, or pages by tokens.
    Otherwise,
    /// It is so short that this is all of it.
    All(Vec<String>),
}

impl RegistryUpstream {
    /// One page of a list.
    pub(super) async fn list(&self, listed: Listed<'_>, page: &ListPage) -> Result<NameList, UpstreamError> {
        if page.n == Some(0) {
            // Some take it for no limit, some refuse it; that there is such a list shows as well by one name.
            self.ask_page(listed, "n=1", MAX_LIST_BYTES).await?;
            return Ok(NameList::default());
        }
        let known = self.lists().known(listed).await;
        if let Some(Known::Whole(names)) = &known {
            return match page.last {
                Some(_) => Ok(NameList::of_whole(names.iter().map(String::as_str), page)),
                None => self.list_whole(listed, page).await,
            };
        }
        let mut asked = page.clone();
        let mut answer = self.ask_page(listed, &asked.query(), MAX_LIST_BYTES).await;
        if page.n.is_some() && matches!(&answer, Err(error) if is_refused(error)) {
            // More than it gives at once; how many that is, nobody but the registry knows.
            asked.n = None;
            answer = self.ask_page(listed, &asked.query(), MAX_LIST_BYTES).await;
        }
        let answer = answer?;
        if asked.last.is_none() && answer.is_the_end(&asked) {
            return Ok(NameList::of_whole(in_order_of(answer.names).iter().map(String::as_str), page));
        }
        if !answer.is_in_order(&asked) {
            return self.list_whole(listed, page).await;
        }
        if known.is_none() {
            let is_sample = asked.last.is_none() && asked.n.is_none_or(|n| n >= SAMPLE);
            let look = if is_sample { Look::InOrder } else { self.look(listed).await };
            match look {
                Look::InOrder => self.lists().keep(listed, Known::InOrder).await,
                Look::Otherwise => return self.list_whole(listed, page).await,
                Look::All(names) => {
                    // A list that pages rightly is asked for again, so that nothing that is new is missing from later pages.
                    let in_order = names.is_sorted_by(|one, other| one < other);
                    let names = in_order_of(names);
                    let list = NameList::of_whole(names.iter().map(String::as_str), page);
                    let known = if in_order { Known::InOrder } else { Known::Whole(names.into()) };
                    self.lists().keep(listed, known).await;
                    return Ok(list);
                }
            }
        }
        let open = answer.next.is_none() && !answer.is_the_end(&asked);
        let mut list = answer.into_page(page);
        if open && let Some(last) = list.names.last() {
            list.more = self.has_more(listed, last).await?;
        }
        Ok(list)
    }

    /// Looks at the beginning of a list. A registry that does not let itself be looked at is taken at its word.
    async fn look(&self, listed: Listed<'_>) -> Look {
        let page = ListPage { n: Some(SAMPLE), last: None };
        match self.ask_page(listed, &page.query(), MAX_LIST_BYTES).await {
            Ok(answer) if answer.is_the_end(&page) => Look::All(answer.names),
            Ok(answer) if !answer.is_in_order(&page) => Look::Otherwise,
            _ => Look::InOrder,
        }
    }

    /// Whether there is something behind `last`, from a registry that gives no links.
    async fn has_more(&self, listed: Listed<'_>, last: &str) -> Result<bool, UpstreamError> {
        let page = ListPage { n: Some(1), last: Some(last.to_owned()) };
        match self.ask_page(listed, &page.query(), MAX_LIST_BYTES).await {
            Ok(answer) => Ok(answer.names.iter().any(|name| name.as_str() > last)),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Takes all of a list in.
    async fn list_whole(&self, listed: Listed<'_>, page: &ListPage) -> Result<NameList, UpstreamError> {
        let (mut names, mut room) = (Vec::new(), MAX_LIST_BYTES);
        let (mut query, mut asked) = (String::new(), HashSet::new());
        for _ in 0..MAX_PAGES {
            let answer = self.ask_page(listed, &query, room).await?;
            asked.insert(query);
            room -= answer.bytes;
            names.extend(answer.names);
            match answer.next {
                Some(next) if !asked.contains(&next) => query = next,
                // No next page, or one that leads back.
                _ => {
                    let names: Arc<[String]> = in_order_of(names).into();
                    self.lists().keep(listed, Known::Whole(Arc::clone(&names))).await;
                    return Ok(NameList::of_whole(names.iter().map(String::as_str), page));
                }
            }
        }
        Err(UpstreamError::malformed("has more pages of names than are asked for"))
    }
}

fn is_refused(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::UnexpectedStatus { status: StatusCode::BAD_REQUEST })
}

/// Lexical order, and nothing twice.
fn in_order_of(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

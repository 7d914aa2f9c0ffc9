//! The tags of a repository.

use serde_json::{Value, json};

use super::odd::{Way, names};
use super::{link, list, walk};
use crate::hostile::parts::World;
use crate::support::bundle::Bundle;
use crate::support::scripted::{Fault, ScriptedUpstream};

const PATH: &str = "/v2/acme/app/tags/list";

async fn world(way: Way, tags: &[String]) -> (ScriptedUpstream, World) {
    let upstream = ScriptedUpstream::start().await;
    upstream.on(PATH).fails(way.lists("tags", tags));
    let world = World::new(&format!("upstream: {{url: '{}'}}", upstream.url())).await;
    (upstream, world)
}

fn sorted(names: &[String]) -> Vec<Value> {
    let mut sorted = names.to_vec();
    sorted.sort();
    sorted.into_iter().map(Value::from).collect()
}

#[tokio::test]
async fn every_tag_is_listed_once_and_in_order_however_the_registry_lists_them() {
    for (way, count) in Way::ALL.into_iter().flat_map(|way| [6, 130].map(|count| (way, count))) {
        let names = names(count);
        let expected = sorted(&names);
        for n in [1, 3, 6, 65, 130, 1001] {
            if n == 1 && count > 6 && way != Way::ByAge {
                continue;
            }
            let (_upstream, world) = world(way, &names).await;
            let what = format!("{way:?}, {n} of {count} at once");
            let pages = walk(&world, &format!("{PATH}?n={n}"), &[], "tags").await;
            let (last, full) = pages.split_last().unwrap();
            assert!(last.len() <= n && (!last.is_empty() || count == 0), "{what}");
            assert!(full.iter().all(|page| page.len() == n || way == Way::Strict), "{what}");
            assert_eq!(pages.concat(), expected, "{what}");
        }
        let (_upstream, world) = world(way, &names).await;
        assert_eq!(walk(&world, PATH, &[], "tags").await.concat(), expected, "{way:?}");
        // Who does not follow links, but knows a tag; also as the first thing that is asked.
        let (_upstream, world) = self::world(way, &names).await;
        let from = walk(&world, &format!("{PATH}?n=4&last=n001"), &[], "tags").await.concat();
        assert_eq!(from, expected[2..], "{way:?} from n001");
        let none = world.get(&format!("{PATH}?n=0"), &[]).await;
        assert_eq!((none.status, list(&none, "tags"), link(&none)), (200, Vec::new(), None), "{way:?}");
        let behind = world.get(&format!("{PATH}?last=x"), &[]).await;
        assert_eq!((list(&behind, "tags"), link(&behind)), (Vec::new(), None), "{way:?}");
    }
}

#[tokio::test]
async fn one_that_pages_rightly_is_asked_page_by_page() {
    let (upstream, world) = world(Way::Proper, &names(250)).await;
    assert_eq!(walk(&world, &format!("{PATH}?n=100"), &[], "tags").await.len(), 3);
    let queries = || upstream.requests().into_iter().map(|seen| seen.query).collect::<Vec<_>>();
    assert_eq!(queries(), ["n=100", "n=100&last=n099", "n=100&last=n199"]);
    // Of less, it is seen once whether that is in order.
    let (upstream, world) = self::world(Way::Proper, &names(6)).await;
    walk(&world, &format!("{PATH}?n=2"), &[], "tags").await;
    assert_eq!(upstream.requests().len(), 5, "three pages, a look, and whether there is a fourth");
    let (upstream, world) = self::world(Way::Proper, &names(130)).await;
    walk(&world, &format!("{PATH}?n=60"), &[], "tags").await;
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn a_list_that_is_taken_in_whole_is_taken_anew_by_who_begins_anew() {
    let (upstream, world) = world(Way::Tokens, &names(60)).await;
    let walked = async || walk(&world, &format!("{PATH}?n=10"), &[], "tags").await.concat();
    assert_eq!(walked().await, sorted(&names(60)));
    let asked = upstream.requests().len();
    assert!(asked <= 5, "each page took the whole: {asked}");
    let mut more = names(60);
    more.push("a-new-one".to_owned());
    upstream.on(PATH).fails(Way::Tokens.lists("tags", &more));
    assert_eq!(walked().await, sorted(&more));
}

#[tokio::test]
async fn nothing_is_listed_that_the_registry_does_not_list() {
    let (upstream, world) = world(Way::Tokens, &names(60)).await;
    upstream.on(PATH).after(1).fails(Fault::status(500));
    assert_eq!(world.get(PATH, &[]).await.status, 503, "half a list is none");
    upstream.heal();
    assert_eq!(world.get(PATH, &[]).await.code(), (404, "NAME_UNKNOWN".to_owned()));
    assert_eq!(world.get(&format!("{PATH}?n=0"), &[]).await.code(), (404, "NAME_UNKNOWN".to_owned()));
    // Pages without end are not followed for ever.
    let endless = Fault::make(|seen| {
        let at: usize = seen.query.strip_prefix("page=").map_or(0, |page| page.parse().unwrap());
        let link = format!("</x?page={}>; rel=next", at + 1);
        let body = json!({"tags": [format!("t{at}")]}).to_string();
        Some(http::Response::builder().header("link", link).body(body.into()).unwrap())
    });
    upstream.on(PATH).fails(endless);
    assert_eq!(world.get(PATH, &[]).await.status, 502);
    assert!(upstream.requests().len() < 1000);
}

#[tokio::test]
async fn a_made_digest_is_found_behind_a_list_without_order() {
    // A search for what another replica made goes by the tags.
    let upstream = ScriptedUpstream::start().await;
    let image = Bundle::image("an image");
    upstream.put("acme/app", &image.layout(Some("n001")));
    upstream.on(PATH).fails(Way::Tokens.lists("tags", &names(30)));
    let world = World::new(&format!("upstream: {{url: '{}'}}", upstream.url())).await;
    let unknown = format!("/v2/acme/app/manifests/{}", colocate::oci::Digest::of(b"nothing"));
    assert_eq!(world.get(&unknown, &[]).await.code(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(upstream.count("", "/v2/acme/app/manifests/n0*"), 30, "all of them were looked at");
}

//! Blobs that the cache has no room for.

use crate::support::colocate::{Colocate, Settings};
use crate::support::http::{Method, send};
use crate::support::pattern::Pattern;
use crate::support::pull::{Ended, Pull};
use crate::support::scripted::ScriptedUpstream;
use crate::support::stored::Stored;

const REPOSITORY: &str = "acme/app";
const SIZE: u64 = (8 << 20) + 1;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_the_cache_comes_whole_whatever_part_is_asked_for() {
    let upstream = ScriptedUpstream::start().await;
    let blob = Pattern::new(1, SIZE);
    upstream.put_pattern(REPOSITORY, &blob);
    let colocate = Colocate::start(Settings::new(&upstream.url()).set("cache.max_bytes", "1MiB")).await;
    let url = format!("{}/v2/{REPOSITORY}/blobs/{}", colocate.url(), blob.digest());

    assert_eq!(Pull::of(&colocate.url(), REPOSITORY, &blob).run().await, Ended::Whole);
    // One byte would cost the upstream as much as all of them, and the client nothing.
    let answer = send(Method::GET, &url, &[("range", "bytes=0-0")], "").await.expect(200);
    assert_eq!((answer.header("accept-ranges"), answer.header("content-range")), (Some("none"), None));
    assert!(!answer.header("cache-status").expect("one").contains("stored"), "it is not");
    assert!(answer.body.len() as u64 == SIZE && blob.holds(0, &answer.body));

    assert!(Stored::audit(&colocate.cache()).contents.is_empty());
    assert!(!colocate.log().contains("in trouble"), "a bound is no fault of the disk");
}

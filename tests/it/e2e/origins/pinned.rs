//! A client that knows only the digest that was pushed gets what was pushed.

use super::{each_pushed, pushed_to};
use crate::support::layout::Golden;
use crate::support::require;

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_that_was_pushed_gives_what_was_pushed() {
    if !require(&["docker-registry"]) {
        return;
    }
    each_pushed(async |front, golden| {
        let repository = pushed_to(golden);
        // Before the tag was asked for, and after.
        for relocated in [false, true] {
            if relocated {
                let answer = front.colocate.manifest(&repository, Golden::TAG).await.expect(200);
                assert_ne!(answer.digest(), golden.digest);
            }
            let document = golden.origin.manifest(&golden.digest);
            let answer = front.colocate.manifest(&repository, &golden.digest.to_string()).await.expect(200);
            assert_eq!((answer.digest(), &answer.body), (golden.digest, &document.bytes));
            assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
            assert_eq!(answer.header("colocate-original-digest"), None, "it is the original");
            for (digest, bytes) in &golden.origin.blobs {
                let blob = front.colocate.blob(&repository, &digest.to_string()).await.expect(200);
                assert_eq!(blob.body, bytes, "{digest}");
            }
        }
    })
    .await;
}

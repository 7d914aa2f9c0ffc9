//! Clients that may read one repository of an archive and not another.

use std::fs;

use tempfile::TempDir;

use super::parts::{Edge, images_in};
use crate::support::access::Access;
use crate::support::archive::golden_tar;
use crate::support::layout::Golden;
use crate::support::secrets::secret;

#[tokio::test]
async fn what_a_bundle_names_is_for_those_who_may_read_that() {
    let golden = Golden::read("nested-app");
    let [anna, bob] = ["Anna's password", "Bob's password"].map(secret);
    let directory = TempDir::new().unwrap();
    let users = directory.path().join("users");
    let line = |(user, password): (&str, &String)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    fs::write(&users, [("anna", &anna), ("bob", &bob)].map(line).concat()).unwrap();
    let config = format!(
        "upstream: {{archives: ['{}']}}\n\
         access: {{mode: htpasswd, htpasswd: '{}', rules: [{{identity: 'user:anna', allow: [pull]}}, \
         {{identity: 'user:bob', repository: 'fx/nested-app', allow: [pull]}}]}}",
        golden_tar(golden.name).display(),
        users.display()
    );
    let (anna, bob) = (Access::anonymous().login("anna", &anna), Access::anonymous().login("bob", &bob));
    for bob_first in [false, true] {
        let edge = Edge::configured(&config).await;
        let (anna, bob) = (edge.seen_by(&anna), edge.seen_by(&bob));
        if bob_first {
            assert_eq!(bob.pull("fx/nested-app", Golden::TAG).await.digest, golden.digest);
        }
        let relocated = anna.pull("fx/nested-app", Golden::TAG).await;
        assert_ne!(relocated.digest, golden.digest, "{bob_first}");
        assert_eq!(bob.pull("fx/nested-app", Golden::TAG).await.digest, golden.digest, "{bob_first}");
        for image in images_in(&relocated.lock()) {
            let (_, digest) = image.split_once('@').unwrap();
            let manifest = anna.manifest("fx/nested-app", digest).await.expect(200).json();
            bob.manifest("fx/nested-app", digest).await.expect(404);
            let layer = manifest["layers"][0]["digest"].as_str().unwrap();
            anna.blob("fx/nested-app", layer).await.expect(200);
            bob.blob("fx/nested-app", layer).await.expect(404);
        }
        // Nor under their own names, by which they are not told apart from what is not there.
        bob.manifest("apps/two", "latest").await.expect(bob.manifest("apps/nothing", "latest").await.status.as_u16());
        anna.manifest("apps/two", "latest").await.expect(200);
        edge.seen().manifest("fx/nested-app", Golden::TAG).await.expect(401);
    }
}

//! What refers to a manifest.

use colocate::oci::{Digest, Tag};
use serde_json::{Value, json};

use super::{link, list, walk};
use crate::hostile::parts::{Answer, World};
use crate::support::bundle::{Bundle, BundleBuilder, lock_of};
use crate::support::scripted::{Fault, ScriptedUpstream};

const REPOSITORY: &str = "acme/app";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn world() -> (ScriptedUpstream, World) {
    let upstream = ScriptedUpstream::start().await;
    let world = World::new(&format!("upstream: {{url: '{}', registry: reg.example}}", upstream.url())).await;
    (upstream, world)
}

fn path(subject: &Digest) -> String {
    format!("/v2/{REPOSITORY}/referrers/{subject}")
}

fn descriptor(at: usize, artifact_type: &str) -> Value {
    json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(&at.to_be_bytes()),
        "size": at, "artifactType": artifact_type, "x-unknown": {"kept": true}})
}

/// Has the tag that stands in for the list say this.
fn tagged(upstream: &ScriptedUpstream, subject: &Digest, manifests: &Value) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    let digest = upstream.put_manifest(REPOSITORY, INDEX, index);
    upstream.tag(REPOSITORY, Tag::of_referrers(subject).as_str(), &digest);
}

fn manifests(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(INDEX)), "{answer:?}");
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)));
    list(answer, "manifests")
}

#[tokio::test]
async fn nothing_is_an_empty_list() {
    let (upstream, world) = world().await;
    let subject = Digest::of(b"subject");
    assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [Value::Null; 0], "not even a repository");
    upstream.put(REPOSITORY, &Bundle::image("an image").layout(Some("v1")));
    assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [Value::Null; 0]);
    let head = world.ask("HEAD", &path(&subject), &[]).await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (200, Some(INDEX), 0));
    assert_eq!(world.get(&format!("/v2/{REPOSITORY}/referrers/sha256:beef"), &[]).await.code().0, 400);
}

#[tokio::test]
async fn the_tag_stands_in_for_a_list_that_the_registry_does_not_have() {
    let (upstream, world) = world().await;
    let sha512 = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
    for subject in [Digest::of(b"subject"), sha512] {
        let (one, two) = (descriptor(1, "type/a"), descriptor(2, "type/b"));
        let untyped = json!({"mediaType": "m", "digest": Digest::of(b"untyped"), "size": 1});
        // As a client would see it, who then has the tag in the cache.
        tagged(&upstream, &subject, &json!([one]));
        let tag = format!("/v2/{REPOSITORY}/manifests/{}", Tag::of_referrers(&subject).as_str());
        assert_eq!(world.get(&tag, &[]).await.status, 200);
        assert_eq!(manifests(&world.get(&path(&subject), &[]).await), std::slice::from_ref(&one));
        tagged(&upstream, &subject, &json!([one, two, untyped, one]));
        let all = world.get(&path(&subject), &[]).await;
        assert_eq!(manifests(&all), [one.clone(), two.clone(), untyped], "what was just pushed, and nothing twice");
        assert_eq!(all.header("oci-filters-applied"), None);
        let filtered = world.get(&format!("{}?artifactType=type/b", path(&subject)), &[]).await;
        assert_eq!((manifests(&filtered), filtered.header("oci-filters-applied")), (vec![two], Some("artifactType")));
        let none = world.get(&format!("{}?artifactType=type/c", path(&subject)), &[]).await;
        assert_eq!(manifests(&none), [Value::Null; 0]);
    }
}

#[tokio::test]
async fn something_else_under_the_tag_lists_nothing() {
    let (upstream, world) = world().await;
    let (image, subject) = (Bundle::image("an image"), Digest::of(b"subject"));
    let tag = Tag::of_referrers(&subject);
    upstream.put(REPOSITORY, &image.layout(Some(tag.as_str())));
    assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [Value::Null; 0]);
    for broken in ["{", "[]", r#"{"manifests":null}"#, r#"{"manifests":[1]}"#, r#"{"manifests":[{"size":1}]}"#] {
        let digest = upstream.put_manifest(REPOSITORY, INDEX, broken);
        upstream.tag(REPOSITORY, tag.as_str(), &digest);
        assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [Value::Null; 0], "{broken}");
    }
    let by_tag = format!("/v2/{REPOSITORY}/manifests/{}", tag.as_str());
    upstream.on(&by_tag).fails(Fault::html());
    assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [Value::Null; 0]);
    // That it cannot be told is something else.
    for (status, told) in [(500, 503), (403, 403), (429, 429)] {
        upstream.heal();
        upstream.on(&by_tag).fails(Fault::status(status));
        assert_eq!(world.get(&path(&subject), &[]).await.status, told, "{status}");
    }
}

#[tokio::test]
async fn what_the_registry_lists_is_filtered_here_where_it_does_not() {
    let (upstream, world) = world().await;
    let subject = Digest::of(b"subject");
    let (one, two) = (descriptor(1, "type/a"), descriptor(2, "type/b"));
    for descriptor in [&one, &two, &one] {
        upstream.refer(REPOSITORY, &subject, descriptor.clone());
    }
    tagged(&upstream, &subject, &json!([descriptor(3, "type/a")]));
    assert_eq!(manifests(&world.get(&path(&subject), &[]).await), [one.clone(), two], "the list, and not the tag");
    let filtered = world.get(&format!("{}?artifactType=type%2Fa", path(&subject)), &[]).await;
    assert_eq!((manifests(&filtered), filtered.header("oci-filters-applied")), (vec![one], Some("artifactType")));
    assert_eq!(manifests(&world.get(&path(&Digest::of(b"other")), &[]).await), [Value::Null; 0]);
}

#[tokio::test]
async fn a_relocated_bundle_has_what_is_made_here_and_what_was_pushed() {
    let (upstream, world) = world().await;
    let image = Bundle::image("an image");
    upstream.put(REPOSITORY, &image.layout(None));
    let lock = lock_of(&[format!("reg.example/{REPOSITORY}@{}", image.digest())]);
    upstream.put(REPOSITORY, &BundleBuilder::with_lock(&lock).build().layout(Some("v1")));
    let relocated = Digest::of(&world.get(&format!("/v2/{REPOSITORY}/manifests/v1"), &[]).await.body);
    let [own] = manifests(&world.get(&path(&relocated), &[]).await).try_into().unwrap();
    assert_eq!(own["artifactType"], "application/vnd.colocate.provenance.v1+json");
    // Also if it was pushed back to where it came from.
    let signature = descriptor(1, "type/signature");
    tagged(&upstream, &relocated, &json!([signature, own]));
    assert_eq!(manifests(&world.get(&path(&relocated), &[]).await), [signature.clone(), own]);
    let filtered = world.get(&format!("{}?artifactType=type/signature", path(&relocated)), &[]).await;
    assert_eq!(manifests(&filtered), [signature]);
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let (upstream, world) = world().await;
    let subject = Digest::of(b"subject");
    (0..7).for_each(|at| upstream.refer(REPOSITORY, &subject, descriptor(at, ["type/a", "type/b"][at % 2])));
    let first = world.get(&format!("{}?n=2&artifactType=type/a&ns=reg.example", path(&subject)), &[]).await;
    let shown = manifests(&first);
    let last = shown[1]["digest"].as_str().unwrap().replace(':', "%3A");
    let next = format!("{}?ns=reg.example&artifactType=type%2Fa&n=2&last={last}", path(&subject));
    assert_eq!((shown.len(), link(&first)), (2, Some(next)));
    for n in [1, 2, 3, 7, 8] {
        let pages = walk(&world, &format!("{}?n={n}", path(&subject)), &[], "manifests").await;
        assert!(pages.iter().all(|page| page.len() <= n) && pages.len() == 7_usize.div_ceil(n), "{n}");
        let mut sizes: Vec<_> = pages.concat().iter().map(|listed| listed["size"].as_u64().unwrap()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [0, 1, 2, 3, 4, 5, 6], "{n}");
    }
    assert_eq!(world.get(&format!("{}?last=v1", path(&subject)), &[]).await.code().0, 400);
    assert_eq!(manifests(&world.get(&format!("{}?n=0", path(&subject)), &[]).await), [Value::Null; 0]);

    let large = Digest::of(b"large");
    let note = "x".repeat(200 << 10);
    for at in 0..15 {
        let mut descriptor = descriptor(at, "type/a");
        descriptor["annotations"] = json!({"note": note});
        upstream.refer(REPOSITORY, &large, descriptor);
    }
    let whole = world.get(&path(&large), &[]).await;
    assert!(whole.body.len() <= 2 << 20 && link(&whole).is_some());
    assert_eq!(walk(&world, &path(&large), &[], "manifests").await.concat().len(), 15);
}

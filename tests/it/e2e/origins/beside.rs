//! What stands beside a bundle: signatures of what was pushed, and the proxy's account of what it made of it.

use colocate::oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Front, Origins, Spread, at, each_pushed, images_in, lock_as_pushed, pushed_to};
use crate::support::access::Access;
use crate::support::bundle::{BundleBuilder, index};
use crate::support::http::{self, Answer};
use crate::support::layout::{Golden, push_manifest};
use crate::support::require;
use crate::support::skopeo::Skopeo;

const PROVENANCE: &str = "application/vnd.colocate.provenance.v1+json";

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_found_as_they_were_pushed() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    let golden = Golden::read("simple-app");
    let repository = pushed_to(&golden);
    let origins = Origins::start(Spread::TwoRegistries, std::slice::from_ref(&golden)).await;
    let tag = format!("sha256-{}.sig", golden.digest.hex());
    // As cosign does it, an OCI image under a tag that is made of the digest.
    let signature = BundleBuilder::new().oci().label(None).file("signature", "of the bundle").build();
    let registry = origins.registries[0].url();
    signature.layout(Some(&tag)).push(&registry, &repository).await;
    // And as clients find referrers in a registry that has no such list.
    let fallback = format!("sha256-{}", golden.digest.hex());
    let list = index(&[&signature]);
    push_manifest(&registry, &repository, &fallback, &list).await;

    let front = origins.serve().await;
    let relocated = front.colocate.manifest(&repository, Golden::TAG).await.expect(200).digest();
    assert_ne!(relocated, golden.digest);
    for (reference, document) in [(&tag, &signature.manifest), (&fallback, &list)] {
        let answer = front.colocate.manifest(&repository, reference).await.expect(200);
        assert_eq!((answer.digest(), &answer.body), (document.digest, &document.bytes), "{reference}");
        assert_eq!(answer.header("content-type"), Some(document.media_type.as_str()));
    }
    let listed = referrers(&front, &repository, &golden.digest, "").await.expect(200).json();
    let expected: Value = serde_json::from_slice(&list.bytes).expect("JSON");
    assert_eq!(listed["manifests"], expected["manifests"]);
    for part in signature.layers.iter().chain([&signature.config]) {
        let digest = Digest::of(part).to_string();
        assert_eq!(front.colocate.blob(&repository, &digest).await.expect(200).body, part);
    }
    let out = TempDir::new().expect("a directory");
    let reference = format!("{}/{repository}:{tag}", front.endpoint);
    let copied = Skopeo::new(&Access::anonymous()).copy(&reference, out.path()).await;
    assert!(copied.status.success(), "{copied:?}");
    // Nobody signed what was made here, and nobody is told otherwise.
    let tag = format!("sha256-{}.sig", relocated.hex());
    front.colocate.manifest(&repository, &tag).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relocated_bundle_refers_back_to_the_one_that_was_pushed() {
    if !require(&["docker-registry", "skopeo"]) {
        return;
    }
    each_pushed(async |front, golden| {
        let repository = pushed_to(golden);
        // docker-registry has no such list, and nobody has pushed the tag that stands in for it.
        let none = referrers(front, &repository, &golden.digest, "").await.expect(200);
        assert_eq!(none.json()["manifests"], json!([]));
        let bundle = front.colocate.manifest(&repository, Golden::TAG).await.expect(200);
        let relocated = bundle.digest();
        let none = referrers(front, &repository, &golden.digest, "").await.expect(200);
        assert_eq!(none.json()["manifests"], json!([]));

        let query = format!("?artifactType={}", PROVENANCE.replace('+', "%2B"));
        for query in ["", &query] {
            let answer = referrers(front, &repository, &relocated, query).await.expect(200);
            assert_eq!(answer.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
            let listed = answer.json();
            let [listed] = listed["manifests"].as_array().expect("a list").as_slice() else { panic!("{listed}") };
            assert_eq!(listed["artifactType"], PROVENANCE);
            artifact(front, golden, &bundle, listed).await;
        }
        let other = referrers(front, &repository, &relocated, "?artifactType=application/example").await;
        assert_eq!(other.expect(200).json()["manifests"], json!([]));
    })
    .await;
}

/// The artifact that a list of referrers names, pulled by hand and by skopeo.
async fn artifact(front: &Front, golden: &Golden, bundle: &Answer, listed: &Value) {
    let repository = pushed_to(golden);
    let digest = listed["digest"].as_str().expect("a digest");
    let answer = front.colocate.manifest(&repository, digest).await.expect(200);
    assert_eq!((answer.digest().to_string().as_str(), Digest::of(&answer.body)), (digest, answer.digest()));
    assert_eq!(listed["size"], answer.body.len());
    assert_eq!(answer.header("content-type"), listed["mediaType"].as_str());
    let manifest = answer.json();
    assert_eq!(manifest["artifactType"], PROVENANCE);
    let subject = json!({
        "mediaType": bundle.header("content-type"), "digest": bundle.digest().to_string(), "size": bundle.body.len(),
    });
    assert_eq!(manifest["subject"], subject);

    let [layer] = manifest["layers"].as_array().expect("layers").as_slice() else { panic!("one layer: {manifest}") };
    let mut statement = Value::Null;
    for part in [&manifest["config"], layer] {
        let digest = part["digest"].as_str().expect("a digest");
        let blob = front.colocate.blob(&repository, digest).await.expect(200);
        assert_eq!((Digest::of(&blob.body).to_string().as_str(), &json!(blob.body.len())), (digest, &part["size"]));
        statement = blob.json();
    }
    assert_eq!(statement["original"], json!(golden.digest.to_string()));
    assert_eq!(statement["relocated"], json!(bundle.digest().to_string()));
    let target = format!("{}/{repository}", front.endpoint);
    assert_eq!(statement["target"], json!(target));
    let images = images_in(&lock_as_pushed(golden)).into_iter().map(|before| {
        let (_, digest) = at(Golden::ENDPOINT, &before);
        json!({"digest": digest, "before": before, "after": format!("{target}@{digest}")})
    });
    assert_eq!(statement["images"], json!(images.collect::<Vec<_>>()));

    let out = TempDir::new().expect("a directory");
    let copied = Skopeo::new(&Access::anonymous()).copy(&format!("{target}@{digest}"), out.path()).await;
    assert!(copied.status.success(), "{copied:?}");
}

async fn referrers(front: &Front, repository: &str, digest: &Digest, query: &str) -> Answer {
    http::get(&format!("{}/v2/{repository}/referrers/{digest}{query}", front.colocate.url())).await
}

//! The workflows of the OCI distribution spec 1.1, written from the spec, against Debian's `docker-registry` alone and
//! through the proxy in front of it.
//!
//! A workflow is a function over a registry that says what deviates from the spec, if anything does. Whatever holds at
//! the registry has to hold through the proxy; what [`LACKING`] names has to hold there as well.
//! Where the spec leaves a choice ("MAY", "SHOULD"), a workflow takes every choice and insists that it is kept to.

mod content;
mod discovery;
mod errors;
mod management;
mod manifests;
mod pull;
mod referrers;
mod sessions;
mod uploads;

use std::pin::Pin;
use std::time::Duration;

use crate::support::colocate::{Colocate, Settings};
use crate::support::pusher::{Outcome, Pusher};
use crate::support::registry::DockerRegistry;
use crate::support::require;

/// How long one workflow may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that clients do with a registry.
struct Workflow {
    name: &'static str,
    run: fn(Pusher) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

macro_rules! workflows {
    ($($room:ident: $($name:ident)+;)+) => {
        &[$($(Workflow {
            name: concat!(stringify!($room), "::", stringify!($name)),
            run: |at| Box::pin(async move { $room::$name(&at).await }),
        }),+),+]
    };
}

const WORKFLOWS: &[Workflow] = workflows! {
    pull:
        the_api_is_there
        a_manifest_is_pulled_by_tag_and_by_digest
        a_blob_is_pulled_whole_and_in_part
        a_part_that_is_not_there_is_refused
        what_is_absent_is_not_found;
    uploads:
        a_blob_is_pushed_by_one_post
        a_blob_is_pushed_by_post_and_put
        a_blob_is_pushed_by_a_streamed_patch
        a_blob_is_pushed_by_a_streamed_put
        a_blob_is_pushed_in_chunks
        a_blob_is_pushed_again
        an_empty_blob_is_pushed
        a_blob_is_pushed_by_sha512
        a_blob_is_mounted_from_another_repository
        a_blob_is_mounted_from_wherever_it_is
        a_mount_of_what_is_absent_becomes_an_upload
        a_wrong_digest_is_refused;
    sessions:
        the_status_tells_how_far_an_upload_is
        a_chunk_out_of_order_is_refused
        an_interrupted_upload_goes_on_where_it_stopped
        an_upload_is_cancelled
        an_upload_that_ended_is_no_more;
    manifests:
        a_manifest_is_kept_byte_for_byte
        a_manifest_is_pushed_by_its_digest
        a_manifest_is_pushed_by_sha512_or_refused
        a_tag_moves
        an_index_is_pushed
        an_artifact_is_pushed
        a_docker_image_and_its_list_are_pushed
        a_subject_need_not_be_there
        a_manifest_of_nearly_four_mebibytes_is_taken
        a_manifest_of_more_is_too_large
        a_manifest_of_absent_blobs_is_refused
        what_is_no_manifest_is_refused;
    discovery:
        tags_are_listed
        tags_are_in_order
        tags_come_in_pages
        tags_after_one_are_listed
        no_tags_are_listed_if_none_are_wanted
        an_unknown_repository_has_no_list
        repositories_are_listed;
    referrers:
        a_subject_is_acknowledged
        there_is_always_a_list
        referrers_are_listed_with_what_they_are
        referrers_are_filtered_by_type
        referrers_come_before_their_subject
        a_deleted_referrer_is_listed_no_more
        a_digest_is_what_has_referrers;
    management:
        a_blob_is_deleted_and_pushed_again
        a_manifest_is_deleted_and_pushed_again
        a_tag_is_deleted_or_stays
        what_is_absent_cannot_be_deleted;
    errors:
        broken_names_are_refused
        broken_digests_are_refused
        broken_references_are_refused
        other_methods_are_refused
        unknown_uploads_are_not_found;
};

/// What `docker-registry` 2.8 lacks or does another way, and the proxy adds.
const LACKING: &[&str] = &[
    "pull::a_part_that_is_not_there_is_refused",
    "sessions::a_chunk_out_of_order_is_refused",
    "sessions::an_interrupted_upload_goes_on_where_it_stopped",
    "manifests::a_manifest_of_more_is_too_large",
    "discovery::tags_are_in_order",
    "discovery::tags_come_in_pages",
    "discovery::tags_after_one_are_listed",
    "discovery::no_tags_are_listed_if_none_are_wanted",
    "referrers::a_subject_is_acknowledged",
    "referrers::there_is_always_a_list",
    "referrers::referrers_are_listed_with_what_they_are",
    "referrers::referrers_are_filtered_by_type",
    "referrers::referrers_come_before_their_subject",
    "referrers::a_deleted_referrer_is_listed_no_more",
    "referrers::a_digest_is_what_has_referrers",
    "errors::broken_references_are_refused",
];

impl Workflow {
    /// Runs it at the registry at this URL, in a repository of its own.
    async fn at(&self, registry: &str) -> Outcome {
        let at = Pusher::anonymous(registry, &format!("conformance/{}", self.name.replace("::", "/")));
        let ended = tokio::time::timeout(PATIENCE, (self.run)(at)).await;
        ended.unwrap_or_else(|_| Err(format!("not done within {PATIENCE:?}")))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the table is what there is to read, and the test harness shows it")]
async fn what_the_registry_does_and_what_it_lacks_is_there_through_the_proxy() {
    if !require(&["docker-registry"]) {
        return;
    }
    // One each, so that neither finds what the other left.
    let alone = DockerRegistry::setup().deleting().start().await;
    let behind = DockerRegistry::setup().deleting().start().await;
    let colocate = Colocate::start(Settings::forwarding(&behind.url())).await;
    let (mut lacking, mut wrong) = (Vec::new(), Vec::new());
    let width = WORKFLOWS.iter().map(|workflow| workflow.name.len()).max().unwrap_or_default();
    for workflow in WORKFLOWS {
        let (directly, through) = (workflow.at(&alone.url()).await, workflow.at(&colocate.url()).await);
        let word = |outcome: &Outcome| if outcome.is_ok() { "yes" } else { "no" };
        eprintln!("{:width$}  alone {:3}  through the proxy {}", workflow.name, word(&directly), word(&through));
        for (place, outcome) in [("alone", &directly), ("through", &through)] {
            if let Err(deviation) = outcome {
                eprintln!("{:width$}    {place}: {deviation}", "");
            }
        }
        if directly.is_err() {
            lacking.push(workflow.name);
        }
        wrong.extend(through.err().map(|deviation| format!("{}: {deviation}", workflow.name)));
    }
    assert!(wrong.is_empty(), "through the proxy:\n{}", wrong.join("\n"));
    assert_eq!(lacking, LACKING, "what the registry lacks by itself");
}

//! What came of it, for people or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::oci::Digest;
use crate::rewrite::compare::{self, Difference, ImageChange, Report, Verdict};

/// What was compared.
pub(super) struct Shown {
    /// The bundle, as it was asked for.
    pub(super) reference: String,
    pub(super) truth: Truth,
    pub(super) original: Digest,
    /// What is served.
    pub(super) served: Digest,
    pub(super) target: String,
}

/// Where the original's digest is from.
pub(super) enum Truth {
    /// The arguments.
    Told,
    /// The registry, asked for this.
    Upstream(String),
}

/// Fields stay what they are from version to version; there may be more of them.
#[derive(Serialize)]
struct Json<'a> {
    verdict: Verdict,
    reference: &'a str,
    target: &'a str,
    original: &'a Digest,
    /// `argument`, or `upstream`.
    original_from: &'static str,
    upstream: Option<&'a str>,
    served: &'a Digest,
    reason: Option<String>,
    images: &'a [ImageChange],
    differences: &'a [Difference],
    more_differences: bool,
}

/// A report as text, with a line's end.
pub(super) fn text(shown: &Shown, report: &Report, json: bool) -> serde_json::Result<String> {
    if !json {
        return Ok(for_people(shown, report));
    }
    let (original_from, upstream) = match &shown.truth {
        Truth::Told => ("argument", None),
        Truth::Upstream(reference) => ("upstream", Some(reference.as_str())),
    };
    let mut text = serde_json::to_string_pretty(&Json {
        verdict: report.verdict,
        reference: &shown.reference,
        target: &shown.target,
        original: &shown.original,
        original_from,
        upstream,
        served: &shown.served,
        reason: report.reason.as_ref().map(|reason| compare::shown(&reason.to_string())),
        images: &report.images,
        differences: &report.differences,
        more_differences: report.more,
    })?;
    text.push('\n');
    Ok(text)
}

fn for_people(shown: &Shown, report: &Report) -> String {
    let Shown { reference, truth, original, served, target } = shown;
    let mut text = format!("{reference}\n");
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    let from = match truth {
        Truth::Told => "as given; its bytes came through the proxy and have this digest".to_owned(),
        Truth::Upstream(reference) => format!("by {reference}"),
    };
    row("original", &format_args!("{original} ({from})"));
    row("served", served);
    if report.verdict != Verdict::Identical {
        row("target", target);
    }
    for ImageChange { before, after, relocated } in &report.images {
        match relocated {
            true => row("image", &format_args!("{before}\n         -> {after}")),
            false => row("image", &format_args!("{after}, left where it is")),
        }
    }
    for difference in &report.differences {
        row("differs", difference);
    }
    if report.more {
        row("", &"… and more");
    }
    if report.differences.iter().any(|difference| difference.aspect.as_deref() == Some("location")) {
        row("", &"(if that is how clients name this repository, say so with --target)");
    }
    let _ = writeln!(text, "{}", verdict(report));
    text
}

fn verdict(report: &Report) -> String {
    let images = report.images.len();
    let relocated = report.images.iter().filter(|image| image.relocated).count();
    match (report.verdict, &report.reason) {
        (Verdict::Identical, _) => "not relocated: it is the original, byte for byte".to_owned(),
        (Verdict::Proven, _) => format!(
            "proven: the original, but for where {relocated} of its {images} images are pulled from; each has the digest \
             it had"
        ),
        (Verdict::ContentEqual, _) => {
            "NOT PROVEN byte for byte: all content is as it should be, and the layer is compressed in another way; a \
             Colocate of another version may have made it, or something else"
                .to_owned()
        }
        (Verdict::NotProven, Some(reason)) => {
            let reason = compare::shown(&reason.to_string());
            format!("NOT PROVEN: the original is never relocated, since {reason}; and yet something else is served")
        }
        (Verdict::NotProven, None) => "NOT PROVEN: what is served is not the original with images relocated".to_owned(),
    }
}

//! Pieces of work, as traces show them.

use std::fmt::Display;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::otlp::Recording;
use super::span_kind::SpanKind;
use super::trace::{RequestContext, current, within};
use super::trace_parent::TraceParent;

/// A piece of work for a request, from its beginning until this is dropped.
///
/// It is recorded where traces are collected (feature `otlp`), and otherwise only knows its request. No query and no value
/// of a header belongs in any of it: collectors are read by more people than logs.
#[derive(Debug)]
pub struct Span {
    context: Option<Arc<RequestContext>>,
    recording: Option<Recording>,
}

impl Span {
    /// A client's request, and with it the request's own context: `X-Request-Id`, `traceparent` and `tracestate` say which
    /// it is, if they do.
    pub fn of_request(method: &Method, headers: &HeaderMap) -> Self {
        let parent = TraceParent::given(headers);
        let recording = Recording::of_request(method, parent);
        let place = recording.as_ref().map(Recording::place);
        let place = place.unwrap_or_else(|| parent.map_or_else(TraceParent::new, TraceParent::child));
        Self { context: Some(Arc::new(RequestContext::new(headers, parent, place))), recording }
    }

    /// Part of the work for the current request, if there is one.
    pub fn child(kind: SpanKind, name: &'static str) -> Self {
        let context = current();
        let recording = context.as_deref().and_then(|context| Recording::child(kind, name, context.place));
        // What is done inside stands below this, where somebody will see it.
        let inside = recording.as_ref().zip(context.as_deref());
        let context = inside.map(|(recording, context)| Arc::new(context.at(recording.place()))).or(context);
        Self { context, recording }
    }

    /// The request that it is for.
    pub fn context(&self) -> Option<&Arc<RequestContext>> {
        self.context.as_ref()
    }

    /// Does `work` as this piece.
    pub async fn around<F: Future>(&self, work: F) -> F::Output {
        within(self.context.clone(), work).await
    }

    /// Gives it another name, once more is known.
    pub fn rename(&mut self, name: impl FnOnce() -> String) {
        if let Some(recording) = &mut self.recording {
            recording.rename(name());
        }
    }

    /// Something to be known about it.
    pub fn note(&mut self, key: &'static str, value: impl Display) {
        if let Some(recording) = &mut self.recording {
            recording.note(key, value.to_string());
        }
    }

    /// Likewise, a number.
    pub fn count(&mut self, key: &'static str, value: u64) {
        if let Some(recording) = &mut self.recording {
            recording.count(key, value);
        }
    }

    /// It failed, for a reason that is a word of this program or a status.
    pub fn fail(&mut self, why: impl Display) {
        if let Some(recording) = &mut self.recording {
            recording.fail(why.to_string());
        }
    }
}

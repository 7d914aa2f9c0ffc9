//! Which request some work is done for.
//!
//! Every request has a [`RequestContext`]: what it is called, and where in a trace it stands. Whoever works for a request
//! finds it with [`current`], without having to be told: it goes along with the task. What is handed to another task has to
//! be wrapped, with [`carry`] or, for a thread that may block, [`carried`]. Work that several requests wait for, such as a
//! fill, is that of the one which began it.
//!
//! There is no `tracing` span for it. Those cost each request an entry in the registry and its fields put into words, also
//! where nothing is logged; here, whatever is logged looks for the request when the line is written (`log_format`).

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;

use super::request_id::{RequestId, X_REQUEST_ID};
use super::trace_parent::{self, TRACEPARENT, TRACESTATE, TraceId, TraceParent};

tokio::task_local! {
    static CURRENT: Option<Arc<RequestContext>>;
}

/// What a request is called, and where in a trace the work for it stands.
#[derive(Clone, Debug)]
pub struct RequestContext {
    id: RequestId,
    pub(super) place: TraceParent,
    state: Option<http::HeaderValue>,
}

impl RequestContext {
    /// That of a request with these headers, at the place that its work will have.
    pub(super) fn new(headers: &HeaderMap, parent: Option<TraceParent>, place: TraceParent) -> Self {
        // Without a parent it is of no trace that goes on here.
        let state = parent.and_then(|_| trace_parent::state(headers));
        Self { id: RequestId::of(headers), place, state }
    }

    /// The same request, at another place of the trace.
    pub(super) fn at(&self, place: TraceParent) -> Self {
        Self { place, ..self.clone() }
    }

    /// What the request is called.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The trace's id, as logs and collectors write it.
    pub fn trace_id(&self) -> impl fmt::Display + use<> {
        TraceId(self.place.trace)
    }

    /// Tells whoever is asked on the request's behalf. Not for everybody: a client's words go to the registry that it asks
    /// for, and to nobody else.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.id.header());
        headers.insert(TRACEPARENT, self.place.header());
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

/// The request that the running task works for, if it does for one.
pub fn current() -> Option<Arc<RequestContext>> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// What `read` makes of the request that is worked for, without holding on to it.
pub(super) fn with_current<T>(read: impl FnOnce(&RequestContext) -> T) -> Option<T> {
    CURRENT.try_with(|current| current.as_deref().map(read)).ok().flatten()
}

/// Does `work` for a request.
pub async fn within<F: Future>(context: Option<Arc<RequestContext>>, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// Does `work` for a request, here and now.
pub fn enter<T>(context: Option<Arc<RequestContext>>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

/// Work that is going to be another task's, and stays that of the request which began it.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(current(), work)
}

/// The same for what is going to be done on a thread of its own.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let context = current();
    move || enter(context, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(id: &'static str) -> Option<Arc<RequestContext>> {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, id.parse().expect("a header"));
        headers.insert(TRACESTATE, "a=1".parse().expect("a header"));
        Some(Arc::new(RequestContext::new(&headers, None, TraceParent::new())))
    }

    fn id() -> Option<String> {
        with_current(|context| context.id().to_string())
    }

    #[tokio::test]
    async fn goes_along_with_what_is_wrapped() {
        assert_eq!(id(), None);
        within(context("one"), async {
            assert_eq!(tokio::spawn(async { id() }).await.expect("runs"), None, "not by itself");
            let spawned = tokio::spawn(carry(async {
                tokio::task::yield_now().await;
                id()
            }));
            let blocking = tokio::task::spawn_blocking(carried(id));
            assert_eq!(enter(context("other"), id).as_deref(), Some("other"));
            assert_eq!(spawned.await.expect("runs").as_deref(), Some("one"));
            assert_eq!(blocking.await.expect("runs").as_deref(), Some("one"));
            assert_eq!(id().as_deref(), Some("one"));
        })
        .await;
        assert_eq!(tokio::spawn(carry(async { id() })).await.expect("runs"), None);
    }

    #[test]
    fn is_passed_on_with_what_belongs_to_the_trace() {
        let mut headers = HeaderMap::new();
        context("one").expect("a context").pass_on(&mut headers);
        assert_eq!((headers.len(), &headers[X_REQUEST_ID]), (2, &"one".parse().expect("a header")));
        assert!(!headers.contains_key(TRACESTATE), "it was of no trace");
    }
}

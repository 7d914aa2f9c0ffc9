//! What the program tells whoever runs it: log lines, metrics and traces.
//!
//! Labels are closed sets: words of the program, and the configured registry's name. Nothing a client or an upstream
//! sends ever becomes a label, or a scanner asking for random repositories would grow the metrics without bound.
//! What happened to one request in particular is in its access line.
//!
//! Log lines go to stderr; stdout belongs to the commands. Neither credentials nor query strings are passed to
//! any function here, which is the rule that keeps them out of logs.
//!
//! `trace` knows for which request something is done, so that a line says so and whoever is asked on its behalf is told;
//! `request_id` and `trace_parent` read what clients say of it. A `span` is a piece of such work, which only `otlp` makes
//! anything of: a feature, in whose place `no_otlp` stands in other builds.

mod build;
mod cache;
mod configuration;
mod exposition;
mod gauged;
mod known;
mod log;
mod log_format;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
mod otlp;
mod process;
mod relocation;
mod request_id;
mod requests;
mod span;
mod span_kind;
mod totals;
mod trace;
mod trace_parent;
mod traces;
mod traces_error;
mod upstream;

pub use build::{BUILD, Build};
pub use cache::CacheMetrics;
pub use exposition::Exposition;
pub use gauged::Gauged;
pub use log::{FilterInForce, LogError, LogHandle, init, init_exactly};
pub use metrics::Metrics;
pub use request_id::{RequestId, X_REQUEST_ID};
pub use requests::{ReceivedBytes, RequestEnd};
pub use span::Span;
pub use span_kind::SpanKind;
pub use totals::Totals;
pub use trace::{RequestContext, carried, carry, current, enter, within};
pub use traces::Traces;
pub use traces_error::TracesError;
pub use upstream::UpstreamMetrics;

//! What the program tells whoever runs it: log lines and metrics.
//!
//! Labels are closed sets: words of the program, and the configured registry's name. Nothing a client or an upstream
//! sends ever becomes a label, or a scanner asking for random repositories would grow the metrics without bound.
//! What happened to one request in particular is in its access line.
//!
//! Log lines go to stderr; stdout belongs to the commands. Neither credentials nor query strings are passed to
//! any function here, which is the rule that keeps them out of logs.

mod build;
mod cache;
mod configuration;
mod exposition;
mod gauged;
mod known;
mod log;
mod metrics;
mod process;
mod relocation;
mod requests;
mod totals;
mod upstream;

pub use build::{BUILD, Build};
pub use cache::CacheMetrics;
pub use exposition::Exposition;
pub use gauged::Gauged;
pub use log::{LogError, init, init_exactly};
pub use metrics::Metrics;
pub use requests::{ReceivedBytes, RequestEnd};
pub use totals::Totals;
pub use upstream::UpstreamMetrics;

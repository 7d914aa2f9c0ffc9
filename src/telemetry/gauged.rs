//! Gauges that count what is alive.

use prometheus_client::metrics::gauge::Gauge;

/// One more on a gauge, for as long as this lives.
#[derive(Debug)]
pub struct Gauged(Gauge);

impl Gauged {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.dec();
    }
}

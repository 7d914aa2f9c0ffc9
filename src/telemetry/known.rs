//! Gauges of what is not always known.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// A gauge that is not there as long as it is not known: zero would be an answer, and a wrong one.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Option<u64>>>);

impl Known {
    pub(super) fn set(&self, number: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = number;
    }

    fn number(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Known {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.number().map_or(Ok(()), |number| encoder.encode_gauge(&number))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.number().is_none()
    }
}

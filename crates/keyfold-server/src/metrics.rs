//! Counters for the operator, in Prometheus' text format, on a listener of their own. No user ids, no keys.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds; from a local answer to a long generation.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

/// All counters. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    duration: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("keyfold");
        let requests = Family::default();
        let duration: Family<RequestLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to the head of the answer",
            Unit::Seconds,
            duration.clone(),
        );
        Self { registry: Arc::new(registry), requests, duration }
    }

    /// Counts an answered request.
    pub(crate) fn request(&self, method: &Method, route: &str, status: u16, duration: Duration) {
        let labels = RequestLabels { method: known_method(method).into(), route: route.into(), status };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A method is the caller's own word: only known ones become labels and stand in the log.
pub(crate) fn known_method(method: &Method) -> &'static str {
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH]
        .iter()
        .position(|known| known == method)
        .map_or("other", |index| ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"][index])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

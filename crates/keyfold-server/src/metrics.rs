//! Counters for the operator, in Prometheus' text format, on a listener of their own. No user ids, no keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use keyfold::Keyfold;
use keyfold::auth::TokenVerifier;
use keyfold::clock::{Clock, SystemClock};
use keyfold::figures::{CallKind, CallOutcome, LATENCY_STEPS, Latency, Opening};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
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
    /// POST, and all others.
    passed: [Counter; 2],
}

impl Metrics {
    /// Requests begin at zero; what the library counts is asked for whenever the text is read.
    pub fn new(keyfold: &Keyfold, verifier: Option<Arc<TokenVerifier>>) -> Self {
        let mut whole = Registry::default();
        let begun = ConstGauge::new(SystemClock.now().as_second());
        whole.register("process_start_time_seconds", "When this process began (Unix time)", begun);
        let registry = whole.sub_registry_with_prefix("keyfold");
        registry.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
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
        let passed = [Counter::default(), Counter::default()];
        for (counter, method) in passed.iter().zip(["POST", "other"]) {
            let labelled = registry.sub_registry_with_label(("method".into(), method.into()));
            labelled.register("gateway_passed", "Calls that the gateway's lane passed on", counter.clone());
        }
        registry.register_collector(Box::new(Inside { keyfold: keyfold.clone(), verifier }));
        Self { registry: Arc::new(whole), requests, duration, passed }
    }

    /// Counts an answered request.
    pub(crate) fn request(&self, method: &Method, route: &str, status: u16, duration: Duration) {
        let labels = RequestLabels { method: known_method(method).into(), route: route.into(), status };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    /// Counts a call through the gateway's lane. What came of it stands in the calls of its provider, without a lock.
    pub(crate) fn passed(&self, method: &Method) {
        let place = usize::from(*method != Method::POST);
        self.passed[place].inc();
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

/// What the library counts, and how its parts stand.
struct Inside {
    keyfold: Keyfold,
    verifier: Option<Arc<TokenVerifier>>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Inside")
    }
}

impl Collector for Inside {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.provider_calls(out)?;
        self.key_openings(out)?;
        self.cache(out)?;
        self.pool(out)?;
        self.tokens(out)?;
        self.limits(out)?;
        self.audit(out)
    }
}

impl Inside {
    fn provider_calls(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.keyfold.figures();
        let mut calls = out.encode_descriptor(
            "provider_calls",
            "Calls to providers, by how they ended",
            None,
            MetricType::Counter,
        )?;
        for (provider, figures) in figures.providers() {
            for (kind, outcome) in pairs(CallKind::ALL, CallOutcome::ALL) {
                let labels = [("provider", provider), ("kind", kind.as_str()), ("outcome", outcome.as_str())];
                // Most providers are never called.
                if figures.calls(kind, outcome) > 0 {
                    count(&mut calls, labels, figures.calls(kind, outcome))?;
                }
            }
        }
        let mut durations = out.encode_descriptor(
            "provider_call_duration",
            "Time to a provider's answer, or to the beginning of a streamed one",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (provider, figures) in figures.providers() {
            for kind in CallKind::ALL {
                let labels = [("provider", provider), ("kind", kind.as_str())];
                duration(&mut durations, labels, &figures.latency(kind))?;
            }
        }
        Ok(())
    }

    fn key_openings(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut openings = out.encode_descriptor(
            "key_openings",
            "Attempts to open a user's key",
            None,
            MetricType::Counter,
        )?;
        for (provider, figures) in self.keyfold.figures().providers() {
            for opening in Opening::ALL {
                let labels = [("provider", provider), ("outcome", opening.as_str())];
                if figures.openings(opening) > 0 {
                    count(&mut openings, labels, figures.openings(opening))?;
                }
            }
        }
        Ok(())
    }

    fn cache(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(state) = self.keyfold.cache_state() else { return Ok(()) };
        gauge(out, "cache_entries", "Users whose sealed keys are remembered", state.entries)?;
        let listening = usize::from(state.listening);
        gauge(out, "cache_listening", "1 while changes of other replicas are heard", listening)?;
        let mut lookups = out.encode_descriptor(
            "cache_lookups",
            "Look-ups of a user's sealed keys",
            None,
            MetricType::Counter,
        )?;
        count(&mut lookups, [("outcome", "hit")], state.hits)?;
        count(&mut lookups, [("outcome", "miss")], state.misses)
    }

    fn pool(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(state) = self.keyfold.pool_state() else { return Ok(()) };
        gauge(out, "database_connections_max", "Connections that may be open", state.most)?;
        gauge(out, "database_waiting", "Callers that wait for a connection", state.waiting)?;
        let mut connections = out.encode_descriptor(
            "database_connections",
            "Connections that are open",
            None,
            MetricType::Gauge,
        )?;
        for (name, number) in [("idle", state.idle), ("in_use", state.open.saturating_sub(state.idle))] {
            connections.encode_family(&[("state", name)])?.encode_gauge(&number)?;
        }
        Ok(())
    }

    fn audit(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.keyfold.audit_figures();
        let counters = [
            ("audit_events", "Events that were recorded", figures.recorded()),
            ("audit_events_shipped", "Events that were brought into the database", figures.shipped()),
            (
                "audit_failures",
                "Times that the spool could not be written, or the database took no events",
                figures.failures(),
            ),
            (
                "audit_lines_lost",
                "Lines that a file or standard output besides the database did not take",
                self.keyfold.audit_lines_lost(),
            ),
            ("audit_torn_lines", "Lines of spools that were not written whole", figures.torn_lines()),
        ];
        for (name, help, number) in counters {
            let mut counter = out.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, u64, f64>(&number, None)?;
        }
        let bytes = usize::try_from(self.keyfold.audit_spool_bytes()).unwrap_or(usize::MAX);
        gauge(out, "audit_spool_bytes", "Bytes of this process's audit spool", bytes)
    }

    fn limits(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let limits = self.keyfold.limits();
        let mut refusals = out.encode_descriptor(
            "rate_limit_refusals",
            "Requests that were one too many",
            None,
            MetricType::Counter,
        )?;
        for (class, number) in limits.refusals() {
            count(&mut refusals, [("limit", class.as_str())], number)?;
        }
        gauge(out, "open_streams", "Streamed answers under way", limits.open_streams())?;
        let Some(shared) = limits.shared() else { return Ok(()) };
        let is_shared = usize::from(shared.is_in_use);
        gauge(out, "rate_limits_shared", "1 while rate limits are shared through Redis", is_shared)
    }

    fn tokens(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let figures = verifier.figures();
        gauge(out, "tokens_remembered", "Verified tokens that are remembered", verifier.remembered_tokens())?;
        gauge(out, "issuer_keys", "Keys of the token issuer that are known", verifier.known_keys())?;
        let mut tokens =
            out.encode_descriptor("tokens", "Tokens that were shown", None, MetricType::Counter)?;
        for (outcome, number) in [
            ("remembered", figures.remembered()),
            ("verified", figures.verified()),
            ("refused", figures.refused()),
        ] {
            count(&mut tokens, [("outcome", outcome)], number)?;
        }
        let mut fetches = out.encode_descriptor(
            "issuer_key_set_fetches",
            "Requests for the token issuer's key set",
            None,
            MetricType::Counter,
        )?;
        for (outcome, number) in [("ok", figures.fetches()), ("failed", figures.failed_fetches())] {
            count(&mut fetches, [("outcome", outcome)], number)?;
        }
        Ok(())
    }
}

fn pairs<A: Copy, B: Copy, const N: usize>(
    outer: impl IntoIterator<Item = A>,
    inner: [B; N],
) -> impl Iterator<Item = (A, B)> {
    outer.into_iter().flat_map(move |a| inner.into_iter().map(move |b| (a, b)))
}

fn count<const N: usize>(out: &mut MetricEncoder<'_>, labels: [(&str, &str); N], number: u64) -> fmt::Result {
    out.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&number, None)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, number: usize) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&number)
}

fn duration<const N: usize>(
    out: &mut MetricEncoder<'_>,
    labels: [(&str, &str); N],
    latency: &Latency,
) -> fmt::Result {
    let number: u64 = latency.counts.iter().sum();
    if number == 0 {
        return Ok(());
    }
    let bounds = LATENCY_STEPS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(latency.counts).collect();
    out.encode_family(&labels)?.encode_histogram::<NoLabelSet>(latency.total, number, &buckets, None)
}

//! What happened so far in this process, as plain counters: keys that were opened, calls to providers, tokens that
//! were verified. Nothing in them is about a user. They begin at zero with the process, and reading them costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The upper bounds of a [`Latency`]'s steps, in seconds; one more step has all that took longer.
pub const LATENCY_STEPS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0, 60.0];

/// What a provider was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// To generate a text.
    Generate,
    /// To search the web.
    Research,
    /// To ask whether a key is live.
    Check,
    /// By a request of a client library.
    Gateway,
}

/// How a call to a provider ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// With a whole answer; of a check: the key is live.
    Ok,
    /// The provider refused the key.
    KeyRejected,
    /// The key is live, and out of quota, restricted or asked too often.
    Limited,
    /// The provider refused the request for another reason, or had trouble of its own.
    Refused,
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer that broke off or made no sense; of a check: one that says nothing of the key, or none at all.
    Unusable,
    /// The caller left before the end.
    Abandoned,
}

/// What came of opening a user's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It was opened.
    Opened,
    /// The user has none.
    Missing,
    /// What is stored, or stands in the environment, is no readable key.
    Unreadable,
}

impl CallKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Generate, Self::Research, Self::Check, Self::Gateway];

    /// As a label of metrics.
    pub fn as_str(self) -> &'static str {
        ["generate", "research", "check", "gateway"][self as usize]
    }
}

impl CallOutcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::KeyRejected,
        Self::Limited,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Unusable,
        Self::Abandoned,
    ];

    /// As a label of metrics.
    pub fn as_str(self) -> &'static str {
        ["ok", "key_rejected", "limited", "refused", "unreachable", "timed_out", "unusable", "abandoned"]
            [self as usize]
    }
}

impl Opening {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Opened, Self::Missing, Self::Unreadable];

    /// As a label of metrics.
    pub fn as_str(self) -> &'static str {
        ["opened", "missing", "unreadable"][self as usize]
    }
}

/// The counters of all providers of the registry, by their ids.
#[derive(Debug)]
pub struct Figures(BTreeMap<String, Arc<ProviderFigures>>);

impl Figures {
    /// All at zero.
    pub(crate) fn new<'a>(providers: impl IntoIterator<Item = &'a str>) -> Self {
        Self(providers.into_iter().map(|id| (id.to_owned(), Arc::default())).collect())
    }

    /// The counters of each provider, in the order of their ids.
    pub fn providers(&self) -> impl Iterator<Item = (&str, &ProviderFigures)> {
        self.0.iter().map(|(id, figures)| (id.as_str(), &**figures))
    }

    /// Counts an attempt to open a key.
    pub(crate) fn opened(&self, provider: &str, opening: Opening) {
        if let Some(figures) = self.0.get(provider) {
            figures.openings[opening as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A call begins.
    pub(crate) fn call(&self, provider: &str, kind: CallKind) -> Call {
        Call {
            figures: self.0.get(provider).cloned(),
            kind,
            begun: Instant::now(),
            outcome: CallOutcome::Abandoned,
        }
    }
}

/// The counters of one provider.
#[derive(Debug, Default)]
pub struct ProviderFigures {
    openings: [AtomicU64; Opening::ALL.len()],
    calls: [[AtomicU64; CallOutcome::ALL.len()]; CallKind::ALL.len()],
    latencies: [Latencies; CallKind::ALL.len()],
}

#[derive(Debug, Default)]
struct Latencies {
    steps: [AtomicU64; LATENCY_STEPS.len() + 1],
    microseconds: AtomicU64,
}

/// How long answers took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// How many answers took up to each of [`LATENCY_STEPS`] and longer than the one before it; last, longer than all.
    pub counts: [u64; LATENCY_STEPS.len() + 1],
    /// Seconds, all together.
    pub total: f64,
}

impl ProviderFigures {
    /// How often opening a key came to this.
    pub fn openings(&self, opening: Opening) -> u64 {
        self.openings[opening as usize].load(Ordering::Relaxed)
    }

    /// How many calls of this kind ended so.
    pub fn calls(&self, kind: CallKind, outcome: CallOutcome) -> u64 {
        self.calls[kind as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// How long the provider took to answer calls of this kind; of a stream: to begin its answer.
    #[expect(clippy::cast_precision_loss, reason = "exact for the first 285 years")]
    pub fn latency(&self, kind: CallKind) -> Latency {
        let latencies = &self.latencies[kind as usize];
        Latency {
            counts: std::array::from_fn(|step| latencies.steps[step].load(Ordering::Relaxed)),
            total: latencies.microseconds.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// A call under way. Dropped before its end was told, it counts as abandoned.
#[must_use]
pub(crate) struct Call {
    figures: Option<Arc<ProviderFigures>>,
    kind: CallKind,
    begun: Instant,
    outcome: CallOutcome,
}

impl Call {
    /// The provider answered, or began to.
    pub(crate) fn answered(&self) {
        let Some(figures) = &self.figures else { return };
        let took: Duration = self.begun.elapsed();
        let latencies = &figures.latencies[self.kind as usize];
        let step = LATENCY_STEPS.partition_point(|bound| *bound < took.as_secs_f64());
        latencies.steps[step].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        latencies.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// The call came to its end.
    pub(crate) fn ended(mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(figures) = &self.figures {
            figures.calls[self.kind as usize][self.outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The counters of a token verifier.
#[derive(Debug, Default)]
pub struct TokenFigures {
    remembered: AtomicU64,
    verified: AtomicU64,
    refused: AtomicU64,
    fetches: AtomicU64,
    failed_fetches: AtomicU64,
}

impl TokenFigures {
    /// Tokens that had been verified before.
    pub fn remembered(&self) -> u64 {
        self.remembered.load(Ordering::Relaxed)
    }

    /// Tokens whose signature was verified.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// Tokens that were refused, for whatever reason.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How often the issuer gave its key set.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    /// How often it was asked and gave none that can be used.
    pub fn failed_fetches(&self) -> u64 {
        self.failed_fetches.load(Ordering::Relaxed)
    }

    pub(crate) fn count_remembered(&self) {
        self.remembered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_verified(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_fetch(&self, succeeded: bool) {
        if succeeded { &self.fetches } else { &self.failed_fetches }.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of the audit log.
#[derive(Debug, Default)]
pub struct AuditFigures {
    recorded: AtomicU64,
    shipped: AtomicU64,
    failures: AtomicU64,
    torn_lines: AtomicU64,
}

impl AuditFigures {
    /// Events that were recorded by this process.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Events that this process brought into the database, those of dead processes' spools too.
    pub fn shipped(&self) -> u64 {
        self.shipped.load(Ordering::Relaxed)
    }

    /// How often the spool could not be written, or the database took no events.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Lines of spools that were not written whole, because the process died.
    pub fn torn_lines(&self) -> u64 {
        self.torn_lines.load(Ordering::Relaxed)
    }

    pub(crate) fn count_recorded(&self, events: usize) {
        self.recorded.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_shipped(&self, events: usize) {
        self.shipped.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_torn_lines(&self, lines: u64) {
        self.torn_lines.fetch_add(lines, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(figures: &Figures) -> &ProviderFigures {
        figures.providers().next().unwrap().1
    }

    #[test]
    fn every_call_is_counted_once_by_how_it_ended() {
        let figures = Figures::new(["gemini"]);
        for outcome in CallOutcome::ALL {
            figures.call("gemini", CallKind::Generate).ended(outcome);
        }
        drop(figures.call("gemini", CallKind::Generate));
        for outcome in CallOutcome::ALL {
            let expected = if outcome == CallOutcome::Abandoned { 2 } else { 1 };
            assert_eq!(one(&figures).calls(CallKind::Generate, outcome), expected, "{outcome:?}");
            assert_eq!(one(&figures).calls(CallKind::Research, outcome), 0);
        }
    }

    #[test]
    fn each_answer_falls_into_one_step() {
        let figures = Figures::new(["gemini"]);
        let mut call = figures.call("gemini", CallKind::Check);
        for seconds in [0, 3, 3, 4000] {
            call.begun = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            call.answered();
        }
        let latency = one(&figures).latency(CallKind::Check);
        assert_eq!(latency.counts, [1, 0, 0, 0, 0, 0, 2, 0, 0, 1]);
        assert!(latency.total >= 4006.0, "{latency:?}");
        assert_eq!(one(&figures).latency(CallKind::Generate).counts, [0; 10]);
    }

    #[test]
    fn what_is_in_no_registry_is_not_counted() {
        let figures = Figures::new(["gemini"]);
        figures.opened("elsewhere", Opening::Opened);
        let call = figures.call("elsewhere", CallKind::Check);
        call.answered();
        call.ended(CallOutcome::Ok);
        figures.opened("gemini", Opening::Missing);
        assert_eq!(figures.providers().count(), 1);
        assert_eq!(Opening::ALL.map(|opening| one(&figures).openings(opening)), [0, 1, 0]);
    }

    #[test]
    fn each_label_is_its_own() {
        for (place, outcome) in CallOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        let names: std::collections::BTreeSet<_> = CallOutcome::ALL.map(CallOutcome::as_str).into();
        assert_eq!(names.len(), CallOutcome::ALL.len());
        assert_eq!(CallKind::ALL.map(CallKind::as_str), ["generate", "research", "check", "gateway"]);
        assert_eq!(Opening::ALL.map(Opening::as_str), ["opened", "missing", "unreadable"]);
    }
}

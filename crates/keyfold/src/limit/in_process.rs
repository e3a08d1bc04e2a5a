//! What this process counts by itself: GCRA, in bounded memory.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as Ticking;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::{Answer, Subject};
use crate::clock::Clock;
use crate::recent::RecentMap;
use crate::settings::Rate;

/// How many are counted at once, per class; some 20 MB when full. Whoever was not seen for longest goes first.
pub(super) const MOST_SUBJECTS: usize = 100_000;
/// A clock that goes back by more was set; by less, two threads looked at it in turn. In microseconds.
const SET_BACK: i64 = 1_000_000;

/// The counts of one class.
pub(super) struct InProcess {
    limiter: RateLimiter<Subject, States, Ticks, StateInformationMiddleware>,
    ticks: Ticks,
}

impl InProcess {
    pub(super) fn new(rate: Rate, ticks: Ticks, most: usize) -> Self {
        let quota = Quota::with_period(rate.interval()).unwrap_or_else(|| Quota::per_second(rate.count()));
        let states = States { known: RecentMap::new(most), making: Mutex::new(()) };
        Self { limiter: RateLimiter::new(quota.allow_burst(rate.count()), states, ticks.clone()), ticks }
    }

    /// `cost` is at most what the limit allows at once.
    pub(super) fn count(&self, subject: Subject, cost: NonZeroU32) -> Answer {
        match self.limiter.check_key_n(&subject, cost) {
            Ok(Ok(state)) => Answer::Allowed { remaining: state.remaining_burst_capacity() },
            Ok(Err(until)) => Answer::Refused { wait: until.wait_time_from(self.ticks.now()) },
            // More at once than ever fits.
            Err(_) => Answer::Refused { wait: Duration::ZERO },
        }
    }
}

/// A state per subject.
struct States {
    known: RecentMap<Subject, Arc<InMemoryState>>,
    /// Of two that make a state at once, one would be lost, and what it counted.
    making: Mutex<()>,
}

impl States {
    fn of(&self, subject: &Subject) -> Arc<InMemoryState> {
        if let Some(state) = self.known.get(subject, Arc::clone) {
            return state;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.known.get(subject, Arc::clone).unwrap_or_else(|| {
            let state: Arc<InMemoryState> = Arc::default();
            self.known.insert(*subject, Arc::clone(&state));
            state
        })
    }
}

impl StateStore for States {
    type Key = Subject;

    fn measure_and_replace<T, F, E>(&self, key: &Subject, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.of(key).measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

/// Time that never goes back: whoever sets the clock back keeps nobody waiting for it to come round again.
#[derive(Clone)]
pub(super) struct Ticks(Arc<TicksState>);

struct TicksState {
    clock: Arc<dyn Clock>,
    begun: i64,
    /// The latest time that the clock showed since it was last set back, in microseconds.
    latest: AtomicI64,
    /// How far it was set back altogether.
    skipped: AtomicI64,
}

impl Ticks {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let begun = clock.now().as_microsecond();
        Self(Arc::new(TicksState { clock, begun, latest: AtomicI64::new(begun), skipped: AtomicI64::new(0) }))
    }
}

impl Ticking for Ticks {
    /// Since it was made.
    type Instant = Duration;

    fn now(&self) -> Duration {
        let state = &*self.0;
        let mut shown = state.clock.now().as_microsecond();
        let latest = state.latest.fetch_max(shown, Ordering::AcqRel);
        if latest - shown <= SET_BACK {
            shown = shown.max(latest);
        } else if state.latest.compare_exchange(latest, shown, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            state.skipped.fetch_add(latest - shown, Ordering::AcqRel);
        }
        let passed = shown - state.begun + state.skipped.load(Ordering::Acquire);
        Duration::from_micros(u64::try_from(passed).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::{ManualClock, SystemClock};

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap()))
    }

    fn counting(rate: &str, clock: &Arc<ManualClock>) -> InProcess {
        InProcess::new(rate.parse().unwrap(), Ticks::new(Arc::clone(clock) as Arc<dyn Clock>), 1000)
    }

    fn subject(name: &str) -> Subject {
        Subject::of(name)
    }

    /// What `count` gives, as a number: how many are left, or minus the milliseconds to wait.
    fn told(answer: Answer) -> i64 {
        match answer {
            Answer::Allowed { remaining } => remaining.into(),
            Answer::Refused { wait } => -i64::try_from(wait.as_millis()).unwrap(),
        }
    }

    #[test]
    fn so_many_go_at_once_and_then_one_after_each_interval() {
        let clock = clock();
        let limit = counting("3/minute", &clock);
        let ann = subject("ann");
        let count = || told(limit.count(ann, ONE));
        assert_eq!([count(), count(), count(), count(), count()], [2, 1, 0, -20_000, -20_000]);
        clock.advance(SignedDuration::from_millis(19_999));
        assert_eq!(count(), -1);
        clock.advance(SignedDuration::from_millis(1));
        assert_eq!([count(), count()], [0, -20_000]);
        clock.advance(SignedDuration::from_secs(40));
        assert_eq!([count(), count(), count()], [1, 0, -20_000]);
        // However long nobody asks, no more than the limit is saved up.
        clock.advance(SignedDuration::from_hours(1000));
        assert_eq!([count(), count(), count(), count()], [2, 1, 0, -20_000]);
    }

    #[test]
    fn each_is_counted_alone() {
        let limit = counting("1/hour", &clock());
        for name in ["ann", "bob", "Ann"] {
            assert_eq!(told(limit.count(subject(name), ONE)), 0, "{name}");
            assert_eq!(told(limit.count(subject(name), ONE)), -3_600_000, "{name}");
        }
    }

    #[test]
    fn several_go_together_or_not_at_all() {
        let clock = clock();
        let limit = counting("5/minute", &clock);
        let ann = subject("ann");
        let count = |cost| told(limit.count(ann, NonZeroU32::new(cost).unwrap()));
        assert_eq!([count(3), count(3), count(2), count(1)], [2, -12_000, 0, -12_000]);
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!([count(5), count(5)], [0, -60_000]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let clock = clock();
        let limit = counting("2/minute", &clock);
        let ann = subject("ann");
        let count = || told(limit.count(ann, ONE));
        assert_eq!([count(), count(), count()], [1, 0, -30_000]);
        clock.advance(SignedDuration::from_hours(-24));
        assert_eq!(count(), -30_000);
        clock.advance(SignedDuration::from_secs(30));
        assert_eq!([count(), count()], [0, -30_000]);
        // A little back is how two threads see one clock.
        clock.advance(SignedDuration::from_millis(-500));
        assert_eq!(count(), -30_000);
        clock.advance(SignedDuration::from_millis(30_500));
        assert_eq!([count(), count()], [0, -30_000]);
    }

    #[test]
    fn a_million_addresses_fill_no_memory() {
        let limit = counting("1/hour", &clock());
        for number in 0..1_000_000_u32 {
            let _ = limit.count(subject(&number.to_string()), ONE);
        }
        let kept = limit.limiter.into_state_store().known.len();
        assert!(kept <= 1000, "{kept}");
    }

    #[test]
    fn threads_at_once_are_let_through_exactly_as_often_as_the_limit_says() {
        let ticks = Ticks::new(Arc::new(SystemClock));
        let limit = InProcess::new("100/hour".parse().unwrap(), ticks, MOST_SUBJECTS);
        for round in 0..50 {
            let one = subject(&format!("user {round}"));
            let allowed = std::thread::scope(|scope| {
                let threads = [(); 4]
                    .map(|()| scope.spawn(|| (0..50).filter(|_| told(limit.count(one, ONE)) >= 0).count()));
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            });
            assert_eq!(allowed, 100, "round {round}");
        }
    }
}

//! A provider that cannot be reached is not tried by every request anew.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// After so many failed connections in a row, requests fail at once.
const FAILURES: u32 = 5;
/// How long until one request tries again.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts failed connections to a provider. Answers count as successes, whatever they say.
pub(crate) struct Breaker {
    begun: Instant,
    failures: AtomicU32,
    /// Milliseconds since `begun`; the next attempt is made then.
    closed_until: AtomicU64,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), failures: AtomicU32::new(0), closed_until: AtomicU64::new(0) }
    }

    /// `Err` with the time until the next attempt while the provider counts as unreachable. Of those who ask when that
    /// time is over, one may try.
    pub(crate) fn may_try(&self) -> Result<(), Duration> {
        // One read of memory, as long as all is well.
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return Ok(());
        }
        self.may_try_at(self.begun.elapsed())
    }

    fn may_try_at(&self, now: Duration) -> Result<(), Duration> {
        let now = millis(now);
        let until = self.closed_until.load(Ordering::Acquire);
        let next = now + millis(PAUSE);
        if now >= until
            && self.closed_until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return Ok(());
        }
        let until = self.closed_until.load(Ordering::Acquire);
        Err(Duration::from_millis(until.saturating_sub(now).max(1)))
    }

    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Release);
        }
    }

    pub(crate) fn failed(&self) {
        self.failed_at(self.begun.elapsed());
    }

    fn failed_at(&self, now: Duration) {
        let before = self.failures.load(Ordering::Acquire);
        let failures = before.saturating_add(1);
        self.closed_until.store(millis(now + PAUSE), Ordering::Release);
        self.failures.store(failures, Ordering::Release);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fails_fast_after_some_failures_and_lets_one_try_after_a_pause() {
        let breaker = Breaker::new();
        let at = Duration::from_secs;
        for _ in 1..FAILURES {
            breaker.failed_at(at(1));
            assert_eq!(breaker.may_try(), Ok(()));
        }
        breaker.failed_at(at(1));
        assert_eq!(breaker.may_try_at(at(2)), Err(at(4)));
        assert_eq!(breaker.may_try_at(at(6)), Ok(()), "one may try");
        assert_eq!(breaker.may_try_at(at(6)), Err(at(5)), "and only one");
        breaker.failed_at(at(7));
        assert_eq!(breaker.may_try_at(at(8)), Err(at(4)));
        assert_eq!(breaker.may_try_at(at(12)), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.may_try(), Ok(()));
        breaker.failed_at(at(13));
        assert_eq!(breaker.may_try(), Ok(()), "counting begins anew");
    }
}

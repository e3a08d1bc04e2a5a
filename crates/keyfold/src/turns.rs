//! When a thread has much to do, its tasks do like things together: first all of them read, then all of them write.
//!
//! What they write to wakes once for all of it, and not once for each: under load this takes a third off what a request
//! of the gateway costs. Where there is little to do it would only keep the first one waiting for the others.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use jiff::Timestamp;

/// The time that is counted by, as a power of two of microseconds: 16 ms.
const SPAN: u32 = 14;
/// So many in such a time are many: 4,000 a second. With fewer in a debug build, tests go both ways.
const MANY: u32 = if cfg!(debug_assertions) { 8 } else { 64 };

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { span: 0, here: 0, before: 0 }) };
}

/// How much this thread did lately.
#[derive(Clone, Copy)]
struct Pace {
    span: i64,
    here: u32,
    before: u32,
}

impl Pace {
    fn counted(self, now: Timestamp) -> Self {
        let span = now.as_microsecond() >> SPAN;
        match span - self.span {
            0 => Self { here: self.here.saturating_add(1), ..self },
            1 => Self { span, here: 1, before: self.here },
            _ => Self { span, here: 1, before: 0 },
        }
    }

    fn is_high(self) -> bool {
        self.here.max(self.before) >= MANY
    }
}

/// Counts one of the things that this thread does; whether they are many.
pub(crate) fn count(now: Timestamp) -> bool {
    let pace = PACE.get().counted(now);
    PACE.set(pace);
    pace.is_high()
}

/// Whether this thread does many of the things that it [counts](count).
pub(crate) fn are_many() -> bool {
    PACE.get().is_high()
}

/// Returns once the tasks that are ready on this thread have had their turn.
pub(crate) async fn after_the_others() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        // Woken while it runs, a task goes to the end of the queue.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: Pace, milliseconds: i64, times: u32) -> Pace {
        let now = Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap();
        (0..times).fold(pace, |pace, _| pace.counted(now))
    }

    #[test]
    fn many_are_many_until_they_are_few_again() {
        let pace = after(Pace { span: 0, here: 0, before: 0 }, 0, MANY - 1);
        assert!(!pace.is_high());
        let pace = after(pace, 0, 1);
        assert!(pace.is_high());
        let pace = after(pace, 17, 1);
        assert!(pace.is_high(), "they were many just now");
        assert!(!after(pace, 34, 1).is_high());
        assert!(!after(pace, 1000, 1).is_high());
        assert!(!after(pace, -1000, 1).is_high(), "a clock that was set back");
    }

    #[tokio::test]
    async fn a_task_lets_those_go_first_that_are_ready() {
        let order = std::sync::Mutex::new(vec![]);
        let note = |what| order.lock().unwrap().push(what);
        tokio::join!(
            async {
                after_the_others().await;
                note("second");
            },
            async { note("first") }
        );
        assert_eq!(*order.lock().unwrap(), ["first", "second"]);
    }
}

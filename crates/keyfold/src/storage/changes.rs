//! Whether what was read from the database a moment ago still stands there.
//!
//! Every change of a user's rows is announced (see `migrations/postgres/0002_users.sql`). Whoever reads takes a
//! [`Stamp`] first; what was read counts while the stamp does. An announcement, here or of another replica, moves
//! the user's counter on, so a stamp from before it never counts again, however late what was read arrives.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::user::UserId;

/// How long after the last sign of life announcements may have been lost.
pub(super) const TRUSTED_FOR: Duration = Duration::from_millis(500);
/// What changes of service tokens are announced by; no user can have this id.
pub(crate) const SERVICE_TOKENS: &str = "\u{1}service_tokens";
/// Users share counters; to share one costs a look-up now and then.
const COUNTERS: usize = 4096;

/// What has been announced so far.
pub(crate) struct Changes {
    begun: Instant,
    /// In microseconds (see `at`): until when announcements are known to arrive.
    trusted_until: AtomicU64,
    /// When somebody last wanted to know, in the same measure.
    wanted_at: AtomicU64,
    wanted: Notify,
    /// Moves on when announcements may have been lost, and when everything changed.
    all: AtomicU64,
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// When something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    all: u64,
    counter: u64,
    index: usize,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            trusted_until: AtomicU64::new(0),
            wanted_at: AtomicU64::new(0),
            wanted: Notify::new(),
            all: AtomicU64::new(0),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// To be taken before the rows of `user` are read.
    pub(crate) fn stamp(&self, user: &UserId) -> Stamp {
        self.stamp_of(user.as_str())
    }

    /// The same for something that is announced by this name.
    pub(crate) fn stamp_of(&self, name: &str) -> Stamp {
        let index = self.index(name);
        Stamp {
            all: self.all.load(Ordering::Acquire),
            counter: self.counters[index].load(Ordering::Acquire),
            index,
        }
    }

    /// Whether what was read under this stamp still stands. Without a sign of life of the database, never.
    pub(crate) fn is_current(&self, stamp: Stamp) -> bool {
        let now = self.now();
        self.want(now);
        now < self.trusted_until.load(Ordering::Acquire)
            && self.all.load(Ordering::Acquire) == stamp.all
            && self.counters[stamp.index].load(Ordering::Acquire) == stamp.counter
    }

    /// Whether announcements are known to arrive.
    pub(crate) fn is_listening(&self) -> bool {
        self.now() < self.trusted_until.load(Ordering::Acquire)
    }

    /// Something of this user changed.
    pub(crate) fn announce(&self, user: &str) {
        self.counters[self.index(user)].fetch_add(1, Ordering::AcqRel);
    }

    /// Anything may have changed.
    pub(super) fn announce_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
    }

    /// A sign of life that was asked for at `asked` came back.
    pub(crate) fn trust_since(&self, asked: Instant) {
        self.trusted_until.store(self.at(asked) + micros(TRUSTED_FOR), Ordering::Release);
    }

    /// Announcements may get lost from now on.
    pub(crate) fn distrust(&self) {
        self.trusted_until.store(0, Ordering::Release);
        self.announce_all();
    }

    /// Whether anybody wanted to know within this time.
    pub(super) fn was_wanted_within(&self, time: Duration) -> bool {
        self.now().saturating_sub(self.wanted_at.load(Ordering::Relaxed)) < micros(time)
    }

    /// Returns when somebody wants to know.
    pub(super) async fn wait_until_wanted(&self) {
        self.wanted.notified().await;
    }

    fn want(&self, now: u64) {
        const OFTEN_ENOUGH: u64 = 1_000_000;
        // A store per second, not one per look-up: processors share this line.
        if now.saturating_sub(self.wanted_at.load(Ordering::Relaxed)) >= OFTEN_ENOUGH {
            self.wanted_at.store(now, Ordering::Relaxed);
            self.wanted.notify_one();
        }
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> u64 {
        // Counted from one second on, so that the first look-up of all is one second after "never".
        micros(instant.saturating_duration_since(self.begun)) + 1_000_000
    }

    fn index(&self, user: &str) -> usize {
        usize::try_from(self.hasher.hash_one(user)).unwrap_or(usize::MAX) % COUNTERS
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

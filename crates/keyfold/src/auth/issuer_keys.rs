//! The issuer's keys, kept fresh: asked for again every 10 minutes and for an unknown `kid`, by one request at a
//! time. What is known stays in use until a better answer comes.
//!
//! A verification that finds the keys due starts the request and goes on with what is known. It waits only if
//! there is nothing yet, or if the process stood still for so long that the keys may be stale.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::compact::CompactToken;
use super::key_set::{IssuerKey, KeySet, Signer};
use super::key_source::{KeySetError, KeySource};
use super::refusal::TokenRefusal;
use crate::clock::Clock;
use crate::figures::TokenFigures;

/// How often the issuer is asked for its keys.
pub const REFRESH_EVERY: Duration = Duration::from_secs(600);
const SECOND: i64 = 1_000_000;
#[expect(clippy::cast_possible_wrap, reason = "some minutes")]
const REFRESH_AFTER: i64 = REFRESH_EVERY.as_secs() as i64 * SECOND;
/// From this age on, keys are not used before the issuer was asked again. A running server asks earlier; one whose
/// platform stopped it between two requests does not.
const STALE_AFTER: i64 = REFRESH_AFTER + 60 * SECOND;
/// Tokens with made-up `kid`s must not be able to flood the issuer.
const ASK_FOR_UNKNOWN_EVERY: i64 = 30 * SECOND;
const RETRY_AFTER: i64 = 30 * SECOND;
/// Without any key nobody can sign in, so that is tried more often.
const RETRY_WITHOUT_KEYS_AFTER: i64 = 2 * SECOND;
/// How far back the clock may jump without the keys counting as due.
const CLOCK_JUMP: i64 = 5 * SECOND;
/// A request under way may have begun before an unknown key was published; the one after it did not.
const MOST_WAITS: usize = 2;

pub(super) struct IssuerKeys(Arc<Shared>);

struct Shared {
    source: KeySource,
    clock: Arc<dyn Clock>,
    figures: Arc<TokenFigures>,
    known: RwLock<Arc<KeySet>>,
    /// When the issuer last answered or failed to, and when it is to be asked next. Microseconds.
    asked_at: AtomicI64,
    due_at: AtomicI64,
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    /// Open while a request is under way: its sender lives in the task.
    under_way: Option<watch::Receiver<()>>,
    /// When an unknown key was last asked for, since the last other request.
    asked_for_unknown_at: Option<i64>,
    /// Why the last request failed, if it did.
    failure: Option<KeySetError>,
}

#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Due,
    UnknownKey,
    Wish,
}

impl IssuerKeys {
    /// Asks nobody until the first use.
    pub(super) fn new(source: KeySource, clock: Arc<dyn Clock>, figures: Arc<TokenFigures>) -> Self {
        Self(Arc::new(Shared {
            source,
            clock,
            figures,
            known: RwLock::default(),
            asked_at: AtomicI64::new(i64::MIN),
            due_at: AtomicI64::new(i64::MIN),
            asking: Mutex::default(),
        }))
    }

    /// Starts a request if it is time for one, and returns the time. Costs two reads of memory otherwise.
    pub(super) async fn keep_fresh(&self) -> Timestamp {
        let time = self.0.clock.now();
        let now = time.as_microsecond();
        if !self.0.is_due(now) {
            return time;
        }
        let answered = self.ask(Reason::Due, now);
        let age = now.saturating_sub(self.0.asked_at.load(Ordering::Acquire));
        if let Some(answered) = answered
            && (age >= STALE_AFTER || self.0.known().is_empty())
        {
            wait_for(answered).await;
        }
        self.0.clock.now()
    }

    /// The key that signed this token; asks for newer keys if none that is known has its name.
    pub(super) async fn signer_of(&self, token: &CompactToken<'_>) -> Result<Arc<IssuerKey>, TokenRefusal> {
        let mut waits = 0;
        loop {
            let known = self.0.known();
            if known.is_empty() {
                return Err(TokenRefusal::KeySetUnavailable);
            }
            if let Signer::Key(key) = known.signer_of(token)? {
                return Ok(key);
            }
            drop(known);
            match self.ask(Reason::UnknownKey, self.0.now()) {
                Some(answered) if waits < MOST_WAITS => wait_for(answered).await,
                _ => return Err(TokenRefusal::UnknownKey),
            }
            waits += 1;
        }
    }

    /// Asks the issuer now; how many keys are known then.
    pub(super) async fn refresh(&self) -> Result<usize, KeySetError> {
        if let Some(answered) = self.ask(Reason::Wish, self.0.now()) {
            wait_for(answered).await;
        }
        let failure = self.0.asking().failure.clone();
        failure.map_or_else(|| Ok(self.0.known().len()), Err)
    }

    pub(super) fn known(&self) -> usize {
        self.0.known().len()
    }

    /// The request that is under way, or a new one if this reason allows it now.
    fn ask(&self, reason: Reason, now: i64) -> Option<watch::Receiver<()>> {
        let mut asking = self.0.asking();
        if let Some(under_way) = asking.under_way.as_ref().filter(|answered| answered.has_changed().is_ok()) {
            return Some(under_way.clone());
        }
        let allowed = match reason {
            Reason::Due => self.0.is_due(now),
            Reason::UnknownKey => asking
                .asked_for_unknown_at
                .is_none_or(|at| !(at..at.saturating_add(ASK_FOR_UNKNOWN_EVERY)).contains(&now)),
            Reason::Wish => true,
        };
        if !allowed {
            return None;
        }
        // The first unknown key after any other request is asked for at once.
        asking.asked_for_unknown_at = (reason == Reason::UnknownKey).then_some(now);
        let (done, answered) = watch::channel(());
        asking.under_way = Some(answered.clone());
        // A task of its own: clients that give up do not cut the request short and so cause another.
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            shared.fetch().await;
            drop(done);
        });
        Some(answered)
    }
}

impl Shared {
    async fn fetch(&self) {
        let answer = self.source.fetch().await;
        // Only this task, which is one at a time, changes what is known.
        let known = self.known();
        let answer = answer.and_then(|body| usable(&body, &known));
        self.figures.count_fetch(answer.is_ok());
        let now = self.now();
        let mut asking = self.asking();
        let next_after = match answer {
            Ok(next) => {
                self.replace(&known, next);
                if asking.failure.take().is_some() {
                    tracing::info!("the token issuer's key set can be fetched again");
                }
                REFRESH_AFTER
            }
            Err(failure) => {
                // Once per outage.
                if asking.failure.is_none() {
                    tracing::warn!(cause = %failure, known_keys = known.len(), "the token issuer's key set cannot be fetched");
                } else {
                    tracing::debug!(cause = %failure, "the token issuer's key set still cannot be fetched");
                }
                asking.failure = Some(failure);
                if known.is_empty() { RETRY_WITHOUT_KEYS_AFTER } else { RETRY_AFTER }
            }
        };
        self.asked_at.store(now, Ordering::Release);
        self.due_at.store(now.saturating_add(next_after), Ordering::Release);
    }

    fn replace(&self, known: &KeySet, next: KeySet) {
        let (before, keys) = (known.len(), next.len());
        let next = Arc::new(next);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        let gone = known.retire_for(&next);
        let new = keys.saturating_sub(before.saturating_sub(gone));
        if new + gone > 0 {
            tracing::debug!(keys, new, gone, "the token issuer's keys changed");
        }
    }

    /// Also if the clock was set back since: else keys from the future would never be due.
    fn is_due(&self, now: i64) -> bool {
        let asked_at = self.asked_at.load(Ordering::Acquire);
        let due_at = self.due_at.load(Ordering::Acquire);
        !(asked_at.saturating_sub(CLOCK_JUMP)..due_at).contains(&now)
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    fn known(&self) -> Arc<KeySet> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer without a usable key never replaces keys that are known.
fn usable(body: &[u8], known: &KeySet) -> Result<KeySet, KeySetError> {
    let keys = KeySet::read(body, known).ok_or(KeySetError::Nonsense("a key set"))?;
    if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(keys) }
}

/// Ends when the request does, however it does.
async fn wait_for(mut answered: watch::Receiver<()>) {
    while answered.changed().await.is_ok() {}
}

//! Checking stored keys over time: those of which nothing is known yet with growing pauses, those that a call was
//! refused with soon, and all of them once a day.
//!
//! The plan stands in the database, and whoever moves a check on makes it, so each key is asked once, by one replica.
//! Only what a provider says beyond doubt changes what is known of a key; a provider's own troubles never do.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::clock::random_bytes;
use crate::error::Error;
use crate::keys::{KeyStatus, Keys};
use crate::provider::{Provider, Verdict};
use crate::requester::{Actor, Requester};
use crate::storage::rechecks::{self, DueCheck};
use crate::user::UserId;

/// The pauses after which a key is asked about again of which nothing could be said; then it is asked once a day.
const PAUSES: [SignedDuration; 5] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(12),
];
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How far a day's next check is moved at random, to either side.
const SPREAD: SignedDuration = SignedDuration::from_hours(2);
/// Whoever took a check over and did not make it by then, died.
const TAKEN_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Checks at the same time, in one process.
const AT_ONCE: usize = 4;
/// Checks of one provider that are taken over at once.
const BATCH: i64 = 8;
/// Keys that are planned in one transaction.
const PLANNED_AT_ONCE: i64 = 200;

/// Checks that are due. One per serving process.
pub struct Rechecks {
    keys: Arc<Keys>,
    /// Keys of which something is known are asked about daily.
    daily: bool,
}

impl Rechecks {
    pub(crate) fn new(keys: Arc<Keys>, daily: bool) -> Self {
        Self { keys, daily }
    }

    /// To be called once, before the first [`run_due`](Self::run_due): takes back the daily plans of an earlier
    /// process where they are off now.
    pub async fn begin(&self) -> Result<(), Error> {
        if self.daily {
            return Ok(());
        }
        for provider in self.providers() {
            let id = provider.id.as_str();
            while rechecks::forget_daily(&self.keys.database, id, PLANNED_AT_ONCE).await? > 0 {}
        }
        Ok(())
    }

    /// Plans what is not planned yet, and makes all checks that are due; returns how many.
    ///
    /// Dropped halfway, what was not made is made some minutes later, here or by another replica.
    pub async fn run_due(&self) -> Result<u64, Error> {
        let mut made = 0;
        for provider in self.providers() {
            self.plan(provider).await?;
        }
        loop {
            let mut taken = vec![];
            for provider in self.providers() {
                for check in self.take_over(provider).await? {
                    taken.push((Arc::clone(provider), check));
                }
            }
            if taken.is_empty() {
                return Ok(made);
            }
            made += taken.len() as u64;
            stream::iter(taken)
                .for_each_concurrent(AT_ONCE, async |(provider, check)| {
                    if let Err(error) = self.make(&provider, &check).await {
                        // Nothing is lost: it is taken over again.
                        tracing::debug!(cause = error.cause(), "a planned check of a key was not made");
                    }
                })
                .await;
        }
    }

    /// Those that can be asked for nothing.
    fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.keys.registry.iter().filter(|provider| provider.check.is_some())
    }

    async fn plan(&self, provider: &Arc<Provider>) -> Result<(), Error> {
        let database = &self.keys.database;
        for unverified in [true, false] {
            if !unverified && !self.daily {
                continue;
            }
            loop {
                let ids =
                    rechecks::unplanned(database, provider.id.as_str(), unverified, PLANNED_AT_ONCE).await?;
                if ids.is_empty() {
                    break;
                }
                let now = self.keys.clock.now();
                let transaction = database.begin().await?;
                for id in ids {
                    let pause = if unverified { PAUSES[0] } else { self.random(DAY)? };
                    rechecks::plan(&transaction, id, after(now, pause)).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    async fn take_over(&self, provider: &Arc<Provider>) -> Result<Vec<DueCheck>, Error> {
        let now = self.keys.clock.now();
        // Most times nothing is, and then nothing is locked.
        if !rechecks::any_due(&self.keys.database, provider.id.as_str(), now).await? {
            return Ok(vec![]);
        }
        let transaction = self.keys.database.begin().await?;
        let until = after(now, TAKEN_FOR);
        let taken = rechecks::take_over(&transaction, provider.id.as_str(), now, until, BATCH).await?;
        transaction.commit().await?;
        Ok(taken)
    }

    async fn make(&self, provider: &Arc<Provider>, check: &DueCheck) -> Result<(), Error> {
        let verdict = match UserId::parse(&check.user) {
            Ok(user) => match self.keys.of_to_change(&user).await {
                Ok(keys) => keys.asked_for(&Requester::new(Actor::Keyfold)).recheck(provider).await,
                Err(error) => Err(error),
            },
            Err(_) => Ok(None),
        };
        let verdict = match verdict {
            Ok(verdict) => verdict,
            // Nothing to ask about today.
            Err(
                Error::UserSuspended
                | Error::UserDeleted
                | Error::NoApiKey { .. }
                | Error::KeyUnreadable { .. }
                | Error::EnvFile(_),
            ) => None,
            Err(error) => return Err(error),
        };
        let now = self.keys.clock.now();
        let is_unverified = check.status == KeyStatus::Unverified.as_str();
        let (pause, failed) = match &verdict {
            Some(Verdict::Unknown(_)) if is_unverified => {
                let failed = check.failed.saturating_add(1);
                (usize::try_from(failed).ok().and_then(|failed| PAUSES.get(failed)).copied(), failed)
            }
            Some(_) => (None, 0),
            None => (None, check.failed),
        };
        let next = match pause {
            Some(pause) => Some(after(now, pause)),
            // An unverified key is asked about daily in the end whatever is set: it was never known to work.
            None if self.daily || (is_unverified && !is_conclusive(verdict.as_ref())) => {
                let random = self.random(SPREAD + SPREAD)?;
                Some(after(now, DAY - SPREAD + random))
            }
            None => None,
        };
        Ok(rechecks::done(&self.keys.database, check, next, now, failed).await?)
    }

    /// Some part of `most`.
    fn random(&self, most: SignedDuration) -> Result<SignedDuration, Error> {
        let number = u64::from_be_bytes(random_bytes(&*self.keys.random)?);
        let seconds = u64::try_from(most.as_secs()).unwrap_or(0).max(1);
        Ok(SignedDuration::from_secs(i64::try_from(number % seconds).unwrap_or(0)))
    }
}

fn is_conclusive(verdict: Option<&Verdict>) -> bool {
    verdict.is_some_and(|verdict| !matches!(verdict, Verdict::Unknown(_)))
}

fn after(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

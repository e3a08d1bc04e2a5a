//! Users as an operator sees them: who is there, and who may use Keyfold. Never a key in plain text.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::audit::{Action, Event, Outcome};
use crate::error::Error;
use crate::keys::{AskedBy, Deletion, Keys, REFUSED_FOR, ReadFrom, UserApiKeys};
use crate::provider::ProviderId;
use crate::provider::clerk::{ClerkApi, ClerkError, MOST_ASKED};
use crate::requester::{Actor, Requester};
use crate::storage;
use crate::storage::deletions::Tombstone;
use crate::storage::users::UserRow;
use crate::user::UserId;

/// Users that are read at once.
const PAGE: u32 = 1000;

/// The users of a Keyfold, for whoever runs it.
pub struct Users {
    keys: Arc<Keys>,
}

/// What an operator may know of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserSummary {
    /// The id.
    pub user: String,
    /// How many keys the user has.
    pub keys: KeyCounts,
    /// When onboarding began.
    pub started_at: Option<Timestamp>,
    /// When onboarding was completed.
    pub completed_at: Option<Timestamp>,
    /// Since when the user is suspended.
    pub suspended_at: Option<Timestamp>,
}

/// A user's keys, counted by what was last known of them. They are not opened for it, so an unreadable one is
/// among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyCounts {
    /// The provider accepted it.
    pub valid: u64,
    /// Live, but restricted.
    pub limited: u64,
    /// The provider refused it.
    pub rejected: u64,
    /// Not asked yet, or nothing could be said.
    pub unverified: u64,
}

impl KeyCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.valid + self.limited + self.rejected + self.unverified
    }
}

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody of this id was ever here.
    NeverHere,
    /// The user may use Keyfold.
    Active,
    /// The user is suspended, since then.
    Suspended(Timestamp),
    /// The user was deleted then, and did not come back.
    Deleted(Timestamp),
}

/// What a suspension found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// The user was here, and is suspended from now on.
    New,
    /// The user was never here; whoever comes under this id is suspended.
    BeforeFirstVisit,
    /// The user was suspended already, since then.
    Already(Timestamp),
}

/// Who is gone at the token issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// How many users the issuer was asked about.
    pub asked: u64,
    /// How many have ids that the issuer cannot have made.
    pub skipped: u64,
    /// Those who are gone.
    pub users: Vec<UserId>,
}

impl Gone {
    /// Whether so many are gone that the secret key is more likely to be another instance's.
    pub fn are_suspiciously_many(&self) -> bool {
        self.users.len() as u64 * 5 > self.asked
    }
}

/// Why it is not known who is gone.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The issuer did not say.
    #[error(transparent)]
    Clerk(#[from] ClerkError),
    /// The users could not be read.
    #[error(transparent)]
    Keyfold(#[from] Error),
}

/// What a deletion found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The user was here, and is no more.
    Deleted,
    /// The user was deleted before, then, and did not come back.
    Already(Timestamp),
}

/// What the end of a suspension found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// The user may use Keyfold again.
    Resumed,
    /// The user was not suspended.
    WasNotSuspended,
}

impl Users {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// At most `limit` users whose ids come after `after`, in the database's order of ids. The last one of a
    /// page is the `after` of the next.
    pub async fn page(&self, after: Option<&str>, limit: u32) -> Result<Vec<UserSummary>, Error> {
        // No id is empty.
        let after = after.unwrap_or("");
        let rows = storage::users::page(&self.keys.database, after, limit.into()).await?;
        Ok(rows.into_iter().map(summary).collect())
    }

    /// How this user stands.
    pub async fn standing(&self, user: &UserId) -> Result<Standing, Error> {
        Ok(match storage::users::suspended_at(&self.keys.database, user).await? {
            None => match self.keys.tombstone(user).await? {
                None => Standing::NeverHere,
                Some(Tombstone { suspended_at: Some(since), .. }) => Standing::Suspended(since),
                Some(Tombstone { deleted_at, .. }) => Standing::Deleted(deleted_at),
            },
            Some(None) => Standing::Active,
            Some(Some(since)) => Standing::Suspended(since),
        })
    }

    /// Keeps a user from using Keyfold; keys stay. One who was never here is suspended before the first visit.
    pub async fn suspend(&self, user: &UserId) -> Result<Suspension, Error> {
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        let was_here = storage::users::suspended_at(&transaction, user).await?.is_some();
        self.keys.take_turn(&transaction, user, now).await?;
        let is_new = storage::users::suspend(&transaction, user, now).await?;
        let since = storage::users::suspended_at(&transaction, user).await?.flatten().unwrap_or(now);
        let done = if is_new { vec![event(Action::UserSuspended, user)] } else { vec![] };
        self.keys.audit.commit(transaction, done).await?;
        self.keys.forget(user);
        Ok(match (is_new, was_here) {
            (true, true) => Suspension::New,
            (true, false) => Suspension::BeforeFirstVisit,
            (false, _) => Suspension::Already(since),
        })
    }

    /// Lets a suspended user use Keyfold again.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nobody of this id was ever here or suspended: a misspelt id would otherwise look
    /// like success.
    pub async fn resume(&self, user: &UserId) -> Result<Resumption, Error> {
        let transaction = self.keys.database.begin().await?;
        let here = storage::users::resume(&transaction, user).await?;
        let deleted = storage::deletions::resume(&transaction, user).await?;
        if here || deleted {
            self.keys.audit.commit(transaction, vec![event(Action::UserResumed, user)]).await?;
            self.keys.forget(user);
            return Ok(Resumption::Resumed);
        }
        drop(transaction);
        if self.standing(user).await? != Standing::NeverHere {
            return Ok(Resumption::WasNotSuspended);
        }
        Err(Error::NotFound(format!(
            "There is no user {user}: nobody of this id was ever here or suspended. `keyfold users list` shows those there are."
        )))
    }

    /// The keys of this user, suspended or not, as they stand in the database now: to look after them, not to use
    /// them.
    pub async fn keys_of(&self, user: &UserId) -> Result<UserApiKeys, Error> {
        self.keys.of_even_if_suspended(user).await
    }

    /// Deletes a user with all keys. Tokens that were issued before are refused from now on; whoever signs in anew
    /// begins anew.
    pub async fn delete(&self, user: &UserId) -> Result<Removal, Error> {
        // Local mode's user may have keys in the `.env` file and nothing else.
        let is_always_here =
            *user == UserId::local() && matches!(self.keys.read_from, ReadFrom::Environment(_));
        match self.standing(user).await? {
            Standing::NeverHere if !is_always_here => Err(Error::NotFound(format!(
                "There is no user {user}: nobody of this id was ever here. `keyfold users list` shows those there are."
            ))),
            Standing::Deleted(at) => Ok(Removal::Already(at)),
            Standing::NeverHere | Standing::Active | Standing::Suspended(_) => {
                let deletion = deletion(SignedDuration::ZERO, None);
                self.keys.delete_user(user, deletion).await?;
                Ok(Removal::Deleted)
            }
        }
    }

    /// Deletes a user who is gone at the token issuer, and refuses that user for a day.
    pub async fn delete_gone(&self, user: &UserId) -> Result<(), Error> {
        let deletion = deletion(REFUSED_FOR, Some("reconcile"));
        self.keys.delete_user(user, deletion).await.map(drop)
    }

    /// Asks Clerk which users are gone there. Asks about each of them once more by itself, so that nobody is taken for
    /// gone because of a list that was cut short. Deletes nobody. `progress` hears how many users were looked at.
    pub async fn gone(
        &self,
        clerk: &ClerkApi,
        mut progress: impl FnMut(u64),
    ) -> Result<Gone, ReconcileError> {
        let mut found = Gone::default();
        let mut after: Option<String> = None;
        let mut waiting = vec![];
        loop {
            let page = self.page(after.as_deref(), PAGE).await?;
            after = page.last().map(|user| user.user.clone());
            let is_last = page.len() < PAGE as usize;
            for user in page {
                match UserId::parse(&user.user).ok().filter(|_| ClerkApi::may_know(&user.user)) {
                    Some(user) => waiting.push(user),
                    None => found.skipped += 1,
                }
            }
            let ready = if is_last { waiting.len() } else { waiting.len() / MOST_ASKED * MOST_ASKED };
            let asked: Vec<UserId> = waiting.drain(..ready).collect();
            for asked in asked.chunks(MOST_ASKED) {
                let ids: Vec<&str> = asked.iter().map(UserId::as_str).collect();
                let existing = clerk.existing(&ids).await?;
                for user in asked.iter().filter(|user| !existing.contains(user.as_str())) {
                    if clerk.is_gone(user.as_str()).await? {
                        found.users.push(user.clone());
                    }
                }
                found.asked += asked.len() as u64;
                progress(found.asked);
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// How many users have a key of this provider.
    pub async fn count_holders(&self, provider: &ProviderId) -> Result<u64, Error> {
        let count = storage::deletions::count_holders(&self.keys.database, provider.as_str()).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether this user has a key of this provider, or a version of one.
    pub async fn is_holder(&self, provider: &ProviderId, user: &UserId) -> Result<bool, Error> {
        Ok(storage::deletions::is_holder(&self.keys.database, provider.as_str(), user).await?)
    }

    /// At most `limit` users whose ids come after `after` and who have a key of this provider, or a version of one.
    pub async fn holders(
        &self,
        provider: &ProviderId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserId>, Error> {
        let after = after.map_or("", UserId::as_str);
        let ids =
            storage::deletions::holders(&self.keys.database, provider.as_str(), after, limit.into()).await?;
        // An id that no user can have is another program's row.
        Ok(ids.iter().filter_map(|id| UserId::parse(id).ok()).collect())
    }

    /// Deletes all versions of a user's key for this provider; false if there is none.
    pub async fn revoke(&self, user: &UserId, provider: &ProviderId) -> Result<bool, Error> {
        self.keys.revoke(user, provider, &operator()).await
    }
}

fn deletion(refused_for: SignedDuration, note: Option<&'static str>) -> Deletion {
    Deletion { requester: operator(), asked_by: AskedBy::Operator, refused_for, message: None, note }
}

fn event(action: Action, user: &UserId) -> Event {
    Event::new(action, Outcome::Ok, &operator()).of_user(user)
}

fn operator() -> Requester {
    Requester::new(Actor::Operator)
}

fn summary(row: UserRow) -> UserSummary {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let known = row.valid + row.limited + row.rejected;
    UserSummary {
        user: row.user,
        keys: KeyCounts {
            valid: count(row.valid),
            limited: count(row.limited),
            rejected: count(row.rejected),
            // A word that is not known counts as unverified.
            unverified: count(row.keys - known),
        },
        started_at: row.started_at,
        completed_at: row.completed_at,
        suspended_at: row.suspended_at,
    }
}

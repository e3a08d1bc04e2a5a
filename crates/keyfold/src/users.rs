//! Users as an operator sees them: who is there, and who may use Keyfold. Never a key in plain text.

use std::sync::Arc;

use jiff::Timestamp;

use crate::envelope::DataKey;
use crate::error::Error;
use crate::keys::{Keys, UserApiKeys};
use crate::storage::users::UserRow;
use crate::storage::{self, Connection};
use crate::user::UserId;

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
            None => Standing::NeverHere,
            Some(None) => Standing::Active,
            Some(Some(since)) => Standing::Suspended(since),
        })
    }

    /// Keeps a user from using Keyfold; keys stay. One who was never here is suspended before the first visit.
    pub async fn suspend(&self, user: &UserId) -> Result<Suspension, Error> {
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        let was_here = storage::users::suspended_at(&transaction, user).await?.is_some();
        if !was_here {
            self.insert(&transaction, user, now).await?;
        }
        let is_new = storage::users::suspend(&transaction, user, now).await?;
        let since = storage::users::suspended_at(&transaction, user).await?.flatten().unwrap_or(now);
        transaction.commit().await?;
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
        if storage::users::resume(&self.keys.database, user).await? {
            self.keys.forget(user);
            return Ok(Resumption::Resumed);
        }
        if storage::users::suspended_at(&self.keys.database, user).await?.is_some() {
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

    /// A user's row as a first visit makes it.
    async fn insert(&self, connection: &impl Connection, user: &UserId, now: Timestamp) -> Result<(), Error> {
        let (_, wrapped) = DataKey::generate(&self.keys.ring, &*self.keys.random, user)?;
        storage::sessions::insert_or_find(connection, user, &wrapped.to_string(), now).await?;
        Ok(())
    }
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

//! Databases with keys in plain text that Keyfold took over: sealing every key where it lies, and turning all back.
//!
//! Both look through the table by the ids of its rows and change one user's keys at a time, in the user's turn. What is
//! changed already is not found again, so both may be killed anywhere, run again, and run twice at once. The mark of the
//! database goes last, in a transaction that looks for keys in plain text while nobody can write one; it comes first.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::audit::{Action, Event, Outcome};
use crate::error::Error;
use crate::keys::Keys;
use crate::provider::ProviderId;
use crate::requester::Requester;
use crate::storage;
pub use crate::storage::plain_keys::SetAside;
use crate::storage::plain_keys::{self, KeyPlace};
use crate::user::UserId;

/// Rows that one look finds.
const PAGE: i64 = 200;
/// The other program may go on writing plain text: what it wrote meanwhile is looked for so often.
const PASSES: u32 = 10;
/// Somebody else may hold a user's row. How often in a row nothing could be done before it is given up.
const MOST_FAILED: u32 = 10;
/// Of keys that are listed.
const MOST_LISTED: i64 = 1000;

/// The keys in plain text of this Keyfold, for whoever runs it.
pub struct Migration {
    keys: Arc<Keys>,
}

/// How a database stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlainText {
    /// Whether keys in plain text count.
    pub counts: bool,
    /// How many there are.
    pub keys: u64,
    /// How many keys do not count because a newer one of the same user and provider does.
    pub set_aside: u64,
}

/// What became of the keys in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encrypted {
    /// Whether keys in plain text counted before.
    pub counted: bool,
    /// How many were sealed.
    pub keys: u64,
    /// How many are plain text still. If any, and if they counted, the mark still stands.
    pub left: u64,
    /// Keys that do not count, the first thousand of them. They are sealed as well.
    pub set_aside: Vec<SetAside>,
    /// How many of those there are.
    pub set_aside_in_all: u64,
}

/// What became of the sealed keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decrypted {
    /// How many were turned to plain text.
    pub keys: u64,
    /// How many are sealed still.
    pub left: u64,
    /// Those that do not open: nothing was done because of them.
    pub unreadable: Vec<SetAside>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Keys done.
    pub done: u64,
    /// Keys in all, as they were counted at the beginning.
    pub total: u64,
}

/// What is done with each key.
#[derive(Clone, Copy)]
enum Way {
    Seal,
    Open,
}

impl Migration {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// Counts.
    pub async fn plain_text(&self) -> Result<PlainText, Error> {
        let database = &self.keys.database;
        Ok(PlainText {
            counts: self.keys.plain_keys_count(database).await?,
            keys: plain_keys::count_plain(database).await?,
            set_aside: plain_keys::count_set_aside(database).await?,
        })
    }

    /// Seals every key in plain text where it lies, and then lets none count any more, for good. In a database whose
    /// keys in plain text do not count nothing is done: nobody knows who wrote them.
    ///
    /// # Errors
    /// What was sealed before the error stays so; to be run again.
    pub async fn encrypt(
        &self,
        requester: &Requester,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Encrypted, Error> {
        let database = &self.keys.database;
        let PlainText { counts, keys: total, set_aside } = self.plain_text().await?;
        let mut encrypted = Encrypted {
            counted: counts,
            keys: 0,
            left: total,
            set_aside: plain_keys::set_aside(database, MOST_LISTED).await?,
            set_aside_in_all: set_aside,
        };
        if !counts {
            return Ok(encrypted);
        }
        for _ in 0..PASSES {
            let so_far = encrypted.keys;
            let mut tell = |done| progress(Progress { done: so_far + done, total });
            encrypted.keys += self.go_through(Way::Seal, requester, &mut tell).await?;
            encrypted.left = self.end_plain_text(requester, encrypted.keys).await?;
            if encrypted.left == 0 {
                break;
            }
        }
        Ok(encrypted)
    }

    /// Turns every key to plain text where it lies, which counts from then on. If one does not open, nothing is done.
    ///
    /// # Errors
    /// What was turned to plain text before the error stays so, and counts; to be run again.
    pub async fn decrypt(
        &self,
        requester: &Requester,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Decrypted, Error> {
        let database = &self.keys.database;
        let total = plain_keys::count_sealed(database).await?;
        let unreadable = self.unreadable().await?;
        if !unreadable.is_empty() {
            return Ok(Decrypted { keys: 0, left: total, unreadable });
        }
        self.begin_plain_text(requester, total).await?;
        let mut decrypted = Decrypted { keys: 0, left: total, unreadable };
        for _ in 0..PASSES {
            let so_far = decrypted.keys;
            let mut tell = |done| progress(Progress { done: so_far + done, total });
            decrypted.keys += self.go_through(Way::Open, requester, &mut tell).await?;
            decrypted.left = plain_keys::count_sealed(database).await?;
            if decrypted.left == 0 {
                break;
            }
        }
        Ok(decrypted)
    }

    /// One pass over the table; how many keys were changed.
    async fn go_through(
        &self,
        way: Way,
        requester: &Requester,
        tell: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, Error> {
        let (mut done, mut after, mut failed) = (0, i64::MIN, 0);
        loop {
            let page = match way {
                Way::Seal => plain_keys::next_plain(&self.keys.database, after, PAGE).await?,
                Way::Open => plain_keys::next_sealed(&self.keys.database, after, PAGE).await?,
            };
            let Some(last) = page.last() else { return Ok(done) };
            after = last.id;
            let mut users = HashSet::new();
            for place in page {
                let owner = owner(&place);
                if owner.as_ref().is_some_and(|user| !users.insert(user.clone())) {
                    continue;
                }
                match self.change(way, owner.as_ref(), place.id, requester).await {
                    Ok(changed) => {
                        failed = 0;
                        done += changed;
                        tell(done);
                    }
                    // Somebody else is at it, or the database is away for a moment: the next pass finds what is left.
                    Err(error @ (Error::DatabaseUnavailable(_) | Error::AuditUnavailable(_))) => {
                        failed += 1;
                        if failed >= MOST_FAILED {
                            return Err(error);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn change(
        &self,
        way: Way,
        owner: Option<&UserId>,
        id: i64,
        requester: &Requester,
    ) -> Result<u64, Error> {
        let keys = &self.keys;
        let count = match (way, owner) {
            (Way::Seal, Some(user)) => keys.seal_plain_keys_of(user, requester).await?,
            (Way::Seal, None) => usize::from(keys.seal_kept_key(id, requester).await?),
            (Way::Open, Some(user)) => keys.open_sealed_keys_of(user, requester).await?,
            (Way::Open, None) => usize::from(keys.open_kept_key(id, requester).await?),
        };
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Clears the mark if nothing is plain text any more; how much still is.
    async fn end_plain_text(&self, requester: &Requester, sealed: u64) -> Result<u64, Error> {
        let database = &self.keys.database;
        let left = plain_keys::count_plain(database).await?;
        if left > 0 {
            return Ok(left);
        }
        let mut failed = 0;
        loop {
            match self.try_to_end_plain_text(requester, sealed).await {
                Err(Error::DatabaseUnavailable(_)) if failed < MOST_FAILED => failed += 1,
                done => return done,
            }
        }
    }

    async fn try_to_end_plain_text(&self, requester: &Requester, sealed: u64) -> Result<u64, Error> {
        let database = &self.keys.database;
        let transaction = database.begin().await?;
        plain_keys::give_way(database, &transaction).await?;
        plain_keys::keep_still(database, &transaction).await?;
        let left = plain_keys::count_plain(&transaction).await?;
        // Another one that runs at the same time may have been faster.
        if left > 0 || !self.keys.plain_keys_count(&transaction).await? {
            return Ok(left);
        }
        plain_keys::clear_mark(&transaction).await?;
        let note = json!({ "keys": sealed, "plain": 0 }).to_string();
        let event = Event::new(Action::KeysEncrypted, Outcome::Ok, requester).with_note(note);
        self.keys.audit.commit(transaction, vec![event]).await?;
        storage::master_keys::announce_all(database).await?;
        Ok(0)
    }

    /// Puts the mark back.
    async fn begin_plain_text(&self, requester: &Requester, keys: u64) -> Result<(), Error> {
        let database = &self.keys.database;
        if self.keys.plain_keys_count(database).await? {
            return Ok(());
        }
        let transaction = database.begin().await?;
        let mark = self.keys.ring.new_root_secret(&*self.keys.random, plain_keys::MARK)?;
        plain_keys::put_mark(&transaction, &mark.to_string()).await?;
        let note = json!({ "keys": keys }).to_string();
        let event = Event::new(Action::KeysDecrypted, Outcome::Ok, requester).with_note(note);
        self.keys.audit.commit(transaction, vec![event]).await?;
        storage::master_keys::announce_all(database).await?;
        Ok(())
    }

    /// Sealed keys that do not open.
    async fn unreadable(&self) -> Result<Vec<SetAside>, Error> {
        let (mut found, mut after) = (vec![], i64::MIN);
        loop {
            let page = plain_keys::next_sealed(&self.keys.database, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.id;
            for place in page {
                if !self.keys.opens(owner(&place).as_ref(), place.id).await? {
                    let KeyPlace { id, user, provider } = place;
                    found.push(SetAside { id, user, provider });
                }
            }
        }
    }
}

/// Whose key it is, if somebody can be given it.
fn owner(place: &KeyPlace) -> Option<UserId> {
    ProviderId::parse(&place.provider).ok()?;
    UserId::parse(&place.user).ok()
}

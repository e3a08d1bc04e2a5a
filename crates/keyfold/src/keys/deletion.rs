//! Deleting users, and revoking one provider's keys for all of them.
//!
//! A deletion and everything that could bring a user back take the user's turn, so the two cannot pass each other:
//! whoever comes after a deletion finds what stands of it, and is refused.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{AskedBy, Keys, ReadFrom, admit};
use crate::audit::{Action, Event, Outcome};
use crate::envelope::DataKey;
use crate::error::Error;
use crate::provider::{Provider, ProviderId};
use crate::requester::{Actor, Requester};
use crate::storage::deletions::Tombstone;
use crate::storage::sessions::Session;
use crate::storage::{self, Transaction};
use crate::user::UserId;

/// How long a message of the token issuer is remembered: longer than the issuer goes on sending it.
const MESSAGES_KEPT_FOR: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long a user is refused who is gone at the token issuer: whatever token shows up after that is an old one.
pub(crate) const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A deletion that is asked for.
pub(crate) struct Deletion {
    /// Who asks.
    pub(crate) requester: Requester,
    /// How: it decides who is refused.
    pub(crate) asked_by: AskedBy,
    /// For how long any token is refused, fresh ones too.
    pub(crate) refused_for: SignedDuration,
    /// The id of the message that asks for it; a second message of that id does nothing.
    pub(crate) message: Option<String>,
    /// A few words for the audit log.
    pub(crate) note: Option<&'static str>,
}

impl Keys {
    /// Makes other changes of this user wait until the transaction ends. A user who was never here gets a session
    /// with a data key; one who was deleted, as the deletion left them.
    pub(crate) async fn take_turn(
        &self,
        transaction: &Transaction,
        user: &UserId,
        now: Timestamp,
    ) -> Result<(), Error> {
        if storage::sessions::take_turn(transaction, user).await? {
            return Ok(());
        }
        let (_, wrapped) = DataKey::generate(&self.ring, &*self.random, user)?;
        storage::sessions::insert_and_take_turn(transaction, user, &wrapped.to_string(), now).await?;
        // In a statement of its own: it sees a deletion that the last one waited for.
        storage::deletions::take_over(transaction, user).await?;
        Ok(())
    }

    /// Takes the user's turn and returns the session, unless whoever asks is refused.
    pub(crate) async fn take_turn_asked_by(
        &self,
        transaction: &Transaction,
        user: &UserId,
        asked_by: AskedBy,
    ) -> Result<Session, Error> {
        self.take_turn(transaction, user, self.clock.now()).await?;
        let session = storage::sessions::find(transaction, user).await?;
        let mut session = session.ok_or_else(|| Error::Internal("a user's session vanished".into()))?;
        if session.data_key.is_empty() {
            self.give_data_key(transaction, user).await?;
            let given = storage::sessions::find(transaction, user).await?;
            session = given.ok_or_else(|| Error::Internal("a user's session vanished".into()))?;
        }
        self.admit_to(&session, asked_by)?;
        Ok(session)
    }

    /// Gives a session that another program made its data key. One of a user who was deleted is as the deletion left
    /// them.
    pub(crate) async fn give_data_key(&self, transaction: &Transaction, user: &UserId) -> Result<(), Error> {
        let (_, wrapped) = DataKey::generate(&self.ring, &*self.random, user)?;
        storage::sessions::give_data_key(transaction, user, &wrapped.to_string()).await?;
        storage::deletions::take_over(transaction, user).await?;
        Ok(())
    }

    /// Refuses whoever may not look at this session or change it.
    pub(crate) fn admit_to(&self, session: &Session, asked_by: AskedBy) -> Result<(), Error> {
        admit(asked_by, session.valid_from, session.suspended_at.is_some(), &*self.clock)
    }

    /// Deletes a user's keys, their versions, the data key, the steps of onboarding and the session; false if the
    /// message that asks for it was acted upon before. Runs as a task of its own, so a caller who leaves does not
    /// leave half of it.
    pub(crate) async fn delete_user(
        self: &Arc<Self>,
        user: &UserId,
        deletion: Deletion,
    ) -> Result<bool, Error> {
        let (keys, user) = (Arc::clone(self), user.clone());
        tokio::spawn(async move {
            keys.remove_from_files(&user, &deletion).await?;
            keys.delete_rows(&user, deletion).await
        })
        .await?
    }

    async fn delete_rows(&self, user: &UserId, deletion: Deletion) -> Result<bool, Error> {
        let now = self.clock.now();
        let transaction = self.database.begin().await?;
        if let Some(message) = &deletion.message {
            if !storage::deletions::remember_message(&transaction, message, now).await? {
                return Ok(false);
            }
            let oldest = now.saturating_sub(MESSAGES_KEPT_FOR).unwrap_or(Timestamp::MIN);
            storage::deletions::forget_messages(&transaction, oldest).await?;
        }
        self.take_turn(&transaction, user, now).await?;
        let session = storage::sessions::find(&transaction, user).await?;
        // A suspended user may go: the suspension stays with what stands of the deletion.
        let valid_from = session.and_then(|session| session.valid_from);
        admit(deletion.asked_by, valid_from, false, &*self.clock)?;
        // Local mode has no tokens of its own that could be late.
        if matches!(self.read_from, ReadFrom::Database) {
            let refused_until = refused_until(&deletion, now);
            storage::deletions::bury(&transaction, user, now, refused_until).await?;
        }
        let removed = if storage::deletions::others_refer_to_sessions(&transaction).await? {
            storage::deletions::remove_all_but_row(&transaction, user).await?
        } else {
            storage::deletions::remove_all(&transaction, user).await?
        };
        if removed.sessions != 1 {
            return Err(Error::Internal(format!("a deletion met {} sessions", removed.sessions)));
        }
        let mut counts = serde_json::json!({
            "keys": removed.keys, "versions": removed.versions, "steps": removed.steps,
        });
        if let Some(note) = deletion.note {
            counts["by"] = note.into();
        }
        let event = Event::new(Action::UserDeleted, Outcome::Ok, &deletion.requester)
            .of_user(user)
            .with_note(counts.to_string());
        let committed = self.audit.commit(transaction, vec![event]).await;
        // Also when it failed: an answer that got lost may have been a yes.
        self.forget_all_of(user);
        committed?;
        Ok(true)
    }

    /// Local mode: removes the user's keys from the `.env` files too, one after the other. What fails halfway is
    /// done by the next attempt.
    async fn remove_from_files(self: &Arc<Self>, user: &UserId, deletion: &Deletion) -> Result<(), Error> {
        if matches!(self.read_from, ReadFrom::Database) {
            return Ok(());
        }
        if let Some(message) = &deletion.message
            && storage::deletions::knows_message(&self.database, message).await?
        {
            return Ok(());
        }
        // All users of local mode share the files. Whoever asks for themselves means the keys that they see there.
        let is_own = matches!(deletion.requester.actor, Actor::User | Actor::Impersonator(_))
            || *user == UserId::local();
        let providers: Vec<Arc<Provider>> = self.registry.iter().cloned().collect();
        for provider in providers {
            let keys = self.of_even_if_suspended(user).await?.asked_for(&deletion.requester);
            if !is_own && keys.stored.find(&provider.id).is_none() {
                continue;
            }
            match keys.remove(&provider).await {
                Ok(()) | Err(Error::NoApiKey { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// This process changed something of the user, and what it noted of the user is void.
    fn forget_all_of(&self, user: &UserId) {
        {
            let mut notes = self.notes();
            notes.used.retain(|(noted, ..), _| noted != user);
            notes.marks.retain(|(noted, _), _| noted != user);
        }
        self.usage.forget(user);
        self.forget(user);
    }

    /// What stands of a deletion of this user, if there was one and the user did not come back.
    pub(crate) async fn tombstone(&self, user: &UserId) -> Result<Option<Tombstone>, Error> {
        Ok(storage::deletions::find(&self.database, user).await?)
    }

    /// Deletes all versions of one user's key for a provider; false if there was none.
    pub(crate) async fn revoke(
        self: &Arc<Self>,
        user: &UserId,
        provider: &ProviderId,
        requester: &Requester,
    ) -> Result<bool, Error> {
        let transaction = self.database.begin().await?;
        // Who was deleted meanwhile is not made anew for this.
        if !storage::sessions::take_turn(&transaction, user).await?
            || !storage::deletions::is_holder(&transaction, provider.as_str(), user).await?
        {
            return Ok(false);
        }
        storage::keys::remove(&transaction, user, provider.as_str()).await?;
        let event = Event::new(Action::KeyDeleted, Outcome::Ok, requester)
            .of_user(user)
            .at_provider(provider)
            .with_note("revoked");
        let committed = self.audit.commit(transaction, vec![event]).await;
        self.forget(user);
        committed?;
        Ok(true)
    }
}

/// Until when tokens that were issued are refused. A clock of the issuer that is ahead of this one does not keep the
/// token alive with which the deletion was asked for.
fn refused_until(deletion: &Deletion, now: Timestamp) -> Timestamp {
    let until = now.saturating_add(deletion.refused_for).unwrap_or(Timestamp::MAX);
    match deletion.asked_by {
        AskedBy::Token(Some(issued_at)) => until.max(issued_at),
        _ => until,
    }
}

//! Keys in plain text, of a database that Keyfold took over from another program: sealing them where they lie, and
//! back. Each change is in its user's turn, with its events.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::{Keys, Stored};
use crate::audit::{Action, Event, Outcome};
use crate::envelope::{DataKey, EnvelopeError, Purpose, Sealed};
use crate::error::Error;
use crate::provider::ProviderId;
use crate::requester::Requester;
use crate::root_keys;
use crate::secret::ApiKey;
use crate::storage::plain_keys::{self, LockedKey, MARK, is_plain};
use crate::storage::{self, Transaction};
use crate::user::UserId;

/// The name of the key in `root_secrets` that seals keys of nobody: of sessions without a user, of names that no
/// provider has, and those that were set aside.
const KEPT_KEYS_KEY: &str = "kept_keys_key";

impl Keys {
    /// Whether this is the mark of an adopted database, and not something that anybody wrote there.
    pub(super) fn is_mark_of_plain_keys(&self, mark: Option<&str>) -> bool {
        let Some(Ok(sealed)) = mark.map(str::parse::<Sealed>) else { return false };
        self.ring.open_root_secret(MARK, &sealed).is_ok()
    }

    /// Whether keys in plain text count.
    pub(crate) async fn plain_keys_count(
        &self,
        connection: &impl storage::Connection,
    ) -> Result<bool, Error> {
        let mark = storage::root_secrets::find(connection, MARK).await?;
        Ok(self.is_mark_of_plain_keys(mark.as_deref()))
    }

    /// Seals the user's keys that are plain text; how many there were.
    pub(crate) async fn seal_plain_keys_of(
        &self,
        user: &UserId,
        requester: &Requester,
    ) -> Result<usize, Error> {
        let Some(transaction) = self.begin_turn(user).await? else { return Ok(0) };
        let events = self.seal_in_turn(&transaction, user, None, requester).await?;
        self.end_turn(transaction, user, events).await
    }

    /// Seals those of the user's keys that are plain text, or the one of this provider; the caller has the turn and
    /// commits the events with it.
    pub(super) async fn seal_in_turn(
        &self,
        transaction: &Transaction,
        user: &UserId,
        only: Option<&ProviderId>,
        requester: &Requester,
    ) -> Result<Vec<Event>, Error> {
        let stored = self.rows_to_change(transaction, user, self.clock.now()).await?;
        let data_key = usable(&stored)?;
        let mut events = vec![];
        for row in plain_keys::lock_of(transaction, user).await? {
            let Ok(provider) = ProviderId::parse(&row.provider) else { continue };
            if !is_plain(&row.key) || only.is_some_and(|only| *only != provider) {
                continue;
            }
            let purpose = Purpose::ApiKey { user, provider: &provider, version: row.version };
            self.seal_row(transaction, data_key, &purpose, &row).await?;
            let event = self.event(Action::KeyEncrypted, requester, &row);
            events.push(event.of_user(user).at_provider(&provider));
        }
        Ok(events)
    }

    /// Seals one key of nobody that is plain text; false if there is nothing to seal.
    pub(crate) async fn seal_kept_key(&self, id: i64, requester: &Requester) -> Result<bool, Error> {
        let transaction = self.database.begin().await?;
        plain_keys::give_way(&self.database, &transaction).await?;
        if !self.plain_keys_count(&transaction).await? {
            return Ok(false);
        }
        let Some(row) = plain_keys::lock_one(&transaction, id).await?.filter(|row| is_plain(&row.key)) else {
            return Ok(false);
        };
        let (kept_key, _) = root_keys::make(&transaction, &self.ring, &*self.random, KEPT_KEYS_KEY).await?;
        let data_key = DataKey::of_root_key(&kept_key)?;
        self.seal_row(&transaction, &data_key, &Purpose::KeptKey { row: id }, &row).await?;
        let event = self.event(Action::KeyEncrypted, requester, &row);
        self.audit.commit(transaction, vec![event.with_note(format!("row {id} of nobody"))]).await?;
        Ok(true)
    }

    /// The plain text is let go when its sealed form was opened again and is the same.
    async fn seal_row(
        &self,
        transaction: &Transaction,
        data_key: &DataKey,
        purpose: &Purpose<'_>,
        row: &LockedKey,
    ) -> Result<(), Error> {
        let sealed = data_key.seal(&*self.random, purpose, row.key.as_bytes())?.to_string();
        let opened = data_key.open(purpose, &sealed.parse()?)?;
        verify_slices_are_equal(&opened, row.key.as_bytes())
            .map_err(|_| Error::Internal("a key that was sealed opens as another one".into()))?;
        plain_keys::set_key(transaction, row.id, &sealed).await?;
        Ok(())
    }

    /// Turns the user's sealed keys to plain text; how many there were.
    pub(crate) async fn open_sealed_keys_of(
        &self,
        user: &UserId,
        requester: &Requester,
    ) -> Result<usize, Error> {
        let Some(transaction) = self.begin_turn(user).await? else { return Ok(0) };
        let stored = self.rows_to_change(&transaction, user, self.clock.now()).await?;
        let mut events = vec![];
        for row in plain_keys::lock_of(&transaction, user).await? {
            let Ok(provider) = ProviderId::parse(&row.provider) else { continue };
            if !row.key.starts_with("kf1.") {
                continue;
            }
            let purpose = Purpose::ApiKey { user, provider: &provider, version: row.version };
            let plain = open(usable(&stored)?, &purpose, &row.key)?;
            plain_keys::set_key(&transaction, row.id, &plain).await?;
            let event =
                self.event(Action::KeyDecrypted, requester, &LockedKey { key: plain.to_string(), ..row });
            events.push(event.of_user(user).at_provider(&provider));
        }
        self.end_turn(transaction, user, events).await
    }

    /// Turns one sealed key of nobody to plain text; false if there is nothing to open.
    pub(crate) async fn open_kept_key(&self, id: i64, requester: &Requester) -> Result<bool, Error> {
        let transaction = self.database.begin().await?;
        plain_keys::give_way(&self.database, &transaction).await?;
        let row = plain_keys::lock_one(&transaction, id).await?;
        let Some(row) = row.filter(|row| row.key.starts_with("kf1.")) else { return Ok(false) };
        let Some(kept_key) = root_keys::find(&transaction, &self.ring, KEPT_KEYS_KEY).await? else {
            return Err(EnvelopeError::DoesNotOpen.into());
        };
        let plain = open(&DataKey::of_root_key(&kept_key)?, &Purpose::KeptKey { row: id }, &row.key)?;
        plain_keys::set_key(&transaction, id, &plain).await?;
        let event = self.event(Action::KeyDecrypted, requester, &LockedKey { key: plain.to_string(), ..row });
        self.audit.commit(transaction, vec![event.with_note(format!("row {id} of nobody"))]).await?;
        Ok(true)
    }

    /// Whether the sealed key in this row opens; true if it is none any more.
    pub(crate) async fn opens(&self, user: Option<&UserId>, id: i64) -> Result<bool, Error> {
        let database = &self.database;
        let Some(row) = plain_keys::read_one(database, id).await?.filter(|row| row.key.starts_with("kf1."))
        else {
            return Ok(true);
        };
        if let (Some(user), Ok(provider)) = (user, ProviderId::parse(&row.provider)) {
            let stored = self.read(user).await?;
            let purpose = Purpose::ApiKey { user, provider: &provider, version: row.version };
            return Ok(matches!(&stored.data_key, Some(Ok(key)) if open(key, &purpose, &row.key).is_ok()));
        }
        let Some(kept_key) = root_keys::find(database, &self.ring, KEPT_KEYS_KEY).await? else {
            return Ok(false);
        };
        Ok(open(&DataKey::of_root_key(&kept_key)?, &Purpose::KeptKey { row: id }, &row.key).is_ok())
    }

    /// Takes the user's turn; nothing if plain text does not count any more, or the user is gone: who was deleted
    /// meanwhile is not made anew for this.
    async fn begin_turn(&self, user: &UserId) -> Result<Option<Transaction>, Error> {
        let transaction = self.database.begin().await?;
        plain_keys::give_way(&self.database, &transaction).await?;
        let is_there = storage::sessions::take_turn(&transaction, user).await?;
        let goes_on = is_there && self.plain_keys_count(&transaction).await?;
        Ok(goes_on.then_some(transaction))
    }

    async fn end_turn(
        &self,
        transaction: Transaction,
        user: &UserId,
        events: Vec<Event>,
    ) -> Result<usize, Error> {
        let count = events.len();
        if count > 0 {
            let committed = self.audit.commit(transaction, events).await;
            // Also when it failed: an answer that got lost may have been a yes.
            self.forget(user);
            committed?;
        }
        Ok(count)
    }

    /// Of a key in plain text.
    fn event(&self, action: Action, requester: &Requester, row: &LockedKey) -> Event {
        let mut event = Event::new(action, Outcome::Ok, requester);
        event.key_version = Some(row.version);
        event.fingerprint = ApiKey::parse(&row.key).ok().map(|key| self.audit.fingerprint(&key));
        event
    }
}

fn usable(stored: &Stored) -> Result<&DataKey, Error> {
    match (&stored.data_key, stored.not_given) {
        (Some(Ok(data_key)), _) => Ok(data_key),
        (_, Some(id)) => Err(Error::MasterKey(format!(
            "A user's data key is wrapped by the master key {id}, which is not given: add it to KEYFOLD_OTHER_MASTER_KEYS."
        ))),
        _ => Err(EnvelopeError::DoesNotOpen.into()),
    }
}

fn open(data_key: &DataKey, purpose: &Purpose<'_>, sealed: &str) -> Result<Zeroizing<String>, EnvelopeError> {
    let opened = data_key.open(purpose, &sealed.parse()?)?;
    let text = str::from_utf8(&opened).map_err(|_| EnvelopeError::Malformed)?;
    Ok(Zeroizing::new(text.to_owned()))
}

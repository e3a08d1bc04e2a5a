//! Wrapping everything anew, under the master key that seals.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use super::{MasterKeys, Role};
use crate::audit::{Action, Event, Outcome};
use crate::envelope::{DataKey, EnvelopeError, KeyId, Purpose, Sealed};
use crate::error::Error;
use crate::requester::Requester;
use crate::storage::master_keys::{Rewrapped, WrappedRow};
use crate::storage::{StorageError, master_keys, root_secrets};
use crate::user::UserId;

/// Whoever seals with another key while a rotation runs is looked for so often.
const PASSES: u32 = 5;

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Data keys wrapped anew so far.
    pub rewrapped: u64,
    /// How much of the table was looked at, from 0 to 1; begins again where more is found.
    pub part: f64,
}

/// What a rotation did, and what it left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// The master key that now wraps everything.
    pub to: KeyId,
    /// Those that did before.
    pub from: Vec<KeyId>,
    /// Data keys wrapped anew.
    pub data_keys: u64,
    /// Secrets of the whole database wrapped anew.
    pub root_secrets: u64,
    /// Damaged data keys that were put aside; their users have a new one and enter their keys again.
    pub put_aside: u64,
    /// Data keys and secrets that are not wrapped by `to` and could not be opened: each is left as it is.
    pub left: u64,
    /// A replica still seals with another master key: what it sealed was found at every look.
    pub goes_on: bool,
    /// The file of the replaced master key (local mode).
    pub replaced_file: Option<PathBuf>,
}

#[derive(Default)]
struct Tally {
    from: BTreeSet<KeyId>,
    data_keys: u64,
    root_secrets: u64,
    put_aside: u64,
}

enum Found {
    Rewrapped(KeyId, Rewrapped),
    /// Sealed by a master key that is given, and does not open.
    Damaged(WrappedRow),
    /// Sealed by one that is not given, or nothing of Keyfold's.
    Left,
}

impl MasterKeys {
    /// Wraps everything anew under the master key that seals. May be interrupted, and run again, at any point.
    ///
    /// # Errors
    /// What was wrapped anew before the error stays so.
    pub async fn rotate(
        &self,
        requester: &Requester,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Rotation, Error> {
        let mut tally = Tally::default();
        let done = self.wrap_everything(&mut tally, progress).await;
        let (outcome, goes_on) = match &done {
            Ok(goes_on) => (Outcome::Ok, *goes_on),
            Err(_) => (Outcome::Failed, true),
        };
        let to = self.keys.ring.primary_id();
        let from: Vec<KeyId> = tally.from.iter().copied().collect();
        let note = json!({
            "to": to.to_string(),
            "from": from.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "data_keys": tally.data_keys,
            "root_secrets": tally.root_secrets,
            "put_aside": tally.put_aside,
        });
        let event = Event::new(Action::MasterKeyRotated, outcome, requester).with_note(note.to_string());
        let recorded = self.keys.audit.record(vec![event]).await;
        done?;
        recorded?;
        master_keys::announce_all(&self.keys.database).await?;
        let left = self.forget_unused().await?;
        let Tally { data_keys, root_secrets, put_aside, .. } = tally;
        Ok(Rotation { to, from, data_keys, root_secrets, put_aside, left, goes_on, replaced_file: None })
    }

    /// Whether something was still found at the last look.
    pub(crate) async fn wrap_what_is_left(&self) -> Result<bool, Error> {
        self.wrap_everything(&mut Tally::default(), &mut |_| ()).await
    }

    async fn wrap_everything(
        &self,
        tally: &mut Tally,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<bool, Error> {
        for _ in 0..PASSES {
            let found = self.wrap_root_secrets(tally).await? | self.wrap_data_keys(tally, progress).await?;
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there were any that another key sealed.
    async fn wrap_root_secrets(&self, tally: &mut Tally) -> Result<bool, Error> {
        let (database, ring) = (&self.keys.database, &self.keys.ring);
        let mut found = false;
        for secret in root_secrets::every(database).await? {
            let Ok(sealed) = secret.value.parse::<Sealed>() else { continue };
            if secret.kind() != root_secrets::Kind::Sealed || sealed.key_id() == ring.primary_id() {
                continue;
            }
            let purpose = Purpose::RootSecret { name: &secret.name };
            match ring.reseal(&*self.keys.random, &purpose, &sealed) {
                Ok(anew) => {
                    found = true;
                    if root_secrets::replace(database, &secret, &anew.to_string()).await? {
                        tally.root_secrets += 1;
                        tally.from.insert(sealed.key_id());
                    }
                }
                Err(EnvelopeError::NoRandomness(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(name = secret.name, %error, "a secret of the database is left as it is");
                }
            }
        }
        Ok(found)
    }

    /// Whether there were any that another key sealed. While one batch is written, the next one is made.
    async fn wrap_data_keys(
        &self,
        tally: &mut Tally,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<bool, Error> {
        let database = &self.keys.database;
        let prefix = self.keys.ring.primary_id().sealed_prefix();
        let mut found = false;
        let mut writing = Writing(None);
        let spans = master_keys::spans(database).await?;
        let last = spans.last().map_or(1, |(_, until)| *until);
        for (mut after, until) in spans {
            loop {
                let rows = master_keys::not_wrapped_by(database, &prefix, (after, until)).await?;
                let Some(last_row) = rows.last() else { break };
                after = last_row.id;
                let is_last = rows.len() < master_keys::BATCH;
                let (mut batch, mut damaged) = (Vec::with_capacity(rows.len()), vec![]);
                for row in rows {
                    match self.look_at(row)? {
                        Found::Rewrapped(from, row) => {
                            tally.from.insert(from);
                            batch.push(row);
                        }
                        Found::Damaged(row) => damaged.push(row),
                        Found::Left => {}
                    }
                }
                found |= !batch.is_empty();
                for row in damaged {
                    let is_new = self.put_aside(&row).await?;
                    found |= is_new;
                    tally.put_aside += u64::from(is_new);
                }
                tally.data_keys += writing.end().await?;
                if !batch.is_empty() {
                    let database = database.clone();
                    writing =
                        Writing(Some(tokio::spawn(
                            async move { master_keys::rewrap(&database, batch).await },
                        )));
                }
                progress(Progress { rewrapped: tally.data_keys, part: part(after, last) });
                if is_last {
                    break;
                }
            }
        }
        tally.data_keys += writing.end().await?;
        progress(Progress { rewrapped: tally.data_keys, part: 1.0 });
        Ok(found)
    }

    fn look_at(&self, row: WrappedRow) -> Result<Found, Error> {
        let ring = &self.keys.ring;
        // Rows may be another program's.
        let Ok(user) = UserId::parse(&row.user) else { return Ok(Found::Left) };
        let sealed = match row.data_key.parse::<Sealed>() {
            Ok(sealed) => sealed,
            Err(EnvelopeError::Malformed) => {
                let is_ours = ring.ids().iter().any(|id| row.data_key.starts_with(&id.sealed_prefix()));
                return Ok(if is_ours { Found::Damaged(row) } else { Found::Left });
            }
            Err(_) => return Ok(Found::Left),
        };
        match ring.reseal(&*self.keys.random, &Purpose::DataKey { user: &user }, &sealed) {
            Ok(anew) => {
                let rewrapped = Rewrapped { id: row.id, before: row.data_key, after: anew.to_string() };
                Ok(Found::Rewrapped(sealed.key_id(), rewrapped))
            }
            Err(EnvelopeError::NoRandomness(error)) => Err(error.into()),
            Err(EnvelopeError::UnknownKey(_)) => Ok(Found::Left),
            Err(_) => Ok(Found::Damaged(row)),
        }
    }

    /// As when its user saves a key. Else nobody could do that any more once the master key is gone.
    async fn put_aside(&self, row: &WrappedRow) -> Result<bool, Error> {
        let Ok(user) = UserId::parse(&row.user) else { return Ok(false) };
        let (_, wrapped) = DataKey::generate(&self.keys.ring, &*self.keys.random, &user)?;
        let is_new = master_keys::put_aside(&self.keys.database, row, &wrapped.to_string()).await?;
        if is_new {
            tracing::error!("a user's data key is damaged; it is put aside, and a new one takes its place");
        }
        Ok(is_new)
    }

    /// Removes the check values of master keys that are no longer given and wrap nothing. How much is left that is not
    /// wrapped by the primary key.
    async fn forget_unused(&self) -> Result<u64, Error> {
        let status = self.status().await?;
        let unused: BTreeSet<String> = status
            .keys
            .iter()
            .filter(|key| key.role == Role::NotGiven && key.may_be_dropped())
            .map(|key| root_secrets::master_key_check(key.id))
            .collect();
        for secret in root_secrets::every(&self.keys.database).await? {
            if unused.contains(&secret.name) {
                root_secrets::remove(&self.keys.database, &secret).await?;
            }
        }
        let left = status.keys.iter().filter(|key| key.role != Role::Primary);
        Ok(left.map(|key| key.data_keys + key.root_secrets).sum::<u64>() + status.unreadable_data_keys)
    }
}

/// A batch that is being written.
struct Writing(Option<tokio::task::JoinHandle<Result<u64, StorageError>>>);

impl Writing {
    /// How many rows it changed.
    async fn end(&mut self) -> Result<u64, Error> {
        let Some(writing) = self.0.take() else { return Ok(0) };
        match writing.await? {
            Ok(changed) => Ok(changed),
            // Another rotation met this one. What it did not do is found at the next look.
            Err(StorageError::Conflict) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn part(id: i64, last: i64) -> f64 {
    (id as f64 / last.max(1) as f64).clamp(0.0, 1.0)
}

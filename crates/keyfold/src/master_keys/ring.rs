//! The master keys of a start: where each comes from, and that all fit the database.

use std::sync::Arc;

use crate::clock::Random;
use crate::envelope::{EnvelopeError, KeyId, MasterKey, MasterKeyRing, Sealed};
use crate::error::Error;
use crate::settings::{KmsKey, MasterKeySetting, Settings};
use crate::state_dir::StateDir;
use crate::storage::{Connection, Database, master_keys, plain_keys, root_secrets};

/// The master keys, verified against the database: each that ever sealed something there left a check value.
pub(crate) async fn open_ring(
    settings: &Settings,
    database: &Database,
    random: &dyn Random,
) -> Result<MasterKeyRing, Error> {
    let checks = root_secrets::master_key_checks(database).await?;
    let mut given = given_keys(settings, random, !checks.is_empty())?;
    let kept_by: Vec<&KmsKey> = std::iter::once(&settings.master_key)
        .chain(&settings.other_master_keys)
        .filter_map(|setting| match setting {
            MasterKeySetting::Kms(key) => Some(key),
            _ => None,
        })
        .collect();
    // A root key that the database has lost is not replaced by a new one that opens nothing.
    let may_make = checks.is_empty() || given.iter().flatten().any(|key| proves(key, &checks));
    let mut kept = vec![];
    for key in kept_by {
        // AWS's library keeps much on the stack.
        kept.push(Arc::new(Box::pin(kept_key(key, database, random, may_make)).await?));
    }
    let mut kept = kept.into_iter();
    // In their places.
    let mut keys = given.drain(..).map(|key| key.or_else(|| kept.next()));
    let primary = keys.next().flatten().ok_or_else(|| Error::Internal("there is no master key".into()))?;
    let mut ring = MasterKeyRing::new(primary, keys.flatten().collect());
    while let Some(missing) = missing_key(&ring, database, &checks).await? {
        // Local mode: something was still wrapped by a key while a rotation replaced it.
        match replaced_key(settings, missing)? {
            Some(key) => ring = ring.with_other(Arc::new(key)),
            None => return Err(not_given(missing, &ring)),
        }
    }
    let name = root_secrets::master_key_check(ring.primary_id());
    if root_secrets::find(database, &name).await?.is_none() {
        // Of replicas that start at once with different master keys, the first one decides.
        let transaction = database.begin().await?;
        root_secrets::take_turn(&transaction).await?;
        let checks = root_secrets::master_key_checks(&transaction).await?;
        verify(&ring, &transaction, &checks).await?;
        if checks.is_empty() && plain_keys::is_pending(&transaction).await? {
            let mark = ring.new_root_secret(random, plain_keys::MARK)?;
            plain_keys::seal_mark(&transaction, &mark.to_string()).await?;
        }
        let made = ring.check_value(random)?.to_string();
        root_secrets::insert_or_find(&transaction, &name, &made).await?;
        transaction.commit().await?;
    }
    Ok(ring)
}

/// The keys in the order of the settings, the sealing one first; `None` where a key service keeps one.
fn given_keys(
    settings: &Settings,
    random: &dyn Random,
    needed: bool,
) -> Result<Vec<Option<Arc<MasterKey>>>, Error> {
    let mut keys = match &settings.master_key {
        MasterKeySetting::Given(key) => vec![Some(Arc::clone(key))],
        MasterKeySetting::Kms(_) => vec![None],
        MasterKeySetting::StateDirectory => {
            let state_dir = StateDir::prepare(&settings.state_dir)?;
            // A rotation was interrupted, or is under way: a part may be wrapped by the next one. It is looked for
            // first, because it may take its place in between.
            let next = state_dir.next_master_key()?;
            let present = state_dir.master_key(random, needed)?;
            std::iter::once(present).chain(next).map(|key| Some(Arc::new(key))).collect()
        }
        MasterKeySetting::NewInStateDirectory => {
            let state_dir = StateDir::prepare(&settings.state_dir)?;
            let present = state_dir.master_key(random, needed)?;
            let next = state_dir.make_next_master_key(random)?;
            vec![Some(Arc::new(next)), Some(Arc::new(present))]
        }
    };
    keys.extend(settings.other_master_keys.iter().map(|setting| match setting {
        MasterKeySetting::Given(key) => Some(Arc::clone(key)),
        _ => None,
    }));
    Ok(keys)
}

#[cfg(feature = "kms")]
async fn kept_key(
    key: &KmsKey,
    database: &Database,
    random: &dyn Random,
    may_make: bool,
) -> Result<MasterKey, Error> {
    super::kms::root_key(key, database, random, may_make).await
}

#[cfg(not(feature = "kms"))]
#[expect(clippy::unused_async, reason = "the other one asks a service")]
async fn kept_key(key: &KmsKey, _: &Database, _: &dyn Random, _: bool) -> Result<MasterKey, Error> {
    Err(Error::MasterKey(format!(
        "This build of Keyfold cannot use AWS KMS, which keeps the master key {key}."
    )))
}

fn proves(key: &Arc<MasterKey>, checks: &[String]) -> bool {
    let ring = MasterKeyRing::new(Arc::clone(key), vec![]);
    checks.iter().filter_map(|check| check.parse().ok()).any(|check: Sealed| ring.verify(&check).is_ok())
}

fn replaced_key(settings: &Settings, id: KeyId) -> Result<Option<MasterKey>, Error> {
    match settings.master_key {
        MasterKeySetting::StateDirectory | MasterKeySetting::NewInStateDirectory => {
            StateDir::prepare(&settings.state_dir)?.replaced_master_key(id)
        }
        MasterKeySetting::Given(_) | MasterKeySetting::Kms(_) => Ok(None),
    }
}

/// Refuses a ring that lacks a master key that the database needs.
pub(crate) async fn verify(
    ring: &MasterKeyRing,
    connection: &impl Connection,
    checks: &[String],
) -> Result<(), Error> {
    missing_key(ring, connection, checks).await?.map_or(Ok(()), |missing| Err(not_given(missing, ring)))
}

/// A master key that the database needs and the ring lacks. One that is not given is missed if none of the given ones
/// was ever used here, or if something is still wrapped by it.
async fn missing_key(
    ring: &MasterKeyRing,
    connection: &impl Connection,
    checks: &[String],
) -> Result<Option<KeyId>, Error> {
    let (mut verified, mut unknown) = (false, vec![]);
    for check in checks {
        let check: Sealed = check.parse().map_err(|_| damaged_check())?;
        match ring.verify(&check) {
            Ok(()) => verified = true,
            Err(EnvelopeError::UnknownKey(id)) => unknown.push(id),
            Err(_) => return Err(damaged_check()),
        }
    }
    if unknown.is_empty() {
        return Ok(None);
    }
    if !verified {
        return Ok(unknown.first().copied());
    }
    let wraps = |id: KeyId, sealed: &str| sealed.starts_with(&id.sealed_prefix());
    for secret in root_secrets::every(connection).await? {
        if secret.kind() == root_secrets::Kind::Sealed
            && let Some(id) = unknown.iter().find(|id| wraps(**id, &secret.value))
        {
            return Ok(Some(*id));
        }
    }
    for span in master_keys::spans(connection).await? {
        for alike in master_keys::count(connection, span).await? {
            if let Some(id) = unknown.iter().find(|id| wraps(**id, &alike.prefix)) {
                return Ok(Some(*id));
            }
        }
    }
    Ok(None)
}

/// Users at each end of the table whose data keys are looked at to tell whether a ring still fits.
const LOOKED_AT: i64 = 100;

/// Whether the database still has what the ring was verified with, and is not sealed by a master key that came later
/// and is not given. Looks at a few users only, so it can be asked every second.
pub(crate) async fn still_fits(ring: &MasterKeyRing, database: &Database) -> Result<(), Error> {
    let checks = root_secrets::master_key_checks(database).await.map_err(Error::DatabaseUnavailable)?;
    let checks: Vec<Sealed> = checks.iter().filter_map(|check| check.parse().ok()).collect();
    if !checks.iter().any(|check| check.key_id() == ring.primary_id() && ring.verify(check).is_ok()) {
        // It was there at the start.
        return Err(Error::MasterKey(
            "The database no longer has the check value of Keyfold's master key. Was another one restored or put in its place?".into(),
        ));
    }
    let given = ring.ids();
    let unknown: Vec<KeyId> = checks.iter().map(Sealed::key_id).filter(|id| !given.contains(id)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let prefixes =
        master_keys::prefixes_at_both_ends(database, LOOKED_AT).await.map_err(Error::DatabaseUnavailable)?;
    match unknown.into_iter().find(|id| prefixes.contains(&id.sealed_prefix())) {
        None => Ok(()),
        Some(id) => Err(Error::MasterKey(format!(
            "Users' keys in this database are sealed with the master key {id}, which this Keyfold was not given. Nothing is lost: add it to KEYFOLD_OTHER_MASTER_KEYS, and restart."
        ))),
    }
}

fn not_given(missing: KeyId, ring: &MasterKeyRing) -> Error {
    let given = ring.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Error::MasterKey(format!(
        "This database was encrypted with the master key {missing}, and the given one is {given}. Give the right one as KEYFOLD_MASTER_KEY, or add it to KEYFOLD_OTHER_MASTER_KEYS."
    ))
}

fn damaged_check() -> Error {
    Error::MasterKey(
        "The database's master key check value is damaged. Restore the database from a backup.".into(),
    )
}

//! What each master key still wraps.

use std::collections::BTreeMap;

use super::MasterKeys;
use crate::envelope::{KeyId, Sealed};
use crate::error::Error;
use crate::storage::{master_keys, root_secrets};

/// What a master key is to this Keyfold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `KEYFOLD_MASTER_KEY`: what is new is wrapped by it.
    Primary,
    /// One of `KEYFOLD_OTHER_MASTER_KEYS`: it opens.
    Other,
    /// Not given. It was used in this database.
    NotGiven,
}

/// A master key, and what it wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStanding {
    /// Which one.
    pub id: KeyId,
    /// What it is here.
    pub role: Role,
    /// The key service that keeps it, if one does.
    pub keeper: Option<String>,
    /// Users' data keys that it wraps.
    pub data_keys: u64,
    /// Secrets of the whole database that it wraps, such as the audit's key.
    pub root_secrets: u64,
    /// Damaged data keys of users that were put aside.
    pub put_aside: u64,
    /// Whether the database can prove it.
    pub has_check: bool,
}

impl KeyStanding {
    /// Whether Keyfold starts without it.
    pub fn may_be_dropped(&self) -> bool {
        self.role != Role::Primary && self.data_keys == 0 && self.root_secrets == 0
    }
}

/// What is wrapped by which master key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MasterKeyStatus {
    /// All master keys: the given ones first, in the order of the settings.
    pub keys: Vec<KeyStanding>,
    /// Data keys in a form that names no master key: damaged, or a later Keyfold's.
    pub unreadable_data_keys: u64,
}

impl MasterKeys {
    /// Counts what each master key wraps.
    pub async fn status(&self) -> Result<MasterKeyStatus, Error> {
        let (database, ring) = (&self.keys.database, &self.keys.ring);
        let mut counts = Counts::default();
        for (place, key) in ring.all().enumerate() {
            let role = if place == 0 { Role::Primary } else { Role::Other };
            // One that is given twice is the same key.
            counts.0.entry(key.id()).or_insert_with(|| Count {
                place,
                role,
                keeper: key.keeper().map(str::to_owned),
                ..Count::default()
            });
        }
        for secret in root_secrets::every(database).await? {
            let Ok(sealed) = secret.value.parse::<Sealed>() else { continue };
            let count = counts.of(sealed.key_id());
            match secret.kind() {
                root_secrets::Kind::Check => count.has_check = true,
                root_secrets::Kind::PutAside => count.put_aside += 1,
                root_secrets::Kind::Sealed => count.root_secrets += 1,
                root_secrets::Kind::MasterKey | root_secrets::Kind::DatabaseId => {}
            }
        }
        let mut unreadable = 0;
        for span in master_keys::spans(database).await? {
            for alike in master_keys::count(database, span).await? {
                let number = u64::try_from(alike.count).unwrap_or(0);
                let known = counts.0.iter_mut().find(|(id, _)| alike.prefix == id.sealed_prefix());
                match (known, alike.sample.parse::<Sealed>()) {
                    (Some((_, count)), _) => count.data_keys += number,
                    (None, Ok(sealed)) => counts.of(sealed.key_id()).data_keys += number,
                    (None, Err(_)) => unreadable += number,
                }
            }
        }
        Ok(MasterKeyStatus { keys: counts.into_standings(), unreadable_data_keys: unreadable })
    }
}

#[derive(Default)]
struct Counts(BTreeMap<KeyId, Count>);

struct Count {
    place: usize,
    role: Role,
    keeper: Option<String>,
    data_keys: u64,
    root_secrets: u64,
    put_aside: u64,
    has_check: bool,
}

impl Default for Count {
    /// Of a key that is not given: behind those that are.
    fn default() -> Self {
        Self {
            place: usize::MAX,
            role: Role::NotGiven,
            keeper: None,
            data_keys: 0,
            root_secrets: 0,
            put_aside: 0,
            has_check: false,
        }
    }
}

impl Counts {
    fn of(&mut self, id: KeyId) -> &mut Count {
        self.0.entry(id).or_default()
    }

    fn into_standings(self) -> Vec<KeyStanding> {
        let mut counts: Vec<_> = self.0.into_iter().collect();
        // Those of the same place stay in the order of their ids.
        counts.sort_by_key(|(_, count)| count.place);
        let standing = |(id, count): (KeyId, Count)| KeyStanding {
            id,
            role: count.role,
            keeper: count.keeper,
            data_keys: count.data_keys,
            root_secrets: count.root_secrets,
            put_aside: count.put_aside,
            has_check: count.has_check,
        };
        counts.into_iter().map(standing).collect()
    }
}

//! What was last read of each user's rows, still sealed, so that most calls cost no question to the database.
//!
//! An entry counts only while its [`Stamp`] does, that is, while it is known that nothing of the user changed
//! since it was read. Keyed by the whole user id; bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Stored;
use crate::recent::RecentMap;
use crate::storage::changes::{Changes, Stamp};
use crate::user::UserId;

/// Some 100 MB when full, with two keys each.
const MOST_USERS: usize = 100_000;
/// A floor under all else: nothing is used longer than this without asking again.
const LONGEST: Duration = Duration::from_secs(60);

/// The users whose rows were read lately.
pub(super) struct UserCache {
    entries: RecentMap<UserId, Arc<Entry>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Entry {
    stamp: Stamp,
    read_at: Instant,
    stored: Arc<Stored>,
}

/// How the cache stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheState {
    /// Users that are remembered.
    pub entries: usize,
    /// Look-ups that it answered.
    pub hits: u64,
    /// Look-ups that went to the database.
    pub misses: u64,
    /// Whether changes of other replicas are heard; if not, every look-up goes to the database.
    pub listening: bool,
}

impl UserCache {
    pub(super) fn new() -> Self {
        Self { entries: RecentMap::new(MOST_USERS), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The user's rows, if they still stand in the database as they were read.
    pub(super) fn get(&self, changes: &Changes, user: &UserId) -> Option<Arc<Stored>> {
        let found = self.entries.get(user, |entry| {
            (changes.is_current(entry.stamp) && entry.read_at.elapsed() < LONGEST)
                .then(|| Arc::clone(&entry.stored))
        });
        let stored = found.flatten();
        if stored.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        stored
    }

    /// Remembers what was read after `stamp` was taken.
    pub(super) fn put(&self, user: UserId, stamp: Stamp, stored: Arc<Stored>) {
        self.entries.insert(user, Arc::new(Entry { stamp, read_at: Instant::now(), stored }));
    }

    pub(super) fn state(&self, changes: &Changes) -> CacheState {
        CacheState {
            entries: self.entries.len(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            listening: changes.is_listening(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[test]
    fn what_was_read_before_a_change_never_counts_after_it() {
        let (cache, changes) = (UserCache::new(), Changes::new());
        let (ann, bob) = (user("ann"), user("bob"));
        changes.trust_since(Instant::now() + Duration::from_secs(3600));
        for user in [&ann, &bob] {
            cache.put(user.clone(), changes.stamp(user), Arc::default());
            assert!(cache.get(&changes, user).is_some());
        }
        // A look-up begins, the user's keys change, and then the look-up's answer arrives.
        let begun = changes.stamp(&ann);
        changes.announce("ann");
        assert!(cache.get(&changes, &ann).is_none());
        cache.put(ann.clone(), begun, Arc::default());
        assert!(cache.get(&changes, &ann).is_none());
        cache.put(ann.clone(), changes.stamp(&ann), Arc::default());
        assert!(cache.get(&changes, &ann).is_some());
        let state = cache.state(&changes);
        assert_eq!((state.entries, state.hits, state.misses, state.listening), (2, 3, 2, true));
    }

    #[test]
    fn nothing_counts_without_a_sign_of_life() {
        let (cache, changes) = (UserCache::new(), Changes::new());
        let ann = user("ann");
        cache.put(ann.clone(), changes.stamp(&ann), Arc::default());
        assert!(cache.get(&changes, &ann).is_none());
        changes.trust_since(Instant::now() + Duration::from_secs(3600));
        assert!(cache.get(&changes, &ann).is_some());
        changes.distrust();
        assert!(cache.get(&changes, &ann).is_none());
        changes.trust_since(Instant::now() + Duration::from_secs(3600));
        assert!(cache.get(&changes, &ann).is_none(), "a change may have gone unheard");
    }
}

//! A concurrent map that forgets what is old: bounded, and no look-up waits for another.

use std::hash::{Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use papaya::HashMap;

/// The entries used or made last.
///
/// Two halves: when the younger one is full, the older one is emptied and becomes the younger. What is found in the
/// older one moves to the younger. So the number is bounded, and forgetting costs one sweep per many insertions
/// instead of an order that every look-up keeps.
pub(crate) struct RecentMap<K, V> {
    halves: [HashMap<K, V, RandomState>; 2],
    young: AtomicUsize,
    most_per_half: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> RecentMap<K, V> {
    /// A map of at most `most` entries, and a few more while threads insert at once.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            halves: [HashMap::with_hasher(RandomState::new()), HashMap::with_hasher(RandomState::new())],
            young: AtomicUsize::new(0),
            most_per_half: (most / 2).max(1),
        }
    }

    /// What `look` makes of the entry, if there is one.
    pub(crate) fn get<R>(&self, key: &K, look: impl Fn(&V) -> R) -> Option<R> {
        let young = self.young.load(Ordering::Acquire);
        if let Some(found) = self.halves[young].pin().get(key) {
            return Some(look(found));
        }
        let older = self.halves[1 - young].pin();
        let found = older.get(key)?;
        self.insert(key.clone(), found.clone());
        Some(look(found))
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let young = self.young.load(Ordering::Acquire);
        if self.halves[young].len() >= self.most_per_half {
            let old = 1 - young;
            // Emptied before it is the young one, so that whoever comes next finds room there. When two turn the
            // halves at once, a few new entries may go too: they are made again.
            self.halves[old].pin().clear();
            let _ = self.young.compare_exchange(young, old, Ordering::AcqRel, Ordering::Relaxed);
        }
        self.halves[self.young.load(Ordering::Acquire)].pin().insert(key, value);
    }

    pub(crate) fn remove(&self, key: &K) {
        for half in &self.halves {
            half.pin().remove(key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.halves.iter().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_bounded_and_what_is_used_stays() {
        let map = RecentMap::new(100);
        map.insert(0, 0);
        for number in 1..10_000 {
            map.insert(number, number * 2);
            assert_eq!(map.get(&number, |value| *value), Some(number * 2));
            assert_eq!(map.get(&0, |value| *value), Some(0), "used all the time, forgotten at {number}");
            assert!(map.len() <= 101, "{} entries", map.len());
        }
        assert_eq!(map.get(&1, |value| *value), None);
    }

    #[test]
    fn threads_at_once_find_their_own() {
        let map = RecentMap::new(64);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let map = &map;
                scope.spawn(move || {
                    for number in 0..20_000_u32 {
                        let key = (thread, number % 50);
                        if let Some(found) = map.get(&key, |value| *value) {
                            assert_eq!(found, key);
                        }
                        map.insert(key, key);
                    }
                });
            }
        });
    }
}

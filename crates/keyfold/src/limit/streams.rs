//! How many streams each user has open, in this process.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use crate::user::UserId;

/// Places for open streams.
pub(super) struct Streams {
    most: NonZeroU32,
    open: Arc<Mutex<HashMap<UserId, u32>>>,
}

/// A place for one stream; free again when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct StreamPlace {
    user: UserId,
    open: Arc<Mutex<HashMap<UserId, u32>>>,
}

impl Streams {
    pub(super) fn new(most: NonZeroU32) -> Self {
        Self { most, open: Arc::default() }
    }

    pub(super) fn most(&self) -> u32 {
        self.most.get()
    }

    /// A place, and how many of this user are taken with it; `None` while all are.
    pub(super) fn take(&self, user: &UserId) -> Option<(StreamPlace, u32)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user.clone()).or_default();
        if *count >= self.most.get() {
            return None;
        }
        *count += 1;
        Some((StreamPlace { user: user.clone(), open: Arc::clone(&self.open) }, *count))
    }

    /// Of all users.
    pub(super) fn open(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).sum()
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_is_gone() {
        let streams = Streams::new(NonZeroU32::new(2).unwrap());
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let first = streams.take(&ann).unwrap();
        let second = streams.take(&ann).unwrap();
        assert!(streams.take(&ann).is_none());
        let others = streams.take(&bob).unwrap();
        assert_eq!(streams.open(), 3);
        drop(first);
        let third = streams.take(&ann).unwrap();
        assert!(streams.take(&ann).is_none());
        drop((second, third, others));
        assert_eq!(streams.open(), 0);
        assert!(streams.open.lock().unwrap().is_empty(), "who has no stream takes no room");
    }
}

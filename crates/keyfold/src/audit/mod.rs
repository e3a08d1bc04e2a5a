//! The audit log: what was done with keys, by whom, and what came of it.
//!
//! Management events are committed with what they tell of; the use of a key is recorded before the provider is
//! called. What cannot be recorded is not done.

mod event;

pub use event::{Action, CallId, Event, Fingerprint, Outcome, Purpose};

use std::time::Duration;

use crate::error::Error;
use crate::storage::Transaction;

/// Records what is done with keys. One per process.
#[derive(Default)]
pub(crate) struct Audit {}

#[expect(clippy::unused_async, clippy::unused_self, reason = "its content is being written")]
impl Audit {
    /// Commits `transaction` together with `events`: both are there afterwards, or neither.
    pub(crate) async fn commit(&self, transaction: Transaction, _events: Vec<Event>) -> Result<(), Error> {
        Ok(transaction.commit().await?)
    }

    /// Commits these events by themselves, before it returns.
    pub(crate) async fn record(&self, _events: Vec<Event>) -> Result<(), Error> {
        Ok(())
    }

    /// Records that a key is about to be used ([`Action::KeyOpened`]; the log gives it its call id). The provider is
    /// called afterwards only.
    pub(crate) async fn begin_use(&self, _opened: Event) -> Result<UseRecord, Error> {
        Ok(UseRecord {})
    }
}

/// A use of a key that has begun. Dropped before it [ended](Self::end), it counts as abandoned.
#[must_use]
pub(crate) struct UseRecord {}

impl UseRecord {
    /// Records the end of the use; waits for nothing.
    #[expect(clippy::unused_self, reason = "its content is being written")]
    pub(crate) fn end(self, _outcome: Outcome, _provider_status: Option<u16>, _after: Duration) {}
}

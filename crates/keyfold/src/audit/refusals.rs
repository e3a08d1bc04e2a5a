//! Refusals that repeat are recorded once a minute: who is refused fills no disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::event::{Event, Outcome};
use crate::provider::ProviderId;
use crate::user::UserId;

/// Of different users and reasons; when there are more, all are forgotten.
const MOST: usize = 10_000;

/// What was refused lately.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Refusal, i64>>);

type Refusal = (Option<UserId>, Option<ProviderId>, Outcome);

impl Refusals {
    /// Whether this one is to be recorded.
    pub(super) fn is_new(&self, event: &Event, now: Timestamp) -> bool {
        let minute = now.as_second().div_euclid(60);
        let refusal = (event.user.clone(), event.provider.clone(), event.outcome);
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= MOST {
            lately.clear();
        }
        lately.insert(refusal, minute) != Some(minute)
    }
}

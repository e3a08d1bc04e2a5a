//! Refusals that repeat are recorded once a minute: who is refused fills no disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::event::{Action, Event, Outcome, Purpose};
use crate::provider::ProviderId;
use crate::requester::Actor;
use crate::user::UserId;

/// Of different users, askers and reasons; when there are more, all are forgotten.
const MOST: usize = 10_000;

/// What was refused lately.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Refusal, i64>>);

/// Two refusals that differ in any of these tell different things.
#[derive(PartialEq, Eq, Hash)]
struct Refusal {
    user: Option<UserId>,
    provider: Option<ProviderId>,
    actor: Actor,
    action: Action,
    purpose: Option<Purpose>,
    outcome: Outcome,
}

impl Refusals {
    /// Whether this one is to be recorded.
    pub(super) fn is_new(&self, event: &Event, now: Timestamp) -> bool {
        let minute = now.as_second().div_euclid(60);
        let refusal = Refusal {
            user: event.user.clone(),
            provider: event.provider.clone(),
            actor: event.requester.actor.clone(),
            action: event.action,
            purpose: event.purpose,
            outcome: event.outcome,
        };
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= MOST {
            lately.clear();
        }
        lately.insert(refusal, minute) != Some(minute)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::requester::Requester;

    fn event(actor: Actor) -> Event {
        let ann = UserId::parse("ann").unwrap();
        Event::new(Action::KeyRefused, Outcome::NoKey, &Requester::new(actor)).of_user(&ann)
    }

    #[test]
    fn one_askers_refusal_hides_nobody_elses_and_no_other_kind() {
        let (refusals, now) = (Refusals::default(), Timestamp::UNIX_EPOCH);
        let service = |name: &str| event(Actor::Service(Arc::from(name)));
        let mut deletion = event(Actor::User);
        deletion.action = Action::KeyDeleted;
        let mut gateway = event(Actor::User);
        gateway.purpose = Some(Purpose::Gateway);
        let mut research = event(Actor::User);
        research.purpose = Some(Purpose::Research);
        let all = [event(Actor::User), service("one"), service("two"), deletion, gateway, research];
        for event in &all {
            assert!(refusals.is_new(event, now), "{event:?}");
        }
        for event in &all {
            assert!(!refusals.is_new(event, now), "{event:?}");
        }
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let (refusals, now) = (Refusals::default(), Timestamp::UNIX_EPOCH);
        for number in 0..=MOST + 5 {
            assert!(refusals.is_new(&event(Actor::Service(number.to_string().into())), now));
        }
        assert!(refusals.0.lock().unwrap().len() <= MOST);
    }
}

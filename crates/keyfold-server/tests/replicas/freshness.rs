//! A key that was replaced or deleted on one replica is not used by another one a second later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::{Calls, Used};
use crate::stage::{REPLICAS, Stage};

/// The promise. It is counted from when the change was answered to when a call is begun, so that a slow machine does
/// not break it.
const STALE_FOR: Duration = Duration::from_secs(1);
/// How many calls of each replica are looked at, before the change and when its second is over.
const CALLS: usize = 12;
const USER: &str = "user_a";
/// The replica where keys are changed; its way to the database stays whole.
const HERE: usize = 0;

/// What happens to the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The server ends every connection on which they listen, as soon as there is one.
    ListenersEnd,
    /// On the connections on which they listen nothing arrives, and nobody is told.
    ListenersHalfOpen,
    /// The same on all connections.
    AllHalfOpen,
}

struct Play {
    stage: Stage,
    fault: Fault,
}

impl Play {
    fn of(fault: Fault) -> Self {
        Self { stage: Stage::set(), fault }
    }

    /// Makes a change while everybody calls, and says what calls used that were begun a second after it or later.
    fn change(&self, old: &str, change: impl FnOnce()) -> Vec<(usize, Used)> {
        let (stage, calls, is_over) = (&self.stage, Calls::default(), AtomicBool::new(false));
        let wanted = if self.fault == Fault::AllHalfOpen { 3 } else { CALLS };
        // Prompts are counted from the beginning.
        stage.production.folder.standin.clear();
        thread::scope(|scope| {
            let callers = calls.begin(scope, stage, USER);
            let begun = Instant::now();
            stage.wait_for_listeners();
            calls.wait_for(CALLS, begun);
            scope.spawn(|| {
                while self.fault == Fault::ListenersEnd && !is_over.load(Ordering::SeqCst) {
                    stage.end_listeners();
                }
            });
            for way in stage.ways.iter().enumerate().filter(|(replica, _)| *replica != HERE) {
                match self.fault {
                    Fault::ListenersHalfOpen => way.1.cut_listeners(),
                    Fault::AllHalfOpen => way.1.cut(),
                    Fault::None | Fault::ListenersEnd => {}
                }
            }
            let before = Instant::now();
            change();
            let over = Instant::now() + STALE_FOR;
            calls.wait_for(wanted, over);
            calls.end();
            is_over.store(true, Ordering::SeqCst);
            for caller in callers {
                caller.join().unwrap();
            }
            for way in &stage.ways {
                way.mend();
            }

            let used_before = calls.used(stage, begun, Some(before));
            for replica in 0..REPLICAS {
                let old = (replica, Used::Key(old.to_owned()));
                assert!(used_before.contains(&old), "replica {replica} did not use the old key before");
            }
            calls.used(stage, over, None)
        })
    }

    /// A key is replaced, then deleted; `may_be` says what else a replica may answer.
    #[track_caller]
    fn holds(&self, may_be: impl Fn(usize, &Used) -> bool) {
        let stage = &self.stage;
        let first = stage.save(HERE, USER, 1);
        let mut second = String::new();
        let used = self.change(&first, || second = stage.save(HERE, USER, 2));
        let allowed =
            |expected: &Used, (replica, used): &(usize, Used)| used == expected || may_be(*replica, used);
        let new = Used::Key(second.clone());
        for call in &used {
            assert!(allowed(&new, call), "a second after the replacement, replica {}: {:?}", call.0, call.1);
        }
        assert!(used.contains(&(HERE, new)));

        self.all_use(&second);
        let used = self.change(&second, || stage.remove(HERE, USER));
        let none = Used::None("404 no_api_key".into());
        for call in &used {
            assert!(allowed(&none, call), "a second after the removal, replica {}: {:?}", call.0, call.1);
        }
        assert!(used.contains(&(HERE, none)));
    }

    /// Waits until every replica works again, with this key.
    fn all_use(&self, key: &str) {
        for replica in 0..REPLICAS {
            let is_so = || {
                let prompt = format!("again on {replica}, {:?}", Instant::now());
                self.stage.generate(replica, USER, &prompt).status == 200
                    && self.stage.seen().contains(&(prompt, key.to_owned()))
            };
            while !is_so() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn nothing_else(_: usize, _: &Used) -> bool {
    false
}

#[test]
fn what_one_replica_replaces_or_deletes_no_other_uses_a_second_later() {
    Play::of(Fault::None).holds(nothing_else);
}

#[test]
fn nor_while_the_connections_on_which_they_listen_are_ended_again_and_again() {
    Play::of(Fault::ListenersEnd).holds(nothing_else);
}

#[test]
fn nor_while_the_connections_on_which_they_listen_are_half_open() {
    Play::of(Fault::ListenersHalfOpen).holds(nothing_else);
}

/// Who cannot ask the database uses no key at all.
#[test]
fn nor_while_all_their_connections_to_the_database_are_half_open() {
    Play::of(Fault::AllHalfOpen)
        .holds(|replica, used| replica != HERE && *used == Used::None("503 database_unavailable".into()));
}

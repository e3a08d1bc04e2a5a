//! Someone who calls all replicas without a pause, before, during and after a change.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::stage::{REPLICAS, Stage};

/// At once, on each replica.
const CALLERS: usize = 3;

struct Call {
    replica: usize,
    begun: Instant,
    prompt: String,
    status: u16,
    code: String,
}

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Used {
    Key(String),
    /// This problem.
    None(String),
}

#[derive(Default)]
pub(crate) struct Calls {
    made: Mutex<Vec<Call>>,
    number: AtomicUsize,
    is_over: AtomicBool,
}

impl Calls {
    pub(crate) fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
        user: &'scope str,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let replicas = (0..REPLICAS).flat_map(|replica| [replica; CALLERS]);
        replicas.map(|replica| scope.spawn(move || self.call(stage, replica, user))).collect()
    }

    fn call(&self, stage: &Stage, replica: usize, user: &str) {
        while !self.is_over.load(Ordering::SeqCst) {
            let prompt = format!("{user}, call {}", self.number.fetch_add(1, Ordering::SeqCst));
            let begun = Instant::now();
            let answer = stage.generate(replica, user, &prompt);
            let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
            self.made.lock().unwrap().push(Call { replica, begun, prompt, status: answer.status, code });
        }
    }

    /// Waits until every replica has answered so many calls that were begun after this moment.
    pub(crate) fn wait_for(&self, calls: usize, after: Instant) {
        let answered = |replica| {
            let made = self.made.lock().unwrap();
            made.iter().filter(|call| call.replica == replica && call.begun > after).count()
        };
        while (0..REPLICAS).any(|replica| answered(replica) < calls) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// What each replica's calls that were begun in this time used; the provider's word counts.
    pub(crate) fn used(&self, stage: &Stage, from: Instant, to: Option<Instant>) -> Vec<(usize, Used)> {
        let seen: HashMap<String, String> = stage.seen().into_iter().collect();
        let made = self.made.lock().unwrap();
        let in_time = made.iter().filter(|call| call.begun > from && to.is_none_or(|to| call.begun < to));
        let used = |call: &Call| match seen.get(&call.prompt) {
            Some(key) => Used::Key(key.clone()),
            None => Used::None(format!("{} {}", call.status, call.code)),
        };
        in_time.map(|call| (call.replica, used(call))).collect()
    }
}

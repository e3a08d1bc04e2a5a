//! Someone who changes one key over and over, and knows what was acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyfold_standin::example_key;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};
use crate::random::Random;

/// A key as it stands, by the numbers of the example keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) current: Option<u32>,
    pub(crate) previous: Option<u32>,
    /// 0: there is no key.
    pub(crate) version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Save(u32),
    RollBack,
    Remove,
}

/// One key's owner.
pub(crate) struct Client {
    pub(crate) provider: &'static str,
    random: Random,
    /// Whether the key is removed now and then.
    removes: bool,
    next: u32,
    /// What was acknowledged, or seen after a kill.
    pub(crate) state: State,
    /// What was asked for and not answered.
    pub(crate) under_way: Option<Change>,
    /// How many changes were made since the first one.
    pub(crate) changes: usize,
}

/// How far the clients of a server are.
pub(crate) struct Progress {
    acknowledged: AtomicU64,
    /// How long the last change took.
    lasted: Mutex<Duration>,
}

impl State {
    fn after(self, change: Change) -> Self {
        match change {
            Change::Save(n) => Self { current: Some(n), previous: self.current, version: self.version + 1 },
            Change::RollBack => {
                Self { current: self.previous, previous: self.current, version: self.version + 1 }
            }
            Change::Remove => Self::default(),
        }
    }

    /// What a list says of this key.
    fn listed(self, provider: &str) -> (Value, Value) {
        match self.current {
            Some(n) => {
                let key = example_key(provider, n);
                (json!(format!("****{}", &key[key.len() - 4..])), json!(self.version))
            }
            None => (Value::Null, Value::Null),
        }
    }
}

impl Client {
    pub(crate) fn new(provider: &'static str, number: u32, removes: bool) -> Self {
        Self {
            provider,
            random: Random::of(u64::from(number) + 1),
            removes,
            next: number * 1_000,
            state: State::default(),
            under_way: None,
            changes: 0,
        }
    }

    /// Changes its key until the server is gone.
    pub(crate) fn live(&mut self, progress: &Progress, request: impl Fn(&str, &str) -> RequestBuilder) {
        loop {
            if !self.change(progress, &request) {
                return;
            }
        }
    }

    /// One change; false if there was no answer.
    pub(crate) fn change(
        &mut self,
        progress: &Progress,
        request: &impl Fn(&str, &str) -> RequestBuilder,
    ) -> bool {
        let change = self.choose();
        let path = format!("/api/keys/{}", self.provider);
        let request = match change {
            Change::Save(n) => request("PUT", &path).json(&json!({ "key": example_key(self.provider, n) })),
            Change::RollBack => request("POST", &format!("{path}/rollback")),
            Change::Remove => request("DELETE", &path),
        };
        self.under_way = Some(change);
        let begun = Instant::now();
        let Some(answer) = Answer::to(request) else { return false };
        assert!((200..300).contains(&answer.status), "{change:?} on {:?}: {answer:?}", self.state);
        self.state = self.state.after(change);
        if change != Change::Remove {
            let told = (answer.body["masked"].clone(), answer.body["version"].clone());
            assert_eq!(told, self.state.listed(self.provider), "{change:?}");
        }
        self.under_way = None;
        self.changes += 1;
        *progress.lasted.lock().unwrap() = begun.elapsed();
        progress.acknowledged.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn choose(&mut self) -> Change {
        match self.random.below(6) {
            0 | 1 if self.state.previous.is_some() => Change::RollBack,
            2 if self.removes && self.state.current.is_some() => Change::Remove,
            _ => {
                self.next += 1;
                Change::Save(self.next)
            }
        }
    }

    /// Somebody else went back to the version before.
    pub(crate) fn rolled_back(&mut self) {
        self.state = self.state.after(Change::RollBack);
        self.changes += 1;
    }

    /// Learns from a list whether the change under way was made. It was, or it was not; there is no third.
    #[track_caller]
    pub(crate) fn learn(&mut self, listed: &Value, round: u64) -> Outcome {
        let is_so = |state: State| {
            state.listed(self.provider) == (listed["masked"].clone(), listed["version"].clone())
        };
        let Some(change) = self.under_way.take() else {
            assert!(is_so(self.state), "round {round}: {listed} instead of {:?}", self.state);
            return Outcome::NothingUnderWay;
        };
        let changed = self.state.after(change);
        if is_so(changed) {
            self.state = changed;
            self.changes += 1;
            return Outcome::Made;
        }
        assert!(is_so(self.state), "round {round}: {listed} instead of {:?}, {change:?}", self.state);
        Outcome::NotMade
    }
}

/// What became of a change during which the server was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    NothingUnderWay,
    Made,
    NotMade,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { acknowledged: AtomicU64::default(), lasted: Mutex::new(Duration::from_millis(20)) }
    }

    /// Waits for a random point in the middle of some change, perhaps of the first one.
    pub(crate) fn wait_for_a_point(&self, random: &mut Random, server: &Server) {
        let wanted = random.below(7);
        while self.acknowledged.load(Ordering::SeqCst) < wanted {
            assert!(!server.log().contains("panicked"), "{}", server.log());
            thread::yield_now();
        }
        let lasted = *self.lasted.lock().unwrap();
        random.pass_part_of(lasted * 3 / 2);
    }
}

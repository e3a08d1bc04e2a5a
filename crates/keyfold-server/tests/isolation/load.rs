//! Hundreds of users at once on one replica.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use keyfold::clock::{SystemRandom, random_bytes};
use keyfold_standin::{Behaviour, Options, Standin, example_key, fingerprint};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::ledger::{Call, Ledger, Mark, shows_a_key};
use crate::support::Answer;
use crate::support::production::{Production, Setup};

const USERS: u32 = 200;
const ROUNDS: usize = 8;
/// Requests under way at a time, and so connections: far fewer than users.
const CONNECTIONS: usize = 24;
/// Keys of one user and provider, at most.
const KEYS: u32 = 300;
const PROVIDERS: [&str; 3] = ["gemini", "openai", "exa"];

/// What users share.
struct Shared {
    production: Production,
    permits: Semaphore,
    requests: AtomicUsize,
    failed: AtomicUsize,
}

/// A user, and all that is known of their keys.
struct Member {
    number: u32,
    token: String,
    dice: Dice,
    operations: u32,
    slots: [Slot; 3],
    calls: Vec<Expected>,
    checks: Vec<(usize, String)>,
}

/// A user's keys of one provider.
struct Slot {
    /// The key after each change, from none on.
    history: Vec<Option<String>>,
    previous: Option<String>,
    made: u32,
}

/// A call that was made.
struct Expected {
    mark: Mark,
    slot: usize,
    /// Where in the history of its slot it began.
    from: usize,
    /// Where that stood when it ended; nobody knows if the client did not wait, and then it may never have come.
    until: Option<usize>,
}

/// What a user does with a key.
#[derive(Clone, Copy)]
enum Use {
    Whole,
    Streamed,
    /// Leaves after the first event.
    StreamedInPart,
    /// Leaves when it likes.
    LeftAnyTime,
}

/// A use that is ready to be made.
struct Prepared {
    slot: usize,
    how: Use,
    mark: Mark,
    /// What the user may have: one key or none, and during a change one of two.
    keys: Vec<Option<String>>,
    patience: Duration,
}

impl Shared {
    fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.production.request(method, path).bearer_auth(token)
    }

    async fn send(&self, request: RequestBuilder) -> Answer {
        let _permit = self.permits.acquire().await.unwrap();
        let answer = self.production.send(request).await;
        assert!(!shows_a_key(&answer.everything()), "an answer shows a key: {}", answer.body);
        answer
    }

    async fn make(&self, token: &str, prepared: Prepared) {
        let Prepared { slot, how, mark, keys, patience } = prepared;
        let text = format!("What is new? {mark}");
        let request = if PROVIDERS[slot] == "exa" {
            self.request(token, Method::POST, "/api/research")
                .json(&json!({ "query": text, "num_results": 1 }))
        } else {
            let stream = matches!(how, Use::Streamed | Use::StreamedInPart);
            let body = json!({ "provider": PROVIDERS[slot], "prompt": text, "stream": stream });
            self.request(token, Method::POST, "/api/generate").json(&body)
        };
        match how {
            Use::Whole | Use::Streamed => {
                let answer = self.send(request).await;
                judge(&answer, mark, &keys);
                let failed = answer.status.is_server_error() || answer.body.contains("event: error");
                self.failed.fetch_add(usize::from(failed), Ordering::Relaxed);
            }
            Use::StreamedInPart => {
                let _permit = self.permits.acquire().await.unwrap();
                let mut response = request.send().await.unwrap();
                if !response.status().is_success() {
                    judge(&Answer::read(response).await, mark, &keys);
                    return;
                }
                // What is dropped with the rest unread is a connection that its client closed.
                let first = response.chunk().await.ok().flatten().unwrap_or_default();
                assert!(!shows_a_key(&String::from_utf8_lossy(&first)), "an answer shows a key");
            }
            Use::LeftAnyTime => {
                let _permit = self.permits.acquire().await.unwrap();
                // It has no answer, or one that nobody reads.
                let _ = tokio::time::timeout(patience, request.send()).await;
            }
        }
    }
}

/// The answer to a call of somebody who had one of these keys, or none.
#[track_caller]
fn judge(answer: &Answer, mark: Mark, keys: &[Option<String>]) {
    let own: Vec<String> = keys.iter().flatten().map(|key| fingerprint(key)).collect();
    for shown in answer.body.split("fp=").skip(1) {
        let is_own = own.iter().any(|own| shown.starts_with(own));
        assert!(is_own, "{mark} was answered for another key: {}", answer.body);
    }
    if answer.status.is_success() {
        let failed = answer.body.contains("event: error") || answer.body.is_empty();
        assert!(answer.body.contains("fp=") || failed, "{mark}: {}", answer.body);
        return;
    }
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    let expected: &[&str] =
        if own.is_empty() { &[] } else { &["provider_error", "provider_unreachable", "key_rejected"] };
    let none = code == "no_api_key" && keys.contains(&None);
    assert!(none || expected.contains(&code.as_str()), "{mark}: {} {}", answer.status, answer.body);
}

impl Slot {
    fn new() -> Self {
        Self { history: vec![None], previous: None, made: 0 }
    }

    fn key(&self) -> Option<&str> {
        self.history.last().unwrap().as_deref()
    }

    fn set(&mut self, key: Option<String>) {
        self.previous = if key.is_some() { self.key().map(str::to_owned) } else { None };
        self.history.push(key);
    }
}

impl Member {
    fn new(number: u32, token: String, seed: u64) -> Self {
        let dice = Dice::of(seed, number.into());
        let slots = std::array::from_fn(|_| Slot::new());
        Self { number, token, dice, operations: 0, slots, calls: vec![], checks: vec![] }
    }

    async fn live(mut self, shared: Arc<Shared>) -> Self {
        for slot in 0..PROVIDERS.len() {
            self.save(&shared, slot).await;
        }
        for _ in 0..ROUNDS {
            if self.dice.roll(3) == 0 {
                disturb(&shared.production.standin, &mut self.dice);
            }
            let slot = self.dice.roll(PROVIDERS.len());
            match self.dice.roll(20) {
                0..11 => self.burst(&shared).await,
                11..14 => self.save(&shared, slot).await,
                14 => self.delete(&shared, slot).await,
                15 | 16 => self.roll_back(&shared, slot).await,
                17 => self.validate(&shared, slot).await,
                18 => self.check_another(&shared, slot).await,
                _ => self.list(&shared).await,
            }
        }
        self
    }

    fn prepare(&mut self, how: Use, slot: usize) -> Prepared {
        let keys = vec![self.slots[slot].key().map(str::to_owned)];
        self.prepare_with(how, slot, keys)
    }

    /// A use while the user has one of these keys, after each other.
    fn prepare_with(&mut self, how: Use, slot: usize, keys: Vec<Option<String>>) -> Prepared {
        self.operations += 1;
        let mark = Mark { user: self.number, operation: self.operations };
        let from = self.slots[slot].history.len() - 1;
        let until = (!matches!(how, Use::LeftAnyTime)).then_some(from + keys.len() - 1);
        self.calls.push(Expected { mark, slot, from, until });
        Prepared { slot, how, mark, keys, patience: Duration::from_micros(self.dice.roll(12_000) as u64) }
    }

    /// Several uses at once.
    async fn burst(&mut self, shared: &Shared) {
        let uses: Vec<Prepared> = (0..=self.dice.roll(4))
            .map(|_| {
                let slot = self.dice.roll(PROVIDERS.len());
                let how = match self.dice.roll(10) {
                    0..4 => Use::Whole,
                    4..7 => Use::Streamed,
                    7 | 8 => Use::StreamedInPart,
                    _ => Use::LeftAnyTime,
                };
                // Research does not stream.
                let how = if PROVIDERS[slot] == "exa" && !matches!(how, Use::LeftAnyTime) {
                    Use::Whole
                } else {
                    how
                };
                self.prepare(how, slot)
            })
            .collect();
        join_all(uses.into_iter().map(|prepared| shared.make(&self.token, prepared))).await;
    }

    /// A key that nobody has had yet.
    fn next_key(&mut self, slot: usize) -> String {
        let Slot { made, .. } = &mut self.slots[slot];
        *made += 1;
        assert!(*made < KEYS);
        example_key(PROVIDERS[slot], self.number * KEYS + *made)
    }

    /// Makes a change, after which the key is to be `after`. It may be used meanwhile.
    async fn change(
        &mut self,
        shared: &Shared,
        slot: usize,
        request: RequestBuilder,
        after: Option<String>,
    ) -> Answer {
        let before = self.slots[slot].key().map(str::to_owned);
        let meanwhile: Vec<Prepared> = (0..self.dice.roll(4))
            .map(|_| self.prepare_with(Use::Whole, slot, vec![before.clone(), after.clone()]))
            .collect();
        let using = meanwhile.into_iter().map(|prepared| shared.make(&self.token, prepared));
        let (answer, _) = tokio::join!(shared.send(request), join_all(using));
        if answer.status.is_success() {
            self.slots[slot].set(after);
        } else {
            self.slots[slot].history.push(before);
        }
        // What was read before the change must not be remembered after it.
        let using = [self.prepare(Use::Whole, slot), self.prepare(Use::Whole, slot)];
        join_all(using.map(|prepared| shared.make(&self.token, prepared))).await;
        answer
    }

    async fn save(&mut self, shared: &Shared, slot: usize) {
        let key = self.next_key(slot);
        self.checks.push((slot, key.clone()));
        let is_new = self.slots[slot].key().is_none();
        let request = shared.request(&self.token, Method::PUT, &path(slot, "")).json(&json!({ "key": key }));
        let answer = self.change(shared, slot, request, Some(key.clone())).await;
        if answer.status.as_u16() == 422 {
            answer.problem(422, "key_rejected");
            return;
        }
        assert_eq!(answer.status.as_u16(), if is_new { 201 } else { 200 }, "{}", answer.body);
        assert_eq!(answer.json()["masked"], masked(&key));
    }

    async fn delete(&mut self, shared: &Shared, slot: usize) {
        let was_there = self.slots[slot].key().is_some();
        let request = shared.request(&self.token, Method::DELETE, &path(slot, ""));
        let answer = self.change(shared, slot, request, None).await;
        if was_there {
            assert_eq!(answer.status.as_u16(), 204, "{}", answer.body);
        } else {
            answer.problem(404, "no_api_key");
        }
    }

    async fn roll_back(&mut self, shared: &Shared, slot: usize) {
        let previous = self.slots[slot].previous.clone();
        let after = previous.clone().or_else(|| self.slots[slot].key().map(str::to_owned));
        let request = shared.request(&self.token, Method::POST, &path(slot, "/rollback"));
        let answer = self.change(shared, slot, request, after).await;
        if let Some(previous) = previous {
            assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
            assert_eq!(answer.json()["masked"], masked(&previous));
        } else {
            answer.problem(404, "no_previous_version");
        }
    }

    async fn validate(&mut self, shared: &Shared, slot: usize) {
        let request = shared.request(&self.token, Method::POST, &path(slot, "/validate"));
        let answer = shared.send(request.json(&json!({}))).await;
        if let Some(key) = self.slots[slot].key().map(str::to_owned) {
            self.checks.push((slot, key));
            assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        } else {
            answer.problem(404, "no_api_key");
        }
    }

    /// Checks a key that is not saved while the saved one is used.
    async fn check_another(&mut self, shared: &Shared, slot: usize) {
        let key = self.next_key(slot);
        self.checks.push((slot, key.clone()));
        let request = shared.request(&self.token, Method::POST, &path(slot, "/validate"));
        let checking = shared.send(request.json(&json!({ "key": key })));
        let using = self.prepare(Use::Whole, slot);
        let (answer, ()) = tokio::join!(checking, shared.make(&self.token, using));
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    }

    /// The list shows this user's keys, masked, and no others.
    async fn list(&self, shared: &Shared) {
        let answer = shared.send(shared.request(&self.token, Method::GET, "/api/keys")).await.ok();
        let mut listed: Vec<(&str, &Value)> = answer["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| (key["provider"].as_str().unwrap(), &key["masked"]))
            .collect();
        listed.sort_by_key(|(provider, _)| *provider);
        let masks = self.slots.each_ref().map(|slot| slot.key().map(|key| Value::from(masked(key))));
        let mut expected: Vec<(&str, &Value)> =
            PROVIDERS.iter().zip(&masks).filter_map(|(id, mask)| Some((*id, mask.as_ref()?))).collect();
        expected.sort_by_key(|(provider, _)| *provider);
        assert_eq!(listed, expected, "user {}", self.number);
    }

    fn tell(&self, ledger: &mut Ledger) {
        for Expected { mark, slot, from, until } in &self.calls {
            let history = &self.slots[*slot].history;
            let times = until.map_or(&history[*from..], |until| &history[*from..=until]);
            let keys: Vec<String> = times.iter().flatten().cloned().collect();
            let must_come = until.is_some() && keys.len() == times.len();
            ledger.call(*mark, Call { provider: PROVIDERS[*slot], keys, must_come });
        }
        for (slot, key) in &self.checks {
            ledger.check(PROVIDERS[*slot], key);
        }
    }
}

fn path(slot: usize, action: &str) -> String {
    format!("/api/keys/{}{action}", PROVIDERS[slot])
}

fn masked(key: &str) -> String {
    format!("****{}", &key[key.len() - 4..])
}

/// Makes a provider fail at whoever asks next.
fn disturb(standin: &Standin, dice: &mut Dice) {
    let behaviour = match dice.roll(11) {
        0 => Behaviour::CloseWithoutAnswer,
        1 => Behaviour::status(500, "{}"),
        2 => Behaviour::status_with(429, &[("retry-after", "1")], "{}"),
        3 => Behaviour::status(
            401,
            r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
        ),
        4 => Behaviour::StreamThenCut { chunks: 1 },
        5 => Behaviour::StreamThenErrorEvent,
        6 => Behaviour::Hang,
        7 => Behaviour::HangAfterHeaders,
        8 => Behaviour::StreamThenHang { chunks: 1 },
        9 => Behaviour::NotJson,
        _ => Behaviour::InvalidJson,
    };
    standin.script(PROVIDERS[dice.roll(PROVIDERS.len())], behaviour);
}

/// Lets those go on that hang, after some others came, or when there are none.
async fn release_again_and_again(standin: Arc<Standin>) {
    let mut requests = 0;
    loop {
        requests += 12;
        let _ = tokio::time::timeout(Duration::from_millis(20), standin.wait_for_requests(requests)).await;
        standin.release();
    }
}

/// The generator `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>
pub(crate) struct Dice(u64);

impl Dice {
    /// One of several that roll differently.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((value ^ (value >> 31)) % sides as u64).unwrap()
    }
}

pub(crate) fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "repeats a run of this test, no setting")]
    let given = std::env::var("ISOLATION_SEED").ok();
    given.map_or_else(
        || u64::from_le_bytes(random_bytes(&SystemRandom).unwrap()),
        |given| given.parse().expect("ISOLATION_SEED is a number"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_hundreds_of_users_carries_the_key_that_its_user_had() {
    let seed = seed();
    println!("ISOLATION_SEED={seed}");
    // Else nobody could leave in the middle of an answer.
    let slowly = Options {
        delay: Duration::from_millis(3),
        chunk_delay: Duration::from_millis(3),
        ..Options::default()
    };
    let production = Setup::default()
        .standin(Arc::new(Standin::start_with(slowly).await.unwrap()))
        .with("KEYFOLD_RATE_LIMIT_KEYS", "off")
        .with("KEYFOLD_RATE_LIMIT_GENERATE", "off")
        .start()
        .await;
    let tokens: Vec<String> =
        (0..USERS).map(|number| production.token_for(&format!("user_{number}"))).collect();
    let standin = Arc::clone(&production.standin);
    let releasing = tokio::spawn(release_again_and_again(Arc::clone(&standin)));
    let shared = Arc::new(Shared {
        production,
        permits: Semaphore::new(CONNECTIONS),
        requests: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
    });

    let lives = (0..)
        .zip(tokens)
        .map(|(number, token)| tokio::spawn(Member::new(number, token, seed).live(Arc::clone(&shared))));
    let mut members = vec![];
    for life in lives.collect::<Vec<_>>() {
        members.push(life.await.unwrap());
    }
    standin.wait_until_idle().await;
    releasing.abort();

    let mut ledger = Ledger::default();
    for member in &members {
        member.list(&shared).await;
        member.tell(&mut ledger);
    }
    let judgement = ledger.judge(&standin.requests()).without_complaints();
    let (requests, failed) = (shared.requests.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed));
    let (calls, left) = (judgement.calls, standin.cancelled());
    println!(
        "{requests} requests, {calls} calls, {left} of them left, {failed} failed, {} checks",
        judgement.checks
    );
    assert!(requests >= 5000 && calls >= 2000 && left >= 50 && failed >= 50, "too little to mean anything");

    ciphertexts_are_separate(&shared.production, &members).await;
}

async fn ciphertexts_are_separate(production: &Production, members: &[Member]) {
    let database = production.sql().await;
    let query = "SELECT user_id, provider, key FROM api_keys JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id";
    let rows = database.query(query, &[]).await.unwrap();
    let mut stored: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    stored.sort();
    let mut expected: Vec<(String, String)> = vec![];
    for member in members {
        let there = PROVIDERS.iter().zip(&member.slots).filter(|(_, slot)| slot.key().is_some());
        expected.extend(there.map(|(id, _)| (format!("user_{}", member.number), (*id).to_owned())));
    }
    expected.sort();
    assert_eq!(stored, expected);

    let older = database.query("SELECT key FROM api_key_versions", &[]).await.unwrap();
    let sealed: Vec<String> =
        rows.iter().map(|row| row.get(2)).chain(older.iter().map(|row| row.get(0))).collect();
    assert!(sealed.iter().all(|sealed| sealed.starts_with("kf1.") && !shows_a_key(sealed)));
    assert_eq!(sealed.iter().collect::<HashSet<_>>().len(), sealed.len(), "a ciphertext stands there twice");
    let data_keys = database.query("SELECT DISTINCT data_key FROM onboarding_sessions", &[]).await.unwrap();
    assert_eq!(data_keys.len(), members.len(), "users share a data key");
}

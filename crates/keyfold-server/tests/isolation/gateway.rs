//! A thousand users at once through the gateway, on connections that everybody shares, for as many seconds as
//! `KEYFOLD_ISOLATION_SECONDS` says: callers leave, providers break off, keys are replaced and users deleted meanwhile.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use keyfold_standin::{Behaviour, Options, Standin, example_key, fingerprint};
use reqwest::Method;
use serde_json::json;

use crate::load::{Dice, seed};
use crate::support::production::{Production, Setup};
use crate::wire::{Connection, End, Head};

const USERS: u32 = 1000;
/// Shared by all of them, so that each carries whoever comes next.
const CONNECTIONS: u64 = 48;
/// Who replaces keys and deletes users, at once.
const CHANGERS: u64 = 3;
/// Keys of one user, at most.
const KEYS: u32 = 10_000;
/// So many may go; the others are enough to go on with.
const MOST_DELETED: u64 = 300;

/// A user, and which keys were theirs when.
struct Account {
    name: String,
    token: String,
    number: u32,
    /// Whoever changes something about this user.
    changing: tokio::sync::Mutex<u32>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    versions: Vec<Version>,
    /// When the deletion was asked for, and when it was answered.
    deletion: Option<(Instant, Option<Instant>)>,
}

/// A key that may be used from the moment it was sent to be saved until its replacement was answered.
struct Version {
    fingerprint: String,
    replaced: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    streamed: AtomicU64,
    left: AtomicU64,
    broken: AtomicU64,
    replaced: AtomicU64,
    deleted: AtomicU64,
    refused_deleted: AtomicU64,
}

struct Stage {
    production: Production,
    accounts: Vec<Account>,
    counts: Counts,
    begun: Instant,
    lasts: Duration,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Account {
    /// Asserts that a call that began then may have been made with this key.
    #[track_caller]
    fn judge(&self, begun: Instant, fingerprint: &str) {
        let known = self.known.lock().unwrap();
        let is_current = |version: &Version| version.replaced.is_none_or(|replaced| replaced >= begun);
        let own = known.versions.iter().find(|version| version.fingerprint == fingerprint);
        let name = &self.name;
        match own {
            None => panic!("{name} was answered for a key that was never theirs: {fingerprint}"),
            Some(version) => assert!(is_current(version), "{name} was answered for a key that was replaced"),
        }
        if let Some((_, Some(answered))) = known.deletion {
            assert!(answered >= begun, "{name} was deleted, and answered for a key");
        }
    }

    /// Asserts that a call that began then may find no user.
    #[track_caller]
    fn judge_refusal(&self, answer: &str) {
        let deletion = self.known.lock().unwrap().deletion;
        assert!(deletion.is_some(), "{} is there, and was answered {answer}", self.name);
    }
}

impl Stage {
    fn is_over(&self) -> bool {
        let counts = &self.counts;
        let few = [
            (&counts.whole, 300),
            (&counts.streamed, 100),
            (&counts.left, 30),
            (&counts.broken, 10),
            (&counts.replaced, 20),
            (&counts.deleted, 5),
            (&counts.refused_deleted, 5),
        ];
        let means_something = few.iter().all(|(count, least)| count.load(Ordering::Relaxed) >= *least);
        means_something && self.begun.elapsed() >= self.lasts
    }

    fn anybody(&self, dice: &mut Dice) -> &Account {
        &self.accounts[dice.roll(self.accounts.len())]
    }

    /// Calls for whoever comes, on one connection after the other.
    async fn call_on_and_on(&self, mut dice: Dice, by_hyper: bool) {
        while !self.is_over() {
            let mut connection = Connection::to(self.production.address).await;
            while !self.is_over() {
                let account = self.anybody(&mut dice);
                if !self.call(&mut connection, account, &mut dice, by_hyper).await {
                    break;
                }
            }
        }
    }

    /// Whether the connection may carry another call.
    async fn call(
        &self,
        connection: &mut Connection,
        account: &Account,
        dice: &mut Dice,
        by_hyper: bool,
    ) -> bool {
        disturb(&self.production.standin, dice);
        let streams = dice.roll(2) == 0;
        let body = json!({
            "model": "gpt-5", "stream": streams, "messages": [{ "role": "user", "content": "Whose key?" }],
        })
        .to_string();
        let mut request = format!(
            "POST /gateway/openai/v1/chat/completions HTTP/1.1\r\nHost: keys.example.com\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n",
            account.token,
            body.len()
        );
        if by_hyper {
            request.push_str("TE: trailers\r\n");
        }
        write!(request, "\r\n{body}").unwrap();
        let leaves = dice.roll(12);
        let begun = Instant::now();
        if connection.try_send(&request).await.is_err() {
            return false;
        }
        if leaves == 0 {
            add(&self.counts.left);
            return false;
        }
        let Ok(head) = connection.try_read_head().await else {
            add(&self.counts.broken);
            return false;
        };
        if let Some(code) = head.one("keyfold-error") {
            match code {
                "user_deleted" | "no_api_key" => {
                    account.judge_refusal(code);
                    add(&self.counts.refused_deleted);
                }
                "provider_unreachable" => add(&self.counts.broken),
                code => panic!("{} was answered {code}", account.name),
            }
        } else {
            account.judge(begun, head.one("x-key-fingerprint").expect("the stand-in says whose key came"));
        }
        if leaves == 1 {
            add(&self.counts.left);
            return false;
        }
        let Ok(body) = body_of(connection, &head).await else {
            add(&self.counts.broken);
            return false;
        };
        let text = String::from_utf8_lossy(&body);
        for shown in text.split("fp=").skip(1) {
            account.judge(begun, &shown[..16]);
        }
        if head.status() == 200 && text.contains("fp=") {
            add(if streams { &self.counts.streamed } else { &self.counts.whole });
        }
        head.one("connection") != Some("close")
    }

    async fn change_on_and_on(&self, mut dice: Dice) {
        while !self.is_over() {
            let account = self.anybody(&mut dice);
            let mut made = account.changing.lock().await;
            if account.known.lock().unwrap().deletion.is_some() {
                continue;
            }
            if dice.roll(6) == 0 && self.counts.deleted.load(Ordering::Relaxed) < MOST_DELETED {
                self.delete(account).await;
            } else {
                *made += 1;
                assert!(*made < KEYS);
                self.replace(account, account.number * KEYS + *made).await;
            }
        }
    }

    async fn delete(&self, account: &Account) {
        account.known.lock().unwrap().deletion = Some((Instant::now(), None));
        let request = self.production.request(Method::DELETE, "/api/me").bearer_auth(&account.token);
        let answer = self.production.send(request).await;
        assert_eq!(answer.status.as_u16(), 204, "{}", answer.body);
        let mut known = account.known.lock().unwrap();
        known.deletion = known.deletion.map(|(asked, _)| (asked, Some(Instant::now())));
        add(&self.counts.deleted);
    }

    async fn replace(&self, account: &Account, number: u32) {
        let key = example_key("openai", number);
        account
            .known
            .lock()
            .unwrap()
            .versions
            .push(Version { fingerprint: fingerprint(&key), replaced: None });
        let request = self.production.request(Method::PUT, "/api/keys/openai").bearer_auth(&account.token);
        let answer = self.production.send(request.json(&json!({ "key": key }))).await;
        let mut known = account.known.lock().unwrap();
        if answer.status.is_success() {
            let now = Instant::now();
            let older = known.versions.len() - 1;
            for version in known.versions[..older].iter_mut().filter(|version| version.replaced.is_none()) {
                version.replaced = Some(now);
            }
            add(&self.counts.replaced);
        } else {
            // What was to answer a call answered the check.
            answer.problem(422, "key_rejected");
            known.versions.pop();
        }
    }
}

/// An answer's body, or how it broke.
async fn body_of(connection: &mut Connection, head: &Head) -> Result<Vec<u8>, End> {
    if head.has("content-length") || head.has("transfer-encoding") {
        return connection.read_body(head).await;
    }
    match connection.read_to_end().await {
        (body, End::Closed) => Ok(body),
        (_, End::Reset) => Err(End::Reset),
    }
}

/// Now and then a provider fails.
fn disturb(standin: &Standin, dice: &mut Dice) {
    let behaviour = match dice.roll(120) {
        0 => Behaviour::CloseWithoutAnswer,
        1 => Behaviour::status(500, "{}"),
        2 => Behaviour::status_with(429, &[("retry-after", "1")], "{}"),
        3 => Behaviour::status(
            401,
            r#"{"error":{"code":"invalid_api_key","message":"Incorrect API key provided"}}"#,
        ),
        4 | 5 => Behaviour::StreamThenCut { chunks: 1 },
        6 => Behaviour::StreamThenErrorEvent,
        7 => Behaviour::InvalidJson,
        _ => return,
    };
    standin.script("openai", behaviour);
}

fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "makes this test longer, no setting")]
    let given = std::env::var("KEYFOLD_ISOLATION_SECONDS").ok();
    given.map_or(5, |given| given.parse().expect("KEYFOLD_ISOLATION_SECONDS is a number"))
}

async fn account(production: &Production, number: u32) -> Account {
    let name = format!("user_{number}");
    let token = production.token_for(&name);
    let key = production.as_user(&name).has_example_key("openai", number * KEYS).await;
    let versions = vec![Version { fingerprint: fingerprint(&key), replaced: None }];
    let known = Mutex::new(Known { versions, deletion: None });
    Account { name, token, number, changing: tokio::sync::Mutex::new(0), known }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_through_the_gateway_is_for_the_key_that_its_user_has_at_that_moment() {
    let seed = seed();
    println!("ISOLATION_SEED={seed}");
    let options = Options { record: false, chunk_delay: Duration::from_millis(2), ..Options::default() };
    let standin = Arc::new(Standin::start_with(options).await.unwrap());
    let production = Setup::default().standin(standin).start().await;
    let accounts = iter((0..USERS).map(|number| account(&production, number)));
    let accounts: Vec<Account> = accounts.buffer_unordered(16).collect().await;
    let stage = Arc::new(Stage {
        production,
        accounts,
        counts: Counts::default(),
        begun: Instant::now(),
        lasts: Duration::from_secs(seconds()),
    });
    let mut running = vec![];
    for number in 0..CONNECTIONS {
        let (stage, dice) = (Arc::clone(&stage), Dice::of(seed, number));
        running.push(tokio::spawn(async move { stage.call_on_and_on(dice, number % 3 == 0).await }));
    }
    for number in CONNECTIONS..CONNECTIONS + CHANGERS {
        let (stage, dice) = (Arc::clone(&stage), Dice::of(seed, number));
        running.push(tokio::spawn(async move { stage.change_on_and_on(dice).await }));
    }
    for task in running {
        task.await.unwrap();
    }
    let counts = &stage.counts;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} whole, {} streamed, {} left, {} broken, {} keys replaced, {} users deleted, {} refused",
        count(&counts.whole),
        count(&counts.streamed),
        count(&counts.left),
        count(&counts.broken),
        count(&counts.replaced),
        count(&counts.deleted),
        count(&counts.refused_deleted)
    );
}

mod the_judge_itself {
    use super::*;

    /// A user whose first key was replaced at `then`, and who was perhaps deleted then too.
    fn account(then: Instant, is_deleted: bool) -> Account {
        let versions = [("first", Some(then)), ("second", None)]
            .map(|(fingerprint, replaced)| Version { fingerprint: fingerprint.into(), replaced });
        let deletion = is_deleted.then_some((then, Some(then)));
        Account {
            name: "user_0".into(),
            token: String::new(),
            number: 0,
            changing: tokio::sync::Mutex::new(0),
            known: Mutex::new(Known { versions: versions.into(), deletion }),
        }
    }

    #[test]
    fn is_content_with_a_users_current_key_and_with_the_older_one_before_its_replacement_was_answered() {
        let before = Instant::now();
        let account = account(before + Duration::from_millis(1), false);
        account.judge(before, "first");
        account.judge(before, "second");
        account.judge(before + Duration::from_secs(1), "second");
    }

    #[test]
    #[should_panic(expected = "never theirs")]
    fn complains_of_another_users_key() {
        account(Instant::now(), false).judge(Instant::now(), "third");
    }

    #[test]
    #[should_panic(expected = "was replaced")]
    fn complains_of_a_key_that_was_replaced_before_the_call_began() {
        let then = Instant::now();
        account(then, false).judge(then + Duration::from_millis(1), "first");
    }

    #[test]
    #[should_panic(expected = "was deleted")]
    fn complains_of_a_user_who_was_deleted_before_the_call_began() {
        let then = Instant::now();
        account(then, true).judge(then + Duration::from_millis(1), "second");
    }

    #[test]
    #[should_panic(expected = "is there")]
    fn complains_if_somebody_who_is_there_is_refused() {
        account(Instant::now(), false).judge_refusal("no_api_key");
    }
}

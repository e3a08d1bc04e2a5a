//! One user's requests over two replicas.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use keyfold_standin::{example_key, fingerprint};
use reqwest::Method;
use serde_json::json;

use super::ledger::{Call, Ledger, Mark};
use crate::support::Answer;
use crate::support::production::Production;

/// How long a replica may go on with what it knew, after the change was answered by the other one: the promise.
const STALE_FOR: Duration = Duration::from_millis(500);
const USERS: u32 = 24;
const CHANGES: u32 = 8;
const PROVIDER: &str = "gemini";

struct Member<'a> {
    replicas: [&'a Production; 2],
    number: u32,
    tokens: [String; 2],
    operations: u32,
    present: Option<String>,
    replaced: Option<String>,
    /// Which replica was told of the last change, and when it answered.
    changed: (usize, Instant),
    calls: Vec<(Mark, Call)>,
    checks: Vec<String>,
    stale: usize,
}

impl<'a> Member<'a> {
    fn new(replicas: [&'a Production; 2], number: u32) -> Self {
        let user = format!("user_{number}");
        Self {
            tokens: replicas.map(|replica| replica.token_for(&user)),
            replicas,
            number,
            operations: 0,
            present: None,
            replaced: None,
            changed: (0, Instant::now()),
            calls: vec![],
            checks: vec![],
            stale: 0,
        }
    }

    async fn live(mut self) -> Self {
        for change in 0..CHANGES {
            self.change(change).await;
            self.spray().await;
            for replica in [0, 1] {
                // Ends: what is too old is an error.
                while !self.uses(replica).await {}
            }
        }
        self
    }

    async fn change(&mut self, change: u32) {
        let replica = ((self.number + change / 2) % 2) as usize;
        let request = |method, action: &str| {
            let path = format!("/api/keys/{PROVIDER}{action}");
            self.replicas[replica].request(method, &path).bearer_auth(&self.tokens[replica])
        };
        let (request, key) = match change % 5 {
            3 => (request(Method::POST, "/rollback"), self.replaced.clone()),
            4 => (request(Method::DELETE, ""), None),
            _ => {
                let key = example_key(PROVIDER, self.number * CHANGES + change);
                self.checks.push(key.clone());
                (request(Method::PUT, "").json(&json!({ "key": key })), Some(key))
            }
        };
        let answer = self.replicas[replica].send(request).await;
        assert!(answer.status.is_success(), "change {change}: {} {}", answer.status, answer.body);
        self.changed = (replica, Instant::now());
        self.replaced = std::mem::replace(&mut self.present, key);
    }

    /// Several uses on both replicas at once.
    async fn spray(&mut self) {
        let sent: Vec<(usize, Mark, Instant)> =
            (0..6).map(|n| (n % 2, self.mark(), Instant::now())).collect();
        let answers = join_all(sent.iter().map(|(replica, mark, _)| self.generate(*replica, *mark))).await;
        for ((replica, mark, at), answer) in sent.into_iter().zip(answers) {
            self.judge(replica, mark, at, &answer);
        }
    }

    /// Whether this replica uses the present key; another one is an error, except the one before, for a moment.
    async fn uses(&mut self, replica: usize) -> bool {
        let (mark, at) = (self.mark(), Instant::now());
        let answer = self.generate(replica, mark).await;
        self.judge(replica, mark, at, &answer)
    }

    fn mark(&mut self) -> Mark {
        self.operations += 1;
        Mark { user: self.number, operation: self.operations }
    }

    async fn generate(&self, replica: usize, mark: Mark) -> Answer {
        let request = self.replicas[replica].request(Method::POST, "/api/generate");
        let body = json!({ "prompt": mark.to_string() });
        self.replicas[replica].send(request.bearer_auth(&self.tokens[replica]).json(&body)).await
    }

    fn judge(&mut self, replica: usize, mark: Mark, sent: Instant, answer: &Answer) -> bool {
        let (changed_on, changed_at) = self.changed;
        // Where the change was made it counts at once.
        let may_be_stale = replica != changed_on && sent < changed_at + STALE_FOR;
        let is_present = is_answer_to(answer, self.present.as_deref());
        let is_stale = !is_present && may_be_stale && is_answer_to(answer, self.replaced.as_deref());
        assert!(
            is_present || is_stale,
            "{mark} on replica {replica}, {:?} after a change on {changed_on}: {}",
            sent.duration_since(changed_at),
            answer.body
        );
        self.stale += usize::from(is_stale);
        let key = if is_stale { &self.replaced } else { &self.present };
        let keys: Vec<String> = key.iter().cloned().collect();
        self.calls.push((mark, Call { provider: PROVIDER, must_come: !keys.is_empty(), keys }));
        is_present
    }
}

fn is_answer_to(answer: &Answer, key: Option<&str>) -> bool {
    match key {
        Some(key) => answer.status.is_success() && answer.body.contains(&format!("fp={}", fingerprint(key))),
        None => answer.status.as_u16() == 404 && answer.json()["code"] == "no_api_key",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_use_the_present_key_or_for_a_moment_the_one_before() {
    let first = Production::with("KEYFOLD_RATE_LIMIT_GENERATE", "off").start().await;
    let second = first.replica().start().await;
    let members = (0..USERS).map(|number| Member::new([&first, &second], number).live());
    let members = join_all(members).await;

    let mut ledger = Ledger::default();
    let stale: usize = members.iter().map(|member| member.stale).sum();
    for member in members {
        for (mark, call) in member.calls {
            ledger.call(mark, call);
        }
        for key in member.checks {
            ledger.check(PROVIDER, &key);
        }
    }
    let judgement = ledger.judge(&first.standin.requests()).without_complaints();
    println!("{} calls, {stale} of them with the key before", judgement.calls);
    for replica in [&first, &second] {
        let cache = replica.keyfold.cache_state().unwrap();
        assert!(cache.hits > 0, "without a cache this shows nothing: {cache:?}");
    }
}

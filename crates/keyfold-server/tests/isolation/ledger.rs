//! What providers should have received, and what they did receive.

use std::collections::HashMap;
use std::fmt;

use keyfold_standin::{Seen, credential, example_key, free_check};

/// Each example key holds one of these.
const SIGNS: [&str; 2] = ["TestData", "7e57da7a"];
/// How every token begins: base64 of `{"`.
const TOKEN: &str = "eyJ";

/// Names an operation of a user: the prompt carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) user: u32,
    pub(crate) operation: u32,
}

/// What one operation may send to a provider.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) provider: &'static str,
    /// The keys that its user had then: one, except where the client did not wait, or another replica was asked.
    pub(crate) keys: Vec<String>,
    /// Whether it must have come.
    pub(crate) must_come: bool,
}

/// All operations of a test.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    calls: HashMap<Mark, Call>,
    /// How often each key was to be checked, which happens without a prompt.
    checks: HashMap<(&'static str, String), usize>,
}

/// What came of comparing.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) calls: usize,
    pub(crate) checks: usize,
    pub(crate) complaints: Vec<String>,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "<user {} operation {}>", self.user, self.operation)
    }
}

impl Mark {
    fn find_in(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("<user ")?;
        let (user, rest) = rest.split_once(" operation ")?;
        let (operation, _) = rest.split_once('>')?;
        Some(Self { user: user.parse().ok()?, operation: operation.parse().ok()? })
    }
}

impl Ledger {
    pub(crate) fn call(&mut self, mark: Mark, call: Call) {
        assert!(self.calls.insert(mark, call).is_none(), "two operations have the mark {mark}");
    }

    pub(crate) fn check(&mut self, provider: &'static str, key: &str) {
        *self.checks.entry((provider, key.to_owned())).or_default() += 1;
    }

    /// Compares with everything that a stand-in received.
    pub(crate) fn judge(&self, requests: &[Seen]) -> Judgement {
        let mut judgement = Judgement::default();
        let mut came: HashMap<Mark, usize> = HashMap::new();
        let mut checked: HashMap<(&'static str, String), usize> = HashMap::new();
        for seen in requests {
            judgement.complaints.extend(elsewhere(seen));
            if let Some(mark) = Mark::find_in(&String::from_utf8_lossy(&seen.body)) {
                judgement.calls += 1;
                *came.entry(mark).or_default() += 1;
                judgement.complaints.extend(self.wrong_key(mark, seen));
                continue;
            }
            judgement.checks += 1;
            let (method, path) = free_check(seen.provider);
            if seen.method != method || seen.path != path {
                let complaint = format!("nobody's call to {}: {} {}", seen.provider, seen.method, seen.path);
                judgement.complaints.push(complaint);
            }
            *checked.entry((seen.provider, seen.key.clone())).or_default() += 1;
        }
        for (mark, call) in &self.calls {
            match came.get(mark).copied().unwrap_or(0) {
                0 if call.must_come => judgement.complaints.push(format!("{mark} never came")),
                0 | 1 => {}
                times => judgement.complaints.push(format!("{mark} came {times} times")),
            }
        }
        for (place, times) in &checked {
            if self.checks.get(place) != Some(times) {
                let wanted = self.checks.get(place).copied().unwrap_or(0);
                let (provider, key) = place;
                judgement
                    .complaints
                    .push(format!("{provider} was asked about {key} {times} times, not {wanted}"));
            }
        }
        for (provider, key) in self.checks.keys() {
            if !checked.contains_key(&(*provider, key.clone())) {
                judgement.complaints.push(format!("{provider} was never asked about {key}"));
            }
        }
        judgement
    }

    fn wrong_key(&self, mark: Mark, seen: &Seen) -> Option<String> {
        let Some(call) = self.calls.get(&mark) else { return Some(format!("{mark} is unknown")) };
        if call.provider != seen.provider {
            return Some(format!("{mark} is a call to {}, not to {}", call.provider, seen.provider));
        }
        (!call.keys.contains(&seen.key))
            .then(|| format!("{mark} went out with {:?} instead of {:?}", seen.key, call.keys))
    }
}

impl Judgement {
    #[track_caller]
    pub(crate) fn without_complaints(self) -> Self {
        let first = &self.complaints[..self.complaints.len().min(20)];
        assert!(first.is_empty(), "{} complaints, for instance {first:#?}", self.complaints.len());
        self
    }
}

/// A key in another place than its own, a second one, none, or the caller's token.
fn elsewhere(seen: &Seen) -> Vec<String> {
    let (own, _) = credential(seen.provider, "any");
    let mut complaints = vec![];
    if seen.headers.get_all(&own).iter().count() != 1 || seen.key.is_empty() {
        complaints.push(format!("{} has not exactly one key", seen.path));
    }
    let mut rest = format!("{} {:?} {}", seen.path, seen.query, String::from_utf8_lossy(&seen.body));
    for (_, value) in seen.headers.iter().filter(|(name, _)| **name != own) {
        rest.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    if shows_a_key(&rest) || rest.contains(TOKEN) || seen.key.contains(TOKEN) {
        complaints.push(format!("{} has a key or a token where none belongs", seen.path));
    }
    complaints
}

/// Whether anybody's key stands in this text.
pub(crate) fn shows_a_key(text: &str) -> bool {
    SIGNS.iter().any(|sign| text.contains(sign))
}

mod the_checker_itself {
    use keyfold_standin::Standin;
    use reqwest::Client;
    use serde_json::json;

    use super::*;

    const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

    fn mark(user: u32) -> Mark {
        Mark { user, operation: 7 }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for user in [1, 2] {
            let keys = vec![example_key("gemini", user)];
            ledger.call(mark(user), Call { provider: "gemini", keys, must_come: true });
        }
        ledger.check("gemini", &example_key("gemini", 1));
        ledger
    }

    /// Sends a prompt of `user` with a key, and something else.
    async fn send(standin: &Standin, user: u32, key: &str, something: &str) {
        let body = json!({ "contents": [{ "parts": [{ "text": format!("{} {something}", mark(user)) }] }] });
        let url = format!("{}{PATH}", standin.base_url("gemini"));
        let client = Client::builder().no_proxy().build().unwrap();
        client.post(url).header("x-goog-api-key", key).json(&body).send().await.unwrap();
    }

    async fn check(standin: &Standin, key: &str) {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("{}{}", standin.base_url("gemini"), free_check("gemini").1);
        client.get(url).header("x-goog-api-key", key).send().await.unwrap();
    }

    #[tokio::test]
    async fn is_content_when_everybody_has_their_own_key() {
        let standin = Standin::start().await;
        send(&standin, 1, &example_key("gemini", 1), "").await;
        send(&standin, 2, &example_key("gemini", 2), "").await;
        check(&standin, &example_key("gemini", 1)).await;
        let judgement = ledger().judge(&standin.requests()).without_complaints();
        assert_eq!((judgement.calls, judgement.checks), (2, 1));
    }

    #[tokio::test]
    async fn complains_of_every_kind_of_wrong() {
        let (own, other) = (example_key("gemini", 1), example_key("gemini", 2));
        // Two users' keys changed places.
        let standin = Standin::start().await;
        send(&standin, 1, &other, "").await;
        send(&standin, 2, &own, "").await;
        check(&standin, &own).await;
        let complaints = ledger().judge(&standin.requests()).complaints;
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints.iter().all(|complaint| complaint.contains("went out with")), "{complaints:?}");

        // A key in the body, a call twice, one that is missing, and a check that nobody asked for.
        let standin = Standin::start().await;
        send(&standin, 1, &own, &other).await;
        send(&standin, 1, &own, "").await;
        check(&standin, &other).await;
        let mut complaints = ledger().judge(&standin.requests()).complaints;
        complaints.sort();
        let expected = [
            "/v1beta",
            "<user 1 operation 7> came",
            "<user 2 operation 7> never",
            "gemini was",
            "gemini was",
        ];
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for (complaint, beginning) in complaints.iter().zip(expected) {
            assert!(complaint.starts_with(beginning), "{complaint} is not about {beginning}");
        }

        // A call of somebody who has no key.
        let mut none = Ledger::default();
        none.call(mark(1), Call { provider: "gemini", keys: vec![], must_come: false });
        let standin = Standin::start().await;
        send(&standin, 1, &own, "").await;
        assert_eq!(none.judge(&standin.requests()).complaints.len(), 1);
    }
}

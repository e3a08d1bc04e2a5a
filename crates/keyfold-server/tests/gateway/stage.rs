//! A Keyfold, a provider that a test plays, and callers on both ways.

use std::fmt::Write as _;

use keyfold::Keyfold;
use keyfold::service_tokens::{NewToken, Scope};
use keyfold_standin::example_key;
use serde_json::{Value, json};

use crate::support::production::{Production, Setup};
use crate::wire::{Connection, Message, RawProvider};

/// The two ways through the gateway. The rules are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Plain requests, in one task.
    Lane,
    /// All others.
    Hyper,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Lane, Self::Hyper];

    /// A header line that makes a plain request go this way, and changes nothing else.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::Lane => "",
            Self::Hyper => "TE: trailers\r\n",
        }
    }

    /// An answer that was passed on came this way.
    #[track_caller]
    pub(crate) fn assert_taken(self, answer: &Message) {
        // Only hyper's way knows of pages.
        let tells_of_origins = answer.head.all("vary").iter().any(|vary| vary.contains("origin"));
        assert_eq!(tells_of_origins, self == Self::Hyper, "{self:?} was not taken: {:?}", answer.head);
    }
}

/// A request, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    lines: String,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(way: Way, method: &str, target: &str) -> Self {
        let lines = format!("Host: keys.example.com\r\n{}", way.line());
        Self { method: method.into(), target: target.into(), lines, body: None }
    }

    pub(crate) fn get(way: Way, target: &str) -> Self {
        Self::new(way, "GET", target)
    }

    pub(crate) fn post(way: Way, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..Self::new(way, "POST", target) }
    }

    /// A further header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        write!(self.lines, "{name}: {value}\r\n").unwrap();
        self
    }

    /// A bearer token.
    pub(crate) fn by(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, target, lines, body } = self;
        let length = body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len()));
        let head = format!("{method} {target} HTTP/1.1\r\n{lines}{}\r\n", length.unwrap_or_default());
        [head.into_bytes(), body.clone().unwrap_or_default()].concat()
    }
}

/// A Keyfold in production whose provider `openai` is played by the test, with a user who has a key there.
pub(crate) struct Stage {
    pub(crate) production: Production,
    pub(crate) provider: RawProvider,
    /// The user's key.
    pub(crate) key: String,
    /// The user's token.
    pub(crate) token: String,
}

/// Where the stage's user calls.
pub(crate) const PATH: &str = "/gateway/openai/v1/things";

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(Setup::default()).await
    }

    pub(crate) async fn set_with(setup: Setup) -> Self {
        let provider = RawProvider::start().await;
        let production = setup.with("KEYFOLD_PROVIDER_OPENAI_BASE_URL", &provider.url()).start().await;
        let key = example_key("openai", 1);
        has_key(&production, &provider, "user_a", &key).await;
        let token = production.token_for("user_a");
        Self { production, provider, key, token }
    }

    pub(crate) async fn caller(&self) -> Connection {
        Connection::to(self.production.address).await
    }

    /// A request of the stage's user.
    pub(crate) fn get(&self, way: Way) -> Request {
        Request::get(way, PATH).by(&self.token)
    }

    pub(crate) fn post(&self, way: Way, body: impl Into<Vec<u8>>) -> Request {
        Request::post(way, PATH, body).by(&self.token)
    }

    /// Sends a request on a connection of its own and answers it; what the provider got, and what the caller.
    pub(crate) async fn exchange(&self, request: &Request, answer: &[u8]) -> (Message, Message) {
        let mut caller = self.caller().await;
        caller.send(request.bytes()).await;
        let (mut provider, seen) = self.provider.request().await;
        provider.send(answer).await;
        if is_cut(answer) {
            drop(provider);
        } else {
            self.provider.keep(provider);
        }
        (seen, caller.read_answer().await)
    }

    /// The user's audit log, once this many of its calls have ended; the newest first.
    pub(crate) async fn ended_calls(&self, count: usize) -> Vec<Value> {
        ended_calls(&self.production, "user_a", count).await
    }
}

/// Whether the end of an answer is that of its connection.
fn is_cut(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    !text.contains("content-length") && !text.contains("transfer-encoding")
}

/// The answer to a request on a connection of its own.
pub(crate) async fn answer_to(production: &Production, request: &Request) -> Message {
    let mut caller = Connection::to(production.address).await;
    caller.send(request.bytes()).await;
    caller.read_answer().await
}

/// Saves a key of a provider that a test plays.
pub(crate) async fn has_key(production: &Production, provider: &RawProvider, user: &str, key: &str) {
    let user = production.as_user(user);
    let check = async {
        let (mut connection, _) = provider.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await;
    };
    let (saved, ()) = tokio::join!(user.put("/api/keys/openai", json!({ "key": key })), check);
    assert!(saved.status.is_success(), "{}", saved.body);
}

/// The ends of a user's calls that the audit log has, once there are as many; the newest first.
pub(crate) async fn ended_calls(production: &Production, user: &str, count: usize) -> Vec<Value> {
    recorded(production, user, "key.ended", count).await
}

/// What the audit log says of a user under this action, once it says so as often; the newest first.
pub(crate) async fn recorded(production: &Production, user: &str, action: &str, count: usize) -> Vec<Value> {
    let user = production.as_user(user);
    let waiting = async {
        loop {
            let events = user.get("/api/audit?limit=200").await.ok()["events"].as_array().unwrap().clone();
            let found: Vec<Value> = events.into_iter().filter(|event| event["action"] == action).collect();
            if found.len() >= count {
                return found;
            }
            // Rows come to the database in batches.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), waiting).await.expect("the events did not come")
}

/// A service token for the gateway.
pub(crate) fn service(name: &str) -> NewToken {
    NewToken {
        name: name.into(),
        scopes: vec![Scope::Gateway],
        users: vec![],
        providers: vec![],
        lifetime: None,
    }
}

pub(crate) async fn service_token(keyfold: &Keyfold, new: &NewToken) -> String {
    keyfold.service_tokens().create(new).await.unwrap().1.expose().to_owned()
}

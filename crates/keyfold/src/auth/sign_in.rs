//! Where an issuer has people sign in, as its discovery document says: a page must know beforehand whom it talks to.
//!
//! Read apart from the key set, whose address may be configured. Nothing here says whose token counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use super::issuer::Issuer;
use super::key_source::{
    KeySetError, KeySetTimeouts, check_issuer, discovery_document, named_address, read_discovery_document,
};
use super::verifier::REFRESH_EVERY;
use crate::clock::Clock;
use crate::provider::document::DocumentClient;

const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How far back the clock may jump without the issuer counting as due.
const CLOCK_JUMP: i64 = 5_000_000;
/// How long a page may wait for the first answer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The origins where people sign in: the issuer's own, or others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignInOrigins {
    /// Where people say who they are; a page may be led there in a hidden frame.
    pub authorization: Option<String>,
    /// Where a page gets their tokens.
    pub token: Option<String>,
}

/// Knows them, as fresh as they need be. One per process, shared by all requests.
pub struct SignInPlaces(Arc<Shared>);

struct Shared {
    issuer: String,
    total: Duration,
    client: DocumentClient,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Arc<SignInOrigins>,
    /// Open while a request is under way: its sender lives in the task.
    under_way: Option<watch::Receiver<()>>,
    last: Option<Asked>,
}

/// What came of asking.
struct Asked {
    failed: bool,
    /// When, and when to ask again. Microseconds.
    at: i64,
    again_at: i64,
}

impl SignInPlaces {
    /// Asks the issuer for nothing until the first use.
    pub fn new(issuer: &Issuer, clock: Arc<dyn Clock>, timeouts: KeySetTimeouts) -> Self {
        Self(Arc::new(Shared {
            issuer: issuer.issuer.clone(),
            total: timeouts.total,
            client: DocumentClient::new(timeouts.connect),
            clock,
            state: Mutex::default(),
        }))
    }

    /// What is known. The issuer is asked again every 10 minutes, by one request at a time, and what is known stays
    /// until a better answer comes.
    ///
    /// Runs inside a tokio runtime. Waits for the issuer's first answer only, and not for long.
    pub async fn known(&self) -> Arc<SignInOrigins> {
        if let Some(mut first) = self.ask_if_due() {
            // An error means that it is there, or that it will not come.
            let _ = tokio::time::timeout(LONGEST_WAIT, first.changed()).await;
        }
        Arc::clone(&self.0.state().known)
    }

    /// Asks, so that nobody has to wait later.
    pub fn prepare(&self) {
        let _ = self.ask_if_due();
    }

    /// Gives the request that is under way, if it is the first one.
    fn ask_if_due(&self) -> Option<watch::Receiver<()>> {
        let now = self.0.now();
        let mut state = self.0.state();
        let under_way = state.under_way.clone().filter(|answered| answered.has_changed().is_ok());
        let due = |last: &Asked| !(last.at.saturating_sub(CLOCK_JUMP)..last.again_at).contains(&now);
        let answered = match under_way {
            Some(answered) => answered,
            None if state.last.as_ref().is_none_or(due) => {
                let (done, answered) = watch::channel(());
                state.under_way = Some(answered.clone());
                // A task of its own: clients that give up do not cut the request short and so cause another.
                let shared = Arc::clone(&self.0);
                tokio::spawn(async move {
                    shared.ask().await;
                    drop(done);
                });
                answered
            }
            None => return None,
        };
        state.last.is_none().then_some(answered)
    }
}

impl Shared {
    async fn ask(&self) {
        let asking = async { origins(&discovery_document(&self.issuer, &self.client).await?, &self.issuer) };
        let answer = tokio::time::timeout(self.total, asking).await.unwrap_or(Err(KeySetError::TimedOut));
        let at = self.now();
        let mut state = self.state();
        let failed_before = state.last.as_ref().is_some_and(|last| last.failed);
        let failed = answer.is_err();
        match answer {
            Ok(origins) => {
                if failed_before {
                    tracing::info!("the token issuer's discovery document can be read again");
                }
                state.known = Arc::new(origins);
            }
            // Once per outage.
            Err(cause) if failed_before => {
                tracing::debug!(%cause, "the token issuer's discovery document still cannot be read");
            }
            Err(cause) => tracing::warn!(
                %cause,
                "the token issuer's discovery document cannot be read; until it is, people may be unable to sign in on the page"
            ),
        }
        let wait = if failed { RETRY_AFTER } else { REFRESH_EVERY };
        let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        state.last = Some(Asked { failed, at, again_at: at.saturating_add(wait) });
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this issuer's discovery document says. An endpoint at an address that is no page's business is left out.
fn origins(document: &[u8], issuer: &str) -> Result<SignInOrigins, KeySetError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        authorization_endpoint: Option<String>,
        token_endpoint: Option<String>,
    }
    let document: Document = read_discovery_document(document)?;
    check_issuer(&document.issuer, issuer)?;
    let origin = |endpoint: Option<String>| match named_address(&endpoint?, issuer) {
        Ok(address) => Some(address.origin()),
        Err(cause) => {
            tracing::warn!(%cause, "an endpoint that the token issuer names is not used");
            None
        }
    };
    Ok(SignInOrigins {
        authorization: origin(document.authorization_endpoint),
        token: origin(document.token_endpoint),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://accounts.example.com";

    fn read(issuer: &str, document: &Value) -> Result<SignInOrigins, KeySetError> {
        origins(document.to_string().as_bytes(), issuer)
    }

    #[test]
    fn endpoints_may_be_on_other_hosts_and_only_their_origin_counts() {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://accounts.example.com/o/oauth2/v2/auth?tenant=a",
            "token_endpoint": "https://OAuth2.example.net:443/token#x",
            "userinfo_endpoint": "https://elsewhere.example",
        });
        let expected = SignInOrigins {
            authorization: Some(ISSUER.into()),
            token: Some("https://oauth2.example.net".into()),
        };
        assert_eq!(read(ISSUER, &document), Ok(expected));
    }

    #[test]
    fn an_endpoint_that_is_not_safe_to_talk_to_is_left_out() {
        for bad in [
            "http://oauth2.example.net/token",
            "http://127.0.0.1:9000/token",
            "https://localhost/token",
            "https://user:password@oauth2.example.net/token",
            "javascript:alert(1)",
            "data:,x",
            "/token",
            "",
        ] {
            let document = json!({ "issuer": ISSUER, "token_endpoint": bad });
            assert_eq!(read(ISSUER, &document), Ok(SignInOrigins::default()), "{bad}");
        }
        // What is on this machine may name what is on it.
        let own =
            json!({ "issuer": "http://127.0.0.1:9000", "token_endpoint": "http://127.0.0.1:9001/token" });
        let token = read("http://127.0.0.1:9000", &own).unwrap().token;
        assert_eq!(token.as_deref(), Some("http://127.0.0.1:9001"));
    }

    #[test]
    fn a_document_of_somebody_else_or_of_no_known_form_says_nothing() {
        let foreign =
            json!({ "issuer": "https://evil.example", "token_endpoint": "https://evil.example/token" });
        assert_eq!(read(ISSUER, &foreign), Err(KeySetError::ForeignIssuer));
        for nonsense in
            [json!({}), json!([]), json!({ "issuer": ISSUER, "token_endpoint": ["https://a.example"] })]
        {
            assert_eq!(read(ISSUER, &nonsense), Err(KeySetError::Nonsense("a discovery document")));
        }
        let twice = br#"{"issuer":"https://accounts.example.com","token_endpoint":"https://a.example","token_endpoint":"https://b.example"}"#;
        assert!(origins(twice, ISSUER).is_err());
    }
}

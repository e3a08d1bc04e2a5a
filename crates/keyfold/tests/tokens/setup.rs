//! A verifier with its issuer and its clock, the claims of a good token, and a listener for log lines.

use std::fmt::{Debug, Write};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use keyfold::Environment;
use keyfold::auth::issuer::Issuer as IssuerSettings;
use keyfold::auth::{KeySetTimeouts, TokenRefusal, TokenVerifier, VerifiedToken};
use keyfold::clock::ManualClock;
use keyfold::settings::{Problems, Sources};
use serde_json::{Value, json};
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;

use keyfold_standin::Issuer;
use keyfold_standin::issuer::{RSA, SigningKey};

pub(crate) const CLERK_HOST: &str = "clever-cat-1.clerk.accounts.dev";
pub(crate) const CLERK: &str = "https://clever-cat-1.clerk.accounts.dev";
pub(crate) const APP: &str = "https://app.example.com";
pub(crate) const NOW: i64 = 1_795_348_800;

/// A verifier with its issuer and its clock.
pub(crate) struct Setup {
    pub(crate) issuer: Issuer,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) verifier: TokenVerifier,
}

impl Setup {
    /// Clerk, with its key set on this machine.
    pub(crate) async fn clerk(keys: &[&SigningKey]) -> Self {
        Self::with(Issuer::start_with(keys).await, |_, variables| {
            variables.extend([("KEYFOLD_AUTHORIZED_PARTIES", APP.to_owned())]);
        })
    }

    /// Any other issuer, with discovery.
    pub(crate) async fn other(keys: &[&SigningKey], variables: &[(&'static str, &str)]) -> Self {
        Self::with(Issuer::start_with(keys).await, |issuer, all| {
            all.push(("KEYFOLD_AUTH_ISSUER", issuer.url().to_owned()));
            all.retain(|(name, _)| !["CLERK_PUBLISHABLE_KEY", "KEYFOLD_AUTH_JWKS_URL"].contains(name));
            all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        })
    }

    pub(crate) fn with(
        issuer: Issuer,
        change: impl FnOnce(&Issuer, &mut Vec<(&'static str, String)>),
    ) -> Self {
        let mut variables = vec![
            (
                "CLERK_PUBLISHABLE_KEY",
                format!("pk_test_{}", BASE64.encode(format!("{CLERK_HOST}$").as_bytes())),
            ),
            ("KEYFOLD_AUTH_JWKS_URL", issuer.key_set_url()),
        ];
        change(&issuer, &mut variables);
        let clock = Arc::new(ManualClock::at(Timestamp::from_second(NOW).unwrap()));
        let verifier =
            TokenVerifier::new(&read_issuer(variables), Arc::clone(&clock) as _, KeySetTimeouts::default());
        Self { issuer, clock, verifier }
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        in_time(self.verifier.verify(token)).await
    }

    pub(crate) async fn user(&self, token: &str) -> String {
        self.verify(token).await.unwrap().user().user().to_string()
    }

    pub(crate) async fn refusal(&self, token: &str) -> TokenRefusal {
        self.verify(token).await.unwrap_err()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// How often the key set was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.issuer.key_set_requests()
    }

    /// Good claims at this setup's issuer.
    pub(crate) fn claims(&self, change: impl FnOnce(&mut Value)) -> Value {
        claims(|claims| {
            claims["iss"] = json!(self.issuer.url());
            change(claims);
        })
    }
}

pub(crate) fn read_issuer(variables: Vec<(&'static str, String)>) -> IssuerSettings {
    let dir = tempfile::tempdir().unwrap();
    let environment: Environment = [("DEBUG", "true".to_owned())].into_iter().chain(variables).collect();
    let sources = Sources::load(environment, dir.path()).unwrap();
    let mut problems = Problems::default();
    let issuer = IssuerSettings::read(&sources, &[APP.to_owned()], &mut problems);
    problems.into_result().unwrap();
    issuer.unwrap()
}

/// The claims of Clerk's session token, version 2.
pub(crate) fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "azp": APP, "exp": NOW + 60, "fva": [3, -1], "iat": NOW, "iss": CLERK, "jti": "0c2a", "nbf": NOW - 10,
        "o": {"id": "org_1", "rol": "admin"}, "sid": "sess_1", "sts": "active", "sub": "user_2abc", "v": 2,
    });
    change(&mut claims);
    claims
}

pub(crate) fn good() -> String {
    RSA.token(&claims(|_| ()))
}

pub(crate) fn token_of(user: &str) -> String {
    RSA.token(&claims(|claims| claims["sub"] = json!(user)))
}

/// A test that would hang fails.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

/// Whether this is not done after its first step.
pub(crate) fn waits(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Long enough for a request on this machine, usually. What must not happen is looked for after this.
pub(crate) async fn let_others_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets other tasks run until it is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    in_time(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Keyfold's own log lines of one thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Listens on this thread until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        // While a process has one listener only, `tracing` asks the thread on which an event first happens whether
        // anybody listens, and remembers a no for all threads. So there are always two more.
        static OTHERS: LazyLock<[Dispatch; 2]> =
            LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Log::default())));
        LazyLock::force(&OTHERS);
        let log = Self::default();
        let listening = tracing::subscriber::set_default(log.clone());
        tracing::callsite::rebuild_interest_cache();
        (log, listening)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("keyfold")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                let _ = write!(self.0, " {}={value:?}", field.name());
            }
        }
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

//! What every handler is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use keyfold::Keyfold;
use keyfold::auth::TokenVerifier;
use keyfold::auth::issuer::Issuer;
use keyfold::auth::local::LocalGuard;
use keyfold::auth::webhook::SigningSecret;
use keyfold::clock::{Random, random_bytes};
use keyfold::mode::Mode;

use crate::config::{Network, ServerConfig};
use crate::metrics::Metrics;
use crate::web::Pages;

/// The running application. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<AppState>);

/// Its parts.
pub struct AppState {
    /// The library.
    pub keyfold: Keyfold,
    /// Who may use local mode.
    pub guard: LocalGuard,
    /// Whose tokens count, if anybody's.
    pub issuer: Option<Issuer>,
    /// Verifies them. In production there always is one.
    pub verifier: Option<Arc<TokenVerifier>>,
    /// What Clerk's webhook messages are signed with; without it there is no webhook.
    pub webhook: Option<SigningSecret>,
    /// Networks of proxies that may say whom they forward for.
    pub trusted_proxies: Vec<Network>,
    /// People reach this Keyfold over HTTPS, whatever the last proxy says.
    pub is_public_over_https: bool,
    /// Browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Randomness for request ids and sessions.
    pub random: Arc<dyn Random>,
    /// Names requests.
    pub request_ids: RequestIds,
    /// Counters.
    pub metrics: Metrics,
    /// What browsers are shown.
    pub pages: Arc<Pages>,
    /// How long a request's body may take to arrive.
    pub body_timeout: std::time::Duration,
}

impl App {
    /// Puts the application together.
    pub fn new(keyfold: Keyfold, config: &ServerConfig, random: Arc<dyn Random>) -> Self {
        let origins = config.origins();
        let guard =
            LocalGuard::new(config.allowed_hosts.clone(), origins.clone(), config.local_token.clone());
        let verifier = config.issuer.as_ref().map(|issuer| Arc::new(keyfold.token_verifier(issuer)));
        // Clerk's own components know where to go, and local mode has no sign-in.
        let asks_issuer = |issuer: &&Issuer| {
            keyfold.mode() == Mode::Production && !issuer.is_clerk() && issuer.client_id.is_some()
        };
        let places = config.issuer.as_ref().filter(asks_issuer).map(|issuer| keyfold.sign_in_places(issuer));
        let pages = Pages::built_in(config.issuer.as_ref(), places);
        Self(Arc::new(AppState {
            pages: Arc::new(pages),
            metrics: Metrics::new(&keyfold, verifier.clone()),
            keyfold,
            guard,
            issuer: config.issuer.clone(),
            verifier,
            webhook: config.webhook.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            is_public_over_https: config.public_url.as_ref().is_some_and(|url| url.starts_with("https://")),
            allowed_origins: origins,
            request_ids: RequestIds::new(&*random),
            random,
            body_timeout: config.body_timeout,
        }))
    }
}

/// Ids of requests: no two of a process are the same, those of different processes hardly ever, and none says anything.
pub struct RequestIds {
    process: [u8; 4],
    first: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new(random: &dyn Random) -> Self {
        // Without randomness nothing else would work either.
        let process = random_bytes(random).unwrap_or_default();
        let first = u64::from_be_bytes(random_bytes(random).unwrap_or_default());
        Self { process, first, next: AtomicU64::new(0) }
    }

    /// A new one: 24 hex digits.
    pub fn make(&self) -> Arc<str> {
        let number = self.first.wrapping_add(self.next.fetch_add(1, Ordering::Relaxed));
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.process);
        id[4..].copy_from_slice(&mixed(number).to_be_bytes());
        let mut text = [0; 24];
        HEXLOWER.encode_mut(&id, &mut text);
        std::str::from_utf8(&text).unwrap_or_default().into()
    }
}

/// Different numbers for different numbers, with no likeness between those of neighbours (the finish of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl std::ops::Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}

//! What every handler is given.

use std::sync::Arc;

use keyfold::Keyfold;
use keyfold::auth::TokenVerifier;
use keyfold::auth::issuer::Issuer;
use keyfold::auth::local::LocalGuard;
use keyfold::auth::webhook::SigningSecret;
use keyfold::clock::Random;

use crate::config::{Network, ServerConfig};
use crate::metrics::Metrics;

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
    /// Counters.
    pub metrics: Metrics,
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
        Self(Arc::new(AppState {
            metrics: Metrics::new(&keyfold, verifier.clone()),
            keyfold,
            guard,
            issuer: config.issuer.clone(),
            verifier,
            webhook: config.webhook.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            is_public_over_https: config.public_url.as_ref().is_some_and(|url| url.starts_with("https://")),
            allowed_origins: origins,
            random,
            body_timeout: config.body_timeout,
        }))
    }
}

impl std::ops::Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}

//! What every handler is given.

use std::sync::Arc;

use keyfold::Keyfold;
use keyfold::auth::issuer::Issuer;
use keyfold::auth::local::LocalGuard;
use keyfold::clock::Random;

use crate::config::ServerConfig;
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
        Self(Arc::new(AppState {
            keyfold,
            guard,
            issuer: config.issuer.clone(),
            allowed_origins: origins,
            random,
            metrics: Metrics::new(),
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

//! The way to one provider: its addresses, its connections, and whether it can be reached.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::breaker::Breaker;
use super::connection::{Connector, TlsSettings};
use super::idle::IdleConnections;
use crate::error::Error;
use crate::provider::http::{IDLE_CONNECTION, Timeouts};
use crate::provider::{BaseAddress, Provider};

/// The body of a request, as hyper's client takes it.
pub type RequestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A provider, as the gateway reaches it.
pub struct Upstream {
    pub(crate) provider: Arc<Provider>,
    pub(crate) breaker: Breaker,
    main: Route,
    /// Some providers generate text elsewhere: what paths there begin with, and the way.
    generation: Option<(String, Route)>,
}

/// The way to one address.
pub(crate) struct Route {
    pub(crate) address: BaseAddress,
    pub(crate) host: HeaderValue,
    pub(crate) connector: Connector,
    pub(crate) idle: IdleConnections,
    client: OnceLock<Client<Connector, RequestBody>>,
}

impl Upstream {
    pub(super) fn new(
        provider: &Arc<Provider>,
        tls: &TlsSettings,
        proxies: &Matcher,
        timeouts: &Timeouts,
    ) -> Result<Self, Error> {
        let route = |address: &BaseAddress| {
            let connector = Connector::new(address, provider.http_2, tls, proxies, timeouts.connect);
            let host = HeaderValue::from_str(address.authority()).ok();
            let (Some(connector), Some(host)) = (connector, host) else {
                return Err(Error::Internal(format!("no request can be made to {address}")));
            };
            let (address, idle, client) = (address.clone(), IdleConnections::default(), OnceLock::new());
            Ok(Route { address, host, connector, idle, client })
        };
        let generation = match &provider.generate {
            Some(generate) if generate.address != provider.address => {
                let beginning = generate.path.split_inclusive('/').take(2).collect::<String>();
                Some((beginning, route(&generate.address)?))
            }
            _ => None,
        };
        Ok(Self {
            provider: Arc::clone(provider),
            breaker: Breaker::new(),
            main: route(&provider.address)?,
            generation,
        })
    }

    /// The provider.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// The way to this path.
    pub(crate) fn route(&self, path: &str) -> &Route {
        self.route_of(self.is_generation(path))
    }

    /// Whether text is generated at this path, where that is done elsewhere.
    pub(crate) fn is_generation(&self, path: &str) -> bool {
        self.generation.as_ref().is_some_and(|(beginning, _)| path.starts_with(beginning.as_str()))
    }

    pub(crate) fn route_of(&self, is_generation: bool) -> &Route {
        match &self.generation {
            Some((_, route)) if is_generation => route,
            _ => &self.main,
        }
    }

    pub(super) fn close_old_connections(&self) {
        self.main.idle.close_old();
        if let Some((_, route)) = &self.generation {
            route.idle.close_old();
        }
    }
}

impl Route {
    /// What makes requests that need hyper's client.
    pub(crate) fn client(&self) -> &Client<Connector, RequestBody> {
        self.client.get_or_init(|| {
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE_CONNECTION)
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .set_host(false)
                .build(self.connector.clone())
        })
    }
}

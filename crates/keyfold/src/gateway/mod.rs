//! The gateway: a request of a client library goes to its provider with the user's own key, and the answer comes back
//! as it is, unbuffered.
//!
//! Two ways lead through it, with the same rules. [`Gateway::forward`] takes every request that HTTP knows and leaves
//! both sides of it to hyper. [`direct`] takes the plain ones, which are nearly all, from a caller's connection to a
//! provider's without a task, a channel or a map in between. What is no plain request goes the other way, untouched.

mod breaker;
mod call;
mod connection;
mod crossing;
pub mod direct;
mod forward;
mod framing;
mod idle;
mod target;
mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;

pub use call::GatewayCaller;
pub use crossing::{CREDENTIAL_HEADERS, CREDENTIAL_IN_QUERY, Field, ON_EVERY_ANSWER, may_hold_a_credential};
pub use forward::{AnswerBody, RequestHead};
#[doc(hidden)]
pub use framing::{Chunks, Framing, MalformedFraming, Scanned};
pub use target::{MalformedTarget, PREFIX, Target};
pub use upstream::{RequestBody, Upstream};

use crate::audit::{Action, Event, Outcome, Purpose};
use crate::error::Error;
use crate::keys::Keys;
use crate::limit::Limits;
use crate::provider::Provider;
use crate::provider::http::Timeouts;
use crate::service_tokens::AuthenticatedService;
use crate::usage::AskedPath;
use crate::user::UserId;
use call::Call;
use connection::TlsSettings;

/// The ways to all providers of the registry.
pub struct Gateway {
    keys: Arc<Keys>,
    limits: Arc<Limits>,
    upstreams: HashMap<String, Arc<Upstream>>,
    timeouts: Timeouts,
}

impl Gateway {
    pub(crate) fn new(keys: &Arc<Keys>, limits: &Arc<Limits>, timeouts: Timeouts) -> Result<Self, Error> {
        let (tls, proxies) = (TlsSettings::new()?, Matcher::from_env());
        let upstream = |provider| Upstream::new(provider, &tls, &proxies, &timeouts).map(Arc::new);
        let upstreams =
            keys.registry.iter().map(|provider| Ok((provider.id.to_string(), upstream(provider)?)));
        let upstreams = upstreams.collect::<Result<_, Error>>()?;
        Ok(Self { keys: Arc::clone(keys), limits: Arc::clone(limits), upstreams, timeouts })
    }

    /// The way to the provider with this id.
    ///
    /// # Errors
    /// [`Error::UnknownProvider`].
    pub fn upstream(&self, provider: &str) -> Result<&Arc<Upstream>, Error> {
        self.upstreams.get(provider).ok_or_else(|| Error::UnknownProvider { known: self.keys.registry.ids() })
    }

    /// A backend service that acts for `user`. A refusal is recorded.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if its token is not for the gateway, this user or this provider.
    pub fn caller_of_service(
        &self,
        service: &AuthenticatedService,
        user: &UserId,
        provider: &Provider,
    ) -> Result<GatewayCaller, Error> {
        GatewayCaller::of_service(service, user, provider).inspect_err(|_| {
            let refused = Event::new(Action::KeyRefused, Outcome::Forbidden, service.requester());
            let mut refused = refused.of_user(user).at_provider(&provider.id);
            refused.purpose = Some(Purpose::Gateway);
            self.keys.audit.refused(refused);
        })
    }

    /// Closes connections that have not been used for a while.
    pub fn close_old_connections(&self) {
        self.upstreams.values().for_each(|upstream| upstream.close_old_connections());
    }

    /// Opens the caller's user's key, unless the provider counts as unreachable.
    async fn begin(
        &self,
        caller: GatewayCaller,
        upstream: &Arc<Upstream>,
        asked: AskedPath,
    ) -> Result<Call, Error> {
        upstream.breaker.may_try().map_err(|left| Error::ProviderAway {
            provider: upstream.provider.id.clone(),
            name: upstream.provider.name.clone(),
            retry_after: Duration::from_secs(left.as_secs() + 1),
        })?;
        Call::begin(&self.keys, &self.limits, caller, upstream, asked).await
    }
}

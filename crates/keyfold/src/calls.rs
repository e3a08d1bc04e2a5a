//! Calls made for a user with that user's own key: open, call, note what came of it.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use http::StatusCode;
use serde_json::Value;

use crate::Keyfold;
use crate::audit::{Outcome, Purpose, UseRecord};
use crate::auth::AuthenticatedUser;
use crate::error::Error;
use crate::figures::{Call, CallKind, CallOutcome};
use crate::keys::{KeyTicket, Keys, OpenedKey};
use crate::provider::answer::may_be_the_keys_fault;
use crate::provider::generate::{self, Generated, Part, Prompt, Usage, check_model_name};
use crate::provider::http::CallError;
use crate::provider::key_shape::looks_like_a_key;
use crate::provider::{Generate, Provider, ProviderId, Verdict, research};
use crate::usage::TokenCounts;
use crate::user::UserId;

/// The provider of a prompt that names none.
pub const DEFAULT_PROVIDER: &str = "gemini";

impl Keyfold {
    /// Generates a text with the user's key for `provider`.
    pub async fn generate(
        &self,
        user: &AuthenticatedUser,
        provider: &str,
        prompt: &Prompt,
    ) -> Result<Generated, Error> {
        let (provider, how) = self.generating(provider, prompt)?;
        let (key, mut ticket) = self.open_key_for(user, &provider, prompt).await?.into_parts();
        let call = self.keys().figures.call(provider.id.as_str(), CallKind::Generate);
        let usage = self.usage_of_call(user, &provider);
        let answered = generate::whole(&self.keys().http, &provider, &how, &key, prompt).await;
        drop(key);
        count(call, &answered);
        usage.ended(answered.as_ref().map(|answer| counts_of(&answer.model, answer.usage)));
        record(ticket.take_call(), &answered);
        ticket.note(answered).await
    }

    /// Begins to generate a text; dropping the stream ends the call at the provider.
    pub async fn generate_streamed(
        &self,
        user: &AuthenticatedUser,
        provider: &str,
        prompt: &Prompt,
    ) -> Result<impl Stream<Item = Result<Part, Error>> + Send + use<>, Error> {
        let (provider, how) = self.generating(provider, prompt)?;
        let (key, mut ticket) = self.open_key_for(user, &provider, prompt).await?.into_parts();
        let mut recorded = ticket.take_call();
        let http = Arc::clone(&self.keys().http);
        let call = self.keys().figures.call(provider.id.as_str(), CallKind::Generate);
        let mut usage = Some(self.usage_of_call(user, &provider));
        let begun = generate::streamed(http, &provider, &how, key, prompt).await;
        let mut call = if begun.is_ok() {
            call.answered();
            Some(call)
        } else {
            count(call, &begun);
            record(recorded.take(), &begun);
            if let Some(usage) = usage.take() {
                usage.ended(Err(()));
            }
            None
        };
        let parts = ticket.note_failure(begun).await?;
        // Status 200 is no success yet: a web page may come with it.
        let mut ticket = Some(ticket);
        Ok(parts.then(move |part| {
            // Dropped before either, the call counts as abandoned.
            if !matches!(part, Ok(Part::Text(_))) {
                if let Some(call) = call.take() {
                    call.ended(outcome_of(&part));
                }
                record(recorded.take(), &part);
                if let Some(usage) = usage.take() {
                    usage.ended(part.as_ref().map(Part::counts));
                }
            }
            let succeeded = if part.is_ok() { ticket.take() } else { None };
            let part = part.map_err(|error| error_of(&provider, error));
            async move {
                if let Some(ticket) = succeeded {
                    ticket.note_success().await;
                }
                part
            }
        }))
    }

    /// Searches the web with the user's Exa key; the answer is Exa's own.
    pub async fn research(
        &self,
        user: &AuthenticatedUser,
        query: &str,
        results: Option<u32>,
    ) -> Result<Value, Error> {
        let provider = self.keys().provider(research::PROVIDER)?;
        let (key, mut ticket) = self.open_key(user, &provider).await?.into_parts();
        let call = self.keys().figures.call(provider.id.as_str(), CallKind::Research);
        let usage = self.usage_of_call(user, &provider);
        let answered = research::search(&self.keys().http, &provider, &key, query, results).await;
        drop(key);
        count(call, &answered);
        usage.ended(answered.as_ref().map(|_| TokenCounts::default()));
        record(ticket.take_call(), &answered);
        ticket.note(answered).await
    }

    fn usage_of_call(&self, user: &AuthenticatedUser, provider: &Provider) -> CallUsage {
        let (keys, user, provider) = (Arc::clone(self.keys()), user.user().clone(), provider.id.clone());
        CallUsage { keys, user, provider, has_ended: false }
    }

    async fn open_key(&self, user: &AuthenticatedUser, provider: &Arc<Provider>) -> Result<OpenedKey, Error> {
        self.keys_of(user).await?.open_for(provider, Purpose::Research).await
    }

    /// Opens the key, unless one of the user's keys stands where the model's name belongs.
    async fn open_key_for(
        &self,
        user: &AuthenticatedUser,
        provider: &Arc<Provider>,
        prompt: &Prompt,
    ) -> Result<OpenedKey, Error> {
        let keys = self.keys_of(user).await?;
        if prompt.model.as_deref().is_some_and(|model| keys.repeated_in(model)) {
            return Err(key_as_model());
        }
        keys.open_for(provider, Purpose::Generate).await
    }

    fn generating(&self, provider: &str, prompt: &Prompt) -> Result<(Arc<Provider>, Generate), Error> {
        let provider = self.keys().provider(provider)?;
        if let Some(model) = &prompt.model {
            check_model_name(model)
                .map_err(|error| Error::InvalidRequest { field: "model".into(), why: error.to_string() })?;
            // The provider would repeat it in its error, and that is passed on and logged.
            if looks_like_a_key(&self.keys().registry, model) {
                return Err(key_as_model());
            }
        }
        let how = provider.generate.clone().ok_or_else(|| Error::InvalidRequest {
            field: "provider".into(),
            why: format!(
                "is {}, which does not generate text here; use one of {}",
                provider.id,
                self.generating_providers().join(", ")
            ),
        })?;
        Ok((provider, how))
    }

    fn generating_providers(&self) -> Vec<String> {
        let providers = self.keys().registry.iter();
        providers
            .filter(|provider| provider.generate.is_some())
            .map(|provider| provider.id.to_string())
            .collect()
    }
}

/// Counts a call in its user's usage: when it ends, or when it is given up.
struct CallUsage {
    keys: Arc<Keys>,
    user: UserId,
    provider: ProviderId,
    has_ended: bool,
}

impl CallUsage {
    fn ended<E>(mut self, counts: Result<TokenCounts, E>) {
        self.has_ended = true;
        let is_error = counts.is_err();
        self.record(&counts.unwrap_or_default(), is_error);
    }

    fn record(&self, counts: &TokenCounts, is_error: bool) {
        self.keys.usage.record(self.keys.clock.now(), &self.user, &self.provider, counts, is_error);
    }
}

impl Drop for CallUsage {
    fn drop(&mut self) {
        if !self.has_ended {
            self.record(&TokenCounts::default(), false);
        }
    }
}

impl Part {
    fn counts(&self) -> TokenCounts {
        match self {
            Self::Text(_) => TokenCounts::default(),
            Self::Done { model, usage } => counts_of(model, *usage),
        }
    }
}

fn counts_of(model: &str, usage: Usage) -> TokenCounts {
    TokenCounts { model: Some(model.to_owned()), input: usage.input_tokens, output: usage.output_tokens }
}

/// Counts a call that is over.
fn count<T>(call: Call, outcome: &Result<T, CallError>) {
    if matches!(outcome, Ok(_) | Err(CallError::Refused { .. } | CallError::Nonsense(_))) {
        call.answered();
    }
    call.ended(outcome_of(outcome));
}

fn outcome_of<T>(outcome: &Result<T, CallError>) -> CallOutcome {
    match outcome {
        Ok(_) => CallOutcome::Ok,
        Err(CallError::Refused { verdict: Verdict::Rejected, .. }) => CallOutcome::KeyRejected,
        Err(CallError::Refused { verdict: Verdict::Limited(_), .. }) => CallOutcome::Limited,
        Err(CallError::Refused { status, .. })
            if [StatusCode::TOO_MANY_REQUESTS, StatusCode::PAYMENT_REQUIRED].contains(status) =>
        {
            CallOutcome::Limited
        }
        Err(CallError::Refused { .. } | CallError::Reported(_)) => CallOutcome::Refused,
        Err(CallError::Unreachable(_)) => CallOutcome::Unreachable,
        Err(CallError::TimedOut) => CallOutcome::TimedOut,
        Err(CallError::TooLarge(_) | CallError::Nonsense(_) | CallError::BrokeOff) => CallOutcome::Unusable,
    }
}

/// Records how a call ended that a key was opened for.
fn record<T>(call: Option<UseRecord>, outcome: &Result<T, CallError>) {
    let Some(call) = call else { return };
    match outcome {
        Ok(_) => call.end(Outcome::Ok, Some(StatusCode::OK.as_u16())),
        Err(CallError::Refused { status, .. }) => call.end(Outcome::Failed, Some(status.as_u16())),
        Err(_) => call.end(Outcome::Failed, None),
    }
}

fn key_as_model() -> Error {
    Error::InvalidRequest {
        field: "model".into(),
        why: "looks like an API key; name a model here, and save the key on the keys page".into(),
    }
}

impl KeyTicket {
    /// Remembers what the outcome says of the key, and puts a failure in the user's words.
    async fn note<T>(&self, outcome: Result<T, CallError>) -> Result<T, Error> {
        let answer = self.note_failure(outcome).await?;
        self.note_success().await;
        Ok(answer)
    }

    async fn note_failure<T>(&self, outcome: Result<T, CallError>) -> Result<T, Error> {
        match outcome {
            Ok(answer) => Ok(answer),
            Err(error) => {
                match &error {
                    CallError::Refused { verdict: Verdict::Rejected, .. } => self.note_rejection().await,
                    CallError::Refused { status, .. } if may_be_the_keys_fault(*status) => {
                        self.check_soon().await;
                    }
                    _ => {}
                }
                Err(error_of(self.provider(), error))
            }
        }
    }
}

fn error_of(provider: &Provider, error: CallError) -> Error {
    let (id, name) = (provider.id.clone(), provider.name.clone());
    let failed = |status, detail| Error::Provider { provider: id.clone(), status, retry_after: None, detail };
    match error {
        CallError::Unreachable(cause) => Error::ProviderUnreachable { provider: id, name, cause },
        CallError::TimedOut => Error::ProviderTimeout { provider: id, name },
        CallError::Refused { verdict: Verdict::Rejected, .. } => {
            Error::KeyRejectedInUse { provider: id, name, setup_url: provider.setup_url.clone() }
        }
        CallError::Refused { status, retry_after, message, verdict } => {
            let words = message.map(|words| format!(" It says: {words}")).unwrap_or_default();
            let detail = match (status, verdict) {
                (_, Verdict::Limited(why)) => {
                    format!("{name} did not do it: {why}. Look at your account there.{words}")
                }
                (StatusCode::TOO_MANY_REQUESTS, _) => {
                    format!("{name} wants fewer requests from you at the moment. Try again later.{words}")
                }
                (status, _) if status.is_server_error() => {
                    format!("{name} has trouble of its own at the moment. Try again later.{words}")
                }
                _ => format!("{name} did not accept the request.{words}"),
            };
            Error::Provider { provider: id, status: Some(status.as_u16()), retry_after, detail }
        }
        CallError::TooLarge(_) => {
            failed(None, format!("{name} answered more than can be taken. Ask for less."))
        }
        CallError::Nonsense(what) => {
            failed(None, format!("{name} answered, but not as it should: {what}. Try again later."))
        }
        CallError::BrokeOff => failed(None, format!("The answer of {name} broke off. Try again.")),
        CallError::Reported(words) => {
            let words = words.map(|words| format!(" It says: {words}")).unwrap_or_default();
            failed(None, format!("{name} could not answer.{words}"))
        }
    }
}

//! The registry of providers: a table compiled in, extended by a file of the same form.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::address::BaseAddress;
use super::answer::AnswerRule;
use super::key_shape::{RefusedShape, Shape};

/// A provider's name in paths, tables and settings: lower-case letters, digits, `-` and `_`, at most 50.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(Arc<str>);

/// The text is no provider id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a provider's id has 1 to 50 lower-case letters, digits, - and _, and begins with a letter or digit")]
pub struct MalformedProviderId;

impl ProviderId {
    /// Takes a well-formed id, whether or not a provider has it.
    pub fn parse(text: &str) -> Result<Self, MalformedProviderId> {
        let well_formed = (1..=50).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.into())) } else { Err(MalformedProviderId) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a provider takes the key from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlacement {
    /// `Authorization: Bearer <key>`
    Bearer,
    /// A header of its own.
    Header(HeaderName),
}

impl KeyPlacement {
    /// The header's name, for people.
    pub fn header_name(&self) -> &str {
        match self {
            Self::Bearer => "Authorization",
            Self::Header(name) => name.as_str(),
        }
    }

    /// Whether this header, in any case, is the one that takes the key.
    pub(crate) fn is_header(&self, name: &str) -> bool {
        self.header_name().eq_ignore_ascii_case(name)
    }
}

/// The request and answer shapes that generation knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerateApi {
    /// `models/{model}:generateContent`
    Gemini,
    /// Chat completions, as OpenAI and those compatible with it.
    Openai,
    /// Responses, as OpenAI and those compatible with it.
    OpenaiResponses,
    /// Messages.
    Anthropic,
}

impl GenerateApi {
    /// The word in registry files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Openai => "openai",
            Self::OpenaiResponses => "openai_responses",
            Self::Anthropic => "anthropic",
        }
    }
}

/// Where a provider's client libraries look for the words of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `type` is `error`, and `error` an object with `type` and `message`.
    Anthropic,
    /// `detail` is an object with the words.
    Detail,
    /// `error` is the words.
    Error,
    /// `error` is an object with `code`, `message`, `status` and `details`.
    Google,
    /// `message` is the words.
    Message,
    /// `error` is an object with `message`, `type`, `param` and `code`; most others have copied it.
    #[default]
    Openai,
}

/// How text is generated with a provider.
#[derive(Debug, Clone)]
pub struct Generate {
    /// The shape.
    pub api: GenerateApi,
    /// Where, if elsewhere than the provider's own address.
    pub address: BaseAddress,
    /// The path of the endpoint (Gemini: of the models).
    pub path: String,
    /// The model if the caller names none.
    pub model: String,
    /// The name of the field that limits the answer's length.
    pub max_tokens_field: String,
    /// Whether a stream is asked to end with the token counts.
    pub stream_usage: bool,
}

/// A request that costs nothing and tells whether a key is live.
#[derive(Debug, Clone)]
pub struct Check {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// JSON to send.
    pub body: Option<String>,
    /// What answers to this request mean, before the provider's general rules.
    pub(super) answers: Vec<AnswerRule>,
}

/// All that is known of a provider.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its name for people.
    pub name: String,
    /// What it does for the user, in a sentence.
    pub description: String,
    /// Where its requests go.
    pub address: BaseAddress,
    /// Whether the gateway speaks HTTP/2 with it: many streams over few connections, where HTTP/1.1 has a connection
    /// for each.
    pub http_2: bool,
    /// Where the key goes.
    pub key_placement: KeyPlacement,
    /// Headers that every request needs.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where its client libraries look for the words of an error.
    pub errors: ErrorShape,
    /// The variable in the backend `.env`.
    pub variable: String,
    /// Further variables that its own libraries read.
    pub also_exported_as: Vec<String>,
    /// The variable in the frontend `.env`, for keys that are public by design.
    pub frontend_variable: Option<String>,
    /// Where a key is made.
    pub setup_url: String,
    /// How a key is made, step by step.
    pub setup_instructions: Vec<String>,
    /// What its keys look like, to follow "a key …".
    pub format_hint: String,
    /// The forms of its keys that are known; without any, every form counts as known.
    pub shapes: Vec<Shape>,
    /// Texts that stand within its keys and in no other provider's.
    pub inside: Vec<String>,
    /// Forms that must not be stored.
    pub refused: Vec<RefusedShape>,
    /// What its refusals mean.
    pub(super) answers: Vec<AnswerRule>,
    /// The free check, if there is one.
    pub check: Option<Check>,
    /// How it generates text, if it does.
    pub generate: Option<Generate>,
}

impl Provider {
    /// All names under which programs look for its key.
    pub fn variables(&self) -> impl Iterator<Item = &String> {
        let names = std::iter::once(&self.variable).chain(&self.also_exported_as);
        names.chain(&self.frontend_variable)
    }
}

/// The providers by id.
#[derive(Debug, Clone)]
pub struct Registry(BTreeMap<ProviderId, Arc<Provider>>);

impl Registry {
    pub(super) fn of(providers: impl IntoIterator<Item = (ProviderId, Provider)>) -> Self {
        Self(providers.into_iter().map(|(id, provider)| (id, Arc::new(provider))).collect())
    }

    /// The same with another base address for one provider, its generation included.
    #[must_use]
    pub fn with_address(mut self, id: &ProviderId, address: BaseAddress) -> Self {
        if let Some(provider) = self.0.get_mut(id) {
            let mut changed = Provider::clone(provider);
            if let Some(generate) = &mut changed.generate {
                generate.address = address.clone();
            }
            changed.address = address;
            *provider = Arc::new(changed);
        }
        self
    }

    /// The provider with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Provider>> {
        ProviderId::parse(id).ok().and_then(|id| self.0.get(&id))
    }

    /// All providers, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }

    /// All ids, in order.
    pub fn ids(&self) -> Vec<ProviderId> {
        self.0.keys().cloned().collect()
    }
}

//! The registry of providers: a table compiled in, extended by a file of the same form.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::address::{BaseAddress, MalformedAddress};
use super::answer::AnswerRule;
use super::key_shape::{RefusedShape, Shape};

const BUILT_IN: &str = include_str!("../../providers.toml");

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
}

/// The request and answer shapes that generation knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerateApi {
    /// `models/{model}:generateContent`
    Gemini,
    /// Chat completions, as OpenAI and those compatible with it.
    Openai,
    /// Messages.
    Anthropic,
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
    /// Where the key goes.
    pub key_placement: KeyPlacement,
    /// Headers that every request needs.
    pub headers: Vec<(HeaderName, HeaderValue)>,
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
    pub(super) shapes: Vec<Shape>,
    pub(super) refused: Vec<RefusedShape>,
    /// What its refusals mean.
    pub(super) answers: Vec<AnswerRule>,
    /// The free check, if there is one.
    pub check: Option<Check>,
    /// How it generates text, if it does.
    pub generate: Option<Generate>,
}

/// What is wrong with a registry file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Not TOML, or not of the form; the message has the line.
    #[error("{0}")]
    Form(String),
    /// A table's name is no provider id.
    #[error("[{0}]: {MalformedProviderId}")]
    Id(String),
    /// An address that must not be used.
    #[error("[{provider}] `{field}` {why}")]
    Address {
        /// The provider's id.
        provider: String,
        /// `address` or `generate.address`.
        field: &'static str,
        /// Why.
        why: MalformedAddress,
    },
    /// A header that HTTP does not allow.
    #[error("[{0}] has a header that is not allowed in HTTP")]
    Header(String),
    /// A path that does not begin with `/` or leaves the address.
    #[error("[{0}] has a path that does not begin with / or leaves the provider's address")]
    Path(String),
    /// A variable's name that no shell takes.
    #[error("[{0}] has a variable that is no name for an environment variable")]
    Variable(String),
    /// Two providers use one variable.
    #[error("[{first}] and [{second}] use the same variable `{variable}`")]
    SharedVariable {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The variable.
        variable: String,
    },
}

/// The providers by id.
#[derive(Debug, Clone)]
pub struct Registry(BTreeMap<ProviderId, Arc<Provider>>);

impl Registry {
    /// The providers that come with Keyfold.
    pub fn built_in() -> Result<Self, RegistryError> {
        Self::from_toml(None)
    }

    /// The built-in providers with those of `extra` added, or their fields changed.
    pub fn from_toml(extra: Option<&str>) -> Result<Self, RegistryError> {
        let mut table = parse(BUILT_IN)?;
        if let Some(extra) = extra {
            for (id, changed) in parse(extra)? {
                match (table.get_mut(&id), changed) {
                    (Some(toml::Value::Table(known)), toml::Value::Table(changed)) => known.extend(changed),
                    (_, changed) => drop(table.insert(id, changed)),
                }
            }
        }
        let mut providers = BTreeMap::new();
        for (id, value) in table {
            let parsed = ProviderId::parse(&id).map_err(|_| RegistryError::Id(id.clone()))?;
            let entry: Entry =
                value.try_into().map_err(|error| RegistryError::Form(format!("[{id}] {error}")))?;
            providers.insert(parsed.clone(), Arc::new(entry.into_provider(parsed)?));
        }
        let registry = Self(providers);
        registry.variables_are_distinct()?;
        Ok(registry)
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

    fn variables_are_distinct(&self) -> Result<(), RegistryError> {
        let mut seen: BTreeMap<&str, &ProviderId> = BTreeMap::new();
        for provider in self.iter() {
            let variables = std::iter::once(&provider.variable)
                .chain(&provider.also_exported_as)
                .chain(&provider.frontend_variable);
            for variable in variables {
                if let Some(first) = seen.insert(variable, &provider.id) {
                    return Err(RegistryError::SharedVariable {
                        first: first.to_string(),
                        second: provider.id.to_string(),
                        variable: variable.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<toml::Table, RegistryError> {
    toml::from_str(text).map_err(|error| RegistryError::Form(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    description: String,
    address: String,
    key_header: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    variable: String,
    #[serde(default)]
    also_exported_as: Vec<String>,
    frontend_variable: Option<String>,
    #[serde(default)]
    setup_url: String,
    #[serde(default)]
    setup_instructions: Vec<String>,
    #[serde(default)]
    format_hint: String,
    #[serde(default)]
    shapes: Vec<Shape>,
    #[serde(default)]
    refused: Vec<RefusedShape>,
    #[serde(default)]
    answers: Vec<AnswerRule>,
    check: Option<CheckEntry>,
    generate: Option<GenerateEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckEntry {
    method: CheckMethod,
    path: String,
    body: Option<String>,
    #[serde(default)]
    answers: Vec<AnswerRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CheckMethod {
    Get,
    Post,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateEntry {
    api: GenerateApi,
    address: Option<String>,
    path: String,
    model: String,
    max_tokens_field: Option<String>,
    stream_usage: Option<bool>,
}

impl Entry {
    fn into_provider(self, id: ProviderId) -> Result<Provider, RegistryError> {
        let address = parse_address(&id, "address", &self.address)?;
        let key_placement = match self.key_header {
            None => KeyPlacement::Bearer,
            Some(name) => KeyPlacement::Header(header_name(&id, &name)?),
        };
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| {
                let value =
                    HeaderValue::from_str(value).map_err(|_| RegistryError::Header(id.to_string()))?;
                Ok((header_name(&id, name)?, value))
            })
            .collect::<Result<_, RegistryError>>()?;
        let variables =
            std::iter::once(&self.variable).chain(&self.also_exported_as).chain(&self.frontend_variable);
        for variable in variables {
            if !is_variable_name(variable) {
                return Err(RegistryError::Variable(id.to_string()));
            }
        }
        let check = self.check.map(|check| {
            stays_under(&id, &address, &check.path)?;
            Ok(Check {
                method: match check.method {
                    CheckMethod::Get => Method::GET,
                    CheckMethod::Post => Method::POST,
                },
                path: check.path,
                body: check.body,
                answers: check.answers,
            })
        });
        let generate = self.generate.map(|generate| {
            let address = match generate.address {
                None => address.clone(),
                Some(text) => parse_address(&id, "generate.address", &text)?,
            };
            stays_under(&id, &address, &generate.path)?;
            Ok(Generate {
                api: generate.api,
                address,
                path: generate.path,
                model: generate.model,
                max_tokens_field: generate.max_tokens_field.unwrap_or_else(|| "max_tokens".into()),
                stream_usage: generate.stream_usage.unwrap_or(true),
            })
        });
        Ok(Provider {
            name: self.name,
            description: self.description,
            key_placement,
            headers,
            variable: self.variable,
            also_exported_as: self.also_exported_as,
            frontend_variable: self.frontend_variable,
            setup_url: self.setup_url,
            setup_instructions: self.setup_instructions,
            format_hint: self.format_hint,
            shapes: self.shapes,
            refused: self.refused,
            answers: self.answers,
            check: check.transpose()?,
            generate: generate.transpose()?,
            address,
            id,
        })
    }
}

fn parse_address(id: &ProviderId, field: &'static str, text: &str) -> Result<BaseAddress, RegistryError> {
    BaseAddress::parse(text).map_err(|why| RegistryError::Address { provider: id.to_string(), field, why })
}

fn header_name(id: &ProviderId, name: &str) -> Result<HeaderName, RegistryError> {
    name.parse().map_err(|_| RegistryError::Header(id.to_string()))
}

fn stays_under(id: &ProviderId, address: &BaseAddress, path: &str) -> Result<(), RegistryError> {
    address.join(path).map(drop).ok_or_else(|| RegistryError::Path(id.to_string()))
}

fn is_variable_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

//! The providers: names, where each takes its key, and its free check.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A provider the stand-in can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Gemini,
    Exa,
    CopilotKit,
    OpenAi,
    Anthropic,
    Mistral,
    Groq,
    DeepSeek,
    Xai,
    Cohere,
    Tavily,
    Serper,
    Firecrawl,
    Perplexity,
    OpenRouter,
    Together,
    Stability,
    ElevenLabs,
    HuggingFace,
}

/// The ids of all providers, in the order of the registry.
pub const PROVIDERS: [&str; 19] = [
    "gemini",
    "exa",
    "copilotkit",
    "openai",
    "anthropic",
    "mistral",
    "groq",
    "deepseek",
    "xai",
    "cohere",
    "tavily",
    "serper",
    "firecrawl",
    "perplexity",
    "openrouter",
    "together",
    "stability",
    "elevenlabs",
    "huggingface",
];

impl Provider {
    pub(crate) const ALL: [Self; PROVIDERS.len()] = [
        Self::Gemini,
        Self::Exa,
        Self::CopilotKit,
        Self::OpenAi,
        Self::Anthropic,
        Self::Mistral,
        Self::Groq,
        Self::DeepSeek,
        Self::Xai,
        Self::Cohere,
        Self::Tavily,
        Self::Serper,
        Self::Firecrawl,
        Self::Perplexity,
        Self::OpenRouter,
        Self::Together,
        Self::Stability,
        Self::ElevenLabs,
        Self::HuggingFace,
    ];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn id(self) -> &'static str {
        PROVIDERS[self.index()]
    }

    pub(crate) fn named(id: &str) -> Option<Self> {
        let at = PROVIDERS.iter().position(|known| *known == id)?;
        Some(Self::ALL[at])
    }

    /// As [`Provider::named`], for callers whose provider is written in their own source.
    ///
    /// # Panics
    /// If there is no such provider.
    #[track_caller]
    pub(crate) fn must(id: &str) -> Self {
        match Self::named(id) {
            Some(provider) => provider,
            None => panic!("the stand-in knows no provider {id:?}; it knows {PROVIDERS:?}"),
        }
    }

    /// The header of its own in which the provider takes the key; `None`: `Authorization: Bearer`.
    pub(crate) const fn own_header(self) -> Option<&'static str> {
        match self {
            Self::Gemini => Some("x-goog-api-key"),
            Self::Exa | Self::Anthropic | Self::Serper => Some("x-api-key"),
            Self::CopilotKit => Some("x-copilotcloud-public-api-key"),
            Self::ElevenLabs => Some("xi-api-key"),
            _ => None,
        }
    }

    /// The key as it stands in the provider's own place, if it stands there.
    pub(crate) fn key_in<'h>(self, path: &str, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        let own = match self.own_header() {
            Some(name) => headers.get(name).map(HeaderValue::as_bytes),
            None => bearer(headers),
        };
        // Gemini's OpenAI-compatible endpoints take the key as OpenAI's do, and Anthropic's newer libraries put it there.
        let also_bearer = self == Self::Anthropic || (self == Self::Gemini && is_openai_compatible(path));
        if own.is_none() && also_bearer {
            return bearer(headers).filter(|key| !key.is_empty());
        }
        own.filter(|key| !key.is_empty())
    }
}

/// Whether the path belongs to Gemini's OpenAI-compatible endpoints.
pub(crate) fn is_openai_compatible(path: &str) -> bool {
    path.starts_with("/v1beta/openai/")
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(http::header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The header a provider takes its key in, filled with `key`.
///
/// # Panics
/// If there is no such provider, or `key` cannot stand in a header.
pub fn credential(provider: &str, key: &str) -> (HeaderName, HeaderValue) {
    match Provider::must(provider).own_header() {
        Some(name) => (
            HeaderName::from_static(name),
            HeaderValue::from_str(key).expect("a key that can stand in a header"),
        ),
        None => (
            http::header::AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {key}")).expect("a key that can stand in a header"),
        ),
    }
}

/// The request with which a provider's key can be checked free of charge (for CopilotKit, which has none, a
/// plain call), relative to the provider's base address.
///
/// # Panics
/// If there is no such provider.
pub fn free_check(provider: &str) -> (Method, &'static str) {
    match Provider::must(provider) {
        Provider::Gemini => (Method::GET, "/v1beta/models"),
        Provider::Exa => (Method::POST, "/search"),
        Provider::CopilotKit => (Method::POST, "/"),
        Provider::OpenAi
        | Provider::Anthropic
        | Provider::Mistral
        | Provider::Perplexity
        | Provider::Together => (Method::GET, "/v1/models"),
        Provider::Groq => (Method::GET, "/openai/v1/models"),
        Provider::DeepSeek => (Method::GET, "/models"),
        Provider::Xai => (Method::GET, "/v1/api-key"),
        Provider::Cohere => (Method::POST, "/v1/check-api-key"),
        Provider::Tavily => (Method::GET, "/usage"),
        Provider::Serper => (Method::GET, "/account"),
        Provider::Firecrawl => (Method::GET, "/v2/team/credit-usage"),
        Provider::OpenRouter => (Method::GET, "/v1/key"),
        Provider::Stability => (Method::GET, "/v1/user/balance"),
        Provider::ElevenLabs => (Method::GET, "/v1/user"),
        Provider::HuggingFace => (Method::GET, "/api/whoami-v2"),
    }
}

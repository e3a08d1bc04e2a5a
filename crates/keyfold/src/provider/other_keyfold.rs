//! Another Keyfold, to which a developer's own keys go: the one address that no registry names, so whoever calls names
//! it and confirms it. Its words are shown only where they repeat neither key nor token.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::http::{cause, client_builder, fit_to_show, put_key};
use super::{BaseAddress, KeyPlacement, ProviderId};
use crate::secret::ApiKey;

/// How much of an answer is read.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To accept a connection.
    pub connect: Duration,
    /// For a whole answer; it asks the provider meanwhile.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(60) }
    }
}

/// Another Keyfold, and the user's own token for it.
pub struct OtherKeyfold {
    address: BaseAddress,
    token: ApiKey,
    client: reqwest::Client,
}

/// Why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtherKeyfoldError {
    /// No connection, or it broke.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("there was no answer in time")]
    TimedOut,
    /// It is something else.
    #[error("what answers there is no Keyfold: {0}")]
    NotKeyfold(String),
    /// It refused, and says why.
    #[error("{detail}")]
    Refused {
        /// The status.
        status: u16,
        /// The problem's code.
        code: String,
        /// The problem's words.
        detail: String,
        /// Seconds after which it is worth trying again.
        retry_after: Option<u64>,
    },
}

/// What a Keyfold says of itself to anybody.
#[derive(Debug, Deserialize)]
pub struct OtherConfig {
    /// `local` or `production`
    pub mode: String,
}

/// A key that the user has there.
#[derive(Debug, Deserialize)]
pub struct OtherKey {
    /// The provider's id.
    pub provider: String,
    /// Its last characters.
    pub masked: String,
}

/// A key that was saved there.
#[derive(Debug, Deserialize)]
pub struct OtherSaved {
    /// What its check came to.
    pub status: String,
    /// What the user should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl OtherKeyfold {
    /// Connects to nothing yet.
    pub fn new(address: BaseAddress, token: ApiKey, patience: Patience) -> Result<Self, OtherKeyfoldError> {
        let builder = client_builder(address.is_loopback(), patience.connect).timeout(patience.answer);
        let client = builder.build().map_err(|error| OtherKeyfoldError::Unreachable(cause(error)))?;
        Ok(Self { address, token, client })
    }

    /// What it says of itself; asked without the token.
    pub async fn config(&self) -> Result<OtherConfig, OtherKeyfoldError> {
        let answer = self.call(Method::GET, "/api/config", None, None).await?;
        serde_json::from_value(answer)
            .map_err(|_| OtherKeyfoldError::NotKeyfold("/api/config does not say a mode".into()))
    }

    /// The keys that the user has there.
    pub async fn keys(&self) -> Result<Vec<OtherKey>, OtherKeyfoldError> {
        let mut answer = self.call(Method::GET, "/api/keys", Some(&self.token), None).await?;
        serde_json::from_value(answer["keys"].take())
            .map_err(|_| OtherKeyfoldError::NotKeyfold("/api/keys has no list of keys".into()))
    }

    /// Saves a key there, where it is checked first.
    pub async fn save(&self, provider: &ProviderId, key: &ApiKey) -> Result<OtherSaved, OtherKeyfoldError> {
        let path = format!("/api/keys/{provider}");
        let answer = self.call(Method::PUT, &path, Some(&self.token), Some(key)).await?;
        let mut saved: OtherSaved = serde_json::from_value(answer)
            .map_err(|_| OtherKeyfoldError::NotKeyfold("it does not say what became of the key".into()))?;
        saved.warnings = saved.warnings.iter().filter_map(|words| self.shown(words, Some(key))).collect();
        saved.status = self.shown(&saved.status, Some(key)).unwrap_or_default();
        Ok(saved)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&ApiKey>,
        key: Option<&ApiKey>,
    ) -> Result<Value, OtherKeyfoldError> {
        let unfit = |what: &str| OtherKeyfoldError::Unreachable(format!("{what} does not fit a request"));
        let url = self.address.join(path).ok_or_else(|| unfit("the address"))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            put_key(&mut headers, &KeyPlacement::Bearer, token).map_err(|_| unfit("the token"))?;
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(key) = key {
            request = request.header(CONTENT_TYPE, "application/json").body(body_with(key));
        }
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Zeroizing::new(vec![]);
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(OtherKeyfoldError::NotKeyfold("its answer is too large".into()));
            }
            body.extend_from_slice(&chunk);
        }
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            return json.ok_or_else(|| OtherKeyfoldError::NotKeyfold("its answer is not JSON".into()));
        }
        let status = status.as_u16();
        let word = |name: &str| json.as_ref()?.get(name)?.as_str().and_then(|words| self.shown(words, key));
        match (word("code"), word("detail")) {
            (Some(code), Some(detail)) => {
                Err(OtherKeyfoldError::Refused { status, code, detail, retry_after })
            }
            _ if (300..400).contains(&status) => Err(OtherKeyfoldError::NotKeyfold(format!(
                "it leads elsewhere (status {status}), and keys do not follow; give the address that it leads to"
            ))),
            _ => Err(OtherKeyfoldError::NotKeyfold(format!("it answered with status {status}"))),
        }
    }

    /// Its words, without control characters, unless they repeat a part of the key or the token.
    fn shown(&self, words: &str, key: Option<&ApiKey>) -> Option<String> {
        let words = fit_to_show(words, &self.token)?;
        key.map_or(Some(words.clone()), |key| fit_to_show(&words, key))
    }
}

/// No character of a key has a meaning within JSON's quotes.
#[expect(clippy::disallowed_methods, reason = "the key enters the request that it was opened for")]
fn body_with(key: &ApiKey) -> Vec<u8> {
    [r#"{"key":""#, key.expose(), r#""}"#].concat().into_bytes()
}

fn unanswered(error: reqwest::Error) -> OtherKeyfoldError {
    if error.is_timeout() {
        OtherKeyfoldError::TimedOut
    } else {
        OtherKeyfoldError::Unreachable(cause(error))
    }
}

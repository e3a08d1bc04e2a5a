//! Requests to providers: the only place that makes outbound connections with a key.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, InvalidHeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::redirect::Policy;
use serde_json::Value;
use zeroize::Zeroizing;

use super::answer::{self, Answer, Verdict};
use super::{BaseAddress, KeyPlacement, Provider};
use crate::secret::ApiKey;

/// How much of a refusal is read.
const REFUSAL_LIMIT: usize = 64 * 1024;
/// How much of a provider's own words is passed on, in characters.
const MESSAGE_LIMIT: usize = 300;
/// How long a connection stays open without a request. Its buffers hold the last one, key and all.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// A run of this many letters and digits of the key in a provider's words makes them unfit to show.
const TELLING_RUN: usize = 8;

/// How long a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To begin its answer, after the request was sent.
    pub first_byte: Duration,
    /// Between two parts of its answer.
    pub idle: Duration,
    /// For the whole of a key check.
    pub check: Duration,
    /// Through the gateway, to begin its answer: callers have a limit of their own, and some models think for minutes.
    pub gateway_first_byte: Duration,
    /// Through the gateway, between two parts of its answer.
    pub gateway_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            check: Duration::from_secs(10),
            gateway_first_byte: Duration::from_secs(900),
            gateway_idle: Duration::from_secs(600),
        }
    }
}

/// Why a call to a provider gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection, or it broke before an answer came.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The provider said no.
    #[error("the provider answered {status}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, as it was sent.
        retry_after: Option<String>,
        /// Its own words, if they are fit to show.
        message: Option<String>,
        /// Whether the key was the reason.
        verdict: Verdict,
    },
    /// More than is taken.
    #[error("the answer was larger than {0} bytes")]
    TooLarge(usize),
    /// Not what the provider's documentation says.
    #[error("the answer made no sense: {0}")]
    Nonsense(String),
    /// The stream ended before it was complete.
    #[error("the answer broke off")]
    BrokeOff,
    /// The provider told of a failure inside its stream, or declined to answer.
    #[error("the provider reported a failure")]
    Reported(Option<String>),
}

/// The client for all providers. Holds no key; its pooled connections carry none between requests.
pub struct HttpClient {
    timeouts: Timeouts,
    /// For this machine: never through a proxy, which would see the key.
    direct: OnceLock<reqwest::Client>,
    /// For everything else: through the proxy that the environment names, if any.
    outward: OnceLock<reqwest::Client>,
}

/// A request to a provider, without the key.
pub(crate) struct Request<'a> {
    pub(crate) address: &'a BaseAddress,
    pub(crate) method: Method,
    /// Begins with `/`.
    pub(crate) path: &'a str,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) accept: &'static str,
}

impl HttpClient {
    /// Connects to nothing until the first request.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, direct: OnceLock::new(), outward: OnceLock::new() }
    }

    /// How long providers may take.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn client_for(&self, address: &BaseAddress) -> Result<&reqwest::Client, CallError> {
        let local = address.is_loopback();
        let cell = if local { &self.direct } else { &self.outward };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let builder = client_builder(local, self.timeouts.connect);
        let client = builder.build().map_err(|error| CallError::Unreachable(cause(error)))?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends the request with the key in its place and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        provider: &Provider,
        request: Request<'_>,
        key: &ApiKey,
    ) -> Result<reqwest::Response, CallError> {
        let url = request
            .address
            .join(request.path)
            .ok_or_else(|| CallError::Nonsense("a path that leaves the provider's address".into()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(request.accept));
        for (name, value) in &provider.headers {
            headers.insert(name.clone(), value.clone());
        }
        put_key(&mut headers, &provider.key_placement, key)
            .map_err(|_| CallError::Nonsense("the key does not fit a header".into()))?;
        let mut outgoing = self.client_for(request.address)?.request(request.method, url).headers(headers);
        if let Some(body) = request.body {
            outgoing = outgoing.header(CONTENT_TYPE, "application/json").body(body);
        }
        match tokio::time::timeout(self.timeouts.first_byte, outgoing.send()).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(error)) if error.is_timeout() => Err(CallError::TimedOut),
            Ok(Err(error)) => Err(CallError::Unreachable(cause(error))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// Sends a request and reads a whole JSON answer of at most `limit` bytes.
    pub(crate) async fn json(
        &self,
        provider: &Provider,
        request: Request<'_>,
        key: &ApiKey,
        limit: usize,
    ) -> Result<Value, CallError> {
        let response = self.send(provider, request, key).await?;
        let response = self.successful(provider, response, key).await?;
        let body = self.read(response, limit).await?;
        serde_json::from_slice(&body).map_err(|_| CallError::Nonsense("it is not JSON".into()))
    }

    /// The response if it is a success, else what its refusal means.
    pub(crate) async fn successful(
        &self,
        provider: &Provider,
        response: reqwest::Response,
        key: &ApiKey,
    ) -> Result<reqwest::Response, CallError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        let body = self.read_beginning(response, REFUSAL_LIMIT).await;
        Err(CallError::Refused {
            status,
            retry_after,
            message: message(&body, key),
            verdict: answer::of_use(provider, &Answer { status, body: &body }),
        })
    }

    /// The next part of a body; `None` at its end.
    pub(crate) async fn next_chunk(
        &self,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, CallError> {
        match tokio::time::timeout(self.timeouts.idle, response.chunk()).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(Err(_)) => Err(CallError::BrokeOff),
            Ok(Ok(chunk)) => Ok(chunk),
        }
    }

    async fn read(&self, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut response).await? {
            if body.len() + chunk.len() > limit {
                return Err(CallError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What there is of a body, at most `limit` bytes; a broken one is cut short.
    pub(crate) async fn read_beginning(&self, mut response: reqwest::Response, limit: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < limit {
            match self.next_chunk(&mut response).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]),
                Ok(None) | Err(_) => break,
            }
        }
        body
    }
}

/// What holds for every request: no redirects; to this machine never through a proxy, to others only encrypted.
pub(super) fn client_builder(local: bool, connect: Duration) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("keyfold/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true);
    if local { builder.no_proxy() } else { builder.https_only(true) }
}

/// Puts the key into the one header that takes it.
#[expect(clippy::disallowed_methods, reason = "the key enters the request that it was opened for")]
pub(crate) fn put_key(
    headers: &mut HeaderMap,
    placement: &KeyPlacement,
    key: &ApiKey,
) -> Result<(), InvalidHeaderValue> {
    let (name, mut value) = match placement {
        KeyPlacement::Bearer => {
            let bearer = Zeroizing::new(format!("Bearer {}", key.expose()));
            (AUTHORIZATION, HeaderValue::from_str(&bearer)?)
        }
        KeyPlacement::Header(name) => (name.clone(), HeaderValue::from_str(key.expose())?),
    };
    // Keeps it out of the trace logs of the HTTP libraries and out of HPACK's shared table.
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// The innermost cause, without the address (which may hold a query).
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3); nothing else is passed on.
fn retry_after(value: &str) -> Option<String> {
    let seconds = value.len() <= 10 && value.bytes().all(|byte| byte.is_ascii_digit());
    let date =
        value.len() == 29 && value.ends_with(" GMT") && value.is_char_boundary(3) && &value[3..5] == ", ";
    (!value.is_empty() && (seconds || date)).then(|| value.to_owned())
}

/// The provider's own words on an error, if they are fit to show.
fn message(body: &[u8], key: &ApiKey) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let text = ["/error/message", "/message", "/detail/message", "/detail", "/error"]
        .iter()
        .find_map(|pointer| json.pointer(pointer).and_then(Value::as_str))
        .or_else(|| json.pointer("/0/error/message").and_then(Value::as_str))?;
    fit_to_show(text, key)
}

/// A provider's words, shortened, unless they repeat a part of the key, in whatever grouping.
#[expect(clippy::disallowed_methods, reason = "words that repeat the key must not be passed on")]
pub(crate) fn fit_to_show(words: &str, key: &ApiKey) -> Option<String> {
    let text: String =
        words.chars().filter(|character| !character.is_control()).take(MESSAGE_LIMIT).collect();
    let letters = |text: &str| -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.bytes().filter(u8::is_ascii_alphanumeric).collect())
    };
    let (said, key) = (letters(words), letters(key.expose()));
    let run = TELLING_RUN.min(key.len()).max(1);
    let repeats = key.windows(run).any(|part| said.windows(run).any(|window| window == part));
    (!text.is_empty() && !repeats).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_repeats_the_key_is_not_quoted() {
        let key = ApiKey::parse("sk-test-1234567890abcdef").unwrap();
        let body = |text: &str| serde_json::json!({ "error": { "message": text } }).to_string();
        let quoted = |text: &str| message(body(text).as_bytes(), &key);
        assert_eq!(quoted("model not found").as_deref(), Some("model not found"));
        assert_eq!(quoted("bad key sk-test-1234567890abcdef"), None);
        assert_eq!(quoted("bad key sk-****67890abcdef"), None);
        assert_eq!(quoted("bad key sk-****cdef").as_deref(), Some("bad key sk-****cdef"));
        assert_eq!(quoted("bad key sk-t-est-1-234-567-890"), None);
        assert_eq!(message(b"<html>", &key), None);
    }

    #[test]
    fn only_a_time_is_passed_on_as_retry_after() {
        for good in ["7", "120", "Sun, 22 Nov 2026 16:13:38 GMT"] {
            assert_eq!(retry_after(good).as_deref(), Some(good));
        }
        for bad in ["", "sk-test-1234567890abcdef", "7 s", "99999999999", "x, sk-test-1234567890abcd GMTx"] {
            assert_eq!(retry_after(bad), None, "{bad}");
        }
    }
}

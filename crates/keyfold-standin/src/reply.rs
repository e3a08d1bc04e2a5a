//! An answer before it is sent, and the request it answers.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::Options;
use crate::provider::Provider;
use crate::wish::Wish;

pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// The time all answers bear: answers are the same on every run.
pub(crate) const CREATED: u64 = 1_767_225_600;

/// A request, and what is known about it.
pub(crate) struct Call<'a> {
    pub(crate) provider: Provider,
    pub(crate) method: &'a Method,
    /// Below the provider's base address.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    /// From the provider's own place; empty if there is none.
    pub(crate) key: &'a str,
    pub(crate) fingerprint: &'a str,
    /// What its body asks for.
    pub(crate) wish: Option<Wish<'a>>,
    pub(crate) sequence: u64,
    pub(crate) options: &'a Options,
}

impl Call<'_> {
    pub(crate) fn is_get(&self) -> bool {
        *self.method == Method::GET
    }

    pub(crate) fn is_post(&self) -> bool {
        *self.method == Method::POST
    }

    /// A request id, as providers put into their answers.
    pub(crate) fn request_id(&self) -> String {
        format!("req_{:016x}", self.sequence)
    }

    pub(crate) fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(self.body)
    }
}

/// A streamed body. Only the text is counted when a behaviour asks for so many pieces.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) before: Vec<Bytes>,
    pub(crate) text: Vec<Bytes>,
    pub(crate) after: Vec<Bytes>,
    /// What the provider sends when it fails in the middle.
    pub(crate) error: Bytes,
}

pub(crate) enum Payload {
    Whole(Bytes),
    Stream(Stream),
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, payload: Payload) -> Self {
        let status = StatusCode::from_u16(status).expect("the stand-in's own status codes are in range");
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, payload }
    }

    pub(crate) fn raw(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(status, content_type, Payload::Whole(body.into()))
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, JSON, body.to_string())
    }

    pub(crate) fn sse(stream: Stream) -> Self {
        Self::new(200, "text/event-stream; charset=utf-8", Payload::Stream(stream))
            .with("cache-control", "no-cache")
    }

    pub(crate) fn stream(content_type: &'static str, stream: Stream) -> Self {
        Self::new(200, content_type, Payload::Stream(stream))
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }
}

/// The text as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

pub(crate) fn words(text: &str) -> usize {
    text.split_ascii_whitespace().count()
}

/// What the stand-in says to a prompt, and what that "costs".
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) input: usize,
    pub(crate) output: usize,
}

impl Said {
    pub(crate) fn new(call: &Call<'_>, prompt: &str, input: usize) -> Self {
        let mut text = answer_text_for(call.fingerprint, prompt);
        let mut output = words(&text);
        while output < call.options.min_words {
            text.push_str(" more");
            output += 1;
        }
        Self { text, input: input.max(1), output }
    }

    pub(crate) fn total(&self) -> usize {
        self.input + self.output
    }

    /// The text in at most `options.chunks` pieces, divided between words.
    pub(crate) fn pieces(&self, options: &Options) -> Vec<&str> {
        let starts: Vec<usize> = std::iter::once(0)
            .chain(self.text.match_indices(' ').map(|(at, space)| at + space.len()))
            .collect();
        let pieces = options.chunks.clamp(1, starts.len());
        (0..pieces)
            .map(|piece| {
                let from = starts[piece * starts.len() / pieces];
                let to = starts.get((piece + 1) * starts.len() / pieces).copied();
                &self.text[from..to.unwrap_or(self.text.len())]
            })
            .collect()
    }
}

/// The text with which the stand-in answers `prompt` for `key`.
pub fn answer_text(key: &str, prompt: &str) -> String {
    answer_text_for(&crate::fingerprint(key), prompt)
}

pub(crate) fn answer_text_for(fingerprint: &str, prompt: &str) -> String {
    format!("fp={fingerprint} You asked: {prompt}")
}

/// The text of a message's content: a string, or parts that each have a `text`.
pub(crate) fn content_text(content: &Value) -> Cow<'_, str> {
    match content {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(parts) => {
            let mut texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            match (texts.next(), texts.next()) {
                (None, _) => Cow::Borrowed(""),
                (Some(only), None) => Cow::Borrowed(only),
                (Some(first), Some(second)) => {
                    let rest = std::iter::once(second).chain(texts);
                    Cow::Owned(std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n"))
                }
            }
        }
        _ => Cow::Borrowed(""),
    }
}

/// The last user message's text, and the number of words in all messages, for `messages` of role and content.
pub(crate) fn conversation(messages: &[Value]) -> (Cow<'_, str>, usize) {
    let mut count = 0;
    let mut prompt = Cow::Borrowed("");
    for message in messages {
        let text = message.get("content").map_or(Cow::Borrowed(""), content_text);
        count += words(&text);
        if message.get("role").and_then(Value::as_str).is_none_or(|role| role == "user") {
            prompt = text;
        }
    }
    (prompt, count)
}

/// A query parameter's raw value.
pub(crate) fn query_value<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

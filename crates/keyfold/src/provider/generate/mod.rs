//! Generating text with a provider, whole or as a stream.
//!
//! Written here and not left to a client library, because the key passes through: the header is marked
//! sensitive, answers are capped, and no body reaches a log (see ARCHITECTURE.md, "Calling providers").

mod anthropic;
mod gemini;
mod openai;
mod responses;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::http::{CallError, HttpClient, Request, fit_to_show};
use super::server_sent_events::{Event, EventReader};
use super::{Generate, GenerateApi, Provider};
use crate::secret::ApiKey;

/// The longest whole answer, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// The longest streamed answer, in bytes as they come: each piece of text has a few hundred bytes around it.
const STREAM_LIMIT: usize = 64 * 1024 * 1024;
/// The longest model name, in bytes.
const MODEL_LIMIT: usize = 200;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// The user's words.
    pub text: String,
    /// Instructions for the model.
    pub system: Option<String>,
    /// The model, unless the registry's default.
    pub model: Option<String>,
    /// The most tokens that the answer may have.
    pub max_tokens: Option<u32>,
}

/// Tokens of a call; `None` where the provider did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the question.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// The model that wrote it, as the provider names it.
    pub model: String,
    /// What it took.
    pub usage: Usage,
}

/// A part of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// More text.
    Text(String),
    /// The end of a complete answer.
    Done {
        /// The model that wrote it.
        model: String,
        /// What it took.
        usage: Usage,
    },
}

/// A model name that no provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a model's name: at most 200 letters, digits and . _ : / @ -, and no .. in it")]
pub struct MalformedModel;

/// Checks a model's name: it becomes part of a path.
pub fn check_model_name(name: &str) -> Result<(), MalformedModel> {
    let fine = (1..=MODEL_LIMIT).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte))
        && !name.contains("..")
        && !name.contains("//");
    if fine { Ok(()) } else { Err(MalformedModel) }
}

/// What an answer, or a part of a streamed one, says.
#[derive(Default)]
struct Said {
    text: String,
    model: Option<String>,
    usage: Usage,
    /// The provider says that the text is complete.
    complete: bool,
    /// The provider says that nothing follows.
    last: bool,
    /// The provider tells of a failure.
    failure: Option<Failure>,
}

/// A failure that a provider tells of inside an answer, with its words if it has any.
struct Failure(Option<String>);

impl Failure {
    fn told(self, key: &ApiKey) -> CallError {
        CallError::Reported(self.0.and_then(|words| fit_to_show(&words, key)))
    }
}

/// The model that a provider names, if that is a name.
fn named_model(named: Option<String>, key: &ApiKey) -> Option<String> {
    named.filter(|name| check_model_name(name).is_ok() && fit_to_show(name, key).is_some())
}

impl Usage {
    fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
    }
}

/// Generates the whole answer.
pub(crate) async fn whole(
    http: &HttpClient,
    provider: &Provider,
    generate: &Generate,
    key: &ApiKey,
    prompt: &Prompt,
) -> Result<Generated, CallError> {
    let (path, body) = request(generate, prompt, false);
    let request = post(generate, &path, &body, "application/json");
    let answer = http.json(provider, request, key, ANSWER_LIMIT).await?;
    let said = match generate.api {
        GenerateApi::Gemini => gemini::read(&answer),
        GenerateApi::Openai => openai::read_whole(&answer),
        GenerateApi::OpenaiResponses => responses::read_whole(&answer),
        GenerateApi::Anthropic => anthropic::read_whole(&answer),
    }
    .ok_or_else(|| CallError::Nonsense("it has no text where the documentation puts it".into()))?;
    if let Some(failure) = said.failure {
        return Err(failure.told(key));
    }
    let model = named_model(said.model, key).unwrap_or_else(|| model(generate, prompt).to_owned());
    Ok(Generated { text: said.text, model, usage: said.usage })
}

/// Begins a streamed answer; fails here if the provider refuses. Dropping the stream ends the call.
pub(crate) async fn streamed(
    http: std::sync::Arc<HttpClient>,
    provider: &Provider,
    generate: &Generate,
    key: ApiKey,
    prompt: &Prompt,
) -> Result<impl Stream<Item = Result<Part, CallError>> + Send + use<>, CallError> {
    let (path, body) = request(generate, prompt, true);
    let response = http.send(provider, post(generate, &path, &body, "text/event-stream"), &key).await?;
    let response = http.successful(provider, response, &key).await?;
    let reading = Reading {
        http,
        response,
        api: generate.api,
        events: EventReader::default(),
        left: STREAM_LIMIT,
        model: model(generate, prompt).to_owned(),
        usage: Usage::default(),
        key,
        complete: false,
        ended: false,
    };
    Ok(try_unfold(reading, Reading::next))
}

struct Reading {
    http: std::sync::Arc<HttpClient>,
    response: reqwest::Response,
    api: GenerateApi,
    events: EventReader,
    /// How many bytes may still come.
    left: usize,
    model: String,
    usage: Usage,
    /// Kept to recognise it in what the provider says of failures.
    key: ApiKey,
    /// The text is there; counts may follow.
    complete: bool,
    ended: bool,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Part, Self)>, CallError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            while let Some(event) = self.events.next_event()? {
                let said = self.read(&event)?;
                if let Some(failure) = said.failure {
                    return Err(failure.told(&self.key));
                }
                self.usage.update(said.usage);
                self.complete |= said.complete || said.last;
                if let Some(model) = named_model(said.model, &self.key) {
                    self.model = model;
                }
                if said.last {
                    return Ok(Some(self.done()));
                }
                if !said.text.is_empty() {
                    return Ok(Some((Part::Text(said.text), self)));
                }
            }
            match self.http.next_chunk(&mut self.response).await {
                Ok(Some(chunk)) => {
                    self.left =
                        self.left.checked_sub(chunk.len()).ok_or(CallError::TooLarge(STREAM_LIMIT))?;
                    self.events.push(&chunk);
                }
                // What comes after the whole text, an end or a break, takes nothing from it.
                _ if self.complete => return Ok(Some(self.done())),
                Ok(None) => return Err(CallError::BrokeOff),
                Err(error) => return Err(error),
            }
        }
    }

    fn done(mut self) -> (Part, Self) {
        self.ended = true;
        (Part::Done { model: self.model.clone(), usage: self.usage }, self)
    }

    fn read(&self, event: &Event) -> Result<Said, CallError> {
        let ends_so = matches!(self.api, GenerateApi::Openai | GenerateApi::OpenaiResponses);
        if ends_so && event.data.trim() == "[DONE]" {
            return Ok(Said { last: true, ..Said::default() });
        }
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|_| CallError::Nonsense("a part of the stream is not JSON".into()))?;
        Ok(match self.api {
            // A part without candidates carries counts or nothing at all.
            GenerateApi::Gemini => gemini::read(&data).unwrap_or_default(),
            GenerateApi::Openai => openai::read_part(&data),
            GenerateApi::OpenaiResponses => responses::read_event(&data),
            GenerateApi::Anthropic => anthropic::read_event(&event.name, &data),
        })
    }
}

fn model<'a>(generate: &'a Generate, prompt: &'a Prompt) -> &'a str {
    prompt.model.as_deref().unwrap_or(&generate.model)
}

fn request(generate: &Generate, prompt: &Prompt, stream: bool) -> (String, Value) {
    let model = model(generate, prompt);
    match generate.api {
        GenerateApi::Gemini => gemini::request(generate, model, prompt, stream),
        GenerateApi::Openai => openai::request(generate, model, prompt, stream),
        GenerateApi::OpenaiResponses => responses::request(generate, model, prompt, stream),
        GenerateApi::Anthropic => anthropic::request(generate, model, prompt, stream),
    }
}

fn post<'a>(generate: &'a Generate, path: &'a str, body: &Value, accept: &'static str) -> Request<'a> {
    Request {
        address: &generate.address,
        method: Method::POST,
        path,
        body: Some(body.to_string().into_bytes()),
        accept,
    }
}

fn count(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_cannot_leave_their_path() {
        for good in
            ["gemini-2.5-flash", "meta-llama/Llama-3.3-70B", "openai/gpt-4o:free", "ft:gpt-4o:org::x1"]
        {
            assert_eq!(check_model_name(good), Ok(()), "{good}");
        }
        let long = "m".repeat(MODEL_LIMIT + 1);
        for bad in ["", "../x", "a/../b", "a//b", "a b", "a?b", "a#b", "a%2e", "/a", ".a", "ü", &long] {
            assert_eq!(check_model_name(bad), Err(MalformedModel), "{bad}");
        }
    }
}

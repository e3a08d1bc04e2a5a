//! Gemini: `POST models/{model}:generateContent`, streamed with `:streamGenerateContent?alt=sse`.
//! <https://ai.google.dev/api/generate-content>

use serde_json::{Value, json};

use super::{Failure, Prompt, Said, Usage, count, text_at};
use crate::provider::Generate;

pub(super) fn request(generate: &Generate, model: &str, prompt: &Prompt, stream: bool) -> (String, Value) {
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut body = json!({ "contents": [{ "role": "user", "parts": [{ "text": prompt.text }] }] });
    if let Some(system) = &prompt.system {
        body["systemInstruction"] = json!({ "parts": [{ "text": system }] });
    }
    if let Some(most) = prompt.max_tokens {
        body["generationConfig"] = json!({ "maxOutputTokens": most });
    }
    (format!("{}/{model}:{method}", generate.path), body)
}

/// Whole answers and streamed parts have the same shape.
pub(super) fn read(answer: &Value) -> Option<Said> {
    if let Some(error) = answer.get("error") {
        return Some(Said { failure: Some(Failure(text_at(error, "/message"))), ..Said::default() });
    }
    if let Some(reason) = text_at(answer, "/promptFeedback/blockReason") {
        let words = format!("the prompt was blocked ({reason})");
        return Some(Said { failure: Some(Failure(Some(words))), ..Said::default() });
    }
    let candidate = answer.pointer("/candidates/0")?;
    let parts = candidate.pointer("/content/parts").and_then(Value::as_array);
    let text = parts
        .into_iter()
        .flatten()
        .filter(|part| part.get("thought").and_then(Value::as_bool) != Some(true))
        .filter_map(|part| part.get("text").and_then(Value::as_str))
        .collect();
    let answered = count(answer, "/usageMetadata/candidatesTokenCount");
    let thought = count(answer, "/usageMetadata/thoughtsTokenCount");
    Some(Said {
        text,
        model: text_at(answer, "/modelVersion"),
        usage: Usage {
            input_tokens: count(answer, "/usageMetadata/promptTokenCount"),
            output_tokens: answered.map(|answered| answered + thought.unwrap_or(0)),
        },
        complete: candidate.get("finishReason").is_some_and(Value::is_string),
        ..Said::default()
    })
}

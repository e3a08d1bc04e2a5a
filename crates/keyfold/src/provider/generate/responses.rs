//! Responses, as OpenAI and those compatible with it. <https://platform.openai.com/docs/api-reference/responses>

use serde_json::{Value, json};

use super::{Failure, Prompt, Said, Usage, count, text_at};
use crate::provider::Generate;

pub(super) fn request(generate: &Generate, model: &str, prompt: &Prompt, stream: bool) -> (String, Value) {
    let mut body = json!({ "model": model, "input": [{ "role": "user", "content": prompt.text }] });
    if let Some(system) = &prompt.system {
        body["instructions"] = system.as_str().into();
    }
    if let Some(most) = prompt.max_tokens {
        body[generate.max_tokens_field.as_str()] = most.into();
    }
    if stream {
        body["stream"] = true.into();
    }
    (generate.path.clone(), body)
}

pub(super) fn read_whole(answer: &Value) -> Option<Said> {
    if let Some(failure) = failure_of(answer) {
        return Some(Said { failure: Some(failure), ..Said::default() });
    }
    let output = answer.get("output")?.as_array()?;
    let messages = output.iter().filter(|item| item.get("type").and_then(Value::as_str) == Some("message"));
    let parts = messages.filter_map(|message| message.get("content")?.as_array()).flatten();
    let text = parts.filter_map(|part| {
        let field =
            if part.get("type").and_then(Value::as_str) == Some("refusal") { "refusal" } else { "text" };
        part.get(field).and_then(Value::as_str)
    });
    Some(Said {
        text: text.collect(),
        model: text_at(answer, "/model"),
        usage: usage(answer),
        complete: true,
        ..Said::default()
    })
}

pub(super) fn read_event(data: &Value) -> Said {
    let response = data.get("response").unwrap_or(&Value::Null);
    match data.get("type").and_then(Value::as_str).unwrap_or_default() {
        "response.output_text.delta" | "response.refusal.delta" => {
            Said { text: text_at(data, "/delta").unwrap_or_default(), ..Said::default() }
        }
        "response.created" => Said { model: text_at(response, "/model"), ..Said::default() },
        // Cut short by the limit of its length, it is still the whole answer.
        "response.completed" | "response.incomplete" => {
            Said { model: text_at(response, "/model"), usage: usage(response), last: true, ..Said::default() }
        }
        "response.failed" => {
            let failure = failure_of(response).unwrap_or(Failure(None));
            Said { failure: Some(failure), ..Said::default() }
        }
        "error" => {
            let words = text_at(data, "/message").or_else(|| text_at(data, "/error/message"));
            Said { failure: Some(Failure(words)), ..Said::default() }
        }
        _ => Said::default(),
    }
}

fn failure_of(response: &Value) -> Option<Failure> {
    let failed = response.get("status").and_then(Value::as_str) == Some("failed");
    let error = response.get("error").filter(|error| !error.is_null());
    (failed || error.is_some()).then(|| Failure(error.and_then(|error| text_at(error, "/message"))))
}

fn usage(response: &Value) -> Usage {
    Usage {
        input_tokens: count(response, "/usage/input_tokens"),
        output_tokens: count(response, "/usage/output_tokens"),
    }
}

//! Chat completions, as OpenAI and those compatible with it answer them.
//! <https://platform.openai.com/docs/api-reference/chat>

use serde_json::{Value, json};

use super::{Failure, Prompt, Said, Usage, count, text_at};
use crate::provider::Generate;

pub(super) fn request(generate: &Generate, model: &str, prompt: &Prompt, stream: bool) -> (String, Value) {
    let mut messages = Vec::new();
    if let Some(system) = &prompt.system {
        messages.push(json!({ "role": "system", "content": system }));
    }
    messages.push(json!({ "role": "user", "content": prompt.text }));
    let mut body = json!({ "model": model, "messages": messages });
    if let Some(most) = prompt.max_tokens {
        body[generate.max_tokens_field.as_str()] = most.into();
    }
    if stream {
        body["stream"] = true.into();
        if generate.stream_usage {
            body["stream_options"] = json!({ "include_usage": true });
        }
    }
    (generate.path.clone(), body)
}

pub(super) fn read_whole(answer: &Value) -> Option<Said> {
    let message = answer.pointer("/choices/0/message")?;
    let text = text_at(message, "/content").or_else(|| text_at(message, "/refusal")).unwrap_or_default();
    Some(Said {
        text,
        model: text_at(answer, "/model"),
        usage: usage(answer),
        complete: true,
        ..Said::default()
    })
}

pub(super) fn read_part(part: &Value) -> Said {
    if let Some(error) = part.get("error").filter(|error| !error.is_null()) {
        return Said { failure: Some(Failure(text_at(error, "/message"))), ..Said::default() };
    }
    Said {
        text: text_at(part, "/choices/0/delta/content").unwrap_or_default(),
        model: text_at(part, "/model").filter(|model| !model.is_empty()),
        usage: usage(part),
        complete: part.pointer("/choices/0/finish_reason").is_some_and(Value::is_string),
        ..Said::default()
    }
}

fn usage(answer: &Value) -> Usage {
    Usage {
        input_tokens: count(answer, "/usage/prompt_tokens"),
        output_tokens: count(answer, "/usage/completion_tokens"),
    }
}

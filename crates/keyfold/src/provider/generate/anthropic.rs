//! Anthropic's messages. <https://docs.anthropic.com/en/api/messages>

use serde_json::{Value, json};

use super::{Failure, Prompt, Said, Usage, count, text_at};
use crate::provider::Generate;

/// The field is required there.
const DEFAULT_MAX_TOKENS: u32 = 4096;

pub(super) fn request(generate: &Generate, model: &str, prompt: &Prompt, stream: bool) -> (String, Value) {
    let mut body = json!({
        "model": model,
        "max_tokens": prompt.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        "messages": [{ "role": "user", "content": prompt.text }],
    });
    if let Some(system) = &prompt.system {
        body["system"] = system.as_str().into();
    }
    if stream {
        body["stream"] = true.into();
    }
    (generate.path.clone(), body)
}

pub(super) fn read_whole(answer: &Value) -> Option<Said> {
    let blocks = answer.get("content")?.as_array()?;
    Some(Said {
        text: blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect(),
        model: text_at(answer, "/model"),
        usage: usage(answer, "/usage"),
        complete: true,
        ..Said::default()
    })
}

pub(super) fn read_event(name: &str, data: &Value) -> Said {
    match name {
        "message_start" => Said {
            model: text_at(data, "/message/model"),
            usage: usage(data, "/message/usage"),
            ..Said::default()
        },
        "content_block_delta" => {
            Said { text: text_at(data, "/delta/text").unwrap_or_default(), ..Said::default() }
        }
        "message_delta" => Said { usage: usage(data, "/usage"), ..Said::default() },
        "message_stop" => Said { last: true, ..Said::default() },
        "error" => Said { failure: Some(Failure(text_at(data, "/error/message"))), ..Said::default() },
        _ => Said::default(),
    }
}

fn usage(value: &Value, place: &str) -> Usage {
    Usage {
        input_tokens: count(value, &format!("{place}/input_tokens")),
        output_tokens: count(value, &format!("{place}/output_tokens")),
    }
}

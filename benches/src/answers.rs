//! Reading token counts from answers as they pass.

use std::hint::black_box;

use keyfold::AnswerReader;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::report::{ROUNDS, heading, line, median, nanoseconds};

const CALLS: u32 = 20_000;
const PATH: &str = "/v1/chat/completions";

pub(crate) fn measure() {
    heading("Token counts of an answer (floor: the same JSON, checked and dropped by serde_json)");
    let answer = json!({
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1_741_569_952,
        "model": "gpt-4o-2024-08-06",
        "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": { "role": "assistant", "content": "word ".repeat(90), "refusal": null, "annotations": [] } }],
        "usage": { "prompt_tokens": 19, "completion_tokens": 90, "total_tokens": 109,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0 } },
        "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
    })
    .to_string();
    compare(&format!("a chat answer of {} bytes", answer.len()), &answer, "aim: below 700 ns", || {
        let mut reader = AnswerReader::for_answer(200, Some(b"application/json"), None, PATH);
        reader.read(black_box(answer.as_bytes()));
        black_box(reader.finish());
    });
    let event = json!({ "id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1_694_268_190,
        "model": "gpt-4o-mini", "choices": [{ "index": 0, "delta": { "content": "Hello" }, "finish_reason": null }] })
    .to_string();
    let text = format!("data: {event}\n\n");
    let mut stream = AnswerReader::for_answer(200, Some(b"text/event-stream"), None, PATH);
    compare(&format!("an event of {} bytes", text.len()), &event, "aim: below 150 ns", || {
        stream.read(black_box(text.as_bytes()));
    });
    let embedding = json!({ "data": [{ "embedding": vec![0.012_345_678; 1536] }] }).to_string();
    compare(&format!("an embedding of {} bytes", embedding.len()), &embedding, "", || {
        let mut reader = AnswerReader::for_answer(200, Some(b"application/json"), None, "/v1/embeddings");
        reader.read(black_box(embedding.as_bytes()));
        black_box(reader.finish());
    });
}

fn compare(name: &str, json: &str, aim: &str, mut read: impl FnMut()) {
    let (mut figures, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(nanoseconds(CALLS, || {
            black_box(serde_json::from_str::<IgnoredAny>(black_box(json)).is_ok());
        }));
        figures.push(nanoseconds(CALLS, &mut read));
    }
    line(name, median(figures), median(floors), "ns", aim);
}

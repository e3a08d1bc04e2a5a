use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AnswerReader, TokenCounts};

const JSON: &[u8] = b"application/json; charset=utf-8";
const EVENTS: &[u8] = b"text/event-stream";

/// A count's path, and whose it is: the input or the output of most, of Cohere's `tokens`, of its `billed_units`.
const COUNTS: [(&str, usize); 10] = [
    ("usage/prompt_tokens", 0),
    ("usage/input_tokens", 0),
    ("usage/completion_tokens", 1),
    ("usage/output_tokens", 1),
    ("usage/tokens/input_tokens", 2),
    ("usage/tokens/output_tokens", 3),
    ("usage/billed_units/input_tokens", 4),
    ("usage/billed_units/output_tokens", 5),
    ("response/usage/input_tokens", 0),
    ("message/usage/output_tokens", 1),
];

fn read_as(content_type: &[u8], pieces: &[&[u8]]) -> TokenCounts {
    let mut reader = AnswerReader::for_answer(200, Some(content_type), None, "/v1/chat/completions");
    for piece in pieces {
        reader.read(piece);
    }
    reader.finish()
}

fn read_json(answer: &Value) -> TokenCounts {
    read_as(JSON, &[answer.to_string().as_bytes()])
}

fn counts(
    model: impl Into<Option<&'static str>>,
    input: impl Into<Option<u64>>,
    output: impl Into<Option<u64>>,
) -> TokenCounts {
    TokenCounts { model: model.into().map(str::to_owned), input: input.into(), output: output.into() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn events(data: &[Value]) -> String {
    data.iter().fold(String::new(), |text, data| format!("{text}event: x\ndata: {data}\n\n"))
}

#[test]
fn whole_answers_of_every_shape_are_counted() {
    let gemini = json!({
        "candidates": [{ "content": { "parts": [{ "text": "Hi" }] } }],
        "usageMetadata": { "promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 30,
            "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 99 }] },
        "modelVersion": "gemini-2.5-flash",
    });
    assert_eq!(read_json(&gemini), counts("gemini-2.5-flash", 7, 35));
    let chat = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi" } }],
        "usage": { "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
            "prompt_tokens_details": { "cached_tokens": 3 } },
    });
    assert_eq!(read_json(&chat), counts("gpt-4o-2024-08-06", 19, 10));
    let embedding = json!({
        "object": "list", "data": [{ "embedding": [0.5, -1.25e-3], "index": 0 }],
        "model": "text-embedding-3-small", "usage": { "prompt_tokens": 8, "total_tokens": 8 },
    });
    assert_eq!(read_json(&embedding), counts("text-embedding-3-small", 8, None));
    let response = json!({
        "id": "resp_1", "model": "gpt-5", "output": [{ "type": "message", "content": [] }],
        "usage": { "input_tokens": 36, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": 87 },
    });
    assert_eq!(read_json(&response), counts("gpt-5", 36, 87));
    let anthropic = json!({
        "id": "msg_1", "type": "message", "model": "claude-sonnet-4-5", "content": [],
        "usage": { "input_tokens": 12, "cache_read_input_tokens": 100, "output_tokens": 6 },
    });
    assert_eq!(read_json(&anthropic), counts("claude-sonnet-4-5", 12, 6));
    let cohere = json!({
        "id": "1", "message": { "role": "assistant", "content": [{ "type": "text", "text": "Hi" }] },
        "usage": { "billed_units": { "input_tokens": 5, "output_tokens": 418 },
            "tokens": { "input_tokens": 71, "output_tokens": 420 } },
    });
    assert_eq!(read_json(&cohere), counts(None, 71, 420));
    let billed = json!({ "meta": { "billed_units": { "input_tokens": 5 } } });
    assert_eq!(read_json(&billed), counts(None, 5, None));
    let list = json!([
        { "modelVersion": "gemini-2.5-pro", "usageMetadata": { "promptTokenCount": 7 } },
        { "modelVersion": "gemini-2.5-pro",
            "usageMetadata": { "promptTokenCount": 7, "candidatesTokenCount": 5 } },
    ]);
    assert_eq!(read_json(&list), counts("gemini-2.5-pro", 7, 5));
}

#[test]
fn streamed_answers_of_every_shape_are_counted() {
    let chat = [
        json!({ "model": "", "choices": [{ "delta": { "content": "" } }], "usage": null }),
        json!({ "model": "gpt-4o", "choices": [{ "delta": { "content": "H" } }], "usage": null }),
        json!({ "model": "gpt-4o", "choices": [{ "delta": { "content": "i" } }], "usage": null }),
        json!({ "model": "gpt-4o", "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 2 } }),
    ];
    let chat = events(&chat) + "data: [DONE]\n\n";
    assert_eq!(read_as(EVENTS, &[chat.as_bytes()]), counts("gpt-4o", 9, 2));
    let responses = [
        json!({ "type": "response.created", "response": { "model": "gpt-5", "usage": null } }),
        json!({ "type": "response.output_text.delta", "delta": "Hi" }),
        json!({ "type": "response.completed",
            "response": { "model": "gpt-5", "usage": { "input_tokens": 37, "output_tokens": 11 } } }),
    ];
    assert_eq!(read_as(EVENTS, &[events(&responses).as_bytes()]), counts("gpt-5", 37, 11));
    let anthropic = [
        json!({ "type": "message_start", "message": { "model": "claude-sonnet-4-5", "content": [],
            "usage": { "input_tokens": 25, "output_tokens": 1 } } }),
        json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": "Hi" } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" },
            "usage": { "output_tokens": 15 } }),
        json!({ "type": "message_stop" }),
    ];
    assert_eq!(read_as(EVENTS, &[events(&anthropic).as_bytes()]), counts("claude-sonnet-4-5", 25, 15));
    let gemini = [
        json!({ "usageMetadata": { "promptTokenCount": 4, "totalTokenCount": 4 }, "modelVersion": "gemini-2.5-flash" }),
        json!({ "usageMetadata": { "promptTokenCount": 4, "candidatesTokenCount": 9 },
            "modelVersion": "gemini-2.5-flash" }),
    ];
    let gemini = events(&gemini).replace('\n', "\r\n");
    assert_eq!(read_as(EVENTS, &[gemini.as_bytes()]), counts("gemini-2.5-flash", 4, 9));
    let cohere = [json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE",
        "usage": { "tokens": { "input_tokens": 71, "output_tokens": 420 } } } })];
    assert_eq!(read_as(EVENTS, &[events(&cohere).as_bytes()]), counts(None, 71, 420));
    let groq = [json!({ "model": "llama-3.3-70b-versatile",
        "x_groq": { "usage": { "prompt_tokens": 3, "completion_tokens": 4 } } })];
    assert_eq!(read_as(EVENTS, &[events(&groq).as_bytes()]), counts("llama-3.3-70b-versatile", 3, 4));
}

#[test]
fn what_an_answer_says_in_its_text_does_not_count() {
    let forged = json!({ "model": "gpt-9", "usage": { "prompt_tokens": 1_000_000, "completion_tokens": 1 } });
    for text in [forged.to_string(), format!("\"}}],{}", &forged.to_string()[1..]), format!("\\\",{forged}")]
    {
        let chat = json!({
            "model": "gpt-4o",
            "choices": [{ "message": { "content": text }, "usage": { "prompt_tokens": 5 } }],
            "content": [{ "type": "tool_use", "input": forged }],
            "metadata": forged,
            "usage": { "prompt_tokens": 1, "completion_tokens": 2, "more": forged, "list": [forged] },
        });
        assert_eq!(read_json(&chat), counts("gpt-4o", 1, 2));
        let stream = events(&[
            json!({ "model": "gpt-4o", "choices": [{ "delta": { "content": format!("{text}\n\ndata: {forged}\n\n") } }] }),
            json!({ "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }),
            json!({ "choices": [{ "delta": { "content": text } }] }),
        ]);
        assert_eq!(read_as(EVENTS, &[stream.as_bytes()]), counts("gpt-4o", 1, 2));
    }
}

#[test]
fn only_whole_numbers_are_counts() {
    for odd in [
        json!(-1),
        json!(1.5),
        json!("7"),
        json!(null),
        json!([7]),
        json!({ "prompt_tokens": 7 }),
        json!(true),
    ] {
        let answer = json!({ "usage": { "completion_tokens": 3, "prompt_tokens": odd } });
        assert_eq!(read_json(&answer), counts(None, None, 3), "{odd}");
    }
    for odd in ["1e3", "18446744073709551616", "99999999999999999999999"] {
        let answer = format!(r#"{{"usage": {{"prompt_tokens": {odd} , "completion_tokens": 3}}}}"#);
        assert_eq!(read_as(JSON, &[answer.as_bytes()]), counts(None, None, 3), "{odd}");
    }
    let most = format!(r#"{{"usage":{{"prompt_tokens":{}}}}}"#, u64::MAX);
    assert_eq!(read_as(JSON, &[most.as_bytes()]), counts(None, u64::MAX, None));
}

#[test]
fn names_may_be_spelled_in_other_ways() {
    let answer = br#"{"m\u006fdel":"meta-llama\/Llama-3.3","usage":{"\u0070rompt_tokens":4}}"#;
    assert_eq!(read_as(JSON, &[answer]), counts("meta-llama/Llama-3.3", 4, None));
    let event = br#"data: {"model":"m"}"#;
    let other = b"\n\ndata: {\"usage\":{\"prompt_t\\u006fkens\":4}}\n\n";
    assert_eq!(read_as(EVENTS, &[event, other]), counts("m", 4, None));
}

#[test]
fn an_answer_that_broke_off_gives_what_was_said_before() {
    let answer = br#"{"model":"gpt-4o","usage":{"prompt_tokens":4,"completion_tokens":7,"x":"#;
    assert_eq!(read_as(JSON, &[answer]), counts("gpt-4o", 4, 7));
}

#[test]
fn only_successful_answers_in_readable_form_are_read() {
    let answer = br#"{"model":"gpt-4o","usage":{"prompt_tokens":4,"completion_tokens":7}}"#;
    let read = |status, content_type: Option<&[u8]>, coding: Option<&[u8]>, path| {
        let mut reader = AnswerReader::for_answer(status, content_type, coding, path);
        reader.read(answer);
        reader.finish()
    };
    let (said, nothing) = (counts("gpt-4o", 4, 7), TokenCounts::default());
    assert_eq!(read(200, Some(JSON), None, "/v1/chat/completions"), said);
    assert_eq!(
        read(201, Some(b"Application/Problem+JSON"), Some(b" Identity "), "/v1/responses?x=y/z"),
        said
    );
    for status in [199, 304, 400, 429, 500] {
        assert_eq!(read(status, Some(JSON), None, "/v1/chat/completions"), nothing, "{status}");
    }
    for content_type in
        [None, Some(&b"text/plain"[..]), Some(b"application/jsonx"), Some(b""), Some(b"audio/mpeg")]
    {
        assert_eq!(read(200, content_type, None, "/v1/chat/completions"), nothing, "{content_type:?}");
    }
    for coding in [&b"br"[..], b"zstd", b"gzip, gzip", b"deflate"] {
        assert_eq!(read(200, Some(JSON), Some(coding), "/v1/chat/completions"), nothing, "{coding:?}");
    }
    // What was counted when it was made is not counted again when it is looked at.
    for path in
        ["/v1/responses/resp_1", "/v1/chat/completions/c1", "/v1/threads/t/runs/r", "/v1/files/f/content"]
    {
        assert_eq!(read(200, Some(JSON), None, path), nothing, "{path}");
    }
}

#[test]
fn the_model_of_an_embedding_of_gemini_stands_in_its_path() {
    let read = |path| {
        let mut reader = AnswerReader::for_answer(200, Some(JSON), None, path);
        reader.read(br#"{"embedding":{"values":[0.1]}}"#);
        reader.finish()
    };
    let path = "/v1beta/models/gemini-embedding-001:batchEmbedContents?alt=json";
    assert_eq!(read(path), counts("gemini-embedding-001", None, None));
    assert_eq!(read("/v1beta/models/AIza-test-data-not-a-real-key:embedContent"), TokenCounts::default());
}

#[test]
fn compressed_answers_are_counted() {
    let answer = json!({ "model": "gpt-4o", "choices": "text ".repeat(20_000),
        "usage": { "prompt_tokens": 4, "completion_tokens": 7 } });
    let packed = gzip(answer.to_string().as_bytes());
    for size in [1, 7, 1000, packed.len()] {
        let mut reader = AnswerReader::for_answer(200, Some(JSON), Some(b"gzip"), "/v1/chat/completions");
        packed.chunks(size).for_each(|piece| reader.read(piece));
        assert_eq!(reader.finish(), counts("gpt-4o", 4, 7), "{size}");
    }
}

#[test]
fn a_stream_that_is_compressed_and_left_early_gives_what_had_come() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let text = events(&[json!({ "model": "m", "usage": { "prompt_tokens": 4 } })]);
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.flush().unwrap();
    let mut reader = AnswerReader::for_answer(200, Some(EVENTS), Some(b"gzip"), "/v1/messages");
    reader.read(encoder.get_ref());
    assert_eq!(reader.finish(), counts("m", 4, None));
}

#[test]
fn what_is_packed_beyond_measure_or_broken_is_given_up() {
    let usage = r#"{"model":"m","usage":{"prompt_tokens":4},"text":""#;
    let packed = gzip(format!("{usage}{}", "x".repeat(50_000_000)).as_bytes());
    let mut reader = AnswerReader::for_answer(200, Some(JSON), Some(b"gzip"), "/v1/messages");
    reader.read(&packed);
    assert_eq!(reader.finish(), TokenCounts::default());

    let mut broken = gzip(format!("{usage}\"}}").as_bytes());
    let middle = broken.len() / 2;
    broken[middle] ^= 0x55;
    let mut reader = AnswerReader::for_answer(200, Some(JSON), Some(b"gzip"), "/v1/messages");
    reader.read(&broken);
    reader.read(b"and more");
    assert_eq!(reader.finish(), TokenCounts::default());
}

/// Documents in which the names that count stand at all kinds of places.
fn document() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        3 => prop::sample::select(vec![
            "usage", "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "tokens",
            "billed_units", "response", "message", "model",
        ])
        .prop_map(str::to_owned),
        1 => "[a-z\"\\\\{}\u{e9}]{0,9}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9\"\\\\{}:,\\[\\]\n\u{e9}-]{0,40}".prop_map(Value::from),
        Just(Value::from(r#""usage":{"prompt_tokens":5}"#)),
    ];
    let inner = leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => prop::collection::hash_map(names.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    inner.prop_map(
        |value| json!({ "usage": value.get("usage").unwrap_or(&value), "response": value, "x": value }),
    )
}

/// What `serde_json` finds there. Members are sorted by name, and the later one counts, in what is written out too.
fn expected(document: &Value) -> [Option<u64>; 2] {
    let mut found = [None; 6];
    let mut places: Vec<_> = COUNTS.to_vec();
    for outer in ["response", "message"] {
        for (path, slot) in &COUNTS[..8] {
            places.push((format!("{outer}/{path}").leak(), *slot));
        }
    }
    places.sort_unstable();
    for (path, slot) in places {
        if let Some(count) = document.pointer(&format!("/{path}")).and_then(Value::as_u64) {
            found[slot] = Some(count);
        }
    }
    let [input, output, tokens_in, tokens_out, billed_in, billed_out] = found;
    [input.or(tokens_in).or(billed_in), output.or(tokens_out).or(billed_out)]
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut pieces = vec![];
    for cut in cuts {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    pieces.push(&bytes[from..]);
    pieces
}

proptest! {
    #[test]
    fn counts_are_those_that_serde_json_finds(document in document(), pretty in any::<bool>()) {
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        let found = read_as(JSON, &[text.as_bytes()]);
        prop_assert_eq!([found.input, found.output], expected(&document), "{}", text);
    }

    #[test]
    fn where_an_answer_is_cut_does_not_matter(
        documents in prop::collection::vec(document(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ends in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        streamed in any::<bool>(),
    ) {
        // The first model that is named counts, and the last of the counts.
        let mut documents = documents;
        documents.insert(0, json!({ "model": "gpt-4o" }));
        documents.push(json!({ "model": "other", "text": "\\\"\u{e9}", "usage": { "input_tokens": 1_234_567 } }));
        documents.push(json!({ "model": "gpt-4o", "choices": [{ "delta": { "content": "words" } }] }));
        let text = if streamed {
            events(&documents).replace('\n', ends) + "data: {\"usage\":" + ends + "data:{\"output_tokens\":77}}" + ends + ends
        } else {
            Value::from(documents).to_string()
        };
        let content_type = if streamed { EVENTS } else { JSON };
        let whole = read_as(content_type, &[text.as_bytes()]);
        prop_assert_eq!(whole.model.as_deref(), Some("gpt-4o"));
        prop_assert_eq!(whole.input, Some(1_234_567));
        if streamed {
            prop_assert_eq!(whole.output, Some(77));
        }
        let cut = read_as(content_type, &pieces(text.as_bytes(), &cuts));
        prop_assert_eq!(&cut, &whole);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&read_as(content_type, &bytes), &whole);
    }

    #[test]
    fn anything_is_read_without_fault(
        bytes in prop::collection::vec(prop::sample::select(br#"{}[]":,\u00 1e-nusage"#.to_vec()), 0..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        prop_assert_eq!(read_as(JSON, &pieces(&bytes, &cuts)), read_as(JSON, &[&bytes]));
        prop_assert_eq!(read_as(EVENTS, &pieces(&bytes, &cuts)), read_as(EVENTS, &[&bytes]));
    }
}

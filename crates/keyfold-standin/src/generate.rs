//! Generation: Gemini's, OpenAI's, Anthropic's and Cohere's shapes, whole and streamed.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::provider::Provider;
use crate::refusal::{anthropic_error, bad_request, no_such_model, openai_error};
use crate::reply::{
    CREATED, Call, JSON, Reply, Said, Stream, content_text, conversation, query_value, quoted, words,
};

/// Models with this in their name do not exist.
const UNKNOWN_MODEL: &str = "no-such-model";

pub(crate) fn is_unknown_model(model: &str) -> bool {
    model.contains(UNKNOWN_MODEL)
}

fn flag(body: &Value, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// The body, the model's name and the messages that every chat request needs.
fn chat_request(call: &Call<'_>) -> Result<(Value, String), Box<Reply>> {
    let Ok(body) = call.json() else {
        return Err(bad_request(call, "We could not parse the JSON body of your request.").into());
    };
    let missing = |name: &str| match call.provider {
        Provider::OpenAi | Provider::Groq | Provider::DeepSeek if name == "messages" => openai_error(
            400,
            "Missing required parameter: 'messages'.",
            "invalid_request_error",
            Some("messages"),
            Some("missing_required_parameter"),
        ),
        Provider::OpenAi => bad_request(call, "you must provide a model parameter"),
        Provider::Anthropic => bad_request(call, &format!("{name}: Field required")),
        _ => bad_request(call, &format!("field '{name}' is required")),
    };
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty()) else {
        return Err(missing("model").into());
    };
    let model = model.to_owned();
    if is_unknown_model(&model) {
        return Err(no_such_model(call, &model).into());
    }
    if body.get("messages").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(missing("messages").into());
    }
    Ok((body, model))
}

fn messages(body: &Value) -> &[Value] {
    body.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `POST …/chat/completions`.
pub(crate) fn chat_completions(call: &Call<'_>) -> Reply {
    let (body, model) = match chat_request(call) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    if call.provider == Provider::Cohere && body.get("stream_options").is_some() {
        return bad_request(call, "stream_options is not supported in the compatibility API");
    }
    let (prompt, input) = conversation(messages(&body));
    let said = Said::new(call, &prompt, input);
    let usage = openai_usage(call, &said);
    if flag(&body, "stream") {
        let asked = body.get("stream_options").is_some_and(|options| flag(options, "include_usage"));
        return Reply::sse(openai_stream(call, &model, &said, &usage, asked));
    }
    let extra = match call.provider {
        Provider::OpenRouter => r#","provider":"Standin""#,
        Provider::Perplexity => {
            r#","citations":["https://standin.invalid/1"],"search_results":[{"title":"Test data","url":"https://standin.invalid/1","date":"2026-01-01"}]"#
        }
        Provider::Together => r#","prompt":[]"#,
        Provider::OpenAi => r#","service_tier":"default""#,
        _ => "",
    };
    let (seq, fp, model, text) = (call.sequence, call.fingerprint, quoted(&model), quoted(&said.text));
    Reply::raw(
        200,
        JSON,
        format!(
            r#"{{"id":"chatcmpl-standin{seq:08}","object":"chat.completion","created":{CREATED},"model":{model},"choices":[{{"index":0,"message":{{"role":"assistant","content":{text},"refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage},"system_fingerprint":"fp_{fp}"{extra}}}"#
        ),
    )
}

fn openai_usage(call: &Call<'_>, said: &Said) -> String {
    let (input, output, total) = (said.input, said.output, said.total());
    let extra = if call.provider == Provider::DeepSeek {
        format!(r#","prompt_cache_hit_tokens":0,"prompt_cache_miss_tokens":{input}"#)
    } else {
        String::new()
    };
    format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total}{extra}}}"#)
}

fn openai_stream(call: &Call<'_>, model: &str, said: &Said, usage: &str, asked: bool) -> Stream {
    let (seq, fp, model) = (call.sequence, call.fingerprint, quoted(model));
    let provider = if call.provider == Provider::OpenRouter { r#""provider":"Standin","# } else { "" };
    let head = format!(
        r#"data: {{"id":"chatcmpl-standin{seq:08}","object":"chat.completion.chunk","created":{CREATED},"model":{model},{provider}"system_fingerprint":"fp_{fp}","choices":["#
    );
    // Who asks for usage gets it in a chunk of its own, and a null in the others.
    let null = if asked { r#","usage":null"# } else { "" };
    let chunk = |delta: &str, finish: &str, end: &str| {
        Bytes::from(format!(
            "{head}{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{end}}}\n\n"
        ))
    };
    let mut stream = Stream::default();
    if call.provider == Provider::OpenRouter {
        stream.before.push(Bytes::from_static(b": OPENROUTER PROCESSING\n\n"));
    }
    stream.before.push(chunk(r#"{"role":"assistant","content":""}"#, "null", null));
    for piece in said.pieces(call.options) {
        stream.text.push(chunk(&format!(r#"{{"content":{}}}"#, quoted(piece)), "null", null));
    }
    if call.provider == Provider::OpenRouter && stream.text.len() > 1 {
        let comment = [&b": OPENROUTER PROCESSING\n\n"[..], &stream.text[1]].concat();
        stream.text[1] = Bytes::from(comment);
    }
    // These always send usage, with the last chunk of the answer.
    let last = match call.provider {
        Provider::Mistral | Provider::Perplexity | Provider::Together => format!(r#","usage":{usage}"#),
        Provider::Groq => {
            format!(r#","x_groq":{{"id":"{}","usage":{usage}}}{null}"#, call.request_id())
        }
        _ => null.to_owned(),
    };
    stream.after.push(chunk("{}", "\"stop\"", &last));
    if asked && call.provider != Provider::Mistral {
        stream.after.push(Bytes::from(format!("{head}],\"usage\":{usage}}}\n\n")));
    }
    stream.after.push(Bytes::from_static(b"data: [DONE]\n\n"));
    stream.error = if call.provider == Provider::OpenRouter {
        Bytes::from(format!(
            "{head}{{\"index\":0,\"delta\":{{\"content\":\"\"}},\"finish_reason\":\"error\"}}],\"error\":\
             {{\"code\":502,\"message\":\"Provider disconnected unexpectedly\"}}}}\n\n"
        ))
    } else {
        Bytes::from_static(
            b"data: {\"error\":{\"message\":\"The server had an error while processing your request. Sorry \
              about that!\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n",
        )
    };
    stream
}

/// `POST /v1/responses`.
pub(crate) fn responses(call: &Call<'_>) -> Reply {
    let Ok(body) = call.json() else {
        return bad_request(call, "We could not parse the JSON body of your request.");
    };
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty()) else {
        return bad_request(call, "field 'model' is required");
    };
    if is_unknown_model(model) {
        return no_such_model(call, model);
    }
    let (prompt, input) = match body.get("input") {
        Some(Value::String(text)) if !text.is_empty() => {
            (std::borrow::Cow::Borrowed(text.as_str()), words(text))
        }
        Some(Value::Array(items)) if !items.is_empty() => conversation(items),
        _ => return bad_request(call, "field 'input' is required"),
    };
    let instructions = body.get("instructions").and_then(Value::as_str).map_or(0, words);
    let said = Said::new(call, &prompt, input + instructions);
    let id = format!("resp_standin{:08}", call.sequence);
    let response = |status: &str, text: Option<&str>| {
        let output = text.map(|text| {
            json!({
                "type": "message", "id": "msg_standin", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            })
        });
        // Perplexity's search that the answer rests on comes first.
        let search = (call.provider == Provider::Perplexity)
            .then(|| json!({"type": "search_results", "queries": ["test data"], "results": []}));
        let usage = text.map(|_| {
            json!({"input_tokens": said.input, "output_tokens": said.output, "total_tokens": said.total()})
        });
        json!({
            "id": id, "object": "response", "created_at": CREATED, "status": status, "model": model, "error": null,
            "output": search.into_iter().filter(|_| output.is_some()).chain(output.clone()).collect::<Vec<_>>(), "usage": usage,
        })
    };
    if !flag(&body, "stream") {
        return Reply::json(200, &response("completed", Some(&said.text)));
    }
    let event = |name: &str, mut data: Value| {
        data["type"] = name.into();
        Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
    };
    let mut stream = Stream::default();
    stream.before.push(event("response.created", json!({"response": response("in_progress", None)})));
    let index = usize::from(call.provider == Provider::Perplexity);
    if call.provider == Provider::OpenAi {
        let item = json!({
            "type": "message", "id": "msg_standin", "role": "assistant", "status": "in_progress", "content": [],
        });
        let added = json!({"output_index": index, "item": item});
        stream.before.push(event("response.output_item.added", added));
        let part = json!({"type": "output_text", "text": "", "annotations": []});
        let added =
            json!({"item_id": "msg_standin", "output_index": index, "content_index": 0, "part": part});
        stream.before.push(event("response.content_part.added", added));
    }
    for piece in said.pieces(call.options) {
        let data =
            json!({"item_id": "msg_standin", "output_index": index, "content_index": 0, "delta": piece});
        stream.text.push(event("response.output_text.delta", data));
    }
    let done =
        json!({"item_id": "msg_standin", "output_index": index, "content_index": 0, "text": said.text});
    stream.after.push(event("response.output_text.done", done));
    let completed = json!({"response": response("completed", Some(&said.text))});
    stream.after.push(event("response.completed", completed));
    let mut failed = response("failed", None);
    failed["error"] = json!({"code": "server_error", "message": "The model failed to answer."});
    stream.error = event("response.failed", json!({"response": failed}));
    Reply::sse(stream)
}

/// `POST /v1/embeddings`.
pub(crate) fn openai_embeddings(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let input = body.get("input").or_else(|| body.get("inputs")).cloned().unwrap_or_default();
    let texts = match &input {
        Value::String(text) => vec![text.as_str()],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => return bad_request(call, "field 'input' is required"),
    };
    let encoded = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = embedding(text);
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            let shown = if encoded { data_encoding::BASE64.encode(&bytes).into() } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": shown})
        })
        .collect();
    let count: usize = texts.iter().map(|text| words(text)).sum();
    let usage = json!({"prompt_tokens": count, "completion_tokens": 0, "total_tokens": count});
    Reply::json(
        200,
        &json!({
            "id": format!("embd-standin{:08}", call.sequence), "object": "list", "data": data, "usage": usage,
            "model": body.get("model"),
        }),
    )
}

/// `POST /v2/embed`.
pub(crate) fn cohere_embeddings(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(texts) = body.get("texts").and_then(Value::as_array) else {
        return bad_request(call, "texts is required");
    };
    let vectors: Vec<_> = texts.iter().filter_map(Value::as_str).map(embedding).collect();
    Reply::json(
        200,
        &json!({
            "id": call.request_id(), "texts": texts, "embeddings": {"float": vectors},
            "response_type": "embeddings_by_type",
        }),
    )
}

/// Numbers that depend on the text, exact in any format.
fn embedding(text: &str) -> [f32; 4] {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [f32::from(length), 0.5, 0.25, -1.0]
}

/// `POST /v1/messages`.
pub(crate) fn anthropic_messages(call: &Call<'_>) -> Reply {
    let (body, model) = match chat_request(call) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    match body.get("max_tokens").map(Value::as_u64) {
        None => return bad_request(call, "max_tokens: Field required"),
        Some(None | Some(0)) => {
            return bad_request(call, "max_tokens: Input should be greater than or equal to 1");
        }
        Some(Some(_)) => {}
    }
    let (prompt, input) = conversation(messages(&body));
    let system = body.get("system").map_or(0, |system| words(&content_text(system)));
    let said = Said::new(call, &prompt, input + system);
    let (seq, model) = (call.sequence, quoted(&model));
    let (input, output) = (said.input, said.output);
    let usage = |output: usize| {
        format!(
            r#"{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output},"service_tier":"standard"}}"#
        )
    };
    if !flag(&body, "stream") {
        let (text, usage) = (quoted(&said.text), usage(output));
        return Reply::raw(
            200,
            JSON,
            format!(
                r#"{{"id":"msg_standin{seq:08}","type":"message","role":"assistant","model":{model},"content":[{{"type":"text","text":{text}}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{usage}}}"#
            ),
        );
    }
    let event = |name: &str, data: &str| Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    let mut stream = Stream::default();
    stream.before.push(event(
        "message_start",
        &format!(
            r#"{{"type":"message_start","message":{{"id":"msg_standin{seq:08}","type":"message","role":"assistant","model":{model},"content":[],"stop_reason":null,"stop_sequence":null,"usage":{}}}}}"#,
            usage(1)
        ),
    ));
    stream.before.push(event(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ));
    stream.before.push(event("ping", r#"{"type": "ping"}"#));
    for piece in said.pieces(call.options) {
        let text = quoted(piece);
        stream.text.push(event(
            "content_block_delta",
            &format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}}}"#
            ),
        ));
    }
    stream.after.push(event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#));
    stream.after.push(event(
        "message_delta",
        &format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{}}}"#,
            usage(output)
        ),
    ));
    stream.after.push(event("message_stop", r#"{"type":"message_stop"}"#));
    stream.error =
        event("error", r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
    Reply::sse(stream)
}

/// `POST /v1/messages/count_tokens`.
pub(crate) fn anthropic_count(call: &Call<'_>) -> Reply {
    match chat_request(call) {
        Ok((body, _)) => {
            let (_, input) = conversation(messages(&body));
            Reply::json(200, &json!({"input_tokens": input.max(1)}))
        }
        Err(refusal) => *refusal,
    }
}

/// Anthropic wants its version named in every request.
pub(crate) fn anthropic_version(call: &Call<'_>) -> Option<Reply> {
    let version = call.headers.get("anthropic-version").map(http::HeaderValue::as_bytes);
    match version {
        None => {
            Some(anthropic_error(call, 400, "invalid_request_error", "anthropic-version: header is required"))
        }
        Some(b"2023-06-01" | b"2023-01-01" | b"2026-10-21") => None,
        Some(other) => Some(anthropic_error(
            call,
            400,
            "invalid_request_error",
            &format!("anthropic-version: \"{}\" is not a valid version", String::from_utf8_lossy(other)),
        )),
    }
}

/// What is asked of a Gemini model, after the colon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GeminiVerb {
    Generate,
    Stream,
    Count,
}

impl GeminiVerb {
    pub(crate) fn named(verb: &str) -> Option<Self> {
        match verb {
            "generateContent" => Some(Self::Generate),
            "streamGenerateContent" => Some(Self::Stream),
            "countTokens" => Some(Self::Count),
            _ => None,
        }
    }
}

/// `POST /v1beta/models/{model}:{verb}`.
pub(crate) fn gemini(call: &Call<'_>, model: &str, verb: GeminiVerb) -> Reply {
    if is_unknown_model(model) {
        return no_such_model(call, model);
    }
    let Ok(body) = call.json() else {
        return bad_request(call, "Invalid JSON payload received. Unexpected token.");
    };
    let contents = body.get("contents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if contents.is_empty() {
        return bad_request(call, "* GenerateContentRequest.contents: contents is not specified\n");
    }
    let mut prompt = std::borrow::Cow::Borrowed("");
    let mut input = ["systemInstruction", "system_instruction"]
        .iter()
        .filter_map(|name| body.get(name)?.get("parts"))
        .map(|parts| words(&content_text(parts)))
        .sum::<usize>();
    for content in contents {
        let text = content.get("parts").map_or(std::borrow::Cow::Borrowed(""), content_text);
        input += words(&text);
        if content.get("role").and_then(Value::as_str).is_none_or(|role| role == "user") {
            prompt = text;
        }
    }
    let said = Said::new(call, &prompt, input);
    let (input, output, total) = (said.input, said.output, said.total());
    if verb == GeminiVerb::Count {
        return Reply::json(
            200,
            &json!({
                "totalTokens": input,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": input}],
            }),
        );
    }
    let end = format!(r#""modelVersion":{},"responseId":"standin{:08}"}}"#, quoted(model), call.sequence);
    let candidate = |text: &str, finish: &str| {
        let text = quoted(text);
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text}}}],"role":"model"}},{finish}"index":0}}],"#
        )
    };
    let full_usage = format!(
        r#""usageMetadata":{{"promptTokenCount":{input},"candidatesTokenCount":{output},"totalTokenCount":{total},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{input}}}]}},"#
    );
    let stop = r#""finishReason":"STOP","#;
    if verb == GeminiVerb::Generate {
        let start = candidate(&said.text, stop);
        return Reply::raw(200, "application/json; charset=UTF-8", format!("{start}{full_usage}{end}\n"));
    }

    let sse = query_value(call.query, "alt") == Some("sse");
    // Without `alt=sse` the stream is one JSON list.
    let frame = |at: usize, last: bool, json: &str| {
        Bytes::from(match (sse, at == 0, last) {
            (true, _, _) => format!("data: {json}\r\n\r\n"),
            (false, true, true) => format!("[{json}\r\n]"),
            (false, true, false) => format!("[{json}"),
            (false, false, true) => format!(",\r\n{json}\r\n]"),
            (false, false, false) => format!(",\r\n{json}"),
        })
    };
    let so_far = format!(
        r#""usageMetadata":{{"promptTokenCount":{input},"totalTokenCount":{input},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{input}}}]}},"#
    );
    let pieces = said.pieces(call.options);
    let mut stream = Stream::default();
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        let (finish, usage) = if last { (stop, &full_usage) } else { ("", &so_far) };
        stream.text.push(frame(at, last, &format!("{}{usage}{end}", candidate(piece, finish))));
    }
    stream.error = frame(
        1,
        true,
        r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
    );
    if sse {
        Reply::stream("text/event-stream", stream)
    } else {
        Reply::stream("application/json; charset=UTF-8", stream)
    }
}

/// `POST /v2/chat`.
pub(crate) fn cohere_chat(call: &Call<'_>) -> Reply {
    let (body, _) = match chat_request(call) {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    let (prompt, input) = conversation(messages(&body));
    let said = Said::new(call, &prompt, input);
    let tokens = json!({"input_tokens": said.input, "output_tokens": said.output});
    let usage = json!({"billed_units": tokens, "tokens": tokens});
    let id = format!("7e57da7a-0000-4000-8000-{:012}", call.sequence);
    if !flag(&body, "stream") {
        return Reply::json(
            200,
            &json!({
                "id": id,
                "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": said.text}]},
                "usage": usage,
            }),
        );
    }
    let event = |name: &str, data: &Value| Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    let mut stream = Stream::default();
    stream.before.push(event(
        "message-start",
        &json!({
            "id": id,
            "type": "message-start",
            "delta": {"message": {
                "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [],
            }},
        }),
    ));
    stream.before.push(event(
        "content-start",
        &json!({
            "type": "content-start", "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        }),
    ));
    for piece in said.pieces(call.options) {
        stream.text.push(event(
            "content-delta",
            &json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}),
        ));
    }
    stream.after.push(event("content-end", &json!({"type": "content-end", "index": 0})));
    let message_end = |reason: &str| {
        event(
            "message-end",
            &json!({"type": "message-end", "delta": {"finish_reason": reason, "usage": usage}}),
        )
    };
    stream.after.push(message_end("COMPLETE"));
    stream.error = message_end("ERROR");
    Reply::sse(stream)
}

//! Each provider's answers: good keys, bad ones, and those in between; generation and research.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Answer, CHAT, bare, call, get, post};
use http::Method;
use keyfold_standin::{
    PROVIDERS, Standin, answer_text, credential, example_key, example_key_with, fingerprint, free_check,
};
use serde_json::{Value, json};

async fn check(standin: &Standin, provider: &str, key: &str) -> Answer {
    let (method, path) = free_check(provider);
    call(standin, provider, key, method, path, "").await
}

#[tokio::test]
async fn a_live_key_passes_the_free_check() {
    let standin = Standin::start().await;
    for provider in PROVIDERS {
        for n in [0, 1, 2] {
            let answer = check(&standin, provider, &example_key(provider, n)).await;
            let expected = if provider == "exa" { 400 } else { 200 };
            assert_eq!(answer.status, expected, "{provider}: {}", answer.body);
            answer.json();
        }
    }
}

#[tokio::test]
async fn free_checks_have_the_providers_own_shapes() {
    let standin = Standin::start().await;
    let shapes = [
        ("gemini", "/models/0/name", json!("models/gemini-2.5-flash")),
        ("exa", "/tag", json!("INVALID_REQUEST_BODY")),
        ("openai", "/object", json!("list")),
        ("anthropic", "/data/0/type", json!("model")),
        ("mistral", "/data/0/object", json!("model")),
        ("groq", "/data/0/object", json!("model")),
        ("deepseek", "/data/0/id", json!("deepseek-v4-flash")),
        ("xai", "/api_key_blocked", json!(false)),
        ("xai", "/api_key_disabled", json!(false)),
        ("cohere", "/valid", json!(true)),
        ("tavily", "/account/plan_limit", json!(1000)),
        ("serper", "/balance", json!(2400)),
        ("firecrawl", "/data/remainingCredits", json!(450)),
        ("perplexity", "/data/0/id", json!("perplexity/sonar")),
        ("openrouter", "/data/limit_remaining", json!(74.5)),
        ("together", "/0/type", json!("chat")),
        ("stability", "/credits", json!(25.5)),
        ("elevenlabs", "/subscription/tier", json!("free")),
        ("huggingface", "/auth/accessToken/role", json!("read")),
    ];
    for (provider, pointer, expected) in shapes {
        let body = check(&standin, provider, &example_key(provider, 7)).await.json();
        assert_eq!(body.pointer(pointer), Some(&expected), "{provider}: {body}");
    }
}

#[tokio::test]
async fn a_key_counts_in_the_right_place_only() {
    let standin = Standin::start().await;
    let places =
        ["authorization", "x-api-key", "x-goog-api-key", "xi-api-key", "x-copilotcloud-public-api-key"];
    for provider in PROVIDERS {
        let (method, path) = free_check(provider);
        let version = ("anthropic-version", "2023-06-01");
        let missing = bare(&standin, provider, method.clone(), path, &[version], "").await;
        let expected = if ["gemini", "serper"].contains(&provider) { 403 } else { 401 };
        assert_eq!(missing.status, expected, "{provider}: {}", missing.body);
        assert_eq!(missing.header("x-key-fingerprint"), "none");

        let key = example_key(provider, 1);
        let (right, _) = credential(provider, &key);
        for place in places.into_iter().filter(|place| *place != right.as_str()) {
            let value = if place == "authorization" { format!("Bearer {key}") } else { key.clone() };
            let answer =
                bare(&standin, provider, method.clone(), path, &[version, (place, &value)], "").await;
            if (provider, place) == ("anthropic", "authorization") {
                assert_eq!(answer.status, 200, "its newer libraries put the key there");
                continue;
            }
            let oauth = provider == "gemini" && place == "authorization";
            assert_eq!(answer.status, if oauth { 401 } else { expected }, "{provider} in {place}");
            assert_eq!(answer.header("x-key-fingerprint"), "none");
        }
        let in_query = bare(&standin, provider, method, &format!("{path}?key={key}"), &[version], "").await;
        assert_eq!(in_query.status, expected, "{provider} in the query");
    }
    let with_key: Vec<_> = standin.requests().into_iter().filter(|seen| !seen.key.is_empty()).collect();
    assert_eq!(with_key.len(), 1);
    assert_eq!(
        (with_key[0].provider, with_key[0].key.as_str()),
        ("anthropic", example_key("anthropic", 1).as_str())
    );
}

/// For each provider the status and a part of the body.
async fn expect(marker: &str, expected: &[(&str, u16, &str); 19]) {
    let standin = Standin::start().await;
    for &(provider, status, part) in expected {
        let key = example_key_with(provider, marker);
        let answer = check(&standin, provider, &key).await;
        assert_eq!(answer.status, status, "{provider}: {}", answer.body);
        assert!(answer.body.contains(part), "{provider}: {part:?} is not in {}", answer.body);
        assert!(!answer.body.contains(&key), "{provider} shows the whole key");
    }
}

#[tokio::test]
async fn an_invalid_key_is_refused() {
    expect(
        "INVALID",
        &[
            ("gemini", 400, "API_KEY_INVALID"),
            ("exa", 401, "INVALID_API_KEY"),
            ("copilotkit", 401, "AUTHENTICATION_ERROR"),
            ("openai", 401, "invalid_api_key"),
            ("anthropic", 401, "invalid x-api-key"),
            ("mistral", 401, r#"{"detail":"Unauthorized"}"#),
            ("groq", 401, "Invalid API Key"),
            ("deepseek", 401, "Authentication Fails, Your api key: ****0000 is invalid"),
            ("xai", 400, "Incorrect API key provided: xa***00."),
            ("cohere", 401, "invalid api token"),
            ("tavily", 401, "Unauthorized: missing or invalid API key."),
            ("serper", 403, r#""message":"Unauthorized.""#),
            ("firecrawl", 401, "Unauthorized: Invalid token"),
            ("perplexity", 401, "<h1>401 Authorization Required</h1>"),
            ("openrouter", 401, "User not found."),
            ("together", 401, "invalid_api_key"),
            ("stability", 401, "unauthorized"),
            ("elevenlabs", 401, "invalid_api_key"),
            ("huggingface", 401, "Invalid user token."),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_denied_key_is_alive() {
    expect(
        "DENIED",
        &[
            ("gemini", 403, "API_KEY_SERVICE_BLOCKED"),
            ("exa", 403, "ACCESS_DENIED"),
            ("copilotkit", 403, "not allowed"),
            ("openai", 403, "Missing scopes: api.model.read"),
            ("anthropic", 403, "permission_error"),
            ("mistral", 403, "not allowed"),
            ("groq", 403, "permissions_error"),
            ("deepseek", 403, "permission_error"),
            ("xai", 403, "permission"),
            ("cohere", 403, "permission"),
            ("tavily", 403, "not allowed"),
            ("serper", 403, "not allowed"),
            ("firecrawl", 403, "no access"),
            ("perplexity", 403, "forbidden"),
            ("openrouter", 403, "Key limit exceeded"),
            ("together", 403, "forbidden"),
            ("stability", 403, "permission_denied"),
            ("elevenlabs", 401, "missing_permissions"),
            ("huggingface", 403, "sufficient permissions"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_key_without_credit_is_alive() {
    expect(
        "NOCREDIT",
        &[
            ("gemini", 429, "RESOURCE_EXHAUSTED"),
            ("exa", 402, "NO_MORE_CREDITS"),
            ("copilotkit", 402, "UPGRADE_REQUIRED_ERROR"),
            ("openai", 429, "insufficient_quota"),
            ("anthropic", 400, "credit balance is too low"),
            ("mistral", 429, "rate_limited"),
            ("groq", 429, "rate_limit_exceeded"),
            ("deepseek", 402, "Insufficient Balance"),
            ("xai", 403, "credits"),
            ("cohere", 402, "payment"),
            ("tavily", 432, "usage limit"),
            ("serper", 400, "Not enough credits"),
            ("firecrawl", 402, "Insufficient credits"),
            ("perplexity", 401, "insufficient_quota"),
            ("openrouter", 402, "Insufficient credits"),
            ("together", 402, "credit_limit"),
            ("stability", 402, "payment_required"),
            ("elevenlabs", 401, "quota_exceeded"),
            ("huggingface", 402, "monthly included credits"),
        ],
    )
    .await;
}

#[tokio::test]
async fn quota_broken_and_nonsense_are_the_same_everywhere() {
    let standin = Standin::start().await;
    for provider in PROVIDERS {
        let quota = check(&standin, provider, &example_key_with(provider, "QUOTA")).await;
        assert_eq!((quota.status, quota.header("retry-after")), (429, "7"), "{provider}");
        quota.json();

        let broken = check(&standin, provider, &example_key_with(provider, "BROKEN")).await;
        assert_eq!(broken.status, 500, "{provider}");
        broken.json();

        let nonsense = check(&standin, provider, &example_key_with(provider, "NONSENSE")).await;
        assert_eq!(nonsense.status, 200, "{provider}");
        assert!(nonsense.header("content-type").starts_with("text/html"), "{provider}");
    }
}

#[tokio::test]
async fn restricted_keys_come_in_variants() {
    let standin = Standin::start().await;
    let variants = [
        ("gemini", "DENIEDREF", 403, "API_KEY_HTTP_REFERRER_BLOCKED"),
        ("gemini", "DENIEDIP", 403, "API_KEY_IP_ADDRESS_BLOCKED"),
        ("openai", "DENIED401", 401, "Missing scopes"),
        ("xai", "BLOCKED", 200, r#""api_key_blocked":true"#),
        ("xai", "DISABLED", 200, r#""api_key_disabled":true"#),
    ];
    for (provider, marker, status, part) in variants {
        let answer = check(&standin, provider, &example_key_with(provider, marker)).await;
        assert_eq!(answer.status, status, "{provider} {marker}");
        assert!(answer.body.contains(part), "{provider} {marker}: {}", answer.body);
    }
    let blocked = example_key_with("xai", "BLOCKED");
    assert_eq!(post(&standin, "xai", &blocked, "/v1/chat/completions", "{}").await.status, 403);
}

#[tokio::test]
async fn other_peoples_credentials_are_refused() {
    let standin = Standin::start().await;
    let never = ["kfs_0123456789abcdef", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "pk_test_c3RhbmRpbg", "short"];
    for provider in PROVIDERS.into_iter().filter(|provider| *provider != "exa") {
        for credential in never {
            let answer = check(&standin, provider, credential).await;
            assert!((400..404).contains(&answer.status), "{provider} takes {credential}");
        }
        // A key of a shape never seen before is no reason to refuse it.
        assert_eq!(check(&standin, provider, "brand-new.shape~of+key").await.status, 200, "{provider}");
    }
    let anthropics = example_key("anthropic", 1);
    for provider in ["openai", "gemini", "deepseek", "mistral", "stability"] {
        assert_ne!(check(&standin, provider, &anthropics).await.status, 200, "{provider}");
    }
}

#[tokio::test]
async fn openrouters_model_list_is_public() {
    let standin = Standin::start().await;
    for headers in [&[][..], &[("authorization", "Bearer sk-or-v1-INVALID")][..]] {
        let answer = bare(&standin, "openrouter", Method::GET, "/v1/models", headers, "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.json()["data"][0]["id"].is_string());
    }
}

#[tokio::test]
async fn gemini_takes_exactly_one_credential() {
    let standin = Standin::start().await;
    let key = example_key("gemini", 1);
    let bearer = format!("Bearer {key}");
    let path = "/v1beta/models";
    let answers = [
        bare(
            &standin,
            "gemini",
            Method::GET,
            path,
            &[("x-goog-api-key", &key), ("authorization", &bearer)],
            "",
        )
        .await,
        bare(&standin, "gemini", Method::GET, &format!("{path}?key={key}"), &[("x-goog-api-key", &key)], "")
            .await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("Multiple authentication credentials received"));
    }
    // Where it imitates OpenAI it takes the key as OpenAI does, and wraps its errors in a list.
    let models =
        bare(&standin, "gemini", Method::GET, "/v1beta/openai/models", &[("authorization", &bearer)], "")
            .await;
    assert_eq!(models.json()["object"], "list");
    let bad = bare(
        &standin,
        "gemini",
        Method::GET,
        "/v1beta/openai/models",
        &[("authorization", "Bearer AIzaINVALID0")],
        "",
    )
    .await;
    assert_eq!(bad.json()[0]["error"]["details"][0]["reason"], "API_KEY_INVALID");
}

const PROMPT: &str = "Why is the sky \"blue\"?\nSay it in verse.";

fn chat_body(stream: bool) -> Value {
    json!({
        "model": "a-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Earlier."},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
        ],
        "max_tokens": 50,
        "stream": stream,
    })
}

/// Words in the messages above.
const INPUT: u64 = 2 + 1 + 1 + 9;
/// Words of the answer: the fingerprint, "You asked:", and the prompt.
const OUTPUT: u64 = 1 + 2 + 9;

#[tokio::test]
async fn chat_in_openais_shape() {
    let standin = Standin::start().await;
    for (provider, path) in CHAT {
        let key = example_key(provider, 3);
        let answer = post(&standin, provider, &key, path, &chat_body(false).to_string()).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.body);
        let body = answer.json();
        assert_eq!(body["choices"][0]["message"]["content"], answer_text(&key, PROMPT), "{provider}");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!(body["object"], "chat.completion");
        assert_eq!(body["usage"]["prompt_tokens"], INPUT);
        assert_eq!(body["usage"]["completion_tokens"], OUTPUT);
        assert_eq!(body["usage"]["total_tokens"], INPUT + OUTPUT);
    }
}

#[tokio::test]
async fn streamed_chat_in_openais_shape() {
    let standin = Standin::start().await;
    for (provider, path) in CHAT {
        let key = example_key(provider, 4);
        for asked in [false, true] {
            let mut body = chat_body(true);
            if asked {
                body["stream_options"] = json!({"include_usage": true});
            }
            let answer = post(&standin, provider, &key, path, &body.to_string()).await;
            assert_eq!(answer.status, 200, "{provider}: {}", answer.body);
            assert!(answer.header("content-type").starts_with("text/event-stream"));
            assert!(answer.body.ends_with("data: [DONE]\n\n"));
            let events = answer.events();
            let text: Vec<&str> = events
                .iter()
                .filter_map(|event| event.pointer("/choices/0/delta/content")?.as_str())
                .collect();
            assert!(text.len() > 4, "{provider}: {text:?}");
            assert_eq!(text.concat(), answer_text(&key, PROMPT), "{provider}");

            let without_choices: Vec<&Value> =
                events.iter().filter(|event| event["choices"] == json!([])).collect();
            // Mistral has no chunk of its own for usage; it and two others send it with the last of the text.
            assert_eq!(without_choices.len(), usize::from(asked && provider != "mistral"), "{provider}");
            let own = ["mistral", "perplexity", "together"].contains(&provider);
            let usage: Vec<&Value> =
                events.iter().map(|event| &event["usage"]).filter(|u| !u.is_null()).collect();
            assert_eq!(usage.len(), without_choices.len() + usize::from(own), "{provider}");
            for usage in usage {
                assert_eq!(
                    (&usage["prompt_tokens"], &usage["completion_tokens"]),
                    (&json!(INPUT), &json!(OUTPUT))
                );
            }
            let comments = answer.body.matches(": OPENROUTER PROCESSING\n\n").count();
            assert_eq!(comments, if provider == "openrouter" { 2 } else { 0 });
        }
    }
}

#[tokio::test]
async fn anthropic_answers_whole() {
    let standin = Standin::start().await;
    let key = example_key("anthropic", 5);
    let body = json!({
        "model": "claude-haiku-4-5", "max_tokens": 10, "system": "Be brief.",
        "messages": [{"role": "user", "content": PROMPT}],
    });
    let answer = post(&standin, "anthropic", &key, "/v1/messages", &body.to_string()).await.json();
    assert_eq!(answer["content"][0]["text"], answer_text(&key, PROMPT));
    assert_eq!(answer["usage"]["input_tokens"], 2 + 9);
    assert_eq!(answer["usage"]["output_tokens"], OUTPUT);
    assert_eq!(answer["stop_reason"], "end_turn");
    let count =
        post(&standin, "anthropic", &key, "/v1/messages/count_tokens", &body.to_string()).await.json();
    assert_eq!(count["input_tokens"], 9);
}

#[tokio::test]
async fn anthropic_streams_its_own_sequence() {
    let standin = Standin::start().await;
    let key = example_key("anthropic", 6);
    let mut body = chat_body(true);
    body["messages"].as_array_mut().unwrap().remove(0);
    let answer = post(&standin, "anthropic", &key, "/v1/messages", &body.to_string()).await;
    let names = answer.event_names();
    let deltas = names.iter().filter(|name| **name == "content_block_delta").count();
    assert!(deltas > 1);
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(names[3 + deltas..], ["content_block_stop", "message_delta", "message_stop"]);
    let events = answer.events();
    for (event, name) in events.iter().zip(&names) {
        assert_eq!(event["type"], *name);
    }
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], INPUT - 2);
    assert_eq!(events[events.len() - 2]["usage"]["output_tokens"], OUTPUT);
    let text: String = events.iter().filter_map(|event| event.pointer("/delta/text")?.as_str()).collect();
    assert_eq!(text, answer_text(&key, PROMPT));
}

#[tokio::test]
async fn anthropic_insists_on_its_version_and_max_tokens() {
    let standin = Standin::start().await;
    let key = example_key("anthropic", 1);
    let unversioned =
        bare(&standin, "anthropic", Method::GET, "/v1/models", &[("x-api-key", &key)], "").await;
    assert_eq!(unversioned.status, 400);
    assert_eq!(unversioned.json()["error"]["message"], "anthropic-version: header is required");

    let mut body = chat_body(false);
    body.as_object_mut().unwrap().remove("max_tokens");
    let unlimited = post(&standin, "anthropic", &key, "/v1/messages", &body.to_string()).await;
    assert_eq!(unlimited.status, 400);
    assert_eq!(unlimited.json()["error"]["message"], "max_tokens: Field required");
    assert_eq!(unlimited.json()["type"], "error");
}

#[tokio::test]
async fn gemini_generates() {
    let standin = Standin::start().await;
    let key = example_key("gemini", 8);
    let body = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Earlier."}]},
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": PROMPT}]},
        ],
    })
    .to_string();
    let model = "/v1beta/models/gemini-2.5-flash";
    let whole = post(&standin, "gemini", &key, &format!("{model}:generateContent"), &body).await.json();
    assert_eq!(whole["candidates"][0]["content"]["parts"][0]["text"], answer_text(&key, PROMPT));
    assert_eq!(whole["candidates"][0]["finishReason"], "STOP");
    assert_eq!(whole["usageMetadata"]["promptTokenCount"], INPUT);
    assert_eq!(whole["usageMetadata"]["candidatesTokenCount"], OUTPUT);

    let stream = format!("{model}:streamGenerateContent");
    let sse = post(&standin, "gemini", &key, &format!("{stream}?alt=sse"), &body).await;
    assert_eq!(sse.header("content-type"), "text/event-stream");
    assert!(sse.body.contains("\r\n\r\n"));
    let list = post(&standin, "gemini", &key, &stream, &body).await.json();
    for parts in [sse.events(), list.as_array().unwrap().clone()] {
        assert!(parts.len() > 3);
        let text: String = parts
            .iter()
            .filter_map(|part| part.pointer("/candidates/0/content/parts/0/text")?.as_str())
            .collect();
        assert_eq!(text, answer_text(&key, PROMPT));
        let end = parts.last().unwrap();
        assert_eq!(end["usageMetadata"]["totalTokenCount"], INPUT + OUTPUT);
        assert_eq!(end["candidates"][0]["finishReason"], "STOP");
        assert!(parts[0]["candidates"][0].get("finishReason").is_none());
    }
    let count = post(&standin, "gemini", &key, &format!("{model}%3AcountTokens"), &body).await.json();
    assert_eq!(count["totalTokens"], INPUT);

    let refused = post(&standin, "gemini", &example_key_with("gemini", "INVALID"), &stream, &body).await;
    assert_eq!(refused.json()[0]["error"]["code"], 400);
    let chat = chat_body(false).to_string();
    let bearer = format!("Bearer {key}");
    let imitated = bare(
        &standin,
        "gemini",
        Method::POST,
        "/v1beta/openai/chat/completions",
        &[("authorization", &bearer)],
        &chat,
    )
    .await;
    assert_eq!(imitated.json()["choices"][0]["message"]["content"], answer_text(&key, PROMPT));
}

#[tokio::test]
async fn cohere_chats() {
    let standin = Standin::start().await;
    let key = example_key("cohere", 9);
    let whole = post(&standin, "cohere", &key, "/v2/chat", &chat_body(false).to_string()).await.json();
    assert_eq!(whole["message"]["content"][0]["text"], answer_text(&key, PROMPT));
    assert_eq!(whole["usage"]["tokens"]["output_tokens"], OUTPUT);

    let streamed = post(&standin, "cohere", &key, "/v2/chat", &chat_body(true).to_string()).await;
    let names = streamed.event_names();
    assert_eq!(names[..2], ["message-start", "content-start"]);
    assert_eq!(names[names.len() - 2..], ["content-end", "message-end"]);
    let events = streamed.events();
    let text: String =
        events.iter().filter_map(|event| event.pointer("/delta/message/content/text")?.as_str()).collect();
    assert_eq!(text, answer_text(&key, PROMPT));
    assert_eq!(events.last().unwrap()["delta"]["usage"]["tokens"]["input_tokens"], INPUT);
}

#[tokio::test]
async fn coheres_imitation_of_openai_does_not_take_stream_options() {
    let standin = Standin::start().await;
    let key = example_key("cohere", 2);
    let mut body = chat_body(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer =
        post(&standin, "cohere", &key, "/compatibility/v1/chat/completions", &body.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().unwrap().contains("stream_options"), "{}", answer.body);
}

#[tokio::test]
async fn perplexity_answers_in_the_shape_of_responses() {
    let standin = Standin::start().await;
    let key = example_key("perplexity", 5);
    let mut body = json!({
        "model": "perplexity/sonar", "instructions": "Be brief.", "input": [{"role": "user", "content": PROMPT}],
    });
    let whole = post(&standin, "perplexity", &key, "/v1/responses", &body.to_string()).await.json();
    assert_eq!(whole["status"], "completed");
    assert_eq!(whole["output"][1]["content"][0]["text"], answer_text(&key, PROMPT));
    assert_eq!(
        whole["usage"],
        json!({"input_tokens": 11, "output_tokens": OUTPUT, "total_tokens": 11 + OUTPUT})
    );

    body["stream"] = true.into();
    let streamed = post(&standin, "perplexity", &key, "/v1/responses", &body.to_string()).await;
    let names = streamed.event_names();
    assert_eq!(names[0], "response.created");
    assert_eq!(names[names.len() - 2..], ["response.output_text.done", "response.completed"]);
    let events = streamed.events();
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(text, answer_text(&key, PROMPT));
    assert!(events.iter().zip(names).all(|(event, name)| event["type"] == name));
    assert_eq!(events.last().unwrap()["response"]["usage"]["output_tokens"], OUTPUT);

    for bad in [json!({"input": "x"}), json!({"model": "m"}), json!({"model": "m", "input": []})] {
        assert_eq!(post(&standin, "perplexity", &key, "/v1/responses", &bad.to_string()).await.status, 400);
    }
}

#[tokio::test]
async fn unknown_models_are_refused() {
    let standin = Standin::start().await;
    let mut body = chat_body(false);
    body["model"] = json!("no-such-model-9");
    let body = body.to_string();
    for (provider, path) in CHAT {
        let answer = post(&standin, provider, &example_key(provider, 1), path, &body).await;
        let expected = match provider {
            "mistral" | "deepseek" | "openrouter" | "perplexity" | "huggingface" => 400,
            _ => 404,
        };
        assert_eq!(answer.status, expected, "{provider}: {}", answer.body);
        answer.json();
    }
    let others = [
        ("anthropic", "/v1/messages", "not_found_error"),
        ("cohere", "/v2/chat", "model 'no-such-model-9' not found"),
        ("gemini", "/v1beta/models/no-such-model-9:generateContent", "is not found for API version v1beta"),
    ];
    for (provider, path, part) in others {
        let answer = post(&standin, provider, &example_key(provider, 1), path, &body).await;
        assert_eq!(answer.status, 404);
        assert!(answer.body.contains(part), "{}", answer.body);
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let standin = Standin::start().await;
    for (provider, path) in CHAT.into_iter().chain([("anthropic", "/v1/messages"), ("cohere", "/v2/chat")]) {
        let key = example_key(provider, 1);
        for body in ["", "{", "{}", r#"{"model":"m"}"#, r#"{"model":"m","messages":[]}"#] {
            let answer = post(&standin, provider, &key, path, body).await;
            assert!([400, 422].contains(&answer.status), "{provider} takes {body:?}");
            answer.json();
        }
    }
    for provider in PROVIDERS.into_iter().filter(|provider| *provider != "copilotkit") {
        let answer = get(&standin, provider, &example_key(provider, 1), "/no/such/address").await;
        assert_eq!(answer.status, 404, "{provider}");
        answer.json();
    }
}

#[tokio::test]
async fn exa_searches() {
    let standin = Standin::start().await;
    let key = example_key("exa", 1);
    let plain = post(&standin, "exa", &key, "/search", r#"{"query":"rust \"async\""}"#).await.json();
    let results = plain["results"].as_array().unwrap();
    assert_eq!(results.len(), 10);
    for result in results {
        for field in ["title", "url", "publishedDate", "author", "id"] {
            assert!(result[field].is_string(), "{field} in {result}");
        }
        assert!(result["score"].as_f64().unwrap() > 0.0);
        assert!(result["title"].as_str().unwrap().starts_with(&answer_text(&key, "rust \"async\"")));
        assert!(result.get("text").is_none());
    }
    let full = json!({
        "query": "q", "numResults": 100, "contents": {"text": true, "highlights": {}, "summary": false},
    });
    let full = post(&standin, "exa", &key, "/search", &full.to_string()).await.json();
    assert_eq!(full["results"].as_array().unwrap().len(), 100);
    assert!(full["results"][99]["text"].as_str().unwrap().starts_with("fp="));
    assert!(full["results"][99]["highlights"][0].is_string());
    assert!(full["results"][99].get("summary").is_none());

    for body in
        ["", "{}", r#"{"query":""}"#, r#"{"query":"q","numResults":0}"#, r#"{"query":"q","numResults":101}"#]
    {
        assert_eq!(post(&standin, "exa", &key, "/search", body).await.status, 400, "{body}");
    }
    let contents = post(&standin, "exa", &key, "/contents", r#"{"urls":["https://standin.invalid/"]}"#).await;
    assert_eq!(contents.json()["statuses"][0]["status"], "success");
}

#[tokio::test]
async fn the_others_search() {
    let standin = Standin::start().await;
    let searches = [
        ("tavily", "/search", r#"{"query":"q","max_results":3}"#, "/results/2/content"),
        ("serper", "/search", r#"{"q":"q","num":3}"#, "/organic/2/snippet"),
        ("firecrawl", "/v1/search", r#"{"query":"q","limit":3}"#, "/data/2/description"),
        ("firecrawl", "/v2/search", r#"{"query":"q","limit":3}"#, "/data/web/2/description"),
    ];
    for (provider, path, body, last) in searches {
        let key = example_key(provider, 1);
        let answer = post(&standin, provider, &key, path, body).await.json();
        assert_eq!(answer.pointer(last), Some(&json!(answer_text(&key, "q"))), "{provider}: {answer}");
        assert_eq!(post(&standin, provider, &key, path, "{}").await.status, 400, "{provider}");
    }
    let key = example_key("firecrawl", 1);
    let page = post(&standin, "firecrawl", &key, "/v2/scrape", r#"{"url":"https://standin.invalid/"}"#).await;
    assert_eq!(page.json()["data"]["markdown"], answer_text(&key, "https://standin.invalid/"));
}

#[tokio::test]
async fn example_keys_are_all_different() {
    let shapes = [
        ("gemini", "AQ.", 53),
        ("exa", "7e57da7a-", 36),
        ("copilotkit", "ck_pub_", 39),
        ("openai", "sk-proj-", 72),
        ("anthropic", "sk-ant-api03-", 108),
        ("mistral", "", 32),
        ("groq", "gsk_", 56),
        ("deepseek", "sk-", 35),
        ("xai", "xai-", 84),
        ("cohere", "", 40),
        ("tavily", "tvly-", 37),
        ("serper", "", 40),
        ("firecrawl", "fc-", 35),
        ("perplexity", "pplx-", 53),
        ("openrouter", "sk-or-v1-", 73),
        ("together", "tgp_v1_", 50),
        ("stability", "sk-", 51),
        ("elevenlabs", "sk_", 51),
        ("huggingface", "hf_", 37),
    ];
    let mut keys = std::collections::HashSet::new();
    let mut endings = std::collections::HashSet::new();
    for (provider, beginning, length) in shapes {
        for n in 0..1000 {
            let key = example_key(provider, n);
            assert!(keys.insert(key.clone()), "{provider} {n} again");
            endings.insert(key[key.len() - 4..].to_owned());
        }
        let key = example_key(provider, 12);
        assert_eq!(key, example_key(provider, 12));
        assert!(key.starts_with(beginning) && key.len() == length, "{provider}: {key}");
        for marker in ["INVALID", "DENIED", "QUOTA", "NOCREDIT", "BROKEN", "NONSENSE"] {
            let marked = example_key_with(provider, marker);
            assert!(marked.contains(marker) && marked.starts_with(beginning), "{provider}: {marked}");
            assert_eq!(marked.len(), length, "{provider}: {marked}");
        }
    }
    assert_eq!(endings.len(), 1000);
    assert!(example_key("gemini", 1).starts_with("AIza") && example_key("gemini", 1).len() == 39);
    assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea");
}

#[tokio::test]
async fn answers_are_the_same_on_every_run() {
    let body = chat_body(true).to_string();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let standin = Standin::start().await;
        let key = example_key("openai", 1);
        answers.push(post(&standin, "openai", &key, "/v1/chat/completions", &body).await.body);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn one_provider_can_stand_at_the_root() {
    let standin = Standin::start_single("openai").await;
    assert_eq!(standin.base_url("openai"), standin.url());
    let key = example_key("openai", 1);
    assert_eq!(get(&standin, "openai", &key, "/v1/models").await.status, 200);
    assert_eq!(get(&standin, "openai", &key, "/openai/v1/models").await.status, 404);
    assert_eq!(standin.requests_for("openai").len(), 2);

    let all = Standin::start().await;
    assert_eq!(all.base_url("groq"), format!("{}/groq", all.url()));
    let mut sender = common::connect(&all).await;
    let request = http::Request::get("/nobody/v1/models").header("host", "standin");
    let answer = sender.send_request(request.body(http_body_util::Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn a_request_can_ask_for_the_refusals_that_keys_have_in_them() {
    let standin = Standin::start().await;
    for provider in PROVIDERS {
        let (method, path) = free_check(provider);
        for marker in ["INVALID", "DENIED", "QUOTA", "NOCREDIT", "BROKEN", "NONSENSE"] {
            let marked = example_key_with(provider, marker);
            let by_key = call(&standin, provider, &marked, method.clone(), path, "").await;
            let wish = format!("standin:{marker}");
            let by_wish =
                call(&standin, provider, &example_key(provider, 1), method.clone(), path, &wish).await;
            assert_eq!(by_wish.status, by_key.status, "{provider} {marker}: {}", by_wish.body);
            assert_eq!(by_wish.header("retry-after"), by_key.header("retry-after"), "{provider} {marker}");
        }
    }
}

/// What the client libraries send when they upload a file.
async fn upload(standin: &Standin, provider: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let part = |(disposition, content): &(&str, &str)| {
        format!("--b0undary\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    };
    let mut body: String = fields.iter().map(part).collect();
    body.push_str("--b0undary--\r\n");
    let bearer = format!("Bearer {}", example_key(provider, 1));
    let headers = [
        ("authorization", bearer.as_str()),
        ("anthropic-version", "2026-10-21"),
        ("content-type", "multipart/form-data; boundary=b0undary"),
    ];
    bare(standin, provider, Method::POST, path, &headers, &body).await
}

#[tokio::test]
async fn uploads_tell_whose_they_were_and_how_much_came() {
    let standin = Standin::start().await;
    let content = "a\r\n--b0undar\r\nb";
    let file = ("name=\"file\"; filename=\"lines.jsonl\"", content);
    let cases = [
        ("openai", "/v1/files", "/bytes"),
        ("mistral", "/v1/files", "/bytes"),
        ("anthropic", "/v1/files", "/size_bytes"),
    ];
    for (provider, path, size) in cases {
        let body = upload(&standin, provider, path, &[("name=\"purpose\"", "batch"), file]).await.json();
        let of = fingerprint(&example_key(provider, 1));
        assert!(body["id"].as_str().unwrap().contains(&of), "{provider}: {body}");
        assert_eq!(body["filename"], "lines.jsonl", "{provider}: {body}");
        assert_eq!(body.pointer(size), Some(&json!(content.len())), "{provider}: {body}");
        assert_eq!(upload(&standin, provider, path, &[("name=\"other\"", "x")]).await.status / 100, 4);
    }
    let heard = upload(&standin, "groq", "/openai/v1/audio/transcriptions", &[file]).await.json();
    assert!(heard["text"].as_str().unwrap().ends_with("lines.jsonl, 15 bytes"), "{heard}");
    let made =
        upload(&standin, "cohere", "/v1/datasets?name=x", &[("name=\"data\"; filename=\"x\"", "x")]).await;
    assert!(made.json()["id"].as_str().unwrap().contains(&fingerprint(&example_key("cohere", 1))));

    let key = example_key("gemini", 1);
    let begun = post(&standin, "gemini", &key, "/upload/v1beta/files", "{}").await;
    assert!(begun.header("x-goog-upload-url").ends_with(&fingerprint(&key)));

    let broken = post(&standin, "openai", &example_key("openai", 1), "/v1/files", "no form").await;
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn embeddings_depend_on_the_text() {
    let standin = Standin::start().await;
    let asked = r#"{"model":"m","input":["four","seventeen"],"inputs":["four","seventeen"],"texts":["four","seventeen"]}"#;
    for (provider, path, pointer) in [
        ("openai", "/v1/embeddings", "/data/1/embedding/0"),
        ("mistral", "/v1/embeddings", "/data/1/embedding/0"),
        ("cohere", "/v2/embed", "/embeddings/float/1/0"),
    ] {
        let body = post(&standin, provider, &example_key(provider, 1), path, asked).await.json();
        assert_eq!(body.pointer(pointer), Some(&json!(9.0)), "{provider}: {body}");
    }
    let asked = r#"{"model":"m","input":"four","encoding_format":"base64"}"#;
    let body = post(&standin, "openai", &example_key("openai", 1), "/v1/embeddings", asked).await.json();
    assert_eq!(body["data"][0]["embedding"], "AACAQAAAAD8AAIA+AACAvw==");
}

#[tokio::test]
async fn exa_answers_and_tavily_researches_whole_and_streamed() {
    let standin = Standin::start().await;
    let key = example_key("exa", 1);
    let whole = post(&standin, "exa", &key, "/answer", r#"{"query":"why so"}"#).await.json();
    assert_eq!(whole["answer"], answer_text(&key, "why so"));
    let streamed = post(&standin, "exa", &key, "/answer", r#"{"query":"why so","stream":true}"#).await;
    let pieces: Vec<Value> = streamed.events();
    let text: String =
        pieces.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, answer_text(&key, "why so"));
    assert!(pieces.last().unwrap()["citations"].is_array());

    let key = example_key("tavily", 1);
    let whole = post(&standin, "tavily", &key, "/research", r#"{"input":"why so"}"#).await.json();
    assert!(whole["request_id"].as_str().unwrap().contains(&fingerprint(&key)));
    let streamed = post(&standin, "tavily", &key, "/research", r#"{"input":"why so","stream":true}"#).await;
    let pieces = streamed.events();
    let text: String =
        pieces.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, answer_text(&key, "why so"));
    assert_eq!(streamed.event_names(), ["done"]);
}

#[tokio::test]
async fn openai_s_responses_have_a_message_and_no_search() {
    let standin = Standin::start().await;
    let key = example_key("openai", 1);
    let body = r#"{"model":"m","input":"why so"}"#;
    let whole = post(&standin, "openai", &key, "/v1/responses", body).await.json();
    assert_eq!(whole["output"].as_array().unwrap().len(), 1);
    assert_eq!(whole["output"][0]["content"][0]["text"], answer_text(&key, "why so"));
    let body = r#"{"model":"m","input":"why so","stream":true}"#;
    let streamed = post(&standin, "openai", &key, "/v1/responses", body).await;
    assert_eq!(
        streamed.event_names()[..3],
        ["response.created", "response.output_item.added", "response.content_part.added"]
    );
}

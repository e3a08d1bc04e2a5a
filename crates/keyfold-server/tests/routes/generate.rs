//! `/api/generate`

use std::time::Duration;

use keyfold::provider::http::Timeouts;
use keyfold_server::serve::Limits;
use keyfold_standin::{
    Behaviour, PROVIDERS, Seen, answer_text, credential, example_key, example_key_with, refused_port,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Local, Setup};

/// Those of the registry that generate text.
pub(crate) const GENERATING: [&str; 12] = [
    "anthropic",
    "cohere",
    "deepseek",
    "gemini",
    "groq",
    "huggingface",
    "mistral",
    "openai",
    "openrouter",
    "perplexity",
    "together",
    "xai",
];
/// Every header in which a credential could stand.
const CREDENTIALS: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-goog-api-key",
    "xi-api-key",
    "x-copilotcloud-public-api-key",
    "api-key",
    "keyfold-user",
];

/// Someone with an OpenAI key and a stand-in that has seen nothing else.
async fn with_openai() -> (Local, String) {
    with_openai_and(Setup::default()).await
}

async fn with_openai_and(setup: Setup) -> (Local, String) {
    let local = setup.start().await;
    let key = example_key("openai", 1);
    local.write(".env", &format!("OPENAI_API_KEY={key}\n"));
    (local, key)
}

/// For providers that never begin to answer.
fn no_answer() -> Setup {
    Setup::default().timeouts(Timeouts { first_byte: Duration::from_millis(100), ..Timeouts::default() })
}

/// For providers that stop in the middle.
fn no_progress() -> Setup {
    Setup::default().timeouts(Timeouts { idle: Duration::from_millis(300), ..Timeouts::default() })
}

fn hello() -> Value {
    json!({ "prompt": "hello", "provider": "openai" })
}

/// The one request that came, as the provider saw it.
#[track_caller]
fn only_request(local: &Local, provider: &str) -> Seen {
    let mut seen = local.standin.requests();
    assert_eq!(seen.len(), 1, "{provider}");
    assert_eq!(seen[0].provider, provider);
    seen.remove(0)
}

/// The key stands in the provider's own header, and there is no other credential.
#[track_caller]
fn assert_only_credential(seen: &Seen, key: &str) {
    let (name, value) = credential(seen.provider, key);
    assert_eq!(seen.headers.get_all(&name).iter().collect::<Vec<_>>(), [&value], "{}", seen.provider);
    for other in CREDENTIALS.into_iter().filter(|other| *other != name.as_str()) {
        assert_eq!(seen.header(other), None, "{} {other}", seen.provider);
    }
    let elsewhere = format!("{} {:?} {}", seen.path, seen.query, String::from_utf8_lossy(&seen.body));
    assert!(!elsewhere.contains(key), "{elsewhere}");
}

fn text_of(events: &[(String, Value)]) -> String {
    events
        .iter()
        .filter(|(name, _)| name == "delta")
        .map(|(_, data)| data["text"].as_str().unwrap())
        .collect()
}

// What is asked, and what comes back

#[tokio::test]
async fn every_generating_provider_answers_with_the_users_key() {
    let local = Local::start().await;
    for provider in GENERATING {
        let key = local.has_example_key(provider, 5).await;
        local.standin.clear();
        let answer =
            local.post("/api/generate", json!({ "prompt": "two words", "provider": provider })).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["text"], answer_text(&key, "two words"), "{provider}");
        assert_eq!(answer["provider"], provider);
        assert_eq!(answer["usage"], json!({ "input_tokens": 2, "output_tokens": 5 }), "{provider}");
        let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["model", "provider", "text", "usage"]);
        let seen = only_request(&local, provider);
        assert_only_credential(&seen, &key);
        assert_eq!(seen.method, Method::POST);
    }
}

#[tokio::test]
async fn every_generating_provider_streams_with_the_users_key() {
    let local = Local::start().await;
    for provider in GENERATING {
        let key = local.has_example_key(provider, 6).await;
        local.standin.clear();
        let prompt = "one two three four five six";
        let events = local.stream(json!({ "prompt": prompt, "provider": provider })).await;
        assert_eq!(events.status, 200, "{provider}");
        assert!(events.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        assert!(events.headers.contains_key("x-request-id"));
        let events = events.rest().await;
        assert_eq!(text_of(&events), answer_text(&key, prompt), "{provider}");
        let (done, deltas) = events.split_last().unwrap();
        assert!(deltas.len() > 1 && deltas.iter().all(|(name, _)| name == "delta"), "{provider}: {events:?}");
        assert_eq!(done.0, "done", "{provider}: {events:?}");
        // Cohere may not be asked for the counts.
        let usage = if provider == "cohere" { [None, None] } else { [Some(6), Some(9)] };
        let usage = json!({ "input_tokens": usage[0], "output_tokens": usage[1] });
        assert_eq!(done.1["usage"], usage, "{provider}");
        assert_eq!(done.1["provider"], provider);
        let seen = only_request(&local, provider);
        assert_only_credential(&seen, &key);
    }
}

#[tokio::test]
async fn the_registry_says_who_generates() {
    let local = Local::start().await;
    let listed = local.get("/api/providers").await.ok();
    let mut generating: Vec<&str> = listed["providers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|provider| provider["generates"] == true)
        .map(|provider| provider["id"].as_str().unwrap())
        .collect();
    generating.sort_unstable();
    assert_eq!(generating, GENERATING);
}

#[tokio::test]
async fn gemini_is_asked_unless_another_provider_is_named() {
    let local = Local::start().await;
    let key = local.has_example_key("gemini", 1).await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    let answer = local.post("/api/generate", json!({ "prompt": "hello" })).await.ok();
    assert_eq!(answer["provider"], "gemini");
    assert_eq!(answer["text"], answer_text(&key, "hello"));
    let seen = only_request(&local, "gemini");
    assert_eq!(seen.path, "/v1beta/models/gemini-flash-latest:generateContent");
    assert_eq!(seen.query, None);
}

#[tokio::test]
async fn the_default_model_is_the_registrys() {
    let local = Local::start().await;
    let listed = local.get("/api/providers").await.ok();
    for provider in
        listed["providers"].as_array().unwrap().iter().filter(|provider| provider["generates"] == true)
    {
        let id = provider["id"].as_str().unwrap();
        let model = provider["default_model"].as_str().unwrap();
        local.has_example_key(id, 1).await;
        local.standin.clear();
        let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": id })).await.ok();
        assert_eq!(answer["model"], model, "{id}");
        let seen = only_request(&local, id);
        if id == "gemini" {
            assert!(seen.path.contains(&format!("/{model}:")), "{}", seen.path);
        } else {
            assert_eq!(seen.json()["model"], model, "{id}");
        }
    }
}

#[tokio::test]
async fn system_model_and_length_reach_gemini_in_its_own_words() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.standin.clear();
    let body = json!({ "prompt": "hello", "system": "be brief", "model": "gemini-2.5-pro", "max_tokens": 7 });
    let answer = local.post("/api/generate", body).await.ok();
    assert_eq!(answer["model"], "gemini-2.5-pro");
    let seen = only_request(&local, "gemini");
    assert_eq!(seen.path, "/v1beta/models/gemini-2.5-pro:generateContent");
    let expected = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }],
        "systemInstruction": { "parts": [{ "text": "be brief" }] },
        "generationConfig": { "maxOutputTokens": 7 },
    });
    assert_eq!(seen.json(), expected);
}

#[tokio::test]
async fn system_model_and_length_reach_anthropic_in_its_own_words() {
    let local = Local::start().await;
    local.has_example_key("anthropic", 1).await;
    local.standin.clear();
    let body = json!({
        "prompt": "hello", "provider": "anthropic", "system": "be brief", "model": "claude-sonnet-4-5", "max_tokens": 7,
    });
    local.post("/api/generate", body).await.ok();
    let seen = only_request(&local, "anthropic");
    assert_eq!(seen.path, "/v1/messages");
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    let expected = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 7, "system": "be brief",
        "messages": [{ "role": "user", "content": "hello" }],
    });
    assert_eq!(seen.json(), expected);
}

#[tokio::test]
async fn anthropic_is_always_told_a_length() {
    let local = Local::start().await;
    local.has_example_key("anthropic", 1).await;
    local.standin.clear();
    local.post("/api/generate", json!({ "prompt": "hello", "provider": "anthropic" })).await.ok();
    assert!(only_request(&local, "anthropic").json()["max_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn system_model_and_length_reach_the_compatible_ones_in_openais_words() {
    let local = Local::start().await;
    let others = ["gemini", "anthropic", "perplexity"];
    for provider in GENERATING.into_iter().filter(|provider| !others.contains(provider)) {
        local.has_example_key(provider, 1).await;
        local.standin.clear();
        let body = json!({
            "prompt": "hello", "provider": provider, "system": "be brief", "model": "vendor/model-1:free", "max_tokens": 7,
        });
        let answer = local.post("/api/generate", body).await.ok();
        assert_eq!(answer["model"], "vendor/model-1:free", "{provider}");
        let most = if provider == "openai" { "max_completion_tokens" } else { "max_tokens" };
        let mut expected = json!({
            "model": "vendor/model-1:free",
            "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": "hello" }],
        });
        expected[most] = 7.into();
        assert_eq!(only_request(&local, provider).json(), expected, "{provider}");
    }
}

#[tokio::test]
async fn system_model_and_length_reach_perplexity_in_the_words_of_responses() {
    let local = Local::start().await;
    local.has_example_key("perplexity", 1).await;
    local.standin.clear();
    let body = json!({
        "prompt": "hello", "provider": "perplexity", "system": "be brief", "model": "perplexity/sonar-2", "max_tokens": 7,
    });
    let answer = local.post("/api/generate", body).await.ok();
    assert_eq!(answer["model"], "perplexity/sonar-2");
    let seen = only_request(&local, "perplexity");
    assert_eq!(seen.path, "/v1/responses");
    let expected = json!({
        "model": "perplexity/sonar-2", "instructions": "be brief", "max_output_tokens": 7,
        "input": [{ "role": "user", "content": "hello" }],
    });
    assert_eq!(seen.json(), expected);
}

#[tokio::test]
async fn each_provider_is_asked_where_it_generates() {
    let local = Local::start().await;
    let paths = [
        ("anthropic", "/v1/messages"),
        ("cohere", "/compatibility/v1/chat/completions"),
        ("deepseek", "/chat/completions"),
        ("gemini", "/v1beta/models/gemini-flash-latest:generateContent"),
        ("groq", "/openai/v1/chat/completions"),
        ("huggingface", "/v1/chat/completions"),
        ("mistral", "/v1/chat/completions"),
        ("openai", "/v1/chat/completions"),
        ("openrouter", "/v1/chat/completions"),
        ("perplexity", "/v1/responses"),
        ("together", "/v1/chat/completions"),
        ("xai", "/v1/chat/completions"),
    ];
    assert_eq!(paths.map(|(provider, _)| provider), GENERATING);
    for (provider, path) in paths {
        local.has_example_key(provider, 1).await;
        local.standin.clear();
        local.post("/api/generate", json!({ "prompt": "hello", "provider": provider })).await.ok();
        assert_eq!(only_request(&local, provider).path, path);
    }
}

#[tokio::test]
async fn what_the_caller_sent_along_does_not_reach_the_provider() {
    let (local, key) = with_openai().await;
    let request = local
        .request(Method::POST, "/api/generate?key=callers-secret")
        .header("authorization", "Bearer callers-secret")
        .header("cookie", "session=callers-secret")
        .header("x-api-key", "callers-secret")
        .header("x-goog-api-key", "callers-secret")
        .header("referer", "http://localhost:3000/callers-secret")
        .header("x-forwarded-for", "203.0.113.7")
        .json(&hello());
    assert_eq!(local.send(request).await.status, 200);
    let seen = only_request(&local, "openai");
    assert_only_credential(&seen, &key);
    assert!(!format!("{seen:?}").contains("callers-secret"), "{seen:?}");
    assert_eq!(seen.header("x-forwarded-for"), None);
    assert_eq!(seen.header("referer"), None);
}

#[tokio::test]
async fn a_prompt_may_be_long_and_in_any_script() {
    let (local, key) = with_openai().await;
    let prompt = format!("Схема \u{1f511} \"quoted\" \\ \n\t{}", "word ".repeat(100_000));
    let answer = local.post("/api/generate", json!({ "prompt": prompt, "provider": "openai" })).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["text"], answer_text(&key, &prompt));
    let events =
        local.stream(json!({ "prompt": "ключ и слово \u{1f511}", "provider": "openai" })).await.rest().await;
    assert_eq!(text_of(&events), answer_text(&key, "ключ и слово \u{1f511}"));
}

// Requests that cannot be

#[tokio::test]
async fn an_unknown_provider_is_404() {
    let local = Local::start().await;
    for provider in ["sk-pasted-into-the-wrong-place", "", "Gemini", "gemini/../openai"] {
        let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": provider })).await;
        let problem = answer.problem(404, "unknown_provider");
        assert_eq!(problem["known_providers"].as_array().unwrap().len(), 19);
        assert!(!answer.everything().contains("pasted"));
    }
}

#[tokio::test]
async fn a_provider_that_does_not_generate_is_refused_with_those_that_do() {
    let local = Local::start().await;
    local.has_example_key("exa", 1).await;
    local.standin.clear();
    for provider in ["exa", "copilotkit", "elevenlabs", "tavily"] {
        let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": provider })).await;
        let problem = answer.problem(422, "invalid_request");
        assert_eq!(problem["field"], "provider");
        assert!(problem["detail"].as_str().unwrap().contains("gemini"), "{problem}");
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn a_models_name_cannot_lead_elsewhere() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.standin.clear();
    let long = "m".repeat(201);
    let names = [
        "",
        "../../v1/files",
        "a/../../x",
        "a//b",
        "a?key=1",
        "a#b",
        "a%2e%2e",
        "/a",
        ".a",
        "a b",
        "a\nb",
        "ü",
        "a&b",
        "a:streamGenerateContent?x",
        &long,
    ];
    for name in names {
        let answer = local.post("/api/generate", json!({ "prompt": "hello", "model": name })).await;
        assert_eq!(answer.problem(422, "invalid_request")["field"], "model", "{name}");
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn a_key_in_the_models_place_is_neither_sent_nor_repeated() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    let keys = PROVIDERS.into_iter().flat_map(|provider| [1, 2].map(|n| example_key(provider, n)));
    // Forms that no provider is known for.
    let unknown = ["TestData0TestData1TestData2", "new_0123456789abcdef0123456789abcdef"].map(str::to_owned);
    for key in keys.chain(unknown) {
        let body = json!({ "prompt": "hello", "provider": "openai", "model": key });
        let answer = local.post("/api/generate", body).await;
        assert_eq!(answer.problem(422, "invalid_request")["field"], "model", "{key}");
        assert!(!answer.everything().contains(&key[..12]));
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn the_users_own_keys_are_no_models_whatever_they_look_like() {
    let local = Local::start().await;
    let key = example_key("openai", 1);
    local.write(
        ".env",
        &format!("OPENAI_API_KEY={key}\nSERPER_API_KEY=own.test-data.key\nEXA_API_KEY=short\n"),
    );
    for stream in [false, true] {
        for model in ["own.test-data.key", "models/own.test-data.key", "short"] {
            let body = json!({ "prompt": "hello", "provider": "openai", "model": model, "stream": stream });
            let answer = local.post("/api/generate", body).await;
            assert_eq!(answer.problem(422, "invalid_request")["field"], "model", "{model}");
            assert!(!answer.everything().contains(model));
        }
    }
    assert!(local.standin.requests().is_empty());
    for model in ["own.test-data.kez", "shorter", "gpt-6-luna"] {
        let body = json!({ "prompt": "hello", "provider": "openai", "model": model });
        assert_eq!(local.post("/api/generate", body).await.status, 200, "{model}");
    }
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_told_in_the_providers_words() {
    let local = Local::start().await;
    for provider in GENERATING {
        local.has_example_key(provider, 1).await;
        let body = json!({ "prompt": "hello", "provider": provider, "model": "no-such-model" });
        let problem = local.post("/api/generate", body).await.problem(502, "provider_error");
        assert!(problem["detail"].as_str().unwrap().contains("It says: "), "{problem}");
        assert_eq!(local.listed(provider).await["status"], "valid", "{provider}");
    }
}

#[tokio::test]
async fn geminis_own_names_of_models_work_too() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.standin.clear();
    local.post("/api/generate", json!({ "prompt": "hello", "model": "models/gemini-2.5-pro" })).await.ok();
    assert_eq!(only_request(&local, "gemini").path, "/v1beta/models/gemini-2.5-pro:generateContent");
}

#[tokio::test]
async fn an_empty_prompt_is_refused() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.standin.clear();
    for prompt in ["", " ", "\n\t"] {
        let problem =
            local.post("/api/generate", json!({ "prompt": prompt })).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "prompt");
    }
    let problem =
        local.post("/api/generate", json!({ "provider": "gemini" })).await.problem(422, "invalid_request");
    assert_eq!(problem["field"], "prompt");
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn a_length_that_cannot_be_is_refused() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    for most in [json!(0), json!(-1), json!(1.5), json!("10"), json!(u64::MAX)] {
        let body = json!({ "prompt": "hello", "max_tokens": most });
        let problem = local.post("/api/generate", body).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "max_tokens", "{most}");
    }
}

#[tokio::test]
async fn without_a_key_the_answer_says_what_to_do() {
    let local = Local::start().await;
    for stream in [false, true] {
        for (provider, variable) in
            [("gemini", "GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY"), ("huggingface", "HF_TOKEN")]
        {
            let body = json!({ "prompt": "hello", "provider": provider, "stream": stream });
            let problem = local.post("/api/generate", body).await.problem(404, "no_api_key");
            assert_eq!(problem["provider"], provider);
            assert!(problem["detail"].as_str().unwrap().contains(variable), "{problem}");
        }
    }
}

// What the provider says of the key

#[tokio::test]
async fn a_key_that_the_provider_refuses_is_marked_until_it_works_again() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let refusal = r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#;
    for stream in [false, true] {
        local.standin.script("openai", Behaviour::status(401, refusal));
        let mut body = hello();
        body["stream"] = stream.into();
        let problem = local.post("/api/generate", body).await.problem(424, "key_rejected");
        assert_eq!(problem["provider"], "openai");
        assert!(problem["detail"].as_str().unwrap().contains("https://platform.openai.com"), "{problem}");
        assert_eq!(local.listed("openai").await["status"], "rejected");
        // It is tried all the same, and success clears the mark.
        let mut body = hello();
        body["stream"] = stream.into();
        assert_eq!(local.post("/api/generate", body).await.status, 200);
        assert_eq!(local.listed("openai").await["status"], "valid");
    }
}

#[tokio::test]
async fn every_providers_refusal_of_a_key_is_recognised() {
    let local = Local::start().await;
    for provider in GENERATING {
        let variable = &local.keyfold.registry().get(provider).unwrap().variable;
        let key = example_key_with(provider, "INVALID");
        local.write(".env", &format!("{variable}={key}\n"));
        let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": provider })).await;
        assert_eq!(answer.problem(424, "key_rejected")["provider"], provider);
        assert!(!answer.everything().contains(&key[key.len() - 4..]), "{provider}");
        assert_eq!(local.listed(provider).await["status"], "rejected", "{provider}");
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_does_not_mark_the_key() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let refusals = [
        (400, r#"{"error":{"message":"bad request"}}"#),
        (403, r#"{"error":{"message":"You have insufficient permissions. Missing scopes: model.request"}}"#),
        (401, r#"{"error":{"message":"Missing scopes: model.request"}}"#),
        (404, r#"{"error":{"message":"no such model"}}"#),
        (500, r#"{"error":{"message":"oh no"}}"#),
    ];
    for (status, body) in refusals {
        local.standin.script("openai", Behaviour::status(status, body));
        let problem = local.post("/api/generate", hello()).await.problem(502, "provider_error");
        assert_eq!(problem["provider_status"], status, "{problem}");
        assert_eq!(local.listed("openai").await["status"], "valid", "{body}");
    }
}

#[tokio::test]
async fn a_web_page_with_status_401_does_not_mark_the_key() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let page = "<html><body>Proxy authentication required</body></html>";
    local.standin.script("openai", Behaviour::status_with(401, &[("content-type", "text/html")], page));
    let problem = local.post("/api/generate", hello()).await.problem(502, "provider_error");
    assert_eq!(problem["provider_status"], 401);
    assert_eq!(local.listed("openai").await["status"], "valid");
}

// Troubles of the provider

#[tokio::test]
async fn a_providers_own_trouble_is_told_with_its_status() {
    let (local, _) = with_openai().await;
    for stream in [false, true] {
        for status in [400, 404, 408, 409, 418, 500, 503, 529] {
            local
                .standin
                .script("openai", Behaviour::status(status, r#"{"error":{"message":"it is as it is"}}"#));
            let mut body = hello();
            body["stream"] = stream.into();
            let problem = local.post("/api/generate", body).await.problem(502, "provider_error");
            assert_eq!(problem["provider"], "openai");
            assert_eq!(problem["provider_status"], status);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("OpenAI") && detail.contains("it is as it is"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_providers_429_and_402_keep_their_status_and_their_retry_after() {
    let (local, _) = with_openai().await;
    for stream in [false, true] {
        for status in [429, 402] {
            let body = r#"{"error":{"message":"slow down"}}"#;
            local.standin.script("openai", Behaviour::status_with(status, &[("retry-after", "17")], body));
            let mut body = hello();
            body["stream"] = stream.into();
            let answer = local.post("/api/generate", body).await;
            let problem = answer.problem(status, "provider_error");
            assert_eq!(problem["provider_status"], status);
            assert_eq!(answer.header("retry-after"), "17");
        }
    }
    // A key without quota: as the provider itself says it.
    let local = Local::start().await;
    local.has_key("gemini", &example_key_with("gemini", "QUOTA")).await;
    let answer = local.post("/api/generate", json!({ "prompt": "hello" })).await;
    let problem = answer.problem(429, "provider_error");
    assert!(problem["detail"].as_str().unwrap().contains("quota"), "{problem}");
    assert_eq!(answer.header("retry-after"), "7");
    local.has_key("openrouter", &example_key_with("openrouter", "NOCREDIT")).await;
    let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": "openrouter" })).await;
    answer.problem(402, "provider_error");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_provider_error() {
    let (local, _) = with_openai().await;
    let nonsense = [
        (Behaviour::NotJson, "not as it should"),
        (Behaviour::InvalidJson, "not as it should"),
        (Behaviour::status(200, "[]"), "not as it should"),
        (Behaviour::status(200, r#"{"choices":[]}"#), "not as it should"),
        (Behaviour::status(200, ""), "not as it should"),
        (Behaviour::StreamThenCut { chunks: 1 }, "broke off"),
        (Behaviour::Huge { bytes: 100 * 1024 * 1024 }, "more than can be taken"),
    ];
    for (behaviour, words) in nonsense {
        local.standin.script("openai", behaviour.clone());
        let problem = local.post("/api/generate", hello()).await.problem(502, "provider_error");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{behaviour:?}: {problem}");
        assert_eq!(problem.get("provider_status"), None, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_blocked_prompt_is_a_provider_error_that_says_so() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    local.standin.script("gemini", Behaviour::status(200, blocked));
    let problem =
        local.post("/api/generate", json!({ "prompt": "hello" })).await.problem(502, "provider_error");
    assert!(problem["detail"].as_str().unwrap().contains("SAFETY"), "{problem}");
}

#[tokio::test]
async fn a_provider_that_hangs_up_is_unreachable() {
    let (local, _) = with_openai().await;
    for stream in [false, true] {
        local.standin.script("openai", Behaviour::CloseWithoutAnswer);
        let mut body = hello();
        body["stream"] = stream.into();
        let problem = local.post("/api/generate", body).await.problem(502, "provider_unreachable");
        assert_eq!(problem["provider"], "openai");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_unreachable() {
    let (local, _) =
        with_openai_and(Setup::default().with("KEYFOLD_PROVIDER_OPENAI_BASE_URL", &refused_port())).await;
    for stream in [false, true] {
        let mut body = hello();
        body["stream"] = stream.into();
        let problem = local.post("/api/generate", body).await.problem(502, "provider_unreachable");
        assert_eq!(problem["provider"], "openai");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_in_time_is_a_timeout() {
    let (local, _) = with_openai_and(no_answer()).await;
    for (calls, stream) in [(1, false), (2, true)] {
        local.standin.script("openai", Behaviour::Hang);
        let mut body = hello();
        body["stream"] = stream.into();
        let problem = local.post("/api/generate", body).await.problem(504, "provider_timeout");
        assert_eq!(problem["provider"], "openai");
        // Nothing is left running there.
        local.standin.wait_for_cancelled(calls).await;
    }
}

#[tokio::test]
async fn a_provider_that_stops_in_the_middle_is_a_timeout() {
    let (local, _) = with_openai_and(no_progress()).await;
    for (calls, behaviour) in [(1, Behaviour::HangAfterHeaders), (2, Behaviour::StreamThenHang { chunks: 1 })]
    {
        local.standin.script("openai", behaviour.clone());
        let problem = local.post("/api/generate", hello()).await.problem(504, "provider_timeout");
        assert_eq!(problem["provider"], "openai", "{behaviour:?}");
        local.standin.wait_for_cancelled(calls).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (local, _) = with_openai().await;
    for stream in [false, true] {
        local.standin.clear();
        let location = format!("{}/v1/chat/completions", local.standin.base_url("groq"));
        local.standin.script("openai", Behaviour::Redirect { location });
        let mut body = hello();
        body["stream"] = stream.into();
        let problem = local.post("/api/generate", body).await.problem(502, "provider_error");
        assert_eq!(problem["provider_status"], 307);
        only_request(&local, "openai");
    }
}

#[tokio::test]
async fn a_provider_that_repeats_the_key_is_not_quoted() {
    let (local, key) = with_openai().await;
    let body = json!({ "error": { "message": format!("what is {key} to me?") } }).to_string();
    local.standin.script("openai", Behaviour::status(500, body));
    let answer = local.post("/api/generate", hello()).await;
    answer.problem(502, "provider_error");
    assert!(!answer.everything().contains(&key[8..]));
}

// Streams

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event() {
    let local = Local::start().await;
    for provider in GENERATING {
        local.has_example_key(provider, 1).await;
        local.standin.script(provider, Behaviour::StreamThenCut { chunks: 2 });
        let events = local.stream(json!({ "prompt": "one two three four", "provider": provider })).await;
        assert_eq!(events.status, 200);
        let request_id = events.headers["x-request-id"].clone();
        let events = events.rest().await;
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["delta", "delta", "error"], "{provider}: {events:?}");
        let problem = &events[2].1;
        assert_eq!(problem["code"], "provider_error", "{provider}: {problem}");
        assert_eq!(problem["status"], 502);
        assert_eq!(problem["provider"], provider);
        assert_eq!(problem["request_id"], request_id.to_str().unwrap());
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_only_seems_to_end_is_an_error_too() {
    let (local, _) = with_openai().await;
    let cases = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\ndata: {\"broken\n\n",
    ];
    for body in cases {
        local
            .standin
            .script("openai", Behaviour::status_with(200, &[("content-type", "text/event-stream")], body));
        let events = local.stream(hello()).await.rest().await;
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["delta", "error"], "{events:?}");
        assert_eq!(events[1].1["code"], "provider_error");
    }
}

#[tokio::test]
async fn a_providers_error_in_the_middle_is_an_error_event() {
    let local = Local::start().await;
    for provider in GENERATING {
        local.has_example_key(provider, 1).await;
        local.standin.script(provider, Behaviour::StreamThenErrorEvent);
        let events =
            local.stream(json!({ "prompt": "one two three four", "provider": provider })).await.rest().await;
        let (last, before) = events.split_last().unwrap();
        assert_eq!(before.len(), 2, "{provider}: {events:?}");
        assert_eq!(
            (last.0.as_str(), &last.1["code"]),
            ("error", &json!("provider_error")),
            "{provider}: {events:?}"
        );
        assert!(last.1["detail"].as_str().unwrap().contains("It says:"), "{provider}: {}", last.1);
    }
}

#[tokio::test]
async fn a_stream_that_stops_moving_is_a_timeout_event() {
    let (local, _) = with_openai_and(no_progress()).await;
    for (behaviour, deltas) in
        [(Behaviour::StreamThenHang { chunks: 2 }, 2), (Behaviour::HangAfterHeaders, 0)]
    {
        local.standin.clear();
        local.standin.script("openai", behaviour.clone());
        let events = local.stream(hello()).await.rest().await;
        assert_eq!(events.len(), deltas + 1, "{behaviour:?}: {events:?}");
        let (name, problem) = &events[deltas];
        assert_eq!((name.as_str(), &problem["code"]), ("error", &json!("provider_timeout")));
        local.standin.wait_for_cancelled(1).await;
    }
}

#[tokio::test]
async fn an_endless_stream_is_ended() {
    let (local, _) = with_openai().await;
    local.standin.script("openai", Behaviour::Huge { bytes: 100 * 1024 * 1024 });
    let events = local.stream(hello()).await.rest().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].0.as_str(), &events[0].1["code"]), ("error", &json!("provider_error")));
    local.standin.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn a_stream_that_goes_on_and_on_is_ended() {
    let (local, _) = with_openai().await;
    local.standin.script("openai", Behaviour::StreamForever);
    // Long pieces, so that the limit is reached with few of them.
    let prompt = "word ".repeat(180_000);
    let mut events = local.stream(json!({ "prompt": prompt, "provider": "openai" })).await;
    let mut size = 0;
    let last = loop {
        let (name, data) = events.next().await.unwrap();
        if name != "delta" {
            break (name, data);
        }
        size += data["text"].as_str().unwrap().len();
    };
    assert_eq!((last.0.as_str(), &last.1["code"]), ("error", &json!("provider_error")));
    assert!(last.1["detail"].as_str().unwrap().contains("more than can be taken"), "{}", last.1);
    assert!((32..=64).contains(&(size >> 20)), "{size}");
    assert_eq!(events.next().await, None);
    local.standin.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn who_stops_reading_a_stream_ends_it_at_the_provider() {
    let limits = Limits { write: Duration::from_millis(100), ..Limits::default() };
    let (local, _) = with_openai_and(Setup::default().limits(limits)).await;
    local.standin.script("openai", Behaviour::StreamForever);
    let body = json!({ "prompt": "word ".repeat(100_000), "provider": "openai", "stream": true });
    let asking = local.request(Method::POST, "/api/generate").json(&body).send();
    // The connection stays open, and nothing is read from it.
    let _unread = asking.await.unwrap();
    local.standin.wait_for_cancelled(1).await;
    assert_eq!(local.standin.open_streams(), 0);
}

#[tokio::test]
async fn text_arrives_before_the_answer_is_complete() {
    let (local, key) = with_openai().await;
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
    let prompt = "one two three four five six";
    let mut events = local.stream(json!({ "prompt": prompt, "provider": "openai" })).await;
    let mut all = vec![events.next().await.unwrap(), events.next().await.unwrap()];
    assert_eq!(local.standin.open_streams(), 1);
    assert!(answer_text(&key, prompt).starts_with(&text_of(&all)), "{all:?}");
    local.standin.release();
    all.extend(events.rest().await);
    assert_eq!(text_of(&all), answer_text(&key, prompt));
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_stream_ends_it_at_the_provider() {
    let local = Local::start().await;
    for provider in ["gemini", "openai", "anthropic"] {
        local.has_example_key(provider, 1).await;
        local.standin.clear();
        local.standin.script(provider, Behaviour::StreamThenHang { chunks: 1 });
        let mut events = local.stream(json!({ "prompt": "one two three", "provider": provider })).await;
        assert_eq!(events.next().await.unwrap().0, "delta", "{provider}");
        drop(events);
        local.standin.wait_for_cancelled(1).await;
        assert_eq!(local.standin.open_streams(), 0, "{provider}");
    }
}

#[tokio::test]
async fn who_leaves_before_the_answer_begins_ends_the_call_at_the_provider() {
    let (local, _) = with_openai().await;
    for stream in [false, true] {
        local.standin.clear();
        local.standin.script("openai", Behaviour::Hang);
        let mut body = hello();
        body["stream"] = stream.into();
        let asking = tokio::spawn(local.request(Method::POST, "/api/generate").json(&body).send());
        local.standin.wait_for_requests(1).await;
        asking.abort();
        local.standin.wait_for_cancelled(1).await;
        assert_eq!(local.standin.in_flight(), 0);
    }
}

#[tokio::test]
async fn two_streams_at_once_do_not_mix() {
    let local = Local::start().await;
    let keys = [local.has_example_key("openai", 1).await, local.has_example_key("anthropic", 2).await];
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
    local.standin.script("anthropic", Behaviour::StreamThenHang { chunks: 2 });
    let mut first = local.stream(json!({ "prompt": "one two three", "provider": "openai" })).await;
    let mut second = local.stream(json!({ "prompt": "four five six", "provider": "anthropic" })).await;
    let mut of_first = vec![first.next().await.unwrap()];
    let mut of_second = vec![second.next().await.unwrap()];
    local.standin.release();
    of_first.extend(first.rest().await);
    of_second.extend(second.rest().await);
    assert_eq!(text_of(&of_first), answer_text(&keys[0], "one two three"));
    assert_eq!(text_of(&of_second), answer_text(&keys[1], "four five six"));
}

//! Local mode: keys may stand in the `.env` files and nowhere else.

use keyfold_standin::{Behaviour, PROVIDERS, Standin, example_key};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::program::{Program, answer_to, files_below};

/// Sends a request and returns status, headers and body as one text.
async fn ask(program: &Program, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, format!("{}{path}", program.url));
    if let Some(body) = body {
        request = request.json(&body);
    }
    answer_to(request).await
}

/// The key itself, and forms in which it might have been written by mistake.
fn forms(key: &str) -> Vec<Vec<u8>> {
    use data_encoding::{BASE64, HEXLOWER};
    let bytes = key.as_bytes();
    let middle = &key[6..key.len() - 5];
    vec![
        bytes.to_vec(),
        // A part of it is as bad: everything but the beginning and the four shown characters.
        middle.as_bytes().to_vec(),
        BASE64.encode(bytes).trim_end_matches('=').as_bytes()[..bytes.len()].to_vec(),
        HEXLOWER.encode(bytes).into_bytes(),
        format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
    ]
}

#[track_caller]
fn assert_absent(keys: &[String], place: &str, content: &[u8]) {
    for key in keys {
        for form in forms(key) {
            let found = content.windows(form.len()).position(|window| window == form);
            assert_eq!(found, None, "a key of the test stands in {place}");
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story from the first key to the last file")]
async fn keys_stand_in_the_env_files_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("frontend")).unwrap();
    let standin = Standin::start().await;
    let variables = [
        ("DEBUG", "true"),
        ("KEYFOLD_AUDIT", "database,file:audit.jsonl,stdout"),
        ("KEYFOLD_RATE_LIMIT_KEYS", "off"),
        ("KEYFOLD_RATE_LIMIT_GENERATE", "off"),
    ];
    let program = Program::start(dir.path(), &standin, &variables);
    let mut answers = String::new();
    let mut keys = vec![];
    let mut ask = async |method: Method, path: String, body: Option<Value>| {
        let (status, text) = ask(&program, method, &path, body).await;
        answers.push_str(&text);
        status
    };

    // Two keys for each provider, one after the other, so that there are previous versions too.
    for provider in PROVIDERS {
        for n in [4001, 4002] {
            let key = example_key(provider, n);
            let status = ask(Method::PUT, format!("/api/keys/{provider}"), Some(json!({ "key": key }))).await;
            assert!(status.is_success(), "{provider}");
            keys.push(key);
        }
        ask(Method::POST, format!("/api/keys/{provider}/validate"), None).await;
        ask(Method::POST, format!("/api/keys/{provider}/rollback"), None).await;
        ask(Method::POST, format!("/api/onboarding/providers/{provider}/validate"), None).await;
        let unsaved = example_key(provider, 4003);
        ask(Method::POST, format!("/api/keys/{provider}/validate"), Some(json!({ "key": unsaved }))).await;
        keys.push(unsaved);
        for stream in [false, true] {
            let prompt = json!({ "prompt": "hello", "provider": provider, "stream": stream });
            ask(Method::POST, "/api/generate".into(), Some(prompt)).await;
        }
    }
    ask(Method::POST, "/api/research".into(), Some(json!({ "query": "rust" }))).await;

    // Onboarding, with keys in the step itself.
    let gemini = example_key("gemini", 4004);
    let data = json!({ "data": { "api_keys": { "gemini": gemini } } });
    assert_eq!(ask(Method::POST, "/api/onboarding/step/1/complete".into(), Some(data)).await, 200);
    keys.push(gemini.clone());
    for path in [
        "init",
        "status",
        "progress",
        "config",
        "resume",
        "summary",
        "step/1",
        "step/1/validate",
        "api-keys",
        "api-keys/onboarding",
        "api-keys/validate",
        "providers",
    ] {
        assert_eq!(ask(Method::GET, format!("/api/onboarding/{path}"), None).await, 200, "{path}");
    }
    ask(Method::POST, "/api/onboarding/complete".into(), None).await;
    let public = json!({ "key": "REACT_APP_COPILOTKIT_API_KEY", "value": example_key("copilotkit", 4005) });
    assert_eq!(ask(Method::POST, "/api/frontend-env/update".into(), Some(public)).await, 200);
    keys.push(example_key("copilotkit", 4005));

    // Mistakes: keys in wrong places. A body that is no JSON, a wrong type, a path, a query.
    let stray = example_key("openai", 4006);
    keys.push(stray.clone());
    for body in [
        json!(stray),
        json!([stray]),
        json!({ "key": { stray.as_str(): 1 } }),
        json!({ stray.as_str(): 1 }),
        json!({ "key": [stray] }),
    ] {
        assert!(ask(Method::PUT, "/api/keys/openai".into(), Some(body)).await.is_client_error());
    }
    assert_eq!(ask(Method::PUT, format!("/api/keys/{stray}"), Some(json!({ "key": stray }))).await, 404);
    assert_eq!(ask(Method::GET, format!("/{stray}?key={stray}"), None).await, 404);
    assert_eq!(ask(Method::GET, format!("/api/keys?key={stray}"), None).await, 200);
    ask(
        Method::POST,
        "/api/generate".into(),
        Some(json!({ "prompt": "x", "provider": stray, "model": stray })),
    )
    .await;
    ask(Method::POST, "/api/generate".into(), Some(json!({ "prompt": "x", "model": format!("{stray} ") })))
        .await;

    // Providers that fail in every way, and one that repeats the key that it got.
    let used = example_key("gemini", 4004);
    let repeats = format!(r#"{{"error":{{"code":400,"message":"bad request with {used} in it"}}}}"#);
    let failures = [
        Behaviour::status(400, &repeats),
        Behaviour::status(500, &repeats),
        Behaviour::status(429, &repeats),
        // Failures that are told inside an answer that looks like a success.
        Behaviour::status(200, format!(r#"{{"error":{{"message":"bad key {used}"}}}}"#)),
        Behaviour::status(200, format!("data: {{\"error\":{{\"message\":\"bad key {used}\"}}}}\n\n")),
        Behaviour::status(200, format!(r#"{{"promptFeedback":{{"blockReason":"{used}"}}}}"#)),
        Behaviour::status_with(429, &[("retry-after", &used)], "{}"),
        Behaviour::status_with(302, &[("location", &format!("https://evil.invalid/?key={used}"))], ""),
        Behaviour::NotJson,
        Behaviour::InvalidJson,
        Behaviour::CloseWithoutAnswer,
        Behaviour::StreamThenCut { chunks: 2 },
        Behaviour::StreamThenErrorEvent,
    ];
    for failure in failures {
        for stream in [false, true] {
            standin.script("gemini", failure.clone());
            let prompt = json!({ "prompt": "hello", "stream": stream });
            ask(Method::POST, "/api/generate".into(), Some(prompt)).await;
        }
        standin.script("gemini", failure.clone());
        ask(Method::POST, "/api/keys/gemini/validate".into(), None).await;
    }
    for marker in ["INVALID", "DENIED", "QUOTA", "BROKEN", "NONSENSE"] {
        let key = keyfold_standin::example_key_with("gemini", marker);
        ask(Method::PUT, "/api/keys/gemini".into(), Some(json!({ "key": key }))).await;
        ask(Method::POST, "/api/generate".into(), Some(json!({ "prompt": "x" }))).await;
        keys.push(key);
    }

    // Broken .env files: the line that cannot be read holds a key.
    let env_file = dir.path().join(".env");
    let intact = std::fs::read_to_string(&env_file).unwrap();
    for broken in [
        format!("{intact}{stray}\n"),
        format!("{intact}GEMINI_API_KEY='{stray}\n"),
        format!("{intact}GEMINI_API_KEY={stray} and more\n"),
    ] {
        std::fs::write(&env_file, broken).unwrap();
        ask(Method::GET, "/api/keys".into(), None).await;
        ask(Method::POST, "/api/generate".into(), Some(json!({ "prompt": "x" }))).await;
        ask(Method::PUT, "/api/keys/gemini".into(), Some(json!({ "key": used }))).await;
    }
    std::fs::write(&env_file, &intact).unwrap();
    ask(Method::DELETE, "/api/keys/mistral".into(), None).await;
    assert_eq!(ask(Method::GET, "/api/audit?limit=200".into(), None).await, 200);

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = client.get(format!("http://{}/metrics", program.metrics)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("keyfold_http_requests_total"), "{metrics}");
    let url = program.url.clone();
    let (status, log) = program.stop();
    assert!(status.success(), "{status}");
    assert!(log.contains("DEBUG") && log.contains(&url), "the log is not loud enough to prove anything");

    assert_absent(&keys, "the log", log.as_bytes());
    assert_absent(&keys, "an answer", answers.as_bytes());
    assert_absent(&keys, "the metrics", metrics.as_bytes());
    let mut searched = vec![];
    for path in files_below(dir.path()) {
        let content = std::fs::read(&path).unwrap();
        if path.file_name().is_some_and(|name| name == ".env") {
            continue;
        }
        assert_absent(&keys, &path.display().to_string(), &content);
        searched.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["keyfold.db", "audit.jsonl"] {
        assert!(searched.iter().any(|found| found == name), "{searched:?}");
    }
    let audit = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert!(audit.contains("key.opened") && log.contains("key.opened"), "the log was not sent there");
    // The test can fail: the keys are where they belong.
    let backend = std::fs::read_to_string(&env_file).unwrap();
    assert!(backend.contains(&example_key("exa", 4001)) || backend.contains(&example_key("exa", 4002)));
    assert!(std::fs::read_to_string(dir.path().join("frontend/.env")).unwrap().contains("ck_pub_"));
}

#[tokio::test]
async fn the_write_ahead_log_of_a_killed_program_holds_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start().await;
    let variables = [("DEBUG", "true"), ("KEYFOLD_RATE_LIMIT_KEYS", "off")];
    let mut program = Program::start(dir.path(), &standin, &variables);
    let keys: Vec<String> = (4010..4020).map(|n| example_key("gemini", n)).collect();
    for key in &keys {
        let (status, text) =
            ask(&program, Method::PUT, "/api/keys/gemini", Some(json!({ "key": key }))).await;
        assert!(status.is_success(), "{text}");
    }
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let wal = std::fs::read(dir.path().join(".keyfold/keyfold.db-wal")).unwrap();
    assert!(!wal.is_empty());
    for path in files_below(&dir.path().join(".keyfold")) {
        assert_absent(&keys, &path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

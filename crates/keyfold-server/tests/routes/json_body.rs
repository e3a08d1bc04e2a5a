//! Request bodies: what is taken, what is refused, and that nothing of it is ever repeated.

use std::time::Duration;

use keyfold_standin::example_key;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Answer, Local, Setup};

const MIB: usize = 1024 * 1024;

/// Every route that takes a body, whether it may be left out, and a field that it knows.
const ROUTES: [(&str, &str, bool, &str); 8] = [
    ("PUT", "/api/keys/gemini", false, "key"),
    ("POST", "/api/keys/gemini/validate", true, "key"),
    ("POST", "/api/generate", false, "prompt"),
    ("POST", "/api/research", false, "query"),
    ("POST", "/api/frontend-env/update", false, "key"),
    ("POST", "/api/onboarding/step/2/complete", true, "validation_errors"),
    ("POST", "/api/onboarding/api-keys", false, "api_key"),
    ("POST", "/api/onboarding/providers/gemini/validate", true, "api_key"),
];
const REQUIRED: [(&str, &str, &str); 5] = [
    ("PUT", "/api/keys/gemini", "key"),
    ("POST", "/api/generate", "prompt"),
    ("POST", "/api/research", "query"),
    ("POST", "/api/frontend-env/update", "key"),
    ("POST", "/api/onboarding/api-keys", "provider"),
];

async fn send(local: &Local, method: &str, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    let method: Method = method.parse().unwrap();
    local.send(local.request(method, path).header("content-type", kind).body(body)).await
}

async fn send_json(local: &Local, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    send(local, method, path, "application/json", body).await
}

#[tokio::test]
async fn broken_json_is_400_and_says_where() {
    let local = Local::start().await;
    let broken: [&[u8]; 12] = [
        b"{",
        b"{\"key\"",
        b"{\"key\":",
        b"{\"key\":\"abc",
        b"{'key':'abc'}",
        b"{\"key\":\"abc\",}",
        b"key=abc",
        b"nonsense",
        b"\xef\xbb\xbf{\"key\":\"abc\"}",
        b"[1,2",
        b"\"abc",
        b"{\"key\":\"a\nb\"}",
    ];
    for (method, path, ..) in ROUTES {
        for body in broken {
            let problem = send_json(&local, method, path, body).await.problem(400, "invalid_request");
            assert_eq!(problem["field"], "body");
            assert!(problem["detail"].as_str().unwrap().contains("line "), "{problem}");
        }
    }
    let problem = send_json(&local, "POST", "/api/generate", "{\n  \"prompt\": \n}")
        .await
        .problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("line 3"), "{problem}");
}

#[tokio::test]
async fn nothing_may_follow_the_object() {
    let local = Local::start().await;
    for (method, path, body) in [
        ("PUT", "/api/keys/gemini", json!({ "key": example_key("gemini", 1) })),
        ("POST", "/api/keys/gemini/validate", json!({ "key": example_key("gemini", 1) })),
        ("POST", "/api/generate", json!({ "prompt": "hello" })),
        ("POST", "/api/onboarding/step/1/complete", json!({})),
    ] {
        for end in ["{}", "x", ",", "}", "\0"] {
            send_json(&local, method, path, format!("{body}{end}")).await.problem(400, "invalid_request");
        }
    }
    assert!(!local.path(".env").exists());
    let spaced = format!(" \r\n\t{} \n", json!({ "key": example_key("gemini", 1) }));
    assert_eq!(send_json(&local, "PUT", "/api/keys/gemini", spaced).await.status, 201);
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_400() {
    let local = Local::start().await;
    for (method, path, _, field) in ROUTES {
        let bodies: [Vec<u8>; 4] = [
            b"\xff\xfe{\x00}\x00".to_vec(),
            [b"{\"", field.as_bytes(), b"\":\"\xff\xfe\"}"].concat(),
            [b"{\"", field.as_bytes(), b"\":\"\xc3\"}"].concat(),
            [b"{\"", field.as_bytes(), b"\":\"\xed\xa0\x80\"}"].concat(),
        ];
        for body in bodies {
            let answer = send_json(&local, method, path, body.clone()).await;
            if field == "validation_errors" && body[0] == b'{' {
                assert!(answer.status.is_client_error());
            } else {
                answer.problem(400, "invalid_request");
            }
        }
        let surrogate = format!(r#"{{"{field}":"\ud800"}}"#);
        assert!(send_json(&local, method, path, surrogate).await.status.is_client_error(), "{path}");
    }
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn deep_nesting_is_refused_and_does_no_harm() {
    const DEPTH: usize = 10_000;
    let local = Local::start().await;
    let nested = |open: &str, close: &str| format!("{}0{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let (lists, objects) = (nested("[", "]"), nested("{\"a\":", "}"));
    for (method, path, _, field) in ROUTES {
        for body in [
            lists.clone(),
            "[".repeat(DEPTH),
            "{\"a\":".repeat(DEPTH),
            format!(r#"{{"{field}":{lists}}}"#),
            format!(r#"{{"{field}":{objects}}}"#),
            format!(r#"{{"{field}":{}"#, "[".repeat(DEPTH)),
        ] {
            let answer = send_json(&local, method, path, body).await;
            let code = answer.json()["code"].clone();
            assert!(
                [400, 422].contains(&answer.status.as_u16()) && code == "invalid_request",
                "{path}: {}",
                answer.body
            );
            answer.problem(answer.status.as_u16(), "invalid_request");
        }
    }
    let body = format!(r#"{{"data":{objects}}}"#);
    send_json(&local, "POST", "/api/onboarding/step/2/complete", body).await.problem(400, "invalid_request");
    assert_eq!(local.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn something_else_than_an_object_is_422() {
    let local = Local::start().await;
    for (method, path, ..) in ROUTES {
        for body in ["[]", "[\"abcdefghijkl\"]", "\"abcdefghijkl\"", "7", "true", "null", " [ ] "] {
            let problem = send_json(&local, method, path, body).await.problem(422, "invalid_request");
            assert_eq!(problem["field"], "body", "{path} {body}");
            assert!(problem["detail"].as_str().unwrap().contains("JSON object"), "{path} {body}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_kind_is_422_and_named() {
    let local = Local::start().await;
    for (method, path, _, field) in ROUTES {
        for wrong in [json!(7), json!(true), json!({ "a": 1 }), json!("text"), json!([["list"]])] {
            if wrong.is_string() == (field != "validation_errors") {
                continue;
            }
            let mut body =
                json!({ "provider": "gemini", "value": "abc", "key": "REACT_APP_COPILOTKIT_API_KEY" });
            body[field] = wrong.clone();
            let problem =
                send_json(&local, method, path, body.to_string()).await.problem(422, "invalid_request");
            let named = problem["field"].as_str().unwrap();
            assert!(named.starts_with(field), "{path} {wrong}: {named}");
        }
    }
    for (body, field) in [
        (json!({ "prompt": "hello", "stream": "yes" }), "stream"),
        (json!({ "prompt": "hello", "stream": null }), "stream"),
        (json!({ "prompt": "hello", "provider": 7 }), "provider"),
        (json!({ "prompt": "hello", "model": ["gpt"] }), "model"),
        (json!({ "prompt": "hello", "system": {} }), "system"),
    ] {
        let problem = local.post("/api/generate", body).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], field);
    }
}

#[tokio::test]
async fn a_missing_field_is_422_and_named() {
    let local = Local::start().await;
    for (method, path, field) in REQUIRED {
        let problem = send_json(&local, method, path, "{}").await.problem(422, "invalid_request");
        assert_eq!(problem["field"], field, "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("missing"), "{problem}");
    }
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let local = Local::start().await;
    let body = format!(r#"{{"key":"{}","key":"{}"}}"#, example_key("gemini", 1), example_key("gemini", 2));
    let problem = send_json(&local, "PUT", "/api/keys/gemini", body).await.problem(422, "invalid_request");
    assert_eq!(problem["field"], "key");
    assert!(problem["detail"].as_str().unwrap().contains("twice"), "{problem}");
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn fields_that_nobody_knows_do_not_matter() {
    let local = Local::start().await;
    let body = json!({ "key": example_key("gemini", 1), "label": "mine", "nested": { "a": [1, 2] } });
    assert_eq!(local.put("/api/keys/gemini", body).await.status, 201);
}

#[tokio::test]
async fn only_json_is_taken() {
    let local = Local::start().await;
    let body = json!({ "key": example_key("gemini", 1), "prompt": "hello", "query": "tides" }).to_string();
    for (method, path, ..) in ROUTES {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
            "application/jsonp",
            "text/json",
            "json",
        ] {
            send(&local, method, path, kind, body.clone()).await.problem(415, "unsupported_media_type");
        }
        let request = local.request(method.parse().unwrap(), path).body(body.clone());
        local.send(request).await.problem(415, "unsupported_media_type");
    }
    assert!(!local.path(".env").exists());
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn json_may_be_called_by_any_of_its_names() {
    let local = Local::start().await;
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.keyfold+json",
        "application/json;",
    ] {
        let body = json!({ "key": example_key("gemini", 1) }).to_string();
        assert!(send(&local, "PUT", "/api/keys/gemini", kind, body).await.status.is_success(), "{kind}");
    }
}

#[tokio::test]
async fn an_empty_body_is_refused_where_one_is_needed() {
    let local = Local::start().await;
    for (method, path, _) in REQUIRED {
        send_json(&local, method, path, "").await.problem(400, "invalid_request");
        send_json(&local, method, path, " \n").await.problem(400, "invalid_request");
        let bare = local.request(method.parse().unwrap(), path);
        local.send(bare).await.problem(415, "unsupported_media_type");
    }
    for (method, path, ..) in ROUTES.into_iter().filter(|(_, _, optional, _)| *optional) {
        let bare = local.send(local.request(method.parse().unwrap(), path)).await;
        assert!([200, 404].contains(&bare.status.as_u16()), "{path}: {}", bare.body);
    }
}

#[tokio::test]
async fn a_body_has_at_most_1_mib() {
    let local = Local::start().await;
    let of_size = |size: usize| {
        let empty = r#"{"key":"abc","filling":""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(size - empty.len())))
    };
    for (method, path, ..) in ROUTES {
        let problem =
            send_json(&local, method, path, of_size(MIB + 1)).await.problem(413, "payload_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("1 MiB"), "{problem}");
        assert_ne!(send_json(&local, method, path, of_size(MIB)).await.status, 413, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_only_announces_its_size_is_measured() {
    let local = Local::start().await;
    let head = "PUT /api/keys/gemini HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for length in ["Content-Length: 1073741824\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100001\r\n"] {
        // Not a byte more: bytes that nobody reads would take the answer with them.
        let request = format!("{head}{length}{}", "x".repeat(MIB + 1));
        local.raw(request).await.problem(413, "payload_too_large");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_400_and_others_are_served_meanwhile() {
    let local = Setup::default().body_timeout(Duration::from_millis(300)).start().await;
    let mut slow = vec![];
    for (method, path, ..) in ROUTES {
        let mut connection = local.connect().await;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        let beginning = format!("{head}Content-Length: 100\r\n\r\n{{\"key\":\"sk-secret");
        connection.write_all(beginning.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    assert_eq!(local.get("/healthz").await.status, 200);
    local.has_example_key("exa", 1).await;
    for connection in &mut slow {
        let answer = Answer::read_raw(connection).await;
        let problem = answer.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains("in time"), "{problem}");
        assert!(!answer.everything().contains("secret"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_does_no_harm() {
    let local = Local::start().await;
    for (method, path, ..) in ROUTES {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        let nonsense = local.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")).await;
        nonsense.problem(400, "invalid_request");
        let mut leaving = local.connect().await;
        leaving.write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
        drop(leaving);
    }
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
}

/// In every wrong place that a pasted key can land in: no answer has it.
#[tokio::test]
async fn no_answer_ever_repeats_what_was_pasted_into_the_wrong_place() {
    const SECRET: &str = "sk-proj-PastedByMistake0123456789";
    let local = Local::start().await;
    let mut answers = vec![];
    let bodies = |field: &str| {
        let text = json!(SECRET);
        [
            SECRET.to_owned(),
            text.to_string(),
            json!([text]).to_string(),
            json!({ SECRET: 1 }).to_string(),
            format!("{{\"{field}\": {SECRET}}}"),
            format!("{{\"{field}\": \"{SECRET}"),
            format!("{{\"{field}\": \"{SECRET}\" {SECRET}}}"),
            json!({ field: { SECRET: SECRET } }).to_string(),
            json!({ field: [SECRET, 1] }).to_string(),
            json!({ field: 7, SECRET: SECRET }).to_string(),
            json!({ "provider": SECRET, "prompt": "hello", "api_key": "abcdefghijkl" }).to_string(),
            json!({ "prompt": "hello", "max_tokens": SECRET }).to_string(),
            json!({ "prompt": "hello", "stream": SECRET }).to_string(),
            json!({ "prompt": "hello", "model": format!("{SECRET} ") }).to_string(),
            json!({ "query": "tides", "num_results": SECRET }).to_string(),
            json!({ "key": SECRET, "value": "x" }).to_string(),
            json!({ "key": "REACT_APP_COPILOTKIT_API_KEY", "value": format!("{SECRET}'") }).to_string(),
            json!({ "key": format!("{SECRET} {SECRET}") }).to_string(),
            json!({ "data": SECRET, "validation_errors": SECRET }).to_string(),
            json!({ "data": { "api_keys": { SECRET: SECRET } }, "validation_errors": [SECRET] }).to_string(),
        ]
    };
    for (method, path, _, field) in ROUTES {
        for body in bodies(field) {
            for kind in ["application/json", "text/plain"] {
                answers.push(send(&local, method, path, kind, body.clone()).await);
            }
            answers.push(send_json(&local, method, &format!("{path}?key={SECRET}&{SECRET}"), body).await);
        }
    }
    for body in bodies("data") {
        answers.push(send_json(&local, "POST", "/api/onboarding/step/1/complete", body).await);
    }
    for path in [
        format!("/{SECRET}"),
        format!("/api/keys/{SECRET}"),
        format!("/api/keys/gemini/{SECRET}"),
        format!("/api/onboarding/step/{SECRET}"),
        format!("/api/onboarding/providers/{SECRET}"),
        format!("/healthz?key={SECRET}"),
        format!("/?key={SECRET}"),
        format!("/nothing?token={SECRET}"),
        format!("/%ff{SECRET}"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "SKPROJPASTEDBYMISTAKE"] {
            answers.push(local.send(local.request(method.parse().unwrap(), &path)).await);
        }
    }
    for header in [
        "authorization",
        "x-api-key",
        "x-request-id",
        "origin",
        "cookie",
        "content-type",
        "accept",
        "sec-fetch-site",
        "referer",
        "x-forwarded-for",
        "access-control-request-method",
        "access-control-request-headers",
        "x-unknown",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            for value in [
                SECRET.to_owned(),
                format!("Bearer {SECRET} {SECRET}"),
                format!("keyfold_session={SECRET}; {SECRET}"),
            ] {
                // A sane request id is the caller's own word and comes back.
                if (header, value.as_str()) != ("x-request-id", SECRET) {
                    let request =
                        local.request(method.clone(), "/api/generate").header(header, value).body("{");
                    answers.push(local.send(request).await);
                }
            }
        }
    }
    answers.push(local.raw_get("/healthz", &[&format!("Host: {SECRET}")]).await);
    answers.push(local.raw_get(&format!("http://{SECRET}/healthz"), &["Host: localhost"]).await);
    for answer in &answers {
        let everything = answer.everything().to_ascii_lowercase();
        assert!(!everything.contains("pastedbymistake"), "{everything}");
    }
    assert!(answers.len() > 500);
    assert!(!local.metrics.text().to_ascii_lowercase().contains("pastedbymistake"));
    assert_eq!(local.state_files_with("PastedByMistake"), Vec::<std::path::PathBuf>::new());
    assert!(!local.path("frontend/.env").exists());
    let asked = local.standin.requests();
    assert!(asked.iter().all(|seen| !format!("{seen:?}").contains("PastedByMistake")), "{asked:?}");
}

#[tokio::test]
async fn an_answer_is_json_that_says_so() {
    let local = Local::start().await;
    for path in ["/api/keys", "/api/config", "/api/providers", "/healthz", "/api/onboarding/init"] {
        let answer = local.get(path).await;
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_ne!(answer.json(), Value::Null);
    }
}

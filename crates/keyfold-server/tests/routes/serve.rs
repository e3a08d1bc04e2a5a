//! Connections: slow clients, and a stop that lets answers end.

use std::time::Duration;

use keyfold_standin::{Behaviour, answer_text, example_key};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use keyfold_server::serve::Limits;

use crate::support::{Answer, Local, Setup};

fn short_head() -> Limits {
    Limits { head: Duration::from_millis(300), ..Limits::default() }
}

/// Reads until the server closes the connection; before the 30 seconds after which hyper does so by itself.
async fn rest_of(connection: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), connection.read_to_string(&mut text));
    read.await.expect("the server closes the connection").unwrap();
    text
}

/// Waits until new connections are refused.
async fn until_refused(local: &Local) {
    while TcpStream::connect(local.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off_while_others_are_served() {
    let local = Setup::default().limits(short_head()).start().await;
    let mut slow = vec![];
    for beginning in ["", "GET", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filling: a"] {
        let mut connection = local.connect().await;
        connection.write_all(beginning.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    for _ in 0..3 {
        assert_eq!(local.raw_get("/healthz", &["Host: localhost"]).await.status, 200);
    }
    for mut connection in slow {
        let answer = rest_of(&mut connection).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    assert_eq!(local.raw_get("/healthz", &["Host: localhost"]).await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let local = Setup::default().limits(short_head()).start().await;
    let mut connection = local.connect().await;
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = rest_of(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_head() {
    let local = Setup::default().limits(short_head()).start().await;
    local.write(".env", &format!("OPENAI_API_KEY={}\n", example_key("openai", 1)));
    local.standin.script("openai", Behaviour::Hang);
    let body = r#"{"prompt":"hello","provider":"openai"}"#;
    let head = "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let (answer, ()) = tokio::join!(local.raw(request), async {
        local.standin.wait_for_requests(1).await;
        // One that is opened later and says nothing is closed before the answer comes.
        rest_of(&mut local.connect().await).await;
        local.standin.release();
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn one_connection_serves_several_requests() {
    let local = Local::start().await;
    let mut connection = local.connect().await;
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    connection.write_all(format!("{request}{request}{last}").as_bytes()).await.unwrap();
    let answers = rest_of(&mut connection).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert!(answers.ends_with("{\"status\":\"ready\"}"), "{answers}");
}

#[tokio::test]
async fn http_1_0_is_understood() {
    let local = Local::start().await;
    let answer = local.raw("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_others_are_served() {
    let local = Local::start().await;
    let nonsense: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n",
        b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ];
    for bytes in nonsense {
        let mut connection = local.connect().await;
        connection.write_all(bytes).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = vec![];
        let _ = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(local.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_request_cannot_hide_a_second_one() {
    let local = Local::start().await;
    let hidden = "DELETE /api/keys/gemini HTTP/1.1\r\nHost: localhost\r\n\r\n";
    local.has_example_key("gemini", 1).await;
    let request = format!(
        "POST /api/keys/gemini/validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5,
    );
    let mut connection = local.connect().await;
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = vec![];
    let _ = connection.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("204"), "{}", String::from_utf8_lossy(&answer));
    assert_ne!(local.listed("gemini").await, serde_json::Value::Null);
}

#[tokio::test]
async fn a_running_stream_ends_whole_after_the_stop_and_nobody_new_is_served() {
    let local = Local::start().await;
    let key = local.has_example_key("openai", 1).await;
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 1 });
    let mut events = local.stream(json!({ "prompt": "one two three", "provider": "openai" })).await;
    let (name, data) = events.next().await.unwrap();
    assert_eq!(name, "delta");
    local.ask_to_stop();
    until_refused(&local).await;
    local.standin.release();
    let rest = events.rest().await;
    let text: String = rest.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert_eq!(format!("{}{text}", data["text"].as_str().unwrap()), answer_text(&key, "one two three"));
    assert_eq!(rest.last().unwrap().0, "done");
    local.stop().await;
}

#[tokio::test]
async fn a_whole_answer_under_way_is_given_after_the_stop() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    local.standin.script("openai", Behaviour::Hang);
    let (answer, ()) = tokio::join!(
        local.post("/api/generate", json!({ "prompt": "hello", "provider": "openai" })),
        async {
            local.standin.wait_for_requests(1).await;
            local.ask_to_stop();
            until_refused(&local).await;
            local.standin.release();
        }
    );
    assert_eq!(answer.status, 200);
    local.stop().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_stop() {
    let local = Local::start().await;
    let idle = local.connect().await;
    assert_eq!(local.get("/healthz").await.status, 200);
    local.stop().await;
    drop(idle);
}

#[tokio::test]
async fn an_answer_without_end_does_not_hold_up_the_stop_for_ever() {
    let local = Setup::default()
        .limits(Limits { stop: Duration::from_millis(100), ..Limits::default() })
        .start()
        .await;
    local.has_example_key("openai", 1).await;
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 1 });
    let mut events = local.stream(json!({ "prompt": "one two three", "provider": "openai" })).await;
    assert_eq!(events.next().await.unwrap().0, "delta");
    local.stop().await;
}

fn get(lines: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// Asserts that this is a problem as the router gives it, at the end of its connection.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let problem = answer.problem(status, code);
    let id = answer.header("x-request-id");
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(problem["type"], format!("urn:keyfold:problem:{code}"));
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    for name in ["content-security-policy", "date", "permissions-policy"] {
        assert_ne!(answer.header(name), "", "{name}");
    }
    for name in ["content-length", "connection", "date", "x-request-id", "content-type"] {
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_told_so_in_words() {
    let local = Local::start().await;
    let bad = [
        "nonsense\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".into(),
        "GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        get("Bad Name: x\r\n"),
        get("X-Nul: a\0b\r\n"),
        get("X-Folded: a\r\n b\r\n"),
        get("Content-Length: x\r\n"),
        get("Content-Length: -1\r\n"),
        get("Content-Length: 1\r\nContent-Length: 2\r\n"),
        get("Content-Length: 99999999999999999999999\r\n"),
    ];
    for request in bad {
        let answer = local.raw(&request).await;
        assert_eq!(answer.status, 400, "{request:?}");
        assert_refused(&answer, 400, "invalid_request");
    }
    assert_eq!(local.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn what_is_more_than_is_read_at_all_is_refused_in_words() {
    let local = Local::start().await;
    // Shown whole, read to half: the answer still arrives.
    let token = get(&format!("Authorization: Bearer {}\r\n", "a".repeat(1_100_000)));
    assert_refused(&local.raw(&token).await, 431, "headers_too_large");
    assert_refused(&local.raw(get(&"X-Many: a\r\n".repeat(600))).await, 431, "headers_too_large");
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000));
    assert_refused(&local.raw(target).await, 414, "headers_too_large");
    // A usual client sends all of it before it reads.
    let token = "a".repeat(1_100_000);
    let answer = local.send(local.request(reqwest::Method::GET, "/api/keys").bearer_auth(token)).await;
    assert_refused(&answer, 431, "headers_too_large");
}

#[tokio::test]
async fn a_refusal_behind_other_answers_leaves_those_as_they_are() {
    let local = Local::start().await;
    for first in [get(""), get("").replace("GET", "HEAD"), format!("{0}{0}", get(""))] {
        let mut connection = local.connect().await;
        connection.write_all(format!("{first}nonsense\r\n\r\n").as_bytes()).await.unwrap();
        let answers = rest_of(&mut connection).await;
        let (before, last) = answers.split_at(answers.find("HTTP/1.1 400 ").unwrap());
        let asked = first.matches(" HTTP/1.1").count();
        assert_eq!(before.matches("HTTP/1.1 200 OK").count(), asked, "{answers}");
        assert!(first.starts_with("HEAD") || before.ends_with("{\"status\":\"ok\"}"), "{answers}");
        assert!(
            last.contains("\"code\":\"invalid_request\"") && last.contains("x-request-id: "),
            "{answers}"
        );
        assert_eq!(answers.matches("HTTP/1.1 ").count(), asked + 1, "{answers}");
    }
}

#[tokio::test]
async fn a_connection_too_many_waits_for_a_place() {
    let local = Setup::default().limits(Limits { connections: 2, ..Limits::default() }).start().await;
    let mut taken = [local.connect().await, local.connect().await];
    let mut part = [0; 12];
    for connection in &mut taken {
        connection.write_all(get("").as_bytes()).await.unwrap();
        connection.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"HTTP/1.1 200");
    }
    let mut waits = local.connect().await;
    waits.write_all(get("Connection: close\r\n").as_bytes()).await.unwrap();
    // Those that have a place are served.
    for connection in &mut taken {
        connection.write_all(get("Connection: keep-alive\r\n").as_bytes()).await.unwrap();
        connection.readable().await.unwrap();
    }
    let mut nothing = [0; 1];
    assert_eq!(waits.try_read(&mut nothing).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(taken);
    let answer = rest_of(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

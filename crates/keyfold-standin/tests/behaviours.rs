//! What a test can see and make the stand-in do: records, scripted answers, hanging, cutting, cancellation.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use common::{CHAT, bare, call, connect, get, open, post, read, request, try_open};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyfold_standin::{
    Behaviour, Options, Standin, answer_text, credential, example_key, fingerprint, free_check, refused_port,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const CHAT_PATH: &str = "/v1/chat/completions";
const STREAM: &str = r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"one two three four five six"}]}"#;
const PLAIN: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"one two three four five six"}]}"#;

fn key() -> String {
    example_key("openai", 1)
}

async fn open_stream(standin: &Standin) -> Response<Incoming> {
    open(standin, "openai", &key(), Method::POST, CHAT_PATH, STREAM).await
}

/// Reads until `part` has come.
async fn read_until(body: &mut Incoming, part: &str) -> String {
    let mut text = String::new();
    while !text.contains(part) {
        let frame = body.frame().await.expect("more to come").expect("no error");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).unwrap());
    }
    text
}

/// Reads to the end, and says whether it was a clean one.
async fn read_out(mut body: Incoming) -> (String, bool) {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).unwrap()),
            Err(_) => return (text, false),
        }
    }
    (text, true)
}

#[tokio::test]
async fn requests_are_recorded() {
    let standin = Standin::start().await;
    let key = example_key("gemini", 1);
    let path = "/v1beta/models/m:generateContent";
    post(&standin, "gemini", &key, &format!("{path}?a=1&b=%20"), r#"{"contents":[]}"#).await;
    get(&standin, "openai", &example_key("openai", 2), "/v1/models").await;

    let seen = &standin.requests()[0];
    assert_eq!(
        (seen.provider, seen.path.as_str(), seen.query.as_deref()),
        ("gemini", path, Some("a=1&b=%20"))
    );
    assert_eq!((&seen.method, seen.key.as_str()), (&Method::POST, key.as_str()));
    assert_eq!(seen.key_fingerprint, fingerprint(&key));
    assert_eq!(seen.header("x-goog-api-key"), Some(key.as_str()));
    assert_eq!(seen.json(), serde_json::json!({"contents": []}));
    assert!(seen.body_complete);
    assert_eq!((seen.connection, seen.sequence), (1, 1));
    assert_eq!(standin.requests_for("openai").len(), 1);
    assert_eq!(standin.requests()[1].connection, 2);
    assert_eq!(standin.connections(), 2);

    standin.clear();
    assert!(standin.requests().is_empty());
    get(&standin, "openai", &key_of(3), "/v1/models").await;
    standin.wait_for_requests(1).await;
    assert_eq!(standin.requests()[0].sequence, 3);
}

fn key_of(n: u32) -> String {
    example_key("openai", n)
}

#[tokio::test]
async fn a_connection_can_be_used_again() {
    let standin = Standin::start().await;
    let mut sender = connect(&standin).await;
    for n in 0..3 {
        let headers = [credential("openai", &key_of(n))];
        let request = request(&standin, "openai", Method::GET, "/v1/models", &headers, "");
        assert_eq!(read(sender.send_request(request).await.unwrap()).await.status, 200);
    }
    assert!(standin.requests().iter().all(|seen| seen.connection == 1));
    standin.wait_until_idle().await;
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn nothing_is_recorded_unless_wanted() {
    let standin = Standin::start_with(Options { record: false, ..Options::default() }).await.unwrap();
    get(&standin, "openai", &key(), "/v1/models").await;
    standin.wait_for_requests(1).await;
    assert!(standin.requests().is_empty());
    let mut sender = connect(&standin).await;
    let request = Request::get("/__stats").header("host", "standin").body(Full::default()).unwrap();
    let stats = read(sender.send_request(request).await.unwrap()).await.json();
    assert_eq!(stats["requests"], 1);
    assert_eq!(stats["requests_per_provider"]["openai"], 1);
}

#[tokio::test]
async fn scripted_answers_come_in_order_and_for_their_provider_only() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::status(503, "{}"));
    standin.script("openai", Behaviour::Usual);
    standin.script(
        "openai",
        Behaviour::status_with(
            429,
            &[
                ("retry-after", "9"),
                ("content-type", "text/plain"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ],
            "slow down",
        ),
    );
    standin.always("openai", Behaviour::NotJson);
    let status = async |provider: &str| {
        let (method, path) = free_check(provider);
        call(&standin, provider, &example_key(provider, 1), method, path, "").await
    };
    assert_eq!(status("mistral").await.status, 200);
    assert_eq!(status("openai").await.status, 503);
    assert_eq!(status("openai").await.status, 200);
    let third = status("openai").await;
    assert_eq!((third.status, third.header("retry-after"), third.body.as_str()), (429, "9", "slow down"));
    assert_eq!(third.header("content-type"), "text/plain");
    assert_eq!(third.headers.get_all("set-cookie").iter().count(), 2);
    for _ in 0..2 {
        assert!(status("openai").await.header("content-type").starts_with("text/html"));
    }
    standin.reset();
    assert!(status("openai").await.json()["data"].is_array());
}

#[tokio::test]
async fn broken_and_misleading_answers() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::InvalidJson);
    let invalid = get(&standin, "openai", &key(), "/v1/models").await;
    assert_eq!((invalid.status, invalid.header("content-type")), (200, "application/json"));
    assert!(serde_json::from_str::<serde_json::Value>(&invalid.body).is_err());

    standin.script("openai", Behaviour::Redirect { location: "http://127.0.0.1:1/steal".to_owned() });
    let redirect = post(&standin, "openai", &key(), CHAT_PATH, PLAIN).await;
    assert_eq!((redirect.status, redirect.header("location")), (307, "http://127.0.0.1:1/steal"));

    standin.script("openai", Behaviour::CloseWithoutAnswer);
    assert!(try_open(&standin, "openai", &key(), Method::GET, "/v1/models", "").await.is_err());
    assert_eq!(standin.requests().len(), 3);
    standin.wait_until_idle().await;
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn huge_bodies_are_json_of_the_asked_size() {
    let standin = Standin::start().await;
    for bytes in [11, 12, 65_536, 3_000_001] {
        standin.script("openai", Behaviour::Huge { bytes });
        let answer = get(&standin, "openai", &key(), "/v1/models").await;
        assert_eq!(answer.body.len() as u64, bytes);
        assert_eq!(answer.header("content-length"), "");
        assert!(answer.json()["data"].is_string());
    }
}

#[tokio::test]
async fn an_endless_body_stops_when_the_client_leaves() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::Huge { bytes: u64::MAX });
    let mut response = open(&standin, "openai", &key(), Method::GET, "/v1/models", "").await;
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(standin.open_streams(), 1);
    drop(response);
    standin.wait_for_cancelled(1).await;
    assert_eq!(standin.open_streams(), 0);
}

#[tokio::test]
async fn hanging_requests_go_on_when_released() {
    let standin = Standin::start().await;
    standin.always("openai", Behaviour::Hang);
    let key = key();
    let asking = async {
        let (one, two) = tokio::join!(
            get(&standin, "openai", &key, "/v1/models"),
            post(&standin, "openai", &key, CHAT_PATH, PLAIN)
        );
        (one.status, two.status)
    };
    let releasing = async {
        standin.wait_for_requests(2).await;
        assert_eq!(standin.in_flight(), 2);
        standin.release();
    };
    let (statuses, ()) = tokio::join!(asking, releasing);
    assert_eq!(statuses, (200, 200));
    standin.wait_until_idle().await;
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_a_hanging_request_is_noticed() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::Hang);
    let key = key();
    let asking = get(&standin, "openai", &key, "/v1/models");
    tokio::select! {
        _ = asking => panic!("answered"),
        () = standin.wait_for_requests(1) => {}
    }
    standin.wait_for_cancelled(1).await;
    assert_eq!((standin.in_flight(), standin.cancelled()), (0, 1));
}

#[tokio::test]
async fn headers_can_come_alone() {
    let standin = Standin::start().await;
    for (path, body) in [(CHAT_PATH, STREAM), (CHAT_PATH, PLAIN)] {
        standin.script("openai", Behaviour::HangAfterHeaders);
        let response = open(&standin, "openai", &key(), Method::POST, path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(standin.open_streams(), 1);
        standin.release();
        let answer = read(response).await;
        assert!(answer.body.contains(&fingerprint(&key())));
        standin.wait_until_idle().await;
    }
    standin.script("openai", Behaviour::HangAfterHeaders);
    drop(open_stream(&standin).await);
    standin.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn a_stream_can_hang_in_the_middle_and_go_on() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
    let mut response = open_stream(&standin).await;
    // Nine words make eight pieces: "fp=…", "You", and so on.
    let text = read_until(response.body_mut(), r#""content":"You ""#).await;
    assert!(!text.contains("asked:"));
    assert_eq!(standin.open_streams(), 1);
    standin.release();
    let (rest, clean) = read_out(response.into_body()).await;
    assert!(clean && rest.ends_with("data: [DONE]\n\n"));
    standin.wait_until_idle().await;
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_noticed() {
    let standin = Standin::start().await;
    let streams: [(&str, &str, &str); 3] = [
        ("openai", CHAT_PATH, STREAM),
        ("anthropic", "/v1/messages", STREAM),
        (
            "gemini",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            r#"{"contents":[{"parts":[{"text":"one two three"}]}]}"#,
        ),
    ];
    for (n, (provider, path, body)) in streams.into_iter().enumerate() {
        standin.script(provider, Behaviour::StreamThenHang { chunks: 1 });
        let mut response =
            open(&standin, provider, &example_key(provider, 1), Method::POST, path, body).await;
        read_until(response.body_mut(), "fp=").await;
        assert_eq!((standin.open_streams(), standin.in_flight()), (1, 1));
        drop(response);
        standin.wait_for_cancelled(n + 1).await;
        assert_eq!((standin.open_streams(), standin.in_flight()), (0, 0));
    }
}

#[tokio::test]
async fn a_cut_stream_is_broken_after_exactly_so_many_pieces() {
    let standin = Standin::start().await;
    for (provider, path) in CHAT.into_iter().chain([("anthropic", "/v1/messages"), ("cohere", "/v2/chat")]) {
        let key = example_key(provider, 1);
        for chunks in [0, 3] {
            standin.script(provider, Behaviour::StreamThenCut { chunks });
            let response = open(&standin, provider, &key, Method::POST, path, STREAM).await;
            assert_eq!(response.status(), 200);
            let (text, clean) = read_out(response.into_body()).await;
            assert!(!clean, "{provider}: {text}");
            assert_eq!(text.contains("fp="), chunks > 0, "{provider}: {text}");
            assert_eq!(text.contains("asked:"), chunks > 0, "{provider}: {text}");
            assert!(!text.contains("one") && !text.contains("[DONE]"), "{provider}: {text}");
        }
    }
    standin.wait_until_idle().await;
    assert_eq!(standin.cancelled(), 0);
}

#[tokio::test]
async fn a_plain_answer_can_be_cut_too() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::StreamThenCut { chunks: 1 });
    let response = open(&standin, "openai", &key(), Method::POST, CHAT_PATH, PLAIN).await;
    let promised: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let (text, clean) = read_out(response.into_body()).await;
    assert!(!clean && text.starts_with(r#"{"id":"chatcmpl-"#) && !text.contains("usage"), "{text}");
    assert_eq!(text.len(), promised.div_ceil(4));
}

mod wishes {
    use super::*;

    fn wishing(words: &str) -> String {
        PLAIN.replace("one two", &format!("one standin:{words} two"))
    }

    #[tokio::test]
    async fn a_request_that_wants_a_slow_answer_gets_none() {
        let standin = Standin::start().await;
        let (key, body) = (key(), wishing("slow"));
        tokio::select! {
            _ = post(&standin, "openai", &key, CHAT_PATH, &body) => panic!("answered"),
            () = standin.wait_for_requests(1) => {}
        }
        standin.wait_for_cancelled(1).await;
    }

    #[tokio::test]
    async fn a_request_that_wants_a_cut_answer_gets_one() {
        let standin = Standin::start().await;
        for body in [wishing("cut"), STREAM.replace("one two", "one standin:cut two")] {
            let response = open(&standin, "openai", &key(), Method::POST, CHAT_PATH, &body).await;
            assert_eq!(response.status(), 200);
            let (text, clean) = read_out(response.into_body()).await;
            assert!(!clean && text.contains("fp=") && !text.contains("six"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_flaky_answer_comes_after_so_many_refusals_for_each_key_and_name() {
        let standin = Standin::start().await;
        let tries = async |n: u32, words: &str| {
            let mut statuses = vec![];
            for _ in 0..3 {
                let answer = post(&standin, "openai", &key_of(n), CHAT_PATH, &wishing(words)).await;
                assert_eq!(answer.header("retry-after"), if answer.status == 429 { "1" } else { "" });
                statuses.push(answer.status);
            }
            statuses
        };
        assert_eq!(tries(1, "flaky-1-a").await, [429, 200, 200]);
        assert_eq!(tries(1, "flaky-1-b").await, [429, 200, 200]);
        assert_eq!(tries(2, "flaky-1-a").await, [429, 200, 200]);
        assert_eq!(tries(1, "flaky-2-a").await, [429, 429, 200]);
        standin.reset();
        assert_eq!(tries(1, "flaky-1-a").await, [429, 200, 200]);
    }

    #[tokio::test]
    async fn a_wish_that_is_unknown_is_said_to_be_and_one_without_a_key_is_not_heard() {
        let standin = Standin::start().await;
        let answer = post(&standin, "openai", &key(), CHAT_PATH, &wishing("explode")).await;
        assert_eq!(answer.status, 501, "{}", answer.body);
        let answer = bare(&standin, "openai", Method::POST, CHAT_PATH, &[], &wishing("slow")).await;
        assert_eq!(answer.status, 401);
    }

    #[tokio::test]
    async fn what_is_scripted_counts_more_than_a_wish() {
        let standin = Standin::start().await;
        standin.script("openai", Behaviour::status(503, "{}"));
        assert_eq!(post(&standin, "openai", &key(), CHAT_PATH, &wishing("slow")).await.status, 503);
    }
}

#[tokio::test]
async fn on_the_wire_a_cut_stream_has_no_last_chunk() {
    let standin = Standin::start().await;
    let mut endings = Vec::new();
    for behaviour in [Behaviour::Usual, Behaviour::StreamThenCut { chunks: 2 }] {
        standin.script("openai", behaviour);
        let mut stream = TcpStream::connect(standin.addr()).await.unwrap();
        let head = format!(
            "POST /openai{CHAT_PATH} HTTP/1.1\r\nhost: standin\r\nauthorization: Bearer {}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{STREAM}",
            key(),
            STREAM.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert!(all.contains("transfer-encoding: chunked"), "{all}");
        endings.push(all.ends_with("\r\n0\r\n\r\n"));
    }
    assert_eq!(endings, [true, false]);
}

#[tokio::test]
async fn providers_report_errors_inside_a_stream() {
    let standin = Standin::start().await;
    let gemini = r#"{"contents":[{"parts":[{"text":"one two three"}]}]}"#;
    let cases = [
        (
            "anthropic",
            "/v1/messages",
            STREAM,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"",
        ),
        ("openai", CHAT_PATH, STREAM, "data: {\"error\":{\"message\":\"The server had an error"),
        ("openrouter", CHAT_PATH, STREAM, "\"finish_reason\":\"error\"}],\"error\":{\"code\":502"),
        (
            "gemini",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            gemini,
            "data: {\"error\":{\"code\":503",
        ),
        ("cohere", "/v2/chat", STREAM, "\"finish_reason\":\"ERROR\""),
    ];
    for (provider, path, body, error) in cases {
        standin.script(provider, Behaviour::StreamThenErrorEvent);
        let answer = post(&standin, provider, &example_key(provider, 1), path, body).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("fp=") && answer.body.contains(error), "{provider}: {}", answer.body);
        assert!(!answer.body.contains("[DONE]") && !answer.body.contains("three"), "{provider}");
        answer.events();
    }
    for (provider, path, status) in
        [("anthropic", "/v1/messages", 529), ("openai", CHAT_PATH, 503), ("xai", CHAT_PATH, 503)]
    {
        standin.script(provider, Behaviour::StreamThenErrorEvent);
        let answer = post(&standin, provider, &example_key(provider, 1), path, PLAIN).await;
        assert_eq!(answer.status, status, "{provider}");
    }
    standin.script("gemini", Behaviour::StreamThenErrorEvent);
    let path = "/v1beta/models/m:streamGenerateContent";
    let list = post(&standin, "gemini", &example_key("gemini", 1), path, gemini).await;
    assert_eq!(list.json()[2]["error"]["status"], "UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn slow_chunks_come_all_the_same() {
    let standin = Standin::start().await;
    standin.script("openai", Behaviour::SlowChunks { gap: std::time::Duration::from_secs(5) });
    let answer = post(&standin, "openai", &key(), CHAT_PATH, STREAM).await;
    assert!(answer.body.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn pieces_and_length_can_be_set() {
    let options = Options { chunks: 20, min_words: 30, ..Options::default() };
    let standin = Standin::start_with(options).await.unwrap();
    let answer = post(&standin, "openai", &key(), CHAT_PATH, STREAM).await;
    let pieces =
        answer.events().iter().filter(|event| event.pointer("/choices/0/delta/content").is_some()).count();
    assert_eq!(pieces, 1 + 20);
    let text: String = answer
        .events()
        .iter()
        .filter_map(|event| Some(event.pointer("/choices/0/delta/content")?.as_str()?.to_owned()))
        .collect();
    assert!(text.starts_with(&answer_text(&key(), "one two three four five six")));
    assert_eq!(text.split(' ').count(), 30);
}

/// A body that comes when the test says so.
struct Upload(mpsc::Receiver<&'static str>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

async fn upload(
    standin: &Standin,
) -> (mpsc::Sender<&'static str>, JoinHandle<hyper::Result<Response<Incoming>>>) {
    let (pieces, body) = mpsc::channel(8);
    let stream = TcpStream::connect(standin.addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (name, value) = credential("openai", &key());
    let request = Request::post(format!("/openai{CHAT_PATH}"))
        .header("host", "standin")
        .header(name, value)
        .body(Upload(body))
        .unwrap();
    (pieces, tokio::spawn(async move { sender.send_request(request).await }))
}

#[tokio::test]
async fn a_body_is_seen_while_it_comes() {
    let standin = Standin::start().await;
    let (pieces, answer) = upload(&standin).await;
    let (start, end) = PLAIN.split_at(40);
    pieces.send(start).await.unwrap();
    standin.wait_for_body_bytes(40).await;
    assert!(standin.requests().is_empty());
    assert_eq!(standin.in_flight(), 1);
    pieces.send(end).await.unwrap();
    drop(pieces);
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(standin.requests()[0].body, PLAIN);
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_noticed() {
    let standin = Standin::start().await;
    let mut stream = TcpStream::connect(standin.addr()).await.unwrap();
    let head = format!(
        "POST /openai{CHAT_PATH} HTTP/1.1\r\nhost: standin\r\nauthorization: Bearer {}\r\n\
         content-length: 100\r\n\r\n{{\"model\"",
        key()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    standin.wait_for_body_bytes(8).await;
    drop(stream);
    standin.wait_for_cancelled(1).await;
    assert_eq!(standin.in_flight(), 0);
}

#[tokio::test]
async fn http2_is_spoken_and_its_cancellations_noticed() {
    let standin = Standin::start().await;
    let stream = TcpStream::connect(standin.addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |body: &'static str| {
        let (name, value) = credential("openai", &key());
        Request::post(format!("{}{CHAT_PATH}", standin.base_url("openai")))
            .header(name, value)
            .header(HeaderName::from_static("accept"), HeaderValue::from_static("*/*"))
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    };
    let answer = read(sender.send_request(ask(STREAM)).await.unwrap()).await;
    assert!(answer.body.ends_with("data: [DONE]\n\n"));

    standin.script("openai", Behaviour::StreamThenHang { chunks: 1 });
    let mut response = sender.send_request(ask(STREAM)).await.unwrap();
    read_until(response.body_mut(), "fp=").await;
    drop(response);
    standin.wait_for_cancelled(1).await;

    standin.script("openai", Behaviour::Hang);
    tokio::select! {
        _ = sender.send_request(ask(PLAIN)) => panic!("answered"),
        () = standin.wait_for_requests(3) => {}
    }
    standin.wait_for_cancelled(2).await;

    standin.script("openai", Behaviour::StreamThenCut { chunks: 1 });
    let (text, clean) = read_out(sender.send_request(ask(STREAM)).await.unwrap().into_body()).await;
    assert!(!clean && text.contains("fp="), "{text}");
    assert!(standin.requests().iter().all(|seen| seen.connection == 1));
}

#[tokio::test]
async fn a_stopped_standin_refuses_connections() {
    let standin = Standin::start().await;
    let address = standin.addr();
    standin.script("openai", Behaviour::HangAfterHeaders);
    let response = open_stream(&standin).await;
    standin.stop().await;
    let (_, clean) = read_out(response.into_body()).await;
    assert!(!clean);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_refused_port_refuses() {
    let url = refused_port();
    let address = url.strip_prefix("http://").unwrap();
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
#[should_panic(expected = "knows no provider \"nobody\"")]
fn an_unknown_provider_is_a_mistake_in_the_test() {
    let _ = example_key("nobody", 1);
}

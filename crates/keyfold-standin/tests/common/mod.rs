//! A small client, without a pool, redirects or retries: one connection per request.
#![allow(dead_code, reason = "each test program uses a part")]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use keyfold_standin::{Standin, credential, fingerprint};
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The data of server-sent events, comments and `[DONE]` left out.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")))
            .collect()
    }

    pub(crate) fn event_names(&self) -> Vec<&str> {
        self.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
    }
}

/// A request under way.
pub(crate) type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

pub(crate) async fn connect(standin: &Standin) -> Sender {
    let stream = TcpStream::connect(standin.addr()).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(
    standin: &Standin,
    provider: &str,
    method: Method,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", standin.base_url(provider).replacen(&standin.url(), "", 1,)));
    request = request.header("host", standin.addr().to_string());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

/// Sends a request with the key in its place, on a connection of its own.
pub(crate) async fn open(
    standin: &Standin,
    provider: &str,
    key: &str,
    method: Method,
    path: &str,
    body: &str,
) -> Response<Incoming> {
    try_open(standin, provider, key, method, path, body).await.unwrap()
}

pub(crate) async fn try_open(
    standin: &Standin,
    provider: &str,
    key: &str,
    method: Method,
    path: &str,
    body: &str,
) -> hyper::Result<Response<Incoming>> {
    let mut headers = vec![credential(provider, key)];
    if provider == "anthropic" {
        headers.push((HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01")));
    }
    let mut sender = connect(standin).await;
    sender.send_request(request(standin, provider, method, path, &headers, body)).await
}

pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

pub(crate) async fn call(
    standin: &Standin,
    provider: &str,
    key: &str,
    method: Method,
    path: &str,
    body: &str,
) -> Answer {
    let answer = read(open(standin, provider, key, method, path, body).await).await;
    assert_eq!(answer.header("x-key-fingerprint"), fingerprint(key), "{provider} {path}");
    answer
}

pub(crate) async fn get(standin: &Standin, provider: &str, key: &str, path: &str) -> Answer {
    call(standin, provider, key, Method::GET, path, "").await
}

pub(crate) async fn post(standin: &Standin, provider: &str, key: &str, path: &str, body: &str) -> Answer {
    call(standin, provider, key, Method::POST, path, body).await
}

/// Sends a request with exactly these headers.
pub(crate) async fn bare(
    standin: &Standin,
    provider: &str,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let mut sender = connect(standin).await;
    let response =
        sender.send_request(request(standin, provider, method, path, &headers, body)).await.unwrap();
    read(response).await
}

/// The providers with OpenAI's shape of chat, and the path of it.
pub(crate) const CHAT: [(&str, &str); 11] = [
    ("openai", "/v1/chat/completions"),
    ("mistral", "/v1/chat/completions"),
    ("groq", "/openai/v1/chat/completions"),
    ("deepseek", "/chat/completions"),
    ("deepseek", "/v1/chat/completions"),
    ("xai", "/v1/chat/completions"),
    ("together", "/v1/chat/completions"),
    ("openrouter", "/v1/chat/completions"),
    ("perplexity", "/chat/completions"),
    ("perplexity", "/v1/chat/completions"),
    ("huggingface", "/v1/chat/completions"),
];

//! The provider's stand-in for speed: answers a chat completion as OpenAI does, at once, and says whose key came.
//!
//! `keyfold-standin` plays all providers in all their moods, and costs accordingly. This one does as little as a server can,
//! so that what is measured is what stands before it.

use std::io;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyfold_standin::fingerprint;
use memchr::memmem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::http::{Chunks, MOST_HEADERS, number};

/// The authority that vouches for the stand-in, in the folder that it was given.
pub(crate) const AUTHORITY_FILE: &str = "authority.pem";
/// What the stand-in is told is sent there: `chunks`, `gap_ms`.
const PLAN_PATH: &str = "/plan?";
const BACKLOG: u32 = 4096;
const LONGEST_REQUEST: usize = 1024 * 1024;

/// Where it listens.
#[derive(Deserialize, Serialize)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
}

/// How streams are sent.
struct Plan {
    chunks: AtomicU64,
    gap_ms: AtomicU64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { chunks: AtomicU64::new(10), gap_ms: AtomicU64::new(5) }
    }
}

/// Runs until it is ended. Its first line on standard output says where it listens.
pub(crate) async fn run(folder: &Path) -> io::Result<()> {
    let plan = Arc::new(Plan::default());
    let (unencrypted, tls) = (listen()?, listen()?);
    let acceptor = TlsAcceptor::from(Arc::new(tls_settings(folder)));
    let ports = Ports { plain: unencrypted.local_addr()?.port(), tls: tls.local_addr()?.port() };
    let mut out = io::stdout();
    writeln!(out, "{}", serde_json::to_string(&ports)?)?;
    out.flush()?;
    let tls_plan = Arc::clone(&plan);
    tokio::spawn(async move {
        loop {
            let Ok(stream) = accept(&tls).await else { continue };
            let (acceptor, plan) = (acceptor.clone(), Arc::clone(&tls_plan));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = serve(stream, &plan).await;
                }
            });
        }
    });
    answer_all(unencrypted, plan).await;
    Ok(())
}

async fn answer_all(listener: TcpListener, plan: Arc<Plan>) {
    loop {
        let Ok(stream) = accept(&listener).await else { continue };
        let plan = Arc::clone(&plan);
        tokio::spawn(async move {
            // An error is a connection that the other side closed.
            let _ = serve(stream, &plan).await;
        });
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => stream.set_nodelay(true).map(|()| stream),
        Err(error) => {
            // No more open files, perhaps: lets others go on and end.
            tokio::task::yield_now().await;
            Err(error)
        }
    }
}

/// A fresh authority, written down for those who are to trust it, and a certificate of its for `localhost`.
fn tls_settings(folder: &Path) -> ServerConfig {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // Names must differ, or the certificate would look as if it had signed itself.
    params.distinguished_name.push(DnType::CommonName, "An authority of a bench");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join(AUTHORITY_FILE), authority.pem()).unwrap();
    let pair = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&pair, &authority).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(pair.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, plan: &Plan) -> io::Result<()> {
    let mut came = vec![0; 16 * 1024];
    let mut filled = 0;
    let mut answer = Vec::with_capacity(2048);
    loop {
        let request = loop {
            if let Some(request) = Asked::read(&came[..filled])? {
                break request;
            }
            if filled == came.len() {
                if filled >= LONGEST_REQUEST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                came.resize(filled * 2, 0);
            }
            match stream.read(&mut came[filled..]).await? {
                0 => return Ok(()),
                n => filled += n,
            }
        };
        answer.clear();
        match request.kind {
            Kind::Whole => {
                write_whole(&mut answer, &request.fingerprint);
                stream.write_all(&answer).await?;
            }
            Kind::Streamed => stream_out(&mut stream, &mut answer, plan, &request.fingerprint).await?,
            Kind::Plan { chunks, gap_ms } => {
                plan.chunks.store(chunks, Ordering::Relaxed);
                plan.gap_ms.store(gap_ms, Ordering::Relaxed);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            }
            Kind::Models => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"object\":\"list\",\"data\":[]}").await?;
            }
            Kind::Other => {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?;
            }
        }
        came.copy_within(request.bytes..filled, 0);
        filled -= request.bytes;
    }
}

/// A request that came whole.
struct Asked {
    kind: Kind,
    fingerprint: String,
    bytes: usize,
}

enum Kind {
    Whole,
    Streamed,
    Models,
    Plan { chunks: u64, gap_ms: u64 },
    Other,
}

impl Asked {
    fn read(came: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(came).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let httparse::Status::Complete(head) = parsed else { return Ok(None) };
        let (mut key, mut length, mut chunked) = (&b""[..], 0, false);
        for header in request.headers.iter() {
            let name = header.name;
            if name.eq_ignore_ascii_case("authorization") {
                key = header.value.strip_prefix(b"Bearer ").unwrap_or_default();
            } else if name.eq_ignore_ascii_case("content-length") {
                length = number(header.value).ok_or(io::ErrorKind::InvalidData)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            }
        }
        let mut body = &came[head..];
        let unchunked;
        let mut bytes = head + length;
        if chunked {
            let (mut chunks, mut content) = (Chunks::default(), vec![]);
            chunks.take(body, |piece| content.extend_from_slice(piece))?;
            if !chunks.at_end() {
                return Ok(None);
            }
            bytes = came.len();
            unchunked = content;
            body = &unchunked;
        } else if came.len() < bytes {
            return Ok(None);
        } else {
            body = &body[..length];
        }
        let path = request.path.unwrap_or_default();
        let kind = if path.ends_with("/chat/completions") {
            if memmem::find(body, b"\"stream\":true").is_some()
                || memmem::find(body, b"\"stream\": true").is_some()
            {
                Kind::Streamed
            } else {
                Kind::Whole
            }
        } else if path.ends_with("/models") {
            Kind::Models
        } else if let Some(query) = path.strip_prefix(PLAN_PATH) {
            let of = |name: &str| {
                query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            };
            Kind::Plan { chunks: of("chunks").unwrap_or(10), gap_ms: of("gap_ms").unwrap_or(0) }
        } else {
            Kind::Other
        };
        let fingerprint = std::str::from_utf8(key).map(fingerprint).unwrap_or_default();
        Ok(Some(Self { kind, fingerprint, bytes }))
    }
}

/// The request for a [`Plan`].
pub(crate) fn plan_request(chunks: u64, gap_ms: u64) -> String {
    format!(
        "POST {PLAN_PATH}chunks={chunks}&gap_ms={gap_ms} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    )
}

const HEADERS: &str = "openai-organization: org-of-a-bench\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\nx-request-id: req_of_a_bench\r\nserver: bench";
const WORDS: &str =
    "The quick brown fox jumps over the lazy dog, and the dog, who has seen this before, does not get up. ";

fn write_whole(answer: &mut Vec<u8>, fingerprint: &str) {
    const BEFORE: &str = r#"{"id":"chatcmpl-of-a-bench","object":"chat.completion","created":1790000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"fp="#;
    const AFTER: &str = r#"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":128,"total_tokens":159,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}"#;
    const REPEATED: usize = 5;
    let length = BEFORE.len() + fingerprint.len() + 1 + REPEATED * WORDS.len() + AFTER.len();
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}\r\nx-key-fingerprint: {fingerprint}\r\ncontent-length: {length}\r\n\r\n{BEFORE}{fingerprint} "
    );
    for _ in 0..REPEATED {
        answer.extend_from_slice(WORDS.as_bytes());
    }
    answer.extend_from_slice(AFTER.as_bytes());
}

/// The first event goes out with the head, and each other one after a gap.
async fn stream_out<S: AsyncWrite + Unpin>(
    stream: &mut S,
    answer: &mut Vec<u8>,
    plan: &Plan,
    fingerprint: &str,
) -> io::Result<()> {
    let chunks = plan.chunks.load(Ordering::Relaxed);
    let gap = Duration::from_millis(plan.gap_ms.load(Ordering::Relaxed));
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{HEADERS}\r\nx-key-fingerprint: {fingerprint}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    write_event(answer, &format!("fp={fingerprint} {WORDS}"));
    stream.write_all(answer).await?;
    for _ in 1..chunks {
        if !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        answer.clear();
        write_event(answer, WORDS);
        stream.write_all(answer).await?;
    }
    answer.clear();
    let usage = r#"data: {"id":"chatcmpl-of-a-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{"prompt_tokens":31,"completion_tokens":128,"total_tokens":159}}"#;
    write_chunk(answer, &[usage, "\n\ndata: [DONE]\n\n"]);
    answer.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(answer).await
}

fn write_event(answer: &mut Vec<u8>, text: &str) {
    const BEFORE: &str = r#"data: {"id":"chatcmpl-of-a-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":""#;
    write_chunk(answer, &[BEFORE, text, "\"},\"finish_reason\":null}]}\n\n"]);
}

fn write_chunk(answer: &mut Vec<u8>, parts: &[&str]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let _ = write!(answer, "{length:x}\r\n");
    for part in parts {
        answer.extend_from_slice(part.as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyfold_standin::fingerprint;

    use super::{Plan, answer_all, listen, plan_request};
    use crate::http::Connection;
    use crate::load::{Target, ask_once, write_users};

    const KEY: &str = "sk-of-a-test";

    #[tokio::test]
    async fn an_answer_made_with_another_key_is_noticed() {
        let listener = listen().unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(answer_all(listener, Arc::new(Plan::default())));
        let folder = tempfile::tempdir().unwrap();
        let (path, users) = ("/v1/chat/completions".to_owned(), folder.path().join("users"));
        let target = Target { address, path, headers: vec![], users: users.clone() };
        write_users(&users, std::iter::once((KEY, fingerprint(KEY)))).unwrap();
        assert_eq!(ask_once(&target).await.unwrap(), None);
        write_users(&users, std::iter::once((KEY, fingerprint("sk-of-another")))).unwrap();
        let bad = ask_once(&target).await.unwrap().unwrap();
        assert!(bad.starts_with("200 ") && bad.contains(&fingerprint(KEY)), "{bad}");
        task.abort();
    }

    #[tokio::test]
    async fn a_stream_has_the_pieces_that_were_asked_for_and_the_mark_in_the_first() {
        let listener = listen().unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(answer_all(listener, Arc::new(Plan::default())));
        let mut connection = Connection::open(address, None).await.unwrap();
        assert_eq!(connection.ask(plan_request(3, 0).as_bytes()).await.unwrap().status, 204);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {KEY}\r\ncontent-length: 15\r\n\r\n{{\"stream\":true}}"
        );
        let mut stream = connection.begin(request.as_bytes()).await.unwrap();
        let mut text = String::from_utf8(stream.piece.clone()).unwrap();
        assert!(text.contains(&format!("fp={}", fingerprint(KEY))), "{text}");
        while stream.next().await.unwrap() {
            text += std::str::from_utf8(&stream.piece).unwrap();
        }
        assert_eq!(text.matches("\"delta\"").count(), 3, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        task.abort();
    }
}

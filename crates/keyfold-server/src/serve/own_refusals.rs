//! What hyper answers by itself: a request that it cannot read never reaches the router. Its bare answer is
//! replaced by one that the router gives, which has a request id, a body and a line in the log.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tower::ServiceExt;

use super::Peer;

/// In the extensions of the request that stands for an unreadable one: what hyper says of that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreadable(pub(crate) StatusCode);

/// The answers that hyper writes by itself.
const OWN: [&str; 3] =
    ["400 Bad Request\r\n", "414 URI Too Long\r\n", "431 Request Header Fields Too Large\r\n"];
/// What is still read and dropped of a refused request: a close with unread bytes would break the connection
/// before its client has read the answer.
const MOST_DROPPED: usize = 4 * 1024 * 1024;
const LONGEST_DROPPING: Duration = Duration::from_secs(2);

/// Whether an answer of the router is under way on a connection, told by its service and its stream: the number of
/// the answer, and in the lowest two bits how far it is.
#[derive(Clone, Default)]
pub(super) struct Exchange(Arc<AtomicU64>);

/// Every byte of the answers so far was written.
const IDLE: u64 = 0;
/// A request was read; its answer's body is not at its end.
const ANSWERING: u64 = 1;
/// The answer was handed over whole, but bytes of it may still have to be written.
const ENDING: u64 = 2;
/// It broke off, and only the end of the connection would tell its caller where it ends.
const BROKEN: u64 = 3;
const PHASE: u64 = 3;

impl Exchange {
    /// A request was read. Gives what the end of its answer is told with.
    pub(super) fn begin(&self) -> u64 {
        let next = (self.0.load(Ordering::Relaxed) & !PHASE).wrapping_add(PHASE + 1);
        self.0.store(next | ANSWERING, Ordering::Relaxed);
        next
    }

    /// The answer to that request was handed over whole.
    fn end(&self, answer: u64) {
        let (from, to) = (answer | ANSWERING, answer | ENDING);
        let _ = self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Everything that was handed over was written.
    fn flushed(&self) {
        let now = self.0.load(Ordering::Relaxed);
        if now & PHASE == ENDING {
            self.0.store(now & !PHASE, Ordering::Relaxed);
        }
    }

    fn break_off(&self) {
        self.0.fetch_or(BROKEN, Ordering::Relaxed);
    }

    /// Whoever reads up to the end must not take what came for the whole.
    pub(super) fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PHASE == BROKEN
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PHASE == IDLE
    }
}

/// An answer's body, whose drop is the end of the answer.
pub(super) struct AnswerBody {
    body: Body,
    exchange: Exchange,
    answer: u64,
    /// Its caller speaks HTTP/1.0, which has no other end for a body of unknown length.
    ends_with_connection: bool,
}

impl AnswerBody {
    pub(super) fn new(body: Body, exchange: Exchange, answer: u64, version: Version) -> Self {
        Self { body, exchange, answer, ends_with_connection: version == Version::HTTP_10 }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.exchange.end(self.answer);
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if self.ends_with_connection && matches!(frame, Some(Err(_))) {
            self.exchange.break_off();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `stream`, on which the router's words stand for hyper's own.
///
/// Hyper writes an answer of its own only between others, and it is the connection's last. So a write counts as
/// one if no answer is under way, all bytes of earlier ones were written, and it is byte for byte what hyper
/// writes. In doubt bytes pass as they are.
pub(super) struct OwnRefusals<S> {
    stream: S,
    exchange: Exchange,
    router: Router,
    peer: SocketAddr,
    state: State,
}

enum State {
    Watching,
    /// The router is asked; the length of what hyper wrote.
    Asking(Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>, usize),
    /// The router's words are written up to there.
    Writing {
        words: Vec<u8>,
        written: usize,
        own: usize,
    },
    /// They were; what still comes in is dropped.
    Dropping {
        until: Option<Pin<Box<Sleep>>>,
        dropped: usize,
    },
    /// Nothing is left to replace.
    Over,
}

impl<S> OwnRefusals<S> {
    pub(super) fn new(stream: S, exchange: Exchange, router: Router, peer: SocketAddr) -> Self {
        Self { stream, exchange, router, peer, state: State::Watching }
    }

    /// Begins to replace, if this is what hyper writes by itself.
    fn look_at(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Watching)
            && self.exchange.is_idle()
            && let Some(own) = OwnHead::read(bytes)
        {
            let asked = ask(self.router.clone(), own, self.peer);
            self.state = State::Asking(Box::pin(asked), bytes.len());
        }
    }
}

impl<S: AsyncWrite + Unpin> OwnRefusals<S> {
    /// Writes the router's words; the length of what they stand for, or `None` if bytes pass as they are.
    fn poll_replace(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        loop {
            match &mut self.state {
                State::Asking(asked, own) => {
                    let own = *own;
                    self.state = match ready!(asked.as_mut().poll(context)) {
                        Some(words) => State::Writing { words, written: 0, own },
                        None => State::Over,
                    };
                }
                State::Writing { words, written, own } if *written == words.len() => {
                    let own = *own;
                    self.state = State::Dropping { until: None, dropped: 0 };
                    return Poll::Ready(Ok(Some(own)));
                }
                State::Writing { words, written, .. } => {
                    let left = words.get(*written..).unwrap_or_default();
                    match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        more => *written += more,
                    }
                }
                State::Watching | State::Dropping { .. } | State::Over => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OwnRefusals<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for OwnRefusals<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look_at(bytes);
        match ready!(this.poll_replace(context))? {
            Some(length) => Poll::Ready(Ok(length)),
            None => Pin::new(&mut this.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Hyper's own answer is one part.
        if let [bytes] = parts {
            this.look_at(bytes);
        }
        match ready!(this.poll_replace(context))? {
            Some(length) => Poll::Ready(Ok(length)),
            None => Pin::new(&mut this.stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper flushes the stream only when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.exchange.flushed();
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let State::Dropping { until, dropped } = &mut this.state else {
            return Pin::new(&mut this.stream).poll_shutdown(context);
        };
        if until.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep(LONGEST_DROPPING)));
        let mut room = [0; 4096];
        while until.as_mut().poll(context).is_pending() && *dropped < MOST_DROPPED {
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *dropped += buffer.filled().len(),
                _ => break,
            }
        }
        this.state = State::Over;
        Poll::Ready(Ok(()))
    }
}

/// An answer that hyper wrote by itself.
struct OwnHead {
    status: StatusCode,
    /// The first line, with its end.
    line: String,
    date: Option<String>,
}

impl OwnHead {
    /// Reads what is such an answer from its first byte to its last.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (line, headers) = text.split_at_checked(text.find("\r\n")? + 2)?;
        let said = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
        if !OWN.contains(&said) {
            return None;
        }
        let headers = headers.strip_suffix("\r\n\r\n")?;
        let (mut is_empty, mut date) = (false, None);
        for header in headers.split("\r\n") {
            match header.split_once(": ")? {
                ("content-length", "0") => is_empty = true,
                ("connection", "close") => {}
                ("date", value) => date = Some(value.to_owned()),
                _ => return None,
            }
        }
        let status = said.get(..3)?.parse().ok()?;
        is_empty.then(|| Self { status, line: line.to_owned(), date })
    }
}

/// What the router says of an unreadable request, as bytes; `None` if it has no answer of that status.
async fn ask(router: Router, own: OwnHead, peer: SocketAddr) -> Option<Vec<u8>> {
    let mut request = Request::new(Body::empty());
    // Nothing is known of it.
    *request.method_mut() = Method::from_bytes(b"UNREADABLE").ok()?;
    *request.uri_mut() = Uri::from_static("*");
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Unreadable(own.status));
    let answered: Result<Response, Infallible> = router.oneshot(request).await;
    let (parts, body) = answered.unwrap_or_else(|never| match never {}).into_parts();
    if parts.status != own.status {
        return None;
    }
    let body = body.collect().await.ok()?.to_bytes();
    let mut words = own.line;
    for (name, value) in &parts.headers {
        if [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        write!(words, "{name}: {}\r\n", value.to_str().ok()?).ok()?;
    }
    if let Some(date) = own.date {
        write!(words, "date: {date}\r\n").ok()?;
    }
    write!(words, "content-length: {}\r\nconnection: close\r\n\r\n", body.len()).ok()?;
    let mut words = words.into_bytes();
    words.extend_from_slice(&body);
    Some(words)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const OWN_400: &str =
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n";

    fn watched(exchange: &Exchange, room: usize) -> (DuplexStream, OwnRefusals<DuplexStream>) {
        let (client, server) = duplex(room);
        let refused = || async { (StatusCode::BAD_REQUEST, [("x-request-id", "made")], "words") };
        let router = Router::new().route("/", get(|| async {})).fallback(refused);
        let peer = SocketAddr::from(([127, 0, 0, 1], 4711));
        (client, OwnRefusals::new(server, exchange.clone(), router, peer))
    }

    /// What a client reads of these writes.
    async fn read_of(exchange: &Exchange, room: usize, writes: &[&str]) -> String {
        let (mut client, mut stream) = watched(exchange, room);
        let mut text = String::new();
        let writing = async move {
            for write in writes {
                stream.write_all(write.as_bytes()).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(client.read_to_string(&mut text), writing);
        read.unwrap();
        text
    }

    #[tokio::test]
    async fn a_bare_answer_is_replaced_whole_however_little_is_taken_at_once() {
        for room in [1, 7, 4096] {
            let text = read_of(&Exchange::default(), room, &[OWN_400]).await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
            for header in ["x-request-id: made", "content-length: 5", "connection: close", "date: Fri"] {
                assert!(head.contains(header), "{header}: {head}");
            }
            assert_eq!(body, "words");
        }
    }

    #[tokio::test]
    async fn what_only_looks_like_it_passes() {
        for text in [
            &OWN_400.replace("date:", "x-request-id: a\r\ndate:"),
            &OWN_400.replace(": 0", ": 1"),
            &OWN_400.replace("400 Bad Request", "404 Not Found"),
            &format!("{OWN_400}x"),
            &format!("x{OWN_400}"),
            &OWN_400[..OWN_400.len() - 2],
            // The router has another status for it.
            &OWN_400.replace("400 Bad Request", "414 URI Too Long"),
        ] {
            assert_eq!(&read_of(&Exchange::default(), 4096, &[text]).await, text);
        }
    }

    #[tokio::test]
    async fn a_part_of_an_answer_passes_whatever_it_says() {
        let exchange = Exchange::default();
        let answer = exchange.begin();
        assert_eq!(
            read_of(&exchange, 4096, &["head", OWN_400, OWN_400]).await,
            format!("head{OWN_400}{OWN_400}")
        );
        // Handed over, but not yet written.
        drop(AnswerBody::new(Body::empty(), exchange.clone(), answer, Version::HTTP_11));
        assert_eq!(read_of(&exchange, 4096, &[OWN_400]).await, OWN_400);
        exchange.flushed();
        assert!(exchange.is_idle());
        assert!(read_of(&exchange, 4096, &[OWN_400]).await.ends_with("words"));
    }

    #[test]
    fn the_end_of_an_earlier_answer_is_not_that_of_the_next() {
        let exchange = Exchange::default();
        let earlier = AnswerBody::new(Body::empty(), exchange.clone(), exchange.begin(), Version::HTTP_11);
        let answer = exchange.begin();
        drop(earlier);
        exchange.flushed();
        assert!(!exchange.is_idle());
        exchange.end(answer);
        assert!(!exchange.is_idle());
        exchange.flushed();
        assert!(exchange.is_idle());
    }
}

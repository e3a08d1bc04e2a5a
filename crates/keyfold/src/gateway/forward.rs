//! A request of any kind on its way to the provider, and the answer on its way back: hyper on both sides.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Error as ClientError;
use tokio::time::{Sleep, sleep, timeout};

use super::call::{AnswerHead, Answering, Ended, GatewayCaller, REFUSAL_BYTES};
use super::crossing::{self, CREDENTIAL_IN_QUERY, Field};
use super::target::Target;
use super::upstream::{RequestBody, Route, Upstream};
use super::{Call, Gateway};
use crate::error::Error;
use crate::provider::Provider;
use crate::provider::http::put_key;

/// The head of a request to the gateway.
pub struct RequestHead<'a> {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub target: Target<'a>,
    /// Its headers.
    pub fields: &'a [Field<'a>],
    /// The caller's credential stands in the query, which goes on without it.
    pub credential_is_in_query: bool,
}

/// The body of an answer on its way to the caller, with the record of the call, which ends with it.
pub struct AnswerBody {
    answer: Incoming,
    /// What was read of a refusal already.
    held: VecDeque<Bytes>,
    held_bytes: u64,
    answering: Option<Answering>,
    /// Between two parts of the answer.
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    /// It broke off; the caller is still to hear of that.
    is_broken: bool,
    has_waited: bool,
}

/// The provider's answer is not whole. The caller's connection is closed without an end of the answer.
#[derive(Debug, thiserror::Error)]
#[error("the provider's answer broke off")]
pub struct BrokenAnswer;

impl Gateway {
    /// Sends the request with the caller's user's key, and gives the answer once its head is there. Dropped, or the
    /// answer's body dropped, the call at the provider is cancelled.
    ///
    /// # Errors
    /// Those of opening the key, [`Error::ProviderUnreachable`], [`Error::ProviderAway`] and
    /// [`Error::ProviderTimeout`]. What the provider answers, errors too, is an answer.
    pub async fn forward(
        &self,
        caller: GatewayCaller,
        upstream: &Arc<Upstream>,
        head: RequestHead<'_>,
        body: RequestBody,
    ) -> Result<Response<AnswerBody>, Error> {
        let route = upstream.route(head.target.path());
        let uri = uri(route, &head)?;
        let Call { key, mut answering } = self.begin(caller, upstream, head.target.path().into()).await?;
        let provider = &upstream.provider;
        let (is_head, is_empty) = (head.method == Method::HEAD, body.is_end_stream());
        let progress = Progress::new();
        let mut request = Request::new(Uploading { body, progress: Arc::clone(&progress) }.boxed_unsync());
        *request.method_mut() = head.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        copy_fields(head.fields, provider, headers)?;
        headers.insert(HOST, route.host.clone());
        // Hyper tells no length of no body, and some servers ask for one.
        if is_empty && head.fields.iter().any(|field| field.name.eq_ignore_ascii_case("content-length")) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        put_key(headers, &provider.key_placement, &key)
            .map_err(|_| Error::Internal("the key does not fit a header".into()))?;
        drop(key);

        let answered = tokio::select! {
            answered = route.client().request(request) => answered,
            () = progress.stalls_for(self.timeouts.gateway_first_byte) => {
                answering.end(Ended::TimedOut);
                return Err(Error::ProviderTimeout { provider: provider.id.clone(), name: provider.name.clone() });
            }
        };
        let answer = match answered {
            Ok(answer) => answer,
            // The caller left, or sent no such body as it said: neither is the provider's fault.
            Err(_) if progress.is_broken() => {
                return Err(Error::InvalidRequest {
                    field: "body".into(),
                    why: "broke off, or is not framed as its headers say".into(),
                });
            }
            Err(error) => {
                if error.is_connect() {
                    upstream.breaker.failed();
                }
                answering.end(Ended::Unreachable);
                return Err(unreachable(provider, cause(&error)));
            }
        };
        let (parts, answer) = answer.into_parts();
        // Nobody asked for another protocol.
        if parts.status.is_informational() {
            answering.end(Ended::Unreachable);
            return Err(unreachable(provider, "the provider switched to another protocol".into()));
        }
        let value = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
        let told =
            AnswerHead { content_type: value(CONTENT_TYPE), content_encoding: value(CONTENT_ENCODING) };
        let must_mark = answering.answered(parts.status, told)?;
        let mut body = AnswerBody {
            answer,
            held: VecDeque::new(),
            held_bytes: 0,
            answering: Some(answering),
            patience: self.timeouts.gateway_idle,
            waiting: None,
            is_broken: false,
            has_waited: false,
        };
        if must_mark {
            body.mark(parts.status).await;
        }
        body.look_for_the_end();
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        copy_answer_fields(
            &parts.headers,
            is_head || parts.status == StatusCode::NOT_MODIFIED,
            response.headers_mut(),
        );
        Ok(response)
    }
}

fn uri(route: &Route, head: &RequestHead<'_>) -> Result<Uri, Error> {
    let credential = head.credential_is_in_query.then_some(CREDENTIAL_IN_QUERY);
    let query = head.target.query(credential);
    let (question, query) = query.as_deref().map_or(("", ""), |query| ("?", query));
    let (origin, prefix) = (route.address.origin(), route.address.path_prefix());
    let text = format!("{origin}{prefix}{}{question}{query}", head.target.path());
    text.parse().map_err(|_| Error::InvalidRequest {
        field: "path".into(),
        why: "has characters that an address cannot hold as they are; percent-encode them".into(),
    })
}

/// Those that cross, and what every request to this provider needs.
fn copy_fields(fields: &[Field<'_>], provider: &Provider, headers: &mut HeaderMap) -> Result<(), Error> {
    let unfit = |name: &str| Error::InvalidRequest {
        field: name.to_ascii_lowercase(),
        why: "is no header that can be passed on".into(),
    };
    let connection = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(CONNECTION.as_str()));
    let hop_by_hop: Vec<&[u8]> = connection.map(|field| field.value).collect();
    for field in fields {
        if !crossing::goes_to_provider(field.name)
            || provider.key_placement.is_header(field.name)
            || hop_by_hop.iter().any(|connection| crossing::is_named_in(connection, field.name))
        {
            continue;
        }
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| unfit(field.name))?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| unfit(field.name))?);
    }
    for (name, value) in &provider.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    Ok(())
}

/// Those that cross, and what every answer carries. Hyper tells the length, but where no body follows it.
fn copy_answer_fields(answer: &HeaderMap, is_bodiless: bool, headers: &mut HeaderMap) {
    let connection = answer.get_all(CONNECTION);
    for (name, value) in answer {
        let is_hop_by_hop =
            connection.iter().any(|connection| crossing::is_named_in(connection.as_bytes(), name.as_str()));
        if crossing::goes_to_caller(name.as_str()) && !is_hop_by_hop {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(length) = answer.get(CONTENT_LENGTH).filter(|_| is_bodiless) {
        headers.insert(CONTENT_LENGTH, length.clone());
    }
    for (name, value) in crossing::ON_EVERY_ANSWER {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

pub(super) fn unreachable(provider: &Provider, cause: String) -> Error {
    Error::ProviderUnreachable { provider: provider.id.clone(), name: provider.name.clone(), cause }
}

fn cause(error: &ClientError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// When a request's body last went on.
struct Progress {
    begun: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
    /// It ended early.
    broken: AtomicBool,
}

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0), broken: AtomicBool::new(false) })
    }

    fn made(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Returns when nothing has gone on for this long: a large body takes the time that it takes.
    async fn stalls_for(&self, patience: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            match (last + patience).checked_sub(self.begun.elapsed()) {
                Some(left) if !left.is_zero() => sleep(left).await,
                _ => return,
            }
        }
    }
}

/// A request's body, whose progress is watched.
struct Uploading {
    body: RequestBody,
    progress: Arc<Progress>,
}

impl Body for Uploading {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            self.progress.made();
            match frame {
                Some(Err(error)) => {
                    self.progress.broken.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(error)));
                }
                // Trailers may be headers that do not cross.
                Some(Ok(frame)) if !frame.is_data() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl AnswerBody {
    /// Reads a refusal, up to some length, so that the key is marked before the caller hears of it.
    async fn mark(&mut self, status: StatusCode) {
        while status.is_client_error() && self.held_bytes < REFUSAL_BYTES as u64 {
            let frame = match timeout(self.patience, self.answer.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                // What came of it is passed on, and then that it broke off.
                Ok(Some(Err(_))) | Err(_) => {
                    self.end(Ended::Broken);
                    self.is_broken = true;
                    return;
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            if let Some(answering) = &mut self.answering {
                answering.read(&data);
            }
            self.held_bytes += data.len() as u64;
            self.held.push_back(data);
        }
        if let Some(answering) = &mut self.answering {
            answering.mark().await;
        }
    }

    /// Fails a turn later: hyper forgets what it has not written yet when a body fails.
    fn poll_broken(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(Some(Err(BrokenAnswer)));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn look_for_the_end(&mut self) {
        if self.answer.is_end_stream() {
            self.end(Ended::Whole);
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(answering) = self.answering.take() {
            answering.end(ended);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if let Some(data) = self.held.pop_front() {
            self.held_bytes -= data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.is_broken {
            return self.poll_broken(context);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.answer).poll_frame(context) else {
                let patience = self.patience;
                ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(context));
                self.end(Ended::TimedOut);
                return Poll::Ready(Some(Err(BrokenAnswer)));
            };
            self.waiting = None;
            return Poll::Ready(match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if let Some(answering) = &mut self.answering {
                        answering.read(&data);
                    }
                    self.look_for_the_end();
                    Some(Ok(Frame::data(data)))
                }
                // Trailers may be headers that do not cross.
                Some(Ok(Err(_))) => continue,
                Some(Err(_)) => {
                    self.end(Ended::Broken);
                    self.is_broken = true;
                    return self.poll_broken(context);
                }
                None => {
                    self.end(Ended::Whole);
                    None
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && !self.is_broken && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.answer.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + self.held_bytes);
        }
        hint.set_lower(left.lower() + self.held_bytes);
        hint
    }
}

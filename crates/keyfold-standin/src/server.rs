//! The listener, and what becomes of one request.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::body::{AnswerBody, Closed, Step, Ticket, Wait};
use crate::provider::{PROVIDERS, Provider};
use crate::reply::{Call, JSON, Payload, Reply};
use crate::wish::{Wish, wish};
use crate::{Behaviour, Options, Seen, refusal, routes};

static FINGERPRINT: HeaderName = HeaderName::from_static("x-key-fingerprint");

/// Counts of requests since the start (or the last `clear`), and of those under way.
#[derive(Default)]
pub(crate) struct Counts {
    requests: AtomicUsize,
    cancelled: AtomicUsize,
    in_flight: AtomicUsize,
    open_streams: AtomicUsize,
    body_bytes: AtomicU64,
    connections: AtomicU64,
    sequence: AtomicU64,
    per_provider: [AtomicU64; PROVIDERS.len()],
}

impl Counts {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn open(&self) {
        self.open_streams.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end(&self, streaming: bool, cancelled: bool) {
        if streaming {
            self.open_streams.fetch_sub(1, Ordering::AcqRel);
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        // Last: who waits for it finds the others right.
        if cancelled {
            self.cancelled.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Acquire)
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Acquire)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }
}

/// What a test has told the stand-in to do.
#[derive(Default)]
struct Orders {
    next: [VecDeque<Behaviour>; PROVIDERS.len()],
    always: [Option<Behaviour>; PROVIDERS.len()],
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    single: Option<Provider>,
    pub(crate) counts: Counts,
    /// Told of every change of the counts.
    pub(crate) changed: Notify,
    seen: Mutex<Vec<Seen>>,
    orders: Mutex<Orders>,
    has_orders: AtomicBool,
    /// How many requests with a key and these words were told to come again.
    told_to_come_again: Mutex<HashMap<String, u32>>,
    released: watch::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let single = options.provider.as_deref().map(Provider::must);
        Self {
            options,
            single,
            counts: Counts::default(),
            changed: Notify::new(),
            seen: Mutex::default(),
            orders: Mutex::default(),
            has_orders: AtomicBool::new(false),
            told_to_come_again: Mutex::default(),
            released: watch::Sender::new(0),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    pub(crate) fn clear(&self) {
        let mut seen = lock(&self.seen);
        seen.clear();
        self.counts.requests.store(0, Ordering::Release);
        self.counts.cancelled.store(0, Ordering::Release);
        self.counts.body_bytes.store(0, Ordering::Release);
        for count in &self.counts.per_provider {
            count.store(0, Ordering::Release);
        }
    }

    pub(crate) fn script(&self, provider: Provider, behaviour: Behaviour) {
        lock(&self.orders).next[provider.index()].push_back(behaviour);
        self.has_orders.store(true, Ordering::Release);
    }

    pub(crate) fn always(&self, provider: Provider, behaviour: Behaviour) {
        lock(&self.orders).always[provider.index()] = Some(behaviour);
        self.has_orders.store(true, Ordering::Release);
    }

    pub(crate) fn forget_orders(&self) {
        *lock(&self.orders) = Orders::default();
        lock(&self.told_to_come_again).clear();
        self.has_orders.store(false, Ordering::Release);
    }

    pub(crate) fn release(&self) {
        self.released.send_modify(|round| *round += 1);
    }

    fn behaviour(&self, provider: Provider) -> Behaviour {
        if !self.has_orders.load(Ordering::Acquire) {
            return Behaviour::Usual;
        }
        let mut orders = lock(&self.orders);
        let next = orders.next[provider.index()].pop_front();
        next.or_else(|| orders.always[provider.index()].clone()).unwrap_or(Behaviour::Usual)
    }

    /// Whether this is one of the first `times` requests with this key and these words.
    fn is_flaky(&self, fingerprint: &str, times: u32, words: &str) -> bool {
        let mut told = lock(&self.told_to_come_again);
        let count = told.entry(format!("{fingerprint} {words}")).or_default();
        let again = *count < times;
        if again {
            *count += 1;
        }
        again
    }

    /// Waits for a release after the `round`th: one that comes before this is awaited counts too.
    fn released_after(&self, round: u64) -> Wait {
        let mut released = self.released.subscribe();
        Box::pin(async move {
            // An error means that the stand-in is gone, and this connection with it.
            let _ = released.wait_for(|now| *now > round).await;
        })
    }

    /// Waits until `holds` does; looked at after every change of the counts.
    pub(crate) async fn wait_until(&self, holds: impl Fn(&Counts) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.counts) {
                return;
            }
            changed.await;
        }
    }

    fn stats(&self) -> String {
        let counts = &self.counts;
        let mut per_provider = serde_json::Map::new();
        for (id, count) in PROVIDERS.iter().zip(&counts.per_provider) {
            per_provider.insert((*id).to_owned(), count.load(Ordering::Relaxed).into());
        }
        serde_json::json!({
            "requests": counts.requests(), "cancelled": counts.cancelled(), "in_flight": counts.in_flight(),
            "open_streams": counts.open_streams(), "connections": counts.connections(),
            "body_bytes": counts.body_bytes(), "requests_per_provider": per_provider,
        })
        .to_string()
    }
}

/// Accepts connections until aborted; its connections end with it.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without it small frames of a stream would wait for acknowledgements.
                    let _ = stream.set_nodelay(true);
                    let number = shared.counts.connections.fetch_add(1, Ordering::AcqRel) + 1;
                    connections.spawn(serve(TokioIo::new(stream), Arc::clone(&shared), number));
                }
                // Out of file descriptors, or the client is already gone: the next one may do better.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TokioIo<tokio::net::TcpStream>, shared: Arc<Shared>, connection: u64) {
    let service = service_fn(move |request| handle(request, Arc::clone(&shared), connection));
    // An error is a connection that one of both sides closed in the middle, which tests do on purpose.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
}

async fn handle(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    connection: u64,
) -> Result<Response<AnswerBody>, Closed> {
    let (head, body) = request.into_parts();
    let mut ticket = Ticket::new(Arc::clone(&shared));
    if head.method == Method::HEAD {
        // Its answer has no body that could be seen to end.
        ticket.finish();
    }
    if head.uri.path() == "/__stats" {
        return Ok(respond(Reply::raw(200, JSON, shared.stats()), ticket, None));
    }
    let Some((provider, path)) = routes::resolve(shared.single, head.uri.path()) else {
        return Ok(respond(unknown_provider(), ticket, None));
    };
    let (body, complete) = read(body, &shared).await;

    let key = provider.key_in(path, &head.headers).unwrap_or_default();
    let fingerprint = if key.is_empty() { String::new() } else { crate::key::fingerprint_of(key) };
    let key = String::from_utf8_lossy(key);
    let sequence = shared.counts.sequence.fetch_add(1, Ordering::AcqRel) + 1;
    let behaviour = if complete { shared.behaviour(provider) } else { Behaviour::Usual };
    // Before the request is counted: whoever saw it come and then releases it means it.
    let round = *shared.released.borrow();
    shared.counts.per_provider[provider.index()].fetch_add(1, Ordering::Relaxed);
    if shared.options.record {
        let mut seen = lock(&shared.seen);
        seen.push(Seen {
            provider: provider.id(),
            method: head.method.clone(),
            path: path.to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers.clone(),
            body: body.clone(),
            body_complete: complete,
            key: key.clone().into_owned(),
            key_fingerprint: fingerprint.clone(),
            connection,
            sequence,
        });
        // Counted under the lock: whoever sees the count finds the record.
        shared.counts.requests.fetch_add(1, Ordering::AcqRel);
    } else {
        shared.counts.requests.fetch_add(1, Ordering::AcqRel);
    }
    shared.changed.notify_waiters();
    if !complete {
        return Err(Closed);
    }
    if !shared.options.delay.is_zero() {
        tokio::time::sleep(shared.options.delay).await;
    }

    let call = Call {
        provider,
        method: &head.method,
        path,
        query: head.uri.query(),
        headers: &head.headers,
        body: &body,
        key: &key,
        fingerprint: &fingerprint,
        wish: wish(&body),
        sequence,
        options: &shared.options,
    };
    let behaviour = match call.wish {
        Some(wish) if matches!(behaviour, Behaviour::Usual) && !key.is_empty() => match wish {
            Wish::Slow => Behaviour::Hang,
            Wish::Cut => Behaviour::StreamThenCut { chunks: 2 },
            Wish::Flaky { times, words } if shared.is_flaky(&fingerprint, times, words) => {
                return Ok(respond(refusal::try_again(&call), ticket, Some(&fingerprint)));
            }
            Wish::Unknown => return Ok(respond(unknown_wish(), ticket, Some(&fingerprint))),
            Wish::Flaky { .. } | Wish::Refusal(_) => behaviour,
        },
        _ => behaviour,
    };
    let released = || shared.released_after(round);
    behave(behaviour, &call, released, ticket).await
}

/// The whole body, and whether it came to its end.
async fn read(mut body: Incoming, shared: &Shared) -> (Bytes, bool) {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (joined(first, all), false) };
        let Ok(data) = frame.into_data() else { continue };
        shared.counts.body_bytes.fetch_add(data.len() as u64, Ordering::AcqRel);
        if !body.is_end_stream() {
            shared.changed.notify_waiters();
        }
        // Most bodies come in one piece, which need not be copied.
        if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    (joined(first, all), true)
}

fn joined(first: Bytes, all: BytesMut) -> Bytes {
    if all.is_empty() { first } else { all.freeze() }
}

async fn behave(
    behaviour: Behaviour,
    call: &Call<'_>,
    released: impl FnOnce() -> Wait,
    mut ticket: Ticket,
) -> Result<Response<AnswerBody>, Closed> {
    let fingerprint = Some(call.fingerprint);
    let reply = match behaviour {
        Behaviour::Usual => routes::answer(call),
        Behaviour::Hang => {
            released().await;
            routes::answer(call)
        }
        Behaviour::CloseWithoutAnswer => {
            ticket.finish();
            return Err(Closed);
        }
        Behaviour::Status { code, headers, body } => scripted(code, &headers, body),
        Behaviour::NotJson => refusal::nonsense(),
        Behaviour::InvalidJson => routes::answer(call).cut_in_half(),
        Behaviour::Redirect { location } => {
            scripted(307, &[(LOCATION.as_str().to_owned(), location)], String::new())
        }
        Behaviour::Huge { bytes } => {
            let mut response = Response::new(AnswerBody::huge(bytes, ticket));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            return Ok(finished(response, fingerprint));
        }
        Behaviour::HangAfterHeaders => {
            let (reply, mut steps) = in_steps(routes::answer(call));
            steps.insert(0, Step::Hang(released()));
            return Ok(stepwise(reply, steps, ticket, fingerprint));
        }
        Behaviour::StreamThenHang { chunks } => {
            let (reply, mut steps) = in_pieces(routes::answer(call));
            let at = steps.first(chunks);
            steps.all.insert(at, Step::Hang(released()));
            return Ok(stepwise(reply, steps.all, ticket, fingerprint));
        }
        Behaviour::StreamThenCut { chunks } => {
            let mut reply = routes::answer(call);
            if let Payload::Whole(body) = &reply.payload {
                reply.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            let (reply, mut steps) = in_pieces(reply);
            let at = steps.first(chunks);
            steps.all.truncate(at);
            steps.all.extend([Step::Flush, Step::Flush, Step::Cut]);
            return Ok(stepwise(reply, steps.all, ticket, fingerprint));
        }
        Behaviour::StreamThenErrorEvent => {
            let reply = routes::answer(call);
            let Payload::Stream(stream) = &reply.payload else {
                return Ok(respond(refusal::overloaded(call), ticket, fingerprint));
            };
            let error = stream.error.clone();
            let (reply, mut steps) = in_pieces(reply);
            let at = steps.first(2);
            steps.all.truncate(at);
            steps.all.push(Step::Data(error));
            return Ok(stepwise(reply, steps.all, ticket, fingerprint));
        }
        Behaviour::StreamForever => {
            let mut reply = routes::answer(call);
            let payload = std::mem::replace(&mut reply.payload, Payload::Whole(Bytes::new()));
            let body = match payload {
                Payload::Stream(stream) => AnswerBody::endless(stream.before, stream.text, ticket),
                Payload::Whole(body) => AnswerBody::endless(vec![], vec![body], ticket),
            };
            let mut response = Response::new(body);
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            return Ok(finished(response, fingerprint));
        }
        Behaviour::SlowChunks { gap } => {
            let (reply, pieces) = in_pieces(routes::answer(call));
            return Ok(stepwise(reply, paused(pieces, gap), ticket, fingerprint));
        }
    };
    if matches!(reply.payload, Payload::Stream(_)) && !call.options.chunk_delay.is_zero() {
        let (reply, pieces) = in_pieces(reply);
        let steps = paused(pieces, call.options.chunk_delay);
        return Ok(stepwise(reply, steps, ticket, fingerprint));
    }
    Ok(respond(reply, ticket, fingerprint))
}

/// The steps of a body, and where its pieces of text are.
struct Pieces {
    all: Vec<Step>,
    before: usize,
    text: usize,
}

impl Pieces {
    /// Where the step after the first so many pieces of text is.
    fn first(&self, pieces: usize) -> usize {
        self.before + pieces.min(self.text)
    }
}

fn in_pieces(mut reply: Reply) -> (Reply, Pieces) {
    let payload = std::mem::replace(&mut reply.payload, Payload::Whole(Bytes::new()));
    let stream = match payload {
        Payload::Stream(stream) => stream,
        Payload::Whole(body) => {
            let size = body.len().div_ceil(4).max(1);
            let text = (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size)));
            crate::reply::Stream { text: text.collect(), ..Default::default() }
        }
    };
    let (before, text) = (stream.before.len(), stream.text.len());
    let mut all = Vec::with_capacity(before + text + stream.after.len() + 3);
    all.extend(stream.before.into_iter().chain(stream.text).chain(stream.after).map(Step::Data));
    (reply, Pieces { all, before, text })
}

fn in_steps(reply: Reply) -> (Reply, Vec<Step>) {
    let (reply, pieces) = in_pieces(reply);
    (reply, pieces.all)
}

/// With a pause before every piece of text but the first.
fn paused(pieces: Pieces, gap: std::time::Duration) -> Vec<Step> {
    let pauses = pieces.before + 1..pieces.before + pieces.text;
    let mut slow = Vec::with_capacity(pieces.all.len() + pieces.text);
    for (at, step) in pieces.all.into_iter().enumerate() {
        if pauses.contains(&at) {
            slow.push(Step::Pause(gap));
        }
        slow.push(step);
    }
    slow
}

fn scripted(code: u16, headers: &[(String, String)], body: String) -> Reply {
    let mut reply = Reply::raw(200, JSON, body);
    reply.status = StatusCode::from_u16(code).expect("a scripted status code is one HTTP has");
    let mut named = std::collections::HashSet::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a scripted header's name is one HTTP allows");
        let value = HeaderValue::from_str(value).expect("a scripted header's value is one HTTP allows");
        // The first of a name replaces what was there, the others join it.
        if named.insert(name.clone()) {
            reply.headers.insert(name, value);
        } else {
            reply.headers.append(name, value);
        }
    }
    reply
}

fn unknown_provider() -> Reply {
    Reply::json(
        404,
        &serde_json::json!({
            "error": "the stand-in has each provider under its own name: /{provider}/…", "providers": PROVIDERS,
        }),
    )
}

fn unknown_wish() -> Reply {
    Reply::json(
        501,
        &serde_json::json!({
            "error": "after standin: the stand-in knows slow, cut, flaky-NUMBER-NAME, and the markers of keys",
        }),
    )
}

fn respond(reply: Reply, ticket: Ticket, fingerprint: Option<&str>) -> Response<AnswerBody> {
    match reply.payload {
        Payload::Whole(body) => {
            let mut response = Response::new(AnswerBody::whole(body, ticket));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            finished(response, fingerprint)
        }
        Payload::Stream(_) => {
            let (reply, steps) = in_steps(reply);
            stepwise(reply, steps, ticket, fingerprint)
        }
    }
}

fn stepwise(
    reply: Reply,
    steps: Vec<Step>,
    ticket: Ticket,
    fingerprint: Option<&str>,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::steps(steps, ticket));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    finished(response, fingerprint)
}

/// Every answer shows whose key it was for; `none` where there was no key in the right place.
fn finished(mut response: Response<AnswerBody>, fingerprint: Option<&str>) -> Response<AnswerBody> {
    let shown = fingerprint.filter(|fingerprint| !fingerprint.is_empty()).unwrap_or("none");
    if let Ok(shown) = HeaderValue::from_str(shown) {
        response.headers_mut().insert(&FINGERPRINT, shown);
    }
    response
}

/// The address the listener has got.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

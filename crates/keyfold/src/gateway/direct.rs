//! A plain request, from a caller's connection to a provider's and back, in one task and with no copy of the answer.
//!
//! Plain: HTTP/1.1 on both sides, and a body of known length that is not large. Heads are read by `httparse`, which
//! hyper uses too. A connection that waits holds no buffer: what comes is read into memory of the thread, and goes
//! on from there.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use httparse::{ParserConfig, Status};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::call::{AnswerHead, Answering, Ended, GatewayCaller, REFUSAL_BYTES};
use super::connection::{ConnectError, ProviderStream};
use super::crossing::{self, CREDENTIAL_IN_QUERY, Field};
use super::forward::unreachable;
use super::framing::{Chunks, Framing};
use super::target::Target;
use super::upstream::{Route, Upstream};
use super::{Call, Gateway};
use crate::error::Error;
use crate::provider::{KeyPlacement, Provider};
use crate::secret::ApiKey;

/// The longest body that goes this way.
pub const LONGEST_BODY: u64 = 256 * 1024;
/// The most headers of an answer, and the most bytes of its head.
const MOST_HEADERS: usize = 128;
const LONGEST_HEAD: usize = 64 * 1024;
/// The most heads before that of the answer itself.
const MOST_INTERIM_HEADS: usize = 100;
/// What is read of a connection at once.
const READ_BYTES: usize = 64 * 1024;
/// What a caller may send before its last request is answered.
const MOST_AHEAD: usize = 64 * 1024;
/// How long what is left of a refused request is still read.
const LONGEST_DROPPING: Duration = Duration::from_secs(2);
/// A buffer that is larger is given back after the request.
const KEPT_BUFFER: usize = 8 * 1024;

thread_local! {
    /// What comes from providers passes through here. Holds no key: those only go the other way.
    static PASSING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A caller's connection, and what was read of it and is not used yet.
pub struct CallerConnection {
    stream: TcpStream,
    unused: Vec<u8>,
    /// So many of the next bytes belong to the request that is served.
    of_request: u64,
    /// For a part of an answer that the caller does not take.
    write_patience: Duration,
    patience: Patience,
    /// Kept from request to request, wiped in between.
    head: Vec<u8>,
}

/// A request's head, rewritten for the provider up to where its key comes.
pub struct PlainRequest {
    upstream: Arc<Upstream>,
    /// Which of the upstream's ways it goes, by its path.
    is_generation: bool,
    path: String,
    is_head: bool,
    /// Bytes of the caller's head, which are still unused.
    head_bytes: usize,
    body_bytes: u64,
}

/// What an answer of the provider carries besides its own headers.
pub struct Added<'a> {
    /// Keyfold's id of the request.
    pub request_id: &'a str,
    /// It is the caller's own: then it stands in place of the provider's.
    pub is_callers_own: bool,
    /// Further headers, each a whole line with its end.
    pub lines: &'a [u8],
    /// The caller wants no further answer on this connection.
    pub closes: bool,
}

/// How a request came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The caller has the whole answer, and may send its next request.
    Whole,
    /// The caller has the whole answer; the connection is to be closed.
    Last,
    /// The answer broke off, or the caller left. The connection is to be closed, which shows in the answer's framing.
    Broken,
    /// The same, where nothing but the end of the connection would show the end of the answer.
    Cut,
}

/// A time-out that costs nothing while it moves on.
struct Patience {
    until: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn set(&mut self, patience: Duration) {
        self.until = Instant::now() + patience;
        if let Some(sleep) = self.sleep.as_mut().filter(|sleep| sleep.deadline() > self.until) {
            sleep.as_mut().reset(self.until);
        }
    }

    /// Ready when the time is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

impl CallerConnection {
    /// A connection that nothing was read of.
    pub fn new(stream: TcpStream, write_patience: Duration) -> Self {
        let patience = Patience { until: Instant::now(), sleep: None };
        Self { stream, unused: Vec::new(), of_request: 0, write_patience, patience, head: Vec::new() }
    }

    /// What was read and is not used yet.
    pub fn unused(&self) -> &[u8] {
        &self.unused
    }

    /// The connection, and what was read of it, for another reader.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unused)
    }

    /// What [`poll_more`](Self::poll_more) waits for may take so long from now on.
    pub fn wait_for(&mut self, patience: Duration) {
        self.patience.set(patience);
    }

    /// Reads more; false at the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if nothing comes for too long.
    pub fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Poll::Ready(read) = self.poll_read(context) {
            return Poll::Ready(read);
        }
        ready!(self.patience.poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        PASSING.with_borrow_mut(|passing| {
            let mut buffer = ReadBuf::new(passing);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            let read = buffer.filled_mut();
            self.unused.extend_from_slice(read);
            let is_more = !read.is_empty();
            // There is a credential in it.
            wipe(read);
            Poll::Ready(Ok(is_more))
        })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the caller takes nothing for too long.
    pub async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.patience.set(self.write_patience);
        poll_fn(|context| {
            while !bytes.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, bytes) {
                    Poll::Ready(written) => {
                        let written = written?;
                        bytes = &bytes[written..];
                        self.patience.set(self.write_patience);
                    }
                    Poll::Pending => {
                        ready!(self.patience.poll(context));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Cuts the connection, so that nobody takes what came so far for the whole.
    pub fn cut(self) {
        // Without a wait for what is not sent yet, a close is a reset.
        let _ = self.stream.set_zero_linger();
    }

    /// Ends it in order. What is left of a request is read first: a close with unread bytes would break the connection,
    /// perhaps before its caller has read the answer.
    pub async fn end(mut self) {
        if self.of_request <= self.unused.len() as u64 {
            return;
        }
        let reading = async {
            let _ = self.stream.shutdown().await;
            loop {
                self.use_up(self.unused.len());
                if self.of_request == 0 || !matches!(self.read(LONGEST_DROPPING).await, Ok(true)) {
                    return;
                }
            }
        };
        let _ = timeout(LONGEST_DROPPING, reading).await;
    }

    /// The next bytes are a request of this length, head and body.
    pub fn begin_request(&mut self, length: u64) {
        self.of_request = length;
    }

    /// Skips what is left of the request; false if not all of it is here, and the connection has no use any more.
    pub fn skip_request(&mut self) -> bool {
        match usize::try_from(self.of_request) {
            Ok(left) if left <= self.unused.len() => {
                self.use_up(left);
                true
            }
            _ => false,
        }
    }

    /// Wipes and forgets what was used.
    fn use_up(&mut self, bytes: usize) {
        self.of_request = self.of_request.saturating_sub(bytes as u64);
        let left = self.unused.len() - bytes;
        self.unused.copy_within(bytes.., 0);
        wipe(&mut self.unused[left..]);
        self.unused.truncate(left);
        if left == 0 && self.unused.capacity() > KEPT_BUFFER {
            self.unused = Vec::new();
        }
    }

    /// Ready when the caller is gone. What it sends meanwhile is kept.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.unused.len() < MOST_AHEAD {
            match ready!(self.poll_read(context)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl PlainRequest {
    /// Writes a head for the provider, up to where the key comes, into the connection's own memory. `None`: this request
    /// is to go the other way.
    ///
    /// `head_bytes` of what is unused are the caller's head; its method, target, fields and length are those given.
    pub fn begin(
        upstream: &Arc<Upstream>,
        caller: &mut Vec<u8>,
        method: &str,
        target: &Target<'_>,
        fields: &[Field<'_>],
        credential_is_in_query: bool,
        head_bytes: usize,
        body_bytes: Option<u64>,
    ) -> Option<Self> {
        let provider = &upstream.provider;
        // The other way finds out what was agreed on.
        if provider.http_2 || body_bytes.is_some_and(|length| length > LONGEST_BODY) {
            return None;
        }
        let route = upstream.route(target.path());
        let out = caller;
        out.clear();
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(route.address.path_prefix().as_bytes());
        out.extend_from_slice(target.path().as_bytes());
        if let Some(query) = target.query(credential_is_in_query.then_some(CREDENTIAL_IN_QUERY)) {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        put_line(out, "host", route.host.as_bytes());
        for field in fields {
            if crossing::goes_to_provider(field.name) && !provider.key_placement.is_header(field.name) {
                put_line(out, field.name, field.value);
            }
        }
        for (name, value) in &provider.headers {
            if !fields.iter().any(|field| field.name.eq_ignore_ascii_case(name.as_str())) {
                put_line(out, name.as_str(), value.as_bytes());
            }
        }
        if let Some(length) = body_bytes {
            out.extend_from_slice(b"content-length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Some(Self {
            upstream: Arc::clone(upstream),
            is_generation: upstream.is_generation(target.path()),
            path: target.path().to_owned(),
            is_head: method == "HEAD",
            head_bytes,
            body_bytes: body_bytes.unwrap_or(0),
        })
    }

    /// The provider that it goes to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    fn route(&self) -> &Route {
        self.upstream.route_of(self.is_generation)
    }
}

/// Overwrites what may hold a credential. `zeroize` does so byte by byte, which for a whole request costs as much as
/// reading it; here the whole is seen to be used afterwards, so that it is not left out.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in digits.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut first, mut rest) = ([b'0'; 20], 20, number);
    loop {
        first -= 1;
        digits[first] += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[expect(clippy::disallowed_methods, reason = "the key enters the request that it was opened for")]
fn put_key(out: &mut Vec<u8>, provider: &Provider, key: &ApiKey) {
    // All at once: memory that is given back while it grows would hold a part of the key.
    out.reserve(key.expose().len() + 80);
    match &provider.key_placement {
        KeyPlacement::Bearer => out.extend_from_slice(b"authorization: Bearer "),
        KeyPlacement::Header(name) => {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
        }
    }
    out.extend_from_slice(key.expose().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

impl CallerConnection {
    /// The memory for [`PlainRequest::begin`], and what is unused.
    pub fn head_and_unused(&mut self) -> (&mut Vec<u8>, &[u8]) {
        (&mut self.head, &self.unused)
    }
}

impl Gateway {
    /// Sends a plain request with the caller's user's key, and passes the answer on.
    ///
    /// # Errors
    /// As [`forward`](Self::forward). Nothing was written to the caller then; [`CallerConnection::skip_request`] says
    /// whether its next request can be read.
    pub async fn pass(
        &self,
        caller: GatewayCaller,
        connection: &mut CallerConnection,
        mut request: PlainRequest,
        added: &Added<'_>,
    ) -> Result<Passed, Error> {
        let Call { key, answering } =
            self.begin(caller, &request.upstream, std::mem::take(&mut request.path)).await?;
        put_key(&mut connection.head, &request.upstream.provider, &key);
        drop(key);
        let mut passage = Passage {
            caller: connection,
            request,
            answering: Some(answering),
            gateway: self,
            added,
            answer: Vec::new(),
            interim_heads: 0,
            waiting: Vec::new(),
            is_held: false,
            phase: Phase::Head,
            is_reusable: true,
            closes: added.closes,
        };
        let passed = passage.run().await;
        wipe(&mut connection.head);
        connection.head.clear();
        if connection.head.capacity() > KEPT_BUFFER {
            connection.head = Vec::new();
        }
        passed
    }
}

/// A request on its way there and back.
struct Passage<'a> {
    caller: &'a mut CallerConnection,
    request: PlainRequest,
    answering: Option<Answering>,
    gateway: &'a Gateway,
    added: &'a Added<'a>,
    /// A head of an answer that is not whole yet.
    answer: Vec<u8>,
    /// Heads that came before it.
    interim_heads: usize,
    /// What the caller has not taken yet, or is not to have yet.
    waiting: Vec<u8>,
    /// The caller gets nothing before the key is marked.
    is_held: bool,
    phase: Phase,
    /// The provider's connection may serve another request.
    is_reusable: bool,
    /// The caller's may not.
    closes: bool,
}

enum Phase {
    /// The head of the answer is to come.
    Head,
    /// Its body.
    Body(Framing),
    /// All of it was read.
    End,
}

/// What ended a wait.
enum Step {
    /// The whole answer was passed on.
    Done,
    /// The key is to be marked before the caller hears of the answer.
    Mark,
    /// The answer is still to come, and so is the rest of the request.
    SendOn,
    /// The caller left, or takes nothing.
    CallerLeft,
    /// The provider's connection broke; whether anything came of an answer.
    Broken(&'static str),
    TimedOut,
    /// The answer is not passed on.
    Refused(Error),
}

/// How sending a request came out.
enum Sent {
    Whole,
    /// The provider answers before it has read all.
    Early,
    CallerLeft,
    /// Whether any of it was sent.
    Failed(io::Error, bool),
    TimedOut,
}

impl Passage<'_> {
    async fn run(&mut self) -> Result<Passed, Error> {
        let mut stream = loop {
            let (mut stream, is_fresh) = match self.request.route().idle.take().await {
                Some(stream) => (stream, false),
                None => match self.connect().await? {
                    Some(stream) => (stream, true),
                    None => return Ok(Passed::Broken),
                },
            };
            match self.send(&mut stream).await {
                Sent::Whole => break stream,
                // What refuses a request may close before it has read all of that.
                Sent::Early | Sent::Failed(_, true) => {
                    self.is_reusable = false;
                    break stream;
                }
                Sent::CallerLeft => return Ok(Passed::Broken),
                // It was closed while it waited, so nothing was sent.
                Sent::Failed(_, false) if !is_fresh => {}
                Sent::Failed(error, false) => return Err(self.failed(Ended::Unreachable, &error.to_string())),
                Sent::TimedOut => return Err(self.failed(Ended::TimedOut, "")),
            }
        };
        loop {
            match poll_fn(|context| self.poll_answer(context, &mut stream)).await {
                Step::Done => return Ok(self.done(stream)),
                Step::Mark => {
                    if let Some(answering) = &mut self.answering {
                        answering.mark().await;
                    }
                    self.is_held = false;
                }
                Step::SendOn => match self.send_rest(&mut stream).await {
                    Sent::Whole | Sent::Early | Sent::Failed(..) => {}
                    Sent::CallerLeft => return Ok(Passed::Broken),
                    Sent::TimedOut => return Err(self.failed(Ended::TimedOut, "")),
                },
                Step::CallerLeft => return Ok(Passed::Broken),
                Step::Refused(error) => return Err(error),
                Step::Broken(why) => {
                    if matches!(self.phase, Phase::Head) {
                        return Err(self.failed(Ended::Unreachable, why));
                    }
                    self.end(Ended::Broken);
                    return Ok(self.broken());
                }
                Step::TimedOut => {
                    if matches!(self.phase, Phase::Head) {
                        return Err(self.failed(Ended::TimedOut, ""));
                    }
                    self.end(Ended::TimedOut);
                    return Ok(self.broken());
                }
            }
        }
    }

    /// A new connection; `None` if the caller left meanwhile.
    async fn connect(&mut self) -> Result<Option<ProviderStream>, Error> {
        let connector = self.request.route().connector.clone();
        let caller = &mut *self.caller;
        let connected = tokio::select! {
            connected = connector.connect() => connected,
            () = poll_fn(|context| caller.poll_left(context)) => return Ok(None),
        };
        connected.map(Some).map_err(|error| {
            self.request.upstream.breaker.failed();
            match error {
                ConnectError::TimedOut(_) => self.failed(Ended::TimedOut, ""),
                ConnectError::Failed(why) => self.failed(Ended::Unreachable, &why),
            }
        })
    }

    fn failed(&mut self, ended: Ended, why: &str) -> Error {
        self.end(ended);
        let provider = &self.request.upstream.provider;
        match ended {
            Ended::TimedOut => {
                Error::ProviderTimeout { provider: provider.id.clone(), name: provider.name.clone() }
            }
            _ => unreachable(provider, why.to_owned()),
        }
    }

    fn end(&mut self, ended: Ended) {
        if let Some(answering) = self.answering.take() {
            answering.end(ended);
        }
    }

    fn broken(&self) -> Passed {
        if matches!(self.phase, Phase::Body(Framing::UntilClose)) { Passed::Cut } else { Passed::Broken }
    }

    /// The caller has everything: the record, and the connection for the next one.
    fn done(&mut self, stream: ProviderStream) -> Passed {
        self.end(Ended::Whole);
        if self.is_reusable {
            self.request.route().idle.put(stream);
        }
        let is_last = self.closes || self.request.body_bytes > 0 || self.request.head_bytes > 0;
        if is_last { Passed::Last } else { Passed::Whole }
    }

    /// Sends the head, and the body as it comes.
    async fn send(&mut self, stream: &mut ProviderStream) -> Sent {
        self.caller.patience.set(self.gateway.timeouts.gateway_first_byte);
        let head_bytes = self.request.head_bytes;
        let here = self.caller.unused.len() - head_bytes;
        let body = usize::try_from(self.request.body_bytes).unwrap_or(usize::MAX).min(here);
        let CallerConnection { unused, head, patience, .. } = &mut *self.caller;
        if let Err(failed) = send_all(stream, patience, head, &unused[head_bytes..head_bytes + body]).await {
            return failed;
        }
        self.caller.use_up(head_bytes + body);
        self.request.head_bytes = 0;
        self.request.body_bytes -= body as u64;
        self.send_rest(stream).await
    }

    /// Sends what is left of the body as it comes, until an answer begins.
    async fn send_rest(&mut self, stream: &mut ProviderStream) -> Sent {
        if self.request.body_bytes == 0 {
            return Sent::Whole;
        }
        self.caller.patience.set(self.gateway.timeouts.gateway_first_byte);
        while self.request.body_bytes > 0 {
            let caller = &mut *self.caller;
            let more = poll_fn(|context| {
                if !stream.is_quiet(context) {
                    return Poll::Ready(Sent::Early);
                }
                if caller.unused.is_empty() {
                    match caller.poll_read(context) {
                        Poll::Ready(Ok(true)) => return Poll::Ready(Sent::Whole),
                        Poll::Ready(_) => return Poll::Ready(Sent::CallerLeft),
                        Poll::Pending => {}
                    }
                } else {
                    return Poll::Ready(Sent::Whole);
                }
                ready!(caller.patience.poll(context));
                Poll::Ready(Sent::CallerLeft)
            });
            match more.await {
                Sent::Whole => {}
                other => return other,
            }
            let CallerConnection { unused, patience, .. } = &mut *self.caller;
            let body = usize::try_from(self.request.body_bytes).unwrap_or(usize::MAX).min(unused.len());
            match send_all(stream, patience, &[], &unused[..body]).await {
                Ok(()) => {}
                Err(Sent::Failed(error, _)) => return Sent::Failed(error, true),
                Err(other) => return other,
            }
            self.caller.use_up(body);
            self.request.body_bytes -= body as u64;
            self.caller.patience.set(self.gateway.timeouts.gateway_first_byte);
        }
        Sent::Whole
    }

    /// Passes on what there is of the answer.
    fn poll_answer(&mut self, context: &mut Context<'_>, stream: &mut ProviderStream) -> Poll<Step> {
        loop {
            if !self.is_held && !self.waiting.is_empty() {
                match Pin::new(&mut self.caller.stream).poll_write(context, &self.waiting) {
                    Poll::Ready(Ok(written)) => {
                        self.waiting.drain(..written);
                        if self.waiting.is_empty() {
                            self.waiting = Vec::new();
                            self.caller.patience.set(self.gateway.timeouts.gateway_idle);
                        } else {
                            self.caller.patience.set(self.caller.write_patience);
                        }
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Step::CallerLeft),
                    Poll::Pending => {
                        ready!(self.caller.patience.poll(context));
                        return Poll::Ready(Step::CallerLeft);
                    }
                }
            }
            if matches!(self.phase, Phase::End) {
                return Poll::Ready(if self.is_held { Step::Mark } else { Step::Done });
            }
            let read = PASSING.with_borrow_mut(|passing| {
                let mut buffer = ReadBuf::new(passing);
                ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
                let read = buffer.filled();
                Poll::Ready(Ok::<_, io::Error>(if read.is_empty() {
                    self.at_the_end()
                } else {
                    self.take(context, read)
                }))
            });
            match read {
                Poll::Ready(Ok(Some(step))) => return Poll::Ready(step),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Broken("the connection broke")),
                Poll::Pending => {
                    if self.caller.poll_left(context).is_ready() {
                        return Poll::Ready(Step::CallerLeft);
                    }
                    ready!(self.caller.patience.poll(context));
                    return Poll::Ready(Step::TimedOut);
                }
            }
        }
    }

    /// The provider closed its connection.
    fn at_the_end(&mut self) -> Option<Step> {
        match self.phase {
            Phase::Body(Framing::UntilClose) => {
                self.phase = Phase::End;
                None
            }
            _ => Some(Step::Broken("the connection was closed before the answer was whole")),
        }
    }

    /// Takes what came from the provider; what ends the wait, if anything does.
    fn take(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Step> {
        if matches!(self.phase, Phase::Head) {
            if self.answer.is_empty() {
                return self.take_head(context, bytes);
            }
            self.answer.extend_from_slice(bytes);
            let answer = std::mem::take(&mut self.answer);
            return self.take_head(context, &answer);
        }
        self.take_body(context, &[], bytes)
    }

    fn take_head(&mut self, context: &mut Context<'_>, mut bytes: &[u8]) -> Option<Step> {
        let Some(answering) = &mut self.answering else { return Some(Step::Broken("there is no call")) };
        // What is left of a request that is answered early would be taken for the next one.
        let closes = self.closes || self.request.body_bytes > 0 || self.request.head_bytes > 0;
        let mut head = Vec::with_capacity(bytes.len().min(LONGEST_HEAD) + 512);
        let answer = loop {
            let answered = |status, told: AnswerHead<'_>| answering.answered(status, told);
            match read_answer_head(bytes, self.request.is_head, self.added, closes, &mut head, answered) {
                Ok(None) if bytes.len() >= LONGEST_HEAD => {
                    return Some(Step::Broken("the answer's head is too large"));
                }
                Ok(None) => {
                    self.answer = bytes.to_vec();
                    return None;
                }
                // Something before the answer itself, such as `100 Continue`.
                Ok(Some(HeadRead::Interim(used))) => {
                    self.interim_heads += 1;
                    if self.interim_heads > MOST_INTERIM_HEADS {
                        return Some(Step::Broken("there is no end of answers before the answer"));
                    }
                    bytes = &bytes[used..];
                    if bytes.is_empty() {
                        return (self.request.body_bytes > 0).then_some(Step::SendOn);
                    }
                }
                Ok(Some(HeadRead::Answer(answer))) => break answer,
                Err(NoAnswer::Malformed(why)) => return Some(Step::Broken(why)),
                Err(NoAnswer::Refused(error)) => return Some(Step::Refused(error)),
            }
        };
        self.is_reusable &= answer.is_reusable;
        self.closes |= matches!(answer.framing, Some(Framing::UntilClose));
        self.is_held = answer.must_mark;
        self.phase = answer.framing.map_or(Phase::End, Phase::Body);
        let body = &bytes[answer.used..];
        if matches!(self.phase, Phase::End) {
            self.is_reusable &= body.is_empty();
            self.pass_on(context, &head, &[], &[]);
            return None;
        }
        self.take_body(context, &head, body)
    }

    fn take_body(&mut self, context: &mut Context<'_>, head: &[u8], bytes: &[u8]) -> Option<Step> {
        let Phase::Body(framing) = &mut self.phase else {
            return Some(Step::Broken("more came than the answer"));
        };
        let answering = &mut self.answering;
        let scanned = framing.scan(bytes, |data| {
            if let Some(answering) = answering {
                answering.read(data);
            }
        });
        let Ok(scanned) = scanned else { return Some(Step::Broken("the answer's framing is malformed")) };
        let closing = if scanned.is_end { framing.closing() } else { b"" };
        if scanned.is_end {
            // What came after the answer belongs to no request.
            self.is_reusable &= scanned.used == bytes.len();
            self.phase = Phase::End;
        }
        self.pass_on(context, head, &bytes[..scanned.passes], closing);
        self.caller.patience.set(self.gateway.timeouts.gateway_idle);
        // A refusal is held only up to a length, and a success only until its mark is written.
        (self.is_held && (matches!(self.phase, Phase::End) || self.may_mark_now())).then_some(Step::Mark)
    }

    fn may_mark_now(&self) -> bool {
        self.waiting.len() >= REFUSAL_BYTES
            || self.answering.as_ref().is_some_and(|answering| !answering.is_refused())
    }

    /// Writes what the caller takes, and keeps the rest. An error shows at the next write.
    fn pass_on(&mut self, context: &mut Context<'_>, head: &[u8], body: &[u8], closing: &[u8]) {
        let mut written = 0;
        if !self.is_held && self.waiting.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(body), IoSlice::new(closing)];
            let parts = if closing.is_empty() { &parts[..2] } else { &parts[..] };
            let parts = if head.is_empty() { &parts[1..] } else { parts };
            if parts.iter().all(|part| part.is_empty()) {
                return;
            }
            if let Poll::Ready(Ok(now)) =
                Pin::new(&mut self.caller.stream).poll_write_vectored(context, parts)
            {
                written = now;
            }
        }
        for part in [head, body, closing] {
            let skipped = written.min(part.len());
            written -= skipped;
            self.waiting.extend_from_slice(&part[skipped..]);
        }
        if !self.waiting.is_empty() && !self.is_held {
            self.caller.patience.set(self.caller.write_patience);
        }
    }
}

/// Writes a head and what follows it.
async fn send_all(
    stream: &mut ProviderStream,
    patience: &mut Patience,
    head: &[u8],
    body: &[u8],
) -> Result<(), Sent> {
    let mut sent = 0;
    poll_fn(|context| {
        while sent < head.len() + body.len() {
            let parts = match head.get(sent..) {
                Some(left) if !left.is_empty() => [IoSlice::new(left), IoSlice::new(body)],
                _ => [IoSlice::new(&body[sent - head.len()..]), IoSlice::new(&[])],
            };
            match Pin::new(&mut *stream).poll_write_vectored(context, &parts) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Sent::Failed(io::ErrorKind::WriteZero.into(), sent > 0)));
                }
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Sent::Failed(error, sent > 0))),
                Poll::Pending => {
                    ready!(patience.poll(context));
                    return Poll::Ready(Err(Sent::TimedOut));
                }
            }
        }
        match Pin::new(&mut *stream).poll_flush(context) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|error| Sent::Failed(error, true))),
            Poll::Pending => {
                ready!(patience.poll(context));
                Poll::Ready(Err(Sent::TimedOut))
            }
        }
    })
    .await
}

/// The head of an answer, or of something before it.
enum HeadRead {
    /// It takes so many bytes; the answer's own is still to come.
    Interim(usize),
    Answer(AnswerRead),
}

struct AnswerRead {
    used: usize,
    /// `None`: there is no body.
    framing: Option<Framing>,
    is_reusable: bool,
    must_mark: bool,
}

/// Reads the head of an answer, and writes the one that the caller gets. `None`: it is not whole yet.
fn read_answer_head(
    bytes: &[u8],
    is_head: bool,
    added: &Added<'_>,
    closes: bool,
    out: &mut Vec<u8>,
    answered: impl FnOnce(StatusCode, AnswerHead<'_>) -> Result<bool, Error>,
) -> Result<Option<HeadRead>, NoAnswer> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut read = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut read, bytes, &mut fields);
    let used = match parsed {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(NoAnswer::Malformed("the answer's head is malformed")),
    };
    let (version, code) = (read.version.unwrap_or(0), read.code.unwrap_or(0));
    let status = StatusCode::from_u16(code).map_err(|_| NoAnswer::Malformed("the answer has no status"))?;
    if status.is_informational() {
        // Nobody asked for another protocol.
        return if status == StatusCode::SWITCHING_PROTOCOLS {
            Err(NoAnswer::Malformed("the provider switched to another protocol"))
        } else {
            Ok(Some(HeadRead::Interim(used)))
        };
    }
    let found = Found::in_fields(read.headers)?;
    if version == 0 && found.is_chunked {
        return Err(NoAnswer::Malformed("an answer of HTTP/1.0 has a transfer coding"));
    }
    let is_bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (is_bodiless, found.is_chunked, found.length) {
        (true, ..) | (false, false, Some(0)) => None,
        (false, true, _) => Some(Framing::Chunked(Chunks::default())),
        (false, false, Some(length)) => Some(Framing::Length(length)),
        (false, false, None) => Some(Framing::UntilClose),
    };
    let told = AnswerHead { content_type: found.content_type, content_encoding: found.content_encoding };
    let must_mark = answered(status, told).map_err(NoAnswer::Refused)?;

    out.reserve(used + added.lines.len() + 400);
    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(out, code.into());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut has_request_id = false;
    for field in &*read.headers {
        if !crossing::goes_to_caller(field.name)
            || (found.names_others && is_hop_by_hop(field.name, read.headers))
        {
            continue;
        }
        if field.name.eq_ignore_ascii_case("x-request-id") {
            if added.is_callers_own {
                continue;
            }
            has_request_id = true;
        }
        put_line(out, field.name, field.value);
    }
    out.extend_from_slice(*EVERY_ANSWER);
    if !has_request_id {
        put_line(out, "x-request-id", added.request_id.as_bytes());
    }
    put_line(out, "keyfold-request-id", added.request_id.as_bytes());
    out.extend_from_slice(added.lines);
    match (&framing, found.length) {
        (Some(Framing::Chunked(_)), _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Some(Framing::UntilClose), _) => {}
        (Some(Framing::Length(_)) | None, Some(length)) if status != StatusCode::NO_CONTENT => {
            out.extend_from_slice(b"content-length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => {}
    }
    let closes = closes || matches!(framing, Some(Framing::UntilClose));
    out.extend_from_slice(if closes { b"connection: close\r\n\r\n" } else { b"\r\n" });
    // Some send a body where none may be.
    let has_none = is_head || status == StatusCode::NOT_MODIFIED || framing.is_some();
    let may_follow = !has_none && (found.is_chunked || found.length.is_some_and(|length| length > 0));
    let is_reusable =
        version == 1 && !found.closes && !may_follow && !matches!(framing, Some(Framing::UntilClose));
    Ok(Some(HeadRead::Answer(AnswerRead { used, framing, is_reusable, must_mark })))
}

/// Why an answer is none that can be passed on.
enum NoAnswer {
    Malformed(&'static str),
    /// Keyfold does not pass it on.
    Refused(Error),
}

/// The lines of [`crossing::ON_EVERY_ANSWER`].
static EVERY_ANSWER: std::sync::LazyLock<&'static [u8]> = std::sync::LazyLock::new(|| {
    let mut lines = Vec::new();
    for (name, value) in crossing::ON_EVERY_ANSWER {
        put_line(&mut lines, name, value.as_bytes());
    }
    lines.leak()
});

/// What of an answer's headers matters here.
#[derive(Default)]
struct Found<'a> {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    /// A `Connection` header names other headers.
    names_others: bool,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn in_fields(fields: &[httparse::Header<'a>]) -> Result<Self, NoAnswer> {
        let mut found = Self::default();
        for field in fields {
            match field.name.len() {
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    if field.value.eq_ignore_ascii_case(b"keep-alive") {
                        continue;
                    }
                    found.closes |= crossing::is_named_in(field.value, "close");
                    found.names_others = true;
                }
                12 if field.name.eq_ignore_ascii_case("content-type") => {
                    found.content_type = Some(field.value)
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let length =
                        read_length(field.value).ok_or(NoAnswer::Malformed("the answer's length is none"))?;
                    if found.length.is_some_and(|other| other != length) {
                        return Err(NoAnswer::Malformed("the answer has two lengths"));
                    }
                    found.length = Some(length);
                }
                16 if field.name.eq_ignore_ascii_case("content-encoding") => {
                    found.content_encoding = Some(field.value);
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if found.is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(NoAnswer::Malformed(
                            "the answer has a transfer coding that is not known",
                        ));
                    }
                    found.is_chunked = true;
                }
                _ => {}
            }
        }
        if found.is_chunked && found.length.is_some() {
            return Err(NoAnswer::Malformed("the answer has both a length and a transfer coding"));
        }
        Ok(found)
    }
}

fn is_hop_by_hop(name: &str, fields: &[httparse::Header<'_>]) -> bool {
    let mut connection = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
    connection.any(|connection| crossing::is_named_in(connection.value, name))
}

/// A length as RFC 9110, section 8.6, writes it.
pub fn read_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0_u64, |so_far, digit| so_far.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

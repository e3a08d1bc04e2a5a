//! A plain request, from a caller's connection to a provider's and back, in one task and with no copy of the answer.
//!
//! Plain: HTTP/1.1 on both sides, and a body of known length that is not large. Heads are read by `httparse`, which
//! hyper uses too. A connection that waits holds no buffer: what comes is read into memory of the thread, and goes
//! on from there.

mod caller;
mod heads;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use caller::CallerConnection;
use caller::{HEAD, PASSING, Patience};
pub use heads::{Added, LONGEST_BODY, PlainRequest, read_length};
use heads::{HeadRead, NoAnswer, put_key, read_answer_head};

use super::call::{AnswerHead, Answering, Ended, GatewayCaller, REFUSAL_BYTES};
use super::connection::{ConnectError, ProviderStream};
use super::forward::unreachable;
use super::framing::{Framing, MalformedFraming};
use super::{Call, Gateway};
use crate::error::Error;
use crate::turns;

/// The most bytes of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Under load, the beginning of an answer is written together with those of others if it is no longer.
const MOST_TOGETHER: usize = 4 * 1024;
/// The most heads before that of the answer itself.
const MOST_INTERIM_HEADS: usize = 100;

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

impl Gateway {
    /// Sends a plain request with the caller's user's key, and passes the answer on. Gives its status too, if it came so
    /// far.
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
    ) -> Result<(Passed, Option<StatusCode>), Error> {
        let Call { key, answering } =
            self.begin(caller, &request.upstream, std::mem::take(&mut request.asked)).await?;
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
            status: None,
            waiting: Vec::new(),
            lets_others_go_first: false,
            told: Told::Nothing,
            phase: Phase::Head,
            is_reusable: true,
            closes: added.closes,
        };
        let passed = passage.run().await;
        let status = passage.status;
        connection.forget_head();
        passed.map(|passed| (passed, status))
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
    /// The answer's own.
    status: Option<StatusCode>,
    /// What the caller has not taken yet, or is not to have yet.
    waiting: Vec<u8>,
    /// It is written after the other tasks' turn.
    lets_others_go_first: bool,
    told: Told,
    phase: Phase,
    /// The provider's connection may serve another request.
    is_reusable: bool,
    /// The caller's may not.
    closes: bool,
}

/// What the caller has of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// Nothing either, before the key is marked.
    Held,
    /// A part of it, or it is about to.
    Begun,
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
        // The answer may take hours, and the key has done its work.
        self.caller.forget_head();
        loop {
            match poll_fn(|context| self.poll_answer(context, &mut stream)).await {
                Step::Done => return Ok(self.done(stream)),
                Step::Mark => {
                    if let Some(answering) = &mut self.answering {
                        answering.mark().await;
                    }
                    self.told = Told::Begun;
                }
                Step::SendOn => match self.send_rest(&mut stream).await {
                    Sent::Whole | Sent::Early | Sent::Failed(..) => {}
                    Sent::CallerLeft => return Ok(Passed::Broken),
                    Sent::TimedOut => return Err(self.failed(Ended::TimedOut, "")),
                },
                Step::CallerLeft => return Ok(Passed::Broken),
                Step::Refused(error) => return Err(error),
                Step::Broken(why) => {
                    if self.told != Told::Begun {
                        return Err(self.failed(Ended::Unreachable, why));
                    }
                    self.end(Ended::Broken);
                    // What came of it is the caller's all the same.
                    let waiting = std::mem::take(&mut self.waiting);
                    let _ = self.caller.write(&waiting).await;
                    return Ok(self.broken());
                }
                Step::TimedOut => {
                    if self.told != Told::Begun {
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
            if self.told != Told::Held && !self.waiting.is_empty() {
                if std::mem::take(&mut self.lets_others_go_first) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match Pin::new(&mut self.caller.stream).poll_write(context, &self.waiting) {
                    Poll::Ready(Ok(written)) => {
                        self.waiting.drain(..written);
                        if self.waiting.is_empty() {
                            self.caller.keep(std::mem::take(&mut self.waiting));
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
                return Poll::Ready(if self.told == Told::Held { Step::Mark } else { Step::Done });
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

    fn take_head(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Step> {
        let mut head = HEAD.take();
        let step = self.take_head_by(context, bytes, &mut head);
        head.clear();
        if head.capacity() <= LONGEST_HEAD {
            HEAD.set(head);
        }
        step
    }

    /// `head` is memory for the one that the caller gets.
    fn take_head_by(
        &mut self,
        context: &mut Context<'_>,
        mut bytes: &[u8],
        head: &mut Vec<u8>,
    ) -> Option<Step> {
        let Some(answering) = &mut self.answering else { return Some(Step::Broken("there is no call")) };
        // What is left of a request that is answered early would be taken for the next one.
        let closes = self.closes || self.request.body_bytes > 0 || self.request.head_bytes > 0;
        let answer = loop {
            let answered = |status, told: AnswerHead<'_>| answering.answered(status, told);
            match read_answer_head(bytes, self.request.is_head, self.added, closes, head, answered) {
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
        self.status = Some(answer.status);
        self.is_reusable &= answer.is_reusable;
        self.closes |= matches!(answer.framing, Some(Framing::UntilClose));
        if answer.must_mark {
            self.told = Told::Held;
        }
        self.phase = answer.framing.map_or(Phase::End, Phase::Body);
        let body = &bytes[answer.used..];
        if matches!(self.phase, Phase::End) {
            self.is_reusable &= body.is_empty();
            self.pass_on(context, head, &[], &[]);
            return None;
        }
        self.take_body(context, head, body)
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
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(MalformedFraming { passes }) => {
                self.pass_on(context, head, &bytes[..passes], b"");
                return Some(Step::Broken("the answer's framing is malformed"));
            }
        };
        let closing = if scanned.is_end { framing.closing() } else { b"" };
        if scanned.is_end {
            // What came after the answer belongs to no request.
            self.is_reusable &= scanned.used == bytes.len();
            self.phase = Phase::End;
        }
        self.pass_on(context, head, &bytes[..scanned.passes], closing);
        if self.waiting.is_empty() || self.told == Told::Held {
            self.caller.patience.set(self.gateway.timeouts.gateway_idle);
        }
        // A refusal is held only up to a length, and a success only until its mark is written.
        (self.told == Told::Held && (matches!(self.phase, Phase::End) || self.may_mark_now()))
            .then_some(Step::Mark)
    }

    fn may_mark_now(&self) -> bool {
        self.waiting.len() >= REFUSAL_BYTES
            || self.answering.as_ref().is_some_and(|answering| !answering.is_refused())
    }

    /// Writes what the caller takes, and keeps the rest. An error shows at the next write.
    fn pass_on(&mut self, context: &mut Context<'_>, head: &[u8], body: &[u8], closing: &[u8]) {
        let mut written = 0;
        if self.told == Told::Nothing {
            self.told = Told::Begun;
            let bytes = head.len() + body.len() + closing.len();
            if bytes <= MOST_TOGETHER && turns::are_many() {
                self.lets_others_go_first = true;
                self.waiting = std::mem::take(&mut self.caller.head);
                for part in [head, body, closing] {
                    self.waiting.extend_from_slice(part);
                }
                self.caller.patience.set(self.caller.write_patience);
                return;
            }
        }
        if self.told != Told::Held && self.waiting.is_empty() {
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
        if !self.waiting.is_empty() && self.told != Told::Held {
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

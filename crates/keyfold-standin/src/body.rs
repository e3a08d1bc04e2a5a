//! The bodies the stand-in sends, step by step.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::Shared;

/// The server closes the connection in the middle.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stand-in closes the connection, as it was told to")
    }
}

impl std::error::Error for Closed {}

/// One request under way. Dropped before [`Ticket::finish`]: the client went away.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    finished: bool,
    streaming: bool,
}

impl Ticket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.counts.begin();
        Self { shared, finished: false, streaming: false }
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    fn stream(&mut self) {
        self.streaming = true;
        self.shared.counts.open();
        self.shared.changed.notify_waiters();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.counts.end(self.streaming, !self.finished);
        self.shared.changed.notify_waiters();
    }
}

pub(crate) enum Step {
    Data(Bytes),
    /// Lets what was sent so far leave before the next step.
    Flush,
    /// Waits for [`Standin::release`](crate::Standin::release).
    Hang(Wait),
    Pause(Duration),
    Cut,
}

pub(crate) type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Content {
    Whole(Option<Bytes>),
    Steps { left: std::vec::IntoIter<Step>, waiting: Option<Wait> },
    Huge { left: u64, begun: bool },
    Endless { before: std::vec::IntoIter<Bytes>, text: Vec<Bytes>, at: usize },
}

pub(crate) struct AnswerBody {
    content: Content,
    ticket: Ticket,
}

impl AnswerBody {
    pub(crate) fn whole(body: Bytes, ticket: Ticket) -> Self {
        Self { content: Content::Whole(Some(body).filter(|body| !body.is_empty())), ticket }
    }

    pub(crate) fn steps(steps: Vec<Step>, mut ticket: Ticket) -> Self {
        ticket.stream();
        Self { content: Content::Steps { left: steps.into_iter(), waiting: None }, ticket }
    }

    /// A JSON document of `bytes` bytes (not less than the 11 it takes to be one).
    pub(crate) fn huge(bytes: u64, mut ticket: Ticket) -> Self {
        ticket.stream();
        Self { content: Content::Huge { left: bytes.max(11), begun: false }, ticket }
    }

    /// `before` once, then `text` over and over.
    pub(crate) fn endless(before: Vec<Bytes>, text: Vec<Bytes>, mut ticket: Ticket) -> Self {
        ticket.stream();
        Self { content: Content::Endless { before: before.into_iter(), text, at: 0 }, ticket }
    }

    fn is_at_end(&self) -> bool {
        match &self.content {
            Content::Whole(body) => body.is_none(),
            Content::Steps { left, waiting } => waiting.is_none() && left.as_slice().is_empty(),
            Content::Huge { left, .. } => *left == 0,
            Content::Endless { .. } => false,
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.is_at_end() {
            self.ticket.finish();
        }
    }
}

/// Pending once, and woken at once: the connection flushes in between.
fn flush() -> Wait {
    Box::pin(tokio::task::yield_now())
}

fn huge_frame(left: &mut u64, begun: &mut bool) -> Option<Bytes> {
    const START: &[u8] = b"{\"data\":\"";
    const END: &[u8] = b"\"}";
    static FILLING: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    if *left == 0 {
        return None;
    }
    let frame = if !*begun {
        *begun = true;
        Bytes::from_static(START)
    } else if *left <= END.len() as u64 {
        Bytes::from_static(END)
    } else {
        let room = usize::try_from(*left - END.len() as u64).unwrap_or(usize::MAX).min(FILLING.len());
        Bytes::from_static(&FILLING[..room])
    };
    *left -= frame.len() as u64;
    Some(frame)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        match &mut self.get_mut().content {
            Content::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Content::Huge { left, begun } => {
                Poll::Ready(huge_frame(left, begun).map(|frame| Ok(Frame::data(frame))))
            }
            Content::Endless { before, text, at } => {
                if let Some(frame) = before.next() {
                    return Poll::Ready(Some(Ok(Frame::data(frame))));
                }
                *at += 1;
                let frame = text[(*at - 1) % text.len()].clone();
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Content::Steps { left, waiting } => loop {
                if let Some(wait) = waiting {
                    ready!(wait.as_mut().poll(context));
                    *waiting = None;
                }
                match left.next() {
                    None => return Poll::Ready(None),
                    Some(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Some(Step::Cut) => return Poll::Ready(Some(Err(Closed))),
                    Some(Step::Flush) => *waiting = Some(flush()),
                    Some(Step::Hang(released)) => *waiting = Some(released),
                    Some(Step::Pause(gap)) => *waiting = Some(Box::pin(tokio::time::sleep(gap))),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Content::Steps { .. } | Content::Huge { .. } | Content::Endless { .. } => SizeHint::default(),
        }
    }
}

//! A caller's connection: what comes on it, what goes back, and how long either may take.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

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
    pub(super) static PASSING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    /// The head of an answer is written here.
    pub(super) static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A caller's connection, and what was read of it and is not used yet.
pub struct CallerConnection {
    pub(super) stream: TcpStream,
    pub(super) unused: Vec<u8>,
    /// So many of the next bytes belong to the request that is served.
    of_request: u64,
    /// For a part of an answer that the caller does not take.
    pub(super) write_patience: Duration,
    pub(super) patience: Patience,
    /// Kept from request to request, wiped in between.
    pub(super) head: Vec<u8>,
}

/// A time-out that costs nothing while it moves on.
pub(super) struct Patience {
    until: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn set(&mut self, patience: Duration) {
        self.set_until(Instant::now() + patience);
    }

    fn set_until(&mut self, until: Instant) {
        self.until = until;
        if let Some(sleep) = self.sleep.as_mut().filter(|sleep| sleep.deadline() > self.until) {
            sleep.as_mut().reset(self.until);
        }
    }

    /// Ready when the time is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
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

    /// What [`poll_more`](Self::poll_more) waits for may take until then.
    pub fn wait_until(&mut self, until: Instant) {
        self.patience.set_until(until);
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

    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
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

    /// Whether more comes within this time.
    async fn more_comes(&mut self, patience: Duration) -> bool {
        self.patience.set(patience);
        matches!(poll_fn(|context| self.poll_more(context)).await, Ok(true))
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
                if self.of_request == 0 || !self.more_comes(LONGEST_DROPPING).await {
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
    pub(super) fn use_up(&mut self, bytes: usize) {
        self.of_request = self.of_request.saturating_sub(bytes as u64);
        let left = self.unused.len() - bytes;
        self.unused.copy_within(bytes.., 0);
        wipe(&mut self.unused[left..]);
        self.unused.truncate(left);
        if left == 0 && self.unused.capacity() > KEPT_BUFFER {
            self.unused = Vec::new();
        }
    }

    /// Wipes the head that was written for a provider, with a key at its end.
    pub(super) fn forget_head(&mut self) {
        wipe(&mut self.head);
        self.head.clear();
        if self.head.capacity() > KEPT_BUFFER {
            self.head = Vec::new();
        }
    }

    /// Takes memory back that was the head's, for the next one.
    pub(super) fn keep(&mut self, mut memory: Vec<u8>) {
        memory.clear();
        if self.head.capacity() < memory.capacity() && memory.capacity() <= KEPT_BUFFER {
            self.head = memory;
        }
    }

    /// Ready when the caller is gone. What it sends meanwhile is kept.
    pub(super) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.unused.len() < MOST_AHEAD {
            match ready!(self.poll_read(context)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl CallerConnection {
    /// The memory for [`PlainRequest::begin`](super::PlainRequest::begin), and what is unused.
    pub fn head_and_unused(&mut self) -> (&mut Vec<u8>, &[u8]) {
        (&mut self.head, &self.unused)
    }
}

/// Overwrites what may hold a credential. `zeroize` does so byte by byte, which for a whole request costs as much as
/// reading it; here the whole is seen to be used afterwards, so that it is not left out.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

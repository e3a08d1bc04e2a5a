//! Where the body of an answer ends: what the gateway takes for a whole body, hyper reads to the same data and the same
//! end, from the provider's bytes as from those that the gateway passes on. The gateway may be stricter, never laxer.
//!
//! Input: a byte for the size of the pieces that it comes in, then a chunked body and whatever follows.

#![no_main]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use keyfold::gateway::{Chunks, Framing};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(*piece).max(1)), whole, "it depends on the pieces");
    match whole {
        Some(Reading { data, passed, used, is_end: true }) => {
            assert_eq!(by_hyper(&bytes[..used]).as_ref(), Some(&data), "hyper reads something else");
            assert_eq!(by_hyper(&bytes[..used - 1]), None, "hyper ends earlier");
            assert_eq!(by_hyper(&passed), Some(data), "what passes is something else");
            assert_eq!(by_hyper(&passed[..passed.len() - 1]), None, "what passes has another end");
        }
        Some(Reading { passed, is_end: false, .. }) => {
            assert_eq!(by_hyper(bytes), None, "hyper has seen an end");
            assert_eq!(by_hyper(&passed), None, "what passes has an end");
        }
        None => {}
    }
});

/// What the gateway makes of a body.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    data: Vec<u8>,
    /// What the caller gets of it.
    passed: Vec<u8>,
    used: usize,
    is_end: bool,
}

/// `None` if it is malformed.
fn read(bytes: &[u8], piece: usize) -> Option<Reading> {
    let mut framing = Framing::Chunked(Chunks::default());
    let mut reading = Reading { data: vec![], passed: vec![], used: 0, is_end: false };
    for piece in bytes.chunks(piece) {
        let scanned = framing.scan(piece, |data| reading.data.extend_from_slice(data)).ok()?;
        assert!(scanned.passes <= scanned.used && scanned.used <= piece.len());
        assert!(scanned.is_end || scanned.used == piece.len(), "something is left over");
        reading.passed.extend_from_slice(&piece[..scanned.passes]);
        reading.used += scanned.used;
        if scanned.is_end {
            reading.passed.extend_from_slice(framing.closing());
            reading.is_end = true;
            break;
        }
    }
    Some(reading)
}

/// The data that hyper's client reads of a body after which the connection ends; `None` if it is none or not whole.
fn by_hyper(body: &[u8]) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let connection = Wire { bytes: [HEAD, body].concat(), read: 0, is_asked: false, reader: None };
    runtime.block_on(async {
        let (mut sender, connection) = http1::handshake(connection).await.ok()?;
        let reading = async {
            let request = hyper::Request::new(Empty::<Bytes>::new());
            let answer = sender.send_request(request).await.ok()?;
            answer.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec())
        };
        let (_, data) = tokio::join!(connection, reading);
        data
    })
}

/// A provider that says everything at once when it is asked, and closes the connection.
struct Wire {
    bytes: Vec<u8>,
    read: usize,
    is_asked: bool,
    reader: Option<Waker>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let left = &self.bytes[self.read..];
        let now = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..now]);
        self.read += now;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

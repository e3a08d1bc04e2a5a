//! A connection of which something was read already, and which is cut where its end would tell something false.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::own_refusals::Exchange;

/// `stream`, whose first bytes are these.
pub(super) struct Rewound {
    stream: TcpStream,
    exchange: Exchange,
    /// Wiped when they are gone: there is a credential in them.
    first: Zeroizing<Vec<u8>>,
    used: usize,
}

impl Rewound {
    pub(super) fn new(stream: TcpStream, exchange: Exchange, first: Vec<u8>) -> Self {
        Self { stream, exchange, first: Zeroizing::new(first), used: 0 }
    }
}

impl Drop for Rewound {
    fn drop(&mut self) {
        if self.exchange.is_broken() {
            // Without a wait for what is not sent yet, a close is a reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.first.get(this.used..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let now = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..now]);
        this.used += now;
        if this.used == this.first.len() {
            this.first = Zeroizing::new(Vec::new());
            this.used = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

//! What a test can make the stand-in do instead of answering as usual.

use std::time::Duration;

/// How one request is answered, whatever its key; see [`Standin::script`](crate::Standin::script).
///
/// The behaviours that begin with `StreamThen` count the pieces of text of a streamed answer; what a stream sends
/// before its first piece (a role, a `message_start`) is always sent. A plain answer counts as four pieces.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The usual answer: leaves a place in the queue of scripted ones.
    Usual,
    /// This answer.
    Status {
        /// The status code.
        code: u16,
        /// Headers, `content-type` among them (else it is `application/json`).
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Takes the request and does not answer until released.
    Hang,
    /// Sends the usual status and headers, then nothing until released.
    HangAfterHeaders,
    /// Sends so many pieces of the usual answer, then nothing until released.
    StreamThenHang {
        /// How many pieces.
        chunks: usize,
    },
    /// Sends so many pieces of the usual answer, then closes the connection: the body is broken, not ended. A
    /// plain answer has told its whole length before.
    StreamThenCut {
        /// How many pieces.
        chunks: usize,
    },
    /// Sends two pieces of the usual answer, then the provider's error event, and ends the stream. A plain
    /// request gets the provider's "overloaded" answer instead.
    StreamThenErrorEvent,
    /// Sends the pieces of the usual answer's text over and over, as fast as they are taken, and never ends.
    StreamForever,
    /// A JSON body of this size, made while it is sent, without `Content-Length`.
    Huge {
        /// Size of the body.
        bytes: u64,
    },
    /// Status 200 with an HTML page.
    NotJson,
    /// Status 200 with the first half of a JSON document.
    InvalidJson,
    /// Status 307, which asks to send the same request, body and all, to another place.
    Redirect {
        /// The `Location`.
        location: String,
    },
    /// Takes the request, then closes the connection.
    CloseWithoutAnswer,
    /// The usual answer with a pause before every piece but the first. Not for tests: they would wait.
    SlowChunks {
        /// The pause.
        gap: Duration,
    },
}

impl Behaviour {
    /// A [`Behaviour::Status`] with a JSON body.
    pub fn status(code: u16, body: impl Into<String>) -> Self {
        Self::status_with(code, &[], body)
    }

    /// A [`Behaviour::Status`] with these headers.
    pub fn status_with(code: u16, headers: &[(&str, &str)], body: impl Into<String>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Status { code, headers, body: body.into() }
    }
}

//! A stand-in for the AI providers' own servers, and one for a [token issuer](issuer).
//!
//! Keyfold's tests and benchmarks talk to it instead of to real providers, and so can you, to try Keyfold without
//! real keys. It answers as the providers do, errors included: model lists and the other free checks of a key,
//! generation whole and streamed, embeddings, uploads, research. Every provider has its own path (`http://127.0.0.1:PORT/gemini`),
//! which is what `KEYFOLD_PROVIDER_GEMINI_BASE_URL` takes.
//!
//! A real provider looks a key up. This one believes every key that stands in the right place, is no shorter
//! than eight characters and does not begin like another provider's, and does what a marker inside it says:
//!
//! | marker | answer |
//! | --- | --- |
//! | `INVALID` | the provider does not know the key |
//! | `DENIED` | a live key that may not do this; Gemini also `DENIEDREF`, `DENIEDIP`, OpenAI also `DENIED401` |
//! | `QUOTA` | 429 with `Retry-After: 7` |
//! | `NOCREDIT` | 402, or what the provider says instead (Anthropic 400, xAI 403, Tavily 432, ElevenLabs 401 …) |
//! | `BROKEN` | 500 |
//! | `NONSENSE` | 200 with an HTML page |
//! | `BLOCKED`, `DISABLED` | xAI only: says so in a successful answer, refuses the rest |
//!
//! What a request's body asks for in its first 4 KiB comes to the same; for programs in other processes, whose
//! keys are fixed:
//!
//! | in the body | answer |
//! | --- | --- |
//! | `standin:INVALID`, `standin:QUOTA`, … | as if the key had that marker |
//! | `standin:flaky-2-NAME` | 429 with `Retry-After: 1` twice for this key and `NAME`, then as usual |
//! | `standin:slow` | none, until the client leaves |
//! | `standin:cut` | half of the usual one, with its full `Content-Length` if it is no stream, then the connection closes |
//!
//! Answers are the same on every run. Text begins with `fp=` and the [`fingerprint`] of the key that came, so that
//! a test sees whose key it was; every answer carries it in the header `x-key-fingerprint` too. Models whose
//! name contains `no-such-model` do not exist.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use keyfold_standin::{Behaviour, Standin};
//!
//! let standin = Standin::start().await;
//! standin.script("openai", Behaviour::status(503, r#"{"error":{"message":"later"}}"#));
//! // … point Keyfold at standin.base_url("openai"), make a request …
//! assert!(standin.requests_for("openai").is_empty());
//! # }
//! ```

#![forbid(unsafe_code)]
// A stand-in that cannot do what a test told it to should say so at once.
#![allow(clippy::expect_used, clippy::panic)]
// Templates of JSON documents, and tables of answers.
#![allow(clippy::too_many_lines, clippy::format_push_string)]

mod behaviour;
mod body;
mod files;
mod generate;
pub mod issuer;
mod key;
mod outcome;
mod provider;
mod refusal;
mod reply;
mod research;
mod routes;
mod server;
mod wish;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::task::JoinHandle;

pub use behaviour::Behaviour;
pub use issuer::Issuer;
pub use key::{example_key, example_key_with, fingerprint};
pub use outcome::{Outcome, outcomes};
use provider::Provider;
pub use provider::{PROVIDERS, credential, free_check};
pub use reply::answer_text;

/// How a stand-in is set up. The default is what tests want.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; the default is a free port on 127.0.0.1.
    pub listen: SocketAddr,
    /// Only this provider, at the root instead of under its name.
    pub provider: Option<String>,
    /// Whether to remember the requests.
    pub record: bool,
    /// A delay before every answer.
    pub delay: Duration,
    /// In how many pieces a streamed text comes, at most.
    pub chunks: usize,
    /// A delay between two pieces.
    pub chunk_delay: Duration,
    /// How many words a generated text has, at least: shorter ones are filled up.
    pub min_words: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            provider: None,
            record: true,
            delay: Duration::ZERO,
            chunks: 8,
            chunk_delay: Duration::ZERO,
            min_words: 0,
        }
    }
}

/// A request the stand-in received.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The provider it was for.
    pub provider: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path below the provider's base address, as it was sent.
    pub path: String,
    /// Its query, as it was sent.
    pub query: Option<String>,
    /// All its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it came.
    pub body: Bytes,
    /// Whether the body came to its end.
    pub body_complete: bool,
    /// The key in the provider's own place; empty if there was none.
    pub key: String,
    /// The key's [`fingerprint`]; empty if there was none.
    pub key_fingerprint: String,
    /// Which connection it came on, from 1.
    pub connection: u64,
    /// Which request it was, from 1; `clear` does not begin anew.
    pub sequence: u64,
}

impl Seen {
    /// A header's value as text; `None` if it is not there or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A running stand-in. It stops when this is dropped.
#[derive(Debug)]
pub struct Standin {
    address: SocketAddr,
    single: Option<Provider>,
    shared: Shared,
    task: JoinHandle<()>,
}

struct Shared(Arc<server::Shared>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Standin {
    /// All providers, each under `/{provider}`, on a free port of 127.0.0.1, as tasks of the current runtime.
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await.expect("a free port on 127.0.0.1")
    }

    /// One provider, at the root.
    ///
    /// # Panics
    /// If there is no such provider, or no port can be had.
    pub async fn start_single(provider: &str) -> Self {
        let options = Options { provider: Some(provider.to_owned()), ..Options::default() };
        Self::start_with(options).await.expect("a free port on 127.0.0.1")
    }

    /// As the options say.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    ///
    /// # Panics
    /// If the options name a provider that does not exist.
    pub async fn start_with(options: Options) -> std::io::Result<Self> {
        let (listener, address) = server::listen(options.listen).await?;
        let single = options.provider.as_deref().map(Provider::must);
        let shared = Arc::new(server::Shared::new(options));
        let task = tokio::spawn(server::accept(listener, Arc::clone(&shared)));
        Ok(Self { address, single, shared: Shared(shared), task })
    }

    /// Closes the port and all connections, and returns when that is done.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The address of the listener, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that takes the place of the provider's own, without a slash at the end.
    ///
    /// # Panics
    /// If there is no such provider here.
    pub fn base_url(&self, provider: &str) -> String {
        let provider = Provider::must(provider);
        match self.single {
            None => format!("{}/{}", self.url(), provider.id()),
            Some(single) if single == provider => self.url(),
            Some(single) => panic!("this stand-in is {} only, not {}", single.id(), provider.id()),
        }
    }

    /// All requests since the start or the last [`clear`](Self::clear), in the order in which their bodies were
    /// complete.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.0.seen()
    }

    /// Those of one provider.
    ///
    /// # Panics
    /// If there is no such provider.
    pub fn requests_for(&self, provider: &str) -> Vec<Seen> {
        let id = Provider::must(provider).id();
        self.requests().into_iter().filter(|seen| seen.provider == id).collect()
    }

    /// Forgets the requests, and counts them, cancelled ones and body bytes from zero.
    pub fn clear(&self) {
        self.shared.0.clear();
    }

    /// How the next request to the provider is answered, after those already scripted.
    ///
    /// # Panics
    /// If there is no such provider.
    pub fn script(&self, provider: &str, behaviour: Behaviour) {
        self.shared.0.script(Provider::must(provider), behaviour);
    }

    /// How every request to the provider is answered for which nothing is scripted.
    ///
    /// # Panics
    /// If there is no such provider.
    pub fn always(&self, provider: &str, behaviour: Behaviour) {
        self.shared.0.always(Provider::must(provider), behaviour);
    }

    /// Forgets everything that was scripted.
    pub fn reset(&self) {
        self.shared.0.forget_orders();
    }

    /// Lets all requests that hang now go on as usual.
    pub fn release(&self) {
        self.shared.0.release();
    }

    /// Streamed answers that have begun and not ended.
    pub fn open_streams(&self) -> usize {
        self.shared.0.counts.open_streams()
    }

    /// Requests that have begun and whose answer has not ended.
    pub fn in_flight(&self) -> usize {
        self.shared.0.counts.in_flight()
    }

    /// Requests whose client went away before the answer ended, since the start or the last
    /// [`clear`](Self::clear).
    pub fn cancelled(&self) -> usize {
        self.shared.0.counts.cancelled()
    }

    /// Connections accepted since the start.
    pub fn connections(&self) -> u64 {
        self.shared.0.counts.connections()
    }

    /// Waits until so many requests have come (body included) since the start or the last
    /// [`clear`](Self::clear).
    pub async fn wait_for_requests(&self, n: usize) {
        self.shared.0.wait_until(|counts| counts.requests() >= n).await;
    }

    /// Waits until the clients of so many requests went away before the answer ended.
    pub async fn wait_for_cancelled(&self, n: usize) {
        self.shared.0.wait_until(|counts| counts.cancelled() >= n).await;
    }

    /// Waits until so many bytes of request bodies have come, those of unfinished requests included.
    pub async fn wait_for_body_bytes(&self, n: u64) {
        self.shared.0.wait_until(|counts| counts.body_bytes() >= n).await;
    }

    /// Waits until no request is under way.
    pub async fn wait_until_idle(&self) {
        self.shared.0.wait_until(|counts| counts.in_flight() == 0).await;
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address on which nothing listens, and nothing else will as long as this process lives: connections to it
/// are refused.
///
/// # Panics
/// If no port can be had.
pub fn refused_port() -> String {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port on 127.0.0.1");
    let address = socket.local_addr().expect("a bound socket has an address");
    // Bound and never listening: the port stays taken, and refuses.
    std::mem::forget(socket);
    format!("http://{address}")
}

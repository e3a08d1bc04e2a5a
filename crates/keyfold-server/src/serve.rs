//! Connections: accepting them, limits against slow and greedy clients, and a stop that lets answers end.

mod own_refusals;
mod rewound;
mod threads;
mod write_timeout;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

pub(crate) use own_refusals::Unreadable;
use own_refusals::{AnswerBody, Exchange, OwnRefusals};
use rewound::Rewound;
pub(crate) use threads::ConnectionThreads;
use write_timeout::WriteTimeout;

/// The other end of a request's connection; in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Limits of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a request's head may take to arrive, and an idle connection may stay.
    pub head: Duration,
    /// How long a part of an answer may wait for a client that does not read. Then the connection is closed, and
    /// what the answer came from with it: a stream at a provider.
    pub write: Duration,
    /// How long answers under way may go on after the stop was asked for.
    pub stop: Duration,
    /// The most connections at once; further ones wait to be accepted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            write: Duration::from_secs(60),
            stop: Duration::from_secs(30),
            connections: most_connections(getrlimit(Resource::Nofile).current),
        }
    }
}

/// The buffer for a request's head, in bytes; `middleware::header_limit` refuses with words well below it.
const HEAD_BUFFER: usize = 512 * 1024;
/// Headers that are read at all; likewise.
const MOST_HEADERS: usize = 512;
/// The pause after a failed accept (no file descriptors left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Without a further failure for this long, an outage is over.
const OUTAGE_OVER: Duration = Duration::from_secs(60);
/// File descriptors that are kept for the database, files and the listeners.
const KEPT_DESCRIPTORS: u64 = 64;
/// The fewest connections, however few file descriptors there are.
const FEWEST_CONNECTIONS: usize = 16;

/// Lets this process open as many files and connections as its system allows it to.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Half of the descriptors that are left: each connection may need another one, to a provider.
fn most_connections(descriptors: Option<u64>) -> usize {
    let left = descriptors.unwrap_or(u64::MAX).saturating_sub(KEPT_DESCRIPTORS) / 2;
    usize::try_from(left).unwrap_or(usize::MAX).clamp(FEWEST_CONNECTIONS, Semaphore::MAX_PERMITS)
}

/// Whether the stop was asked for.
#[derive(Clone)]
pub(crate) struct Stopping {
    /// Costs one read of memory, after each request.
    is_asked: Arc<AtomicBool>,
    asked: watch::Receiver<()>,
}

impl Stopping {
    fn new(asked: watch::Receiver<()>) -> Self {
        Self { is_asked: Arc::default(), asked }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// Returns when it is.
    pub(crate) async fn asked(mut self) {
        // An error means that the sender is gone, and with it the reason to go on.
        let _ = self.asked.changed().await;
    }
}

/// What reads a connection before hyper does.
pub(crate) trait FirstReader: Clone + Send + Sync + 'static {
    /// Gives the connection and what was read of it, where the rest is hyper's; `None` once it is over.
    fn read(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        limits: &Limits,
        stopping: Stopping,
    ) -> impl Future<Output = Option<(TcpStream, Vec<u8>)>> + Send;
}

/// Hyper reads from the beginning.
#[derive(Clone)]
enum NobodyFirst {}

impl FirstReader for NobodyFirst {
    async fn read(
        &self,
        _: TcpStream,
        _: SocketAddr,
        _: &Limits,
        _: Stopping,
    ) -> Option<(TcpStream, Vec<u8>)> {
        match *self {}
    }
}

/// Serves until `stop` is ready, then lets answers under way end.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: impl Future<Output = ()>) {
    serve_with(listener, router, None::<(NobodyFirst, &ConnectionThreads)>, limits, stop).await;
}

/// The same; before hyper does, `first` reads each connection, on threads of its own.
pub(crate) async fn serve_with(
    listener: TcpListener,
    router: Router,
    first: Option<(impl FirstReader, &ConnectionThreads)>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MOST_HEADERS)
        .max_buf_size(HEAD_BUFFER);
    let graceful = GracefulShutdown::new();
    let mut door = Door::new(listener, limits.connections);
    let (stop_all, asked) = watch::channel(());
    let stopping = Stopping::new(asked);
    tokio::pin!(stop);
    loop {
        let (stream, peer, place) = tokio::select! {
            accepted = door.accept() => accepted,
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let (builder, router, watcher) = (builder.clone(), router.clone(), graceful.watcher());
        // Hyper's part is large, and many connections never need it.
        let rest = move |stream: TcpStream, unused: Vec<u8>| {
            Box::pin(async move {
                let _place = place;
                let exchange = Exchange::default();
                let stream = WriteTimeout::new(Rewound::new(stream, exchange.clone(), unused), limits.write);
                let stream = OwnRefusals::new(stream, exchange.clone(), router.clone(), peer);
                let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                    let (router, exchange) = (router.clone(), exchange.clone());
                    let (answer, version) = (exchange.begin(), request.version());
                    request.extensions_mut().insert(Peer(peer));
                    async move {
                        let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                        Ok::<_, Infallible>(
                            response.map(|body| AnswerBody::new(body, exchange, answer, version)),
                        )
                    }
                });
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            })
        };
        let Some((first, threads)) = &first else {
            tokio::spawn(rest(stream, Vec::new()));
            continue;
        };
        let (first, stopping, runtime) = (first.clone(), stopping.clone(), Handle::current());
        let connection = async move |stream: TcpStream| {
            let read = first.read(stream, peer, &limits, stopping).await;
            let Some((Ok(stream), unused)) = read.map(|(stream, unused)| (stream.into_std(), unused)) else {
                return;
            };
            runtime.spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => rest(stream, unused).await,
                    Err(error) => tracing::warn!(%error, "a connection could not be served"),
                }
            });
        };
        if let Err(error) = threads.run(stream, connection) {
            tracing::warn!(%error, "a connection could not be served");
        }
    }
    stopping.is_asked.store(true, Ordering::Release);
    let _ = stop_all.send(());
    drop(door);
    if tokio::time::timeout(limits.stop, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            seconds = limits.stop.as_secs(),
            "answers were still under way when the time to stop was over"
        );
    }
}

/// Accepts connections, as many at once as there are places, and says once when it cannot.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    full: Outage,
    broken: Outage,
}

/// Something that goes wrong again and again, and is told once.
#[derive(Default)]
struct Outage {
    last: Option<Instant>,
}

impl Outage {
    /// It went wrong; whether that is the first time for [`OUTAGE_OVER`].
    fn begins(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.duration_since(last) >= OUTAGE_OVER)
    }
}

impl Door {
    fn new(listener: TcpListener, places: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places)),
            full: Outage::default(),
            broken: Outage::default(),
        }
    }

    /// The next connection and its place. May be dropped at any time: a connection that waits is not lost.
    async fn accept(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = self.place().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                Err(error) => {
                    if self.broken.begins(Instant::now()) {
                        tracing::warn!(%error, "cannot accept connections; trying again until it works");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return place;
        }
        if self.full.begins(Instant::now()) {
            tracing::warn!("as many connections are open as there may be; further ones wait");
        }
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_however_often_it_comes_and_goes() {
        let (start, mut outage) = (Instant::now(), Outage::default());
        let told = [0, 1, 1, 59, 118, 177, 237, 238].map(|at| outage.begins(start + Duration::from_secs(at)));
        assert_eq!(told, [true, false, false, false, false, false, true, false]);
    }

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (descriptors, connections) in [
            (Some(1024), 480),
            (Some(65_600), 32_768),
            (Some(10), FEWEST_CONNECTIONS),
            (None, Semaphore::MAX_PERMITS),
        ] {
            assert_eq!(most_connections(descriptors), connections, "{descriptors:?}");
        }
    }
}

//! Threads for connections of plain requests to the gateway, one for each core. Whatever belongs to such a request, from
//! its first byte to the last of its answer and the connection to its provider, is one thread's: it does not wait until
//! another thread is woken.

use std::io;
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Ended when dropped, with all connections that are still there.
pub(crate) struct ConnectionThreads(Vec<ConnectionThread>);

struct ConnectionThread {
    runtime: Handle,
    /// Connections that run there.
    open: Arc<AtomicUsize>,
    /// Taken when dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection's place on its thread.
struct Open(Arc<AtomicUsize>);

impl ConnectionThreads {
    /// Starts as many as there are cores for this process.
    ///
    /// # Errors
    /// If the system gives no more threads or descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores).map(ConnectionThread::start).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a connection on the thread that has the fewest.
    ///
    /// # Errors
    /// If this runtime does not give the connection away.
    pub(crate) fn run<F>(
        &self,
        stream: TcpStream,
        connection: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send,
    {
        let stream: BlockingStream = stream.into_std()?;
        let Some(thread) = self.0.iter().min_by_key(|thread| thread.open.load(Ordering::Relaxed)) else {
            return Err(io::Error::other("there is no thread for connections"));
        };
        thread.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&thread.open));
        thread.runtime.spawn(async move {
            let _open = open;
            match TcpStream::from_std(stream) {
                Ok(stream) => connection(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        });
        Ok(())
    }
}

impl ConnectionThread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // An error means that the sender is gone, which says the same.
            let _ = runtime.block_on(stopped);
            // What still runs on threads that may block must not keep the process.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(format!("connections-{number}")).spawn(run)?;
        Ok(Self { runtime: handle, open: Arc::default(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ConnectionThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_end_with_their_threads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let threads = ConnectionThreads((0..3).map(|n| ConnectionThread::start(n).unwrap()).collect());
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut callers = vec![];
        for _ in 0..9 {
            callers.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            let connection = async move |mut stream: TcpStream| {
                tell.send(thread::current().name().unwrap().to_owned()).unwrap();
                let _ = stream.read_u8().await;
            };
            threads.run(stream, connection).unwrap();
        }
        let mut on = HashMap::<String, usize>::new();
        for _ in 0..9 {
            *on.entry(told.recv().await.unwrap()).or_default() += 1;
        }
        assert_eq!(on.into_values().collect::<Vec<_>>(), [3, 3, 3]);
        drop(threads);
        for mut caller in callers {
            assert_eq!(caller.read(&mut [0]).await.unwrap(), 0, "it is closed");
        }
    }
}

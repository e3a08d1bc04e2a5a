//! A way to the server that can break as networks do: nothing arrives any more, and nobody is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a connection says that wants to hear announcements.
const LISTEN: &[u8] = b"LISTEN ";

/// Passes connections on to a port of this machine.
pub(crate) struct Proxy {
    port: u16,
    cut: Arc<std::sync::Mutex<watch::Sender<Cut>>>,
}

/// Which connections bring nothing any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    /// Those that hear announcements.
    Listeners,
    All,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(std::sync::Mutex::new(watch::Sender::new(Cut::None)));
        let now = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cut = now.lock().unwrap().subscribe();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let listens = AtomicBool::new(false);
                    tokio::join!(
                        pass(from_client, to_server, cut.clone(), &listens),
                        pass(from_server, to_client, cut, &listens)
                    );
                });
            }
        });
        Self { port, cut }
    }

    pub(crate) fn address_of(&self, database: &str) -> String {
        format!("postgres://keyfold@127.0.0.1:{}/{database}", self.port)
    }

    /// From now on nothing arrives, in either direction, and no connection ends.
    pub(crate) fn cut(&self) {
        self.cut.lock().unwrap().send_replace(Cut::All);
    }

    /// The same for connections that hear announcements, those to come included.
    #[allow(dead_code, reason = "another program of tests uses it")]
    pub(crate) fn cut_listeners(&self) {
        self.cut.lock().unwrap().send_replace(Cut::Listeners);
    }

    /// New connections work again; those that were cut never do.
    pub(crate) fn mend(&self) {
        *self.cut.lock().unwrap() = watch::Sender::new(Cut::None);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<Cut>,
    listens: &AtomicBool,
) {
    let mut bytes = vec![0; 16 * 1024];
    let is_cut = |cut: &Cut| *cut == Cut::All || (*cut == Cut::Listeners && listens.load(Ordering::SeqCst));
    loop {
        let read = tokio::select! {
            biased;
            () = broken(&mut cut, &is_cut) => {
                // Both ends are held open.
                std::future::pending::<()>().await;
                return;
            }
            read = from.read(&mut bytes) => read,
        };
        match read {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return;
            }
            Ok(count) => {
                if bytes[..count].windows(LISTEN.len()).any(|window| window == LISTEN) {
                    listens.store(true, Ordering::SeqCst);
                    if is_cut(&cut.borrow()) {
                        continue;
                    }
                }
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Returns when this connection is cut. Mending, which replaces the sender, does not help one that was cut, and does
/// not harm another.
async fn broken(cut: &mut watch::Receiver<Cut>, is_cut: &impl Fn(&Cut) -> bool) {
    if cut.wait_for(is_cut).await.is_err() && !is_cut(&cut.borrow()) {
        std::future::pending::<()>().await;
    }
}

/// What a connection pooler does to announcements: those that arrive while a client asks nothing go nowhere, for
/// its session is then nobody's.
pub(crate) struct Pooler {
    port: u16,
    lost: Arc<AtomicU32>,
}

impl Pooler {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lost = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&lost);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                // Answers that the client waits for: it began by asking who it may be.
                let awaited = Arc::new(AtomicI64::new(1));
                tokio::spawn(ask(from_client, to_server, Arc::clone(&awaited)));
                tokio::spawn(answer(from_server, to_client, awaited, Arc::clone(&count)));
            }
        });
        Self { port, lost }
    }

    pub(crate) fn address_of(&self, database: &str) -> String {
        format!("postgres://keyfold@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// How many announcements went nowhere.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}

/// The type and the whole of the next message. <https://www.postgresql.org/docs/current/protocol-message-formats.html>
async fn message(from: &mut OwnedReadHalf) -> std::io::Result<(u8, Vec<u8>)> {
    let mut whole = vec![0; 5];
    from.read_exact(&mut whole).await?;
    let length = u32::from_be_bytes([whole[1], whole[2], whole[3], whole[4]]) as usize;
    whole.resize(1 + length, 0);
    from.read_exact(&mut whole[5..]).await?;
    Ok((whole[0], whole))
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, awaited: Arc<AtomicI64>) {
    // The first message has no type.
    let Ok(length) = from.read_u32().await else { return };
    let mut first = vec![0; length as usize - 4];
    if from.read_exact(&mut first).await.is_err() {
        return;
    }
    let _ = to.write_u32(length).await;
    let _ = to.write_all(&first).await;
    while let Ok((kind, whole)) = message(&mut from).await {
        // Query, Sync
        if matches!(kind, b'Q' | b'S') {
            awaited.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&whole).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    awaited: Arc<AtomicI64>,
    lost: Arc<AtomicU32>,
) {
    while let Ok((kind, whole)) = message(&mut from).await {
        match kind {
            // ReadyForQuery
            b'Z' => _ = awaited.fetch_sub(1, Ordering::SeqCst),
            // NotificationResponse
            b'A' if awaited.load(Ordering::SeqCst) == 0 => {
                lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            _ => {}
        }
        if to.write_all(&whole).await.is_err() {
            return;
        }
    }
}

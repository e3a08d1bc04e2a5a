//! Hears what replicas announce of their changes, on a connection of its own.
//!
//! A connection that is half open looks alive, so the listener sends itself a beat and counts as listening only
//! for a moment after each that came back. PostgreSQL delivers in the order of commits: whoever heard a beat has
//! heard everything that was committed before it was sent. A proxy that shares sessions between transactions would
//! bring the beats and lose what others announce, so announcements must first be seen to arrive while this
//! connection is silent. While nobody asks for keys there are no beats, and no
//! new connection, so that a database that sleeps when idle can.
//! <https://www.postgresql.org/docs/current/sql-notify.html>

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::Connections;
use crate::clock::{Random, SystemRandom, random_bytes};
use crate::storage::StorageError;
use crate::storage::changes::{Changes, TRUSTED_FOR};

/// The channel of the triggers in `migrations/postgres`.
const CHANNEL: &str = "keyfold_changes";
/// How often a beat is sent.
const BEAT: Duration = Duration::from_millis(200);
/// How long to wait for one, or for the connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);
/// After so long without a look-up the beats stop.
const IDLE: Duration = Duration::from_secs(60);

/// After it turned out that a proxy stands in between.
const LONG_PAUSE: Duration = Duration::from_secs(300);
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// Listens until the last one that looks at `changes` is gone. Sets `is_direct` once each connection is known to
/// be a session of its own. `others` gives another connection than the listener's.
pub(super) fn listen(
    config: Arc<tokio_postgres::Config>,
    tls: MakeRustlsConnect,
    changes: &Arc<Changes>,
    is_direct: Arc<AtomicBool>,
    others: impl Fn() -> Option<Connections> + Send + Sync + 'static,
) {
    let changes = Arc::downgrade(changes);
    tokio::spawn(async move {
        loop {
            if !wanted(&changes).await {
                return;
            }
            let ended = listen_once(&config, tls.clone(), &changes, &is_direct, &others).await;
            let Some(changes) = changes.upgrade() else { return };
            changes.distrust();
            drop(changes);
            let pause = match ended {
                Ok(()) => PAUSE,
                Err(Ended::Broken(error)) => {
                    tracing::debug!(%error, "changes of other replicas are not heard; the database is asked each time");
                    PAUSE
                }
                Err(Ended::Shared) => {
                    tracing::warn!(
                        "the database's announcements do not arrive: a proxy seems to share its connections between transactions; the database is asked for each key (a direct address in DATABASE_URL lets Keyfold remember)"
                    );
                    LONG_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    });
}

/// Why listening ended.
enum Ended {
    Broken(StorageError),
    /// Sessions are shared between transactions.
    Shared,
}

impl<E: Into<StorageError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Waits until somebody asks for keys; false if nobody can any more.
async fn wanted(changes: &Weak<Changes>) -> bool {
    loop {
        let Some(changes) = changes.upgrade() else { return false };
        if changes.was_wanted_within(IDLE) {
            return true;
        }
        // Looked at now and then: whoever waits here does not keep `changes` alive for ever.
        let _ = timeout(IDLE, changes.wait_until_wanted()).await;
        if Arc::strong_count(&changes) == 1 {
            return false;
        }
    }
}

async fn listen_once(
    config: &tokio_postgres::Config,
    tls: MakeRustlsConnect,
    changes: &Weak<Changes>,
    is_direct: &AtomicBool,
    others: impl Fn() -> Option<Connections>,
) -> Result<(), Ended> {
    let (client, mut connection) = timeout(PATIENCE, config.connect(tls)).await.map_err(|_| late())??;
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel::<Notification>();
    // Ends with the client, or when the connection breaks; then `hearing` ends too.
    let driving = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message
                && heard.send(notification).is_err()
            {
                return;
            }
        }
    });
    // Ended with this function, however that ends.
    let _driving = Aborted(driving);
    let beats = Beats::start(client).await?;
    let Some(others) = others() else { return Ok(()) };
    if !beats.are_heard_from(others, &mut hearing).await? {
        is_direct.store(false, Ordering::Relaxed);
        return Err(Ended::Shared);
    }
    is_direct.store(true, Ordering::Relaxed);
    // What was read before the channel was open may have changed unheard.
    let Some(known) = changes.upgrade() else { return Ok(()) };
    known.announce_all();
    drop(known);

    Ok(beats.count(&mut hearing, changes).await?)
}

struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The beats of one connection.
struct Beats {
    client: Client,
    channel: String,
    /// Which one was sent last.
    number: u64,
    /// When that was, if it did not come back yet.
    sent: Option<Instant>,
}

impl Beats {
    async fn start(client: Client) -> Result<Self, StorageError> {
        // Only this listener hears its beats.
        let name = random_bytes::<8>(&SystemRandom as &dyn Random)
            .map_err(|error| StorageError::Unavailable(error.to_string()))?;
        let channel = format!("keyfold_beat_{}", HEXLOWER.encode(&name));
        let begin = format!("LISTEN {CHANNEL}; LISTEN {channel}");
        timeout(PATIENCE, client.batch_execute(&begin)).await.map_err(|_| late())??;
        Ok(Self { client, channel, number: 0, sent: None })
    }

    /// Whether what another connection announces arrives while this one is silent.
    async fn are_heard_from(
        &self,
        others: Connections,
        hearing: &mut UnboundedReceiver<Notification>,
    ) -> Result<bool, StorageError> {
        let (other, deadline) = others.lease(tokio::time::Instant::now()).await?;
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.channel, Type::TEXT), (&"another", Type::TEXT)];
        other.work(deadline, |connection| connection.query_typed(NOTIFY, &values)).await?;
        drop((other, others));
        loop {
            match timeout(PATIENCE, hearing.recv()).await {
                Ok(Some(notification)) if notification.channel() == self.channel => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) => return Err(broke()),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Hears and beats until the connection breaks, or nobody wants to know any more.
    async fn count(
        mut self,
        hearing: &mut UnboundedReceiver<Notification>,
        changes: &Weak<Changes>,
    ) -> Result<(), StorageError> {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notification = hearing.recv() => {
                    let notification = notification.ok_or_else(broke)?;
                    let Some(changes) = changes.upgrade() else { return Ok(()) };
                    self.hear(&notification, &changes);
                }
                _ = ticks.tick() => {
                    let Some(changes) = changes.upgrade() else { return Ok(()) };
                    if Arc::strong_count(&changes) == 1 {
                        return Ok(());
                    }
                    if changes.was_wanted_within(IDLE) {
                        self.beat().await?;
                    } else {
                        // The connection stays, quietly: announcements are heard, but not relied on.
                        self.sent = None;
                    }
                }
            }
        }
    }

    async fn beat(&mut self) -> Result<(), StorageError> {
        if let Some(sent) = self.sent {
            return if sent.elapsed() > PATIENCE { Err(late()) } else { Ok(()) };
        }
        self.number += 1;
        self.sent = Some(Instant::now());
        let number = self.number.to_string();
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&self.channel, Type::TEXT), (&number, Type::TEXT)];
        let sending = self.client.query_typed(NOTIFY, &values);
        timeout(PATIENCE, sending).await.map_err(|_| late())??;
        Ok(())
    }

    fn hear(&mut self, notification: &Notification, changes: &Changes) {
        if notification.channel() == self.channel {
            let is_the_last = notification.payload() == self.number.to_string();
            if let Some(sent) = self.sent.take_if(|_| is_the_last) {
                changes.trust_since(sent);
            }
        } else if notification.payload().is_empty() {
            changes.announce_all();
        } else {
            changes.announce(notification.payload());
        }
    }
}

fn broke() -> StorageError {
    StorageError::Unavailable("the connection broke".into())
}

fn late() -> StorageError {
    StorageError::Unavailable(format!("no announcement came back within {} ms", TRUSTED_FOR.as_millis()))
}

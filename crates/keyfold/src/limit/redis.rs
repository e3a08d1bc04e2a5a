//! What replicas count together, in Redis or Valkey: GCRA in a script, one round trip for each count.
//!
//! Nobody waits long for a Redis that is away. The first one that hears nothing in time ends the connection, and
//! from then on nobody asks until a new one has done a whole count in time; meanwhile each process counts for itself.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::HEXLOWER;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, cmd};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Answer, Class, Subject};
use crate::settings::{Encryption, Rate, RedisAddress};
use crate::storage::any_certificate;

/// How long a request waits for a count.
const PATIENCE: Duration = Duration::from_millis(80);
/// How long a new connection may take; no request waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// Between two attempts to connect: first, and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Counts requests as governor does: what is stored is when, at the limit's own pace, all that was let through will
/// have been earned. By Redis's own clock, so that replicas' clocks do not matter; a stored time that no request
/// could have led to (the clock was set back, the limit was made smaller) is cut to the latest possible one.
/// Takes the interval in microseconds, the most at once, and the cost. Returns whether it is let through, how many
/// more would be, and the microseconds to wait.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, cost = tonumber(ARGV[1]), tonumber(ARGV[3])
local full = interval * tonumber(ARGV[2])
local stored = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
local after = math.max(now, math.min(stored, now + full)) + interval * cost
local wait = after - full - now
if wait >= 1 then return {0, 0, math.ceil(wait)} end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.max(1, math.ceil((after - now) / 1000)))
return {1, math.max(0, math.floor((full - (after - now)) / interval + 0.000001)), 0}
";

/// By which Redis knows the script.
static SCRIPT_HASH: LazyLock<String> =
    LazyLock::new(|| HEXLOWER.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes()).as_ref()));

/// Counts that replicas share.
pub(super) struct Shared {
    address: RedisAddress,
    link: RwLock<Option<Link>>,
    links: AtomicU64,
    connecting: AtomicBool,
    /// Why there is no link, once that was told.
    outage: Mutex<Option<String>>,
}

/// A connection that works, as far as is known.
#[derive(Clone)]
struct Link {
    number: u64,
    connection: MultiplexedConnection,
    _driver: Arc<Driver>,
}

/// What moves a connection's bytes. Ended with it: a half-open connection would keep it for long.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    pub(super) fn new(address: RedisAddress) -> Self {
        Self {
            address,
            link: RwLock::default(),
            links: AtomicU64::default(),
            connecting: AtomicBool::default(),
            outage: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.link.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why it is not in use, as far as is known.
    pub(super) fn outage(&self) -> Option<String> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects, and goes on trying if that fails; returns after the first attempt.
    pub(super) async fn connect(self: &Arc<Self>) {
        if !self.is_in_use() && !self.connecting.swap(true, Ordering::AcqRel) {
            let turn = Turn(Arc::downgrade(self));
            if !self.try_to_connect().await {
                turn.go_on();
            }
        }
    }

    /// `None` while Redis is away.
    pub(super) async fn count(
        self: &Arc<Self>,
        class: Class,
        subject: &Subject,
        rate: Rate,
        cost: NonZeroU32,
    ) -> Option<Answer> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(mut link) = link else {
            self.connect_in_background();
            return None;
        };
        let key = format!("keyfold:limit:{}:{subject}", class.as_str());
        match timeout(PATIENCE, count(&mut link.connection, &key, rate, cost)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.lose(link.number, explain(&error)),
            Err(_) => self.lose(link.number, late()),
        }
        None
    }

    /// This link no longer counts, for that reason.
    fn lose(self: &Arc<Self>, number: u64, why: String) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        // Others heard nothing either, and there may be a new one by now.
        if link.as_ref().is_none_or(|link| link.number != number) {
            return;
        }
        *link = None;
        drop(link);
        self.begin_outage(why);
        self.connect_in_background();
    }

    fn begin_outage(&self, why: String) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_none() {
            tracing::warn!(
                "{} cannot be used: {why}. Each process counts requests for itself until it can, so several let through more than the limits say",
                self.address
            );
        }
        *outage = Some(why);
    }

    fn connect_in_background(self: &Arc<Self>) {
        if !self.connecting.swap(true, Ordering::AcqRel) {
            Turn(Arc::downgrade(self)).go_on();
        }
    }

    async fn try_to_connect(&self) -> bool {
        match timeout(CONNECT, self.new_link()).await.unwrap_or_else(|_| Err("it did not answer".into())) {
            Ok(link) => {
                *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
                let ended = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
                let again = if ended.is_some() { " again" } else { "" };
                tracing::info!("rate limits are shared{again}, by {}", self.address);
                true
            }
            Err(why) => {
                self.begin_outage(why);
                false
            }
        }
    }

    /// A connection that has done a whole count in time.
    async fn new_link(&self) -> Result<Link, String> {
        let address = (self.address.host.as_str(), self.address.port);
        let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection ({error})"))?;
        let _ = stream.set_nodelay(true);
        let mut link = if self.address.encryption == Encryption::None {
            self.greet(stream).await?
        } else {
            self.greet(self.encrypt(stream).await?).await?
        };
        let probe = count(&mut link.connection, "keyfold:limit:probe", probe_rate()?, NonZeroU32::MIN);
        match timeout(PATIENCE, probe).await {
            Ok(Ok(_)) => Ok(link),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err(late()),
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<Link, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut info = RedisConnectionInfo::default()
            .set_db(self.address.database.into())
            .set_lib_name("keyfold", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.address.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.address.password {
            info = info.set_password(password.as_str());
        }
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, AsyncConnectionConfig::new())
                .await
                .map_err(|error| explain(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        Ok(Link { number: self.links.fetch_add(1, Ordering::Relaxed), connection, _driver: driver })
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("TLS cannot be set up ({error})");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let config = if self.address.encryption == Encryption::Unverified {
            builder.dangerous().with_custom_certificate_verifier(any_certificate()).with_no_client_auth()
        } else {
            builder.with_platform_verifier().map_err(|error| failed(&error))?.with_no_client_auth()
        };
        let name = ServerName::try_from(self.address.host.clone()).map_err(|error| failed(&error))?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| {
            format!(
                "no encrypted connection ({error}); a server whose certificate nobody known has signed is used with #insecure at the end of its address"
            )
        })
    }
}

/// Whoever has it connects; nobody else does meanwhile.
struct Turn(Weak<Shared>);

impl Turn {
    /// Tries again and again, until it works or nobody counts any more.
    fn go_on(self) {
        tokio::spawn(async move {
            let mut pause = PAUSE;
            loop {
                // The first time too: a Redis that is slow now would come and go.
                tokio::time::sleep(pause).await;
                let Some(shared) = self.0.upgrade() else { return };
                if shared.try_to_connect().await {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.connecting.store(false, Ordering::Release);
        }
    }
}

async fn count(
    connection: &mut MultiplexedConnection,
    key: &str,
    rate: Rate,
    cost: NonZeroU32,
) -> Result<Answer, RedisError> {
    let microseconds = rate.interval().as_secs_f64() * 1e6;
    let run = |mut command: Cmd, script: &str| {
        let numbers = (format!("{microseconds:.3}"), rate.count().get(), cost.get());
        command.arg(script).arg(1).arg(key).arg(numbers.0).arg(numbers.1).arg(numbers.2);
        command
    };
    let by_hash = run(cmd("EVALSHA"), &SCRIPT_HASH).query_async(connection).await;
    let (allowed, remaining, wait): (u32, u32, u64) = match by_hash {
        // Redis forgets its scripts when it starts; this one makes it known again.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            run(cmd("EVAL"), SCRIPT).query_async(connection).await?
        }
        answer => answer?,
    };
    Ok(if allowed == 1 {
        Answer::Allowed { remaining }
    } else {
        Answer::Refused { wait: Duration::from_micros(wait) }
    })
}

/// Never refused by much, and gone a second later.
fn probe_rate() -> Result<Rate, String> {
    "1000/second".parse().map_err(|_| "the probe's rate is malformed".to_owned())
}

fn late() -> String {
    format!("it did not answer within {} ms", PATIENCE.as_millis())
}

/// In words. What Redis says of a password does not repeat it.
fn explain(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "it refuses the user or the password in REDIS_URL".to_owned(),
        _ if error.code() == Some("NOAUTH") => "it asks for a password, and REDIS_URL has none".to_owned(),
        _ if error.code() == Some("NOPERM") => {
            format!(
                "the user in REDIS_URL may not do what the limits need ({error}): EVAL, EVALSHA, GET, SET, TIME on keyfold:*"
            )
        }
        _ => error.to_string(),
    }
}

//! Rate limits: how often each user may save or check keys and call providers, each service token may ask, and each
//! address may come without a valid credential; and how many streams a user may have open.
//!
//! GCRA: as many at once as the limit says, then one after each interval. Counted in this process, or by all
//! replicas together in Redis; without Redis for a while, each process counts by itself and knows what it let
//! through before.

mod in_process;
mod redis;
mod streams;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use governor::clock::Clock as _;

use crate::clock::Clock;
use crate::error::Error;
use crate::recent::RecentMap;
use crate::settings::{LimitSettings, Rate};
use crate::user::UserId;
use in_process::{InProcess, MOST_SUBJECTS, Ticks};
use redis::Shared;
pub use streams::StreamPlace;
use streams::Streams;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Saving and checking keys, per user.
    Keys,
    /// Generate and research, per user.
    Generate,
    /// The gateway, per user.
    Gateway,
    /// Service tokens, per token.
    Service,
    /// Requests without a valid credential, per address.
    Anonymous,
    /// Open streams, per user.
    Streams,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Keys, Self::Generate, Self::Gateway, Self::Service, Self::Anonymous, Self::Streams];

    /// Its name in headers, metrics and Redis.
    pub fn as_str(self) -> &'static str {
        ["keys", "generate", "gateway", "service", "anonymous", "streams"][self as usize]
    }
}

/// How a limit stands after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which limit.
    pub class: Class,
    /// How many it allows.
    pub quota: u32,
    /// In how many seconds; `None` of streams, which are counted while they are open.
    pub window: Option<u32>,
    /// How many more would be let through now.
    pub remaining: u32,
    /// After how long there is room for one more, at the latest.
    pub next_in: Duration,
}

impl Standing {
    /// The whole seconds at whose end there is room for one more, for headers.
    pub fn seconds_to_next(&self) -> u64 {
        u64::try_from(self.next_in.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u64::MAX).max(1)
    }
}

/// A request that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    standing: Standing,
    /// In words; `None` of streams.
    rate: Option<Rate>,
}

impl Refusal {
    /// How the limit stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { standing, rate } = refusal;
        let limit = rate.map_or_else(|| format!("{} open streams", standing.quota), |rate| rate.to_string());
        Self::RateLimited { limit, retry_after: Duration::from_secs(standing.seconds_to_next()) }
    }
}

/// The result of a count: how the limit stands, if there is one.
pub type Counted = Result<Option<Standing>, Refusal>;

/// What came of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed { remaining: u32 },
    Refused { wait: Duration },
}

/// Who is counted: a hash, so that each takes as little room as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Subject([u8; 16]);

impl Subject {
    fn of(text: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        Self(bytes)
    }

    /// An IPv6 address stands for its /64, which is what one customer has.
    fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of(&address.to_string()),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self::of(&format!("{}/64", Ipv6Addr::from(network)))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// All limits of this process.
pub struct Limits {
    limits: [Option<Limit>; Class::ALL.len()],
    streams: Streams,
    shared: Option<Arc<Shared>>,
    counts_every_address: bool,
    /// Until when addresses that were refused need not be counted.
    blocked: RecentMap<Subject, Duration>,
    refusals: [AtomicU64; Class::ALL.len()],
    ticks: Ticks,
}

struct Limit {
    rate: Rate,
    here: InProcess,
}

/// How what replicas share stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedState {
    /// Where, without user and password.
    pub address: String,
    /// Whether counts are shared now.
    pub is_in_use: bool,
    /// Why not, if that is known. Never holds a password.
    pub why_not: Option<String>,
}

impl Limits {
    /// Counts nothing yet, and asks nobody.
    pub fn new(settings: &LimitSettings, clock: Arc<dyn Clock>) -> Self {
        let ticks = Ticks::new(clock);
        let limit = |class| {
            let rate = match class {
                Class::Keys => settings.keys,
                Class::Generate => settings.generate,
                Class::Gateway | Class::Service => settings.gateway,
                Class::Anonymous => settings.anonymous.map(|anonymous| anonymous.rate),
                Class::Streams => None,
            };
            rate.map(|rate| Limit { rate, here: InProcess::new(rate, ticks.clone(), MOST_SUBJECTS) })
        };
        Self {
            limits: Class::ALL.map(limit),
            streams: Streams::new(settings.max_streams),
            shared: settings.redis.clone().map(|address| Arc::new(Shared::new(address))),
            counts_every_address: settings.anonymous.is_some_and(|anonymous| anonymous.is_for_every_address),
            blocked: RecentMap::new(MOST_SUBJECTS),
            refusals: Default::default(),
            ticks,
        }
    }

    /// Connects to Redis, if there is one; returns within a second or so, and goes on trying if that fails. Without
    /// this the first count begins to connect. Runs inside a tokio runtime.
    pub async fn connect(&self) {
        if let Some(shared) = &self.shared {
            shared.connect().await;
        }
    }

    /// Counts `cost` requests of this user, or this token. More than the limit allows at once count as that many.
    /// Waits for Redis for at most 100 ms.
    pub async fn count(&self, class: Class, whom: &str, cost: u32) -> Counted {
        self.count_subject(class, Subject::of(whom), cost).await
    }

    /// Whether addresses count that may be shared by many callers, such as a proxy's.
    pub fn counts_every_address(&self) -> bool {
        self.counts_every_address
    }

    /// Counts a request without a valid credential from this address.
    pub async fn count_stranger(&self, address: IpAddr) -> Counted {
        self.stranger_is_blocked(address)?;
        let subject = Subject::of_address(address);
        let counted = self.count_subject(Class::Anonymous, subject, 1).await;
        if let Err(refusal) = &counted {
            self.blocked.insert(subject, self.ticks.now() + refusal.standing.next_in);
        }
        counted
    }

    /// `Err` while this address has used up its limit: for what should not even be looked at then, such as a guess.
    /// Counts nothing.
    pub fn stranger_is_blocked(&self, address: IpAddr) -> Result<(), Refusal> {
        let Some(limit) = &self.limits[Class::Anonymous as usize] else { return Ok(()) };
        let (subject, now) = (Subject::of_address(address), self.ticks.now());
        let left = self.blocked.get(&subject, |until| until.saturating_sub(now));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(self.refuse(Class::Anonymous, limit.rate, left)),
            None => Ok(()),
        }
    }

    /// A place for a stream of this user, until it is dropped. Counted in this process only.
    pub fn open_stream(&self, user: &UserId) -> Result<(StreamPlace, Standing), Refusal> {
        let most = self.streams.most();
        let standing = Standing {
            class: Class::Streams,
            quota: most,
            window: None,
            remaining: 0,
            // Nobody knows when one of them ends.
            next_in: Duration::from_secs(1),
        };
        let Some((place, open)) = self.streams.take(user) else {
            self.refusals[Class::Streams as usize].fetch_add(1, Ordering::Relaxed);
            return Err(Refusal { standing, rate: None });
        };
        Ok((place, Standing { remaining: most.saturating_sub(open), ..standing }))
    }

    /// How many were refused by each limit.
    pub fn refusals(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().map(|class| (class, self.refusals[class as usize].load(Ordering::Relaxed)))
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.streams.open()
    }

    /// How what replicas share stands; `None` if they share nothing.
    pub fn shared(&self) -> Option<SharedState> {
        let shared = self.shared.as_ref()?;
        Some(SharedState {
            address: shared.address().to_string(),
            is_in_use: shared.is_in_use(),
            why_not: shared.outage(),
        })
    }

    async fn count_subject(&self, class: Class, subject: Subject, cost: u32) -> Counted {
        let (Some(limit), Some(cost)) = (&self.limits[class as usize], NonZeroU32::new(cost)) else {
            return Ok(None);
        };
        let cost = cost.min(limit.rate.count());
        let shared = match &self.shared {
            Some(shared) => shared.count(class, &subject, limit.rate, cost).await,
            None => None,
        };
        let answer = match shared {
            Some(answer) => {
                if matches!(answer, Answer::Allowed { .. }) {
                    // So that this process knows, should Redis go away.
                    limit.here.count(subject, cost);
                }
                answer
            }
            None => limit.here.count(subject, cost),
        };
        match answer {
            Answer::Allowed { remaining } => {
                Ok(Some(Standing { remaining, ..Standing::of(class, limit.rate, limit.rate.interval()) }))
            }
            Answer::Refused { wait } => Err(self.refuse(class, limit.rate, wait)),
        }
    }

    fn refuse(&self, class: Class, rate: Rate, wait: Duration) -> Refusal {
        self.refusals[class as usize].fetch_add(1, Ordering::Relaxed);
        Refusal { standing: Standing::of(class, rate, wait), rate: Some(rate) }
    }
}

impl Standing {
    fn of(class: Class, rate: Rate, next_in: Duration) -> Self {
        Self { class, quota: rate.count().get(), window: Some(rate.seconds()), remaining: 0, next_in }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::settings::{Problems, Settings, Sources};

    fn limits(variables: &[(&str, &str)]) -> (Limits, Arc<ManualClock>) {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables.iter().copied().chain([("DEBUG", "true")]);
        let sources = Sources::load(variables.collect(), folder.path()).unwrap();
        let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
        let clock = Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
        (Limits::new(&settings.limits, Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `tries` are let through.
    async fn let_through(limits: &Limits, from: &str, tries: u32) -> u32 {
        let mut through = 0;
        for _ in 0..tries {
            through += u32::from(limits.count_stranger(address(from)).await.is_ok());
        }
        through
    }

    #[tokio::test]
    async fn each_class_counts_for_itself_and_says_how_it_stands() {
        let (limits, _) =
            limits(&[("KEYFOLD_RATE_LIMIT_KEYS", "2/minute"), ("KEYFOLD_RATE_LIMIT_GENERATE", "off")]);
        let standing = limits.count(Class::Keys, "ann", 1).await.unwrap().unwrap();
        let expected = Standing {
            class: Class::Keys,
            quota: 2,
            window: Some(60),
            remaining: 1,
            next_in: Duration::from_secs(30),
        };
        assert_eq!(standing, expected);
        assert_eq!(limits.count(Class::Keys, "ann", 1).await.unwrap().unwrap().remaining, 0);
        let refusal = limits.count(Class::Keys, "ann", 1).await.unwrap_err();
        assert_eq!(refusal.standing(), &Standing { remaining: 0, ..expected });
        let error = Error::from(refusal);
        assert_eq!(error.code(), "rate_limited");
        assert_eq!(error.to_string(), "Too many requests: 2 per minute are allowed. Try again in 30 s.");
        assert!(limits.count(Class::Keys, "bob", 1).await.is_ok());
        assert!(limits.count(Class::Gateway, "ann", 1).await.is_ok());
        assert!(limits.count(Class::Service, "ann", 600).await.is_ok());
        assert!(limits.count(Class::Gateway, "ann", 599).await.is_ok(), "a token's name is no user's");
        for _ in 0..1000 {
            assert_eq!(limits.count(Class::Generate, "ann", 1).await, Ok(None));
        }
        let refused: Vec<u64> = limits.refusals().map(|(_, count)| count).collect();
        assert_eq!(refused, [1, 0, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_batch_that_is_larger_than_the_limit_takes_all_of_it() {
        let (limits, clock) = limits(&[("KEYFOLD_RATE_LIMIT_KEYS", "3/minute")]);
        assert!(limits.count(Class::Keys, "ann", 7).await.is_ok());
        assert!(limits.count(Class::Keys, "ann", 1).await.is_err());
        clock.advance(SignedDuration::from_secs(40));
        assert!(limits.count(Class::Keys, "ann", 7).await.is_err());
        assert!(limits.count(Class::Keys, "ann", 2).await.is_ok());
        assert_eq!(limits.count(Class::Keys, "ann", 0).await, Ok(None));
    }

    #[tokio::test]
    async fn strangers_are_counted_by_address_and_ipv6_by_network() {
        let (limits, _) = limits(&[("KEYFOLD_RATE_LIMIT_ANONYMOUS", "3/hour")]);
        assert!(limits.counts_every_address());
        assert_eq!(let_through(&limits, "203.0.113.5", 5).await, 3);
        assert_eq!(let_through(&limits, "::ffff:203.0.113.5", 5).await, 0);
        assert_eq!(let_through(&limits, "203.0.113.6", 5).await, 3);
        assert_eq!(let_through(&limits, "2001:db8:0:1::1", 2).await, 2);
        assert_eq!(let_through(&limits, "2001:db8:0:1:ffff:ffff:ffff:ffff", 5).await, 1);
        assert_eq!(let_through(&limits, "2001:db8:0:2::1", 5).await, 3);
        let (usual, _) = super::tests::limits(&[]);
        assert!(!usual.counts_every_address());
    }

    #[tokio::test]
    async fn an_address_that_used_up_its_limit_is_blocked_until_there_is_room() {
        let (limits, clock) = limits(&[("KEYFOLD_RATE_LIMIT_ANONYMOUS", "2/minute")]);
        let one = address("203.0.113.5");
        assert_eq!(let_through(&limits, "203.0.113.5", 2).await, 2);
        assert_eq!(limits.stranger_is_blocked(one), Ok(()), "looking counts nothing, and nobody was refused");
        assert_eq!(let_through(&limits, "203.0.113.5", 1).await, 0);
        let blocked = limits.stranger_is_blocked(one).unwrap_err();
        assert_eq!(blocked.standing().next_in, Duration::from_secs(30));
        assert_eq!(limits.stranger_is_blocked(address("203.0.113.6")), Ok(()));
        clock.advance(SignedDuration::from_secs(10));
        assert_eq!(limits.stranger_is_blocked(one).unwrap_err().standing().next_in, Duration::from_secs(20));
        clock.advance(SignedDuration::from_secs(20));
        assert_eq!(limits.stranger_is_blocked(one), Ok(()));
        assert_eq!(let_through(&limits, "203.0.113.5", 3).await, 1);
    }

    #[tokio::test]
    async fn open_streams_are_limited_and_nothing_else() {
        let (limits, _) = limits(&[("KEYFOLD_MAX_STREAMS", "2")]);
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let (first, standing) = limits.open_stream(&ann).unwrap();
        assert_eq!((standing.quota, standing.window, standing.remaining), (2, None, 1));
        let (_second, standing) = limits.open_stream(&ann).unwrap();
        assert_eq!(standing.remaining, 0);
        let error = Error::from(limits.open_stream(&ann).unwrap_err());
        assert_eq!(error.to_string(), "Too many requests: 2 open streams are allowed. Try again in 1 s.");
        assert!(limits.open_stream(&bob).is_ok());
        drop(first);
        assert_eq!(limits.open_streams(), 1);
        assert!(limits.open_stream(&ann).is_ok());
    }
}

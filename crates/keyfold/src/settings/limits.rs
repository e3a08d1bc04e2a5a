//! The settings of the rate limits: how many requests in what time, how many streams, and what replicas share.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use super::{Problems, Sources, UNRESOLVED, sources};

/// The most requests that a limit can allow in its time.
const MOST_REQUESTS: u32 = 1_000_000;
/// The most open streams that a limit can allow.
const MOST_STREAMS: u32 = 1_000_000;
/// What the contract gives a user without settings.
const STREAMS: u32 = 20;
/// Where Redis listens unless told otherwise.
const REDIS_PORT: u16 = 6379;

/// The settings of the rate limits. `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitSettings {
    /// Saving and checking keys, per user.
    pub keys: Option<Rate>,
    /// Generate and research, per user.
    pub generate: Option<Rate>,
    /// The gateway, per user; service tokens, per token.
    pub gateway: Option<Rate>,
    /// Requests without a valid credential, per address.
    pub anonymous: Option<AnonymousLimit>,
    /// Open streams, per user.
    pub max_streams: NonZeroU32,
    /// What replicas share their counts by.
    pub redis: Option<RedisAddress>,
}

/// How many requests in what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

/// The limit of callers who are known by their address only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnonymousLimit {
    /// How many requests in what time.
    pub rate: Rate,
    /// It was set: addresses count even where many callers may share one. Otherwise only those that are known to be
    /// the caller's own.
    pub is_for_every_address: bool,
}

/// Where Redis, or Valkey, is. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
    pub(crate) database: u32,
}

/// How a connection to Redis is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Verified,
    /// Encrypted, whoever signed the certificate: some hosts sign their own.
    Unverified,
}

/// Why a text is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedRate {
    /// Not of the form.
    #[error("is no number of requests per second, minute or hour")]
    Form,
    /// Nobody could ever do anything.
    #[error("lets nothing through")]
    Zero,
    /// More than makes sense.
    #[error("allows more than a million requests")]
    TooMany,
}

/// Why a text is no address of a Redis server. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedRedisAddress {
    /// Not of the form.
    #[error("is no address of a Redis server")]
    Form,
    /// Another scheme.
    #[error("does not begin with redis:// or rediss://")]
    Scheme,
    /// The path is no number.
    #[error("has a database that is no number")]
    Database,
    /// Something after a `?` or `#`.
    #[error("has options that are not known here")]
    Options,
}

impl Rate {
    /// So many requests at once, and in each time of that length.
    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    /// The time, in seconds.
    pub fn seconds(self) -> u32 {
        match self.per {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
        }
    }

    /// After how long there is room for one more.
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.seconds().into()) / self.count.get()
    }
}

impl FromStr for Rate {
    type Err = MalformedRate;

    fn from_str(text: &str) -> Result<Self, MalformedRate> {
        let (count, per) = text.split_once('/').ok_or(MalformedRate::Form)?;
        let per = match per.trim() {
            "second" => Period::Second,
            "minute" => Period::Minute,
            "hour" => Period::Hour,
            _ => return Err(MalformedRate::Form),
        };
        let count = count.trim();
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MalformedRate::Form);
        }
        // Digits only, so what does not fit is too large.
        let count =
            count.parse().ok().filter(|count| *count <= MOST_REQUESTS).ok_or(MalformedRate::TooMany)?;
        Ok(Self { count: NonZeroU32::new(count).ok_or(MalformedRate::Zero)?, per })
    }
}

/// `60 per minute`
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
        };
        write!(formatter, "{} per {per}", self.count)
    }
}

impl LimitSettings {
    /// What is wrong is added to `problems`.
    pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Self {
        let mut rate = |name, default| read_rate(sources, name, problems).unwrap_or(default);
        let per_minute = |count| NonZeroU32::new(count).map(|count| Rate { count, per: Period::Minute });
        let keys = rate("KEYFOLD_RATE_LIMIT_KEYS", per_minute(30));
        let generate = rate("KEYFOLD_RATE_LIMIT_GENERATE", per_minute(60));
        let gateway = rate("KEYFOLD_RATE_LIMIT_GATEWAY", per_minute(600));
        let anonymous = read_rate(sources, "KEYFOLD_RATE_LIMIT_ANONYMOUS", problems);
        let is_for_every_address = anonymous.is_some();
        Self {
            keys,
            generate,
            gateway,
            anonymous: anonymous
                .unwrap_or(per_minute(120))
                .map(|rate| AnonymousLimit { rate, is_for_every_address }),
            max_streams: read_max_streams(sources, problems),
            redis: read_redis(sources, problems),
        }
    }
}

/// `None` if it is not set, `Some(None)` if it is off.
#[expect(clippy::option_option, reason = "not set, off, or a limit")]
fn read_rate(sources: &Sources, name: &str, problems: &mut Problems) -> Option<Option<Rate>> {
    let text = sources.get(name)?;
    if text.eq_ignore_ascii_case("off") {
        return Some(None);
    }
    match text.parse() {
        Ok(rate) => Some(Some(rate)),
        Err(why) => {
            problems.add(
                name,
                format!("is `{}`, which {why}", text.as_str()),
                "write a number from 1 to 1000000 and the time, such as 30/minute (second, minute or hour), or off",
            );
            None
        }
    }
}

fn read_max_streams(sources: &Sources, problems: &mut Problems) -> NonZeroU32 {
    const NAME: &str = "KEYFOLD_MAX_STREAMS";
    let usual = NonZeroU32::new(STREAMS).unwrap_or(NonZeroU32::MIN);
    let Some(text) = sources.get(NAME) else { return usual };
    let count = text.parse().ok().filter(|count: &NonZeroU32| count.get() <= MOST_STREAMS);
    count.unwrap_or_else(|| {
        problems.add(
            NAME,
            format!("is `{}`, which is no number of streams", text.as_str()),
            "use a number from 1 to 1000000, or leave it out (20)",
        );
        usual
    })
}

fn read_redis(sources: &Sources, problems: &mut Problems) -> Option<RedisAddress> {
    const NAME: &str = "REDIS_URL";
    const REMEDY: &str = "write it like redis://user:password@host:6379/0, or rediss:// for TLS, with special characters of the password percent-encoded; or leave it out: then each process counts for itself";
    let text = sources.get_or_problem(NAME, problems)?;
    if sources::is_unresolved(&text) {
        problems.add(NAME, UNRESOLVED, REMEDY);
        return None;
    }
    text.parse().map_err(|why: MalformedRedisAddress| problems.add(NAME, why.to_string(), REMEDY)).ok()
}

impl FromStr for RedisAddress {
    type Err = MalformedRedisAddress;

    fn from_str(text: &str) -> Result<Self, MalformedRedisAddress> {
        let url = Url::parse(text).map_err(|_| MalformedRedisAddress::Form)?;
        let is_encrypted = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(MalformedRedisAddress::Scheme),
        };
        let encryption = match (is_encrypted, url.fragment()) {
            (false, None) => Encryption::None,
            (true, None) => Encryption::Verified,
            // As the clients of other languages write it.
            (true, Some("insecure")) => Encryption::Unverified,
            _ => return Err(MalformedRedisAddress::Options),
        };
        if url.query().is_some() {
            return Err(MalformedRedisAddress::Options);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MalformedRedisAddress::Form)?;
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| MalformedRedisAddress::Database)?,
        };
        let decoded = |part: &str| percent_decoded(part).ok_or(MalformedRedisAddress::Form);
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
        let password = url.password().filter(|password| !password.is_empty()).map(decoded).transpose()?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(REDIS_PORT),
            encryption,
            user,
            password: password.map(Zeroizing::new),
            database,
        })
    }
}

/// `None` if an escape is cut off or what it stands for is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encrypted = if self.encryption == Encryption::None { "" } else { " (TLS)" };
        write!(formatter, "Redis database {} on {}:{}{encrypted}", self.database, self.host, self.port)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RedisAddress(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test data; no message may contain it.
    const SECRET: &str = "S3CR3T";

    fn read(variables: &[(&str, &str)]) -> (LimitSettings, String) {
        let folder = tempfile::tempdir().unwrap();
        let sources = Sources::load(variables.iter().copied().collect(), folder.path()).unwrap();
        let mut problems = Problems::default();
        let settings = LimitSettings::read(&sources, &mut problems);
        let told = problems
            .0
            .iter()
            .map(|problem| format!("{} {}\n{}\n", problem.variable, problem.what, problem.remedy));
        let told: String = told.collect();
        assert!(!format!("{told}{settings:?}").contains(SECRET), "{told}");
        (settings, told)
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn without_settings_the_limits_are_those_of_the_reference() {
        let (limits, problems) = read(&[("DEBUG", "true")]);
        assert_eq!(problems, "");
        assert_eq!(limits.keys, Some(rate("30/minute")));
        assert_eq!(limits.generate, Some(rate("60/minute")));
        assert_eq!(limits.gateway, Some(rate("600/minute")));
        let anonymous = AnonymousLimit { rate: rate("120/minute"), is_for_every_address: false };
        assert_eq!(limits.anonymous, Some(anonymous));
        assert_eq!(limits.max_streams.get(), 20);
        assert_eq!(limits.redis, None);
    }

    #[test]
    fn each_limit_is_a_number_and_a_time_or_off() {
        for (text, count, seconds, words) in [
            ("1/second", 1, 1, "1 per second"),
            ("30/minute", 30, 60, "30 per minute"),
            (" 7 / hour ", 7, 3600, "7 per hour"),
            ("1000000/second", 1_000_000, 1, "1000000 per second"),
        ] {
            for name in
                ["KEYFOLD_RATE_LIMIT_KEYS", "KEYFOLD_RATE_LIMIT_GENERATE", "KEYFOLD_RATE_LIMIT_GATEWAY"]
            {
                let (limits, problems) = read(&[(name, text)]);
                assert_eq!(problems, "", "{name} {text}");
                let named = match name {
                    "KEYFOLD_RATE_LIMIT_KEYS" => limits.keys,
                    "KEYFOLD_RATE_LIMIT_GENERATE" => limits.generate,
                    _ => limits.gateway,
                };
                let found = named.map(|rate| (rate.count().get(), rate.seconds(), rate.to_string()));
                assert_eq!(found, Some((count, seconds, words.to_owned())), "{name} {text}");
            }
        }
        for off in ["off", "OFF"] {
            assert_eq!(read(&[("KEYFOLD_RATE_LIMIT_KEYS", off)]).0.keys, None);
            assert_eq!(read(&[("KEYFOLD_RATE_LIMIT_ANONYMOUS", off)]).0.anonymous, None);
        }
        let set = AnonymousLimit { rate: rate("5/second"), is_for_every_address: true };
        assert_eq!(read(&[("KEYFOLD_RATE_LIMIT_ANONYMOUS", "5/second")]).0.anonymous, Some(set));
        for text in [
            "30",
            "30/",
            "/minute",
            "30/day",
            "30/minutes",
            "30 per minute",
            "-1/minute",
            "+1/minute",
            "1.5/minute",
            "0x1f/minute",
            "none",
            "true",
            "30/minute/2",
            "٣/minute",
        ] {
            let (_, problems) = read(&[("KEYFOLD_RATE_LIMIT_KEYS", text)]);
            assert!(problems.contains("is no number of requests"), "{text}: {problems}");
            assert!(problems.contains("30/minute"), "{text}: {problems}");
        }
        assert!(read(&[("KEYFOLD_RATE_LIMIT_GATEWAY", "0/minute")]).1.contains("lets nothing through"));
        for text in ["1000001/hour", "99999999999999999999/hour"] {
            assert!(
                read(&[("KEYFOLD_RATE_LIMIT_GATEWAY", text)]).1.contains("more than a million"),
                "{text}"
            );
        }
        assert_eq!(rate("7/hour").interval().as_millis(), 514_285);
        assert_eq!(rate("1000000/second").interval().as_nanos(), 1000);
    }

    #[test]
    fn the_number_of_streams_is_a_number() {
        assert_eq!(read(&[("KEYFOLD_MAX_STREAMS", "3")]).0.max_streams.get(), 3);
        for text in ["0", "-1", "many", "off", "1000001", "2.5"] {
            assert!(read(&[("KEYFOLD_MAX_STREAMS", text)]).1.contains("no number of streams"), "{text}");
        }
    }

    #[test]
    fn redis_is_named_as_other_clients_name_it() {
        let address = |text: &str| {
            let (limits, problems) = read(&[("REDIS_URL", text)]);
            assert_eq!(problems, "", "{text}");
            limits.redis.unwrap()
        };
        let plain = address("redis://localhost");
        assert_eq!((plain.host.as_str(), plain.port, plain.database), ("localhost", 6379, 0));
        assert_eq!((plain.user, plain.password, plain.encryption), (None, None, Encryption::None));
        let whole = address(&format!("rediss://ann:{SECRET}%40%2f:%25@cache.example:6380/2"));
        assert_eq!(whole.to_string(), "Redis database 2 on cache.example:6380 (TLS)");
        assert_eq!(whole.encryption, Encryption::Verified);
        assert_eq!(whole.user.as_deref(), Some("ann"));
        assert_eq!(whole.password.as_deref().map(String::as_str), Some("S3CR3T@/:%"));
        let without_user = address(&format!("redis://:{SECRET}@10.0.0.1:7000/"));
        assert_eq!((without_user.user, without_user.password.is_some()), (None, true));
        assert_eq!(address("redis://[::1]:6379/1").host, "::1");
        assert_eq!(address("valkey://localhost").encryption, Encryption::None);
        assert_eq!(address("valkeys://localhost").encryption, Encryption::Verified);
        assert_eq!(address("rediss://localhost#insecure").encryption, Encryption::Unverified);
    }

    #[test]
    fn what_is_no_address_of_redis_is_told_without_its_secrets() {
        for (text, complaint) in [
            ("localhost:6379", "does not begin with redis://"),
            ("http://user:S3CR3T@localhost", "does not begin with redis://"),
            ("unix:///run/S3CR3T.sock", "does not begin with redis://"),
            ("S3CR3T", "is no address"),
            ("redis://", "is no address"),
            ("redis://:S3CR3T@", "is no address"),
            ("redis://:S3CR3T%zz@localhost", "is no address"),
            ("redis://:S3CR3T%4@localhost", "is no address"),
            ("redis://:S3CR3T@localhost:99999", "is no address"),
            ("redis://:S3CR3T@localhost/mine", "database that is no number"),
            ("redis://:S3CR3T@localhost/-1", "database that is no number"),
            ("redis://:S3CR3T@localhost?timeout=1", "options"),
            ("redis://:S3CR3T@localhost#insecure", "options"),
            ("rediss://:S3CR3T@localhost#fast", "options"),
            ("${{Redis.REDIS_URL}}", "did not resolve"),
        ] {
            let (limits, problems) = read(&[("REDIS_URL", text)]);
            assert!(problems.starts_with("REDIS_URL ") && problems.contains(complaint), "{text}: {problems}");
            assert_eq!(limits.redis, None);
        }
    }
}

//! Replicas of one Keyfold, as far as their limits are concerned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfold::clock::SystemClock;
use keyfold::limit::{Class, Counted, Limits, SharedState};
use keyfold::settings::{Problems, Settings, Sources};

/// Longer than anything here takes, and far shorter than a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A replica whose limit of saving and checking keys is `rate`, and which has tried to connect.
pub(crate) async fn replica(redis: &str, rate: &str) -> Arc<Limits> {
    let limits = unconnected(redis, rate);
    limits.connect().await;
    limits
}

pub(crate) fn unconnected(redis: &str, rate: &str) -> Arc<Limits> {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DEBUG", "true"), ("REDIS_URL", redis), ("KEYFOLD_RATE_LIMIT_KEYS", rate)];
    let sources = Sources::load(variables.into_iter().collect(), folder.path()).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    Arc::new(Limits::new(&settings.limits, Arc::new(SystemClock)))
}

/// One request; a count that never ended would end the test.
pub(crate) async fn ask(limits: &Limits, user: &str) -> Counted {
    tokio::time::timeout(PATIENCE, limits.count(Class::Keys, user, 1)).await.expect("a count that ends")
}

/// How many of `tries` are let through.
pub(crate) async fn let_through(limits: &Limits, user: &str, tries: u32) -> u32 {
    let mut through = 0;
    for _ in 0..tries {
        through += u32::from(ask(limits, user).await.is_ok());
    }
    through
}

pub(crate) fn state(limits: &Limits) -> SharedState {
    limits.shared().unwrap()
}

/// Waits until its counts are shared.
pub(crate) async fn in_use(limits: &Limits) {
    soon("Redis is used", || state(limits).is_in_use).await;
}

pub(crate) async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

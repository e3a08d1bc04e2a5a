//! What calls came to since the database was last told. A call adds to a sum in memory, under a lock that it shares
//! with few others.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Notify;

use super::{DayOfUsage, TokenCounts, by_day};
use crate::provider::ProviderId;
use crate::storage::usage::{Added, MOST_ADDED, UsageFigures, UsageRow};
use crate::storage::{self, Database, StorageError};
use crate::user::UserId;

/// Users are spread over so many locks.
const SHARDS: usize = 64;
/// With so many sums the database is told at once.
const MANY: usize = 20_000;
/// More are not kept: the database has been away for long.
const MOST: usize = 200_000;
/// No call has more tokens. What says so is no count, and must not make a sum overflow.
const MOST_TOKENS: u64 = 1_000_000_000;
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// Sums that wait for the database.
pub(crate) struct Usage {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    waiting: AtomicUsize,
    /// Calls that there was no room for.
    lost: AtomicU64,
    many_wait: Notify,
    /// Whoever holds it sees each call either here or in the database.
    telling: tokio::sync::Mutex<()>,
}

type Shard = HashMap<UserId, Vec<Sum>>;

struct Sum {
    /// Since 1970.
    day: i64,
    provider: ProviderId,
    model: String,
    /// When the first of these calls ended.
    since: Timestamp,
    figures: UsageFigures,
}

/// Which sum a call belongs to.
#[derive(Clone, Copy)]
struct SumOf<'a> {
    day: i64,
    provider: &'a ProviderId,
    model: &'a str,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            many_wait: Notify::new(),
            telling: tokio::sync::Mutex::default(),
        }
    }
}

impl Usage {
    /// Counts a call that ended now.
    pub(crate) fn record(
        &self,
        now: Timestamp,
        user: &UserId,
        provider: &ProviderId,
        counts: &TokenCounts,
        is_error: bool,
    ) {
        let model = counts.model.as_deref().unwrap_or_default();
        let sum_of = SumOf { day: day_of(now), provider, model };
        self.add(user, sum_of, now, figures_of(counts, is_error));
    }

    /// Tells the database. What it does not take is kept for the next time.
    pub(crate) async fn flush(&self, database: &Database) {
        let _alone = self.telling.lock().await;
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                calls = lost,
                "calls are missing in the usage figures: too many waited for the database"
            );
        }
        let taken = self.take_all();
        let mut is_away = false;
        for batch in taken.chunks(MOST_ADDED) {
            if is_away {
                self.put_back(batch);
                continue;
            }
            let rows: Vec<Added> = batch.iter().map(|(user, sum)| sum.added(user)).collect();
            if let Err(error) = storage::usage::add(database, &rows).await {
                tracing::debug!(%error, "usage figures were not written");
                is_away = matches!(error, StorageError::Unavailable(_));
                self.put_back(batch);
            }
        }
    }

    /// Waits until there is so much that the database should be told at once.
    pub(crate) async fn many_wait(&self) {
        self.many_wait.notified().await;
    }

    /// What a user's calls came to in so many days, today included; the newest first.
    pub(crate) async fn of_user(
        &self,
        database: &Database,
        user: &UserId,
        now: Timestamp,
        days: u16,
    ) -> Result<Vec<DayOfUsage>, StorageError> {
        let first_day = day_of(now) - (i64::from(days) - 1);
        let since = text_of(first_day);
        let _alone = self.telling.lock().await;
        let mut rows = storage::usage::of_user(database, user, &since).await?;
        for sum in self.shard(user).get(user).into_iter().flatten() {
            let waiting = sum.added(user).row;
            let same = |row: &&mut UsageRow| {
                (&row.day, &row.provider, &row.model) == (&waiting.day, &waiting.provider, &waiting.model)
            };
            match rows.iter_mut().find(same) {
                Some(row) => row.figures.add(waiting.figures),
                None if sum.day >= first_day => rows.push(waiting),
                None => {}
            }
        }
        rows.sort_by(|a, b| {
            b.day.cmp(&a.day).then_with(|| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)))
        });
        Ok(by_day(rows))
    }

    /// Those whose calls wait.
    pub(crate) fn users(&self) -> Vec<UserId> {
        self.shards.iter().flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Forgets what waits for a user who was deleted.
    pub(crate) fn forget(&self, user: &UserId) {
        let removed = self.shard(user).remove(user);
        self.waiting.fetch_sub(removed.map_or(0, |sums| sums.len()), Ordering::Relaxed);
    }

    fn add(&self, user: &UserId, sum_of: SumOf<'_>, since: Timestamp, figures: UsageFigures) {
        let mut shard = self.shard(user);
        let sums = shard.get_mut(user);
        if let Some(sum) = sums.and_then(|sums| sums.iter_mut().find(|sum| sum.is(sum_of))) {
            sum.figures.add(figures);
            sum.since = sum.since.min(since);
            return;
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        if before >= MOST {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(u64::try_from(figures.requests).unwrap_or(0), Ordering::Relaxed);
            return;
        }
        let SumOf { day, provider, model } = sum_of;
        let sum = Sum { day, provider: provider.clone(), model: model.to_owned(), since, figures };
        shard.entry(user.clone()).or_default().push(sum);
        drop(shard);
        if before >= MANY {
            self.many_wait.notify_one();
        }
    }

    /// In the same order everywhere: processes that add to the same rows wait for each other in turn.
    fn take_all(&self) -> Vec<(UserId, Sum)> {
        let mut taken = vec![];
        for shard in &self.shards {
            let sums = std::mem::take(&mut *lock(shard));
            taken.extend(
                sums.into_iter()
                    .flat_map(|(user, sums)| sums.into_iter().map(move |sum| (user.clone(), sum))),
            );
        }
        self.waiting.fetch_sub(taken.len(), Ordering::Relaxed);
        taken.sort_by(|(user, sum), (other, others)| {
            (user, sum.day, &sum.provider, &sum.model).cmp(&(
                other,
                others.day,
                &others.provider,
                &others.model,
            ))
        });
        taken
    }

    fn put_back(&self, sums: &[(UserId, Sum)]) {
        for (user, sum) in sums {
            let sum_of = SumOf { day: sum.day, provider: &sum.provider, model: &sum.model };
            self.add(user, sum_of, sum.since, sum.figures);
        }
    }

    fn shard(&self, user: &UserId) -> MutexGuard<'_, Shard> {
        let [first, ..] = self.hasher.hash_one(user).to_ne_bytes();
        lock(&self.shards[usize::from(first) % SHARDS])
    }
}

impl Sum {
    fn is(&self, sum_of: SumOf<'_>) -> bool {
        self.day == sum_of.day && self.provider == *sum_of.provider && self.model == sum_of.model
    }

    fn added(&self, user: &UserId) -> Added {
        let row = UsageRow {
            day: text_of(self.day),
            provider: self.provider.to_string(),
            model: self.model.clone(),
            figures: self.figures,
        };
        Added { user: user.clone(), row, since: self.since }
    }
}

fn figures_of(counts: &TokenCounts, is_error: bool) -> UsageFigures {
    let known = |count: Option<u64>| count.filter(|count| *count <= MOST_TOKENS);
    let tokens = |count: Option<u64>| known(count).and_then(|count| i64::try_from(count).ok()).unwrap_or(0);
    let is_unknown = !is_error && known(counts.input).is_none() && known(counts.output).is_none();
    UsageFigures {
        requests: 1,
        errors: i64::from(is_error),
        input_tokens: tokens(counts.input),
        output_tokens: tokens(counts.output),
        unknown: i64::from(is_unknown),
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SECONDS_OF_A_DAY)
}

fn text_of(day: i64) -> String {
    let begin = Timestamp::from_second(day.saturating_mul(SECONDS_OF_A_DAY)).unwrap_or(Timestamp::MIN);
    begin.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::storage::{Connection, statement};

    async fn database_of(users: &[&UserId]) -> (Database, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        let database = Database::open_sqlite(path, Duration::from_secs(1)).await.unwrap();
        for user in users {
            storage::sessions::insert_and_take_turn(&database, user, "w", now()).await.unwrap();
        }
        (database, folder)
    }

    fn now() -> Timestamp {
        "2026-11-30T10:00:00Z".parse().unwrap()
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn provider(id: &str) -> ProviderId {
        ProviderId::parse(id).unwrap()
    }

    fn counts(model: &str, input: u64, output: u64) -> TokenCounts {
        TokenCounts { model: Some(model.into()), input: Some(input), output: Some(output) }
    }

    #[tokio::test]
    async fn what_waits_is_shown_and_what_was_written_too() {
        let (ann, bob) = (user("ann"), user("bob"));
        let (database, _folder) = database_of(&[&ann, &bob]).await;
        let (here, there) = (Usage::default(), Usage::default());
        let yesterday = now() - jiff::SignedDuration::from_hours(24);
        let (gemini, openai) = (provider("gemini"), provider("openai"));
        for usage in [&here, &there] {
            usage.record(now(), &ann, &openai, &counts("gpt-4o", 10, 20), false);
            usage.record(now(), &ann, &openai, &counts("gpt-4o", 1, 2), false);
            usage.record(now(), &ann, &openai, &TokenCounts::default(), true);
            usage.record(now(), &ann, &gemini, &TokenCounts::default(), false);
            usage.record(yesterday, &ann, &openai, &counts("gpt-4o", 5, 6), false);
            usage.record(now(), &bob, &openai, &counts("gpt-4o", 100, 200), false);
        }
        there.flush(&database).await;
        let expected = |times: i64| {
            let figures = |requests, errors, input_tokens, output_tokens, unknown| UsageFigures {
                requests: times * requests,
                errors: times * errors,
                input_tokens: times * input_tokens,
                output_tokens: times * output_tokens,
                unknown: times * unknown,
            };
            let gpt = Some("gpt-4o".to_owned());
            let day = |day: &str, provider: &str, all, models| DayOfUsage {
                day: day.into(),
                provider: provider.into(),
                figures: all,
                models,
            };
            let (silent, failed) = (figures(1, 0, 0, 0, 1), figures(1, 1, 0, 0, 0));
            let (said, before) = (figures(2, 0, 11, 22, 0), figures(1, 0, 5, 6, 0));
            [
                day("2026-11-30", "gemini", silent, vec![(None, silent)]),
                day(
                    "2026-11-30",
                    "openai",
                    figures(3, 1, 11, 22, 0),
                    vec![(None, failed), (gpt.clone(), said)],
                ),
                day("2026-11-29", "openai", before, vec![(gpt, before)]),
            ]
        };
        assert_eq!(there.of_user(&database, &ann, now(), 2).await.unwrap(), expected(1));
        assert_eq!(here.of_user(&database, &ann, now(), 2).await.unwrap(), expected(2));
        here.flush(&database).await;
        assert_eq!(there.of_user(&database, &ann, now(), 2).await.unwrap(), expected(2));
        assert_eq!(here.of_user(&database, &ann, now(), 1).await.unwrap(), expected(2)[..2]);
        // Once is enough.
        here.flush(&database).await;
        assert_eq!(here.of_user(&database, &ann, now(), 366).await.unwrap(), expected(2));
        assert_eq!(here.users(), []);
        database.close().await;
    }

    #[tokio::test]
    async fn what_the_database_does_not_take_is_kept() {
        let ann = user("ann");
        let (database, _folder) = database_of(&[&ann]).await;
        let run = async |sql| database.execute(&statement(sql, &[]), vec![]).await.unwrap();
        let usage = Usage::default();
        for model in 0..=MOST_ADDED {
            usage.record(now(), &ann, &provider("openai"), &counts(&format!("m{model}"), 1, 2), false);
        }
        run("ALTER TABLE usage RENAME TO away").await;
        usage.flush(&database).await;
        usage.record(now(), &ann, &provider("openai"), &counts("m0", 1, 2), false);
        assert_eq!(usage.waiting.load(Ordering::Relaxed), MOST_ADDED + 1);
        run("ALTER TABLE away RENAME TO usage").await;
        usage.flush(&database).await;
        assert_eq!(usage.waiting.load(Ordering::Relaxed), 0);
        let found = usage.of_user(&database, &ann, now(), 1).await.unwrap();
        assert_eq!(found[0].models.len(), MOST_ADDED + 1);
        let all = i64::try_from(MOST_ADDED).unwrap() + 2;
        assert_eq!((found[0].figures.requests, found[0].figures.output_tokens), (all, 2 * all));
        database.close().await;
    }

    #[tokio::test]
    async fn a_user_who_was_deleted_is_forgotten() {
        let (ann, bob) = (user("ann"), user("bob"));
        let (database, _folder) = database_of(&[&ann, &bob]).await;
        let usage = Usage::default();
        for user in [&ann, &bob] {
            usage.record(now(), user, &provider("openai"), &counts("gpt-4o", 1, 2), false);
        }
        usage.forget(&ann);
        usage.flush(&database).await;
        assert_eq!(usage.of_user(&database, &ann, now(), 1).await.unwrap(), []);
        assert_eq!(usage.of_user(&database, &bob, now(), 1).await.unwrap().len(), 1);
        assert_eq!(usage.waiting.load(Ordering::Relaxed), 0);
        database.close().await;
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_is_counted_as_lost() {
        let usage = Usage::default();
        for number in 0..MOST + 3 {
            let model = TokenCounts { model: Some(number.to_string()), ..TokenCounts::default() };
            usage.record(
                now(),
                &user(&format!("user_{}", number % 1000)),
                &provider("openai"),
                &model,
                false,
            );
        }
        assert_eq!((usage.waiting.load(Ordering::Relaxed), usage.lost.load(Ordering::Relaxed)), (MOST, 3));
        // Whoever flushes was told.
        usage.many_wait().await;
        // What has a sum already is added to it.
        let first = TokenCounts { model: Some("0".into()), ..TokenCounts::default() };
        usage.record(now(), &user("user_0"), &provider("openai"), &first, false);
        assert_eq!(usage.lost.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_cannot_be_a_count_is_unknown() {
        let none = figures_of(&counts("m", u64::MAX, MOST_TOKENS + 1), false);
        assert_eq!((none.input_tokens, none.output_tokens, none.unknown), (0, 0, 1));
        let half = figures_of(&counts("m", MOST_TOKENS, u64::MAX), false);
        assert_eq!((half.input_tokens, half.output_tokens, half.unknown), (1_000_000_000, 0, 0));
    }
}

//! What replicas count together.

use std::collections::BTreeMap;
use std::time::Duration;

use keyfold::limit::{Class, Standing};
use keyfold_test_servers::RedisServer;

use crate::setup::{ask, in_use, let_through, replica, state};

/// How often each command ran since the last reset.
fn commands(redis: &RedisServer) -> BTreeMap<String, u32> {
    let told = redis.ask("INFO commandstats");
    let lines = told.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines.map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap())).collect()
}

fn keys(redis: &RedisServer, class: &str) -> Vec<String> {
    let told = redis.ask(&format!("KEYS keyfold:limit:{class}:*"));
    told.lines().filter(|line| line.starts_with("keyfold:")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_let_through_together_what_the_limit_says() {
    let redis = RedisServer::start(&[]);
    let (one, other) = (replica(&redis.url(), "10/hour").await, replica(&redis.url(), "10/hour").await);
    in_use(&one).await;
    in_use(&other).await;
    assert_eq!(let_through(&one, "ann", 4).await, 4);
    let standing = ask(&other, "ann").await.unwrap().unwrap();
    assert_eq!((standing.quota, standing.remaining), (10, 5));
    assert_eq!(let_through(&one, "ann", 4).await, 4);
    assert_eq!(let_through(&other, "ann", 4).await, 1);
    assert_eq!(let_through(&one, "ann", 4).await, 0);
    assert_eq!(let_through(&other, "bob", 20).await, 10);
    // At the same time it is the same.
    let tasks = (0..40).map(|number| {
        let replica = if number % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { u32::from(ask(&replica, "eve").await.is_ok()) })
    });
    let mut through = 0;
    for task in tasks.collect::<Vec<_>>() {
        through += task.await.unwrap();
    }
    assert_eq!(through, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_a_process_alone_count_alike() {
    let redis = RedisServer::start(&[]);
    for rate in ["5/hour", "7/hour", "1/hour", "3/minute"] {
        let shared = replica(&redis.url(), rate).await;
        let alone = replica("redis://127.0.0.1:1", rate).await;
        in_use(&shared).await;
        for cost in [1, 2, 1, 1, 9, 1, 3] {
            let answers = [&shared, &alone].map(|limits| limits.count(Class::Keys, rate, cost));
            let [shared, alone] = futures_util::future::join_all(answers).await.try_into().unwrap();
            // The two clocks are a moment apart.
            let told = |standing: &Standing| (standing.remaining, standing.next_in.as_secs_f64().round());
            let shared =
                shared.map(|standing| told(&standing.unwrap())).map_err(|refusal| told(refusal.standing()));
            let alone =
                alone.map(|standing| told(&standing.unwrap())).map_err(|refusal| told(refusal.standing()));
            assert_eq!(shared, alone, "{rate}, {cost} at once");
        }
        assert!(state(&shared).is_in_use);
        assert!(!state(&alone).is_in_use);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_again_after_an_interval() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "5/second").await;
    in_use(&limits).await;
    let mut refused = 0;
    // By Redis's own clock, which nobody holds: until it was refused and let through again.
    while refused == 0 || ask(&limits, "ann").await.is_err() {
        refused += u32::from(ask(&limits, "ann").await.is_err());
    }
    assert!(state(&limits).is_in_use);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_one_round_trip() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "20/hour").await;
    in_use(&limits).await;
    redis.ask("CONFIG RESETSTAT");
    assert_eq!(let_through(&limits, "ann", 50).await, 20);
    let mut commands = commands(&redis);
    assert_eq!(commands.remove("evalsha"), Some(50));
    // What the script itself does, and this test.
    for inside in ["get", "set", "time", "config|resetstat", "info", "quit"] {
        commands.remove(inside);
    }
    assert_eq!(commands, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_the_script_learns_it_again() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "3/hour").await;
    in_use(&limits).await;
    assert_eq!(let_through(&limits, "ann", 1).await, 1);
    redis.ask("SCRIPT FLUSH");
    redis.ask("CONFIG RESETSTAT");
    assert_eq!(let_through(&limits, "ann", 3).await, 2);
    let commands = commands(&redis);
    assert_eq!((commands.get("evalsha"), commands.get("eval")), (Some(&3), Some(&1)));
    assert!(state(&limits).is_in_use);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_names_nobody_and_goes_away_by_itself() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "3/minute").await;
    in_use(&limits).await;
    for user in ["ann", "user_2abcdef", "bob@example.com"] {
        assert_eq!(let_through(&limits, user, 5).await, 3);
    }
    let keys = keys(&redis, "keys");
    assert_eq!(keys.len(), 3);
    for key in keys {
        let hash = key.strip_prefix("keyfold:limit:keys:").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        let left = redis.ask(&format!("PTTL {key}"));
        let left: i64 = left.lines().next().unwrap().trim_start_matches(':').parse().unwrap();
        assert!((1..=60_000).contains(&left), "{key}: {left} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_request_led_to_keeps_nobody_waiting_for_longer_than_the_limit() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "3/minute").await;
    in_use(&limits).await;
    assert_eq!(let_through(&limits, "ann", 1).await, 1);
    let key = keys(&redis, "keys").remove(0);
    // As after Redis's clock was set back by years.
    redis.ask(&format!("SET {key} 99999999999999999"));
    let refusal = ask(&limits, "ann").await.unwrap_err();
    assert!(refusal.standing().next_in <= Duration::from_secs(60), "{refusal:?}");
    // Something else's.
    redis.ask(&format!("SET {key} nonsense"));
    assert!(ask(&limits, "ann").await.is_ok());
    assert!(state(&limits).is_in_use);
}

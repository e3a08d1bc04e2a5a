//! Redis away, silent, or not as it should be: limits hold all the same, nobody waits for it, and it is used again by
//! itself.

use keyfold::limit::Class;
use keyfold_test_servers::{RedisServer, free_port};

use crate::setup::{ask, in_use, let_through, replica, soon, state, unconnected};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_is_done_without_until_it_is_back() {
    let redis = RedisServer::start(&[]);
    let (one, other) = (replica(&redis.url(), "10/hour").await, replica(&redis.url(), "10/hour").await);
    in_use(&one).await;
    in_use(&other).await;
    assert_eq!(let_through(&one, "ann", 4).await, 4);
    assert_eq!(let_through(&other, "ann", 3).await, 3);
    redis.kill();
    // Each knows what it let through itself: together no more than the limit each.
    assert_eq!(let_through(&one, "ann", 20).await, 6);
    assert_eq!(let_through(&other, "ann", 20).await, 7);
    assert!(!state(&one).is_in_use && !state(&other).is_in_use);
    assert!(state(&one).why_not.is_some());
    redis.start_again();
    in_use(&one).await;
    in_use(&other).await;
    assert_eq!(state(&one).why_not, None);
    assert_eq!(let_through(&one, "bob", 6).await, 6);
    assert_eq!(let_through(&other, "bob", 6).await, 4);
    // The connection broke while nobody asked: the next one learns it, and is counted.
    redis.kill();
    redis.start_again();
    assert_eq!(let_through(&one, "eve", 20).await, 10);
    in_use(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_falls_silent_is_asked_no_more() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "10/hour").await;
    in_use(&limits).await;
    assert_eq!(let_through(&limits, "ann", 2).await, 2);
    redis.pause();
    // Those that asked it wait for it no longer than the first one.
    let tasks = (0..50).map(|_| {
        let limits = limits.clone();
        tokio::spawn(async move { u32::from(ask(&limits, "ann").await.is_ok()) })
    });
    let mut through = 0;
    for task in tasks.collect::<Vec<_>>() {
        through += task.await.unwrap();
    }
    assert_eq!(through, 8);
    assert!(!state(&limits).is_in_use);
    assert!(state(&limits).why_not.unwrap().contains("did not answer"));
    // Its port still accepts connections; that is not enough.
    limits.connect().await;
    assert_eq!(let_through(&limits, "bob", 20).await, 10);
    assert!(!state(&limits).is_in_use);
    redis.resume();
    in_use(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_at_the_start_is_used_when_it_comes() {
    let redis = RedisServer::start(&[]);
    redis.kill();
    // Nobody told it to connect: the first count does.
    let limits = unconnected(&redis.url(), "3/hour");
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
    soon("it is told", || state(&limits).why_not.is_some_and(|why| why.contains("no connection"))).await;
    redis.start_again();
    in_use(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_its_address_is_no_reason_to_let_everything_through() {
    let limits = replica(&format!("redis://127.0.0.1:{}", free_port()), "3/hour").await;
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
    let unknown = replica("redis://no-such-host.invalid", "3/hour").await;
    assert_eq!(let_through(&unknown, "ann", 5).await, 3);
    assert!(!state(&unknown).is_in_use);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    const PASSWORD: &str = "test-data-p@ssword";
    let redis = RedisServer::start(&["--requirepass", PASSWORD]);
    let address = |user: &str, password: &str| {
        let password = password.replace('@', "%40");
        format!("redis://{user}:{password}@127.0.0.1:{}", redis.port())
    };
    for (address, words) in [
        (address("", "test-data-wrong"), "refuses the user or the password in REDIS_URL"),
        (address("nobody", PASSWORD), "refuses the user or the password in REDIS_URL"),
        (redis.url(), "asks for a password, and REDIS_URL has none"),
    ] {
        let limits = replica(&address, "3/hour").await;
        let state = state(&limits);
        assert!(state.why_not.as_ref().is_some_and(|why| why.contains(words)), "{state:?}");
        assert!(!format!("{state:?}").contains("test-data"), "{state:?}");
        assert_eq!(let_through(&limits, "ann", 5).await, 3);
    }
    for address in [address("", PASSWORD), address("default", PASSWORD)] {
        let limits = replica(&address, "3/hour").await;
        assert!(state(&limits).is_in_use, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_do_no_more_than_the_guide_says_is_enough() {
    let redis = RedisServer::start(&[]);
    let allow = |user: &str, commands: &str| {
        let told = redis.ask(&format!("ACL SETUSER {user} on >test-data ~keyfold:* {commands}"));
        assert!(told.starts_with("+OK"), "{told}");
        format!("redis://{user}:test-data@127.0.0.1:{}", redis.port())
    };
    let limits = replica(&allow("keyfold", "+eval +evalsha +get +set +time"), "3/hour").await;
    assert!(state(&limits).is_in_use, "{:?}", state(&limits));
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
    let limits = replica(&allow("reader", "+get +set +time"), "3/hour").await;
    let why = state(&limits).why_not.unwrap();
    assert!(why.contains("may not do what the limits need"), "{why}");
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_and_cannot_count_is_not_used() {
    let redis = RedisServer::start(&[]);
    let limits = replica(&redis.url(), "3/hour").await;
    in_use(&limits).await;
    // It may be read and not written, as a replica of Redis's own.
    redis.ask("REPLICAOF 127.0.0.1 1");
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
    assert!(!state(&limits).is_in_use);
    limits.connect().await;
    assert!(!state(&limits).is_in_use);
    redis.ask("REPLICAOF NO ONE");
    in_use(&limits).await;
    assert!(limits.count(Class::Keys, "ann", 1).await.is_ok());
}

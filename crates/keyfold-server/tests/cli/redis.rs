//! Redis that rate limits are shared by, as the log of `keyfold serve` tells of it.

use keyfold_standin::example_key;
use keyfold_test_servers::RedisServer;

use crate::harness::{Folder, Server};

fn serve(folder: &Folder, redis: &str) -> Server {
    let start = folder.keyfold(&["serve"]).env("DEBUG", "true").env("REDIS_URL", redis);
    start.env("KEYFOLD_RATE_LIMIT_KEYS", "3/hour").serve()
}

/// Lines of the log that have this text.
fn lines(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn redis_going_and_coming_is_told_once_each() {
    let (folder, redis) = (Folder::new(), RedisServer::start(&[]));
    let address = format!("127.0.0.1:{}", redis.port());
    let server = serve(&folder, &redis.url());
    let save = || server.put_key("gemini", &example_key("gemini", 1)).status;
    assert!(server.log().contains(&format!("rate limits are shared, by Redis database 0 on {address}")));
    assert_eq!(save(), 201);
    redis.kill();
    assert_eq!([save(), save(), save(), save()], [200, 200, 429, 429]);
    let away = format!("Redis database 0 on {address} cannot be used");
    let told = server.wait_for(&away);
    assert!(told.contains("Each process counts requests for itself until it can"), "{told}");
    redis.start_again();
    server.wait_for("rate limits are shared again, by Redis");
    redis.kill();
    assert_eq!(save(), 429);
    server.wait_for(&away);
    let log = server.stop().err;
    assert_eq!((lines(&log, &away), lines(&log, "rate limits are shared again")), (2, 1), "{log}");
}

#[test]
fn a_start_does_not_fail_for_want_of_redis() {
    let folder = Folder::new();
    let redis = RedisServer::start(&["--requirepass", "test-data-right"]);
    let address = format!("redis://:test-data-wrong@127.0.0.1:{}", redis.port());
    let server = serve(&folder, &address);
    let save = || server.put_key("gemini", &example_key("gemini", 1)).status;
    assert_eq!([save(), save(), save(), save()], [201, 200, 200, 429]);
    let log = server.stop().err;
    assert_eq!(lines(&log, "refuses the user or the password in REDIS_URL"), 1, "{log}");
    assert!(!log.contains("test-data"), "{log}");
}

#[test]
fn commands_do_not_ask_redis_for_anything() {
    let (folder, redis) = (Folder::new(), RedisServer::start(&[]));
    redis.ask("CONFIG RESETSTAT");
    let set = folder.keyfold(&["keys", "set", "gemini"]).env("DEBUG", "true").env("REDIS_URL", &redis.url());
    set.stdin(&example_key("gemini", 1)).run().ok();
    assert!(!redis.ask("INFO commandstats").contains("cmdstat_eval"));
}

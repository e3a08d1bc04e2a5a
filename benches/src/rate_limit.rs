//! What counting a request costs: in this process, and in Redis.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use keyfold::clock::{Clock, SystemClock};
use keyfold::limit::{Class, Limits};
use keyfold::settings::{Problems, Settings, Sources};
use keyfold_test_servers::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::report::{ROUNDS, heading, line, median, nanoseconds};

const CALLS: u32 = 50_000;
/// Of one round, one after the other.
const ROUND_TRIPS: u32 = 2_000;
const USER: &str = "user_2abcdefghijklmnopqrstuvwxyz";

pub(crate) async fn measure() {
    in_process();
    in_redis().await;
}

fn limits(redis: Option<&str>) -> Limits {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DEBUG", "true"), ("KEYFOLD_RATE_LIMIT_GENERATE", "1000000/second")];
    let variables = variables.into_iter().chain(redis.map(|url| ("REDIS_URL", url)));
    let sources = Sources::load(variables.collect(), folder.path()).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    Limits::new(&settings.limits, Arc::new(SystemClock))
}

/// The floor: what cannot be done without, to hash who is counted and to look at the clock.
fn in_process() {
    let limits = limits(None);
    // As many as a busy node has.
    for number in 0..2_000 {
        let _ = now(limits.count(Class::Generate, &format!("user_{number}"), 1));
    }
    let (mut figures, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(nanoseconds(CALLS, || {
            black_box((digest(&SHA256, black_box(USER.as_bytes())), SystemClock.now()));
        }));
        figures.push(nanoseconds(CALLS, || {
            let _ = black_box(now(limits.count(Class::Generate, USER, 1)));
        }));
    }
    heading("Counting a request in this process (floor: a SHA-256 of the user's id and a look at the clock)");
    line("count(class, user)", median(figures), median(floors), "ns", "");
}

/// The floor: a `PING` on a connection of its own, sent and read by hand.
async fn in_redis() {
    let server = tokio::task::spawn_blocking(|| RedisServer::start(&[])).await.unwrap();
    let limits = limits(Some(&server.url()));
    limits.connect().await;
    assert!(limits.shared().unwrap().is_in_use, "Redis is there");
    let mut bare = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    bare.set_nodelay(true).unwrap();
    let (mut figures, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..ROUND_TRIPS {
            let mut pong = [0; 7];
            bare.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
            bare.read_exact(&mut pong).await.unwrap();
            assert_eq!(&pong, b"+PONG\r\n");
        }
        floors.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS));
        let begun = Instant::now();
        for _ in 0..ROUND_TRIPS {
            let _ = black_box(limits.count(Class::Generate, USER, 1).await);
        }
        figures.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS));
    }
    assert!(limits.shared().unwrap().is_in_use, "it stayed there");
    heading("Counting a request in Redis (floor: a bare PING in the same place)");
    line("count(class, user)", median(figures), median(floors), "µs", "one round trip");
}

fn now<T>(counted: impl Future<Output = T>) -> T {
    match pin!(counted).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(counted) => counted,
        Poll::Pending => unreachable!("a process alone waits for nobody"),
    }
}

//! PostgreSQL restarted and Redis killed while users save and call: nothing acknowledged is lost, and the audit log
//! tells of each change once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use keyfold_standin::{Issuer, example_key};
use keyfold_test_servers::{PostgresServer, RedisServer};
use serde_json::json;

use crate::audit;
use crate::harness::{Answer, Production, Server, Start, runtime};

const USERS: u32 = 4;
const PROVIDER: &str = "gemini";

/// Someone who saves and calls, whatever comes back.
#[derive(Default)]
struct Member {
    /// How often, and the number of the key that was last acknowledged.
    acknowledged: AtomicU32,
    last: AtomicU32,
    called: AtomicU32,
    refused: AtomicU32,
}

struct Stage {
    production: Production,
    postgres: PostgresServer,
    redis: RedisServer,
    database: String,
    issuer: Issuer,
}

impl Stage {
    fn set() -> Self {
        let postgres = PostgresServer::start(&[]);
        let database = runtime().block_on(postgres.empty_database());
        let redis = RedisServer::start(&[]);
        let issuer = runtime().block_on(Issuer::start());
        Self { production: Production::new(), postgres, redis, database, issuer }
    }

    fn keyfold(&self, arguments: &[&str]) -> Start {
        self.production.keyfold(arguments).env("DATABASE_URL", &self.database)
    }

    fn serve(&self) -> Server {
        let mut start = self.keyfold(&["serve"]).env("REDIS_URL", &self.redis.url());
        for (name, value) in self.issuer.settings() {
            start = start.env(name, &value);
        }
        for limit in ["KEYS", "GENERATE", "ANONYMOUS"] {
            start = start.env(&format!("KEYFOLD_RATE_LIMIT_{limit}"), "100000/minute");
        }
        start.serve()
    }

    fn live(&self, server: &Server, number: u32, member: &Member, is_over: &AtomicBool) {
        let token = self.issuer.token_for(&format!("user_{number}"));
        let mut n = number * 10_000;
        while !is_over.load(Ordering::SeqCst) {
            n += 1;
            let save = server.request("PUT", &format!("/api/keys/{PROVIDER}")).bearer_auth(&token);
            let save = Answer::to(save.json(&json!({ "key": example_key(PROVIDER, n) }))).unwrap();
            match save.status {
                200 | 201 => {
                    member.acknowledged.fetch_add(1, Ordering::SeqCst);
                    member.last.store(n, Ordering::SeqCst);
                }
                // What it said, it said in time.
                503 => _ = member.refused.fetch_add(1, Ordering::SeqCst),
                _ => panic!("{save:?}"),
            }
            let call = server.request("POST", "/api/generate").bearer_auth(&token);
            let call = Answer::to(call.json(&json!({ "prompt": "Say hello" }))).unwrap();
            match call.status {
                200 => _ = member.called.fetch_add(1, Ordering::SeqCst),
                503 => {}
                404 => assert_eq!(member.last.load(Ordering::SeqCst), 0, "{call:?}"),
                _ => panic!("{call:?}"),
            }
        }
    }
}

#[test]
fn what_was_acknowledged_while_postgresql_restarts_and_redis_dies_is_there_once() {
    let stage = Stage::set();
    let server = stage.serve();
    let members: Vec<Member> = (0..USERS).map(|_| Member::default()).collect();
    let is_over = AtomicBool::new(false);
    let sum = |count: fn(&Member) -> &AtomicU32| -> u32 {
        members.iter().map(|member| count(member).load(Ordering::SeqCst)).sum()
    };
    let wait_for_more = |count: fn(&Member) -> &AtomicU32, more: u32| {
        let wanted = sum(count) + more;
        while sum(count) < wanted {
            assert!(!is_over.load(Ordering::SeqCst));
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        for (number, member) in (1..).zip(&members) {
            let (stage, server, is_over) = (&stage, &server, &is_over);
            scope.spawn(move || {
                stage.live(server, number, member, is_over);
            });
        }
        wait_for_more(|member| &member.acknowledged, 20);
        stage.redis.kill();
        wait_for_more(|member| &member.acknowledged, 20);
        for crash in [true, false] {
            if crash {
                stage.postgres.crash();
            } else {
                stage.postgres.stop();
            }
            wait_for_more(|member| &member.refused, 4);
            stage.postgres.start_again();
            wait_for_more(|member| &member.acknowledged, 20);
        }
        stage.redis.start_again();
        wait_for_more(|member| &member.acknowledged, 20);
        is_over.store(true, Ordering::SeqCst);
    });

    let mut versions = BTreeMap::new();
    for (number, member) in (1_u32..).zip(&members) {
        let user = format!("user_{number}");
        let list = server.request("GET", "/api/keys").bearer_auth(stage.issuer.token_for(&user));
        let list = Answer::to(list).unwrap();
        let version = list.body["keys"][0]["version"].as_u64().unwrap();
        // One whose answer was lost with the database may have been saved all the same.
        assert!(version >= u64::from(member.acknowledged.load(Ordering::SeqCst)), "{user}: {}", list.body);
        let key = example_key(PROVIDER, member.last.load(Ordering::SeqCst));
        let listed = list.body["keys"][0]["masked"].as_str().unwrap();
        assert_eq!(listed, format!("****{}", &key[key.len() - 4..]), "{user}");
        versions.insert((user, PROVIDER.to_owned()), usize::try_from(version).unwrap());
    }
    server.stop();
    // Each version was made by one change, and the log tells of it once.
    assert_eq!(audit::changes(|arguments| stage.keyfold(arguments)), versions);
    let export = stage.keyfold(&["audit", "export"]).run();
    let opened = export.ok().lines().filter(|line| line.contains(r#""action":"key.opened""#)).count();
    let called: u32 = sum(|member| &member.called);
    assert!(opened >= usize::try_from(called).unwrap(), "{opened} uses are recorded, {called} were made");
}

//! Production: one transaction on PostgreSQL is all of a change.

use std::collections::BTreeMap;
use std::thread;

use keyfold_standin::{Issuer, example_key, fingerprint};
use keyfold_test_servers::PostgresServer;
use reqwest::RequestBuilder;
use rustix::process::Signal;
use serde_json::json;

use crate::audit;
use crate::client::{Client, Outcome, Progress};
use crate::harness::{Answer, Production, Server, runtime};
use crate::random::{Random, SEED, kills};

const PROVIDER: &str = "gemini";
const AT_ONCE: usize = 4;

struct Stage {
    production: Production,
    issuer: Issuer,
    members: Vec<Client>,
    outcomes: BTreeMap<Outcome, u32>,
}

fn name(member: usize) -> String {
    format!("user_{member}")
}

impl Stage {
    fn set() -> Self {
        println!("seed {SEED:#x}");
        let issuer = runtime().block_on(Issuer::start());
        Self { production: Production::new(), issuer, members: vec![], outcomes: BTreeMap::new() }
    }

    fn serve(&self) -> Server {
        let mut start = self.production.keyfold(&["serve"]);
        for (name, value) in self.issuer.settings() {
            start = start.env(name, &value);
        }
        for limit in ["KEYS", "GENERATE", "ANONYMOUS"] {
            start = start.env(&format!("KEYFOLD_RATE_LIMIT_{limit}"), "off");
        }
        start.serve()
    }

    fn request(&self, server: &Server, member: usize, method: &str, path: &str) -> RequestBuilder {
        server.request(method, path).bearer_auth(self.issuer.token_for(&name(member)))
    }

    /// PostgreSQL finishes by itself what it was told before the kill.
    fn wait_until_nobody_is_connected(&self) {
        runtime().block_on(async {
            let sql = PostgresServer::shared().connect("postgres").await;
            let connected = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1";
            while sql.query_one(connected, &[&self.production.database]).await.unwrap().get::<_, i64>(0) > 0 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Members `whose` live until a kill; then all of theirs is looked at.
    fn round(&mut self, round: u64, whose: std::ops::Range<usize>, random: &mut Random) {
        let server = self.serve();
        let progress = Progress::new();
        let mut members = std::mem::take(&mut self.members);
        thread::scope(|scope| {
            for (member, client) in whose.clone().zip(&mut members[whose.clone()]) {
                let (stage, server, progress) = (&*self, &server, &progress);
                scope.spawn(move || {
                    client.live(progress, |method, path| stage.request(server, member, method, path));
                });
            }
            progress.wait_for_a_point(random, &server);
            server.signal(Signal::KILL);
        });
        self.members = members;
        assert_eq!(server.end().signal(), Some(9));
        self.wait_until_nobody_is_connected();
        self.look(round, whose);
    }

    /// What stands there, by a server started anew.
    fn look(&mut self, round: u64, whose: std::ops::Range<usize>) {
        let server = self.serve();
        for member in whose {
            let list = Answer::to(self.request(&server, member, "GET", "/api/keys")).unwrap();
            assert_eq!(list.status, 200, "round {round}: {}", list.body);
            let outcome = self.members[member].learn(&list.body["keys"][0], round);
            *self.outcomes.entry(outcome).or_default() += 1;
            let body = json!({ "prompt": "Say hello" });
            let answer =
                Answer::to(self.request(&server, member, "POST", "/api/generate").json(&body)).unwrap();
            match self.members[member].state.current {
                Some(n) => {
                    let expected = fingerprint(&example_key(PROVIDER, n));
                    assert!(answer.body["text"].to_string().contains(&expected), "round {round}: {answer:?}");
                }
                None => _ = answer.problem(404, "no_api_key"),
            }
        }
        server.stop();
    }

    /// Rows are as many as there are keys, earlier versions and users with keys.
    fn rows_agree(&self) {
        let count = |query: &str| -> usize {
            self.production.column(&format!("SELECT COUNT(*)::TEXT FROM {query}"))[0].parse().unwrap()
        };
        let with = |has: fn(&Client) -> bool| self.members.iter().filter(|client| has(client)).count();
        assert_eq!(count("api_keys"), with(|client| client.state.current.is_some()));
        assert_eq!(count("api_key_versions"), with(|client| client.state.previous.is_some()));
        assert_eq!(count("onboarding_sessions"), with(|client| client.changes > 0));
    }

    /// Every change is in the audit log, once.
    #[track_caller]
    fn audit_agrees(&self) {
        let found = audit::changes(|arguments| self.production.keyfold(arguments));
        let made = self.members.iter().enumerate().filter(|(_, client)| client.changes > 0);
        let made = made.map(|(member, client)| ((name(member), client.provider.to_owned()), client.changes));
        assert_eq!(found, made.collect());
    }

    #[track_caller]
    fn both_happened(&self) {
        println!("{:?}", self.outcomes);
        for outcome in [Outcome::Made, Outcome::NotMade] {
            assert!(self.outcomes.contains_key(&outcome), "it shows nothing: {:?}", self.outcomes);
        }
    }
}

/// Users who were never here: session, data key and key come together or not at all.
#[test]
fn a_kill_at_any_moment_of_a_first_saving_leaves_all_of_it_or_nothing() {
    let mut stage = Stage::set();
    let mut random = Random::of(0);
    for round in 0..kills() {
        let first = stage.members.len();
        let new = first..first + AT_ONCE;
        stage.members.extend(new.clone().map(|n| Client::new(PROVIDER, u32::try_from(n).unwrap(), false)));
        stage.round(round, new, &mut random);
    }
    stage.look(kills(), 0..stage.members.len());
    stage.rows_agree();
    stage.audit_agrees();
}

#[test]
fn a_kill_at_any_moment_of_a_rotation_leaves_the_old_state_or_the_new_one() {
    let mut stage = Stage::set();
    let mut random = Random::of(0);
    stage.members =
        (0..AT_ONCE).map(|n| Client::new(PROVIDER, 10 + u32::try_from(n).unwrap(), true)).collect();
    for round in 0..kills() {
        stage.round(round, 0..AT_ONCE, &mut random);
        stage.rows_agree();
        if round % 10 == 0 {
            stage.audit_agrees();
        }
    }
    stage.audit_agrees();
    stage.both_happened();
}

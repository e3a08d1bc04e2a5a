//! Three servers, each of which reaches the database on a way of its own.

use std::thread;
use std::time::Duration;

use keyfold_standin::{Issuer, example_key};
use keyfold_test_servers::PostgresServer;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{Answer, Production, Server, runtime};
use crate::proxy::Proxy;

pub(crate) const PROVIDER: &str = "gemini";
pub(crate) const REPLICAS: usize = 3;
/// The connections on which replicas hear of changes, by what they said last.
const LISTENERS: &str = "FROM pg_stat_activity WHERE datname = $1 \
                         AND (query LIKE 'LISTEN %' OR query = 'SELECT pg_notify($1, $2)')";

pub(crate) struct Stage {
    pub(crate) production: Production,
    pub(crate) ways: Vec<Proxy>,
    issuer: Issuer,
    servers: Vec<Server>,
}

impl Stage {
    pub(crate) fn set() -> Self {
        let production = Production::new();
        let (issuer, ways) = runtime().block_on(async {
            let mut ways = vec![];
            for _ in 0..REPLICAS {
                ways.push(Proxy::to(PostgresServer::shared().port()).await);
            }
            (Issuer::start().await, ways)
        });
        let start = |number: usize, way: &Proxy| {
            let mut start = production.keyfold(&["serve"]);
            for (name, value) in issuer.settings() {
                start = start.env(name, &value);
            }
            for limit in ["KEYS", "GENERATE", "ANONYMOUS"] {
                start = start.env(&format!("KEYFOLD_RATE_LIMIT_{limit}"), "off");
            }
            start
                .env("DATABASE_URL", &way.address_of(&production.database))
                .env("KEYFOLD_STATE_DIR", &format!("state_{number}"))
                .serve()
        };
        let servers = thread::scope(|scope| {
            let start = &start;
            let starting: Vec<_> =
                ways.iter().enumerate().map(|(n, way)| scope.spawn(move || start(n, way))).collect();
            starting.into_iter().map(|server| server.join().unwrap()).collect()
        });
        Self { production, ways, issuer, servers }
    }

    pub(crate) fn request(&self, replica: usize, user: &str, method: &str, path: &str) -> RequestBuilder {
        self.servers[replica].request(method, path).bearer_auth(self.issuer.token_for(user))
    }

    /// Saves the n-th example key on this replica, and returns it.
    pub(crate) fn save(&self, replica: usize, user: &str, n: u32) -> String {
        let key = example_key(PROVIDER, n);
        let request = self.request(replica, user, "PUT", &format!("/api/keys/{PROVIDER}"));
        let answer = Answer::to(request.json(&json!({ "key": key }))).unwrap();
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        key
    }

    pub(crate) fn remove(&self, replica: usize, user: &str) {
        let request = self.request(replica, user, "DELETE", &format!("/api/keys/{PROVIDER}"));
        assert_eq!(Answer::to(request).unwrap().status, 204);
    }

    pub(crate) fn generate(&self, replica: usize, user: &str, prompt: &str) -> Answer {
        let request = self.request(replica, user, "POST", "/api/generate");
        Answer::to(request.json(&json!({ "prompt": prompt }))).unwrap()
    }

    /// The prompt of every call that reached the provider, and the key that it came with.
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        let prompt = |body: &Value| body["contents"][0]["parts"][0]["text"].as_str().map(str::to_owned);
        let requests = self.production.folder.standin.requests();
        requests.into_iter().filter_map(|seen| Some((prompt(&seen.json())?, seen.key))).collect()
    }

    /// Waits until all replicas listen; whoever calls meanwhile makes them want to.
    pub(crate) fn wait_for_listeners(&self) {
        while self.listeners("COUNT(*)") < i64::try_from(REPLICAS).unwrap() {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server ends the connections on which replicas listen.
    pub(crate) fn end_listeners(&self) -> i64 {
        self.listeners("COUNT(pg_terminate_backend(pid))")
    }

    fn listeners(&self, what: &str) -> i64 {
        runtime().block_on(async {
            let sql = PostgresServer::shared().connect("postgres").await;
            let query = format!("SELECT {what} {LISTENERS}");
            sql.query_one(&query, &[&self.production.database]).await.unwrap().get(0)
        })
    }
}

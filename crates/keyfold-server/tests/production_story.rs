//! The whole of production, once, with the real program: two users onboard at the same time with different keys,
//! and each generates with their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "cli/harness.rs"]
mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use harness::{Answer, Production, Server, runtime};
use keyfold_standin::{Issuer, example_key, fingerprint};
use keyfold_test_servers::PostgresServer;
use serde_json::{Value, json};

/// The user of the operator's query as it is documented, and another one.
const USERS: [&str; 2] = ["user_xxx", "user_b"];
/// Someone without keys.
const NOBODY: &str = "user_without_keys";
/// The operator's two queries, as they are documented.
const ALL_KEYS: &str = "SELECT user_id, provider, key FROM api_keys JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id;";
const KEYS_OF_ONE: &str = "SELECT * FROM api_keys WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'user_xxx');";

struct Story {
    production: Production,
    issuer: Issuer,
}

/// Keys that lie around and belong to nobody.
fn global_key(provider: &str) -> String {
    example_key(provider, 999)
}

fn own_key(provider: &str, user: &str) -> String {
    let n = USERS.iter().position(|known| *known == user).unwrap();
    example_key(provider, u32::try_from(n).unwrap() + 1)
}

impl Story {
    fn begin() -> Self {
        let production = Production::new();
        production.folder.write(".env", &format!("GEMINI_API_KEY={}\n", global_key("gemini")));
        Self { production, issuer: runtime().block_on(Issuer::start()) }
    }

    fn serve(&self) -> Server {
        let mut start = self.production.keyfold(&["serve"]).env("DEBUG", "false").env("DEPLOY_ENV", "render");
        for (name, value) in self.issuer.settings() {
            start = start.env(name, &value);
        }
        for (name, provider) in [
            ("GEMINI_API_KEY", "gemini"),
            ("GOOGLE_API_KEY", "gemini"),
            ("OPENAI_API_KEY", "openai"),
            ("EXA_API_KEY", "exa"),
        ] {
            start = start.env(name, &global_key(provider));
        }
        start.serve()
    }

    fn ask(&self, server: &Server, user: &str, method: &str, path: &str, body: &Value) -> Answer {
        let request = server.request(method, path).bearer_auth(self.issuer.token_for(user));
        let request = if method == "GET" { request } else { request.json(body) };
        Answer::to(request).unwrap()
    }

    /// Both users do the same at the same time, call for call.
    fn onboard_both(&self, server: &Server) {
        for user in USERS {
            let init = self.ask(server, user, "GET", "/api/onboarding/init", &Value::Null);
            assert_eq!(init.body["user"]["id"], user);
            assert_eq!(init.body["onboarding"]["is_completed"], false);
        }
        let keys = |user: &str| json!({ "data": { "api_keys": { "gemini": own_key("gemini", user) } } });
        self.both(server, "step/1/complete", keys);
        self.both(server, "api-keys", |user| json!({ "provider": "exa", "api_key": own_key("exa", user) }));
        self.both(server, "api-keys/validate", |_| json!({}));
        self.both(server, "step/2/skip", |_| json!({}));
        self.both(server, "complete", |_| json!({}));
    }

    fn both(&self, server: &Server, path: &str, body: impl Fn(&str) -> Value + Sync) {
        let post = |user| {
            let answer = self.ask(server, user, "POST", &format!("/api/onboarding/{path}"), &body(user));
            assert_eq!(answer.status, 200, "{user}, {path}: {}", answer.body);
            assert_ne!(answer.body["all_valid"], false, "{user}: {}", answer.body);
        };
        let post = &post;
        thread::scope(|scope| {
            for user in USERS {
                scope.spawn(move || post(user));
            }
        });
    }

    /// Everything works for the two, with their own keys, and nothing for somebody who has none.
    fn holds(&self, server: &Server) {
        let standin = &self.production.folder.standin;
        for user in USERS {
            standin.clear();
            let answer = self.ask(server, user, "POST", "/api/generate", &json!({ "prompt": "Say hello" }));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let own = own_key("gemini", user);
            assert!(answer.body["text"].as_str().unwrap().contains(&fingerprint(&own)), "{}", answer.body);
            let answer = self.ask(server, user, "POST", "/api/research", &json!({ "query": "news" }));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let used: Vec<String> = standin.requests().into_iter().map(|seen| seen.key).collect();
            assert_eq!(used, [own, own_key("exa", user)]);

            let status = self.ask(server, user, "GET", "/api/onboarding/status", &Value::Null);
            assert_eq!(status.body["is_completed"], true, "{}", status.body);
            let masked = self.ask(server, user, "GET", "/api/onboarding/api-keys", &Value::Null);
            let own = own_key("gemini", user);
            assert_eq!(masked.body["api_keys"]["gemini"], format!("****{}", &own[own.len() - 4..]));
        }
        standin.clear();
        for (path, body) in [
            ("/api/generate", json!({ "prompt": "Say hello" })),
            ("/api/generate", json!({ "prompt": "Say hello", "provider": "openai" })),
            ("/api/research", json!({ "query": "news" })),
        ] {
            self.ask(server, NOBODY, "POST", path, &body).problem(404, "no_api_key");
        }
        server.get("/api/keys").problem(401, "unauthenticated");
        assert!(standin.requests().is_empty(), "a key that belongs to nobody was used");
    }

    /// These columns of what a query finds.
    fn found(&self, query: &str, columns: &[&str]) -> Vec<Vec<String>> {
        runtime().block_on(async {
            let client = PostgresServer::shared().connect(&self.production.database).await;
            let rows = client.query(query, &[]).await.unwrap();
            rows.iter().map(|row| columns.iter().map(|name| row.get(name)).collect()).collect()
        })
    }

    /// The operator sees a row for each key, and ciphertexts in it.
    fn the_operator_looks(&self) {
        let mut all = self.found(ALL_KEYS, &["user_id", "provider", "key"]);
        all.sort();
        let whose: Vec<[&str; 2]> = all.iter().map(|row| [row[0].as_str(), row[1].as_str()]).collect();
        let [a, b] = USERS;
        assert_eq!(whose, [[b, "exa"], [b, "gemini"], [a, "exa"], [a, "gemini"]]);
        let ciphertexts: BTreeSet<&str> = all.iter().map(|row| row[2].as_str()).collect();
        assert_eq!(ciphertexts.len(), all.len(), "a ciphertext stands there twice");
        for ciphertext in &ciphertexts {
            assert!(ciphertext.starts_with("kf1.") && !ciphertext.contains("TestData"), "{ciphertext}");
            assert!(!ciphertext.contains("7e57da7a"), "{ciphertext}");
        }

        let mut of_one = self.found(KEYS_OF_ONE, &["provider", "key"]);
        of_one.sort();
        let expected: Vec<&[String]> = all.iter().filter(|row| row[0] == a).map(|row| &row[1..]).collect();
        assert_eq!(of_one, expected);
    }
}

#[test]
fn two_users_onboard_at_once_and_each_generates_with_their_own_key() {
    let story = Story::begin();
    let folder = &story.production.folder;
    let env_file = || {
        let about = fs::metadata(folder.path(".env")).unwrap();
        (folder.read(".env"), about.modified().unwrap(), about.ino())
    };
    let before = env_file();

    let server = story.serve();
    story.onboard_both(&server);
    story.holds(&server);
    story.the_operator_looks();
    let first = server.stop();

    let server = story.serve();
    story.holds(&server);
    story.the_operator_looks();
    let second = server.stop();

    assert_eq!(env_file(), before);
    for provider in ["gemini", "exa"] {
        for key in USERS.map(|user| own_key(provider, user)).into_iter().chain([global_key(provider)]) {
            first.does_not_tell(&key);
            second.does_not_tell(&key);
        }
        for user in USERS {
            let files = folder.files_with(&own_key(provider, user));
            assert!(files.is_empty(), "a key stands in {files:?}");
        }
    }
    let further: Vec<String> = folder.files().into_iter().filter(|name| name != ".env").collect();
    assert!(further.iter().all(|name| !name.contains(".env")), "{further:?}");
}

//! Why keys do not belong into the process environment: the same load on thirty lines of Python that put them
//! there, and on Keyfold. `make leak-demo` shows the table; see docs/why-not-the-environment.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use keyfold_standin::{Behaviour, Options, Seen, Standin, example_key};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::production::{Production, Setup};

/// What a request makes its server call, one after the other, and the variable of the key.
const CALLS: [(&str, &str); 2] = [("exa", "EXA_API_KEY"), ("gemini", "GEMINI_API_KEY")];
/// How long a provider takes to answer.
const DELAY: Duration = Duration::from_millis(20);
/// Requests of each user, one after the other.
const REQUESTS: usize = 20;
/// So long, and the test has failed.
const TOO_LONG: Duration = Duration::from_secs(60);
/// Users who ask all at once.
const TOGETHER: usize = 20;

/// A server that calls Exa and then Gemini for its user.
enum Server {
    Environment(Environment),
    /// With each user's token.
    Keyfold(Box<Production>, Vec<String>),
}

/// The thirty lines. Killed when dropped.
struct Environment {
    process: Child,
    address: String,
}

/// Whose keys came with the calls to one provider.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    calls: usize,
    wrong: usize,
    none: usize,
}

fn key(provider: &str, user: usize) -> String {
    example_key(provider, u32::try_from(user).unwrap())
}

impl Environment {
    fn start(standin: &Standin, users: usize) -> Self {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/why-not-the-environment/naive.py");
        let mut process = Command::new("python3")
            .arg(program)
            .arg(standin.addr().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed; run `make test`, which installs it");
        let keys = |user| CALLS.map(|(provider, variable)| (variable, key(provider, user)));
        let keys: BTreeMap<String, BTreeMap<_, _>> =
            (0..users).map(|user| (user.to_string(), keys(user).into())).collect();
        writeln!(process.stdin.take().unwrap(), "{}", json!(keys)).unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    const NAMES: [&str; 2] = ["environment", "Keyfold"];

    async fn start(name: &str, standin: &Arc<Standin>, users: usize) -> Self {
        if name == "environment" {
            return Self::Environment(Environment::start(standin, users));
        }
        let setup = Setup::default().standin(Arc::clone(standin)).with("KEYFOLD_RATE_LIMIT_GENERATE", "off");
        let production = setup.start().await;
        for user in 0..users {
            for (provider, _) in CALLS {
                let id = user.to_string();
                production.as_user(&id).has_example_key(provider, u32::try_from(user).unwrap()).await;
            }
        }
        let tokens = (0..users).map(|user| production.token_for(&user.to_string())).collect();
        Self::Keyfold(Box::new(production), tokens)
    }

    /// One request of this user: research, then write.
    async fn ask(&self, user: usize) {
        let question = format!("what is new for user {user}?");
        match self {
            Self::Environment(server) => {
                let mut connection = TcpStream::connect(&server.address).await.unwrap();
                connection.write_all(format!("{user} {question}\n").as_bytes()).await.unwrap();
                let mut answer = String::new();
                connection.read_to_string(&mut answer).await.unwrap();
            }
            Self::Keyfold(production, tokens) => {
                let bodies = [json!({ "query": question }), json!({ "prompt": question })];
                for (path, body) in ["/api/research", "/api/generate"].into_iter().zip(bodies) {
                    let request = production.request(Method::POST, path).bearer_auth(&tokens[user]);
                    production.send(request.json(&body)).await.ok();
                }
            }
        }
    }
}

/// Compares the keys of all calls to `provider` with those of the users who asked.
fn tally(requests: &[Seen], provider: &str) -> Tally {
    let mut tally = Tally::default();
    for seen in requests.iter().filter(|seen| seen.provider == provider) {
        let body = String::from_utf8_lossy(&seen.body);
        let (_, rest) = body.split_once("for user ").unwrap();
        let user = rest.split_once('?').unwrap().0.parse().unwrap();
        tally.calls += 1;
        if seen.key.is_empty() {
            tally.none += 1;
        } else if seen.key != key(provider, user) {
            tally.wrong += 1;
        }
    }
    tally
}

/// Each user asks again and again; how far requests overlap is left to chance.
async fn usual_load(name: &str, users: usize) -> [Tally; 2] {
    let standin = Standin::start_with(Options { delay: DELAY, ..Options::default() }).await.unwrap();
    let standin = Arc::new(standin);
    let server = Server::start(name, &standin, users).await;
    standin.clear();
    let user = |user| {
        let server = &server;
        async move {
            for _ in 0..REQUESTS {
                server.ask(user).await;
            }
        }
    };
    tokio::time::timeout(TOO_LONG, join_all((0..users).map(user))).await.unwrap();
    CALLS.map(|(provider, _)| tally(&standin.requests(), provider))
}

/// Each user asks once, and no provider answers before it was asked for all of them.
async fn all_at_once(name: &str, users: usize) -> [Tally; 2] {
    let standin = Arc::new(Standin::start().await);
    let server = Server::start(name, &standin, users).await;
    standin.clear();
    for (provider, _) in CALLS {
        standin.always(provider, Behaviour::Hang);
    }
    let asking = join_all((0..users).map(|user| server.ask(user)));
    let answering = async {
        for provider in 1..=CALLS.len() {
            standin.wait_for_requests(provider * users).await;
            standin.release();
        }
    };
    tokio::time::timeout(TOO_LONG, async { tokio::join!(asking, answering) }).await.unwrap();
    CALLS.map(|(provider, _)| tally(&standin.requests(), provider))
}

#[expect(clippy::print_stdout, reason = "`make leak-demo` shows it")]
#[expect(clippy::cast_precision_loss, reason = "a share in per cent")]
fn print_row(server: &str, users: &str, calls: &[Tally; 2]) {
    for (Tally { calls, wrong, none }, which) in calls.iter().zip(["first", "second"]) {
        let share = 100.0 * (wrong + none) as f64 / *calls as f64;
        println!(
            "| {server:<11} | {users:<15} | {which:<6} | {calls:>5} | {wrong:>15} | {none:>6} | {share:>6.1} % |"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_leaks_and_keyfold_does_not() {
    println!("\nA request calls two providers, one after the other; each takes {} ms.\n", DELAY.as_millis());
    println!("| keys in     | users           | call   | calls | another's key   | no key | share    |");
    println!("| ----------- | --------------- | ------ | ----- | --------------- | ------ | -------- |");
    for name in Server::NAMES {
        for users in [2, 10, 50] {
            let calls = usual_load(name, users).await;
            print_row(name, &users.to_string(), &calls);
            for Tally { calls, wrong, none } in calls {
                assert_eq!(calls, users * REQUESTS);
                assert!(name == "environment" || wrong + none == 0, "Keyfold used a wrong key");
            }
        }
    }
    for name in Server::NAMES {
        let calls = all_at_once(name, TOGETHER).await;
        print_row(name, &format!("{TOGETHER}, all at once"), &calls);
        let right = || Tally { calls: TOGETHER, wrong: 0, none: 0 };
        // All read the variable after the last one wrote it.
        let second = if name == "environment" { Tally { wrong: TOGETHER - 1, ..right() } } else { right() };
        assert_eq!(calls, [right(), second], "{name}");
    }
}

//! The program itself: its start, its size, and what it adds to a call.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold_standin::issuer::{Issuer, PARTY};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::PostgresServer;
use reqwest::Client;
use serde_json::{Value, json};

use crate::report::{ROUNDS, heading, line, median, percentile, plain};

const STARTS: usize = 15;
/// Calls of one round, one after the other.
const CALLS: usize = 300;
/// Callers at once, and calls of each, in a round for throughput.
const CALLERS: usize = 16;

struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(dir: &Path, standin: &str) -> Self {
        Self::start_with(dir, standin, &[("DEBUG", "true")])
    }

    fn start_with(dir: &Path, standin: &str, mode: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .arg("serve")
            .current_dir(dir)
            .env_clear()
            .env("PORT", "0")
            .env("KEYFOLD_METRICS_ADDR", "off")
            // They would be what is measured.
            .env("KEYFOLD_RATE_LIMIT_KEYS", "off")
            .env("KEYFOLD_RATE_LIMIT_GENERATE", "off")
            .env("KEYFOLD_PROVIDER_GEMINI_BASE_URL", standin)
            .envs(mode.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the release build of keyfold, which `make bench` makes first");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("ready at ").map(|(_, url)| url.split('"').next().unwrap_or(url).to_owned())
            })
            .expect("it starts");
        // Goes on reading, so that the program never waits for its log to be read.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, url }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The release build beside this program.
fn binary() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("keyfold")
}

pub(crate) async fn measure() {
    let client = Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let standin =
        Standin::start_with(keyfold_standin::Options { record: false, ..Default::default() }).await.unwrap();
    let base = standin.base_url("gemini");

    heading("The program");
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let size = std::fs::metadata(binary()).unwrap().len() as f64 / 1e6;
    plain("size of the binary", size, "MB", "");
    starts(&client, &base).await;

    let program = Program::start(folder.path(), &base);
    plain("idle memory (resident)", resident_megabytes(&program), "MB", "aim: less than 30");
    generate(&client, &program, &base).await;
    plain("memory after the calls (resident)", resident_megabytes(&program), "MB", "");
    drop(program);
    production(&client, &base).await;
}

/// Production: PostgreSQL, tokens, a hundred users with a key each.
async fn production(client: &Client, base: &str) {
    const USERS: u32 = 100;
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::start().await);
    let server = tokio::task::spawn_blocking(|| PostgresServer::start(&[])).await.unwrap();
    let (database, master_key) =
        (server.empty_database().await, MasterKey::generate(&SystemRandom).unwrap().to_string());
    let mut mode = vec![
        ("DEPLOY_ENV", "bench"),
        ("HOST", "127.0.0.1"),
        ("DATABASE_URL", &database),
        ("KEYFOLD_MASTER_KEY", &master_key),
        ("KEYFOLD_ALLOWED_ORIGINS", PARTY),
    ];
    let settings = issuer.settings();
    mode.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let program = Program::start_with(folder.path(), base, &mode);
    let mut tokens = vec![];
    for user in 0..USERS {
        let token = issuer.token_for(&format!("user_{user}"));
        let saved = client
            .put(format!("{}/api/keys/gemini", program.url))
            .bearer_auth(&token)
            .json(&json!({ "key": example_key("gemini", user) }));
        assert!(saved.send().await.unwrap().status().is_success());
        tokens.push(token);
    }
    let next = Cell::new(0);
    let token = || {
        next.set((next.get() + 1) % tokens.len());
        &tokens[next.get()]
    };
    let health = || client.get(format!("{}/healthz", program.url));
    let list = || client.get(format!("{}/api/keys", program.url)).bearer_auth(token());
    let key = example_key("gemini", 1);
    let body = json!({ "prompt": "hello" });
    let through = || client.post(format!("{}/api/generate", program.url)).bearer_auth(token()).json(&body);
    let direct = || direct_call(client, base, &key);
    let (mut lists, mut generates) = ((vec![], vec![]), (vec![], vec![]));
    let (mut p50, mut p99) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..ROUNDS {
        lists.1.push(per_second(&health).await);
        lists.0.push(per_second(&list).await);
        generates.1.push(per_second(&direct).await);
        generates.0.push(per_second(&through).await);
        let (mut floor, mut figure) = (one_by_one(&direct).await, one_by_one(&through).await);
        floor.sort_unstable();
        figure.sort_unstable();
        p50.0.push(percentile(&figure, 0.5));
        p50.1.push(percentile(&floor, 0.5));
        p99.0.push(percentile(&figure, 0.99));
        p99.1.push(percentile(&floor, 0.99));
    }
    heading("Production, 100 users, PostgreSQL, tokens remembered");
    line("GET /api/keys (floor: GET /healthz)", median(lists.0), median(lists.1), "/s", "(higher is better)");
    line(
        "POST /api/generate (floor: the stand-in)",
        median(generates.0),
        median(generates.1),
        "/s",
        "(higher is better)",
    );
    line("generate, p50, one caller", median(p50.0), median(p50.1), "µs", "");
    line("generate, p99, one caller", median(p99.0), median(p99.1), "µs", "");
    plain("memory after the calls (resident)", resident_megabytes(&program), "MB", "");
}

fn direct_call(client: &Client, base: &str, key: &str) -> reqwest::RequestBuilder {
    client
        .post(format!("{base}/v1beta/models/gemini-2.5-flash:generateContent"))
        .header("x-goog-api-key", key)
        .json(&json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] }))
}

/// From the start of the process to its first healthy answer.
async fn starts(client: &Client, base: &str) {
    let (mut first, mut again) = (vec![], vec![]);
    for _ in 0..STARTS {
        let folder = tempfile::tempdir().unwrap();
        for times in [&mut first, &mut again] {
            let begun = Instant::now();
            let program = Program::start(folder.path(), base);
            let healthy = client.get(format!("{}/healthz", program.url)).send().await.unwrap();
            assert!(healthy.status().is_success());
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    plain("first healthy answer, new folder", median(first), "ms", "aim: less than 100");
    plain("first healthy answer, folder there", median(again), "ms", "aim: less than 100");
}

async fn generate(client: &Client, program: &Program, base: &str) {
    let key = example_key("gemini", 1);
    let saved = client
        .put(format!("{}/api/keys/gemini", program.url))
        .json(&json!({ "key": key }))
        .send()
        .await
        .unwrap();
    assert!(saved.status().is_success());
    let through = || client.post(format!("{}/api/generate", program.url)).json(&json!({ "prompt": "hello" }));
    let direct = || direct_call(client, base, &key);
    let (mut p50, mut p99, mut rate) = ((vec![], vec![]), (vec![], vec![]), (vec![], vec![]));
    for _ in 0..ROUNDS {
        let mut floor = one_by_one(&direct).await;
        let mut figure = one_by_one(&through).await;
        floor.sort_unstable();
        figure.sort_unstable();
        p50.0.push(percentile(&figure, 0.5));
        p50.1.push(percentile(&floor, 0.5));
        p99.0.push(percentile(&figure, 0.99));
        p99.1.push(percentile(&floor, 0.99));
        rate.1.push(per_second(&direct).await);
        rate.0.push(per_second(&through).await);
    }
    heading("POST /api/generate, the provider's stand-in behind it (floor: the stand-in called directly)");
    line("p50, one caller", median(p50.0), median(p50.1), "µs", "");
    line("p99, one caller", median(p99.0), median(p99.1), "µs", "");
    line("calls per second, 16 callers", median(rate.0), median(rate.1), "/s", "(higher is better)");
}

async fn one_by_one(request: &impl Fn() -> reqwest::RequestBuilder) -> Vec<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        read(request()).await;
        times.push(begun.elapsed());
    }
    times
}

async fn per_second(request: &impl Fn() -> reqwest::RequestBuilder) -> f64 {
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let requests: Vec<_> = (0..CALLS / CALLERS).map(|_| request()).collect();
        tokio::spawn(async move {
            for request in requests {
                read(request).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let calls = (CALLS / CALLERS * CALLERS) as f64;
    calls / begun.elapsed().as_secs_f64()
}

async fn read(request: reqwest::RequestBuilder) {
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let _: Value = answer.json().await.unwrap();
}

fn resident_megabytes(program: &Program) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}

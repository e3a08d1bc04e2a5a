//! The providers' own client libraries, unmodified, through the gateway: `clients.py` and `clients.mjs` run every case
//! with every library, and what they found is the table in `docs/clients.md`. The libraries talk to the providers'
//! stand-in, which tells whose key reached it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod broken_streams;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use keyfold::service_tokens::{NewToken, Scope};
use keyfold_standin::{Standin, example_key, fingerprint};
use serde_json::{Value, json};
use support::Local;
use support::production::Production;

/// Those that one of the libraries is for.
const PROVIDERS: [&str; 8] = ["gemini", "openai", "anthropic", "exa", "mistral", "groq", "cohere", "tavily"];
const USERS: [&str; 3] = ["user_a", "user_b", "user_c"];
/// The columns of the table, and how many libraries fill it.
const CASES: [&str; 11] = [
    "plain",
    "stream",
    "async",
    "upload",
    "errors",
    "retry",
    "time-out",
    "cut",
    "Keyfold's errors",
    "service token",
    "local mode",
];
const LIBRARIES: usize = 12;
const BEGIN: &str = "<!-- The table is made by `make docs-clients`. -->\n";

/// What a case came to.
struct Outcome {
    language: String,
    library: String,
    version: String,
    case: String,
    /// `None`: the library has no such thing.
    ok: Option<bool>,
    detail: String,
}

impl Outcome {
    fn row(&self) -> [&str; 3] {
        [&self.language, &self.library, &self.version]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_library_works_with_each_users_own_key_and_the_table_says_so() {
    let production = Production::start().await;
    let local = Local::start().await;
    let limited = production.replica().with("KEYFOLD_RATE_LIMIT_GATEWAY", "1/hour").start().await;
    let setup = setup(&production, &limited, &local).await;

    production.standin.clear();
    let given = setup.clone();
    let outcomes = tokio::task::spawn_blocking(move || run_libraries(&given)).await.unwrap();

    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.ok == Some(false))
        .map(|outcome| format!("{}, {}: {}", outcome.row().join(" "), outcome.case, outcome.detail))
        .collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    nothing_of_the_callers_reached_the_provider(&production.standin, &setup);
    check_or_update_the_table(&outcomes);

    limited.stop().await;
    production.stop().await;
    local.stop().await;
}

/// What the libraries are told: see `clients.py`.
async fn setup(production: &Production, limited: &Production, local: &Local) -> Value {
    let mut users = BTreeMap::new();
    for (n, id) in (1..).zip(USERS) {
        let token = production.token_for(id);
        let mut entries = BTreeMap::new();
        for provider in PROVIDERS {
            let key = production.as_user(id).has_example_key(provider, n).await;
            entries.insert(provider, json!({"credential": token, "fingerprint": fingerprint(&key)}));
        }
        users.insert(id, entries);
    }
    let mut fingerprints_of_local = BTreeMap::new();
    for provider in PROVIDERS {
        let key = local.has_example_key(provider, 9).await;
        fingerprints_of_local.insert(provider, fingerprint(&key));
        production.as_user("user_limited").has_example_key(provider, 7).await;
    }
    let fingerprints_of_b: BTreeMap<_, _> =
        PROVIDERS.into_iter().map(|provider| (provider, fingerprint(&example_key(provider, 2)))).collect();
    let service = NewToken {
        name: "clients".into(),
        scopes: vec![Scope::Gateway],
        users: vec![],
        providers: vec![],
        lifetime: None,
    };
    let service = production.keyfold.service_tokens().create(&service).await.unwrap().1;
    json!({
        "base": production.url("/gateway"),
        "users": users,
        "limited_base": limited.url("/gateway"),
        "strangers": {
            "keyless": production.token_for("user_without_keys"),
            "forged": with_another_signature(&production.token_for("user_a")),
            "limited": production.token_for("user_limited"),
        },
        "service": {
            "credential": service.expose(),
            "user": "user_b",
            "fingerprints": fingerprints_of_b,
        },
        "local": {"base": local.url("/gateway"), "fingerprints": fingerprints_of_local},
    })
}

fn with_another_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    format!("{signed}.{reversed}")
}

/// Both languages at once.
fn run_libraries(setup: &Value) -> Vec<Outcome> {
    thread::scope(|scope| {
        let python = scope.spawn(|| python(setup));
        let node = node(setup);
        let python = python.join().unwrap();
        [python, node].iter().flat_map(outcomes).collect()
    })
}

fn python(setup: &Value) -> Output {
    let python = installed("clients/venv/bin/python");
    let mut program = bare(&python);
    program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/clients.py"));
    let mut running =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(setup.to_string().as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

fn node(setup: &Value) -> Output {
    // What it imports is looked for where it runs.
    let packages = installed("clients/node");
    let script = include_str!("clients.mjs");
    bare(Path::new("node"))
        .args(["--input-type=module", "--eval", script])
        .current_dir(packages)
        .env("KEYFOLD_CLIENTS", setup.to_string())
        .output()
        .unwrap()
}

/// A program without proxies, keys and addresses of this machine's environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    #[expect(clippy::disallowed_methods, reason = "a setting of the test run itself")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn installed(name: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-tools");
    #[expect(clippy::disallowed_methods, reason = "a setting of the test run itself")]
    let tools = std::env::var_os("KEYFOLD_TEST_TOOLS").map_or_else(default, PathBuf::from);
    let path = tools.join(name);
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

fn outcomes(output: &Output) -> Vec<Outcome> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{errors}", output.status);
    let lines = String::from_utf8_lossy(&output.stdout);
    let outcome = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        Outcome {
            language: text("language"),
            library: text("library"),
            version: text("version"),
            case: text("case"),
            ok: line["ok"].as_bool(),
            detail: text("detail"),
        }
    };
    lines.lines().map(outcome).collect()
}

fn nothing_of_the_callers_reached_the_provider(standin: &Standin, setup: &Value) {
    let mut secrets = vec![setup["service"]["credential"].as_str().unwrap()];
    secrets.extend(setup["strangers"].as_object().unwrap().values().filter_map(Value::as_str));
    secrets.extend(USERS.map(|user| setup["users"][user]["gemini"]["credential"].as_str().unwrap()));
    let known: Vec<String> = [1, 2, 3, 7]
        .into_iter()
        .flat_map(|n| PROVIDERS.map(|provider| fingerprint(&example_key(provider, n))))
        .collect();
    let requests = standin.requests();
    assert!(requests.len() > 400, "{} requests reached the provider", requests.len());
    for seen in requests {
        let whole = format!("{} {:?} {:?}", seen.path, seen.query, seen.headers);
        for secret in &secrets {
            assert!(!whole.contains(secret), "a caller's credential reached {}", seen.provider);
        }
        assert!(seen.header("keyfold-user").is_none(), "Keyfold-User reached {}", seen.provider);
        assert!(known.contains(&seen.key_fingerprint), "{} got a key of nobody here", seen.provider);
    }
}

fn check_or_update_the_table(outcomes: &[Outcome]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/clients.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(BEGIN).unwrap();
    let wanted = format!("{before}{BEGIN}\n{}", table(outcomes));
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, no setting")]
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(text == wanted, "{} is out of date; run `make docs-clients`", path.display());
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut rows: Vec<[&str; 3]> = outcomes.iter().map(Outcome::row).collect();
    rows.dedup();
    assert_eq!(rows.len(), LIBRARIES, "{rows:?}");
    let mut table = format!("| language | library | version | {} |\n", CASES.join(" | "));
    writeln!(table, "|{}", " --- |".repeat(CASES.len() + 3)).unwrap();
    for row in rows {
        let [language, library, version] = row;
        write!(table, "| {language} | `{library}` | {version} |").unwrap();
        for case in CASES {
            let is_this = |outcome: &&Outcome| outcome.row() == row && outcome.case == case;
            let found: Vec<&Outcome> = outcomes.iter().filter(is_this).collect();
            assert_eq!(found.len(), 1, "{library}, {case}");
            let cell = if found[0].ok == Some(true) { "yes" } else { found[0].detail.as_str() };
            write!(table, " {cell} |").unwrap();
        }
        table.push('\n');
    }
    table
}

//! `keyfold serve` in production: what it leaves on the disk, what it logs, whom it believes about addresses, what
//! it counts, and everything for which it does not start.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use keyfold_standin::issuer::Issuer;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answer, Done, Production, Server, Start, gemini, new_master_key, runtime};

/// Part of what must not be logged.
const SECRET: &str = "S3CR3T";

struct Site {
    production: Production,
    issuer: Issuer,
}

impl Site {
    fn new() -> Self {
        Self { production: Production::new(), issuer: runtime().block_on(Issuer::start()) }
    }

    /// `keyfold serve` with everything that production asks for.
    fn serve(&self) -> Start {
        let start = self.production.keyfold(&["serve"]).env("KEYFOLD_PUBLIC_URL", "https://keys.example.com");
        self.issuer.settings().iter().fold(start, |start, (name, value)| start.env(name, value))
    }

    fn save_key(&self, server: &Server, user: &str, key: &str) -> Answer {
        let request = server.request("PUT", "/api/keys/gemini").bearer_auth(self.issuer.token_for(user));
        Answer::to(request.json(&json!({ "key": key }))).unwrap()
    }
}

/// The lines of the log, each of which must be JSON.
#[track_caller]
fn lines(log: &str) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    log.lines().map(read).collect()
}

/// The one line about the request with this id.
#[track_caller]
fn line_of(done: &Done, request_id: &str) -> Value {
    let mut found = lines(&done.err);
    found.retain(|line| line["request_id"] == request_id && line["message"] == "request");
    assert_eq!(found.len(), 1, "{request_id}: {}", done.err);
    found.remove(0)
}

#[test]
fn it_listens_where_the_platform_says_and_leaves_no_key_on_the_disk() {
    let site = Site::new();
    let folder = &site.production.folder;
    let text = format!("DEBUG=true\nGEMINI_API_KEY={}\n", gemini(9));
    folder.write(".env", &text);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = site.serve().env("PORT", &port.to_string()).env("HOST", "").env("RENDER", "true");
    // Nobody's key, whoever asks.
    let server = start.env("GEMINI_API_KEY", &gemini(8)).serve();
    assert_eq!(server.address.to_string(), format!("0.0.0.0:{port}"));
    assert_eq!(server.get("/api/config").body["mode"], "production");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.get("/api/keys").status, 401);
    let key = gemini(1);
    assert_eq!(site.save_key(&server, "user_a", &key).status, 201);
    let generate = |user| {
        let request = server.request("POST", "/api/generate").bearer_auth(site.issuer.token_for(user));
        Answer::to(request.json(&json!({ "prompt": "Hello" }))).unwrap()
    };
    assert_eq!(generate("user_a").status, 200);
    generate("user_b").problem(404, "no_api_key");
    assert!(folder.standin.requests_for("gemini").iter().all(|seen| seen.key == key));
    let done = server.stop();
    done.does_not_tell(&key);
    // The state directory has the audit spool, which is empty after a stop.
    assert_eq!(folder.files(), [".env", ".keyfold/.gitignore"]);
    assert_eq!(folder.read(".env"), text);
    assert!(!done.err.contains(".env"), "{}", done.err);
    let last = lines(&done.err).pop().unwrap();
    assert_eq!(last["message"], "stopped");
}

#[test]
fn both_signals_stop_it_well() {
    let site = Site::new();
    for signal in [Signal::TERM, Signal::INT] {
        let server = site.serve().serve();
        server.signal(signal);
        let done = server.end();
        assert_eq!(done.status.code(), Some(0), "{}", done.err);
        assert!(lines(&done.err).iter().any(|line| {
            line["message"].as_str().unwrap().starts_with("stopping: answers under way may end")
        }));
    }
}

#[test]
fn several_may_serve_from_one_folder() {
    let site = Site::new();
    let (first, second) = (site.serve().serve(), site.serve().serve());
    for server in [first, second] {
        assert_eq!(server.get("/readyz").status, 200);
        server.stop();
    }
}

#[test]
fn every_line_of_the_log_is_json_whatever_is_sent() {
    let site = Site::new();
    let server = site.serve().env("KEYFOLD_LOG", "trace").serve();
    let odd_user = "user \"a\" {\u{2028}} \\n status=200 ユーザー";
    let token = site.issuer.token_for(odd_user);
    let get = |path: &str, headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(server.request("GET", path), |all, (name, value)| all.header(*name, *value));
        Answer::to(request).unwrap().status
    };
    let bearer = format!("Bearer {token}");
    assert_eq!(
        get("/api/keys?key=S3CR3T-in-query", &[("authorization", &bearer), ("x-request-id", "odd-user")]),
        200
    );
    assert_eq!(get("/api/keys", &[("authorization", "Bearer S3CR3T"), ("x-request-id", "no-token")]), 401);
    assert_eq!(get("/S3CR3T/path", &[("x-request-id", "no-route")]), 404);
    assert_eq!(get("/healthz", &[("x-request-id", "{\"S3CR3T\":1}"), ("user-agent", "S3CR3T\"}")]), 200);
    assert_eq!(get("/healthz", &[("cookie", "a=S3CR3T"), ("x-forwarded-for", "S3CR3T\", \"x\":\"")]), 200);
    assert_eq!(site.save_key(&server, "user_b", &gemini(1)).status, 201);
    for raw in [
        &b"S3CR3T nonsense \xff\r\n\r\n"[..],
        b"GET /healthz HTTP/1.1\r\nHost: \xff\xfeS3CR3T\r\nX-Request-Id: a\xc3\xa4\"\r\nConnection: close\r\n\r\n",
        b"S3CR3T-METHOD /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\tb\r\nConnection: close\r\n\r\n",
    ] {
        let mut connection = TcpStream::connect(("127.0.0.1", server.address.port())).unwrap();
        connection.write_all(raw).unwrap();
        let _ = connection.read_to_end(&mut vec![]);
    }
    let done = server.stop();
    done.does_not_tell(SECRET).does_not_tell(&token).does_not_tell(&gemini(1));
    for line in lines(&done.err) {
        let line = line.as_object().unwrap();
        for member in ["timestamp", "level", "target", "message"] {
            assert!(line[member].is_string(), "{member}: {line:?}");
        }
    }
    let line = line_of(&done, "odd-user");
    let expected = [
        ("user", json!(odd_user)),
        ("client", json!("127.0.0.1")),
        ("method", json!("GET")),
        ("route", json!("/api/keys")),
        ("status", json!(200)),
        ("level", json!("INFO")),
    ];
    for (member, value) in expected {
        assert_eq!(line[member], value, "{line}");
    }
    assert!(line["duration_ms"].is_f64() && line.get("code").is_none(), "{line}");
    let line = line_of(&done, "no-token");
    assert_eq!((&line["code"], &line["status"]), (&json!("unauthenticated"), &json!(401)));
    assert!(line.get("user").is_none(), "{line}");
    assert_eq!(line_of(&done, "no-route")["route"], "-");
}

#[test]
fn only_trusted_proxies_say_whom_they_forward_for() {
    let site = Site::new();
    let lists = [
        ("proxied", "1.1.1.1, 198.51.100.7, 10.0.0.3"),
        ("proxied-v6", "2001:db8::7"),
        ("malformed", "198.51.100.7, nonsense"),
        ("invented", "127.0.0.1"),
    ];
    let clients = |trusted: &str| {
        let server = site.serve().env("KEYFOLD_TRUSTED_PROXIES", trusted).serve();
        for (id, list) in lists {
            let request = server.request("GET", "/healthz").header("x-forwarded-for", list);
            let request = request.header("forwarded", "for=192.0.2.1").header("x-real-ip", "192.0.2.1");
            assert_eq!(Answer::to(request.header("x-request-id", id)).unwrap().status, 200);
        }
        let done = server.stop();
        lists.map(|(id, _)| line_of(&done, id)["client"].as_str().unwrap().to_owned())
    };
    let behind = clients("10.0.0.0/8, 127.0.0.1/32, ::1");
    assert_eq!(behind, ["198.51.100.7", "2001:db8::7", "127.0.0.1", "127.0.0.1"]);
    for untrusted in ["", "10.0.0.0/8"] {
        assert_eq!(clients(untrusted), ["127.0.0.1"; 4], "{untrusted}");
    }
}

#[test]
fn a_socket_for_both_families_shows_ipv4_addresses_as_such() {
    let site = Site::new();
    let server = site.serve().env("HOST", "::").env("KEYFOLD_TRUSTED_PROXIES", "127.0.0.0/8").serve();
    let request = server.request("GET", "/healthz").header("x-forwarded-for", "198.51.100.7");
    assert_eq!(Answer::to(request.header("x-request-id", "mapped")).unwrap().status, 200);
    assert_eq!(line_of(&server.stop(), "mapped")["client"], "198.51.100.7");
}

#[test]
fn what_happens_is_counted_without_a_word_about_users() {
    let site = Site::new();
    // A port that was free a moment ago.
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = site.serve().env("KEYFOLD_METRICS_ADDR", &metrics.to_string()).serve();
    let key = gemini(1);
    assert_eq!(site.save_key(&server, "user_a", &key).status, 201);
    let generate = |user: &str| {
        let token = site.issuer.token_for(user);
        let request = server.request("POST", "/api/generate").bearer_auth(token);
        Answer::to(request.json(&json!({ "prompt": "Hello" }))).unwrap().status
    };
    let (a, b) = (generate("user_a"), generate("user_b"));
    site.production.folder.standin.script("gemini", keyfold_standin::Behaviour::CloseWithoutAnswer);
    assert_eq!((a, b, generate("user_a")), (200, 404, 502));
    assert_eq!(Answer::to(server.request("GET", "/api/keys").bearer_auth("nonsense")).unwrap().status, 401);
    let text = runtime().block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{metrics}/metrics")).send().await.unwrap().text().await.unwrap()
    });
    for line in [
        r#"keyfold_http_requests_total{method="POST",route="/api/generate",status="200"} 1"#,
        r#"keyfold_provider_calls_total{provider="gemini",kind="generate",outcome="ok"} 1"#,
        r#"keyfold_provider_calls_total{provider="gemini",kind="generate",outcome="unreachable"} 1"#,
        r#"keyfold_provider_calls_total{provider="gemini",kind="check",outcome="ok"} 1"#,
        r#"keyfold_provider_call_duration_seconds_count{provider="gemini",kind="generate"} 1"#,
        r#"keyfold_provider_call_duration_seconds_bucket{le="+Inf",provider="gemini",kind="check"} 1"#,
        r#"keyfold_key_openings_total{provider="gemini",outcome="opened"} 2"#,
        r#"keyfold_key_openings_total{provider="gemini",outcome="missing"} 1"#,
        r#"keyfold_tokens_total{outcome="refused"} 1"#,
        r#"keyfold_issuer_key_set_fetches_total{outcome="failed"} 0"#,
        "keyfold_issuer_keys 3",
        "keyfold_database_waiting 0",
        "keyfold_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    for name in [
        "process_start_time_seconds ",
        "keyfold_cache_entries ",
        "keyfold_database_connections_max ",
        "keyfold_cache_listening ",
        "keyfold_cache_lookups_total{outcome=\"hit\"} ",
        "keyfold_cache_lookups_total{outcome=\"miss\"} ",
        "keyfold_database_connections{state=\"in_use\"} ",
        "keyfold_tokens_total{outcome=\"verified\"} ",
        "keyfold_tokens_remembered ",
    ] {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        assert!(value.is_some_and(|value| value.parse::<f64>().is_ok()), "{name}: {value:?}\n{text}");
    }
    assert!(!text.contains("user_") && !text.contains(&key[..8]), "{text}");
    // Not on the listener of the API, which strangers reach.
    assert_eq!(server.get("/metrics").status, 404);
    server.stop();
}

#[test]
fn a_wrong_master_key_is_told_with_the_variable_and_the_other_reasons() {
    let site = Site::new();
    site.production.has_key("user_a", "gemini", &gemini(1));
    let other = new_master_key();
    let wrong = || site.serve().env("KEYFOLD_MASTER_KEY", &other);
    let parts = ["KEYFOLD_MASTER_KEY", "was encrypted with the master key", "KEYFOLD_OTHER_MASTER_KEYS"];
    wrong().refused_start().does_not_tell(&other).refused_with(&parts);
    // With other reasons all are told at once, and the database is left as it is.
    let before = site.production.column("SELECT name::text FROM root_secrets ORDER BY name");
    let done = wrong().without("KEYFOLD_AUTH_ISSUER").env("PORT", "eighty").refused_start();
    let parts = [&parts[..], &["CLERK_PUBLISHABLE_KEY is missing", "PORT is not", "3 settings"]].concat();
    done.does_not_tell(&other).refused_with(&parts);
    assert_eq!(site.production.column("SELECT name::text FROM root_secrets ORDER BY name"), before);
    // With the right one beside it, it starts.
    let ring = wrong().env("KEYFOLD_OTHER_MASTER_KEYS", &site.production.master_key);
    ring.serve().stop();
}

/// Settings of which each stops a start by itself, and a part of what is said of it.
const WRONG: [(&str, &str, &str); 5] = [
    ("KEYFOLD_AUTH_ISSUER", "", "CLERK_PUBLISHABLE_KEY is missing"),
    ("KEYFOLD_ONBOARDING", "mine", "KEYFOLD_ONBOARDING is `mine`"),
    ("KEYFOLD_PROVIDERS_FILE", "nosuch.toml", "KEYFOLD_PROVIDERS_FILE names the file"),
    ("KEYFOLD_PROVIDER_EXA_BASE_URL", "nowhere", "KEYFOLD_PROVIDER_EXA_BASE_URL"),
    ("PORT", "eighty", "PORT is not"),
];

/// Asserts that what is wrong with the database is told beside every other reason, and alone.
#[track_caller]
fn is_told_beside_every_other_reason(start: impl Fn() -> Start, parts: &[&str]) {
    start().refused_start().refused_with(parts);
    for (name, value, part) in WRONG {
        let done = start().env(name, value).refused_start();
        done.refused_with(&[parts, &[part, "2 settings"]].concat());
    }
    let all = WRONG.into_iter().fold(start(), |start, (name, value, _)| start.env(name, value));
    let reasons = WRONG.map(|(_, _, part)| part);
    all.refused_start().refused_with(&[parts, &reasons[..], &["6 settings"]].concat());
}

#[test]
fn a_wrong_master_key_is_told_whatever_else_is_wrong() {
    let site = Site::new();
    site.production.has_key("user_a", "gemini", &gemini(1));
    let other = new_master_key();
    let parts = ["KEYFOLD_MASTER_KEY", "was encrypted with the master key", "KEYFOLD_OTHER_MASTER_KEYS"];
    is_told_beside_every_other_reason(|| site.serve().env("KEYFOLD_MASTER_KEY", &other), &parts);
    // The right one is no reason, and of one that is not understood nothing else is said.
    let done = site.serve().env("KEYFOLD_ONBOARDING", "mine").refused_start();
    done.refused_with(&["one setting is not right"]);
    let done = site.serve().env("KEYFOLD_MASTER_KEY", SECRET).env("KEYFOLD_ONBOARDING", "mine");
    let done = done.refused_start();
    done.does_not_tell(SECRET).refused_with(&["2 settings", "KEYFOLD_MASTER_KEY", "KEYFOLD_ONBOARDING"]);
}

#[test]
fn a_database_of_a_newer_keyfold_is_told_whatever_else_is_wrong() {
    let site = Site::new();
    site.production.has_key("user_a", "gemini", &gemini(1));
    site.production.sql("INSERT INTO keyfold_schema (version, name) VALUES (999, 'later')");
    let parts = ["PostgreSQL", "schema version 999", "at least as new"];
    is_told_beside_every_other_reason(|| site.serve(), &parts);
    // Whatever the master key is.
    let unclear = site.serve().env("KEYFOLD_MASTER_KEY", SECRET).refused_start();
    unclear.refused_with(&[&parts[..], &["2 settings", "KEYFOLD_MASTER_KEY"]].concat());
}

#[test]
fn a_database_of_another_program_is_told_whatever_else_is_wrong_and_stays_as_it_is() {
    let site = Site::new();
    site.production.sql("CREATE TABLE api_keys (id INTEGER)");
    let parts = ["DATABASE_URL", "`api_keys`", "a database of its own"];
    is_told_beside_every_other_reason(|| site.serve(), &parts);
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(site.production.column(tables), ["api_keys"]);
}

#[test]
fn a_database_that_is_away_is_told_whatever_else_is_wrong() {
    let site = Site::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://user:password@127.0.0.1:{port}/name");
    let parts = ["DATABASE_URL", "PostgreSQL name on 127.0.0.1", "cannot be reached"];
    is_told_beside_every_other_reason(|| site.serve().env("DATABASE_URL", &url), &parts);
}

#[test]
fn a_new_database_gives_no_reason_and_is_left_empty_by_a_refused_start() {
    let site = Site::new();
    let done = site.serve().env("PORT", "eighty").refused_start();
    done.refused_with(&["one setting is not right", "PORT"]);
    assert!(!done.err.contains("DATABASE_URL") && !done.err.contains("MASTER_KEY"), "{}", done.err);
    let tables = site
        .production
        .column("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'");
    assert!(tables.is_empty(), "{tables:?}");
}

#[test]
fn a_database_that_is_away_is_told_without_its_password() {
    let site = Site::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://user:{SECRET}@127.0.0.1:{port}/name");
    let done = site.serve().env("DATABASE_URL", &url).refused_start();
    done.does_not_tell(SECRET).refused_with(&[
        "PostgreSQL name on 127.0.0.1",
        "cannot be reached",
        "DATABASE_URL",
    ]);
    let done = site.serve().env("DATABASE_URL", &url).env("PORT", "eighty").refused_start();
    done.does_not_tell(SECRET).refused_with(&[
        "2 settings",
        "DATABASE_URL names a database that cannot be used",
        "PORT",
    ]);
}

#[test]
fn a_refused_start_touches_no_file() {
    let site = Site::new();
    let folder = &site.production.folder;
    let text = format!("DEPLOY_ENV=render\nKEYFOLD_MASTER_KEY={SECRET}\n");
    folder.write(".env", &text);
    let done = folder.keyfold(&["serve"]).refused_start();
    done.does_not_tell(SECRET).refused_with(&["DATABASE_URL is missing", "KEYFOLD_MASTER_KEY is missing"]);
    assert_eq!(folder.files(), [".env"]);
    assert_eq!(fs::read_to_string(folder.path(".env")).unwrap(), text);
}

//! `keyfold promote`: a developer's local keys become their own in production, at an address that was confirmed, and
//! nothing of them is shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use keyfold_standin::issuer::Issuer;
use keyfold_standin::{Behaviour, example_key, example_key_with};
use serde_json::{Value, json};

use crate::harness::{Done, Folder, Production, Server, Start, gemini, runtime};

fn masked(key: &str) -> String {
    format!("****{}", &key[key.len() - 4..])
}

/// A developer's folder, and a Keyfold in production.
struct Stage {
    local: Folder,
    production: Production,
    issuer: Issuer,
    server: Server,
}

impl Stage {
    fn new() -> Self {
        Self::with(|start| start)
    }

    fn with(change: impl Fn(Start) -> Start) -> Self {
        let production = Production::new();
        let issuer = runtime().block_on(Issuer::start());
        let start = production.keyfold(&["serve"]).env("KEYFOLD_PUBLIC_URL", "https://keys.example.com");
        let start = issuer.settings().iter().fold(start, |start, (name, value)| start.env(name, value));
        let server = change(start).serve();
        Self { local: Folder::new(), production, issuer, server }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.address.port())
    }

    /// `keyfold promote` to the production of this stage, as `user_a`.
    #[track_caller]
    fn promote(&self, options: &[&str]) -> Done {
        let token = self.issuer.token_for("user_a");
        let done = promote(&self.local, &self.url(), &token, options);
        done.does_not_tell(&token);
        done
    }
}

#[track_caller]
fn promote(local: &Folder, url: &str, token: &str, options: &[&str]) -> Done {
    let arguments = [&["promote", "--to", url, "--token-stdin"], options].concat();
    local.keyfold(&arguments).stdin(token).run()
}

/// `provider outcome` of each key.
fn outcomes(done: &Done) -> Vec<String> {
    let rows = done.json()["keys"].as_array().unwrap().clone();
    let word = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter().map(|row| format!("{} {}", word(row, "provider"), word(row, "outcome"))).collect()
}

/// A server that gives these answers, one to each request, and then goes away. What it was sent can be received.
fn scripted(answers: Vec<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut request).unwrap() > 0, "it went away: {request}");
            }
            let length = request.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            sender.send(format!("{request}{}", String::from_utf8(body).unwrap())).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, seen)
}

fn answer(status: &str, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn in_production() -> String {
    answer("200 OK", "", &json!({ "mode": "production" }))
}

fn no_keys() -> String {
    answer("200 OK", "", &json!({ "keys": [], "missing": [] }))
}

#[test]
fn local_keys_become_the_users_own_in_production_and_stay_here() {
    let stage = Stage::new();
    let (google, exa, copilot) = (gemini(1), example_key("exa", 1), example_key("copilotkit", 1));
    stage.local.has_key("gemini", &google);
    let text = format!("{}EXA_API_KEY={exa}\n", stage.local.read(".env"));
    stage.local.write(".env", &text);
    let token = stage.issuer.token_for("user_a");
    let arguments = ["promote", "--to", &stage.url(), "--token-stdin", "--yes"];
    // A key of the process is one that local mode uses.
    let done = stage.local.keyfold(&arguments).env("COPILOTKIT_API_KEY", &copilot).stdin(&token).run();
    for secret in [&google, &exa, &copilot, &token] {
        done.does_not_tell(secret);
    }
    let lines: Vec<&str> = done.ok().lines().collect();
    assert_eq!(
        lines,
        [
            format!("copilotkit    {:<12}sent: unverified", masked(&copilot)).as_str(),
            lines[1],
            &format!("exa           {:<12}sent: valid", masked(&exa)),
            &format!("gemini        {:<12}sent: valid", masked(&google)),
            "Your local keys stay where they are."
        ]
    );
    assert!(lines[1].contains("Note: The key was saved without being verified"), "{done:?}");
    for (provider, key) in [("gemini", &google), ("exa", &exa), ("copilotkit", &copilot)] {
        assert_eq!(stage.production.listed("user_a", provider)["masked"], masked(key), "{provider}");
    }
    assert_eq!(stage.production.column("SELECT DISTINCT user_id FROM onboarding_sessions"), ["user_a"]);
    // Each was checked over there.
    assert_eq!(stage.production.folder.standin.requests_for("gemini").last().unwrap().key, google);
    assert_eq!(stage.local.read(".env"), text);

    // Again: they are there, and nothing is sent.
    let sent = stage.production.column("SELECT version::TEXT FROM api_keys");
    let done = stage.promote(&["--yes", "--json"]);
    assert_eq!(outcomes(&done), ["exa there", "gemini there"]);
    done.ok();
    assert_eq!(stage.production.column("SELECT version::TEXT FROM api_keys"), sent);
    let log = stage.server.stop();
    log.does_not_tell(&google).does_not_tell(&token);
}

#[test]
fn another_key_over_there_stays_unless_it_is_to_be_replaced() {
    let stage = Stage::new();
    stage.production.has_key("user_a", "gemini", &gemini(9));
    stage.local.has_key("gemini", &gemini(1));
    stage.local.has_key("exa", &example_key("exa", 1));
    let done = stage.promote(&["--yes", "--dry-run", "--json"]);
    assert_eq!(outcomes(&done), ["exa would_send", "gemini would_leave"]);
    assert!(done.out.contains(&format!("with --replace it replaces {}", masked(&gemini(9)))), "{done:?}");
    // It ends as the command itself would.
    done.refused_with(&["not every key would be sent"]);
    assert_eq!(done.json()["ok"], false);
    let done = stage.promote(&["--yes", "--dry-run", "--replace", "--json"]);
    assert_eq!(outcomes(&done), ["exa would_send", "gemini would_send"]);
    done.ok();
    assert_eq!(stage.production.column("SELECT provider FROM api_keys"), ["gemini"]);

    let done = stage.promote(&["--yes", "--json"]);
    assert_eq!(outcomes(&done), ["exa sent", "gemini left"]);
    done.refused_with(&["not every key was sent"]);
    assert_eq!(stage.production.listed("user_a", "gemini")["masked"], masked(&gemini(9)));
    let done = stage.promote(&["--yes", "--replace", "--provider", "gemini"]);
    assert!(done.ok().contains(&format!("sent: valid; replaces {}", masked(&gemini(9)))), "{done:?}");
    assert_eq!(stage.production.listed("user_a", "gemini")["masked"], masked(&gemini(1)));
}

#[test]
fn what_is_refused_there_is_told_in_its_words_and_the_rest_goes_on() {
    let stage = Stage::new();
    let refused = example_key_with("gemini", "INVALID");
    stage.local.write(
        ".env",
        &format!(
            "GEMINI_API_KEY={refused}\nEXA_API_KEY={}\nTAVILY_API_KEY='no key'\n",
            example_key("exa", 1)
        ),
    );
    let done = stage.promote(&["--yes", "--json"]);
    assert_eq!(outcomes(&done), ["exa sent", "gemini not_sent", "tavily not_sent"]);
    done.does_not_tell(&refused).refused();
    assert!(done.out.contains("Google Gemini refused this key, so it was not saved"), "{done:?}");
    assert_eq!(stage.production.column("SELECT provider FROM api_keys"), ["exa"]);
    // A token that does not count, or whose user may not come in, stops it before a key leaves.
    stage.production.folder.standin.clear();
    let done = promote(&stage.local, &stage.url(), "eyJhbGciOiJSUzI1NiJ9.e30.AAAA", &["--yes"]);
    done.refused_with(&["No key was sent to", "your token does not count there", "Sign in there again"]);
    stage.production.keyfold(&["users", "suspend", "user_a"]).run().ok();
    stage.promote(&["--yes"]).refused_with(&["suspended"]);
    assert!(stage.production.folder.standin.requests().is_empty());
}

#[test]
fn too_many_requests_are_waited_for() {
    let stage = Stage::with(|start| start.env("KEYFOLD_RATE_LIMIT_KEYS", "1/second"));
    for provider in ["exa", "gemini", "tavily"] {
        stage.local.has_key(provider, &example_key(provider, 1));
    }
    let done = stage.promote(&["--yes", "--json"]);
    assert_eq!(outcomes(&done), ["exa sent", "gemini sent", "tavily sent"]);
    assert!(done.err.contains("Too many requests there; going on in 1 s."), "{done:?}");
}

#[test]
fn a_wait_that_is_too_long_is_left_to_the_person() {
    let local = Folder::new();
    local.has_key("gemini", &gemini(1));
    let problem = json!({ "code": "rate_limited", "detail": "Too many requests: try again in an hour." });
    let limited = answer("429 Too Many Requests", "retry-after: 3600\r\n", &problem);
    let (url, _seen) = scripted(vec![in_production(), no_keys(), limited]);
    let done = promote(&local, &url, "TestToken", &["--yes"]);
    done.refused_with(&["not every key was sent"]);
    assert!(done.out.contains("not sent: Too many requests: try again in an hour."), "{done:?}");
}

#[test]
fn it_goes_to_an_address_that_is_encrypted_and_bare_and_confirmed() {
    let local = Folder::new();
    local.has_key("gemini", &gemini(1));
    for (url, why) in [
        ("http://keys.example.com", "https://"),
        ("https://user:S3CR3T@keys.example.com", "user name or password"),
        ("https://keys.example.com/?token=S3CR3T", "query"),
        ("https://keys.example.com/#S3CR3T", "query"),
        ("keys.example.com", "is not a web address"),
        ("ftp://127.0.0.1", "is not a web address"),
    ] {
        let done = promote(&local, url, "TestToken", &["--yes"]);
        assert!(done.does_not_tell("S3CR3T").wrong_usage().contains(why), "{url}: {done:?}");
    }
    local.keyfold(&["promote", "--to", "https://keys.example.com"]).run().wrong_usage();
    // Nobody can be asked here, so neither token nor key leaves.
    let (url, seen) = scripted(vec![in_production()]);
    let arguments = ["promote", "--to", &url, "--token-stdin"];
    let done = local.keyfold_through(&["setsid", "-w"], &arguments).stdin("TestToken").run();
    let host = url.strip_prefix("http://").unwrap();
    let message = done.wrong_usage();
    assert!(message.contains(&format!("to {host} ({url})?")) && message.contains("say --yes"), "{message}");
    let asked: Vec<String> = seen.iter().collect();
    assert!(
        asked.len() == 1 && asked[0].starts_with("GET /api/config ") && !asked[0].contains("TestToken"),
        "{asked:?}"
    );
}

#[test]
fn at_a_terminal_the_address_is_shown_and_asked_about() {
    let local = Folder::new();
    local.has_key("gemini", &gemini(1));
    local.write("token", "TestToken");
    // `script` gives the command a terminal of its own, where what it reads is typed.
    let through = |command: &str, typed: &str| {
        let words = ["sh", "-c", "exec script -qec \"$1\" /dev/null", "sh", command];
        local.keyfold_through(&words, &[]).stdin(typed).run()
    };
    for (typed, answers) in [("y\n", 3), ("n\n", 1), ("\n", 1)] {
        let saved = answer("201 Created", "", &json!({ "status": "valid" }));
        let (url, seen) = scripted([in_production(), no_keys(), saved].into_iter().take(answers).collect());
        let program = env!("CARGO_BIN_EXE_keyfold");
        let done = through(&format!("{program} promote --to {url} --token-stdin < token"), typed);
        let host = url.strip_prefix("http://").unwrap();
        assert!(done.out.contains(&format!("Send your local key, and your token, to {host}")), "{done:?}");
        assert_eq!(seen.iter().count(), answers, "{done:?}");
        assert_eq!(done.out.contains("sent: valid"), answers == 3, "{done:?}");
        assert_eq!(done.out.contains("nothing was sent"), answers == 1, "{done:?}");
        assert_eq!(done.status.code(), Some(i32::from(answers == 1)), "{done:?}");
    }
}

#[test]
fn what_is_no_keyfold_in_production_gets_neither_token_nor_key() {
    let local = Folder::new();
    local.has_key("gemini", &gemini(1));
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("location: http://{}/api/config\r\n", elsewhere.local_addr().unwrap());
    for (first, why) in [
        (answer("200 OK", "", &json!({ "mode": "local" })), "is not in production"),
        (answer("200 OK", "", &json!({ "hello": "world" })), "no Keyfold"),
        (answer("200 OK", "", &json!("<html>")), "no Keyfold"),
        (answer("404 Not Found", "", &json!(null)), "status 404"),
        (answer("307 Temporary Redirect", &location, &json!(null)), "it leads elsewhere"),
        ("nonsense\r\n\r\n".to_owned(), "connection failed"),
    ] {
        let (url, seen) = scripted(vec![first]);
        let done = promote(&local, &url, "TestToken", &["--yes"]);
        done.refused_with(&["Nothing was sent", why]);
        let asked: Vec<String> = seen.iter().collect();
        assert!(asked.len() == 1 && !asked[0].contains("TestToken"), "{asked:?}");
    }
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
    // A Keyfold in local mode, for real.
    let server = Folder::new().serve();
    let done =
        promote(&local, &format!("http://127.0.0.1:{}", server.address.port()), "TestToken", &["--yes"]);
    done.refused_with(&["is not in production"]);
}

#[test]
fn a_connection_that_breaks_halfway_is_told_with_what_went() {
    let local = Folder::new();
    for provider in ["exa", "gemini", "tavily"] {
        local.has_key(provider, &example_key(provider, 1));
    }
    let saved = answer("201 Created", "", &json!({ "status": "valid", "warnings": ["\u{1b}[31mred"] }));
    let (url, seen) = scripted(vec![in_production(), no_keys(), saved, String::new()]);
    let done = promote(&local, &url, "TestToken", &["--yes", "--json"]);
    assert_eq!(outcomes(&done), ["exa sent", "gemini not_sent", "tavily not_tried"]);
    done.refused();
    assert!(done.err.contains("What was sent stays; run the command again"), "{done:?}");
    assert_eq!(done.json()["keys"][0]["warnings"], json!(["[31mred"]));
    let asked: Vec<String> = seen.iter().collect();
    assert!(
        asked[1].starts_with("GET /api/keys ") && asked[1].contains("authorization: Bearer TestToken\r\n")
    );
    let (head, body) = asked[2].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("PUT /api/keys/exa "), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, json!({ "key": example_key("exa", 1) }));
    assert!(asked.iter().all(|request| !request.lines().next().unwrap().contains("TestData")));
}

#[test]
fn words_that_repeat_the_key_or_the_token_are_not_shown() {
    let local = Folder::new();
    let key = gemini(1);
    local.has_key("gemini", &key);
    for secret in [key.as_str(), "TestTokenS3CR3TS3CR3T"] {
        let problem = json!({ "code": "key_rejected", "detail": format!("The key {secret} is bad.") });
        let (url, _seen) =
            scripted(vec![in_production(), no_keys(), answer("422 Unprocessable", "", &problem)]);
        let done = promote(&local, &url, "TestTokenS3CR3TS3CR3T", &["--yes"]);
        done.does_not_tell(secret).refused();
        assert!(done.out.contains("status 422"), "{done:?}");
    }
}

#[test]
fn what_there_is_nothing_to_send_from_or_with_is_said_before_anything_leaves() {
    let local = Folder::new();
    let (url, seen) = scripted(vec![]);
    promote(&local, &url, "TestToken", &["--yes"]).refused_with(&["No API key found"]);
    local.has_key("gemini", &gemini(1));
    promote(&local, &url, "TestToken", &["--yes", "--provider", "exa"])
        .refused_with(&["There is no Exa key here"]);
    promote(&local, &url, "TestToken", &["--yes", "--provider", "nobody"])
        .refused_with(&["no provider of that name"]);
    promote(&local, &url, "", &["--yes"]).refused_with(&["holds no token"]);
    promote(&local, &url, "two words", &["--yes"]).refused_with(&["holds no token"]);
    promote(&local, &url, "kfs_TestData", &["--yes"]).refused_with(&["service token"]);
    let production = Production::new();
    let done =
        production.keyfold(&["promote", "--to", &url, "--token-stdin", "--yes"]).stdin("TestToken").run();
    done.refused_with(&["this is production"]);
    assert!(seen.recv().is_err());
    // The provider is asked there, not here.
    local.standin.always("gemini", Behaviour::status(500, "{}"));
    assert!(local.standin.requests().len() == 1, "by saving it only");
}

//! `keyfold doctor`: what it names, and that it ends with 1 only if something has failed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;

use keyfold_standin::{Behaviour, example_key};
use keyfold_test_servers::PostgresServer;
use serde_json::Value;

use crate::harness::{Done, Folder, Production, Start, gemini, new_master_key};

const NO_KEY: &str = "No API key found";
const WRONG_KEYS: &str = "Wrong user's keys being used";
const NOT_SAVING: &str = "Keys not saving to .env";
const TRACKED: &str = "Keys in version control";
const SETTINGS: &str = "Settings";
const DATABASE: &str = "Database and master key";

/// A report, in both forms: they must say the same.
struct Report {
    ok: bool,
    checks: Vec<(String, String, String)>,
}

#[track_caller]
fn doctor(folder: &Folder) -> Report {
    doctor_with(folder, |start| start)
}

#[track_caller]
fn doctor_with(folder: &Folder, change: impl Fn(Start) -> Start) -> Report {
    doctor_of(folder, &[], change)
}

#[track_caller]
fn doctor_of(folder: &Folder, options: &[&str], change: impl Fn(Start) -> Start) -> Report {
    let json = change(folder.keyfold(&[&["doctor", "--json"], options].concat())).run();
    let text = change(folder.keyfold(&[&["doctor"], options].concat())).run();
    let report = Report::read(&json);
    assert_eq!(text.out.lines().count(), report.checks.len(), "{text:?}");
    for (line, (name, outcome, detail)) in text.out.lines().zip(&report.checks) {
        let mark = if outcome == "failed" { "FAILED" } else { outcome };
        // Other tests use connections too, so how many are free changes.
        let detail = detail.trim_start_matches(|each: char| each.is_ascii_digit());
        assert!(line.starts_with(mark) && line.contains(name.as_str()) && line.ends_with(detail), "{line}");
    }
    let status = i32::from(!report.ok);
    assert_eq!((json.status.code(), text.status.code()), (Some(status), Some(status)), "{text:?}");
    assert_eq!(text.err.contains("something is wrong; see above"), !report.ok, "{text:?}");
    for done in [&json, &text] {
        done.does_not_tell("S3CR3T").does_not_tell(&gemini(1)).does_not_tell(&gemini(2));
    }
    report
}

impl Report {
    fn read(done: &Done) -> Self {
        let json = done.json();
        let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
        let checks = json["checks"].as_array().unwrap().iter();
        let checks: Vec<_> = checks
            .map(|check| (word(check, "name"), word(check, "outcome"), word(check, "detail")))
            .collect();
        let ok = json["ok"].as_bool().unwrap();
        assert_eq!(ok, checks.iter().all(|(_, outcome, _)| outcome != "failed"), "{json}");
        Self { ok, checks }
    }

    /// Asserts that there is such a check whose detail has these parts.
    #[track_caller]
    fn says(&self, name: &str, outcome: &str, parts: &[&str]) -> &Self {
        let fits = self.checks.iter().any(|check| {
            check.0 == name && check.1 == outcome && parts.iter().all(|part| check.2.contains(part))
        });
        assert!(fits, "{name}, {outcome}, {parts:?}: {:#?}", self.checks);
        self
    }

    /// Asserts that these and no others are of that outcome.
    #[track_caller]
    fn only(&self, outcome: &str, names: &[&str]) -> &Self {
        let found: Vec<&str> =
            self.checks.iter().filter(|check| check.1 == outcome).map(|check| check.0.as_str()).collect();
        assert_eq!(found, names, "{:#?}", self.checks);
        self
    }
}

/// A server that answers every request with this JSON, until the end of the test run.
fn answering(body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

pub(crate) fn git(folder: &Folder, arguments: &[&str]) {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(&folder.root)
        .env("HOME", &folder.root)
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A folder in which nothing is wrong.
fn healthy() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path("frontend")).unwrap();
    folder.has_key("gemini", &gemini(1));
    folder.has_key("copilotkit", &example_key("copilotkit", 1));
    folder
}

#[test]
fn a_fresh_folder_lacks_a_key_and_nothing_has_failed() {
    let folder = Folder::new();
    let report = doctor(&folder);
    let env_file = folder.path(".env").display().to_string();
    report
        .says("Mode", "ok", &["local", "nothing sets DEBUG or DEPLOY_ENV"])
        .says(SETTINGS, "ok", &[])
        .says(NOT_SAVING, "ok", &[&env_file, "made with the first key"])
        .says(NOT_SAVING, "warning", &["no frontend folder", "KEYFOLD_FRONTEND_ENV_FILE"])
        .says(DATABASE, "ok", &["keyfold.db"])
        .says(
            NO_KEY,
            "warning",
            &["gemini", "keyfold keys set gemini", "GEMINI_API_KEY", &env_file, "https://"],
        )
        .says(WRONG_KEYS, "ok", &[])
        .only("failed", &[]);
    assert!(!folder.path(".env").exists());
    // With the other preset more keys are required.
    let report = doctor_with(&folder, |start| start.env("KEYFOLD_ONBOARDING", "alwrity"));
    for provider in ["gemini", "exa", "copilotkit"] {
        report.says(NO_KEY, "warning", &[provider]);
    }
}

#[test]
fn a_healthy_folder_has_nothing_but_good() {
    let folder = healthy();
    folder.standin.clear();
    let report = doctor(&folder);
    report.says(NO_KEY, "ok", &["gemini: ****", "is valid"]).says(
        NO_KEY,
        "ok",
        &["copilotkit", "not verified"],
    );
    report
        .says(NOT_SAVING, "ok", &["/frontend/.env", "read and written"])
        .only("warning", &[])
        .only("failed", &[]);
    assert!(report.ok);
    assert!(folder.standin.requests().is_empty(), "it asks nobody");
    // Also beside a server.
    let server = folder.serve();
    assert!(doctor(&folder).ok);
    server.stop();
}

#[test]
fn what_decides_the_mode_is_told() {
    let folder = healthy();
    doctor_with(&folder, |start| start.env("DEBUG", "true")).says("Mode", "ok", &["local", "of the process"]);
    folder.write(".env", &format!("{}DEBUG=1\n", folder.read(".env")));
    let env_file = folder.path(".env").display().to_string();
    doctor(&folder).says("Mode", "ok", &["local", &env_file]);
}

#[test]
fn a_rejected_key_has_failed() {
    let folder = healthy();
    folder.standin.always("gemini", Behaviour::status(400, r#"{"error":{"message":"API key not valid"}}"#));
    folder.keyfold(&["keys", "validate", "gemini"]).run().refused();
    doctor(&folder)
        .says(NO_KEY, "failed", &["gemini", "refused", "keyfold keys set gemini"])
        .only("failed", &[NO_KEY]);
    folder.standin.always("gemini", Behaviour::status(403, r#"{"error":{"message":"SERVICE_DISABLED"}}"#));
    folder.keyfold(&["keys", "validate", "gemini"]).run().ok();
    let report = doctor(&folder);
    report
        .says(NO_KEY, "warning", &["gemini", "limited", "keyfold keys validate gemini"])
        .only("failed", &[]);
}

#[test]
fn what_is_no_key_has_failed() {
    let folder = healthy();
    folder.write(".env", "GEMINI_API_KEY='two S3CR3T words'\n");
    doctor(&folder).says(NO_KEY, "failed", &["gemini", "no key", "keyfold keys set gemini"]);
}

#[test]
fn a_variable_of_the_process_that_hides_the_file_is_a_warning() {
    let folder = healthy();
    let report = doctor_with(&folder, |start| start.env("GEMINI_API_KEY", &gemini(2)));
    report.says(WRONG_KEYS, "warning", &["gemini", "unset"]).only("failed", &[]);
    assert!(report.ok);
    // A placeholder hides nothing.
    doctor_with(&folder, |start| start.env("GEMINI_API_KEY", "your_gemini_key")).says(WRONG_KEYS, "ok", &[]);
}

#[test]
fn an_env_file_that_cannot_be_written_has_failed() {
    let folder = healthy();
    folder.set_mode(".env", 0o444);
    let report = doctor(&folder);
    report.says(NOT_SAVING, "failed", &["/.env is read-only", "chmod u+w"]).only("failed", &[NOT_SAVING]);
    // It told the truth.
    let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(&gemini(2)).run();
    done.refused_with(&["read-only", "Nothing was changed"]);
    folder.set_mode(".env", 0o600);
    folder.set_mode("frontend/.env", 0o400);
    doctor(&folder)
        .says(NOT_SAVING, "failed", &["/frontend/.env is read-only"])
        .only("failed", &[NOT_SAVING]);
}

#[test]
fn an_env_file_that_others_can_read_is_a_warning() {
    let folder = healthy();
    folder.set_mode(".env", 0o644);
    let report = doctor(&folder);
    report.says(NOT_SAVING, "warning", &["other users", "chmod 600"]).only("failed", &[]);
}

#[test]
fn an_env_file_in_a_folder_that_is_not_there_or_closed_has_failed() {
    let folder = Folder::of_an_ordinary_user();
    let missing = |start: Start| start.env("KEYFOLD_BACKEND_ENV_FILE", "missing/.env");
    doctor_with(&folder, missing).says(NOT_SAVING, "failed", &["missing", "make that folder"]);
    missing(folder.keyfold(&["keys", "set", "gemini"])).stdin(&gemini(1)).run().refused_with(&["missing"]);

    folder.write("closed/.env", "A=1\n");
    folder.set_mode("closed", 0o555);
    let closed = |start: Start| start.env("KEYFOLD_BACKEND_ENV_FILE", "closed/.env");
    doctor_with(&folder, closed).says(NOT_SAVING, "failed", &["closed", "writable"]);
    closed(folder.keyfold(&["keys", "set", "gemini"])).stdin(&gemini(1)).run().refused_with(&["closed/.env"]);
    assert_eq!(folder.read("closed/.env"), "A=1\n");
    folder.set_mode("closed", 0o755);
    // Made by another user: this one may read it and replace it, but not write it.
    folder.set_mode("closed/.env", 0o644);
    if fs::metadata(folder.path("closed")).unwrap().permissions().readonly() {
        return;
    }
    let report = doctor_with(&folder, closed);
    let can_save =
        closed(folder.keyfold(&["keys", "set", "gemini"])).stdin(&gemini(1)).run().status.success();
    assert_eq!(
        report.checks.iter().all(|(name, outcome, _)| name != NOT_SAVING || outcome != "failed"),
        can_save
    );
}

#[test]
fn an_env_file_that_git_tracks_has_failed() {
    let folder = healthy();
    let untracked = ["ok", "warning"];
    git(&folder, &["init", "--quiet"]);
    let report = doctor(&folder);
    assert!(
        report
            .checks
            .iter()
            .all(|(name, outcome, _)| name != TRACKED && untracked.contains(&outcome.as_str()))
    );
    git(&folder, &["add", "-f", ".env"]);
    let advice = format!("git rm --cached {}", folder.path(".env").display());
    let report = doctor(&folder);
    report.says(TRACKED, "failed", &[&advice, ".gitignore", "replace the keys"]).only("failed", &[TRACKED]);
    // A link that is tracked tells nobody a key.
    git(&folder, &["rm", "--quiet", "--cached", ".env"]);
    fs::rename(folder.path(".env"), folder.path("kept.env")).unwrap();
    symlink("kept.env", folder.path(".env")).unwrap();
    git(&folder, &["add", "-f", ".env"]);
    assert!(doctor(&folder).ok);
    git(&folder, &["add", "-f", "kept.env"]);
    doctor(&folder).says(TRACKED, "failed", &["kept.env"]);
    // The state directory hides itself from git.
    git(&folder, &["add", "--all"]);
    let listed = Command::new("git").args(["ls-files"]).current_dir(&folder.root).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("kept.env") && !listed.contains(".keyfold"), "{listed}");
}

#[test]
fn an_env_file_that_cannot_be_understood_has_failed() {
    let folder = healthy();
    folder.write(".env", "A=1\nGEMINI_API_KEY=\"S3CR3T\n");
    let env_file = folder.path(".env").display().to_string();
    for debug in ["", "true"] {
        let report = doctor_with(&folder, |start| start.env("DEBUG", debug));
        report.says(SETTINGS, "failed", &[&env_file, "line 2"]);
    }
    let folder = healthy();
    folder.write("frontend/.env", "what is this\n");
    doctor(&folder).says(NOT_SAVING, "failed", &["/frontend/.env", "line 1"]).only("failed", &[NOT_SAVING]);
}

#[test]
fn wrong_settings_have_failed_each() {
    let folder = healthy();
    let report = doctor_with(&folder, |start| {
        let start = start.env("KEYFOLD_ONBOARDING", "x").env("KEYFOLD_MASTER_KEY", "S3CR3T");
        // Those of the listener too: with them the server does not start.
        start.env("PORT", "eighty").env("HOST", "0.0.0.0")
    });
    report.only("failed", &[SETTINGS, SETTINGS, SETTINGS]);
    report.says(SETTINGS, "failed", &["KEYFOLD_ONBOARDING", "alwrity"]).says(
        SETTINGS,
        "failed",
        &["PORT", "65535"],
    );
    report.says(SETTINGS, "failed", &["KEYFOLD_MASTER_KEY", "keyfold master-key generate"]);
    let report = doctor_with(&folder, |start| start.env("HOST", "0.0.0.0"));
    report.says(SETTINGS, "failed", &["HOST", "KEYFOLD_LOCAL_TOKEN"]).only("failed", &[SETTINGS]);
    let report = doctor_with(&folder, |start| start.env("DEBUG", "perhaps"));
    report.says(SETTINGS, "failed", &["DEBUG", "perhaps"]).only("failed", &[SETTINGS]);
    let report = doctor_with(&folder, |start| start.env("RENDER", "true"));
    report.says(SETTINGS, "failed", &["RENDER", "DEPLOY_ENV=render"]);
    let report = doctor_with(&folder, |start| start.env("DEPLOY_ENV", "render"));
    report.says("Mode", "ok", &["production"]).says(SETTINGS, "failed", &["DATABASE_URL is missing"]);
}

#[test]
fn a_database_or_master_key_that_does_not_open_has_failed() {
    let folder = healthy();
    folder.set_mode(".keyfold/master.key", 0o644);
    doctor(&folder).says(DATABASE, "failed", &["chmod 600"]).only("failed", &[DATABASE]);
    fs::remove_file(folder.path(".keyfold/master.key")).unwrap();
    doctor(&folder).says(DATABASE, "failed", &["is gone"]);
    folder.write(".keyfold/keyfold.db", &"this is no database ".repeat(100));
    doctor(&folder).says(DATABASE, "failed", &["keyfold.db"]);
}

mod production {
    use super::*;

    const SERVER: &str = "Database";
    const ISSUER: &str = "Token issuer";
    const CLOCK: &str = "Clock";
    /// The key of RFC 8037, appendix A.2.
    const KEY_SET: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// With a token issuer, as `serve` needs it.
    fn with_issuer(start: Start, key_set: &str) -> Start {
        let start =
            start.env("KEYFOLD_AUTH_ISSUER", "https://id.example").env("KEYFOLD_AUTH_JWKS_URL", key_set);
        let start = start.env("KEYFOLD_AUTH_AUDIENCE", "keyfold");
        start.env("KEYFOLD_PUBLIC_URL", "https://keys.example")
    }

    impl Production {
        #[track_caller]
        fn doctor(&self, options: &[&str]) -> Report {
            self.doctor_with(options, |start| start)
        }

        #[track_caller]
        fn doctor_with(&self, options: &[&str], change: impl Fn(Start) -> Start) -> Report {
            doctor_of(&self.folder, options, |start| change(self.configured(start)))
        }

        /// With its tables made.
        fn begun() -> Self {
            let production = Self::new();
            production.keyfold(&["users", "list"]).run().ok();
            production
        }
    }

    #[test]
    fn what_commands_need_is_enough_and_an_issuer_is_only_missed() {
        let production = Production::begun();
        let report = production.doctor(&[]);
        report
            .says("Mode", "ok", &["production", "of the process"])
            .says(SETTINGS, "ok", &[])
            .says(NOT_SAVING, "ok", &["database only"])
            .says(WRONG_KEYS, "ok", &[])
            .says(SERVER, "ok", &[&production.database, "answers; version "])
            .says(SERVER, "ok", &["on this machine"])
            .says(SERVER, "ok", &["connections are free"])
            .says(SERVER, "ok", &["the tables have version"])
            .says(CLOCK, "ok", &[])
            .says(DATABASE, "ok", &[&production.database, "master key"])
            .says(NO_KEY, "ok", &["keyfold doctor --user ID"])
            .says(ISSUER, "warning", &["CLERK_PUBLISHABLE_KEY is missing", "commands need none"])
            .says(ISSUER, "warning", &["KEYFOLD_PUBLIC_URL is missing"])
            .only("warning", &[ISSUER, ISSUER])
            .only("failed", &[]);
        assert!(report.ok);
        assert!(production.folder.files().is_empty() && production.folder.standin.requests().is_empty());
    }

    #[test]
    fn with_an_issuer_that_answers_there_is_nothing_but_good() {
        let production = Production::begun();
        let key_set = answering(KEY_SET);
        let report = production.doctor_with(&[], |start| with_issuer(start, &key_set));
        report
            .says(ISSUER, "ok", &["https://id.example", "1 of its keys can be used"])
            .only("warning", &[])
            .only("failed", &[]);
    }

    #[test]
    fn an_issuer_without_usable_keys_has_failed() {
        let production = Production::begun();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (key_set, why) in [
            (format!("http://{closed}"), "connection failed"),
            (answering(r#"{"keys":[]}"#), "no key that can be used"),
            (answering("what is this"), "not a key set"),
        ] {
            let report = production.doctor_with(&[], |start| with_issuer(start, &key_set));
            report
                .says(ISSUER, "failed", &["https://id.example", "nobody can sign in", why])
                .only("failed", &[ISSUER]);
        }
    }

    #[test]
    fn half_an_issuer_has_failed() {
        let production = Production::begun();
        let report =
            production.doctor_with(&[], |start| start.env("KEYFOLD_AUTH_ISSUER", "https://id.example"));
        report.says(SETTINGS, "failed", &["KEYFOLD_AUTH_AUDIENCE is missing"]).says(
            SETTINGS,
            "failed",
            &["KEYFOLD_PUBLIC_URL is missing"],
        );
        // The rest is looked at all the same.
        report.says(DATABASE, "ok", &[]).only("failed", &[SETTINGS, SETTINGS]);
    }

    #[test]
    fn a_development_instance_of_clerk_is_a_warning() {
        let production = Production::begun();
        // `clerk.example.invalid$`, which nobody answers for.
        let report = production.doctor_with(&[], |start| {
            start
                .env("CLERK_PUBLISHABLE_KEY", "pk_test_Y2xlcmsuZXhhbXBsZS5pbnZhbGlkJA")
                .env("KEYFOLD_PUBLIC_URL", "https://keys.example")
        });
        report.says(ISSUER, "warning", &["pk_test_", "pk_live_"]).only("failed", &[ISSUER]);
    }

    #[test]
    fn keys_for_the_whole_process_and_env_files_are_warnings() {
        let production = Production::begun();
        production.folder.write(".env", "GEMINI_API_KEY=S3CR3T\n");
        production.folder.write("frontend/.env", "REACT_APP_COPILOTKIT_API_KEY=S3CR3T\n");
        let report = production.doctor_with(&[], |start| {
            start
                .env("GEMINI_API_KEY", "S3CR3T")
                .env("HUGGING_FACE_HUB_TOKEN", "S3CR3T")
                .env("EXA_API_KEY", "")
        });
        report
            .says(WRONG_KEYS, "warning", &["GEMINI_API_KEY, HUGGING_FACE_HUB_TOKEN;", "unset"])
            .says(NOT_SAVING, "warning", &["/.env and ", "/frontend/.env", "not used"])
            .only("failed", &[]);
        // One that decides the mode is used for that.
        production.folder.write(".env", "DEPLOY_ENV=render\n");
        let report = production.doctor_with(&[], |start| start.without("DEPLOY_ENV"));
        report.says("Mode", "ok", &["production", "/.env"]).says(
            NOT_SAVING,
            "warning",
            &["nothing is used but DEBUG and DEPLOY_ENV"],
        );
    }

    #[test]
    fn a_database_that_is_away_has_failed() {
        let production = Production::new();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("postgres://someone:S3CR3T@{closed}/keys");
        let report = production.doctor_with(&[], |start| start.env("DATABASE_URL", &url));
        report
            .says(SERVER, "failed", &["PostgreSQL keys on 127.0.0.1", "Check that it runs"])
            .only("failed", &[SERVER]);
        // One that is there, without such a database.
        let url = PostgresServer::shared().address_of("nothing_of_this_name");
        let report = production.doctor_with(&[], |start| start.env("DATABASE_URL", &url));
        report.says(SERVER, "failed", &["nothing_of_this_name"]).only("failed", &[SERVER]);
    }

    #[test]
    fn another_master_key_has_failed() {
        let production = Production::begun();
        let other = new_master_key();
        let report = production.doctor_with(&[], |start| start.env("KEYFOLD_MASTER_KEY", &other));
        report.says(DATABASE, "failed", &["was encrypted with the master key"]).only("failed", &[DATABASE]);
    }

    #[test]
    fn tables_are_left_to_the_next_start() {
        let production = Production::new();
        production.doctor(&[]).says(SERVER, "ok", &["no tables yet", "next `serve`"]).only("failed", &[]);
        assert_eq!(
            production.column("SELECT COALESCE(to_regclass('keyfold_schema')::TEXT, 'none')"),
            ["none"]
        );
        production.keyfold(&["users", "list"]).run().ok();
        production.sql("DELETE FROM keyfold_schema WHERE version > 1");
        production
            .doctor(&[])
            .says(SERVER, "ok", &["have version 1", "must be brought to"])
            .only("failed", &[]);
        production.sql("INSERT INTO keyfold_schema (version, name) VALUES (999, 'later')");
        production.doctor(&[]).says(SERVER, "failed", &["999", "run a newer one"]).only("failed", &[SERVER]);

        let foreign = Production::new();
        foreign.sql("CREATE TABLE api_keys (id INTEGER)");
        foreign.doctor(&[]).says(SERVER, "failed", &["`api_keys`", "DATABASE_URL"]).only("failed", &[SERVER]);
    }

    #[test]
    fn a_user_who_may_make_no_tables_has_failed_where_some_are_needed() {
        let production = Production::new();
        let role = format!("role_of_{}", production.database);
        production.sql(&format!("CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
        let url = production.database_url().replace("keyfold@", &format!("{role}@"));
        let report = production.doctor_with(&[], |start| start.env("DATABASE_URL", &url));
        report.says(SERVER, "failed", &["may not make tables", "GRANT CREATE"]).only("failed", &[SERVER]);
        // It told the truth.
        production
            .keyfold(&["users", "list"])
            .env("DATABASE_URL", &url)
            .run()
            .refused_with(&["permission denied"]);
    }

    #[test]
    fn a_database_that_takes_no_changes_has_failed() {
        let production = Production::begun();
        production
            .sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", production.database));
        production
            .doctor(&[])
            .says(SERVER, "failed", &["takes no changes", "primary"])
            .only("failed", &[SERVER]);
    }

    #[test]
    fn few_connections_are_a_warning() {
        let production = Production::begun();
        production.sql(&format!("ALTER DATABASE {} CONNECTION LIMIT 5", production.database));
        production
            .doctor(&[])
            .says(SERVER, "warning", &["connections are free", "takes up to"])
            .only("failed", &[]);
    }

    #[test]
    fn the_keys_of_one_user_are_looked_at() {
        let production = Production::begun();
        let report = production.doctor(&["--user", "user_a"]);
        report
            .says(NO_KEY, "warning", &["nobody of the id user_a", "keyfold users list"])
            .only("failed", &[]);

        production.has_key("user_a", "exa", &example_key("exa", 1));
        production.has_key("user_b", "gemini", &gemini(2));
        let report = production.doctor(&["--user", "user_a"]);
        report
            .says(
                NO_KEY,
                "warning",
                &["gemini: there is none", "keyfold keys set gemini --user user_a", "https://"],
            )
            .says(NO_KEY, "ok", &["exa: ****"])
            .says(WRONG_KEYS, "ok", &["1 of 1 keys open", "user_a and of nobody else"])
            .only("failed", &[]);
        let report = production.doctor(&["--user", "user_b"]);
        report.says(NO_KEY, "ok", &["gemini: ****", "is valid"]).only("failed", &[]);

        production.keyfold(&["users", "suspend", "user_b"]).run().ok();
        production.sql(
            "UPDATE api_keys SET key = (SELECT key FROM api_keys WHERE provider = 'gemini') WHERE provider = 'exa'",
        );
        let report = production.doctor(&["--user", "user_b"]);
        report.says(NO_KEY, "warning", &["user_b is suspended since", "keyfold users resume user_b"]);
        let report = production.doctor(&["--user", "user_a"]);
        report
            .says(
                NO_KEY,
                "failed",
                &["exa", "does not open for this user", "keyfold keys set exa --user user_a"],
            )
            .says(WRONG_KEYS, "ok", &["0 of 1 keys open"])
            .only("failed", &[NO_KEY]);
    }
}

//! `keyfold keys …` in production: whose keys is always said, they live in the database, and no token issuer is
//! needed.

use std::net::TcpListener;

use keyfold_standin::{Behaviour, example_key, example_key_with};
use serde_json::json;

use crate::harness::{Production, gemini, new_master_key};

/// Every command about a user's keys, without the user.
const COMMANDS: [&[&str]; 6] = [
    &["keys", "list"],
    &["keys", "set", "gemini"],
    &["keys", "remove", "gemini"],
    &["keys", "validate"],
    &["keys", "rollback", "gemini"],
    &["run", "--", "true"],
];

/// The command with its user, which stands before what `run` starts.
fn of_user<'a>(command: &[&'a str], user: &'a str) -> Vec<&'a str> {
    let (before, after) =
        command.split_at(command.iter().position(|word| *word == "--").unwrap_or(command.len()));
    [before, &["--user", user], after].concat()
}

#[test]
fn a_key_goes_to_the_database_sealed_and_to_no_file() {
    let production = Production::new();
    let key = gemini(1);
    let done = production.keyfold(&["keys", "set", "gemini", "--user", "user_a"]).stdin(&key).run();
    let shown = format!("****{}", &key[key.len() - 4..]);
    assert_eq!(
        done.does_not_tell(&key).ok(),
        format!("Saved the Google Gemini key of user_a ({shown}): valid.\n")
    );
    assert_eq!(production.folder.standin.requests_for("gemini").last().unwrap().key, key);
    assert!(production.folder.files().is_empty(), "{:?}", production.folder.files());

    let stored = production.column(
        "SELECT user_id || ' ' || provider || ' ' || key FROM api_keys \
         JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id",
    );
    assert_eq!(stored.len(), 1);
    assert!(stored[0].starts_with("user_a gemini kf1.") && !stored[0].contains(&key), "{stored:?}");

    let listed = production.listed("user_a", "gemini");
    assert_eq!(listed["masked"], shown);
    assert_eq!((&listed["source"], &listed["status"]), (&json!("database"), &json!("valid")));
    // A second time it is replaced, and the first can be gone back to.
    let done = production.keyfold(&["keys", "set", "gemini", "--user", "user_a"]).stdin(&gemini(2)).run();
    assert!(done.ok().starts_with("Replaced the Google Gemini key of user_a"), "{done:?}");
    production.keyfold(&["keys", "rollback", "gemini", "--user", "user_a"]).run().ok();
    assert_eq!(production.listed("user_a", "gemini")["masked"], shown);
    production.keyfold(&["keys", "remove", "gemini", "--user", "user_a"]).run().ok();
    assert!(production.listed("user_a", "gemini").is_null());
    assert!(production.folder.files().is_empty(), "{:?}", production.folder.files());
}

#[test]
fn without_a_user_it_is_wrong_usage() {
    let production = Production::new();
    for command in COMMANDS {
        let done = production.keyfold(command).stdin(&gemini(1)).run();
        let message = done.does_not_tell(&gemini(1)).wrong_usage();
        assert!(message.contains("--user ID") && message.contains("keyfold users list"), "{message}");
    }
    assert!(production.folder.standin.requests().is_empty());
    let database = production.column("SELECT COALESCE(to_regclass('api_keys')::TEXT, 'none')");
    assert_eq!(database, ["none"], "nothing was opened");
}

#[test]
fn users_do_not_meet() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_b", "gemini", &gemini(2));
    production.has_key("user_b", "exa", &example_key("exa", 2));
    let end = |key: &str| format!("****{}", &key[key.len() - 4..]);
    assert_eq!(production.listed("user_a", "gemini")["masked"], end(&gemini(1)));
    assert_eq!(production.listed("user_b", "gemini")["masked"], end(&gemini(2)));
    assert!(production.listed("user_a", "exa").is_null());
    production.keyfold(&["keys", "remove", "exa", "--user", "user_a"]).run().refused();
    production.keyfold(&["keys", "remove", "gemini", "--user", "user_a"]).run().ok();
    assert_eq!(production.listed("user_b", "gemini")["masked"], end(&gemini(2)));

    // Each is checked with its own key.
    production.folder.standin.clear();
    production.keyfold(&["keys", "validate", "gemini", "--user", "user_b"]).run().ok();
    let keys: Vec<String> =
        production.folder.standin.requests().into_iter().map(|request| request.key).collect();
    assert_eq!(keys, [gemini(2)]);
}

#[test]
fn a_key_of_the_whole_process_is_nobodys() {
    let production = Production::new();
    production.folder.write(".env", &format!("GEMINI_API_KEY={}\n", gemini(8)));
    for arguments in [["keys", "list"], ["keys", "validate"]] {
        let arguments = of_user(&arguments, "user_a");
        let done = production.keyfold(&arguments).env("GEMINI_API_KEY", &gemini(9)).run();
        done.does_not_tell(&gemini(9)).ok();
        assert!(!done.out.contains("****"), "{done:?}");
    }
    assert!(production.folder.standin.requests().is_empty());
    let done = production.keyfold(&["keys", "list", "--user", "user_a"]).run();
    assert!(done.ok().contains("keyfold keys set gemini --user user_a"), "{done:?}");
    assert!(done.out.contains("never here") || done.out.contains("nobody of the id user_a"), "{done:?}");
    // It is not written either.
    production.has_key("user_a", "gemini", &gemini(1));
    assert_eq!(production.folder.read(".env"), format!("GEMINI_API_KEY={}\n", gemini(8)));
    assert_eq!(production.folder.files(), [".env"]);
}

#[test]
fn what_a_provider_refuses_is_not_saved_and_ends_with_1() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let rejected = example_key_with("gemini", "INVALID");
    let done = production.keyfold(&["keys", "set", "gemini", "--user", "user_a"]).stdin(&rejected).run();
    done.does_not_tell(&rejected).refused_with(&["Google Gemini refused this key"]);
    let status = Behaviour::status(400, r#"{"error":{"message":"API key not valid"}}"#);
    production.folder.standin.always("gemini", status);
    let done = production.keyfold(&["keys", "validate", "--json", "--user", "user_a"]).run();
    done.refused_with(&["a key cannot be used"]);
    assert_eq!(done.json()["results"]["gemini"]["status"], "rejected");
    assert_eq!(production.listed("user_a", "gemini")["status"], "rejected");
}

#[test]
fn settings_come_from_files_as_for_serve() {
    let production = Production::new();
    let folder = &production.folder;
    folder.write("keyfold.toml", &format!("database_url = \"{}\"\n", production.database_url()));
    folder.write("master", &format!("{}\n", production.master_key));
    // The mode, and nothing else, may stand in the `.env`.
    folder.write(".env", "DEPLOY_ENV=render\n");
    let start = || folder.keyfold(&["keys", "list", "--json", "--user", "user_a"]);
    let done = start().env("KEYFOLD_MASTER_KEY_FILE", "master").run();
    assert_eq!((done.status.code(), done.json()), (Some(0), json!({ "keys": [] })));
    folder.write(".env", &format!("DEPLOY_ENV=render\nKEYFOLD_MASTER_KEY={}\n", production.master_key));
    start().run().refused_with(&["KEYFOLD_MASTER_KEY is missing", ".env says production"]);
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let production = Production::new();
    for command in COMMANDS {
        let command = of_user(command, "user_a");
        let done = production.folder.keyfold(&command).env("DEPLOY_ENV", "render").stdin(&gemini(1)).run();
        done.does_not_tell(&gemini(1)).refused_with(&[
            "DATABASE_URL is missing",
            "KEYFOLD_MASTER_KEY is missing",
            "postgres://",
            "keyfold master-key generate",
        ]);
        // Commands need no issuer and no front end.
        assert!(!done.err.contains("CLERK") && !done.err.contains("KEYFOLD_PUBLIC_URL"), "{done:?}");
    }
}

#[test]
fn a_database_that_is_away_is_told_and_nothing_is_asked() {
    let production = Production::new();
    let of_users: [&[&str]; 2] = [&["users", "list"], &["users", "suspend", "user_a"]];
    let commands: Vec<Vec<&str>> = COMMANDS
        .iter()
        .map(|command| of_user(command, "user_a"))
        .chain(of_users.map(<[&str]>::to_vec))
        .collect();
    // One port that nobody listens on, and one behind which nobody answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, commands) in [(closed, &commands[..]), (silent.local_addr().unwrap(), &commands[..1])] {
        let url = format!("postgres://someone:S3CR3T@{address}/keys");
        for command in commands {
            let done = production.keyfold(command).env("DATABASE_URL", &url).stdin(&gemini(1)).run();
            done.does_not_tell("S3CR3T").does_not_tell(&gemini(1)).does_not_tell(&production.master_key);
            done.refused_with(&["PostgreSQL keys on 127.0.0.1", "cannot be", "Check that it runs"]);
        }
    }
    assert!(production.folder.standin.requests().is_empty());
}

#[test]
fn another_master_key_is_refused() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let other = new_master_key();
    for command in COMMANDS {
        let done = production.keyfold(&of_user(command, "user_a")).env("KEYFOLD_MASTER_KEY", &other).run();
        done.does_not_tell(&other).does_not_tell(&production.master_key);
        done.refused_with(&["was encrypted with the master key", "KEYFOLD_OTHER_MASTER_KEYS"]);
    }
    let start = production.keyfold(&["keys", "validate", "--user", "user_a"]);
    let start = start.env("KEYFOLD_MASTER_KEY", &other);
    start.env("KEYFOLD_OTHER_MASTER_KEYS", &production.master_key).run().ok();
}

#[test]
fn odd_user_ids_are_taken_as_they_are() {
    let production = Production::new();
    let long = "ü".repeat(255);
    let odd = ["a'b\"c", "'; DROP TABLE api_keys; --", "../x/y", "ユーザー|1", "$(id)", " spaced ", &long];
    for (n, user) in (1..).zip(odd) {
        production.has_key(user, "gemini", &gemini(n));
    }
    for (n, user) in (1..).zip(odd) {
        let key = gemini(n);
        assert_eq!(production.listed(user, "gemini")["masked"], format!("****{}", &key[key.len() - 4..]));
    }
    for (user, why) in [("", "empty"), (&*"u".repeat(300), "255"), ("a\nb", "control")] {
        let done = production.keyfold(&["keys", "list", "--user", user]).run();
        done.refused_with(&["user_id", why]);
    }
}

#[test]
fn a_row_of_another_user_does_not_open() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_b", "gemini", &gemini(2));
    production.sql(
        "UPDATE api_keys SET key = (SELECT k.key FROM api_keys k JOIN onboarding_sessions s ON s.id = k.session_id \
         WHERE s.user_id = 'user_b') WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'user_a')",
    );
    production.folder.standin.clear();
    assert_eq!(production.listed("user_a", "gemini")["status"], "unreadable");
    let done = production.keyfold(&["keys", "validate", "--user", "user_a"]).run();
    done.does_not_tell(&gemini(2)).refused_with(&["a key cannot be used"]);
    let done = production.keyfold(&["run", "--user", "user_a", "--", "touch", "started"]).run();
    done.does_not_tell(&gemini(2)).refused_with(&["Google Gemini", "cannot be read"]);
    assert!(!production.folder.path("started").exists());
    assert!(production.folder.standin.requests().is_empty());
    // Entered again it is there again.
    production.has_key("user_a", "gemini", &gemini(3));
    production.keyfold(&["keys", "validate", "--user", "user_a"]).run().ok();
}

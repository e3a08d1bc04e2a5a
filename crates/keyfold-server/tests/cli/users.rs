//! `keyfold users …`: who is there, and who may use Keyfold.

use std::io::{BufRead, BufReader};

use keyfold_standin::example_key;
use serde_json::{Value, json};

use crate::harness::{Folder, Production, gemini};

#[track_caller]
fn listed(production: &Production, options: &[&str]) -> (Vec<Value>, Value) {
    let arguments = [&["users", "list", "--json"], options].concat();
    let done = production.keyfold(&arguments).run();
    done.ok();
    let json = done.json();
    (json["users"].as_array().unwrap().clone(), json["next_after"].clone())
}

fn ids(users: &[Value]) -> Vec<&str> {
    users.iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

#[test]
fn users_are_listed_with_their_keys_counted_and_none_is_shown() {
    let production = Production::new();
    assert_eq!(listed(&production, &[]), (vec![], Value::Null));
    assert_eq!(production.keyfold(&["users", "list"]).run().ok(), "Nobody.\n");

    production.has_key("user_b", "gemini", &gemini(1));
    production.has_key("user_b", "exa", &example_key("exa", 1));
    production.has_key("user_b", "copilotkit", &example_key("copilotkit", 1));
    production.has_key("user_a", "gemini", &gemini(2));
    production.sql(
        "UPDATE api_keys SET status = 'rejected' WHERE provider = 'exa'; \
         UPDATE onboarding_sessions SET started_at = '2026-01-02 03:04:05', completed_at = '2026-02-03 04:05:06' \
         WHERE user_id = 'user_a'",
    );
    production.keyfold(&["users", "suspend", "user_b"]).run().ok();

    let (users, next) = listed(&production, &[]);
    assert_eq!((ids(&users), next), (vec!["user_a", "user_b"], Value::Null));
    assert_eq!(
        users[0],
        json!({
            "user_id": "user_a",
            "keys": {"total": 1, "valid": 1, "limited": 0, "rejected": 0, "unverified": 0},
            "started_at": "2026-01-02T03:04:05Z",
            "completed_at": "2026-02-03T04:05:06Z",
            "suspended_at": null,
        })
    );
    assert_eq!(
        users[1]["keys"],
        json!({"total": 3, "valid": 1, "limited": 0, "rejected": 1, "unverified": 1})
    );
    assert!(users[1]["suspended_at"].is_string() && users[1]["completed_at"].is_null(), "{users:?}");

    let done = production.keyfold(&["users", "list"]).run();
    done.does_not_tell(&gemini(1)).does_not_tell(&gemini(2)[gemini(2).len() - 4..]);
    let lines: Vec<Vec<&str>> = done.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["KEYS", "VALID", "LIMITED", "REJECTED", "UNVERIFIED", "STARTED", "COMPLETED", "SUSPENDED", "USER"]
    );
    assert_eq!(
        lines[1],
        ["1", "1", "0", "0", "0", "2026-01-02", "03:04", "2026-02-03", "04:05", "-", "user_a"]
    );
    assert_eq!((&lines[2][..5], lines[2][7]), (&["3", "1", "0", "1", "1"][..], "-"));
    assert_eq!(lines[2].last(), Some(&"user_b"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn many_users_are_listed_in_parts() {
    let production = Production::new();
    production.keyfold(&["users", "list"]).run().ok();
    production.sql(
        "INSERT INTO onboarding_sessions (user_id, data_key) \
         SELECT 'user_' || lpad(n::TEXT, 5, '0'), 'none' FROM generate_series(1, 2500) n",
    );
    let (all, next) = listed(&production, &[]);
    let expected: Vec<String> = (1..=2500).map(|n| format!("user_{n:05}")).collect();
    assert_eq!((ids(&all), next), (expected.iter().map(String::as_str).collect(), Value::Null));

    let (first, next) = listed(&production, &["--limit", "1200"]);
    assert_eq!((first.len(), next), (1200, json!("user_01200")));
    let (second, next) = listed(&production, &["--limit", "1200", "--after", "user_01200"]);
    assert_eq!((ids(&second)[0], second.len(), next), ("user_01201", 1200, json!("user_02400")));
    // Exactly as many as there are: nothing follows.
    let (last, next) = listed(&production, &["--limit", "100", "--after", "user_02400"]);
    assert_eq!((last.len(), next), (100, Value::Null));
    assert_eq!(listed(&production, &["--after", "user_02500"]), (vec![], Value::Null));

    let done = production.keyfold(&["users", "list", "--limit", "2"]).run();
    assert_eq!(done.ok().lines().count(), 3);
    assert!(done.err.contains("--after user_00002"), "{done:?}");
    production.keyfold(&["users", "list", "--limit", "0"]).run().wrong_usage();
}

#[test]
fn a_reader_that_goes_away_ends_the_list() {
    let production = Production::new();
    production.keyfold(&["users", "list"]).run().ok();
    production.sql(
        "INSERT INTO onboarding_sessions (user_id, data_key) \
         SELECT 'user_' || n, 'none' FROM generate_series(1, 20000) n",
    );
    let mut process = production.keyfold(&["users", "list", "--json"]).spawn();
    let mut first = String::new();
    BufReader::new(process.stdout()).read_line(&mut first).unwrap();
    assert_eq!(first, "{\"users\":[\n");
    let done = process.end();
    done.ok();
    assert_eq!(done.err, "");
}

#[test]
fn ids_that_others_wrote_do_nothing_to_a_terminal() {
    let production = Production::new();
    production.keyfold(&["users", "list"]).run().ok();
    production.sql(
        "INSERT INTO onboarding_sessions (user_id, data_key) VALUES (E'a\\x1b[2Jb', 'none'), ('b', 'none')",
    );
    let done = production.keyfold(&["users", "list", "--limit", "1"]).run();
    done.does_not_tell("\u{1b}");
    assert_eq!(done.ok().lines().count(), 2);
    let (users, _) = listed(&production, &[]);
    assert_eq!(ids(&users), ["a\u{1b}[2Jb", "b"]);
    assert_eq!(ids(&listed(&production, &["--after", "a\u{1b}[2Jb"]).0), ["b"]);
}

#[test]
fn a_suspended_user_keeps_the_keys_and_may_not_use_them() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_b", "gemini", &gemini(2));
    let run = |user: &str| {
        production.keyfold(&["run", "--user", user, "--", "sh", "-c", "echo $GEMINI_API_KEY"]).run()
    };
    let suspend = || production.keyfold(&["users", "suspend", "user_a"]).run();
    let resume = || production.keyfold(&["users", "resume", "user_a"]).run();

    assert!(suspend().ok().starts_with("Suspended user_a."));
    let (users, _) = listed(&production, &[]);
    let since = users[0]["suspended_at"].clone();
    // Once more changes nothing.
    assert!(suspend().ok().starts_with("user_a is suspended already, since "));
    assert_eq!(listed(&production, &[]).0[0]["suspended_at"], since);

    let refused = run("user_a");
    refused.does_not_tell(&gemini(1)).refused_with(&["user_a is suspended", "keyfold users resume user_a"]);
    assert_eq!(refused.out, "");
    assert_eq!(run("user_b").ok().trim(), gemini(2));

    // An operator may look after the keys.
    assert_eq!(production.listed("user_a", "gemini")["status"], "valid");
    let done = production.keyfold(&["keys", "list", "--user", "user_a"]).run();
    assert!(done.ok().contains("user_a is suspended since"), "{done:?}");
    production.keyfold(&["keys", "validate", "--user", "user_a"]).run().ok();
    production.has_key("user_a", "gemini", &gemini(3));
    production.keyfold(&["keys", "rollback", "gemini", "--user", "user_a"]).run().ok();
    run("user_a").refused();

    assert_eq!(resume().ok(), "user_a may use Keyfold again.\n");
    assert_eq!(resume().ok(), "user_a was not suspended.\n");
    assert_eq!(run("user_a").ok().trim(), gemini(1));
    assert!(listed(&production, &[]).0[0]["suspended_at"].is_null());
}

#[test]
fn a_user_can_be_suspended_before_the_first_visit() {
    let production = Production::new();
    let done = production.keyfold(&["users", "resume", "user_x"]).run();
    done.refused_with(&["There is no user user_x", "keyfold users list"]);
    let done = production.keyfold(&["users", "suspend", "user_x"]).run();
    assert!(done.ok().contains("never here") && done.out.contains("Check the id"), "{done:?}");
    production.keyfold(&["run", "--user", "user_x", "--", "true"]).run().refused_with(&["suspended"]);
    assert_eq!(
        production.keyfold(&["users", "resume", "user_x"]).run().ok(),
        "user_x may use Keyfold again.\n"
    );
    // The row is as good as any other.
    production.has_key("user_x", "gemini", &gemini(1));
    let done =
        production.keyfold(&["run", "--user", "user_x", "--", "sh", "-c", "echo $GEMINI_API_KEY"]).run();
    assert_eq!(done.ok().trim(), gemini(1));
    for (user, why) in [("", "empty"), ("a\tb", "control")] {
        production.keyfold(&["users", "suspend", user]).run().refused_with(&["user_id", why]);
    }
}

#[test]
fn local_mode_has_one_user_who_cannot_be_suspended() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let list = folder.keyfold(&["users", "list", "--json"]).run();
    list.ok();
    let list = list.json();
    assert_eq!(list["users"][0]["user_id"], "local");
    assert_eq!(list["users"][0]["keys"]["valid"], 1);
    assert_eq!(list["users"].as_array().unwrap().len(), 1);
    for command in ["suspend", "resume"] {
        let done = folder.keyfold(&["users", command, "local"]).run();
        done.refused_with(&["local mode has one user", "DEPLOY_ENV"]);
    }
    folder.keyfold(&["run", "--", "true"]).run().ok();
}

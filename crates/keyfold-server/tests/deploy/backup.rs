//! A backup made with `pg_dump`, restored into a new database.

use std::process::Command;

use keyfold_test_servers::PostgresServer;

use crate::harness::{Production, gemini, new_master_key, runtime};

/// A copy of the database of this production, by way of a file.
fn restored(from: &Production) -> String {
    let dump = from.folder.path("keyfold.dump").display().to_string();
    let to = runtime().block_on(PostgresServer::shared().empty_database());
    run(&["pg_dump", "--format=custom", "--file", &dump, &from.database_url()]);
    run(&["pg_restore", "--exit-on-error", "--no-owner", "--dbname", &to, &dump]);
    to
}

#[track_caller]
fn run(words: &[&str]) {
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{words:?}: {done:?}");
}

#[test]
fn keys_open_in_a_restored_database_with_the_same_master_key() {
    let production = Production::new();
    for (user, n) in [("user_a", 1), ("user_b", 2)] {
        production.has_key(user, "gemini", &gemini(n));
    }
    let copy = restored(&production);
    // What came after the backup is not in it.
    production.has_key("user_a", "gemini", &gemini(3));
    for (user, n) in [("user_a", 1), ("user_b", 2)] {
        let print = ["run", "--user", user, "--", "sh", "-c", "printf %s \"$GEMINI_API_KEY\""];
        let done = production.keyfold(&print).env("DATABASE_URL", &copy).run();
        assert_eq!(done.ok(), gemini(n), "{user}");
    }
    production.keyfold(&["audit", "verify"]).env("DATABASE_URL", &copy).run().ok();
    // It is a database like any other: new keys are taken.
    let set = ["keys", "set", "gemini", "--user", "user_c"];
    production.keyfold(&set).env("DATABASE_URL", &copy).stdin(&gemini(4)).run().ok();
}

#[test]
fn a_restored_database_is_refused_at_the_start_with_another_master_key() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let copy = restored(&production);
    let other = new_master_key();
    for command in [&["serve"][..], &["users", "list"], &["keys", "list", "--user", "user_a"]] {
        let done = production
            .keyfold(command)
            .env("DATABASE_URL", &copy)
            .env("KEYFOLD_MASTER_KEY", &other)
            .env("KEYFOLD_PUBLIC_URL", "https://keys.example.com")
            .run();
        done.does_not_tell(&other).refused_with(&["KEYFOLD_MASTER_KEY", "was encrypted with the master key"]);
    }
    // The attempts changed nothing.
    let list =
        production.keyfold(&["keys", "list", "--json", "--user", "user_a"]).env("DATABASE_URL", &copy).run();
    assert_eq!(list.json()["keys"][0]["status"], "valid");
}

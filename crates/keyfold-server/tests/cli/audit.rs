//! `keyfold audit …`, and the files that the audit log is also written to.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use keyfold_standin::example_key;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answer, Done, Folder, Production, gemini};

/// Waits until this finds something.
#[track_caller]
fn soon<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn words<'a>(events: &'a [Value], field: &str) -> Vec<&'a str> {
    events.iter().map(|event| event[field].as_str().unwrap_or("-")).collect()
}

/// The events of an export, without the heads that end it.
#[track_caller]
fn exported(done: &Done) -> Vec<Value> {
    let mut lines = lines(done.ok());
    let heads = lines.pop().unwrap();
    assert!(!heads["heads"].as_array().unwrap().is_empty(), "{heads}");
    lines
}

#[test]
fn one_key_can_be_followed_from_its_entry_to_its_deletion() {
    let folder = Folder::new();
    let server = folder.serve();
    assert_eq!(server.put_key("gemini", &gemini(1)).status, 201);
    assert_eq!(server.post("/api/keys/gemini/validate", &json!({})).status, 200);
    assert_eq!(server.post("/api/generate", &json!({ "prompt": "x" })).status, 200);
    assert_eq!(server.put_key("gemini", &gemini(2)).status, 200);
    assert_eq!(server.post("/api/keys/gemini/rollback", &json!({})).status, 200);
    let removed = Answer::to(server.request("DELETE", "/api/keys/gemini")).unwrap();
    assert_eq!(removed.status, 204);
    // What was spooled is in the database at the latest when it has stopped.
    server.stop();

    let mut story = exported(&folder.keyfold(&["audit", "export", "--user", "local"]).run());
    // A saved key was checked before; whether that stands there as an event of its own is not the point here.
    story.retain(|event| event["action"] != "key.checked" || event["purpose"] == "check");
    let told = words(&story, "action");
    let expected = [
        "key.saved",
        "key.checked",
        "key.opened",
        "key.ended",
        "key.replaced",
        "key.rolled_back",
        "key.deleted",
    ];
    let mut from = told.iter();
    for step in expected {
        assert!(from.any(|action| *action == step), "{step} is missing, or not in its place: {told:?}");
    }
    assert!(
        story.iter().all(|event| event["user_id"] == "local" && event["provider"] == "gemini"),
        "{story:?}"
    );
    let of = |action: &str| story.iter().find(|event| event["action"] == action).unwrap();
    let fingerprint = |action: &str| of(action)["fingerprint"].as_str().unwrap().to_owned();
    // The same key is recognised, and the other one is another.
    assert_eq!(fingerprint("key.saved"), fingerprint("key.opened"));
    assert_ne!(fingerprint("key.saved"), fingerprint("key.replaced"));
    assert_eq!(of("key.opened")["call_id"], of("key.ended")["call_id"]);
    assert!(of("key.saved")["request_id"].as_str().is_some_and(|id| !id.is_empty()));

    let everything = folder.keyfold(&["audit", "export"]).run();
    everything.does_not_tell(&gemini(1)).does_not_tell(&gemini(2));
    assert!(everything.ok().contains("keyfold.started"), "{everything:?}");
    let verified = folder.keyfold(&["audit", "verify"]).run();
    assert!(verified.ok().contains("none was changed, removed, added or moved"), "{verified:?}");
    assert!(!verified.out.contains("warning"), "{verified:?}");
}

#[test]
fn in_production_each_command_tells_of_itself_and_of_that_user_only() {
    let production = Production::new();
    let keyfold = |arguments: &[&str]| {
        production.keyfold(&[arguments, &["--user", "user_a"]].concat()).run().ok();
    };
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_b", "gemini", &gemini(1));
    keyfold(&["keys", "validate", "gemini"]);
    production.keyfold(&["run", "--user", "user_a", "--", "true"]).run().ok();
    production.has_key("user_a", "gemini", &gemini(2));
    keyfold(&["keys", "rollback", "gemini"]);
    keyfold(&["keys", "remove", "gemini"]);
    let story = exported(&production.keyfold(&["audit", "export", "--user", "user_a"]).run());
    let told = words(&story, "action");
    let mut from = told.iter();
    for step in ["key.saved", "key.checked", "key.released", "key.replaced", "key.rolled_back", "key.deleted"]
    {
        assert!(from.any(|action| *action == step), "{step} is missing, or not in its place: {told:?}");
    }
    assert!(story.iter().all(|event| event["user_id"] == "user_a"), "{story:?}");
    // Another user's equal key is recognised, by whoever may see both.
    let of_b = exported(&production.keyfold(&["audit", "export", "--user", "user_b"]).run());
    let saved = |events: &[Value]| {
        let saved = events.iter().find(|event| event["action"] == "key.saved").unwrap();
        saved["fingerprint"].as_str().unwrap().to_owned()
    };
    assert_eq!(saved(&story), saved(&of_b));
    production.keyfold(&["audit", "verify"]).run().ok();
}

#[test]
fn verify_names_what_was_changed_and_ends_with_one() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_b", "exa", &example_key("exa", 1));
    production.sql("CREATE TABLE earlier AS SELECT * FROM audit_writer_count");
    production.has_key("user_a", "gemini", &gemini(2));
    let verify = |options: &[&str]| production.keyfold(&[&["audit", "verify"], options].concat()).run();
    verify(&[]).ok();
    let clean = verify(&["--json"]);
    clean.ok();
    assert_eq!((&clean.json()["ok"], &clean.json()["findings"]), (&json!(true), &json!([])));

    let export = ["audit", "export", "--format", "csv", "--output", "audit.csv", "--heads", "heads.json"];
    production.keyfold(&export).run().ok();
    let heads: Value = serde_json::from_str(&production.folder.read("heads.json")).unwrap();
    let first = &heads["heads"][0];
    verify(&["--heads", "heads.json"]).ok();

    production
        .sql("UPDATE audit_events SET user_id = 'user_x' WHERE user_id = 'user_b' AND action = 'key.saved'");
    let found = verify(&[]);
    found.refused_with(&["not as Keyfold wrote it", "1 finding"]);
    assert!(
        found.out.contains("FOUND    changed (writer ") && found.out.contains("what it says was changed"),
        "{found:?}"
    );
    let found = verify(&["--json"]);
    found.refused();
    let finding = &found.json()["findings"][0];
    assert_eq!(
        (&finding["kind"], finding["id"].is_i64(), finding["seq"].is_i64()),
        (&json!("changed"), true, true)
    );
    production.sql("UPDATE audit_events SET user_id = 'user_b' WHERE user_id = 'user_x'");
    verify(&[]).ok();

    // A copy before the beginning of a chain.
    production.sql(
        "CREATE TABLE copied AS SELECT * FROM audit_events WHERE action = 'key.saved' LIMIT 1; \
         UPDATE copied SET id = -100, seq = -5, writer = 1; INSERT INTO audit_events SELECT * FROM copied",
    );
    let found = verify(&[]);
    found.refused_with(&["1 finding"]);
    assert!(found.out.contains("FOUND    added (writer 1, seq -5, id -100, "), "{found:?}");
    production.sql("DELETE FROM audit_events WHERE seq = -5");
    verify(&[]).ok();

    // The newest chain goes altogether: it was counted.
    let last = heads["heads"].as_array().unwrap().last().unwrap()["writer"].as_i64().unwrap();
    assert!(last > first["writer"].as_i64().unwrap(), "each command wrote a chain of its own: {heads}");
    production.sql(&format!(
        "DELETE FROM audit_events WHERE writer >= {last}; DELETE FROM audit_writers WHERE id >= {last}"
    ));
    let found = verify(&[]);
    found.refused_with(&["1 finding"]);
    assert!(
        found.out.contains(&format!("writer_removed (writer {last}): this chain, the newest, ")),
        "{found:?}"
    );
    // With the count as it was before it, only the exported heads know of it.
    production
        .sql("UPDATE audit_writer_count SET (writers, signature) = (SELECT writers, signature FROM earlier)");
    verify(&[]).ok();
    let found = verify(&["--heads", "heads.json"]);
    found.refused();
    assert!(
        found.out.contains("writer_removed") && found.out.contains("the exported heads have it"),
        "{found:?}"
    );
    // What has no heads is told.
    verify(&["--heads", "audit.csv"]).refused_with(&["has no heads"]);
    verify(&["--heads", "nowhere"]).refused_with(&["nowhere cannot be read"]);
}

#[test]
fn an_export_has_what_was_asked_for() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("=user_b", "exa", &example_key("exa", 1));
    let export = |options: &[&str]| production.keyfold(&[&["audit", "export"], options].concat()).run();
    let events = |options: &[&str]| {
        let mut found = lines(export(options).ok());
        assert!(found.pop().unwrap()["heads"].is_array());
        found
    };
    let all = events(&[]);
    assert!(all.iter().all(|event| event["actor"] == "operator"), "{all:?}");
    let times = words(&all, "at");
    assert!(times.is_sorted(), "{times:?}");
    let of_a = events(&["--user", "user_a"]);
    assert!(!of_a.is_empty() && of_a.len() < all.len());
    assert!(of_a.iter().all(|event| event["user_id"] == "user_a"), "{of_a:?}");
    assert_eq!(events(&["--since", "1h"]), all);
    assert_eq!(events(&["--until", "1h"]), Vec::<Value>::new());
    assert_eq!(events(&["--since", times[1], "--until", times[times.len() - 1]]), all[1..all.len() - 1]);
    assert_eq!(events(&["--user", "nobody"]), Vec::<Value>::new());

    let done = export(&["--format", "csv", "--output", "audit.csv"]);
    assert_eq!(done.ok(), "");
    assert_eq!(production.folder.mode("audit.csv"), 0o600);
    let csv = production.folder.read("audit.csv");
    assert_eq!(csv.lines().count(), all.len() + 1);
    assert!(
        csv.starts_with("id,at,user_id,") && csv.contains(",\"'=user_b\",") && !csv.contains(",=user_b"),
        "{csv}"
    );

    for wrong in [&["--since", "yesterday"][..], &["--format", "xml"], &["--until"]] {
        export(wrong).wrong_usage();
    }
    export(&["--output", "no/such/folder"]).refused_with(&["no/such/folder cannot be written"]);
}

#[test]
fn tail_shows_the_latest_and_follows_what_comes() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let tail = |options: &[&str]| production.keyfold(&[&["audit", "tail"], options].concat());
    let latest = lines(tail(&["--json", "-n", "1"]).run().ok());
    assert_eq!(words(&latest, "action"), ["key.saved"]);
    let shown = tail(&[]).run();
    assert!(shown.ok().contains("key.saved") && shown.out.contains("user_a"), "{shown:?}");
    assert_eq!(tail(&["--user", "user_b"]).run().ok(), "");

    let mut following = tail(&["-f", "--json", "-n", "0", "--user", "user_b"]).spawn();
    let mut out = BufReader::new(following.stdout());
    // It follows once it answers to what comes.
    let comes = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line
        });
        let mut n = 1;
        while !reading.is_finished() {
            n += 1;
            production.has_key("user_a", "gemini", &gemini(n));
            production.has_key("user_b", "gemini", &gemini(n));
        }
        reading.join().unwrap()
    });
    let event = &lines(&comes)[0];
    assert_eq!(event["user_id"], "user_b", "{event}");
    following.signal(Signal::INT);
    drop(out);
    following.end().ok();
}

#[test]
fn tail_ends_when_nobody_reads_it() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let mut following = production.keyfold(&["audit", "tail", "-f"]).spawn();
    let mut out = BufReader::new(following.stdout());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);
    // Without another event.
    following.end().ok();
}

#[test]
fn every_event_also_goes_to_the_files_that_are_named() {
    let folder = Folder::new();
    let serve = || folder.keyfold(&["serve"]).env("KEYFOLD_AUDIT", "database,file:audit.jsonl,stdout");
    let mut process = serve().spawn();
    let ready = process.wait_for("ready at http://");
    let url = ready.split_once("ready at ").unwrap().1.trim().to_owned();
    let put = |n: u32| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.put(format!("{url}/api/keys/gemini")).json(&json!({ "key": gemini(n) }));
        assert!([200, 201].contains(&Answer::to(request).unwrap().status));
    };
    let saved = |name: &str| {
        let text = if folder.path(name).exists() { folder.read(name) } else { String::new() };
        lines(&text)
            .iter()
            .filter(|event| ["key.saved", "key.replaced"].contains(&event["action"].as_str().unwrap()))
            .count()
    };
    put(1);
    soon("it is in the file", || (saved("audit.jsonl") == 1).then_some(()));
    assert_eq!(folder.mode("audit.jsonl"), 0o600);
    std::fs::rename(folder.path("audit.jsonl"), folder.path("audit.jsonl.1")).unwrap();
    process.signal(Signal::HUP);
    process.wait_for("opened anew");
    put(2);
    soon("it is in the new file", || (saved("audit.jsonl") == 1).then_some(()));
    assert_eq!(saved("audit.jsonl.1"), 1);
    let mut stdout = process.stdout();
    process.signal(Signal::TERM);
    let mut out = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut out).unwrap();
    process.end().ok();

    // Each has what the database has, once, and no key.
    let mut in_files: Vec<i64> = ["audit.jsonl.1", "audit.jsonl"]
        .iter()
        .flat_map(|name| lines(&folder.read(name)))
        .map(|event| event["id"].as_i64().unwrap())
        .collect();
    in_files.sort_unstable();
    let mut on_stdout: Vec<i64> = lines(&out).iter().map(|event| event["id"].as_i64().unwrap()).collect();
    on_stdout.sort_unstable();
    let mut in_database: Vec<i64> = exported(&folder.keyfold(&["audit", "export"]).run())
        .iter()
        .map(|event| event["id"].as_i64().unwrap())
        .collect();
    in_database.sort_unstable();
    assert_eq!((&in_files, &on_stdout), (&in_database, &in_database));
    assert!(!out.contains(&gemini(1)) && !folder.read("audit.jsonl").contains(&gemini(2)));

    // What a command prints stays its own.
    let listed = folder.keyfold(&["keys", "remove", "gemini"]).env("KEYFOLD_AUDIT", "stdout").run();
    assert!(!listed.ok().contains("key.deleted"), "{listed:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_stops_nobody() {
    let folder = Folder::new();
    let server = folder.keyfold(&["serve"]).env("KEYFOLD_AUDIT", "file:no/such/folder/audit.jsonl").serve();
    assert_eq!(server.put_key("gemini", &gemini(1)).status, 201);
    assert_eq!(server.put_key("gemini", &gemini(2)).status, 200);
    let done = server.stop();
    assert_eq!(done.err.matches("events cannot be written there").count(), 1, "{}", done.err);
    assert_eq!(
        words(&exported(&folder.keyfold(&["audit", "export", "--user", "local"]).run()), "action")
            .iter()
            .filter(|action| **action == "key.replaced")
            .count(),
        1
    );
}

#[test]
fn old_rows_are_removed_by_whoever_serves() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let before = exported(&folder.keyfold(&["audit", "export"]).run()).len();
    let server = folder.keyfold(&["serve"]).env("KEYFOLD_AUDIT_RETENTION", "1d").serve();
    server.stop();
    // Nothing is a day old.
    let after = exported(&folder.keyfold(&["audit", "export"]).run());
    assert!(after.len() > before, "{after:?}");
    assert!(!words(&after, "action").contains(&"audit.pruned"), "{after:?}");
    for (name, value, why) in [
        ("KEYFOLD_AUDIT_RETENTION", "0d", "at least a day"),
        ("KEYFOLD_AUDIT_DELETED_USERS", "soon", "no time"),
        ("KEYFOLD_AUDIT_DURABILITY", "fast", "neither spool nor strict"),
        ("KEYFOLD_AUDIT", "off", "the database always has"),
    ] {
        folder.keyfold(&["serve"]).env(name, value).refused_start().refused_with(&[name, why]);
    }
    folder.keyfold(&["audit", "verify"]).run().ok();
}

//! `keyfold keys …`, alone and beside a running server.

use std::thread;

use keyfold_standin::{Behaviour, example_key, example_key_with, fingerprint};
use serde_json::json;

use crate::harness::{Folder, gemini};

fn masked(key: &str) -> String {
    format!("****{}", &key[key.len() - 4..])
}

#[test]
fn a_key_comes_from_standard_input_and_lands_in_the_env_file() {
    let folder = Folder::new();
    for (n, (before, after)) in
        [("", ""), ("", "\n"), ("  ", " \r\n"), ("", "\nsecond line\n")].into_iter().enumerate()
    {
        let key = gemini(u32::try_from(n).unwrap());
        let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(&format!("{before}{key}{after}")).run();
        let text = done.does_not_tell(&key).ok();
        let verb = if n == 0 { "Saved" } else { "Replaced" };
        assert!(
            text.starts_with(&format!("{verb} the Google Gemini key ({}): valid.", masked(&key))),
            "{text}"
        );
        assert_eq!(done.err, "");
        assert_eq!(folder.read(".env"), format!("GEMINI_API_KEY={key}\n"));
        assert_eq!(folder.standin.requests_for("gemini").last().unwrap().key, key);
    }
    assert_eq!(folder.mode(".env"), 0o600);
    // Elsewhere on disk it stands sealed.
    assert_eq!(folder.files_with(&gemini(3)), [".env"]);
}

#[test]
fn keys_that_only_the_database_has_are_told_where_local_mode_finds_none() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    folder.has_key("exa", &example_key("exa", 1));
    assert!(!folder.keyfold(&["keys", "list"]).run().ok().contains("the database has keys"));
    // Their lines are taken out by hand, as if another program had stored them.
    folder.write(".env", "");
    for command in ["list", "doctor"] {
        let arguments = if command == "list" { vec!["keys", "list"] } else { vec!["doctor"] };
        let done = folder.keyfold(&arguments).run();
        done.does_not_tell(&gemini(1));
        let words = format!(
            "the database has keys of the user local that stand in no .env file, where local mode reads them: exa {}, gemini {};",
            masked(&example_key("exa", 1)),
            masked(&gemini(1))
        );
        assert!(done.out.contains("No API key found") && done.out.contains(&words), "{done:?}");
    }
}

#[test]
fn what_cannot_be_a_key_is_refused_with_the_reason() {
    let folder = Folder::new();
    let anthropic = example_key("anthropic", 1);
    let long = "AIza".to_owned() + &"k".repeat(5_000);
    for (text, why) in [
        ("", "empty"),
        ("\n", "empty"),
        ("AIza two words", "white space"),
        ("AIza\0nul", "control character"),
        ("'AIzaQuoted'", "quote"),
        ("AIza-ключ", "ASCII"),
        (long.as_str(), "4,096"),
        ("your_gemini_api_key_here", "placeholder"),
        (anthropic.as_str(), "Anthropic"),
    ] {
        let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(text).run();
        let message = done.refused();
        assert!(message.contains(why), "{why:?}: {message}");
        if text.len() > 10 {
            done.does_not_tell(text);
        }
    }
    assert!(folder.standin.requests().is_empty(), "no provider is asked about such a text");
    assert!(!folder.path(".env").exists());
}

#[test]
fn a_rejected_key_is_not_saved_and_a_doubtful_one_is_with_a_note() {
    let folder = Folder::new();
    let (good, bad) = (gemini(1), example_key_with("gemini", "INVALID"));
    folder.has_key("gemini", &good);
    let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(&bad).run();
    done.does_not_tell(&bad).refused_with(&["refused this key", "https://aistudio.google.com/apikey"]);
    assert_eq!(folder.read(".env"), format!("GEMINI_API_KEY={good}\n"));

    for (marker, status, note) in
        [("DENIED", "limited", "limited:"), ("BROKEN", "unverified", "without being verified")]
    {
        let key = example_key_with("gemini", marker);
        let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(&key).run();
        let text = done.does_not_tell(&key).ok();
        assert!(
            text.contains(&format!("{status}.\n")) && text.contains("Note: ") && text.contains(note),
            "{text}"
        );
        assert_eq!(folder.listed("gemini")["status"], status);
    }
    // An unknown shape is taken as it is: providers change their formats.
    let done = folder.keyfold(&["keys", "set", "gemini"]).stdin("NEW.shape-of-a-key-0123456789").run();
    assert!(done.ok().contains("Note: This does not look like"), "{done:?}");
}

#[test]
fn what_hides_or_misses_the_key_is_told() {
    let folder = Folder::new();
    let (mine, other) = (gemini(1), gemini(2));
    let done = folder.keyfold(&["keys", "set", "gemini"]).env("GEMINI_API_KEY", &other).stdin(&mine).run();
    let text = done.does_not_tell(&mine).does_not_tell(&other).ok();
    assert!(
        text.contains("Note: The variable GEMINI_API_KEY is set for this process and overrides"),
        "{text}"
    );
    assert_eq!(folder.read(".env"), format!("GEMINI_API_KEY={mine}\n"));
    let done = folder.keyfold(&["keys", "set", "copilotkit"]).stdin(&example_key("copilotkit", 1)).run();
    assert!(done.ok().contains("REACT_APP_COPILOTKIT_API_KEY was not written"), "{done:?}");
}

#[test]
fn the_list_shows_keys_masked() {
    let folder = Folder::new();
    let list = || folder.keyfold(&["keys", "list"]).run();
    let empty = list();
    assert!(
        empty.ok().starts_with("No API key found.") && empty.out.contains("keyfold keys set"),
        "{empty:?}"
    );
    assert_eq!(folder.keyfold(&["keys", "list", "--json"]).run().json(), json!({ "keys": [] }));

    let (saved, by_hand, of_process) = (gemini(1), example_key("openai", 1), example_key("exa", 1));
    folder.has_key("gemini", &saved);
    folder.write(
        ".env",
        &format!("{}OPENAI_API_KEY={by_hand}\nTAVILY_API_KEY='no key at all'\n", folder.read(".env")),
    );
    let done = folder.keyfold(&["keys", "list"]).env("EXA_API_KEY", &of_process).run();
    let text = done.ok();
    assert!(text.starts_with("PROVIDER"), "{text}");
    let line = |provider: &str| {
        let line = text.lines().find(|line| line.starts_with(provider)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("gemini"), ["gemini", &masked(&saved), "valid", "env_file", "-"]);
    assert_eq!(line("openai"), ["openai", &masked(&by_hand), "unverified", "env_file", "-"]);
    assert_eq!(line("exa"), ["exa", &masked(&of_process), "unverified", "environment", "-"]);
    assert_eq!(line("tavily"), ["tavily", "****", "unreadable", "env_file", "-"]);
    assert_eq!(text.lines().count(), 5, "{text}");

    let done = folder.keyfold(&["keys", "list", "--json"]).env("EXA_API_KEY", &of_process).run();
    let keys = done.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 4);
    let gemini = keys.iter().find(|key| key["provider"] == "gemini").unwrap();
    assert_eq!(gemini["masked"], masked(&saved));
    assert_eq!(
        (&gemini["status"], &gemini["source"], &gemini["version"]),
        (&json!("valid"), &json!("env_file"), &json!(1))
    );
    for time in ["created_at", "updated_at", "last_verified_at"] {
        assert!(gemini[time].as_str().unwrap().ends_with('Z'), "{time}: {gemini}");
    }
    assert!(gemini["last_used_at"].is_null());
    for key in [&saved, &by_hand, &of_process] {
        done.does_not_tell(key);
        assert!(!text.contains(key.as_str()));
    }
}

#[test]
fn stored_keys_can_be_checked() {
    let folder = Folder::new();
    let validate = |arguments: &[&str]| folder.keyfold(&[&["keys", "validate"], arguments].concat()).run();
    assert_eq!(validate(&[]).ok(), "");
    assert_eq!(validate(&["--json"]).json(), json!({ "results": {} }));
    validate(&["gemini"]).refused_with(&["Google Gemini", "GEMINI_API_KEY"]);

    folder.has_key("gemini", &gemini(1));
    folder.has_key("openai", &example_key("openai", 1));
    let done = validate(&[]);
    assert_eq!(done.ok().lines().count(), 2);
    assert!(done.out.contains("gemini        valid"), "{done:?}");
    assert_eq!(validate(&["gemini"]).ok().lines().count(), 1);
    let results = validate(&["--json"]).json()["results"].clone();
    assert_eq!((&results["gemini"]["valid"], &results["openai"]["status"]), (&json!(true), &json!("valid")));

    // The provider takes the key back.
    folder.standin.always("gemini", Behaviour::status(400, r#"{"error":{"message":"API key not valid"}}"#));
    let done = validate(&["--json"]);
    assert_eq!(done.status.code(), Some(1));
    let results = done.json()["results"].clone();
    assert_eq!(
        (&results["gemini"]["valid"], &results["gemini"]["status"]),
        (&json!(false), &json!("rejected"))
    );
    assert_eq!(results["openai"]["valid"], true);
    done.refused_with(&["a key cannot be used"]);
    assert_eq!(folder.listed("gemini")["status"], "rejected");
    // A provider that is away says nothing of the key, and takes nothing back.
    folder.standin.always("gemini", Behaviour::CloseWithoutAnswer);
    let done = validate(&["gemini", "--json"]);
    done.ok();
    assert_eq!(done.json()["results"]["gemini"]["valid"], json!(null));
    assert_eq!(folder.listed("gemini")["status"], "rejected");
    folder.standin.reset();
    validate(&["gemini"]).ok();
    assert_eq!(folder.listed("gemini")["status"], "valid");
}

#[test]
fn a_key_can_be_rolled_back_and_removed() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| folder.keyfold(&[&["keys"], arguments].concat()).run();
    folder.write(".env", "# mine\nOTHER=1\n");
    run(&["rollback", "gemini"]).refused_with(&["no earlier version", "24 hours"]);
    run(&["remove", "gemini"]).refused_with(&["Google Gemini", "nothing to remove"]);
    let (first, second) = (gemini(1), gemini(2));
    folder.has_key("gemini", &first);
    run(&["rollback", "gemini"]).refused_with(&["no earlier version"]);
    folder.has_key("gemini", &second);
    for key in [&first, &second, &first] {
        let done = run(&["rollback", "gemini"]);
        assert!(done.does_not_tell(key).ok().contains(&masked(key)), "{done:?}");
        assert_eq!(folder.read(".env"), format!("# mine\nOTHER=1\nGEMINI_API_KEY={key}\n"));
    }
    let done = run(&["remove", "gemini"]);
    assert_eq!(done.ok(), "Removed the Google Gemini key.\n");
    assert_eq!(folder.read(".env"), "# mine\nOTHER=1\n");
    for key in [&first, &second] {
        assert!(folder.files_with(key).is_empty());
    }
    run(&["rollback", "gemini"]).refused_with(&["no earlier version"]);
    // One entered by hand goes too.
    folder.write(".env", &format!("OTHER=1\nexport GEMINI_API_KEY=\"{first}\" # by hand\n"));
    run(&["remove", "gemini"]).ok();
    assert_eq!(folder.read(".env"), "OTHER=1\n");
}

#[test]
fn an_unknown_provider_is_answered_with_the_known_ones() {
    let folder = Folder::new();
    for command in ["set", "remove", "validate", "rollback"] {
        let done = folder.keyfold(&["keys", command, "gemni"]).stdin(&gemini(1)).run();
        done.does_not_tell(&gemini(1)).refused_with(&["no provider of that name", "gemini", "exa"]);
    }
}

#[test]
fn a_user_id_that_is_none_is_refused() {
    let folder = Folder::new();
    for command in [&["keys", "list"][..], &["keys", "remove", "gemini"], &["run"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--user", ""]);
        if command == ["run"] {
            arguments.extend(["--", "true"]);
        }
        folder.keyfold(&arguments).run().refused_with(&["user_id", "empty"]);
    }
}

#[test]
fn local_mode_changes_no_keys_in_anothers_name() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let env = folder.read(".env");
    for command in ["set", "remove", "rollback"] {
        let arguments = ["keys", command, "gemini", "--user", "ann"];
        let done = folder.keyfold(&arguments).stdin(&gemini(2)).run();
        done.does_not_tell(&gemini(2)).refused_with(&["local mode", "--user"]);
    }
    assert_eq!(folder.read(".env"), env);
    // The one that there is may be named.
    folder.keyfold(&["keys", "set", "gemini", "--user", "local"]).stdin(&gemini(2)).run().ok();
}

#[test]
fn a_running_server_sees_every_change_at_once() {
    let folder = Folder::new();
    let server = folder.serve();
    let generate = || server.post("/api/generate", &json!({ "prompt": "Hello" }));
    generate().problem(404, "no_api_key");
    let (first, second) = (gemini(1), gemini(2));
    for key in [&first, &second] {
        folder.has_key("gemini", key);
        let listed = server.listed("gemini");
        assert_eq!((&listed["masked"], &listed["status"]), (&json!(masked(key)), &json!("valid")));
        let answer = generate();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body["text"].as_str().unwrap().contains(&fingerprint(key)), "{answer:?}");
    }
    assert_eq!(server.listed("gemini")["version"], 2);
    folder.keyfold(&["keys", "rollback", "gemini"]).run().ok();
    assert!(generate().body["text"].as_str().unwrap().contains(&fingerprint(&first)));
    // And what the server saves, the command line sees.
    assert_eq!(server.put_key("gemini", &gemini(3)).status, 200);
    assert_eq!(folder.listed("gemini")["masked"], masked(&gemini(3)));
    folder.keyfold(&["keys", "remove", "gemini"]).run().ok();
    generate().problem(404, "no_api_key");
    assert_eq!(server.get("/api/keys").body, json!({ "keys": [], "missing": ["gemini"] }));
    // Also by hand.
    folder.write(".env", &format!("GEMINI_API_KEY={second}\n"));
    assert!(generate().body["text"].as_str().unwrap().contains(&fingerprint(&second)));
    server.stop();
}

#[test]
fn many_commands_at_once_beside_a_server_lose_nothing() {
    let folder = Folder::new();
    let server = folder.serve();
    let providers = ["gemini", "exa", "openai", "anthropic", "mistral", "groq"];
    thread::scope(|scope| {
        for provider in providers {
            let (folder, server) = (&folder, &server);
            scope.spawn(move || {
                for n in 1..=2 {
                    folder.has_key(provider, &example_key(provider, n));
                }
                let answer = server.put_key(provider, &example_key(provider, 3));
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
    });
    let env = folder.read(".env");
    assert_eq!(env.lines().count(), providers.len(), "{env}");
    for provider in providers {
        assert!(env.contains(&format!("={}\n", example_key(provider, 3))), "{provider}: {env}");
        let listed = folder.listed(provider);
        assert_eq!((&listed["version"], &listed["status"]), (&json!(3), &json!("valid")), "{listed}");
        assert_eq!(server.listed(provider), listed);
    }
    server.stop();
}

#[test]
fn of_many_savings_of_one_key_at_once_each_wins_or_is_told() {
    let folder = Folder::new();
    let key = |n| gemini(n);
    let results: Vec<(u32, Option<i32>, String)> = thread::scope(|scope| {
        let save = |n| {
            let folder = &folder;
            scope.spawn(move || {
                let done = folder.keyfold(&["keys", "set", "gemini"]).stdin(&key(n)).run();
                (n, done.status.code(), done.err)
            })
        };
        let running: Vec<_> = (1..=6).map(save).collect();
        running.into_iter().map(|save| save.join().unwrap()).collect()
    });
    let won: Vec<u32> = results.iter().filter(|(_, code, _)| *code == Some(0)).map(|(n, ..)| *n).collect();
    assert!(!won.is_empty(), "{results:?}");
    for (_, code, message) in &results {
        let lost = *code == Some(1) && message.contains("that change won");
        assert!(*code == Some(0) || lost, "{results:?}");
    }
    // File and database agree on one that was told to have won.
    let listed = folder.listed("gemini");
    assert_eq!((&listed["version"], &listed["status"]), (&json!(won.len()), &json!("valid")), "{results:?}");
    assert!(
        won.iter().any(|n| folder.read(".env") == format!("GEMINI_API_KEY={}\n", key(*n))),
        "{results:?}"
    );
}

#[test]
fn many_first_commands_at_once_share_one_state_directory() {
    let folder = Folder::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| folder.keyfold(&["keys", "list"]).run().ok().to_owned());
        }
    });
    folder.has_key("gemini", &gemini(1));
    assert_eq!(folder.listed("gemini")["status"], "valid");
    assert_eq!(folder.files(), [".env", ".keyfold/.gitignore", ".keyfold/keyfold.db", ".keyfold/master.key"]);
}

#[test]
fn a_master_key_that_does_not_fit_is_told() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let path = folder.path(".keyfold/master.key");
    let kept = folder.read(".keyfold/master.key");
    folder.set_mode(".keyfold/master.key", 0o644);
    let commands: [&[&str]; 3] = [&["keys", "list"], &["serve"], &["run", "--", "true"]];
    for command in commands {
        let advice = format!("chmod 600 {}", path.display());
        folder.keyfold(command).refused_start().refused_with(&[&advice]);
    }
    std::fs::remove_file(&path).unwrap();
    for command in commands {
        let done = folder.keyfold(command).refused_start();
        done.refused_with(&[&path.display().to_string(), "is gone", "KEYFOLD_MASTER_KEY"]);
        assert!(!path.exists());
    }
    // As the message says: its content as the variable opens everything.
    let done = folder.keyfold(&["keys", "list", "--json"]).env("KEYFOLD_MASTER_KEY", kept.trim()).run();
    assert_eq!(done.json()["keys"][0]["version"], 1);
}

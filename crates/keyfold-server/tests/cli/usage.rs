//! Help, wrong usage, and the commands that need no folder.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use keyfold_server::config::Config;

use crate::harness::{Folder, gemini};

/// The commands that a help text lists.
fn commands_in(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return vec![] };
    let names =
        list.lines().take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(Into::into)
        .collect()
}

#[test]
fn every_command_has_help() {
    let folder = Folder::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<Vec<String>> = vec![vec![]];
    while let Some(command) = open.pop() {
        for flag in ["--help", "-h"] {
            let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            arguments.push(flag);
            let done = folder.keyfold(&arguments).run();
            let help = done.ok();
            let usage = ["Usage: keyfold".to_owned()].into_iter().chain(command.iter().cloned());
            assert!(help.contains(&usage.collect::<Vec<_>>().join(" ")), "{arguments:?}: {help}");
            // It says what the command does before it says how it is called.
            assert!(!help.starts_with("Usage"), "{help}");
            assert_eq!(done.err, "");
            if flag == "--help" {
                open.extend(commands_in(help).into_iter().map(|name| [command.clone(), vec![name]].concat()));
            }
        }
        seen.insert(command.join(" "));
    }
    for command in [
        "serve",
        "doctor",
        "keys",
        "keys list",
        "keys set",
        "keys remove",
        "keys validate",
        "keys rollback",
        "run",
        "users",
        "users list",
        "users suspend",
        "users resume",
        "openapi",
        "master-key",
        "master-key generate",
    ] {
        assert!(seen.contains(command), "{command}: {seen:?}");
    }
    assert!(folder.files().is_empty(), "{:?}", folder.files());
}

#[test]
fn wrong_usage_is_told_and_ends_with_2() {
    let folder = Folder::new();
    let cases: [&[&str]; 19] = [
        &[],
        &["srve"],
        &["--nonsense"],
        &["serve", "--nonsense"],
        &["serve", "extra"],
        &["keys"],
        &["keys", "set"],
        &["keys", "remove"],
        &["keys", "rollback"],
        &["keys", "list", "gemini"],
        &["keys", "set", "gemini", "--json"],
        &["run"],
        &["run", "--"],
        &["run", "--keep", "NOTHING", "--", "true"],
        &["users"],
        &["users", "suspend"],
        &["users", "resume"],
        &["master-key"],
        &["openapi", "extra"],
    ];
    for arguments in cases {
        let done = folder.keyfold(arguments).run();
        assert!(done.wrong_usage().contains("Usage: keyfold"), "{arguments:?}: {done:?}");
    }
    assert!(folder.files().is_empty(), "{:?}", folder.files());
}

#[test]
fn a_key_as_an_argument_is_refused_and_not_repeated() {
    let folder = Folder::new();
    let key = gemini(1);
    for arguments in [
        &["keys", "set", "gemini", &key][..],
        &["keys", "set", "gemini", "--", &key],
        &["keys", "set", "--user", "ann", "gemini", &key],
        &["keys", "set", "gemini", &key, "--user", "ann"],
    ] {
        let done = folder.keyfold(arguments).stdin(&gemini(2)).run();
        let message = done.does_not_tell(&key).wrong_usage();
        assert!(message.contains("replace the key") && message.contains("when asked"), "{message}");
    }
    assert!(folder.files().is_empty(), "{:?}", folder.files());
    assert!(folder.standin.requests().is_empty());
    // Its place is not offered.
    let help = folder.keyfold(&["keys", "set", "--help"]).run();
    assert!(!help.ok().contains("[KEY]"), "{help:?}");
}

#[test]
fn the_version_is_told() {
    let done = Folder::new().keyfold(&["--version"]).run();
    assert_eq!(done.ok().trim(), format!("keyfold {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn openapi_prints_the_description_whatever_the_settings() {
    let folder = Folder::new();
    folder.write(".env", "not a line of a .env file\n");
    folder.write("keyfold.toml", "nonsense");
    let description = folder.keyfold(&["openapi"]).env("DEBUG", "maybe").run();
    description.ok();
    let description = description.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    let paths = description["paths"].as_object().unwrap();
    for (path, method) in [
        ("/api/keys", "get"),
        ("/api/keys/{provider}", "put"),
        ("/api/keys/{provider}", "delete"),
        ("/api/generate", "post"),
        ("/api/research", "post"),
        ("/healthz", "get"),
    ] {
        assert!(paths.get(path).is_some_and(|item| item.get(method).is_some()), "{method} {path}");
    }
    assert_eq!(folder.files(), [".env", "keyfold.toml"]);
    // What the server answers is the same.
    let folder = Folder::new();
    assert_eq!(folder.serve().get("/openapi.json").body, description);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    let mut process = folder.keyfold(&["openapi"]).spawn();
    drop(process.stdout());
    let done = process.end();
    done.ok();
    assert_eq!(done.err, "");
}

#[test]
fn a_generated_master_key_is_new_each_time_and_accepted() {
    let folder = Folder::new();
    let generate = || {
        let done = folder.keyfold(&["master-key", "generate"]).run();
        assert_eq!(done.err, "");
        done.ok().strip_suffix('\n').unwrap().to_owned()
    };
    let (key, other) = (generate(), generate());
    assert_ne!(key, other);
    assert!(folder.files().is_empty(), "{:?}", folder.files());
    for key in [&key, &other] {
        assert_eq!(BASE64.decode(key.as_bytes()).unwrap().len(), 32);
    }
    let list = |key: &str| folder.keyfold(&["keys", "list"]).env("KEYFOLD_MASTER_KEY", key).run();
    list(&key).ok();
    let done = list(&other);
    done.does_not_tell(&key).does_not_tell(&other).refused_with(&["was encrypted with the master key"]);
    // A given key is not written down.
    assert!(!folder.path(".keyfold/master.key").exists());
    let environment = [("DEPLOY_ENV", "render"), ("KEYFOLD_MASTER_KEY", key.as_str())];
    let refusal = Config::for_serving(environment.into_iter().collect(), &folder.root).err().unwrap();
    assert!(refusal.0.0.iter().all(|problem| problem.variable != "KEYFOLD_MASTER_KEY"), "{refusal}");
}

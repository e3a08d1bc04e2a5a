//! `keyfold run -- COMMAND`: the keys in its environment, and everything else as if it had been started itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;

use keyfold::settings::{Kind, SETTINGS};
use keyfold_standin::{example_key, example_key_with};
use rustix::process::Signal;

use crate::harness::{Done, Folder, Production, Start, gemini, new_master_key};

/// What `env` printed.
fn variables(done: &Done) -> BTreeMap<String, String> {
    let pairs = done.ok().lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_command_gets_the_users_keys_and_nobody_elses() {
    let folder = Folder::new();
    let (in_file, of_process) = (gemini(1), example_key("openai", 1));
    folder.write(".env", &format!("GEMINI_API_KEY='{in_file}'\nSOMETHING=else\nEXA_API_KEY=your_exa_key\n"));
    let done = folder
        .keyfold(&["run", "--", "env"])
        .env("OPENAI_API_KEY", &of_process)
        // Another name of Gemini's variable, with somebody else's key.
        .env("GOOGLE_API_KEY", &gemini(9))
        // Names of providers for which there is no key.
        .env("COHERE_API_KEY", "somebody-elses-key-of-cohere")
        .env("HUGGING_FACE_HUB_TOKEN", "hf_somebodyElses")
        .env("ANTHROPIC_API_KEY", "")
        .env("TAVILY_API_KEY", "<your key>")
        .env("UNRELATED_API_KEY", "kept")
        .run();
    let seen = variables(&done);
    let get = |name: &str| seen.get(name).map(String::as_str);
    assert_eq!(get("GEMINI_API_KEY"), Some(in_file.as_str()));
    assert_eq!(get("GOOGLE_API_KEY"), Some(in_file.as_str()));
    // In local mode a variable of the process is the user's own key.
    assert_eq!(get("OPENAI_API_KEY"), Some(of_process.as_str()));
    assert_eq!(get("UNRELATED_API_KEY"), Some("kept"));
    assert!(get("PATH").is_some());
    let removed = [
        "COHERE_API_KEY",
        "CO_API_KEY",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN",
        "ANTHROPIC_API_KEY",
        "TAVILY_API_KEY",
        "EXA_API_KEY",
        "SOMETHING",
    ];
    for name in removed {
        assert_eq!(get(name), None, "{name}");
    }
    assert_eq!(done.err, "");
}

#[test]
fn a_variable_of_the_process_wins_over_the_file_in_all_its_names() {
    let folder = Folder::new();
    folder.write(".env", &format!("CO_API_KEY={}\n", example_key("cohere", 1)));
    let mine = example_key("cohere", 2);
    let seen = variables(&folder.keyfold(&["run", "--", "env"]).env("CO_API_KEY", &mine).run());
    assert_eq!((&seen["CO_API_KEY"], &seen["COHERE_API_KEY"]), (&mine, &mine));
}

#[test]
fn the_exit_status_is_the_commands() {
    let folder = Folder::new();
    for status in [0, 1, 2, 3, 77, 255] {
        let done = folder.keyfold(&["run", "--", "sh", "-c", &format!("exit {status}")]).run();
        assert_eq!(done.status.code(), Some(status));
    }
    // Its own words need no `--`.
    let done = folder.keyfold(&["run", "sh", "-c", "exit 3"]).run();
    assert_eq!(done.status.code(), Some(3));
    for (signal, number) in [("TERM", 15), ("KILL", 9), ("PIPE", 13), ("XFSZ", 25)] {
        let done = folder.keyfold(&["run", "--", "sh", "-c", &format!("kill -{signal} $$; exit 5")]).run();
        assert_eq!((done.status.code(), done.signal()), (None, Some(number)), "{signal}");
    }
}

#[test]
fn a_shell_sees_a_signal_as_128_and_its_number() {
    let folder = Folder::new();
    let through = ["sh", "-c", "\"$@\"; echo \"status $?\"", "sh"];
    for (signal, status) in [("TERM", 143), ("INT", 130), ("KILL", 137)] {
        let command = ["run", "--", "sh", "-c", &format!("trap - {signal}; kill -{signal} $$; exit 5")];
        let done = folder.keyfold_through(&through, &command).run();
        assert!(done.ok().ends_with(&format!("status {status}\n")), "{done:?}");
    }
}

/// Whether this process, and so its children, ignores the signal of this number.
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(ignored, 16).unwrap() >> (number - 1) & 1 == 1
}

#[test]
fn input_output_and_signals_are_the_commands() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let text = "line one\nline two without end";
    let done = folder.keyfold(&["run", "--", "cat"]).stdin(text).run();
    assert_eq!((done.ok(), done.err.as_str()), (text, ""));
    let done = folder.keyfold(&["run", "--", "sh", "-c", "echo out; echo err >&2"]).run();
    assert_eq!((done.ok(), done.err.as_str()), ("out\n", "err\n"));

    let signals = [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1)];
    // A shell starts what runs in its background with SIGINT ignored, `nohup` with SIGHUP: the command inherits that.
    for (signal, number) in signals.into_iter().filter(|(_, number)| !is_ignored(*number)) {
        let mut process = folder.keyfold(&["run", "--", "cat"]).spawn();
        // It answers, so it runs.
        process.stdin().write_all(b"ready\n").unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let name = fs::read_to_string(format!("/proc/{}/comm", process.id())).unwrap();
        assert_eq!(name, "cat\n", "the command has taken the place of Keyfold");
        process.signal(signal);
        assert_eq!(process.end().signal(), Some(number));
    }
}

#[test]
fn a_command_that_cannot_be_run_is_told_with_the_status_that_shells_give() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    folder.write("script.sh", "#!/bin/sh\n");
    folder.write("lost", "#!/nowhere/interpreter\n");
    folder.set_mode("lost", 0o755);
    for (command, status, why) in [
        ("no-such-command", 127, "no folder of PATH"),
        ("./no-such-command", 127, "there is no such file"),
        ("./script.sh", 126, "chmod +x"),
        (".", 126, "may not be executed"),
        ("./lost", 126, "its first line names"),
    ] {
        let done = folder.keyfold(&["run", "--", command]).run();
        assert_eq!(done.status.code(), Some(status), "{command}: {done:?}");
        let told = done.does_not_tell(&gemini(1)).err.as_str();
        assert!(told.contains(&format!("cannot run {command}: ")) && told.contains(why), "{done:?}");
        assert_eq!(done.out, "");
    }
}

#[test]
fn without_any_key_it_says_so_beside_the_commands_output() {
    let folder = Folder::new();
    let done = folder.keyfold(&["run", "--", "echo", "its own"]).run();
    assert_eq!(done.ok(), "its own\n");
    assert!(done.err.contains("No API key found") && done.err.contains("keyfold keys set"), "{done:?}");
}

#[test]
fn a_key_that_cannot_be_read_stops_it_before_the_command() {
    let folder = Folder::new();
    folder.write(".env", "GEMINI_API_KEY='two S3CR3T words'\n");
    let done = folder.keyfold(&["run", "--", "touch", "started"]).run();
    done.does_not_tell("S3CR3T").refused_with(&["Google Gemini", "line 1"]);
    assert!(!folder.path("started").exists());
}

#[test]
fn nothing_new_is_left_on_disk_and_no_provider_is_asked() {
    let folder = Folder::new();
    let key = example_key_with("gemini", "QUOTA");
    folder.has_key("gemini", &key);
    folder.standin.clear();
    let (before, env) = (folder.files(), folder.read(".env"));
    folder.keyfold(&["run", "--", "true"]).run().ok();
    assert_eq!(folder.files(), before);
    assert_eq!(folder.read(".env"), env);
    assert_eq!(folder.files_with(&key), [".env"]);
    assert!(folder.standin.requests().is_empty());
    // The use is noted.
    assert!(folder.listed("gemini")["last_used_at"].is_string());
}

#[test]
fn it_works_beside_a_running_server() {
    let folder = Folder::new();
    let server = folder.serve();
    assert_eq!(server.put_key("gemini", &gemini(1)).status, 201);
    let done = folder.keyfold(&["run", "--", "sh", "-c", "echo $GEMINI_API_KEY"]).run();
    assert_eq!(done.ok().trim(), gemini(1));
    server.stop();
}

#[test]
fn limits_and_signals_are_given_back_to_the_command() {
    // What Keyfold changes for itself: core dumps, and how some signals are met.
    let folder = Folder::of_an_ordinary_user();
    let look = "grep core /proc/self/limits; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let with_cores = ["sh", "-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"];
    let through = folder.keyfold_through(&with_cores, &["run", "--", "sh", "-c", look]).run();
    // The same command without Keyfold.
    let plain = folder.keyfold_through(&[&with_cores[..], &["sh", "-c", look, "--"]].concat(), &[]).run();
    assert_eq!(through.ok(), plain.ok());
    // It belongs to its user again: it can be traced, and may dump its core.
    let done = folder.keyfold(&["run", "--", "sh", "-c", "stat -c %u /proc/$$/environ; id -u"]).run();
    let owners: Vec<&str> = done.ok().lines().collect();
    assert_eq!(owners[0], owners[1]);
    assert_eq!(owners[1], fs::metadata(&folder.root).unwrap().uid().to_string());
}

#[test]
fn a_lower_limit_of_core_dumps_stays() {
    let folder = Folder::new();
    let through = ["sh", "-c", "ulimit -S -c 0; exec \"$@\"", "sh"];
    let done = folder.keyfold_through(&through, &["run", "--", "sh", "-c", "ulimit -S -c"]).run();
    assert_eq!(done.ok(), "0\n");
}

#[test]
fn keyfolds_own_secrets_are_not_passed_on() {
    // Each as itself or as a file: both at once would be refused.
    let given = [
        ("KEYFOLD_OTHER_MASTER_KEYS", new_master_key()),
        ("KEYFOLD_LOCAL_TOKEN", "S3CR3T-token".into()),
        ("CLERK_SECRET_KEY", "sk_test_S3CR3T".into()),
        ("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_S3CR3T".into()),
        ("CLERK_WEBHOOK_SECRET_FILE", "S3CR3T-file".into()),
        ("REDIS_URL_FILE", "S3CR3T-file".into()),
    ];
    let production = Production::new();
    let folder = Folder::new();
    for folder in [&production.folder, &folder] {
        folder.write("S3CR3T-file", "redis://:S3CR3T@127.0.0.1:1");
    }
    for start in [
        production.keyfold(&["run", "--user", "user_a", "--", "env"]),
        folder.keyfold(&["run", "--", "env"]).env("KEYFOLD_MASTER_KEY", &new_master_key()),
    ] {
        let done = given.iter().fold(start, |start, (name, value)| start.env(name, value)).run();
        let seen = variables(&done);
        for secret in SETTINGS.iter().filter(|setting| setting.kind == Kind::Secret) {
            for name in [secret.name.to_owned(), format!("{}_FILE", secret.name)] {
                assert!(!seen.contains_key(&name), "{name}");
            }
        }
        done.does_not_tell("S3CR3T").does_not_tell(&production.master_key);
        // What is no secret stays.
        assert_eq!(seen.get("KEYFOLD_METRICS_ADDR").map(String::as_str), Some("off"));
    }
    folder.write("url", &production.database_url());
    folder.write("master", &production.master_key);
    let done = folder
        .keyfold(&["run", "--user", "user_a", "--", "env"])
        .env("DEPLOY_ENV", "render")
        .env("DATABASE_URL_FILE", "url")
        .env("KEYFOLD_MASTER_KEY_FILE", "master")
        .run();
    let seen = variables(&done);
    assert!(!seen.contains_key("DATABASE_URL_FILE") && !seen.contains_key("KEYFOLD_MASTER_KEY_FILE"));
    assert_eq!(seen["DEPLOY_ENV"], "render");
}

#[test]
fn a_secret_that_the_command_shares_is_kept_on_request() {
    let production = Production::new();
    let command = ["run", "--user", "user_a", "--keep", "DATABASE_URL", "--keep", "REDIS_URL", "--", "env"];
    let seen = variables(&production.keyfold(&command).env("REDIS_URL", "redis://127.0.0.1").run());
    assert_eq!(seen["DATABASE_URL"], production.database_url());
    assert_eq!(seen["REDIS_URL"], "redis://127.0.0.1");
    assert!(!seen.contains_key("KEYFOLD_MASTER_KEY"));
    // Another one of the command's own.
    let command = ["run", "--user", "user_a", "--", "env", "DATABASE_URL=postgres://its.own/db", "env"];
    assert_eq!(variables(&production.keyfold(&command).run())["DATABASE_URL"], "postgres://its.own/db");
    // Somebody's key is never kept, and what is misspelt is told.
    for name in ["GEMINI_API_KEY", "GOOGLE_API_KEY", "DATABSE_URL", "PATH"] {
        let command = ["run", "--user", "user_a", "--keep", name, "--", "touch", "started"];
        let done = production.keyfold(&command).env("GEMINI_API_KEY", &gemini(9)).run();
        assert!(done.does_not_tell(&gemini(9)).wrong_usage().contains(name), "{done:?}");
    }
    assert!(production.folder.files().is_empty());
}

mod production {
    use super::*;

    #[test]
    fn the_command_gets_the_keys_of_exactly_that_user() {
        let production = Production::new();
        production.has_key("user_a", "gemini", &gemini(1));
        production.has_key("user_a", "cohere", &example_key("cohere", 1));
        production.has_key("user_a", "copilotkit", &example_key("copilotkit", 1));
        production.has_key("user_b", "exa", &example_key("exa", 2));
        // Everything that one key for all may be called, in the environment and in files.
        let global = |start: Start| {
            let names = ["GEMINI_API_KEY", "GOOGLE_API_KEY", "CO_API_KEY", "COHERE_API_KEY", "EXA_API_KEY"];
            let names = names.into_iter().chain(["HF_TOKEN", "REACT_APP_COPILOTKIT_API_KEY"]);
            names.fold(start, |start, name| start.env(name, "S3CR3T-of-everybody"))
        };
        production
            .folder
            .write(".env", "GEMINI_API_KEY=S3CR3T-of-the-file\nTAVILY_API_KEY=S3CR3T-of-the-file\n");
        let run = |user: &str| {
            let start = global(production.keyfold(&["run", "--user", user, "--", "env"]));
            let done = start.env("UNRELATED_API_KEY", "kept").run();
            done.does_not_tell("S3CR3T");
            variables(&done)
        };
        let keys = |seen: &BTreeMap<String, String>| {
            let is_key = |name: &&String| name.contains("API_KEY") || name.contains("TOKEN");
            seen.keys().filter(is_key).cloned().collect::<Vec<_>>()
        };
        let seen = run("user_a");
        assert_eq!(
            keys(&seen),
            [
                "COHERE_API_KEY",
                "COPILOTKIT_API_KEY",
                "CO_API_KEY",
                "GEMINI_API_KEY",
                "GOOGLE_API_KEY",
                "REACT_APP_COPILOTKIT_API_KEY",
                "UNRELATED_API_KEY"
            ]
        );
        assert_eq!((&seen["GEMINI_API_KEY"], &seen["GOOGLE_API_KEY"]), (&gemini(1), &gemini(1)));
        assert_eq!(seen["COHERE_API_KEY"], example_key("cohere", 1));
        assert_eq!(seen["REACT_APP_COPILOTKIT_API_KEY"], example_key("copilotkit", 1));
        let seen = run("user_b");
        assert_eq!(keys(&seen), ["EXA_API_KEY", "UNRELATED_API_KEY"]);
        assert_eq!(seen["EXA_API_KEY"], example_key("exa", 2));
        assert_eq!(keys(&run("user_c")), ["UNRELATED_API_KEY"]);
    }

    #[test]
    fn nothing_is_left_on_disk_and_the_use_is_noted() {
        let production = Production::new();
        production.has_key("user_a", "gemini", &gemini(1));
        assert!(production.listed("user_a", "gemini")["last_used_at"].is_null());
        production.folder.standin.clear();
        production.keyfold(&["run", "--user", "user_a", "--", "true"]).run().ok();
        assert!(production.folder.files().is_empty(), "{:?}", production.folder.files());
        assert!(production.folder.standin.requests().is_empty());
        assert!(production.listed("user_a", "gemini")["last_used_at"].is_string());
    }

    #[test]
    fn status_and_signals_are_the_commands() {
        let production = Production::new();
        production.has_key("user_a", "gemini", &gemini(1));
        let done = production.keyfold(&["run", "--user", "user_a", "--", "sh", "-c", "exit 77"]).run();
        assert_eq!(done.status.code(), Some(77));
        let mut process = production.keyfold(&["run", "--user", "user_a", "--", "cat"]).spawn();
        process.stdin().write_all(b"ready\n").unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        process.signal(Signal::TERM);
        assert_eq!(process.end().signal(), Some(15));
    }

    #[test]
    fn without_any_key_it_says_how_to_save_one_for_that_user() {
        let production = Production::new();
        let done = production.keyfold(&["run", "--user", "auth0|x y", "--", "echo", "its own"]).run();
        assert_eq!(done.ok(), "its own\n");
        assert!(done.err.contains("keyfold keys set gemini --user 'auth0|x y'"), "{done:?}");
    }

    #[test]
    fn each_byte_of_a_stored_key_matters() {
        let production = Production::new();
        production.has_key("user_a", "gemini", &gemini(1));
        production.has_key("user_a", "exa", &example_key("exa", 1));
        production.sql(
            "UPDATE api_keys SET key = overlay(key PLACING (CASE substr(key, 60, 1) WHEN 'A' THEN 'B' ELSE 'A' END) \
             FROM 60 FOR 1) WHERE provider = 'exa'",
        );
        // The other key opens, and yet nothing is run.
        let done = production.keyfold(&["run", "--user", "user_a", "--", "touch", "started"]).run();
        done.does_not_tell(&gemini(1)).refused_with(&["Exa key cannot be read"]);
        assert!(production.folder.files().is_empty());
    }
}

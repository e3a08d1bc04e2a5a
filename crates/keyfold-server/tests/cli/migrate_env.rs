//! `keyfold migrate env FILE`: a shared `.env` becomes a user's keys, each checked as saving does, and nothing is lost
//! or guessed.

use std::fs;

use keyfold_standin::{Behaviour, example_key, example_key_with};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Done, Folder, Production, gemini, runtime};

fn masked(key: &str) -> String {
    format!("****{}", &key[key.len() - 4..])
}

/// `provider outcome` of each key.
fn outcomes(done: &Done) -> Vec<String> {
    let rows = done.json()["keys"].as_array().unwrap().clone();
    let word = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter().map(|row| format!("{} {}", word(row, "provider"), word(row, "outcome"))).collect()
}

const ENV: [&str; 4] = ["migrate", "env", "shared.env", "--user"];

fn env<'a>(user: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&ENV, &[user][..], options].concat()
}

#[test]
fn each_key_is_checked_and_saved_for_that_user_and_a_second_run_changes_nothing() {
    let production = Production::new();
    let folder = &production.folder;
    let (google, exa, copilot) = (gemini(1), example_key("exa", 1), example_key("copilotkit", 1));
    let text = format!(
        "\u{feff}# Shared by all.\r\nexport GOOGLE_API_KEY='{google}'\r\nEXA_API_KEY = {exa} # mine\r\n\
         REACT_APP_COPILOTKIT_API_KEY=\"{copilot}\"\r\nPORT=3000\r\nSTRIPE_SECRET_KEY=sk_live_S3CR3T7e57da7a\r\nTAVILY_API_KEY=your_key\r\n"
    );
    folder.write("shared.env", &text);
    let done = production.keyfold(&env("user_a", &[])).run();
    done.does_not_tell(&google).does_not_tell(&exa).does_not_tell("S3CR3T").ok();
    for line in [
        format!("gemini        {:<10}GOOGLE_API_KEY (line 2)  saved: valid", masked(&google)),
        "STRIPE_SECRET_KEY (line 6) looks like a key".into(),
        "No provider's variables, and left alone: PORT.".into(),
        "No key, but nothing or a placeholder: TAVILY_API_KEY (line 7).".into(),
        "Keys in shared.env: 3 saved.".into(),
        "Nobody of the id user_a was ever here".into(),
    ] {
        assert!(done.out.contains(&line), "{line}: {}", done.out);
    }
    assert_eq!(folder.standin.requests_for("gemini").last().unwrap().key, google);
    for (provider, key) in [("gemini", &google), ("exa", &exa), ("copilotkit", &copilot)] {
        assert_eq!(production.listed("user_a", provider)["masked"], masked(key), "{provider}");
        assert!(production.listed("user_b", provider).is_null());
    }
    assert_eq!(folder.read("shared.env"), text);
    assert_eq!(folder.files(), ["shared.env"]);

    let before = production.column("SELECT provider || version || key FROM api_keys ORDER BY provider");
    folder.standin.clear();
    let done = production.keyfold(&env("user_a", &["--json"])).run();
    done.ok();
    assert_eq!(outcomes(&done), ["copilotkit unchanged", "exa unchanged", "gemini unchanged"]);
    assert!(folder.standin.requests().is_empty(), "a known key is not checked again");
    assert_eq!(
        production.column("SELECT provider || version || key FROM api_keys ORDER BY provider"),
        before
    );
}

#[test]
fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let production = Production::new();
    let folder = &production.folder;
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_a", "exa", &example_key("exa", 1));
    let text = format!(
        "GEMINI_API_KEY={}\nEXA_API_KEY={}\nTAVILY_API_KEY={}\nOPENAI_API_KEY={}\n",
        gemini(2),
        example_key("exa", 1),
        example_key("tavily", 1),
        example_key("anthropic", 1)
    );
    folder.write("shared.env", &text);
    folder.standin.clear();
    let before = production.column("SELECT action FROM audit_events");
    let done = production.keyfold(&env("user_a", &["--dry-run", "--json"])).run();
    assert_eq!(
        outcomes(&done),
        ["exa unchanged", "gemini would_replace", "openai would_not_save", "tavily would_save"]
    );
    done.refused();
    assert!(done.out.contains(&format!("would replace {}", masked(&gemini(1)))), "{}", done.out);
    assert!(done.out.contains("looks like a key of Anthropic"), "{}", done.out);
    done.does_not_tell(&gemini(1)).does_not_tell(&gemini(2));
    assert!(folder.standin.requests().is_empty());
    assert_eq!(production.column("SELECT action FROM audit_events"), before);
    assert_eq!(production.listed("user_a", "gemini")["masked"], masked(&gemini(1)));
    assert_eq!((folder.read("shared.env"), folder.files()), (text, vec!["shared.env".to_owned()]));
    production.keyfold(&env("user_a", &["--dry-run", "--remove"])).run().wrong_usage();

    // Done in earnest, what was there can be gone back to.
    folder.write("shared.env", &format!("GEMINI_API_KEY={}\n", gemini(2)));
    let done = production.keyfold(&env("user_a", &["--json"])).run();
    done.ok();
    assert_eq!(outcomes(&done), ["gemini replaced"]);
    production.keyfold(&["keys", "rollback", "gemini", "--user", "user_a"]).run().ok();
    assert_eq!(production.listed("user_a", "gemini")["masked"], masked(&gemini(1)));
}

#[test]
fn what_is_refused_or_unclear_is_named_and_not_saved_and_the_rest_is() {
    let production = Production::new();
    let folder = &production.folder;
    let refused = example_key_with("gemini", "INVALID");
    folder.write(
        "shared.env",
        &format!(
            "GEMINI_API_KEY={refused}\nCO_API_KEY={}\nCOHERE_API_KEY={}\nHF_TOKEN={}\nHUGGING_FACE_HUB_TOKEN={}\n\
             TAVILY_API_KEY=${{OTHER}}\nANTHROPIC_API_KEY=\"{}\nmore\"\nEXA_API_KEY={}\n",
            example_key("cohere", 1),
            example_key("cohere", 2),
            example_key("huggingface", 1),
            example_key("huggingface", 1),
            example_key("anthropic", 1),
            example_key("exa", 1),
        ),
    );
    let done = production.keyfold(&env("user_a", &["--json"])).run();
    assert_eq!(
        outcomes(&done),
        [
            "exa saved",
            "gemini not_saved",
            "huggingface saved",
            "anthropic not_guessed",
            "cohere not_guessed",
            "tavily not_guessed"
        ]
    );
    done.does_not_tell(&refused).refused_with(&["not every key could be taken"]);
    for words in
        ["Google Gemini refused this key", "hold different keys", "refers to another variable", "line break"]
    {
        assert!(done.out.contains(words), "{words}: {}", done.out);
    }
    let cohere = done.json()["keys"].as_array().unwrap()[4].clone();
    assert_eq!(
        (&cohere["variables"], &cohere["lines"]),
        (&json!(["CO_API_KEY", "COHERE_API_KEY"]), &json!([2, 3]))
    );
    let saved = production.column("SELECT provider FROM api_keys ORDER BY provider");
    assert_eq!(saved, ["exa", "huggingface"]);
}

#[test]
fn only_lines_of_keys_that_are_safely_stored_are_removed_and_the_old_file_is_kept() {
    let production = Production::new();
    let folder = &production.folder;
    let refused = example_key_with("gemini", "INVALID");
    let exa = example_key("exa", 1);
    let text =
        format!("A=1 # first\nGEMINI_API_KEY={refused}\nEXA_API_KEY={exa}\n# last\nSECRET_KEY=S3CR3T\n");
    folder.write("shared.env", &text);
    folder.set_mode("shared.env", 0o644);
    let done = production.keyfold(&env("user_a", &["--remove"])).run();
    done.does_not_tell(&exa).does_not_tell(&refused).does_not_tell("S3CR3T").refused();
    assert!(done.out.contains("Taken out of the file: EXA_API_KEY."), "{}", done.out);
    assert_eq!(
        folder.read("shared.env"),
        format!("A=1 # first\nGEMINI_API_KEY={refused}\n# last\nSECRET_KEY=S3CR3T\n")
    );
    assert_eq!(folder.read("shared.env.before-keyfold"), text);
    assert_eq!((folder.mode("shared.env"), folder.mode("shared.env.before-keyfold")), (0o644, 0o600));
    assert_eq!(production.listed("user_a", "exa")["masked"], masked(&exa));
    // Again: there is nothing more to remove, and no second copy.
    production.keyfold(&env("user_a", &["--remove"])).run().refused();
    assert_eq!(folder.files(), ["shared.env", "shared.env.before-keyfold"]);
}

#[test]
fn a_file_that_cannot_be_understood_is_refused_with_its_line_and_nothing_is_saved() {
    let production = Production::new();
    let folder = &production.folder;
    let good = format!("EXA_API_KEY={}\n", example_key("exa", 1));
    for (bytes, words) in [
        ([good.as_bytes(), b"A=\xff\xfe\n"].concat(), "line 2: it is not UTF-8"),
        ([good.as_bytes(), b"A='open\nB=1\n"].concat(), "line 2: a quote is opened"),
        ([good.as_bytes(), b"\n=x\n"].concat(), "line 3: there is no name"),
        ([good.as_bytes(), b"A=\0\n"].concat(), "line 2: it holds a NUL"),
        ([good.as_bytes(), &b"#".repeat(10 * 1024 * 1024)].concat(), "larger than 1 MiB"),
    ] {
        fs::write(folder.path("shared.env"), &bytes).unwrap();
        for options in [&[][..], &["--dry-run"], &["--remove"]] {
            production.keyfold(&env("user_a", options)).run().refused_with(&[words]);
        }
        assert_eq!(fs::read(folder.path("shared.env")).unwrap(), bytes);
    }
    fs::remove_file(folder.path("shared.env")).unwrap();
    production.keyfold(&env("user_a", &[])).run().refused_with(&["shared.env"]);
    fs::create_dir(folder.path("shared.env")).unwrap();
    production.keyfold(&env("user_a", &[])).run().refused_with(&["a directory"]);
    assert!(production.column("SELECT provider FROM api_keys").is_empty());
    production.keyfold(&["migrate", "env", "shared.env"]).run().wrong_usage();
    production.keyfold(&["migrate", "env", "--user", "user_a"]).run().wrong_usage();
}

#[test]
fn it_always_says_what_it_found_and_which_line_hides_a_key() {
    let production = Production::new();
    let folder = &production.folder;
    let run = |text: &str| {
        folder.write("shared.env", text);
        production.keyfold(&env("user_a", &[])).run()
    };
    for text in ["", "\n# nothing\n", "PORT=3000\n", "GEMINI_API_KEY=\nEXA_API_KEY=your_key\n"] {
        let done = run(text);
        assert!(
            done.ok().contains("There is no key of a provider that Keyfold knows in shared.env."),
            "{done:?}"
        );
    }
    for last in ["", "your_gemini_api_key_here"] {
        let done = run(&format!("GEMINI_API_KEY={}\nGEMINI_API_KEY={last}\n", gemini(1)));
        done.does_not_tell(&gemini(1)).refused_with(&["not every key could be taken"]);
        for words in [
            "GEMINI_API_KEY (line 2)  left alone: line 1 has a key",
            "in the lines 1, 2 with different values",
            "1 not guessed",
        ] {
            assert!(done.out.contains(words), "{words}: {}", done.out);
        }
        assert!(production.listed("user_a", "gemini").is_null());
    }
    let done = run(&format!("GEMINI_API_KEY={}\nGEMINI_API_KEY={}\n", gemini(1), gemini(2)));
    done.does_not_tell(&gemini(1)).does_not_tell(&gemini(2)).ok();
    assert!(done.out.contains("in the lines 1, 2 with different values: the last one counts"), "{done:?}");
    assert_eq!(production.listed("user_a", "gemini")["masked"], masked(&gemini(2)));
    production.keyfold(&env("user_a", &["--json"])).run().ok();
}

#[test]
fn a_pipe_is_no_file_and_that_is_said() {
    let production = Production::new();
    let text = format!("GEMINI_API_KEY={}\n", gemini(1));
    for file in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let done = production.keyfold(&["migrate", "env", file, "--user", "user_a"]).stdin(&text).run();
        done.does_not_tell(&gemini(1)).refused_with(&[file, "a pipe"]);
    }
    assert!(production.listed("user_a", "gemini").is_null());
}

#[test]
fn killed_in_the_middle_it_goes_on_where_it_was() {
    let production = Production::new();
    let folder = &production.folder;
    let keys = [("exa", example_key("exa", 1)), ("gemini", gemini(1)), ("tavily", example_key("tavily", 1))];
    let line = |(provider, key): &(&str, String)| format!("{}_API_KEY={key}\n", provider.to_uppercase());
    let text: String = keys.iter().map(line).collect();
    folder.write("shared.env", &text);
    folder.standin.script("gemini", Behaviour::Hang);
    let process = production.keyfold(&env("user_a", &["--remove"])).spawn();
    // Exa's is checked and saved, and Gemini is being asked.
    runtime().block_on(folder.standin.wait_for_requests(2));
    process.signal(Signal::KILL);
    process.end();
    folder.standin.release();
    assert_eq!(production.listed("user_a", "exa")["masked"], masked(&keys[0].1));
    assert!(production.listed("user_a", "gemini").is_null());
    assert_eq!((folder.read("shared.env"), folder.files().len()), (text, 1));
    let done = production.keyfold(&env("user_a", &["--remove", "--json"])).run();
    done.ok();
    assert_eq!(outcomes(&done), ["exa unchanged", "gemini saved", "tavily saved"]);
    assert_eq!(folder.read("shared.env"), "");
    for (provider, key) in &keys {
        assert_eq!(production.listed("user_a", provider)["masked"], masked(key));
    }
}

#[test]
fn a_database_that_is_away_stops_it_in_words() {
    let folder = Folder::new();
    folder.write("shared.env", &format!("GEMINI_API_KEY={}\n", gemini(1)));
    let start = folder.keyfold(&env("user_a", &[])).env("DEPLOY_ENV", "render");
    let start = start.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let done = start.env("KEYFOLD_MASTER_KEY", &crate::harness::new_master_key()).run();
    done.does_not_tell(&gemini(1)).refused();
    assert!(folder.standin.requests().is_empty());
}

mod local {
    use super::*;

    #[test]
    fn keys_of_another_file_come_into_the_env_file_that_is_used() {
        let folder = Folder::new();
        folder.write(".env", "PORT=0\n");
        folder.write("old/shared.env", &format!("GOOGLE_API_KEY={}\nNAME=x\n", gemini(1)));
        let done = folder.keyfold(&["migrate", "env", "old/shared.env", "--remove"]).run();
        done.does_not_tell(&gemini(1)).ok();
        assert_eq!(folder.read(".env"), format!("PORT=0\nGEMINI_API_KEY={}\n", gemini(1)));
        assert_eq!(folder.read("old/shared.env"), "NAME=x\n");
        assert!(folder.read("old/shared.env.before-keyfold").contains(&gemini(1)));
        assert_eq!(folder.listed("gemini")["status"], "valid");
        let done = folder.keyfold(&["migrate", "env", "old/shared.env", "--user", "user_a"]).run();
        done.refused_with(&["leave --user out"]);
        folder.keyfold(&["migrate", "env", "old/shared.env", "--user", "local"]).run().ok();
    }

    #[test]
    fn killed_in_the_middle_it_goes_on_where_it_was() {
        let folder = Folder::new();
        let keys =
            [("exa", example_key("exa", 1)), ("gemini", gemini(1)), ("tavily", example_key("tavily", 1))];
        let line = |(provider, key): &(&str, String)| format!("{}_API_KEY={key}\n", provider.to_uppercase());
        let text: String = keys.iter().map(line).collect();
        folder.write("old/shared.env", &text);
        folder.standin.script("gemini", Behaviour::Hang);
        let command = ["migrate", "env", "old/shared.env", "--remove"];
        let process = folder.keyfold(&command).spawn();
        // Exa's is checked and saved, and Gemini is being asked.
        runtime().block_on(folder.standin.wait_for_requests(2));
        process.signal(Signal::KILL);
        process.end();
        folder.standin.release();
        assert_eq!(folder.read(".env"), line(&keys[0]));
        assert_eq!(folder.listed("exa")["status"], "valid");
        assert!(folder.listed("gemini").is_null());
        assert_eq!(folder.read("old/shared.env"), text);
        let done = folder.keyfold(&[&command[..], &["--json"]].concat()).run();
        done.ok();
        assert_eq!(outcomes(&done), ["exa unchanged", "gemini saved", "tavily saved"]);
        assert_eq!((folder.read(".env"), folder.read("old/shared.env")), (text, String::new()));
        for (provider, key) in &keys {
            assert_eq!(folder.listed(provider)["masked"], masked(key));
            assert_eq!(folder.listed(provider)["version"], 1);
        }
    }

    #[test]
    fn the_very_file_that_local_mode_uses_is_told_and_its_lines_stay() {
        let folder = Folder::new();
        let text = format!("GEMINI_API_KEY={}\nGOOGLE_API_KEY={}\n", gemini(1), gemini(1));
        folder.write("real/.env", &text);
        std::os::unix::fs::symlink("real/.env", folder.path(".env")).unwrap();
        for file in [".env", "real/.env"] {
            let done = folder.keyfold(&["migrate", "env", file]).run();
            assert!(done.ok().contains("the very .env that local mode uses"), "{done:?}");
            assert!(done.out.contains("unchanged"), "{done:?}");
            let done = folder.keyfold(&["migrate", "env", file, "--remove"]).run();
            done.refused_with(&["Leave --remove out"]);
        }
        assert_eq!(folder.read("real/.env"), text);
        assert!(folder.standin.requests().is_empty());
    }
}

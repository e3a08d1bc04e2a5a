//! `keyfold doctor --scan DIR`: what it finds in a tree of files, what it leaves, and how it ends.

use std::fs;
use std::os::unix::fs::symlink;

use keyfold_standin::example_key;
use serde_json::Value;

use crate::doctor::git;
use crate::harness::{Done, Folder, gemini};

const PYTHON: &str = r#"
"""Settings. Reads os.getenv("OPENAI_API_KEY") one day."""
import os
from pydantic_settings import BaseSettings

class Settings(BaseSettings):
    exa_api_key: str
    port: int = 8000

def gemini():
    # os.environ["ANTHROPIC_API_KEY"] was here
    return os.getenv("GEMINI_API_KEY") or os.environ["GOOGLE_API_KEY"]

print("os.getenv('TAVILY_API_KEY')", os.getenv("DATABASE_URL"), os.getenv("MY_GEMINI_API_KEY"))
"#;

const TYPE_SCRIPT: &str = r#"
// const key = process.env.OPENAI_API_KEY
const { EXA_API_KEY: exa, PORT } = process.env;
export const key = import.meta.env.GEMINI_API_KEY ?? `none: ${process.env["MISTRAL_API_KEY"]}`;
const text = "process.env.TAVILY_API_KEY", other = process.env.VITE_GEMINI_API_KEY;
"#;

const RUST: &str = r##"
/// Reads `env::var("OPENAI_API_KEY")`.
fn main() {
    let key = std::env::var("GEMINI_API_KEY").ok().or(option_env!("EXA_API_KEY").map(Into::into));
    println!("{} {key:?}", r#"env::var("TAVILY_API_KEY")"#);
}
"##;

/// A report, in both forms, which must say the same.
struct Scan {
    json: Value,
    text: Done,
}

#[track_caller]
fn scan(folder: &Folder, dir: &str) -> Scan {
    let json = folder.keyfold(&["doctor", "--scan", dir, "--json"]).run();
    let text = folder.keyfold(&["doctor", "--scan", dir]).run();
    assert_eq!(json.status.code(), text.status.code(), "{text:?}");
    let scan = Scan { json: json.json(), text };
    assert_eq!(scan.json["ok"], scan.text.status.code() == Some(0), "{:?}", scan.text);
    for list in ["readings", "keys", "env_files", "skipped", "unreadable"] {
        let entries = scan.json[list].as_array().unwrap().iter();
        for entry in entries.filter(|entry| entry["why"] != "no text") {
            assert!(scan.text.out.contains(entry["file"].as_str().unwrap()), "{entry}: {}", scan.text.out);
            if let Some(instead) = entry["instead"].as_str() {
                assert!(scan.text.out.contains(&format!("→ {instead}")), "{instead}: {}", scan.text.out);
            }
        }
    }
    scan
}

impl Scan {
    /// `FIELD:FIELD…` of each entry of a list.
    fn each(&self, list: &str, fields: &[&str]) -> Vec<String> {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let entry =
            |entry: &Value| fields.iter().map(|field| word(&entry[*field])).collect::<Vec<_>>().join(":");
        self.json[list].as_array().unwrap().iter().map(entry).collect()
    }

    fn readings(&self) -> Vec<String> {
        self.each("readings", &["file", "line", "variable"])
    }
}

#[test]
fn lines_that_read_keys_are_found_in_three_languages_and_comments_and_texts_are_none() {
    let folder = Folder::new();
    folder.write("tree/app/settings.py", PYTHON);
    folder.write("tree/web/src/keys.ts", TYPE_SCRIPT);
    folder.write("tree/worker/src/main.rs", RUST);
    folder.write("tree/README.md", "Set `os.getenv(\"GEMINI_API_KEY\")`, then process.env.EXA_API_KEY\n");
    folder.write("tree/.env.example", "GEMINI_API_KEY=your_gemini_api_key_here\nEXA_API_KEY=\n");
    let found = scan(&folder, "tree");
    assert_eq!(
        found.readings(),
        [
            "app/settings.py:7:EXA_API_KEY",
            "app/settings.py:12:GEMINI_API_KEY",
            "app/settings.py:12:GOOGLE_API_KEY",
            "web/src/keys.ts:3:EXA_API_KEY",
            "web/src/keys.ts:4:GEMINI_API_KEY",
            "web/src/keys.ts:4:MISTRAL_API_KEY",
            "worker/src/main.rs:4:EXA_API_KEY",
            "worker/src/main.rs:4:GEMINI_API_KEY"
        ]
    );
    // Readings alone are no failure.
    let text = found.text.ok();
    for instead in [
        "with user_api_keys(user_id) as keys: keys.get('gemini')",
        "base_url = YOUR_KEYFOLD/gateway/mistral",
        "keyfold.user_api_keys(user_id).await?.get(\"exa\")?",
    ] {
        assert!(text.contains(instead), "{text}");
    }
    assert!(found.json["note"].as_str().unwrap().contains("no work tree of git"));
    assert_eq!(folder.files().len(), 5, "nothing is written: {:?}", folder.files());
}

#[test]
fn keys_that_stand_in_files_are_shown_masked_and_end_it_with_1() {
    let folder = Folder::new();
    let (key, cohere, exa) = (gemini(1), example_key("cohere", 1), example_key("exa", 1));
    folder.write("tree/a/notes.md", &format!("# Notes\n\nUse {key} for now.\n"));
    folder.write("tree/deploy.yaml", &format!("env:\n  CO_API_KEY: {cohere}\n"));
    folder.write("tree/main.py", &format!("import os\nos.environ['EXA_API_KEY'] = '{exa}'\n"));
    folder.write("tree/sample.py", "KEY = 'AIzaSy1234567890abcdefghijklmnopqrstuvw'  # GEMINI_API_KEY\n");
    let found = scan(&folder, "tree");
    let masked = |key: &str| format!("****{}", &key[key.len() - 4..]);
    assert_eq!(
        found.each("keys", &["file", "line", "variable", "masked"]),
        [
            format!("a/notes.md:3:null:{}", masked(&key)),
            format!("deploy.yaml:2:CO_API_KEY:{}", masked(&cohere)),
            format!("main.py:2:EXA_API_KEY:{}", masked(&exa)),
        ]
    );
    assert_eq!(found.each("readings", &["file", "way"]), ["main.py:sets"]);
    found.text.refused_with(&["keys or .env files"]);
    for secret in [&key, &cohere, &exa] {
        found.text.does_not_tell(secret);
        assert!(!found.json.to_string().contains(secret.as_str()));
    }
    assert!(found.text.out.contains("https://aistudio.google.com/apikey"), "{}", found.text.out);
}

#[test]
fn env_files_that_git_tracks_or_takes_along_or_others_can_read_are_found() {
    let folder = Folder::new();
    let key = gemini(1);
    folder.write(".gitignore", "ignored.env\n/private/\n.keyfold\n");
    folder.write("backend/.env", &format!("GEMINI_API_KEY={key}\n"));
    folder.write("other/.env.local", "PORT=1\n");
    folder.write("ignored.env", &format!("GEMINI_API_KEY={}\n", gemini(2)));
    folder.write("private/.env", "PORT=1\n");
    folder.write(".env.example", "GEMINI_API_KEY=your_key\n");
    for file in ["backend/.env", "other/.env.local", "ignored.env", ".env.example"] {
        folder.set_mode(file, 0o600);
    }
    folder.set_mode("private/.env", 0o640);
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "backend/.env", ".env.example", ".gitignore"]);
    let found = scan(&folder, ".");
    assert_eq!(
        found.each("env_files", &["file", "exposure"]),
        ["backend/.env:tracked", "other/.env.local:not_ignored", "private/.env:readable"]
    );
    // What git tracks is committed, so its keys count; those of an own `.env` are where local mode keeps them.
    assert_eq!(found.each("keys", &["file", "line"]), ["backend/.env:1"]);
    assert!(found.json["note"].is_null());
    found.text.does_not_tell(&key).refused_with(&["keys or .env files"]);
    assert!(found.text.out.contains("git rm --cached backend/.env"), "{}", found.text.out);
    assert!(found.text.out.contains("chmod 600 private/.env"), "{}", found.text.out);

    // Put right as it said, it is content.
    git(&folder, &["rm", "-q", "--cached", "backend/.env"]);
    folder.write(".gitignore", "*.env\n.env.local\n/private/\n");
    folder.set_mode("private/.env", 0o600);
    scan(&folder, ".").text.ok();
}

#[test]
fn what_git_ignores_is_left_unless_it_tracks_it() {
    let folder = Folder::new();
    let key = gemini(1);
    folder.write("tree/.gitignore", "generated/\n");
    folder.write("tree/generated/a.py", &format!("os.getenv('GEMINI_API_KEY', '{key}')\n"));
    folder.write("tree/generated/b.py", "os.getenv('EXA_API_KEY')\n");
    folder.write("tree/src/c.py", "os.getenv('OPENAI_API_KEY')\n");
    let found = scan(&folder, "tree");
    assert_eq!(
        (found.readings(), found.json["keys"].as_array().unwrap().len()),
        (vec!["src/c.py:1:OPENAI_API_KEY".into()], 0)
    );
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "-f", "tree/generated/a.py"]);
    let found = scan(&folder, "tree");
    assert_eq!(found.readings(), ["generated/a.py:1:GEMINI_API_KEY", "src/c.py:1:OPENAI_API_KEY"]);
    assert_eq!(found.each("keys", &["file", "line"]), ["generated/a.py:1"]);
}

#[test]
fn other_peoples_code_binary_and_huge_files_are_left_out_by_name() {
    let folder = Folder::new();
    let reads = "os.getenv('GEMINI_API_KEY')\nprocess.env.GEMINI_API_KEY\n";
    for file in [
        "tree/node_modules/x/index.js",
        "tree/venv-of-mine/lib/x.py",
        "tree/target/debug/x.rs",
        "tree/.git/hooks/x.py",
        "tree/x.py",
        "tree/not-cargo/target/x.py",
    ] {
        folder.write(file, reads);
    }
    folder.write("tree/venv-of-mine/pyvenv.cfg", "");
    folder.write("tree/Cargo.toml", "");
    folder.write("tree/huge.py", &format!("{reads}{}", "#".repeat(1024 * 1024)));
    folder.write("tree/binary.py", &format!("\0{reads}"));
    fs::write(folder.path("tree/latin.py"), [b"# \xe9\n".as_slice(), reads.as_bytes()].concat()).unwrap();
    let found = scan(&folder, "tree");
    assert_eq!(
        found.readings(),
        ["latin.py:2:GEMINI_API_KEY", "not-cargo/target/x.py:1:GEMINI_API_KEY", "x.py:1:GEMINI_API_KEY"]
    );
    assert_eq!(
        found.each("skipped", &["file"]),
        [".git", "binary.py", "huge.py", "node_modules", "target", "venv-of-mine"]
    );
    assert!(found.text.out.contains("skipped  1 files that are no text"), "{}", found.text.out);
}

#[test]
fn links_do_not_lead_out_of_the_tree_and_names_do_not_write_to_the_terminal() {
    let folder = Folder::new();
    folder.write("elsewhere/secret.py", &format!("os.getenv('GEMINI_API_KEY', '{}')\n", gemini(1)));
    folder.write("elsewhere/.env", "A=1\n");
    folder.write("tree/own.py", "os.getenv('EXA_API_KEY')\n");
    folder.write("tree/\u{1b}[31m\nKEY.py", "os.getenv('EXA_API_KEY')\n");
    symlink(folder.path("elsewhere"), folder.path("tree/folder")).unwrap();
    symlink(folder.path("elsewhere/secret.py"), folder.path("tree/file.py")).unwrap();
    symlink(folder.path("elsewhere/.env"), folder.path("tree/.env")).unwrap();
    symlink(folder.path("tree"), folder.path("tree/loop")).unwrap();
    let done = folder.keyfold(&["doctor", "--scan", "tree"]).run();
    assert!(!done.ok().contains('\u{1b}') && !done.out.contains("secret.py"), "{}", done.out);
    assert_eq!(done.out.matches("EXA_API_KEY").count(), 2, "{}", done.out);
    // The folder itself may be reached by a link.
    symlink(folder.path("tree"), folder.path("link")).unwrap();
    assert_eq!(folder.keyfold(&["doctor", "--scan", "link"]).run().ok(), done.out);
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::of_an_ordinary_user();
    folder.write("tree/closed.py", "os.getenv('GEMINI_API_KEY')\n");
    folder.write("tree/shut/x.py", "os.getenv('GEMINI_API_KEY')\n");
    folder.write("tree/open.py", "os.getenv('GEMINI_API_KEY')\n");
    folder.set_mode("tree/closed.py", 0);
    folder.set_mode("tree/shut", 0);
    let found = scan(&folder, "tree");
    folder.set_mode("tree/shut", 0o755);
    assert_eq!(found.readings(), ["open.py:1:GEMINI_API_KEY"]);
    assert_eq!(found.each("unreadable", &["file"]), ["closed.py", "shut"]);
    for (dir, why) in [("nowhere", "cannot be looked at"), ("tree/open.py", "is no folder")] {
        folder.keyfold(&["doctor", "--scan", dir]).run().refused_with(&[why]);
    }
}

#[test]
fn without_git_it_says_what_it_does_not_know() {
    let folder = Folder::new();
    git(&folder, &["init", "-q"]);
    folder.write("x.py", "os.getenv('GEMINI_API_KEY')\n");
    let done = folder.keyfold(&["doctor", "--scan", "."]).env("PATH", "/nowhere").run();
    assert!(done.ok().contains("the program git is not there"), "{}", done.out);
}

#[test]
fn a_tree_cannot_make_it_run_a_program() {
    let folder = Folder::new();
    git(&folder, &["init", "-q"]);
    folder.write("x.py", "os.getenv('GEMINI_API_KEY')\n");
    folder.write("hook", "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n");
    folder.set_mode("hook", 0o755);
    git(&folder, &["config", "core.fsmonitor", folder.path("hook").to_str().unwrap()]);
    scan(&folder, ".").text.ok();
    assert!(!folder.path("ran").exists());
}

#[test]
fn providers_of_the_settings_count_and_no_database_is_needed() {
    let folder = Folder::new();
    folder.write(
        "more.toml",
        "[acme]\nname = 'Acme'\naddress = 'https://api.acme.example'\nvariable = 'ACME_API_KEY'\n",
    );
    folder.write("x.py", "os.getenv('ACME_API_KEY')\n");
    let start = |arguments: &[&str]| {
        folder.keyfold(arguments).env("DEPLOY_ENV", "render").env("KEYFOLD_PROVIDERS_FILE", "more.toml")
    };
    let done = start(&["doctor", "--scan", "."]).run();
    assert!(done.ok().contains("x.py:1  ACME_API_KEY (Acme)"), "{}", done.out);
    assert_eq!(folder.files(), ["more.toml", "x.py"]);
    let done = start(&["doctor", "--scan", "."]).env("KEYFOLD_PROVIDERS_FILE", "none.toml").run();
    done.refused_with(&["KEYFOLD_PROVIDERS_FILE"]);
    start(&["doctor", "--scan", ".", "--user", "user_a"]).run().wrong_usage();
}

//! The documentation: its references are those of the code, its links lead somewhere, what it names exists, and
//! its commands work.
//!
//! A block that begins with ```` ```sh run ```` is run: all such blocks of a file, in order, in a folder of their
//! own, against a `keyfold serve` of their own and the providers' stand-in. In them `http://127.0.0.1:8000` stands
//! for wherever that Keyfold listens, and `YOUR_GEMINI_KEY` for a key that the stand-in takes for Gemini
//! (`OTHER_GEMINI_KEY` for another one). Some documents are about production, so their Keyfold serves that, with a
//! PostgreSQL and a token issuer of its own; so it is for blocks that begin with ```` ```sh run production ````.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it is a test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::settings::{Kind, SETTINGS};
use keyfold_server::problem::CODES;
use keyfold_standin::issuer::{Issuer, PARTY};
use keyfold_standin::{PROVIDERS, Standin, example_key};
use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The documents that are about production.
const PRODUCTION: [&str; 4] =
    ["docs/production.md", "docs/deletion.md", "docs/master-key.md", "docs/migration-env.md"];

mod reference {
    use super::*;

    #[test]
    fn settings_are_those_of_the_catalogue() {
        const BEGIN: &str = "<!-- The table is made by `make docs-reference`. -->\n";
        let path = root().join("docs/settings.md");
        let text = read(&path);
        let (before, _) = text.split_once(BEGIN).unwrap();
        check_or_update("docs-reference", &path, &text, &format!("{before}{BEGIN}\n{}", settings_table()));
    }

    #[test]
    fn every_error_code_is_explained() {
        let path = root().join("docs/errors.md");
        let text = read(&path);
        let mut sections = text.split("\n## ");
        let mut wanted = sections.next().unwrap().to_owned();
        let sections: Vec<&str> = sections.collect();
        for (code, status, title) in CODES {
            let heading = format!("`{code}`\n");
            let found = sections.iter().find_map(|section| section.strip_prefix(&heading));
            // The line below the heading is made from the table; the rest is written by hand.
            let words = found.and_then(|section| section.trim_start().split_once("\n\n"));
            let words = words.map_or("Not explained yet.", |(_, words)| words.trim());
            write!(wanted, "\n## {heading}\n{} · {title}\n\n{words}\n", status.as_u16()).unwrap();
        }
        assert!(
            !wanted.contains("Not explained yet.") || updating(),
            "a code is not explained in docs/errors.md"
        );
        check_or_update("docs-reference", &path, &text, &wanted);
    }

    fn settings_table() -> String {
        let sources = sources();
        let mut table = String::from("| variable | meaning | default |\n| --- | --- | --- |\n");
        for setting in SETTINGS {
            let cell = |text: &str| text.replace('|', "\\|");
            let secret = if setting.kind == Kind::Secret { " (secret)" } else { "" };
            let is_read = sources.iter().any(|source| source.contains(&format!("\"{}\"", setting.name)));
            let unread = if is_read { "" } else { "; *without effect in this version*" };
            writeln!(
                table,
                "| `{}`{secret} | {}{unread} | {} |",
                setting.name,
                cell(setting.meaning),
                cell(setting.default)
            )
            .unwrap();
        }
        table
    }

    /// The code, without the catalogue itself and without tests.
    fn sources() -> Vec<String> {
        let mut files = vec![];
        for folder in ["crates/keyfold/src", "crates/keyfold-server/src"] {
            files_below(&root().join(folder), "rs", &mut files);
        }
        // Names that no provider's variable may have are not read either.
        let names_only = ["settings/catalogue.rs", "provider/registry_file.rs", "tests.rs"];
        files.retain(|file| !names_only.iter().any(|name| file.ends_with(name)));
        files.iter().map(|file| read(file)).collect()
    }
}

/// What the TypeScript client knows of the API is what this server says of itself. Then its own tests hold that its
/// types are made of that, and that every call has a method.
#[test]
fn the_typescript_client_has_this_servers_description() {
    let said = Command::new(env!("CARGO_BIN_EXE_keyfold")).arg("openapi").env_clear().output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let path = root().join("clients/typescript/openapi.json");
    let is = fs::read_to_string(&path).unwrap_or_default();
    check_or_update("typescript-schema", &path, &is, &String::from_utf8(said.stdout).unwrap());
}

fn updating() -> bool {
    // The switch of the targets of `make` that are named in the failures.
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, no setting")]
    std::env::var_os("UPDATE").is_some()
}

fn check_or_update(target: &str, path: &Path, is: &str, wanted: &str) {
    if updating() {
        fs::write(path, wanted).unwrap();
    } else {
        assert!(is == wanted, "{} is out of date; run `make {target}`", path.display());
    }
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        for target in links(&text) {
            if target.starts_with("http:") || target.starts_with("https:") {
                continue;
            }
            let (file, anchor) =
                target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let linked =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(linked.exists(), "{} links to {target}, which is not there", document.display());
            if let Some(anchor) = anchor {
                let anchors = anchors(&read(&linked));
                assert!(
                    anchors.contains(anchor),
                    "{} links to {target}; there are {anchors:?}",
                    document.display()
                );
            }
        }
    }
}

#[test]
fn troubleshooting_says_whom_each_error_concerns() {
    let text = read(&root().join("docs/troubleshooting.md"));
    for (code, ..) in CODES {
        assert!(text.contains(&format!("(errors.md#{code})")), "docs/troubleshooting.md lacks {code}");
    }
}

#[test]
fn variables_and_make_targets_exist() {
    let makefile = read(&root().join("Makefile"));
    let bench = read(&root().join("benches/gateway/src/settings.rs"));
    let browser_tests = read(&root().join("frontend/e2e/playwright.config.ts"));
    for document in documents() {
        let text = read(&document);
        for name in words(&text).filter(|word| word.starts_with("KEYFOLD_") && !word.ends_with('_')) {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            let known = SETTINGS.iter().any(|setting| {
                setting.name == name || (setting.name == plain && setting.kind == Kind::Secret)
            });
            let address = name.starts_with("KEYFOLD_PROVIDER_") && name.ends_with("_BASE_URL");
            let of_bench = name
                .strip_prefix("KEYFOLD_BENCH_")
                .is_some_and(|rest| bench.contains(&format!("(\"{rest}\"")));
            let of_browser_tests = browser_tests.contains(&format!("process.env.{name}"));
            let is_read = known || address || of_bench || of_browser_tests;
            assert!(is_read, "{} names {name}, which is no setting", document.display());
        }
        for (before, after) in text.match_indices("make ").map(|(at, _)| text.split_at(at)) {
            let begins_its_line = before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
            if begins_its_line || before.ends_with('`') {
                let target = words(&after["make ".len()..]).next().unwrap_or_default();
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{} names `make {target}`, which is not there",
                    document.display()
                );
            }
        }
    }
}

/// The security manual promises something only together with the test that fails without it: so do all tables whose
/// last column is headed `test`.
#[test]
fn every_promise_names_a_test_that_exists() {
    let mut files = vec![];
    files_below(&root().join("crates"), "rs", &mut files);
    files_below(&root().join("crates/keyfold-python/tests"), "py", &mut files);
    let code: String = files.iter().map(|file| read(file)).collect();
    for (document, at_least) in [("SECURITY.md", 60), ("docs/incidents.md", 15)] {
        let text = read(&root().join(document));
        let mut promises = 0;
        for table in text.split(" | test |\n").skip(1) {
            // The first line is the one below the heading.
            for promise in table.lines().take_while(|line| line.starts_with('|')).skip(1) {
                let tests: Vec<&str> =
                    promise.trim_end_matches([' ', '|']).rsplit('|').next().unwrap().split('`').collect();
                assert!(tests.len() >= 3, "{document}: a promise without a test: {promise}");
                for test in tests.iter().skip(1).step_by(2) {
                    let there = ["fn", "def"].iter().any(|kind| code.contains(&format!("{kind} {test}(")));
                    assert!(there, "{document} names the test {test}, which does not exist");
                }
                promises += 1;
            }
        }
        assert!(promises >= at_least, "{document} has {promises} promises: a table was not found");
    }
}

/// What others published under the same name or number does not get in.
#[test]
fn every_dependency_is_pinned_by_its_checksum() {
    let lock = read(&root().join("Cargo.lock"));
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).collect();
    let foreign = packages.iter().filter(|package| package.contains("\nsource = "));
    for package in foreign.clone() {
        let from_the_registry =
            package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n");
        assert!(from_the_registry && package.contains("\nchecksum = \""), "{package}");
    }
    assert!(foreign.count() > 100, "the packages were not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work() {
    let mut documents_with_commands = 0;
    for document in documents() {
        let text = read(&document);
        let is_about_production = PRODUCTION.iter().any(|name| document.ends_with(name));
        let (usual, marked) = (runnable(&text, "sh run"), runnable(&text, "sh run production"));
        for (blocks, in_production) in [(usual, is_about_production), (marked, true)] {
            if blocks.is_empty() {
                continue;
            }
            documents_with_commands += 1;
            let standin = Standin::start().await;
            let mode = if in_production {
                production().await
            } else {
                vec![("DEBUG".to_owned(), "true".to_owned())]
            };
            let document = document.clone();
            let ran = tokio::task::spawn_blocking(move || {
                let example = Example::start(&standin, mode);
                for (line, block) in blocks {
                    example.run(&block, &format!("{}:{line}", document.display()));
                }
            });
            if let Err(error) = ran.await {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
    assert!(documents_with_commands > 0, "no runnable block was found");
}

/// The settings of production, and tokens of three users.
async fn production() -> Vec<(String, String)> {
    static ISSUER: OnceCell<Issuer> = OnceCell::const_new();
    let issuer = ISSUER.get_or_init(Issuer::start).await;
    let database = PostgresServer::shared().empty_database().await;
    let master_key = MasterKey::generate(&SystemRandom).unwrap();
    let mut variables: Vec<(String, String)> = vec![
        ("DEPLOY_ENV".into(), "render".into()),
        ("HOST".into(), "127.0.0.1".into()),
        ("DATABASE_URL".into(), database),
        ("KEYFOLD_MASTER_KEY".into(), master_key.to_string()),
        ("KEYFOLD_ALLOWED_ORIGINS".into(), PARTY.into()),
        ("TOKEN_A".into(), issuer.token_for("user_a")),
        ("TOKEN_B".into(), issuer.token_for("user_b")),
        ("TOKEN_C".into(), issuer.token_for("user_c")),
    ];
    variables.extend(issuer.settings().map(|(name, value)| (name.into(), value)));
    variables
}

/// A folder with a Keyfold that serves from it, for the commands of one document.
struct Example {
    folder: TempDir,
    variables: Vec<(String, String)>,
    serving: Child,
    url: String,
}

impl Example {
    fn start(standin: &Standin, mode: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(folder.path().join("project/frontend")).unwrap();
        fs::create_dir(&home).unwrap();
        // An error of the server is an error of the command.
        fs::write(home.join(".curlrc"), "fail-with-body\nsilent\nshow-error\nnoproxy = *\nmax-time = 60\n")
            .unwrap();
        let mut variables: Vec<(String, String)> = vec![
            ("PORT".into(), "0".into()),
            ("KEYFOLD_METRICS_ADDR".into(), "off".into()),
            ("PATH".into(), path_with_keyfold()),
            ("HOME".into(), home.display().to_string()),
            ("CURL_HOME".into(), home.display().to_string()),
        ];
        for provider in PROVIDERS {
            let name = format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase());
            variables.push((name, standin.base_url(provider)));
        }
        variables.extend(mode);
        let mut serving = Command::new(env!("CARGO_BIN_EXE_keyfold"))
            .arg("serve")
            .current_dir(folder.path().join("project"))
            .env_clear()
            .envs(variables.iter().cloned())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (found, ready) = mpsc::channel();
        let said = BufReader::new(serving.stderr.take().unwrap());
        // Read to the end, so that the program never waits for a reader.
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                // As text in local mode, as JSON in production.
                if let Some((_, url)) = line.split_once("ready at ") {
                    let url = url.split('"').next().unwrap_or(url);
                    let _ = found.send(url.trim().to_owned());
                }
            }
        });
        let url = ready.recv().unwrap();
        Self { folder, variables, serving, url }
    }

    fn run(&self, block: &str, place: &str) {
        let mut script = block.replace("http://127.0.0.1:8000", &self.url);
        for provider in PROVIDERS {
            script =
                script.replace(&format!("YOUR_{}_KEY", provider.to_uppercase()), &example_key(provider, 1));
            script =
                script.replace(&format!("OTHER_{}_KEY", provider.to_uppercase()), &example_key(provider, 2));
        }
        let output = Command::new("sh")
            .args(["-eu", "-c", &script])
            .current_dir(self.folder.path().join("project"))
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{place}: a command failed ({})\n{script}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.serving.kill();
        let _ = self.serving.wait();
    }
}

fn path_with_keyfold() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_keyfold"));
    #[expect(clippy::disallowed_methods, reason = "where sh, curl and the rest are")]
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", program.parent().unwrap().display())
}

/// The runnable blocks with this mark, each with its line.
fn runnable(text: &str, mark: &str) -> Vec<(usize, String)> {
    let mut blocks = vec![];
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim().strip_prefix("```") == Some(mark) {
            let block = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            blocks.push((number + 1, block.collect::<Vec<_>>().join("\n")));
        }
    }
    blocks
}

/// The targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split_once(')').map(|(target, _)| target))
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Runs of letters, digits, `-` and `_`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).filter(|word| !word.is_empty())
}

/// Every Markdown file that is ours to keep.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![];
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    files_below(&root().join("docs"), "md", &mut documents);
    documents.push(root().join("clients/typescript/README.md"));
    documents.sort();
    documents
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|has| has == extension) {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

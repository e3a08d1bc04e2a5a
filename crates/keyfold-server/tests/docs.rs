//! The documentation: its references are those of the code, its links lead somewhere, what it names exists, and
//! its commands work.
//!
//! A block that begins with ```` ```sh run ```` is run: all such blocks of a file, in order, in a folder of their
//! own, against a `keyfold serve` of their own and the providers' stand-in. In them `http://127.0.0.1:8000` stands
//! for wherever that Keyfold listens, and `YOUR_GEMINI_KEY` for a key that the stand-in takes for Gemini
//! (`OTHER_GEMINI_KEY` for another one). Some documents are about production, so their Keyfold serves that, with a
//! PostgreSQL and a token issuer of its own; so it is for blocks that begin with ```` ```sh run production ````.
//!
//! What needs more than that is only shown: in ```` ```sh ````, or indented. [`shown::BLOCKS`] says of each such block
//! which test runs it, or why none does. Blocks of Python are run by the Python package's `test_guide.py`, those of Rust
//! by `cargo test --doc`, those of TypeScript by the client's own tests.

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

    /// Answers of the Python package's part for web applications have the titles of Keyfold's own.
    #[test]
    fn titles_in_python_are_those_of_the_table() {
        let text = read(&root().join("crates/keyfold-python/python/keyfold/fastapi.py"));
        let titles = text
            .split("_TITLES: Final = {")
            .nth(1)
            .unwrap()
            .split("# These are Python's only")
            .next()
            .unwrap();
        let titles: Vec<&str> = titles.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert!(titles.len() > 10, "{titles:?}");
        for title in titles {
            let known = CODES.iter().any(|(code, _, of)| title == format!("\"{code}\": \"{of}\","));
            assert!(known, "{title}");
        }
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

/// Blocks that are only shown.
mod shown {
    use super::*;

    enum Shown {
        /// By a test here.
        Run,
        /// No command: settings, an address, code of another language.
        Text,
        /// Not by a test here, for this reason.
        Not(&'static str),
    }
    use Shown::{Not, Run, Text};

    const BUILDS: &str = "it builds for minutes; `.ci/run` runs `make check` and `make test`";
    const REGISTRY: &str = "it fetches from a registry; scripts/test-typescript.sh builds the same package";
    const WHEEL: &str =
        "it builds for minutes; test_packages.py packs a wheel of what is compiled, and installs it so";
    const STANDIN: &str =
        "it builds for minutes; the Python package's tests start the stand-in, and use what it prints";
    const DOCKER: &str = "it needs Docker; what is in the image is tested by tests/deploy/image.rs";

    /// Document, beginning of the block, and what becomes of it.
    const BLOCKS: &[(&str, &str, Shown)] = &[
        ("CONTRIBUTING.md", "make run", Not(BUILDS)),
        ("CONTRIBUTING.md", "cargo test -p keyfold", Not(BUILDS)),
        ("README.md", "make run", Not(BUILDS)),
        ("clients/typescript/README.md", "npm --prefix", Not(REGISTRY)),
        ("docs/audit.md", "SELECT at, actor", Run),
        ("docs/clients.md", "https://", Text),
        (
            "docs/deletion.md",
            "CLERK_SECRET_KEY=",
            Not("it asks Clerk; tests/cli/deletion.rs runs it against a double"),
        ),
        ("docs/deletion.md", "17 4 * * *", Text),
        ("docs/deployment.md", "deploy/make-secrets.sh", Not(DOCKER)),
        ("docs/deployment.md", "docker compose", Not(DOCKER)),
        ("docs/from-alwrity.md", "KEYFOLD_ONBOARDING=", Run),
        ("docs/from-alwrity.md", "from keyfold import *", Not("test_architecture.py runs it")),
        ("docs/from-alwrity.md", "keyfold doctor --scan backend", Run),
        ("docs/from-alwrity.md", "# before", Text),
        ("docs/from-alwrity.md", "# after", Not("test_architecture.py runs it")),
        ("docs/from-alwrity.md", "keyfold run --user user_xxx", Run),
        ("docs/local-mode.md", "make run", Not(BUILDS)),
        ("docs/local-mode.md", "cd my-project", Not("every document here is run with such a start")),
        ("docs/local-mode.md", "keyfold keys set gemini", Run),
        ("docs/local-mode.md", "cargo run --release -p keyfold-standin", Not(STANDIN)),
        ("docs/local-mode.md", "set -a", Not(STANDIN)),
        ("docs/master-key.md", "keyfold master-key rotate", Run),
        ("docs/migration-env.md", "keyfold doctor --scan .", Run),
        ("docs/migration-env.md", "keyfold promote", Run),
        ("docs/migration.md", "SELECT id, session_id", Run),
        ("docs/migration.md", "keyfold migrate decrypt", Run),
        ("docs/operations.md", "SELECT user_id, provider, key", Run),
        ("docs/operations.md", "SELECT user_id, current_step", Run),
        ("docs/page.md", "cd frontend", Not("it needs what npm fetches; scripts/test-page.sh does it")),
        ("docs/performance.md", "make bench-gateway", Not("it measures for ten minutes")),
        ("docs/providers.md", "KEYFOLD_PROVIDER_OPENAI_BASE_URL=", Text),
        ("docs/providers.md", "KEYFOLD_PROVIDERS_FILE names", Text),
        ("docs/python.md", "make python", Not(WHEEL)),
        ("docs/python.md", "pip install", Not(WHEEL)),
        ("docs/quick-start.md", "make run", Not(BUILDS)),
        ("docs/quick-start.md", "OpenAI(", Text),
        ("docs/rate-limits.md", "REDIS_URL=", Text),
        ("docs/rate-limits.md", "ACL SETUSER", Text),
        ("docs/settings.md", "port = 8001", Text),
        ("docs/sign-in.md", "CLERK_PUBLISHABLE_KEY=", Text),
        ("docs/sign-in.md", "KEYFOLD_AUTH_ISSUER=", Text),
        ("docs/sign-in.md", "cargo run -p keyfold-standin", Not(STANDIN)),
        ("docs/typescript.md", "npm --prefix", Not(REGISTRY)),
        ("docs/walk-throughs.md", "DEBUG=true", Text),
        ("docs/why-not-the-environment.md", "make leak-demo", Not("tests/leak_demo.rs is what it runs")),
    ];

    #[test]
    fn of_every_block_it_is_known_what_becomes_of_it() {
        let mut found = BTreeSet::new();
        // What is indented in ARCHITECTURE.md are pictures.
        for document in documents().iter().filter(|document| !document.ends_with("ARCHITECTURE.md")) {
            let name = document.strip_prefix(root()).unwrap().display().to_string();
            for block in blocks(&read(document)) {
                let known = BLOCKS.iter().position(|(of, begin, _)| *of == name && block.starts_with(begin));
                let known = known.unwrap_or_else(|| {
                    panic!("{name}: say in shown::BLOCKS what becomes of this block, or begin it with ```sh run\n{block}")
                });
                if let Not(reason) = BLOCKS[known].2 {
                    println!("not run: {name}: {block}\n    {reason}");
                }
                found.insert(known);
            }
        }
        for (number, (document, begin, _)) in BLOCKS.iter().enumerate() {
            assert!(found.contains(&number), "{document} has no block that begins with {begin}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_of_local_mode_work() {
        let standin = Standin::start().await;
        blocking(move || {
            let serve = block("docs/from-alwrity.md", "KEYFOLD_ONBOARDING=");
            let example = Example::start_by(&standin, local(), &serve, |project| {
                fs::create_dir(project.join("backend")).unwrap();
                fs::write(project.join("backend/old.py"), "import os\nkey = os.getenv('GEMINI_API_KEY')\n")
                    .unwrap();
            });
            example.run(
                "curl http://127.0.0.1:8000/api/onboarding/config | grep '\"total_steps\":6'",
                "alwrity",
            );
            let scan = block("docs/from-alwrity.md", "keyfold doctor --scan backend");
            example.run(
                &format!("{scan} > found\ngrep -F old.py found\ngrep -F \"keys.get('gemini')\" found"),
                "scan",
            );
            let set = block("docs/local-mode.md", "keyfold keys set gemini");
            example.run(&format!("echo YOUR_GEMINI_KEY | {set}"), "set");
            example.run("grep -x GEMINI_API_KEY=YOUR_GEMINI_KEY backend/.env", "set");

            let mut example = Example::start(&standin, local());
            example.run(&block("docs/migration-env.md", "keyfold doctor --scan ."), "scan");
            example.run("echo YOUR_GEMINI_KEY | keyfold keys set gemini", "set");
            example.stop();
            example.run(&block("docs/master-key.md", "keyfold master-key rotate"), "rotate");
            example.run("ls .keyfold/master.key.replaced-*\nkeyfold keys list | grep valid", "rotated");
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn promote_brings_a_developers_keys_to_production() {
        let (standin, there) = (Standin::start().await, production().await);
        blocking(move || {
            let token = there.iter().find(|(name, _)| name == "TOKEN_A").unwrap().1.clone();
            let (there, here) = (Example::start(&standin, there), Example::start(&standin, local()));
            here.run("echo YOUR_GEMINI_KEY | keyfold keys set gemini", "set");
            fs::write(here.folder.path().join("project/token"), token).unwrap();
            let promote = block("docs/migration-env.md", "keyfold promote");
            assert_eq!(promote.matches("--token-stdin").count(), 2, "{promote}");
            // Nobody is there to be asked.
            let promote = promote.replace("--token-stdin", "--token-stdin --yes");
            here.run(&promote.replace("https://keys.example.com", &there.url), "promote");
            let ask = "curl http://127.0.0.1:8000/api/keys -H \"Authorization: Bearer $TOKEN_A\"";
            there.run(&format!("{ask} | grep '\"provider\":\"gemini\"'"), "promoted");
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_of_production_work() {
        let (standin, production) = (Standin::start().await, production().await);
        blocking(move || {
            let mut example = Example::start(&standin, production);
            example.run("echo YOUR_GEMINI_KEY | keyfold keys set gemini --user user_xxx", "set");
            let scripts = example.folder.path().join("project/scripts");
            fs::create_dir(&scripts).unwrap();
            let nightly = "import os\nopen('seen', 'w').write(os.environ['GEMINI_API_KEY'])\n";
            fs::write(scripts.join("nightly.py"), nightly).unwrap();
            let run = block("docs/from-alwrity.md", "keyfold run --user user_xxx");
            example.run(&run.replace("-- python ", "-- python3 "), "run");
            example.run("test \"$(cat seen)\" = YOUR_GEMINI_KEY", "run");
            for (document, begin, rows) in [
                ("docs/audit.md", "SELECT at, actor", 2..100),
                ("docs/operations.md", "SELECT user_id, provider, key", 1..2),
                ("docs/operations.md", "SELECT user_id, current_step", 1..2),
                ("docs/migration.md", "SELECT id, session_id", 0..1),
            ] {
                fs::write(example.folder.path().join("project/query.sql"), block(document, begin)).unwrap();
                let query =
                    "psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -At -f query.sql > rows\nwc -l < rows > count";
                example.run(query, document);
                let count = read(&example.folder.path().join("project/count")).trim().parse().unwrap();
                assert!(rows.contains(&count), "{document}: {begin}: {count} rows");
            }
            example.stop();
            example.run(&block("docs/migration.md", "keyfold migrate decrypt"), "decrypt");
            example.run(
                "psql \"$DATABASE_URL\" -At -c 'SELECT key FROM api_keys' | grep -x YOUR_GEMINI_KEY",
                "decrypt",
            );
        })
        .await;
    }

    async fn blocking(work: impl FnOnce() + Send + 'static) {
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    fn local() -> Vec<(String, String)> {
        vec![("DEBUG".into(), "true".into())]
    }

    /// One that a test here runs.
    #[track_caller]
    fn block(document: &str, begin: &str) -> String {
        let listed = BLOCKS.iter().find(|(of, begins, _)| *of == document && *begins == begin);
        assert!(matches!(listed, Some((.., Run))), "{document}: {begin}");
        let found = blocks(&read(&root().join(document))).into_iter().find(|block| block.starts_with(begin));
        found.unwrap_or_else(|| panic!("{document} has no block that begins with {begin}"))
    }

    /// What is indented, and what stands in ```` ```sh ````.
    fn blocks(text: &str) -> Vec<String> {
        let mut blocks: Vec<String> = runnable(text, "sh").into_iter().map(|(_, block)| block).collect();
        let (mut is_fenced, mut before) = (false, "");
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                is_fenced = !is_fenced;
            } else if let (false, Some(code)) = (is_fenced, line.strip_prefix("    ")) {
                if before.starts_with("    ") {
                    let block = blocks.last_mut().unwrap();
                    block.push('\n');
                    block.push_str(code);
                } else if before.trim().is_empty() {
                    blocks.push(code.to_owned());
                }
            }
            before = line;
        }
        blocks
    }
}

/// The settings of production, and tokens of three users.
async fn production() -> Vec<(String, String)> {
    // It answers as long as the test that asked for it runs.
    let issuer = Box::leak(Box::new(Issuer::start().await));
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
        Self::start_by(standin, mode, "keyfold serve", |_| {})
    }

    /// Served by this command, in a folder that was prepared.
    fn start_by(
        standin: &Standin,
        mode: Vec<(String, String)>,
        serve: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
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
        prepare(&folder.path().join("project"));
        // In the shell's place, so that it ends with this test.
        let mut serving = Command::new("sh")
            .args(["-c", &format!("exec env {serve}")])
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

    fn stop(&mut self) {
        let _ = self.serving.kill();
        let _ = self.serving.wait();
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
        self.stop();
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

//! The Rust library as a service uses it: opening it, a user's keys, and everything that stops a start.
//!
//! Some tests need another process or user. They run this binary again with one of the helpers at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]
#![expect(clippy::disallowed_methods, reason = "a test looks at the keys that come out")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use keyfold::clock::{NoRandomness, Random, SystemRandom};
use keyfold::envelope::MasterKey;
use keyfold::keys::{KeySource, KeyStatus};
use keyfold::secret::ApiKey;
use keyfold::settings::{Problems, Sources};
use keyfold::{Environment, Error, Keyfold, Parts, Settings};
use keyfold_standin::{Standin, example_key, example_key_with};
use rusqlite::Connection;
use tempfile::TempDir;

const NOBODY: u32 = 65534;

type Variables<'a> = &'a [(&'a str, &'a str)];

async fn open(dir: &Path, variables: Variables<'_>) -> Result<Keyfold, Error> {
    Keyfold::open_with(variables.iter().copied().collect(), dir).await
}

/// Opens local mode and closes it again, so that the folder is as after a run.
async fn start_once(dir: &Path) {
    open(dir, &[]).await.unwrap().close().await;
}

/// The error of an opening that must not succeed.
#[track_caller]
fn refusal(opened: Result<Keyfold, Error>) -> Error {
    opened.err().expect("this must not open")
}

#[track_caller]
fn assert_refused(opened: Result<Keyfold, Error>, code: &str, parts: &[&str]) {
    let error = refusal(opened);
    assert_eq!(error.code(), code, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}

async fn key_of(keyfold: &Keyfold, user: &str, provider: &str) -> Result<String, Error> {
    Ok(keyfold.user_api_keys(user).await?.get(provider)?.expose().to_owned())
}

async fn save(keyfold: &Keyfold, provider: &str, key: &str) -> Result<keyfold::keys::Saved, Error> {
    let keys = keyfold.user_api_keys("local").await?;
    keys.save(&keyfold.provider(provider)?, ApiKey::parse(key).unwrap()).await
}

fn address_of_gemini(standin: &Standin) -> String {
    standin.base_url("gemini")
}

fn new_master_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join(".keyfold/keyfold.db")).unwrap()
}

fn names_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

mod using_it {
    use super::*;

    #[tokio::test]
    async fn a_users_keys_come_from_the_env_file_as_it_is_now() {
        let dir = TempDir::new().unwrap();
        let keyfold = open(dir.path(), &[("EXA_API_KEY", "from-the-process")]).await.unwrap();
        let keys = keyfold.user_api_keys("local").await.unwrap();
        let get = |provider| keys.get(provider).map(|key| key.expose().to_owned());
        assert_eq!(get("exa").unwrap(), "from-the-process");
        assert_eq!(get("gemini").unwrap_err().code(), "no_api_key");
        for key in ["AIza-one-test-key", "AIza-two-test-key"] {
            fs::write(dir.path().join(".env"), format!("GEMINI_API_KEY='{key}'\nEXA_API_KEY=hidden-one\n"))
                .unwrap();
            // The same context sees it, and a new one.
            assert_eq!(get("gemini").unwrap(), key);
            assert_eq!(key_of(&keyfold, "local", "gemini").await.unwrap(), key);
            assert_eq!(get("exa").unwrap(), "from-the-process");
        }
        let sources: Vec<_> =
            keys.list().unwrap().into_iter().map(|key| (key.provider.to_string(), key.source)).collect();
        let expected =
            [("exa".to_owned(), KeySource::Environment), ("gemini".to_owned(), KeySource::EnvFile)];
        assert_eq!(sources, expected);
        assert_eq!(format!("{keys:?}"), "UserApiKeys(local)");
    }

    #[tokio::test]
    async fn a_missing_key_says_what_to_do() {
        let dir = TempDir::new().unwrap();
        // A placeholder, as in a copied `.env.example`, is no key.
        for content in
            ["", "GEMINI_API_KEY=\n", "GEMINI_API_KEY=your_gemini_api_key_here\n", "GEMINI_API_KEY\n"]
        {
            fs::write(dir.path().join(".env"), content).unwrap();
            let keyfold = open(dir.path(), &[("GEMINI_API_KEY", "<your key>")]).await.unwrap();
            let error = key_of(&keyfold, "local", "gemini").await.unwrap_err();
            assert!(
                matches!(&error, Error::NoApiKey { provider, .. } if provider.as_str() == "gemini"),
                "{error:?}"
            );
            assert_eq!(error.code(), "no_api_key");
            let (text, file) = (error.to_string(), dir.path().join(".env").display().to_string());
            for part in ["Google Gemini", "GEMINI_API_KEY", &file, "https://aistudio.google.com"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }

    #[tokio::test]
    async fn an_unknown_provider_is_answered_with_the_known_ones() {
        let dir = TempDir::new().unwrap();
        let keyfold = open(dir.path(), &[]).await.unwrap();
        for id in ["nosuch", "", "Gemini", "../gemini", "gemini "] {
            let error = key_of(&keyfold, "local", id).await.unwrap_err();
            assert_eq!(error.code(), "unknown_provider", "{id:?}");
            assert!(error.to_string().contains("gemini") && error.to_string().contains("exa"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_user_id_must_be_one() {
        let dir = TempDir::new().unwrap();
        let keyfold = open(dir.path(), &[]).await.unwrap();
        for id in ["", "a\0b", "a\nb", &"u".repeat(256)] {
            let error = keyfold.user_api_keys(id).await.unwrap_err();
            assert_eq!(error.code(), "invalid_request", "{id:?}");
            assert!(error.to_string().contains("user_id"), "{error}");
        }
        assert!(keyfold.user_api_keys(&"ü".repeat(255)).await.is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_a_key_is_unreadable_and_not_shown() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(".env"), "# one\nGEMINI_API_KEY='in two S3CR3T words'\n").unwrap();
        let keyfold = open(dir.path(), &[("EXA_API_KEY", "S3CR3T$x")]).await.unwrap();
        let error = key_of(&keyfold, "local", "gemini").await.unwrap_err();
        assert_eq!(error.code(), "key_unreadable");
        assert!(error.to_string().contains("line 2") && !error.to_string().contains("S3CR3T"), "{error}");
        let error = key_of(&keyfold, "local", "exa").await.unwrap_err();
        assert_eq!(error.code(), "key_unreadable");
        assert!(
            error.to_string().contains("EXA_API_KEY") && !error.to_string().contains("S3CR3T"),
            "{error}"
        );
        let keys = keyfold.user_api_keys("local").await.unwrap();
        assert!(keys.list().unwrap().iter().all(|key| key.status == KeyStatus::Unreadable));
        assert!(!format!("{:?}", keys.list().unwrap()).contains("S3CR3T"));
    }

    #[tokio::test]
    async fn a_file_that_breaks_meanwhile_is_an_error_with_its_line() {
        let dir = TempDir::new().unwrap();
        let keyfold = open(dir.path(), &[]).await.unwrap();
        let keys = keyfold.user_api_keys("local").await.unwrap();
        fs::write(dir.path().join(".env"), "A=1\nGEMINI_API_KEY=\"S3CR3T\n").unwrap();
        for error in [keys.get("gemini").err().unwrap(), keys.list().unwrap_err()] {
            assert_eq!(error.code(), "env_file_error");
            assert!(error.to_string().contains("line 2") && !error.to_string().contains("S3CR3T"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_saved_key_is_there_after_a_restart() {
        let (dir, standin) = (TempDir::new().unwrap(), Standin::start().await);
        let address = address_of_gemini(&standin);
        let variables = [("KEYFOLD_PROVIDER_GEMINI_BASE_URL", address.as_str())];
        let key = example_key("gemini", 1);
        let keyfold = open(dir.path(), &variables).await.unwrap();
        let saved = save(&keyfold, "gemini", &key).await.unwrap();
        assert!(saved.is_new && saved.warnings.is_empty(), "{saved:?}");
        keyfold.close().await;
        let keyfold = open(dir.path(), &[]).await.unwrap();
        assert_eq!(key_of(&keyfold, "local", "gemini").await.unwrap(), key);
        let keys = keyfold.user_api_keys("local").await.unwrap();
        let record = keys.list().unwrap().remove(0);
        assert_eq!((record.status, record.version), (KeyStatus::Valid, Some(1)));
        // In the database it stands sealed.
        keyfold.close().await;
        let sealed: String =
            database(dir.path()).query_row("SELECT key FROM api_keys", [], |row| row.get(0)).unwrap();
        assert!(sealed.starts_with("kf1.") && !sealed.contains(&key));
    }

    #[tokio::test]
    async fn a_rejected_key_changes_nothing() {
        let (dir, standin) = (TempDir::new().unwrap(), Standin::start().await);
        let address = address_of_gemini(&standin);
        let keyfold = open(dir.path(), &[("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &address)]).await.unwrap();
        let (good, bad) = (example_key("gemini", 1), example_key_with("gemini", "INVALID"));
        save(&keyfold, "gemini", &good).await.unwrap();
        let error = save(&keyfold, "gemini", &bad).await.unwrap_err();
        assert_eq!(error.code(), "key_rejected");
        assert!(
            error.to_string().contains("https://aistudio.google.com") && !error.to_string().contains(&bad)
        );
        assert_eq!(key_of(&keyfold, "local", "gemini").await.unwrap(), good);
    }

    #[test]
    fn from_env_takes_the_process_and_its_folder() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(".env"), "GEMINI_API_KEY=AIza-from-the-file\n").unwrap();
        let helper = |variables: Variables<'_>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env_clear().envs(variables.iter().copied()).current_dir(dir.path());
            run(helper(&mut command, "helper_from_env", dir.path()))
        };
        passed(&helper(&[("EXA_API_KEY", "from-the-process")]));
        let refused = helper(&[("DEPLOY_ENV", "render"), ("EXPECT", "invalid_settings")]);
        passed(&refused);
        let text = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(text.contains("DATABASE_URL") && text.contains("KEYFOLD_MASTER_KEY"), "{text}");
    }
}

mod the_state_directory {
    use super::*;

    #[tokio::test]
    async fn is_private_and_kept_out_of_git() {
        let dir = TempDir::new().unwrap();
        let keyfold = open(dir.path(), &[]).await.unwrap();
        let state = dir.path().join(".keyfold");
        assert_eq!(mode(&state), 0o700);
        assert_eq!(fs::read_to_string(state.join(".gitignore")).unwrap(), "*\n");
        for name in names_in(&state).iter().filter(|name| *name != ".gitignore") {
            let path = state.join(name);
            assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{name}");
        }
        for file in ["master.key", "keyfold.db"] {
            assert!(state.join(file).is_file(), "{file}");
        }
        keyfold.close().await;
        // Nothing is left behind but these, and nothing waits in the spool.
        assert_eq!(names_in(&state.join("spool")), [""; 0]);
        assert_eq!(names_in(&state), [".gitignore", "keyfold.db", "master.key", "spool"]);
        MasterKey::parse(&fs::read_to_string(state.join("master.key")).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn one_that_others_may_enter_is_closed_and_its_files_stay() {
        let dir = TempDir::new().unwrap();
        let state = dir.path().join("deep/er");
        fs::create_dir_all(&state).unwrap();
        set_mode(&state, 0o755);
        fs::write(state.join(".gitignore"), "mine\n").unwrap();
        open(dir.path(), &[("KEYFOLD_STATE_DIR", "deep/er")]).await.unwrap().close().await;
        assert_eq!(mode(&state), 0o700);
        assert_eq!(fs::read_to_string(state.join(".gitignore")).unwrap(), "mine\n");
    }

    #[tokio::test]
    async fn a_folder_with_other_things_in_it_keeps_its_mode_and_its_place_in_git() {
        let dir = TempDir::new().unwrap();
        set_mode(dir.path(), 0o755);
        fs::write(dir.path().join("main.py"), "").unwrap();
        for _ in 0..2 {
            open(dir.path(), &[("KEYFOLD_STATE_DIR", ".")]).await.unwrap().close().await;
            assert_eq!(mode(dir.path()), 0o755);
            // What Keyfold puts there is private by itself.
            assert_eq!(names_in(dir.path()), ["keyfold.db", "main.py", "master.key", "spool"]);
            for file in ["keyfold.db", "master.key"] {
                assert_eq!(mode(&dir.path().join(file)), 0o600);
            }
            assert_eq!(mode(&dir.path().join("spool")), 0o700);
        }
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_named() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(".keyfold"), "").unwrap();
        let path = dir.path().join(".keyfold").display().to_string();
        assert_refused(open(dir.path(), &[]).await, "state_directory_error", &[&path, "KEYFOLD_STATE_DIR"]);
    }

    /// Randomness of a start that is overtaken: when it makes its master key, another has just put its own down.
    struct Overtaken {
        file: PathBuf,
        others: String,
    }

    impl Random for Overtaken {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
            if !self.file.exists() {
                fs::write(&self.file, &self.others).unwrap();
                set_mode(&self.file, 0o600);
            }
            SystemRandom.fill(bytes)
        }
    }

    #[tokio::test]
    async fn a_first_start_that_is_overtaken_takes_the_others_master_key() {
        let dir = TempDir::new().unwrap();
        let overtaken = Overtaken { file: dir.path().join(".keyfold/master.key"), others: new_master_key() };
        let (file, others) = (overtaken.file.clone(), overtaken.others.clone());
        let sources = Sources::load([("DEBUG", "true")].into_iter().collect(), dir.path()).unwrap();
        let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
        let parts = Parts { random: Arc::new(overtaken), ..Parts::default() };
        Keyfold::open(&settings, Environment::default(), parts).await.unwrap().close().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), others);
        assert_eq!(
            names_in(&dir.path().join(".keyfold")),
            [".gitignore", "keyfold.db", "master.key", "spool"]
        );
        // The database was encrypted with it.
        start_once(dir.path()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn many_first_starts_at_once_share_one_master_key() {
        let dir = TempDir::new().unwrap();
        let opening = (0..8).map(|_| {
            let dir = dir.path().to_owned();
            tokio::spawn(async move { open(&dir, &[]).await.unwrap() })
        });
        let mut all = vec![];
        for opened in opening.collect::<Vec<_>>() {
            all.push(opened.await.unwrap());
        }
        fs::write(dir.path().join(".env"), "GEMINI_API_KEY=AIza-one-test-key\n").unwrap();
        for keyfold in &all {
            assert_eq!(key_of(keyfold, "local", "gemini").await.unwrap(), "AIza-one-test-key");
        }
        for keyfold in all {
            keyfold.close().await;
        }
        assert_eq!(
            names_in(&dir.path().join(".keyfold")),
            [".gitignore", "keyfold.db", "master.key", "spool"]
        );
        start_once(dir.path()).await;
    }

    #[tokio::test]
    async fn two_that_are_open_see_each_others_keys() {
        let (dir, standin) = (TempDir::new().unwrap(), Standin::start().await);
        let address = address_of_gemini(&standin);
        let variables = [("KEYFOLD_PROVIDER_GEMINI_BASE_URL", address.as_str())];
        let (one, other) =
            (open(dir.path(), &variables).await.unwrap(), open(dir.path(), &variables).await.unwrap());
        for (n, (writer, reader)) in [(&one, &other), (&other, &one), (&one, &other)].into_iter().enumerate()
        {
            let key = example_key("gemini", u32::try_from(n).unwrap());
            let saved = save(writer, "gemini", &key).await.unwrap();
            assert_eq!(saved.record.version, Some(i64::try_from(n).unwrap() + 1));
            assert_eq!(key_of(reader, "local", "gemini").await.unwrap(), key);
            let keys = reader.user_api_keys("local").await.unwrap();
            // Known by its stored version, so its seal opens there too.
            assert_eq!(keys.list().unwrap()[0].version, saved.record.version);
        }
        // A context from before another's change does not overwrite it.
        let stale = other.user_api_keys("local").await.unwrap();
        save(&one, "gemini", &example_key("gemini", 7)).await.unwrap();
        let provider = other.provider("gemini").unwrap();
        let error =
            stale.save(&provider, ApiKey::parse(&example_key("gemini", 8)).unwrap()).await.unwrap_err();
        assert_eq!(error.code(), "conflict");
        assert_eq!(key_of(&one, "local", "gemini").await.unwrap(), example_key("gemini", 7));
    }

    #[test]
    fn an_ordinary_user_without_the_right_to_write_is_told() {
        let directory = TempDir::new().unwrap();
        set_mode(directory.path(), 0o755);
        let binary = directory.path().join("test");
        // By another process: a program that is open for writing, be it in a child that a test forks meanwhile, cannot be run.
        let program = std::env::current_exe().unwrap();
        assert!(Command::new("cp").arg(program).arg(&binary).status().unwrap().success());
        let work = directory.path().join("work");
        fs::create_dir(&work).unwrap();
        let mut command = Command::new("setpriv");
        if fs::metadata(&work).unwrap().uid() == 0 {
            // Somebody else's state directory.
            fs::create_dir_all(work.join("foreign/.keyfold")).unwrap();
            set_mode(&work.join("foreign/.keyfold"), 0o700);
            chown(&work, Some(NOBODY), Some(NOBODY)).unwrap();
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        } else {
            command = Command::new(binary);
        }
        passed(&run(helper(&mut command, "helper_without_the_right_to_write", &work)));
    }
}

mod the_master_key {
    use super::*;

    #[tokio::test]
    async fn a_wrong_one_is_found_at_start() {
        let (dir, standin) = (TempDir::new().unwrap(), Standin::start().await);
        let address = address_of_gemini(&standin);
        let (right, wrong) = (new_master_key(), new_master_key());
        let variables =
            [("KEYFOLD_PROVIDER_GEMINI_BASE_URL", address.as_str()), ("KEYFOLD_MASTER_KEY", &right)];
        let keyfold = open(dir.path(), &variables).await.unwrap();
        save(&keyfold, "gemini", &example_key("gemini", 1)).await.unwrap();
        keyfold.close().await;
        assert!(!dir.path().join(".keyfold/master.key").exists(), "a given key is not written down");

        let id = |key: &str| MasterKey::parse(key).unwrap().id().to_string();
        let parts = [&id(&right), &id(&wrong), "KEYFOLD_OTHER_MASTER_KEYS"];
        let opened = open(dir.path(), &[("KEYFOLD_MASTER_KEY", &wrong)]).await;
        let error = refusal(opened);
        assert_eq!(error.code(), "master_key_unavailable");
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert!(!error.to_string().contains(&wrong) && !error.to_string().contains(&right));

        // With the right one among the others everything opens.
        let both = [("KEYFOLD_MASTER_KEY", wrong.as_str()), ("KEYFOLD_OTHER_MASTER_KEYS", &right)];
        let keyfold = open(dir.path(), &both).await.unwrap();
        let keys = keyfold.user_api_keys("local").await.unwrap();
        assert_eq!(keys.list().unwrap()[0].version, Some(1));
        keyfold.close().await;
        // No key given at all: one made now could open nothing.
        let (code, parts) = ("master_key_unavailable", ["master.key", "is gone", "KEYFOLD_MASTER_KEY"]);
        assert_refused(open(dir.path(), &[]).await, code, &parts);
        assert!(!dir.path().join(".keyfold/master.key").exists());
    }

    #[tokio::test]
    async fn a_lost_file_is_not_replaced() {
        let dir = TempDir::new().unwrap();
        start_once(dir.path()).await;
        let path = dir.path().join(".keyfold/master.key");
        let kept = dir.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        for _ in 0..2 {
            let parts = [path.to_str().unwrap(), "backup", "enter them again"];
            assert_refused(open(dir.path(), &[]).await, "master_key_unavailable", &parts);
            assert!(!path.exists());
        }
        // What the message says helps.
        let content = fs::read_to_string(&kept).unwrap();
        open(dir.path(), &[("KEYFOLD_MASTER_KEY", content.trim())]).await.unwrap().close().await;
        fs::rename(&kept, &path).unwrap();
        start_once(dir.path()).await;
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused() {
        let dir = TempDir::new().unwrap();
        start_once(dir.path()).await;
        let path = dir.path().join(".keyfold/master.key");
        for loose in [0o640, 0o604, 0o644, 0o660] {
            set_mode(&path, loose);
            let advice = format!("chmod 600 {}", path.display());
            assert_refused(open(dir.path(), &[]).await, "master_key_unavailable", &[&advice]);
        }
        for tight in [0o600, 0o400] {
            set_mode(&path, tight);
            start_once(dir.path()).await;
        }
    }

    #[tokio::test]
    async fn a_file_with_something_else_in_it_is_refused() {
        let dir = TempDir::new().unwrap();
        start_once(dir.path()).await;
        let path = dir.path().join(".keyfold/master.key");
        for content in
            ["", "S3CR3T\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", &new_master_key()[..20]]
        {
            fs::write(&path, content).unwrap();
            let error = refusal(open(dir.path(), &[]).await);
            assert_eq!(error.code(), "master_key_unavailable", "{content:?}");
            assert!(
                error.to_string().contains(path.to_str().unwrap()) && !error.to_string().contains("S3CR3T")
            );
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_refused(open(dir.path(), &[]).await, "master_key_unavailable", &[path.to_str().unwrap()]);
        // A good one, and not this database's.
        fs::write(&path, new_master_key()).unwrap();
        assert_refused(
            open(dir.path(), &[]).await,
            "master_key_unavailable",
            &["was encrypted with the master key"],
        );
    }

    #[tokio::test]
    async fn a_damaged_check_value_stops_the_start_in_clear_words() {
        const CHECK: &str = "WHERE name LIKE 'master_key_check_%'";
        let dir = TempDir::new().unwrap();
        start_once(dir.path()).await;
        let read = || -> String {
            let check = format!("SELECT sealed FROM root_secrets {CHECK}");
            database(dir.path()).query_row(&check, [], |row| row.get(0)).unwrap()
        };
        let write = |sealed: &str| {
            let change = format!("UPDATE root_secrets SET sealed = ?1 {CHECK}");
            database(dir.path()).execute(&change, [sealed]).unwrap();
        };
        let good = read();
        let mut flipped = good.clone().into_bytes();
        let last = flipped.len() - 10;
        flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).unwrap();
        for damaged in
            [flipped.as_str(), "", "kf1.", "kf1.AAAA", "kf2.AAAA", "plain text", &good[..good.len() - 4]]
        {
            write(damaged);
            assert_refused(open(dir.path(), &[]).await, "master_key_unavailable", &["damaged", "backup"]);
        }
        write(&good);
        start_once(dir.path()).await;
    }
}

mod the_database {
    use super::*;

    #[tokio::test]
    async fn of_a_later_version_is_left_alone() {
        let dir = TempDir::new().unwrap();
        start_once(dir.path()).await;
        database(dir.path())
            .execute("INSERT INTO keyfold_schema (version, name) VALUES (999, 'later')", [])
            .unwrap();
        let before = fs::read(dir.path().join(".keyfold/keyfold.db")).unwrap();
        assert_refused(
            open(dir.path(), &[]).await,
            "cannot_start",
            &["keyfold.db", "999", "at least as new"],
        );
        assert_eq!(fs::read(dir.path().join(".keyfold/keyfold.db")).unwrap(), before);
    }

    #[tokio::test]
    async fn of_another_program_is_left_alone() {
        for table in ["api_keys", "onboarding_sessions"] {
            let dir = TempDir::new().unwrap();
            let path = dir.path().join("other.db");
            let other = Connection::open(&path).unwrap();
            other
                .execute_batch(&format!(
                    "CREATE TABLE {table} (id INTEGER, key TEXT); INSERT INTO {table} VALUES (1, 'x')"
                ))
                .unwrap();
            drop(other);
            let variables = [("DATABASE_URL", "sqlite://other.db")];
            let parts = ["other.db", table, "DATABASE_URL"];
            assert_refused(open(dir.path(), &variables).await, "cannot_start", &parts);
            let other = Connection::open(&path).unwrap();
            let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(count(&format!("SELECT COUNT(*) FROM {table}")), 1);
            assert_eq!(
                count("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'"),
                1,
                "nothing was added"
            );
        }
        // Tables of other names do not matter.
        let dir = TempDir::new().unwrap();
        Connection::open(dir.path().join("other.db"))
            .unwrap()
            .execute_batch("CREATE TABLE notes (id)")
            .unwrap();
        open(dir.path(), &[("DATABASE_URL", "sqlite://other.db")]).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn that_is_none_is_left_alone() {
        let dir = TempDir::new().unwrap();
        let content = "not a database, but long enough to be taken for one ".repeat(40);
        fs::write(dir.path().join("notes.txt"), &content).unwrap();
        let opened = open(dir.path(), &[("DATABASE_URL", "sqlite://notes.txt")]).await;
        assert_refused(opened, "cannot_start", &["notes.txt"]);
        assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).unwrap(), content);
        for missing in ["sqlite://no/such/folder.db", "sqlite://."] {
            let opened = open(dir.path(), &[("DATABASE_URL", missing)]).await;
            assert_refused(opened, "cannot_start", &["The database"]);
        }
    }

    #[tokio::test]
    async fn without_its_postgresql_says_what_to_check() {
        let dir = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (url, key) = (format!("postgres://user:S3CR3T@127.0.0.1:{port}/db"), new_master_key());
        let url = ("DATABASE_URL", url.as_str());
        let production = [url, ("KEYFOLD_MASTER_KEY", key.as_str()), ("DEPLOY_ENV", "render")];
        for variables in [&production[..], &[url]] {
            let opened = open(dir.path(), variables).await;
            let error = refusal(opened).to_string();
            assert!(
                error.contains("PostgreSQL db on 127.0.0.1") && error.contains("DATABASE_URL"),
                "{error}"
            );
            assert!(!error.contains("S3CR3T"));
        }
        assert_eq!(names_in(dir.path()), Vec::<String>::new(), "nothing was made");
    }

    #[tokio::test]
    async fn settings_that_are_wrong_make_nothing() {
        let dir = TempDir::new().unwrap();
        let opened = open(dir.path(), &[("KEYFOLD_ONBOARDING", "x"), ("DATABASE_URL", "x")]).await;
        assert_refused(opened, "invalid_settings", &["KEYFOLD_ONBOARDING", "DATABASE_URL", "2 settings"]);
        assert_eq!(names_in(dir.path()), Vec::<String>::new());
    }
}

fn helper<'a>(command: &'a mut Command, name: &str, dir: &Path) -> &'a mut Command {
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("KEYFOLD_TEST_DIR", dir)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

#[track_caller]
fn passed(output: &Output) {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
}

/// What the starting test says; without it, a helper has nothing to do.
fn dir_from_the_test() -> Option<PathBuf> {
    std::env::var_os("KEYFOLD_TEST_DIR").map(PathBuf::from)
}

#[tokio::test]
#[ignore = "a helper that other tests start"]
async fn helper_from_env() {
    if dir_from_the_test().is_none() {
        return;
    }
    let opened = Keyfold::from_env().await;
    if let Ok(code) = std::env::var("EXPECT") {
        let error = refusal(opened);
        assert_eq!(error.code(), code);
        println!("{error}");
        return;
    }
    let keyfold = Arc::new(opened.unwrap());
    assert_eq!(key_of(&keyfold, "local", "gemini").await.unwrap(), "AIza-from-the-file");
    assert_eq!(key_of(&keyfold, "local", "exa").await.unwrap(), "from-the-process");
    assert!(Path::new(".keyfold/keyfold.db").exists());
}

#[tokio::test]
#[ignore = "a helper that other tests start"]
async fn helper_without_the_right_to_write() {
    let Some(dir) = dir_from_the_test() else { return };
    let refused = async |name: &str| {
        let path = dir.join(name).join(".keyfold").display().to_string();
        // The folder itself, or the database in it.
        let code = if name == "used" { "cannot_start" } else { "state_directory_error" };
        assert_refused(open(&dir.join(name), &[]).await, code, &[&path, "ermission denied"]);
    };
    fs::create_dir(dir.join("closed")).unwrap();
    set_mode(&dir.join("closed"), 0o555);
    refused("closed").await;
    assert_eq!(names_in(&dir.join("closed")), Vec::<String>::new());
    if dir.join("foreign").exists() {
        refused("foreign").await;
    }

    fs::create_dir(dir.join("used")).unwrap();
    start_once(&dir.join("used")).await;
    let state = dir.join("used/.keyfold");
    let database = state.join("keyfold.db");
    let before = fs::read(&database).unwrap();
    set_mode(&database, 0o400);
    refused("used").await;
    set_mode(&database, 0o600);
    set_mode(&state, 0o500);
    let path = database.display().to_string();
    assert_refused(open(&dir.join("used"), &[]).await, "cannot_start", &[&path, "permissions"]);
    set_mode(&state, 0o700);
    set_mode(&state.join("master.key"), 0o000);
    let opened = open(&dir.join("used"), &[]).await;
    assert_refused(opened, "master_key_unavailable", &["master.key", "ermission denied"]);
    assert_eq!(fs::read(&database).unwrap(), before);
    set_mode(&state.join("master.key"), 0o600);
    start_once(&dir.join("used")).await;

    // Without a place for the key's line nothing is saved anywhere.
    let standin = Standin::start().await;
    let address = address_of_gemini(&standin);
    let variables = [
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", address.as_str()),
        ("KEYFOLD_BACKEND_ENV_FILE", "../closed/.env"),
    ];
    let keyfold = open(&dir.join("used"), &variables).await.unwrap();
    let error = save(&keyfold, "gemini", &example_key("gemini", 1)).await.unwrap_err();
    assert_eq!(error.code(), "env_file_error");
    assert!(error.to_string().contains("closed/.env"), "{error}");
    assert_eq!(key_of(&keyfold, "local", "gemini").await.unwrap_err().code(), "no_api_key");
    keyfold.close().await;
    let count = rusqlite::Connection::open(&database).unwrap();
    let count: i64 = count.query_row("SELECT COUNT(*) FROM api_keys", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}

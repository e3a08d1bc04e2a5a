//! A process that is killed, a disk that is full, a folder that is read-only: nothing that was confirmed is lost,
//! and the old `.env` stays whole.

use std::fs;
use std::hint::spin_loop;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use keyfold::dotenv::EnvFile;
use keyfold_standin::example_key;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Answer, Folder, Server, gemini};

/// `sh -c` that starts the rest with a limit of file sizes, in blocks of 512 or (some shells) 1,024 bytes.
fn limited_to(blocks: u32) -> Vec<String> {
    ["sh", "-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"].map(str::to_owned).into()
}

fn serve_limited_to(folder: &Folder, blocks: u32) -> Server {
    let wrapper = limited_to(blocks);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    folder.keyfold_through(&wrapper, &["serve"]).serve()
}

/// Parses what stands on disk and returns the key in it.
fn key_in(env_file: &Path) -> String {
    EnvFile::read(env_file).unwrap().get("GEMINI_API_KEY").unwrap_or_default().to_owned()
}

/// What a client that saves keys one after the other knows.
#[derive(Default)]
struct Client {
    /// The number of the key that was last sent.
    sent: AtomicU32,
    /// The number of the key that was last confirmed.
    confirmed: AtomicU32,
    stop: AtomicBool,
}

impl Client {
    /// Saves ever new keys until the server is gone.
    fn save(&self, server: &Server) {
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let request = server.request("PUT", "/api/keys/gemini").json(&json!({ "key": gemini(n) }));
            let Some(answer) = Answer::to(request) else { return };
            assert!([200, 201].contains(&answer.status), "{answer:?}");
            self.confirmed.store(n, Ordering::SeqCst);
        }
    }
}

/// Waits for one of the points in the middle of a saving, a different one each round.
fn wait_for_a_point(round: u32, folder: &Folder, client: &Client) {
    let confirmed = || client.confirmed.load(Ordering::SeqCst);
    let first = confirmed() + 1 + round % 3;
    while confirmed() < first {
        thread::yield_now();
    }
    // If the point is missed, the saving after the next is as good.
    let missed = || confirmed() > first + 1;
    let size = |name: &str| fs::metadata(folder.path(name)).map_or(0, |metadata| metadata.len());
    match round % 5 {
        0 => {
            let requests = folder.standin.requests().len();
            while folder.standin.requests().len() == requests && !missed() {
                thread::yield_now();
            }
        }
        1 => {
            let is_temporary = |name: &str| name.starts_with(".env.keyfold-");
            let there = || {
                let names = fs::read_dir(&folder.root).unwrap().map(|entry| entry.unwrap().file_name());
                names.into_iter().any(|name| name.to_str().is_some_and(is_temporary))
            };
            while !there() && !missed() {}
        }
        2 => {
            let before = folder.read(".env");
            while folder.read(".env") == before && !missed() {}
        }
        3 => {
            let before = size(".keyfold/keyfold.db-wal");
            while size(".keyfold/keyfold.db-wal") == before && !missed() {}
        }
        _ => {}
    }
    for _ in 0..(round * 7_919 % 97) * 1_000 {
        spin_loop();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_last_confirmed_key_or_the_one_under_way() {
    let folder = Folder::new();
    let client = Client::default();
    let others = format!("# mine\nOTHER='stays'\n{}", "# a line of the file\n".repeat(200));
    folder.write(".env", &others);
    let env_file = folder.path(".env");
    let (mut confirmed, mut under_way) = (0, 0);
    for round in 0..30 {
        let server = folder.serve();
        let failed = Mutex::new(false);
        thread::scope(|scope| {
            let saving = scope.spawn(|| client.save(&server));
            wait_for_a_point(round, &folder, &client);
            server.signal(Signal::KILL);
            *failed.lock().unwrap() = saving.join().is_err();
        });
        assert!(!failed.into_inner().unwrap(), "a saving was refused");
        assert_eq!(server.end().signal(), Some(9));

        let (last, sent) = (client.confirmed.load(Ordering::SeqCst), client.sent.load(Ordering::SeqCst));
        let key = key_in(&env_file);
        assert!(key == gemini(last) || key == gemini(sent), "round {round}: neither {last} nor {sent}");
        if key == gemini(last) {
            confirmed += 1;
        } else {
            under_way += 1;
        }
        assert_eq!(folder.read(".env"), format!("{others}GEMINI_API_KEY={key}\n"), "round {round}");

        let server = folder.serve();
        let listed = server.listed("gemini");
        assert_eq!(listed["masked"], format!("****{}", &key[key.len() - 4..]), "round {round}: {listed}");
        // One that was written and not yet confirmed counts as entered by hand.
        assert!(
            ["valid", "unverified"].contains(&listed["status"].as_str().unwrap()),
            "round {round}: {listed}"
        );
        assert!(server.get("/api/keys").body["keys"].as_array().unwrap().len() == 1);
        server.signal(Signal::KILL);
        server.end();
        folder.standin.clear();
        client.sent.store(sent.max(last), Ordering::SeqCst);
    }
    assert!(confirmed > 0 && under_way > 0, "always the same: {confirmed} confirmed, {under_way} under way");

    // What the killed ones left behind is gone after the next saving.
    folder.has_key("gemini", &gemini(9_999));
    let rest =
        [".env", ".keyfold/.gitignore", ".keyfold/keyfold.db", ".keyfold/master.key", ".keyfold/serve.lock"];
    assert_eq!(folder.files(), rest);
    assert_eq!(folder.listed("gemini")["status"], "valid");
}

#[test]
fn a_kill_during_a_first_start_does_not_spoil_the_next() {
    for round in 0..10 {
        let folder = Folder::new();
        let mut process = folder.keyfold(&["serve"]).spawn();
        // One more file each round, until all are there.
        let files = [
            ".keyfold",
            ".keyfold/.gitignore",
            ".keyfold/serve.lock",
            ".keyfold/keyfold.db",
            ".keyfold/keyfold.db-wal",
            ".keyfold/master.key",
        ];
        let file = folder.path(files[round % files.len()]);
        while !file.exists() && !process.has_ended() {}
        for _ in 0..round * 20_000 {
            spin_loop();
        }
        process.signal(Signal::KILL);
        assert_eq!(process.end().signal(), Some(9));
        let server = folder.serve();
        assert_eq!(server.put_key("gemini", &gemini(1)).status, 201, "round {round}");
        assert_eq!(folder.read(".keyfold/.gitignore"), "*\n", "round {round}");
        for file in [".keyfold/master.key", ".keyfold/keyfold.db"] {
            assert_eq!(folder.mode(file), 0o600);
        }
        server.stop();
        assert_eq!(folder.listed("gemini")["status"], "valid");
    }
}

#[test]
fn no_room_for_the_env_file_leaves_the_old_one_and_the_old_key() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    // Larger than the limit, while everything else is smaller.
    let old = format!("{}{}", folder.read(".env"), format!("# {}\n", "x".repeat(98)).repeat(6_000));
    folder.write(".env", &old);
    let server = serve_limited_to(&folder, 512);
    let path = folder.path(".env").display().to_string();
    for n in [2, 3] {
        let detail = server.put_key("gemini", &gemini(n)).problem(500, "env_file_error");
        assert!(
            detail.contains(&path) && detail.contains("no room") && detail.contains("Nothing was changed"),
            "{detail}"
        );
        assert_eq!(folder.read(".env"), old);
        // The server lives, and nothing was half done.
        let listed = server.listed("gemini");
        assert_eq!((&listed["version"], &listed["status"]), (&json!(1), &json!("valid")), "{listed}");
        assert_eq!(server.get("/readyz").status, 200);
    }
    server.stop().does_not_tell(&gemini(2));
    assert!(folder.files_with(&gemini(2)).is_empty());
    assert_eq!(
        folder.files(),
        [".env", ".keyfold/.gitignore", ".keyfold/keyfold.db", ".keyfold/master.key", ".keyfold/serve.lock"]
    );

    let wrapper = limited_to(512);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let done = folder.keyfold_through(&wrapper, &["keys", "set", "gemini"]).stdin(&gemini(2)).run();
    done.refused_with(&[&path, "no room", "Nothing was changed"]);
    assert_eq!(folder.read(".env"), old);
    // With room it goes on.
    folder.has_key("gemini", &gemini(2));
    assert_eq!(folder.read(".env"), old.replace(&gemini(1), &gemini(2)));
}

#[test]
fn no_room_for_the_database_loses_nothing_that_was_confirmed() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let server = serve_limited_to(&folder, 256);
    // Its journal grows with every saving.
    let mut confirmed = 1;
    let refused = loop {
        assert!(confirmed < 200, "the limit has no effect");
        let answer = server.put_key("gemini", &gemini(confirmed + 1));
        if answer.status != 200 {
            break answer;
        }
        confirmed += 1;
    };
    let detail = refused.problem(503, "database_unavailable");
    assert!(detail.contains("Try again"), "{detail}");
    assert_eq!(key_in(&folder.path(".env")), gemini(confirmed));
    assert_eq!(server.get("/healthz").status, 200);
    let listed = server.listed("gemini");
    assert_eq!((&listed["version"], &listed["status"]), (&json!(confirmed), &json!("valid")), "{listed}");
    let answer = server.post("/api/generate", &json!({ "prompt": "Hello" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let log = server.stop();
    assert!(log.err.contains("database"), "{}", log.err);

    let server = folder.serve();
    assert_eq!(server.listed("gemini")["version"], confirmed);
    assert_eq!(server.put_key("gemini", &gemini(1_000)).status, 200);
    assert_eq!(server.listed("gemini")["version"], confirmed + 1);
    server.stop();
}

#[test]
fn no_room_at_a_first_start_is_told_and_the_next_one_works() {
    for blocks in [0, 1, 4, 16, 64] {
        let folder = Folder::new();
        folder.write(".env", "OTHER=1\n");
        let wrapper = limited_to(blocks);
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        for command in [&["serve"][..], &["keys", "list"], &["doctor"], &["run", "--", "true"]] {
            let done = folder.keyfold_through(&wrapper, command).refused_start();
            // Neither a signal nor a panic.
            let message = done.refused();
            assert!(!message.contains("fault of Keyfold's own"), "{blocks} {command:?}: {message}");
            let told = format!("{}{message}", done.out);
            assert!(
                told.contains(&folder.path(".keyfold").display().to_string()),
                "{blocks} {command:?}: {told}"
            );
        }
        let server = folder.serve();
        assert_eq!(server.put_key("gemini", &gemini(1)).status, 201);
        assert_eq!(folder.read(".env"), format!("OTHER=1\nGEMINI_API_KEY={}\n", gemini(1)));
        assert_eq!(folder.read(".keyfold/.gitignore"), "*\n", "{blocks}");
        server.stop();
        assert_eq!(folder.listed("gemini")["status"], "valid");
    }
}

#[test]
fn a_folder_that_is_read_only_is_told_and_keeps_its_files() {
    let folder = Folder::of_an_ordinary_user();
    let serve = || folder.keyfold(&["serve"]);
    // Nowhere to keep anything.
    folder.set_mode(".", 0o555);
    let state = folder.path(".keyfold").display().to_string();
    serve().refused_start().refused_with(&[&state, "ermission denied", "KEYFOLD_STATE_DIR"]);
    folder.set_mode(".", 0o755);

    // A place for the state, none for the `.env` file.
    folder.keyfold(&["keys", "list"]).run().ok();
    folder.write("project/.env", &format!("GEMINI_API_KEY={}\n", gemini(1)));
    folder.set_mode("project/.env", 0o666);
    folder.set_mode("project", 0o555);
    let server = serve().env("KEYFOLD_BACKEND_ENV_FILE", "project/.env").serve();
    let path = folder.path("project/.env").display().to_string();
    let detail = server.put_key("gemini", &gemini(2)).problem(500, "env_file_error");
    assert!(detail.contains(&path) && detail.contains("writable"), "{detail}");
    assert_eq!(folder.read("project/.env"), format!("GEMINI_API_KEY={}\n", gemini(1)));
    let listed = server.listed("gemini");
    assert_eq!(
        (&listed["version"], &listed["source"]),
        (&json!(null), &json!("env_file")),
        "nothing was saved: {listed}"
    );
    let answer = server.post("/api/generate", &json!({ "prompt": "Hello" }));
    assert_eq!(answer.status, 200, "the key that is there is used: {answer:?}");
    // Nor by removing it.
    let answer = Answer::to(server.request("DELETE", "/api/keys/gemini")).unwrap();
    answer.problem(500, "env_file_error");
    assert_eq!(folder.read("project/.env"), format!("GEMINI_API_KEY={}\n", gemini(1)));

    // Put right, it works without a restart.
    folder.set_mode("project", 0o777);
    assert_eq!(server.put_key("gemini", &gemini(2)).status, 200);
    assert_eq!(key_in(&folder.path("project/.env")), gemini(2));
    server.stop();

    // The state directory itself.
    folder.set_mode(".keyfold", 0o500);
    serve().refused_start().refused_with(&[&state, "cannot be written", "permissions"]);
    folder.set_mode(".keyfold", 0o700);
    serve().serve().stop();
}

#[test]
fn a_read_only_env_file_is_refused_and_nothing_is_saved() {
    let folder = Folder::new();
    folder.write(".env", "OTHER=1\n");
    folder.set_mode(".env", 0o444);
    let server = folder.serve();
    let key = example_key("exa", 1);
    let detail = server.put_key("exa", &key).problem(500, "env_file_error");
    assert!(detail.contains("read-only") && detail.contains("chmod u+w"), "{detail}");
    assert_eq!((folder.read(".env").as_str(), folder.mode(".env")), ("OTHER=1\n", 0o444));
    assert!(server.listed("exa").is_null());
    server.stop().does_not_tell(&key);
}

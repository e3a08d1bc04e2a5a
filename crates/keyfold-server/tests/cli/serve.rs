//! Starting and stopping the server.

use std::fmt::Write;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;

use keyfold_standin::{Behaviour, PROVIDERS, fingerprint};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answer, Folder, address_variable, gemini, runtime};

#[test]
fn a_first_start_makes_a_private_folder_and_answers() {
    let folder = Folder::new();
    let server = folder.serve();
    assert!(server.address.ip().is_loopback());
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.get("/api/config").body["mode"], "local");
    assert_eq!(folder.mode(".keyfold"), 0o700);
    assert_eq!(folder.read(".keyfold/.gitignore"), "*\n");
    for file in folder.files().iter().filter(|name| !name.ends_with(".gitignore")) {
        assert!(file.starts_with(".keyfold/"), "{file}");
        assert_eq!(folder.mode(file), 0o600, "{file}");
    }
    for file in [".keyfold/master.key", ".keyfold/keyfold.db"] {
        assert!(folder.path(file).is_file(), "{file}");
    }
    let done = server.stop();
    assert_eq!(done.out, "");
    assert!(done.err.contains("mode=\"local\"") && done.err.trim_end().ends_with("stopped"), "{}", done.err);
}

#[test]
fn both_signals_stop_it_well_from_the_moment_it_is_ready() {
    let folder = Folder::new();
    for signal in [Signal::TERM, Signal::INT, Signal::TERM, Signal::INT, Signal::TERM, Signal::INT] {
        let server = folder.serve();
        server.signal(signal);
        let done = server.end();
        assert_eq!(done.status.code(), Some(0), "{signal:?}: {}", done.err);
        assert!(done.err.contains("stopping: answers under way may end"), "{}", done.err);
    }
}

#[test]
fn a_stop_lets_an_answer_under_way_end() {
    let folder = Folder::new();
    let key = gemini(1);
    folder.write(".env", &format!("GEMINI_API_KEY={key}\n"));
    let server = folder.serve();
    folder.standin.script("gemini", Behaviour::Hang);
    let request = server.request("POST", "/api/generate").json(&json!({ "prompt": "Hello" }));
    let answer = runtime().spawn(request.send());
    runtime().block_on(folder.standin.wait_for_requests(1));
    server.signal(Signal::TERM);
    server.wait_for("stopping");
    assert!(Answer::to(server.request("GET", "/healthz")).is_none(), "new requests are refused");
    folder.standin.release();
    let answer = runtime().block_on(answer).unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let text = runtime().block_on(answer.text()).unwrap();
    assert!(text.contains(&fingerprint(&key)), "{text}");
    assert_eq!(server.end().status.code(), Some(0));
}

#[test]
fn a_second_one_on_the_same_folder_is_refused_with_the_process_of_the_first() {
    let folder = Folder::new();
    let first = folder.serve();
    let second = folder.keyfold(&["serve"]).refused_start();
    let state = folder.path(".keyfold").display().to_string();
    second.refused_with(&[&format!("process {}", first.id()), &state, "KEYFOLD_STATE_DIR"]);
    // The first is none the worse, and another folder is free.
    assert_eq!(first.get("/readyz").status, 200);
    let elsewhere = folder.keyfold(&["serve"]).env("KEYFOLD_STATE_DIR", "elsewhere").serve();
    elsewhere.stop();
    first.stop();
    // Neither an end nor a violent end leaves the folder locked.
    let third = folder.serve();
    third.signal(Signal::KILL);
    assert_eq!(third.end().signal(), Some(9));
    folder.serve().stop();
}

#[test]
fn a_busy_port_is_told_with_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let done = folder.keyfold(&["serve"]).env("PORT", &address.port().to_string()).refused_start();
    done.refused_with(&[&address.to_string(), "PORT", "in use"]);
    drop(taken);
    folder.serve().stop();
}

#[test]
fn a_busy_port_of_the_metrics_only_warns() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let server = folder.keyfold(&["serve"]).env("KEYFOLD_METRICS_ADDR", &address).serve();
    assert_eq!(server.get("/readyz").status, 200);
    let log = server.log();
    let warning = log.lines().find(|line| line.contains("metrics are not served")).unwrap();
    assert!(warning.contains("WARN") && warning.contains(&address), "{warning}");
    assert!(warning.contains("KEYFOLD_METRICS_ADDR") && warning.contains("off"), "{warning}");
    server.stop();
}

#[test]
fn settings_in_the_env_file_are_used() {
    let folder = Folder::new();
    let mut text =
        "# mine\nPORT=0\nKEYFOLD_METRICS_ADDR=off\nKEYFOLD_LOG_FORMAT=json\nKEYFOLD_ONBOARDING=alwrity\n\
                    KEYFOLD_STATE_DIR=state\nKEYFOLD_ALLOWED_HOSTS=keyfold.test\n"
            .to_owned();
    for id in PROVIDERS {
        writeln!(text, "{}={}", address_variable(id), folder.standin.base_url(id)).unwrap();
    }
    folder.write(".env", &text);
    let server = folder.keyfold(&["serve"]).without_settings().serve();
    let log = server.log();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string(), "{line}");
    }
    assert_eq!(server.get("/api/config").body["onboarding"], "alwrity");
    assert!(folder.path("state/keyfold.db").exists() && !folder.path(".keyfold").exists());
    let named = Answer::to(server.request("GET", "/api/keys").header("host", "keyfold.test")).unwrap();
    assert_eq!(named.status, 200);
    // The key lands below them.
    let key = gemini(1);
    assert_eq!(server.put_key("gemini", &key).status, 201);
    assert_eq!(folder.read(".env"), format!("{text}GEMINI_API_KEY={key}\n"));
    server.stop();
}

#[test]
fn settings_in_keyfold_toml_are_used() {
    let folder = Folder::new();
    folder.write(
        "keyfold.toml",
        "port = 0\nmetrics_addr = 'off'\nonboarding = 'alwrity'\nstate_dir = 'state'\n",
    );
    let server = folder.keyfold(&["serve"]).without_settings().serve();
    assert_eq!(server.get("/api/config").body["onboarding"], "alwrity");
    assert!(folder.path("state/keyfold.db").exists());
    server.stop();
}

#[test]
fn it_finds_the_env_files_of_a_project_from_its_root_and_from_its_backend() {
    let folder = Folder::new();
    for dir in ["backend", "frontend"] {
        fs::create_dir(folder.path(dir)).unwrap();
    }
    let public = keyfold_standin::example_key("copilotkit", 1);
    for (n, start) in ["", "backend"].into_iter().enumerate() {
        let server = folder.keyfold(&["serve"]).in_dir(&folder.path(start)).serve();
        let key = gemini(u32::try_from(n).unwrap());
        assert!([200, 201].contains(&server.put_key("gemini", &key).status));
        assert!([200, 201].contains(&server.put_key("copilotkit", &public).status));
        let backend = format!("GEMINI_API_KEY={key}\nCOPILOTKIT_API_KEY={public}\n");
        assert_eq!(folder.read("backend/.env"), backend, "{start}");
        assert_eq!(folder.read("frontend/.env"), format!("REACT_APP_COPILOTKIT_API_KEY={public}\n"));
        for file in ["backend/.env", "frontend/.env"] {
            assert_eq!(folder.mode(file), 0o600);
        }
        server.stop();
    }
    assert!(!folder.path(".env").exists() && !folder.path("backend/backend").exists());
}

#[test]
fn listening_elsewhere_needs_the_local_token() {
    let folder = Folder::new();
    let refused = folder.keyfold(&["serve"]).env("HOST", "0.0.0.0").refused_start();
    refused.refused_with(&["HOST", "0.0.0.0", "KEYFOLD_LOCAL_TOKEN"]);
    assert!(folder.files().is_empty(), "{:?}", folder.files());

    let token = "T0KEN-of-this-test-and-no-other";
    let server = folder.keyfold(&["serve"]).env("HOST", "0.0.0.0").env("KEYFOLD_LOCAL_TOKEN", token).serve();
    assert!(server.address.ip().is_unspecified());
    assert_eq!(server.get("/api/keys").status, 401);
    let with =
        |token: &str| Answer::to(server.request("GET", "/api/keys").bearer_auth(token)).unwrap().status;
    assert_eq!((with("wrong"), with(token)), (401, 200));
    server.stop().does_not_tell(token);
    // As a file too.
    folder.write("token", &format!("{token}\n"));
    let server =
        folder.keyfold(&["serve"]).env("HOST", "0.0.0.0").env("KEYFOLD_LOCAL_TOKEN_FILE", "token").serve();
    let answer = Answer::to(server.request("GET", "/api/keys").bearer_auth(token)).unwrap();
    assert_eq!(answer.status, 200);
    server.stop();
}

#[test]
fn wrong_settings_are_all_told_and_nothing_is_made() {
    let folder = Folder::new();
    let secret = "S3CR3T";
    folder.write("keyfold.toml", "max_streams = 5\n");
    let done = folder
        .keyfold(&["serve"])
        .env("PORT", "eighty")
        .env("HOST", "here")
        .env("DATABASE_URL", "mysql://u:S3CR3T@h/d")
        .env("KEYFOLD_MASTER_KEY", secret)
        .env("KEYFOLD_LOG", "a=b=c")
        .env("RENDER", "true")
        .refused_start();
    let names = ["RENDER", "DATABASE_URL", "KEYFOLD_MASTER_KEY", "PORT", "HOST", "KEYFOLD_LOG", "6 settings"];
    done.does_not_tell(secret).refused_with(&names);
    assert_eq!(done.out, "");
    assert_eq!(folder.files(), ["keyfold.toml"]);

    let done = folder.keyfold(&["serve"]).env("DEBUG", "perhaps").refused_start();
    done.refused_with(&["DEBUG", "perhaps", "true, yes, on"]);
    folder.write(".env", "GOOD=1\nKEY=\"S3CR3T\n");
    let path = folder.path(".env").display().to_string();
    for arguments in [&["serve"][..], &["keys", "list"], &["run", "--", "true"]] {
        let done = folder.keyfold(arguments).refused_start();
        done.does_not_tell(secret).refused_with(&[&path, "line 2", "KEYFOLD_BACKEND_ENV_FILE"]);
    }
    assert_eq!(folder.files(), [".env", "keyfold.toml"]);
    assert_eq!(folder.read(".env"), "GOOD=1\nKEY=\"S3CR3T\n");
}

#[test]
fn a_setting_that_is_no_text_is_not_taken_for_an_unset_one() {
    let folder = Folder::new();
    for name in ["DEBUG", "DEPLOY_ENV", "RENDER", "KEYFOLD_MASTER_KEY", "KEYFOLD_PROVIDER_GEMINI_BASE_URL"] {
        let done = folder.keyfold(&["serve"]).env_bytes(name, b"\xff\xfe").refused_start();
        done.refused_with(&[name, "UTF-8"]);
    }
    assert!(folder.files().is_empty(), "{:?}", folder.files());
    // What is no setting does not matter.
    folder.keyfold(&["serve"]).env_bytes("OTHER", b"\xff\xfe").serve().stop();
}

#[test]
fn production_writes_and_reads_no_env_file() {
    let folder = Folder::new();
    folder.write(".env", "DEPLOY_ENV=render\nDATABASE_URL=postgres://user:S3CR3T@host/db\n");
    let env_file = folder.path(".env").display().to_string();
    let done = folder.keyfold(&["serve"]).refused_start();
    done.does_not_tell("S3CR3T").refused_with(&[
        "DATABASE_URL is missing",
        "KEYFOLD_MASTER_KEY is missing",
        "CLERK_PUBLISHABLE_KEY is missing",
        "KEYFOLD_PUBLIC_URL is missing",
        "keyfold master-key generate",
        &format!("{env_file} says production"),
    ]);
    assert_eq!(folder.files(), [".env"]);
}

#[test]
fn other_processes_of_the_same_user_cannot_look_into_it() {
    let folder = Folder::of_an_ordinary_user();
    // It could dump its core, as far as the machine allows.
    let with_cores = ["sh", "-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"];
    let server = folder.keyfold_through(&with_cores, &["serve"]).env("GEMINI_API_KEY", &gemini(1)).serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // The files of a process that may be traced and dumped belong to its user, those of others to root.
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let uid: u32 = uid.split_whitespace().next().unwrap().parse().unwrap();
    assert_ne!(uid, 0, "root may do everything");
    let owner = fs::metadata(format!("/proc/{}/environ", server.id())).unwrap().uid();
    assert_ne!(owner, uid);
    for file in ["environ", "mem", "maps"] {
        let look = format!("head -c 1 /proc/{}/{file}", server.id());
        let done = folder.keyfold(&["run", "--", "sh", "-c", &look]).env("KEYFOLD_STATE_DIR", "other").run();
        assert_ne!(done.status.code(), Some(0), "{file}: {done:?}");
        assert!(done.err.contains("ermission denied"), "{file}: {done:?}");
    }
    server.stop();
}

/// `serve` behind these limits of open files.
fn serve_behind(folder: &Folder, limits: &str) -> crate::harness::Server {
    let script = format!("{limits} && exec \"$@\"");
    folder.keyfold_through(&["sh", "-c", &script, "sh"], &["serve"]).serve()
}

#[test]
fn it_may_open_as_many_files_as_its_system_allows() {
    let folder = Folder::new();
    let server = serve_behind(&folder, "ulimit -Sn 80 && ulimit -Hn 512");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["512", "512"]);
    server.stop();
}

#[test]
fn connections_without_end_do_not_use_up_all_files() {
    let folder = Folder::new();
    folder.write(".env", &format!("GEMINI_API_KEY={}\n", gemini(1)));
    let server = serve_behind(&folder, "ulimit -n 128");
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.wait_for("further ones wait");
    drop(idle);
    assert_eq!(server.post("/api/generate", &json!({ "prompt": "Hello" })).status, 200);
    let done = server.stop();
    assert!(!done.err.contains("cannot accept"), "{}", done.err);
}

//! Starts the binary. Nothing here waits for time to pass: only for lines, answers and ends of processes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold_standin::{PROVIDERS, Standin, example_key};
use keyfold_test_servers::PostgresServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const NOBODY: u32 = 65534;

/// A project folder, the providers' stand-in, and the program to start there.
pub(crate) struct Folder {
    pub(crate) standin: Standin,
    /// Where it is started.
    pub(crate) root: PathBuf,
    program: Vec<String>,
    _dir: TempDir,
}

/// A start of the program that is being put together.
pub(crate) struct Start {
    command: Command,
    stdin: Vec<u8>,
}

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A `keyfold serve` that is ready. Killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

/// A process whose lines on standard error are collected.
pub(crate) struct Process {
    child: Child,
    lines: Mutex<Receiver<String>>,
    seen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A folder whose Keyfold runs in production, on a database of its own: with what commands need and no more, so
/// without a token issuer.
pub(crate) struct Production {
    pub(crate) folder: Folder,
    /// The database's name on the shared server.
    pub(crate) database: String,
    pub(crate) master_key: String,
}

/// One runtime for the stand-ins and for HTTP calls; the tests themselves are synchronous.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap())
}

/// The n-th key of Gemini.
pub(crate) fn gemini(n: u32) -> String {
    example_key("gemini", n)
}

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let standin = runtime().block_on(Standin::start());
        let root = dir.path().canonicalize().unwrap();
        Self { standin, root, program: vec![env!("CARGO_BIN_EXE_keyfold").into()], _dir: dir }
    }

    /// One in which the program runs as an ordinary user, whom modes of files bind.
    pub(crate) fn of_an_ordinary_user() -> Self {
        let mut folder = Self::new();
        let outer = folder.root.clone();
        set_mode(&outer, 0o755);
        folder.root = outer.join("work");
        fs::create_dir(&folder.root).unwrap();
        if fs::metadata(&folder.root).unwrap().uid() == 0 {
            // Where an ordinary user can run it, which the build directory need not be.
            let program = outer.join("keyfold");
            // By another process: a program that is open for writing, be it in a child that a test forks meanwhile, cannot be run.
            let copied = Command::new("cp").arg(&folder.program[0]).arg(&program).status().unwrap();
            assert!(copied.success());
            chown(&folder.root, Some(NOBODY), Some(NOBODY)).unwrap();
            let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            folder.program =
                setpriv.map(Into::into).into_iter().chain([program.display().to_string()]).collect();
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The content of a file; empty if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        set_mode(&self.path(name), mode);
    }

    /// All files below the folder, by their relative paths, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = vec![];
        walk(&self.root, &mut found);
        let mut names: Vec<String> =
            found.iter().map(|path| path.strip_prefix(&self.root).unwrap().display().to_string()).collect();
        names.sort();
        names
    }

    /// The files in which this text stands.
    pub(crate) fn files_with(&self, text: &str) -> Vec<String> {
        let holds = |name: &String| {
            fs::read(self.path(name)).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
        };
        self.files().into_iter().filter(holds).collect()
    }

    /// `keyfold` with these arguments, in this folder, against the stand-in, on a free port.
    pub(crate) fn keyfold(&self, arguments: &[&str]) -> Start {
        self.keyfold_through(&[], arguments)
    }

    /// The same, started by another program that puts itself between: `sh -c '…; exec "$@"' sh`.
    pub(crate) fn keyfold_through(&self, wrapper: &[&str], arguments: &[&str]) -> Start {
        let mut words = wrapper.iter().map(|word| (*word).to_owned()).chain(self.program.iter().cloned());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(arguments).current_dir(&self.root).env_clear();
        let start = Start { command, stdin: vec![] };
        let start = start.env("PATH", &search_path()).env("PORT", "0").env("KEYFOLD_METRICS_ADDR", "off");
        PROVIDERS.iter().fold(start, |start, id| start.env(&address_variable(id), &self.standin.base_url(id)))
    }

    pub(crate) fn serve(&self) -> Server {
        self.keyfold(&["serve"]).serve()
    }

    /// Saves a key on the command line; it must be accepted.
    #[track_caller]
    pub(crate) fn has_key(&self, provider: &str, key: &str) {
        self.keyfold(&["keys", "set", provider]).stdin(key).run().ok();
    }

    /// `keyfold keys list --json`, by provider.
    #[track_caller]
    pub(crate) fn listed(&self, provider: &str) -> Value {
        let list = self.keyfold(&["keys", "list", "--json"]).run().json();
        let mut keys = list["keys"].as_array().unwrap().clone();
        keys.retain(|key| key["provider"] == provider);
        keys.pop().unwrap_or_default()
    }
}

impl Production {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let database = runtime().block_on(PostgresServer::shared().new_database());
        Self { folder, database, master_key: new_master_key() }
    }

    pub(crate) fn database_url(&self) -> String {
        PostgresServer::shared().address_of(&self.database)
    }

    /// `keyfold` with these arguments and production's settings.
    pub(crate) fn keyfold(&self, arguments: &[&str]) -> Start {
        self.configured(self.folder.keyfold(arguments))
    }

    pub(crate) fn configured(&self, start: Start) -> Start {
        let start = start.env("DEPLOY_ENV", "render").env("DATABASE_URL", &self.database_url());
        start.env("KEYFOLD_MASTER_KEY", &self.master_key)
    }

    /// Saves a key on the command line; it must be accepted.
    #[track_caller]
    pub(crate) fn has_key(&self, user: &str, provider: &str, key: &str) {
        self.keyfold(&["keys", "set", provider, "--user", user]).stdin(key).run().ok();
    }

    /// `keyfold keys list --json` of this user, by provider.
    #[track_caller]
    pub(crate) fn listed(&self, user: &str, provider: &str) -> Value {
        let list = self.keyfold(&["keys", "list", "--json", "--user", user]).run().json();
        let mut keys = list["keys"].as_array().unwrap().clone();
        keys.retain(|key| key["provider"] == provider);
        keys.pop().unwrap_or_default()
    }

    /// Runs statements as the database's owner.
    pub(crate) fn sql(&self, statements: &str) {
        runtime().block_on(async {
            let client = PostgresServer::shared().connect(&self.database).await;
            client.batch_execute(statements).await.unwrap();
        });
    }

    /// The first column of what a query finds, all of it text.
    pub(crate) fn column(&self, query: &str) -> Vec<String> {
        runtime().block_on(async {
            let client = PostgresServer::shared().connect(&self.database).await;
            let rows = client.query(query, &[]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        })
    }
}

pub(crate) fn new_master_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

#[expect(clippy::disallowed_methods, reason = "the one variable that a started program needs")]
fn search_path() -> String {
    std::env::var("PATH").unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn address_variable(provider: &str) -> String {
    format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase())
}

impl Start {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A variable that need not be text.
    pub(crate) fn env_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.command.env(name, OsStr::from_bytes(value));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// With nothing but `PATH`: all settings come from files.
    pub(crate) fn without_settings(self) -> Self {
        let addresses = PROVIDERS.iter().map(|id| address_variable(id));
        let names: Vec<String> = addresses.chain(["PORT".into(), "KEYFOLD_METRICS_ADDR".into()]).collect();
        names.iter().fold(self, |start, name| start.without(name))
    }

    pub(crate) fn in_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Done {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = std::mem::take(&mut self.stdin);
        // On a thread: a process that does not read must not stop the test. One that ended reads no more.
        let writer = thread::spawn(move || drop(stdin.write_all(&text)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done { status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a `serve` that must not get as far as serving.
    #[track_caller]
    pub(crate) fn refused_start(self) -> Done {
        let process = self.spawn();
        while let Some(line) = process.next_line() {
            // Else the test would wait for its end for ever.
            assert!(!line.contains("ready at http://"), "it serves");
        }
        process.end()
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(mut self) -> Process {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let (sender, lines) = channel();
        let seen = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reader = thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    writeln!(seen.lock().unwrap(), "{line}").unwrap();
                    // Nobody may be waiting any more.
                    let _ = sender.send(line);
                }
            }
        });
        Process { child, lines: Mutex::new(lines), seen, reader: Some(reader) }
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn serve(self) -> Server {
        let process = self.spawn();
        let line = process.wait_for("ready at http://");
        let (_, address) = line.split_once("ready at http://").unwrap();
        // In JSON something follows.
        let address = address.split('"').next().unwrap().trim().parse().unwrap();
        Server { address, process }
    }
}

impl Process {
    /// Waits for a line on standard error that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        while let Some(line) = self.next_line() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended without {text:?}:\n{}", self.seen.lock().unwrap());
    }

    /// Waits for a line on standard error; `None` at its end.
    fn next_line(&self) -> Option<String> {
        self.lines.lock().unwrap().recv().ok()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Done {
        drop(self.child.stdin.take());
        let mut out = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut out).unwrap();
        }
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let err = self.seen.lock().unwrap().clone();
        Done { status, out, err }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and was waited for then.
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.process.seen.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.process.wait_for(text)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn end(self) -> Done {
        self.process.end()
    }

    /// Asks it to stop, and waits for that; it must end well.
    #[track_caller]
    pub(crate) fn stop(self) -> Done {
        self.signal(Signal::TERM);
        let done = self.end();
        assert_eq!(done.status.code(), Some(0), "{}", done.err);
        done
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        // Where it listens everywhere, it is called by its loopback address.
        let url = format!("http://127.0.0.1:{}{path}", self.address.port());
        client().request(method.parse().unwrap(), url)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request("POST", path).json(body)).unwrap()
    }

    pub(crate) fn put_key(&self, provider: &str, key: &str) -> Answer {
        let path = format!("/api/keys/{provider}");
        Answer::to(self.request("PUT", &path).json(&json!({ "key": key }))).unwrap()
    }

    /// The record of a key as the server has it now.
    pub(crate) fn listed(&self, provider: &str) -> Value {
        let list = self.get("/api/keys");
        assert_eq!(list.status, 200, "{list:?}");
        let mut keys = list.body["keys"].as_array().unwrap().clone();
        keys.retain(|key| key["provider"] == provider);
        keys.pop().unwrap_or_default()
    }
}

impl Answer {
    /// `None` if the connection broke.
    pub(crate) fn to(request: reqwest::RequestBuilder) -> Option<Self> {
        runtime().block_on(async {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            let text = response.text().await.ok()?;
            Some(Self { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
        })
    }

    /// Asserts that it is this problem, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        self.body["detail"].as_str().unwrap().to_owned()
    }
}

impl Done {
    /// Asserts success and returns what was printed.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        &self.out
    }

    /// Asserts exit status 1 and returns the message.
    #[track_caller]
    pub(crate) fn refused(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        assert!(self.err.contains("keyfold: "), "{self:?}");
        &self.err
    }

    /// Asserts exit status 1, and that the message has these parts.
    #[track_caller]
    pub(crate) fn refused_with(&self, parts: &[&str]) {
        let message = self.refused();
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }

    /// Asserts exit status 2, wrong usage, and returns the message.
    #[track_caller]
    pub(crate) fn wrong_usage(&self) -> &str {
        assert_eq!(self.status.code(), Some(2), "{self:?}");
        assert_eq!(self.out, "");
        &self.err
    }

    /// The JSON that was printed, and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Asserts that this text was not written anywhere.
    #[track_caller]
    pub(crate) fn does_not_tell(&self, secret: &str) -> &Self {
        assert!(!self.out.contains(secret) && !self.err.contains(secret), "{self:?}");
        self
    }
}

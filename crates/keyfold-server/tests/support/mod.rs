//! A Keyfold for one test: its own folder, its own providers' stand-in, its own port. In local mode here, in
//! production in `production.rs`.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod production;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfold::clock::{ManualClock, Random, SystemRandom};
use keyfold::provider::http::Timeouts;
use keyfold::settings::Environment;
use keyfold::{Keyfold, Parts};
use keyfold_server::app::App;
use keyfold_server::config::{Config, ServerConfig};
use keyfold_server::lane::serve_app;
use keyfold_server::metrics::Metrics;
use keyfold_server::serve::Limits;
use keyfold_standin::{PROVIDERS, Standin, example_key};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// 2026-01-02 03:04:05 UTC
pub const START: &str = "2026-01-02T03:04:05Z";

/// How a test's Keyfold differs from the usual one.
pub struct Setup {
    dir: Option<TempDir>,
    variables: Vec<(String, String)>,
    timeouts: Timeouts,
    limits: Limits,
    body_timeout: Duration,
    frontend: bool,
    random: Arc<dyn Random>,
}

/// A Keyfold that serves in local mode.
pub struct Local {
    pub dir: TempDir,
    pub standin: Standin,
    pub keyfold: Keyfold,
    pub clock: Arc<ManualClock>,
    pub metrics: Metrics,
    pub address: std::net::SocketAddr,
    client: reqwest::Client,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// A streamed answer under way.
pub struct Events {
    pub status: StatusCode,
    pub headers: HeaderMap,
    response: Response,
    unread: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            dir: None,
            variables: vec![],
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            body_timeout: Duration::from_secs(30),
            frontend: true,
            random: Arc::new(SystemRandom),
        }
    }
}

impl Setup {
    /// A further variable of the process.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The folder of an earlier Keyfold.
    pub fn in_dir(mut self, dir: TempDir) -> Self {
        self.dir = Some(dir);
        self
    }

    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    pub fn without_frontend(mut self) -> Self {
        self.frontend = false;
        self
    }

    /// Where the library's keys and nonces come from.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    pub async fn start(self) -> Local {
        let dir = self.dir.unwrap_or_else(|| tempfile::tempdir().unwrap());
        if self.frontend {
            std::fs::create_dir_all(dir.path().join("frontend")).unwrap();
        }
        let standin = Standin::start().await;
        let mut variables: Vec<(String, String)> = vec![
            ("DEBUG".into(), "true".into()),
            ("PORT".into(), "0".into()),
            ("KEYFOLD_METRICS_ADDR".into(), "off".into()),
        ];
        variables.extend(without_limits());
        for provider in PROVIDERS {
            let name = format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase());
            variables.push((name, standin.base_url(provider)));
        }
        variables.extend(self.variables);
        let environment: Environment = variables.into_iter().collect();
        let Config { settings, server, process } = Config::for_serving(environment, dir.path()).unwrap();
        let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
        let parts = Parts { clock: clock.clone(), random: self.random, timeouts: self.timeouts };
        let keyfold = Keyfold::open(&settings, process, parts).await.unwrap();
        keyfold.limits().connect().await;
        let listener = TcpListener::bind(server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = ServerConfig { listen: address, body_timeout: self.body_timeout, ..server };
        let app = App::new(keyfold.clone(), &server, Arc::new(SystemRandom));
        let (stop, mut stopped) = watch::channel(false);
        let metrics = app.metrics.clone();
        let serving = tokio::spawn(async move {
            let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
            serve_app(listener, &app, self.limits, stop).await.unwrap();
        });
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Local {
            dir,
            standin,
            keyfold,
            clock,
            metrics,
            address,
            client: client.build().unwrap(),
            stop,
            serving,
        }
    }
}

impl Local {
    /// The usual one.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::read(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::read(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::read(self.request(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::read(self.request(Method::PUT, path).json(&body).send().await.unwrap()).await
    }

    /// Sends a request that was built by hand and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.unwrap()).await
    }

    /// Generates as `body` says; the answer is read event by event.
    pub async fn stream(&self, mut body: Value) -> Events {
        body["stream"] = true.into();
        Events::of(self.request(Method::POST, "/api/generate").json(&body).send().await.unwrap())
    }

    /// A connection for what no client would send.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes on a connection of their own and reads until the server closes it.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect().await;
        // Who refuses early may close before everything was sent.
        let _ = connection.write_all(request.as_ref()).await;
        Answer::read_raw(&mut connection).await
    }

    /// A request without a body, with exactly this target and these header lines.
    pub async fn raw_get(&self, target: &str, headers: &[&str]) -> Answer {
        let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
        self.raw(format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")).await
    }

    /// What the list says of a provider's key; null if it is not there.
    pub async fn listed(&self, provider: &str) -> Value {
        let list = self.get("/api/keys").await.ok();
        let keys = list["keys"].as_array().unwrap();
        keys.iter().find(|key| key["provider"] == provider).cloned().unwrap_or_default()
    }

    /// Saves a key as the page would; it must be accepted.
    pub async fn has_key(&self, provider: &str, key: &str) -> Answer {
        let answer = self.put(&format!("/api/keys/{provider}"), json!({ "key": key })).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        answer
    }

    /// Saves the n-th example key of a provider and returns it.
    pub async fn has_example_key(&self, provider: &str, n: u32) -> String {
        let key = example_key(provider, n);
        self.has_key(provider, &key).await;
        key
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The content of a file in the folder; empty if it is not there.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The state directory's files in which this text stands as it is.
    pub fn state_files_with(&self, text: &str) -> Vec<PathBuf> {
        let holds = |path: &PathBuf| {
            // A file of the audit spool may be gone again.
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        files_below(&self.path(".keyfold")).into_iter().filter(holds).collect()
    }

    /// Asks it to stop, without waiting.
    pub fn ask_to_stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Stops and gives back the folder, for another start.
    pub async fn stop(self) -> TempDir {
        let _ = self.stop.send(true);
        self.serving.await.unwrap();
        // They look at the Keyfold too, and the last one that does closes it.
        drop(self.metrics);
        self.keyfold.close().await;
        self.dir
    }
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    /// Reads an answer that is not chunked, to the end of its connection.
    pub async fn read_raw(connection: &mut TcpStream) -> Self {
        let mut bytes = vec![];
        // Bytes that the server did not want make its system break the connection; what came before counts.
        let _ = connection.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.trim()).unwrap())
        });
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    /// Everything that a client sees of it, as one text.
    pub fn everything(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, self.body)
    }

    /// The events of a streamed answer.
    pub fn events(&self) -> Vec<(String, Value)> {
        self.body.split("\n\n").filter_map(event).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is a problem of that status and code, well formed, and returns its body.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{body}");
        for field in ["type", "title", "detail"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
        }
        body
    }

    /// Asserts success and returns the body.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.json()
    }
}

impl Events {
    pub fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, response, unread: String::new() }
    }

    /// The next event's name and data; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((first, rest)) = self.unread.split_once("\n\n") {
                let (found, rest) = (event(first), rest.to_owned());
                self.unread = rest;
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The events that are still to come.
    pub async fn rest(mut self) -> Vec<(String, Value)> {
        let mut events = vec![];
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// An event's name and data; `None` for a comment.
fn event(text: &str) -> Option<(String, Value)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Some((field("event").unwrap_or_default().to_owned(), data))
}

/// No limits but the number of streams: tests ask more often than people do.
fn without_limits() -> impl Iterator<Item = (String, String)> {
    ["KEYS", "GENERATE", "GATEWAY", "ANONYMOUS"]
        .into_iter()
        .map(|class| (format!("KEYFOLD_RATE_LIMIT_{class}"), "off".to_owned()))
}

/// The program that was built for this test run.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keyfold"))
}

/// All files in this folder and those below it.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

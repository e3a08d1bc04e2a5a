//! The running program, and all that it said.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use keyfold_standin::{PROVIDERS, Standin};
use reqwest::{RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};

/// A `keyfold serve` that is ready. Killed when dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) metrics: String,
    said: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Program {
    /// Starts it in this folder, with these variables and no others but the addresses of providers and the loudest
    /// log.
    pub(crate) fn start(dir: &Path, standin: &Standin, variables: &[(&str, &str)]) -> Self {
        // A port that was free a moment ago; metrics have no way to tell which one they got.
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = keyfold(dir, standin, variables);
        command.arg("serve").env("KEYFOLD_METRICS_ADDR", &metrics);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (found, ready) = channel();
        let readers = vec![
            listen(child.stdout.take().unwrap(), Arc::clone(&said), found.clone()),
            listen(child.stderr.take().unwrap(), Arc::clone(&said), found),
        ];
        let address = ready.recv().unwrap_or_else(|_| panic!("it did not start: {}", said.lock().unwrap()));
        let port = address.rsplit(':').next().unwrap();
        Self { child, said, readers, url: format!("http://127.0.0.1:{port}"), metrics }
    }

    /// Asks it to stop; how it ended, and all that it said.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        self.end(Signal::TERM)
    }

    /// Ends it with a signal that makes others dump their core.
    pub(crate) fn abort(self) -> (ExitStatus, String) {
        self.end(Signal::ABORT)
    }

    fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, self.said.lock().unwrap().clone())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `keyfold`, without arguments yet.
pub(crate) fn keyfold(dir: &Path, standin: &Standin, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfold"));
    command.current_dir(dir).env_clear().env("PORT", "0");
    command.env("KEYFOLD_LOG", "trace").env("RUST_BACKTRACE", "full");
    for provider in PROVIDERS {
        let name = format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase());
        command.env(name, standin.base_url(provider));
    }
    command.envs(variables.iter().copied());
    command
}

fn listen(
    stream: impl Read + Send + 'static,
    said: Arc<Mutex<String>>,
    ready: Sender<String>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            if let Some((_, address)) = line.split_once("ready at http://") {
                // In JSON something follows.
                let _ = ready.send(address.split('"').next().unwrap().to_owned());
            }
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    })
}

/// Sends a request; its status, and all of the answer as one text.
pub(crate) async fn answer_to(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), format!("{:?}", response.headers()));
    (status, headers + "\n" + &response.text().await.unwrap_or_default())
}

/// Every file below a folder.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

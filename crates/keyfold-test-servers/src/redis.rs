//! Redis, or Valkey.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use crate::script::Script;

/// Does what its standard input tells it, line by line. When that closes, with the test run at the latest, it ends
/// the server and removes its files.
const SCRIPT: &str = r#"
set -eu
program=$(command -v redis-server || command -v valkey-server) || {
    echo "neither redis-server nor valkey-server is installed" >&2
    exit 1
}
folder=$(mktemp -d)
cd "$folder"

start() {
    : >log
    # shellcheck disable=SC2086 # options, word by word
    "$program" --bind 127.0.0.1 --port "$SERVER_PORT" --save '' --appendonly no $SERVER_OPTIONS >>log 2>&1 &
    server=$!
    until grep -q 'Ready to accept connections' log; do
        kill -0 "$server" 2>/dev/null || { cat log >&2; exit 1; }
        sleep 0.02
    done
}
end() {
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}

start
echo started
while read -r order; do
    case $order in
        start) start ;;
        kill) end ;;
        pause) kill -STOP "$server" ;;
        resume) kill -CONT "$server" ;;
    esac
    echo done
done
end
rm -rf "$folder"
"#;

/// A server with a port of its own on 127.0.0.1, which forgets everything when it ends.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    script: Mutex<Script>,
}

impl RedisServer {
    /// Starts one with these further options (`--name value`).
    ///
    /// # Panics
    /// If it does not start, with what it said.
    pub fn start(options: &[&str]) -> Self {
        let options = options.join(" ");
        let (script, _, port) = Script::start("Redis", SCRIPT, &[("SERVER_OPTIONS", options.as_ref())]);
        Self { port, script: Mutex::new(script) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once; connections break, and what it knew is gone.
    pub fn kill(&self) {
        self.order("kill");
    }

    /// Starts a killed one again on the same port.
    pub fn start_again(&self) {
        self.order("start");
    }

    /// From now on it does nothing, and its connections stay open.
    pub fn pause(&self) {
        self.order("pause");
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.order("resume");
    }

    /// What it answers to a command, as it stands in its protocol.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn ask(&self, command: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(connection, "{command}\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    fn order(&self, order: &str) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(script.ask(order), "done", "Redis did not {order}");
    }
}

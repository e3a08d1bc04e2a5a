//! PostgreSQL.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Does what its standard input tells it, line by line. When that closes, with the test run at the latest, it
/// stops the server and removes its files.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d)
as_owner=
if [ "$(id -u)" -eq 0 ]; then
    # PostgreSQL refuses to run as root.
    chown postgres "$folder"
    as_owner="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
cd "$folder"

start() {
    $as_owner "$BIN/pg_ctl" -D "$folder/data" -l "$folder/log" -w \
        -o "-c listen_addresses=127.0.0.1 -p $SERVER_PORT -c unix_socket_directories= $SERVER_OPTIONS" start >&2
}
stop() {
    $as_owner "$BIN/pg_ctl" -D "$folder/data" -m "$1" stop >&2
}

$as_owner "$BIN/initdb" -D "$folder/data" -U keyfold -A trust -E UTF8 --locale=C.UTF-8 --no-sync >&2
start
echo "$folder"
while read -r order; do
    case $order in
        start) start ;;
        stop) stop fast ;;
        crash) stop immediate ;;
        adopt*)
            [ -z "$as_owner" ] || chown postgres "$folder/${order#adopt }"
            chmod 600 "$folder/${order#adopt }"
            ;;
        disk)
            mkdir "$folder/disk"
            if ! mount -t tmpfs -o size=24m,mode=777 none "$folder/disk" 2>/dev/null; then
                echo impossible
                continue
            fi
            $as_owner mkdir -m 700 "$folder/disk/tables"
            ;;
    esac
    echo done
done
stop immediate || true
umount "$folder/disk" 2>/dev/null || true
rm -rf "$folder"
"#;

/// A server with a folder and a port of its own. Everyone on this machine may connect, as `keyfold`.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    folder: PathBuf,
    databases: AtomicU32,
    script: Mutex<Script>,
}

#[derive(Debug)]
struct Script {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PostgresServer {
    /// The one that the tests of a program share; its settings and its being there are not to be changed.
    pub fn shared() -> &'static Self {
        static SERVER: LazyLock<PostgresServer> =
            LazyLock::new(|| PostgresServer::start(&["fsync=off", "max_connections=300"]));
        &SERVER
    }

    /// Starts one with these settings (`name=value`), for a test that does something to it.
    ///
    /// # Panics
    /// If it does not start, with what it said.
    pub fn start(settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = settings.iter().flat_map(|setting| [" -c ", setting]).collect::<String>();
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("BIN", programs())
            .env("SERVER_PORT", port.to_string())
            .env("SERVER_OPTIONS", options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        if folder.is_empty() {
            let told = std::io::read_to_string(process.stderr.take().unwrap()).unwrap();
            panic!("PostgreSQL did not start; run `make test`, which installs it\n{told}");
        }
        // Nobody reads what it says from here on, and a full pipe would hold it up.
        let mut told = process.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        let orders = process.stdin.take();
        Self {
            port,
            folder: PathBuf::from(folder.trim_end()),
            databases: AtomicU32::default(),
            script: Mutex::new(Script { process, orders, answers }),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's files: tables, indexes, WAL.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the server wrote down.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops the server; connections end.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// Ends the server as a crash would.
    pub fn crash(&self) {
        self.order("crash");
    }

    /// Starts a stopped server again on the same port.
    pub fn start_again(&self) {
        self.order("start");
    }

    /// Writes a file into the server's folder, as the server's own; its path.
    ///
    /// # Panics
    /// If that cannot be done.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        self.order(&format!("adopt {name}"));
        path
    }

    /// The address of a database of this name.
    pub fn address_of(&self, database: &str) -> String {
        format!("postgres://keyfold@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of the test's own, as the database's superuser.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn connect(&self, database: &str) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.address_of(database), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The name of a new, empty database.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let client = self.connect("postgres").await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        name
    }

    /// The address of a new, empty database.
    pub async fn empty_database(&self) -> String {
        self.address_of(&self.new_database().await)
    }

    /// Makes a disk of 24 MB for the server and returns its folder; tables may stand in `tables` there. `None` without
    /// the right to mount one.
    pub fn small_disk(&self) -> Option<PathBuf> {
        (self.ask("disk") == "done\n").then(|| self.folder.join("disk"))
    }

    fn order(&self, order: &str) {
        assert_eq!(self.ask(order), "done\n", "PostgreSQL did not {order}");
    }

    fn ask(&self, order: &str) -> String {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(script.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        script.answers.read_line(&mut answer).unwrap();
        answer
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let script = self.script.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(script.orders.take());
        let _ = script.process.wait();
    }
}

/// The folder of `initdb` and `pg_ctl`; Debian keeps them off the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders
        .into_iter()
        .rev()
        .find(|folder| folder.join("initdb").exists())
        .expect("PostgreSQL's server is not installed; run `make test`, which installs it")
}

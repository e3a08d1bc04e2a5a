//! PostgreSQL.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::script::Script;

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
        let options = settings.iter().flat_map(|setting| [" -c ", setting]).collect::<String>();
        let variables = [("BIN", programs().into_os_string()), ("SERVER_OPTIONS", options.into())];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_os_str()));
        let (script, folder, port) = Script::start("PostgreSQL", SCRIPT, &variables);
        Self { port, folder: folder.into(), databases: AtomicU32::default(), script: Mutex::new(script) }
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
        (self.ask("disk") == "done").then(|| self.folder.join("disk"))
    }

    fn order(&self, order: &str) {
        assert_eq!(self.ask(order), "done", "PostgreSQL did not {order}");
    }

    fn ask(&self, order: &str) -> String {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).ask(order)
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

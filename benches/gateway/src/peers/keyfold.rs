//! Keyfold with everything on: tokens verified, keys in PostgreSQL and sealed, limits, audit, counts.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;

use keyfold_standin::Issuer;
use keyfold_standin::issuer::PARTY;
use keyfold_test_servers::PostgresServer;

use super::{KEYFOLD, Peer, Place, Way, fetch};
use crate::http::Connection;
use crate::load::Target;
use crate::people::People;
use crate::processes::{Process, unused_port};
use crate::upstream::AUTHORITY_FILE;

/// Keys that are being saved at a time.
const SAVING: usize = 32;
/// More than any run sends: the limit is counted, and never reached.
const NEVER_REACHED: &str = "1000000/second";

/// What Keyfold needs around it. It stays while programs come and go.
pub(crate) struct Deployment {
    server: PostgresServer,
    database: String,
    master_key: String,
    issuer: Issuer,
}

impl Deployment {
    pub(crate) async fn new() -> Self {
        let server = PostgresServer::start(&["shared_buffers=256MB", "max_wal_size=4GB"]);
        let database = server.new_database().await;
        let mut random = [0; 32];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).unwrap();
        let master_key = random.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self { server, database, master_key, issuer: Issuer::start().await }
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// PostgreSQL's first process.
    pub(crate) fn database_id(&self) -> Option<u32> {
        let file = self.server.data_folder().join("postmaster.pid");
        std::fs::read_to_string(file).ok()?.lines().next()?.parse().ok()
    }

    /// Uses of keys in the audit log: begun, and ended.
    pub(crate) async fn recorded_uses(&self) -> (i64, i64) {
        let client = self.server.connect(&self.database).await;
        let sql = "SELECT count(*) FILTER (WHERE action = 'key.opened'), count(*) FILTER (WHERE action = 'key.ended') FROM audit_events";
        let row = client.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Saves each user's key, as each of them.
    pub(crate) async fn fill(&self, place: &Place<'_>) {
        let peer = self.start(place, KEYFOLD, &place.settings.keyfold);
        let people = place.people;
        let saves: Arc<Vec<Vec<u8>>> =
            Arc::new((0..people.keys.len()).map(|user| save_request(people, user)).collect());
        let tasks: Vec<_> = (0..SAVING)
            .map(|first| {
                let (saves, address) = (Arc::clone(&saves), peer.target.address);
                tokio::spawn(async move {
                    let mut connection = Connection::open(address, None).await.unwrap();
                    for save in saves.iter().skip(first).step_by(SAVING) {
                        let answer = connection.ask(save).await.unwrap();
                        let said = String::from_utf8_lossy(answer.body);
                        assert!(matches!(answer.status, 200 | 201), "a key was not saved: {said}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    /// Starts a build of the program.
    pub(crate) fn start(&self, place: &Place<'_>, name: &'static str, program: &Path) -> Peer {
        let state = place.folder.join("keyfold");
        std::fs::create_dir_all(&state).unwrap();
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, unused_port()));
        let mut command = Process::command(program.as_os_str(), &place.layout.measured());
        command
            .arg("serve")
            .current_dir(&state)
            .env("DEPLOY_ENV", "bench")
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("DATABASE_URL", self.server.address_of(&self.database))
            .env("KEYFOLD_MASTER_KEY", &self.master_key)
            .env("KEYFOLD_STATE_DIR", &state)
            .env("KEYFOLD_METRICS_ADDR", metrics.to_string())
            .env("KEYFOLD_ALLOWED_ORIGINS", PARTY)
            .env("KEYFOLD_PROVIDER_OPENAI_BASE_URL", place.base_url())
            .env("KEYFOLD_RATE_LIMIT_GATEWAY", NEVER_REACHED)
            .env("KEYFOLD_RATE_LIMIT_KEYS", "off")
            .env("KEYFOLD_MAX_STREAMS", "100000")
            .envs(self.issuer.settings())
            .stderr(Stdio::piped());
        if place.way == Way::Tls {
            command.env("SSL_CERT_FILE", place.folder.join(AUTHORITY_FILE));
        }
        let mut process = Process::start(&mut command).unwrap();
        let mut lines = BufReader::new(process.child().stderr.take().unwrap()).lines();
        let mut said = String::new();
        let ready = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let _ = writeln!(said, "{line}");
            let (_, url) = line.split_once("ready at http://")?;
            url.split('"').next()?.parse::<SocketAddr>().ok()
        });
        let Some(address) = ready else { panic!("{} did not start:\n{said}", program.display()) };
        // Goes on reading, so that the program never waits for its log to be read.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let people = place.people;
        Peer {
            name,
            target: Target {
                address,
                path: "/gateway/openai/v1/chat/completions".into(),
                headers: vec![],
                users: people.file(name, &people.signed_tokens),
            },
            id: Some(process.id()),
            metrics: Some(metrics),
            _process: Some(Rc::new(process)),
        }
    }
}

fn save_request(people: &People, user: usize) -> Vec<u8> {
    let (token, body) = (&people.signed_tokens[user], format!(r#"{{"key":"{}"}}"#, people.keys[user]));
    format!(
        "PUT /api/keys/openai HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How many events were recorded so far, and how many of them the database has.
pub(crate) async fn audit_counts(metrics: SocketAddr) -> Option<(u64, u64)> {
    let page = fetch(metrics, "/metrics").await.ok()?;
    let of = |name: &str| {
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    Some((of("keyfold_audit_events_total")?, of("keyfold_audit_events_shipped_total")?))
}

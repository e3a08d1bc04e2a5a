//! What stands side by side, each started the way it is meant to be.

mod keyfold;
mod nginx;
mod others;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub(crate) use keyfold::{Deployment, audit_counts};
pub(crate) use nginx::SAME_TOKENS;

use crate::http::Connection;
use crate::load::{Target, ask_once};
use crate::people::People;
use crate::processes::{Layout, Process, is_running};
use crate::settings::Settings;
use crate::upstream::Ports;

/// The limit that the others are compared with.
pub(crate) const LIMIT: &str = "nginx";
/// The stand-in itself, with nothing before it.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const KEYFOLD: &str = "keyfold";
/// Another build of Keyfold, on the same database.
pub(crate) const OTHER: &str = "other";

const PATH: &str = "/v1/chat/completions";
/// For a program to listen; some load much first.
const PATIENCE: Duration = Duration::from_secs(120);
/// For one that listens to give a good answer.
const PATIENCE_WITH_BAD_ANSWERS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// One that is measured.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    /// Its first process; `None` for the stand-in itself.
    pub(crate) id: Option<u32>,
    /// Where it tells how much of its audit log is in the database.
    pub(crate) metrics: Option<SocketAddr>,
    /// Keeps it running.
    _process: Option<std::rc::Rc<Process>>,
}

/// How a peer reaches the stand-in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Plain,
    Tls,
}

/// Where and how everything of a phase runs.
pub(crate) struct Place<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) people: &'a People,
    pub(crate) folder: &'a std::path::Path,
    pub(crate) ports: &'a Ports,
    pub(crate) layout: Layout,
    pub(crate) way: Way,
}

impl Place<'_> {
    /// The stand-in's address, as a base address of the provider.
    fn base_url(&self) -> String {
        match self.way {
            Way::Plain => format!("http://127.0.0.1:{}", self.ports.plain),
            Way::Tls => format!("https://localhost:{}", self.ports.tls),
        }
    }

    fn plain(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.plain).into()
    }
}

/// Starts all that are wanted and there, and waits until each gives a right answer.
pub(crate) async fn start(place: &Place<'_>, deployment: &Deployment) -> Vec<Peer> {
    let settings = place.settings;
    let mut peers = vec![];
    if settings.wants(DIRECT) {
        peers.push(direct(place));
    }
    if settings.wants(LIMIT) || settings.wants(SAME_TOKENS) {
        peers.extend(nginx::start(place).into_iter().filter(|peer| settings.wants(peer.name)));
    }
    if settings.wants(KEYFOLD) {
        peers.push(deployment.start(place, KEYFOLD, &settings.keyfold));
    }
    if let Some(program) = settings.other.as_deref().filter(|_| settings.wants(OTHER)) {
        peers.push(deployment.start(place, OTHER, program));
    }
    if place.way == Way::Plain {
        peers.extend(others::start(place).into_iter().filter(|peer| settings.wants(peer.name)));
    }
    let mut ready = vec![];
    for peer in peers {
        match wait_for(&peer).await {
            Ok(()) => ready.push(peer),
            Err(why) => eprintln!("{} is left out: {why}", peer.name),
        }
    }
    ready
}

fn direct(place: &Place<'_>) -> Peer {
    let target = Target {
        address: place.plain(),
        path: PATH.into(),
        headers: vec![],
        users: place.people.file("direct", &place.people.keys),
    };
    Peer { name: DIRECT, target, id: None, metrics: None, _process: None }
}

/// Until it gives a good answer; else what it says instead.
async fn wait_for(peer: &Peer) -> Result<(), String> {
    let begun = Instant::now();
    let mut first_answer = None;
    loop {
        let why = match ask_once(&peer.target).await {
            Ok(None) => return Ok(()),
            Ok(Some(bad)) => {
                first_answer.get_or_insert_with(Instant::now);
                bad
            }
            Err(error) => error.to_string(),
        };
        let hopeless = first_answer.is_some_and(|first| first.elapsed() > PATIENCE_WITH_BAD_ANSWERS);
        if hopeless || begun.elapsed() > PATIENCE || !peer.id.is_none_or(is_running) {
            return Err(why);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether a program is there.
fn exists(program: &str) -> bool {
    ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|folder| std::path::Path::new(folder).join(program).exists())
}

/// A request without a body, and the answer's.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = Connection::open(address, None).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let answer = connection.ask(request.as_bytes()).await?;
    Ok(String::from_utf8_lossy(answer.body).into_owned())
}

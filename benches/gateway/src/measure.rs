//! One job of the load after the other, the peers taking turns.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::load::{Kind, Outcome};
use crate::peers::Peer;
use crate::processes::{cpu_seconds, memory_mb};
use crate::stage::{Measured, Provider, Stage, drain, load_command};

/// Before anything counts.
const WARM_UP: Kind = Kind::Closed { connections: 32, seconds: 2.0 };
/// A rate counts only for who can do a good deal more.
const HEADROOM: f64 = 2.0;
/// Between two pieces of a stream that is held.
const GAP_MS: u64 = 2000;
/// More pieces than are ever sent.
const ENDLESS: u64 = 1_000_000;
/// For all streams to be open.
const OPENING: Duration = Duration::from_secs(120);
/// While streams are open, memory is looked at so often, so many times.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Whoever has not noticed by then that its callers are gone does not notice.
const LEAVING: Duration = Duration::from_secs(5);

/// Everything measured of one peer in one phase.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) idle_mb: Option<f64>,
    warm_up: Measured,
    /// By kind, then by round; empty for what the peer cannot do.
    rounds: Vec<Vec<Measured>>,
}

impl Figures {
    /// One figure of each round of a kind.
    pub(crate) fn each(&self, kind: usize, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.rounds[kind].iter().map(figure).collect()
    }

    pub(crate) fn kinds(&self) -> usize {
        self.rounds.len()
    }

    pub(crate) fn bad(&self) -> usize {
        self.all().map(|measured| measured.outcome.bad()).sum()
    }

    pub(crate) fn wrong_keys(&self) -> usize {
        self.all().map(|measured| measured.outcome.wrong_key).sum()
    }

    /// All that came, and the one that showed that it was ready.
    pub(crate) fn answers(&self) -> usize {
        self.all().map(|measured| measured.outcome.requests).sum::<usize>() + 1
    }

    /// After each job, the seconds until the audit log was in the database.
    pub(crate) fn drained(&self) -> Vec<f64> {
        self.all().filter_map(|measured| measured.drained).map(|time| time.as_secs_f64()).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Measured> {
        std::iter::once(&self.warm_up).chain(self.rounds.iter().flatten())
    }
}

/// Each round visits every peer with every kind of load.
pub(crate) async fn in_rounds(
    stage: &Stage,
    provider: &Provider,
    peers: &[Peer],
    kinds: &[Kind],
    rounds: usize,
) -> Vec<Figures> {
    let mut figures = vec![];
    for peer in peers {
        let idle_mb = peer.id.map(memory_mb);
        let warm_up = stage.measure(provider, peer, WARM_UP).await;
        eprintln!("{}: ready, {:.0}/s", peer.name, warm_up.per_second());
        figures.push(Figures { name: peer.name, idle_mb, warm_up, rounds: vec![vec![]; kinds.len()] });
    }
    for round in 1..=rounds {
        for (at, kind) in kinds.iter().enumerate() {
            for (peer, of_peer) in peers.iter().zip(&mut figures) {
                if let Kind::Timed { per_second, .. } = kind
                    && of_peer.warm_up.per_second() < per_second * HEADROOM
                {
                    continue;
                }
                let measured = stage.measure(provider, peer, *kind).await;
                of_peer.rounds[at].push(measured);
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    figures
}

/// What streams take that are open.
pub(crate) struct HeldStreams {
    pub(crate) open: usize,
    pub(crate) memory_mb: f64,
    pub(crate) cpu_share: f64,
    pub(crate) bad: usize,
}

/// Opens so many streams, and looks at the peer while they are open.
pub(crate) async fn hold(provider: &Provider, peer: &Peer, streams: usize) -> HeldStreams {
    provider.plan(ENDLESS, GAP_MS).await;
    let mut load = load_command(&peer.target, Kind::Held { streams }).spawn().unwrap();
    let mut lines = BufReader::new(load.stdout.take().unwrap()).lines();
    let opened = tokio::time::timeout(OPENING, lines.next_line()).await;
    let open = opened.ok().and_then(|line| line.ok()??.parse().ok()).unwrap_or(0);
    let id = peer.id.unwrap_or_default();
    let (begun, cpu) = (Instant::now(), cpu_seconds(id));
    let mut memory: f64 = 0.0;
    for _ in 0..LOOKS {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        memory = memory.max(memory_mb(id));
    }
    let cpu_share = (cpu_seconds(id) - cpu) / begun.elapsed().as_secs_f64();
    drop(load.stdin.take());
    let said = lines.next_line().await.ok().flatten().unwrap_or_default();
    let outcome: Outcome = serde_json::from_str(&said).unwrap_or_default();
    let _ = load.wait().await;
    if let Some(bad) = outcome.first_bad.as_ref().filter(|_| outcome.bad() > 0) {
        eprintln!("  {}: {} bad answers: {bad}", peer.name, outcome.bad());
    }
    drain(peer).await;
    HeldStreams { open, memory_mb: memory, cpu_share, bad: outcome.bad() }
}

/// Milliseconds from the moment when so many callers are gone at once until the provider has lost the last of their
/// connections; `None` if it keeps one.
pub(crate) async fn leave(provider: &Provider, peer: &Peer, streams: usize) -> Option<f64> {
    provider.plan(ENDLESS, GAP_MS).await;
    let before = connections_to(provider.port());
    let mut load = load_command(&peer.target, Kind::Held { streams }).spawn().unwrap();
    let mut lines = BufReader::new(load.stdout.take().unwrap()).lines();
    let _ = tokio::time::timeout(OPENING, lines.next_line()).await;
    let there = connections_to(provider.port());
    // Its end closes all of its connections.
    let begun = Instant::now();
    let _ = load.start_kill();
    let mut left = there;
    while left > before && begun.elapsed() < LEAVING {
        tokio::time::sleep(Duration::from_millis(1)).await;
        left = connections_to(provider.port());
    }
    let took = begun.elapsed();
    let _ = load.wait().await;
    drain(peer).await;
    (there > before && left <= before).then_some(took.as_secs_f64() * 1e3)
}

/// Connections of anybody to this port of this machine (`proc(5)`, `/proc/net/tcp`: addresses in hexadecimal digits,
/// state 1 for an established one).
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let is_there = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let to = fields.next().and_then(|to| to.rsplit_once(':')).map(|(_, port)| port);
        to.is_some_and(|to| u16::from_str_radix(to, 16) == Ok(port)) && fields.next() == Some("01")
    };
    table.lines().filter(is_there).count()
}

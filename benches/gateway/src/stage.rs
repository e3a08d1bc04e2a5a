//! What a run stands on: the stand-in, the users, PostgreSQL, and one job of the load after the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use crate::load::{Job, Kind, Outcome, Target};
use crate::peers::{Deployment, Peer, Place, Way, audit_counts};
use crate::people::People;
use crate::processes::{Layout, Process, cpu_seconds, hold_to, memory_mb};
use crate::settings::Settings;
use crate::upstream::{Ports, plan_request};

const POLL: Duration = Duration::from_millis(20);
/// Files of a gateway besides its streams' connections.
const OTHER_FILES: u64 = 200;
/// For what was recorded to come into the database.
const DRAINING: Duration = Duration::from_secs(120);

/// What all phases of a run share.
pub(crate) struct Stage {
    pub(crate) settings: Settings,
    pub(crate) deployment: Deployment,
    people: People,
    folder: TempDir,
}

/// The stand-in, for one phase.
pub(crate) struct Provider {
    ports: Ports,
    process: Process,
}

/// One job done by one peer.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    /// Of the peer, per good answer.
    pub(crate) cpu_us: f64,
    /// Of PostgreSQL, until what was recorded had come there.
    pub(crate) database_cpu_us: f64,
    /// Of the peer, in the middle of it.
    pub(crate) memory_mb: f64,
    /// How long it took until the audit log was in the database.
    pub(crate) drained: Option<Duration>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        count(self.outcome.requests) / self.outcome.seconds
    }

    /// The part of a CPU's time that the peer took. Well below 1, something else was full first.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu_us * self.per_second() / 1e6
    }
}

impl Stage {
    /// PostgreSQL, an issuer, and users whose keys are saved.
    pub(crate) async fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deployment = Deployment::new().await;
        let begun = Instant::now();
        let people = People::new(settings.users, deployment.issuer(), folder.path());
        eprintln!("{} users made in {:.1} s", settings.users, begun.elapsed().as_secs_f64());
        let stage = Self { settings, deployment, people, folder };
        if stage.settings.wants(crate::peers::KEYFOLD) {
            let begun = Instant::now();
            let provider = stage.provider(Layout::Free);
            stage.deployment.fill(&stage.place(&provider, Layout::Free, Way::Plain)).await;
            eprintln!("their keys saved in {:.1} s", begun.elapsed().as_secs_f64());
        }
        stage
    }

    /// Starts the stand-in, and puts all but the peers where they belong.
    pub(crate) fn provider(&self, layout: Layout) -> Provider {
        let others = layout.others();
        hold_to(0, &others);
        if let Some(database) = self.deployment.database_id() {
            hold_to(database, &others);
        }
        let program = std::env::current_exe().unwrap();
        let mut command = Process::command(program.as_os_str(), &others);
        command.arg("upstream").arg(self.folder.path()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command).unwrap();
        let mut line = String::new();
        BufReader::new(process.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
        Provider { ports: serde_json::from_str(&line).unwrap(), process }
    }

    pub(crate) fn place<'a>(&'a self, provider: &'a Provider, layout: Layout, way: Way) -> Place<'a> {
        Place {
            settings: &self.settings,
            people: &self.people,
            folder: self.folder.path(),
            ports: &provider.ports,
            layout,
            way,
        }
    }

    /// As many streams as are wanted, and as a gateway may open files for: each is two connections.
    pub(crate) fn most_streams(&self) -> usize {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let possible = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
        self.settings.streams.min(possible)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Has a peer do a job, and says what it took.
    pub(crate) async fn measure(&self, provider: &Provider, peer: &Peer, kind: Kind) -> Measured {
        let id = peer.id.unwrap_or_else(|| provider.process.id());
        let (before, database_before) = (cpu_seconds(id), self.database_cpu());
        let half = Duration::from_secs_f64(kind.seconds() / 2.0);
        let sample = async {
            tokio::time::sleep(half).await;
            memory_mb(id)
        };
        let (outcome, memory_mb) = tokio::join!(load(&peer.target, kind), sample);
        let drained = match peer.metrics {
            Some(_) => Some(drain(peer).await),
            None => None,
        };
        // Bringing the audit log to the database is part of the work, also where it comes later.
        let cpu = cpu_seconds(id) - before;
        let requests = count(outcome.requests.max(1));
        if outcome.bad() > 0 {
            eprintln!(
                "  {}: {} wrong keys, {} wrong answers, {} broken off: {}",
                peer.name,
                outcome.wrong_key,
                outcome.wrong_status,
                outcome.broken,
                outcome.first_bad.as_deref().unwrap_or_default()
            );
        }
        Measured {
            outcome,
            cpu_us: cpu / requests * 1e6,
            database_cpu_us: (self.database_cpu() - database_before) / requests * 1e6,
            memory_mb,
            drained,
        }
    }

    fn database_cpu(&self) -> f64 {
        self.deployment.database_id().map_or(0.0, cpu_seconds)
    }
}

impl Provider {
    /// Where it is called without TLS.
    pub(crate) fn port(&self) -> u16 {
        self.ports.plain
    }

    /// How it sends streams from now on.
    pub(crate) async fn plan(&self, chunks: u64, gap_ms: u64) {
        let address = ([127, 0, 0, 1], self.ports.plain).into();
        let mut connection = crate::http::Connection::open(address, None).await.unwrap();
        let answer = connection.ask(plan_request(chunks, gap_ms).as_bytes()).await.unwrap();
        assert_eq!(answer.status, 204);
    }
}

/// The load as a program of its own, beside the stand-in.
pub(crate) fn load_command(target: &Target, kind: Kind) -> tokio::process::Command {
    let job = serde_json::to_string(&Job { target: target.clone(), kind }).unwrap();
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(std::env::current_exe().unwrap());
    command.arg("load").arg(job).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn load(target: &Target, kind: Kind) -> Outcome {
    let output = load_command(target, kind).output().await.unwrap();
    serde_json::from_slice(&output.stdout).expect("the load says what came of it")
}

/// Waits until what was recorded is in the database, so that the next peer has the machine for itself.
pub(crate) async fn drain(peer: &Peer) -> Duration {
    let begun = Instant::now();
    if let Some(metrics) = peer.metrics {
        while begun.elapsed() < DRAINING {
            match audit_counts(metrics).await {
                Some((recorded, shipped)) if recorded == shipped => break,
                None => break,
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
    begun.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can count")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

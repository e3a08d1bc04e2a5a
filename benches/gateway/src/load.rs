//! The load: sends requests as many users in turn, and looks whose key each answer was made with.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, Semaphore};

use crate::http::{Answer, Connection};

/// What follows this in an answer is the fingerprint of the key that came.
const MARK: &[u8] = b"fp=";
const FINGERPRINT: usize = 16;
/// A connection that fails so often in a row is given up.
const MOST_FAILURES: usize = 20;
/// Of one answer, that is kept to show what was wrong.
const SHOWN: usize = 300;
/// Streams are opened from so many addresses of this machine, lest one runs out of ports.
const SOURCES: usize = 4;
/// Streams that are being opened at a time.
const OPENING: usize = 64;

/// What is to be done.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) kind: Kind,
}

/// Where requests go, and what stands in them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// Lines `name: value`.
    pub(crate) headers: Vec<String>,
    /// Each line a credential, a tab, and the fingerprint that its user's answers must have.
    pub(crate) users: PathBuf,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Kind {
    /// As fast as it goes: each connection sends its next request when it has its answer.
    Closed { connections: usize, seconds: f64 },
    /// By a timetable, whether or not earlier answers came. Times count from the timetable.
    Timed { connections: usize, per_second: f64, seconds: f64 },
    /// So many streams at a time. Times are those to the first piece.
    FirstPiece { streams: usize, seconds: f64 },
    /// Opens streams, says in a first line how many are, and reads them until its standard input closes.
    Held { streams: usize },
}

impl Kind {
    /// How long it takes, if that is known.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Self::Closed { seconds, .. } | Self::Timed { seconds, .. } | Self::FirstPiece { seconds, .. } => {
                seconds
            }
            Self::Held { .. } => 0.0,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Good answers.
    pub(crate) requests: usize,
    pub(crate) wrong_key: usize,
    pub(crate) wrong_status: usize,
    pub(crate) broken: usize,
    /// The beginning of the first answer that was no good.
    pub(crate) first_bad: Option<String>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Outcome {
    pub(crate) fn bad(&self) -> usize {
        self.wrong_key + self.wrong_status + self.broken
    }
}

/// Does the job and prints what came of it as JSON.
pub(crate) async fn run(job: &str) -> io::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let streamed = matches!(job.kind, Kind::FirstPiece { .. } | Kind::Held { .. });
    let users = read_users(&job.target, streamed)?;
    let work = Arc::new(Work {
        address: job.target.address,
        users,
        next: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        outcome: Mutex::default(),
        times: Mutex::default(),
    });
    let begun = Instant::now();
    match job.kind {
        Kind::Closed { connections, seconds } => closed(&work, connections, seconds).await,
        Kind::Timed { connections, per_second, seconds } => {
            timed(&work, connections, per_second, seconds).await?;
        }
        Kind::FirstPiece { streams, seconds } => first_piece(&work, streams, seconds).await,
        Kind::Held { streams } => held(&work, streams).await,
    }
    let mut outcome = work.outcome.lock().unwrap().clone();
    outcome.seconds = begun.elapsed().as_secs_f64();
    let mut times = std::mem::take(&mut *work.times.lock().unwrap());
    times.sort_unstable();
    outcome.p50_us = percentile(&times, 0.5);
    outcome.p99_us = percentile(&times, 0.99);
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

struct Work {
    address: SocketAddr,
    users: Vec<User>,
    next: AtomicUsize,
    over: AtomicBool,
    outcome: Mutex<Outcome>,
    times: Mutex<Vec<Duration>>,
}

struct User {
    request: Vec<u8>,
    fingerprint: [u8; FINGERPRINT],
}

impl Work {
    /// Request i goes as user i mod N.
    fn next_user(&self) -> &User {
        &self.users[self.next.fetch_add(1, Ordering::Relaxed) % self.users.len()]
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Runs until a moment, and for the requests that are then under way.
    async fn end_after(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        self.over.store(true, Ordering::Relaxed);
    }

    fn add(&self, seen: Outcome, times: Vec<Duration>) {
        let mut sum = self.outcome.lock().unwrap();
        sum.requests += seen.requests;
        sum.wrong_key += seen.wrong_key;
        sum.wrong_status += seen.wrong_status;
        sum.broken += seen.broken;
        sum.first_bad = sum.first_bad.take().or(seen.first_bad);
        self.times.lock().unwrap().extend(times);
    }
}

impl Outcome {
    fn count(&mut self, answer: &Answer<'_>, user: &User) {
        if answer.status != 200 {
            self.wrong_status += 1;
        } else if fingerprint_in(answer.body) == Some(&user.fingerprint[..]) {
            self.requests += 1;
            return;
        } else {
            self.wrong_key += 1;
        }
        self.show(answer.status, answer.body);
    }

    fn show(&mut self, status: u16, body: &[u8]) {
        self.first_bad.get_or_insert_with(|| {
            format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(SHOWN)]))
        });
    }

    fn fail(&mut self, error: &io::Error) {
        self.broken += 1;
        self.first_bad.get_or_insert_with(|| error.to_string());
    }
}

fn fingerprint_in(body: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(body, MARK)? + MARK.len();
    body.get(at..at + FINGERPRINT)
}

async fn closed(work: &Arc<Work>, connections: usize, seconds: f64) {
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let work = Arc::clone(work);
            tokio::spawn(async move {
                let mut seen = Outcome::default();
                let mut failures = 0;
                while !work.is_over() && failures < MOST_FAILURES {
                    match one_after_the_other(&work, &mut seen).await {
                        Ok(()) => break,
                        Err(error) => {
                            failures += 1;
                            seen.fail(&error);
                        }
                    }
                }
                work.add(seen, vec![]);
            })
        })
        .collect();
    work.end_after(seconds).await;
    for task in tasks {
        let _ = task.await;
    }
}

async fn one_after_the_other(work: &Work, seen: &mut Outcome) -> io::Result<()> {
    let mut connection = Connection::open(work.address, None).await?;
    while !work.is_over() {
        let user = work.next_user();
        let answer = connection.ask(&user.request).await?;
        seen.count(&answer, user);
    }
    Ok(())
}

/// Moments at which a request is due and for which no connection is free yet.
#[derive(Default)]
struct Timetable {
    due: Mutex<VecDeque<Instant>>,
    came: Notify,
}

impl Timetable {
    /// `None` when it is over.
    async fn next(&self, work: &Work) -> Option<Instant> {
        loop {
            if let Some(due) = self.due.lock().unwrap().pop_front() {
                return Some(due);
            }
            if work.is_over() {
                return None;
            }
            self.came.notified().await;
        }
    }
}

async fn timed(work: &Arc<Work>, connections: usize, per_second: f64, seconds: f64) -> io::Result<()> {
    let timetable = Arc::new(Timetable::default());
    let mut tasks = vec![];
    for _ in 0..connections {
        let mut connection = Connection::open(work.address, None).await?;
        let (work, timetable) = (Arc::clone(work), Arc::clone(&timetable));
        tasks.push(tokio::spawn(async move {
            let (mut seen, mut times) = (Outcome::default(), vec![]);
            while let Some(due) = timetable.next(&work).await {
                let user = work.next_user();
                match connection.ask(&user.request).await {
                    Ok(answer) => {
                        times.push(due.elapsed());
                        seen.count(&answer, user);
                    }
                    Err(error) => {
                        seen.fail(&error);
                        match Connection::open(work.address, None).await {
                            Ok(again) => connection = again,
                            Err(_) => break,
                        }
                    }
                }
            }
            work.add(seen, times);
        }));
    }
    let interval = Duration::from_secs_f64(1.0 / per_second);
    let mut timer = ticking(interval)?;
    let mut due = Instant::now();
    let end = due + Duration::from_secs_f64(seconds);
    while due < end {
        let mut ticks = [0; 8];
        timer.read_exact(&mut ticks).await?;
        for _ in 0..u64::from_ne_bytes(ticks) {
            due += interval;
            timetable.due.lock().unwrap().push_back(due);
            timetable.came.notify_one();
        }
    }
    work.over.store(true, Ordering::Relaxed);
    timetable.came.notify_waiters();
    for task in tasks {
        let _ = task.await;
    }
    Ok(())
}

/// A clock of the kernel's: the runtime's own timers are as coarse as a millisecond. It is read like a pipe: each time
/// eight bytes, which say how often it ticked.
fn ticking(interval: Duration) -> io::Result<pipe::Receiver> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let interval = Timespec::try_from(interval).map_err(io::Error::other)?;
    let setting = Itimerspec { it_interval: interval, it_value: interval };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
    pipe::Receiver::from_owned_fd_unchecked(timer)
}

async fn first_piece(work: &Arc<Work>, streams: usize, seconds: f64) {
    let tasks: Vec<_> = (0..streams)
        .map(|_| {
            let work = Arc::clone(work);
            tokio::spawn(async move {
                let (mut seen, mut times) = (Outcome::default(), vec![]);
                if let Err(error) = stream_after_stream(&work, &mut seen, &mut times).await {
                    seen.fail(&error);
                }
                work.add(seen, times);
            })
        })
        .collect();
    work.end_after(seconds).await;
    for task in tasks {
        let _ = task.await;
    }
}

async fn stream_after_stream(work: &Work, seen: &mut Outcome, times: &mut Vec<Duration>) -> io::Result<()> {
    let mut connection = Connection::open(work.address, None).await?;
    while !work.is_over() {
        let user = work.next_user();
        let begun = Instant::now();
        let mut stream = connection.begin(&user.request).await?;
        times.push(begun.elapsed());
        let first = Answer { status: stream.status, body: &stream.piece };
        seen.count(&first, user);
        while stream.next().await? {}
    }
    Ok(())
}

async fn held(work: &Arc<Work>, streams: usize) {
    let opened = Arc::new(Semaphore::new(0));
    let opening = Arc::new(Semaphore::new(OPENING));
    let tasks: Vec<_> = (0..streams)
        .map(|number| {
            let (work, opened, opening) = (Arc::clone(work), Arc::clone(&opened), Arc::clone(&opening));
            let last = u8::try_from(number % SOURCES + 1).unwrap_or(1);
            let from = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
            tokio::spawn(async move {
                let mut seen = Outcome::default();
                let turn = opening.acquire().await;
                let kept = async {
                    let mut connection = Connection::open(work.address, Some(from)).await?;
                    let user = work.next_user();
                    let mut stream = connection.begin(&user.request).await?;
                    let first = Answer { status: stream.status, body: &stream.piece };
                    seen.count(&first, user);
                    work.add(std::mem::take(&mut seen), vec![]);
                    drop(turn);
                    opened.add_permits(1);
                    while stream.next().await? {}
                    io::Result::Ok(())
                };
                if let Err(error) = kept.await {
                    opened.add_permits(1);
                    seen.fail(&error);
                }
                work.add(seen, vec![]);
            })
        })
        .collect();
    let _ = opened.acquire_many(u32::try_from(streams).unwrap_or(u32::MAX)).await;
    println!("{}", work.outcome.lock().unwrap().requests);
    // Until there is nobody any more who would want them open.
    let _ = tokio::io::stdin().read(&mut [0]).await;
    for task in tasks {
        task.abort();
    }
}

fn read_users(target: &Target, streamed: bool) -> io::Result<Vec<User>> {
    let Target { address, path, headers, users } = target;
    let headers: String = headers.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
    let stream = if streamed { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    let body = format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"system","content":"You are a bench."}},{{"role":"user","content":"Tell me about the quick brown fox and the lazy dog, in about a hundred words."}}]{stream}}}"#
    );
    let length = body.len();
    let user = |line: &str| {
        let (credential, fingerprint) = line.split_once('\t').ok_or(io::ErrorKind::InvalidData)?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\ncontent-type: application/json\r\nuser-agent: keyfold-gateway-bench\r\n{headers}authorization: Bearer {credential}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let fingerprint = fingerprint.as_bytes().try_into().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(User { request: request.into_bytes(), fingerprint })
    };
    std::fs::read_to_string(users)?.lines().map(user).collect()
}

/// Writes the users' file of a [`Target`].
pub(crate) fn write_users<'a>(file: &Path, users: impl Iterator<Item = (&'a str, String)>) -> io::Result<()> {
    let lines: Vec<_> =
        users.map(|(credential, fingerprint)| format!("{credential}\t{fingerprint}")).collect();
    std::fs::write(file, lines.join("\n"))
}

fn percentile(sorted: &[Duration], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Sends the first user's request once; what was wrong with the answer, if it was no good.
pub(crate) async fn ask_once(target: &Target) -> io::Result<Option<String>> {
    let users = read_users(target, false)?;
    let user = users.first().ok_or(io::ErrorKind::InvalidData)?;
    let mut connection = Connection::open(target.address, None).await?;
    let mut seen = Outcome::default();
    seen.count(&connection.ask(&user.request).await?, user);
    Ok(seen.first_bad)
}

//! Where events go besides the database: files and standard output, one JSON object per line.
//!
//! Each sink has a thread and a queue of its own, so no request waits for a disk or a reader. A sink that fails is
//! tried again, and what it could not take is counted; the database has every event.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::settings::SinkSetting;

/// What may wait for a sink; what comes when it is full is lost there.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How often a sink that failed is tried again when nothing new comes.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How long the end of the process waits for a sink.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The sinks of this process.
#[derive(Default)]
pub(crate) struct Sinks(Vec<Sink>);

struct Sink {
    shared: Arc<Shared>,
    /// `None` when closed.
    queue: Mutex<Option<Queue>>,
}

struct Queue {
    jobs: Sender<Job>,
    ended: oneshot::Receiver<()>,
}

/// What a sink and its thread both look at.
struct Shared {
    name: String,
    /// Bytes that were taken and are not written yet.
    waiting: AtomicUsize,
    /// Lines that were not taken.
    lost: AtomicU64,
    /// It was told that lines are lost.
    is_overflowing: AtomicBool,
}

enum Job {
    /// Whole lines.
    Lines(Arc<[u8]>),
    /// The file may have been moved away.
    Reopen,
}

impl Sinks {
    /// Starts a thread for each of them; whatever goes wrong is logged, and tried again.
    pub(crate) fn open(settings: &[SinkSetting]) -> Self {
        Self(settings.iter().map(Sink::open).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands these lines, `count` of them, to every sink; waits for nothing.
    pub(crate) fn write_lines(&self, lines: &Arc<[u8]>, count: u64) {
        for sink in &self.0 {
            sink.write(lines, count);
        }
    }

    /// Opens files anew by their names: the old ones may have been moved away.
    pub(crate) fn reopen(&self) {
        for sink in &self.0 {
            sink.send(Job::Reopen);
        }
    }

    /// Lines that no sink has, and never will.
    pub(crate) fn lost(&self) -> u64 {
        self.0.iter().map(|sink| sink.shared.lost.load(Ordering::Relaxed)).sum()
    }

    /// Takes nothing more, and waits a moment until what was taken is written.
    pub(crate) async fn close(&self) {
        for sink in &self.0 {
            let Some(Queue { jobs, ended }) =
                sink.queue.lock().unwrap_or_else(PoisonError::into_inner).take()
            else {
                continue;
            };
            drop(jobs);
            let _ = timeout(LAST_WAIT, ended).await;
            let left = sink.shared.waiting.load(Ordering::Relaxed);
            if left > 0 {
                tracing::warn!(
                    sink = sink.shared.name,
                    bytes = left,
                    "events did not get there before the end; the database has them"
                );
            }
        }
    }
}

impl Sink {
    fn open(setting: &SinkSetting) -> Self {
        let (jobs, inbox) = channel();
        let (end, ended) = oneshot::channel();
        let target = match setting {
            SinkSetting::File(path) => Target::File { path: path.clone(), file: None },
            SinkSetting::Stdout => Target::Stdout(None),
        };
        let shared = Arc::new(Shared {
            name: target.name(),
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            is_overflowing: AtomicBool::new(false),
        });
        let writer =
            Writer { target, shared: Arc::clone(&shared), unwritten: vec![], begun: 0, is_failing: false };
        let started = thread::Builder::new().name("keyfold-audit-sink".into()).spawn(move || {
            writer.run(&inbox);
            let _ = end.send(());
        });
        let queue = match started {
            Ok(_) => Some(Queue { jobs, ended }),
            Err(error) => {
                tracing::error!(sink = shared.name, %error, "events do not go there: no thread could be started");
                None
            }
        };
        Self { shared, queue: Mutex::new(queue) }
    }

    fn write(&self, lines: &Arc<[u8]>, count: u64) {
        let shared = &self.shared;
        let waiting = shared.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        if waiting + lines.len() <= MOST_BYTES && self.send(Job::Lines(Arc::clone(lines))) {
            shared.is_overflowing.store(false, Ordering::Relaxed);
            return;
        }
        shared.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
        shared.lost.fetch_add(count, Ordering::Relaxed);
        if !shared.is_overflowing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                sink = shared.name,
                "events are lost there: it takes none, or not fast enough; the database has them, see `keyfold audit export`"
            );
        }
    }

    fn send(&self, job: Job) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.jobs.send(job).is_ok())
    }
}

/// The thread's side of a sink.
struct Writer {
    target: Target,
    shared: Arc<Shared>,
    /// Begins with a line.
    unwritten: Vec<u8>,
    /// How much of the first line is written already.
    begun: usize,
    is_failing: bool,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Job>) {
        // At once, so that a path that is no good is told at the start.
        self.write();
        loop {
            let job = if self.is_failing {
                inbox.recv_timeout(RETRY_EVERY)
            } else {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match job {
                Ok(Job::Lines(lines)) => self.unwritten.extend_from_slice(&lines),
                Ok(Job::Reopen) => self.reopen(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write();
                    return;
                }
            }
            self.write();
        }
    }

    fn reopen(&mut self) {
        self.target.close();
        // The line that was begun is whole in the new file.
        self.begun = 0;
    }

    fn write(&mut self) {
        let failed = self.try_write();
        let complete =
            self.unwritten[..self.begun].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.unwritten.drain(..complete);
        self.begun -= complete;
        self.shared.waiting.fetch_sub(complete, Ordering::Relaxed);
        let sink = &self.shared.name;
        match (failed, self.is_failing) {
            (Err(error), false) => {
                tracing::warn!(sink, %error, "events cannot be written there, and it is tried again; the database has them");
                self.is_failing = true;
            }
            (Ok(()), true) => {
                let lost = self.shared.lost.load(Ordering::Relaxed);
                tracing::info!(sink, lost, "events are written there again");
                self.is_failing = false;
            }
            _ => {}
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let file = self.target.open()?;
        while self.begun < self.unwritten.len() {
            match file.write(&self.unwritten[self.begun..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.begun += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

enum Target {
    File { path: PathBuf, file: Option<File> },
    Stdout(Option<File>),
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stdout(_) => "standard output".into(),
        }
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let (file, opened) = match self {
            Self::File { file: Some(file), .. } | Self::Stdout(Some(file)) => return Ok(file),
            Self::File { path, file } => {
                (file, OpenOptions::new().append(true).create(true).mode(0o600).open(path)?)
            }
            // Without a buffer of its own, so that what was written is known.
            Self::Stdout(file) => (file, File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        };
        Ok(file.insert(opened))
    }

    fn close(&mut self) {
        if let Self::File { file, .. } = self {
            *file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn lines(text: &str) -> (Arc<[u8]>, u64) {
        (text.as_bytes().into(), text.lines().count() as u64)
    }

    fn write(sinks: &Sinks, text: &str) {
        let (lines, count) = lines(text);
        sinks.write_lines(&lines, count);
    }

    fn file(path: &Path) -> SinkSetting {
        SinkSetting::File(path.to_owned())
    }

    async fn soon(what: &str, is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(Duration::from_secs(20), waiting).await.is_ok(), "not so: {what}");
    }

    #[tokio::test]
    async fn a_file_is_private_and_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for text in ["{\"a\":1}\n{\"a\":2}\n", "{\"a\":3}\n"] {
            let sinks = Sinks::open(&[file(&path)]);
            write(&sinks, text);
            sinks.close().await;
            write(&sinks, "after the end\n");
            assert_eq!(sinks.lost(), 1);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_made_anew_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
        let sinks = Sinks::open(&[file(&path)]);
        write(&sinks, "one\n");
        soon("it is there", || fs::read_to_string(&path).is_ok_and(|text| text == "one\n")).await;
        fs::rename(&path, &old).unwrap();
        write(&sinks, "two\n");
        sinks.reopen();
        write(&sinks, "three\n");
        sinks.close().await;
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later_and_others_get_theirs_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (away, there) = (folder.path().join("away/audit.jsonl"), folder.path().join("audit.jsonl"));
        let sinks = Sinks::open(&[file(&away), file(&there)]);
        write(&sinks, "one\n");
        soon("the other one has it", || fs::read_to_string(&there).is_ok_and(|text| text == "one\n")).await;
        fs::create_dir(folder.path().join("away")).unwrap();
        write(&sinks, "two\n");
        sinks.close().await;
        assert_eq!(fs::read_to_string(&away).unwrap(), "one\ntwo\n");
        assert_eq!(sinks.lost(), 0);
    }

    #[tokio::test]
    async fn a_sink_that_takes_nothing_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let sinks = Sinks::open(&[file(&folder.path().join("away/audit.jsonl"))]);
        let megabyte = format!("{}\n", "x".repeat(1024 * 1024 - 1));
        for _ in 0..40 {
            write(&sinks, &megabyte);
        }
        assert_eq!(sinks.lost(), 8);
        sinks.close().await;
    }

    #[test]
    fn a_line_that_was_begun_is_ended_or_begun_again_in_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let writer = |unwritten: &str, begun| {
            let shared = Shared {
                name: String::new(),
                waiting: AtomicUsize::new(unwritten.len()),
                lost: AtomicU64::new(0),
                is_overflowing: AtomicBool::new(false),
            };
            let target = Target::File { path: path.clone(), file: None };
            let unwritten = unwritten.as_bytes().to_vec();
            Writer { target, shared: Arc::new(shared), unwritten, begun, is_failing: true }
        };
        // A full disk took "on" of the line.
        fs::write(&path, "on").unwrap();
        let mut begun = writer("one\ntwo\n", 2);
        begun.write();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!((begun.shared.waiting.load(Ordering::Relaxed), begun.unwritten.len()), (0, 0));
        fs::remove_file(&path).unwrap();
        let mut begun = writer("one\ntwo\n", 2);
        begun.reopen();
        begun.write();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}

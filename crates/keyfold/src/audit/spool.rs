//! The spool: where the use of a key is recorded before the provider is called, in the state directory.
//!
//! One line per event, which is written before anybody goes on, so it survives the death of the process; not that of the
//! machine, since nothing waits for the disk. Lines that are there at the same time are written by one `write`. A process
//! has a part for each core, so that threads do not wait for each other. Each part has a chain, and a locked folder, of
//! its own: `<tag of the database>-<random>`, with the number of its writer in `writer`. Whoever gets the lock of a folder
//! knows that its process is dead.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, flock};

use super::record::Moment;
use crate::clock::{Random, random_bytes};

/// A file that is longer is not added to: files are removed as a whole, once they are in the log.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Files that may wait for the database; above that, uses are committed to the database one by one, or refused.
const MOST_FILES: usize = 256;
const MOST_PARTS: usize = 8;
/// Ends of uses wait in memory for the next write, up to this.
const MOST_WAITING: usize = 64 * 1024;
const LOCK_FILE: &str = "lock";
const WRITER_FILE: &str = "writer";
const ENDING: &str = ".jsonl";

/// This process's spool.
pub(super) struct Spool {
    place: Arc<Place>,
    parts: Box<[Part]>,
}

/// Where the folders of all parts are made.
struct Place {
    path: PathBuf,
    tag: String,
    random: Arc<dyn Random>,
    /// Of all parts.
    files: AtomicUsize,
}

/// What the threads of one core write to. By itself in the caches, so that writing to one does not slow the others.
#[repr(align(128))]
pub(super) struct Part {
    place: Arc<Place>,
    inner: Mutex<Inner>,
}

struct Inner {
    folder: Option<Folder>,
    /// Those that are not in the log yet, the one that is written to last.
    files: VecDeque<SpoolFile>,
    /// Whether the last one of `files` may be added to.
    is_open: bool,
    /// Lines that wait for the next write.
    waiting: Vec<u8>,
    /// Where in it those stand that somebody waits for.
    awaited: Vec<Range<usize>>,
    /// Whether these were written.
    batch: Arc<Batch>,
    /// The number of the next line.
    next: i64,
}

/// Lines that are written at once, or not.
#[derive(Default)]
struct Batch(AtomicU8);

const WRITTEN: u8 = 1;
const NOT_WRITTEN: u8 = 2;

/// A line that is to be written before its event goes on.
#[must_use]
pub(super) struct Queued(Arc<Batch>);

/// A file of a spool.
#[derive(Clone)]
pub(super) struct SpoolFile {
    path: PathBuf,
    file: Arc<File>,
    /// Whole lines stand before this.
    len: u64,
}

/// A folder of a spool, held by its lock.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Spool {
    /// A spool below this place. Nothing is made before it is needed, but the place must be one where it can be.
    pub(super) fn new(path: PathBuf, tag: String, random: Arc<dyn Random>) -> io::Result<Self> {
        make_private(&path)?;
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
        let place = Arc::new(Place { path, tag, random, files: AtomicUsize::new(0) });
        let parts = thread::available_parallelism().map_or(1, usize::from).min(MOST_PARTS);
        let parts = (0..parts).map(|_| Part::new(&place)).collect();
        Ok(Self { place, parts })
    }

    /// The part that this thread writes to. What belongs together is written to the same one, wherever it ends.
    pub(super) fn part_of_this_thread(&self) -> usize {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        NUMBER.try_with(|number| *number).unwrap_or(0) % self.parts.len()
    }

    pub(super) fn part(&self, number: usize) -> &Part {
        &self.parts[number]
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes that are in files here.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Everything is in the log: the folders go.
    pub(super) fn remove(&self) {
        self.parts.iter().for_each(Part::remove);
    }

    /// Takes the folders of dead processes that used the same database. Says how many belong to another one.
    pub(super) fn dead(&self) -> (Vec<Folder>, usize) {
        let (mut dead, mut foreign) = (vec![], 0);
        let Ok(entries) = fs::read_dir(&self.place.path) else { return (dead, 0) };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let Some((tag, _)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            if tag != self.place.tag {
                foreign += 1;
            } else if let Some(folder) = Folder::take(entry.path()) {
                dead.push(folder);
            }
        }
        (dead, foreign)
    }
}

impl Part {
    fn new(place: &Arc<Place>) -> Self {
        let inner = Inner {
            folder: None,
            files: VecDeque::new(),
            is_open: false,
            waiting: Vec::with_capacity(4096),
            awaited: vec![],
            batch: Arc::default(),
            next: 1,
        };
        Self { place: Arc::clone(place), inner: Mutex::new(inner) }
    }

    /// Writes an event; it is on the file system when this returns.
    pub(super) fn write(&self, moment: &Moment, about: &[u8]) -> io::Result<()> {
        let queued = self.queue(moment, about);
        self.settle(&queued)
    }

    /// Adds an event to those that are written next. It counts only once it is [settled](Self::settle).
    pub(super) fn queue(&self, moment: &Moment, about: &[u8]) -> Queued {
        let mut inner = self.inner();
        let (start, next) = (inner.waiting.len(), inner.next);
        moment.write_line(next, about, &mut inner.waiting);
        let end = inner.waiting.len();
        inner.awaited.push(start..end);
        inner.next = next + 1;
        Queued(Arc::clone(&inner.batch))
    }

    /// Writes the event with all that waits, unless that was done; it is on the file system when this returns.
    ///
    /// # Errors
    /// If it could not be written. It is not written later.
    pub(super) fn settle(&self, queued: &Queued) -> io::Result<()> {
        if queued.is_settled().is_none() {
            let mut inner = self.inner();
            // Another thread may have been faster.
            if queued.is_settled().is_none() {
                return self.write_out(&mut inner);
            }
        }
        match queued.is_settled() {
            Some(true) => Ok(()),
            _ => Err(io::Error::other("it could not be written with others")),
        }
    }

    /// Writes an event with the next one, or when the shipper comes by; false if too many wait already.
    pub(super) fn write_later(&self, moment: &Moment, about: &[u8]) -> bool {
        let mut inner = self.inner();
        if inner.waiting.len() > MOST_WAITING && self.write_out(&mut inner).is_err() {
            return false;
        }
        let next = inner.next;
        moment.write_line(next, about, &mut inner.waiting);
        inner.next = next + 1;
        true
    }

    /// Writes what waits.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.waiting.is_empty() { Ok(()) } else { self.write_out(&mut inner) }
    }

    /// The folder's number of its writer is put there, so that whoever finds the folder goes on with that chain.
    pub(super) fn note_writer(&self, writer: i64) -> io::Result<()> {
        match &self.inner().folder {
            Some(folder) => note_writer(&folder.path, writer),
            None => Ok(()),
        }
    }

    /// The oldest file that is not in the log yet.
    pub(super) fn first_file(&self) -> Option<SpoolFile> {
        self.inner().files.front().cloned()
    }

    /// The file is in the log up to this length; it goes if nothing more comes there. False if more is there already.
    pub(super) fn is_shipped(&self, file: &SpoolFile, length: u64) -> bool {
        let mut inner = self.inner();
        let Some(first) = inner.files.front() else { return true };
        if first.path != file.path || first.len > length {
            return false;
        }
        if inner.files.len() > 1 || !inner.is_open {
            inner.files.pop_front();
            self.place.files.fetch_sub(1, Ordering::Relaxed);
            let is_empty = inner.files.is_empty();
            drop(inner);
            // Takes long: nobody should wait for it.
            let _ = fs::remove_file(&file.path);
            return is_empty;
        }
        true
    }

    /// Looks whether the folder is still there: it may have been removed under our feet.
    pub(super) fn look_after(&self) {
        let mut inner = self.inner();
        let is_gone = |file: &SpoolFile| file.file.metadata().map_or(true, |metadata| metadata.nlink() == 0);
        if inner.is_open && inner.files.back().is_some_and(is_gone) {
            tracing::warn!(
                folder = %self.place.path.display(),
                "the audit spool was removed while Keyfold uses it; a new one is made"
            );
            inner.is_open = false;
            inner.folder = None;
        }
    }

    fn bytes(&self) -> u64 {
        self.inner().files.iter().map(|file| file.len).sum()
    }

    fn remove(&self) {
        let mut inner = self.inner();
        inner.is_open = false;
        self.place.files.fetch_sub(inner.files.len(), Ordering::Relaxed);
        inner.files.clear();
        if let Some(folder) = inner.folder.take() {
            folder.remove();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all that waits, or nothing of it: then what somebody waits for is given up.
    fn write_out(&self, inner: &mut Inner) -> io::Result<()> {
        let written = self.try_write_out(inner);
        let (batch, awaited) = (std::mem::take(&mut inner.batch), std::mem::take(&mut inner.awaited));
        if written.is_err() {
            for line in awaited.into_iter().rev() {
                inner.waiting.drain(line);
            }
        }
        batch.0.store(if written.is_ok() { WRITTEN } else { NOT_WRITTEN }, Ordering::Release);
        written
    }

    fn try_write_out(&self, inner: &mut Inner) -> io::Result<()> {
        self.open(inner)?;
        let Inner { files, waiting, is_open, .. } = inner;
        let Some(current) = files.back_mut() else { return Err(ErrorKind::NotFound.into()) };
        if let Err(error) = (&*current.file).write_all(waiting) {
            // A line that was begun must not stand before a whole one.
            if current.file.set_len(current.len).is_err() {
                *is_open = false;
            }
            return Err(error);
        }
        current.len += waiting.len() as u64;
        waiting.clear();
        Ok(())
    }

    /// Makes sure of a file that can be added to.
    fn open(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.is_open && inner.files.back().is_some_and(|file| file.len < FILE_BYTES) {
            return Ok(());
        }
        if self.place.files.load(Ordering::Relaxed) >= MOST_FILES {
            return Err(io::Error::new(ErrorKind::StorageFull, "too much waits for the database"));
        }
        if inner.folder.is_none() {
            inner.folder = Some(Folder::make(&self.place)?);
        }
        let Some(folder) = &inner.folder else { return Err(ErrorKind::NotFound.into()) };
        // Named by a number of its own: a line's number may be tried twice.
        let mut number = inner.next;
        let (path, file) = loop {
            let path = folder.path.join(format!("{number:020}{ENDING}"));
            let mut options = OpenOptions::new();
            match options.read(true).append(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        inner.files.push_back(SpoolFile { path, file: Arc::new(file), len: 0 });
        self.place.files.fetch_add(1, Ordering::Relaxed);
        inner.is_open = true;
        Ok(())
    }
}

impl Queued {
    /// Whether it was written; `None` while nobody tried.
    fn is_settled(&self) -> Option<bool> {
        match self.0.0.load(Ordering::Acquire) {
            WRITTEN => Some(true),
            NOT_WRITTEN => Some(false),
            _ => None,
        }
    }
}

impl SpoolFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whole lines from `offset` on, up to about `most` bytes; nothing at the end.
    pub(super) fn read(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut most = most;
        loop {
            let mut bytes = vec![0; left.min(most)];
            self.file.read_exact_at(&mut bytes, offset)?;
            if bytes.len() == left {
                return Ok(bytes);
            }
            if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
                bytes.truncate(end + 1);
                return Ok(bytes);
            }
            most *= 2;
        }
    }
}

impl Folder {
    /// Makes and locks a folder of this process's own.
    fn make(place: &Place) -> io::Result<Self> {
        make_private(&place.path)?;
        loop {
            let id = HEXLOWER.encode(&random_bytes::<8>(&*place.random).map_err(io::Error::other)?);
            let path = place.path.join(format!("{}-{id}", place.tag));
            DirBuilder::new().mode(0o700).create(&path)?;
            // Somebody may have taken it for a dead one's meanwhile, and removed it.
            if let Some(folder) = Self::take(path) {
                return Ok(folder);
            }
        }
    }

    /// Locks the folder; `None` if a process that lives has it, or if it is gone.
    fn take(path: PathBuf) -> Option<Self> {
        let lock_file = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        let lock = options.append(true).create(true).mode(0o600).open(&lock_file).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        // What was locked may have been removed by whoever had it before.
        let (ours, there) = (lock.metadata().ok()?, fs::metadata(&lock_file).ok()?);
        (ours.ino() == there.ino()).then_some(Self { path, _lock: lock })
    }

    /// The number of the writer whose lines these are, if it got that far.
    pub(super) fn writer(&self) -> Option<i64> {
        fs::read_to_string(self.path.join(WRITER_FILE)).ok()?.trim().parse().ok()
    }

    pub(super) fn note_writer(&self, writer: i64) -> io::Result<()> {
        note_writer(&self.path, writer)
    }

    /// The files, the oldest first.
    pub(super) fn files(&self) -> io::Result<Vec<SpoolFile>> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(ENDING) {
                let file = File::open(&path)?;
                let len = file.metadata()?.len();
                files.push(SpoolFile { path, file: Arc::new(file), len });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// Removes the folder with all that is in it, the lock last.
    pub(super) fn remove(self) {
        if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.filter_map(Result::ok) {
                if entry.file_name() != LOCK_FILE {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let _ = fs::remove_file(self.path.join(LOCK_FILE));
        let _ = fs::remove_dir(&self.path);
    }
}

fn note_writer(folder: &Path, writer: i64) -> io::Result<()> {
    let aside = folder.join("writer.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{writer}")?;
    fs::rename(aside, folder.join(WRITER_FILE))
}

fn make_private(place: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

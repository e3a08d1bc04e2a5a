use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::DotenvError;
use super::{EnvFile, MAX_BYTES};

const LOCK_TRIES: u32 = 2500;
const LOCK_PAUSE: Duration = Duration::from_millis(2);
const MAX_LINKS: usize = 40;

/// Edits the file at `path`, following symbolic links. Of other calls, in this process or another one
/// on this machine, none loses its changes; every reader finds either the old or the new content,
/// even after a crash. If `edit` fails or changes nothing, nothing is written. After an error the file
/// is as it was, unless only the last step failed: to make the change survive a crash.
///
/// The file keeps its mode, and its owner as far as this process may give files away; a new one gets
/// 0600. A read-only file is refused, also where it could be replaced. The file's directory is locked
/// meanwhile (`flock`), and the wait for that ends after 5 seconds. The new content is first written
/// to `.env.keyfold-….tmp` beside the file, and what a killed process has left there, the next call
/// removes.
pub fn update<T, E: From<DotenvError>>(
    path: impl AsRef<Path>,
    edit: impl FnOnce(&mut EnvFile) -> Result<T, E>,
) -> Result<T, E> {
    let target = LockedTarget::new(path.as_ref())?;
    target.remove_leftovers();
    let mut env = read(&target.path)?;
    let before = env.text.clone();
    let result = edit(&mut env)?;
    if env.text != before {
        target.write(env.as_bytes())?;
    }
    Ok(result)
}

pub(super) fn read(path: &Path) -> Result<EnvFile, DotenvError> {
    let given = path;
    let path = &follow_links(given)?;
    if existing_file(path)?.is_none() {
        // The system's own links, as `/dev/stdin`, lead to what may have no name: a pipe, a file that was removed.
        return match fs::metadata(given) {
            Ok(metadata) => Err(DotenvError::NotAFile { path: given.to_owned(), kind: kind_of(&metadata) }),
            Err(_) => EnvFile::from_text(Zeroizing::default()),
        };
    }
    read_bytes(path).and_then(EnvFile::from_bytes).map_err(|error| error.of_file(path))
}

/// A file, perhaps one still to be made, whose directory is locked as long as this value lives.
/// The file itself cannot carry the lock, because it is replaced.
struct LockedTarget {
    path: PathBuf,
    name: OsString,
    directory_path: PathBuf,
    directory: File,
}

impl LockedTarget {
    fn new(path: &Path) -> Result<Self, DotenvError> {
        let path = follow_links(path)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(DotenvError::NotAFile { path, kind: "a directory" });
        };
        let directory_path = parent(&path).to_owned();
        let directory = File::open(&directory_path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => DotenvError::NoDirectory { directory: directory_path.clone() },
            _ => io_error(&directory_path, "open the directory", cause),
        })?;
        lock(&directory, &directory_path)?;
        Ok(Self { path, name, directory_path, directory })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), DotenvError> {
        if bytes.len() > MAX_BYTES {
            return Err(DotenvError::TooLarge { path: Some(self.path.clone()) });
        }
        let old = existing_file(&self.path)?;
        if let Some(old) = &old {
            self.check_writable(old)?;
        }
        let temporary = TemporaryFile::create(self)?;
        temporary.fill(bytes, old.as_ref()).map_err(|cause| match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                DotenvError::DiskFull { path: self.path.clone(), cause }
            }
            _ => io_error(&self.path, "write a new version of", cause),
        })?;
        temporary.rename_to(&self.path).map_err(|cause| match cause.kind() {
            ErrorKind::ResourceBusy => DotenvError::MountPoint { path: self.path.clone() },
            _ => io_error(&self.path, "replace", cause),
        })?;
        self.sync_directory()
    }

    /// Renaming over a file needs no right to write to it, but who made it read-only meant it.
    fn check_writable(&self, old: &Metadata) -> Result<(), DotenvError> {
        let read_only = || DotenvError::ReadOnly { path: self.path.clone() };
        // To root, every file opens.
        if old.mode() & 0o222 == 0 {
            return Err(read_only());
        }
        match OpenOptions::new().write(true).open(&self.path) {
            Ok(_) => Ok(()),
            Err(cause) if is_refusal(&cause) => Err(read_only()),
            Err(cause) => Err(io_error(&self.path, "write", cause)),
        }
    }

    fn sync_directory(&self) -> Result<(), DotenvError> {
        match self.directory.sync_all() {
            Ok(()) => Ok(()),
            // Some network file systems cannot; there is no more to be done.
            Err(cause) if matches!(cause.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            Err(cause) => {
                Err(io_error(&self.directory_path, "secure the changed file against a crash in", cause))
            }
        }
    }

    /// Nobody else has such a file while the directory is locked, so one that lies there was left.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.directory_path) else { return };
        for entry in entries.flatten() {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && is_temporary_name(&entry.file_name(), &self.name) {
                // If it stays, it does no harm but to lie there.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Removed when dropped before it is renamed.
struct TemporaryFile {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl TemporaryFile {
    fn create(target: &LockedTarget) -> Result<Self, DotenvError> {
        loop {
            let path = target.directory_path.join(temporary_name(&target.name));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { path, file, renamed: false }),
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) if is_refusal(&cause) => {
                    return Err(DotenvError::DirectoryNotWritable { path: target.path.clone(), cause });
                }
                Err(cause) if cause.kind() == ErrorKind::StorageFull => {
                    return Err(DotenvError::DiskFull { path: target.path.clone(), cause });
                }
                Err(cause) => {
                    return Err(io_error(&target.path, "create a file beside", cause));
                }
            }
        }
    }

    fn fill(&self, bytes: &[u8], old: Option<&Metadata>) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        if let Some(old) = old {
            keep_owner_and_mode(&self.file, old)?;
        }
        self.file.sync_all()
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.renamed {
            // If this fails too, the next call removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn keep_owner_and_mode(file: &File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    let mut mode = old.mode() & 0o777;
    if (new.uid(), new.gid()) != (old.uid(), old.gid())
        && fchown(file, Some(old.uid()), Some(old.gid())).is_err()
        && new.gid() != old.gid()
        && fchown(file, None, Some(old.gid())).is_err()
    {
        // What the old group could do is not for another group.
        mode &= 0o707;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// The file that `path` means after all symbolic links, which need not exist.
fn follow_links(path: &Path) -> Result<PathBuf, DotenvError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                let next = fs::read_link(&target)
                    .map_err(|cause| io_error(&target, "read the symbolic link", cause))?;
                target = parent(&target).join(next);
            }
            Ok(_) => return Ok(target),
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(target),
            Err(cause) => return Err(io_error(&target, "look up", cause)),
        }
    }
    Err(DotenvError::LinkLoop { path: path.to_owned() })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_file() {
        "a file that was removed"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// `None` if there is nothing at `path`. What is not a file must not be opened: a named pipe, for
/// one, would wait for its other end.
fn existing_file(path: &Path) -> Result<Option<Metadata>, DotenvError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(io_error(path, "look up", cause)),
    };
    if metadata.is_file() {
        return Ok(Some(metadata));
    }
    let kind = kind_of(&metadata);
    Err(DotenvError::NotAFile { path: path.to_owned(), kind })
}

/// At most one byte more than is allowed.
fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, DotenvError> {
    let failed = |cause| io_error(path, "read", cause);
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let too_large = || DotenvError::TooLarge { path: None };
    let size = usize::try_from(size).map_err(|_| too_large())?;
    if size > MAX_BYTES {
        return Err(too_large());
    }
    // With room for all of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn lock(directory: &File, path: &Path) -> Result<(), DotenvError> {
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(cause)) => {
                return Err(io_error(path, "lock the directory", cause));
            }
        }
    }
    Err(DotenvError::Locked { directory: path.to_owned() })
}

/// Random, because a process in another container, which the lock may not reach, can have the same id.
fn temporary_name(target: &OsStr) -> OsString {
    let mut name = temporary_prefix(target);
    name.push(format!("{:016x}{TEMPORARY_SUFFIX}", RandomState::new().hash_one(())));
    name
}

fn is_temporary_name(name: &OsStr, target: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.strip_prefix(temporary_prefix(target).as_encoded_bytes())
        .and_then(|name| name.strip_suffix(TEMPORARY_SUFFIX.as_bytes()))
        .is_some_and(|number| number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit))
}

const TEMPORARY_SUFFIX: &str = ".tmp";

/// Begins with the target's name, so that what hides `.env*` from version control hides it too.
fn temporary_prefix(target: &OsStr) -> OsString {
    let dot = if target.as_encoded_bytes().starts_with(b".") { "" } else { "." };
    let mut name = OsString::from(dot);
    name.push(target);
    name.push(".keyfold-");
    name
}

fn is_refusal(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn io_error(path: &Path, action: &'static str, cause: io::Error) -> DotenvError {
    DotenvError::Io { path: path.to_owned(), action, cause }
}

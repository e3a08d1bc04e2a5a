//! Local mode's state directory: private, kept out of git, with the master key made on first start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::clock::{Random, random_bytes};
use crate::envelope::{KeyId, MasterKey};
use crate::error::Error;

const MASTER_KEY_FILE: &str = "master.key";
/// A master key that is about to take its place.
const NEXT_MASTER_KEY_FILE: &str = "master.key.next";
/// How the name of a master key's file begins that was replaced; a date follows.
const REPLACED_MASTER_KEY: &str = "master.key.replaced-";
const LOCK_FILE: &str = "serve.lock";
/// How the name of a note about a change begins that is under way (`keys::journal`).
pub(crate) const NOTE_OF_A_CHANGE: &str = "change.";
/// How the names of all files begin that Keyfold puts into a state directory.
const OWN_FILES: [&str; 7] =
    [".gitignore", "keyfold.db", MASTER_KEY_FILE, ".master.key.", LOCK_FILE, NOTE_OF_A_CHANGE, "spool"];

/// The folder, there and private.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// Held by the one server that uses a state directory; freed when the process ends, however it ends.
#[derive(Debug)]
pub struct ServeLock(#[expect(dead_code, reason = "held for its lock")] File);

impl StateDir {
    /// Makes the folder with mode 0700 and a `.gitignore` for all that is in it.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::StateDirectory(format!(
                "The state directory {} cannot be used: {error}. Make it writable, or set KEYFOLD_STATE_DIR to another folder.",
                path.display()
            ))
        };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        }
        // A folder with other things in it is somebody else's: neither its mode nor what git ignores there is
        // ours to change. What Keyfold puts into it is private by itself.
        let mut entries =
            fs::read_dir(path).map_err(failed)?.filter_map(Result::ok).map(|entry| entry.file_name());
        let is_own = entries.all(|name| OWN_FILES.iter().any(|own| name.to_string_lossy().starts_with(own)));
        if is_own {
            let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            }
            let ignore = path.join(".gitignore");
            // An empty one is what a full disk or a kill left of it.
            if fs::metadata(&ignore).map_or(true, |metadata| metadata.len() == 0) {
                fs::write(&ignore, "*\n").map_err(failed)?;
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// The path of the master key's file.
    pub fn master_key_file(&self) -> PathBuf {
        self.0.join(MASTER_KEY_FILE)
    }

    /// Takes the folder for one server.
    pub fn lock_for_serving(&self) -> Result<ServeLock, Error> {
        let path = self.0.join(LOCK_FILE);
        let failed =
            |error: io::Error| Error::StateDirectory(format!("{} cannot be used: {error}.", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = holder.trim();
            let holder = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
            return Err(Error::StateDirectory(format!(
                "Another Keyfold{holder} already serves from the state directory {}. Stop it, or give this one a folder of its own with KEYFOLD_STATE_DIR.",
                self.0.display()
            )));
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(ServeLock(file))
    }

    /// The master key of this folder. A missing one is made, unless `needed` says that a database was
    /// encrypted with it already.
    pub(crate) fn master_key(&self, random: &dyn Random, needed: bool) -> Result<MasterKey, Error> {
        let path = self.master_key_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => {
                let made = MasterKey::generate(random)?;
                self.write_new(&path, &made, random)?;
                // Another process may have been first: what is on disk counts.
                Zeroizing::new(fs::read_to_string(&path).map_err(|error| cannot_read(&path, &error))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::MasterKey(format!(
                    "The master key {} is gone, and the database in that folder was encrypted with it. Put the file back from a backup (or set KEYFOLD_MASTER_KEY to its content). If it is lost, so are the keys in the database: move the folder aside and enter them again; those in your .env stay.",
                    path.display()
                )));
            }
            Err(error) => return Err(cannot_read(&path, &error)),
        };
        parse_key_file(&path, &text)
    }

    /// The master key that is about to take its place, if a rotation has begun.
    pub(crate) fn next_master_key(&self) -> Result<Option<MasterKey>, Error> {
        read_key_file(&self.0.join(NEXT_MASTER_KEY_FILE))
    }

    /// The same, made if there is none yet.
    pub(crate) fn make_next_master_key(&self, random: &dyn Random) -> Result<MasterKey, Error> {
        let path = self.0.join(NEXT_MASTER_KEY_FILE);
        if let Some(key) = read_key_file(&path)? {
            return Ok(key);
        }
        self.write_new(&path, &MasterKey::generate(random)?, random)?;
        // What is on disk counts.
        read_key_file(&path)?.ok_or_else(|| cannot_read(&path, &io::ErrorKind::NotFound.into()))
    }

    /// Puts the next master key in the place of the present one, which is kept under the name that is returned.
    /// Done again after it was interrupted at any point, it goes on.
    pub(crate) fn put_next_master_key_in_place(&self, now: Timestamp) -> Result<PathBuf, Error> {
        let (path, next) = (self.master_key_file(), self.0.join(NEXT_MASTER_KEY_FILE));
        let name = format!("{REPLACED_MASTER_KEY}{}", now.strftime("%Y-%m-%d-%H%M%S"));
        let replaced = || -> io::Result<PathBuf> {
            let file = fs::metadata(&path)?;
            // An interrupted one may have come this far.
            for kept in self.replaced_master_key_files()? {
                if fs::metadata(&kept)?.ino() == file.ino() {
                    return Ok(kept);
                }
            }
            let mut kept = self.0.join(&name);
            // Several in the same second have names of their own.
            for number in 2_u32.. {
                match fs::hard_link(&path, &kept) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        kept = self.0.join(format!("{name}-{number}"));
                    }
                    done => return done.map(|()| kept),
                }
            }
            Ok(kept)
        };
        let sync = || File::open(&self.0)?.sync_all();
        replaced().and_then(|kept| sync().and_then(|()| fs::rename(&next, &path)).and_then(|()| sync()).map(|()| kept)).map_err(
            |error| {
                Error::StateDirectory(format!(
                    "The new master key {} cannot be put in the place of {}: {error}. Both stay, and Keyfold starts with both; make the folder writable and run the rotation again.",
                    next.display(),
                    path.display()
                ))
            },
        )
    }

    /// A replaced master key with this id, if it is still kept here.
    pub(crate) fn replaced_master_key(&self, id: KeyId) -> Result<Option<MasterKey>, Error> {
        let files = self.replaced_master_key_files().map_err(|error| cannot_read(&self.0, &error))?;
        for file in files {
            if let Ok(Some(key)) = read_key_file(&file)
                && key.id() == id
            {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn replaced_master_key_files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(REPLACED_MASTER_KEY) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    /// Writes the key aside and links it into place, so that it is there whole or not at all, and never replaced.
    fn write_new(&self, path: &Path, key: &str, random: &dyn Random) -> Result<(), Error> {
        let suffix = HEXLOWER.encode(&random_bytes::<8>(random)?);
        let aside = self.0.join(format!(".{MASTER_KEY_FILE}.{suffix}"));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(key.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            match fs::hard_link(&aside, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        })();
        let _ = fs::remove_file(&aside);
        written.and_then(|()| File::open(&self.0)?.sync_all()).map_err(|error| {
            Error::StateDirectory(format!(
                "The master key {} cannot be written: {error}. Make room, or make the folder writable.",
                path.display()
            ))
        })
    }
}

/// The master key in a file, if the file is there.
fn read_key_file(path: &Path) -> Result<Option<MasterKey>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => parse_key_file(path, &Zeroizing::new(text)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_read(path, &error)),
    }
}

fn parse_key_file(path: &Path, text: &str) -> Result<MasterKey, Error> {
    let mode = fs::metadata(path).map_err(|error| cannot_read(path, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::MasterKey(format!(
            "The master key {} can be read by other users of this machine. Run `chmod 600 {}`.",
            path.display(),
            path.display()
        )));
    }
    MasterKey::parse(text).map_err(|why| {
        Error::MasterKey(format!("The master key {} {why}. Put the right file back.", path.display()))
    })
}

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::MasterKey(format!(
        "The master key {} cannot be read: {error}. Make it readable for the user that runs Keyfold.",
        path.display()
    ))
}

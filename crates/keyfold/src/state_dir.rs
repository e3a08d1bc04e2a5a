//! Local mode's state directory: private, kept out of git, with the master key made on first start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::clock::{Random, random_bytes};
use crate::envelope::MasterKey;
use crate::error::Error;

const MASTER_KEY_FILE: &str = "master.key";
const LOCK_FILE: &str = "serve.lock";
/// How the names of all files begin that Keyfold puts into a state directory.
const OWN_FILES: [&str; 5] = [".gitignore", "keyfold.db", MASTER_KEY_FILE, ".master.key.", LOCK_FILE];

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
        let mode = fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::MasterKey(format!(
                "The master key {} can be read by other users of this machine. Run `chmod 600 {}`.",
                path.display(),
                path.display()
            )));
        }
        MasterKey::parse(&text).map_err(|why| {
            Error::MasterKey(format!("The master key {} {why}. Put the right file back.", path.display()))
        })
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

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::MasterKey(format!(
        "The master key {} cannot be read: {error}. Make it readable for the user that runs Keyfold.",
        path.display()
    ))
}

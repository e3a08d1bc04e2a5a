//! Local mode: the master key is a file, and one command puts a new one in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keyfold::envelope::MasterKey;
use keyfold::master_keys::Rotation;
use keyfold::requester::{Actor, Requester};
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::state_dir::StateDir;
use keyfold::{Error, Keyfold, Parts};
use tempfile::TempDir;

use crate::setup::{assert_all_there, has, id, new_key, save};

struct Folder(TempDir);

impl Folder {
    /// One with a user's key in the database.
    async fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        let keyfold = folder.open().await.unwrap();
        save(&keyfold, "local", 1).await;
        keyfold.close().await;
        folder
    }

    fn settings(&self) -> (Settings, Environment) {
        let nobody = keyfold_standin::refused_port();
        let variables = [("DEBUG", "true"), ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", nobody.as_str())];
        let sources = Sources::load(Environment::from_iter(variables), self.0.path()).unwrap();
        let mut problems = Problems::default();
        let settings = Settings::read(&sources, &mut problems);
        (settings.unwrap(), sources.process().clone())
    }

    /// So that keys are read from the database, where the master key matters.
    async fn open(&self) -> Result<Keyfold, Error> {
        Keyfold::open_with_keys_in_database(&self.settings().0, Parts::default()).await
    }

    async fn rotate(&self) -> Result<Rotation, Error> {
        let (settings, process) = self.settings();
        let operator = Requester::new(Actor::Operator);
        Keyfold::rotate_master_key(&settings, process, Parts::default(), &operator, &mut |_| ()).await
    }

    fn state(&self, name: &str) -> PathBuf {
        self.0.path().join(".keyfold").join(name)
    }

    fn key(&self) -> String {
        fs::read_to_string(self.state("master.key")).unwrap().trim().to_owned()
    }

    fn replaced(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state("")).unwrap().map(|entry| entry.unwrap().path());
        let mut replaced: Vec<PathBuf> = entries
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("master.key.replaced-"))
            .collect();
        replaced.sort();
        replaced
    }

    async fn opens(&self) {
        let keyfold = self.open().await.unwrap();
        assert_all_there(has(&keyfold, "local", 1).await);
        keyfold.close().await;
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn put(path: &Path, key: &str) {
    fs::write(path, format!("{key}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_makes_the_new_key_and_keeps_the_old_one_beside_it() {
    let folder = Folder::new().await;
    let old = folder.key();
    let rotation = folder.rotate().await.unwrap();
    let new = folder.key();
    assert_ne!(old, new);
    assert_eq!((rotation.data_keys, rotation.left, rotation.goes_on), (1, 0, false));
    assert_eq!((rotation.to.to_string(), rotation.from[0].to_string()), (id(&new), id(&old)));
    let [kept] = &folder.replaced()[..] else { panic!("{:?}", folder.replaced()) };
    assert_eq!(rotation.replaced_file.as_ref(), Some(kept));
    assert_eq!(fs::read_to_string(kept).unwrap().trim(), old);
    for file in [kept, &folder.state("master.key")] {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert!(!folder.state("master.key.next").exists());
    fs::remove_file(kept).unwrap();
    folder.opens().await;
    // Again, in the same second perhaps.
    folder.rotate().await.unwrap();
    folder.rotate().await.unwrap();
    folder.opens().await;
    assert!(!folder.replaced().is_empty());
}

/// Each state of the files that a kill can leave behind, with all, some or none of the rows wrapped anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_interrupted_starts_and_goes_on() {
    // (the rows are wrapped by the new key, the old file has its second name, the new one is in place)
    for (is_wrapped, is_linked, is_in_place) in
        [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]
    {
        let folder = Folder::new().await;
        let (old, new) = (folder.key(), new_key());
        put(&folder.state("master.key.next"), &new);
        if is_wrapped {
            let mut settings = folder.settings().0;
            settings.master_key = keyfold::settings::MasterKeySetting::NewInStateDirectory;
            let keyfold = Keyfold::open_with_keys_in_database(&settings, Parts::default()).await.unwrap();
            crate::setup::rotate(&keyfold).await;
            keyfold.close().await;
        }
        let kept = folder.state("master.key.replaced-2026-01-01-000000");
        if is_linked {
            fs::hard_link(folder.state("master.key"), &kept).unwrap();
        }
        if is_in_place {
            fs::rename(folder.state("master.key.next"), folder.state("master.key")).unwrap();
        }
        let state = format!("wrapped {is_wrapped}, linked {is_linked}, in place {is_in_place}");
        folder.opens().await;
        folder.rotate().await.unwrap();
        folder.opens().await;
        assert!(!folder.state("master.key.next").exists(), "{state}");
        if is_in_place {
            assert_ne!(folder.key(), new, "a further one: {state}");
        } else {
            assert_eq!(folder.key(), new, "the one that was begun: {state}");
            let [replaced] = &folder.replaced()[..] else { panic!("{state}: {:?}", folder.replaced()) };
            assert_eq!(fs::read_to_string(replaced).unwrap().trim(), old, "{state}");
            assert_eq!(replaced == &kept, is_linked, "{state}");
        }
        for replaced in folder.replaced() {
            fs::remove_file(replaced).unwrap();
        }
        folder.opens().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_sealed_with_the_replaced_key_opens_while_that_is_kept() {
    let folder = Folder::new().await;
    // It began before the rotation, and saves after it.
    let late = folder.open().await.unwrap();
    let old = folder.key();
    folder.rotate().await.unwrap();
    save(&late, "late", 2).await;
    late.close().await;
    folder.opens().await;
    let keyfold = folder.open().await.unwrap();
    assert_all_there(has(&keyfold, "late", 2).await);
    keyfold.close().await;
    // Without the file, the start says which key it needs.
    let [kept] = &folder.replaced()[..] else { panic!("{:?}", folder.replaced()) };
    let (kept, aside) = (kept.clone(), folder.0.path().join("aside"));
    fs::rename(&kept, &aside).unwrap();
    crate::setup::refused(folder.open().await, &[&id(&old)]);
    fs::rename(&aside, &kept).unwrap();
    folder.rotate().await.unwrap();
    for replaced in folder.replaced() {
        fs::remove_file(replaced).unwrap();
    }
    let keyfold = folder.open().await.unwrap();
    assert_all_there(has(&keyfold, "late", 2).await);
    keyfold.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_the_folder_is_refused_its_key_is_not_replaced() {
    let folder = Folder::new().await;
    let old = folder.key();
    let lock = StateDir::prepare(&folder.state("")).unwrap().lock_for_serving().unwrap();
    let error = folder.rotate().await.unwrap_err();
    assert_eq!(error.code(), "state_directory_error");
    assert!(error.to_string().contains("already serves"), "{error}");
    assert_eq!(folder.key(), old);
    assert!(!folder.state("master.key.next").exists());
    drop(lock);
    folder.rotate().await.unwrap();
    folder.opens().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_damaged_key_is_not_rotated_away() {
    let folder = Folder::new().await;
    let key = folder.key();
    fs::remove_file(folder.state("master.key")).unwrap();
    let error = folder.rotate().await.unwrap_err();
    assert_eq!(error.code(), "master_key_unavailable");
    assert!(error.to_string().contains("is gone"), "{error}");
    assert!(!folder.state("master.key").exists() && !folder.state("master.key.next").exists());
    put(&folder.state("master.key"), &new_key());
    let error = folder.rotate().await.unwrap_err();
    assert!(error.to_string().contains(&id(&key)), "{error}");
    put(&folder.state("master.key"), &key);
    // What is begun goes on with the key that it began with, if that can be read.
    fs::write(folder.state("master.key.next"), "S3CR3T\n").unwrap();
    fs::set_permissions(folder.state("master.key.next"), fs::Permissions::from_mode(0o600)).unwrap();
    for error in [folder.rotate().await.unwrap_err(), folder.open().await.err().unwrap()] {
        assert!(
            error.to_string().contains("master.key.next") && !error.to_string().contains("S3CR3T"),
            "{error}"
        );
    }
    fs::remove_file(folder.state("master.key.next")).unwrap();
    folder.rotate().await.unwrap();
    folder.opens().await;
    MasterKey::parse(&folder.key()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_never_used_gets_a_key_and_the_next_one() {
    let folder = Folder(TempDir::new().unwrap());
    folder.rotate().await.unwrap();
    let keyfold = folder.open().await.unwrap();
    save(&keyfold, "local", 1).await;
    keyfold.close().await;
    folder.rotate().await.unwrap();
    folder.opens().await;
}

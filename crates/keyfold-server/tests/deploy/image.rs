//! The image, without Docker: its root directory as `deploy/image-root.sh` and the Dockerfile's own `COPY` lay it out, in
//! which the program is started as the Dockerfile says, by another user, read-only.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use keyfold_test_servers::free_port;
use tempfile::TempDir;

use crate::files::{Image, image, path};
use crate::harness::{Start, gemini};
use crate::site::Site;

struct Container {
    image: Image,
    folder: TempDir,
}

impl Container {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let (stage, root) = (folder.path().join("stage"), folder.path().join("root"));
        let made = Command::new(path("deploy/image-root.sh"))
            .arg(env!("CARGO_BIN_EXE_keyfold"))
            .args([stage.join("image"), stage.join("state")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::create_dir(&root).unwrap();
        let image = image();
        for copying in &image.copies {
            let of = |path: &str, folder: &Path| folder.join(path.trim_matches('/'));
            copy(&of(&copying.from, &stage), &of(&copying.to, &root), copying.owner.as_deref());
        }
        // Every container has these.
        for mount in ["proc", "dev"] {
            fs::create_dir(root.join(mount)).unwrap();
        }
        Self { image, folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn user(&self) -> u32 {
        user_of(&self.image)
    }

    /// A new volume for the state directory. Docker makes it as that directory is in the image.
    fn volume(&self) -> PathBuf {
        let volume = self.folder.path().join("volume");
        let of_image = self.root().join(state_of(&self.image).trim_start_matches('/'));
        fs::create_dir(&volume).unwrap();
        let found = fs::metadata(of_image).unwrap();
        fs::set_permissions(&volume, found.permissions()).unwrap();
        if is_root(self.folder.path()) {
            chown(&volume, Some(found.uid()), Some(found.gid())).unwrap();
        }
        volume
    }

    /// This command inside, with the image's variables and what production needs.
    fn start(&self, site: &Site, command: &[String], volume: Option<&Path>) -> Start {
        self.start_as(self.user(), site, command, volume)
    }

    fn start_as(&self, user: u32, site: &Site, command: &[String], volume: Option<&Path>) -> Start {
        let (root, state) = (self.root(), state_of(&self.image));
        let setpriv = format!("setpriv --reuid={user} --regid={user} --clear-groups");
        let as_user = if is_root(self.folder.path()) { setpriv } else { String::new() };
        let bind = volume.map_or_else(String::new, |volume| format!("--bind {} {state}", volume.display()));
        let line = format!(
            "exec {as_user} bwrap --die-with-parent --unshare-user --uid {user} --gid {user} --cap-drop ALL \
             --ro-bind {} / --ro-bind /proc /proc --dev /dev {bind} --chdir / -- {}",
            root.display(),
            command.join(" ")
        );
        // What the harness appends, its own program, is a name for the shell.
        let start = site.folder().keyfold_through(&["sh", "-c", &line], &[]);
        let start = self.image.variables.iter().fold(start, |start, (name, value)| start.env(name, value));
        site.signed_in(start)
            .env("DATABASE_URL", &site.production.database_url())
            .env("KEYFOLD_MASTER_KEY", &site.production.master_key)
    }
}

/// What is in a folder, into another one, as Docker copies it: a folder that is already there keeps its owner and mode.
fn copy(from: &Path, to: &Path, owner: Option<&str>) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        let (is_folder, was_there) = (from.is_dir(), to.exists());
        if !is_folder {
            fs::copy(&from, &to).unwrap();
        } else if !was_there {
            fs::create_dir(&to).unwrap();
        }
        if !(is_folder && was_there) {
            fs::set_permissions(&to, fs::metadata(&from).unwrap().permissions()).unwrap();
            let (user, group) = owner.unwrap_or("0:0").split_once(':').unwrap();
            if is_root(from.parent().unwrap()) {
                chown(&to, Some(user.parse().unwrap()), Some(group.parse().unwrap())).unwrap();
            }
        }
        if is_folder {
            copy(&from, &to, owner);
        }
    }
}

fn user_of(image: &Image) -> u32 {
    image.user.split(':').next().unwrap().parse().unwrap()
}

fn state_of(image: &Image) -> &str {
    &image.variables.iter().find(|(name, _)| name == "KEYFOLD_STATE_DIR").unwrap().1
}

fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

#[test]
fn it_serves_as_another_user_from_a_root_directory_that_cannot_be_written() {
    let (site, container) = (Site::new(), Container::new());
    assert_ne!(container.user(), 0);
    let server = container.start(&site, &container.image.command, None).serve();
    assert_eq!(server.address.ip().to_string(), "0.0.0.0");
    site.is_in_use(&server, &gemini(1));
    // Where it cannot write, uses of keys are recorded in the database first, and it says so.
    assert!(server.log().contains("strict"), "{}", server.log());

    let port = server.address.port().to_string();
    let health = |port: &str| container.start(&site, &container.image.health_check, None).env("PORT", port);
    assert_eq!(health(&port).run().ok(), "ready\n");
    health(&free_port().to_string()).run().refused_with(&["nothing answers"]);
}

#[test]
fn a_volume_keeps_what_is_not_in_the_database_yet() {
    let (site, container) = (Site::new(), Container::new());
    let volume = container.volume();
    let server = container.start(&site, &container.image.command, Some(&volume)).serve();
    site.is_in_use(&server, &gemini(1));
    assert!(!server.log().contains("strict"), "{}", server.log());
    assert!(fs::read_dir(&volume).unwrap().count() > 0, "no spool");
}

#[test]
fn the_state_directory_is_its_users_alone() {
    let container = Container::new();
    let found =
        fs::metadata(container.root().join(state_of(&container.image).trim_start_matches('/'))).unwrap();
    assert_eq!(found.mode() & 0o777, 0o700);
    if is_root(container.folder.path()) {
        assert_eq!((found.uid(), found.gid()), (container.user(), container.user()));
        let above = fs::metadata(container.root().join("var/lib")).unwrap();
        assert_eq!((above.uid(), above.mode() & 0o777), (0, 0o755));
    }
}

/// As Heroku does.
#[test]
fn a_platform_may_start_it_as_a_user_of_its_own() {
    let (site, container) = (Site::new(), Container::new());
    let start = container.start_as(4242, &site, &container.image.command, None);
    let server = start.env("KEYFOLD_AUDIT_DURABILITY", "strict").serve();
    site.is_in_use(&server, &gemini(1));
}

#[test]
fn without_settings_it_says_what_is_missing_and_does_not_take_itself_for_a_developers_machine() {
    let (site, container) = (Site::new(), Container::new());
    let start = container.start(&site, &container.image.command, None);
    let start = ["DATABASE_URL", "KEYFOLD_MASTER_KEY", "KEYFOLD_AUTH_ISSUER", "KEYFOLD_PUBLIC_URL"]
        .iter()
        .fold(start, |start, name| start.without(name));
    start.refused_start().refused_with(&["DATABASE_URL", "KEYFOLD_MASTER_KEY", "CLERK_PUBLISHABLE_KEY"]);
}

#[test]
fn nothing_is_in_it_that_it_does_not_need() {
    let container = Container::new();
    let mut files = vec![];
    files_below(&container.root(), &mut files);
    let root = container.root().display().to_string();
    for file in files.iter().map(|file| file.display().to_string().replace(&root, "")) {
        let needed =
            ["/usr/local/bin/keyfold", "/etc/passwd", "/etc/group", "/etc/ssl/certs/ca-certificates.crt"];
        let is_library = file.starts_with("/lib") && file.contains(".so");
        assert!(needed.contains(&file.as_str()) || is_library, "{file}");
    }
    assert!(files.len() < 12, "{files:?}");
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

//! Changing `.env` files on disk: what stays, what is refused, and what two writers, a killed one or a
//! full disk leave behind.
//!
//! Some tests need another process. They run this binary again with one of the helpers at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyfold::dotenv::{DotenvError, EnvFile, update};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn set(path: &Path, name: &str, value: &str) -> Result<(), DotenvError> {
    update(path, |env| env.set(name, value))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A directory with a `.env` file in it.
fn with_file(content: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, content).unwrap();
    (directory, path)
}

#[test]
fn a_missing_file_is_empty_and_made_private() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(".env");
    assert_eq!(EnvFile::read(&path).unwrap().variables().count(), 0);

    assert!(!update(&path, |env| env.remove("KEY")).unwrap());
    assert!(!path.exists(), "nothing was to be written");

    set(&path, "KEY", "value").unwrap();
    assert_eq!(read(&path), "KEY=value\n");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names_in(directory.path()), [".env"]);
}

#[test]
fn a_missing_directory_is_an_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("backend/.env");
    assert_eq!(EnvFile::read(&path).unwrap().variables().count(), 0);
    let error = set(&path, "KEY", "value").unwrap_err();
    assert!(matches!(error, DotenvError::NoDirectory { .. }), "{error}");
}

#[test]
fn mode_and_owner_stay() {
    let (_directory, path) = with_file("KEY=old\n");
    if fs::metadata(&path).unwrap().uid() == 0 {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for wanted in [0o600, 0o640, 0o644, 0o664, 0o755] {
        set_mode(&path, wanted);
        let before = fs::metadata(&path).unwrap();
        set(&path, "KEY", &format!("{wanted:o}")).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_ne!(after.ino(), before.ino());
        assert_eq!((mode(&path), after.uid(), after.gid()), (wanted, before.uid(), before.gid()));
    }
}

#[test]
fn unchanged_content_is_not_written() {
    let (_directory, path) = with_file("KEY=value\n");
    let before = fs::metadata(&path).unwrap();
    set(&path, "KEY", "value").unwrap();
    update(&path, |env| env.remove("OTHER")).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()));
}

#[test]
fn a_failed_edit_writes_nothing() {
    #[derive(Debug)]
    struct Refused;
    impl From<DotenvError> for Refused {
        fn from(error: DotenvError) -> Self {
            panic!("{error}")
        }
    }
    let (directory, path) = with_file("KEY=old\n");
    let result = update(&path, |env| {
        env.set("KEY", "new")?;
        Err::<(), _>(Refused)
    });
    assert!(matches!(result, Err(Refused)));
    assert_eq!(read(&path), "KEY=old\n");
    assert_eq!(names_in(directory.path()), [".env"]);
}

#[test]
fn awkward_files_keep_their_other_bytes() {
    let cases = [
        ("A=1\r\n\r\nKEY=old\r\n# end", "A=1\r\n\r\nKEY=new\r\n# end"),
        ("export KEY='old' # note", "export KEY=new # note"),
        ("\u{feff}A=\"1\n2\"\nKEY=old\nKEY=older", "\u{feff}A=\"1\n2\"\nKEY=new\nKEY=new"),
        ("A=it's  \n\t# no newline", "A=it's  \nKEY=new\n\t# no newline"),
    ];
    for (before, after) in cases {
        let (_directory, path) = with_file(before);
        set(&path, "KEY", "new").unwrap();
        assert_eq!(read(&path), after);
    }
}

#[test]
fn a_change_can_be_undone_in_spite_of_a_later_one() {
    let (_directory, path) = with_file("A=1\nKEY=\"${A} and spaces\" # note\n");
    let before = update(&path, |env| {
        let before = env.snapshot("KEY");
        env.set("KEY", "new")?;
        Ok::<_, DotenvError>(before)
    });
    set(&path, "B", "2").unwrap();
    update(&path, |env| env.restore(&before.unwrap())).unwrap();
    assert_eq!(read(&path), "A=1\nKEY=\"${A} and spaces\" # note\nB=2\n");
}

#[test]
fn symbolic_links_are_followed() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("shared")).unwrap();
    fs::write(at("shared/env"), "A=1\n").unwrap();
    symlink("shared/env", at("first")).unwrap();
    symlink(at("first"), at("second")).unwrap();

    set(&at("second"), "KEY", "value").unwrap();
    assert_eq!(EnvFile::read(at("second")).unwrap().get("KEY"), Some("value"));
    assert_eq!(read(&at("shared/env")), "A=1\nKEY=value\n");
    assert!(at("first").is_symlink() && at("second").is_symlink());
    assert_eq!(names_in(&at("shared")), ["env"]);

    symlink("shared/not-yet", at("dangling")).unwrap();
    set(&at("dangling"), "KEY", "value").unwrap();
    assert_eq!(read(&at("shared/not-yet")), "KEY=value\n");
    assert!(at("dangling").is_symlink());

    symlink("loop-b", at("loop-a")).unwrap();
    symlink("loop-a", at("loop-b")).unwrap();
    let error = set(&at("loop-a"), "KEY", "value").unwrap_err();
    assert!(matches!(error, DotenvError::LinkLoop { .. }), "{error}");
    let error = EnvFile::read(at("loop-a")).unwrap_err();
    assert!(matches!(error, DotenvError::LinkLoop { .. }), "{error}");
}

#[test]
fn only_regular_files_are_touched() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    symlink("/dev/null", at("device")).unwrap();

    for (name, kind) in [
        ("directory", "directory"),
        ("socket", "socket"),
        ("pipe", "pipe"),
        ("device", "device"),
        ("..", "directory"),
    ] {
        for error in [EnvFile::read(at(name)).unwrap_err(), set(&at(name), "KEY", "value").unwrap_err()] {
            assert!(matches!(error, DotenvError::NotAFile { .. }), "{error}");
            assert!(error.to_string().contains(kind), "{error}");
        }
    }
    assert!(at("directory").is_dir() && at("pipe").exists());
}

#[test]
fn a_file_that_cannot_be_parsed_is_left_alone() {
    for content in [&b"A=1\nKEY='secret\nB=2\n"[..], b"A=1\nB=\xff\xfesecret\n"] {
        let (_directory, path) = with_file("");
        fs::write(&path, content).unwrap();
        let error = set(&path, "KEY", "new").unwrap_err();
        assert_eq!(error.line(), Some(2));
        assert_eq!(error.path(), Some(path.as_path()));
        let message = error.to_string();
        assert!(message.contains("line 2") && message.contains(path.to_str().unwrap()), "{message}");
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_huge_file_is_refused() {
    let (_directory, path) = with_file(&"A=1\n".repeat(2_500_000));
    for error in [EnvFile::read(&path).unwrap_err(), set(&path, "KEY", "new").unwrap_err()] {
        assert!(matches!(error, DotenvError::TooLarge { path: Some(_) }), "{error}");
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000_000);

    let largest = "A".repeat(1024 * 1024);
    fs::write(&path, &largest).unwrap();
    let error = set(&path, "KEY", "new").unwrap_err();
    assert!(matches!(error, DotenvError::TooLarge { path: Some(_) }), "{error}");
    assert_eq!(read(&path), largest);
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let (directory, path) = with_file("A=1\n");
    let at = |name: &str| directory.path().join(name);
    for name in [
        ".env.keyfold-0123456789abcdef.tmp",
        ".env.keyfold-somebody-elses.tmp",
        ".env.local.keyfold-0123456789abcdef.tmp",
        ".env.local",
    ] {
        fs::write(at(name), "KEY=half").unwrap();
    }
    set(&path, "KEY", "new").unwrap();
    let left =
        [".env", ".env.keyfold-somebody-elses.tmp", ".env.local", ".env.local.keyfold-0123456789abcdef.tmp"];
    assert_eq!(names_in(directory.path()), left);
}

#[test]
fn the_wait_for_the_lock_ends() {
    let (directory, path) = with_file("KEY=old\n");
    let lock = File::open(directory.path()).unwrap();
    lock.lock().unwrap();
    let start = Instant::now();
    let error = set(&path, "KEY", "new").unwrap_err();
    assert!(matches!(error, DotenvError::Locked { .. }), "{error}");
    assert!((5..20).contains(&start.elapsed().as_secs()));
    assert_eq!(read(&path), "KEY=old\n");
    drop(lock);
    set(&path, "KEY", "new").unwrap();
}

#[test]
fn a_read_only_file_is_refused() {
    let (_directory, path) = with_file("KEY=old\n");
    set_mode(&path, 0o444);
    let error = set(&path, "KEY", "new").unwrap_err();
    assert!(matches!(error, DotenvError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(read(&path), "KEY=old\n");
    assert_eq!(mode(&path), 0o444);
}

#[test]
fn an_ordinary_user_may_do_no_more_than_the_modes_say() {
    let directory = TempDir::new().unwrap();
    set_mode(directory.path(), 0o755);
    // Where an ordinary user can run it, which the build directory need not be.
    let binary = directory.path().join("test");
    // By another process: a program that is open for writing, be it in a child that
    // a test forks meanwhile, cannot be run.
    assert!(Command::new("cp").arg(env::current_exe().unwrap()).arg(&binary).status().unwrap().success());
    let writable = directory.path().join("writable");
    fs::create_dir(&writable).unwrap();

    let is_root = fs::metadata(&writable).unwrap().uid() == 0;
    let mut command = if is_root {
        // A file of somebody else's in a directory of one's own.
        fs::write(writable.join("foreign"), "KEY=old\n").unwrap();
        chown(&writable, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        command
    } else {
        Command::new(binary)
    };
    run_to_the_end(helper(&mut command, "helper_of_an_ordinary_user", &writable));
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let old = format!("KEY=old\n# {}\n", "x".repeat(100_000));
    let (directory, path) = with_file(&old);
    // The limit stands for a full disk. Ignored, its signal turns into an error.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ && ulimit -f 64 && exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap());
    run_to_the_end(helper(&mut command, "helper_on_a_full_disk", &path));
    assert_eq!(read(&path), old);
    assert_eq!(names_in(directory.path()), [".env"]);
}

#[test]
fn threads_do_not_lose_each_others_changes() {
    let (directory, path) = with_file("# start\n");
    thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn({
                let path = &path;
                move || write_many(path, writer)
            });
        }
    });
    check_many(&path, 8);
    assert_eq!(names_in(directory.path()), [".env"]);
}

#[test]
fn processes_do_not_lose_each_others_changes() {
    let (directory, path) = with_file("# start\n");
    let link = directory.path().join("link");
    symlink(".env", &link).unwrap();
    let writers = (0..4).map(|writer| {
        let mut command = Command::new(env::current_exe().unwrap());
        let path = if writer % 2 == 0 { &path } else { &link };
        start(helper(command.env("KEYFOLD_TEST_WRITER", writer.to_string()), "helper_writes_many", path))
    });
    let writers: Vec<Child> = writers.collect();
    writers.into_iter().for_each(finish);
    check_many(&path, 4);
    assert_eq!(names_in(directory.path()), [".env", "link"]);
}

const WRITES: usize = 25;

fn write_many(path: &Path, writer: usize) {
    for number in 0..WRITES {
        set(path, &format!("W{writer}_{number}"), "x").unwrap();
        update(path, |env| {
            let count = env.get("COUNT").unwrap_or("0").parse::<usize>().unwrap();
            env.set("COUNT", &(count + 1).to_string())
        })
        .unwrap();
    }
}

fn check_many(path: &Path, writers: usize) {
    let env = EnvFile::read(path).unwrap();
    assert_eq!(env.get("COUNT"), Some(&*(writers * WRITES).to_string()));
    for writer in 0..writers {
        for number in 0..WRITES {
            assert_eq!(env.get(&format!("W{writer}_{number}")), Some("x"));
        }
    }
}

#[test]
fn readers_see_the_old_or_the_new_file() {
    let (_directory, path) = with_file(&large_file("a"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                set(&path, "KEY", ["a", "b"][number % 2]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            check_large(&path);
        }
    });
}

#[test]
fn a_killed_writer_leaves_the_old_or_the_new_file() {
    let (directory, path) = with_file(&large_file("a"));
    let mut seen = BTreeSet::new();
    for round in 0..80_u64 {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut writer = start(helper(&mut command, "helper_writes_until_killed", &path));
        // It must be at work; from then on, any moment is as good.
        let started = directory.path().join("started");
        while !started.exists() {
            assert!(writer.try_wait().unwrap().is_none(), "the writer has ended");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(round * 1_379 % 20_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        fs::remove_file(started).unwrap();
        seen.insert(check_large(&path));
    }
    assert_eq!(seen.len(), 2, "the writer was always killed at the same point");
    set(&path, "KEY", "c").unwrap();
    assert_eq!(names_in(directory.path()), [".env"]);
}

/// Large enough that writing it takes a while.
fn large_file(value: &str) -> String {
    format!("FIRST=1\nKEY={value}\n{}LAST=1\n", "# some line of the file\n".repeat(800))
}

/// Checks that the file is whole, and returns the value in it.
fn check_large(path: &Path) -> String {
    let env = EnvFile::read(path).unwrap();
    let value = env.get("KEY").unwrap();
    assert_eq!(env.as_bytes(), large_file(value).as_bytes());
    value.to_owned()
}

fn helper<'a>(command: &'a mut Command, name: &str, path: &Path) -> &'a mut Command {
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("KEYFOLD_TEST_FILE", path)
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{out}\n{err}");
}

fn run_to_the_end(command: &mut Command) {
    finish(start(command));
}

/// What the starting test says; without one, a helper has nothing to do.
#[expect(clippy::disallowed_methods, reason = "how a test talks to its helper")]
fn from_the_test(variable: &str) -> Option<String> {
    env::var(variable).ok()
}

fn file_from_the_test() -> Option<PathBuf> {
    from_the_test("KEYFOLD_TEST_FILE").map(PathBuf::from)
}

#[test]
#[ignore = "a helper that other tests start"]
fn helper_writes_many() {
    if let (Some(path), Some(writer)) = (file_from_the_test(), from_the_test("KEYFOLD_TEST_WRITER")) {
        write_many(&path, writer.parse().unwrap());
    }
}

#[test]
#[ignore = "a helper that other tests start"]
fn helper_writes_until_killed() {
    let Some(path) = file_from_the_test() else { return };
    for number in 0.. {
        set(&path, "KEY", ["b", "a"][number % 2]).unwrap();
        fs::write(path.with_file_name("started"), "").unwrap();
    }
}

#[test]
#[ignore = "a helper that other tests start"]
fn helper_on_a_full_disk() {
    let Some(path) = file_from_the_test() else { return };
    let error = set(&path, "KEY", "new").unwrap_err();
    assert!(matches!(error, DotenvError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
#[ignore = "a helper that other tests start"]
fn helper_of_an_ordinary_user() {
    let Some(directory) = file_from_the_test() else { return };
    let at = |name: &str| directory.join(name);

    fs::write(at("read-only"), "KEY=old\n").unwrap();
    set_mode(&at("read-only"), 0o444);
    let foreign = at("foreign").exists().then(|| at("foreign"));
    for path in [Some(at("read-only")), foreign].into_iter().flatten() {
        let error = set(&path, "KEY", "new").unwrap_err();
        assert!(matches!(error, DotenvError::ReadOnly { .. }), "{error}");
        assert_eq!(read(&path), "KEY=old\n");
    }

    fs::write(at("unreadable"), "KEY=old\n").unwrap();
    set_mode(&at("unreadable"), 0o200);
    for error in
        [EnvFile::read(at("unreadable")).unwrap_err(), set(&at("unreadable"), "KEY", "new").unwrap_err()]
    {
        assert!(matches!(error, DotenvError::Io { .. }), "{error}");
    }

    fs::create_dir(at("closed")).unwrap();
    fs::write(at("closed/.env"), "KEY=old\n").unwrap();
    set_mode(&at("closed"), 0o555);
    for name in ["closed/.env", "closed/new"] {
        let error = set(&at(name), "KEY", "new").unwrap_err();
        assert!(matches!(error, DotenvError::DirectoryNotWritable { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(read(&at("closed/.env")), "KEY=old\n");
    assert_eq!(names_in(&at("closed")), [".env"]);
    set_mode(&at("closed"), 0o755);
}

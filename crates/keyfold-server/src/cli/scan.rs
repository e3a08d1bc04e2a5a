//! `keyfold doctor --scan DIR`: lines that read keys from the environment, `.env` files that are not kept to
//! oneself, and keys that stand in the tree. Keys are shown masked, and nothing is changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;
use keyfold::provider::Registry;
use keyfold::scan::{FoundKey, Language, Reading, Scanner, Way};
use keyfold::settings::{Problems, Settings, SettingsError, Sources};
use serde_json::{Value, json};

use super::{Failure, Start, print};

/// Larger files are data, or made by programs.
const LARGEST: u64 = 1024 * 1024;
/// A NUL so far in tells that a file is no text.
const LOOKED_AT: usize = 8 * 1024;

const NO_TEXT: &str = "no text";

/// What is left out of a tree wherever it stands, besides `target` of Cargo and virtual environments of Python.
const LEFT_OUT: [&str; 2] = [".git", "node_modules"];
/// `.env.example` is there to be committed.
const SAMPLES: [&str; 5] = [".example", ".sample", ".template", ".dist", ".schema"];

pub(super) fn scan(start: Start, dir: &Path, as_json: bool) -> Result<(), Failure> {
    let root = start.dir.join(dir);
    let root = fs::canonicalize(&root)
        .map_err(|error| Failure::new(format!("{} cannot be looked at: {error}", shown(&root))))?;
    if !root.is_dir() {
        return Err(Failure::new(format!("{} is no folder; name the one to scan", shown(&root))));
    }
    let registry = registry(start)?;
    let report = Report::of(&root, &Scanner::new(&registry));
    if as_json {
        print(&serde_json::to_string_pretty(&report.as_json())?)?;
    } else {
        report.print()?;
    }
    match report.keys.len() + report.env_files.len() {
        0 => Ok(()),
        _ => Err(Failure::new("there are keys or .env files that others can read; see above")),
    }
}

/// The providers of these settings, of which nothing else is needed.
fn registry(start: Start) -> Result<Registry, Failure> {
    let mut problems = Problems::default();
    let registry = Sources::load(start.environment, &start.dir)
        .map(|sources| Settings::registry(&sources, &mut problems))?;
    registry.filter(|_| problems.0.is_empty()).ok_or_else(|| SettingsError(problems).into())
}

#[derive(Default)]
struct Report {
    readings: Vec<(PathBuf, Language, Reading)>,
    env_files: Vec<(PathBuf, Exposure)>,
    keys: Vec<(PathBuf, FoundKey)>,
    skipped: Vec<(PathBuf, &'static str)>,
    unreadable: Vec<(PathBuf, String)>,
    /// What git said of the tree, if it could not be asked.
    git: Git,
    files: usize,
}

/// How a `.env` file is open to others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposure {
    Tracked,
    NotIgnored,
    Readable,
}

#[derive(Default)]
enum Git {
    /// The files that it tracks.
    Asked(BTreeSet<PathBuf>),
    #[default]
    NoWorkTree,
    NotThere,
    Refused(String),
}

impl Report {
    fn of(root: &Path, scanner: &Scanner<'_>) -> Self {
        let mut report = Self { git: Git::ask(root), ..Self::default() };
        let skipped = Arc::new(Mutex::new(vec![]));
        let all = report.walk(root, false, &skipped);
        // Said twice otherwise.
        let unreadable = std::mem::take(&mut report.unreadable);
        let mut files: BTreeSet<PathBuf> = report.walk(root, true, &Arc::default()).into_iter().collect();
        report.unreadable = unreadable;
        if let Git::Asked(tracked) = &report.git {
            // What git tracks is not ignored, whatever `.gitignore` says.
            files.extend(all.iter().filter(|path| tracked.contains(*path)).cloned());
        }
        for path in all.iter().filter(|path| is_env_file(path)) {
            report.env_file(path, files.contains(path));
        }
        for path in files {
            report.file(&path, scanner);
        }
        report.skipped.extend(std::mem::take(&mut *skipped.lock().unwrap_or_else(PoisonError::into_inner)));
        report.skipped.sort();
        report.unreadable.sort();
        report.unreadable.dedup_by(|a, b| a.0 == b.0);
        report.relative_to(root)
    }

    /// The ordinary files below `root`; symbolic links are not followed.
    fn walk(
        &mut self,
        root: &Path,
        without_ignored: bool,
        skipped: &Arc<Mutex<Vec<(PathBuf, &'static str)>>>,
    ) -> Vec<PathBuf> {
        let skipped = Arc::clone(skipped);
        let mut builder = WalkBuilder::new(root);
        builder.standard_filters(false).follow_links(false).require_git(false);
        builder.parents(without_ignored).git_ignore(without_ignored);
        builder.git_global(without_ignored).git_exclude(without_ignored);
        builder.filter_entry(move |entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            let Some(why) = left_out(entry.path()).filter(|_| is_folder && entry.depth() > 0) else {
                return true;
            };
            skipped.lock().unwrap_or_else(PoisonError::into_inner).push((entry.path().to_owned(), why));
            false
        });
        let mut found = vec![];
        for entry in builder.build() {
            match entry {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                    found.push(entry.into_path());
                }
                Ok(_) => {}
                Err(error) => self.not_walked(root, &error),
            }
        }
        found.sort();
        found
    }

    fn not_walked(&mut self, root: &Path, error: &ignore::Error) {
        let place = place_of(error).unwrap_or(root).to_owned();
        let why = error.io_error().map_or_else(|| error.to_string(), in_words);
        self.unreadable.push((place, why));
    }

    fn env_file(&mut self, path: &Path, is_in_sight: bool) {
        let is_tracked = match &self.git {
            Git::Asked(tracked) if tracked.contains(path) => {
                self.env_files.push((path.to_owned(), Exposure::Tracked));
                true
            }
            _ => false,
        };
        if !is_tracked && is_in_sight && matches!(self.git, Git::Asked(_)) {
            self.env_files.push((path.to_owned(), Exposure::NotIgnored));
        }
        let is_open = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0);
        // A check-out makes tracked files so; that they are tracked is worse.
        if is_open && !is_tracked {
            self.env_files.push((path.to_owned(), Exposure::Readable));
        }
    }

    fn file(&mut self, path: &Path, scanner: &Scanner<'_>) {
        let text = match read(path) {
            Ok(Content::Text(text)) => text,
            Ok(Content::Skipped(why)) => return self.skipped.push((path.to_owned(), why)),
            Err(error) => return self.unreadable.push((path.to_owned(), in_words(&error))),
        };
        self.files += 1;
        let language = Language::of(path);
        if let Some(language) = language {
            let readings = scanner.readings(language, &text);
            self.readings.extend(readings.into_iter().map(|reading| (path.to_owned(), language, reading)));
        }
        // A `.env` that git does not track is where local mode keeps keys.
        let is_own = is_env_file(path) && !matches!(&self.git, Git::Asked(tracked) if tracked.contains(path));
        if !is_own {
            let keys = scanner.keys(language, &text);
            self.keys.extend(keys.into_iter().map(|key| (path.to_owned(), key)));
        }
    }

    fn relative_to(mut self, root: &Path) -> Self {
        let cut = |path: &mut PathBuf| {
            if let Ok(below) = path.strip_prefix(root) {
                *path = if below.as_os_str().is_empty() { PathBuf::from(".") } else { below.to_owned() };
            }
        };
        self.readings.iter_mut().for_each(|(path, ..)| cut(path));
        self.env_files.iter_mut().for_each(|(path, _)| cut(path));
        self.keys.iter_mut().for_each(|(path, _)| cut(path));
        self.skipped.iter_mut().for_each(|(path, _)| cut(path));
        self.unreadable.iter_mut().for_each(|(path, _)| cut(path));
        self
    }

    fn print(&self) -> Result<(), Failure> {
        for (path, language, reading) in &self.readings {
            let Reading { line, variable, provider, way } = reading;
            let way = way.as_str();
            print(&format!("{way:<9}{}:{line}  {variable} ({})", shown(path), provider.name))?;
            print(&format!("         → {}", instead_of_reading(*language, reading)))?;
        }
        for (path, exposure) in &self.env_files {
            print(&format!("FILE     {}  {}", shown(path), exposure.in_words()))?;
            print(&format!("         → {}", exposure.instead(path)))?;
        }
        for (path, key) in &self.keys {
            print(&format!("KEY      {}:{}  {}", shown(path), key.line, key_in_words(key)))?;
            print(&format!("         → {}", instead_of_key(key)))?;
        }
        for (path, why) in &self.unreadable {
            print(&format!("unread   {}  {why}", shown(path)))?;
        }
        let (no_text, skipped): (Vec<_>, Vec<_>) = self.skipped.iter().partition(|(_, why)| *why == NO_TEXT);
        if !no_text.is_empty() {
            print(&format!("skipped  {} files that are no text; --json names them", no_text.len()))?;
        }
        for (path, why) in skipped {
            print(&format!("skipped  {}  {why}", shown(path)))?;
        }
        if let Some(note) = self.git.note() {
            print(&format!("note     {note}"))?;
        }
        print(&format!(
            "keys: {}; .env files open to others: {}; lines that use the environment: {}; files looked at: {}",
            self.keys.len(),
            self.env_files.len(),
            self.readings.len(),
            self.files
        ))
    }

    fn as_json(&self) -> Value {
        let name = |path: &Path| path.to_string_lossy().into_owned();
        let readings = self.readings.iter().map(|(path, language, reading)| {
            json!({
                "file": name(path),
                "line": reading.line,
                "variable": reading.variable,
                "provider": reading.provider.id.as_str(),
                "way": reading.way.as_str(),
                "instead": instead_of_reading(*language, reading),
            })
        });
        let env_files = self.env_files.iter().map(|(path, exposure)| {
            json!({ "file": name(path), "exposure": exposure.as_str(), "instead": exposure.instead(path) })
        });
        let keys = self.keys.iter().map(|(path, key)| {
            let providers: Vec<&str> = key.providers.iter().map(|provider| provider.id.as_str()).collect();
            json!({
                "file": name(path),
                "line": key.line,
                "providers": providers,
                "variable": key.variable,
                "masked": key.masked,
                "instead": instead_of_key(key),
            })
        });
        let skipped = self.skipped.iter().map(|(path, why)| json!({ "file": name(path), "why": why }));
        let unreadable = self.unreadable.iter().map(|(path, why)| json!({ "file": name(path), "why": why }));
        json!({
            "ok": self.keys.is_empty() && self.env_files.is_empty(),
            "files": self.files,
            "readings": readings.collect::<Vec<_>>(),
            "env_files": env_files.collect::<Vec<_>>(),
            "keys": keys.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
            "unreadable": unreadable.collect::<Vec<_>>(),
            "note": self.git.note(),
        })
    }
}

impl Git {
    /// Asks for the index of the tree that `root` belongs to. Nothing that the tree's own configuration names is run.
    fn ask(root: &Path) -> Self {
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]).args(arguments);
            command.current_dir(root).env("LC_ALL", "C").output()
        };
        let inside = match git(&["rev-parse", "--is-inside-work-tree"]) {
            Ok(output) => output,
            Err(_) if root.ancestors().any(|folder| folder.join(".git").exists()) => return Self::NotThere,
            Err(_) => return Self::NoWorkTree,
        };
        let said = String::from_utf8_lossy(&inside.stderr);
        if said.contains("not a git repository") || inside.stdout.starts_with(b"false") {
            return Self::NoWorkTree;
        }
        let listed = match git(&["ls-files", "-z"]) {
            Ok(listed) if inside.status.success() && listed.status.success() => listed,
            Ok(listed) => {
                let said =
                    if inside.status.success() { String::from_utf8_lossy(&listed.stderr) } else { said };
                return Self::Refused(escaped(said.lines().next().unwrap_or("it gave no reason")));
            }
            Err(error) => return Self::Refused(error.to_string()),
        };
        let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Self::Asked(names.map(|name| root.join(OsStr::from_bytes(name))).collect())
    }

    fn note(&self) -> Option<String> {
        let unknown = "so whether it tracks .env files is not known";
        match self {
            Self::Asked(_) => None,
            Self::NoWorkTree => Some(format!("this is no work tree of git, {unknown}")),
            Self::NotThere => {
                Some(format!("the program git is not there, {unknown}: install it and scan again"))
            }
            Self::Refused(said) => Some(format!("git gave no answer ({said}), {unknown}")),
        }
    }
}

impl Exposure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::NotIgnored => "not_ignored",
            Self::Readable => "readable",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Tracked => "git tracks it: every clone has what is in it",
            Self::NotIgnored => "git does not ignore it: the next `git add` takes it along",
            Self::Readable => "other users of this machine can read it",
        }
    }

    fn instead(self, path: &Path) -> String {
        let file = super::keys::for_the_shell(&shown(path));
        match self {
            Self::Tracked => format!(
                "git rm --cached {file}, add it to .gitignore, and replace the keys in it: they stay in the history; `keyfold migrate env {file}` moves them to a user"
            ),
            Self::NotIgnored => format!("add {file} to .gitignore"),
            Self::Readable => format!("chmod 600 {file}"),
        }
    }
}

enum Content {
    Text(String),
    Skipped(&'static str),
}

fn read(path: &Path) -> io::Result<Content> {
    let file = File::open(path)?;
    if file.metadata()?.len() > LARGEST {
        return Ok(Content::Skipped("larger than 1 MiB"));
    }
    let mut bytes = vec![];
    file.take(LARGEST).read_to_end(&mut bytes)?;
    if bytes.iter().take(LOOKED_AT).any(|byte| *byte == 0) {
        return Ok(Content::Skipped(NO_TEXT));
    }
    Ok(Content::Text(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

fn left_out(folder: &Path) -> Option<&'static str> {
    let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if let Some(known) = LEFT_OUT.iter().find(|known| **known == name) {
        return Some(if *known == ".git" { "git's own" } else { "packages of others" });
    }
    let is_cargos = name == "target"
        && (folder.join("CACHEDIR.TAG").exists() || folder.with_file_name("Cargo.toml").exists());
    if is_cargos {
        return Some("built by Cargo");
    }
    folder.join("pyvenv.cfg").exists().then_some("a virtual environment of Python")
}

/// `.env`, `.env.local`, `prod.env`, and no sample.
fn is_env_file(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let is_one = name == ".env" || name.starts_with(".env.") || name.ends_with(".env");
    is_one && !SAMPLES.iter().any(|sample| name.contains(sample))
}

fn place_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithLineNumber { err, .. } | ignore::Error::WithDepth { err, .. } => place_of(err),
        _ => None,
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "may not be read by this user".into(),
        _ => format!("cannot be read: {error}"),
    }
}

fn instead_of_reading(language: Language, reading: &Reading) -> String {
    let instead = language.instead(&reading.provider);
    match reading.way {
        Way::Reads => instead,
        Way::Sets => {
            format!("do not set it, every request of the process sees it; where the key is needed: {instead}")
        }
    }
}

fn key_in_words(key: &FoundKey) -> String {
    let names: Vec<&str> = key.providers.iter().map(|provider| provider.name.as_str()).collect();
    let whose = if names.is_empty() {
        "service token of Keyfold".to_owned()
    } else {
        format!("key of {}", names.join(" or "))
    };
    let variable = key.variable.as_ref().map(|name| format!(", given to {name}")).unwrap_or_default();
    format!("{} {whose}{variable}", key.masked)
}

fn instead_of_key(key: &FoundKey) -> String {
    match key.providers.as_slice() {
        [provider] => format!(
            "make it invalid at {} (it stays in the history), take it out, and save a new one with `keyfold keys set {}`",
            provider.setup_url, provider.id
        ),
        [] => "`keyfold token revoke` it (it stays in the history), take it out, and make a new one".into(),
        several => {
            let places: Vec<&str> = several.iter().map(|provider| provider.setup_url.as_str()).collect();
            format!(
                "make it invalid where it is from, {} (it stays in the history), take it out, and save a new one with `keyfold keys set`",
                places.join(" or ")
            )
        }
    }
}

/// A path as one line of text: a file's name may hold anything.
fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|each| if each.is_control() { each.escape_default().to_string() } else { each.to_string() })
        .collect()
}

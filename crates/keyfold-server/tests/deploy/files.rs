//! The deployment files, read: which variables they set, and what they start.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyfold::settings::{Kind, SETTINGS};
use serde_json::Value;

/// Where a platform gets a variable's value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// It stands in the file.
    Fixed(String),
    /// The platform makes a random one.
    Made,
    /// From the platform's database.
    Database,
    /// The operator is asked for it.
    Asked,
}

pub(crate) type Variables = Vec<(String, Given)>;

/// The last stage of the Dockerfile.
pub(crate) struct Image {
    pub(crate) copies: Vec<Copying>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) user: String,
    pub(crate) command: Vec<String>,
    pub(crate) health_check: Vec<String>,
}

/// What a stage takes from the one before: all that is in a folder.
pub(crate) struct Copying {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Root's without it.
    pub(crate) owner: Option<String>,
}

/// The service in the unit.
pub(crate) struct Unit {
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) command: Vec<String>,
    pub(crate) credentials: Vec<String>,
}

#[test]
fn every_variable_is_a_setting() {
    let mut names = vec![];
    for (file, variables) in [("render.yaml", render()), ("railway.env", railway()), ("app.json", heroku())] {
        names.extend(variables.into_iter().map(|(name, _)| (file, name)));
    }
    names.extend(compose().into_iter().map(|name| ("compose.yaml", name)));
    names.extend(image().variables.into_iter().map(|(name, _)| ("Dockerfile", name)));
    names.extend(unit().variables.into_iter().map(|(name, _)| ("keyfold.service", name)));
    for file in ["render.yaml", "railway.env", "app.json", "compose.yaml", "Dockerfile", "keyfold.service"] {
        assert!(names.iter().any(|(of, _)| *of == file), "{file} was not understood");
    }
    for (file, name) in names {
        let plain = name.strip_suffix("_FILE").unwrap_or(&name);
        let known = |setting: &keyfold::settings::Setting| {
            setting.name == name || (setting.name == plain && setting.kind == Kind::Secret)
        };
        assert!(SETTINGS.iter().any(known), "{file} sets {name}, which is no setting");
    }
}

#[test]
fn the_image_is_built_with_the_pinned_rust() {
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "{version}");
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={version}\n")), "{version}");
}

#[test]
fn what_the_image_copies_is_there() {
    let dockerfile = read("Dockerfile");
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    let sources: Vec<&str> = copied.filter(|line| !line.starts_with("--")).map(first_word).collect();
    assert!(sources.len() >= 3, "{sources:?}");
    for source in sources {
        assert!(path(source).exists(), "{source}");
    }
    // And what the stages run.
    assert!(path("frontend/package-lock.json").exists() && path("deploy/image-root.sh").exists());
}

/// The stages that build get the repository's files without those that `.dockerignore` names.
#[test]
fn docker_gets_every_file_that_the_program_and_its_page_are_built_of() {
    let ignored = ignored_by_docker();
    let tracked = tracked();
    let got: BTreeSet<&str> =
        tracked.iter().map(String::as_str).filter(|file| !ignored.iter().any(|is| is(file))).collect();
    let mut needed: Vec<String> = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "deploy/image-root.sh"]
        .map(str::to_owned)
        .to_vec();
    // Cargo reads the manifests of all members, and looks for the files that they name.
    let manifest = read("Cargo.toml");
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 5, "{members:?}");
    needed.extend(members.iter().map(|member| format!("{member}/Cargo.toml")));
    // Of these folders everything that is kept.
    let folders = [&members[..], &["clients/typescript", "frontend"]].concat();
    needed.extend(tracked.iter().filter(|file| folders.iter().any(|of| is_below(file, of))).cloned());
    // And what code includes from anywhere, but for what only documentation shows.
    let mut included = 0;
    for source in tracked.iter().filter(|file| file.contains("/src/") && is_rust(file)) {
        for line in read(source).lines().filter(|line| !line.contains("doc = include_str!")) {
            for macro_name in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
                for rest in line.split(macro_name).skip(1) {
                    needed.push(beside(source, rest.split('"').next().unwrap()));
                    included += 1;
                }
            }
        }
    }
    assert!(included > 20, "they were not found");
    for file in needed {
        assert!(got.contains(file.as_str()), "{file} does not reach the image's build");
    }
    assert!(!got.iter().any(|file| file.ends_with("/.env") || file.contains("/node_modules/")));
}

#[test]
fn what_docker_ignores_is_understood_as_docker_does() {
    let ignored = ignored_by_docker();
    let is_ignored = |file: &str| ignored.iter().any(|is| is(file));
    for file in [
        ".git/config",
        "target/debug/x",
        ".env",
        "a/b/.env",
        "a/.env.local",
        "frontend/dist/x",
        "deploy/secrets/y",
    ] {
        assert!(is_ignored(file), "{file}");
    }
    for file in ["a/target/x", "Dockerfile", "a/.environment", "a/distant/x", "deploy/nginx.conf", "a/x.env"]
    {
        assert!(!is_ignored(file), "{file}");
    }
}

type Rule = Box<dyn Fn(&str) -> bool>;

/// The lines of `.dockerignore`: each names files and all that is below them, from the root, or with `**/` anywhere.
fn ignored_by_docker() -> Vec<Rule> {
    let text = read(".dockerignore");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            assert!(!line.starts_with('!'), "exceptions are not understood here: {line}");
            let (anywhere, name) = line.strip_prefix("**/").map_or((false, line), |name| (true, name));
            let (name, more) = name.strip_suffix('*').map_or((name, false), |begin| (begin, true));
            assert!(!name.contains('*'), "not understood here: {line}");
            let name = name.to_owned();
            let begins = move |path: &str| {
                path.strip_prefix(&name).is_some_and(|rest| more || rest.is_empty() || rest.starts_with('/'))
            };
            let rule: Rule = Box::new(move |file: &str| {
                begins(file) || (anywhere && file.match_indices('/').any(|(at, _)| begins(&file[at + 1..])))
            });
            rule
        })
        .collect()
}

/// The repository's files, as git has them.
fn tracked() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(path("")).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let files: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(files.len() > 500, "{} files", files.len());
    // Those that are being removed are not there to be copied.
    files.into_iter().filter(|file| path(file).exists()).collect()
}

fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "rs")
}

fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// This path as seen from that file, from the root.
fn beside(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn nothing_secret_stands_in_a_file() {
    for (name, given) in render().into_iter().chain(railway()).chain(heroku()) {
        let is_secret = SETTINGS.iter().any(|setting| setting.name == name && setting.kind == Kind::Secret);
        assert!(!is_secret || !matches!(given, Given::Fixed(_)), "{name}");
    }
}

pub(crate) fn render() -> Variables {
    let text = read("render.yaml");
    let mut entries = text.split("- key: ");
    entries.next();
    let given = |entry: &str| {
        let value = entry.lines().skip(1).map(str::trim).find(|line| !line.starts_with('#'));
        let value = value.unwrap_or_default();
        if let Some(fixed) = value.strip_prefix("value: ") {
            Given::Fixed(fixed.to_owned())
        } else {
            match value {
                "generateValue: true" => Given::Made,
                "fromDatabase:" => Given::Database,
                "sync: false" => Given::Asked,
                other => panic!("render.yaml: what is {other}?"),
            }
        }
    };
    entries.map(|entry| (entry.lines().next().unwrap().trim().to_owned(), given(entry))).collect()
}

pub(crate) fn railway() -> Variables {
    assignments(&read("deploy/railway.env"))
        .map(|(name, value)| {
            let given = match value.as_str() {
                "" => Given::Asked,
                "${{Postgres.DATABASE_URL}}" => Given::Database,
                "https://${{RAILWAY_PUBLIC_DOMAIN}}" => Given::Fixed("https://keyfold.up.railway.app".into()),
                fixed => Given::Fixed(fixed.to_owned()),
            };
            (name, given)
        })
        .collect()
}

pub(crate) fn heroku() -> Variables {
    let file: Value = serde_json::from_str(&read("app.json")).unwrap();
    // The add-on sets it.
    assert_eq!(file["addons"][0]["as"], "DATABASE");
    let mut variables = vec![("DATABASE_URL".to_owned(), Given::Database)];
    for (name, variable) in file["env"].as_object().unwrap() {
        let given = match (variable["value"].as_str(), variable["generator"].as_str()) {
            (Some(fixed), _) => Given::Fixed(fixed.to_owned()),
            (None, Some(_)) => Given::Made,
            (None, None) => Given::Asked,
        };
        variables.push((name.clone(), given));
    }
    variables
}

/// The names of the variables of Keyfold's own container.
fn compose() -> Vec<String> {
    let text = read("deploy/compose.yaml");
    let block = text.split("\n    environment:\n").nth(1).unwrap();
    let lines = block.lines().take_while(|line| line.starts_with("      "));
    lines
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect()
}

pub(crate) fn image() -> Image {
    let text = read("Dockerfile");
    let (_, stage) = text.rsplit_once("\nFROM scratch\n").unwrap();
    let all = |instruction: &str| {
        let begin = format!("{instruction} ");
        stage.lines().filter_map(move |line| line.strip_prefix(&begin).map(str::to_owned)).collect::<Vec<_>>()
    };
    let words = |json: &str| serde_json::from_str::<Vec<String>>(json).unwrap();
    let last = |instruction: &str| all(instruction).pop().unwrap_or_else(|| panic!("no {instruction}"));
    let health = last("HEALTHCHECK");
    Image {
        copies: all("COPY").iter().map(|line| copying(line)).collect(),
        variables: all("ENV").iter().map(|line| pair(line)).collect(),
        user: last("USER"),
        command: [words(&last("ENTRYPOINT")), words(&last("CMD"))].concat(),
        health_check: words(health.split_once("CMD ").unwrap().1),
    }
}

fn copying(line: &str) -> Copying {
    let (options, paths): (Vec<&str>, Vec<&str>) = line.split(' ').partition(|word| word.starts_with("--"));
    let [from, to] = paths[..] else { panic!("COPY {line}") };
    assert!(from.ends_with('/') && to.ends_with('/'), "COPY {line}: only folders are understood");
    let mut owner = None;
    for option in options {
        match option.split_once('=') {
            Some(("--from", _)) => {}
            Some(("--chown", of)) => owner = Some(of.to_owned()),
            _ => panic!("COPY {line}: what is {option}?"),
        }
    }
    Copying { from: from.to_owned(), to: to.to_owned(), owner }
}

pub(crate) fn unit() -> Unit {
    let text = read("deploy/keyfold.service");
    let all = |name: &str| {
        let begin = format!("{name}=");
        text.lines().filter_map(move |line| line.strip_prefix(&begin).map(str::to_owned)).collect::<Vec<_>>()
    };
    let command = all("ExecStart").pop().unwrap();
    Unit {
        variables: all("Environment").iter().map(|line| pair(line)).collect(),
        command: command.split(' ').map(str::to_owned).collect(),
        credentials: all("LoadCredential")
            .iter()
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect(),
    }
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of the repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn first_word(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

fn assignments(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(pair)
}

fn pair(line: &str) -> (String, String) {
    let (name, value) = line.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

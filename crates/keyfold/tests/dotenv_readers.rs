//! What the editor writes, read back by the real readers of `.env` files.
//!
//! Each case is a file before an edit, after it, and after the variable was removed again. All cases
//! of a test go through each reader in one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyfold::dotenv::EnvFile;
use tempfile::TempDir;

/// The variable that is edited.
const KEY: &str = "KEY";

const SH: &str = "sh";
const DOTENVY: &str = "dotenvy";
const OLD_VITE: &str = "vite on old Node";

/// A piece of a file, and the readers that cannot read on behind it (nor could before the edit).
type Piece = (&'static str, &'static [&'static str]);

const OTHERS: &[Piece] = &[
    ("", &[]),
    ("# a comment", &[]),
    ("#it's a \"comment with `quotes", &[]),
    ("# KEY=commented out", &[]),
    ("  # an indented comment", &[OLD_VITE]),
    ("   ", &[OLD_VITE]),
    ("\t", &[OLD_VITE]),
    ("PLAIN=plain", &[]),
    ("export EXPORTED=exported", &[]),
    ("EMPTY=", &[]),
    ("EMPTY_QUOTED=''", &[]),
    ("EMPTY_COMMENT= # comment", &[]),
    ("KEY_2=another variable", &[]),
    ("MY_KEY=another variable", &[]),
    ("SINGLE='single # quoted'", &[]),
    ("DOUBLE=\"double # quoted\"", &[]),
    ("ESCAPES=\"a \\\" b \\\\ c \\n d\"", &[]),
    ("BACKTICK=`back # tick`", &[SH]),
    ("COMMENT=value # comment with = and 'quotes'", &[]),
    ("TAB_COMMENT=value\t# comment", &[]),
    ("HASH=value#hash", &[]),
    ("SPACES=with some spaces", &[]),
    ("APOSTROPHE=it's", &[SH, DOTENVY]),
    ("MULTI=\"one\ntwo\nthree\"", &[]),
    ("MULTI_SINGLE='one\nKEY=not a definition\nthree'", &[]),
    ("MULTI_BACKTICK=`one\ntwo`", &[SH]),
    ("SPACED = value", &[]),
    ("INDENTED=1\n  INDENTED_2=2", &[]),
    ("\tTABBED=tabbed", &[]),
    ("BARE", &[OLD_VITE]),
    ("export BARE_EXPORTED", &[OLD_VITE, SH]),
    ("export  TWO_SPACES=1", &[]),
    ("REFERENCE=${PLAIN}", &[]),
    ("REFERENCE_2=a$PLAIN", &[]),
    ("DEFAULT=${NOTHING:-default}", &[]),
    ("DOLLARS='$2b$10$abc'", &[]),
    ("with-hyphen=1", &[]),
    ("with.dot=1", &[]),
    ("1_DIGIT=1", &[]),
    ("UNICODE=ünïcödé \u{1f511}", &[]),
    ("NO_BREAK_SPACE=a\u{a0}b", &[]),
    ("SEMICOLON=a;b", &[]),
    ("AMPERSAND=a&b", &[]),
    ("PARENTHESIS=a (b)", &[SH]),
    ("REDIRECT=a>b", &[]),
    ("HOME_PATH=~/a", &[]),
    ("WINDOWS=C:\\new\\table", &[]),
    ("TRAILING_BACKSLASH=a\\", &[SH]),
    ("EQUALS=a=b==", &[]),
    ("URL=postgres://user:p%40ss@host:5432/db?sslmode=require#x", &[]),
];

/// What defines the variable before the edit; several make a file with duplicates. The readers named
/// cannot read the rest of the file, but after the edit they can.
const DEFINITIONS: &[Piece] = &[
    ("KEY=old", &[]),
    ("KEY=", &[]),
    ("KEY=''", &[]),
    ("KEY", &[OLD_VITE]),
    ("KEY # note", &[OLD_VITE]),
    ("export KEY", &[OLD_VITE, SH]),
    ("export KEY=old", &[]),
    ("export\tKEY=old", &[]),
    ("export   KEY = 'old'\t# note", &[SH]),
    ("  KEY=old", &[]),
    ("\tKEY=old", &[]),
    ("\u{c}KEY=old", &[]),
    ("KEY = old", &[]),
    ("KEY= old", &[]),
    ("KEY=old  ", &[]),
    ("KEY='old value'", &[]),
    ("KEY=\"old\\nvalue\"", &[]),
    ("KEY='old\nvalue'", &[]),
    ("KEY=\"old\n\nvalue\" # note", &[]),
    ("KEY=`old value`", &[SH]),
    ("KEY=old # it's \"noted\"", &[]),
    ("KEY=old\t# note", &[]),
    ("KEY='old'#note", &[]),
    ("KEY= # note", &[]),
    ("KEY=#not a note", &[]),
    ("KEY=${PLAIN}", &[]),
    ("KEY=it's", &[SH, DOTENVY]),
    ("KEY=old (value)", &[SH]),
    ("KEY=your_key_here", &[]),
];

const VALUES: &[&str] = &[
    "AIzaSyA-0123456789_abcdefghijklmnopqrst",
    "AQ.Ab8RN6I-x_y.z~0",
    "sk-ant-api03-AbC_dEf-0123456789",
    "gsk_0123456789abcdefABCDEF",
    "c2VjcmV0L3dpdGgrcGFkZGluZw==",
    "ck_pub_0123456789abcdef",
    "11111111-2222-3333-4444-555555555555",
    "a",
    "",
    "0",
    "#",
    "#leading",
    "in#the#middle",
    "=",
    "=leading",
    "a=b",
    "~",
    "~/path:~",
    "!",
    "!!a!b",
    "a&b;c|d",
    "(a)",
    "<a>",
    "a*?[b]",
    "{a,b}",
    "^%@:,+-./_",
    "export",
    "KEY=value",
    "//comment",
    "-n",
    "%PATH%",
    "%24%7B",
    "true",
    "null",
    "1e5",
];

#[derive(Default)]
struct Case {
    before: String,
    after: String,
    removed: String,
    value: String,
    /// Those that can read neither the old nor the new file to the end.
    lost: BTreeSet<&'static str>,
    /// Those that cannot read the old file to the end, but the new one.
    lost_before: BTreeSet<&'static str>,
}

/// What a reader found in a file; `None` if it gave up.
type Found = Option<BTreeMap<String, Option<String>>>;

#[test]
fn every_reader_reads_back_what_was_written() {
    let mut random = Random(7);
    let cases: Vec<Case> = (0..400).map(|number| case(number, &mut random)).collect();
    let files = cases.iter().flat_map(|case| [&case.before, &case.after, &case.removed]);
    let read = read_with_all(files);

    for (reader, files) in &read {
        let mut checked = 0;
        for (case, files) in cases.iter().zip(files.chunks_exact(3)) {
            if case.lost.contains(reader.as_str()) {
                continue;
            }
            checked += 1;
            check(case, reader, &files[0], &files[1], &files[2]);
        }
        // So that the exceptions do not grow until nothing is tested.
        assert!(checked > cases.len() / 5, "{reader} was only tested with {checked} files");
    }
}

fn check(case: &Case, reader: &str, before: &Found, after: &Found, removed: &Found) {
    let context = || {
        let Case { before, after, removed, .. } = case;
        format!("{reader}\nbefore: {before:?}\nafter: {after:?}\nremoved: {removed:?}")
    };
    let variables = |found: &Found| {
        let mut variables = found.clone().unwrap_or_else(|| panic!("gave up: {}", context()));
        if reader == SH && case.before.contains('\r') {
            // To the shell, the CR before the LF is the end of the value.
            for value in variables.values_mut().flatten() {
                value.truncate(value.trim_end_matches('\r').len());
            }
        }
        let found = variables.remove(KEY);
        // To Vite, a gap or a byte order mark before it is a part of the name.
        variables.retain(|name, _| name.rsplit([' ', '\t', '\u{c}', '\u{feff}']).next() != Some(KEY));
        (found, variables)
    };
    let (found, others) = variables(after);
    assert_eq!(found, Some(Some(case.value.clone())), "{}", context());

    let (found, others_removed) = variables(removed);
    assert_eq!(found, None, "after removing: {}", context());
    assert_eq!(others_removed, others, "other variables, after removing: {}", context());

    if !case.lost_before.contains(reader) {
        let (_, others_before) = variables(before);
        assert_eq!(others_before, others, "other variables: {}", context());
    }
}

/// A file of a few other lines and none, one or more definitions of the variable.
fn case(number: usize, random: &mut Random) -> Case {
    let mut case = Case::default();
    let mut pieces: Vec<&str> = vec![];
    for _ in 0..random.below(7) {
        let (piece, lost) = random.pick(OTHERS);
        pieces.push(piece);
        case.lost.extend(*lost);
    }
    for definition in 0..[0, 1, 1, 1, 2, 3][random.below(6)] {
        // Each definition has its turn.
        let (piece, lost) =
            if definition == 0 { &DEFINITIONS[number % DEFINITIONS.len()] } else { random.pick(DEFINITIONS) };
        pieces.insert(random.below(pieces.len() + 1), piece);
        case.lost_before.extend(*lost);
    }
    let ending = *random.pick(&["\n", "\n", "\n", "\r\n", "\r\n", "\r"]);
    if ending == "\r" {
        // Only python-dotenv and Node's dotenv take it for a line's end.
        case.lost.extend([SH, DOTENVY, OLD_VITE, "vite"]);
    }
    case.before = pieces.join("\n") + *random.pick(&["\n", "\n", ""]);
    case.before = case.before.replace('\n', ending);
    if random.below(8) == 0 {
        case.before.insert(0, '\u{feff}');
        // Node up to 22 takes the mark for the start of the next variable's name. The shell runs
        // what stands behind it as a command, quotes and all.
        case.lost.extend([OLD_VITE, SH]);
        // To Vite, the first variable's name has the mark in it, until there is a line before it.
        case.lost_before.insert("vite");
    }
    case.value = if random.below(2) == 0 {
        (*random.pick(VALUES)).to_owned()
    } else {
        let length = 1 + random.below(40);
        (0..length).map(|_| char::from(*random.pick(&allowed_bytes()))).collect()
    };

    let mut env = EnvFile::parse(case.before.as_bytes()).unwrap();
    env.set(KEY, &case.value).unwrap();
    case.after = text(&env);
    env.remove(KEY).unwrap();
    case.removed = text(&env);
    if [&case.before, &case.removed].iter().any(|file| file.ends_with([' ', '\t', '\\'])) {
        // At the end of a file, these are an error to it.
        case.lost.insert(DOTENVY);
    }
    case
}

#[test]
fn every_allowed_character_survives_in_every_position() {
    let special: Vec<u8> = allowed_bytes().into_iter().filter(|byte| !byte.is_ascii_alphanumeric()).collect();
    let mut values: Vec<Vec<String>> = vec![vec![]];
    for a in allowed_bytes().into_iter().map(char::from) {
        values[0].extend([
            format!("{a}"),
            format!("{a}x"),
            format!("x{a}"),
            format!("x{a}x"),
            format!("{a}{a}"),
        ]);
    }
    for &a in &special {
        let pair = |&b| format!("x{}{}1", char::from(a), char::from(b));
        values.push(special.iter().map(pair).collect());
    }
    let files: Vec<String> = values
        .iter()
        .map(|values| {
            let mut env = EnvFile::parse(b"").unwrap();
            for (number, value) in values.iter().enumerate() {
                env.set(&format!("V_{number}"), value).unwrap();
            }
            text(&env)
        })
        .collect();
    for (reader, read) in read_with_all(&files) {
        for (found, values) in read.iter().zip(&values) {
            let found = found.as_ref().unwrap_or_else(|| panic!("{reader} gave up"));
            for (number, value) in values.iter().enumerate() {
                assert_eq!(found[&format!("V_{number}")].as_ref(), Some(value), "{reader}");
            }
        }
    }
}

#[test]
fn files_are_read_as_python_dotenv_reads_them() {
    // All but backticks, which are read as Node's dotenv does.
    const PIECES: &[&str] = &[
        "A", "B", "=", "=", "'", "\"", "#", " ", "\t", "\n", "\n", "\r\n", "\r", "\\", "\\n", "\\'", "\\\"",
        "$", "{", "}", "export ", "A=1", "B='x'", " # c", "ü", "\u{a0}", "\u{b}", "\u{1c}", "\u{2028}",
        "\u{feff}", ":", "-", ".",
    ];
    let mut random = Random(11);
    let mut files: Vec<String> =
        (0..2500).map(|_| (0..random.below(14)).map(|_| *random.pick(PIECES)).collect()).collect();
    files.extend((0..300).map(|number| case(number, &mut random).before).filter(|file| !file.contains('`')));

    let mut accepted = 0;
    for (file, theirs) in files.iter().zip(&Files::write(&files).read_with_python()["python-dotenv grammar"])
    {
        let ours: Found = EnvFile::parse(file.as_bytes()).ok().map(|env| {
            env.variables()
                .map(|variable| (variable.name().to_owned(), variable.value().map(str::to_owned)))
                .collect()
        });
        if theirs.iter().flat_map(BTreeMap::keys).any(|name| name.contains('\n')) {
            // A quoted name over several lines is more likely a stray quote.
            assert!(ours.is_none(), "{file:?}");
            continue;
        }
        accepted += usize::from(ours.is_some());
        assert_eq!(&ours, theirs, "{file:?}");
    }
    assert!(accepted > 500 && files.len() - accepted > 500, "{accepted} of {}", files.len());
}

type Read = BTreeMap<String, Vec<Found>>;

fn read_with_all<'a>(files: impl IntoIterator<Item = &'a String>) -> Read {
    let files = Files::write(files);
    let mut read = files.read_with_python();
    read.remove("python-dotenv grammar");
    read.extend(files.read_with_node());
    read.insert(SH.to_owned(), files.read_with_shell());
    read.insert(
        DOTENVY.to_owned(),
        files.contents.iter().map(|file| Some(dotenvy_variables(file))).collect(),
    );
    read
}

/// The cases as files `.env.00000`, `.env.00001` and so on.
struct Files<'a> {
    contents: Vec<&'a String>,
    directory: TempDir,
}

impl<'a> Files<'a> {
    fn write(contents: impl IntoIterator<Item = &'a String>) -> Self {
        let files = Self { contents: contents.into_iter().collect(), directory: TempDir::new().unwrap() };
        for (number, content) in files.contents.iter().enumerate() {
            fs::write(files.path(&format!(".env.{number:05}")), content).unwrap();
        }
        files
    }

    fn read_with_python(&self) -> Read {
        let python = installed(test_tools().join("venv/bin/python"));
        let script = include_str!("readers/read.py");
        self.answer_of(Command::new(python).args(["-c", script]).env_clear())
    }

    fn read_with_node(&self) -> Read {
        let packages = installed(test_tools().join("readers/node_modules"));
        let script = include_str!("readers/read.mjs");
        self.answer_of(
            Command::new("node").args(["--input-type=module", "--eval", script]).current_dir(packages),
        )
    }

    fn answer_of(&self, reader: &mut Command) -> Read {
        let out = self.path("answer.json");
        run(reader.args([self.directory.path(), &out]));
        let answer: BTreeMap<String, BTreeMap<String, Found>> =
            serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        let in_order = |(reader, files): (String, BTreeMap<_, _>)| {
            assert_eq!(files.len(), self.contents.len());
            (reader, files.into_values().collect())
        };
        answer.into_iter().map(in_order).collect()
    }

    fn read_with_shell(&self) -> Vec<Found> {
        let script = include_str!("readers/read.sh");
        run(Command::new("sh").args(["-c", script, "read.sh"]).arg(self.directory.path()).env_clear());
        let answer = |number| self.path(&format!("sh.env.{number:05}"));
        (0..self.contents.len()).map(|number| shell_variables(&answer(number))).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn shell_variables(file: &Path) -> Found {
    let pairs = String::from_utf8(fs::read(file).unwrap()).unwrap();
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let variables = pairs.split_terminator('\0').filter_map(|pair| pair.split_once('='));
    let variables = variables.filter(|(name, _)| !own.contains(name));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), Some(value.to_owned()));
    (!pairs.is_empty()).then(|| variables.map(owned).collect())
}

/// As `dotenvy::from_path` does: it skips the byte order mark, and the first definition counts. Lines
/// that it refuses are left out, because what it read before them stays.
fn dotenvy_variables(file: &str) -> BTreeMap<String, Option<String>> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut variables = BTreeMap::new();
    for (name, value) in dotenvy::from_read_iter(file.as_bytes()).flatten() {
        variables.entry(name).or_insert(Some(value));
    }
    variables
}

#[expect(clippy::disallowed_methods, reason = "settings of the test run itself")]
fn test_tools() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-tools");
    std::env::var_os("KEYFOLD_TEST_TOOLS").map_or_else(default, PathBuf::from)
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

fn run(command: &mut Command) {
    let program = command.get_program().display().to_string();
    let output = command.output().unwrap_or_else(|error| panic!("{program} is needed here: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed ({}):\n{errors}", output.status);
}

fn text(env: &EnvFile) -> String {
    String::from_utf8(env.as_bytes().to_vec()).unwrap()
}

fn allowed_bytes() -> Vec<u8> {
    (b'!'..=b'~').filter(|byte| !b"$'\"`\\".contains(byte)).collect()
}

/// The same numbers in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

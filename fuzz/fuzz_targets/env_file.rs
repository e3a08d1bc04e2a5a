//! Editing a `.env` file: the variable in question has the new value or is gone, every other line keeps its bytes, and
//! what cannot be understood is left alone.
//!
//! Input: the first line is `NAME=value`, the rest is the file.

#![no_main]

use keyfold::dotenv::{DotenvError, EnvFile};
use libfuzzer_sys::fuzz_target;

const MARK: char = '\u{feff}';

fuzz_target!(|input: &[u8]| {
    let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let content = input.get(line.len() + 1..).unwrap_or_default();
    let Some((name, value)) = str::from_utf8(line).ok().and_then(|line| line.split_once('=')) else { return };
    match EnvFile::parse(content) {
        Ok(_) => {
            let edit = Edit { name, value, content, model: Model::of(content, name) };
            edit.check_set();
            edit.check_remove();
        }
        Err(error) => {
            let last = 1 + content.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count();
            assert!(error.line().is_some_and(|line| (1..=last).contains(&line)), "{error}");
        }
    }
});

struct Edit<'a> {
    name: &'a str,
    value: &'a str,
    content: &'a [u8],
    /// Where lines are all that there is to understand.
    model: Option<Model<'a>>,
}

impl Edit<'_> {
    fn check_set(&self) {
        let before = parse(self.content);
        let mut after = parse(self.content);
        let result = after.set(self.name, self.value);

        let allowed = match (is_name(self.name), self.value.bytes().all(is_portable)) {
            (false, _) => matches!(result, Err(DotenvError::InvalidName)),
            (true, false) => matches!(result, Err(DotenvError::InvalidValue)),
            (true, true) => result.is_ok(),
        };
        assert!(allowed, "{result:?}");
        if result.is_err() {
            assert_eq!(text(&after), text(&before), "refused and changed");
            return;
        }
        let read_again = parse(after.as_bytes());
        assert_eq!(read_again.get(self.name), Some(self.value));
        assert_eq!(after.get(self.name), Some(self.value));
        assert_eq!(self.others(&read_again), self.others(&before), "another variable changed");

        let known = before.variable(self.name).is_some();
        if !known {
            check_is_one_line_more(text(&before), text(&after), self.name, self.value);
        } else if let Some(model) = &self.model {
            model.check_set(text(&after), self.name, self.value);
        }

        let mut twice = parse(after.as_bytes());
        assert!(twice.set(self.name, self.value).is_ok());
        assert_eq!(text(&twice), text(&after), "setting twice is not setting once");

        let mut undone = parse(after.as_bytes());
        if !known {
            assert!(undone.remove(self.name).is_ok_and(|found| found));
            assert_eq!(text(&undone), text(&before), "removing what was new leaves something");
        } else if !text(&before).starts_with(MARK) {
            assert!(undone.restore(&before.snapshot(self.name)).is_ok());
            assert_eq!(text(&undone), text(&before), "not restored");
        }
    }

    fn check_remove(&self) {
        let before = parse(self.content);
        let mut after = parse(self.content);
        let found = after.remove(self.name);
        assert_eq!(found.as_ref().ok(), Some(&before.variable(self.name).is_some()), "{found:?}");

        let read_again = parse(after.as_bytes());
        assert!(read_again.variable(self.name).is_none());
        assert_eq!(self.others(&read_again), self.others(&before), "another variable changed");
        if let Some(model) = &self.model {
            model.check_removed(text(&after));
        }

        let mut twice = parse(after.as_bytes());
        assert!(twice.remove(self.name).is_ok_and(|found| !found));
        assert_eq!(text(&twice), text(&after), "removing what is not there changes something");

        assert!(after.restore(&before.snapshot(self.name)).is_ok());
        assert_eq!(text(&after), text(&before), "not restored");
    }

    fn others(&self, file: &EnvFile) -> Vec<(String, Option<String>)> {
        let others = file.variables().filter(|variable| variable.name() != self.name);
        others.map(|variable| (variable.name().to_owned(), variable.value().map(str::to_owned))).collect()
    }
}

/// A file as lines, each of which is a definition, a comment or nothing. That is all there is to a file without quotes
/// and without a byte order mark, so there this much simpler reader must come to the same.
struct Model<'a>(Vec<Line<'a>>);

#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    ending: &'a str,
    defines: bool,
}

impl<'a> Model<'a> {
    fn of(content: &'a [u8], name: &str) -> Option<Self> {
        let text = str::from_utf8(content).ok()?;
        if text.starts_with(MARK) || text.contains(['\'', '"', '`']) {
            return None;
        }
        let lines = lines(text).into_iter();
        Some(Self(
            lines.map(|(text, ending)| Line { text, ending, defines: name_in(text) == Some(name) }).collect(),
        ))
    }

    fn check_set(&self, after: &str, name: &str, value: &str) {
        let after = lines(after);
        assert_eq!(after.len(), self.0.len(), "lines came or went");
        for (old, (text, ending)) in self.0.iter().zip(after) {
            assert_eq!(old.ending, ending);
            if !old.defines {
                assert_eq!(old.text, text, "another line changed");
                continue;
            }
            assert_eq!(parse(text.as_bytes()).get(name), Some(value), "{text:?}");
            let comment = old.text.find(" #").map_or("", |at| &old.text[at + 1..]);
            assert!(text.ends_with(comment), "{text:?} lost {comment:?}");
            let spaces = old.text.len() - old.text.trim_start_matches(' ').len();
            assert!(
                !old.text[spaces..].starts_with(|first: char| !is_blank(first))
                    || text.starts_with(&old.text[..spaces])
            );
        }
    }

    fn check_removed(&self, after: &str) {
        let kept: Vec<&Line<'_>> = self.0.iter().filter(|line| !line.defines).collect();
        let mut expected: String = kept.iter().flat_map(|line| [line.text, line.ending]).collect();
        // If the last line had no ending and is gone, the one before it has none either; unless that is empty.
        let unended = self.0.last().is_some_and(|last| last.defines && last.ending.is_empty());
        if let Some(last) = kept.last().filter(|last| unended && !last.text.is_empty()) {
            expected.truncate(expected.len() - last.ending.len());
        }
        // A byte order mark within the file does not become the file's.
        let after = if expected.starts_with(MARK) { after.trim_start_matches(['\r', '\n']) } else { after };
        assert_eq!(after, expected);
    }
}

/// Lines with their endings, which are `\n`, `\r\n` and a lone `\r`.
fn lines(text: &str) -> Vec<(&str, &str)> {
    let mut lines = vec![];
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let ending = match &rest[end..] {
            crlf if crlf.starts_with("\r\n") => 2,
            "" => 0,
            _ => 1,
        };
        lines.push((&rest[..end], &rest[end..end + ending]));
        rest = &rest[end + ending..];
    }
    lines
}

fn name_in(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(is_blank);
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(is_blank));
    let line = exported.map_or(line, |rest| rest.trim_start_matches(is_blank));
    let name = &line[..line.find(|c| c == '=' || c == '#' || is_blank(c)).unwrap_or(line.len())];
    (!name.is_empty()).then_some(name)
}

/// All that came is one line, which defines the variable, at one place.
fn check_is_one_line_more(before: &str, after: &str, name: &str, value: &str) {
    let lines = [format!("{name}={value}"), format!("{name}='{value}'")];
    let came = after.len() - before.len();
    let is_the_place = |at: usize| {
        let Some(((front, new), rest)) =
            after.get(..at).zip(after.get(at..at + came)).zip(after.get(at + came..))
        else {
            return false;
        };
        before.strip_prefix(front) == Some(rest)
            && lines.iter().any(|line| new.trim_matches(['\r', '\n']) == line)
    };
    assert!((0..=before.len()).any(is_the_place), "more than one new line: {after:?}");
}

fn parse(content: &[u8]) -> EnvFile {
    match EnvFile::parse(content) {
        Ok(file) => {
            assert_eq!(file.as_bytes(), content);
            file
        }
        Err(error) => unreachable!("{error}: {:?}", String::from_utf8_lossy(content)),
    }
}

fn text(file: &EnvFile) -> &str {
    str::from_utf8(file.as_bytes()).unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_portable(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"$'\"`\\".contains(&byte)
}

/// White space as Python sees it, which is what `.env` files are read by.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

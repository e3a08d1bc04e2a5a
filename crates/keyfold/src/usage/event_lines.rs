//! The data of server-sent events (WHATWG HTML, 9.2.6), passed on line by line as it comes. Nothing is kept.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

use super::json_scanner::JsonScanner;

const FIELD: &[u8] = b"data:";

/// In the name of every count that is looked for.
static PART_OF_ALL_NAMES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("oken"));
/// How a letter of such a name can be spelled instead.
static SPELLED_OTHERWISE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of it are those that `data:` begins with.
    Begun(usize),
    /// At the first byte of the data: one blank may stand before it.
    BeforeData,
    Data,
    OfNoInterest,
}

/// Finds the lines with data.
#[derive(Debug)]
pub(super) struct EventLines {
    line: Line,
    /// The last line ended in `\r`; a `\n` belongs to that.
    after_return: bool,
}

impl EventLines {
    pub(super) fn new() -> Self {
        Self { line: Line::Begun(0), after_return: false }
    }

    /// Each event's data is one document.
    pub(super) fn read(&mut self, mut bytes: &[u8], json: &mut JsonScanner) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            if let Line::Begun(matched) = self.line
                && FIELD.get(matched) == Some(&first)
            {
                bytes = bytes.get(1..).unwrap_or_default();
                self.line =
                    if matched + 1 == FIELD.len() { Line::BeforeData } else { Line::Begun(matched + 1) };
                continue;
            }
            if self.line == Line::BeforeData {
                self.line = Line::Data;
                if first == b' ' {
                    bytes = bytes.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            match self.line {
                Line::Data if !is_known_to_say_nothing(line, rest, json) => json.read(line),
                Line::Begun(0) if line.is_empty() => json.end_document(),
                Line::Begun(_) => self.line = Line::OfNoInterest,
                _ => {}
            }
            bytes = rest;
            if end.is_some() {
                self.after_return = bytes.first() == Some(&b'\r');
                self.line = Line::Begun(0);
                bytes = bytes.get(1..).unwrap_or_default();
            }
        }
    }
}

/// Most events are a few words of text. A look for one word costs less than reading them.
fn is_known_to_say_nothing(line: &[u8], rest: &[u8], json: &JsonScanner) -> bool {
    // Only of a line that is the whole event can it be said.
    json.has_model()
        && (rest.starts_with(b"\n\n") || rest.starts_with(b"\r\n\r\n"))
        && json.is_between_documents()
        && PART_OF_ALL_NAMES.find(line).is_none()
        && SPELLED_OTHERWISE.find(line).is_none()
}

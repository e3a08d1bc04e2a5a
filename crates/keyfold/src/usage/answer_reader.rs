//! Reads a provider's answer while it passes.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::TokenCounts;
use super::event_lines::EventLines;
use super::json_scanner::JsonScanner;
use super::model_name::model_name;

/// How much longer than it came a compressed answer may become. Text shrinks to a twentieth, and streams, which repeat
/// themselves, to a fiftieth.
const MOST_GROWTH: u64 = 200;
/// What a compressed answer may become in any case.
const ALWAYS_TAKEN: u64 = 64 * 1024;

/// Finds the token counts and the model in an answer that is read piece by piece. Keeps next to nothing of it.
#[derive(Debug)]
pub struct AnswerReader {
    reading: Reading,
    /// The model that the request named, for answers that name none.
    asked_for: Option<String>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most answers are plain, and cost no allocation")]
enum Reading {
    /// There is nothing to count, or no way to.
    Nothing,
    Plain(Text),
    Gzip(Box<MultiGzDecoder<Unpacked>>),
}

/// An answer's text.
#[derive(Debug)]
struct Text {
    json: JsonScanner,
    /// Where the JSON stands, unless it is all there is.
    lines: Option<EventLines>,
}

/// Takes what was compressed, up to a limit.
#[derive(Debug)]
struct Unpacked {
    text: Text,
    /// How much may still come.
    left: u64,
}

/// What the path of a request says of the counts in its answer.
#[derive(Debug, Clone, Default)]
pub struct AskedPath {
    was_counted_before: bool,
    model: Option<String>,
}

impl From<&str> for AskedPath {
    fn from(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        Self { was_counted_before: gives_what_was_counted_before(path), model: model_of_embedding(path) }
    }
}

impl AnswerReader {
    /// For an answer with this head, to a request for this path. Where there is nothing to count, it costs nothing.
    pub fn for_answer(
        status: u16,
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
        asked: impl Into<AskedPath>,
    ) -> Self {
        let AskedPath { was_counted_before, model } = asked.into();
        let nothing = Self { reading: Reading::Nothing, asked_for: None };
        if !(200..300).contains(&status) || was_counted_before {
            return nothing;
        }
        let Some(text) = content_type.and_then(Text::of_type) else { return nothing };
        let reading = match content_encoding.unwrap_or_default().trim_ascii() {
            b"" => Reading::Plain(text),
            coding if coding.eq_ignore_ascii_case(b"identity") => Reading::Plain(text),
            coding if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => {
                Reading::Gzip(Box::new(MultiGzDecoder::new(Unpacked { text, left: ALWAYS_TAKEN })))
            }
            _ => Reading::Nothing,
        };
        Self { reading, asked_for: model }
    }

    /// The next bytes of the body, as they came.
    pub fn read(&mut self, bytes: &[u8]) {
        match &mut self.reading {
            Reading::Nothing => {}
            Reading::Plain(text) => text.read(bytes),
            Reading::Gzip(decoder) => {
                let unpacked = decoder.get_mut();
                unpacked.left = unpacked.left.saturating_add(MOST_GROWTH.saturating_mul(bytes.len() as u64));
                if decoder.write_all(bytes).is_err() {
                    // Broken, or grown beyond all measure: nothing of it can be relied on.
                    self.reading = Reading::Nothing;
                }
            }
        }
    }

    /// What it came to.
    pub fn finish(self) -> TokenCounts {
        let counts = match self.reading {
            Reading::Nothing => return TokenCounts::default(),
            Reading::Plain(mut text) => text.json.finish(),
            Reading::Gzip(mut decoder) => match decoder.flush() {
                Ok(()) => decoder.get_mut().text.json.finish(),
                Err(_) => return TokenCounts::default(),
            },
        };
        TokenCounts { model: counts.model.or(self.asked_for), ..counts }
    }
}

impl Text {
    fn of_type(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
        let essence = content_type.get(..end)?.trim_ascii();
        let lines = if essence.eq_ignore_ascii_case(b"text/event-stream") {
            Some(EventLines::new())
        } else if essence.eq_ignore_ascii_case(b"application/json") || has_json_suffix(essence) {
            None
        } else {
            return None;
        };
        Some(Self { json: JsonScanner::new(), lines })
    }

    fn read(&mut self, bytes: &[u8]) {
        match &mut self.lines {
            Some(lines) => lines.read(bytes, &mut self.json),
            None => self.json.read(bytes),
        }
    }
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.text.read(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn has_json_suffix(essence: &[u8]) -> bool {
    const SUFFIX: &[u8] = b"+json";
    essence.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
}

/// Whether it is the path of something that is kept at the provider: an answer that was counted when it was made and
/// is now looked at again, or a file, which may say anything.
fn gives_what_was_counted_before(path: &str) -> bool {
    let mut segments = path.trim_end_matches('/').as_bytes().split(|byte| *byte == b'/');
    let is_collection =
        |segment: &[u8]| matches!(segment, b"responses" | b"completions" | b"runs" | b"files" | b"batches");
    segments.any(is_collection) && segments.next().is_some()
}

/// Gemini's embeddings do not say which model made them; the path does.
fn model_of_embedding(path: &str) -> Option<String> {
    let (before, method) = path.rsplit_once(':')?;
    let (_, model) = before.rsplit_once("models/")?;
    method.to_ascii_lowercase().contains("embed").then(|| model_name(model.as_bytes())).flatten()
}

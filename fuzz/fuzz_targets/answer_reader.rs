//! Token counts in answers: the same wherever the answer is cut into pieces, and where it is JSON, those that a whole
//! reading of it finds at the documented places.
//!
//! Input: a first line, then the answer. The line begins with `e` for a stream of events; each of its further
//! characters stands for the length of a piece, from 1 byte to 32.

#![no_main]

use std::fmt;

use keyfold::{AnswerReader, TokenCounts};
use libfuzzer_sys::fuzz_target;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (how, answer) = input.split_at(end);
    let answer = answer.get(1..).unwrap_or_default();
    let is_stream = how.first() == Some(&b'e');
    let content_type: &[u8] = if is_stream { b"text/event-stream" } else { b"application/json" };

    let whole = read(content_type, [answer]);
    let lengths: Vec<usize> = how.iter().skip(1).map(|byte| usize::from(byte % 32) + 1).collect();
    assert_eq!(read(content_type, pieces(answer, &lengths)), whole, "another cut");
    assert_eq!(read(content_type, answer.chunks(1)), whole, "byte by byte");

    if let Some(model) = &whole.model {
        let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
        assert!((1..=200).contains(&model.len()) && model.bytes().all(is_sane), "{model}");
        assert!(!model.starts_with("sk-") && !model.starts_with("AIza"), "{model}");
    }
    if !is_stream && let Some(expected) = Expected::of(answer) {
        assert_eq!([whole.input, whole.output], [expected.input, expected.output]);
        let is_plain =
            |name: &String| (1..20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase());
        assert!(whole.model.is_some() || !expected.models.iter().any(is_plain), "no model");
        assert!(whole.model.is_none_or(|model| expected.models.iter().any(|name| name.ends_with(&model))));
    }
});

fn read<'a>(content_type: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> TokenCounts {
    let mut reader = AnswerReader::for_answer(200, Some(content_type), None, "/v1/chat/completions");
    pieces.into_iter().for_each(|piece| reader.read(piece));
    reader.finish()
}

/// Cut after these lengths, which begin again at their end.
fn pieces<'a>(mut answer: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = vec![];
    let mut lengths = lengths.iter().cycle();
    while let Some(length) = lengths.next().filter(|length| **length < answer.len()) {
        let (piece, rest) = answer.split_at(*length);
        pieces.push(piece);
        answer = rest;
    }
    pieces.push(answer);
    pieces
}

/// What a reading of the whole finds, member by member; later ones count.
#[derive(Default)]
struct Expected {
    models: Vec<String>,
    input: Option<u64>,
    output: Option<u64>,
    /// Of one document: input, output, thoughts; then input and output of Cohere's `tokens` and `billed_units`.
    found: [Option<u64>; 7],
}

impl Expected {
    fn of(answer: &[u8]) -> Option<Self> {
        let mut expected = Self::default();
        let mut json = serde_json::Deserializer::from_slice(answer);
        Walk { expected: &mut expected, path: &[], in_list: false }.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(expected)
    }

    fn count(&mut self, path: &[&str], count: u64) {
        let path = match path {
            ["response" | "message" | "delta" | "x_groq", "usage", ..] => &path[1..],
            _ => path,
        };
        let slot = match path {
            ["usage", "prompt_tokens" | "input_tokens"] | ["usageMetadata", "promptTokenCount"] => 0,
            ["usage", "completion_tokens" | "output_tokens"] | ["usageMetadata", "candidatesTokenCount"] => 1,
            ["usageMetadata", "thoughtsTokenCount"] => 2,
            ["usage" | "meta", "tokens", "input_tokens"] => 3,
            ["usage" | "meta", "tokens", "output_tokens"] => 4,
            ["usage" | "meta", "billed_units", "input_tokens"] => 5,
            ["usage" | "meta", "billed_units", "output_tokens"] => 6,
            _ => return,
        };
        self.found[slot] = Some(count);
    }

    fn end_document(&mut self) {
        let [input, output, thoughts, tokens_in, tokens_out, billed_in, billed_out] =
            std::mem::take(&mut self.found);
        let output = output.map(|output| output.saturating_add(thoughts.unwrap_or(0))).or(thoughts);
        self.input = input.or(tokens_in).or(billed_in).or(self.input);
        self.output = output.or(tokens_out).or(billed_out).or(self.output);
    }
}

/// A value at a place.
struct Walk<'a> {
    expected: &'a mut Expected,
    path: &'a [&'a str],
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, count: u64) -> Result<(), E> {
        self.expected.count(self.path, count);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if matches!(self.path, ["model" | "modelVersion"] | ["response" | "message", "model"]) {
            self.expected.models.push(text.to_owned());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        // Only a list of answers leads on.
        let elsewhere = [self.path, &["[]"]].concat();
        let is_answers = self.path.is_empty() && !self.in_list;
        let path = if is_answers { self.path } else { &elsewhere };
        while list.next_element_seed(Walk { expected: self.expected, path, in_list: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let path = [self.path, &[name.as_str()]].concat();
            members.next_value_seed(Walk { expected: self.expected, path: &path, in_list: self.in_list })?;
        }
        if self.path.is_empty() {
            self.expected.end_document();
        }
        Ok(())
    }
}

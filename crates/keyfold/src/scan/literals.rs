//! Keys that stand in a text.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use super::FoundKey;
use crate::provider::key_shape::{Spotted, is_placeholder, looks_like_a_key, looks_made_up_by_chance, spot};
use crate::provider::{Provider, Registry};
use crate::secret::ApiKey;

/// A value that is given to a variable may stand so far behind it.
const FAR: usize = 80;

struct Key {
    place: Range<usize>,
    providers: Vec<Arc<Provider>>,
    /// Whether its form tells whose it is.
    is_certain: bool,
    variable: Option<String>,
}

pub(super) fn find(
    registry: &Registry,
    variables: &HashMap<&str, &Arc<Provider>>,
    is_code: bool,
    text: &str,
) -> Vec<FoundKey> {
    let mut keys: Vec<Key> = vec![];
    for spotted in spot(registry, text) {
        // One that begins within another is a part of it.
        if keys.last().is_none_or(|last| last.place.end <= spotted.place.start) {
            let Spotted { place, providers, is_certain } = spotted;
            keys.push(Key { place, providers, is_certain, variable: None });
        }
    }
    let mut names: Vec<_> = variables.iter().collect();
    names.sort_unstable_by_key(|(name, _)| **name);
    for (name, provider) in names {
        for place in given_values(text, name, is_code) {
            let known =
                keys.iter_mut().find(|key| key.place.start < place.end && place.start < key.place.end);
            if let Some(key) = known {
                if !key.is_certain && key.variable.is_none() {
                    key.providers = vec![Arc::clone(provider)];
                }
                key.variable.get_or_insert_with(|| (*name).to_owned());
            } else if is_key(registry, provider, &text[place.clone()]) {
                let providers = vec![Arc::clone(provider)];
                keys.push(Key { place, providers, is_certain: true, variable: Some((*name).to_owned()) });
            }
        }
    }
    keys.sort_by_key(|key| key.place.start);
    let (mut line, mut counted) = (1, 0);
    let found = keys.into_iter().filter_map(|Key { place, providers, variable, .. }| {
        line += memchr::memchr_iter(b'\n', &text.as_bytes()[counted..place.start]).count();
        counted = place.start;
        let masked = ApiKey::parse(&text[place]).ok()?.masked();
        Some(FoundKey { line, masked, providers, variable })
    });
    found.collect()
}

fn is_key(registry: &Registry, provider: &Provider, value: &str) -> bool {
    ApiKey::parse(value).is_ok()
        && !is_placeholder(provider, value)
        && looks_made_up_by_chance(value)
        && looks_like_a_key(registry, value)
}

/// The texts that are given to `name`: `NAME=…`, `NAME: "…"`, `["NAME"] = "…"`, `getenv("NAME", "…")`,
/// `NAME || "…"`.
fn given_values(text: &str, name: &str, is_code: bool) -> Vec<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = vec![];
    for start in memmem::find_iter(text.as_bytes(), name.as_bytes()) {
        let end = start + name.len();
        let is_whole = !text[..start].bytes().next_back().is_some_and(is_part)
            && !text[end..].bytes().next().is_some_and(is_part);
        let line = text[end..].split(['\n', '\r']).next().unwrap_or_default();
        if is_whole && let Some(value) = value_behind(line, is_code) {
            found.push(end + value.start..end + value.end);
        }
    }
    found
}

/// The value that a line gives to the name in front of it.
fn value_behind(line: &str, is_code: bool) -> Option<Range<usize>> {
    let rest = line.trim_start_matches(['"', '\'', '`', ']', ')', ' ', '\t']);
    let assigned = ["=", ":", ",", "||", "??", "or "].iter().find_map(|mark| rest.strip_prefix(mark))?;
    let by_mark = rest.starts_with(['=', ':']);
    let mut value = assigned.trim_start_matches(['=', ' ', '\t']);
    // `NAME: str = "…"`, `NAME: &str = "…"`, `.unwrap_or("…".into())` is too far.
    if is_code && !value.starts_with(['"', '\'', '`']) {
        let opened = value.find(['"', '`']).or_else(|| value.find('\''))?;
        let is_type = value[..opened].trim_end().ends_with('=') && opened <= FAR;
        value = if is_type { &value[opened..] } else { return None };
    }
    let at = line.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'' | '`')) {
        let length = value[1..].find(quote)?;
        return Some(at + 1..at + 1 + length);
    }
    let length = value.find([' ', '\t', ',', ';', '#', '"', '\'', '<']).unwrap_or(value.len());
    (by_mark && !is_code && length > 0).then_some(at..at + length)
}

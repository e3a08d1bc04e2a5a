//! What keys look like. Providers change their formats, so a shape is a hint: only a text that can be nothing
//! but another provider's key, an admin key or a placeholder is refused for its looks.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;

use super::{Provider, Registry};
use crate::secret::{ApiKey, SERVICE_TOKEN_PREFIX};

/// The form of a key: a prefix, then so many characters of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How it begins; may be empty.
    #[serde(default)]
    pub prefix: String,
    /// The kind of all characters after the prefix.
    pub characters: Characters,
    /// How many come after the prefix.
    pub exactly: Option<usize>,
    /// How many come after the prefix at least.
    pub at_least: Option<usize>,
    /// Whether no other provider's keys look like this.
    #[serde(default)]
    pub only_here: bool,
}

/// A kind of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Characters {
    /// Letters, digits, `-` and `_`.
    Word,
    /// Letters and digits.
    Alphanumeric,
    /// Hex digits.
    Hex,
    /// 8-4-4-4-12 hex digits.
    Uuid,
    /// Whatever a key may have.
    Any,
}

impl Characters {
    /// The word in registry files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Alphanumeric => "alphanumeric",
            Self::Hex => "hex",
            Self::Uuid => "uuid",
            Self::Any => "any",
        }
    }
}

/// A form that must not be stored, though the provider would accept it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedShape {
    /// How it begins.
    pub prefix: String,
    /// Why it must not be stored, and what to use instead.
    pub why: String,
}

/// What can be said of a key before its provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appearance {
    /// Has a known form of this provider.
    Known,
    /// Has none; which may be a new one.
    Unknown,
    /// Cannot be right; says why, never the key.
    Wrong(String),
}

/// The shortest beginning that tells whose key it is.
const TELLING_PREFIX: usize = 3;

impl RefusedShape {
    /// What is wrong with the form itself, if anything.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.prefix.len() < TELLING_PREFIX {
            return Some("`prefix` must have 3 characters or more: every key that begins with it is refused");
        }
        self.why.is_empty().then_some("`why` must say what to use instead")
    }
}

impl Shape {
    /// Where a key of this shape ends whose prefix ends at `start`.
    fn end_in(&self, text: &str, start: usize) -> usize {
        match self.characters {
            Characters::Any => {
                let end = end_of_run(text, start, |byte| is_word(byte) || b".~+/=".contains(&byte));
                start + text[start..end].trim_end_matches('.').len()
            }
            _ => end_of_run(text, start, is_word),
        }
    }

    /// What is wrong with the shape itself, if anything.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.exactly.is_some() && self.at_least.is_some() {
            return Some("give `exactly` or `at_least`, not both");
        }
        if self.only_here && self.prefix.len() < TELLING_PREFIX {
            return Some(
                "`only_here` needs a `prefix` of 3 characters or more: other providers' keys of that form are refused",
            );
        }
        None
    }

    fn fits(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_str()) else { return false };
        let length_fits = self.exactly.is_none_or(|length| rest.len() == length)
            && self.at_least.is_none_or(|length| rest.len() >= length);
        length_fits
            && match self.characters {
                Characters::Word => rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
                Characters::Alphanumeric => rest.bytes().all(|b| b.is_ascii_alphanumeric()),
                Characters::Hex => rest.bytes().all(|b| b.is_ascii_hexdigit()),
                Characters::Uuid => is_uuid(rest),
                Characters::Any => true,
            }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Looks at a key that is meant for `provider`.
#[expect(clippy::disallowed_methods, reason = "the form of the plain text is what is looked at")]
pub fn appearance(registry: &Registry, provider: &Provider, key: &ApiKey) -> Appearance {
    let text = key.expose();
    if is_placeholder(provider, text) {
        return Appearance::Wrong(format!(
            "this is a placeholder, not a key; get a key at {} and paste it (a key {})",
            provider.setup_url, provider.format_hint
        ));
    }
    if let Some(refused) = provider.refused.iter().find(|refused| text.starts_with(&refused.prefix)) {
        return Appearance::Wrong(refused.why.clone());
    }
    if text.starts_with(SERVICE_TOKEN_PREFIX) {
        return Appearance::Wrong(format!(
            "this looks like a service token of Keyfold, not like a key of {}; a key of {} {}",
            provider.name, provider.name, provider.format_hint
        ));
    }
    if provider.shapes.iter().any(|shape| shape.only_here && shape.fits(text)) {
        return Appearance::Known;
    }
    let owner = registry.iter().find(|other| {
        other.id != provider.id
            && (other.shapes.iter().any(|shape| shape.only_here && shape.fits(text))
                || other.refused.iter().any(|refused| text.starts_with(&refused.prefix)))
    });
    if let Some(owner) = owner {
        return Appearance::Wrong(format!(
            "this looks like a key of {}, not of {}; a key of {} {}",
            owner.name, provider.name, provider.name, provider.format_hint
        ));
    }
    if provider.shapes.is_empty() || provider.shapes.iter().any(|shape| shape.fits(text)) {
        Appearance::Known
    } else {
        Appearance::Unknown
    }
}

/// So many letters and digits in a row, both of them, are no word: keys and tokens have such runs.
const RANDOM_RUN: usize = 24;
/// In what begins like a key, a shorter run tells.
const SHORT_RUN: usize = 8;

/// Whether `text`, found where no key belongs, has the form of some provider's keys, or of some key at all.
pub fn looks_like_a_key(registry: &Registry, text: &str) -> bool {
    let known = registry.iter().any(|provider| {
        provider.shapes.iter().any(|shape| shape.fits(text))
            || provider.refused.iter().any(|refused| text.starts_with(&refused.prefix))
    });
    known
        || text.starts_with(SERVICE_TOKEN_PREFIX)
        || text.split(|character: char| !character.is_ascii_alphanumeric()).any(is_random)
}

fn is_random(run: &str) -> bool {
    run.len() >= RANDOM_RUN
        && run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// A key that was found in a longer text.
pub(crate) struct Spotted {
    pub(crate) place: Range<usize>,
    /// Those whose keys look like this; none for a service token.
    pub(crate) providers: Vec<Arc<Provider>>,
    /// Whether no other provider's keys look like this.
    pub(crate) is_certain: bool,
}

/// The keys that stand somewhere in a text: forms that only one provider's keys have, others of a known beginning and
/// length, what must not be stored though its provider would take it, and service tokens. What only looks like one,
/// such as a name made of words, or stands for one, is none.
pub(crate) fn spot(registry: &Registry, text: &str) -> Vec<Spotted> {
    let mut found: Vec<Spotted> = vec![];
    let mut add = |place: Range<usize>| {
        let is_known = found.iter().any(|spotted| spotted.place == place);
        if !is_known && looks_made_up_by_chance(&text[place.clone()]) {
            let (providers, is_certain) = owners(registry, &text[place.clone()]);
            found.push(Spotted { place, providers, is_certain });
        }
    };
    for provider in registry.iter() {
        for shape in provider.shapes.iter().filter(|shape| shape.prefix.len() >= TELLING_PREFIX) {
            let is_telling = shape.only_here || shape.exactly.is_some();
            if !is_telling && provider.inside.is_empty() {
                continue;
            }
            for start in beginnings(text, &shape.prefix) {
                let end = shape.end_in(text, start + shape.prefix.len());
                let key = &text[start..end];
                if shape.fits(key)
                    && (is_telling || has_inside(provider, key))
                    && !is_placeholder(provider, key)
                {
                    add(start..end);
                }
            }
        }
        for refused in &provider.refused {
            for start in beginnings(text, &refused.prefix) {
                let end = end_of_run(text, start, is_word);
                if end - start >= refused.prefix.len() + RANDOM_RUN {
                    add(start..end);
                }
            }
        }
    }
    for start in beginnings(text, SERVICE_TOKEN_PREFIX) {
        let end = end_of_run(text, start, is_word);
        if end - start >= SERVICE_TOKEN_PREFIX.len() + RANDOM_RUN {
            add(start..end);
        }
    }
    found.sort_by_key(|spotted| (spotted.place.start, spotted.place.end));
    found
}

/// Whose key this may be, and whether that is certain.
fn owners(registry: &Registry, key: &str) -> (Vec<Arc<Provider>>, bool) {
    if key.starts_with(SERVICE_TOKEN_PREFIX) {
        return (vec![], true);
    }
    let of = |belongs: &dyn Fn(&Provider) -> bool| -> Vec<Arc<Provider>> {
        registry.iter().filter(|provider| belongs(provider)).cloned().collect()
    };
    let certain = of(&|provider| {
        provider.refused.iter().any(|refused| key.starts_with(&refused.prefix))
            || provider
                .shapes
                .iter()
                .any(|shape| shape.fits(key) && (shape.only_here || has_inside(provider, key)))
    });
    if !certain.is_empty() {
        return (certain, true);
    }
    let is_like = |shape: &Shape| shape.prefix.len() >= TELLING_PREFIX && shape.fits(key);
    (of(&|provider| provider.shapes.iter().any(is_like)), false)
}

/// Whether a text stands in it that only stands in this provider's keys.
fn has_inside(provider: &Provider, key: &str) -> bool {
    provider.inside.iter().any(|mark| key.contains(mark))
}

/// Where the prefix begins a word.
fn beginnings<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = usize> + 't {
    let begins = |at: &usize| !text[..*at].bytes().next_back().is_some_and(is_word);
    memchr::memmem::find_iter(text.as_bytes(), prefix.as_bytes()).filter(move |at| begins(at))
}

fn end_of_run(text: &str, start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().skip(start).position(|byte| !belongs(byte)).map_or(text.len(), |length| start + length)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Letters and digits mixed within one run, and none of the words and rows that people write for a key.
pub(crate) fn looks_made_up_by_chance(text: &str) -> bool {
    const ROWS: [&str; 8] =
        ["example", "sample", "dummy", "redacted", "placeholder", "1234567", "abcdefg", "xxxxxx"];
    let lower = text.to_ascii_lowercase();
    let is_mixed = |run: &str| {
        run.len() >= SHORT_RUN
            && run.bytes().any(|byte| byte.is_ascii_digit())
            && run.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    !ROWS.iter().any(|row| lower.contains(row))
        && text.split(|character: char| !character.is_ascii_alphanumeric()).any(is_mixed)
}

/// Whether a text has a form that only one provider's keys have, or service tokens.
pub fn is_somebodys_key(registry: &Registry, text: &str) -> bool {
    let text = text.trim();
    let of_a_provider = registry.iter().any(|provider| {
        provider.shapes.iter().any(|shape| shape.only_here && shape.fits(text))
            || provider.refused.iter().any(|refused| text.starts_with(&refused.prefix))
    });
    of_a_provider || text.starts_with(SERVICE_TOKEN_PREFIX)
}

/// Whether `text`, found in a file by hand, stands for a key that is not there yet.
pub fn is_placeholder(provider: &Provider, text: &str) -> bool {
    const TELLTALES: [&str; 12] = [
        "your_",
        "your-",
        "yourkey",
        "yourapikey",
        "changeme",
        "change_me",
        "change-me",
        "placeholder",
        "replace_me",
        "replace-me",
        "key_here",
        "key-here",
    ];
    let lower = text.to_ascii_lowercase();
    if TELLTALES.iter().any(|telltale| lower.contains(telltale)) {
        return true;
    }
    if lower.starts_with('<') && lower.ends_with('>') {
        return true;
    }
    if ["todo", "none", "null", "undefined", "xxx", "test", "api_key", "apikey"].contains(&lower.as_str()) {
        return true;
    }
    // `sk-xxxx`, `AIza...`, `****`
    let prefix = provider.shapes.iter().map(|shape| shape.prefix.as_str()).filter(|p| text.starts_with(p));
    let rest = &text[prefix.map(str::len).max().unwrap_or(0)..];
    !rest.is_empty() && rest.bytes().all(|byte| matches!(byte, b'x' | b'X' | b'*' | b'.' | b'-' | b'_'))
}

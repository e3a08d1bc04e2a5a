//! A provider key in plain text: the one type that holds it, and what may be done with it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

/// The longest key that is accepted, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;

/// How every service token begins. Where a text begins so, it is a secret of Keyfold's own.
pub const SERVICE_TOKEN_PREFIX: &str = "kfs_";

/// A key this short or shorter shows nothing of itself in [`ApiKey::masked`].
const SHORTEST_MASKED: usize = 12;

/// A provider key in plain text.
///
/// It has no `Display`, no `Serialize` and no `Clone`, its `Debug` is redacted, and its memory is wiped on
/// drop. Its characters are those that survive an HTTP header and every reader of a `.env` file: printable
/// ASCII without white space and without any of `` $ ' " ` \ ``.
pub struct ApiKey(Zeroizing<String>);

/// Why a text cannot be a key of any provider. The text itself is never part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedKey {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_KEY_BYTES`].
    #[error("it is longer than 4,096 bytes")]
    TooLong,
    /// A line break, a tab, a NUL or another control character.
    #[error("it contains a line break or another control character; paste the key alone, on one line")]
    ControlCharacter,
    /// White space between other characters.
    #[error("it contains white space; paste the key alone")]
    WhiteSpace,
    /// A character outside ASCII.
    #[error("it contains a character that no provider uses in keys (outside ASCII)")]
    NotAscii,
    /// One of `` $ ' " ` \ ``.
    #[error("it contains a quote, a dollar sign or a backslash; paste the key without quotes")]
    Forbidden,
}

impl ApiKey {
    /// Takes the trimmed text as a key.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MalformedKey::Empty);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(MalformedKey::TooLong);
        }
        if text.bytes().fold(true, |so_far, byte| so_far & is_of_keys(byte)) {
            return Ok(Self(Zeroizing::new(text.to_owned())));
        }
        for character in text.chars() {
            match character {
                _ if character.is_control() => return Err(MalformedKey::ControlCharacter),
                _ if character.is_whitespace() => return Err(MalformedKey::WhiteSpace),
                '$' | '\'' | '"' | '`' | '\\' => return Err(MalformedKey::Forbidden),
                _ if !character.is_ascii() => return Err(MalformedKey::NotAscii),
                _ => {}
            }
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Takes what was sealed. It was parsed before, unless it was another program's and sealed as it was found there.
    pub(crate) fn from_opened(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, MalformedKey> {
        let is_as_parsed = (1..=MAX_KEY_BYTES).contains(&bytes.len())
            && bytes.iter().fold(true, |so_far, byte| so_far & is_of_keys(*byte));
        if is_as_parsed {
            let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
                drop(Zeroizing::new(error.into_bytes()));
                MalformedKey::NotAscii
            })?;
            return Ok(Self(Zeroizing::new(text)));
        }
        Self::parse(str::from_utf8(&bytes).map_err(|_| MalformedKey::NotAscii)?)
    }

    /// The plain text. Every call in this workspace states its reason (see `clippy.toml`).
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of the key: its last four characters if it has 12 or more, else nothing of it.
    pub fn masked(&self) -> String {
        let shown = if self.0.len() >= SHORTEST_MASKED { &self.0[self.0.len() - 4..] } else { "" };
        format!("****{shown}")
    }

    /// A second one of the same, for who needs it after it was given away.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether `text` is this key, or has it in it; a short key is no reason to suspect longer texts.
    pub(crate) fn stands_in(&self, text: &str) -> bool {
        *self.0 == *text || (self.0.len() >= SHORTEST_MASKED && text.contains(self.0.as_str()))
    }

    /// Compares in constant time.
    pub fn is_same_as(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

/// Whether a key may have this byte. All are looked at, which is faster than to end at the first that may not stand there.
fn is_of_keys(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') & !matches!(byte, b'$' | b'\'' | b'"' | b'`' | b'\\')
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(redacted)")
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "test data")]
mod tests {
    use super::*;

    #[test]
    fn trims_and_keeps_the_rest() {
        assert_eq!(ApiKey::parse("  sk-test_1234.=/+ \n").unwrap().expose(), "sk-test_1234.=/+");
    }

    #[test]
    fn refuses_what_cannot_be_a_key() {
        let cases = [
            ("", MalformedKey::Empty),
            (" \t\r\n", MalformedKey::Empty),
            ("sk-a\nb", MalformedKey::ControlCharacter),
            ("sk-a\0b", MalformedKey::ControlCharacter),
            ("sk-a\tb", MalformedKey::ControlCharacter),
            ("sk-a\u{7f}b", MalformedKey::ControlCharacter),
            ("sk-a b", MalformedKey::WhiteSpace),
            ("sk-a\u{a0}b", MalformedKey::WhiteSpace),
            ("sk-ключ", MalformedKey::NotAscii),
            ("sk-\u{200b}a", MalformedKey::NotAscii),
            ("sk-a$b", MalformedKey::Forbidden),
            ("'sk-ab'", MalformedKey::Forbidden),
            ("\"sk-ab\"", MalformedKey::Forbidden),
            ("sk-a`b", MalformedKey::Forbidden),
            ("sk-a\\b", MalformedKey::Forbidden),
        ];
        for (text, why) in cases {
            assert_eq!(ApiKey::parse(text).unwrap_err(), why, "{text:?}");
        }
        assert_eq!(ApiKey::parse(&"k".repeat(MAX_KEY_BYTES + 1)).unwrap_err(), MalformedKey::TooLong);
        assert!(ApiKey::parse(&"k".repeat(MAX_KEY_BYTES)).is_ok());
    }

    #[test]
    fn what_was_sealed_is_read_like_what_is_entered() {
        let opened = |text: &str| ApiKey::from_opened(Zeroizing::new(text.as_bytes().to_vec()));
        for byte in 0..=u8::MAX {
            let text = format!("sk-{}-x", char::from(byte));
            let (opened, entered) = (opened(&text), ApiKey::parse(&text));
            assert_eq!(opened.as_ref().map(ApiKey::expose), entered.as_ref().map(ApiKey::expose), "{byte}");
        }
        assert_eq!(opened(" sk-a\n").unwrap().expose(), "sk-a");
        assert_eq!(opened("").unwrap_err(), MalformedKey::Empty);
        assert_eq!(opened(&"k".repeat(MAX_KEY_BYTES + 1)).unwrap_err(), MalformedKey::TooLong);
        let bytes = Zeroizing::new(vec![b'k', 0xff]);
        assert_eq!(ApiKey::from_opened(bytes).unwrap_err(), MalformedKey::NotAscii);
    }

    #[test]
    fn shows_four_characters_of_a_long_key_and_none_of_a_short_one() {
        assert_eq!(ApiKey::parse("abcdefghijkl").unwrap().masked(), "****ijkl");
        assert_eq!(ApiKey::parse("abcdefghijk").unwrap().masked(), "****");
        assert_eq!(format!("{:?}", ApiKey::parse("abcdefghijkl").unwrap()), "ApiKey(redacted)");
    }

    #[test]
    fn is_found_in_a_text_that_repeats_it() {
        let key = ApiKey::parse("abcdefghijkl").unwrap();
        assert!(key.stands_in("abcdefghijkl") && key.stands_in("models/abcdefghijkl:free"));
        assert!(!key.stands_in("abcdefghijk") && !key.stands_in("abcdefghijk-l"));
        let short = ApiKey::parse("gpt").unwrap();
        assert!(short.stands_in("gpt") && !short.stands_in("gpt-6-luna"));
    }

    #[test]
    fn compares_by_content() {
        let key = ApiKey::parse("abcdefghijkl").unwrap();
        assert!(key.is_same_as(&ApiKey::parse(" abcdefghijkl ").unwrap()));
        assert!(!key.is_same_as(&ApiKey::parse("abcdefghijkm").unwrap()));
        assert!(!key.is_same_as(&ApiKey::parse("abcdefghijklm").unwrap()));
    }
}

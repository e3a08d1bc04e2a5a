//! The sealed form: what is read is written back the same, and nothing opens but what was sealed, unchanged, for whom
//! it was sealed.
//!
//! Input: `e` and edits of a sealed value's bytes, `c` and edits of its characters (three bytes each), `p` and a user,
//! provider and version on three lines; anything else is taken for a sealed value's text.

#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::BASE64URL_NOPAD;
use keyfold::clock::{NoRandomness, Random};
use keyfold::envelope::{EnvelopeError, Sealed, Specimen};
use keyfold::provider::ProviderId;
use keyfold::user::UserId;
use libfuzzer_sys::fuzz_target;

const PREFIX: &str = "kf1.";
/// Key id, nonce and tag.
const SHORTEST: usize = 8 + 12 + 16;

static SEALED: LazyLock<Option<(Owner, Specimen)>> = LazyLock::new(|| {
    let owner = Owner::parse("user_test\ngemini\n7")?;
    let specimen = Specimen::seal(&Counted(AtomicU64::new(0)), &owner.user, &owner.provider, owner.version);
    Some((owner, specimen.ok()?))
});

fuzz_target!(|input: &[u8]| {
    let sealed = SEALED.as_ref();
    assert!(sealed.is_some(), "nothing was sealed");
    let Some((owner, specimen)) = sealed else { return };
    match input {
        [b'e', edits @ ..] => with_bytes_edited(owner, specimen, edits),
        [b'c', edits @ ..] => with_characters_edited(owner, specimen, edits),
        [b'p', other @ ..] => for_another(owner, specimen, other),
        text => as_text(owner, specimen, text),
    }
});

#[derive(PartialEq, Eq)]
struct Owner {
    user: UserId,
    provider: ProviderId,
    version: i64,
}

impl Owner {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.splitn(3, '\n');
        Some(Self {
            user: UserId::parse(lines.next()?).ok()?,
            provider: ProviderId::parse(lines.next()?).ok()?,
            version: lines.next()?.parse().ok()?,
        })
    }
}

fn with_bytes_edited(owner: &Owner, specimen: &Specimen, edits: &[u8]) {
    for original in [specimen.wrapped(), specimen.sealed()] {
        let text = original.to_string();
        let mut bytes = BASE64URL_NOPAD.decode(&text.as_bytes()[PREFIX.len()..]).unwrap_or_default();
        edit(&mut bytes, edits);
        let long_enough = bytes.len() >= SHORTEST;
        let edited = parse(&format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)));
        assert_eq!(edited.is_ok(), long_enough);
        if let Ok(edited) = edited {
            opens_if_unchanged(owner, specimen, &edited);
        }
    }
}

fn with_characters_edited(owner: &Owner, specimen: &Specimen, edits: &[u8]) {
    for original in [specimen.wrapped(), specimen.sealed()] {
        let mut text = original.to_string().into_bytes();
        edit(&mut text, edits);
        as_text(owner, specimen, &text);
    }
}

fn as_text(owner: &Owner, specimen: &Specimen, text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    if let Ok(sealed) = parse(text) {
        opens_if_unchanged(owner, specimen, &sealed);
    }
}

fn for_another(owner: &Owner, specimen: &Specimen, other: &[u8]) {
    let Some(other) = str::from_utf8(other).ok().and_then(Owner::parse) else { return };
    let opened = open(specimen, specimen.wrapped(), specimen.sealed(), &other);
    let expected = if other == *owner { Ok(true) } else { Err(EnvelopeError::DoesNotOpen) };
    assert_eq!(opened, expected, "{}, {}, {}", other.user, other.provider, other.version);
}

/// What is read is written back the same.
fn parse(text: &str) -> Result<Sealed, EnvelopeError> {
    let sealed: Result<Sealed, _> = text.parse();
    match &sealed {
        Ok(sealed) => assert_eq!(sealed.to_string(), text),
        Err(why) => {
            let expected = match why {
                EnvelopeError::Malformed => text.starts_with(PREFIX),
                EnvelopeError::UnknownFormat => text.starts_with("kf") && !text.starts_with(PREFIX),
                EnvelopeError::NotSealed => !text.starts_with(PREFIX),
                _ => false,
            };
            assert!(expected, "{why:?} of {text:?}");
        }
    }
    sealed
}

/// In either place, and with every part of the other value as it should be.
fn opens_if_unchanged(owner: &Owner, specimen: &Specimen, sealed: &Sealed) {
    let unchanged = sealed == specimen.sealed();
    let as_sealed = open(specimen, specimen.wrapped(), sealed, owner);
    assert!(if unchanged { as_sealed == Ok(true) } else { as_sealed.is_err() }, "{sealed}: {as_sealed:?}");

    let unchanged = sealed == specimen.wrapped();
    let as_wrapped = open(specimen, sealed, specimen.sealed(), owner);
    assert!(if unchanged { as_wrapped == Ok(true) } else { as_wrapped.is_err() }, "{sealed}: {as_wrapped:?}");
}

fn open(
    specimen: &Specimen,
    wrapped: &Sealed,
    sealed: &Sealed,
    owner: &Owner,
) -> Result<bool, EnvelopeError> {
    specimen.open(wrapped, sealed, &owner.user, &owner.provider, owner.version)
}

/// Each three bytes change, add, take away or cut off something at a place.
fn edit(bytes: &mut Vec<u8>, edits: &[u8]) {
    for edit in edits.chunks_exact(3) {
        let (at, byte) = (usize::from(edit[1]) % (bytes.len() + 1), edit[2]);
        match edit[0] % 4 {
            0 if at < bytes.len() => bytes[at] ^= byte,
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// The same at every run, so that what a run finds can be tried again.
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            let mut word = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

//! Keys: what a marker inside one asks for, fingerprints, and example keys.

use aws_lc_rs::digest::{SHA256, digest};

use crate::provider::Provider;

/// How the stand-in treats a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Invalid,
    Denied,
    Quota,
    NoCredit,
    Broken,
    Nonsense,
}

pub(crate) const MARKERS: [(&str, Standing); 6] = [
    ("INVALID", Standing::Invalid),
    ("NONSENSE", Standing::Nonsense),
    ("BROKEN", Standing::Broken),
    ("DENIED", Standing::Denied),
    ("QUOTA", Standing::Quota),
    ("NOCREDIT", Standing::NoCredit),
];

/// Beginnings that tell whose key it is. The longest match counts. No owner: certainly no provider's key
/// (Keyfold's own service tokens, session tokens, Clerk's keys), so every provider refuses it: that is how a
/// caller's credential that is passed on by mistake is noticed.
const BEGINNINGS: [(&str, &[Provider]); 21] = [
    ("AIza", &[Provider::Gemini]),
    ("AQ.", &[Provider::Gemini]),
    ("ck_pub_", &[Provider::CopilotKit]),
    ("sk-", &[Provider::OpenAi, Provider::DeepSeek, Provider::Stability]),
    ("sk-proj-", &[Provider::OpenAi]),
    ("sk-svcacct-", &[Provider::OpenAi]),
    ("sk-ant-", &[Provider::Anthropic]),
    ("sk-or-", &[Provider::OpenRouter]),
    ("gsk_", &[Provider::Groq]),
    ("xai-", &[Provider::Xai]),
    ("tvly-", &[Provider::Tavily]),
    ("fc-", &[Provider::Firecrawl]),
    ("pplx-", &[Provider::Perplexity]),
    ("tgp_v1_", &[Provider::Together]),
    ("sk_", &[Provider::ElevenLabs]),
    ("hf_", &[Provider::HuggingFace]),
    ("kfs_", &[]),
    ("eyJ", &[]),
    ("pk_", &[]),
    ("sk_test_", &[]),
    ("sk_live_", &[]),
];

/// What the provider makes of the key. A real provider looks a key up; this one believes every key of eight
/// printable characters or more that does not begin like somebody else's, and does what a marker in it says.
pub(crate) fn standing(provider: Provider, key: &str) -> Standing {
    let owners = BEGINNINGS.iter().filter(|(beginning, _)| key.starts_with(beginning));
    let foreign = owners
        .max_by_key(|(beginning, _)| beginning.len())
        .is_some_and(|(_, owners)| !owners.contains(&provider));
    if key.len() < 8 || foreign || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Standing::Invalid;
    }
    MARKERS.iter().find(|(marker, _)| key.contains(marker)).map_or(Standing::Live, |(_, standing)| *standing)
}

/// The first 16 hex digits of the key's SHA-256: what the stand-in shows of a key it received.
pub fn fingerprint(key: &str) -> String {
    fingerprint_of(key.as_bytes())
}

pub(crate) fn fingerprint_of(key: &[u8]) -> String {
    let digest = digest(&SHA256, key);
    let mut text = String::with_capacity(16);
    push_hex(&mut text, &digest.as_ref()[..8]);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// A key of the provider's shape that the stand-in accepts and no real provider does. Test data, and marked as
/// such: it contains `TestData`, or where only hex digits fit, `7e57da7a`. Keys differ for every `n`, in their
/// last four characters too (up to 65,536 keys). Gemini's have the new shape for even `n`, the old one for odd.
///
/// # Panics
/// If there is no such provider.
pub fn example_key(provider: &str, n: u32) -> String {
    made_up(Provider::must(provider), "", n)
}

/// As [`example_key`], with a marker in it (`INVALID`, `DENIED`, `QUOTA`, `NOCREDIT`, `BROKEN`, `NONSENSE`): the
/// length and beginning are the provider's own, and the other characters where the marker's letters fit.
///
/// # Panics
/// If there is no such provider.
pub fn example_key_with(provider: &str, marker: &str) -> String {
    made_up(Provider::must(provider), marker, 0)
}

fn made_up(provider: Provider, marker: &str, n: u32) -> String {
    const LETTERS: &str = "TestData";
    const HEX: &str = "7e57da7a";
    if provider == Provider::Exa {
        return if marker.is_empty() {
            format!("7e57da7a-0000-4000-8000-0000{n:08x}")
        } else {
            format!("7e57da7a-0000-4000-8000-{marker:0<12}")
        };
    }
    let (beginning, sign, length) = match provider {
        Provider::Gemini if n.is_multiple_of(2) => ("AQ.", LETTERS, 50),
        Provider::Gemini => ("AIza", LETTERS, 35),
        Provider::Exa => unreachable!("made above"),
        Provider::CopilotKit => ("ck_pub_", HEX, 32),
        Provider::OpenAi => ("sk-proj-", LETTERS, 64),
        Provider::Anthropic => ("sk-ant-api03-", LETTERS, 95),
        Provider::Mistral => ("", LETTERS, 32),
        Provider::Groq => ("gsk_", LETTERS, 52),
        Provider::DeepSeek => ("sk-", HEX, 32),
        Provider::Xai => ("xai-", LETTERS, 80),
        Provider::Cohere => ("", LETTERS, 40),
        Provider::Tavily => ("tvly-", LETTERS, 32),
        Provider::Serper => ("", HEX, 40),
        Provider::Firecrawl => ("fc-", HEX, 32),
        Provider::Perplexity => ("pplx-", LETTERS, 48),
        Provider::OpenRouter => ("sk-or-v1-", HEX, 64),
        Provider::Together => ("tgp_v1_", LETTERS, 43),
        Provider::Stability => ("sk-", LETTERS, 48),
        Provider::ElevenLabs => ("sk_", HEX, 48),
        Provider::HuggingFace => ("hf_", LETTERS, 34),
    };
    let mut key = format!("{beginning}{sign}{marker}");
    let seed = format!("{}/{n}/{marker}", provider.id());
    let mut filling = String::with_capacity(128);
    let first = digest(&SHA256, seed.as_bytes());
    push_hex(&mut filling, first.as_ref());
    push_hex(&mut filling, digest(&SHA256, first.as_ref()).as_ref());
    let room = (beginning.len() + length).saturating_sub(key.len() + 8);
    key.push_str(&filling[..room]);
    key.push_str(&format!("{n:08x}"));
    key
}

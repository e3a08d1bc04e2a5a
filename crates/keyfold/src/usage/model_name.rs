//! Which of the names that an answer gives its model are kept.

use crate::provider::generate::check_model_name;

/// So many letters and digits in a row, both of them, are no word: keys have such runs.
const RANDOM_RUN: usize = 24;
/// How keys begin that have no such run for certain.
const KEY_BEGINNINGS: [&str; 12] =
    ["sk-", "sk_", "pk-", "pk_", "ck_", "gsk_", "xai-", "tvly-", "AIza", "AQ.", "kfs_", "Bearer"];

/// The name, if it is one, and nothing that looks like a key.
pub(super) fn model_name(said: &[u8]) -> Option<String> {
    let name = str::from_utf8(said).ok()?;
    // Gemini also answers with the whole path of a model.
    let name = name.strip_prefix("models/").unwrap_or(name);
    (check_model_name(name).is_ok() && !looks_like_a_key(name)).then(|| name.to_owned())
}

fn looks_like_a_key(name: &str) -> bool {
    name.split(['/', ':', '@']).any(begins_like_a_key)
        // What is shorter has no such run.
        || (name.len() >= RANDOM_RUN
            && (name.split(|character: char| !character.is_ascii_alphanumeric()).any(is_random) || has_uuid(name)))
}

fn begins_like_a_key(part: &str) -> bool {
    matches!(part.as_bytes(), [b's' | b'p' | b'c' | b'g' | b'x' | b't' | b'A' | b'k' | b'B', ..])
        && KEY_BEGINNINGS.iter().any(|beginning| part.starts_with(beginning))
}

fn is_random(run: &str) -> bool {
    run.len() >= RANDOM_RUN
        && run.bytes().any(|byte| byte.is_ascii_digit())
        && run.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The keys of some providers are UUIDs.
fn has_uuid(name: &str) -> bool {
    const LENGTH: usize = 36;
    name.as_bytes().windows(LENGTH).any(|window| {
        window.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_kept_and_keys_are_not() {
        for name in [
            "gpt-4o-mini-2024-07-18",
            "claude-sonnet-4-5-20250929",
            "gemini-2.5-flash-preview-09-2025",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo",
            "ft:gpt-4o-mini-2024-07-18:org:suffix:9ABCdef8",
            "accounts/fireworks/models/llama-v3p1-405b-instruct",
            "skylark-1",
        ] {
            assert_eq!(model_name(name.as_bytes()).as_deref(), Some(name));
        }
        assert_eq!(model_name(b"models/gemini-2.5-pro").as_deref(), Some("gemini-2.5-pro"));
        let long = "m".repeat(201);
        for other in [
            "",
            "two words",
            "a\nb",
            "\u{fc}ber",
            "sk-test-data-not-a-real-key",
            "org/sk-test-data-not-a-real-key",
            "AIza-test-data-not-a-real-key",
            "kfs_x",
            "0123456789abcdef0123456789abcdef",
            "11111111-2222-3333-4444-555555555555",
            "x-11111111-2222-3333-4444-555555555555",
            &long,
        ] {
            assert_eq!(model_name(other.as_bytes()), None, "{other}");
        }
        assert_eq!(model_name(b"\xff"), None);
    }
}

//! What a key's looks decide before its provider is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use keyfold::provider::Registry;
use keyfold::provider::key_shape::{Appearance, appearance};
use keyfold::secret::ApiKey;
use keyfold_standin::{PROVIDERS, example_key};

fn look(provider: &str, key: &str) -> Appearance {
    let registry = Registry::built_in().unwrap();
    appearance(&registry, registry.get(provider).unwrap(), &ApiKey::parse(key).unwrap())
}

#[track_caller]
fn is_wrong(provider: &str, key: &str, because: &str) {
    match look(provider, key) {
        Appearance::Wrong(why) => {
            assert!(why.contains(because), "{why}");
            assert!(key.len() < 12 || !why.contains(key), "the key is in the message: {why}");
        }
        other => panic!("{provider} {key}: {other:?}"),
    }
}

#[test]
fn every_providers_own_keys_are_known() {
    for provider in PROVIDERS {
        for n in 0..20 {
            assert_eq!(look(provider, &example_key(provider, n)), Appearance::Known, "{provider} {n}");
        }
    }
}

#[test]
fn a_key_that_can_only_be_anothers_is_refused() {
    is_wrong("gemini", &example_key("anthropic", 1), "Anthropic");
    is_wrong("openai", &example_key("anthropic", 1), "Anthropic");
    is_wrong("anthropic", &example_key("openai", 1), "OpenAI");
    is_wrong("openai", &example_key("gemini", 1), "Google Gemini");
    is_wrong("exa", &example_key("gemini", 2), "Google Gemini");
    is_wrong("gemini", &example_key("groq", 1), "Groq");
    is_wrong("deepseek", &example_key("openrouter", 1), "OpenRouter");
    is_wrong("gemini", "sk-admin-0123456789abcdefghij", "OpenAI");
}

#[test]
fn a_form_that_several_providers_share_is_not_refused() {
    // `sk-` + 32 hex digits: DeepSeek's, and possible at OpenAI and Stability.
    for provider in ["openai", "stability", "gemini"] {
        let seen = look(provider, &example_key("deepseek", 1));
        assert!(!matches!(seen, Appearance::Wrong(_)), "{provider}: {seen:?}");
    }
    // A prefix alone decides nothing.
    assert_eq!(look("openai", "AIza-but-not-Google"), Appearance::Unknown);
    assert_eq!(look("gemini", "gsk_short"), Appearance::Unknown);
}

#[test]
fn an_unknown_form_is_only_unknown() {
    for provider in PROVIDERS.into_iter().filter(|provider| *provider != "serper") {
        assert_eq!(look(provider, "NEW.form-of-keys/2027"), Appearance::Unknown, "{provider}");
    }
    assert_eq!(look("serper", "NEW.form-of-keys/2027"), Appearance::Known, "no form of it is known");
}

#[test]
fn admin_keys_are_refused_with_what_to_use_instead() {
    is_wrong("openai", "sk-admin-0123456789abcdefghij", "project key");
    is_wrong("anthropic", "sk-ant-admin01-0123456789abcdefghij", "ordinary API key");
}

#[test]
fn placeholders_are_refused() {
    for text in [
        "your_gemini_api_key_here",
        "YOUR_API_KEY",
        "your-key",
        "changeme",
        "CHANGE_ME",
        "placeholder",
        "<gemini-key>",
        "AIza...",
        "AIzaXXXXXXXXXXXX",
        "xxxxxxxx",
        "****",
        "TODO",
        "none",
        "api_key",
        "put_your_key_here",
        "REPLACE_ME",
    ] {
        is_wrong("gemini", text, "placeholder");
    }
    for key in ["AIzaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AQ.AAAAAAAAAAAAAAAAAAAAAAAA", "abcdefghijklmnop"]
    {
        assert!(!matches!(look("gemini", key), Appearance::Wrong(_)), "{key}");
    }
}

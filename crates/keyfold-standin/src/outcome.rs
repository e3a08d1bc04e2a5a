//! What a provider's answer to its free check means for the key, for every marker that a key may have.

/// What the answer says of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key is live.
    Valid,
    /// The key is live, but limited; these words are in the reason.
    Limited(&'static str),
    /// The provider refused the key itself.
    Rejected,
    /// The answer says nothing of the key; these words are in the reason.
    Unknown(&'static str),
}

use Outcome::{Limited, Rejected, Unknown, Valid};

/// What all providers with a free check have in common.
const EVERYWHERE: [(&str, Outcome); 4] = [
    ("", Valid),
    ("INVALID", Rejected),
    ("BROKEN", Unknown("answered 500")),
    ("NONSENSE", Unknown("a web page")),
];

const FORBIDDEN: (&str, Outcome) = ("DENIED", Limited("does not allow"));
const SLOWER: (&str, Outcome) = ("QUOTA", Unknown("fewer requests"));
const QUOTA: (&str, Outcome) = ("QUOTA", Limited("quota"));
const UNPAID: (&str, Outcome) = ("NOCREDIT", Limited("no credits left"));
const UNPAID_QUOTA: (&str, Outcome) = ("NOCREDIT", Limited("quota"));

/// For each provider, what a marker in its key comes to; no marker is a live key. Empty: there is no free check.
///
/// # Panics
/// If there is no such provider.
pub fn outcomes(provider: &str) -> Vec<(&'static str, Outcome)> {
    let own: &[(&str, Outcome)] = match provider {
        "copilotkit" => return vec![],
        "gemini" => &[
            ("DENIED", Limited("Generative Language API")),
            ("DENIEDREF", Limited("web sites")),
            ("DENIEDIP", Limited("addresses")),
            QUOTA,
            UNPAID_QUOTA,
        ],
        "openai" => &[("DENIED", Limited("scope")), ("DENIED401", Limited("scope")), QUOTA, UNPAID_QUOTA],
        "mistral" | "groq" => &[FORBIDDEN, SLOWER, ("NOCREDIT", Unknown("fewer requests"))],
        "xai" => &[FORBIDDEN, QUOTA, UNPAID, ("BLOCKED", Rejected), ("DISABLED", Rejected)],
        "cohere" => &[FORBIDDEN, ("QUOTA", Limited("trial key")), UNPAID],
        "tavily" => &[FORBIDDEN, SLOWER, ("NOCREDIT", Limited("plan"))],
        "perplexity" => &[FORBIDDEN, SLOWER, UNPAID_QUOTA],
        "openrouter" => &[FORBIDDEN, QUOTA, UNPAID],
        "elevenlabs" => &[("DENIED", Limited("permission")), SLOWER, UNPAID_QUOTA],
        "exa" | "anthropic" | "deepseek" | "serper" | "firecrawl" | "together" | "stability"
        | "huggingface" => &[FORBIDDEN, SLOWER, UNPAID],
        other => panic!("nobody has said what the answers of {other} mean"),
    };
    EVERYWHERE.into_iter().chain(own.iter().copied()).collect()
}

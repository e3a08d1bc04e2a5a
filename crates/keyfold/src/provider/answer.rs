//! What a provider's answer says about the key that it was asked with. The status alone does not tell.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::Provider;

/// The four outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Live.
    Valid,
    /// Live, but restricted, out of quota or missing a scope; says why.
    Limited(String),
    /// The provider refused the key itself, beyond doubt.
    Rejected,
    /// Nothing can be said of the key; says why.
    Unknown(String),
}

/// A rule of the registry: an answer with this status, and with this in its body, means that.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerRule {
    status: u16,
    /// A text that the body contains.
    contains: Option<String>,
    /// A place in the JSON body (RFC 6901) …
    pointer: Option<String>,
    /// … and what stands there.
    equals: Option<Value>,
    means: Meaning,
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Meaning {
    Valid,
    Limited,
    Rejected,
    Unknown,
}

/// An answer, as far as it matters here: a status and the beginning of a body.
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    pub(crate) body: &'a [u8],
}

impl AnswerRule {
    /// What is wrong with the rule itself, if anything.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if !(200..=599).contains(&self.status) {
            return Some("`status` must be 200 to 599");
        }
        if self.pointer.is_some() != self.equals.is_some() {
            return Some("`pointer` and `equals` go together");
        }
        if self.pointer.as_deref().is_some_and(|pointer| !pointer.starts_with('/')) {
            return Some("`pointer` must begin with /, such as /error/code");
        }
        if self.contains.as_deref().is_some_and(str::is_empty) {
            return Some("`contains` must not be empty");
        }
        let needs_why = matches!(self.means, Meaning::Limited | Meaning::Unknown);
        if needs_why && self.why.as_deref().unwrap_or_default().is_empty() {
            return Some("`why` must say what limits the key, in words for its owner");
        }
        None
    }

    fn applies(&self, answer: &Answer<'_>, text: &str, json: Option<&Value>) -> bool {
        self.status == answer.status.as_u16()
            && self.contains.as_deref().is_none_or(|part| text.contains(part))
            && self.pointer.as_deref().is_none_or(|pointer| {
                json.and_then(|json| json.pointer(pointer))
                    .is_some_and(|found| Some(found) == self.equals.as_ref())
            })
    }

    fn verdict(&self) -> Verdict {
        let why = || self.why.clone().unwrap_or_else(|| "the provider restricts it".into());
        match self.means {
            Meaning::Valid => Verdict::Valid,
            Meaning::Limited => Verdict::Limited(why()),
            Meaning::Rejected => Verdict::Rejected,
            Meaning::Unknown => Verdict::Unknown(why()),
        }
    }
}

/// The verdict of an answer to the provider's free check.
pub(crate) fn of_check(provider: &Provider, answer: &Answer<'_>) -> Verdict {
    let for_check = provider.check.as_ref().map_or(&[][..], |check| &check.answers);
    judge(provider, for_check, answer)
}

/// The verdict of an answer to any other request.
pub(crate) fn of_use(provider: &Provider, answer: &Answer<'_>) -> Verdict {
    judge(provider, &[], answer)
}

/// Whether a refusal of this status leaves open whether it is the key or the request.
pub(crate) fn may_be_the_keys_fault(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN)
}

fn judge(provider: &Provider, first: &[AnswerRule], answer: &Answer<'_>) -> Verdict {
    let text = String::from_utf8_lossy(answer.body);
    let json: Option<Value> = serde_json::from_slice(answer.body).ok();
    let mut rules = first.iter().chain(&provider.answers);
    if let Some(rule) = rules.find(|rule| rule.applies(answer, &text, json.as_ref())) {
        return rule.verdict();
    }
    let name = &provider.name;
    let status = answer.status.as_u16();
    // A web page is the answer of something in between, a proxy or a sign-in page, not of the provider.
    if json.is_none() && looks_like_a_page(&text) {
        return Verdict::Unknown(format!(
            "{name} could not be asked: a web page answered in its place ({status})"
        ));
    }
    match answer.status {
        success if success.is_success() && json.is_some() => Verdict::Valid,
        success if success.is_success() => Verdict::Unknown(format!("{name} answered, but not as it should")),
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS if speaks_of_quota(&text) => {
            Verdict::Limited("the account's quota is used up".into())
        }
        StatusCode::UNAUTHORIZED => Verdict::Rejected,
        StatusCode::PAYMENT_REQUIRED => Verdict::Limited("the account has no credits left".into()),
        StatusCode::FORBIDDEN => {
            Verdict::Limited(format!("{name} does not allow this request with this key"))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Unknown(format!("{name} wants fewer requests at the moment"))
        }
        _ => Verdict::Unknown(format!("{name} answered {status} to the check")),
    }
}

fn looks_like_a_page(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

fn speaks_of_quota(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["quota", "credit", "billing", "balance", "resource_exhausted"].iter().any(|word| lower.contains(word))
}

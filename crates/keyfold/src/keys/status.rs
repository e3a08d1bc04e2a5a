//! What is known of a stored key.

use crate::provider::Verdict;

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// The provider accepted it.
    Valid,
    /// Live, but restricted, out of quota or missing a scope.
    Limited,
    /// The provider refused it.
    Rejected,
    /// Not asked yet, the provider could not be reached, or it has no free check.
    Unverified,
    /// What is stored does not open; it must be entered again.
    Unreadable,
}

impl KeyStatus {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Limited => "limited",
            Self::Rejected => "rejected",
            Self::Unverified => "unverified",
            Self::Unreadable => "unreadable",
        }
    }

    /// A word that is not known counts as unverified.
    pub(super) fn parse(word: &str) -> Self {
        [Self::Valid, Self::Limited, Self::Rejected, Self::Unreadable]
            .into_iter()
            .find(|status| status.as_str() == word)
            .unwrap_or(Self::Unverified)
    }

    /// The state that a verdict means; `None` if it says nothing of the key.
    pub(super) fn from_verdict(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Valid => Some(Self::Valid),
            Verdict::Limited(_) => Some(Self::Limited),
            Verdict::Rejected => Some(Self::Rejected),
            Verdict::Unknown(_) => None,
        }
    }
}

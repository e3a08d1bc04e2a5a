//! Who a key belongs to.

use std::fmt;
use std::sync::Arc;

/// The longest user id, in characters (`onboarding_sessions.user_id VARCHAR(255)`).
pub const MAX_USER_ID_CHARS: usize = 255;

/// The only user of local mode without a token issuer.
pub const LOCAL_USER: &str = "local";

/// A user's id: the `sub` of a verified token, or `local`. Cheap to clone. Not a secret.
///
/// Compared byte by byte, never normalised: two ids that merely look alike are two users.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Why a text cannot be a user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedUserId {
    /// No characters.
    #[error("must not be empty")]
    Empty,
    /// More than [`MAX_USER_ID_CHARS`].
    #[error("must have at most 255 characters")]
    TooLong,
    /// PostgreSQL cannot store NUL, and no issuer sends control characters.
    #[error("must not contain control characters")]
    ControlCharacter,
}

impl UserId {
    /// Takes the text as it is.
    pub fn parse(text: &str) -> Result<Self, MalformedUserId> {
        if text.is_empty() {
            return Err(MalformedUserId::Empty);
        }
        if text.chars().count() > MAX_USER_ID_CHARS {
            return Err(MalformedUserId::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(MalformedUserId::ControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The user of local mode.
    pub fn local() -> Self {
        Self(LOCAL_USER.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UserId({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_odd_ids_as_they_are_and_refuses_impossible_ones() {
        for odd in ["user_2abc", "a'b\"c", "../x/y", "ユーザー|1", " spaced ", &"ü".repeat(255)] {
            assert_eq!(UserId::parse(odd).unwrap().as_str(), odd);
        }
        assert_eq!(UserId::parse("").unwrap_err(), MalformedUserId::Empty);
        assert_eq!(UserId::parse(&"u".repeat(256)).unwrap_err(), MalformedUserId::TooLong);
        assert_eq!(UserId::parse("a\0b").unwrap_err(), MalformedUserId::ControlCharacter);
    }
}

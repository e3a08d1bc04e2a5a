//! Why a token does not count. The words are for clients and never repeat any part of the token.

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// Longer than any issuer's tokens are.
    #[error(
        "The token is longer than 8 KiB. Have the issuer leave claims out that this service does not need."
    )]
    TooLong,
    /// Not three parts of base64url with JSON in them, or a claim of the wrong type.
    #[error(
        "The token cannot be read. Send the issuer's signed token (a JWT) exactly as the issuer made it."
    )]
    Malformed,
    /// It demands extensions (`crit`), of which Keyfold knows none (RFC 7515, section 4.1.11).
    #[error("The token demands an extension (crit) that is not supported. Send an ordinary signed token.")]
    Extension,
    /// Not RS256, ES256 or `EdDSA`, or not what its key is for.
    #[error(
        "The token is signed with an algorithm that is not accepted. Send a token of the configured issuer, signed with RS256, or with ES256 or EdDSA where its key set says so."
    )]
    Algorithm,
    /// Signed with a key that the issuer does not publish, or without the name of a key.
    #[error("The token's signing key is not one of the issuer's keys. Sign in again.")]
    UnknownKey,
    /// The signature does not fit.
    #[error(
        "The token's signature is wrong. Sign in again, and send the token exactly as the issuer made it."
    )]
    Signature,
    /// Another `iss`, or none.
    #[error(
        "The token is from another issuer than the one that is trusted here. Sign in through this service's own front end."
    )]
    Issuer,
    /// No `exp`.
    #[error("The token never expires, which is not accepted. Have the issuer set an expiry (exp).")]
    NoExpiry,
    /// `exp` is past.
    #[error("The token has expired. Send a fresh one, or sign in again.")]
    Expired,
    /// `nbf` is still to come.
    #[error("The token is not valid yet. Try again in a moment; if this stays, a clock is wrong.")]
    NotYetValid,
    /// No `sub`, or one that cannot be a user id, or of blanks only.
    #[error("The token does not say whose it is (sub). Sign in as a user.")]
    Subject,
    /// The configured audience is not in `aud`.
    #[error(
        "The token is meant for another service (aud). Ask the issuer for a token for this one; its audience is in KEYFOLD_AUTH_AUDIENCE."
    )]
    Audience,
    /// `azp` is not an authorized party.
    #[error(
        "The token was made for a front end that is not allowed here (azp). If it is yours, list it in KEYFOLD_AUTHORIZED_PARTIES."
    )]
    Party,
    /// Neither an audience is configured nor does the token name its party.
    #[error(
        "The token does not say for which front end it was made (azp). Have the issuer add it, or set KEYFOLD_AUTH_AUDIENCE."
    )]
    NoParty,
    /// Clerk's `sts` is `pending`.
    #[error("The sign-in is not complete. Finish its remaining steps, such as choosing an organisation.")]
    PendingSession,
    /// There are no keys to check with: the token may be good. Worth trying again.
    #[error(
        "The token cannot be checked now, because the issuer's keys cannot be fetched. Try again shortly."
    )]
    KeySetUnavailable,
}

impl TokenRefusal {
    /// Whether the token may be good all the same: the fault is the service's (503), not the caller's (401).
    pub fn is_unavailable(self) -> bool {
        self == Self::KeySetUnavailable
    }
}

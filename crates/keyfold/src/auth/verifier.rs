//! Verifying tokens: the way to an [`AuthenticatedUser`](super::AuthenticatedUser) in production.
//!
//! Follows RFC 7519 and RFC 7515, the advice of RFC 8725, and what Clerk's own libraries do. A token that was
//! verified is remembered by its whole SHA-256 until it ends or its key goes: Clerk's tokens live for a minute,
//! and checking a signature costs more than the rest of most requests.

use std::sync::Arc;

use super::claims::{Rules, VerifiedToken};
use super::compact::{CompactToken, MAX_TOKEN_BYTES};
use super::issuer::Issuer;
use super::issuer_keys::IssuerKeys;
pub use super::issuer_keys::REFRESH_EVERY;
use super::key_source::{KeySetError, KeySetTimeouts, KeySource};
use super::refusal::TokenRefusal;
use super::remembered::{RememberedTokens, TokenHash};
use crate::clock::Clock;
use crate::figures::TokenFigures;

/// Verifies the tokens of one issuer. One per process, shared by all requests.
pub struct TokenVerifier {
    rules: Rules,
    keys: IssuerKeys,
    remembered: RememberedTokens,
    clock: Arc<dyn Clock>,
    figures: Arc<TokenFigures>,
}

impl TokenVerifier {
    /// Asks the issuer for nothing until the first token, or [`refresh`](Self::refresh).
    pub fn new(issuer: &Issuer, clock: Arc<dyn Clock>, timeouts: KeySetTimeouts) -> Self {
        let source = KeySource::new(issuer, timeouts);
        let figures: Arc<TokenFigures> = Arc::default();
        Self {
            rules: Rules::of(issuer),
            keys: IssuerKeys::new(source, Arc::clone(&clock), Arc::clone(&figures)),
            remembered: RememberedTokens::new(),
            clock,
            figures,
        }
    }

    /// Whose token this is, if it is good.
    ///
    /// Runs inside a tokio runtime. Waits for the issuer only while none of its keys is known, for an unknown
    /// key, or if it was not asked for more than 10 minutes.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        let verified = self.recall_or_verify(token).await;
        if verified.is_err() {
            self.figures.count_refused();
        }
        verified
    }

    /// Asks the issuer for its keys now; how many can be used, or why none came. A server does so at its start and
    /// [regularly](REFRESH_EVERY), so that a key that is gone does not count until somebody asks.
    pub async fn refresh(&self) -> Result<usize, KeySetError> {
        self.keys.refresh().await
    }

    /// What happened so far.
    pub fn figures(&self) -> &TokenFigures {
        &self.figures
    }

    /// How many of the issuer's keys are known.
    pub fn known_keys(&self) -> usize {
        self.keys.known()
    }

    /// How many tokens are remembered.
    pub fn remembered_tokens(&self) -> usize {
        self.remembered.len()
    }

    async fn recall_or_verify(&self, token: &str) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLong);
        }
        let hash = TokenHash::of(token);
        let now = self.keys.keep_fresh().await;
        match self.remembered.recall(&hash, now) {
            Some(known) => known.inspect(|_| self.figures.count_remembered()),
            None => self.verify_new(token, hash).await,
        }
    }

    async fn verify_new(&self, token: &str, hash: TokenHash) -> Result<Arc<VerifiedToken>, TokenRefusal> {
        let written = CompactToken::parse(token)?;
        let signer = match self.keys.signer_of(&written).await {
            // What no signature can put right needs no key to be refused.
            Err(TokenRefusal::KeySetUnavailable) => {
                let refusal = self.rules.refusal_of(written.claims, self.clock.now());
                return Err(refusal.unwrap_or(TokenRefusal::KeySetUnavailable));
            }
            signer => signer?,
        };
        let token = Arc::new(self.rules.check(written.claims, self.clock.now())?);
        self.remembered.remember(hash, Arc::clone(&token), signer);
        self.figures.count_verified();
        Ok(token)
    }
}

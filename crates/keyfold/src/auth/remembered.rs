//! Tokens that were verified, so that the next request with the same one costs a hash and not a signature.
//!
//! Keyed by the token's whole SHA-256; bounded.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use super::claims::VerifiedToken;
use super::key_set::IssuerKey;
use super::refusal::TokenRefusal;
use crate::recent::RecentMap;

/// Some 30 MB when full.
const MOST_TOKENS: usize = 100_000;

/// The whole SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

/// The tokens that were verified lately. A look-up takes no lock and allocates nothing.
pub(super) struct RememberedTokens(RecentMap<TokenHash, Remembered>);

/// A token's content, with the key that vouches for it.
#[derive(Clone)]
struct Remembered {
    token: Arc<VerifiedToken>,
    signer: Arc<IssuerKey>,
}

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl RememberedTokens {
    pub(super) fn new() -> Self {
        Self::with_most(MOST_TOKENS)
    }

    fn with_most(most: usize) -> Self {
        Self(RecentMap::new(most))
    }

    /// What is known of this token at this time. `None`: it must be verified.
    pub(super) fn recall(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Option<Result<Arc<VerifiedToken>, TokenRefusal>> {
        let found = self.0.get(hash, |remembered| remembered.at(now))?;
        if !matches!(found, Some(Ok(_))) {
            self.0.remove(hash);
        }
        found
    }

    pub(super) fn remember(&self, hash: TokenHash, token: Arc<VerifiedToken>, signer: Arc<IssuerKey>) {
        self.0.insert(hash, Remembered { token, signer });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Remembered {
    /// `None` once its key is gone: then it is worth no more than a new token.
    fn at(&self, now: Timestamp) -> Option<Result<Arc<VerifiedToken>, TokenRefusal>> {
        self.signer.is_current().then(|| self.token.check_time(now).map(|()| Arc::clone(&self.token)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::claims::tests::token_of;
    use crate::auth::key_set::KeySet;

    fn key_set() -> KeySet {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        KeySet::read(json!({ "keys": [key] }).to_string().as_bytes(), &KeySet::default()).unwrap()
    }

    #[test]
    fn the_number_is_bounded_and_the_newest_half_stays() {
        let tokens = RememberedTokens::with_most(100);
        let signer = key_set().any();
        let name = |number: usize| TokenHash::of(&format!("token {number}"));
        for number in 0..10_000 {
            let user = format!("user_{number}");
            tokens.remember(name(number), Arc::new(token_of(&user)), Arc::clone(&signer));
            assert!(tokens.len() <= 100);
            let recalled = tokens.recall(&name(number), Timestamp::UNIX_EPOCH).unwrap().unwrap();
            assert_eq!(recalled.user().user().as_str(), user);
        }
        for number in 9_950..10_000 {
            assert!(tokens.recall(&name(number), Timestamp::UNIX_EPOCH).is_some(), "{number}");
        }
        assert!(tokens.recall(&name(0), Timestamp::UNIX_EPOCH).is_none());
    }

    #[test]
    fn the_number_is_bounded_whoever_adds_at_the_same_time() {
        let tokens = RememberedTokens::with_most(100);
        let signer = key_set().any();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (tokens, signer) = (&tokens, &signer);
                scope.spawn(move || {
                    for number in 0..5_000 {
                        let name = format!("{thread} {number}");
                        let hash = TokenHash::of(&name);
                        tokens.remember(hash, Arc::new(token_of(&name)), Arc::clone(signer));
                        // Each thread may add one more than fits, in each half.
                        assert!(tokens.len() <= 100 + 2 * 4);
                        if let Some(recalled) = tokens.recall(&hash, Timestamp::UNIX_EPOCH) {
                            assert_eq!(recalled.unwrap().user().user().as_str(), name);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn what_no_longer_counts_is_dropped() {
        let tokens = RememberedTokens::new();
        let keys = key_set();
        let hash = TokenHash::of("token");
        let remember = || tokens.remember(hash, Arc::new(token_of("user")), keys.any());
        remember();
        assert_eq!(tokens.recall(&hash, Timestamp::MAX).map(Result::err), Some(Some(TokenRefusal::Expired)));
        assert!(tokens.recall(&hash, Timestamp::UNIX_EPOCH).is_none());
        remember();
        assert!(tokens.recall(&hash, Timestamp::UNIX_EPOCH).unwrap().is_ok());
        keys.retire_for(&KeySet::default());
        assert!(tokens.recall(&hash, Timestamp::UNIX_EPOCH).is_none());
        assert_eq!(tokens.len(), 0);
    }
}

//! The users of a run: each with a provider's key of their own, and with what they show instead of it.

use std::path::{Path, PathBuf};

use keyfold_standin::issuer::RSA;
use keyfold_standin::{Issuer, example_key, fingerprint};

use crate::load::write_users;

/// Longer than any run.
const LIFETIME: i64 = 24 * 3600;

/// The same number stands for the same user in all of these.
pub(crate) struct People {
    /// The provider's keys.
    pub(crate) keys: Vec<String>,
    /// Tokens of the issuer, which are long and signed.
    pub(crate) signed_tokens: Vec<String>,
    /// Tokens that mean nothing but whose they are: the cheapest there can be.
    pub(crate) short_tokens: Vec<String>,
    folder: PathBuf,
}

impl People {
    pub(crate) fn new(users: usize, issuer: &Issuer, folder: &Path) -> Self {
        let numbers = || 0..u32::try_from(users).unwrap();
        let signed = |number: u32| {
            let mut claims = issuer.claims_for(&format!("user_{number:06}"));
            claims["exp"] = (claims["iat"].as_i64().unwrap() + LIFETIME).into();
            RSA.token(&claims)
        };
        Self {
            keys: numbers().map(|number| example_key("openai", number)).collect(),
            signed_tokens: numbers().map(signed).collect(),
            short_tokens: numbers()
                .map(|number| format!("tok_{0}{0}", fingerprint(&number.to_string())))
                .collect(),
            folder: folder.to_owned(),
        }
    }

    /// The load's file of these users, who show these.
    pub(crate) fn file(&self, name: &str, shown: &[String]) -> PathBuf {
        let file = self.folder.join(format!("users-{name}"));
        let fingerprints: Vec<_> = self.keys.iter().map(|key| fingerprint(key)).collect();
        let lines = shown.iter().map(String::as_str).zip(fingerprints.iter().map(String::as_str));
        write_users(&file, lines).unwrap();
        file
    }
}

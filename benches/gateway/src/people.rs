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
        self.write(name, shown.iter().map(String::as_str))
    }

    /// That of the first user alone.
    pub(crate) fn first_user_file(&self, name: &str, shown: &str) -> PathBuf {
        self.write(name, std::iter::once(shown))
    }

    fn write<'a>(&self, name: &str, shown: impl Iterator<Item = &'a str>) -> PathBuf {
        let file = self.folder.join(format!("users-{name}"));
        write_users(&file, shown.zip(self.keys.iter().map(|key| fingerprint(key)))).unwrap();
        file
    }
}

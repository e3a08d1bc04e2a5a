//! Whose tokens count: Clerk, derived from its publishable key, or any OpenID Connect issuer.

use data_encoding::BASE64;
use url::Url;

use crate::mode::Mode;
use crate::provider::BaseAddress;
use crate::settings::{Problems, Sources};

/// A configured token issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issuer {
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// The address of the key set; `None`: from the discovery document.
    pub jwks_url: Option<String>,
    /// Clerk's publishable key, if it is Clerk.
    pub clerk_publishable_key: Option<String>,
    /// The `aud` that tokens must name.
    pub audience: Option<String>,
    /// The client id with which the page signs in.
    pub client_id: Option<String>,
    /// The `azp` values that are allowed.
    pub authorized_parties: Vec<String>,
}

impl Issuer {
    /// Reads the issuer's settings. `origins` are the page's own and the allowed ones.
    ///
    /// In production an issuer must be there and complete; a local one is optional.
    pub fn read(sources: &Sources, origins: &[String], problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let clerk_key = sources.get("CLERK_PUBLISHABLE_KEY").map(|key| key.to_string());
        let other = sources.get("KEYFOLD_AUTH_ISSUER").map(|issuer| issuer.to_string());
        let audience = sources.get("KEYFOLD_AUTH_AUDIENCE").map(|audience| audience.to_string());
        let client_id = sources.get("KEYFOLD_AUTH_CLIENT_ID").map(|id| id.to_string());
        let named_parties = sources.list("KEYFOLD_AUTHORIZED_PARTIES");
        let jwks_url = sources.get("KEYFOLD_AUTH_JWKS_URL").map(|url| url.to_string());
        let production = sources.mode() == Mode::Production;
        let because = sources.because_of_env_file();

        let is_other = other.is_some();
        let issuer = match (&clerk_key, other) {
            (_, Some(issuer)) => checked_address(&issuer, "KEYFOLD_AUTH_ISSUER", problems),
            (Some(key), None) => {
                let host = clerk_host(key);
                if host.is_none() {
                    problems.add(
                        "CLERK_PUBLISHABLE_KEY",
                        "is not a publishable key of Clerk",
                        "copy it from the Clerk dashboard under “API keys”; it begins with pk_test_ or pk_live_",
                    );
                }
                host.map(|host| format!("https://{host}"))
            }
            (None, None) if production => {
                problems.add(
                    "CLERK_PUBLISHABLE_KEY",
                    format!("is missing, and no other token issuer is configured, so nobody could sign in{because}"),
                    "set it to the publishable key from the Clerk dashboard, or set KEYFOLD_AUTH_ISSUER to your OpenID Connect issuer",
                );
                None
            }
            (None, None) => None,
        };
        let is_clerk = issuer.as_deref().is_some_and(|issuer| {
            clerk_key.as_deref().and_then(clerk_host).is_some_and(|host| issuer == format!("https://{host}"))
        });
        if let Some(url) = &jwks_url {
            checked_address(url, "KEYFOLD_AUTH_JWKS_URL", problems);
        }
        // Also of an issuer that is not right yet: all reasons are told at once.
        if is_other && !is_clerk && production && audience.is_none() && named_parties.is_none() {
            problems.add(
                "KEYFOLD_AUTH_AUDIENCE",
                format!("is missing, and so is KEYFOLD_AUTHORIZED_PARTIES: tokens that this issuer made for any other application would be accepted{because}"),
                "set it to the audience of your API, or set KEYFOLD_AUTHORIZED_PARTIES to your front end's client id or origin",
            );
        }
        let authorized_parties = named_parties
            .unwrap_or_else(|| origins.iter().cloned().chain(client_id.clone()).collect::<Vec<_>>());
        if production && authorized_parties.is_empty() {
            problems.add(
                "KEYFOLD_PUBLIC_URL",
                format!("is missing, so it is unknown which front ends' tokens count{because}"),
                "set it to the address that people use, such as https://keys.example.com (or set KEYFOLD_ALLOWED_ORIGINS or KEYFOLD_AUTHORIZED_PARTIES)",
            );
        }
        if problems.0.len() > before {
            return None;
        }
        let issuer = issuer?;
        Some(Self {
            jwks_url: jwks_url.or_else(|| is_clerk.then(|| format!("{issuer}/.well-known/jwks.json"))),
            issuer,
            clerk_publishable_key: clerk_key,
            audience,
            client_id,
            authorized_parties,
        })
    }
}

/// The host in `pk_test_` or `pk_live_` + base64 of `host$`.
fn clerk_host(key: &str) -> Option<String> {
    let encoded = key.strip_prefix("pk_test_").or_else(|| key.strip_prefix("pk_live_"))?;
    let mut padded = encoded.trim_end_matches('=').to_owned();
    while !padded.len().is_multiple_of(4) {
        padded.push('=');
    }
    let decoded = String::from_utf8(BASE64.decode(padded.as_bytes()).ok()?).ok()?;
    let host = decoded.strip_suffix('$')?;
    let url = Url::parse(&format!("https://{host}")).ok()?;
    (url.host_str() == Some(host) && url.path() == "/").then(|| host.to_owned())
}

/// The address as it was written; tokens repeat it letter by letter.
fn checked_address(text: &str, variable: &str, problems: &mut Problems) -> Option<String> {
    match BaseAddress::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(why) => {
            problems.add(variable, why.to_string(), "correct it");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publishable_key_names_its_host() {
        let key = |kind: &str, host: &str| format!("pk_{kind}_{}", BASE64.encode(host.as_bytes()));
        let host = "clever-cat-1.clerk.accounts.dev";
        assert_eq!(clerk_host(&key("test", &format!("{host}$"))).as_deref(), Some(host));
        assert_eq!(
            clerk_host(key("live", "clerk.example.com$").trim_end_matches('=')).as_deref(),
            Some("clerk.example.com")
        );
        for bad in [
            key("test", host),
            key("test", "a/b$"),
            key("test", "u@h$"),
            "pk_test_###".into(),
            "sk_test_x".into(),
        ] {
            assert_eq!(clerk_host(&bad), None, "{bad}");
        }
    }
}

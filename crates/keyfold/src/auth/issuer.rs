//! Whose tokens count: Clerk, derived from its publishable key, or any OpenID Connect issuer.

use data_encoding::BASE64;
use url::{Position, Url};

use crate::mode::Mode;
use crate::provider::document::DocumentAddress;
use crate::provider::{BaseAddress, MalformedAddress};
use crate::settings::{Problems, Sources};

/// A configured token issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issuer {
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// The address of the key set; `None`: from the discovery document.
    pub jwks_url: Option<String>,
    /// Clerk's publishable key, if the issuer is Clerk.
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

        let clerk_issuer = clerk_key.as_deref().and_then(clerk_host).map(|host| format!("https://{host}"));
        if clerk_key.is_some() && clerk_issuer.is_none() {
            problems.add(
                "CLERK_PUBLISHABLE_KEY",
                "is not a publishable key of Clerk",
                "copy it from the Clerk dashboard under “API keys”; it begins with pk_test_ or pk_live_",
            );
        }
        let is_other = other.is_some();
        let issuer = match (&clerk_key, other) {
            (_, Some(issuer)) => {
                report("KEYFOLD_AUTH_ISSUER", BaseAddress::parse(&issuer), problems).map(|_| issuer)
            }
            (Some(_), None) => clerk_issuer.clone(),
            (None, None) if production => {
                problems.add(
                    "CLERK_PUBLISHABLE_KEY",
                    format!("is missing, and no other token issuer is configured, so nobody could sign in{because}"),
                    "set it to the publishable key from the Clerk dashboard, or set KEYFOLD_AUTH_ISSUER to your OpenID Connect issuer",
                );
                None
            }
            (None, None) => {
                if jwks_url.is_some() {
                    problems.add(
                        "KEYFOLD_AUTH_JWKS_URL",
                        "names the keys of a token issuer, and no issuer is configured",
                        "set KEYFOLD_AUTH_ISSUER too, or leave it out",
                    );
                }
                None
            }
        };
        let is_clerk = issuer.is_some() && issuer == clerk_issuer;
        if let Some(url) = &jwks_url {
            report("KEYFOLD_AUTH_JWKS_URL", DocumentAddress::parse(url), problems);
        }
        // Also of an issuer that is not right yet: all reasons are told at once.
        if is_other && !is_clerk && production && audience.is_none() && named_parties.is_none() {
            problems.add(
                "KEYFOLD_AUTH_AUDIENCE",
                format!("is missing, and so is KEYFOLD_AUTHORIZED_PARTIES: tokens that this issuer made for any other application would be accepted{because}"),
                "set it to the audience of your API, or set KEYFOLD_AUTHORIZED_PARTIES to your front end's client id or origin",
            );
        }
        if named_parties.as_ref().is_some_and(Vec::is_empty) {
            problems.add(
                "KEYFOLD_AUTHORIZED_PARTIES",
                "is an empty list",
                "name the front ends whose tokens count, separated by commas, or leave it out",
            );
        }
        let are_named = named_parties.is_some();
        let authorized_parties = named_parties
            .unwrap_or_else(|| origins.iter().cloned().chain(client_id.clone()).collect::<Vec<_>>());
        if production && authorized_parties.is_empty() && !are_named {
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
            clerk_publishable_key: clerk_key.filter(|_| is_clerk),
            audience,
            client_id,
            authorized_parties,
        })
    }

    /// Whether it is Clerk: the issuer that the publishable key names.
    pub fn is_clerk(&self) -> bool {
        self.clerk_publishable_key.is_some()
    }

    /// Whether it is a development instance of Clerk, in which anybody may sign up.
    pub fn is_clerk_for_development(&self) -> bool {
        self.clerk_publishable_key.as_ref().is_some_and(|key| key.starts_with("pk_test_"))
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
    (&url[Position::BeforeHost..Position::AfterPort] == host).then(|| host.to_owned())
}

fn report<T>(variable: &str, address: Result<T, MalformedAddress>, problems: &mut Problems) -> Option<T> {
    address.map_err(|why| problems.add(variable, why.to_string(), "correct it")).ok()
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
        assert_eq!(clerk_host(&key("test", "localhost:9101$")).as_deref(), Some("localhost:9101"));
        for bad in [
            key("test", host),
            key("test", "a/b$"),
            key("test", "u@h$"),
            key("test", "h?q$"),
            key("test", "h#f$"),
            key("test", "H.example$"),
            key("test", "$"),
            key("test", "h.example:x$"),
            "pk_test_###".into(),
            "sk_test_x".into(),
        ] {
            assert_eq!(clerk_host(&bad), None, "{bad}");
        }
    }
}

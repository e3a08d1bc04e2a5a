//! Clerk's backend API, as far as one question needs it: which of these users are still there?

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use reqwest::Response;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::BaseAddress;
use super::http::{cause, client_builder};

/// The most users that one question is about.
pub const MOST_ASKED: usize = 100;

const ADDRESS: &str = "https://api.clerk.com";
const CONNECT: Duration = Duration::from_secs(5);
/// For one answer as a whole.
const ANSWER: Duration = Duration::from_secs(30);
/// Users have a few kilobytes each.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
const ATTEMPTS: u32 = 4;
/// Before the second attempt; twice as long before each one after that.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Whoever is asked to wait longer than this gives up.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Asks Clerk. The host is fixed; a test double may stand in on this machine.
pub struct ClerkApi {
    secret: HeaderValue,
    address: BaseAddress,
    client: OnceLock<reqwest::Client>,
}

/// Why it cannot be asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAccess {
    /// No secret key of Clerk.
    #[error("is not a secret key of Clerk")]
    Secret,
    /// Another machine's address.
    #[error("is not an address of this machine")]
    Address,
}

/// Why Clerk's answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClerkError {
    /// No connection, or it broke.
    #[error(
        "Clerk could not be reached: {0}. Try again, and check this machine's connection and proxy settings."
    )]
    Unreachable(String),
    /// The secret key does not count.
    #[error(
        "Clerk refused the secret key ({0}). Copy CLERK_SECRET_KEY from the Clerk dashboard under “API keys”, of the instance that your users sign in to."
    )]
    Refused(u16),
    /// More questions than Clerk answers.
    #[error("Clerk wants fewer questions at the moment. Try again later.")]
    TooMany,
    /// Another status than success.
    #[error("Clerk answered with status {0}. Try again later.")]
    Status(u16),
    /// Not what Clerk's documentation says.
    #[error("Clerk's answer made no sense: {0}.")]
    Nonsense(&'static str),
}

#[derive(Deserialize)]
struct User {
    id: String,
}

impl ClerkApi {
    /// With this secret key; `double` is the address of a test double on this machine.
    pub fn new(secret: &str, double: Option<&str>) -> Result<Self, MalformedAccess> {
        let is_secret = secret.strip_prefix("sk_test_").or_else(|| secret.strip_prefix("sk_live_"));
        if is_secret.is_none_or(str::is_empty) {
            return Err(MalformedAccess::Secret);
        }
        let bearer = Zeroizing::new(format!("Bearer {secret}"));
        let mut secret = HeaderValue::from_str(&bearer).map_err(|_| MalformedAccess::Secret)?;
        secret.set_sensitive(true);
        let address = BaseAddress::parse(double.unwrap_or(ADDRESS)).map_err(|_| MalformedAccess::Address)?;
        if double.is_some() && !address.is_loopback() {
            return Err(MalformedAccess::Address);
        }
        Ok(Self { secret, address, client: OnceLock::new() })
    }

    /// Whether Clerk can have made this id; it knows nothing of others.
    pub fn may_know(id: &str) -> bool {
        let rest = id.strip_prefix("user_").unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    /// Those of `ids` (at most [`MOST_ASKED`]) that Clerk has.
    pub async fn existing(&self, ids: &[&str]) -> Result<HashSet<String>, ClerkError> {
        let mut url = self.join("/v1/users")?;
        url.query_pairs_mut()
            .append_pair("limit", &MOST_ASKED.to_string())
            .extend_pairs(ids.iter().map(|id| ("user_id", *id)));
        let answer = self.get(url).await?;
        if !answer.status().is_success() {
            return Err(ClerkError::Status(answer.status().as_u16()));
        }
        let users: Vec<User> = serde_json::from_slice(&read(answer).await?)
            .map_err(|_| ClerkError::Nonsense("it is no list of users"))?;
        let asked: HashSet<&str> = ids.iter().copied().collect();
        // Whoever gets other users than those who were asked for cannot tell who is missing.
        if users.iter().any(|user| !asked.contains(user.id.as_str())) {
            return Err(ClerkError::Nonsense("it lists users who were not asked for"));
        }
        Ok(users.into_iter().map(|user| user.id).collect())
    }

    /// Whether Clerk says of this one user that there is no such user.
    pub async fn is_gone(&self, id: &str) -> Result<bool, ClerkError> {
        let answer = self.get(self.join(&format!("/v1/users/{id}"))?).await?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            #[derive(Deserialize)]
            struct Errors {
                errors: Vec<Coded>,
            }
            #[derive(Deserialize)]
            struct Coded {
                code: String,
            }
            // A proxy, or another program at this address, says 404 too.
            let told: Errors = serde_json::from_slice(&read(answer).await?)
                .map_err(|_| ClerkError::Nonsense("its 404 is not Clerk's own"))?;
            return if told.errors.iter().any(|error| error.code == "resource_not_found") {
                Ok(true)
            } else {
                Err(ClerkError::Nonsense("its 404 is not about the user"))
            };
        }
        if status.is_success() { Ok(false) } else { Err(ClerkError::Status(status.as_u16())) }
    }

    fn join(&self, path: &str) -> Result<Url, ClerkError> {
        self.address.join(path).ok_or(ClerkError::Nonsense("an address that leaves Clerk's"))
    }

    /// The head of an answer; what passes by itself is waited for.
    async fn get(&self, url: Url) -> Result<Response, ClerkError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let (error, wanted) = match self.get_once(url.clone()).await {
                Ok(answer) if is_busy(answer.status()) => {
                    let error = match answer.status() {
                        StatusCode::TOO_MANY_REQUESTS => ClerkError::TooMany,
                        status => ClerkError::Status(status.as_u16()),
                    };
                    (error, retry_after(&answer))
                }
                Ok(answer) if is_refusal(answer.status()) => {
                    return Err(ClerkError::Refused(answer.status().as_u16()));
                }
                Ok(answer) => return Ok(answer),
                Err(error) => (error, None),
            };
            let wait = wanted.unwrap_or(pause);
            if attempt == ATTEMPTS || wait > LONGEST_PAUSE {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(ClerkError::TooMany)
    }

    async fn get_once(&self, url: Url) -> Result<Response, ClerkError> {
        let request = self.client()?.get(url).timeout(ANSWER).header(ACCEPT, "application/json");
        request.header(AUTHORIZATION, self.secret.clone()).send().await.map_err(unreachable)
    }

    fn client(&self) -> Result<&reqwest::Client, ClerkError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client_builder(self.address.is_loopback(), CONNECT).build().map_err(unreachable)?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// The secret key is not shown.
impl fmt::Debug for ClerkApi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ClerkApi({})", self.address)
    }
}

async fn read(mut answer: Response) -> Result<Vec<u8>, ClerkError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(ClerkError::Nonsense("it is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// In seconds; Clerk sends no dates.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn unreachable(error: reqwest::Error) -> ClerkError {
    ClerkError::Unreachable(if error.is_timeout() { "no answer in time".into() } else { cause(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clerks_own_host_or_this_machine_is_asked() {
        let secret = "sk_test_0000000000000000";
        let api = |double| ClerkApi::new(secret, double);
        assert_eq!(api(None).unwrap().address.to_string(), ADDRESS);
        assert!(api(Some("http://127.0.0.1:9000")).is_ok());
        for bad in ["https://api.clerk.example.com", "http://10.0.0.1", "https://api.clerk.com", ""] {
            assert_eq!(api(Some(bad)).err(), Some(MalformedAccess::Address), "{bad}");
        }
        for bad in ["", "pk_test_x", "sk_test_", "sk_live_a\nb", "sk_other_x"] {
            assert_eq!(ClerkApi::new(bad, None).err(), Some(MalformedAccess::Secret), "{bad}");
        }
        assert!(!format!("{:?}", api(None)).contains(secret));
    }

    #[test]
    fn ids_of_other_issuers_are_told_apart() {
        for good in ["user_2abcDEF0123456789", "user_1"] {
            assert!(ClerkApi::may_know(good), "{good}");
        }
        for bad in ["", "local", "user_", "user_a/../b", "user_a b", "user_ä", "auth0|user_1", "user_1?x"] {
            assert!(!ClerkApi::may_know(bad), "{bad}");
        }
    }
}

//! Where an issuer's key set comes from: the configured address, or the one in the issuer's discovery document
//! (OpenID Connect Discovery 1.0, section 4). Never from a token.

use std::time::Duration;

use serde::Deserialize;

use super::issuer::Issuer;
use crate::provider::MalformedAddress;
use crate::provider::document::{DocumentAddress, DocumentClient, DocumentError};

/// Clerk's key set has 1 KiB; Microsoft's, the largest known, less than 64.
const ANSWER_LIMIT: usize = 256 * 1024;

/// How long an issuer may take for its key set.
#[derive(Debug, Clone, Copy)]
pub struct KeySetTimeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// For everything, the discovery document included.
    pub total: Duration,
}

impl Default for KeySetTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), total: Duration::from_secs(5) }
    }
}

/// Why an issuer gave no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The key set, or the discovery document, is at an address that is not asked.
    #[error("the address {0:?} {1}")]
    Address(String, MalformedAddress),
    /// The discovery document of an issuer elsewhere names an address on this machine.
    #[error("the discovery document names an address on this machine")]
    AddressOfThisMachine,
    /// It cannot be fetched.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No whole answer in time, the discovery document included.
    #[error("no answer in time")]
    TimedOut,
    /// No key set, or no discovery document.
    #[error("the answer is not {0}")]
    Nonsense(&'static str),
    /// The discovery document is another issuer's.
    #[error("the discovery document is that of another issuer; write KEYFOLD_AUTH_ISSUER exactly as it does")]
    ForeignIssuer,
    /// No key in it can be used.
    #[error("the key set has no key that can be used")]
    NoUsableKey,
}

/// Fetches an issuer's key set.
pub(super) struct KeySource {
    issuer: String,
    jwks_url: Option<String>,
    total: Duration,
    client: DocumentClient,
}

impl KeySource {
    pub(super) fn new(issuer: &Issuer, timeouts: KeySetTimeouts) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            jwks_url: issuer.jwks_url.clone(),
            total: timeouts.total,
            client: DocumentClient::new(timeouts.connect),
        }
    }

    /// The key set as the issuer sends it.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, KeySetError> {
        let fetching = async {
            let address = match &self.jwks_url {
                Some(address) => parse(address)?,
                None => self.discover().await?,
            };
            Ok(self.client.get(&address, ANSWER_LIMIT).await?)
        };
        tokio::time::timeout(self.total, fetching).await.unwrap_or(Err(KeySetError::TimedOut))
    }

    /// Asked again every time, since an issuer may move its key set.
    async fn discover(&self) -> Result<DocumentAddress, KeySetError> {
        key_set_address(&discovery_document(&self.issuer, &self.client).await?, &self.issuer)
    }
}

/// This issuer's discovery document as it comes.
pub(super) async fn discovery_document(
    issuer: &str,
    client: &DocumentClient,
) -> Result<Vec<u8>, KeySetError> {
    let address = parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
    Ok(client.get(&address, ANSWER_LIMIT).await?)
}

/// Where this issuer's discovery document says that the key set is.
fn key_set_address(document: &[u8], issuer: &str) -> Result<DocumentAddress, KeySetError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let document: Document = read_discovery_document(document)?;
    check_issuer(&document.issuer, issuer)?;
    named_address(&document.jwks_uri, issuer)
}

/// What is wanted of a discovery document.
pub(super) fn read_discovery_document<'d, T: Deserialize<'d>>(document: &'d [u8]) -> Result<T, KeySetError> {
    serde_json::from_slice(document).map_err(|_| KeySetError::Nonsense("a discovery document"))
}

/// Section 4.3: must be identical.
pub(super) fn check_issuer(named: &str, issuer: &str) -> Result<(), KeySetError> {
    if named == issuer { Ok(()) } else { Err(KeySetError::ForeignIssuer) }
}

/// An address that this issuer's discovery document names.
pub(super) fn named_address(address: &str, issuer: &str) -> Result<DocumentAddress, KeySetError> {
    let address = parse(address)?;
    // An issuer elsewhere has no business with what listens on this machine.
    if address.is_loopback() && !parse(issuer)?.is_loopback() {
        return Err(KeySetError::AddressOfThisMachine);
    }
    Ok(address)
}

fn parse(address: &str) -> Result<DocumentAddress, KeySetError> {
    DocumentAddress::parse(address).map_err(|why| KeySetError::Address(address.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_elsewhere_cannot_send_us_to_this_machine() {
        let found = |issuer: &str, key_set: &str| {
            let document = serde_json::json!({ "issuer": issuer, "jwks_uri": key_set }).to_string();
            key_set_address(document.as_bytes(), issuer).is_ok()
        };
        assert!(found("https://accounts.example.com", "https://keys.example.net/certs"));
        assert!(found("http://127.0.0.1:9000", "http://127.0.0.1:9001/keys"));
        assert!(found("http://localhost:9000", "https://keys.example.net/certs"));
        for local in ["http://127.0.0.1:9000/keys", "http://localhost/keys", "https://[::1]/keys"] {
            assert!(!found("https://accounts.example.com", local), "{local}");
        }
    }

    #[test]
    fn a_discovery_document_that_says_something_twice_is_nonsense() {
        let twice = br#"{"issuer":"https://a.example","jwks_uri":"https://a.example/1","jwks_uri":"https://a.example/2"}"#;
        assert_eq!(
            key_set_address(twice, "https://a.example").unwrap_err(),
            KeySetError::Nonsense("a discovery document")
        );
    }
}

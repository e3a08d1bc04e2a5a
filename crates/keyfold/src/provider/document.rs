//! Public documents, such as a token issuer's key set: fetched without a key, whole, and only up to a size.

use std::sync::OnceLock;
use std::time::Duration;

use http::header::ACCEPT;
use url::Url;

use super::address::{MalformedAddress, checked, is_loopback};
use super::http::{cause, client_builder};

/// Why a document could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// No connection, or it broke.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// Another status than success. Redirects are not followed.
    #[error("the answer's status was {0}")]
    Status(u16),
    /// More than is taken.
    #[error("the answer was larger than {0} bytes")]
    TooLarge(usize),
}

/// An `https://` address, or an `http://` one of this machine. A query is allowed: some issuers have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentAddress(Url);

impl DocumentAddress {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, MalformedAddress> {
        checked(text).map(Self)
    }

    /// Whether requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(|host| is_loopback(&host))
    }

    /// Scheme, host and port, as browsers write them.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

/// Fetches documents.
pub struct DocumentClient {
    connect: Duration,
    /// For this machine: never through a proxy.
    direct: OnceLock<reqwest::Client>,
    /// For everything else: through the proxy that the environment names, if any.
    outward: OnceLock<reqwest::Client>,
}

impl DocumentClient {
    /// Connects to nothing until the first request. `connect` is how long accepting a connection may take; who
    /// fetches limits the whole.
    pub fn new(connect: Duration) -> Self {
        Self { connect, direct: OnceLock::new(), outward: OnceLock::new() }
    }

    /// The document's bytes, at most `limit` of them.
    pub async fn get(&self, address: &DocumentAddress, limit: usize) -> Result<Vec<u8>, DocumentError> {
        let request = self.client_for(address)?.get(address.0.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(DocumentError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > limit {
                return Err(DocumentError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn client_for(&self, address: &DocumentAddress) -> Result<&reqwest::Client, DocumentError> {
        let local = address.is_loopback();
        let cell = if local { &self.direct } else { &self.outward };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Minutes pass between two requests: a kept connection would mostly be a dead one.
        let builder = client_builder(local, self.connect).pool_max_idle_per_host(0);
        let client = builder.build().map_err(unreachable)?;
        Ok(cell.get_or_init(|| client))
    }
}

fn unreachable(error: reqwest::Error) -> DocumentError {
    DocumentError::Unreachable(if error.is_timeout() { "no answer in time".into() } else { cause(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_over_https_or_from_this_machine_only() {
        for good in [
            "https://clerk.example.com/.well-known/jwks.json",
            "https://tenant.example.com/keys?p=policy",
            "http://127.0.0.1:9000/jwks",
            "http://localhost/jwks?a=b",
        ] {
            assert_eq!(DocumentAddress::parse(good).unwrap().0.as_str(), good);
        }
        for bad in [
            "",
            "clerk.example.com",
            "http://clerk.example.com/jwks",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "https://user:password@example.com/jwks",
            "data:application/json,{}",
        ] {
            assert!(DocumentAddress::parse(bad).is_err(), "{bad}");
        }
    }
}

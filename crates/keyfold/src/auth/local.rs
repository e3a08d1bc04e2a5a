//! Local mode has no login: what may reach it is decided by where a request comes from.
//!
//! Against DNS rebinding only loopback names (and allowed ones) are answered; against requests that other web
//! pages make, `Origin` and `Sec-Fetch-Site` are held against the allowed origins. With a local token every
//! request must carry it as well.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::clock::{NoRandomness, Random, random_bytes};

/// Sessions that are remembered; more push out all others, who show their token again.
const MOST_SESSIONS: usize = 1000;

/// Proof that a request may use local mode. Made by [`LocalGuard::admit`] only.
#[derive(Debug)]
pub struct LocalAccess(());

/// Decides which requests may use local mode.
pub struct LocalGuard {
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    token: Option<Zeroizing<String>>,
    /// Hashes of the cookies that were given out for the token.
    sessions: Mutex<HashSet<[u8; 32]>>,
}

/// What a request says of where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOrigin<'a> {
    /// The `Host` header, or the authority of an absolute request target.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header.
    pub fetch_site: Option<&'a str>,
    /// A plain top-level `GET` navigation to one of the pages.
    pub is_page_navigation: bool,
    /// A bearer token.
    pub bearer: Option<&'a str>,
    /// The session cookie's value.
    pub session: Option<&'a str>,
}

/// Why a request may not use local mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalRefusal {
    /// No `Host`, or one that is neither loopback nor allowed.
    #[error(
        "In local mode Keyfold answers only requests for localhost or 127.0.0.1. Use that address, or list this host name in KEYFOLD_ALLOWED_HOSTS."
    )]
    Host,
    /// Another web page's request.
    #[error(
        "In local mode Keyfold refuses requests that other web pages make. If this page is yours, list its origin in KEYFOLD_ALLOWED_ORIGINS."
    )]
    Origin,
    /// No token, or a wrong one.
    #[error(
        "This Keyfold asks for its local token. Open it once with ?token=… in the address, or send the token as a bearer token (KEYFOLD_LOCAL_TOKEN holds it)."
    )]
    Token,
}

impl LocalGuard {
    /// `allowed_origins` includes the guard's own.
    pub fn new(
        allowed_hosts: Vec<String>,
        allowed_origins: Vec<String>,
        token: Option<Zeroizing<String>>,
    ) -> Self {
        let lower = |list: Vec<String>| list.into_iter().map(|text| text.to_ascii_lowercase()).collect();
        Self {
            allowed_hosts: lower(allowed_hosts),
            allowed_origins: lower(allowed_origins),
            token,
            sessions: Mutex::default(),
        }
    }

    /// Whether a token is asked for.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Checks where a request comes from, then its token.
    pub fn admit(&self, request: &RequestOrigin<'_>) -> Result<LocalAccess, LocalRefusal> {
        self.check_origin(request)?;
        if self.token.is_some()
            && !request.bearer.is_some_and(|token| self.is_token(token))
            && !request.session.is_some_and(|session| self.is_session(session))
        {
            return Err(LocalRefusal::Token);
        }
        Ok(LocalAccess(()))
    }

    /// Checks `Host`, `Origin` and `Sec-Fetch-Site`.
    pub fn check_origin(&self, request: &RequestOrigin<'_>) -> Result<(), LocalRefusal> {
        let host = request.host.ok_or(LocalRefusal::Host)?.to_ascii_lowercase();
        if !self.is_own_host(&host) {
            return Err(LocalRefusal::Host);
        }
        if request.is_page_navigation {
            return Ok(());
        }
        match request.origin {
            Some(origin) if self.is_allowed_origin(origin, &host) => Ok(()),
            Some(_) => Err(LocalRefusal::Origin),
            None => match request.fetch_site {
                None | Some("same-origin" | "none") => Ok(()),
                Some(_) => Err(LocalRefusal::Origin),
            },
        }
    }

    /// Whether browsers at this origin may call, given the `Host` they call.
    pub fn is_allowed_origin(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.allowed_origins.contains(&origin)
            || origin.strip_prefix("http://").is_some_and(|own| own == host.to_ascii_lowercase())
    }

    /// Whether this is the local token; compared in constant time.
    pub fn is_token(&self, given: &str) -> bool {
        self.token.as_ref().is_some_and(|token| {
            let hash = |text: &str| digest(&SHA256, text.as_bytes());
            verify_slices_are_equal(hash(token).as_ref(), hash(given).as_ref()).is_ok()
        })
    }

    /// A new random session for whoever showed the token.
    pub fn start_session(&self, random: &dyn Random) -> Result<Zeroizing<String>, NoRandomness> {
        let session = Zeroizing::new(HEXLOWER.encode(&random_bytes::<32>(random)?));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST_SESSIONS {
            sessions.clear();
        }
        sessions.insert(hash(&session));
        Ok(session)
    }

    fn is_session(&self, given: &str) -> bool {
        // Looked up by its hash, so nothing about other sessions can be timed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash(given))
    }

    fn is_own_host(&self, host_and_port: &str) -> bool {
        let Some(host) = host_of(host_and_port) else { return false };
        let loopback = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        loopback || self.allowed_hosts.iter().any(|allowed| allowed == host || allowed == host_and_port)
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

/// The host of `host`, `host:port`, `[address]` or `[address]:port`; `None` if it is none of them.
fn host_of(text: &str) -> Option<&str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => match text.find(':') {
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    let port_fits = match rest.strip_prefix(':') {
        Some(port) => !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => rest.is_empty(),
    };
    (port_fits && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    fn guard() -> LocalGuard {
        LocalGuard::new(vec!["dev.example".into()], vec!["http://localhost:3000".into()], None)
    }

    fn request<'a>(host: &'a str, origin: Option<&'a str>, site: Option<&'a str>) -> RequestOrigin<'a> {
        RequestOrigin { host: Some(host), origin, fetch_site: site, ..RequestOrigin::default() }
    }

    #[test]
    fn answers_loopback_and_allowed_names_only() {
        let own = [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "[::1]",
            "dev.example:8000",
        ];
        for host in own {
            assert!(guard().admit(&request(host, None, None)).is_ok(), "{host}");
        }
        let foreign = [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8000",
            "10.0.0.1",
            "0.0.0.0:8000",
            "localhost:",
            "localhost:8000:1",
            "localhost:99999999",
            "::1",
            "[::1",
            "user@localhost",
            "localhost, evil.example",
            "localhost evil.example",
            "127.0.0.1#",
        ];
        for host in foreign {
            assert_eq!(guard().admit(&request(host, None, None)).err(), Some(LocalRefusal::Host), "{host}");
        }
        assert_eq!(guard().admit(&RequestOrigin::default()).err(), Some(LocalRefusal::Host));
    }

    #[test]
    fn refuses_what_other_pages_ask() {
        let allowed = [
            (None, None),
            (None, Some("none")),
            (None, Some("same-origin")),
            (Some("http://localhost:8000"), Some("same-origin")),
            (Some("http://localhost:3000"), Some("same-site")),
            (Some("http://localhost:3000"), None),
        ];
        for (origin, site) in allowed {
            assert!(guard().admit(&request("localhost:8000", origin, site)).is_ok(), "{origin:?} {site:?}");
        }
        let refused = [
            (Some("https://evil.example"), Some("cross-site")),
            (Some("https://evil.example"), None),
            (Some("null"), None),
            (Some(""), None),
            (Some("https://localhost:8000"), None),
            (Some("http://localhost:4000"), Some("same-site")),
            (Some("http://127.0.0.1:8000"), None),
            (None, Some("cross-site")),
            (None, Some("same-site")),
            (None, Some("anything")),
        ];
        for (origin, site) in refused {
            let admitted = guard().admit(&request("localhost:8000", origin, site));
            assert_eq!(admitted.err(), Some(LocalRefusal::Origin), "{origin:?} {site:?}");
        }
    }

    #[test]
    fn only_a_navigation_to_a_page_may_come_from_elsewhere() {
        let navigation =
            RequestOrigin { is_page_navigation: true, ..request("localhost:8000", None, Some("cross-site")) };
        assert!(guard().admit(&navigation).is_ok());
        let rebound = RequestOrigin { host: Some("evil.example"), ..navigation };
        assert_eq!(guard().admit(&rebound).err(), Some(LocalRefusal::Host));
    }

    #[test]
    fn a_token_is_asked_of_every_request() {
        let guard = LocalGuard::new(vec![], vec![], Some(Zeroizing::new("correct horse".into())));
        let with = |bearer, session| {
            guard.admit(&RequestOrigin { bearer, session, ..request("localhost", None, None) }).err()
        };
        assert_eq!(with(None, None), Some(LocalRefusal::Token));
        assert_eq!(with(Some("wrong"), None), Some(LocalRefusal::Token));
        assert_eq!(with(Some(""), Some("")), Some(LocalRefusal::Token));
        assert_eq!(with(Some("correct horse"), None), None);
        let session = guard.start_session(&SystemRandom).unwrap();
        assert_eq!(with(None, Some(&session)), None);
        assert_eq!(with(None, Some("0".repeat(64).as_str())), Some(LocalRefusal::Token));
        let navigation = RequestOrigin { is_page_navigation: true, ..request("localhost", None, None) };
        assert_eq!(guard.admit(&navigation).err(), Some(LocalRefusal::Token));
    }
}

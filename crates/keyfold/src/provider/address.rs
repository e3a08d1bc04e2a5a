//! A provider's base address: where requests go, and nowhere else.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Scheme, host, port and path prefix of a provider. `http` only for loopback.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseAddress(Url);

/// Why a text is no base address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedAddress {
    /// No URL with a host.
    #[error("is not a web address; write it like https://api.example.com")]
    NotAnAddress,
    /// Plain `http` would send keys readable over the network.
    #[error(
        "must begin with https:// (http:// is allowed for this machine only, such as http://127.0.0.1:9100)"
    )]
    NotHttps,
    /// User name or password in the address.
    #[error("must not contain a user name or password")]
    Credentials,
    /// `?` or `#`.
    #[error("must not contain a query or a fragment (? or #)")]
    Query,
}

impl BaseAddress {
    /// Reads an `https://` address, or an `http://` one of this machine.
    pub fn parse(text: &str) -> Result<Self, MalformedAddress> {
        let mut url = checked(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(MalformedAddress::Query);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The address of `path_and_query` (which begins with `/`) under this base.
    ///
    /// `None` if that would leave the base: another host, or a path that climbs out with `..`.
    pub fn join(&self, path_and_query: &str) -> Option<Url> {
        let base = self.0.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path_and_query}")).ok()?;
        let stays = path_and_query.starts_with('/')
            && url.origin() == self.0.origin()
            && url.username().is_empty()
            && url.password().is_none()
            && url
                .path()
                .strip_prefix(self.0.path().trim_end_matches('/'))
                .is_some_and(|rest| rest.starts_with('/'));
        stays.then_some(url)
    }

    /// Whether connections are encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Host and, where it is not the usual one, port: what a `Host` header says.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Scheme, host and port, without a path.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.0.scheme(), self.0.authority())
    }

    /// What every path begins with; empty, or `/…` without a slash at its end.
    pub fn path_prefix(&self) -> &str {
        self.0.path().trim_end_matches('/')
    }

    /// Whether requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(|host| is_loopback(&host))
    }
}

impl fmt::Display for BaseAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BaseAddress({self})")
    }
}

/// An `https://` address without credentials, or an `http://` one of this machine.
pub(super) fn checked(text: &str) -> Result<Url, MalformedAddress> {
    let url = Url::parse(text.trim()).map_err(|_| MalformedAddress::NotAnAddress)?;
    let Some(host) = url.host() else { return Err(MalformedAddress::NotAnAddress) };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        "http" => return Err(MalformedAddress::NotHttps),
        _ => return Err(MalformedAddress::NotAnAddress),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(MalformedAddress::Credentials);
    }
    Ok(url)
}

pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_https_and_http_of_this_machine_only() {
        for good in [
            "https://api.openai.com",
            "https://eu.api.example.com/v2/",
            "http://127.0.0.1:9100",
            "http://localhost:9100/openai",
            "http://[::1]:9100",
        ] {
            assert_eq!(BaseAddress::parse(good).unwrap().to_string(), good.trim_end_matches('/'));
        }
        let cases = [
            ("", MalformedAddress::NotAnAddress),
            ("api.openai.com", MalformedAddress::NotAnAddress),
            ("ftp://127.0.0.1", MalformedAddress::NotAnAddress),
            ("file:///etc/passwd", MalformedAddress::NotAnAddress),
            ("http://api.openai.com", MalformedAddress::NotHttps),
            ("http://127.0.0.1.example.com", MalformedAddress::NotHttps),
            ("http://localhost.example.com", MalformedAddress::NotHttps),
            ("http://10.0.0.1", MalformedAddress::NotHttps),
            ("https://user@api.openai.com", MalformedAddress::Credentials),
            ("https://api.openai.com/?a=b", MalformedAddress::Query),
            ("https://api.openai.com/#x", MalformedAddress::Query),
        ];
        for (text, why) in cases {
            assert_eq!(BaseAddress::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn joined_paths_stay_under_the_base() {
        let base = BaseAddress::parse("https://api.example.com/v2/").unwrap();
        let join = |path| base.join(path).map(String::from);
        assert_eq!(join("/chat?a=b").as_deref(), Some("https://api.example.com/v2/chat?a=b"));
        for escape in [
            "chat",
            "@evil.example/",
            ".evil.example/",
            "/../admin",
            "/../v2x",
            "/%2e%2e/admin",
            "/%2e%2e/v2x",
            ":8443/",
        ] {
            assert_eq!(join(escape), None, "{escape}");
        }
    }
}

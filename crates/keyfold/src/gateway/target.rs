//! Where a request to the gateway may go: below the base address of a provider of the registry, and nowhere else.

use std::borrow::Cow;

/// How every address of the gateway begins.
pub const PREFIX: &str = "/gateway/";

/// How often an address may be percent-encoded over and over until it counts as hiding something.
const MOST_ENCODINGS: usize = 4;

/// What a request names: a provider, and a path and a query below its base address, as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The provider's id, well-formed or not.
    pub provider: &'a str,
    /// Begins with `/`.
    path: &'a str,
    query: Option<&'a str>,
}

/// Why an address is refused, in words that follow "The address of the request".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedTarget {
    /// Not `/gateway/…`: an absolute or another form.
    #[error("must be a path that begins with /gateway/")]
    NotAPath,
    /// No path below the provider.
    #[error("names no path of the provider; it has the form /gateway/PROVIDER/PATH")]
    NoPath,
    /// White space, control characters, letters outside ASCII, or what no address holds unencoded.
    #[error("has characters that an address cannot hold as they are; percent-encode them")]
    Characters,
    /// `.` or `..`, plain or encoded.
    #[error("has a part that is `.` or `..`, plain or encoded, which could lead elsewhere")]
    DotSegment,
    /// A backslash, plain or encoded, which some servers take for a slash.
    #[error("has a backslash, which some servers take for a slash")]
    Backslash,
    /// `//` at the beginning, which some servers take for a host.
    #[error("has an empty part right after the provider, which some servers take for a host")]
    EmptySegment,
    /// Encoded more often than anybody needs.
    #[error("is percent-encoded several times over")]
    Encoding,
}

impl<'a> Target<'a> {
    /// Reads the target of a request line.
    pub fn parse(target: &'a str) -> Result<Self, MalformedTarget> {
        let rest = target.strip_prefix(PREFIX).ok_or(MalformedTarget::NotAPath)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let (provider, path) = path.split_at(path.find('/').ok_or(MalformedTarget::NoPath)?);
        if !rest.bytes().all(may_stand_in_an_address) {
            return Err(if path.contains('\\') {
                MalformedTarget::Backslash
            } else {
                MalformedTarget::Characters
            });
        }
        check_path(path)?;
        Ok(Self { provider, path, query })
    }

    /// The path below the provider's base address; begins with `/`.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The query, without the caller's credential if that stands there.
    pub(crate) fn query(&self, credential: Option<&str>) -> Option<Cow<'a, str>> {
        let query = self.query?;
        let Some(name) = credential else { return Some(query.into()) };
        let is_credential = |pair: &&str| pair.split('=').next().is_some_and(|found| is_name(found, name));
        let rest: Vec<&str> = query.split('&').filter(|pair| !is_credential(pair)).collect();
        (!rest.is_empty()).then(|| rest.join("&").into())
    }

    /// The values of a member of the query, as they came.
    pub fn in_query(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let pairs = self.query.unwrap_or_default().split('&');
        pairs
            .filter_map(move |pair| pair.split_once('=').filter(|(found, _)| is_name(found, name)))
            .map(|(_, value)| value)
    }

    /// The whole query, as it came.
    pub fn whole_query(&self) -> &'a str {
        self.query.unwrap_or_default()
    }
}

/// Whether a member of a query has this name, as a server decodes it.
fn is_name(found: &str, name: &str) -> bool {
    found == name || (found.contains('%') && decode(found.as_bytes()) == name.as_bytes())
}

/// RFC 3986, section 2, and a few that browsers and libraries leave unencoded.
fn may_stand_in_an_address(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'`')
}

fn check_path(path: &str) -> Result<(), MalformedTarget> {
    if path.starts_with("//") {
        return Err(MalformedTarget::EmptySegment);
    }
    // Most paths have neither.
    if !path.contains('%') && !path.contains("/.") {
        return Ok(());
    }
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..MOST_ENCODINGS {
        check_segments(&decoded)?;
        let next = decode(&decoded);
        if next == decoded {
            return Ok(());
        }
        decoded = next;
    }
    Err(MalformedTarget::Encoding)
}

fn check_segments(path: &[u8]) -> Result<(), MalformedTarget> {
    if path.contains(&b'\\') {
        return Err(MalformedTarget::Backslash);
    }
    // `..;x` is `..` to servers that know path parameters.
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
    let is_dots = |segment: &[u8]| matches!(name(segment).as_deref(), Some(b"." | b".."));
    if path.split(|byte| *byte == b'/').any(is_dots) {
        return Err(MalformedTarget::DotSegment);
    }
    if path.starts_with(b"//") {
        return Err(MalformedTarget::EmptySegment);
    }
    if path.iter().any(u8::is_ascii_control) {
        return Err(MalformedTarget::Characters);
    }
    Ok(())
}

/// Once. What is no encoded byte stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, digit(0), digit(1)) {
            decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &after[2..];
        } else {
            decoded.push(*byte);
            rest = after;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_client_libraries_send() {
        for (target, provider, path, query) in [
            ("/gateway/openai/v1/chat/completions", "openai", "/v1/chat/completions", None),
            (
                "/gateway/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
                "gemini",
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
                Some("alt=sse"),
            ),
            ("/gateway/x/", "x", "/", None),
            ("/gateway/x/a//b/...c/.d/e..", "x", "/a//b/...c/.d/e..", None),
            ("/gateway/x/files/a%20b%2Fc%C3%A4", "x", "/files/a%20b%2Fc%C3%A4", None),
            ("/gateway/x/100%", "x", "/100%", None),
            ("/gateway/x/user@host:8080/[1]{2}|3^", "x", "/user@host:8080/[1]{2}|3^", None),
            // A query leads nowhere, whatever stands in it.
            ("/gateway/x/a?b=/../c&d=//e", "x", "/a", Some("b=/../c&d=//e")),
        ] {
            let read = Target::parse(target).unwrap();
            assert_eq!((read.provider, read.path(), read.query), (provider, path, query), "{target}");
        }
    }

    #[test]
    fn refuses_what_could_lead_elsewhere() {
        use MalformedTarget::{Backslash, Characters, DotSegment, EmptySegment, Encoding, NoPath, NotAPath};
        for (target, why) in [
            ("http://evil.example/gateway/x/a", NotAPath),
            ("evil.example:443", NotAPath),
            ("*", NotAPath),
            ("//evil.example/gateway/x/a", NotAPath),
            ("/gateway", NotAPath),
            ("/Gateway/x/a", NotAPath),
            ("/gateway/x", NoPath),
            ("/gateway/x?a/b", NoPath),
            ("/gateway/x/a b", Characters),
            ("/gateway/x/a#b", Characters),
            ("/gateway/x/a\u{e4}", Characters),
            ("/gateway/x/a\tb", Characters),
            ("/gateway/x/a?b\"c", Characters),
            ("/gateway/x//evil.example/a", EmptySegment),
            ("/gateway/x/%2fevil.example/a", EmptySegment),
            ("/gateway/x/../a", DotSegment),
            ("/gateway/x/a/..", DotSegment),
            ("/gateway/x/./a", DotSegment),
            ("/gateway/x/%2e%2e/a", DotSegment),
            ("/gateway/x/.%2E/a", DotSegment),
            ("/gateway/x/a%2f..%2fb", DotSegment),
            ("/gateway/x/..%2fb", DotSegment),
            ("/gateway/x/%252e%252e/a", DotSegment),
            ("/gateway/x/%25252e%25252e/a", DotSegment),
            ("/gateway/x/..;a=b/c", DotSegment),
            ("/gateway/x/a\\..\\b", Backslash),
            ("/gateway/x/a%5c..%5cb", Backslash),
            ("/gateway/x/a%255cb", Backslash),
            ("/gateway/x/a%0d%0aHost:%20evil", Characters),
            ("/gateway/x/a%00", Characters),
            ("/gateway/x/%2525252541", Encoding),
        ] {
            assert_eq!(Target::parse(target), Err(why), "{target}");
        }
    }

    #[test]
    fn a_credential_is_taken_out_of_the_query_and_nothing_else() {
        let query =
            |target, credential| Target::parse(target).unwrap().query(credential).map(Cow::into_owned);
        assert_eq!(query("/gateway/x/a?key=1&alt=sse", None).as_deref(), Some("key=1&alt=sse"));
        assert_eq!(query("/gateway/x/a?key=1&alt=sse", Some("key")).as_deref(), Some("alt=sse"));
        assert_eq!(
            query("/gateway/x/a?alt=sse&key=1&pageToken=key", Some("key")).as_deref(),
            Some("alt=sse&pageToken=key")
        );
        assert_eq!(query("/gateway/x/a?key=1", Some("key")), None);
        assert_eq!(query("/gateway/x/a?keys=1&Key=2&&", Some("key")).as_deref(), Some("keys=1&Key=2&&"));
        assert_eq!(query("/gateway/x/a?k%65%79=1&a=%6bey", Some("key")).as_deref(), Some("a=%6bey"));
        assert_eq!(query("/gateway/x/a", Some("key")), None);
        let target = Target::parse("/gateway/x/a?key=1&b=2&key=3").unwrap();
        assert_eq!(target.in_query("key").collect::<Vec<_>>(), ["1", "3"]);
    }
}

//! What crosses the gateway, and what never does. Everything that is not named here passes as it came.
//!
//! | | to the provider | to the caller |
//! | --- | --- | --- |
//! | hop-by-hop headers (RFC 9110, section 7.6.1), lengths | never: each side has its own | never |
//! | credentials of the caller, cookies | never | never |
//! | `X-Forwarded-*` and its kin, `Keyfold-*` | never | never |
//! | what a browser says of a page | never: a provider would take the gateway for a browser | – |
//! | what would act on the page that shares the gateway's origin, or on a proxy before it | – | never |
//! | the user's key, headers that every request needs | put in | – |
//! | `Content-Security-Policy: sandbox` and the like | – | put in |

/// A header, as it came: its name in any case, its value without the white space around it.
pub use httparse::Header as Field;

/// Where client libraries put a key, and so callers their credential. In lower case.
pub const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "x-api-key", "x-goog-api-key", "xi-api-key", "x-copilotcloud-public-api-key"];

/// The member of the query that Gemini's libraries may put a key into.
pub const CREDENTIAL_IN_QUERY: &str = "key";

/// What every answer carries: nothing from a provider can do anything to the page that shares its origin, or stay in
/// a cache between users.
pub const ON_EVERY_ANSWER: [(&str, &str); 4] = [
    ("content-security-policy", "sandbox"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Whether this header of a request goes on to the provider. Its lengths are told anew.
pub(crate) fn goes_to_provider(name: &str) -> bool {
    // By its first letter: this runs for every header of every request.
    let never: &[&str] = match first_letter(name) {
        b'a' => &["authorization", "access-control-*"],
        b'c' => &["connection", "content-length", "cookie", "cookie2", "cf-connecting-ip"],
        b'e' => &["expect"],
        b'f' => &["forwarded"],
        b'h' => &["host", "http2-settings"],
        b'k' => &["keep-alive", "keyfold-*"],
        b'o' => &["origin"],
        b'p' => &["proxy-*"],
        b's' => &["sec-*"],
        b't' => &["te", "trailer", "transfer-encoding", "true-client-ip"],
        b'u' => &["upgrade"],
        b'v' => &["via"],
        b'x' => &[
            "x-api-key",
            "x-goog-api-key",
            "xi-api-key",
            "x-copilotcloud-public-api-key",
            "x-forwarded-*",
            "x-real-ip",
            "x-client-ip",
            "x-original-*",
            "x-rewrite-*",
        ],
        _ => return true,
    };
    !is_one_of(name, never)
}

/// Whether this header of an answer goes on to the caller. Its lengths are told anew.
pub(crate) fn goes_to_caller(name: &str) -> bool {
    let never: &[&str] = match first_letter(name) {
        b'a' => &["access-control-*", "alt-svc", "age"],
        b'c' => &[
            "connection",
            "content-length",
            "cache-control",
            "cdn-cache-control",
            "clear-site-data",
            "content-security-policy*",
            "cross-origin-*",
        ],
        b'd' => &["document-policy*"],
        b'e' => &["expires"],
        b'f' => &["forwarded"],
        b'k' => &["keep-alive", "keyfold-*"],
        b'n' => &["nel"],
        b'o' => &["origin-agent-cluster"],
        b'p' => &["proxy-*", "permissions-policy*", "pragma", "public-key-pins*"],
        b'r' => &["refresh", "report-to", "reporting-endpoints", "referrer-policy"],
        b's' => &[
            "set-cookie",
            "set-cookie2",
            "strict-transport-security",
            "service-worker-allowed",
            "sourcemap",
            "speculation-rules",
            "supports-loading-mode",
            "surrogate-*",
        ],
        b't' => &["te", "trailer", "transfer-encoding", "timing-allow-origin"],
        b'u' => &["upgrade", "use-as-dictionary"],
        b'w' => &["www-authenticate"],
        // Some make a proxy before Keyfold serve files of its own.
        b'x' => &[
            "x-accel-*",
            "x-content-type-options",
            "x-forwarded-*",
            "x-frame-options",
            // Where Gemini's libraries go on with an upload: to Google itself, with the caller's credential as the key.
            "x-goog-upload-url",
            "x-goog-upload-control-url",
            "x-lighttpd-send-file",
            "x-litespeed-*",
            "x-permitted-cross-domain-policies",
            "x-real-ip",
            "x-sendfile",
            "x-sourcemap",
            "x-xss-protection",
        ],
        _ => return true,
    };
    // Where a key goes, it could come back.
    !is_one_of(name, never) && !may_hold_a_credential(name)
}

/// Whether a caller's credential may stand in this header.
pub fn may_hold_a_credential(name: &str) -> bool {
    matches!(first_letter(name), b'a' | b'x')
        && CREDENTIAL_HEADERS.iter().any(|place| name.eq_ignore_ascii_case(place))
}

/// Whether a `Connection` header names this one, which makes it hop-by-hop.
pub(crate) fn is_named_in(connection: &[u8], name: &str) -> bool {
    connection.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn first_letter(name: &str) -> u8 {
    name.as_bytes().first().map_or(0, u8::to_ascii_lowercase)
}

/// A pattern may end with `*`.
fn is_one_of(name: &str, patterns: &[&str]) -> bool {
    // Servers that make variables of headers take `_` and `-` for the same.
    if name.contains('_') {
        return is_one_of(&name.replace('_', "-"), patterns);
    }
    let name = name.as_bytes();
    // Most differ in their third letter already.
    let third = name.get(2).map(u8::to_ascii_lowercase);
    let may_be = |pattern: &&&str| match pattern.as_bytes().get(2) {
        Some(b'*') | None => true,
        letter => letter.copied() == third,
    };
    let mut alike = patterns.iter().filter(may_be);
    alike.any(|pattern| match pattern.as_bytes().strip_suffix(b"*") {
        Some(beginning) => {
            name.len() >= beginning.len() && name[..beginning.len()].eq_ignore_ascii_case(beginning)
        }
        None => name.eq_ignore_ascii_case(pattern.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_side_stays_there() {
        for never in [
            "Authorization",
            "x-api-key",
            "X-Goog-Api-Key",
            "xi-api-key",
            "X-CopilotCloud-Public-Api-Key",
            "Cookie",
            "Host",
            "Connection",
            "Keep-Alive",
            "Proxy-Authorization",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Expect",
            "Forwarded",
            "X-Forwarded-For",
            "x-forwarded-anything",
            "X-Real-IP",
            "Keyfold-User",
            "keyfold-anything",
            "Keyfold_User",
            "X_Forwarded_For",
            "Transfer_Encoding",
            "Origin",
            "Sec-Fetch-Mode",
        ] {
            assert!(!goes_to_provider(never), "{never}");
        }
        for passes in [
            "Accept",
            "Accept-Encoding",
            "anthropic-version",
            "anthropic-beta",
            "Content-Type",
            "Content-Encoding",
            "OpenAI-Organization",
            "User-Agent",
            "x-stainless-lang",
            "X-Request-Id",
            "traceparent",
            "x-goog-api-client",
            "Idempotency-Key",
            "Hostname",
            "",
        ] {
            assert!(goes_to_provider(passes), "{passes}");
        }
    }

    #[test]
    fn patterns_of_any_length_are_found() {
        let patterns = ["te", "a*", "xy*", "via", "sec-*"];
        for name in ["te", "TE", "a", "accept", "xy", "XYZ", "via", "sec-fetch", "Sec_Fetch"] {
            assert!(is_one_of(name, &patterns), "{name}");
        }
        for name in ["t", "tea", "x", "vi", "viable", "sec", "secret", ""] {
            assert!(!is_one_of(name, &patterns), "{name}");
        }
    }

    #[test]
    fn a_provider_can_do_nothing_to_the_page() {
        for never in [
            "Set-Cookie",
            "Clear-Site-Data",
            "Strict-Transport-Security",
            "Alt-Svc",
            "Access-Control-Allow-Origin",
            "Access-Control-Allow-Credentials",
            "Content-Security-Policy",
            "Content-Security-Policy-Report-Only",
            "Service-Worker-Allowed",
            "Refresh",
            "Report-To",
            "Transfer-Encoding",
            "Connection",
            "X-Accel-Redirect",
            "X-Sendfile",
            "Keyfold-Error",
            "X-Forwarded-For",
            "Cache-Control",
        ] {
            assert!(!goes_to_caller(never), "{never}");
        }
        for passes in [
            "Content-Type",
            "Content-Encoding",
            "Content-Disposition",
            "Retry-After",
            "x-request-id",
            "request-id",
            "x-ratelimit-remaining-tokens",
            "anthropic-ratelimit-requests-limit",
            "openai-processing-ms",
            "Date",
            "Location",
            "ETag",
            "Vary",
            "Link",
        ] {
            assert!(goes_to_caller(passes), "{passes}");
        }
    }

    #[test]
    fn every_place_of_a_credential_is_held_back() {
        for place in CREDENTIAL_HEADERS {
            assert!(may_hold_a_credential(place), "{place}");
            assert!(!goes_to_provider(place) && !goes_to_caller(place), "{place}");
            assert!(may_hold_a_credential(&place.to_uppercase()));
        }
        assert!(!may_hold_a_credential("accept"));
    }

    #[test]
    fn a_connection_header_makes_others_hop_by_hop() {
        assert!(is_named_in(b"keep-alive, X-Secret", "x-secret"));
        assert!(!is_named_in(b"keep-alive, X-Secret", "x-secre"));
    }
}

//! A token's parts and header: only what is exactly a signed token in the one right spelling is taken, with an
//! algorithm that is allowed.
//!
//! Input: `{` begins a header's JSON, which is then put into a token; anything else is taken for a token's text.

#![no_main]

use data_encoding::BASE64URL_NOPAD;
use keyfold::auth::CompactToken;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
const LONGEST: usize = 8 * 1024;

fuzz_target!(|input: &[u8]| {
    if input.starts_with(b"{") {
        let token = format!("{}.e30.dGVzdA", BASE64URL_NOPAD.encode(input));
        let accepted = parse(&token);
        // Read once more, by other rules: such a header there is no reason to refuse.
        if let Ok(Value::Object(header)) = serde_json::from_slice(input) {
            let allowed = header.get("alg").is_some_and(|alg| ALGORITHMS.iter().any(|name| alg == name));
            let plain = allowed && header.len() == 1;
            // A member that stands there twice is a reason, and is not seen here.
            let once = input.split(|&byte| byte == b':').count() == 2;
            assert!(accepted || !plain || !once || token.len() > LONGEST, "refused: {token}");
        }
    } else if let Ok(token) = str::from_utf8(input) {
        parse(token);
    }
});

/// Whether it is taken. What is taken holds what it should.
fn parse(token: &str) -> bool {
    let Ok(parsed) = CompactToken::parse(token) else { return false };
    assert!(token.len() <= LONGEST);
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");

    for part in [parts[0], parts[2]] {
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).unwrap_or_default();
        assert_eq!(BASE64URL_NOPAD.encode(&bytes), part, "two spellings of one token");
    }
    let json = BASE64URL_NOPAD.decode(parts[0].as_bytes()).unwrap_or_default();
    // Read once more, by other rules. These know limits for numbers, depth and surrogates, which JSON itself does not.
    let text = str::from_utf8(&json);
    assert!(text.is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()), "no JSON: {token}");
    if let Ok(header) = serde_json::from_slice::<Value>(&json) {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        assert!(ALGORITHMS.contains(&algorithm), "{token}");
        assert!(format!("{parsed:?}").eq_ignore_ascii_case(&format!("CompactToken({algorithm})")), "{token}");
        assert!(header.get("crit").is_none(), "{token}");
        assert!(header.get("kid").is_none_or(|kid| kid.is_string() || kid.is_null()), "{token}");
    }
    true
}

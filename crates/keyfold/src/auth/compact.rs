//! A token as it is written: header, claims and signature in base64url between dots (RFC 7515, section 7.1).
//! Nothing read here is trusted yet.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny};

use super::refusal::TokenRefusal;

/// Clerk's tokens have less than 1 KiB; nothing sane comes near.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The accepted signature algorithms (RFC 7518, section 3.1; RFC 8037, section 3.1).
///
/// No `none`, and no HMAC, with which the public key would be the secret (RFC 8725, sections 2.1 and 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// The one that `alg` names in headers and keys. Names are case-sensitive.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A token in its three parts, with its header and its signature read.
pub struct CompactToken<'a> {
    /// What it says it is signed with. Counts only if its key says the same.
    pub(super) algorithm: Algorithm,
    /// Which key it says it is signed with.
    pub(super) key_id: Option<String>,
    /// Header and claims: what the signature is over.
    pub(super) signed: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> CompactToken<'a> {
    /// Takes a token apart and reads its header.
    ///
    /// `jku`, `x5u`, `jwk` and `x5c` would let the token name its own key; nothing looks at them.
    pub fn parse(token: &'a str) -> Result<Self, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
        // Five parts are an encrypted token (RFC 7516).
        if claims.contains('.') {
            return Err(TokenRefusal::Malformed);
        }
        let header: Header = read_object(header)?;
        if header.crit.0 {
            return Err(TokenRefusal::Extension);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenRefusal::Algorithm)?;
        let signature = bytes(signature)?;
        Ok(Self { algorithm, key_id: header.kid, signed, claims, signature })
    }
}

impl fmt::Debug for CompactToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CompactToken({:?})", self.algorithm)
    }
}

/// A JSON object in base64url.
pub(super) fn read_object<T: DeserializeOwned>(part: &str) -> Result<T, TokenRefusal> {
    let json = bytes(part)?;
    // `serde_json` would not look at this in members that nobody reads (RFC 7515, section 5.2, steps 2 and 3).
    let json = str::from_utf8(&json).map_err(|_| TokenRefusal::Malformed)?;
    // `serde` would take a list for a struct as well.
    if !json.trim_ascii_start().starts_with('{') {
        return Err(TokenRefusal::Malformed);
    }
    serde_json::from_str(json).map_err(|_| TokenRefusal::Malformed)
}

/// Strict base64url: no padding, no blanks, one spelling only, so that no two texts are the same token.
fn bytes(part: &str) -> Result<Vec<u8>, TokenRefusal> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenRefusal::Malformed)
}

/// A member that is there twice is an error.
#[derive(serde::Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default)]
    crit: Presence,
}

/// Whether a member is there, whatever it holds.
#[derive(Default)]
struct Presence(bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(header: &str) -> Result<Algorithm, TokenRefusal> {
        let token = format!("{}.e30.c2ln", BASE64URL_NOPAD.encode(header.as_bytes()));
        CompactToken::parse(&token).map(|token| token.algorithm)
    }

    #[test]
    fn takes_three_parts_of_strict_base64url() {
        assert_eq!(with_header(r#"{"alg":"RS256","typ":"JWT"}"#), Ok(Algorithm::Rs256));
        let header = BASE64URL_NOPAD.encode(br#"{"alg":"RS256"}"#);
        let bad = [
            "",
            ".",
            "..",
            "...",
            "a.b",
            "a.b.c",
            "e30.e30.",
            &header,
            &format!("{header}.e30"),
            &format!("{header}.e30.a.b"),
            &format!("{header}=.e30.aa"),
            &format!(" {header}.e30.aa"),
            &format!("{header}.e30.a.b.c"),
            &format!("{header}.e30.c2ln="),
            &format!("{header}.e30.c2l\n"),
            &format!("{header}.e30.c2l+"),
            // The last bits of a spelling that is not the only one.
            &format!("{header}.e30.c2l"),
        ]
        .map(|text| (text.to_owned(), CompactToken::parse(text).err()));
        for (text, refusal) in bad {
            assert_eq!(refusal, Some(TokenRefusal::Malformed), "{text}");
        }
    }

    #[test]
    fn takes_three_algorithms_and_no_extensions() {
        for good in ["RS256", "ES256", "EdDSA"] {
            assert!(with_header(&format!(r#"{{"alg":"{good}"}}"#)).is_ok(), "{good}");
        }
        for bad in [
            "none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "ES384",
            "rs256", "RS256 ", "eddsa",
        ] {
            assert_eq!(with_header(&format!(r#"{{"alg":"{bad}"}}"#)), Err(TokenRefusal::Algorithm), "{bad}");
        }
        for crit in ["null", "[]", r#"["b64"]"#, r#"["exp"]"#] {
            let header = format!(r#"{{"alg":"RS256","b64":false,"crit":{crit}}}"#);
            assert_eq!(with_header(&header), Err(TokenRefusal::Extension), "{crit}");
        }
        for bad in [
            "",
            "null",
            "7",
            "{}",
            r#"["RS256"]"#,
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"none","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"RS256"} "x""#,
        ] {
            assert_eq!(with_header(bad), Err(TokenRefusal::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_header_is_text_in_utf_8_to_its_last_member() {
        let token = format!("{}.e30.c2ln", BASE64URL_NOPAD.encode(b"{\"alg\":\"RS256\",\"x\":\"\xff\"}"));
        assert_eq!(CompactToken::parse(&token).err(), Some(TokenRefusal::Malformed));
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let deep = format!(r#"{{"alg":"RS256","x":{}}}"#, "[".repeat(5000));
        assert_eq!(with_header(&deep), Err(TokenRefusal::Malformed));
    }
}

//! An issuer's public keys (JSON Web Key Set, RFC 7517): which are usable, and which one signed a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::Value;

use super::compact::{Algorithm, CompactToken};
use super::refusal::TokenRefusal;

/// RFC 7518, section 3.3. AWS-LC checks the same limits again.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// 65537 is what everybody uses; 1 would let anybody sign.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 3..=u32::MAX as u64;
const P256_COORDINATE_BYTES: usize = 32;
const ED25519_KEY_BYTES: usize = 32;
/// Issuers publish a handful; no answer makes Keyfold hold thousands.
const MOST_KEYS: usize = 100;

/// The usable keys of one answer of the issuer.
#[derive(Default)]
pub(super) struct KeySet(Vec<Arc<IssuerKey>>);

/// A public key, with the one algorithm that it is for.
pub(super) struct IssuerKey {
    jwk: Jwk,
    algorithm: Algorithm,
    key: ParsedPublicKey,
    retired: AtomicBool,
}

/// Which key signed a token.
pub(super) enum Signer {
    /// This one.
    Key(Arc<IssuerKey>),
    /// One that this set does not have: a newer set may.
    NotHere,
}

impl KeySet {
    /// Reads the issuer's answer. Keys that cannot be used are left out, so this may be empty; `None`: it is no
    /// key set at all.
    ///
    /// Keys that `known` has as well are taken from there, so that the tokens they signed stay remembered.
    pub(super) fn read(body: &[u8], known: &Self) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(body).ok()?;
        let mut keys: Vec<Arc<IssuerKey>> = Vec::new();
        for jwk in document.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()) {
            if keys.iter().any(|key| key.jwk == jwk) {
                continue;
            }
            let same = known.0.iter().find(|key| key.jwk == jwk).map(Arc::clone);
            keys.extend(same.or_else(|| IssuerKey::new(jwk).map(Arc::new)));
            if keys.len() == MOST_KEYS {
                break;
            }
        }
        Some(Self(keys))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Any of its keys, for tests of others.
    #[cfg(test)]
    pub(super) fn any(&self) -> Arc<IssuerKey> {
        Arc::clone(&self.0[0])
    }

    /// From now on the keys that `next` does not have count no more, nor do the tokens that they signed.
    pub(super) fn retire_for(&self, next: &Self) -> usize {
        let gone = self.0.iter().filter(|key| !next.0.iter().any(|other| Arc::ptr_eq(key, other)));
        gone.inspect(|key| key.retired.store(true, Ordering::Release)).count()
    }

    /// Checks a token's signature with the key that it names; with the only one if it names none.
    pub(super) fn signer_of(&self, token: &CompactToken<'_>) -> Result<Signer, TokenRefusal> {
        let named: Vec<&Arc<IssuerKey>> = match &token.key_id {
            Some(id) => self.0.iter().filter(|key| key.jwk.kid.as_ref() == Some(id)).collect(),
            None if self.0.len() == 1 => self.0.iter().collect(),
            None => return Err(TokenRefusal::UnknownKey),
        };
        if named.is_empty() {
            return Ok(Signer::NotHere);
        }
        // One name may stand for keys of several kinds (RFC 7517, section 4.5).
        let mut fitting = named.into_iter().filter(|key| key.algorithm == token.algorithm).peekable();
        fitting.peek().ok_or(TokenRefusal::Algorithm)?;
        let signer = fitting.find(|key| key.signed(token)).ok_or(TokenRefusal::Signature)?;
        Ok(Signer::Key(Arc::clone(signer)))
    }
}

impl IssuerKey {
    /// Whether the issuer still publishes it.
    pub(super) fn is_current(&self) -> bool {
        !self.retired.load(Ordering::Acquire)
    }

    fn new(jwk: Jwk) -> Option<Self> {
        if !jwk.is_for_signatures() {
            return None;
        }
        let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (Algorithm::Rs256, jwk.rsa_key()?),
            ("EC", Some("P-256")) => (Algorithm::Es256, jwk.p256_key()?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, jwk.ed25519_key()?),
            _ => return None,
        };
        // A key has one algorithm (RFC 8725, section 3.1): the stated one, or the one that follows from its kind.
        if jwk.alg.as_ref().is_some_and(|stated| Algorithm::named(stated) != Some(algorithm)) {
            return None;
        }
        Some(Self { jwk, algorithm, key, retired: AtomicBool::new(false) })
    }

    fn signed(&self, token: &CompactToken<'_>) -> bool {
        self.key.verify_sig(token.signed.as_bytes(), &token.signature).is_ok()
    }
}

/// The members that matter here. Two keys are the same if all of these are.
#[derive(PartialEq, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn is_for_signatures(&self) -> bool {
        self.usage.as_ref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|one| one == "verify"))
    }

    fn rsa_key(&self) -> Option<ParsedPublicKey> {
        let (n, e) = (integer(self.n.as_ref()?)?, integer(self.e.as_ref()?)?);
        let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
        let exponent = e
            .iter()
            .try_fold(0_u64, |value, byte| value.checked_mul(256).map(|value| value | u64::from(*byte)))?;
        if !RSA_BITS.contains(&bits) || !RSA_EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
            return None;
        }
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
    }

    fn p256_key(&self) -> Option<ParsedPublicKey> {
        let (x, y) = (bytes(self.x.as_ref()?)?, bytes(self.y.as_ref()?)?);
        if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
            return None;
        }
        // An uncompressed point (SEC 1, section 2.3.3), which must lie on the curve.
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()
    }

    fn ed25519_key(&self) -> Option<ParsedPublicKey> {
        let key = bytes(self.x.as_ref()?).filter(|key| key.len() == ED25519_KEY_BYTES)?;
        ParsedPublicKey::new(&ED25519, &key).ok()
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// A positive number; some issuers put zero bytes before it, which AWS-LC refuses.
fn integer(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes.get(first..)?.to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An odd number of so many bits; nothing is checked with it.
    fn modulus(bits: usize) -> String {
        let mut number = vec![0xff; bits / 8];
        number[0] >>= (8 - bits % 8) % 8;
        BASE64URL_NOPAD.encode(&number)
    }

    fn rsa(change: impl FnOnce(&mut Value)) -> Value {
        let mut key =
            json!({"kty": "RSA", "kid": "a", "alg": "RS256", "use": "sig", "n": modulus(2048), "e": "AQAB"});
        change(&mut key);
        key
    }

    /// The key of RFC 7515, appendix A.3, and that of RFC 8037, appendix A.2.
    fn others() -> [Value; 2] {
        [
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        ]
    }

    fn read(keys: &[Value]) -> Option<KeySet> {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), &KeySet::default())
    }

    fn is_usable(key: Value) -> bool {
        read(&[key]).unwrap().len() == 1
    }

    #[test]
    fn takes_keys_for_signatures_of_enough_strength() {
        assert!(is_usable(rsa(|_| ())));
        assert!(is_usable(rsa(|key| key["use"] = Value::Null)));
        assert!(is_usable(rsa(|key| key["alg"] = Value::Null)));
        assert!(is_usable(rsa(|key| key["kid"] = Value::Null)));
        assert!(is_usable(rsa(|key| key["key_ops"] = json!(["verify"]))));
        assert!(is_usable(rsa(|key| key["x5c"] = json!(["a certificate"]))));
        assert!(is_usable(rsa(|key| key["n"] = json!(modulus(8192)))));
        for key in others() {
            assert!(is_usable(key.clone()), "{key}");
        }
    }

    #[test]
    fn leaves_other_keys_out() {
        let spoilt: [(&str, Value); 18] = [
            ("use", json!("enc")),
            ("use", json!("")),
            ("use", json!(7)),
            ("key_ops", json!(["encrypt"])),
            ("alg", json!("RS512")),
            ("alg", json!("PS256")),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("HS256")),
            ("kty", json!("oct")),
            ("kty", json!("EC")),
            ("n", json!("not base64url!")),
            ("n", json!(modulus(1024))),
            ("e", Value::Null),
            ("e", json!("")),
            ("e", json!("AQ")),
            ("e", json!("AQAA")),
            ("e", json!("AAAB")),
            ("e", json!("AQAAAAAAAAAB")),
        ];
        for (member, value) in spoilt {
            assert!(!is_usable(rsa(|key| key[member] = value.clone())), "{member}: {value}");
        }
        // A leading zero does not make a short key long.
        let padded = [&[0; 128][..], &[0xff; 128]].concat();
        assert!(!is_usable(rsa(|key| key["n"] = json!(BASE64URL_NOPAD.encode(&padded)))));
        assert!(!is_usable(rsa(|key| key["n"] = json!(modulus(2047)))));
        assert!(!is_usable(rsa(|key| key["n"] = json!(modulus(8200)))));
        assert!(!is_usable(json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})));
        for mut key in others() {
            key["x"] = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcH");
            assert!(!is_usable(key.clone()), "{key}");
        }
        let [mut not_on_the_curve, mut another_curve] = others();
        not_on_the_curve["y"] = not_on_the_curve["x"].clone();
        another_curve["crv"] = json!("X25519");
        assert!(!is_usable(not_on_the_curve));
        assert!(!is_usable(another_curve));
        assert!(!is_usable(json!("a text")));
        // One bad key does not spoil the others.
        assert_eq!(read(&[json!(null), rsa(|_| ()), json!({"kty": 7})]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_key_set_is_none() {
        for nonsense in
            ["", "<html>", "[]", "{}", "null", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"keys":[]"#]
        {
            assert!(KeySet::read(nonsense.as_bytes(), &KeySet::default()).is_none(), "{nonsense}");
        }
        assert!(read(&[]).unwrap().is_empty());
        assert_eq!(read(&[rsa(|_| ()), rsa(|_| ())]).unwrap().len(), 1, "the same key twice");
    }

    #[test]
    fn a_key_that_stays_is_the_same_one_and_a_changed_one_is_not() {
        let body = |keys: &[Value]| json!({ "keys": keys }).to_string();
        let before = read(&[rsa(|_| ()), others()[0].clone()]).unwrap();
        let changed = rsa(|key| key["n"] = json!(modulus(3072)));
        let after = KeySet::read(body(&[changed, others()[0].clone()]).as_bytes(), &before).unwrap();
        assert_eq!(before.retire_for(&after), 1);
        assert_eq!(before.0.iter().map(|key| key.is_current()).collect::<Vec<_>>(), [false, true]);
        assert!(after.0.iter().all(|key| key.is_current()));
    }
}

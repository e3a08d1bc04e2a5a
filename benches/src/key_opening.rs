//! Opening a user's key in the library, from the sealed form to a key that can be used.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Keyfold, Parts};

use crate::report::{ROUNDS, heading, line, median, nanoseconds};

const CALLS: u32 = 20_000;

pub(crate) async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::from_iter([
        ("DEBUG", "true"),
        // Nothing listens there: the key is saved without being checked.
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", keyfold_standin::refused_port().as_str()),
    ]);
    let sources = Sources::load(environment, folder.path()).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    let keyfold = Keyfold::open_with_keys_in_database(&settings, Parts::default()).await.unwrap();
    let gemini = keyfold.provider("gemini").unwrap();
    // 64 bytes, as the floor opens.
    let key = ApiKey::parse(&format!("AQ.{}", "7e57da7a".repeat(8))[..64]).unwrap();
    keyfold.user_api_keys("ann").await.unwrap().save(&gemini, key).await.unwrap();
    let keys = keyfold.user_api_keys("ann").await.unwrap();

    let floor = floor();
    let (mut opened, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(nanoseconds(CALLS, &floor));
        opened.push(nanoseconds(CALLS, || black_box(keys.open_and_drop(&gemini)).unwrap()));
    }
    let floor = median(floors);
    heading(
        "Opening a user's key, its rows in memory (floor: one AES-256-GCM open of 64 bytes, key schedule kept)",
    );
    line("without its record in the audit log", median(opened), floor, "ns", "aim: ratio 3 or less");
    drop(keys);
    keyfold.close().await;
}

fn floor() -> impl Fn() {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let associated_data = b"user_000123|gemini|v1";
    let nonce = || Nonce::assume_unique_for_key([1; 12]);
    let mut sealed = vec![0x41; 64];
    key.seal_in_place_append_tag(nonce(), Aad::from(associated_data), &mut sealed).unwrap();
    move || {
        let mut buffer = [0; 80];
        buffer.copy_from_slice(&sealed);
        black_box(key.open_in_place(nonce(), Aad::from(associated_data), &mut buffer).unwrap());
    }
}

//! A rotation of the master key: every key still opens, with both master keys at any time and with the new one at the
//! end, and the rotation goes on where it was.

use std::time::{Duration, Instant};

use keyfold::Keyfold;
use keyfold::envelope::MasterKey;
use keyfold::secret::ApiKey;
use keyfold::settings::Environment;
use keyfold_standin::example_key;
use rustix::process::Signal;

use crate::harness::{Done, Folder, Production, Start, gemini, new_master_key, runtime};
use crate::random::{Random, SEED, kills};

/// Some batches.
const USERS: u32 = 1_300;
/// Users that are looked at after each kill.
const SOME: u32 = 40;

fn user(number: u32) -> String {
    format!("user_{number:04}")
}

async fn open(production: &Production, primary: &str, other: &str) -> Keyfold {
    let variables = [
        ("DEPLOY_ENV", "render"),
        ("DATABASE_URL", &production.database_url()),
        ("KEYFOLD_MASTER_KEY", primary),
        ("KEYFOLD_OTHER_MASTER_KEYS", other),
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &production.folder.standin.base_url("gemini")),
    ];
    let opened = Keyfold::open_with(Environment::from_iter(variables), &production.folder.root).await;
    opened.unwrap_or_else(|error| panic!("{error} ({})", error.cause()))
}

async fn save_all(keyfold: &Keyfold) {
    let mut at_once = tokio::task::JoinSet::new();
    for number in 0..USERS {
        if at_once.len() >= 4 {
            at_once.join_next().await.unwrap().unwrap();
        }
        let keyfold = keyfold.clone();
        at_once.spawn(async move {
            let keys = keyfold.user_api_keys(&user(number)).await.unwrap();
            let key = ApiKey::parse(&gemini(number)).unwrap();
            keys.save(&keyfold.provider("gemini").unwrap(), key).await.unwrap();
        });
    }
    at_once.join_all().await;
}

async fn all_open(keyfold: &Keyfold, numbers: impl Iterator<Item = u32>, round: u64) {
    for number in numbers {
        let keys = keyfold.user_api_keys(&user(number)).await.unwrap();
        let key = keys.get("gemini").unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(key.expose(), example_key("gemini", number), "round {round}");
    }
}

/// Starts a rotation and kills it somewhere; false if it was through before.
fn kill(start: Start, random: &mut Random, lasted: Duration) -> bool {
    let process = start.spawn();
    random.pass_part_of(lasted);
    process.signal(Signal::KILL);
    process.end().signal() == Some(9)
}

#[test]
fn a_kill_at_any_moment_of_a_rotation_loses_no_key() {
    let production = Production::new();
    let mut old = production.master_key.clone();
    runtime().block_on(async {
        let keyfold = open(&production, &old, "").await;
        save_all(&keyfold).await;
        keyfold.close().await;
    });
    let rotate = |new: &str, old: &str| {
        let start = production.keyfold(&["master-key", "rotate"]);
        start.env("KEYFOLD_MASTER_KEY", new).env("KEYFOLD_OTHER_MASTER_KEYS", old)
    };
    println!("seed {SEED:#x}");
    let (mut random, mut lasted, mut killed) = (Random::of(40), Duration::from_millis(400), 0);
    let rounds = kills() / 4;
    for round in 0..rounds {
        let new = new_master_key();
        killed += u64::from(kill(rotate(&new, &old), &mut random, lasted));
        // Whichever of the two seals.
        let (first, second) = if round % 2 == 0 { (&old, &new) } else { (&new, &old) };
        let some = |random: &mut Random| {
            let from = u32::try_from(random.below(u64::from(USERS))).unwrap();
            (0..SOME).map(move |n| (from + n * (USERS / SOME)) % USERS).collect::<Vec<_>>()
        };
        let looked_at = some(&mut random);
        runtime().block_on(async {
            let keyfold = open(&production, first, second).await;
            all_open(&keyfold, looked_at.into_iter(), round).await;
            let status = keyfold.master_keys().status().await.unwrap();
            let wrapped: u64 = status.keys.iter().map(|key| key.data_keys).sum();
            assert_eq!((wrapped, status.unreadable_data_keys), (USERS.into(), 0), "round {round}");
            keyfold.close().await;
        });
        let begun = Instant::now();
        rotate(&new, &old).run().ok();
        // What a whole one takes, at the most.
        lasted = lasted.max(begun.elapsed());
        let looked_at = if round + 1 == rounds { (0..USERS).collect() } else { some(&mut random) };
        runtime().block_on(async {
            let keyfold = open(&production, &new, "").await;
            all_open(&keyfold, looked_at.into_iter(), round).await;
            keyfold.close().await;
        });
        old = new;
    }
    assert!(killed > 0, "every rotation was through before it was killed");
    println!("{killed} of {rounds} rotations were killed");
    // History still verifies: its key was wrapped anew with the rest.
    production.keyfold(&["audit", "verify"]).env("KEYFOLD_MASTER_KEY", &old).run().ok();
}

#[test]
fn a_kill_at_any_moment_of_a_rotation_in_local_mode_leaves_a_folder_that_starts() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let key_of = |folder: &Folder| {
        let text = folder.read(".keyfold/master.key");
        MasterKey::parse(&text).unwrap().id().to_string()
    };
    let opens = |round: u64| {
        // The version is known only where the sealed key opens.
        let listed = folder.listed("gemini");
        assert_eq!(listed["version"], 1, "round {round}: {listed}");
    };
    let rotate = || folder.keyfold(&["master-key", "rotate"]);
    let (mut random, mut lasted, mut killed) = (Random::of(41), Duration::from_millis(200), 0);
    for round in 0..kills() / 4 {
        let before = key_of(&folder);
        killed += u64::from(kill(rotate(), &mut random, lasted));
        opens(round);
        let begun = Instant::now();
        let done: Done = rotate().run();
        assert!(done.ok().contains("is in place"), "{done:?}");
        lasted = lasted.max(begun.elapsed());
        assert_ne!(key_of(&folder), before);
        let replaced = folder.files().into_iter().filter(|name| name.contains("master.key.replaced-"));
        for file in replaced {
            std::fs::remove_file(folder.path(&file)).unwrap();
        }
        assert!(!folder.path(".keyfold/master.key.next").exists());
        opens(round);
    }
    assert!(killed > 0, "every rotation was through before it was killed");
    folder.keyfold(&["audit", "verify"]).run().ok();
}

//! The other program goes on beside Keyfold, while plain text counts.

use keyfold::Keyfold;
use keyfold_standin::example_key;

use crate::setup::{Old, encrypt, key_of, save};

/// Waits for what comes by itself.
async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.is_ok(),
        "not so: {what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_program_writes_counts_at_once() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        let becomes = async |user: &str, provider: &str, key: &str| {
            soon(key, async || key_of(&keyfold, user, provider).await == key).await;
        };
        old.sql("INSERT INTO api_keys (session_id, provider, key) VALUES (2, 'deepseek', 'test-data-added')")
            .await;
        becomes("bob", "deepseek", "test-data-added").await;
        old.sql("UPDATE api_keys SET key = 'test-data-changed' WHERE id = 6").await;
        becomes("bob", "gemini", "test-data-changed").await;
        old.sql("UPDATE api_keys SET key = 'test-data-entered' WHERE id = 9").await;
        becomes("bob", "exa", "test-data-entered").await;
        old.sql(
            "INSERT INTO onboarding_sessions (id, user_id) VALUES (50, 'dora'); \
             INSERT INTO api_keys (session_id, provider, key) VALUES (50, 'gemini', 'test-data-dora')",
        )
        .await;
        becomes("dora", "gemini", "test-data-dora").await;
        // One that adds a row for each change, over its own row and over a sealed one.
        old.sql("INSERT INTO api_keys (session_id, provider, key) VALUES (50, 'gemini', 'test-data-dora-2')")
            .await;
        becomes("dora", "gemini", "test-data-dora-2").await;
        save(&keyfold, "dora", 1).await.unwrap();
        becomes("dora", "gemini", &example_key("gemini", 1)).await;
        old.sql("INSERT INTO api_keys (session_id, provider, key) VALUES (50, 'gemini', 'test-data-dora-3')")
            .await;
        becomes("dora", "gemini", "test-data-dora-3").await;
        old.sql("DELETE FROM api_keys WHERE session_id = 50").await;
        becomes("dora", "gemini", "no_api_key").await;
        keyfold.close().await;
    }
}

/// What Keyfold has beside a session, as its API leaves it.
async fn use_keyfold_as_dora(old: &Old, keyfold: &Keyfold) {
    old.sql("INSERT INTO onboarding_sessions (id, user_id) VALUES (50, 'dora')").await;
    for number in 1..3 {
        save(keyfold, "dora", number).await.unwrap();
    }
    old.sql(
        "INSERT INTO onboarding_steps (session_id, preset, step_number, status) VALUES (50, 'keyfold', 1, 'completed'); \
         INSERT INTO usage (user_id, day, provider, model, requests, errors, input_tokens, output_tokens, unknown) \
         VALUES ('dora', '2026-01-01', 'gemini', '', 1, 0, 1, 1, 0)",
    )
    .await;
}

const BESIDE_DORA: [&str; 3] = [
    "SELECT COUNT(*) FROM api_key_versions WHERE session_id = 50",
    "SELECT COUNT(*) FROM onboarding_steps WHERE session_id = 50",
    "SELECT COUNT(*) FROM usage WHERE user_id = 'dora'",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_other_program_deletes_a_user_and_what_keyfold_had_goes_along() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        use_keyfold_as_dora(&old, &keyfold).await;
        let audited = "SELECT * FROM audit_events WHERE user_id = 'dora' ORDER BY id";
        let events = old.rows(audited).await;
        // As it did before Keyfold was there.
        old.sql("DELETE FROM api_keys WHERE session_id = 50; DELETE FROM onboarding_sessions WHERE id = 50")
            .await;
        for beside in BESIDE_DORA {
            assert_eq!(old.value(beside).await, "0", "{beside}");
        }
        soon("she is gone", async || key_of(&keyfold, "dora", "gemini").await == "no_api_key").await;
        // What the checks of her keys tell may come later than that.
        assert!(!events.is_empty());
        assert!(old.rows(audited).await.starts_with(&events), "what was done is still told");
        // She comes back as somebody new.
        save(&keyfold, "dora", 3).await.unwrap();
        assert_eq!(key_of(&keyfold, "dora", "gemini").await, example_key("gemini", 3));
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_an_older_keyfold_took_over_lets_sessions_go_as_well() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        use_keyfold_as_dora(&old, &keyfold).await;
        keyfold.close().await;
        // As version 9 left it.
        let kept = old.rows("SELECT * FROM api_key_versions").await;
        let first = if old.is_postgres() {
            include_str!("../../migrations/postgres/0001_beside_keys.sql")
        } else {
            include_str!("../../migrations/sqlite/0001_beside_keys.sql")
        };
        let first = first.split("-- Values of the whole database").next().unwrap();
        old.sql(&format!(
            "CREATE TABLE v AS SELECT * FROM api_key_versions; CREATE TABLE s AS SELECT * FROM onboarding_steps; \
             DROP TABLE api_key_versions; DROP TABLE onboarding_steps; {first} \
             INSERT INTO api_key_versions SELECT * FROM v; INSERT INTO onboarding_steps SELECT * FROM s; \
             DROP TABLE v; DROP TABLE s; DELETE FROM keyfold_schema WHERE version > 9"
        ))
        .await;
        let keyfold = old.open().await;
        assert_eq!(old.rows("SELECT * FROM api_key_versions").await, kept);
        assert_eq!(old.value(BESIDE_DORA[1]).await, "1");
        old.sql("DELETE FROM api_keys WHERE session_id = 50; DELETE FROM onboarding_sessions WHERE id = 50")
            .await;
        for beside in BESIDE_DORA {
            assert_eq!(old.value(beside).await, "0", "{beside}");
        }
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keyfold_saves_is_sealed_and_nothing_else_changes() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        save(&keyfold, "bob", 1).await.unwrap();
        let stored = old.value("SELECT key FROM api_keys WHERE id = 6").await;
        assert!(stored.starts_with("kf1."), "{stored}");
        assert_eq!(
            old.value("SELECT key FROM api_keys WHERE id = 7").await,
            "test-data-bob-of-no-known-provider"
        );
        let kept = old.rows("SELECT key FROM api_key_versions").await;
        assert!(kept.len() == 1 && kept[0][0].starts_with("kf1."), "the one before is kept sealed");
        let keys = keyfold.user_api_keys_read_anew("bob").await.unwrap();
        keys.roll_back(&keyfold.provider("gemini").unwrap()).await.unwrap();
        soon("it is back", async || key_of(&keyfold, "bob", "gemini").await == "test-data-bob-gemini").await;
        assert!(old.value("SELECT key FROM api_keys WHERE id = 6").await.starts_with("kf1."));
        // The other program writes over what was sealed.
        old.sql("UPDATE api_keys SET key = 'test-data-over-it' WHERE id = 6").await;
        soon("it counts", async || key_of(&keyfold, "bob", "gemini").await == "test-data-over-it").await;
        // An empty row is entered here.
        assert_eq!(key_of(&keyfold, "bob", "exa").await, "no_api_key");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_encrypted_plain_text_is_unreadable_whoever_writes_it_and_whatever_mark() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        encrypt(&keyfold).await;
        let plain = "UPDATE api_keys SET key = 'test-data-of-somebody' WHERE id = 6";
        old.sql(plain).await;
        soon("it does not count", async || key_of(&keyfold, "bob", "gemini").await == "key_unreadable").await;
        // A mark that anybody could write, and another secret of the database in its place.
        for mark in ["'pending'", "'kf1.'", "(SELECT sealed FROM root_secrets WHERE name = 'audit_key')"] {
            old.sql(&format!(
                "DELETE FROM root_secrets WHERE name = 'plain_keys'; \
                 INSERT INTO root_secrets (name, sealed) VALUES ('plain_keys', {mark})"
            ))
            .await;
            let again = old.open().await;
            assert_eq!(key_of(&again, "bob", "gemini").await, "key_unreadable", "{mark}");
            let encrypted = encrypt(&again).await;
            assert_eq!((encrypted.counted, encrypted.keys, encrypted.left), (false, 0, 1), "{mark}");
            again.close().await;
        }
        // Without the values that prove the master keys it looks like a first start.
        old.sql(
            "DELETE FROM root_secrets WHERE name LIKE 'master_key_check%' OR name = 'plain_keys'; \
             INSERT INTO root_secrets (name, sealed) VALUES ('plain_keys', 'pending')",
        )
        .await;
        let again = old.open().await;
        assert_eq!(key_of(&again, "bob", "gemini").await, "key_unreadable");
        assert_eq!(old.value("SELECT key FROM api_keys WHERE id = 6").await, "test-data-of-somebody");
        again.close().await;
        keyfold.close().await;
    }
}

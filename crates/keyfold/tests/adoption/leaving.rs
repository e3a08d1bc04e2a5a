//! Leaving for good: what `docs/migration.md` says to run after `migrate decrypt`.

use crate::setup::{Old, decrypt, encrypt, key_of, save};

const GUIDE: &str = include_str!("../../../../docs/migration.md");

/// The statements of the guide for this database.
fn leave(old: &Old) -> &'static str {
    let begins = if old.is_postgres() { "```sql\n-- PostgreSQL\n" } else { "```sql\n-- SQLite\n" };
    GUIDE.split_once(begins).unwrap().1.split_once("```").unwrap().0
}

/// What of Keyfold is there by its name: tables, columns, indexes, functions and triggers.
async fn left_of_keyfold(old: &Old) -> Vec<Vec<String>> {
    old.rows(if old.is_postgres() {
        "SELECT proname::TEXT FROM pg_proc WHERE proname LIKE 'keyfold%' \
         UNION ALL SELECT tgname::TEXT FROM pg_trigger WHERE NOT tgisinternal \
         UNION ALL SELECT relname::TEXT FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         AND (relname LIKE 'keyfold%' OR relname LIKE 'audit%' OR relname LIKE '%next_check')"
    } else {
        "SELECT name FROM sqlite_master WHERE name LIKE 'keyfold%' OR name LIKE 'audit%' OR type = 'trigger' \
         OR name LIKE '%next_check'"
    })
    .await
}

const NAMES_OF_COLUMNS: [&str; 2] = ["onboarding_sessions", "api_keys"];

async fn columns(old: &Old) -> Vec<String> {
    let mut found = vec![];
    for table in NAMES_OF_COLUMNS {
        let select = if old.is_postgres() {
            format!(
                "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}')")
        };
        found.extend(old.rows(&select).await.concat().into_iter().map(|name| format!("{table}.{name}")));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn afterwards_the_tables_are_the_other_programs_again_and_as_often_as_one_likes() {
    for old in Old::both_like_alwrity().await {
        old.sql("DELETE FROM api_keys WHERE id = 14").await;
        let (before, keys, at_first) =
            (old.all_but_keys_at_first().await, old.keys().await, columns(&old).await);
        let in_sessions = old.rows("SELECT id, session_id FROM api_keys ORDER BY id").await;
        for round in 0..2 {
            let keyfold = old.open().await;
            encrypt(&keyfold).await;
            assert_eq!(key_of(&keyfold, "ann", "gemini").await, "test-data-ann-gemini", "round {round}");
            assert_eq!(decrypt(&keyfold).await.left, 0);
            keyfold.close().await;
            old.sql(leave(&old)).await;

            assert_eq!(old.all_but_keys_at_first().await, before, "round {round}");
            assert_eq!(old.keys().await, keys);
            assert_eq!(left_of_keyfold(&old).await, Vec::<Vec<String>>::new());
            let mut left = columns(&old).await;
            left.retain(|column| !at_first.contains(column));
            let times =
                ["onboarding_sessions.completed_at", "api_keys.last_used_at", "api_keys.last_verified_at"];
            assert_eq!(left, times);
        }
        // The newest key of a user who had two sessions was moved to the newest of them.
        let mut moved = old.rows("SELECT id, session_id FROM api_keys ORDER BY id").await;
        moved.retain(|row| !in_sessions.contains(row));
        assert_eq!(moved, [["3", "3"]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn afterwards_the_other_program_adds_changes_and_deletes_as_before() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        save(&keyfold, "bob", 1).await.unwrap();
        save(&keyfold, "bob", 2).await.unwrap();
        old.sql("DELETE FROM api_keys WHERE id = 14").await;
        assert_eq!(decrypt(&keyfold).await.left, 0);
        keyfold.close().await;
        old.sql(leave(&old)).await;
        // A second key and a second session of the same user, too: there was no constraint.
        old.sql(
            "INSERT INTO onboarding_sessions (id, user_id, email) VALUES (70, 'bob', 'bob@example.test'); \
             INSERT INTO api_keys (session_id, provider, key) VALUES (2, 'gemini', 'test-data-added'); \
             INSERT INTO api_keys (session_id, provider, key) VALUES (70, 'gemini', 'test-data-added-too'); \
             UPDATE api_keys SET key = 'test-data-changed' WHERE id = 6; \
             UPDATE onboarding_sessions SET current_step = 3, user_id = 'robert' WHERE id = 70; \
             DELETE FROM key_notes; DELETE FROM research_preferences; DELETE FROM website_analyses; \
             DELETE FROM api_keys WHERE session_id = 2; DELETE FROM onboarding_sessions WHERE id = 2",
        )
        .await;
        let keys = "SELECT key FROM api_keys WHERE session_id IN (2, 70)";
        assert_eq!(old.rows(keys).await, [["test-data-added-too"]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_sealed_keeps_everything_as_it_is() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        encrypt(&keyfold).await;
        let (tables, keys, rows) = (old.tables().await, old.keys().await, old.all_but_keys().await);
        let refused = old.try_sql(leave(&old)).await.unwrap_err();
        let words = if old.is_postgres() { "there are sealed keys" } else { "CHECK" };
        assert!(refused.contains(words), "{refused}");
        assert_eq!((old.tables().await, old.keys().await, old.all_but_keys().await), (tables, keys, rows));
        assert_eq!(key_of(&keyfold, "ann", "gemini").await, "test-data-ann-gemini");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyfold_that_still_runs_then_seals_nothing_any_more() {
    for old in Old::both_like_alwrity().await {
        old.sql("DELETE FROM api_keys WHERE id = 14").await;
        let keyfold = old.open().await;
        let keys = old.keys().await;
        old.sql(leave(&old)).await;
        for user in ["bob", "dora"] {
            assert!(save(&keyfold, user, 1).await.is_err(), "{user}");
        }
        assert_eq!(old.keys().await, keys);
        assert_eq!(left_of_keyfold(&old).await, Vec::<Vec<String>>::new());
        keyfold.close().await;
    }
}

//! What a start makes of such a database, and what it leaves.

use crate::setup::{Old, key_of, save};

#[tokio::test(flavor = "multi_thread")]
async fn an_application_like_alwrity_is_taken_over_without_loss() {
    for old in Old::both_like_alwrity().await {
        let (before, keys) = (old.all_but_keys_at_first().await, old.keys().await);
        let keyfold = old.open().await;
        assert_eq!(old.all_but_keys().await, before, "what is the other program's is as it was");
        assert_eq!(old.keys().await, keys, "no key is touched by a start");

        for (user, provider, key) in [
            ("ann", "gemini", "test-data-ann-gemini"),
            ("ann", "openai", "test-data-ann-openai"),
            ("bob", "gemini", "test-data-bob-gemini"),
            ("carl", "gemini", "test-data-carl-gemini"),
            ("user_ü", "anthropic", "test-data-u-anthropic"),
            // An empty key is none, and what looks sealed is no plain text.
            ("bob", "exa", "no_api_key"),
            ("bob", "mistral", "key_unreadable"),
            ("dora", "gemini", "no_api_key"),
        ] {
            assert_eq!(key_of(&keyfold, user, provider).await, key, "{user} {provider}");
        }
        let plain_text = keyfold.migration().plain_text().await.unwrap();
        // All but the one that looks sealed.
        assert_eq!((plain_text.counts, plain_text.keys, plain_text.set_aside), (true, 14, 3));
        keyfold.close().await;

        let again = old.open().await;
        assert_eq!(key_of(&again, "ann", "gemini").await, "test-data-ann-gemini");
        assert_eq!(old.all_but_keys().await, before);
        again.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rows_the_newest_counts_and_the_others_stay_where_they_are() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        let sessions = old
            .rows("SELECT id, user_id FROM onboarding_sessions WHERE user_id = 'ann' OR duplicate_of = 'ann' ORDER BY id")
            .await;
        assert_eq!(sessions, [["1", "\u{1}duplicate 1"], ["3", "ann"]]);
        let aside = old
            .rows("SELECT id, duplicate_of FROM api_keys WHERE duplicate_of IS NOT NULL ORDER BY id")
            .await;
        assert_eq!(aside, [["1", "gemini"], ["2", "gemini"], ["4", "openai"]]);
        assert_eq!(old.value("SELECT session_id FROM api_keys WHERE id = 3").await, "3");
        assert_eq!(old.value("SELECT session_id FROM api_keys WHERE id = 1").await, "1");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_made_later_is_newer_than_one_that_was_changed_earlier() {
    for old in Old::both_like_alwrity().await {
        old.sql(
            "INSERT INTO onboarding_sessions (id, user_id, started_at, updated_at) VALUES \
             (50, 'dora', '2024-01-01 10:00:00', '2025-06-01 10:00:00'), (51, 'dora', '2026-01-01 10:00:00', NULL), \
             (52, 'dora', NULL, '2025-07-01 10:00:00'); \
             INSERT INTO api_keys (id, session_id, provider, key, created_at, updated_at) VALUES \
             (30, 51, 'gemini', 'test-data-dora', '2026-01-01 10:00:00', NULL), \
             (31, 51, 'gemini', 'test-data-dora-older', '2024-01-01 10:00:00', '2025-06-01 10:00:00'), \
             (32, 50, 'gemini', 'test-data-dora-oldest', NULL, '2025-01-01 10:00:00'), \
             (33, 52, 'openai', 'test-data-dora-openai-older', '2025-01-01 10:00:00', '2025-01-01 10:00:00'), \
             (34, 50, 'openai', 'test-data-dora-openai', '2025-08-01 10:00:00', '2024-01-01 10:00:00')",
        )
        .await;
        let keyfold = old.open().await;
        assert_eq!(old.value("SELECT id FROM onboarding_sessions WHERE user_id = 'dora'").await, "51");
        assert_eq!(key_of(&keyfold, "dora", "gemini").await, "test-data-dora");
        assert_eq!(key_of(&keyfold, "dora", "openai").await, "test-data-dora-openai");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_narrow_is_widened_and_new_users_fit_in() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        let long = "ü".repeat(255);
        save(&keyfold, &long, 1).await.unwrap();
        assert_eq!(key_of(&keyfold, &long, "gemini").await, keyfold_standin::example_key("gemini", 1));
        save(&keyfold, "bob", 2).await.unwrap();
        assert_eq!(key_of(&keyfold, "bob", "gemini").await, keyfold_standin::example_key("gemini", 2));
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_starts_at_once_take_over_once() {
    for old in Old::both_like_alwrity().await {
        let before = old.all_but_keys_at_first().await;
        let opened = futures_util::future::try_join_all((0..4).map(|_| old.try_open())).await.unwrap();
        for keyfold in &opened {
            assert_eq!(key_of(keyfold, "ann", "gemini").await, "test-data-ann-gemini");
        }
        assert_eq!(old.all_but_keys().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_ids_padded_texts_and_times_with_a_zone_are_taken_over() {
    let old = Old::postgres().await;
    old.sql(
        "CREATE TABLE onboarding_sessions (id BIGSERIAL PRIMARY KEY, user_id CHAR(40), started_at TIMESTAMPTZ, updated_at TIMESTAMPTZ); \
         CREATE TABLE api_keys (id BIGSERIAL PRIMARY KEY, session_id BIGINT REFERENCES onboarding_sessions, \
         provider CHAR(20) NOT NULL, key VARCHAR(100) NOT NULL, created_at TIMESTAMPTZ DEFAULT now()); \
         INSERT INTO onboarding_sessions (id, user_id) VALUES (5000000000, 'ann'); \
         SELECT setval('onboarding_sessions_id_seq', 6000000000); \
         INSERT INTO api_keys (session_id, provider, key) VALUES (5000000000, 'gemini', 'test-data-ann')",
    )
    .await;
    let keyfold = old.open().await;
    assert_eq!(key_of(&keyfold, "ann", "gemini").await, "test-data-ann");
    // A replaced key refers to the session too.
    for number in 1..3 {
        save(&keyfold, "ann", number).await.unwrap();
        save(&keyfold, "bob", number).await.unwrap();
    }
    assert_eq!(key_of(&keyfold, "ann", "gemini").await, keyfold_standin::example_key("gemini", 2));
    assert_eq!(old.value("SELECT COUNT(*) FROM api_key_versions WHERE key LIKE 'kf1.%'").await, "2");
    keyfold.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_goes_leaves_what_the_other_program_refers_to_and_nothing_else() {
    for old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        let (others, sessions) =
            ("SELECT COUNT(*) FROM website_analyses", "SELECT COUNT(*) FROM onboarding_sessions");
        let before = (old.value(others).await, old.value(sessions).await);
        // One note refers to a key; that is the other program's to let go first.
        old.sql("DELETE FROM key_notes").await;
        let ann = keyfold::user::UserId::parse("ann").unwrap();
        keyfold.users().delete(&ann).await.unwrap();
        assert_eq!((old.value(others).await, old.value(sessions).await), before);
        let left = "SELECT COUNT(*) FROM onboarding_sessions WHERE user_id = 'ann' OR duplicate_of = 'ann'";
        assert_eq!(old.value(left).await, "0");
        assert!(!old.keys().await.concat().concat().contains("ann"), "no key of hers is left");
        assert_eq!(key_of(&keyfold, "bob", "gemini").await, "test-data-bob-gemini");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_of_a_database_that_was_taken_over_is_rotated() {
    for mut old in Old::both_like_alwrity().await {
        let keyfold = old.open().await;
        save(&keyfold, "bob", 1).await.unwrap();
        keyfold.close().await;
        let (first, second) = (old.master_key.clone(), crate::setup::new_key());
        old.master_key = second;
        let keyfold = old.open_with_other(&first).await;
        let rotation = keyfold.master_keys().rotate(&crate::setup::operator(), &mut |_| ()).await.unwrap();
        assert_eq!((rotation.data_keys, rotation.left, rotation.goes_on), (1, 0, false));
        keyfold.close().await;
        let keyfold = old.open().await;
        assert_eq!(key_of(&keyfold, "ann", "gemini").await, "test-data-ann-gemini", "the mark still stands");
        keyfold.close().await;
    }
}

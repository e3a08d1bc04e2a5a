//! What cannot be taken over is refused with words, and stays as it is.

use crate::setup::Old;

const SESSIONS: &str = "CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64));";
const KEYS: &str =
    "CREATE TABLE api_keys (id ID, session_id INTEGER, provider VARCHAR(20), key VARCHAR(256));";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_over_is_refused_with_words_and_stays_as_it_is() {
    let cases = [
        (
            format!("{SESSIONS} CREATE TABLE api_keys (id ID, session_id INTEGER, name TEXT);"),
            &["no column provider", "no column key"][..],
        ),
        ("CREATE TABLE api_keys (id ID, provider VARCHAR(20), key TEXT);".to_owned(), &["`api_keys`"]),
        (
            format!("CREATE TABLE onboarding_sessions (id ID, user_id INTEGER); {KEYS}"),
            &["onboarding_sessions.user_id", "`sub`"],
        ),
        (
            format!(
                "CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64), email VARCHAR(99) NOT NULL); {KEYS}"
            ),
            &["onboarding_sessions.email must have a value"],
        ),
        (
            format!(
                "{SESSIONS} CREATE TABLE api_keys (id ID, session_id INTEGER, provider TEXT, key TEXT, status VARCHAR(9));"
            ),
            &["a column status"],
        ),
        (
            format!(
                "{SESSIONS} {KEYS} CREATE TABLE onboarding_steps (id ID, title TEXT); CREATE TABLE usage (id ID, x TEXT);"
            ),
            &["a table onboarding_steps", "a table usage"],
        ),
        // What shows only when it is tried.
        (
            format!(
                "{SESSIONS} CREATE TABLE api_keys (id ID, session_id INTEGER, provider TEXT, key TEXT CHECK (length(key) < 300));"
            ),
            &["do not fit", "constraint"],
        ),
        (
            format!(
                "{SESSIONS} CREATE TABLE api_keys (id ID, session_id INTEGER, provider TEXT UNIQUE, key TEXT);"
            ),
            &["do not fit"],
        ),
    ];
    for (tables, words) in cases {
        for old in Old::both().await {
            old.sql(&tables).await;
            old.sql(if tables.contains("user_id") {
                "INSERT INTO onboarding_sessions (id, user_id) SELECT 1, NULL WHERE 1 = 0"
            } else {
                "SELECT 1"
            })
            .await;
            let before = old.tables().await;
            let refused = old.try_open().await.err().unwrap_or_else(|| panic!("it starts: {tables}"));
            assert_eq!(refused.code(), "cannot_start", "{refused}");
            for word in words {
                assert!(refused.to_string().contains(word), "{word:?} is missing in: {refused}");
            }
            assert_eq!(old.tables().await, before, "nothing was changed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_takes_two_users_for_one_is_refused() {
    let [sqlite, postgres] = Old::both().await;
    sqlite
        .sql(&format!("CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64) COLLATE NOCASE); {KEYS}"))
        .await;
    postgres
        .sql(&format!(
            "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64) COLLATE no_case); {KEYS}"
        ))
        .await;
    for old in [sqlite, postgres] {
        let refused = old.try_open().await.err().unwrap();
        assert!(refused.to_string().contains("one user could be taken for another"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_keyfold_is_refused() {
    for old in Old::both_like_alwrity().await {
        old.open().await.close().await;
        old.sql("INSERT INTO keyfold_schema (version, name) VALUES (999, 'later')").await;
        let (keys, tables) = (old.keys().await, old.tables().await);
        let refused = old.try_open().await.err().unwrap();
        assert!(refused.to_string().contains("schema version 999"), "{refused}");
        assert_eq!((old.keys().await, old.tables().await), (keys, tables));
    }
}

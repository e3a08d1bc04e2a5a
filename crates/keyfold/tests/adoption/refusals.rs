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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_from_a_column_that_has_to_be_widened_is_named() {
    let made = [
        ("CREATE VIEW names AS SELECT user_id FROM onboarding_sessions", "view names", "DROP VIEW names"),
        (
            "CREATE RULE keep AS ON UPDATE TO api_keys WHERE NEW.provider <> OLD.provider DO INSTEAD NOTHING",
            "rule keep on table api_keys",
            "DROP RULE keep ON api_keys",
        ),
        (
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER note BEFORE UPDATE OF key ON api_keys FOR EACH ROW EXECUTE FUNCTION note()",
            "trigger note on table api_keys",
            "DROP TRIGGER note ON api_keys",
        ),
        (
            "ALTER TABLE api_keys ADD COLUMN short VARCHAR(256) GENERATED ALWAYS AS (upper(provider)) STORED",
            "api_keys",
            "ALTER TABLE api_keys DROP COLUMN short",
        ),
    ];
    for (make, words, drop) in made {
        let old = Old::postgres().await;
        old.sql(&format!("{SESSIONS} {KEYS} {make}")).await;
        let before = old.tables().await;
        let refused = old.try_open().await.err().unwrap_or_else(|| panic!("it starts: {make}"));
        assert!(refused.to_string().contains("has to be widened"), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(old.tables().await, before);
        // It said what to do.
        old.sql(drop).await;
        old.open().await.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_from_a_column_that_is_wide_enough_may_stay() {
    let old = Old::postgres().await;
    old.sql(
        "CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(255)); \
         CREATE TABLE api_keys (id ID, session_id INTEGER, provider VARCHAR(50), key TEXT); \
         CREATE VIEW names AS SELECT user_id, provider, key FROM onboarding_sessions s JOIN api_keys k ON k.session_id = s.id",
    )
    .await;
    old.open().await.close().await;
}

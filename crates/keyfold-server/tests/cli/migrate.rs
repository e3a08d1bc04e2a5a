//! `keyfold migrate encrypt` and `decrypt`.

use crate::harness::{Folder, Production, gemini};

const OLD: &str = "CREATE TABLE onboarding_sessions (id SERIAL PRIMARY KEY, user_id VARCHAR(64), updated_at TIMESTAMP);
    CREATE TABLE api_keys (id SERIAL PRIMARY KEY, session_id INTEGER REFERENCES onboarding_sessions(id),
        provider VARCHAR(20) NOT NULL, key VARCHAR(256) NOT NULL, updated_at TIMESTAMP);
    INSERT INTO onboarding_sessions (user_id) VALUES ('ann'), ('bob');
    INSERT INTO api_keys (session_id, provider, key, updated_at) VALUES
        (1, 'gemini', 'test-data-of-ann-older', '2025-01-01'), (1, 'gemini', 'test-data-of-ann', '2025-02-01'),
        (2, 'acme', 'test-data-of-bob', NULL)";

/// Production on another program's database.
fn old() -> Production {
    let production = Production::new();
    production.sql(OLD);
    production
}

#[test]
fn every_key_is_encrypted_and_those_that_do_not_count_are_listed_without_the_key() {
    let production = old();
    let done = production.keyfold(&["migrate", "encrypt"]).run();
    for words in [
        "3 keys",
        "1 key does not count, because a newer one of the same user and provider does. It stays",
        "row 1 of api_keys",
        "\"gemini\"",
        "\"ann\"",
        "VACUUM FULL api_keys",
        "backups",
    ] {
        assert!(done.ok().contains(words), "{words:?} is missing in: {}", done.out);
    }
    done.does_not_tell("test-data");
    assert!(production.column("SELECT key FROM api_keys").iter().all(|key| key.starts_with("kf1.")));
    assert_eq!(production.listed("ann", "gemini")["masked"], "****-ann");
    let again = production.keyfold(&["migrate", "encrypt"]).run();
    assert!(again.ok().contains("nothing to do"), "{again:?}");
    // What is written there afterwards nobody knows who wrote.
    production.sql("UPDATE api_keys SET key = 'test-data-of-somebody' WHERE id = 2");
    let refused = production.keyfold(&["migrate", "encrypt"]).run();
    refused.refused_with(&["plain text does not count", "1 key"]);
    refused.does_not_tell("test-data");
    assert_eq!(production.listed("ann", "gemini")["status"], "unreadable");
}

#[test]
fn leaving_needs_to_be_meant() {
    let production = old();
    production.keyfold(&["migrate", "encrypt"]).run().ok();
    let sealed = production.column("SELECT key FROM api_keys ORDER BY id");
    let asked = production.keyfold(&["migrate", "decrypt"]).run();
    for words in ["--yes-i-mean-it", "plain text", "backup"] {
        assert!(asked.wrong_usage().contains(words), "{words:?} is missing in: {}", asked.err);
    }
    assert_eq!(production.column("SELECT key FROM api_keys ORDER BY id"), sealed);

    production.sql("UPDATE api_keys SET session_id = 2 WHERE id = 2");
    let refused = production.keyfold(&["migrate", "decrypt", "--yes-i-mean-it"]).run();
    refused.refused_with(&["nothing was changed"]);
    assert!(refused.out.contains("row 2 of api_keys"), "{refused:?}");
    assert_eq!(production.column("SELECT key FROM api_keys ORDER BY id"), sealed);
    production.sql("UPDATE api_keys SET session_id = 1 WHERE id = 2");
    let done = production.keyfold(&["migrate", "decrypt", "--yes-i-mean-it"]).run();
    assert!(done.ok().contains("3 keys"), "{done:?}");
    done.does_not_tell("test-data");
    let keys = production.column("SELECT key FROM api_keys ORDER BY id");
    assert_eq!(keys, ["test-data-of-ann-older", "test-data-of-ann", "test-data-of-bob"]);
    let tail = production.keyfold(&["audit", "export"]).run();
    for action in ["key.encrypted", "keys.encrypted", "key.decrypted", "keys.decrypted"] {
        assert!(tail.ok().contains(action), "{action}");
    }
    tail.does_not_tell("test-data");
}

#[test]
fn the_doctor_says_what_lies_there_as_plain_text_and_what_to_do() {
    let production = old();
    let doctor = || production.keyfold(&["doctor"]).run();
    // It looks, and leaves the tables to the next start.
    assert!(doctor().out.contains("another program's keys lie there as plain text"), "{:?}", doctor());
    assert_eq!(
        production.column("SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public'").len(),
        2
    );
    production.keyfold(&["users", "list"]).run().ok();
    let told = doctor();
    assert!(
        told.out.contains(
            "plain text, and count, for another program's sake: 3 (set aside, because newer ones count: 1)"
        ),
        "{told:?}"
    );
    assert!(told.out.contains("keyfold migrate encrypt"), "{told:?}");
    production.keyfold(&["migrate", "encrypt"]).run().ok();
    assert!(!doctor().out.contains("plain text"), "{:?}", doctor());
    production.sql("UPDATE api_keys SET key = 'test-data-of-somebody' WHERE id = 2");
    let told = doctor();
    assert!(told.out.contains("plain text, which does not count there: 1;"), "{told:?}");
    told.does_not_tell("test-data");
}

#[test]
fn a_database_that_cannot_be_taken_over_is_refused_with_all_reasons() {
    let production = Production::new();
    production.sql(&OLD.replace(
        "updated_at TIMESTAMP);",
        "status TEXT, updated_at TIMESTAMP, email TEXT NOT NULL DEFAULT '');",
    ));
    production.sql("ALTER TABLE api_keys ALTER COLUMN email DROP DEFAULT");
    let refused = production.keyfold(&["migrate", "encrypt"]).run();
    refused.refused_with(&["a column status", "api_keys.email", "Nothing was changed"]);
    assert!(production.keyfold(&["doctor"]).run().out.contains("api_keys.email"));
}

#[test]
fn tables_of_another_owner_and_views_on_them_are_told_before_a_start_fails() {
    let production = old();
    let role = format!("role_of_{}", production.database);
    production.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}; \
         GRANT ALL ON onboarding_sessions, api_keys TO {role}; CREATE VIEW names AS SELECT user_id FROM onboarding_sessions"
    ));
    let url = production.database_url().replace("keyfold@", &format!("{role}@"));
    let doctor = || production.keyfold(&["doctor"]).env("DATABASE_URL", &url).run();
    let grant = format!("GRANT keyfold TO {role}");
    let words = ["api_keys belongs to keyfold", &grant, "user_id has to be widened", "view names"];
    let told = doctor();
    for word in words {
        assert!(told.out.contains(word), "{word:?} is missing in: {}", told.out);
    }
    // It told the truth, and so does the start.
    production.keyfold(&["users", "list"]).env("DATABASE_URL", &url).run().refused_with(&words);
    production.sql(&format!("{grant}; DROP VIEW names"));
    assert!(!doctor().out.contains("belongs to"), "{:?}", doctor());
    production.keyfold(&["users", "list"]).env("DATABASE_URL", &url).run().ok();
    production.sql(&format!("REASSIGN OWNED BY {role} TO keyfold; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn local_modes_database_is_encrypted_and_left_in_the_same_way() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let done = folder.keyfold(&["migrate", "encrypt"]).run();
    assert!(done.ok().contains("nothing to do"), "{done:?}");
    assert!(folder.keyfold(&["migrate", "decrypt", "--yes-i-mean-it"]).run().ok().contains("1 key"));
    let done = folder.keyfold(&["migrate", "encrypt"]).run();
    assert!(done.ok().contains("1 key") && done.out.contains("VACUUM"), "{done:?}");
    assert_eq!(folder.listed("gemini")["version"], 1);
}

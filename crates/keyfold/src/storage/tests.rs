//! One suite for every database: each test takes an empty one, and a module per driver runs them all.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::deletions::{Removed, Tombstone};
use super::keys::{self, KeyRow, KeyVersion, LastUse};
use super::steps::{self, StepRow};
use super::usage::{Added, UsageFigures, UsageRow};
use super::{
    Connection, Database, Kind, Statement, StorageError, Value, audit, deletions, master_keys, plain_keys,
    rechecks, root_secrets, service_tokens, sessions, statement, usage, users,
};
use crate::provider::ProviderId;
use crate::user::UserId;

mod suite {
    use super::*;

    pub(super) async fn every_statement_is_understood(database: Database) {
        for Statement { sql, parameters } in [
            &sessions::ALL[..],
            &users::ALL,
            &keys::ALL,
            &steps::ALL,
            &root_secrets::ALL,
            &plain_keys::ALL,
            &master_keys::ALL,
            &[*master_keys::rewrap_statement()],
            &service_tokens::ALL,
            &rechecks::ALL,
            &deletions::ALL,
            &usage::ALL,
            usage::adding(),
            keys::setting_used(),
            &audit::ALL,
            &audit::READING,
        ]
        .concat()
        {
            let used = (1..10_000).take_while(|n| sql.contains(&format!("${n}"))).count();
            assert_eq!(parameters.len(), used, "{sql}");
            let explain: &'static str = Box::leak(format!("EXPLAIN {sql}").into_boxed_str());
            let explained = database.query(&statement(explain, parameters), vec![Value::Null; used]).await;
            assert!(explained.is_ok(), "{sql}: {explained:?}");
        }
    }

    pub(super) async fn rows_of_the_log_are_added_in_order_with_their_head_or_not_at_all(database: Database) {
        let head = |last_seq| audit::Writer {
            id: 7,
            first_seq: 1,
            first_previous: "before".into(),
            first_signature: "first".into(),
            last_seq,
            last_hash: format!("hash {last_seq}"),
            last_at: at(last_seq),
            spooled: 3 * last_seq,
            last_signature: "last".into(),
        };
        let rows_after = |last_seq, count| {
            let mut rows = audit::NewRows::after(7, last_seq, 1);
            for seq in last_seq + 1..=last_seq + count {
                rows.push(&told(seq), &format!("content {seq}"), &format!("hash {seq}"));
            }
            rows
        };
        audit::make_partitions(&database, at(0)).await.unwrap();
        audit::insert_writer(&database, &head(0)).await.unwrap();
        audit::append(&database, rows_after(0, 300), &head(300)).await.unwrap();
        let transaction = database.begin().await.unwrap();
        let ids = audit::append_in(&transaction, rows_after(300, 2), &head(302)).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(audit::writer(&database, 7).await.unwrap(), Some(head(302)));
        // Somebody else was there before, by a statement or in a transaction.
        let late = audit::append(&database, rows_after(300, 5), &head(305)).await;
        assert!(matches!(late, Err(StorageError::Conflict)), "{late:?}");
        let late = audit::append(&database, rows_after(300, 100), &head(400)).await;
        assert!(matches!(late, Err(StorageError::Conflict)), "{late:?}");
        let transaction = database.begin().await.unwrap();
        let late = audit::append_in(&transaction, rows_after(301, 5), &head(306)).await;
        assert!(matches!(late, Err(StorageError::Conflict)), "{late:?}");
        drop(transaction);

        let found = audit::chains(&database, (i64::MIN, i64::MIN), 1000).await.unwrap();
        let found: Vec<_> = found.iter().map(|row| audit::read_row(row).unwrap()).collect();
        assert_eq!(found.len(), 302);
        assert!(found.is_sorted_by(|one, next| one.id < next.id), "ids ascend with seq");
        assert_eq!([found[300].id, found[301].id], *ids);
        for (row, seq) in found.iter().zip(1..) {
            assert_eq!((row.writer, row.seq, row.told()), (7, seq, told(seq)));
            let hashes = (format!("content {seq}"), format!("hash {seq}"), None);
            assert_eq!((row.content_hash.clone(), row.hash.clone(), row.erased.clone()), hashes);
        }
        let given = rows_after(300, 2).with_ids(&ids).unwrap();
        assert_eq!(given, found[300..]);
    }

    pub(super) async fn a_users_rows_of_the_log_are_selected_by_every_word_and_found_by_the_user(
        database: Database,
    ) {
        let head = |last_seq| audit::Writer {
            id: 1,
            first_seq: 1,
            first_previous: String::new(),
            first_signature: String::new(),
            last_seq,
            last_hash: String::new(),
            last_at: at(0),
            spooled: 0,
            last_signature: String::new(),
        };
        let events = [
            ("ann", "key.saved", Some("gemini"), "ok"),
            ("ann", "key.checked", Some("exa"), "rejected"),
            ("bob", "key.saved", Some("gemini"), "ok"),
            ("ann", "user.deleted", None, "ok"),
            ("ann", "key.saved", Some("exa"), "ok"),
            ("ann", "keyfold.started", None, "ok"),
        ];
        let mut rows = audit::NewRows::after(1, 0, 1);
        for (number, (user, action, provider, outcome)) in (1..).zip(events) {
            let told = audit::Told { user: Some(user), action, provider, outcome, ..told(1) };
            rows.push(&audit::Told { at: at(number), ..told }, "", "");
        }
        audit::make_partitions(&database, at(0)).await.unwrap();
        audit::insert_writer(&database, &head(0)).await.unwrap();
        audit::append(&database, rows, &head(6)).await.unwrap();

        let all = audit::Wanted::default();
        let of = async |wanted, place, limit| {
            let found = audit::of_user(&database, &user("ann"), wanted, place, limit).await.unwrap();
            found.iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        let newest = (Timestamp::MAX, i64::MAX);
        for (wanted, expected) in [
            (all, vec![6, 5, 4, 2, 1]),
            (audit::Wanted { provider: Some("exa"), ..all }, vec![5, 2]),
            (audit::Wanted { action: Some("key.saved"), ..all }, vec![5, 1]),
            (audit::Wanted { action: Some("key."), ..all }, vec![]),
            (audit::Wanted { group: Some("key."), ..all }, vec![5, 2, 1]),
            (audit::Wanted { group: Some("k_y."), ..all }, vec![]),
            (audit::Wanted { outcome: Some("ok"), ..all }, vec![6, 5, 4, 1]),
            (
                audit::Wanted {
                    provider: Some("exa"),
                    group: Some("key."),
                    outcome: Some("ok"),
                    action: None,
                },
                vec![5],
            ),
            (audit::Wanted { provider: Some("openai"), ..all }, vec![]),
        ] {
            assert_eq!(of(wanted, newest, 10).await, expected, "{wanted:?}");
        }
        // Page by page.
        let keys = audit::Wanted { group: Some("key."), ..all };
        assert_eq!(of(keys, newest, 1).await, [5]);
        assert_eq!(of(keys, (at(5), 0), 1).await, [2]);
        assert_eq!(of(keys, (at(2), 0), 10).await, [1]);

        let plan = match &database {
            Database::Sqlite(_) => format!("EXPLAIN QUERY PLAN {}", audit::OF_USER_SELECTED.sql),
            Database::Postgres(_) => return,
        };
        let plan = statement(plan.leak(), audit::OF_USER_SELECTED.parameters);
        let plan = format!("{:?}", database.query(&plan, vec![Value::Null; 8]).await.unwrap());
        assert!(plan.contains("USING INDEX audit_events_user") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    /// Every other row has as little as a row may have.
    fn told(seq: i64) -> audit::Told<'static> {
        let text = (seq % 2 == 0).then_some("\u{e9}, {NULL} \"\\ \n");
        let number = text.map(|_| i64::MIN + seq);
        audit::Told {
            at: at(seq),
            user: text,
            actor: "",
            action: "key.opened",
            provider: text,
            outcome: "ok",
            request_id: text,
            key_version: number,
            fingerprint: text,
            call_id: text,
            purpose: text.map(|_| ""),
            provider_status: number,
            duration_ms: number,
            address: text,
            note: text,
        }
    }

    pub(super) async fn the_operators_queries_work_as_documented(database: Database) {
        const JOINED: Statement = statement(
            "SELECT user_id, provider, key FROM api_keys JOIN onboarding_sessions ON api_keys.session_id = onboarding_sessions.id",
            &[],
        );
        const OF_USER: Statement = statement(
            "SELECT * FROM api_keys WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'user_xxx')",
            &[],
        );
        let ann = user("user_xxx");
        session(&database, &ann).await;
        keys::insert(&database, &ann, &row("gemini", 1)).await.unwrap();
        let joined = database.query(&JOINED, vec![]).await.unwrap();
        let shown: Vec<&str> = (0..3).map(|column| joined[0].text(column).unwrap()).collect();
        assert_eq!(shown, ["user_xxx", "gemini", "sealed-1"]);
        assert_eq!(database.query(&OF_USER, vec![]).await.unwrap().len(), 1);
    }

    pub(super) async fn a_session_is_made_once_and_keeps_its_data_key(database: Database) {
        let ann = user("ann");
        assert_eq!(sessions::find(&database, &ann).await.unwrap(), None);
        let first = insert_or_find(&database, &ann, "wrapped-a", at(0)).await.unwrap();
        let second = insert_or_find(&database, &ann, "wrapped-b", at(9)).await.unwrap();
        assert_eq!(first, second);
        assert_eq!((first.data_key.as_str(), first.started_at), ("wrapped-a", at(0)));
    }

    pub(super) async fn odd_user_ids_are_different_users(database: Database) {
        let odd = [
            "ann",
            "Ann",
            "ann ",
            "a'nn",
            "a\"nn",
            "ann'; DROP TABLE api_keys; --",
            "../ann",
            "ａｎｎ",
            "é",
            "e\u{301}",
        ];
        for id in odd {
            session(&database, &user(id)).await;
            keys::insert(&database, &user(id), &KeyRow { key: id.into(), ..row("gemini", 1) }).await.unwrap();
        }
        for id in odd {
            let rows = keys::load(&database, &user(id)).await.unwrap().unwrap();
            assert_eq!(rows.keys.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), [id]);
        }
    }

    pub(super) async fn a_key_is_inserted_once(database: Database) {
        let ann = user("ann");
        let orphan = keys::insert(&database, &ann, &row("gemini", 1)).await;
        assert!(matches!(orphan, Err(StorageError::Conflict)), "no session: {orphan:?}");
        session(&database, &ann).await;
        keys::insert(&database, &ann, &row("gemini", 1)).await.unwrap();
        let again = keys::insert(&database, &ann, &row("gemini", 1)).await;
        assert!(matches!(again, Err(StorageError::Conflict)), "{again:?}");
    }

    pub(super) async fn a_key_is_replaced_only_over_the_version_that_was_seen(database: Database) {
        let ann = user("ann");
        session(&database, &ann).await;
        keys::insert(&database, &ann, &row("gemini", 1)).await.unwrap();
        keys::replace(&database, &ann, &row("gemini", 2), 1).await.unwrap();
        let late = keys::replace(&database, &ann, &row("gemini", 2), 1).await;
        assert!(matches!(late, Err(StorageError::Conflict)), "{late:?}");
        let rows = keys::load(&database, &ann).await.unwrap().unwrap().keys;
        assert_eq!((rows[0].version, rows[0].key.as_str(), rows[0].created_at), (2, "sealed-2", at(1)));
    }

    pub(super) async fn one_users_statements_never_touch_anothers_rows(database: Database) {
        let (ann, bob) = (user("ann"), user("bob"));
        for user in [&ann, &bob] {
            session(&database, user).await;
            keys::insert(&database, user, &row("gemini", 1)).await.unwrap();
            keys::keep_current(&database, user, "gemini", at(5)).await.unwrap();
            steps::set(&database, user, "keyfold", &step(1)).await.unwrap();
        }
        let before = everything_of(&database, &bob).await;
        keys::set_status(&database, &ann, "gemini", of(1), "rejected", Some(at(6))).await.unwrap();
        keys::set_used(&database, &[used(&ann, of(1), at(7))]).await.unwrap();
        keys::replace(&database, &ann, &row("gemini", 2), 1).await.unwrap();
        sessions::set_progress(&database, &ann, 3, 100.0, Some(at(8)), at(8)).await.unwrap();
        let wrapped = sessions::find(&database, &ann).await.unwrap().unwrap().data_key;
        sessions::replace_data_key(&database, &ann, &wrapped, "other").await.unwrap();
        assert!(sessions::take_turn(&database, &ann).await.unwrap());
        sessions::restart(&database, &ann, at(9)).await.unwrap();
        steps::clear(&database, &ann).await.unwrap();
        assert!(keys::remove(&database, &ann, "gemini").await.unwrap());
        assert_eq!(everything_of(&database, &bob).await, before);
        assert!(keys::load(&database, &ann).await.unwrap().unwrap().keys.is_empty());
    }

    pub(super) async fn a_data_key_is_replaced_only_if_it_is_the_damaged_one(database: Database) {
        let ann = user("ann");
        assert!(!sessions::take_turn(&database, &ann).await.unwrap());
        session(&database, &ann).await;
        let before = everything_of(&database, &ann).await;
        sessions::replace_data_key(&database, &ann, "something else", "other").await.unwrap();
        assert_eq!(everything_of(&database, &ann).await, before);
    }

    pub(super) async fn users_come_in_pages_with_their_keys_counted(database: Database) {
        for id in ["carl", "ann", "bob"] {
            session(&database, &user(id)).await;
        }
        for (provider, status) in
            [("a", "valid"), ("b", "valid"), ("c", "limited"), ("d", "rejected"), ("e", "?")]
        {
            keys::insert(&database, &user("bob"), &KeyRow { status: status.into(), ..row(provider, 1) })
                .await
                .unwrap();
        }
        sessions::set_progress(&database, &user("ann"), 3, 100.0, Some(at(8)), at(8)).await.unwrap();
        assert!(users::suspend(&database, &user("carl"), at(9)).await.unwrap());

        let page = users::page(&database, "", 2).await.unwrap();
        let shown: Vec<_> = page
            .iter()
            .map(|row| (row.user.as_str(), row.keys, row.valid, row.limited, row.rejected))
            .collect();
        assert_eq!(shown, [("ann", 0, 0, 0, 0), ("bob", 5, 2, 1, 1)]);
        assert_eq!((page[0].started_at, page[0].completed_at), (Some(at(0)), Some(at(8))));
        let page = users::page(&database, "bob", 2).await.unwrap();
        assert_eq!(page.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["carl"]);
        assert_eq!((page[0].suspended_at, page[0].completed_at), (Some(at(9)), None));
        assert!(users::page(&database, "carl", 2).await.unwrap().is_empty());
        // After one who is not there.
        assert_eq!(users::page(&database, "b", 9).await.unwrap().len(), 2);
    }

    pub(super) async fn a_suspension_keeps_its_beginning(database: Database) {
        let (ann, bob) = (user("ann"), user("bob"));
        assert_eq!(users::suspended_at(&database, &ann).await.unwrap(), None);
        assert!(!users::suspend(&database, &ann, at(1)).await.unwrap(), "nobody is there");
        session(&database, &ann).await;
        session(&database, &bob).await;
        assert_eq!(users::suspended_at(&database, &ann).await.unwrap(), Some(None));
        assert!(!users::resume(&database, &ann).await.unwrap());
        assert!(users::suspend(&database, &ann, at(1)).await.unwrap());
        assert!(!users::suspend(&database, &ann, at(2)).await.unwrap());
        assert_eq!(users::suspended_at(&database, &ann).await.unwrap(), Some(Some(at(1))));
        assert_eq!(users::suspended_at(&database, &bob).await.unwrap(), Some(None));
        assert!(users::resume(&database, &ann).await.unwrap());
        assert_eq!(users::suspended_at(&database, &ann).await.unwrap(), Some(None));
    }

    pub(super) async fn a_deletion_leaves_nothing_but_its_mark(database: Database) {
        const PUT_ASIDE: Statement =
            statement("SELECT COUNT(*) FROM root_secrets WHERE name LIKE 'damaged%'", &[]);
        let (ann, bob) = (user("ann"), user("bob"));
        for user in [&ann, &bob] {
            session(&database, user).await;
            keys::insert(&database, user, &row("gemini", 1)).await.unwrap();
            keys::insert(&database, user, &row("exa", 1)).await.unwrap();
            keys::keep_current(&database, user, "gemini", at(5)).await.unwrap();
            steps::set(&database, user, "keyfold", &step(1)).await.unwrap();
            sessions::keep_damaged_data_key(&database, user).await.unwrap();
        }
        let before = everything_of(&database, &bob).await;
        assert!(users::suspend(&database, &ann, at(3)).await.unwrap());
        deletions::bury(&database, &ann, at(10), at(20)).await.unwrap();
        let removed = deletions::remove_all(&database, &ann).await.unwrap();
        assert_eq!(removed, Removed { keys: 2, versions: 1, steps: 1, sessions: 1 });
        assert_eq!(keys::load(&database, &ann).await.unwrap(), None);
        assert_eq!(everything_of(&database, &bob).await, before);
        let rows = database.query(&PUT_ASIDE, vec![]).await.unwrap();
        assert_eq!(rows[0].integer(0).unwrap(), 1, "of bob");

        let mark =
            |refused_until, suspended_at| Tombstone { deleted_at: at(10), refused_until, suspended_at };
        assert_eq!(deletions::find(&database, &ann).await.unwrap(), Some(mark(at(20), Some(at(3)))));
        assert_eq!(deletions::find(&database, &bob).await.unwrap(), None);
        // A later deletion, by a clock that was set back, refuses no less. A suspension that ended stays ended.
        session(&database, &ann).await;
        deletions::bury(&database, &ann, at(10), at(15)).await.unwrap();
        assert_eq!(deletions::find(&database, &ann).await.unwrap(), Some(mark(at(20), None)));
    }

    pub(super) async fn who_comes_back_is_as_the_deletion_left_them(database: Database) {
        let (ann, bob) = (user("ann"), user("bob"));
        for user in [&ann, &bob] {
            session(&database, user).await;
        }
        assert!(users::suspend(&database, &ann, at(3)).await.unwrap());
        deletions::bury(&database, &ann, at(10), at(20)).await.unwrap();
        deletions::remove_all(&database, &ann).await.unwrap();
        for user in [&ann, &bob] {
            session(&database, user).await;
            deletions::take_over(&database, user).await.unwrap();
        }
        let found = async |user| {
            let rows = keys::load(&database, user).await.unwrap().unwrap();
            let session = sessions::find(&database, user).await.unwrap().unwrap();
            assert_eq!((rows.valid_from, rows.suspended_at), (session.valid_from, session.suspended_at));
            (rows.valid_from, rows.suspended_at)
        };
        assert_eq!(found(&ann).await, (Some(at(20)), Some(at(3))));
        assert_eq!(found(&bob).await, (None, None));
        assert!(deletions::resume(&database, &ann).await.unwrap());
        assert!(!deletions::resume(&database, &ann).await.unwrap());
        assert_eq!(deletions::find(&database, &ann).await.unwrap().unwrap().suspended_at, None);
    }

    pub(super) async fn a_message_is_remembered_once(database: Database) {
        let remember = async |id| deletions::remember_message(&database, id, at(1)).await.unwrap();
        assert!(remember("msg_1").await);
        assert!(!remember("msg_1").await);
        assert!(remember("msg_2").await);
        for (id, known) in [("msg_1", true), ("msg_3", false)] {
            assert_eq!(deletions::knows_message(&database, id).await.unwrap(), known, "{id}");
        }
        deletions::forget_messages(&database, at(1)).await.unwrap();
        assert!(!remember("msg_1").await, "not old enough");
        deletions::forget_messages(&database, at(2)).await.unwrap();
        assert!(remember("msg_1").await);
    }

    pub(super) async fn those_who_have_a_key_of_a_provider_are_found(database: Database) {
        const REMOVE: Statement = statement(
            "DELETE FROM api_keys WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'dora')",
            &[],
        );
        for id in ["ann", "bob", "carl", "dora"] {
            session(&database, &user(id)).await;
        }
        for (id, provider) in [("ann", "gemini"), ("bob", "exa"), ("carl", "gemini"), ("carl", "exa")] {
            keys::insert(&database, &user(id), &row(provider, 1)).await.unwrap();
        }
        // An earlier version alone counts too.
        keys::insert(&database, &user("dora"), &row("gemini", 1)).await.unwrap();
        keys::keep_current(&database, &user("dora"), "gemini", at(5)).await.unwrap();
        database.execute(&REMOVE, vec![]).await.unwrap();
        let holders =
            async |after, limit| deletions::holders(&database, "gemini", after, limit).await.unwrap();
        assert_eq!(holders("", 9).await, ["ann", "carl", "dora"]);
        assert_eq!(holders("", 1).await, ["ann"]);
        assert_eq!(holders("ann", 9).await, ["carl", "dora"]);
        assert_eq!(holders("dora", 9).await, [""; 0]);
        assert_eq!(deletions::count_holders(&database, "gemini").await.unwrap(), 3);
        assert_eq!(deletions::count_holders(&database, "tavily").await.unwrap(), 0);
    }

    pub(super) async fn the_version_before_is_kept_for_a_while(database: Database) {
        let ann = user("ann");
        session(&database, &ann).await;
        keys::insert(&database, &ann, &row("gemini", 1)).await.unwrap();
        let previous = async |oldest| keys::previous(&database, &ann, "gemini", oldest).await.unwrap();
        assert_eq!(previous(at(0)).await, None);
        keys::keep_current(&database, &ann, "gemini", at(10)).await.unwrap();
        assert_eq!(previous(at(9)).await.unwrap().version, 1);
        assert_eq!(previous(at(10)).await, None, "too old");
        keys::replace(&database, &ann, &row("gemini", 2), 1).await.unwrap();
        keys::keep_current(&database, &ann, "gemini", at(20)).await.unwrap();
        assert_eq!(previous(at(0)).await.unwrap().version, 2, "only one is kept");
        assert_eq!(keys::wipe_expired(&database, at(19)).await.unwrap(), 0);
        assert_eq!(keys::wipe_expired(&database, at(20)).await.unwrap(), 1);
        assert_eq!(previous(at(0)).await, None);
    }

    pub(super) async fn marks_reach_only_the_version_they_are_about(database: Database) {
        let ann = user("ann");
        session(&database, &ann).await;
        keys::insert(&database, &ann, &row("gemini", 2)).await.unwrap();
        keys::set_status(&database, &ann, "gemini", of(1), "rejected", Some(at(3))).await.unwrap();
        keys::set_used(&database, &[used(&ann, of(1), at(3))]).await.unwrap();
        // The first version that is stored was made when it was saved.
        let saved = KeyVersion { created_at: at(2), ..of(2) };
        let of_a_deleted_key = KeyVersion { created_at: at(-1), ..saved };
        keys::set_status(&database, &ann, "gemini", of_a_deleted_key, "rejected", Some(at(3))).await.unwrap();
        keys::set_used(&database, &[used(&ann, of_a_deleted_key, at(3))]).await.unwrap();
        let unmarked = keys::load(&database, &ann).await.unwrap().unwrap().keys.remove(0);
        assert_eq!((unmarked.status.as_str(), unmarked.last_used_at), ("valid", None));
        keys::set_status(&database, &ann, "gemini", saved, "rejected", None).await.unwrap();
        keys::set_used(&database, &[used(&ann, saved, at(4))]).await.unwrap();
        let marked = keys::load(&database, &ann).await.unwrap().unwrap().keys.remove(0);
        assert_eq!((marked.status.as_str(), marked.last_used_at), ("rejected", Some(at(4))));
        assert_eq!(marked.last_verified_at, unmarked.last_verified_at, "kept where nothing new is known");
    }

    pub(super) async fn uses_of_many_keys_are_noted_at_once(database: Database) {
        let users: Vec<UserId> = (0..keys::MOST_USED).map(|number| user(&format!("user_{number}"))).collect();
        for user in users.iter().chain([&user("other")]) {
            session(&database, user).await;
            keys::insert(&database, user, &row("gemini", 1)).await.unwrap();
            keys::insert(&database, user, &row("exa", 1)).await.unwrap();
        }
        let key = row("gemini", 1).identity();
        for (last, moment) in [(1, 2), (8, 3), (9, 4), (keys::MOST_USED, 5)] {
            let noted: Vec<_> = users[..last].iter().map(|user| used(user, key, at(moment))).collect();
            keys::set_used(&database, &noted).await.unwrap();
            let counted = database
                .query(
                    &statement("SELECT COUNT(*) FROM api_keys WHERE last_used_at = $1", &[Kind::Time]),
                    vec![at(moment).into()],
                )
                .await
                .unwrap();
            assert_eq!(counted[0].integer(0).unwrap(), i64::try_from(last).unwrap());
        }
        let too_many = vec![used(&users[0], key, at(6)); keys::MOST_USED + 1];
        assert!(keys::set_used(&database, &too_many).await.is_err());
    }

    pub(super) async fn steps_are_set_and_cleared_per_preset(database: Database) {
        let ann = user("ann");
        session(&database, &ann).await;
        steps::set(&database, &ann, "keyfold", &step(1)).await.unwrap();
        let skipped = StepRow { status: "skipped".into(), data: None, ..step(1) };
        steps::set(&database, &ann, "keyfold", &skipped).await.unwrap();
        steps::set(&database, &ann, "alwrity", &step(2)).await.unwrap();
        assert_eq!(steps::load(&database, &ann, "keyfold").await.unwrap(), [skipped]);
        assert_eq!(steps::load(&database, &ann, "alwrity").await.unwrap(), [step(2)]);
        steps::clear(&database, &ann).await.unwrap();
        assert!(steps::load(&database, &ann, "alwrity").await.unwrap().is_empty());
    }

    pub(super) async fn data_keys_are_wrapped_anew_only_over_what_was_seen(database: Database) {
        let users = [user("ann"), user("bob"), user("carl")];
        for user in &users {
            session(&database, user).await;
        }
        let prefix = "wrapped-by-new";
        let spans = master_keys::spans(&database).await.unwrap();
        let [span] = spans[..] else { panic!("{spans:?}") };
        let found = master_keys::not_wrapped_by(&database, prefix, span).await.unwrap();
        assert_eq!(found.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["ann", "bob", "carl"]);
        let anew = |row: &master_keys::WrappedRow, before: &str| master_keys::Rewrapped {
            id: row.id,
            before: before.to_owned(),
            after: format!("{prefix} for {}", row.user),
        };
        let rows = vec![anew(&found[0], &found[0].data_key), anew(&found[1], "something else")];
        assert_eq!(master_keys::rewrap(&database, rows).await.unwrap(), 1);
        let of = async |user| sessions::find(&database, user).await.unwrap().unwrap().data_key;
        assert_eq!(of(&users[0]).await, "wrapped-by-new for ann");
        assert_eq!(
            (of(&users[1]).await, of(&users[2]).await),
            (found[1].data_key.clone(), found[2].data_key.clone())
        );
        // From where one stopped.
        let after = (found[1].id, span.1);
        let left = master_keys::not_wrapped_by(&database, prefix, after).await.unwrap();
        assert_eq!(left.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["carl"]);
        let ends = master_keys::prefixes_at_both_ends(&database, 1).await.unwrap();
        assert!(ends.len() == 2 && ends.contains(&prefix.to_owned()), "{ends:?}");
        let mut alike = master_keys::count(&database, span).await.unwrap();
        alike.sort_by_key(|alike| alike.count);
        assert_eq!(alike.iter().map(|alike| alike.count).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((alike[0].prefix.as_str(), alike[0].sample.as_str()), (prefix, "wrapped-by-new for ann"));
        assert!(master_keys::put_aside(&database, &found[2], "fresh").await.unwrap());
        assert_eq!(of(&users[2]).await, "fresh");
        let again = master_keys::WrappedRow { data_key: "fresh".into(), ..found[2].clone() };
        assert!(
            !master_keys::put_aside(&database, &again, "fresher").await.unwrap(),
            "one lies there already"
        );
        assert_eq!(of(&users[2]).await, "fresh");
        master_keys::announce_all(&database).await.unwrap();
    }

    pub(super) async fn a_root_secret_is_replaced_and_removed_only_as_it_was_seen(database: Database) {
        root_secrets::insert_or_find(&database, "x", "first").await.unwrap();
        let seen = root_secrets::every(&database).await.unwrap().remove(0);
        assert!(root_secrets::replace(&database, &seen, "second").await.unwrap());
        assert!(!root_secrets::replace(&database, &seen, "third").await.unwrap());
        root_secrets::remove(&database, &seen).await.unwrap();
        assert_eq!(root_secrets::find(&database, "x").await.unwrap().as_deref(), Some("second"));
        let seen = root_secrets::every(&database).await.unwrap().remove(0);
        root_secrets::remove(&database, &seen).await.unwrap();
        assert!(root_secrets::every(&database).await.unwrap().is_empty());
    }

    pub(super) async fn the_first_root_secret_stays(database: Database) {
        assert_eq!(root_secrets::find(&database, "x").await.unwrap(), None);
        assert_eq!(root_secrets::insert_or_find(&database, "x", "first").await.unwrap(), "first");
        assert_eq!(root_secrets::insert_or_find(&database, "x", "second").await.unwrap(), "first");
    }

    pub(super) async fn a_transaction_that_is_dropped_did_nothing(database: Database) {
        let ann = user("ann");
        let transaction = database.begin().await.unwrap();
        session(&transaction, &ann).await;
        assert!(sessions::find(&transaction, &ann).await.unwrap().is_some());
        drop(transaction);
        assert_eq!(sessions::find(&database, &ann).await.unwrap(), None);
        let transaction = database.begin().await.unwrap();
        session(&transaction, &ann).await;
        transaction.commit().await.unwrap();
        assert!(sessions::find(&database, &ann).await.unwrap().is_some());
    }

    pub(super) async fn nobody_sees_half_a_transaction(database: Database) {
        let ann = user("ann");
        let transaction = database.begin().await.unwrap();
        session(&transaction, &ann).await;
        let reading = tokio::spawn({
            let (database, ann) = (database.clone(), ann.clone());
            async move { sessions::find(&database, &ann).await.unwrap() }
        });
        drop(transaction);
        assert_eq!(reading.await.unwrap(), None);
    }

    pub(super) async fn a_statement_given_up_halfway_leaves_the_database_usable(database: Database) {
        let ann = user("ann");
        for _ in 0..50 {
            let transaction = database.begin().await.unwrap();
            let writing = insert_or_find(&transaction, &ann, "w", at(0));
            // Polled once, so the statement is on its way, then dropped with its transaction.
            let _ = tokio::time::timeout(Duration::ZERO, writing).await;
        }
        assert_eq!(sessions::find(&database, &ann).await.unwrap(), None);
    }

    pub(super) async fn times_keep_their_microseconds(database: Database) {
        // Rows that other programs wrote have the column's own default.
        const BY_HAND: Statement =
            statement("INSERT INTO onboarding_sessions (user_id, data_key) VALUES ('bob', 'w')", &[]);
        let ann = user("ann");
        let time: Timestamp = "2026-11-22T16:13:38.270851Z".parse().unwrap();
        let found = insert_or_find(&database, &ann, "w", time).await.unwrap();
        assert_eq!(found.started_at, time);
        database.execute(&BY_HAND, vec![]).await.unwrap();
        assert!(
            sessions::find(&database, &user("bob")).await.unwrap().unwrap().started_at
                > time - SignedDuration::from_hours(24 * 3650)
        );
    }

    pub(super) async fn what_calls_came_to_is_added_up(database: Database) {
        let (ann, bob) = (user("ann"), user("bob"));
        session(&database, &ann).await;
        session(&database, &bob).await;
        let first = [
            calls(&ann, "2026-01-01", "exa", ""),
            calls(&ann, "2026-01-02", "gemini", "flash"),
            calls(&bob, "2026-01-02", "gemini", "flash"),
            calls(&user("never-here"), "2026-01-02", "gemini", "flash"),
        ];
        usage::add(&database, &first).await.unwrap();
        usage::add(&database, &first[1..2]).await.unwrap();
        let many: Vec<_> = (0..usage::MOST_ADDED)
            .map(|n| calls(&ann, "2026-01-03", "gemini", &format!("m{n:03}")))
            .collect();
        usage::add(&database, &many).await.unwrap();

        let found = usage::of_user(&database, &ann, "2026-01-01").await.unwrap();
        assert_eq!(found.len(), usage::MOST_ADDED + 2);
        assert_eq!(found[..usage::MOST_ADDED], many.into_iter().map(|added| added.row).collect::<Vec<_>>());
        let twice = UsageFigures { requests: 6, errors: 2, input_tokens: 20, output_tokens: 40, unknown: 2 };
        let last = [UsageRow { figures: twice, ..first[1].row.clone() }, first[0].row.clone()];
        assert_eq!(found[usage::MOST_ADDED..], last);
        assert_eq!(usage::of_user(&database, &bob, "2026-01-02").await.unwrap(), [first[2].row.clone()]);
        assert_eq!(usage::of_user(&database, &bob, "2026-01-03").await.unwrap(), []);
        assert_eq!(usage::of_user(&database, &user("never-here"), "").await.unwrap(), []);
        usage::remove(&database, &ann).await.unwrap();
        assert_eq!(usage::of_user(&database, &ann, "").await.unwrap(), []);
        assert_eq!(usage::of_user(&database, &bob, "").await.unwrap().len(), 1);
    }

    pub(super) async fn what_was_counted_before_a_deletion_does_not_come_back(database: Database) {
        let (ann, bob) = (user("ann"), user("bob"));
        for user in [&ann, &bob] {
            session(&database, user).await;
            usage::add(&database, &[calls(user, "2026-01-01", "gemini", "flash")]).await.unwrap();
        }
        deletions::bury(&database, &ann, at(10), at(20)).await.unwrap();
        deletions::remove_all(&database, &ann).await.unwrap();
        assert_eq!(usage::of_user(&database, &ann, "").await.unwrap(), []);
        let before = Added { since: at(10), ..calls(&ann, "2026-01-01", "gemini", "flash") };
        usage::add(&database, &[before.clone(), calls(&bob, "2026-01-01", "gemini", "flash")]).await.unwrap();
        assert_eq!(usage::of_user(&database, &ann, "").await.unwrap(), []);
        // Nor when the user came back meanwhile.
        session(&database, &ann).await;
        usage::add(&database, std::slice::from_ref(&before)).await.unwrap();
        assert_eq!(usage::of_user(&database, &ann, "").await.unwrap(), []);
        let after = Added { since: at(11), ..before };
        usage::add(&database, std::slice::from_ref(&after)).await.unwrap();
        assert_eq!(usage::of_user(&database, &ann, "").await.unwrap(), [after.row]);
        assert_eq!(usage::of_user(&database, &bob, "").await.unwrap()[0].figures.requests, 6);
    }
}

fn calls(user: &UserId, day: &str, provider: &str, model: &str) -> Added {
    let figures = UsageFigures { requests: 3, errors: 1, input_tokens: 10, output_tokens: 20, unknown: 1 };
    let row = UsageRow { day: day.into(), provider: provider.into(), model: model.into(), figures };
    Added { user: user.clone(), row, since: at(0) }
}

/// The rows of these tests, by version.
fn of(version: i64) -> KeyVersion {
    row("gemini", version).identity()
}

fn used(user: &UserId, key: KeyVersion, at: Timestamp) -> LastUse {
    LastUse { user: user.clone(), provider: ProviderId::parse("gemini").unwrap(), key, at }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn row(provider: &str, version: i64) -> KeyRow {
    KeyRow {
        provider: provider.into(),
        key: format!("sealed-{version}"),
        version,
        status: "valid".into(),
        created_at: at(1),
        updated_at: at(version),
        last_used_at: None,
        last_verified_at: Some(at(version)),
    }
}

fn step(number: i64) -> StepRow {
    StepRow {
        step_number: number,
        status: "completed".into(),
        data: Some("sealed".into()),
        completed_at: Some(at(2)),
    }
}

async fn session(connection: &impl Connection, user: &UserId) {
    insert_or_find(connection, user, "wrapped", at(0)).await.unwrap();
}

/// A user's row, made unless it is there.
async fn insert_or_find(
    connection: &impl Connection,
    user: &UserId,
    data_key: &str,
    now: Timestamp,
) -> Result<sessions::Session, StorageError> {
    sessions::insert_and_take_turn(connection, user, data_key, now).await?;
    Ok(sessions::find(connection, user).await?.unwrap())
}

async fn everything_of(database: &Database, user: &UserId) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        sessions::find(database, user).await.unwrap(),
        keys::load(database, user).await.unwrap(),
        keys::previous(database, user, "gemini", at(0)).await.unwrap(),
        steps::load(database, user, "keyfold").await.unwrap(),
    )
}

/// Runs these tests of the suite, each on a database that `$empty` makes and keeps until the test is over.
macro_rules! on {
    ($empty:ident: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let (database, _kept) = $empty().await;
                super::suite::$test(database).await;
            }
        )*
    };
}

/// Runs the whole suite.
macro_rules! suite {
    ($empty:ident) => {
        on! { $empty:
            every_statement_is_understood
            rows_of_the_log_are_added_in_order_with_their_head_or_not_at_all
            a_users_rows_of_the_log_are_selected_by_every_word_and_found_by_the_user
            the_operators_queries_work_as_documented
            a_session_is_made_once_and_keeps_its_data_key
            odd_user_ids_are_different_users
            a_key_is_inserted_once
            a_key_is_replaced_only_over_the_version_that_was_seen
            one_users_statements_never_touch_anothers_rows
            a_data_key_is_replaced_only_if_it_is_the_damaged_one
            users_come_in_pages_with_their_keys_counted
            a_suspension_keeps_its_beginning
            a_deletion_leaves_nothing_but_its_mark
            who_comes_back_is_as_the_deletion_left_them
            a_message_is_remembered_once
            those_who_have_a_key_of_a_provider_are_found
            the_version_before_is_kept_for_a_while
            marks_reach_only_the_version_they_are_about
            uses_of_many_keys_are_noted_at_once
            steps_are_set_and_cleared_per_preset
            the_first_root_secret_stays
            a_root_secret_is_replaced_and_removed_only_as_it_was_seen
            data_keys_are_wrapped_anew_only_over_what_was_seen
            a_transaction_that_is_dropped_did_nothing
            nobody_sees_half_a_transaction
            a_statement_given_up_halfway_leaves_the_database_usable
            times_keep_their_microseconds
            what_calls_came_to_is_added_up
            what_was_counted_before_a_deletion_does_not_come_back
        }
    };
}

mod postgres {
    use super::*;
    use crate::storage::PostgresAddress;
    use keyfold_test_servers::PostgresServer;

    async fn empty_database() -> PostgresAddress {
        PostgresServer::shared().empty_database().await.parse().unwrap()
    }

    async fn empty() -> (Database, ()) {
        (Database::open_postgres(&empty_database().await).await.unwrap(), ())
    }

    suite!(empty);

    #[tokio::test]
    async fn several_openings_at_once_migrate_once() {
        let address = empty_database().await;
        let opened =
            futures_util::future::try_join_all((0..8).map(|_| Database::open_postgres(&address))).await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    }

    /// Waits for what comes from the server by itself.
    async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "not so: {what}");
    }

    /// The suite begins before it is known whether sessions are Keyfold's own: what may be done then is tested here.
    #[tokio::test]
    async fn many_rows_of_the_log_are_copied_in() {
        let (database, ()) = empty().await;
        let Database::Postgres(postgres) = &database else { unreachable!() };
        soon("sessions are known to be its own", async || postgres.is_direct()).await;
        suite::rows_of_the_log_are_added_in_order_with_their_head_or_not_at_all(database.clone()).await;
        let statements =
            statement("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'COPY%'", &[]);
        let copied = database.query(&statements, vec![]).await.unwrap();
        assert_eq!(copied[0].integer(0).unwrap(), 1);
    }

    #[tokio::test]
    async fn what_another_replica_changes_is_heard() {
        let address = empty_database().await;
        let here = Database::open_postgres(&address).await.unwrap();
        let there = Database::open_postgres(&address).await.unwrap();
        let (ann, changes) = (user("ann"), here.changes().unwrap());
        soon("it listens", async || changes.is_listening()).await;
        let others: Vec<_> = (0..20).map(|n| changes.stamp(&user(&format!("user_{n}")))).collect();
        session(&there, &ann).await;
        for number in 0..4 {
            soon("nothing else is on its way", async || changes.is_current(changes.stamp(&ann))).await;
            let before = changes.stamp(&ann);
            match number {
                0 => keys::insert(&there, &ann, &row("gemini", 1)).await.unwrap(),
                1 => keys::replace(&there, &ann, &row("gemini", 2), 1).await.unwrap(),
                2 => keys::set_status(&there, &ann, "gemini", of(2), "rejected", None).await.unwrap(),
                _ => assert!(keys::remove(&there, &ann, "gemini").await.unwrap()),
            }
            soon("the change is heard", async || !changes.is_current(before)).await;
        }
        let still = others.iter().filter(|stamp| changes.is_current(**stamp)).count();
        assert!(still >= 19, "only those who share ann's counter are asked for again: {still}");
        there.execute(&statement("TRUNCATE api_keys", &[]), vec![]).await.unwrap();
        soon("a truncation is about everyone", async || {
            !others.iter().any(|stamp| changes.is_current(*stamp))
        })
        .await;
    }

    #[tokio::test]
    async fn nothing_remembered_counts_once_the_listener_was_cut_off() {
        let server = PostgresServer::shared();
        let name = server.new_database().await;
        let here = Database::open_postgres(&server.address_of(&name).parse().unwrap()).await.unwrap();
        let changes = here.changes().unwrap();
        soon("it listens", async || changes.is_listening()).await;
        let before = changes.stamp(&user("ann"));
        let admin = server.connect("postgres").await;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        admin.batch_execute(&cut).await.unwrap();
        soon("it is no longer trusted", async || !changes.is_current(before)).await;
        soon("it listens again", async || changes.is_listening()).await;
        assert!(!changes.is_current(before), "something may have changed unheard");
        soon("what is read now counts", async || changes.is_current(changes.stamp(&user("ann")))).await;
    }

    #[tokio::test]
    async fn what_the_server_says_is_told_apart() {
        let (database, ()) = empty().await;
        let says = async |code: &str| {
            let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{code}'; END $$");
            let sql: &'static str = Box::leak(sql.into_boxed_str());
            let refused = database.execute(&statement(sql, &[]), vec![]).await.unwrap_err();
            let kind = match refused {
                StorageError::Unavailable(_) => "unavailable",
                StorageError::Full => "full",
                StorageError::ReadOnly(_) => "read-only",
                StorageError::Conflict => "conflict",
                StorageError::Refused(_) => "refused",
                _ => "another",
            };
            (code.to_owned(), kind)
        };
        let codes = [
            ("08006", "unavailable"), // connection failure
            ("23505", "conflict"),    // unique violation
            ("25006", "read-only"),   // read-only transaction
            ("25P03", "unavailable"), // idle in a transaction for too long
            ("28P01", "unavailable"), // wrong password
            ("3D000", "unavailable"), // no such database
            ("40001", "conflict"),    // serialization failure
            ("40P01", "conflict"),    // deadlock
            ("42501", "refused"),     // no privilege
            ("42P01", "refused"),     // no such table
            ("53100", "full"),        // disk full
            ("53200", "unavailable"), // out of memory
            ("53300", "unavailable"), // too many connections
            ("55P03", "unavailable"), // lock not available
            ("57014", "unavailable"), // cancelled, or its time is over
            ("57P01", "unavailable"), // shut down
            ("58030", "unavailable"), // input or output failed
        ];
        for (code, kind) in codes {
            assert_eq!(says(code).await, (code.to_owned(), kind));
        }
        // None of these spoils the connection for the next one.
        database.query(&statement("SELECT 1", &[]), vec![]).await.unwrap();
    }

    #[tokio::test]
    async fn connections_that_the_server_ended_are_replaced_without_a_word() {
        let server = PostgresServer::shared();
        let name = server.new_database().await;
        let database = Database::open_postgres(&server.address_of(&name).parse().unwrap()).await.unwrap();
        let admin = server.connect("postgres").await;
        let cut =
            format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'");
        for _ in 0..5 {
            database.query(&statement("SELECT 1", &[]), vec![]).await.unwrap();
            admin.batch_execute(&cut).await.unwrap();
            // Whether the pool has noticed or not.
            let transaction = database.begin().await.unwrap();
            session(&transaction, &user("ann")).await;
            transaction.commit().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_unavailable_soon() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("postgres://keyfold@127.0.0.1:{port}/nothing").parse().unwrap();
        let refused = Database::open_postgres(&address).await.err();
        assert!(matches!(refused, Some(StorageError::Unavailable(_))), "{refused:?}");
    }
}

mod sqlite {
    use super::*;
    use crate::storage::migrations;

    async fn empty() -> (Database, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        (Database::open_sqlite(path, Duration::from_secs(3)).await.unwrap(), folder)
    }

    suite!(empty);

    #[tokio::test]
    async fn a_second_opening_finds_what_the_first_one_wrote() {
        let (database, folder) = empty().await;
        session(&database, &user("ann")).await;
        database.close().await;
        let again = Database::open_sqlite(folder.path().join("keyfold.db"), Duration::ZERO).await.unwrap();
        assert!(sessions::find(&again, &user("ann")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn several_openings_at_once_migrate_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        let open = |_| Database::open_sqlite(path.clone(), Duration::from_secs(10));
        let opened = futures_util::future::try_join_all((0..8).map(open)).await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    }

    #[tokio::test]
    async fn a_newer_schema_and_foreign_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let newer = folder.path().join("newer.db");
        let connection = rusqlite::Connection::open(&newer).unwrap();
        connection
            .execute_batch("CREATE TABLE keyfold_schema (version INTEGER PRIMARY KEY, name TEXT, applied_at TEXT); INSERT INTO keyfold_schema VALUES (999, 'x', '')")
            .unwrap();
        let refused = Database::open_sqlite(newer, Duration::ZERO).await.err();
        assert!(matches!(refused, Some(StorageError::NewerSchema { found: 999, .. })), "{refused:?}");

        let foreign = folder.path().join("foreign.db");
        rusqlite::Connection::open(&foreign)
            .unwrap()
            .execute_batch("CREATE TABLE api_keys (id INTEGER)")
            .unwrap();
        let refused = Database::open_sqlite(foreign, Duration::ZERO).await.err();
        assert!(matches!(refused, Some(StorageError::ForeignTable(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_newer_schema_that_says_so_can_be_worked_on_and_stays_as_it_is() {
        let known = migrations::known();
        for (readable_from, works) in [(known, true), (1, true), (known + 1, false)] {
            let (database, folder) = empty().await;
            database.close().await;
            let path = folder.path().join("keyfold.db");
            let later = "INSERT INTO keyfold_schema (version, name, readable_from) VALUES (?1, 'later', ?2)";
            let newer = rusqlite::Connection::open(&path).unwrap();
            newer.execute(later, (known + 1, readable_from)).unwrap();
            let opened = Database::open_sqlite(path, Duration::ZERO).await;
            match opened {
                Ok(database) => {
                    assert!(works, "{readable_from}");
                    session(&database, &user("ann")).await;
                }
                Err(error) => {
                    assert!(!works, "{error}");
                    assert!(matches!(error, StorageError::NewerSchema { .. }), "{error}");
                }
            }
            let version = "SELECT MAX(version), COUNT(*) FROM keyfold_schema";
            let found: (i64, i64) =
                newer.query_row(version, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(found, (known + 1, known + 1));
        }
    }

    /// Databases of the time before versions said from where on they are readable.
    #[tokio::test]
    async fn a_database_without_that_statement_is_brought_up_to_date_and_has_it_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let before = "CREATE TABLE keyfold_schema (version INTEGER PRIMARY KEY, name VARCHAR(50) NOT NULL, applied_at TIMESTAMP)";
        connection.execute_batch(before).unwrap();
        Database::open_sqlite(path, Duration::ZERO).await.unwrap().close().await;
        let latest = "SELECT version, readable_from FROM keyfold_schema ORDER BY version DESC LIMIT 1";
        let (version, from): (i64, i64) =
            connection.query_row(latest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert!(version == migrations::known() && from >= 1 && from <= version, "{version}, {from}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        std::fs::write(&path, "this is no database, but it is long enough to be read as one").unwrap();
        let refused = Database::open_sqlite(path, Duration::ZERO).await.err();
        assert!(matches!(refused, Some(StorageError::Unavailable(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_database_locked_by_another_process_is_unavailable_not_forever() {
        let (database, folder) = empty().await;
        database.close().await;
        let path = folder.path().join("keyfold.db");
        let other = rusqlite::Connection::open(&path).unwrap();
        let database = Database::open_sqlite(path, Duration::from_millis(1)).await.unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = database.begin().await.err();
        assert!(matches!(refused, Some(StorageError::Unavailable(_))), "{refused:?}");
        other.execute_batch("ROLLBACK").unwrap();
        assert!(database.begin().await.is_ok());
    }

    /// While replicas are replaced, old and new ones work on one database.
    #[test]
    fn no_migration_takes_away_what_the_release_before_it_reads() {
        let harmless = [
            // Wider only.
            "ALTER TABLE ROOT_SECRETS ALTER COLUMN NAME TYPE VARCHAR(255)",
            // The same reference as before, which now also lets a session go; SQLite makes the whole table anew for it.
            "ALTER TABLE API_KEY_VERSIONS ADD CONSTRAINT API_KEY_VERSIONS_SESSION_ID_FKEY     \
             FOREIGN KEY (SESSION_ID) REFERENCES ONBOARDING_SESSIONS(ID) ON DELETE CASCADE",
            "ALTER TABLE ONBOARDING_STEPS ADD CONSTRAINT ONBOARDING_STEPS_SESSION_ID_FKEY     \
             FOREIGN KEY (SESSION_ID) REFERENCES ONBOARDING_SESSIONS(ID) ON DELETE CASCADE",
            "DROP TABLE API_KEY_VERSIONS",
            "DROP TABLE ONBOARDING_STEPS",
            "DROP TABLE KEYFOLD_KEPT",
        ];
        for (version, sql) in migrations::texts().filter(|(version, _)| *version > 1) {
            // What functions do later is another matter.
            let outside: String = sql.split("$$").step_by(2).collect();
            let lines = outside.lines().map(|line| line.split("--").next().unwrap_or_default());
            let text = lines.collect::<Vec<_>>().join(" ").to_uppercase();
            for statement in text.split(';').map(str::trim).filter(|statement| !harmless.contains(statement))
            {
                for word in ["DROP TABLE", "DROP COLUMN", "RENAME", "ALTER COLUMN", "ADD CONSTRAINT"] {
                    assert!(!statement.contains(word), "{version}: {statement}");
                }
                if statement.contains("ADD COLUMN") && statement.contains("NOT NULL") {
                    assert!(statement.contains("DEFAULT"), "{version}: {statement}");
                }
                let is_unique_on_old = statement.starts_with("CREATE UNIQUE INDEX")
                    && !text.contains(&format!(
                        "CREATE TABLE {} ",
                        statement
                            .split(" ON ")
                            .nth(1)
                            .and_then(|on| on.split_whitespace().next())
                            .unwrap_or_default()
                    ));
                assert!(!is_unique_on_old, "{version}: {statement}");
            }
        }
    }

    #[tokio::test]
    async fn a_database_that_rests_has_no_file_open_and_whoever_needs_it_waits() {
        let (database, folder) = empty().await;
        session(&database, &user("ann")).await;
        let open_files = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap();
            let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
            targets.filter(|target| target.starts_with(folder.path())).count()
        };
        assert!(open_files() > 0);
        let rest = database.rest().await.unwrap().unwrap();
        assert_eq!(open_files(), 0);
        let reading = tokio::spawn({
            let database = database.clone();
            async move { sessions::find(&database, &user("ann")).await }
        });
        let writing = tokio::spawn({
            let database = database.clone();
            async move { database.begin().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished() && !writing.is_finished());
        drop(rest);
        assert!(reading.await.unwrap().unwrap().is_some());
        assert!(writing.await.unwrap().is_ok());
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        assert!(migrations::versions().zip(1..).all(|(version, number)| version == number));
    }
}

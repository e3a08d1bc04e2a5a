//! `DELETE /api/me`: what is left of a user who went, and who is refused from then on.

use std::time::Duration;

use futures_util::future::join_all;
use keyfold::user::UserId;
use keyfold_standin::issuer::RSA;
use keyfold_standin::{Behaviour, example_key};
use keyfold_test_servers::{PostgresServer, SqlClient};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::production::{Production, User};
use crate::support::{Answer, Local};

/// What asks for no user's token, and what there is only in local mode.
const NOT_THE_USERS: [&str; 5] = [
    "GET /healthz",
    "GET /readyz",
    "GET /api/config",
    "POST /webhooks/clerk",
    "POST /api/frontend-env/update",
];

/// Everything that is kept of a user, as `table: rows`.
async fn rows_of(sql: &SqlClient, user: &str) -> Vec<(&'static str, i64)> {
    let mut found = vec![];
    for table in ["api_keys", "api_key_versions", "onboarding_steps"] {
        let query = format!(
            "SELECT COUNT(*) FROM {table} JOIN onboarding_sessions s ON s.id = session_id WHERE s.user_id = $1"
        );
        found.push((table, sql.query_one(&query, &[&user]).await.unwrap().get(0)));
    }
    for table in ["onboarding_sessions", "deleted_users"] {
        let query = format!("SELECT COUNT(*) FROM {table} WHERE user_id = $1");
        found.push((table, sql.query_one(&query, &[&user]).await.unwrap().get(0)));
    }
    found
}

const NOTHING_BUT_THE_MARK: [(&str, i64); 5] = [
    ("api_keys", 0),
    ("api_key_versions", 0),
    ("onboarding_steps", 0),
    ("onboarding_sessions", 0),
    ("deleted_users", 1),
];

async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "not so: {what}");
}

#[track_caller]
fn is_gone(answer: &Answer) {
    let problem = answer.problem(410, "user_deleted");
    assert!(problem["detail"].as_str().unwrap().contains("Sign in again"), "{problem}");
}

async fn go(user: &User<'_>) {
    let answer = user.delete("/api/me").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
}

/// A token of a fresh sign-in: the clock's next second.
fn back<'a>(production: &'a Production, user: &str) -> User<'a> {
    production.clock.advance(jiff::SignedDuration::from_secs(1));
    production.as_user(user)
}

#[tokio::test]
async fn nothing_is_left_of_a_user_who_goes_and_old_tokens_are_refused_everywhere() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    for user in [&a, &b] {
        user.has_example_key("gemini", 1).await;
        user.has_example_key("gemini", 2).await;
        user.has_example_key("exa", 1).await;
        user.post("/api/onboarding/step/1/complete", json!({ "data": {} })).await.ok();
    }
    let of_b = rows_of(&sql, "user_b").await;
    assert_eq!(of_b.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [2, 1, 1, 1, 0]);
    production.standin.clear();

    go(&a).await;
    assert_eq!(rows_of(&sql, "user_a").await, NOTHING_BUT_THE_MARK);
    assert_eq!(rows_of(&sql, "user_b").await, of_b);

    let description = production.get("/openapi.json").await.json();
    let mut refused = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        if path.starts_with("/api/service/") {
            continue;
        }
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            if NOT_THE_USERS.contains(&format!("{method} {path}").as_str()) {
                continue;
            }
            let address = path.replace("{provider}", "gemini").replace("{n}", "1");
            let method: Method = method.parse().unwrap();
            let mut request = a.request(method.clone(), &address);
            if method == Method::POST || method == Method::PUT {
                let key = example_key("gemini", 3);
                request = request.json(&json!({
                    "key": key, "api_key": key, "provider": "gemini", "prompt": "x", "query": "x", "data": {},
                }));
            }
            is_gone(&production.send(request).await);
            refused += 1;
        }
    }
    assert!(refused >= 30, "{refused}");
    assert!(production.standin.requests().is_empty(), "no provider was asked");
    assert_eq!(rows_of(&sql, "user_a").await, NOTHING_BUT_THE_MARK);
    b.post("/api/generate", json!({ "prompt": "x" })).await.ok();
}

#[tokio::test]
async fn a_fresh_sign_in_begins_anew_and_the_old_token_stays_out() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let data_key = async || -> Option<String> {
        let query = "SELECT data_key FROM onboarding_sessions WHERE user_id = 'user_a'";
        sql.query_opt(query, &[]).await.unwrap().map(|row| row.get(0))
    };
    let old = production.as_user("user_a");
    old.has_example_key("gemini", 1).await;
    let first = data_key().await.unwrap();
    go(&old).await;
    assert_eq!(data_key().await, None);
    // Of the same second: no token can tell that it is from after the deletion.
    is_gone(&production.as_user("user_a").get("/api/keys").await);

    let fresh = back(&production, "user_a");
    let list = fresh.get("/api/keys").await.ok();
    assert_eq!((&list["keys"], &list["missing"]), (&json!([]), &json!(["gemini"])));
    let progress = fresh.get("/api/onboarding/progress").await.ok();
    assert_eq!(progress["current_step"], 1);
    let key = fresh.has_example_key("gemini", 2).await;
    assert_ne!(data_key().await.unwrap(), first);
    fresh.post("/api/generate", json!({ "prompt": "x" })).await.ok();
    assert_eq!(production.standin.requests_for("gemini").last().unwrap().key, key);
    fresh.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");

    // Also now that there is a user of this id again, and after its rows are remembered.
    is_gone(&old.get("/api/keys").await);
    is_gone(&old.post("/api/generate", json!({ "prompt": "x" })).await);
    is_gone(&old.delete("/api/me").await);
    is_gone(&old.get("/api/onboarding/status").await);
    fresh.post("/api/generate", json!({ "prompt": "x" })).await.ok();

    // And once more.
    go(&fresh).await;
    is_gone(&fresh.get("/api/keys").await);
    back(&production, "user_a").get("/api/keys").await.ok();
}

#[tokio::test]
async fn a_token_that_does_not_say_when_it_was_issued_counts_as_old_while_the_mark_stands() {
    let production = Production::start().await;
    let undated = {
        let mut claims = production.claims_for("user_a");
        claims.as_object_mut().unwrap().remove("iat");
        RSA.token(&claims)
    };
    production.get_with("/api/keys", &undated).await.ok();
    go(&production.as_user("user_a")).await;
    is_gone(&production.get_with("/api/keys", &undated).await);
    let fresh = back(&production, "user_a");
    fresh.has_example_key("gemini", 1).await;
    is_gone(&production.get_with("/api/keys", &undated).await);
    fresh.get("/api/keys").await.ok();
}

#[tokio::test]
async fn a_clock_of_the_issuer_that_is_ahead_keeps_no_token_alive() {
    let production = Production::start().await;
    let mut claims = production.claims_for("user_a");
    claims["iat"] = json!(production.seconds() + 4);
    let token = RSA.token(&claims);
    let request = production.request(Method::DELETE, "/api/me").bearer_auth(&token);
    assert_eq!(production.send(request).await.status.as_u16(), 204);
    is_gone(&production.get_with("/api/keys", &token).await);
}

#[tokio::test]
async fn whoever_was_never_here_may_go_too() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let x = production.as_user("user_x");
    go(&x).await;
    is_gone(&x.get("/api/keys").await);
    assert_eq!(rows_of(&sql, "user_x").await, NOTHING_BUT_THE_MARK);
    back(&production, "user_x").get("/api/keys").await.ok();
}

#[tokio::test]
async fn a_suspended_user_may_go_and_is_suspended_on_coming_back() {
    let production = Production::start().await;
    let (users, id) = (production.keyfold.users(), UserId::parse("user_a").unwrap());
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    users.suspend(&id).await.unwrap();
    a.get("/api/keys").await.problem(403, "user_suspended");
    go(&a).await;
    is_gone(&a.get("/api/keys").await);
    let fresh = back(&production, "user_a");
    fresh.get("/api/keys").await.problem(403, "user_suspended");
    let body = json!({ "key": example_key("gemini", 1) });
    fresh.put("/api/keys/gemini", body).await.problem(403, "user_suspended");
    // Whoever goes again is not let in by that either.
    go(&fresh).await;
    let fresh = back(&production, "user_a");
    fresh.get("/api/onboarding/init").await.problem(403, "user_suspended");
    users.resume(&id).await.unwrap();
    fresh.get("/api/keys").await.ok();
    fresh.has_example_key("gemini", 1).await;
}

#[tokio::test]
async fn an_old_token_is_refused_by_every_replica() {
    let first = Production::start().await;
    let replicas = [first.replica().start().await, first.replica().start().await];
    let old = first.token_for("user_a");
    first.as_user("user_a").has_example_key("gemini", 1).await;
    // By now each remembers the token and the rows.
    for replica in &replicas {
        soon("rows are remembered", async || {
            replica.get_with("/api/keys", &old).await.ok();
            replica.keyfold.cache_state().unwrap().hits > 0
        })
        .await;
    }
    go(&first.as_user("user_a")).await;
    is_gone(&first.get_with("/api/keys", &old).await);
    for replica in &replicas {
        soon("every replica refuses the old token", async || {
            replica.get_with("/api/keys", &old).await.status.as_u16() == 410
        })
        .await;
    }
    let fresh = back(&first, "user_a");
    let fresh_token = first.token_for("user_a");
    fresh.has_example_key("gemini", 2).await;
    for replica in &replicas {
        soon("every replica sees the new key", async || {
            let list = replica.get_with("/api/keys", &fresh_token).await.ok();
            list["keys"].as_array().unwrap().len() == 1
        })
        .await;
        for _ in 0..20 {
            is_gone(&replica.get_with("/api/keys", &old).await);
            replica.get_with("/api/keys", &fresh_token).await.ok();
        }
    }
}

#[tokio::test]
async fn what_was_deleted_does_not_open_even_if_its_row_is_copied_back() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let old = production.as_user("user_a");
    let key = old.has_example_key("gemini", 1).await;
    sql.batch_execute("CREATE TABLE kept AS SELECT * FROM api_keys").await.unwrap();
    go(&old).await;
    let fresh = back(&production, "user_a");
    fresh.has_example_key("exa", 1).await;
    sql.batch_execute(
        "UPDATE kept SET session_id = (SELECT id FROM onboarding_sessions WHERE user_id = 'user_a'), id = 1000; \
         INSERT INTO api_keys SELECT * FROM kept",
    )
    .await
    .unwrap();
    soon("the row is seen", async || fresh.listed("gemini").await["status"] == "unreadable").await;
    production.standin.clear();
    let problem = fresh.post("/api/generate", json!({ "prompt": "x" })).await;
    problem.problem(500, "key_unreadable");
    assert!(!problem.everything().contains(&key[..10]));
    assert!(production.standin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_do_not_bring_a_user_back() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let old = production.as_user("user_a");
    old.has_example_key("gemini", 1).await;
    old.post("/api/onboarding/step/1/complete", json!({ "data": {} })).await.ok();
    // The provider takes its time over a first key of another kind, over a replacement, over steps, over a call.
    for _ in 0..4 {
        production.standin.script("exa", Behaviour::Hang);
        production.standin.script("gemini", Behaviour::Hang);
    }
    let saving = async |provider: &str, number| {
        old.put(&format!("/api/keys/{provider}"), json!({ "key": example_key(provider, number) })).await
    };
    let step = json!({ "data": { "api_keys": { "exa": example_key("exa", 3) } } });
    let calls = async {
        tokio::join!(
            saving("exa", 1),
            saving("gemini", 2),
            old.post("/api/onboarding/step/1/complete", step),
            old.post("/api/keys/gemini/validate", json!({})),
            old.post("/api/generate", json!({ "prompt": "x" })),
        )
    };
    let deletion = async {
        soon("all of them wait", async || production.standin.in_flight() == 5).await;
        go(&old).await;
        let fresh = back(&production, "user_a");
        fresh.get("/api/onboarding/progress").await.ok();
        production.standin.release();
    };
    let ((first, replaced, step, checked, generated), ()) = tokio::join!(calls, deletion);
    for answer in [&first, &replaced, &step] {
        is_gone(answer);
    }
    // They only used what was there when they began, and what they learned of it is about nothing any more.
    assert!(checked.status.is_success(), "{}", checked.body);
    assert!(generated.status.is_success(), "{}", generated.body);
    production.keyfold.flush().await;
    let rows = rows_of(&sql, "user_a").await;
    assert_eq!(rows.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_saves_beside_a_deletion_none_survives_by_an_old_token() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_KEYS", "off").start().await;
    let replica = production.replica().start().await;
    let sql = production.sql().await;
    let providers = ["gemini", "exa", "openai", "anthropic"];
    // A deletion that only came after all saves shows nothing, and is made again with another user.
    let (mut shown, mut attempts) = (0, 0);
    while shown < 3 {
        attempts += 1;
        assert!(attempts < 50, "no deletion came between the saves");
        let user = format!("user_{attempts}");
        let old = production.token_for(&user);
        let goes = production.token_for(&user);
        // Issued after the deletion, whose clock stands still.
        let mut claims = production.claims_for(&user);
        claims["iat"] = json!(production.seconds() + 2);
        let fresh = RSA.token(&claims);
        let save = async |n: usize| {
            let (replica, provider) = ([&production, &replica][n % 2], providers[n / 2 % 4]);
            // In the last round some sign in anew at the same time.
            let token = if shown == 2 && n.is_multiple_of(3) { &fresh } else { &old };
            let request = replica.request(Method::PUT, &format!("/api/keys/{provider}")).bearer_auth(token);
            let body = json!({ "key": example_key(provider, u32::try_from(n).unwrap()) });
            production.send(request.json(&body)).await
        };
        let deleting = async {
            soon("some were saved", async || rows_of(&sql, &user).await[0].1 > 0).await;
            let request = production.request(Method::DELETE, "/api/me").bearer_auth(&goes);
            assert_eq!(production.send(request).await.status.as_u16(), 204);
        };
        let (saved, ()) = tokio::join!(join_all((0..200).map(save)), deleting);
        let mut refused = 0;
        for answer in &saved {
            match answer.status.as_u16() {
                200 | 201 => {}
                409 => drop(answer.problem(409, "conflict")),
                410 => refused += 1,
                other => panic!("{other}: {}", answer.body),
            }
        }
        if shown < 2 {
            assert_eq!(rows_of(&sql, &user).await, NOTHING_BUT_THE_MARK);
        } else {
            // Who is there came by a fresh token, after the deletion.
            let query = "SELECT COUNT(*) FROM onboarding_sessions WHERE user_id = $1 AND valid_from IS NULL";
            assert_eq!(sql.query_one(query, &[&user]).await.unwrap().get::<_, i64>(0), 0);
            let keys = "SELECT k.id FROM api_keys k JOIN onboarding_sessions s ON s.id = k.session_id \
                        WHERE s.user_id = $1";
            assert!(sql.query(keys, &[&user]).await.unwrap().len() <= providers.len());
        }
        is_gone(&production.get_with("/api/keys", &old).await);
        is_gone(&replica.get_with("/api/keys", &old).await);
        shown += usize::from(refused > 0);
    }
}

#[tokio::test]
async fn a_deletion_that_fails_halfway_did_nothing() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let before = rows_of(&sql, "user_a").await;
    sql.batch_execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER no BEFORE DELETE ON onboarding_sessions FOR EACH ROW EXECUTE FUNCTION no()",
    )
    .await
    .unwrap();
    a.delete("/api/me").await.problem(500, "internal_error");
    assert_eq!(rows_of(&sql, "user_a").await, before);
    a.post("/api/generate", json!({ "prompt": "x" })).await.ok();
    sql.batch_execute("DROP TRIGGER no ON onboarding_sessions").await.unwrap();
    go(&a).await;
    assert_eq!(rows_of(&sql, "user_a").await, NOTHING_BUT_THE_MARK);
}

/// Who deleted a user, in which request and with how many keys, as the audit log says.
async fn audited(sql: &SqlClient, user: &str) -> Vec<(String, Option<String>, Value)> {
    let query = "SELECT actor, request_id, note FROM audit_events \
        WHERE user_id = $1 AND action = 'user.deleted' AND outcome = 'ok' ORDER BY id";
    let rows = sql.query(query, &[&user]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), serde_json::from_str(&row.get::<_, String>(2)).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_deletion_is_in_the_audit_log_or_did_not_happen() {
    let production = Production::start().await;
    let sql = production.sql().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    a.has_example_key("gemini", 2).await;
    let before = rows_of(&sql, "user_a").await;
    sql.batch_execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER no BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION no()",
    )
    .await
    .unwrap();
    a.delete("/api/me").await.problem(503, "audit_unavailable");
    assert_eq!(rows_of(&sql, "user_a").await, before);
    a.get("/api/keys").await.ok();
    sql.batch_execute("DROP TRIGGER no ON audit_events").await.unwrap();
    assert!(audited(&sql, "user_a").await.is_empty());

    let request = a.request(Method::DELETE, "/api/me").header("x-request-id", "going-1");
    assert_eq!(production.send(request).await.status.as_u16(), 204);
    let told = audited(&sql, "user_a").await;
    let expected = json!({ "keys": 1, "versions": 1, "steps": 0 });
    assert_eq!(told, [("user".into(), Some("going-1".into()), expected)]);
    // A refused one is no second deletion.
    is_gone(&a.delete("/api/me").await);
    assert_eq!(audited(&sql, "user_a").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_is_deleted_and_that_is_said() {
    let server = PostgresServer::start(&["fsync=off"]);
    let production = Production::with("DATABASE_URL", &server.empty_database().await).start().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    server.stop();
    let answer = a.delete("/api/me").await;
    answer.problem(503, "database_unavailable");
    assert!(!answer.header("retry-after").is_empty());
    server.start_again();
    assert_eq!(a.listed("gemini").await["status"], "valid");
    go(&a).await;
    is_gone(&a.get("/api/keys").await);
}

#[tokio::test]
async fn local_mode_deletes_the_lines_of_the_env_files_and_marks_nobody() {
    let local = Local::start().await;
    local.write(".env", "# mine\nOTHER=stays\nTAVILY_API_KEY=tvly-entered-by-hand-test-data\n");
    let keys = [local.has_example_key("gemini", 1).await, local.has_example_key("copilotkit", 1).await];
    assert!(keys.iter().all(|key| local.file(".env").contains(key.as_str())));
    assert!(!local.file("frontend/.env").is_empty());
    let answer = local.delete("/api/me").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
    assert_eq!(local.file(".env"), "# mine\nOTHER=stays\n");
    assert!(!local.file("frontend/.env").contains(&keys[1]));
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
    // Nothing stands of it: the next key is saved at once, and going twice is as good as once.
    assert_eq!(local.delete("/api/me").await.status.as_u16(), 204);
    local.has_example_key("gemini", 2).await;
    local.post("/api/generate", json!({ "prompt": "x" })).await.ok();
}

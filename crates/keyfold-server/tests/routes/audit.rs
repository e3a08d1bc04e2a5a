//! `/api/audit`

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::production::{Production, User};
use crate::support::{Answer, Local};

/// Waits until the log has as many events; the use of a key is on its way for a moment.
async fn soon(count: usize, list: impl AsyncFn() -> Answer) -> Vec<Value> {
    let waiting = async {
        loop {
            let events = list().await.ok()["events"].as_array().unwrap().clone();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the events did not come")
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["action"].as_str().unwrap()).collect()
}

/// Four events of this user, a second from each other.
async fn has_a_past(production: &Production, user: &User<'_>) {
    for n in 1..=4 {
        user.has_example_key("gemini", n).await;
        production.clock.advance(SignedDuration::from_secs(1));
    }
}

#[tokio::test]
async fn a_user_sees_what_was_done_with_their_keys_the_newest_first() {
    let local = Local::start().await;
    let key = local.has_example_key("gemini", 1).await;
    local.clock.advance(SignedDuration::from_secs(1));
    let answer = local.post("/api/generate", json!({ "prompt": "x" })).await;
    answer.ok();
    let request_id = answer.header("x-request-id").to_owned();
    // Its use is there before what came after it.
    soon(4, async || local.get("/api/audit").await).await;
    local.clock.advance(SignedDuration::from_secs(1));
    local.delete("/api/keys/gemini").await;
    let answer = local.get("/api/audit").await;
    let events = answer.ok()["events"].as_array().unwrap().clone();
    let mut order = actions(&events);
    // At the same time by this clock: begun and ended, checked and saved.
    order[1..3].sort_unstable();
    order[3..].sort_unstable();
    assert_eq!(order, ["key.deleted", "key.ended", "key.opened", "key.checked", "key.saved"]);
    assert!(answer.ok()["next_cursor"].is_null());

    let opened = events.iter().find(|event| event["action"] == "key.opened").unwrap();
    let ended = events.iter().find(|event| event["action"] == "key.ended").unwrap();
    assert_eq!(opened["call_id"], ended["call_id"]);
    for (event, outcome) in [(opened, "ok"), (ended, "ok")] {
        assert_eq!(event["provider"], "gemini");
        assert_eq!(event["actor"], "user");
        assert_eq!(event["outcome"], outcome);
        assert_eq!(event["request_id"], request_id);
        assert_eq!(event["purpose"], "generate");
        assert_eq!(event["at"], "2026-01-02T03:04:06Z");
        assert_eq!(event["address"], "127.0.0.1");
        assert!(event["id"].as_i64().unwrap() > 0, "{event}");
    }
    assert_eq!((&ended["provider_status"], &opened["provider_status"]), (&json!(200), &Value::Null));
    assert!(!answer.everything().contains(&key[key.len() - 8..]));
}

#[tokio::test]
async fn pages_join_without_a_gap_whatever_comes_meanwhile() {
    let production = Production::start().await;
    let a = production.as_user("user_a");
    has_a_past(&production, &a).await;
    // Each save is a check too.
    let whole = soon(8, async || a.get("/api/audit").await).await;
    let mut found = vec![];
    let mut path = "/api/audit?limit=1".to_owned();
    loop {
        let page = a.get(&path).await.ok();
        let events = page["events"].as_array().unwrap();
        assert!(events.len() == 1, "{page}");
        found.extend(events.iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/audit?limit=1&cursor={cursor}");
        production.clock.advance(SignedDuration::from_secs(1));
        a.has_example_key("exa", 1).await;
    }
    assert_eq!(found, whole);
    // What came meanwhile is newer than the first page. What is not known in a query does not matter.
    let now = soon(22, async || a.get("/api/audit?limit=200&from=a-page").await).await;
    assert_eq!(now.len(), 22);
    assert_eq!(now[14..], whole);
}

#[tokio::test]
async fn events_are_selected_by_provider_action_and_outcome_page_by_page() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    for provider in ["gemini", "exa", "openai"] {
        a.has_example_key(provider, 1).await;
        b.has_example_key(provider, 2).await;
        production.clock.advance(SignedDuration::from_secs(1));
    }
    a.delete("/api/keys/exa").await;
    let whole = soon(7, async || a.get("/api/audit").await).await;
    let of = async |query: &str| {
        let answer = a.get(&format!("/api/audit?{query}")).await.ok();
        answer["events"].as_array().unwrap().clone()
    };
    let of_whole = |is_wanted: &dyn Fn(&Value) -> bool| {
        whole.iter().filter(|event| is_wanted(event)).cloned().collect::<Vec<_>>()
    };
    for (query, expected, count) in [
        ("provider=exa", of_whole(&|event| event["provider"] == "exa"), 3),
        ("action=key.saved", of_whole(&|event| event["action"] == "key.saved"), 3),
        ("action=key.", whole.clone(), 7),
        ("action=user.", vec![], 0),
        ("outcome=valid", of_whole(&|event| event["outcome"] == "valid"), 3),
        ("provider=exa&action=key.deleted&outcome=ok", whole[..1].to_vec(), 1),
        ("provider=mistral", vec![], 0),
    ] {
        assert_eq!((of(query).await, expected.len()), (expected, count), "{query}");
    }

    let mut found = vec![];
    let mut query = "action=key.saved&limit=1".to_owned();
    loop {
        let page = a.get(&format!("/api/audit?{query}")).await.ok();
        found.extend(page["events"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("action=key.saved&limit=1&cursor={cursor}");
    }
    assert_eq!(found, of("action=key.saved").await);
}

#[tokio::test]
async fn nobody_sees_anothers_events_with_any_cursor() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    has_a_past(&production, &a).await;
    b.has_example_key("exa", 1).await;
    let cursor = a.get("/api/audit?limit=1").await.ok()["next_cursor"].as_str().unwrap().to_owned();
    for path in
        ["/api/audit".to_owned(), format!("/api/audit?cursor={cursor}"), "/api/audit?limit=200".into()]
    {
        let page = b.get(&path).await;
        let body = page.ok();
        assert!(body["events"].as_array().unwrap().iter().all(|event| event["provider"] == "exa"), "{body}");
        assert!(!page.body.contains("gemini"), "{}", page.body);
    }
    // The cursor is before everything of b's.
    assert_eq!(b.get(&format!("/api/audit?cursor={cursor}")).await.ok()["events"], json!([]));
    production.get("/api/audit").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn what_cannot_be_a_page_is_refused_by_its_name() {
    let local = Local::start().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=1e1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=7", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=__________________________", "cursor"),
        ("cursor=a&cursor=b", "cursor"),
        ("provider=", "provider"),
        ("provider=Not%20one", "provider"),
        ("provider=exa&provider=exa", "provider"),
        ("action=", "action"),
        ("action=key", "action"),
        ("action=key.%25", "action"),
        ("outcome=", "outcome"),
        ("outcome=fine", "outcome"),
    ] {
        let problem = local.get(&format!("/api/audit?{query}")).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    for limit in [1, 200] {
        local.get(&format!("/api/audit?limit={limit}")).await.ok();
    }
}

#[tokio::test]
async fn a_key_that_is_missing_is_told() {
    let local = Local::start().await;
    local.post("/api/generate", json!({ "prompt": "x" })).await.problem(404, "no_api_key");
    let events = soon(1, async || local.get("/api/audit").await).await;
    assert_eq!((&events[0]["action"], &events[0]["outcome"]), (&json!("key.refused"), &json!("no_key")));
}

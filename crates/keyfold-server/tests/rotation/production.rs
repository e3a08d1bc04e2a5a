//! Production, on two replicas.

use futures_util::future::join_all;
use jiff::SignedDuration;
use keyfold::keys::KEPT_FOR;
use keyfold_standin::{Behaviour, example_key};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::production::Production;

const USER: &str = "user_a";
const AT_ONCE: u32 = 50;

async fn without_limits() -> Production {
    let setup = Production::with("KEYFOLD_RATE_LIMIT_KEYS", "off");
    setup.with("KEYFOLD_RATE_LIMIT_GENERATE", "off").start().await
}

/// The keys of the calls that came since the last look, checks among them.
fn keys_seen(production: &Production) -> Vec<String> {
    let keys = production.standin.requests().into_iter().map(|seen| seen.key).collect();
    production.standin.clear();
    keys
}

/// The sealed versions before, of everybody.
async fn kept(production: &Production) -> Vec<String> {
    let rows = production.sql().await.query("SELECT key FROM api_key_versions", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn calls_under_way_finish_with_the_old_key_when_it_is_replaced_and_when_it_is_removed() {
    let production = without_limits().await;
    let user = production.as_user(USER);
    let prompt = json!({ "prompt": "hello", "provider": "openai" });
    let old = user.has_example_key("openai", 1).await;
    let new = example_key("openai", 2);
    let changes = [
        (Method::PUT, json!({ "key": new }), vec![&old, &old, &new]),
        (Method::DELETE, json!(null), vec![&new, &new]),
    ];
    for (method, body, seen) in changes {
        production.standin.clear();
        production.standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
        let mut stream = user.stream(prompt.clone()).await;
        assert_eq!(stream.next().await.unwrap().0, "delta");
        production.standin.script("openai", Behaviour::Hang);
        let (whole, ()) = tokio::join!(user.post("/api/generate", prompt.clone()), async {
            production.standin.wait_for_requests(2).await;
            let change = user.request(method, "/api/keys/openai").json(&body);
            assert!(production.send(change).await.status.is_success());
            production.standin.release();
        });
        assert_eq!(whole.status, StatusCode::OK, "{}", whole.body);
        assert_eq!(stream.rest().await.last().unwrap().0, "done");
        assert_eq!(keys_seen(&production).iter().collect::<Vec<_>>(), seen);
    }
    user.post("/api/generate", prompt).await.problem(404, "no_api_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_replacements_at_once_on_two_replicas_one_wins_and_all_agree() {
    let first = without_limits().await;
    let second = first.replica().start().await;
    let old = first.as_user(USER).has_example_key("openai", 1).await;
    first.standin.clear();
    let new: Vec<String> = (2..2 + AT_ONCE).map(|n| example_key("openai", n)).collect();
    for _ in &new {
        first.standin.script("openai", Behaviour::Hang);
    }
    let replicas = [&first, &second];
    let saving = join_all(new.iter().enumerate().map(|(n, key)| async move {
        replicas[n % 2].as_user(USER).put("/api/keys/openai", json!({ "key": key })).await
    }));
    let (answers, ()) = tokio::join!(saving, async {
        first.standin.wait_for_requests(new.len()).await;
        first.standin.release();
    });
    let won: Vec<usize> = (0..new.len()).filter(|n| answers[*n].status == 200).collect();
    assert_eq!(won.len(), 1, "{won:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(409, "conflict");
    }
    let key = &new[won[0]];

    // Where it was replaced it counts at once; on the other one as soon as it was heard.
    let uses = async |replica: &Production| {
        first.standin.clear();
        let body = json!({ "prompt": "hello", "provider": "openai" });
        replica.as_user(USER).post("/api/generate", body).await.ok();
        keys_seen(&first).pop().unwrap()
    };
    assert_eq!(&uses(replicas[won[0] % 2]).await, key);
    while &uses(replicas[1 - won[0] % 2]).await != key {}
    for replica in replicas {
        let listed = replica.as_user(USER).listed("openai").await;
        let shown = format!("****{}", &key[key.len() - 4..]);
        assert_eq!((&listed["masked"], &listed["version"]), (&json!(shown), &json!(2)));
    }
    assert_eq!(kept(&first).await.len(), 1);
    second.as_user(USER).post("/api/keys/openai/rollback", json!({})).await.ok();
    assert_eq!(uses(&second).await, old);
}

#[tokio::test]
async fn the_old_version_is_kept_sealed_for_a_day_and_then_wiped() {
    let production = without_limits().await;
    let user = production.as_user(USER);
    let old = user.has_example_key("openai", 1).await;
    let new = user.has_example_key("openai", 2).await;
    let second = SignedDuration::from_secs(1);

    production.clock.advance(KEPT_FOR - second);
    production.keyfold.wipe_expired_versions().await;
    let sealed = kept(&production).await;
    assert!(sealed.len() == 1 && sealed[0].starts_with("kf1.") && !sealed[0].contains(&old), "{sealed:?}");

    production.clock.advance(second);
    production.keyfold.wipe_expired_versions().await;
    assert_eq!(kept(&production).await, Vec::<String>::new());
    // The first token has expired.
    let user = production.as_user(USER);
    user.post("/api/keys/openai/rollback", json!({})).await.problem(404, "no_previous_version");
    production.standin.clear();
    user.post("/api/generate", json!({ "prompt": "hello", "provider": "openai" })).await.ok();
    assert_eq!(keys_seen(&production), [new]);
}

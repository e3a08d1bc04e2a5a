//! `/api/research`

use std::time::Duration;

use keyfold::provider::http::Timeouts;
use keyfold_standin::{Behaviour, answer_text, example_key, example_key_with, refused_port};
use serde_json::{Value, json};

use crate::support::{Local, Setup};

async fn with_exa() -> (Local, String) {
    let local = Local::start().await;
    let key = local.has_example_key("exa", 1).await;
    local.standin.clear();
    (local, key)
}

#[tokio::test]
async fn exas_own_answer_comes_back() {
    let (local, key) = with_exa().await;
    let answer = local.post("/api/research", json!({ "query": "tides in Bristol", "num_results": 3 })).await;
    assert_eq!(answer.status, 200);
    let found = answer.json();
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["title"], format!("{} (result 1)", answer_text(&key, "tides in Bristol")));
    assert_eq!(results[2]["url"], "https://standin.invalid/articles/3");
    assert_eq!(found["resolvedSearchType"], "neural");
    assert_eq!(found["costDollars"]["total"], 0.005);
}

#[tokio::test]
async fn exa_sees_the_users_key_and_nothing_else_of_the_caller() {
    let (local, key) = with_exa().await;
    local.post("/api/research", json!({ "query": "tides", "num_results": 3 })).await.ok();
    let seen = local.standin.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].provider, seen[0].path.as_str()), ("exa", "/search"));
    assert_eq!(seen[0].header("x-api-key"), Some(key.as_str()));
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[0].query, None);
    assert_eq!(seen[0].json(), json!({ "query": "tides", "numResults": 3 }));
}

#[tokio::test]
async fn without_a_number_exa_decides_how_many_results_there_are() {
    let (local, _) = with_exa().await;
    let found = local.post("/api/research", json!({ "query": "tides" })).await.ok();
    assert_eq!(found["results"].as_array().unwrap().len(), 10);
    assert_eq!(local.standin.requests()[0].json(), json!({ "query": "tides" }));
}

#[tokio::test]
async fn there_are_1_to_100_results() {
    let (local, _) = with_exa().await;
    for count in [1, 100] {
        let found = local.post("/api/research", json!({ "query": "tides", "num_results": count })).await.ok();
        assert_eq!(found["results"].as_array().unwrap().len(), count);
    }
    local.standin.clear();
    for count in [json!(0), json!(101), json!(-1), json!(1.5), json!("5"), json!([5])] {
        let body = json!({ "query": "tides", "num_results": count });
        let problem = local.post("/api/research", body).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "num_results", "{count}");
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn an_empty_query_is_refused() {
    let (local, _) = with_exa().await;
    for body in [json!({ "query": "" }), json!({ "query": " \n" }), json!({}), json!({ "query": null })] {
        let problem = local.post("/api/research", body).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "query");
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn without_a_key_the_answer_says_what_to_do() {
    let local = Local::start().await;
    let problem = local.post("/api/research", json!({ "query": "tides" })).await.problem(404, "no_api_key");
    assert_eq!(problem["provider"], "exa");
    assert!(problem["detail"].as_str().unwrap().contains("EXA_API_KEY"), "{problem}");
}

#[tokio::test]
async fn a_refused_key_is_marked_until_it_works_again() {
    let (local, _) = with_exa().await;
    local.standin.script("exa", Behaviour::status(401, r#"{"error":"x-api-key header is invalid"}"#));
    let problem = local.post("/api/research", json!({ "query": "tides" })).await.problem(424, "key_rejected");
    assert_eq!(problem["provider"], "exa");
    assert_eq!(local.listed("exa").await["status"], "rejected");
    local.post("/api/research", json!({ "query": "tides" })).await.ok();
    assert_eq!(local.listed("exa").await["status"], "valid");
}

#[tokio::test]
async fn an_account_without_credits_is_told_as_exa_does() {
    let (local, _) = with_exa().await;
    local.has_key("exa", &example_key_with("exa", "NOCREDIT")).await;
    let answer = local.post("/api/research", json!({ "query": "tides" })).await;
    let problem = answer.problem(402, "provider_error");
    assert_eq!(problem["provider_status"], 402);
    assert!(problem["detail"].as_str().unwrap().contains("credits"), "{problem}");
}

#[tokio::test]
async fn exas_troubles_are_told_by_their_codes() {
    let (local, _) = with_exa().await;
    let cases = [
        (Behaviour::status(500, r#"{"error":"oh no"}"#), 502, "provider_error"),
        (
            Behaviour::status_with(429, &[("retry-after", "9")], r#"{"error":"slow down"}"#),
            429,
            "provider_error",
        ),
        (Behaviour::NotJson, 502, "provider_error"),
        (Behaviour::InvalidJson, 502, "provider_error"),
        (Behaviour::Huge { bytes: 100 * 1024 * 1024 }, 502, "provider_error"),
        (Behaviour::StreamThenCut { chunks: 1 }, 502, "provider_error"),
        (Behaviour::Redirect { location: local.standin.base_url("exa") + "/search" }, 502, "provider_error"),
        (Behaviour::CloseWithoutAnswer, 502, "provider_unreachable"),
    ];
    for (behaviour, status, code) in cases {
        local.standin.script("exa", behaviour.clone());
        let answer = local.post("/api/research", json!({ "query": "tides" })).await;
        assert_eq!(answer.problem(status, code)["provider"], "exa", "{behaviour:?}");
        assert_eq!(answer.header("retry-after"), if status == 429 { "9" } else { "" });
        assert_eq!(local.listed("exa").await["status"], "valid", "{behaviour:?}");
    }
}

#[tokio::test]
async fn an_exa_that_does_not_answer_is_a_timeout() {
    let short = Duration::from_millis(100);
    let timeouts = Timeouts { first_byte: short, idle: short, ..Timeouts::default() };
    let local = Setup::default().timeouts(timeouts).start().await;
    local.write(".env", &format!("EXA_API_KEY={}\n", example_key("exa", 1)));
    for behaviour in [Behaviour::Hang, Behaviour::HangAfterHeaders] {
        local.standin.script("exa", behaviour);
        local.post("/api/research", json!({ "query": "tides" })).await.problem(504, "provider_timeout");
    }
}

#[tokio::test]
async fn when_exa_is_away_research_says_so() {
    let local = Setup::default().with("KEYFOLD_PROVIDER_EXA_BASE_URL", &refused_port()).start().await;
    local.has_example_key("exa", 1).await;
    local.post("/api/research", json!({ "query": "tides" })).await.problem(502, "provider_unreachable");
    assert_eq!(local.listed("exa").await["last_verified_at"], Value::Null);
}

#[tokio::test]
async fn who_leaves_ends_the_search() {
    let (local, _) = with_exa().await;
    local.standin.script("exa", Behaviour::Hang);
    let asking = local.request(reqwest::Method::POST, "/api/research").json(&json!({ "query": "tides" }));
    let asking = tokio::spawn(asking.send());
    local.standin.wait_for_requests(1).await;
    asking.abort();
    local.standin.wait_for_cancelled(1).await;
}

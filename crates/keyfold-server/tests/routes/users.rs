//! What an operator's word about a user does to that user's requests.

use keyfold::user::UserId;
use reqwest::Method;
use serde_json::json;

use crate::support::production::Production;

/// What asks for no user, and what there is only in local mode.
const NOT_THE_USERS: [&str; 6] = [
    "GET /healthz",
    "GET /readyz",
    "GET /api/config",
    "POST /webhooks/clerk",
    "POST /api/frontend-env/update",
    // A suspended user may go; see account.rs.
    "DELETE /api/me",
];

#[tokio::test]
async fn every_request_of_a_suspended_user_is_refused() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    let key = a.has_example_key("gemini", 1).await;
    b.has_example_key("gemini", 2).await;
    production.standin.clear();
    let user = UserId::parse("user_a").unwrap();
    production.keyfold.users().suspend(&user).await.unwrap();

    let description = production.get("/openapi.json").await.json();
    let mut refused = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        // They take a token of a service, and no user's.
        if path.starts_with("/api/service/") {
            continue;
        }
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            if NOT_THE_USERS.contains(&format!("{method} {path}").as_str())
                || path.starts_with("/api/service/")
            {
                continue;
            }
            let address = path.replace("{provider}", "gemini").replace("{n}", "1");
            let method: Method = method.parse().unwrap();
            let mut request = a.request(method.clone(), &address);
            if method == Method::POST || method == Method::PUT {
                // Something for each of them.
                request = request.json(&json!({
                    "key": key, "api_key": key, "provider": "gemini", "prompt": "x", "query": "x", "data": {},
                }));
            }
            let problem = production.send(request).await.problem(403, "user_suspended");
            assert!(problem["detail"].as_str().unwrap().contains("suspended"), "{problem}");
            refused += 1;
        }
    }
    assert!(refused >= 29, "{refused}");
    assert!(production.standin.requests().is_empty(), "no provider was asked");
    // Nobody else is concerned.
    b.get("/api/keys").await.ok();
    b.post("/api/generate", json!({ "prompt": "x" })).await.ok();

    production.keyfold.users().resume(&user).await.unwrap();
    assert_eq!(a.listed("gemini").await["masked"], format!("****{}", &key[key.len() - 4..]));
    a.post("/api/generate", json!({ "prompt": "x" })).await.ok();
    assert_eq!(production.standin.requests_for("gemini").last().unwrap().key, key);
}

#[tokio::test]
async fn who_is_suspended_before_the_first_visit_is_refused_at_it() {
    let production = Production::start().await;
    let user = UserId::parse("user_x").unwrap();
    production.keyfold.users().suspend(&user).await.unwrap();
    let x = production.as_user("user_x");
    x.get("/api/onboarding/init").await.problem(403, "user_suspended");
    production.keyfold.users().resume(&user).await.unwrap();
    x.get("/api/onboarding/init").await.ok();
}

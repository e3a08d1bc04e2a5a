//! `/openapi.json`

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::support::Local;
use crate::support::production::Production;

/// What anybody may call.
const PUBLIC: [&str; 3] = ["GET /api/config", "GET /healthz", "GET /readyz"];

/// Signed instead of carrying a token.
const WEBHOOK: &str = "POST /webhooks/clerk";

/// Every call of the contract that local mode has.
const CALLS: [&str; 39] = [
    "GET /healthz",
    "GET /readyz",
    "GET /api/config",
    "GET /api/providers",
    "GET /api/keys",
    "PUT /api/keys/{provider}",
    "DELETE /api/keys/{provider}",
    "POST /api/keys/{provider}/validate",
    "POST /api/keys/{provider}/rollback",
    "POST /api/generate",
    "POST /api/research",
    "GET /api/service/users/{user_id}/keys",
    "GET /api/service/users/{user_id}/keys/{provider}",
    "DELETE /api/me",
    "GET /api/audit",
    "GET /api/usage",
    "POST /webhooks/clerk",
    "POST /api/frontend-env/update",
    "GET /api/onboarding/init",
    "GET /api/onboarding/status",
    "GET /api/onboarding/progress",
    "GET /api/onboarding/config",
    "GET /api/onboarding/resume",
    "GET /api/onboarding/summary",
    "POST /api/onboarding/start",
    "POST /api/onboarding/reset",
    "POST /api/onboarding/complete",
    "GET /api/onboarding/step/{n}",
    "GET /api/onboarding/step/{n}/validate",
    "POST /api/onboarding/step/{n}/complete",
    "POST /api/onboarding/step/{n}/skip",
    "GET /api/onboarding/api-keys",
    "POST /api/onboarding/api-keys",
    "GET /api/onboarding/api-keys/onboarding",
    "GET /api/onboarding/api-keys/validate",
    "POST /api/onboarding/api-keys/validate",
    "GET /api/onboarding/providers",
    "GET /api/onboarding/providers/{provider}",
    "POST /api/onboarding/providers/{provider}/validate",
];

async fn description(local: &Local) -> Value {
    let answer = local.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

/// Method and path of every described call.
fn described(description: &Value) -> BTreeSet<String> {
    let paths = description["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    calls.collect()
}

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == "$ref" => found.push(text.clone()),
                    other => references(other, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_call_is_described() {
    let local = Local::start().await;
    let description = description(&local).await;
    assert!(description["openapi"].as_str().unwrap().starts_with("3."), "{}", description["openapi"]);
    assert_eq!(description["info"]["title"], "Keyfold");
    let expected: BTreeSet<String> = CALLS.map(str::to_owned).into();
    assert_eq!(described(&description), expected);
}

#[tokio::test]
async fn every_described_call_is_there() {
    let local = Local::start().await;
    for call in described(&description(&local).await) {
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.replace("{provider}", "gemini").replace("{n}", "1");
        let answer = local.send(local.request(method.parse::<Method>().unwrap(), &path)).await;
        assert_ne!(answer.status, 405, "{call}");
        // It says why it is not there: no signing secret is set.
        if call == WEBHOOK {
            assert!(answer.problem(404, "not_found")["detail"].as_str().unwrap().contains("SIGNING_SECRET"));
            continue;
        }
        if answer.status == 404 {
            let code = &answer.json()["code"];
            assert!(code == "no_api_key" || code == "no_previous_version", "{call}: {code}");
        }
    }
}

#[tokio::test]
async fn the_description_is_complete_in_itself() {
    let local = Local::start().await;
    let description = description(&local).await;
    let mut found = vec![];
    references(&description, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, call) in methods.as_object().unwrap() {
            let summary = call["summary"].as_str().or(call["description"].as_str()).unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} has no words");
            assert!(
                call["responses"].as_object().is_some_and(|responses| !responses.is_empty()),
                "{method} {path}"
            );
            for parameter in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let parameters = call["parameters"].as_array().unwrap_or_else(|| panic!("{method} {path}"));
                assert!(parameters.iter().any(|found| found["name"] == parameter), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_call_but_the_public_ones_needs_a_token_and_is_described_so() {
    // Test data.
    let production =
        Production::with("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_dGVzdCBkYXRhLCBub3QgYSBzZWNyZXQ=");
    let production = production.start().await;
    let description = production.get("/openapi.json").await.json();
    let scheme = &description["components"]["securitySchemes"]["token"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"], &scheme["bearerFormat"]),
        (&"http".into(), &"bearer".into(), &"JWT".into())
    );
    let mut public = BTreeSet::new();
    for call in described(&description) {
        let (method, path) = call.split_once(' ').unwrap();
        let security = &description["paths"][path][method.to_lowercase()]["security"];
        let address = path.replace("{provider}", "gemini").replace("{n}", "1");
        let answer = production.send(production.request(method.parse::<Method>().unwrap(), &address)).await;
        if call == WEBHOOK {
            assert_eq!((security, answer.status.as_u16()), (&serde_json::json!([]), 401));
        } else if *security == serde_json::json!([]) {
            assert_eq!(answer.status, 200, "{call}");
            public.insert(call);
        } else {
            let token = if path.starts_with("/api/service/") { "service_token" } else { "token" };
            assert_eq!(*security, serde_json::json!([{ token: [] }]), "{call}");
            assert_eq!(description["components"]["securitySchemes"][token]["scheme"], "bearer");
            assert_eq!(answer.status, 401, "{call}");
        }
    }
    assert_eq!(public, PUBLIC.map(str::to_owned).into());
}

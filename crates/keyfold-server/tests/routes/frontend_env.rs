//! `/api/frontend-env/update`

use serde_json::json;

use crate::support::{Local, Setup};

const PATH: &str = "/api/frontend-env/update";
const VARIABLE: &str = "REACT_APP_COPILOTKIT_API_KEY";

#[tokio::test]
async fn the_front_ends_variable_is_written() {
    let local = Local::start().await;
    local.write("frontend/.env", "# mine\nREACT_APP_TITLE=x\n");
    let body =
        json!({ "key": VARIABLE, "value": " ck_pub_0123456789abcdef ", "description": "for the assistant" });
    let written = local.post(PATH, body).await;
    assert_eq!(written.status, 200);
    let written = written.json();
    let mut fields: Vec<&String> = written.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["key", "message", "success"]);
    assert_eq!((&written["success"], &written["key"]), (&json!(true), &json!(VARIABLE)));
    assert_eq!(
        local.file("frontend/.env"),
        "# mine\nREACT_APP_TITLE=x\nREACT_APP_COPILOTKIT_API_KEY=ck_pub_0123456789abcdef\n"
    );
    // The backend's keys are not its business.
    assert!(!local.path(".env").exists());
    local.post(PATH, json!({ "key": VARIABLE, "value": "ck_pub_fedcba9876543210" })).await.ok();
    assert_eq!(local.file("frontend/.env").lines().count(), 3);
}

#[tokio::test]
async fn no_other_variable_can_be_written() {
    let local = Local::start().await;
    for name in [
        "GEMINI_API_KEY",
        "COPILOTKIT_API_KEY",
        "PATH",
        "NODE_OPTIONS",
        "",
        "REACT_APP_X",
        "sk-secret",
        "react_app_copilotkit_api_key",
    ] {
        let refused = local.post(PATH, json!({ "key": name, "value": "abcdefghijkl" })).await;
        let problem = refused.problem(422, "invalid_request");
        assert_eq!(problem["field"], "key");
        assert!(problem["detail"].as_str().unwrap().contains(VARIABLE), "{problem}");
        assert!(!refused.everything().contains("secret"));
    }
    let injected = format!("{VARIABLE}=x\nPATH");
    local.post(PATH, json!({ "key": injected, "value": "x" })).await.problem(422, "invalid_request");
    assert!(!local.path("frontend/.env").exists());
}

#[tokio::test]
async fn a_value_that_readers_would_misread_is_refused() {
    let local = Local::start().await;
    for value in [
        "",
        "secret'x",
        "secret\"x",
        "secret`x",
        "secret\\x",
        "secret$x",
        "secret\nPATH=x",
        "secret x",
        "secret\0x",
        "secretü",
    ] {
        let refused = local.post(PATH, json!({ "key": VARIABLE, "value": value })).await;
        assert_eq!(refused.problem(422, "invalid_request")["field"], "value", "{value:?}");
        assert!(!refused.everything().contains("secret"), "{value:?}");
    }
    assert!(!local.path("frontend/.env").exists());
}

#[tokio::test]
async fn without_a_front_end_there_is_nothing_to_write() {
    let local = Setup::default().without_frontend().start().await;
    let body = json!({ "key": VARIABLE, "value": "ck_pub_0123456789abcdef" });
    let problem = local.post(PATH, body).await.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("KEYFOLD_FRONTEND_ENV_FILE"), "{problem}");
    assert!(!local.path("frontend").exists());
}

#[tokio::test]
async fn the_front_ends_file_may_be_elsewhere() {
    let local =
        Setup::default().without_frontend().with("KEYFOLD_FRONTEND_ENV_FILE", "web.env").start().await;
    local.post(PATH, json!({ "key": VARIABLE, "value": "ck_pub_0123456789abcdef" })).await.ok();
    assert_eq!(local.file("web.env"), format!("{VARIABLE}=ck_pub_0123456789abcdef\n"));
}

#[tokio::test]
async fn a_front_ends_file_that_cannot_be_understood_is_left_alone() {
    let local = Local::start().await;
    local.write("frontend/.env", "A=1\nB='open\n");
    let body = json!({ "key": VARIABLE, "value": "ck_pub_0123456789abcdef" });
    let problem = local.post(PATH, body).await.problem(500, "env_file_error");
    assert!(problem["detail"].as_str().unwrap().contains("line 2"), "{problem}");
    assert_eq!(local.file("frontend/.env"), "A=1\nB='open\n");
}

//! The session as a whole: init, status, progress, config, resume, summary, start, reset, complete.

use jiff::SignedDuration;
use keyfold_standin::issuer::{Issuer, KEY_SET_PATH, RSA};
use serde_json::{Value, json};

use super::{PRESETS, STEP, assert_fields, complete_step, onboarding, reach_the_last_step, skip_step};
use crate::support::production::{Production, Setup as ProductionSetup};
use crate::support::{Local, START, Setup};

async fn get(local: &Local, name: &str) -> Value {
    local.get(&format!("/api/onboarding/{name}")).await.ok()
}

async fn post(local: &Local, name: &str) -> Value {
    local.post(&format!("/api/onboarding/{name}"), json!({})).await.ok()
}

#[tokio::test]
async fn init_has_user_session_and_all_steps() {
    for (preset, steps) in PRESETS {
        let local = onboarding(preset).await;
        let init = get(&local, "init").await;
        assert_fields(&init, &["user", "onboarding", "session"]);
        let user = json!({ "id": "local", "email": null, "first_name": null, "last_name": null, "clerk_user_id": null });
        assert_eq!(init["user"], user);
        assert_fields(&init["session"], &["session_id", "initialized_at"]);
        assert_eq!(init["session"]["initialized_at"], START);
        assert!(init["session"]["session_id"].is_i64(), "{init}");
        let fields = [
            "is_completed",
            "current_step",
            "completion_percentage",
            "next_step",
            "started_at",
            "completed_at",
            "can_proceed_to_final",
            "last_updated",
            "steps",
        ];
        assert_fields(&init["onboarding"], &fields);
        let all = init["onboarding"]["steps"].as_array().unwrap();
        assert_eq!(all.len() as u64, steps);
        for (step, number) in all.iter().zip(1..) {
            assert_fields(step, &STEP);
            assert_eq!(step["step_number"], number);
            assert_eq!(step["status"], if number == 1 { "in_progress" } else { "pending" });
        }
    }
}

#[tokio::test]
async fn a_user_of_clerk_has_clerks_id() {
    let issuer = std::sync::Arc::new(Issuer::start().await);
    let setup = ProductionSetup::default()
        .issuer(issuer.clone())
        .with("KEYFOLD_AUTH_ISSUER", "")
        .with("CLERK_PUBLISHABLE_KEY", "pk_test_Y2xldmVyLWNhdC0xLmNsZXJrLmFjY291bnRzLmRldiQ")
        .with("KEYFOLD_AUTH_JWKS_URL", &format!("{}{KEY_SET_PATH}", issuer.url()));
    let clerk = setup.start().await;
    let mut claims = clerk.claims_for("user_a");
    claims["iss"] = json!("https://clever-cat-1.clerk.accounts.dev");
    let other = Production::start().await;
    for name in ["init", "summary"] {
        let path = format!("/api/onboarding/{name}");
        let nothing = json!({ "id": "user_a", "email": null, "first_name": null, "last_name": null, "clerk_user_id": null });
        assert_eq!(other.as_user("user_a").get(&path).await.ok()["user"], nothing);
        let mut user = nothing;
        user["clerk_user_id"] = json!("user_a");
        assert_eq!(clerk.get_with(&path, &RSA.token(&claims)).await.ok()["user"], user);
    }
}

#[tokio::test]
async fn who_was_never_here_is_at_the_first_step() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        let status = json!({
            "is_completed": false, "current_step": 1, "completion_percentage": 0.0, "next_step": 1,
            "started_at": START, "completed_at": null, "can_proceed_to_final": false,
        });
        assert_eq!(get(&local, "status").await, status);
    }
}

#[tokio::test]
async fn progress_follows_from_the_steps() {
    let local = onboarding("alwrity").await;
    let keys = super::required_keys("alwrity");
    complete_step(&local, 1, json!({ "api_keys": keys })).await.ok();
    let seen = |progress: &Value| {
        let of = |name: &str| progress[name].clone();
        (of("current_step"), of("progress"), of("completion_percentage"))
    };
    let progress = get(&local, "progress").await;
    let fields = [
        "steps",
        "current_step",
        "progress",
        "total_steps",
        "completion_percentage",
        "started_at",
        "last_updated",
        "is_completed",
        "completed_at",
    ];
    assert_fields(&progress, &fields);
    assert_eq!(progress["total_steps"], 6);
    assert_eq!(seen(&progress), (json!(2), json!(16.67), json!(16.67)));
    // Out of order: the current step is the first open one.
    skip_step(&local, 4).await.ok();
    assert_eq!(seen(&get(&local, "progress").await), (json!(2), json!(33.33), json!(33.33)));
    complete_step(&local, 2, json!({ "website_url": "https://example.org" })).await.ok();
    assert_eq!(seen(&get(&local, "progress").await), (json!(3), json!(50.0), json!(50.0)));
    complete_step(&local, 3, json!({})).await.ok();
    let progress = get(&local, "progress").await;
    assert_eq!(seen(&progress), (json!(5), json!(66.67), json!(66.67)));
    let statuses: Vec<&str> =
        progress["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["completed", "completed", "completed", "skipped", "in_progress", "pending"]);
    assert_eq!(get(&local, "status").await["can_proceed_to_final"], true);
    skip_step(&local, 5).await.ok();
    assert_eq!(seen(&get(&local, "progress").await), (json!(6), json!(83.33), json!(83.33)));
    post(&local, "complete").await;
    let progress = get(&local, "progress").await;
    assert_eq!(seen(&progress), (json!(6), json!(100.0), json!(100.0)));
    assert_eq!(progress["is_completed"], true);
    assert_eq!(get(&local, "status").await["next_step"], Value::Null);
}

#[tokio::test]
async fn the_keyfold_preset_counts_in_thirds() {
    let local = onboarding("keyfold").await;
    let percentage = || async { get(&local, "status").await["completion_percentage"].clone() };
    assert_eq!(percentage().await, 0.0);
    reach_the_last_step(&local, "keyfold").await;
    assert_eq!(percentage().await, 33.33);
    skip_step(&local, 2).await.ok();
    assert_eq!(percentage().await, 66.67);
    post(&local, "complete").await;
    assert_eq!(percentage().await, 100.0);
}

#[tokio::test]
async fn config_names_the_steps_by_number() {
    let local = onboarding("keyfold").await;
    let config = json!({
        "total_steps": 3, "required_steps": [1, 3], "optional_steps": [2],
        "step_requirements": { "1": ["gemini"], "2": [], "3": [] },
    });
    assert_eq!(get(&local, "config").await, config);
    let local = onboarding("alwrity").await;
    let config = get(&local, "config").await;
    assert_fields(&config, &["total_steps", "required_steps", "optional_steps", "step_requirements"]);
    assert_eq!(config["total_steps"], 6);
    assert_eq!(config["required_steps"], json!([1, 2, 3, 6]));
    assert_eq!(config["optional_steps"], json!([4, 5]));
    assert_eq!(config["step_requirements"]["1"], json!(["gemini", "exa", "copilotkit"]));
    assert_eq!(config["step_requirements"].as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn resume_says_where_to_go_on() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        reach_the_last_step(&local, preset).await;
        let current = get(&local, "status").await["current_step"].clone();
        let resume = get(&local, "resume").await;
        let fields = [
            "can_resume",
            "resume_step",
            "current_step",
            "completion_percentage",
            "started_at",
            "last_updated",
        ];
        assert_fields(&resume, &fields);
        assert_eq!(resume["can_resume"], true);
        assert_eq!((&resume["resume_step"], &resume["current_step"]), (&current, &current));
        post(&local, "complete").await;
        let resume = get(&local, "resume").await;
        assert_eq!((&resume["can_resume"], &resume["resume_step"]), (&json!(false), &Value::Null));
    }
}

#[tokio::test]
async fn the_summary_shows_which_keys_are_there() {
    let local = onboarding("alwrity").await;
    local.has_example_key("exa", 1).await;
    local.has_example_key("openai", 1).await;
    let summary = get(&local, "summary").await;
    let fields = ["user", "api_keys", "steps", "is_completed", "current_step", "completion_percentage"];
    assert_fields(&summary, &fields);
    assert_eq!(summary["user"]["id"], "local");
    let keys =
        json!({ "gemini": "missing", "exa": "configured", "copilotkit": "missing", "openai": "configured" });
    assert_eq!(summary["api_keys"], keys);
    assert_eq!(summary["steps"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn an_unreadable_key_is_missing_in_the_summary() {
    let local = onboarding("keyfold").await;
    local.write(".env", "GEMINI_API_KEY=\"not a key\"\n");
    assert_eq!(get(&local, "summary").await["api_keys"], json!({ "gemini": "missing" }));
    local
        .post("/api/onboarding/step/1/complete", json!({ "data": {} }))
        .await
        .problem(422, "invalid_request");
}

#[tokio::test]
async fn start_begins_once() {
    let local = onboarding("alwrity").await;
    let begun = post(&local, "start").await;
    assert_fields(&begun, &["message", "current_step", "started_at"]);
    assert_eq!((&begun["current_step"], &begun["started_at"]), (&json!(1), &json!(START)));
    reach_the_last_step(&local, "alwrity").await;
    local.clock.advance(SignedDuration::from_hours(1));
    let begun = post(&local, "start").await;
    assert_eq!((&begun["current_step"], &begun["started_at"]), (&json!(4), &json!(START)));
}

#[tokio::test]
async fn reset_begins_anew_and_keeps_the_keys() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        reach_the_last_step(&local, preset).await;
        post(&local, "complete").await;
        let (keys, file) = (local.get("/api/keys").await.ok(), local.file(".env"));
        local.clock.advance(SignedDuration::from_hours(1));
        let begun = post(&local, "reset").await;
        assert_fields(&begun, &["message", "current_step", "started_at"]);
        assert_eq!(
            (&begun["current_step"], &begun["started_at"]),
            (&json!(1), &json!("2026-01-02T04:04:05Z"))
        );
        let progress = get(&local, "progress").await;
        assert_eq!((&progress["progress"], &progress["completed_at"]), (&json!(0.0), &Value::Null));
        for step in progress["steps"].as_array().unwrap() {
            assert_eq!((&step["data"], &step["completed_at"]), (&Value::Null, &Value::Null), "{step}");
        }
        assert_eq!(local.get("/api/keys").await.ok(), keys);
        assert_eq!(local.file(".env"), file);
        // So that step 1 needs nothing more.
        complete_step(&local, 1, json!({})).await.ok();
    }
}

#[tokio::test]
async fn completion_is_refused_while_a_required_step_is_open() {
    let local = onboarding("alwrity").await;
    let refused = || async {
        let answer = local.post("/api/onboarding/complete", json!({})).await;
        answer.problem(422, "invalid_request")["detail"].as_str().unwrap().to_owned()
    };
    let detail = refused().await;
    assert!(
        detail.contains("1 (API Keys)") && detail.contains("2 (Website") && detail.contains("3 (AI"),
        "{detail}"
    );
    assert!(!detail.contains("4 (") && !detail.contains("5 (") && !detail.contains("6 ("), "{detail}");
    complete_step(&local, 1, json!({ "api_keys": super::required_keys("alwrity") })).await.ok();
    complete_step(&local, 3, json!({})).await.ok();
    let detail = refused().await;
    assert!(detail.contains("2 (Website Analysis)") && !detail.contains("3 ("), "{detail}");
    assert_eq!(get(&local, "status").await["is_completed"], false);
    complete_step(&local, 2, json!({})).await.ok();
    let ended = post(&local, "complete").await;
    assert_fields(&ended, &["message", "completed_at"]);
    assert_eq!(ended["completed_at"], START);
    let progress = get(&local, "progress").await;
    let statuses: Vec<&str> =
        progress["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["completed", "completed", "completed", "skipped", "skipped", "completed"]);
}

#[tokio::test]
async fn completion_is_refused_when_a_required_key_is_gone_again() {
    let local = onboarding("keyfold").await;
    reach_the_last_step(&local, "keyfold").await;
    local.delete("/api/keys/gemini").await;
    let problem = local.post("/api/onboarding/complete", json!({})).await.problem(422, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("gemini"), "{problem}");
}

#[tokio::test]
async fn completing_twice_keeps_the_first_time() {
    let local = onboarding("keyfold").await;
    reach_the_last_step(&local, "keyfold").await;
    post(&local, "complete").await;
    local.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(post(&local, "complete").await["completed_at"], START);
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        reach_the_last_step(&local, preset).await;
        let before = (get(&local, "init").await, get(&local, "progress").await, get(&local, "summary").await);
        let again = Setup::default().with("KEYFOLD_ONBOARDING", preset).in_dir(local.stop().await);
        let local = again.start().await;
        let after = (get(&local, "init").await, get(&local, "progress").await, get(&local, "summary").await);
        assert_eq!(before, after);
        post(&local, "complete").await;
    }
}

#[tokio::test]
async fn a_change_is_the_last_update() {
    let local = onboarding("alwrity").await;
    assert_eq!(get(&local, "progress").await["last_updated"], START);
    local.clock.advance(SignedDuration::from_mins(1));
    // Looking changes nothing.
    assert_eq!(get(&local, "progress").await["last_updated"], START);
    skip_step(&local, 4).await.ok();
    let progress = get(&local, "progress").await;
    assert_eq!(progress["last_updated"], "2026-01-02T03:05:05Z");
    assert_eq!(progress["started_at"], START);
    assert_eq!(progress["steps"][3]["completed_at"], "2026-01-02T03:05:05Z");
}

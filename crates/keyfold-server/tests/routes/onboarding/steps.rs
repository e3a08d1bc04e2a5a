//! One step at a time: a step, whether one may go to it, completing and skipping it.

use keyfold_standin::{Behaviour, example_key, example_key_with};
use serde_json::{Value, json};

use super::{
    PRESETS, STEP, assert_fields, complete_step, onboarding, reach_the_last_step, required_keys, skip_step,
};
use crate::support::{Local, START};

async fn step(local: &Local, number: u32) -> Value {
    local.get(&format!("/api/onboarding/step/{number}")).await.ok()
}

async fn access(local: &Local, number: u32) -> Value {
    local.get(&format!("/api/onboarding/step/{number}/validate")).await.ok()
}

/// Nothing was saved: no key, no file, no step.
async fn assert_untouched(local: &Local) {
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
    assert!(!local.path(".env").exists());
    assert!(!local.path("frontend/.env").exists());
    assert_eq!(step(local, 1).await["status"], "in_progress");
}

#[tokio::test]
async fn a_step_has_all_its_fields() {
    for (preset, steps) in PRESETS {
        let local = onboarding(preset).await;
        for number in 1..=u32::try_from(steps).unwrap() {
            let found = step(&local, number).await;
            assert_fields(&found, &STEP);
            assert_eq!(found["step_number"], number);
            assert_eq!(found["validation_errors"], json!([]));
            assert!(
                !found["title"].as_str().unwrap().is_empty()
                    && !found["description"].as_str().unwrap().is_empty()
            );
        }
    }
}

#[tokio::test]
async fn an_unknown_step_is_404() {
    for (preset, steps) in PRESETS {
        let local = onboarding(preset).await;
        for number in
            ["0", &(steps + 1).to_string(), "4294967295", "4294967296", "-1", "1.0", "first", "%00", "1%2f2"]
        {
            local.get(&format!("/api/onboarding/step/{number}")).await.problem(404, "not_found");
            local.get(&format!("/api/onboarding/step/{number}/validate")).await.problem(404, "not_found");
            local
                .post(&format!("/api/onboarding/step/{number}/complete"), json!({}))
                .await
                .problem(404, "not_found");
            local
                .post(&format!("/api/onboarding/step/{number}/skip"), json!({}))
                .await
                .problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn step_1_takes_the_keys() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        let keys = required_keys(preset);
        let done = complete_step(&local, 1, json!({ "api_keys": keys })).await;
        assert_eq!(done.status, 200);
        assert_eq!(done.json()["step_number"], 1);
        let file = local.file(".env");
        for (provider, key) in keys.as_object().unwrap() {
            let key = key.as_str().unwrap();
            assert!(file.contains(key), "{provider}");
            assert!(!done.body.contains(key), "{provider}");
            assert_ne!(local.listed(provider).await, Value::Null, "{provider}");
        }
        let found = step(&local, 1).await;
        assert_eq!((&found["status"], &found["completed_at"]), (&json!("completed"), &json!(START)));
        assert_eq!(local.get("/api/keys").await.ok()["missing"], json!([]));
    }
    // CopilotKit's key is for the front end too.
    let local = onboarding("alwrity").await;
    complete_step(&local, 1, json!({ "api_keys": required_keys("alwrity") })).await.ok();
    assert_eq!(
        local.file("frontend/.env"),
        format!("REACT_APP_COPILOTKIT_API_KEY={}\n", example_key("copilotkit", 1))
    );
}

#[tokio::test]
async fn the_answer_names_the_step_and_its_data() {
    let local = onboarding("keyfold").await;
    let done = complete_step(&local, 1, json!({ "api_keys": required_keys("keyfold") })).await.ok();
    assert_fields(&done, &["message", "step_number", "data"]);
    let done = complete_step(&local, 2, json!({ "tried": true })).await.ok();
    assert_fields(&done, &["message", "step_number", "data"]);
    assert_eq!(done["data"], json!({ "tried": true }));
}

#[tokio::test]
async fn warnings_of_the_keys_are_passed_on() {
    let local = onboarding("keyfold").await;
    let key = example_key_with("gemini", "DENIED");
    let done = complete_step(&local, 1, json!({ "api_keys": { "gemini": key } })).await.ok();
    assert!(done["warnings"][0].as_str().unwrap().contains("limited"), "{done}");
}

#[tokio::test]
async fn step_1_needs_no_keys_that_were_saved_before() {
    for (preset, _) in PRESETS {
        let bodies = [
            json!({ "data": {} }),
            json!({}),
            json!({ "data": null }),
            json!({ "data": { "api_keys": {} } }),
        ];
        for body in bodies {
            let local = onboarding(preset).await;
            for (provider, key) in required_keys(preset).as_object().unwrap() {
                local.has_key(provider, key.as_str().unwrap()).await;
            }
            let done = local.post("/api/onboarding/step/1/complete", body.clone()).await;
            assert_eq!(done.status, 200, "{body}: {}", done.body);
            assert_eq!(step(&local, 1).await["status"], "completed");
        }
    }
    // Not even a body.
    let local = onboarding("keyfold").await;
    local.has_example_key("gemini", 1).await;
    let request = local.request(reqwest::Method::POST, "/api/onboarding/step/1/complete");
    assert_eq!(local.send(request).await.status, 200);
}

#[tokio::test]
async fn step_1_takes_what_is_missing_beside_what_was_saved() {
    let local = onboarding("alwrity").await;
    local.has_example_key("exa", 1).await;
    let given = json!({ "gemini": example_key("gemini", 1), "copilotkit": example_key("copilotkit", 1), "openai": "" });
    complete_step(&local, 1, json!({ "api_keys": given })).await.ok();
    assert_eq!(local.get("/api/keys").await.ok()["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn step_1_names_the_keys_that_are_missing() {
    let local = onboarding("alwrity").await;
    let problem = complete_step(&local, 1, json!({})).await.problem(422, "invalid_request");
    let detail = problem["detail"].as_str().unwrap();
    for provider in ["gemini", "exa", "copilotkit"] {
        assert!(detail.contains(provider), "{detail}");
    }
    local.has_example_key("gemini", 1).await;
    let problem = complete_step(&local, 1, json!({})).await.problem(422, "invalid_request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains("gemini") && detail.contains("exa, copilotkit"), "{detail}");
    assert_eq!(step(&local, 1).await["status"], "in_progress");
}

#[tokio::test]
async fn with_one_rejected_key_none_is_saved() {
    let local = onboarding("alwrity").await;
    let mut keys = required_keys("alwrity");
    keys["exa"] = example_key_with("exa", "INVALID").into();
    let refused = complete_step(&local, 1, json!({ "api_keys": keys })).await;
    assert_eq!(refused.problem(422, "key_rejected")["provider"], "exa");
    assert_untouched(&local).await;
}

#[tokio::test]
async fn with_one_impossible_key_none_is_saved() {
    let local = onboarding("alwrity").await;
    let impossible = [
        ("exa", "secret with blanks".to_owned()),
        ("exa", "secret\nline".to_owned()),
        ("exa", "your_exa_api_key_here".to_owned()),
        ("exa", example_key("openai", 1)),
        ("gemini", example_key("anthropic", 1)),
        ("copilotkit", "k".repeat(4097)),
    ];
    for (provider, key) in impossible {
        let mut keys = required_keys("alwrity");
        keys[provider] = key.clone().into();
        let refused = complete_step(&local, 1, json!({ "api_keys": keys })).await;
        let problem = refused.problem(422, "invalid_key_format");
        assert_eq!(problem["provider"], provider, "{problem}");
        assert!(!refused.everything().contains(&key), "{key}");
        assert_untouched(&local).await;
    }
}

#[tokio::test]
async fn with_an_unknown_provider_no_key_is_saved() {
    let local = onboarding("keyfold").await;
    let keys = json!({ "gemini": example_key("gemini", 1), "sk-secret-as-a-name": "abcdefghijkl" });
    let refused = complete_step(&local, 1, json!({ "api_keys": keys })).await;
    refused.problem(404, "unknown_provider");
    assert!(!refused.everything().contains("secret"));
    assert_untouched(&local).await;
}

#[tokio::test]
async fn keys_of_the_wrong_kind_are_refused_without_repeating_them() {
    let local = onboarding("keyfold").await;
    let wrong = [
        json!("sk-secret"),
        json!(["sk-secret"]),
        json!({ "api_keys": "sk-secret" }),
        json!({ "api_keys": ["sk-secret"] }),
        json!({ "api_keys": { "gemini": { "key": "sk-secret" } } }),
        json!({ "api_keys": { "gemini": 7 } }),
        json!({ "api_keys": { "gemini": null } }),
    ];
    for data in wrong {
        let refused = complete_step(&local, 1, data.clone()).await;
        let field = refused.problem(422, "invalid_request")["field"].as_str().unwrap().to_owned();
        assert!(field.starts_with("data"), "{data}: {field}");
        assert!(!refused.everything().contains("secret"), "{data}");
    }
    assert_untouched(&local).await;
}

#[tokio::test]
async fn data_never_returns_keys() {
    for (preset, _) in PRESETS {
        let local = onboarding(preset).await;
        let keys = required_keys(preset);
        let data =
            json!({ "api_keys": keys, "gemini": example_key("gemini", 1), "note": example_key("gemini", 1) });
        complete_step(&local, 1, data).await.ok();
        for path in ["step/1", "progress", "init", "summary", "api-keys", "api-keys/onboarding"] {
            let answer = local.get(&format!("/api/onboarding/{path}")).await;
            assert_eq!(answer.status, 200);
            for key in keys.as_object().unwrap().values() {
                let key = key.as_str().unwrap();
                assert!(!answer.body.contains(&key[..key.len() - 4]), "{path}");
            }
        }
        let data = &step(&local, 1).await["data"];
        assert_fields(data, &["providers"]);
    }
}

#[tokio::test]
async fn the_host_applications_data_comes_back_and_is_sealed_on_disk() {
    let local = onboarding("alwrity").await;
    let secret = "what-the-host-application-keeps";
    for number in 2..=5 {
        let data = json!({ "note": format!("{secret}-{number}"), "list": [1, 2.5, null, "ü"], "nested": { "a": true } });
        let done = complete_step(&local, number, data.clone()).await.ok();
        assert_eq!(done["data"], data);
        assert_eq!(step(&local, number).await["data"], data);
    }
    assert_eq!(local.state_files_with(secret), Vec::<std::path::PathBuf>::new());
    // The next answer takes its place.
    complete_step(&local, 2, json!({ "note": "newer" })).await.ok();
    assert_eq!(step(&local, 2).await["data"], json!({ "note": "newer" }));
}

#[tokio::test]
async fn a_step_without_data_has_none() {
    let local = onboarding("alwrity").await;
    for body in [json!({}), json!({ "data": null }), json!({ "data": null, "validation_errors": [] })] {
        local.post("/api/onboarding/step/2/complete", body).await.ok();
        assert_eq!(step(&local, 2).await["data"], Value::Null);
    }
}

#[tokio::test]
async fn a_step_with_errors_of_its_own_is_not_completed() {
    let local = onboarding("alwrity").await;
    let body =
        json!({ "data": { "website_url": "no address" }, "validation_errors": ["no address: secret"] });
    let refused = local.post("/api/onboarding/step/2/complete", body).await;
    assert_eq!(refused.problem(422, "invalid_request")["field"], "validation_errors");
    assert!(!refused.everything().contains("secret"));
    assert_eq!(step(&local, 2).await["status"], "pending");
}

#[tokio::test]
async fn only_optional_steps_can_be_skipped() {
    for (preset, optional) in [("keyfold", vec![2]), ("alwrity", vec![4, 5])] {
        let local = onboarding(preset).await;
        let steps = local.get("/api/onboarding/config").await.ok()["total_steps"].as_u64().unwrap();
        for number in 1..=u32::try_from(steps).unwrap() {
            let answer = skip_step(&local, number).await;
            if optional.contains(&number) {
                let skipped = answer.ok();
                assert_fields(&skipped, &["message", "step_number"]);
                assert_eq!(skipped["step_number"], number);
                assert_eq!(step(&local, number).await["status"], "skipped");
            } else {
                let problem = answer.problem(422, "invalid_request");
                assert_eq!(problem["field"], "step");
                assert!(problem["detail"].as_str().unwrap().contains("required"), "{problem}");
                assert_ne!(step(&local, number).await["status"], "skipped");
            }
        }
    }
}

#[tokio::test]
async fn a_skipped_step_can_still_be_completed() {
    let local = onboarding("alwrity").await;
    skip_step(&local, 4).await.ok();
    complete_step(&local, 4, json!({ "tone": "dry" })).await.ok();
    let found = step(&local, 4).await;
    assert_eq!((&found["status"], &found["data"]), (&json!("completed"), &json!({ "tone": "dry" })));
}

#[tokio::test]
async fn a_step_is_locked_until_the_required_ones_before_it_are_done() {
    let local = onboarding("alwrity").await;
    let first = access(&local, 1).await;
    assert_eq!(first, json!({ "can_proceed": true, "validation_errors": [], "step_status": "available" }));
    let third = access(&local, 3).await;
    assert_eq!((&third["can_proceed"], &third["step_status"]), (&json!(false), &json!("locked")));
    let errors = third["validation_errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    assert!(
        errors[0].as_str().unwrap().contains("API Keys") && errors[1].as_str().unwrap().contains("Website")
    );

    reach_the_last_step(&local, "alwrity").await;
    assert_eq!(access(&local, 3).await["step_status"], "completed");
    // Optional steps do not lock.
    for number in [4, 5, 6] {
        assert_eq!(access(&local, number).await["step_status"], "available", "{number}");
    }
    skip_step(&local, 5).await.ok();
    assert_eq!(access(&local, 5).await["step_status"], "skipped");
}

#[tokio::test]
async fn two_completions_at_once_leave_one_answer() {
    let local = onboarding("keyfold").await;
    local.standin.script("gemini", Behaviour::Hang);
    local.standin.script("gemini", Behaviour::Hang);
    let keys = [example_key("gemini", 1), example_key("gemini", 2)];
    let (first, second, ()) = tokio::join!(
        complete_step(&local, 1, json!({ "api_keys": { "gemini": keys[0] } })),
        complete_step(&local, 1, json!({ "api_keys": { "gemini": keys[1] } })),
        async {
            local.standin.wait_for_requests(2).await;
            local.standin.release();
        }
    );
    let winner = match (first.status.as_u16(), second.status.as_u16()) {
        (200, 409) => 0,
        (409, 200) => 1,
        other => panic!("{other:?}"),
    };
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={}\n", keys[winner]));
    assert_eq!(step(&local, 1).await["status"], "completed");
}

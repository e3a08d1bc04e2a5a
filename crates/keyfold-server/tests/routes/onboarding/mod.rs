//! `/api/onboarding`

mod keys;
mod providers;
mod session;
mod steps;

use keyfold_standin::example_key;
use serde_json::{Value, json};

use crate::support::{Answer, Local, Setup};

/// The presets, and how many steps each has.
const PRESETS: [(&str, u64); 2] = [("keyfold", 3), ("alwrity", 6)];

async fn onboarding(preset: &str) -> Local {
    Setup::default().with("KEYFOLD_ONBOARDING", preset).start().await
}

/// The keys that a preset requires, as step 1 takes them.
fn required_keys(preset: &str) -> Value {
    let required: &[&str] = if preset == "alwrity" { &["gemini", "exa", "copilotkit"] } else { &["gemini"] };
    required.iter().map(|provider| ((*provider).to_owned(), json!(example_key(provider, 1)))).collect()
}

async fn complete_step(local: &Local, number: u32, data: Value) -> Answer {
    local.post(&format!("/api/onboarding/step/{number}/complete"), json!({ "data": data })).await
}

async fn skip_step(local: &Local, number: u32) -> Answer {
    local.post(&format!("/api/onboarding/step/{number}/skip"), json!({})).await
}

/// Everything up to the last step.
async fn reach_the_last_step(local: &Local, preset: &str) {
    complete_step(local, 1, json!({ "api_keys": required_keys(preset) })).await.ok();
    if preset == "alwrity" {
        complete_step(local, 2, json!({ "website_url": "https://example.org" })).await.ok();
        complete_step(local, 3, json!({ "research_preferences": { "depth": "deep" } })).await.ok();
    }
}

/// These fields are there, and no others.
#[track_caller]
fn assert_fields(value: &Value, fields: &[&str]) {
    let mut found: Vec<&str> =
        value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    let mut expected = fields.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

const STEP: [&str; 7] =
    ["step_number", "title", "description", "status", "completed_at", "data", "validation_errors"];

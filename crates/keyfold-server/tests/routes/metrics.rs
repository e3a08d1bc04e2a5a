//! What is counted of calls to providers and of keys. Requests are in `middleware/request_scope.rs`, production's own
//! parts in `tests/cli/production_serve.rs`.

use std::time::{Duration, Instant};

use keyfold::provider::http::Timeouts;
use keyfold_standin::{Behaviour, example_key, example_key_with};
use serde_json::json;

use crate::support::{Local, Setup};

/// The value of a series; 0 if it is not there.
fn value(local: &Local, series: &str) -> u64 {
    let text = local.metrics.text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

fn calls(local: &Local, provider: &str, kind: &str, outcome: &str) -> u64 {
    let labels = format!("provider=\"{provider}\",kind=\"{kind}\",outcome=\"{outcome}\"");
    value(local, &format!("keyfold_provider_calls_total{{{labels}}}"))
}

#[tokio::test]
async fn each_call_is_counted_by_how_it_ended() {
    let timeouts = Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() };
    let local = Setup::default().timeouts(timeouts).start().await;
    local.has_example_key("openai", 1).await;
    for (behaviour, outcome) in [
        (Behaviour::Usual, "ok"),
        (Behaviour::status(401, r#"{"error":{"code":"invalid_api_key","message":"no"}}"#), "key_rejected"),
        (Behaviour::status(429, r#"{"error":{"message":"slow down"}}"#), "limited"),
        (Behaviour::status(500, "{}"), "refused"),
        (Behaviour::status(404, r#"{"error":{"message":"no such model"}}"#), "refused"),
        (Behaviour::NotJson, "unusable"),
        (Behaviour::CloseWithoutAnswer, "unreachable"),
        (Behaviour::Hang, "timed_out"),
    ] {
        let before = calls(&local, "openai", "generate", outcome);
        let what = format!("{behaviour:?}");
        local.standin.script("openai", behaviour);
        local.post("/api/generate", json!({ "prompt": "hello", "provider": "openai" })).await;
        assert_eq!(
            calls(&local, "openai", "generate", outcome),
            before + 1,
            "{what}: {}",
            local.metrics.text()
        );
    }
    assert_eq!(calls(&local, "openai", "generate", "abandoned"), 0);
    let answered = "keyfold_provider_call_duration_seconds_count{provider=\"openai\",kind=\"generate\"}";
    assert_eq!(value(&local, answered), 6, "those that gave an answer");
}

#[tokio::test]
async fn a_stream_is_counted_when_it_is_over() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let stream = || local.stream(json!({ "prompt": "one two three", "provider": "openai" }));
    let of = |outcome| calls(&local, "openai", "generate", outcome);
    stream().await.rest().await;
    assert_eq!(of("ok"), 1);
    local.standin.script("openai", Behaviour::StreamThenCut { chunks: 1 });
    stream().await.rest().await;
    assert_eq!(of("unusable"), 1);
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 1 });
    let mut left = stream().await;
    assert_eq!(left.next().await.unwrap().0, "delta");
    assert_eq!(of("abandoned"), 0);
    drop(left);
    let begun = Instant::now();
    while of("abandoned") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "a client that left is noticed");
        tokio::task::yield_now().await;
    }
    assert_eq!((of("ok"), of("unusable"), of("abandoned")), (1, 1, 1));
}

#[tokio::test]
async fn checks_searches_and_openings_are_counted_by_provider() {
    let local = Local::start().await;
    let rejected = example_key_with("exa", "INVALID");
    local.put("/api/keys/exa", json!({ "key": rejected })).await.problem(422, "key_rejected");
    assert_eq!(calls(&local, "exa", "check", "key_rejected"), 1, "{}", local.metrics.text());
    local.has_key("exa", &example_key("exa", 1)).await;
    assert_eq!(calls(&local, "exa", "check", "ok"), 1);
    assert_eq!(local.post("/api/research", json!({ "query": "hello" })).await.status, 200);
    assert_eq!(calls(&local, "exa", "research", "ok"), 1);
    local.post("/api/generate", json!({ "prompt": "hello" })).await.problem(404, "no_api_key");
    let openings = |provider: &str, outcome: &str| {
        value(&local, &format!("keyfold_key_openings_total{{provider=\"{provider}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((openings("exa", "opened"), openings("gemini", "missing")), (1, 1));
    assert_eq!(calls(&local, "gemini", "generate", "ok"), 0);
    local.write(".env", "GEMINI_API_KEY=your_gemini_api_key_here\nEXA_API_KEY='not a key'\n");
    local.post("/api/research", json!({ "query": "hello" })).await.problem(500, "key_unreadable");
    assert_eq!(openings("exa", "unreadable"), 1);
    // One that cannot be asked is not called.
    local.has_example_key("copilotkit", 1).await;
    assert!(!local.metrics.text().contains("provider=\"copilotkit\",kind=\"check\""));
}

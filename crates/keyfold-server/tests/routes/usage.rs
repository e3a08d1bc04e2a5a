//! `/api/usage`

use jiff::SignedDuration;
use keyfold_standin::Behaviour;
use serde_json::{Value, json};

use crate::support::production::{Production, User};
use crate::support::{Answer, Local};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a whole answer says of its model and its tokens.
fn said(answer: &Answer) -> (String, i64, i64) {
    let answer = answer.ok();
    let count = |name: &str| answer["usage"][name].as_i64().unwrap();
    (answer["model"].as_str().unwrap().to_owned(), count("input_tokens"), count("output_tokens"))
}

fn entry(day: &str, provider: &str, figures: [i64; 5], models: Vec<(Option<&str>, [i64; 5])>) -> Value {
    let with = |mut entry: Value, figures: [i64; 5]| {
        for (name, figure) in
            ["requests", "errors", "input_tokens", "output_tokens", "unknown"].into_iter().zip(figures)
        {
            entry[name] = figure.into();
        }
        entry
    };
    let models: Vec<Value> =
        models.into_iter().map(|(model, figures)| with(json!({ "model": model }), figures)).collect();
    with(json!({ "day": day, "provider": provider, "models": models }), figures)
}

async fn generates(user: &User<'_>, prompt: &str) -> (String, i64, i64) {
    said(&user.post("/api/generate", json!({ "prompt": prompt, "provider": "openai" })).await)
}

#[tokio::test]
async fn calls_are_added_up_per_day_provider_and_model() {
    let local = Local::start().await;
    assert_eq!(local.get("/api/usage").await.ok(), json!({ "usage": [] }));
    local.has_example_key("gemini", 1).await;
    local.has_example_key("exa", 1).await;
    let (model, input, output) = said(&local.post("/api/generate", json!({ "prompt": "Hello" })).await);
    assert!(input > 0 && output > 0);
    local.clock.advance(DAY);
    let events = local.stream(json!({ "prompt": "Hello" })).await.rest().await;
    let (last, done) = events.last().unwrap();
    assert_eq!(last, "done");
    let streamed = ["input_tokens", "output_tokens"].map(|name| done["usage"][name].as_i64().unwrap());
    local.post("/api/research", json!({ "query": "x" })).await.ok();
    local.standin.script("gemini", Behaviour::status(500, "{}"));
    local.post("/api/generate", json!({ "prompt": "Hello" })).await.problem(502, "provider_error");

    let gemini = Some(model.as_str());
    let expected = json!([
        entry("2026-01-03", "exa", [1, 0, 0, 0, 1], vec![(None, [1, 0, 0, 0, 1])]),
        entry(
            "2026-01-03",
            "gemini",
            [2, 1, streamed[0], streamed[1], 0],
            vec![(None, [1, 1, 0, 0, 0]), (gemini, [1, 0, streamed[0], streamed[1], 0])],
        ),
        entry("2026-01-02", "gemini", [1, 0, input, output, 0], vec![(gemini, [1, 0, input, output, 0])]),
    ]);
    assert_eq!(local.get("/api/usage").await.ok()["usage"], expected);
    let today = json!(expected.as_array().unwrap()[..2]);
    assert_eq!(local.get("/api/usage?days=1&from=a-page").await.ok()["usage"], today);
    // Written down, it is the same: here, and after a restart.
    local.keyfold.flush().await;
    assert_eq!(local.get("/api/usage?days=2").await.ok()["usage"], expected);
    let dir = local.stop().await;
    let local = crate::support::Setup::default().in_dir(dir).start().await;
    local.clock.advance(DAY);
    assert_eq!(local.get("/api/usage?days=366").await.ok()["usage"], expected);
}

#[tokio::test]
async fn keys_that_only_stand_in_the_file_are_counted_too() {
    let local = Local::start().await;
    local.write(".env", &format!("OPENAI_API_KEY={}\n", keyfold_standin::example_key("openai", 1)));
    let body = json!({ "prompt": "Hello", "provider": "openai" });
    let (model, input, output) = said(&local.post("/api/generate", body).await);
    let figures = [1, 0, input, output, 0];
    let expected = json!([entry("2026-01-02", "openai", figures, vec![(Some(&model), figures)])]);
    let dir = local.stop().await;
    let local = crate::support::Setup::default().in_dir(dir).start().await;
    assert_eq!(local.get("/api/usage").await.ok()["usage"], expected);
}

#[tokio::test]
async fn a_stream_that_is_left_counts_as_a_call_without_counts() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
    let mut events = local.stream(json!({ "prompt": "Hello", "provider": "openai" })).await;
    events.next().await.unwrap();
    drop(events);
    let counted = async {
        loop {
            let usage = local.get("/api/usage").await.ok();
            if usage["usage"] != json!([]) {
                return usage;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let usage = tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.unwrap();
    let figures = [1, 0, 0, 0, 1];
    assert_eq!(usage["usage"], json!([entry("2026-01-02", "openai", figures, vec![(None, figures)])]));
}

#[tokio::test]
async fn nobody_sees_anothers_usage_and_replicas_add_up() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    a.has_example_key("openai", 1).await;
    let (model, input, output) = generates(&a, "Hello").await;
    assert_eq!(b.get("/api/usage").await.ok()["usage"], json!([]));
    b.has_example_key("openai", 2).await;
    let (_, input_of_b, output_of_b) = generates(&b, "Something that is longer than the other one").await;
    assert_ne!(input, input_of_b);
    production.get("/api/usage").await.problem(401, "unauthenticated");

    let replica = production.replica().start().await;
    generates(&replica.as_user("user_a"), "Hello").await;
    replica.keyfold.flush().await;
    let twice = [2, 0, 2 * input, 2 * output, 0];
    let once = [1, 0, input_of_b, output_of_b, 0];
    for _ in 0..2 {
        for (user, figures) in [(&a, twice), (&b, once)] {
            let expected = json!([entry("2026-01-02", "openai", figures, vec![(Some(&model), figures)])]);
            assert_eq!(user.get("/api/usage").await.ok()["usage"], expected);
        }
        production.keyfold.flush().await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn nothing_of_a_deleted_users_usage_stays_or_comes_back() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    for (user, n) in [(&a, 1), (&b, 2)] {
        user.has_example_key("openai", n).await;
        generates(user, "Hello").await;
    }
    production.keyfold.flush().await;
    // Waits here and in another process, when the user goes.
    let replica = production.replica().start().await;
    for production in [&production, &replica] {
        generates(&production.as_user("user_a"), "Hello").await;
    }
    production.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(a.delete("/api/me").await.status, 204);
    for keyfold in [&production.keyfold, &replica.keyfold] {
        keyfold.flush().await;
    }
    let rows = production.sql().await.query("SELECT user_id FROM usage", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["user_b"]);
    production.clock.advance(SignedDuration::from_secs(1));
    let again = production.as_user("user_a");
    again.has_example_key("openai", 3).await;
    replica.keyfold.flush().await;
    assert_eq!(again.get("/api/usage").await.ok()["usage"], json!([]));
    generates(&again, "Hello").await;
    assert_eq!(again.get("/api/usage").await.ok()["usage"][0]["requests"], 1);
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_number_of_days_is_refused_by_its_name() {
    let local = Local::start().await;
    for query in ["0", "367", "-1", "+1", "", "ten", "1e1", "1.0", "99999999999999999999", "1&days=2"] {
        let problem = local.get(&format!("/api/usage?days={query}")).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "days", "{query}: {problem}");
    }
    for days in [1, 366] {
        local.get(&format!("/api/usage?days={days}")).await.ok();
    }
}

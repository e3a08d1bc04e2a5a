//! A call that a provider refuses leads to a check of its key, where there is a free one.

use jiff::SignedDuration;
use keyfold_standin::Behaviour;
use serde_json::json;

use crate::support::production::Production;

async fn checks_of(production: &Production) -> usize {
    production.standin.clear();
    production.keyfold.rechecks().run_due().await.unwrap();
    production.standin.requests_for("gemini").len()
}

#[tokio::test]
async fn a_refusal_that_may_be_the_keys_fault_leads_to_a_check_and_no_other_does() {
    let production = Production::start().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let generate = async |behaviour: Behaviour| {
        production.standin.script("gemini", behaviour);
        let answer = a.post("/api/generate", json!({ "prompt": "x" })).await;
        assert!(!answer.status.is_success(), "{}", answer.body);
    };
    assert_eq!(checks_of(&production).await, 0);
    // The provider's own troubles, and the request's.
    for status in [500, 503, 429, 404, 400] {
        generate(Behaviour::status(status, "{}")).await;
        assert_eq!(checks_of(&production).await, 0, "{status}");
    }
    // It may be the key: the check tells that it is restricted now.
    generate(Behaviour::status(403, "{}")).await;
    assert_eq!(a.listed("gemini").await["status"], "valid", "one refused call proves nothing");
    production.standin.always("gemini", Behaviour::status(403, "{}"));
    assert_eq!(checks_of(&production).await, 1);
    assert_eq!(a.listed("gemini").await["status"], "limited");
    assert_eq!(checks_of(&production).await, 0);
    // Refusals that follow do not make a check of each.
    for _ in 0..3 {
        generate(Behaviour::status(403, "{}")).await;
    }
    assert_eq!(checks_of(&production).await, 0);
    production.clock.advance(SignedDuration::from_mins(11));
    let a = production.as_user("user_a");
    a.post("/api/generate", json!({ "prompt": "x" })).await.problem(502, "provider_error");
    production.standin.reset();
    assert_eq!(checks_of(&production).await, 1);
    assert_eq!(a.listed("gemini").await["status"], "valid");
}

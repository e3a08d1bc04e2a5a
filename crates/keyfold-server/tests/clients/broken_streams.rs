//! Streams that the provider breaks off, seen without a library in between: both ways through the gateway.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::Local;
use crate::support::production::Production;

/// Enough that a piece which is lost now and then is missed.
const TIMES: usize = 60;

/// The pieces of text that came, and whether the end was a clean one.
async fn read(request: RequestBuilder) -> (usize, bool) {
    let text = "What is a key fold? standin:cut";
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]});
    let mut answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut came = String::new();
    let is_clean = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => came.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    // The first one has no text.
    (came.matches(r#""content":"#).count() - 1, is_clean)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_provider_broke_off_reaches_the_caller() {
    let path = "/gateway/openai/v1/chat/completions";
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    for _ in 0..TIMES {
        assert_eq!(read(local.request(Method::POST, path)).await, (2, false));
    }
    let production = Production::start().await;
    let user = production.as_user("user_a");
    user.has_example_key("openai", 1).await;
    for _ in 0..TIMES {
        assert_eq!(read(user.request(Method::POST, path)).await, (2, false));
    }
}

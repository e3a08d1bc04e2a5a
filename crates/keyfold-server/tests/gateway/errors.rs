//! What Keyfold itself answers, and what it makes of a provider's refusals.

use jiff::SignedDuration;
use keyfold_standin::{Behaviour, Options, PROVIDERS, Standin};

use crate::stage::{Request, Stage, Way, answer_to, ended_calls};
use crate::support::production::Production;
use crate::wire::Connection;

const PATH: &str = "/gateway/openai/v1/models";

#[tokio::test(flavor = "multi_thread")]
async fn errors_look_like_the_providers_own_and_have_a_problems_members() {
    let production = Production::start().await;
    let token = production.token_for("user_a");
    for provider in PROVIDERS {
        for way in Way::BOTH {
            let request = Request::get(way, &format!("/gateway/{provider}/v1/models")).by(&token);
            let answer = answer_to(&production, &request).await;
            let problem = answer.problem(404, "no_api_key");
            assert_eq!(problem["provider"], provider);
            let words = match provider {
                "exa" | "firecrawl" | "huggingface" => &problem["error"],
                "tavily" | "elevenlabs" => &problem["detail"]["message"],
                "mistral" | "cohere" | "serper" | "stability" => &problem["message"],
                _ => &problem["error"]["message"],
            };
            assert!(words.as_str().is_some_and(|words| words.contains("key")), "{provider}: {problem}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("strict-transport-security", "max-age=31536000"),
            ] {
                assert_eq!(answer.head.one(name), Some(value), "{way:?} {provider}");
            }
            assert!(answer.head.has("content-security-policy"), "{way:?}");
        }
    }
    for way in Way::BOTH {
        let request = Request::get(way, "/gateway/nobody/v1").by(&token);
        answer_to(&production, &request).await.problem(404, "unknown_provider");
        let request = Request::get(way, PATH).by(&token).with("X-Request-Id", "mine-2");
        let answer = answer_to(&production, &request).await;
        assert_eq!(answer.head.one("x-request-id"), Some("mine-2"), "{way:?}");
    }
    assert!(production.standin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_on_both_ways_together_and_is_told_on_every_answer() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_GATEWAY", "4/minute").start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    user.has_example_key("openai", 1).await;
    production.standin.clear();
    for way in [Way::Lane, Way::Hyper, Way::Lane, Way::Hyper] {
        let answer = answer_to(&production, &Request::get(way, PATH).by(&token)).await;
        way.assert_taken(&answer);
        assert_eq!(answer.head.status(), 200);
        assert!(answer.head.has("ratelimit") && answer.head.has("ratelimit-policy"), "{:?}", answer.head);
    }
    for way in Way::BOTH {
        let answer = answer_to(&production, &Request::get(way, PATH).by(&token)).await;
        let problem = answer.problem(429, "rate_limited");
        let seconds = problem["retry_after"].as_u64().unwrap();
        assert_eq!(answer.head.one("retry-after"), Some(seconds.to_string().as_str()), "{way:?}");
        assert!(answer.head.has("ratelimit") && answer.head.has("ratelimit-policy"), "{:?}", answer.head);
        assert_eq!(problem["error"]["code"], "rate_limited");
    }
    assert_eq!(production.standin.requests().len(), 4, "who is over the limit reaches nobody");
    // Another user is not concerned.
    production.as_user("user_b").has_example_key("openai", 2).await;
    let other = production.token_for("user_b");
    for way in Way::BOTH {
        assert_eq!(answer_to(&production, &Request::get(way, PATH).by(&other)).await.head.status(), 200);
    }
    production.clock.advance(SignedDuration::from_secs(60));
    for way in Way::BOTH {
        assert_eq!(answer_to(&production, &Request::get(way, PATH).by(&token)).await.head.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_places_that_are_free_again_when_they_end() {
    let stage = Stage::set_with(Production::with("KEYFOLD_MAX_STREAMS", "2")).await;
    let events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n";
    let mut open = vec![];
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        caller.send(stage.get(way).bytes()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send(events).await;
        assert_eq!(caller.read_head().await.status(), 200);
        assert_eq!(caller.read_chunk().await.unwrap(), b"a\n\n");
        open.push((caller, provider));
    }
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        caller.send(stage.get(way).bytes()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send(events).await;
        let answer = caller.read_answer().await;
        answer.problem(429, "rate_limited");
        assert!(answer.head.has("retry-after"), "{way:?}: {:?}", answer.head);
        provider.wait_for_end().await;
        // What is no stream needs no place.
        let (_, answer) =
            stage.exchange(&stage.get(way), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(answer.head.status(), 200);
    }
    // One ends, and one caller leaves.
    let (mut caller, mut provider) = open.remove(0);
    provider.send("0\r\n\r\n").await;
    assert!(caller.read_chunk().await.unwrap().is_empty());
    stage.provider.keep(provider);
    let (caller, mut provider) = open.remove(0);
    drop(caller);
    provider.wait_for_end().await;
    stage.ended_calls(6).await;
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        caller.send(stage.get(way).bytes()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send(events).await;
        assert_eq!(caller.read_head().await.status(), 200, "{way:?}");
        provider.send("0\r\n\r\n").await;
        assert_eq!(caller.read_chunk().await.unwrap(), b"a\n\n");
        assert!(caller.read_chunk().await.unwrap().is_empty());
        stage.provider.keep(provider);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_marked_before_the_caller_hears_of_it_and_a_success_clears_that() {
    let production = Production::start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    user.has_example_key("openai", 1).await;
    let refusal = r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    for way in Way::BOTH {
        let mut caller = Connection::to(production.address).await;
        let request = Request::get(way, PATH).by(&token).bytes();
        production.standin.script("openai", Behaviour::status(401, refusal));
        caller.send(&request).await;
        let answer = caller.read_answer().await;
        way.assert_taken(&answer);
        assert_eq!((answer.head.status(), answer.text().as_str()), (401, refusal), "{way:?}");
        assert!(!answer.head.has("keyfold-error"));
        assert_eq!(user.listed("openai").await["status"], "rejected", "{way:?}");
        // It is tried all the same.
        caller.send(&request).await;
        assert_eq!(caller.read_answer().await.head.status(), 200, "{way:?}");
        assert_eq!(user.listed("openai").await["status"], "valid", "{way:?}");
        // What is no fault of the key marks nothing.
        for status in [400, 404, 429, 500, 503] {
            production.standin.script("openai", Behaviour::status(status, r#"{"error":{"message":"no"}}"#));
            caller.send(&request).await;
            assert_eq!(caller.read_answer().await.head.status(), status);
            assert_eq!(user.listed("openai").await["status"], "valid", "{way:?} {status}");
        }
        // Nor does a page of something in between clear a mark.
        production.standin.script("openai", Behaviour::status(401, refusal));
        production.standin.script("openai", Behaviour::NotJson);
        for _ in 0..2 {
            caller.send(&request).await;
            caller.read_answer().await;
        }
        assert_eq!(user.listed("openai").await["status"], "rejected", "{way:?}");
    }
    let ended = ended_calls(&production, "user_a", 18).await;
    assert!(ended.iter().any(|event| event["outcome"] == "failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_answers_are_counted_apart_from_other_users() {
    let standin = Standin::start_with(Options { min_words: 1, ..Options::default() }).await.unwrap();
    let production = crate::support::production::Setup::default().standin(standin.into()).start().await;
    let token = production.token_for("user_a");
    production.as_user("user_a").has_example_key("openai", 1).await;
    production.as_user("user_b").has_example_key("openai", 2).await;
    for way in Way::BOTH {
        answer_to(&production, &Request::get(way, PATH).by(&token)).await;
    }
    let ended = ended_calls(&production, "user_a", 2).await;
    assert!(ended.iter().all(|event| event["outcome"] == "ok" && event["provider"] == "openai"), "{ended:?}");
    let others = production.as_user("user_b").get("/api/audit").await.ok();
    let others = others["events"].as_array().unwrap();
    assert!(others.iter().all(|event| event["action"] != "key.opened"), "{others:?}");
}

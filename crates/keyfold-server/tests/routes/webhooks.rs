//! `POST /webhooks/clerk`: only what Clerk wrote, wrote now, and was not heard before.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use jiff::SignedDuration;
use keyfold::clock::Clock;
use keyfold_test_servers::SqlClient;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::production::Production;
use crate::support::{Answer, Local, Setup};

/// Test data.
const SECRET: &str = "whsec_dGVzdCBkYXRhLCBub3QgYSByZWFsIHNlY3JldA==";
const ANOTHER_SECRET: &str = "whsec_YW5vdGhlciB0ZXN0IHNlY3JldCwgbm90IHJlYWw=";

/// A message that is being put together.
#[derive(Clone)]
struct Message {
    id: String,
    timestamp: i64,
    body: String,
    secret: &'static str,
    prefix: &'static str,
}

impl Message {
    fn new(production: &Production, id: &str, body: &Value) -> Self {
        Self::at(production.seconds(), id, body)
    }

    fn at(timestamp: i64, id: &str, body: &Value) -> Self {
        Self { id: id.into(), timestamp, body: body.to_string(), secret: SECRET, prefix: "svix" }
    }

    /// The same message, sent once more now.
    fn again(&self, production: &Production) -> Self {
        Self { timestamp: production.seconds(), ..self.clone() }
    }

    fn signature(&self) -> String {
        let secret = BASE64.decode(self.secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        format!("v1,{}", BASE64.encode(tag.as_ref()))
    }

    async fn send(&self, production: &Production) -> Answer {
        self.send_signed(production, &self.signature()).await
    }

    async fn send_signed(&self, production: &Production, signature: &str) -> Answer {
        production.send(self.put_into(production.request(Method::POST, "/webhooks/clerk"), signature)).await
    }

    async fn send_locally(&self, local: &Local) -> Answer {
        local.send(self.put_into(local.request(Method::POST, "/webhooks/clerk"), &self.signature())).await
    }

    fn put_into(&self, request: RequestBuilder, signature: &str) -> RequestBuilder {
        request
            .header(format!("{}-id", self.prefix), &self.id)
            .header(format!("{}-timestamp", self.prefix), self.timestamp)
            .header(format!("{}-signature", self.prefix), signature)
            .header("content-type", "application/json")
            .body(self.body.clone())
    }
}

fn deleted(user: &str) -> Value {
    json!({
        "type": "user.deleted", "object": "event", "timestamp": 1_654_012_591_835_i64, "instance_id": "ins_1",
        "data": { "id": user, "object": "user", "deleted": true },
    })
}

async fn start() -> Production {
    Production::with("CLERK_WEBHOOK_SIGNING_SECRET", SECRET).start().await
}

#[track_caller]
fn taken(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
}

async fn count(sql: &SqlClient, query: &str) -> i64 {
    sql.query_one(&format!("SELECT COUNT(*) FROM {query}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_user_who_was_deleted_at_clerk_is_deleted_and_refused_for_a_day() {
    let production = start().await;
    let sql = production.sql().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    for user in [&a, &b] {
        user.has_example_key("gemini", 1).await;
    }
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    taken(&message.send(&production).await);
    a.get("/api/keys").await.problem(410, "user_deleted");
    assert_eq!(count(&sql, "onboarding_sessions WHERE user_id = 'user_a'").await, 0);
    assert_eq!(count(&sql, "api_keys").await, 1);
    b.post("/api/generate", json!({ "prompt": "x" })).await.ok();
    let query = "audit_events WHERE user_id = 'user_a' AND action = 'user.deleted' AND actor = 'issuer' \
        AND request_id IS NOT NULL";
    assert_eq!(count(&sql, query).await, 1);

    // Fresh tokens too, whatever happens in between.
    for hours in [1, 22] {
        production.clock.advance(SignedDuration::from_hours(hours));
        let fresh = production.as_user("user_a");
        fresh.get("/api/keys").await.problem(410, "user_deleted");
        fresh.delete("/api/me").await.problem(410, "user_deleted");
    }
    production.clock.advance(SignedDuration::from_hours(1));
    production.clock.advance(SignedDuration::from_secs(1));
    production.as_user("user_a").get("/api/keys").await.ok();
}

#[tokio::test]
async fn the_headers_of_standard_webhooks_work_too_and_so_does_the_other_name_of_the_secret() {
    let production = Production::with("CLERK_WEBHOOK_SECRET", SECRET).start().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let message = Message { prefix: "webhook", ..Message::new(&production, "msg_1", &deleted("user_a")) };
    // While the secret is replaced, Svix signs with both.
    let other = Message { secret: ANOTHER_SECRET, ..message.clone() }.signature();
    taken(&message.send_signed(&production, &format!("{other} {}", message.signature())).await);
    a.get("/api/keys").await.problem(410, "user_deleted");
}

#[tokio::test]
async fn what_clerk_did_not_write_or_did_not_write_now_is_refused() {
    let production = start().await;
    let sql = production.sql().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    let now = message.timestamp;
    let refused = |answer: &Answer, words: &str| {
        let problem = answer.problem(401, "unauthenticated");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        assert!(!answer.header("www-authenticate").is_empty());
        assert!(!answer.everything().contains(&SECRET[6..]));
    };

    // Another secret, another body, another id, another time, no signature, a half one.
    let good = message.signature();
    let other = Message { secret: ANOTHER_SECRET, ..message.clone() };
    refused(&other.send(&production).await, "signing secret");
    let other = Message { body: deleted("user_b").to_string(), ..message.clone() };
    refused(&other.send_signed(&production, &good).await, "signing secret");
    let other = Message { id: "msg_2".into(), ..message.clone() };
    refused(&other.send_signed(&production, &good).await, "signing secret");
    let other = Message { timestamp: now + 1, ..message.clone() };
    refused(&other.send_signed(&production, &good).await, "signing secret");
    for signature in ["", "v1,", "v1,AAAA", &good[..20], &good.replace("v1,", "v2,")] {
        refused(&message.send_signed(&production, signature).await, "signing secret");
    }
    // Well signed, and too old or from the future.
    for seconds in [-301, 301] {
        let other = Message { timestamp: now + seconds, ..message.clone() };
        refused(&other.send(&production).await, "5 minutes");
    }
    // Not signed at all, or with a header twice.
    let bare = production.request(Method::POST, "/webhooks/clerk").body(message.body.clone());
    refused(&production.send(bare).await, "svix-signature");
    let twice = production
        .request(Method::POST, "/webhooks/clerk")
        .header("svix-id", "msg_1")
        .header("svix-id", "msg_1")
        .header("svix-timestamp", now)
        .header("svix-signature", &good)
        .body(message.body.clone());
    refused(&production.send(twice).await, "once each");
    let with_token = production
        .request(Method::POST, "/webhooks/clerk")
        .bearer_auth(production.token_for("user_a"))
        .body(message.body.clone());
    refused(&production.send(with_token).await, "svix-signature");

    assert_eq!(count(&sql, "webhook_messages").await, 0);
    assert_eq!(count(&sql, "deleted_users").await, 0);
    assert_eq!(a.listed("gemini").await["status"], "valid");
    // It was not used up by that.
    taken(&message.send(&production).await);
}

#[tokio::test]
async fn a_message_that_comes_again_does_nothing() {
    let production = start().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    taken(&message.send(&production).await);
    production.clock.advance(SignedDuration::from_hours(25));
    let fresh = production.as_user("user_a");
    fresh.has_example_key("gemini", 2).await;
    taken(&message.again(&production).send(&production).await);
    assert_eq!(fresh.listed("gemini").await["status"], "valid");
    // Replayed as it was, it is too old besides.
    message.send(&production).await.problem(401, "unauthenticated");
    // Another message is another deletion.
    let another = Message::new(&production, "msg_2", &deleted("user_a"));
    taken(&another.send(&production).await);
    fresh.get("/api/keys").await.problem(410, "user_deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_deliveries_at_once_one_deletes() {
    let production = start().await;
    let replica = production.replica().start().await;
    let sql = production.sql().await;
    production.as_user("user_a").has_example_key("gemini", 1).await;
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    let sent = (0..20).map(|n| message.send(if n % 2 == 0 { &production } else { &replica }));
    for answer in futures_util::future::join_all(sent).await {
        taken(&answer);
    }
    assert_eq!(count(&sql, "webhook_messages").await, 1);
    assert_eq!(count(&sql, "onboarding_sessions").await, 0);
}

#[tokio::test]
async fn a_message_whose_first_attempt_failed_is_acted_upon_when_it_comes_again() {
    let production = start().await;
    let sql = production.sql().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    sql.batch_execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER no BEFORE DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION no()",
    )
    .await
    .unwrap();
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    message.send(&production).await.problem(500, "internal_error");
    assert_eq!(count(&sql, "webhook_messages").await, 0, "a failed one is not remembered");
    assert_eq!(a.listed("gemini").await["status"], "valid");
    sql.batch_execute("DROP TRIGGER no ON api_keys").await.unwrap();
    taken(&message.again(&production).send(&production).await);
    a.get("/api/keys").await.problem(410, "user_deleted");
}

#[tokio::test]
async fn other_events_and_users_who_were_never_here_are_taken_without_effect_or_harm() {
    let production = start().await;
    let sql = production.sql().await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    for event in [
        json!({ "type": "user.created", "data": { "id": "user_a" } }),
        json!({ "type": "user.updated", "data": { "id": "user_a", "deleted": true } }),
        json!({ "type": "something.new" }),
    ] {
        taken(&Message::new(&production, "msg_1", &event).send(&production).await);
    }
    assert_eq!(count(&sql, "webhook_messages").await, 0);
    a.get("/api/keys").await.ok();
    // Signed, and not what such an event looks like.
    for event in [json!({ "type": "user.deleted" }), json!({ "type": "user.deleted", "data": { "id": "" } })]
    {
        let answer = Message::new(&production, "msg_1", &event).send(&production).await;
        assert_eq!(answer.problem(422, "invalid_request")["field"], "body");
    }
    // Who was never here is kept from coming by a token that is under way.
    taken(&Message::new(&production, "msg_2", &deleted("user_x")).send(&production).await);
    production.as_user("user_x").get("/api/keys").await.problem(410, "user_deleted");
    assert_eq!(count(&sql, "onboarding_sessions").await, 1);
}

#[tokio::test]
async fn ids_of_messages_are_forgotten_in_time() {
    let production = start().await;
    let sql = production.sql().await;
    taken(&Message::new(&production, "msg_1", &deleted("user_a")).send(&production).await);
    production.clock.advance(SignedDuration::from_hours(13 * 24));
    taken(&Message::new(&production, "msg_2", &deleted("user_b")).send(&production).await);
    assert_eq!(count(&sql, "webhook_messages").await, 2);
    production.clock.advance(SignedDuration::from_hours(2 * 24));
    taken(&Message::new(&production, "msg_3", &deleted("user_c")).send(&production).await);
    assert_eq!(count(&sql, "webhook_messages WHERE id = 'msg_1'").await, 0);
    assert_eq!(count(&sql, "webhook_messages").await, 2);
}

#[tokio::test]
async fn without_a_secret_there_is_no_webhook() {
    let production = Production::start().await;
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    let problem = message.send(&production).await.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("CLERK_WEBHOOK_SIGNING_SECRET"), "{problem}");
    let local = Local::start().await;
    local.post("/webhooks/clerk", deleted("local")).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_body_larger_than_is_taken_is_refused() {
    let production = start().await;
    let message =
        Message::new(&production, "msg_1", &json!({ "type": "x", "data": "y".repeat(1024 * 1024) }));
    message.send(&production).await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn in_local_mode_nobody_elses_deletion_reaches_the_env_file_and_nobody_is_refused_afterwards() {
    let local = Setup::default().with("CLERK_WEBHOOK_SIGNING_SECRET", SECRET).start().await;
    let key = local.has_example_key("gemini", 1).await;
    let seconds = local.clock.now().as_second();
    taken(&Message::at(seconds, "msg_1", &deleted("user_of_clerk")).send_locally(&local).await);
    assert!(local.file(".env").contains(&key));
    local.post("/api/generate", json!({ "prompt": "x" })).await.ok();

    let message = Message::at(seconds, "msg_2", &deleted("local"));
    taken(&message.send_locally(&local).await);
    assert!(!local.file(".env").contains(&key));
    // Again: the next key is not concerned.
    let key = local.has_example_key("gemini", 2).await;
    taken(&message.send_locally(&local).await);
    assert!(local.file(".env").contains(&key));
    local.post("/api/generate", json!({ "prompt": "x" })).await.ok();
}

#[tokio::test]
async fn who_signs_badly_is_limited_by_address_and_clerk_never_is() {
    let production = Production::with("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .with("KEYFOLD_TRUSTED_PROXIES", "127.0.0.0/8")
        .with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "3/minute")
        .start()
        .await;
    let message = Message::new(&production, "msg_1", &deleted("user_a"));
    let from = async |address: &str, signature: &str| {
        let request = production.request(Method::POST, "/webhooks/clerk").header("x-forwarded-for", address);
        production.send(message.put_into(request, signature)).await
    };
    let unsigned = async || {
        let request = production.request(Method::POST, "/webhooks/clerk");
        production.send(request.header("x-forwarded-for", "198.51.100.1").body("{}")).await
    };
    // Of Clerk's own messages, none is counted.
    for _ in 0..5 {
        let taken = from("198.51.100.1", &message.signature()).await;
        assert_eq!((taken.status.as_u16(), taken.header("ratelimit")), (204, ""));
    }
    for left in [2, 1] {
        let answer = from("198.51.100.1", "v1,AAAA").await;
        answer.problem(401, "unauthenticated");
        assert!(answer.header("ratelimit").starts_with(&format!("\"anonymous\";r={left};")));
    }
    unsigned().await.problem(401, "unauthenticated");
    from("198.51.100.1", "v1,AAAA").await.problem(429, "rate_limited");
    unsigned().await.problem(429, "rate_limited");
    taken(&from("198.51.100.1", &message.signature()).await);
    from("198.51.100.2", "v1,AAAA").await.problem(401, "unauthenticated");
}

//! `keyfold serve` in production with a token issuer, there or not.

use keyfold_standin::Issuer;
use keyfold_standin::issuer::{ED25519, KEY_SET_PATH, P256, RSA};
use serde_json::json;

use crate::harness::{Production, Server, Start, runtime};

fn with_issuer(start: Start, issuer: &Issuer) -> Start {
    issuer
        .settings()
        .iter()
        .fold(start.env("HOST", "127.0.0.1"), |start, (name, value)| start.env(name, value))
}

fn status_for(server: &Server, token: &str) -> u16 {
    let request = server.request("GET", "/api/keys").bearer_auth(token);
    runtime().block_on(request.send()).unwrap().status().as_u16()
}

#[test]
fn production_starts_and_asks_the_issuer_for_its_keys_at_once() {
    let production = Production::new();
    let issuer = runtime().block_on(Issuer::start());
    let server = with_issuer(production.keyfold(&["serve"]), &issuer).serve();
    // Before anybody signs in.
    runtime().block_on(issuer.wait_for_requests(2));
    assert_eq!(server.get("/api/config").body["mode"], "production");
    assert_eq!(server.get("/api/keys").status, 401);
    for key in [&RSA, &P256, &ED25519] {
        assert_eq!(status_for(&server, &key.token(&issuer.claims_for("user_a"))), 200, "{}", key.id());
    }
    assert_eq!(issuer.key_set_requests(), 1);
    let token = issuer.token_for("user_a");
    let done = server.stop();
    done.does_not_tell(&token).ok();
    assert!(done.err.contains(issuer.url()) && !done.err.contains("\"WARN\""), "{}", done.err);
}

#[test]
fn production_starts_while_the_issuer_is_away_and_warns() {
    let production = Production::new();
    let issuer = runtime().block_on(Issuer::start());
    runtime().block_on(issuer.go_away());
    let server = with_issuer(production.keyfold(&["serve"]), &issuer).serve();
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(status_for(&server, &issuer.token_for("user_a")), 503);
    runtime().block_on(issuer.come_back());
    // Asked again at most every two seconds.
    let statuses = std::iter::repeat_with(|| status_for(&server, &issuer.token_for("user_a")));
    assert_eq!(statuses.take(100_000).find(|status| *status != 503), Some(200));
    let done = server.stop();
    done.ok();
    let told = done.err.matches("the token issuer's key set cannot be fetched").count();
    assert_eq!(told, 1, "{}", done.err);
    assert!(done.err.contains("can be fetched again"), "{}", done.err);
}

#[test]
fn a_test_key_of_clerk_in_production_warns() {
    let production = Production::new();
    let issuer = runtime().block_on(Issuer::start());
    for (kind, warns) in [("test", true), ("live", false)] {
        let key = format!("pk_{kind}_Y2xldmVyLWNhdC0xLmNsZXJrLmFjY291bnRzLmRldiQ");
        let start =
            production.keyfold(&["serve"]).env("CLERK_PUBLISHABLE_KEY", &key).env("HOST", "127.0.0.1");
        let start = start.env("KEYFOLD_AUTH_JWKS_URL", &format!("{}{KEY_SET_PATH}", issuer.url()));
        let server = start.env("KEYFOLD_PUBLIC_URL", "https://keys.example.com").serve();
        let clerk = json!({ "kind": "clerk", "publishable_key": key });
        assert_eq!(server.get("/api/config").body["auth"], clerk);
        // Clerk's claims, signed by a key in its key set.
        let mut claims = issuer.claims_for("user_a");
        claims["iss"] = json!("https://clever-cat-1.clerk.accounts.dev");
        claims["azp"] = json!("https://keys.example.com");
        assert_eq!(status_for(&server, &RSA.token(&claims)), 200);
        let done = server.stop();
        assert_eq!(done.err.contains("is a test key (pk_test_)"), warns, "{}", done.err);
    }
}

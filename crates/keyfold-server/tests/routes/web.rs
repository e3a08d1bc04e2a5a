//! The pages. Whether the web page is built in depends on where the tests are built; the notice stands for it if not.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use keyfold_standin::Issuer;
use keyfold_standin::issuer::{Answer as IssuerAnswer, DISCOVERY_PATH, PARTY};

use crate::support::production::{PUBLIC_URL, Production};
use crate::support::{Answer, Local, Setup};

const VIEWS: [&str; 9] =
    ["/", "/onboarding", "/keys", "/keys/gemini", "/try", "/activity", "/account", "/sign-in", "/callback"];

/// The values of all `href` and `src` in a page.
fn links(html: &str) -> Vec<&str> {
    let parts = html.split("href=\"").skip(1).chain(html.split("src=\"").skip(1));
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

fn policy(page: &Answer) -> &str {
    page.header("content-security-policy")
}

fn is_built(page: &Answer) -> bool {
    !page.body.contains("without its page")
}

#[tokio::test]
async fn the_pages_come_from_the_binary_alone() {
    let local = Local::start().await;
    for path in VIEWS.into_iter().chain(["/docs"]) {
        let page = local.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        for directive in [
            "default-src 'none'",
            "script-src 'self';",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy(&page).contains(directive), "{path}: {}", policy(&page));
        }
        assert!(!policy(&page).contains("unsafe"), "{path}: {}", policy(&page));
        for link in links(&page.body) {
            if link.starts_with('#') || link.starts_with("data:") {
                continue;
            }
            assert!(link.starts_with('/') && !link.starts_with("//"), "{path} leads to {link}");
            assert_eq!(local.get(link).await.status, 200, "{path} leads to {link}");
        }
        // What the policy would not run, or what it could not stop.
        for wrong in ["<script>", "<style", " style=\"", " onclick=", " onload=", "javascript:", "<iframe"] {
            assert!(!page.body.contains(wrong), "{path} has {wrong}");
        }
    }
}

#[tokio::test]
async fn an_address_where_nothing_is_tells_programs_so() {
    let local = Local::start().await;
    local.get("/nowhere").await.problem(404, "not_found");
    let html = |path: &str| local.request(reqwest::Method::GET, path).header("accept", "text/html");
    for path in ["/api/nowhere", "/assets/nowhere.js", "/assets/main-AbCd_123.js"] {
        local.send(html(path)).await.problem(404, "not_found");
    }
    let built = is_built(&local.get("/").await);
    let page = local.send(html("/nowhere")).await;
    assert_eq!((page.status.as_u16(), page.header("content-type").starts_with("text/html")), (404, built));
}

#[tokio::test]
async fn assets_are_what_they_say_and_are_sent_once() {
    let local = Local::start().await;
    for (path, kind) in [("/assets/page.css", "text/css"), ("/assets/docs.js", "text/javascript")] {
        let asset = local.get(path).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-type").starts_with(kind), "{path}");
        assert_eq!(asset.header("x-content-type-options"), "nosniff");
        assert_eq!(asset.header("cache-control"), "no-cache");
        assert!(!asset.body.is_empty());
        let again = local.request(reqwest::Method::GET, path).header("if-none-match", asset.header("etag"));
        let again = local.send(again).await;
        assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{path}");
        let head = local.send(local.request(reqwest::Method::HEAD, path)).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("etag"), asset.header("etag"));
        assert_eq!(head.header("content-length"), asset.body.len().to_string());
    }
}

#[tokio::test]
async fn the_pages_are_public_in_production_too_and_know_of_no_keys() {
    let production = Production::start().await;
    let key = production.as_user("user_a").has_example_key("gemini", 1).await;
    for path in VIEWS.into_iter().chain(["/docs", "/openapi.json", "/assets/page.css", "/assets/docs.js"]) {
        let answer = production.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(&key) && !answer.body.contains("user_a"), "{path}");
    }
}

#[tokio::test]
async fn the_page_may_talk_to_the_issuer_which_leads_back_in_a_frame_of_it() {
    let production = Production::with("KEYFOLD_AUTH_CLIENT_ID", PARTY).start().await;
    let page = production.get("/keys").await;
    if !is_built(&page) {
        return;
    }
    let issuer = production.issuer.url();
    let origin = url::Url::parse(issuer).unwrap().origin().ascii_serialization();
    assert!(policy(&page).contains("connect-src 'self' ") && policy(&page).contains(&origin));
    assert!(policy(&page).contains(&format!("frame-src 'self' {origin};")), "{}", policy(&page));
    assert!(policy(&page).contains("frame-ancestors 'none'"));
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin-allow-popups");
    let back = production.get("/callback").await;
    assert!(policy(&back).contains("frame-ancestors 'self'"), "{}", policy(&back));
    assert_eq!(back.header("x-frame-options"), "SAMEORIGIN");
    assert_eq!(back.header("cross-origin-opener-policy"), "unsafe-none");
}

const TOKENS_AT: &str = "https://oauth2.example.net";
const SIGN_IN_AT: &str = "https://login.example.org:8443";

/// From now on the issuer has people sign in elsewhere, and gives out their tokens at this origin.
fn sign_in_elsewhere(issuer: &Issuer, tokens_at: &str) {
    let mut document = issuer.discovery_document();
    document["token_endpoint"] = format!("{tokens_at}/token").into();
    document["authorization_endpoint"] = format!("{SIGN_IN_AT}/authorize?tenant=a").into();
    issuer.answer(DISCOVERY_PATH, IssuerAnswer::Json(document));
}

fn looks(issuer: &Issuer) -> usize {
    issuer.requests().iter().filter(|path| *path == DISCOVERY_PATH).count()
}

/// Opens the page until its policy has this origin; so many seconds pass each time.
async fn until_it_may_talk_to(production: &Production, origin: &str, seconds: i64) {
    let opening = async {
        while !policy(&production.get("/").await).contains(origin) {
            production.clock.advance(SignedDuration::from_secs(seconds));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opening).await.unwrap();
}

#[tokio::test]
async fn the_page_may_talk_to_the_hosts_that_the_issuer_names_for_signing_in() {
    let issuer = Arc::new(Issuer::start().await);
    sign_in_elsewhere(&issuer, TOKENS_AT);
    for (name, value) in
        [("KEYFOLD_METRICS_ADDR", "off".to_owned()), ("KEYFOLD_AUTH_JWKS_URL", issuer.key_set_url())]
    {
        let setup = Production::with("KEYFOLD_AUTH_CLIENT_ID", PARTY).with(name, &value);
        let production = setup.issuer(issuer.clone()).start().await;
        let before = looks(&issuer);
        let page = production.get("/").await;
        if !is_built(&page) {
            return;
        }
        let own = issuer.url();
        for path in ["/", "/callback", "/keys"] {
            let page = production.get(path).await;
            assert!(
                policy(&page).contains(&format!(" {own} {TOKENS_AT}; frame-src 'self' {own} {SIGN_IN_AT};"))
            );
        }
        assert_eq!(looks(&issuer), before + 1, "not for each page");
    }
}

#[tokio::test]
async fn the_page_follows_an_issuer_that_moves() {
    let production = Production::with("KEYFOLD_AUTH_CLIENT_ID", PARTY).start().await;
    let page = production.get("/").await;
    if !is_built(&page) {
        return;
    }
    sign_in_elsewhere(&production.issuer, TOKENS_AT);
    production.clock.advance(SignedDuration::from_secs(599));
    assert!(!policy(&production.get("/").await).contains(TOKENS_AT));
    assert_eq!(looks(&production.issuer), 1);
    production.clock.advance(SignedDuration::from_secs(1));
    until_it_may_talk_to(&production, TOKENS_AT, 0).await;
    assert_eq!(looks(&production.issuer), 2);

    // What comes of nonsense is nothing.
    production.issuer.answer(DISCOVERY_PATH, IssuerAnswer::Json("nonsense".into()));
    production.clock.advance(SignedDuration::from_secs(600));
    production.get("/").await;
    production.issuer.wait_for_requests(3).await;
    assert!(policy(&production.get("/").await).contains(TOKENS_AT));
    sign_in_elsewhere(&production.issuer, "https://new.example.net");
    until_it_may_talk_to(&production, "https://new.example.net", 5).await;
    assert!(!policy(&production.get("/").await).contains(TOKENS_AT));
}

#[tokio::test]
async fn an_issuer_that_is_away_keeps_nobody_from_the_page() {
    let issuer = Arc::new(Issuer::start().await);
    sign_in_elsewhere(&issuer, TOKENS_AT);
    issuer.go_away().await;
    let setup = Production::with("KEYFOLD_AUTH_CLIENT_ID", PARTY).issuer(issuer.clone());
    let production = setup.start().await;
    let page = production.get("/").await;
    if !is_built(&page) {
        return;
    }
    assert_eq!(page.status, 200);
    let own = issuer.url();
    assert!(policy(&page).contains(&format!(" {own}; frame-src 'self' {own};")), "{}", policy(&page));
    issuer.come_back().await;
    until_it_may_talk_to(&production, TOKENS_AT, 5).await;
}

#[tokio::test]
async fn an_issuer_with_which_the_page_signs_nobody_in_is_not_asked_where() {
    let production = Production::start().await;
    production.get("/").await;
    let local = Setup::default().with("KEYFOLD_AUTH_ISSUER", production.issuer.url());
    let local = local.with("KEYFOLD_AUTH_CLIENT_ID", PARTY).start().await;
    local.get("/").await;
    assert_eq!(looks(&production.issuer), 0);
}

#[tokio::test]
async fn with_clerk_the_page_may_load_what_clerk_documents() {
    let production = Production::with("CLERK_PUBLISHABLE_KEY", "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k")
        .with("KEYFOLD_AUTH_ISSUER", "")
        .with("KEYFOLD_PUBLIC_URL", PUBLIC_URL)
        .start()
        .await;
    let page = production.get("/").await;
    if !is_built(&page) {
        return;
    }
    for part in [
        "script-src 'self' https://clerk.example.com https://challenges.cloudflare.com;",
        "style-src 'self' 'unsafe-inline';",
        "img-src 'self' data: https://img.clerk.com;",
        "worker-src 'self' blob:;",
        "frame-src https://challenges.cloudflare.com;",
    ] {
        assert!(policy(&page).contains(part), "{part}: {}", policy(&page));
    }
    assert!(policy(&page).contains("https://clerk.example.com"));
}

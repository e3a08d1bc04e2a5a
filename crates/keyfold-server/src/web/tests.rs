use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};

use http::StatusCode;
use keyfold::settings::{Problems, Sources};

use super::*;

const PAGE: &str = "<!doctype html><title>test page</title>";
const SCRIPT: &str = "/assets/main-AbCd_123.js";
const BUILT: [PageFile; 3] = [
    PageFile::plain("/index.html", PAGE.as_bytes()),
    PageFile { path: SCRIPT, plain: b"plain", brotli: Some(b"brotli"), gzip: Some(b"gzip") },
    PageFile::plain("/theme.js", b"theme"),
];

fn send(path: &str, headers: &HeaderMap) -> Response {
    let files = Files::new(BUILT.into_iter().chain(DOCS_FILES));
    files.iter().find(|(found, _)| *found == path).unwrap().1.send(headers)
}

async fn body(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header(response: &Response, name: http::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

#[tokio::test]
async fn a_file_comes_in_the_form_that_the_browser_likes_best() {
    for (accepted, expected) in [
        ("", "plain"),
        ("br", "brotli"),
        ("gzip, deflate, br, zstd", "brotli"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0.5, gzip;q=0.9", "gzip"),
        ("br;q=0.9, gzip;q=0.9", "brotli"),
        ("br; Q=0, gzip; q=0", "plain"),
        ("br;q=0, *", "gzip"),
        ("*;q=0.1", "brotli"),
        ("*;q=0", "plain"),
        ("identity, br;q=0.5", "plain"),
        ("identity;q=0.5, br;q=0.5", "brotli"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("br;q=nonsense", "plain"),
        ("br;q=2", "plain"),
        ("zstd", "plain"),
    ] {
        let answer = send(SCRIPT, &headers(ACCEPT_ENCODING, accepted));
        let coding = match expected {
            "brotli" => "br",
            "gzip" => "gzip",
            _ => "",
        };
        assert_eq!(header(&answer, CONTENT_ENCODING), coding, "{accepted}");
        assert_eq!(header(&answer, VARY), "accept-encoding");
        assert_eq!(header(&answer, CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(body(answer).await, expected, "{accepted}");
    }
    // What is not packed comes as it is.
    let answer = send("/theme.js", &headers(ACCEPT_ENCODING, "br"));
    assert_eq!(header(&answer, CONTENT_ENCODING), "");
    assert_eq!(body(answer).await, "theme");
}

#[tokio::test]
async fn a_browser_that_has_a_form_of_a_file_is_not_sent_it_again() {
    let etag = |accepted| header(&send(SCRIPT, &headers(ACCEPT_ENCODING, accepted)), ETAG).to_owned();
    let (plain, brotli) = (etag(""), etag("br"));
    assert_ne!(plain, brotli);
    for (known, is_known) in [
        (brotli.clone(), true),
        (format!("W/{brotli}"), true),
        (format!("\"other\", {brotli}"), true),
        ("*".into(), true),
        (plain, false),
        ("\"other\"".into(), false),
    ] {
        let mut asked = headers(ACCEPT_ENCODING, "br");
        asked.insert(IF_NONE_MATCH, known.parse().unwrap());
        let answer = send(SCRIPT, &asked);
        assert_eq!(answer.status() == StatusCode::NOT_MODIFIED, is_known, "{known}");
        assert_eq!(header(&answer, ETAG), brotli);
        assert_eq!(header(&answer, VARY), "accept-encoding");
        assert_eq!(body(answer).await.is_empty(), is_known, "{known}");
    }
}

#[test]
fn only_what_has_its_hash_in_its_name_is_kept_forever() {
    for (path, expected) in [
        (SCRIPT, "public, max-age=31536000, immutable"),
        ("/theme.js", "no-cache"),
        ("/assets/docs.js", "no-cache"),
        ("/assets/page.css", "no-cache"),
    ] {
        assert_eq!(header(&send(path, &HeaderMap::new()), CACHE_CONTROL), expected, "{path}");
    }
}

#[tokio::test]
async fn a_browser_that_is_led_nowhere_sees_the_page_and_programs_a_problem() {
    let pages = Pages::of(&BUILT, None, None);
    let html = headers(ACCEPT, "text/html,application/xhtml+xml;q=0.9");
    let answer = pages.nothing_here(&Method::GET, "/nowhere", &html).await.unwrap();
    assert_eq!(body(answer).await, PAGE);
    for (method, path, headers) in [
        (Method::POST, "/nowhere", html.clone()),
        (Method::GET, "/nowhere", headers(ACCEPT, "*/*")),
        (Method::GET, "/nowhere", HeaderMap::new()),
        (Method::GET, "/api/nowhere", html.clone()),
        (Method::GET, "/gateway/nowhere", html.clone()),
        (Method::GET, "/assets/old-AbCd_123.js", html.clone()),
    ] {
        assert!(pages.nothing_here(&method, path, &headers).await.is_none(), "{method} {path}");
    }
    assert!(Pages::of(&[], None, None).nothing_here(&Method::GET, "/nowhere", &html).await.is_none());
}

#[tokio::test]
async fn without_a_built_page_there_is_a_notice_that_says_how_to_get_it() {
    let answer = Pages::of(&[], None, None).page().await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, CONTENT_SECURITY_POLICY), policy::OF_DOCS);
    assert!(body(answer).await.contains("make run"));
    assert_eq!(body(Pages::of(&BUILT, None, None).page().await).await, PAGE);
}

#[test]
fn the_policy_knows_where_people_sign_in_and_the_assistant_is_and_nobody_else() {
    let local = Pages::of(&BUILT, None, None).policies();
    assert_eq!(
        local.page,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self' https://api.cloud.copilotkit.ai; manifest-src 'self'; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    assert!(local.in_frame.is_none());
}

/// An issuer as its settings are read.
fn issuer(address: &str) -> Issuer {
    let dir = tempfile::tempdir().unwrap();
    let variables = [("DEBUG", "true"), ("KEYFOLD_AUTH_ISSUER", address), ("KEYFOLD_AUTH_CLIENT_ID", "page")];
    let environment =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let sources = Sources::load(environment, dir.path()).unwrap();
    Issuer::read(&sources, &[], &mut Problems::default()).unwrap()
}

/// The sources of this directive for a page of `https://id.example`, whose tokens are given out and asked for there.
fn sources(directive: &str, token: &str, authorization: &str) -> String {
    let mut sign_in = SignInOrigins::default();
    sign_in.token = Some(token.to_owned());
    sign_in.authorization = Some(authorization.to_owned());
    let policy = policy::of_page(Some(&issuer("https://id.example")), &sign_in, "'none'");
    let policy = policy.to_str().unwrap().to_owned();
    let found = policy.split("; ").find_map(|part| part.strip_prefix(directive)?.strip_prefix(' '));
    found.unwrap_or_default().to_owned()
}

#[test]
fn the_policy_has_the_hosts_where_an_issuer_signs_people_in() {
    let own = "https://id.example";
    let connect = "'self' https://api.cloud.copilotkit.ai https://id.example";
    assert_eq!(sources("connect-src", own, own), connect);
    assert_eq!(sources("frame-src", own, own), "'self' https://id.example");
    let (token, pages) = ("https://oauth2.example.net:8443", "http://127.0.0.1:9000");
    assert_eq!(sources("connect-src", token, pages), format!("{connect} {token}"));
    assert_eq!(sources("frame-src", token, pages), format!("'self' https://id.example {pages}"));
    assert_eq!(sources("script-src", token, pages), "'self'");
}

#[test]
fn an_issuer_cannot_write_into_the_policy() {
    for odd in [
        "https://*",
        "https://*.example.net",
        "https://a;script-src",
        "https://a,b.example",
        "https://'unsafe-inline'",
        "https://a.example; script-src *",
        "https://a.example\r\nx: y",
        "'unsafe-inline'",
        "*",
        "https:",
        "data:",
        "blob:https://id.example/1",
        "",
    ] {
        assert_eq!(
            sources("connect-src", odd, odd),
            "'self' https://api.cloud.copilotkit.ai https://id.example",
            "{odd}"
        );
        assert_eq!(sources("frame-src", odd, odd), "'self' https://id.example", "{odd}");
        assert_eq!(sources("script-src", odd, odd), "'self'", "{odd}");
    }
}

#[test]
fn pages_are_the_views_and_nothing_beside_them() {
    for path in ["/", "/docs", "/onboarding", "/keys", "/keys/gemini", "/callback"] {
        assert!(is_page(path), "{path}");
    }
    for path in [
        "",
        "/keys/",
        "/keys/a/b",
        "/api/keys",
        "/docs/",
        "/assets/docs.js",
        "/openapi.json",
        "//",
        "/gateway/",
    ] {
        assert!(!is_page(path), "{path}");
    }
}

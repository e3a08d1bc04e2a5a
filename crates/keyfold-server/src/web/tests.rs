use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};

use http::StatusCode;

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
    let pages = Pages::of(&BUILT, None);
    let html = headers(ACCEPT, "text/html,application/xhtml+xml;q=0.9");
    let answer = pages.nothing_here(&Method::GET, "/nowhere", &html).unwrap();
    assert_eq!(body(answer).await, PAGE);
    for (method, path, headers) in [
        (Method::POST, "/nowhere", html.clone()),
        (Method::GET, "/nowhere", headers(ACCEPT, "*/*")),
        (Method::GET, "/nowhere", HeaderMap::new()),
        (Method::GET, "/api/nowhere", html.clone()),
        (Method::GET, "/gateway/nowhere", html.clone()),
        (Method::GET, "/assets/old-AbCd_123.js", html.clone()),
    ] {
        assert!(pages.nothing_here(&method, path, &headers).is_none(), "{method} {path}");
    }
    assert!(Pages::of(&[], None).nothing_here(&Method::GET, "/nowhere", &html).is_none());
}

#[tokio::test]
async fn without_a_built_page_there_is_a_notice_that_says_how_to_get_it() {
    let answer = Pages::of(&[], None).page();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, CONTENT_SECURITY_POLICY), policy::OF_DOCS);
    assert!(body(answer).await.contains("make run"));
    assert_eq!(body(Pages::of(&BUILT, None).page()).await, PAGE);
}

#[test]
fn the_policy_knows_where_people_sign_in_and_the_assistant_is_and_nobody_else() {
    let local = Pages::of(&BUILT, None);
    assert_eq!(
        local.policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self' https://api.cloud.copilotkit.ai; manifest-src 'self'; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    assert!(local.policy_in_frame.is_none());
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

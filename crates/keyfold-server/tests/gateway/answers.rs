//! What reaches the caller.

use keyfold_standin::issuer::PARTY;

use crate::stage::{Request, Stage, Way, answer_to};
use crate::wire::End;

/// As gzip writes it.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x4c\x4a\x06\x00\xc2\x41\x24\x35\x03\x00\x00\x00";

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("{head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_as_the_provider_gave_it() {
    let stage = Stage::set().await;
    let all: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let error = br#"{"error":{"message":"No such model","type":"invalid_request_error"}}"#;
    for way in Way::BOTH {
        for (first, fields, body) in [
            ("HTTP/1.1 200 OK", "Content-Type: text/plain", &b"abc"[..]),
            ("HTTP/1.1 200 Something else", "Content-Type: application/octet-stream", &all),
            ("HTTP/1.1 201 Created", "Location: /v1/things/1", b"{}"),
            ("HTTP/1.1 200 OK", "Content-Encoding: gzip\r\nContent-Type: application/json", GZIP),
            ("HTTP/1.1 200 OK", "Content-Encoding: br", b"\x0b\x01\x80abc\x03"),
            ("HTTP/1.1 301 Moved Permanently", "Location: https://evil.example/", b""),
            ("HTTP/1.1 302 Found", "Location: http://169.254.169.254/", b"moved"),
            ("HTTP/1.1 307 Temporary Redirect", "Location: //evil.example/x", b""),
            ("HTTP/1.1 308 Permanent Redirect", "Location: /elsewhere", b"x"),
            ("HTTP/1.1 400 Bad Request", "Content-Type: application/json", error),
            ("HTTP/1.1 404 Not Found", "Content-Type: application/json", error),
            ("HTTP/1.1 429 Too Many Requests", "Retry-After: 7\r\nx-ratelimit-remaining: 0", error),
            ("HTTP/1.1 451 Unavailable For Legal Reasons", "X-A: b", b""),
            ("HTTP/1.1 500 Internal Server Error", "Content-Type: text/html", b"<h1>no</h1>"),
            ("HTTP/1.1 529 ", "Content-Type: application/json", error),
        ] {
            let bytes = with_body(&format!("{first}\r\n{fields}"), body);
            let (_, answer) = stage.exchange(&stage.get(way), &bytes).await;
            way.assert_taken(&answer);
            assert_eq!(answer.head.status().to_string(), first[9..12], "{way:?}");
            assert_eq!(answer.body, body, "{way:?} {first}");
            assert_eq!(answer.head.one("content-length"), Some(body.len().to_string().as_str()), "{first}");
            for field in fields.split("\r\n") {
                let (name, value) = field.split_once(": ").unwrap();
                assert_eq!(answer.head.one(name), Some(value), "{way:?} {first}");
            }
            assert!(!answer.head.has("keyfold-error"), "{way:?} {first}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for (head, status, length) in [
            ("HTTP/1.1 204 No Content\r\nX-A: b", 204, None),
            ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"", 304, None),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 4711", 304, Some("4711")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0", 200, Some("0")),
        ] {
            let mut caller = stage.caller().await;
            caller.send(stage.get(way).bytes()).await;
            let (mut provider, _) = stage.provider.request().await;
            provider.send(format!("{head}\r\n\r\n")).await;
            let answer = caller.read_answer().await;
            way.assert_taken(&answer);
            assert_eq!((answer.head.status(), answer.body.as_slice()), (status, &b""[..]), "{way:?} {head}");
            let told = answer.head.one("content-length");
            assert!(told == length || (told.is_none() && status == 304), "{way:?} {head}: {told:?}");
            // The connection stands at the beginning of the next answer.
            caller.send(stage.get(way).bytes()).await;
            stage.provider.keep(provider);
            let (mut provider, seen) = stage.provider.request().await;
            assert!(seen.head.first.starts_with("GET /v1/things "), "{way:?} {head}");
            provider.send(with_body("HTTP/1.1 200 OK", b"next")).await;
            assert_eq!(caller.read_answer().await.body, b"next", "{way:?} {head}");
            stage.provider.keep(provider);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_head_has_a_length_and_no_body() {
    let stage = Stage::set().await;
    let request = Request::new(Way::Lane, "HEAD", crate::stage::PATH).by(&stage.token);
    let mut caller = stage.caller().await;
    caller.send(request.bytes()).await;
    let (mut provider, seen) = stage.provider.request().await;
    assert!(seen.head.first.starts_with("HEAD "));
    provider.send("HTTP/1.1 200 OK\r\nContent-Length: 4711\r\nX-A: b\r\n\r\n").await;
    let head = caller.read_head().await;
    assert_eq!((head.status(), head.one("content-length")), (200, Some("4711")));
    assert_eq!(head.one("x-a"), Some("b"));
    caller.send(request.bytes()).await;
    provider.read_request().await;
    provider.send("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n").await;
    assert_eq!(caller.read_head().await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_comes_whole_however_its_end_is_told() {
    let stage = Stage::set().await;
    let trailers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;a=\"b\"\r\nabc\r\n02\r\nde\r\n0\r\nX-T: canary\r\nSet-Cookie: a=canary\r\n\r\n";
    for way in Way::BOTH {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            trailers,
            b"HTTP/1.1 200 OK\r\n\r\nabcde",
            b"HTTP/1.0 200 OK\r\n\r\nabcde",
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        ] {
            let (_, answer) = stage.exchange(&stage.get(way), bytes).await;
            way.assert_taken(&answer);
            assert_eq!(answer.body, b"abcde", "{way:?} {}", bytes.escape_ascii());
            assert_eq!(answer.head.status(), 200);
            assert!(!format!("{:?}", answer.head).contains("canary"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_answer_acts_on_the_page_or_a_proxy() {
    let stage = Stage::set().await;
    let never = [
        ("Set-Cookie", "keyfold_session=canary"),
        ("Set-Cookie2", "a=canary"),
        ("Clear-Site-Data", "\"canary\""),
        ("Alt-Svc", "h3=\":canary\""),
        ("Access-Control-Allow-Credentials", "canary"),
        ("Service-Worker-Allowed", "/canary"),
        ("Refresh", "0; url=https://canary.example"),
        ("Report-To", "canary"),
        ("NEL", "canary"),
        ("X-Accel-Redirect", "/canary"),
        ("X-Sendfile", "/canary"),
        ("Keyfold-Error", "canary"),
        ("Keyfold-User", "canary"),
        ("X-Forwarded-For", "canary"),
        ("X-Real-IP", "canary"),
        ("Forwarded", "for=canary"),
        ("Keep-Alive", "canary"),
        ("Proxy-Authenticate", "Basic realm=canary"),
        ("WWW-Authenticate", "Basic realm=canary"),
        ("Set_Cookie", "a=canary"),
        ("Connection", "X-Canary-One, X-CANARY-TWO"),
        ("Connection", "keep-alive"),
        ("Connection", "x-canary-three"),
        ("x-canary-one", "canary"),
        ("X-Canary-Two", "canary"),
        ("X-Canary-Three", "canary"),
    ];
    let replaced = [
        ("Strict-Transport-Security", "max-age=0", "max-age=31536000"),
        ("Content-Security-Policy", "default-src *", "sandbox"),
        ("X-Content-Type-Options", "canary", "nosniff"),
        ("Cross-Origin-Resource-Policy", "cross-origin", "same-origin"),
        ("Cache-Control", "public, max-age=99", "no-store"),
    ];
    let passes = [
        ("openai-processing-ms", "12"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("Request-Id", "req_1"),
        ("ETag", "\"a\""),
        ("Link", "</a>; rel=next"),
        ("Content-Disposition", "attachment"),
        ("X-Same", "1"),
        ("X-Same", "2"),
    ];
    for way in Way::BOTH {
        let fields = never.into_iter().chain(passes).chain(replaced.map(|(name, own, _)| (name, own)));
        let lines: Vec<String> = fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let lines = lines.concat();
        let bytes = format!(
            "HTTP/1.1 200 OK\r\n{lines}Access-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let (_, answer) = stage.exchange(&stage.get(way), bytes.as_bytes()).await;
        way.assert_taken(&answer);
        for (name, _) in never {
            assert!(!answer.head.has(name), "{way:?}: {name} came: {:?}", answer.head);
        }
        assert!(!answer.head.has("access-control-allow-origin"), "{way:?}");
        assert!(!format!("{:?}", answer.head).contains("canary"), "{way:?}: {:?}", answer.head);
        for (name, _, own) in replaced {
            assert_eq!(answer.head.all(name), [own], "{way:?}: {name}");
        }
        for (name, _) in passes {
            let sent: Vec<&str> =
                passes.iter().filter(|(same, _)| *same == name).map(|(_, value)| *value).collect();
            assert_eq!(answer.head.all(name), sent, "{way:?}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_callers_id_or_the_providers_and_keyfolds_beside_it() {
    let stage = Stage::set().await;
    let with_id =
        b"HTTP/1.1 200 OK\r\nX-Request-Id: req_theirs\r\nKeyfold-Request-Id: x\r\nContent-Length: 0\r\n\r\n";
    let without = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut ids = vec![];
    for way in Way::BOTH {
        let (seen, own) = stage.exchange(&stage.get(way).with("X-Request-Id", "mine-1"), with_id).await;
        way.assert_taken(&own);
        assert_eq!(own.head.one("x-request-id"), Some("mine-1"));
        assert_eq!(own.head.one("keyfold-request-id"), Some("mine-1"));
        assert_eq!(seen.head.one("x-request-id"), Some("mine-1"));

        let (_, theirs) = stage.exchange(&stage.get(way), with_id).await;
        assert_eq!(theirs.head.one("x-request-id"), Some("req_theirs"));
        ids.push(theirs.head.one("keyfold-request-id").unwrap().to_owned());

        let (_, made) = stage.exchange(&stage.get(way), without).await;
        assert_eq!(made.head.one("x-request-id"), made.head.one("keyfold-request-id"));
        ids.push(made.head.one("x-request-id").unwrap().to_owned());

        // No sane id, and so none; nor is a key.
        for bad in ["a b", &"x".repeat(200), "caf\u{e9}", &keyfold_standin::example_key("openai", 3)] {
            let (_, answer) = stage.exchange(&stage.get(way).with("X-Request-Id", bad), without).await;
            ids.push(answer.head.one("x-request-id").unwrap().to_owned());
        }
    }
    assert!(ids.iter().all(|id| id.len() == 24), "{ids:?}");
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id was given twice");
    // The audit log has the same.
    let ended = stage.ended_calls(count + 2).await;
    let logged: Vec<&str> = ended.iter().map(|event| event["request_id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| logged.contains(&id.as_str())), "{logged:?}");
    assert_eq!(logged.iter().filter(|id| **id == "mine-1").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_pages_may_call_with_a_client_librarys_headers_and_read_what_they_need() {
    let stage = Stage::set().await;
    let asked = "authorization, x-stainless-lang,anthropic-version,x-goog-api-client";
    let preflight = Request::new(Way::Hyper, "OPTIONS", crate::stage::PATH)
        .with("Origin", PARTY)
        .with("Access-Control-Request-Method", "PATCH")
        .with("Access-Control-Request-Headers", asked);
    let answer = answer_to(&stage.production, &preflight).await;
    assert_eq!(answer.head.status(), 200);
    assert_eq!(answer.head.one("access-control-allow-origin"), Some(PARTY));
    assert_eq!(answer.head.one("access-control-allow-headers"), Some(asked));
    assert!(answer.head.one("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(!answer.head.has("access-control-allow-credentials"));

    let request = stage.get(Way::Lane).with("Origin", PARTY).with("Sec-Fetch-Dest", "empty");
    let theirs = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: x-canary\r\nContent-Length: 0\r\n\r\n";
    let (seen, answer) = stage.exchange(&request, theirs).await;
    assert!(!seen.head.has("origin"));
    assert_eq!(answer.head.one("access-control-allow-origin"), Some(PARTY));
    let exposed = answer.head.one("access-control-expose-headers").unwrap();
    for name in ["keyfold-error", "retry-after", "ratelimit", "x-request-id"] {
        assert!(exposed.split(", ").any(|found| found == name), "{name}: {exposed}");
    }
    assert!(!exposed.contains("canary"));

    // Other pages are not answered before the request, and cannot read what is answered.
    let foreign = Request::new(Way::Hyper, "OPTIONS", crate::stage::PATH)
        .with("Origin", "https://evil.example")
        .with("Access-Control-Request-Method", "POST");
    answer_to(&stage.production, &foreign).await.problem(403, "forbidden");
    let (_, answer) =
        stage.exchange(&stage.get(Way::Lane).with("Origin", "https://evil.example"), theirs).await;
    assert!(!answer.head.has("access-control-allow-origin"), "{:?}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_plain_request_goes_hypers_way() {
    let stage = Stage::set().await;
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    for (name, value) in [
        ("Expect", "100-continue"),
        ("TE", "trailers"),
        ("Origin", PARTY),
        ("Connection", "X-A"),
        ("Trailer", "X-A"),
        ("Proxy-Connection", "close"),
    ] {
        let (_, answer) = stage.exchange(&stage.get(Way::Lane).with(name, value), ok).await;
        Way::Hyper.assert_taken(&answer);
    }
    let mut caller = stage.caller().await;
    let bytes = stage.get(Way::Lane).bytes();
    caller.send(String::from_utf8(bytes).unwrap().replace("HTTP/1.1", "HTTP/1.0")).await;
    let (mut provider, seen) = stage.provider.request().await;
    assert!(seen.head.first.ends_with("HTTP/1.1"), "{}", seen.head.first);
    provider.send(ok).await;
    let answer = caller.read_answer().await;
    Way::Hyper.assert_taken(&answer);
    assert_eq!(caller.wait_for_end().await, End::Closed);
}

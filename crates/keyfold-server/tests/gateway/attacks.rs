//! What an attacker sends, as a caller and as a provider: each is refused or does nothing.

use std::fmt::Debug;

use keyfold_standin::example_key;

use crate::stage::{PATH, Request, Stage, Way, has_key};
use crate::wire::{Connection, End, Message};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends bytes that must not reach the provider; what comes back.
async fn refused(stage: &Stage, bytes: &[u8], status: u16) -> Message {
    let shown = bytes[..bytes.len().min(1500)].escape_ascii();
    let mut caller = stage.caller().await;
    let _ = caller.try_send(bytes).await;
    let answer = caller.read_answer().await;
    let text = format!("{:?} {}", answer.head, answer.text());
    assert_eq!(answer.head.status(), status, "{shown} was answered {text}");
    assert!(!text.contains(&stage.token) && !text.contains(&stage.key), "{shown}: {text}");
    if answer.head.one("connection") == Some("close") {
        let (rest, _) = caller.read_to_end().await;
        assert!(rest.is_empty(), "{shown}: {}", rest.escape_ascii());
    }
    stage.provider.assert_nobody_came();
    answer
}

fn head(stage: &Stage, way: Way, first: &str) -> String {
    format!("{first}\r\nHost: keys.example.com\r\nAuthorization: Bearer {}\r\n{}", stage.token, way.line())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_leads_anywhere_but_below_the_providers_address() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for (target, status) in [
            // Where the path is not of the gateway.
            ("//evil.example/gateway/openai/v1", 404),
            ("/gateway", 404),
            ("/gateway/openai", 404),
            ("/gateway//openai/v1", 404),
            ("/./gateway/openai/v1", 404),
            ("/x/../gateway/openai/v1", 404),
            ("/%67ateway/openai/v1", 404),
            ("/GATEWAY/openai/v1", 404),
            // Where it is, and leads elsewhere.
            ("http://evil.example/gateway/openai/v1/x", 400),
            ("https://keys.example.com/gateway/openai/v1/x", 400),
            ("http://user@evil.example:81/gateway/openai/v1/x", 400),
            ("/gateway/openai/../x", 400),
            ("/gateway/openai/v1/../../x", 400),
            ("/gateway/openai/v1/..", 400),
            ("/gateway/openai/./v1", 400),
            ("/gateway/openai/%2e%2e/x", 400),
            ("/gateway/openai/v1/%2E./x", 400),
            ("/gateway/openai/v1%2f..%2f..%2fx", 400),
            ("/gateway/openai/%252e%252e/x", 400),
            ("/gateway/openai/..;/x", 400),
            ("/gateway/openai/..%3b/x", 400),
            ("/gateway/openai//evil.example/x", 400),
            ("/gateway/openai/%2f%2fevil.example/x", 400),
            ("/gateway/openai/%5cevil.example", 400),
            ("/gateway/openai/v1/..%5c..%5cx", 400),
            ("/gateway/openai/v1/%0d%0aHost:%20evil.example", 400),
            ("/gateway/openai/v1/%00", 400),
            // Other names of a provider.
            ("/gateway/evil.example/x", 404),
            ("/gateway/openai@evil.example/x", 404),
            ("/gateway/openai:81/x", 404),
            ("/gateway/OpenAI/v1", 404),
            ("/gateway/%6fpenai/v1", 404),
            ("/gateway/openai%2fv1/x", 404),
            ("/gateway/../openai/v1", 404),
        ] {
            let request = format!("{}\r\n", head(&stage, way, &format!("GET {target} HTTP/1.1")));
            refused(&stage, request.as_bytes(), status).await;
        }
        // These are no addresses at all.
        for target in [
            "/gateway/openai/v1\\..\\x",
            "\\gateway\\openai\\v1",
            "/gateway/openai/v1/\"x\"",
            "/gateway/openai/v1/<x>",
            "/gateway/openai/v1/`x`",
            "/gateway/openai/v1/caf\u{e9}",
            "/gateway/openai/v1/a b",
            "gateway/openai/v1",
            "openai:443",
            "@evil.example/gateway/openai/v1",
        ] {
            let mut caller = stage.caller().await;
            let request = format!("{}\r\n", head(&stage, way, &format!("GET {target} HTTP/1.1")));
            caller.send(request).await;
            let status = caller.read_head().await.status();
            assert!([400, 404].contains(&status), "{target}: {status}");
            stage.provider.assert_nobody_came();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_leads_elsewhere_or_shows_the_key() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for (first, status) in [
            ("TRACE /gateway/openai/v1 HTTP/1.1", 405),
            ("TRACK /gateway/openai/v1 HTTP/1.1", 405),
            ("CONNECT /gateway/openai/v1 HTTP/1.1", 400),
            ("CONNECT evil.example:443 HTTP/1.1", 404),
            ("PURGE /gateway/openai/v1 HTTP/1.1", 405),
            ("get /gateway/openai/v1 HTTP/1.1", 405),
            ("PRI * HTTP/2.0", 400),
            ("GET /gateway/openai/v1 HTTP/2.0", 400),
            ("GET /gateway/openai/v1 HTTP/1.2", 400),
            ("GET /gateway/openai/v1", 400),
            ("G\u{0}T /gateway/openai/v1 HTTP/1.1", 400),
        ] {
            let mut caller = stage.caller().await;
            caller.send(format!("{}\r\n", head(&stage, way, first))).await;
            let got = caller.read_head().await.status();
            // A refusal, whichever fits best.
            assert!(got == status || [400, 404, 405, 505].contains(&got), "{first}: {got}");
            stage.provider.assert_nobody_came();
        }
    }
}

/// Bytes that look like the beginning of a request for somebody else.
fn smuggled(stage: &Stage) -> String {
    format!(
        "GET /gateway/openai/v1/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.token
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_servers_could_read_differently_is_refused() {
    let stage = Stage::set().await;
    let smuggled = smuggled(&stage);
    let long = "x".repeat(600_000);
    for way in Way::BOTH {
        let head = head(&stage, way, &format!("POST {PATH} HTTP/1.1"));
        for (lines, body) in [
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
            ("Content-Length: 5, 6\r\n", "hello"),
            ("Content-Length: 5, 5\r\n", "hello"),
            ("Content-Length: +5\r\n", "hello"),
            ("Content-Length: -5\r\n", "hello"),
            ("Content-Length: 0x5\r\n", "hello"),
            ("Content-Length: 5 5\r\n", "hello"),
            ("Content-Length: \r\n", "hello"),
            ("Content-Length: 18446744073709551621\r\n", "hello"),
            ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: identity\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: \r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"),
            (" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ("Content-Length : 5\r\n", "hello"),
            ("X: y\r\n Content-Length: 5\r\n", "hello"),
            ("X: y\r\n\tfolded\r\nContent-Length: 5\r\n", "hello"),
            ("X: a\u{0}b\r\nContent-Length: 5\r\n", "hello"),
            ("X\u{0}: b\r\nContent-Length: 5\r\n", "hello"),
            ("X: a\rContent-Length: 5\r\n", "hello"),
            ("X(y): b\r\n", ""),
            ("X y: b\r\n", ""),
            ("\u{e4}: b\r\n", ""),
            (": b\r\n", ""),
            ("no colon\r\n", ""),
        ] {
            let request = format!("{head}{lines}\r\n{body}{smuggled}");
            let answer = refused(&stage, request.as_bytes(), 400).await;
            assert_eq!(answer.head.one("connection"), Some("close"), "{lines:?}: the rest could be believed");
        }
        for (lines, status) in [
            (format!("X: {long}\r\n"), 431),
            (format!("{}: x\r\n", &long[..100_000]), 431),
            ("X: y\r\n".repeat(2000), 431),
        ] {
            let request = format!("{head}{lines}\r\n");
            refused(&stage, request.as_bytes(), status).await;
        }
    }
}

/// By the standard the coding counts, and equal lengths are one (RFC 9112, section 6.3). The provider hears of one only.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_framings_one_goes_on_and_what_follows_is_a_request_of_its_own() {
    let stage = Stage::set().await;
    let head = head(&stage, Way::Lane, &format!("POST {PATH} HTTP/1.1"));
    for (lines, body) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 99\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    ] {
        let mut caller = stage.caller().await;
        caller.send(format!("{head}{lines}\r\n{body}GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let (mut provider, seen) = stage.provider.request().await;
        assert_eq!(seen.body, b"hello", "{lines:?}");
        let framings = seen.head.all("content-length").len() + seen.head.all("transfer-encoding").len();
        assert_eq!(framings, 1, "{lines:?}: {:?}", seen.head);
        provider.send(OK).await;
        assert_eq!(caller.read_answer().await.body, b"ok");
        // It has no credential; or the connection is closed, since the rest cannot be believed.
        if caller.has_more().await {
            caller.read_answer().await.problem(401, "unauthenticated");
        }
        stage.provider.keep(provider);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_chunked_wrongly_never_becomes_another_one() {
    let stage = Stage::set().await;
    let smuggled = smuggled(&stage);
    let head = head(&stage, Way::Lane, &format!("POST {PATH} HTTP/1.1"));
    for body in [
        "5\r\nhelloXX\r\n0\r\n\r\n",
        "x\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let mut caller = stage.caller().await;
        caller.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}{smuggled}")).await;
        let (answer, _) = caller.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.matches("HTTP/1.1 ").count() <= 1 && !answer.contains(" 200 "), "{body:?}: {answer}");
        // Its head may have gone on before its body was seen to be none; that never had an end.
        for came in stage.provider.everything_that_came().await {
            let came = String::from_utf8_lossy(&came).into_owned();
            assert!(came.is_empty() || came.starts_with("POST /v1/things "), "{body:?}: {came}");
            assert!(!came.contains("smuggled") && !came.ends_with("0\r\n\r\n"), "{body:?}: {came}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_body_is_read_as_a_request_of_its_own_and_needs_its_own_credential() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for garbage in ["\0\u{1}garbage\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
            let mut caller = stage.caller().await;
            let request = [stage.post(way, "hello").bytes(), garbage.into()].concat();
            caller.send(request).await;
            let (mut provider, seen) = stage.provider.request().await;
            assert_eq!(seen.body, b"hello");
            provider.send(OK).await;
            assert_eq!(caller.read_answer().await.body, b"ok", "{way:?}");
            let (rest, _) = caller.read_to_end().await;
            assert!(rest.starts_with(b"HTTP/1.1 400 "), "{way:?} {garbage:?}: {}", rest.escape_ascii());
            stage.provider.assert_nobody_came();
            stage.provider.keep(provider);
        }
        // The next request has no credential of the one before.
        let mut caller = stage.caller().await;
        let next = Request::get(way, PATH).bytes();
        caller.send([stage.post(way, "hello").bytes(), next].concat()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send(OK).await;
        assert_eq!(caller.read_answer().await.body, b"ok");
        caller.read_answer().await.problem(401, "unauthenticated");
        stage.provider.keep(provider);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_is_always_the_providers() {
    let stage = Stage::set().await;
    let token = &stage.token;
    let own = stage.provider.address().to_string();
    for hosts in
        ["", "Host: a\r\nHost: b\r\n", "Host: evil.example\r\n", "Host: 169.254.169.254:80\r\n", "Host: \r\n"]
    {
        for way in Way::BOTH {
            let mut caller = stage.caller().await;
            let line = way.line();
            caller
                .send(format!("GET {PATH} HTTP/1.1\r\n{hosts}Authorization: Bearer {token}\r\n{line}\r\n"))
                .await;
            tokio::select! {
                (mut provider, seen) = stage.provider.request() => {
                    assert_eq!(seen.head.all("host"), [&own], "{hosts:?}");
                    provider.send(OK).await;
                    assert_eq!(caller.read_answer().await.body, b"ok");
                    stage.provider.keep(provider);
                }
                has_more = caller.has_more() => {
                    assert!(has_more);
                    assert_eq!(caller.read_answer().await.head.status(), 400, "{hosts:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_programs_and_fetch_gets_an_answer() {
    let stage = Stage::set().await;
    for destination in [
        "document",
        "script",
        "iframe",
        "worker",
        "serviceworker",
        "style",
        "image",
        "object",
        "embed",
        "frame",
        "",
    ] {
        for mode in ["navigate", "no-cors"] {
            let request =
                stage.get(Way::Lane).with("Sec-Fetch-Dest", destination).with("Sec-Fetch-Mode", mode);
            refused(&stage, &request.bytes(), 403).await.problem(403, "forbidden");
        }
    }
    let navigation = stage.get(Way::Lane).with("Sec-Fetch-Mode", "navigate");
    refused(&stage, &navigation.bytes(), 403).await.problem(403, "forbidden");
    let upgrade = stage
        .get(Way::Lane)
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Key", "dGVzdCBkYXRhIHRlc3QgZA==");
    refused(&stage, &upgrade.bytes(), 400).await;
}

/// A call that the provider answers with these bytes, and nothing more.
async fn answered_with(stage: &Stage, way: Way, bytes: &[u8]) -> Connection {
    let mut caller = stage.caller().await;
    caller.send(stage.get(way).bytes()).await;
    let (mut provider, _) = stage.provider.request().await;
    // It may be cut before all of it is taken.
    let _ = provider.try_send(bytes).await;
    let _ = provider.try_finish().await;
    caller
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_two_readers_could_take_differently_is_none() {
    let stage = Stage::set().await;
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(2000);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(4000));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(600_000));
    for way in Way::BOTH {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokcanary",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokcanary",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nokcanary",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nokcanary",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\ncanary",
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nokcanary",
            "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\r\nokcanary",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nokcanary",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: canary\r\nConnection: upgrade\r\n\r\ncanary",
            "HTTP/2.0 200 OK\r\n\r\ncanary",
            "HTTP/1.1 20 OK\r\n\r\ncanary",
            "HTTP/1.1 000 OK\r\n\r\ncanary",
            "canary",
            "\r\n\r\n\r\ncanary",
            "",
            "HTTP/1.1 200 OK\r\n",
            &interim,
            &many,
            &long,
        ] {
            let answer = answered_with(&stage, way, bytes.as_bytes()).await.read_answer().await;
            let text = format!("{:?} {}", answer.head, answer.text());
            assert!(!text.contains("canary"), "{way:?}: {text}");
            answer.problem(502, "provider_unreachable");
        }
    }
    // Others' calls go on.
    for way in Way::BOTH {
        assert_eq!(stage.exchange(&stage.get(way), OK).await.1.body, b"ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_framed_wrongly_has_no_end() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n-1\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n10000000000000000\r\n0\r\n\r\n",
        ] {
            let (got, end) = answered_with(&stage, way, bytes.as_bytes()).await.read_to_end().await;
            assert_broken(&got, end, &(way, bytes));
        }
    }
}

/// Not one byte of an end.
#[track_caller]
fn assert_broken(got: &[u8], end: End, what: &dyn Debug) {
    let text = String::from_utf8_lossy(got);
    let is_whole = text.ends_with("\r\n0\r\n\r\n") || text.contains("content-length: 2\r\n");
    assert!(!is_whole, "{what:?} has an end: {text}");
    // Without any other sign of an end, the connection itself must be broken.
    let is_told =
        ["content-length: 9", "transfer-encoding: chunked", " 502 "].iter().any(|sign| text.contains(sign));
    assert!(is_told || end == End::Reset, "{what:?} {end:?}: {text}");
}

/// Answers that are followed by something; whoever calls next must not see that.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_an_answer_reaches_nobody() {
    let stage = Stage::set().await;
    let other_key = example_key("openai", 9);
    has_key(&stage.production, &stage.provider, "user_b", &other_key).await;
    let other_token = stage.production.token_for("user_b");
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary";
    for way in Way::BOTH {
        for answer in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{next}"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{next}"),
            format!("HTTP/1.1 204 No Content\r\n\r\n{next}"),
            format!("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello{next}"),
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello{next}"),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{next}"),
        ] {
            let mut caller = stage.caller().await;
            caller.send(stage.get(way).bytes()).await;
            let (mut provider, _) = stage.provider.request().await;
            provider.send(&answer).await;
            let first = caller.read_answer().await;
            assert!(first.body == b"ok" || first.body.is_empty(), "{way:?} {answer:?}");
            // The connection is not used again, by neither way.
            for other in Way::BOTH {
                let mut caller = stage.caller().await;
                caller.send(Request::get(other, PATH).by(&other_token).bytes()).await;
                let (mut fresh, seen) = stage.provider.request().await;
                assert_eq!(seen.head.one("authorization"), Some(format!("Bearer {other_key}").as_str()));
                fresh.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nown").await;
                assert_eq!(caller.read_answer().await.body, b"own", "{way:?} {other:?} {answer:?}");
            }
            let (rest, _) = provider.read_to_end().await;
            assert!(rest.is_empty(), "{way:?}: {}", rest.escape_ascii());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_sends_on_an_idle_connection_reaches_nobody() {
    let stage = Stage::set().await;
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary";
    for way in Way::BOTH {
        let (mut provider, answer) = kept(&stage, way).await;
        assert_eq!(answer.body, b"ok");
        provider.send(next).await;
        // Loopback delivers at once; whoever calls then finds it there.
        let (_, answer) = stage
            .exchange(
                &stage.get(way),
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nown",
            )
            .await;
        assert_eq!(answer.body, b"own", "{way:?}");
        let (rest, _) = provider.read_to_end().await;
        assert!(rest.is_empty(), "{way:?}: {}", rest.escape_ascii());
    }
}

/// A call whose connection to the provider stays.
async fn kept(stage: &Stage, way: Way) -> (Connection, Message) {
    let mut caller = stage.caller().await;
    // Its end shows that the provider's connection was put back.
    caller.send(stage.get(way).with("Connection", "close").bytes()).await;
    let (mut provider, _) = stage.provider.request().await;
    provider.send(OK).await;
    let answer = caller.read_answer().await;
    assert_eq!(caller.wait_for_end().await, End::Closed);
    (provider, answer)
}

//! Bodies pass as they come, in both directions; who leaves, who breaks off and who is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyfold::provider::http::Timeouts;
use keyfold_server::serve::Limits;
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::stage::{PATH, Request, Stage, Way, answer_to, has_key};
use crate::support::production::{Production, Setup};
use crate::wire::{Connection, End, RawProvider};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A call whose request is at the provider.
async fn begun(stage: &Stage, way: Way) -> (Connection, Connection) {
    let mut caller = stage.caller().await;
    caller.send(stage.get(way).bytes()).await;
    let (provider, _) = stage.provider.request().await;
    (caller, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_an_answer_is_passed_on_before_the_next_one_comes() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for kind in ["text/event-stream", "application/json", "application/octet-stream"] {
            let (mut caller, mut provider) = begun(&stage, way).await;
            provider
                .send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ))
                .await;
            let head = caller.read_head().await;
            assert_eq!(head.one("content-type"), Some(kind), "{way:?}");
            for part in ["data: 1\n\n", "d", "ata: 2\n\n"] {
                provider.send(format!("{:x}\r\n{part}\r\n", part.len())).await;
                assert_eq!(caller.read_chunk().await.unwrap(), part.as_bytes(), "{way:?} {kind}");
            }
            provider.send("0\r\n\r\n").await;
            assert!(caller.read_chunk().await.unwrap().is_empty());
            stage.provider.keep(provider);
        }
        let (mut caller, mut provider) = begun(&stage, way).await;
        provider.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").await;
        caller.read_head().await;
        for part in ["a", "bc", "def"] {
            provider.send(part).await;
            assert_eq!(caller.read(part.len()).await, part.as_bytes(), "{way:?}");
        }
        stage.provider.keep(provider);
        let (mut caller, mut provider) = begun(&stage, way).await;
        provider.send("HTTP/1.1 200 OK\r\n\r\n").await;
        let head = caller.read_head().await;
        let is_chunked = head.has("transfer-encoding");
        for part in ["a", "bc", "def"] {
            provider.send(part).await;
            let read =
                if is_chunked { caller.read_chunk().await.unwrap() } else { caller.read(part.len()).await };
            assert_eq!(read, part.as_bytes(), "{way:?}");
        }
        drop(provider);
        if is_chunked {
            assert!(caller.read_chunk().await.unwrap().is_empty());
        } else {
            assert_eq!(caller.wait_for_end().await, End::Closed, "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_byte_by_byte_is_the_same() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        let (mut caller, mut provider) = begun(&stage, way).await;
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" {
            provider.send([*byte]).await;
        }
        let answer = caller.read_answer().await;
        way.assert_taken(&answer);
        assert_eq!((answer.head.one("x-a"), answer.body.as_slice()), (Some("b"), &b"hello"[..]), "{way:?}");
        stage.provider.keep(provider);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_request_is_passed_on_before_the_next_one_comes() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        let request = stage.post(way, "hello, world").bytes();
        let (first, rest) = request.split_at(request.len() - 7);
        caller.send(first).await;
        let mut provider = stage.provider.accept_or_kept().await;
        let head = provider.read_head().await;
        assert_eq!(head.one("content-length"), Some("12"));
        assert_eq!(provider.read(5).await, b"hello", "{way:?}");
        caller.send(&rest[..1]).await;
        assert_eq!(provider.read(1).await, b",", "{way:?}");
        caller.send(&rest[1..]).await;
        assert_eq!(provider.read(6).await, b" world", "{way:?}");
        provider.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        let answer = caller.read_answer().await;
        way.assert_taken(&answer);
        assert_eq!(answer.body, b"ok");
    }
    // Chunked ones too.
    let mut caller = stage.caller().await;
    let head = String::from_utf8(stage.post(Way::Lane, "").bytes()).unwrap();
    caller.send(head.replace("Content-Length: 0", "Transfer-Encoding: chunked")).await;
    let mut provider = stage.provider.accept_or_kept().await;
    caller.send("5\r\nhello\r\n").await;
    let head = provider.read_head().await;
    assert_eq!((head.one("transfer-encoding"), head.has("content-length")), (Some("chunked"), false));
    assert_eq!(provider.read_chunk().await.unwrap(), b"hello");
    caller.send("1\r\n,\r\n0\r\nX-Trailer: canary\r\n\r\n").await;
    assert_eq!(provider.read_chunk().await.unwrap(), b",");
    assert!(provider.read_chunk().await.unwrap().is_empty());
    provider.send(OK).await;
    assert_eq!(caller.read_answer().await.body, b"ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expects_to_be_asked_for_the_body_is() {
    let stage = Stage::set().await;
    let mut caller = stage.caller().await;
    let request = stage.post(Way::Lane, "hello").with("Expect", "100-continue").bytes();
    let (head, body) = request.split_at(request.len() - 5);
    caller.send(head).await;
    assert_eq!(caller.read_head().await.first, "HTTP/1.1 100 Continue");
    caller.send(body).await;
    let (mut provider, seen) = stage.provider.request().await;
    assert!(!seen.head.has("expect") && seen.body == b"hello");
    provider.send(OK).await;
    assert_eq!(caller.read_answer().await.body, b"ok");
    // Who may not call is told so without sending it.
    let mut caller = stage.caller().await;
    caller
        .send(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
        .await;
    caller.read_answer().await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_request_is_whole_is_passed_on() {
    let stage = Stage::set().await;
    let refusal =
        "HTTP/1.1 413 Payload Too Large\r\nX-A: b\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large";
    for way in Way::BOTH {
        for closes in [false, true] {
            let mut caller = stage.caller().await;
            let request = stage.post(way, vec![b'x'; 200_000]).bytes();
            caller.send(&request[..100_000]).await;
            let mut provider = stage.provider.accept_or_kept().await;
            provider.read_head().await;
            provider.send(refusal).await;
            if closes {
                provider.finish().await;
            }
            let answer = caller.read_answer().await;
            way.assert_taken(&answer);
            assert_eq!((answer.head.status(), answer.body.as_slice()), (413, &b"too large"[..]), "{way:?}");
            assert_eq!(answer.head.one("x-a"), Some("b"));
            if way == Way::Lane {
                assert_eq!(answer.head.one("connection"), Some("close"));
            }
            // The rest of the request is nobody's next one: the connection ends, or goes on after it.
            let _ = caller.try_send(&request[100_000..]).await;
            let _ = caller.try_send(Request::get(way, PATH).bytes()).await;
            if caller.has_more().await {
                caller.read_answer().await.problem(401, "unauthenticated");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_before_its_answer_does_not_end_the_request() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        let request = stage.post(way, "hello, world").bytes();
        let (first, rest) = request.split_at(request.len() - 7);
        caller.send(first).await;
        let mut provider = stage.provider.accept_or_kept().await;
        provider.read_head().await;
        provider.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(provider.read(5).await, b"hello");
        provider.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
        caller.send(rest).await;
        assert_eq!(provider.read(7).await, b", world", "{way:?}");
        provider.send(OK).await;
        let answer = caller.read_answer().await;
        way.assert_taken(&answer);
        assert_eq!(answer.body, b"ok", "{way:?}");
        stage.provider.keep(provider);
        // Both went on in order, so the next request may follow.
        caller.send(stage.get(way).bytes()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(caller.read_answer().await.body, b"ok", "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_ahead_are_answered_one_after_the_other() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        let requests = (0..5).map(|n| stage.post(way, format!("request {n}")).bytes());
        caller.send(requests.collect::<Vec<_>>().concat()).await;
        for n in 0..5 {
            let (mut provider, seen) = stage.provider.request().await;
            assert_eq!(seen.text(), format!("request {n}"), "{way:?}");
            provider.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nanswer {n}")).await;
            assert_eq!(caller.read_answer().await.text(), format!("answer {n}"), "{way:?}");
            stage.provider.keep(provider);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides_and_carry_whoever_comes_next() {
    let stage = Stage::set().await;
    let other_key = keyfold_standin::example_key("openai", 7);
    has_key(&stage.production, &stage.provider, "user_b", &other_key).await;
    let other_token = stage.production.token_for("user_b");
    for way in Way::BOTH {
        let mut callers = [stage.caller().await, stage.caller().await];
        for turn in [0, 1, 1, 0, 1] {
            let (token, key) = [(&stage.token, &stage.key), (&other_token, &other_key)][turn];
            callers[turn].send(Request::get(way, PATH).by(token).bytes()).await;
            let (mut connection, seen) = stage.provider.request().await;
            assert_eq!(seen.head.one("authorization"), Some(format!("Bearer {key}").as_str()), "{way:?}");
            connection.send(OK).await;
            assert_eq!(callers[turn].read_answer().await.body, b"ok");
            stage.provider.keep(connection);
        }
        // It is put back a moment after its answer was read: by hyper whenever its task runs, and by the lane before the
        // same caller's next request.
        if way == Way::Lane {
            assert!(stage.provider.kept() <= 2, "a connection was not used again");
        }
    }
    // Whoever asks for it is the last one.
    for way in Way::BOTH {
        let mut caller = stage.caller().await;
        caller.send(stage.get(way).with("Connection", "close").bytes()).await;
        let (mut provider, seen) = stage.provider.request().await;
        assert!(
            !seen.head.all("connection").contains(&"close"),
            "the provider's connection is not the caller's"
        );
        provider.send(OK).await;
        let answer = caller.read_answer().await;
        assert_eq!(answer.head.one("connection"), Some("close"), "{way:?}");
        assert_eq!(caller.wait_for_end().await, End::Closed);
        stage.provider.keep(provider);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_comes_once_or_not_at_all_when_its_idle_connection_was_closed_meanwhile() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for n in 0..20 {
            let (_, answer) = stage.exchange(&stage.get(way), OK).await;
            assert_eq!(answer.body, b"ok", "{way:?}");
            stage.provider.close_kept();
            let mut caller = stage.caller().await;
            let body = format!("once {n}");
            caller.send(stage.post(way, body.clone()).bytes()).await;
            tokio::select! {
                (mut provider, seen) = stage.provider.request() => {
                    assert_eq!(seen.text(), body);
                    provider.send(OK).await;
                    assert_eq!(caller.read_answer().await.body, b"ok");
                    stage.provider.keep(provider);
                }
                // It went into the closed connection before that was noticed: nobody may send it again.
                has_more = caller.has_more() => {
                    assert!(has_more);
                    caller.read_answer().await.problem(502, "provider_unreachable");
                }
            }
            stage.provider.assert_nobody_came();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_while_the_body_is_still_coming_can_send_it_and_read_why() {
    let production = Production::start().await;
    let token = production.token_for("user_a");
    for way in Way::BOTH {
        let mut caller = Connection::to(production.address).await;
        let request = Request::post(way, PATH, vec![b'x'; 200_000]).by(&token).bytes();
        caller.send(&request[..50_000]).await;
        let answer = caller.read_answer().await;
        answer.problem(404, "no_api_key");
        caller.send(&request[50_000..]).await;
        if answer.head.one("connection") == Some("close") {
            assert_eq!(caller.wait_for_end().await, End::Closed, "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_so_long_in_however_small_pieces_it_comes() {
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let production = Setup::default().limits(limits).start().await;
    for way in Way::BOTH {
        let mut caller = Connection::to(production.address).await;
        caller.send(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n{}X: ", way.line())).await;
        // It would go on for longer than this test may take.
        let dripping = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if caller.try_send("x").await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), dripping).await.expect("it has no limit");
    }
}

fn outcomes(ended: &[Value]) -> Vec<&str> {
    ended.iter().map(|event| event["outcome"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_caller_leaves_the_provider_is_left_too() {
    let stage = Stage::set().await;
    for (count, way) in (0..).zip(Way::BOTH) {
        // Before the answer began.
        let (caller, mut provider) = begun(&stage, way).await;
        drop(caller);
        provider.wait_for_end().await;
        // In the middle of it, in order and by breaking the connection.
        for breaks in [false, true] {
            let (mut caller, mut provider) = begun(&stage, way).await;
            provider.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            caller.read_head().await;
            assert_eq!(caller.read_chunk().await.unwrap(), b"first");
            if breaks {
                caller.reset();
            } else {
                drop(caller);
            }
            provider.wait_for_end().await;
        }
        // In the middle of the request.
        let mut caller = stage.caller().await;
        let request = stage.post(way, "hello, world").bytes();
        caller.send(&request[..request.len() - 3]).await;
        let mut provider = stage.provider.accept_or_kept().await;
        provider.read_head().await;
        provider.read(9).await;
        drop(caller);
        let (rest, _) = provider.read_to_end().await;
        assert!(rest.is_empty(), "{way:?}: {}", rest.escape_ascii());
        let ended = stage.ended_calls((count + 1) * 4).await;
        assert_eq!(outcomes(&ended[..4]), ["abandoned"; 4], "{way:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_provider_breaks_off_the_caller_sees_no_end() {
    let stage = Stage::set().await;
    for (count, way) in (0..).zip(Way::BOTH) {
        for (framing, part, resets) in [
            ("Content-Length: 10", "first", false),
            ("Content-Length: 10", "first", true),
            ("Transfer-Encoding: chunked", "5\r\nfirst\r\n", false),
            ("Transfer-Encoding: chunked", "5\r\nfirst\r\n", true),
            ("Transfer-Encoding: chunked", "9\r\nfirst", false),
            ("X-Until: close", "first", true),
        ] {
            let (mut caller, mut provider) = begun(&stage, way).await;
            provider.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}")).await;
            let head = caller.read_head().await;
            let is_chunked = head.has("transfer-encoding");
            let has_length = head.has("content-length");
            // What came so far has come before it breaks.
            while !caller.has("first") {
                assert!(caller.has_next().await, "{way:?} {framing}");
            }
            if resets {
                provider.reset();
            } else {
                drop(provider);
            }
            let (rest, end) = caller.read_to_end().await;
            let rest = String::from_utf8_lossy(&rest).into_owned();
            assert!(!rest.contains("0\r\n\r\n"), "{way:?} {framing}: {rest:?}");
            assert!(end == End::Reset || is_chunked || has_length, "{way:?} {framing} ended in order");
        }
        let ended = stage.ended_calls((count + 1) * 6).await;
        assert_eq!(outcomes(&ended[..6]), ["failed"; 6], "{way:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_speak_the_older_http_see_no_end_of_a_broken_answer_either() {
    let stage = Stage::set().await;
    for framing in ["Transfer-Encoding: chunked", "X-Until: close"] {
        let mut caller = stage.caller().await;
        let request = String::from_utf8(stage.get(Way::Lane).bytes()).unwrap();
        caller.send(request.replace("HTTP/1.1", "HTTP/1.0")).await;
        let (mut provider, _) = stage.provider.request().await;
        let part = if framing.contains("chunked") { "5\r\nfirst\r\n" } else { "first" };
        provider.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{part}")).await;
        let head = caller.read_head().await;
        assert!(!head.has("transfer-encoding") && !head.has("content-length"), "{head:?}");
        assert_eq!(caller.read(5).await, b"first");
        provider.reset();
        assert_eq!(caller.read_to_end().await.1, End::Reset, "{framing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_late_is_a_time_out() {
    let timeouts = Timeouts {
        gateway_first_byte: Duration::from_millis(300),
        gateway_idle: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let stage = Stage::set_with(Setup::default().timeouts(timeouts)).await;
    for way in Way::BOTH {
        let (mut caller, mut provider) = begun(&stage, way).await;
        let answer = caller.read_answer().await;
        answer.problem(504, "provider_timeout");
        provider.wait_for_end().await;
        // It may call again on the same connection.
        caller.send(stage.get(way).bytes()).await;
        let (mut provider, _) = stage.provider.request().await;
        provider.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
        caller.read_head().await;
        assert_eq!(caller.read(5).await, b"first");
        let (rest, _) = caller.read_to_end().await;
        assert!(rest.is_empty(), "{way:?}");
        provider.wait_for_end().await;
    }
    let ended = stage.ended_calls(4).await;
    assert_eq!(outcomes(&ended), ["failed"; 4], "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_is_left_alone_for_a_while_and_tried_again() {
    for way in Way::BOTH {
        // Bound and not listening, it refuses.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let production = Production::with("KEYFOLD_PROVIDER_OPENAI_BASE_URL", &url).start().await;
        // Not to be reached, it cannot say anything against the key.
        production.as_user("user_a").has_example_key("openai", 1).await;
        let token = production.token_for("user_a");
        let request = Request::get(way, PATH).by(&token);
        for _ in 0..5 {
            answer_to(&production, &request).await.problem(502, "provider_unreachable");
        }
        let away = answer_to(&production, &request).await;
        let seconds = away.head.one("retry-after").expect("it says when");
        assert!((1..=6).contains(&seconds.parse::<u32>().unwrap()), "{way:?}: {seconds}");
        assert!(away.head.status() >= 502, "{way:?}: {}", away.text());

        let provider = RawProvider::on(socket.listen(16).unwrap());
        let answering = async {
            loop {
                let (mut connection, _) = provider.request().await;
                connection.send(OK).await;
                provider.keep(connection);
            }
        };
        let calling = async {
            loop {
                let answer = answer_to(&production, &request).await;
                if answer.head.status() == 200 {
                    break;
                }
                assert!(answer.head.has("retry-after"), "{way:?}: {}", answer.text());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for _ in 0..3 {
                assert_eq!(answer_to(&production, &request).await.head.status(), 200, "{way:?}");
            }
        };
        tokio::select! {
            () = answering => {}
            called = tokio::time::timeout(Duration::from_secs(240), calling) => called.unwrap(),
        }
    }
}

/// How many bytes a large body has: `KEYFOLD_GATEWAY_BYTES`, such as 1073741824.
fn large() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "makes this test longer, no setting")]
    let given = std::env::var("KEYFOLD_GATEWAY_BYTES").ok();
    given.map_or(192 * 1024 * 1024, |given| given.parse().expect("KEYFOLD_GATEWAY_BYTES is a number"))
}

/// What may be on its way, in the buffers of four sockets and of the gateway.
const UNDER_WAY: u64 = 96 * 1024 * 1024;

/// Sends so many bytes, and counts them.
async fn send_large(mut to: Connection, bytes: u64, sent: Arc<AtomicU64>) -> Connection {
    let part = vec![b'x'; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = part.len().min(usize::try_from(left).unwrap());
        to.send_patiently(&part[..now]).await;
        left -= now as u64;
        sent.fetch_add(now as u64, Ordering::SeqCst);
    }
    to
}

/// Waits until nothing more is taken. Too early a look sees too little, never too much.
async fn stalled(sent: &AtomicU64) -> u64 {
    let mut before = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = sent.load(Ordering::SeqCst);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_wait_where_they_come_from_until_they_are_taken() {
    let stage = Stage::set().await;
    let bytes = large();
    for way in Way::BOTH {
        // An answer.
        let (mut caller, mut provider) = begun(&stage, way).await;
        provider.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")).await;
        caller.read_head().await;
        let sent = Arc::new(AtomicU64::new(0));
        let sending = tokio::spawn(send_large(provider, bytes, Arc::clone(&sent)));
        let under_way = stalled(&sent).await;
        assert!(
            under_way < UNDER_WAY && under_way < bytes,
            "{way:?}: {under_way} bytes were taken for nobody"
        );
        caller.skip(bytes).await;
        stage.provider.keep(sending.await.unwrap());

        // A request.
        let mut caller = stage.caller().await;
        let head = String::from_utf8(stage.post(way, "").bytes()).unwrap();
        caller.send(head.replace("Content-Length: 0", &format!("Content-Length: {bytes}"))).await;
        let mut provider = stage.provider.accept_or_kept().await;
        provider.read_head().await;
        let sent = Arc::new(AtomicU64::new(0));
        let sending = tokio::spawn(send_large(caller, bytes, Arc::clone(&sent)));
        let under_way = stalled(&sent).await;
        assert!(
            under_way < UNDER_WAY && under_way < bytes,
            "{way:?}: {under_way} bytes were taken for nobody"
        );
        provider.skip(bytes).await;
        provider.send(OK).await;
        let mut caller = sending.await.unwrap();
        assert_eq!(caller.read_answer().await.body, b"ok", "{way:?}");
        stage.provider.keep(provider);
    }
}

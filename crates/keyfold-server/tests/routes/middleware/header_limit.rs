//! Requests with too much in their headers.

use tokio::io::AsyncWriteExt;

use crate::support::Local;

fn headers(count: usize) -> String {
    "X-Many: a\r\n".repeat(count)
}

#[tokio::test]
async fn headers_that_are_too_large_are_431() {
    let local = Local::start().await;
    let request =
        |lines: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    let too_much = [
        request(&format!("X-Large: {}\r\n", "a".repeat(40 * 1024))),
        request(&format!("Cookie: {}\r\n", "a".repeat(33 * 1024))),
        request(&headers(150)),
        request(&headers(99)),
        format!(
            "GET /healthz?{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "a".repeat(20 * 1024)
        ),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "a".repeat(20 * 1024)),
    ];
    for request in too_much {
        let problem = local.raw(&request).await.problem(431, "headers_too_large");
        assert!(problem["detail"].as_str().unwrap().contains("32 KiB"), "{problem}");
    }
    let enough = [
        request(&format!("X-Large: {}\r\n", "a".repeat(31 * 1024))),
        request(&headers(98)),
        format!(
            "GET /healthz?{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "a".repeat(15 * 1024)
        ),
    ];
    for request in enough {
        assert_eq!(local.raw(&request).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_behind_too_large_headers_is_not_read() {
    let local = Local::start().await;
    let request = format!(
        "PUT /api/keys/gemini HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n{}\r\n",
        headers(150)
    );
    local.raw(&request).await.problem(431, "headers_too_large");
}

#[tokio::test]
async fn headers_without_end_are_cut_off() {
    let local = Local::start().await;
    let start = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    // More than are read at all: refused before there is a request.
    assert_eq!(local.raw(format!("{start}{}\r\n", headers(600))).await.status, 431);
    let mut connection = local.connect().await;
    connection.write_all(start.as_bytes()).await.unwrap();
    let line = format!("X-Large: {}\r\n", "a".repeat(64 * 1024));
    let mut lines = 0;
    while connection.write_all(line.as_bytes()).await.is_ok() {
        lines += 1;
        assert!(lines < 1000, "64 MiB of headers were taken");
    }
    assert_eq!(local.get("/healthz").await.status, 200);
}

//! How the program reaches providers: through the proxy that the environment names, never with a key for this
//! machine's own addresses through it, and only over TLS that the system's roots vouch for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use keyfold_standin::{Standin, example_key};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// Saves a Gemini key with `keyfold keys set`, in a process of its own.
async fn save(dir: &Path, key: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfold"));
    command.args(["keys", "set", "gemini"]).current_dir(dir).env_clear().env("DEBUG", "true");
    command
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let line = format!("{key}\n");
    let run = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The head of the next request that arrives, answered with `answer`.
async fn head_of_next(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    head
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn providers_are_reached_through_the_proxy_of_the_environment_and_it_sees_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let key = example_key("gemini", 1);
    let variables = [("HTTPS_PROXY", address.as_str())];
    let (head, output) = tokio::join!(
        head_of_next(&proxy, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        save(dir.path(), &key, &variables),
    );
    assert!(head.starts_with("CONNECT generativelanguage.googleapis.com:443 "), "{head}");
    assert!(!head.contains(&key));
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("could not be reached"));
}

#[tokio::test]
async fn what_stays_on_this_machine_never_goes_through_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let standin = Standin::start().await;
    let base = standin.base_url("gemini");
    // Nothing answers there: a request through it would fail.
    let proxy = keyfold_standin::refused_port();
    let variables = [
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", &proxy),
        ("ALL_PROXY", &proxy),
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &base),
    ];
    let output = save(dir.path(), &example_key("gemini", 1), &variables).await;
    assert!(String::from_utf8(output.stdout).unwrap().contains("valid"));
    assert_eq!(standin.requests_for("gemini").len(), 1);
}

#[tokio::test]
async fn a_certificate_counts_only_if_the_systems_roots_vouch_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, cert.pem()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let heads = tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut heads = vec![];
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"models\":[]}").await;
            let _ = stream.shutdown().await;
            heads.push(String::from_utf8(head).unwrap());
        }
        heads
    });
    let key = example_key("gemini", 1);
    let address = [("KEYFOLD_PROVIDER_GEMINI_BASE_URL", base.as_str())];
    let refused = save(dir.path(), &key, &address).await;
    assert!(String::from_utf8(refused.stdout).unwrap().contains("could not be reached"));
    let vouched = [address[0], ("SSL_CERT_FILE", roots.to_str().unwrap())];
    let accepted = save(dir.path(), &key, &vouched).await;
    assert!(
        String::from_utf8(accepted.stdout).unwrap().contains("valid"),
        "the system's roots were not used"
    );
    let heads = heads.await.unwrap();
    assert_eq!(heads.len(), 1, "the key was sent to a server that nobody vouched for");
    assert!(heads[0].contains(&key));
}

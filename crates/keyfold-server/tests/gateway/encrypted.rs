//! TLS to the provider, with a certificate that the program trusts, so the program itself runs here.

use std::net::SocketAddr;
use std::sync::Arc;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold_standin::{Issuer, Standin, example_key, fingerprint};
use keyfold_test_servers::PostgresServer;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::program::Program;
use crate::stage::{PATH, Request, Way};
use crate::wire::{Connection, End, RawProvider};

/// A running program that reaches its providers over TLS.
struct Encrypted {
    program: Program,
    standin: Standin,
    /// Behind TLS whose end is told.
    provider: RawProvider,
    /// Behind TLS that just breaks off.
    abrupt: RawProvider,
    client: reqwest::Client,
    token: String,
    _issuer: Issuer,
    _dir: TempDir,
}

/// Listens with TLS and passes on what comes. Without a told end, the connection is closed beneath it.
async fn encrypt_before(
    address: SocketAddr,
    certificate: &CertifiedKey<KeyPair>,
    version: &str,
    tells_end: bool,
) -> u16 {
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let chain = vec![certificate.cert.der().clone()];
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
    config.alpn_protocols = vec![version.into()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut stream), Ok(mut behind)) =
                    (acceptor.accept(stream).await, TcpStream::connect(address).await)
                else {
                    return;
                };
                if tells_end {
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                    return;
                }
                let (mut there, mut back) = (vec![0; 8192], vec![0; 8192]);
                loop {
                    tokio::select! {
                        read = stream.read(&mut there) => {
                            let Ok(read @ 1..) = read else { return };
                            let _ = behind.write_all(&there[..read]).await;
                        }
                        read = behind.read(&mut back) => {
                            let Ok(read @ 1..) = read else { return };
                            let _ = stream.write_all(&back[..read]).await;
                            let _ = stream.flush().await;
                        }
                    }
                }
            });
        }
    });
    port
}

impl Encrypted {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("roots.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(dir.path().join("http2.toml"), "[mistral]\nhttp_2 = true\n").unwrap();
        let (standin, issuer) = (Standin::start().await, Issuer::start().await);
        let (provider, abrupt) = (RawProvider::start().await, RawProvider::start().await);
        let database = PostgresServer::shared().empty_database().await;
        let master_key = MasterKey::generate(&SystemRandom).unwrap().to_string();
        let of = |port: u16| format!("https://localhost:{port}");
        let mut variables: Vec<(&str, String)> = vec![
            ("DEPLOY_ENV", "render".into()),
            ("HOST", "127.0.0.1".into()),
            ("DATABASE_URL", database),
            ("KEYFOLD_MASTER_KEY", master_key),
            ("KEYFOLD_PUBLIC_URL", "https://keys.example.com".into()),
            ("KEYFOLD_PROVIDERS_FILE", "http2.toml".into()),
            ("SSL_CERT_FILE", dir.path().join("roots.pem").display().to_string()),
        ];
        let port = encrypt_before(provider.address(), &certificate, "http/1.1", true).await;
        variables.push(("KEYFOLD_PROVIDER_OPENAI_BASE_URL", of(port)));
        let port = encrypt_before(abrupt.address(), &certificate, "http/1.1", false).await;
        variables.push(("KEYFOLD_PROVIDER_DEEPSEEK_BASE_URL", of(port)));
        let port = encrypt_before(standin.addr(), &certificate, "h2", true).await;
        variables.push(("KEYFOLD_PROVIDER_MISTRAL_BASE_URL", format!("{}/mistral", of(port))));
        variables.extend(issuer.settings());
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let program = Program::start(dir.path(), &standin, &variables);
        let token = issuer.token_for("user_a");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { program, standin, provider, abrupt, client, token, _issuer: issuer, _dir: dir }
    }

    async fn save(&self, provider: &str, key: &str) -> StatusCode {
        let url = format!("{}/api/keys/{provider}", self.program.url);
        let request = self.client.request(Method::PUT, url).bearer_auth(&self.token);
        request.json(&json!({ "key": key })).send().await.unwrap().status()
    }

    /// Saves a key of a provider that the test plays.
    async fn has_key(&self, provider: &str, played: &RawProvider) {
        let check = async {
            let (mut connection, _) = played.request().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await;
        };
        let key = example_key(provider, 1);
        let (status, ()) = tokio::join!(self.save(provider, &key), check);
        assert!(status.is_success(), "{status}");
    }

    async fn caller(&self) -> Connection {
        Connection::to(self.program.url.strip_prefix("http://").unwrap().parse().unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_provider_is_reached_with_either_http_and_its_end_is_believed_only_if_it_is_told() {
    let encrypted = Encrypted::start().await;
    encrypted.has_key("openai", &encrypted.provider).await;
    encrypted.has_key("deepseek", &encrypted.abrupt).await;
    let (token, ok) = (&encrypted.token, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for way in Way::BOTH {
        // Both directions, and an end that is told.
        for framing in ["Content-Length: 5", "X-Until: close"] {
            let mut caller = encrypted.caller().await;
            caller.send(Request::post(way, PATH, "hello").by(token).bytes()).await;
            let (mut provider, seen) = encrypted.provider.request().await;
            assert_eq!(seen.body, b"hello");
            provider.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\nabcde")).await;
            provider.finish().await;
            let answer = caller.read_answer().await;
            way.assert_taken(&answer);
            assert_eq!(answer.body, b"abcde", "{way:?} {framing}");
        }

        // An answer that comes before the request is whole.
        let mut caller = encrypted.caller().await;
        let request = Request::post(way, PATH, vec![b'x'; 100_000]).by(token).bytes();
        caller.send(&request[..50_000]).await;
        let mut provider = encrypted.provider.accept_or_kept().await;
        provider.read_head().await;
        provider
            .send("HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large")
            .await;
        let answer = caller.read_answer().await;
        way.assert_taken(&answer);
        assert_eq!((answer.head.status(), answer.body.as_slice()), (413, &b"too large"[..]), "{way:?}");
        drop((caller, provider));

        // The connection is kept.
        let mut caller = encrypted.caller().await;
        for _ in 0..3 {
            caller.send(Request::get(way, PATH).by(token).bytes()).await;
            let (mut provider, _) = encrypted.provider.request().await;
            provider.send(ok).await;
            assert_eq!(caller.read_answer().await.body, b"ok", "{way:?}");
            encrypted.provider.keep(provider);
        }

        // An end that is not told is none.
        let mut caller = encrypted.caller().await;
        caller.send(Request::get(way, "/gateway/deepseek/models").by(token).bytes()).await;
        let (mut provider, _) = encrypted.abrupt.request().await;
        provider.send("HTTP/1.1 200 OK\r\n\r\nabcde").await;
        let head = caller.read_head().await;
        while !caller.has("abcde") {
            assert!(caller.has_next().await);
        }
        drop(provider);
        let (rest, end) = caller.read_to_end().await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "{way:?}: {rest}");
        assert!(end == End::Reset || head.has("transfer-encoding"), "{way:?} ended in order");
    }

    // HTTP/2, where the provider and its table agree on it.
    let key = example_key("mistral", 1);
    assert!(encrypted.save("mistral", &key).await.is_success());
    encrypted.standin.clear();
    for stream in [false, true] {
        let body = json!({
            "model": "mistral-small-latest", "stream": stream,
            "messages": [{ "role": "user", "content": "hello" }],
        });
        let mut caller = encrypted.caller().await;
        let request = Request::post(Way::Lane, "/gateway/mistral/v1/chat/completions", body.to_string());
        let request = request.by(token).with("Content-Type", "application/json");
        caller.send(request.with("Connection", "X-Named").with("X-Named", "canary").bytes()).await;
        let answer = caller.read_answer().await;
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
        assert!(answer.text().contains("fp="), "{}", answer.text());
        assert_eq!(answer.head.one("x-key-fingerprint"), Some(fingerprint(&key).as_str()));
    }
    let requests = encrypted.standin.requests_for("mistral");
    assert_eq!(requests.len(), 2);
    for seen in requests {
        assert_eq!(seen.key, key);
        // HTTP/1.1 has it as `Host`.
        assert!(seen.header("host").is_none_or(|host| host.starts_with("localhost:")), "{seen:?}");
        assert!(!format!("{:?}", seen.headers).contains("canary"));
    }
}

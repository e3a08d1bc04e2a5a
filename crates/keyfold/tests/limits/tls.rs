//! Encrypted connections.

use keyfold_test_servers::{RedisServer, free_port};

use crate::setup::{let_through, replica, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_known_has_signed_is_refused_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ];
    let redis = RedisServer::start(&options);
    for host in ["127.0.0.1", "localhost"] {
        let limits = replica(&format!("rediss://{host}:{port}"), "3/hour").await;
        let why = state(&limits).why_not.unwrap();
        assert!(why.contains("certificate") && why.contains("#insecure"), "{why}");
        assert_eq!(let_through(&limits, "ann", 5).await, 3);
        let limits = replica(&format!("rediss://{host}:{port}#insecure"), "3/hour").await;
        assert!(state(&limits).is_in_use, "{:?}", state(&limits));
    }
    // What speaks no TLS is not talked to in plain text.
    let limits = replica(&format!("rediss://127.0.0.1:{}#insecure", redis.port()), "3/hour").await;
    assert!(!state(&limits).is_in_use);
    assert_eq!(let_through(&limits, "ann", 5).await, 3);
}

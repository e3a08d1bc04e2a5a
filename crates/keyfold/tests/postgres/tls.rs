//! TLS as `sslmode` asks for it, and passwords.

use keyfold_standin::example_key;
use keyfold_test_servers::{PostgresServer, SqlClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::setup::{Production, key_of, save, soon};

/// A server with a certificate for 127.0.0.1, and two authorities, of which the first one signed it.
struct Encrypted {
    server: PostgresServer,
    folder: TempDir,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// The rules of `pg_hba.conf`, in force for new connections.
async fn allow(server: &PostgresServer, rules: &str) {
    // Tests look in from the database `postgres`.
    let always = "host postgres keyfold 127.0.0.1/32 trust\n";
    server.write("data/pg_hba.conf", &format!("{always}{rules}\n"));
    let sql = server.connect("postgres").await;
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let lines = i64::try_from(rules.lines().count()).unwrap() + 1;
    // New connections have the new rules once the postmaster has read them.
    soon("the rules are read", async || {
        let sql = server.connect("postgres").await;
        let loaded = "SELECT pg_conf_load_time() > pg_postmaster_start_time() AND (SELECT COUNT(*) FROM pg_hba_file_rules) = $1";
        sql.query_one(loaded, &[&lines]).await.unwrap().get::<_, bool>(0)
    })
    .await;
}

impl Encrypted {
    async fn start() -> Self {
        let server = PostgresServer::start(&["fsync=off"]);
        let folder = tempfile::tempdir().unwrap();
        let (good, wrong) = (authority("Test authority"), authority("Another test authority"));
        let own = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&own, &good).unwrap();
        std::fs::write(folder.path().join("good.pem"), good.pem()).unwrap();
        std::fs::write(folder.path().join("wrong.pem"), wrong.pem()).unwrap();
        std::fs::write(folder.path().join("empty.pem"), "").unwrap();
        server.write("data/server.crt", &certificate.pem());
        server.write("data/server.key", &own.serialize_pem());
        let sql = server.connect("postgres").await;
        sql.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        soon("it speaks TLS", async || {
            let sql = server.connect("postgres").await;
            sql.query_one("SHOW ssl", &[]).await.unwrap().get::<_, &str>(0) == "on"
        })
        .await;
        Self { server, folder }
    }

    fn roots(&self, name: &str) -> String {
        format!("sslrootcert={}", self.folder.path().join(name).display())
    }
}

/// Whether Keyfold's connections to this database are encrypted: all, or none.
async fn is_encrypted(sql: &SqlClient, database: &str) -> bool {
    let asked = "SELECT COUNT(*), COUNT(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE datname = $1 AND application_name = 'keyfold'";
    let row = sql.query_one(asked, &[&database]).await.unwrap();
    let (all, encrypted) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert!(all > 0 && (encrypted == 0 || encrypted == all), "{encrypted} of {all}");
    encrypted > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_as_encrypted_and_as_verified_as_the_address_says() {
    let tls = Encrypted::start().await;
    let name = tls.server.new_database().await;
    let base = tls.server.address_of(&name);
    // The certificate has no name for this.
    let by_name = base.replace("127.0.0.1", "localhost");
    let (good, wrong, empty) = (tls.roots("good.pem"), tls.roots("wrong.pem"), tls.roots("empty.pem"));
    let production = Production::on(base.clone()).await;
    let sql = tls.server.connect("postgres").await;
    let accepted = [
        (base.clone(), true),
        (format!("{base}?sslmode=disable"), false),
        (format!("{base}?sslmode=allow"), true),
        (format!("{base}?sslmode=prefer"), true),
        (format!("{base}?sslmode=require"), true),
        (format!("{by_name}?sslmode=require"), true),
        (format!("{base}?sslmode=verify-full&{good}"), true),
        (format!("{base}?{good}&sslmode=verify-full"), true),
        (format!("{base}?sslmode=verify-ca&{good}"), true),
        (format!("{by_name}?sslmode=verify-ca&{good}"), true),
        (format!("{by_name}?sslmode=require&{good}"), true),
    ];
    for (address, encrypted) in accepted {
        let keyfold = production.open_with(&[("DATABASE_URL", &address)]).await;
        let keyfold = keyfold.unwrap_or_else(|error| panic!("{address}: {error}"));
        assert_eq!(is_encrypted(&sql, &name).await, encrypted, "{address}");
        drop(keyfold);
        soon("it is gone", async || {
            let left = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1";
            sql.query_one(left, &[&name]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
    }
    let refused = [
        format!("{base}?sslmode=verify-full&{wrong}"),
        format!("{base}?sslmode=verify-ca&{wrong}"),
        format!("{base}?sslmode=require&{wrong}"),
        format!("{by_name}?sslmode=verify-full&{good}"),
        // The system knows neither authority.
        format!("{base}?sslmode=verify-full"),
        format!("{base}?sslmode=verify-ca"),
        format!("{base}?sslrootcert=system"),
        format!("{base}?sslmode=verify-full&{empty}"),
        format!("{base}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"),
    ];
    for address in refused {
        let refused = production.open_with(&[("DATABASE_URL", &address)]).await.err();
        let refused = refused.unwrap_or_else(|| panic!("{address} was accepted"));
        assert_eq!(refused.code(), "cannot_start");
        let words = refused.to_string().to_lowercase();
        assert!(words.contains("certificate") || words.contains("sslrootcert"), "{address}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_encrypted_connections_only_gets_them() {
    let tls = Encrypted::start().await;
    let name = tls.server.new_database().await;
    allow(&tls.server, "hostssl all all 127.0.0.1/32 trust").await;
    let production = Production::on(tls.server.address_of(&name)).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    let plain = format!("{}?sslmode=disable", production.database);
    let refused = production.open_with(&[("DATABASE_URL", &plain)]).await.err().unwrap();
    assert_eq!(refused.code(), "cannot_start");
    assert!(refused.to_string().contains("no encryption"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_used_only_where_the_address_allows_it() {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let production = Production::on(server.address_of(&name)).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let address = format!("{}?sslmode={mode}", production.database);
        let refused = production.open_with(&[("DATABASE_URL", &address)]).await.err().unwrap();
        assert_eq!(refused.code(), "cannot_start");
        assert!(refused.to_string().contains("TLS"), "{mode}: {refused}");
    }
    for mode in ["prefer", "disable"] {
        let address = format!("{}?sslmode={mode}", production.database);
        assert!(production.open_with(&[("DATABASE_URL", &address)]).await.is_ok(), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_proved_and_never_shown() {
    const PASSWORD: &str = "test-data: p@ss/wörd 1%";
    let tls = Encrypted::start().await;
    let server = &tls.server;
    let sql = server.connect("postgres").await;
    sql.batch_execute(&format!(
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'"
    ))
    .await
    .unwrap();
    sql.batch_execute("CREATE DATABASE of_app OWNER app").await.unwrap();
    allow(server, "host all app 127.0.0.1/32 scram-sha-256").await;
    let address = |password: &str, options: &str| {
        let password: String = url::form_urlencoded::byte_serialize(password.as_bytes()).collect();
        let password = password.replace('+', "%20");
        format!("postgresql://app:{password}@127.0.0.1:{}/of_app{options}", server.port())
    };
    let production = Production::on(address(PASSWORD, "")).await;
    // With TLS the password's proof is bound to the connection as well.
    for options in ["?sslmode=disable", "?sslmode=require", "?sslmode=require&channel_binding=require"] {
        let address = address(PASSWORD, options);
        let keyfold = production.open_with(&[("DATABASE_URL", &address)]).await;
        let keyfold = keyfold.unwrap_or_else(|error| panic!("{options}: {error}"));
        save(&keyfold, "ann", 1).await.unwrap();
        assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    }
    for wrong in ["test-data: wrong", ""] {
        let address = address(wrong, "");
        let refused = production.open_with(&[("DATABASE_URL", &address)]).await.err().unwrap();
        assert_eq!(refused.code(), "cannot_start");
        assert!(refused.to_string().contains("password"), "{refused}");
        let shown = format!("{refused} {refused:?} {}", refused.cause());
        for secret in [PASSWORD, "test-data", "p%40ss"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

//! Master keys that AWS KMS keeps, played by moto.

use std::sync::LazyLock;

use keyfold_test_servers::KmsServer;
use serde_json::{Value, json};

use crate::harness::{Production, Start, gemini};

static KMS: LazyLock<KmsServer> = LazyLock::new(KmsServer::start);

fn with(kms: &KmsServer, start: Start) -> Start {
    kms.variables().iter().fold(start, |start, (name, value)| start.env(name, value))
}

fn in_kms(kms: &KmsServer) -> Production {
    Production { master_key: format!("awskms:{}", kms.new_key()), ..Production::new() }
}

fn status(kms: &KmsServer, production: &Production, others: &str) -> Vec<Value> {
    let status = production.keyfold(&["master-key", "status", "--json"]);
    let status = with(kms, status).env("KEYFOLD_OTHER_MASTER_KEYS", others).run();
    status.ok();
    status.json()["keys"].as_array().unwrap().clone()
}

#[track_caller]
fn save(kms: &KmsServer, production: &Production, user: &str, key: &str) {
    with(kms, production.keyfold(&["keys", "set", "gemini", "--user", user])).stdin(key).run().ok();
}

#[track_caller]
fn opens(kms: &KmsServer, production: &Production, user: &str) {
    let validate = production.keyfold(&["keys", "validate", "gemini", "--user", user]);
    with(kms, validate).run().ok();
}

#[test]
fn the_first_start_makes_a_key_that_only_kms_can_open() {
    let production = in_kms(&KMS);
    save(&KMS, &production, "user_a", &gemini(1));
    opens(&KMS, &production, "user_a");
    let stored =
        production.column("SELECT name || ' ' || sealed FROM root_secrets WHERE name LIKE 'awskms:%'");
    let [stored] = &stored[..] else { panic!("{stored:?}") };
    assert!(stored.starts_with(&format!("{} awskms1.", production.master_key)), "{stored}");
    let [key] = &status(&KMS, &production, "")[..] else { panic!("one key") };
    assert_eq!(key["keeper"], production.master_key);
    assert_eq!((&key["role"], &key["data_keys"]), (&json!("primary"), &json!(1)));
}

#[test]
fn replicas_that_start_at_once_agree_on_one_key() {
    let production = in_kms(&KMS);
    let starts: Vec<_> = (0..4)
        .map(|n| {
            let user = format!("user_{n}");
            let set = production.keyfold(&["keys", "set", "gemini", "--user", &user]).stdin(&gemini(n));
            let set = with(&KMS, set);
            std::thread::spawn(move || set.run())
        })
        .collect();
    for start in starts {
        start.join().unwrap().ok();
    }
    for n in 0..4 {
        opens(&KMS, &production, &format!("user_{n}"));
    }
    assert_eq!(status(&KMS, &production, "").len(), 1);
}

#[test]
fn a_service_that_is_away_or_refuses_is_told_and_nothing_is_made() {
    let kms = KmsServer::start();
    let production = in_kms(&kms);
    save(&kms, &production, "user_a", &gemini(1));
    let list = |production: &Production| production.keyfold(&["keys", "list", "--user", "user_a"]);
    // Nobody listens there.
    let away = with(&kms, list(&production)).env("AWS_ENDPOINT_URL_KMS", &keyfold_standin::refused_port());
    away.run().refused_with(&[
        "AWS KMS did not decrypt",
        &production.master_key["awskms:".len()..],
        "reach KMS",
    ]);
    // No credentials anywhere.
    let nobody = with(&kms, list(&production)).without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
    nobody.run().refused_with(&["AWS KMS did not decrypt", "credentials"]);
    // A key that this account does not have.
    let arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    let other = Production { master_key: format!("awskms:{arn}"), ..Production::new() };
    with(&kms, list(&other)).run().refused_with(&["AWS KMS did not encrypt", "NotFoundException", arn]);
    assert!(other.column("SELECT name FROM root_secrets WHERE name LIKE 'awskms:%'").is_empty());
    // A server does not start either, and says so in the same words.
    let serve = with(&kms, production.keyfold(&["serve"])).env("CLERK_PUBLISHABLE_KEY", &clerk());
    let serve = serve.env("KEYFOLD_PUBLIC_URL", "https://keys.example.com");
    let serve = serve.env("AWS_ENDPOINT_URL_KMS", &keyfold_standin::refused_port());
    serve.refused_start().refused_with(&["AWS KMS did not decrypt"]);
    opens(&kms, &production, "user_a");
}

#[test]
fn what_kms_encrypted_is_bound_to_its_key_and_its_database() {
    let production = in_kms(&KMS);
    save(&KMS, &production, "user_a", &gemini(1));
    let list = || with(&KMS, production.keyfold(&["keys", "list", "--user", "user_a"])).run();
    production.sql("UPDATE root_secrets SET sealed = md5(sealed) WHERE name = 'database_id'");
    list().refused_with(&["AWS KMS did not decrypt"]);
    production.sql("UPDATE root_secrets SET sealed = 'awskms1.!' WHERE name LIKE 'awskms:%'");
    list().refused_with(&["damaged", "backup"]);
    // Lost, it is not made anew: that would open nothing.
    production.sql("DELETE FROM root_secrets WHERE name LIKE 'awskms:%'");
    list().refused_with(&["has no master key that AWS KMS encrypted", "KEYFOLD_OTHER_MASTER_KEYS"]);
    assert!(production.column("SELECT name FROM root_secrets WHERE name LIKE 'awskms:%'").is_empty());
}

#[test]
fn moving_to_kms_and_back_is_a_rotation() {
    let mut production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let given = production.master_key.clone();
    let kept = format!("awskms:{}", KMS.new_key());
    for (to, from) in [(&kept, &given), (&given, &kept)] {
        // The next one is given everywhere first, and does not change anything.
        production.master_key.clone_from(from);
        assert_eq!(status(&KMS, &production, to).len(), 2);
        production.master_key.clone_from(to);
        let rotate = production.keyfold(&["master-key", "rotate"]).env("KEYFOLD_OTHER_MASTER_KEYS", from);
        let done = with(&KMS, rotate).run();
        assert!(done.does_not_tell(&given).ok().contains("1 data key"), "{done:?}");
        opens(&KMS, &production, "user_a");
    }
    // KMS is not asked any more.
    assert_eq!(production.listed("user_a", "gemini")["status"], "valid");
}

/// A publishable key of Clerk's for a host of nobody's.
fn clerk() -> String {
    use data_encoding::BASE64;
    format!("pk_test_{}", BASE64.encode(b"nobody.clerk.accounts.dev$"))
}

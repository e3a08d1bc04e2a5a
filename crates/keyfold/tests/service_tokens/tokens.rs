use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use jiff::SignedDuration;
use keyfold::Error;
use keyfold::service_tokens::{NewToken, Revocation, Scope, ServiceRefusal, TokenStanding, is_well_formed};

use crate::setup::{Setup, create, reader, released, save, service, user};

fn refusal<T>(result: Result<T, ServiceRefusal>) -> ServiceRefusal {
    result.err().expect("it was taken")
}

async fn only_the_hash_is_stored(setup: Setup) {
    let keyfold = setup.open().await;
    let token = create(&keyfold, &reader("billing")).await;
    let hash = HEXLOWER.encode(digest(&SHA256, token.expose().as_bytes()).as_ref());
    assert_eq!(setup.column("SELECT token_hash FROM service_tokens").await, [hash]);
    let secret = &token.expose()["kfs_".len()..];
    let columns =
        "name || token_hash || scopes || COALESCE(users, '') || COALESCE(providers, '') || signature";
    for row in setup.column(&format!("SELECT {columns} FROM service_tokens")).await {
        assert!(!row.contains(secret) && !row.contains(&secret[..10]), "{row}");
    }
    assert!(!format!("{token:?} {:?}", keyfold.service_tokens().list().await).contains(&secret[..10]));
    keyfold.close().await;
    for file in std::fs::read_dir(setup.dir.path().join(".keyfold")).into_iter().flatten() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { vec![] };
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_stored() {
    only_the_hash_is_stored(Setup::postgres().await).await;
    only_the_hash_is_stored(Setup::sqlite().await).await;
}

#[tokio::test]
async fn tokens_are_random_and_of_one_form() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    let (one, other) = (create(&keyfold, &reader("one")).await, create(&keyfold, &reader("other")).await);
    assert_ne!(one.expose(), other.expose());
    for token in [&one, &other] {
        let rest = token.expose().strip_prefix("kfs_").unwrap();
        assert_eq!(rest.len(), 60);
        assert!(rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{rest}");
        assert!(is_well_formed(token.expose()));
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_words() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    let token = create(&keyfold, &reader("billing")).await;
    let text = token.expose();
    let mut mistyped = text.to_owned();
    let last = if text.ends_with('0') { "1" } else { "0" };
    mistyped.replace_range(20..21, if &text[20..21] == "0" { "1" } else { "0" });
    let malformed = [
        "",
        "kfs_",
        "kfs_abc",
        &text[4..],
        &text[..text.len() - 1],
        &text[..text.len() - 8],
        &format!("{text}0"),
        &format!("{}{last}", &text[..text.len() - 1]),
        &mistyped,
        &text.to_uppercase(),
        &format!("kfs_{}", text[4..].to_uppercase()),
        &format!(" {text}"),
        &format!("kfs_{}", "é".repeat(30)),
        "kfs_000000000000000000000000000000000000000000000000000000000000",
    ];
    for wrong in malformed {
        let refused = refusal(keyfold.service_tokens().authenticate(wrong).await);
        assert!(matches!(refused, ServiceRefusal::Malformed), "{wrong}: {refused:?}");
        assert!(refused.to_string().contains("kfs_"), "{refused}");
    }
    // Well formed, and another Keyfold's.
    let elsewhere = Setup::sqlite().await;
    let foreign = create(&elsewhere.open().await, &reader("billing")).await;
    let refused = refusal(keyfold.service_tokens().authenticate(foreign.expose()).await);
    assert!(matches!(refused, ServiceRefusal::Unknown), "{refused:?}");
    assert_eq!(&**service(&keyfold, &token).await.name(), "billing");
}

async fn ends_at_its_time(setup: Setup) {
    let keyfold = setup.open().await;
    let new = NewToken { lifetime: Some(SignedDuration::from_hours(24)), ..reader("billing") };
    let token = create(&keyfold, &new).await;
    setup.clock.advance(SignedDuration::from_secs(24 * 3600 - 1));
    service(&keyfold, &token).await;
    setup.clock.advance(SignedDuration::from_secs(1));
    let refused = refusal(keyfold.service_tokens().authenticate(token.expose()).await);
    assert!(matches!(refused, ServiceRefusal::Expired), "{refused:?}");
    assert_eq!(keyfold.service_tokens().list().await.unwrap()[0].standing, TokenStanding::Expired);
}

#[tokio::test]
async fn a_token_ends_at_its_time() {
    ends_at_its_time(Setup::postgres().await).await;
    ends_at_its_time(Setup::sqlite().await).await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_on_every_replica() {
    let setup = Setup::postgres().await;
    let (one, two) = (setup.open().await, setup.open().await);
    let token = create(&one, &reader("billing")).await;
    save(&one, "ann", "gemini", 1).await;
    let on_two = service(&two, &token).await;
    assert_eq!(released(&two, &on_two, "ann", None).await.unwrap().len(), 1);

    let (record, revocation) = one.service_tokens().revoke("billing").await.unwrap();
    assert_eq!((record.name.as_str(), revocation), ("billing", Revocation::Revoked));
    for keyfold in [&one, &two] {
        let refused = refusal(keyfold.service_tokens().authenticate(token.expose()).await);
        assert!(matches!(refused, ServiceRefusal::Revoked), "{refused:?}");
    }
    let (_, again) = two.service_tokens().revoke(&record.id.to_string()).await.unwrap();
    assert!(matches!(again, Revocation::Already(_)), "{again:?}");
    let missing = two.service_tokens().revoke("nobody").await.unwrap_err();
    assert_eq!(missing.code(), "not_found");
    assert!(missing.to_string().contains("keyfold token list"), "{missing}");
    // Somebody who gives the token itself must not find it in an error.
    let given = two.service_tokens().revoke(token.expose()).await.unwrap_err();
    assert!(!given.to_string().contains(token.expose()), "{given}");
}

async fn a_name_is_given_once_at_a_time(setup: Setup) {
    let keyfold = setup.open().await;
    let tokens = keyfold.service_tokens();
    let old = create(&keyfold, &reader("billing")).await;
    let taken = tokens.create(&reader("billing")).await.unwrap_err();
    assert_eq!(taken.code(), "invalid_request");
    assert!(taken.to_string().contains("another service token"), "{taken}");
    tokens.revoke("billing").await.unwrap();
    let new = create(&keyfold, &reader("billing")).await;
    service(&keyfold, &new).await;
    assert!(matches!(refusal(tokens.authenticate(old.expose()).await), ServiceRefusal::Revoked));
    // By name it is the one that stands.
    let (record, revocation) = tokens.revoke("billing").await.unwrap();
    assert_eq!(revocation, Revocation::Revoked);
    let listed = tokens.list().await.unwrap();
    assert_eq!(listed.iter().map(|token| token.standing).collect::<Vec<_>>(), [TokenStanding::Revoked; 2]);
    assert_eq!(record.id, listed[1].id);
}

#[tokio::test]
async fn a_name_belongs_to_one_token_at_a_time() {
    a_name_is_given_once_at_a_time(Setup::postgres().await).await;
    a_name_is_given_once_at_a_time(Setup::sqlite().await).await;
}

#[tokio::test]
async fn what_cannot_be_is_not_made() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    let refused = async |new: NewToken| keyfold.service_tokens().create(&new).await.unwrap_err();
    let field = |error: &Error| match error {
        Error::InvalidRequest { field, .. } => field.clone(),
        other => other.code().to_owned(),
    };
    for name in ["", "3", "3x", "-x", "a b", "a/b", "é", "kfs_abc", &"a".repeat(65)] {
        assert_eq!(field(&refused(reader(name)).await), "name", "{name}");
    }
    assert_eq!(field(&refused(NewToken { scopes: vec![], ..reader("a") }).await), "scope");
    let unknown = refused(NewToken { providers: vec!["nothing".into()], ..reader("a") }).await;
    assert_eq!(unknown.code(), "unknown_provider");
    for hours in [0, -1, 24 * 3651] {
        let lifetime = Some(SignedDuration::from_hours(hours));
        assert_eq!(field(&refused(NewToken { lifetime, ..reader("a") }).await), "expires", "{hours}");
    }
    assert!(keyfold.service_tokens().list().await.unwrap().is_empty());
}

/// Whoever writes to the database does not get keys in plain text that way.
async fn rows_that_keyfold_did_not_write_do_not_count(setup: Setup) {
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &NewToken { users: vec![user("bob")], ..reader("billing") }).await;
    let is_unknown = async || {
        matches!(keyfold.service_tokens().authenticate(token.expose()).await, Err(ServiceRefusal::Unknown))
    };
    let ann = "'[\"ann\"]'";
    for change in [
        "users = NULL".to_owned(),
        format!("users = {ann}"),
        "providers = '[]'".into(),
        "scopes = 'gateway keys:read'".into(),
        "expires_at = '2030-01-01 00:00:00'".into(),
        "created_at = '2020-01-01 00:00:00'".into(),
        "name = 'other'".into(),
        "signature = ''".into(),
        "users = 'no json'".into(),
    ] {
        setup.sql("CREATE TABLE kept AS SELECT * FROM service_tokens").await;
        setup.sql(&format!("UPDATE service_tokens SET {change}")).await;
        assert!(is_unknown().await, "{change}");
        let listed = keyfold.service_tokens().list().await.unwrap();
        assert_eq!(listed[0].standing, TokenStanding::Damaged, "{change}");
        setup
            .sql("DELETE FROM service_tokens; INSERT INTO service_tokens SELECT * FROM kept; DROP TABLE kept")
            .await;
        service(&keyfold, &token).await;
    }
    // A row of one's own, with everything else copied.
    let own = "kfs_".to_owned() + &token.expose()[4..];
    let hash = HEXLOWER.encode(digest(&SHA256, own.as_bytes()).as_ref());
    setup
        .sql(&format!(
            "DELETE FROM service_tokens; \
             INSERT INTO service_tokens (name, token_hash, scopes, signature, created_at) \
             VALUES ('mine', '{hash}', 'keys:read', '{}', '2026-01-02 03:04:05')",
            "00".repeat(32)
        ))
        .await;
    assert!(is_unknown().await);
}

#[tokio::test]
async fn a_token_that_was_widened_or_written_by_hand_does_not_count() {
    rows_that_keyfold_did_not_write_do_not_count(Setup::postgres().await).await;
    rows_that_keyfold_did_not_write_do_not_count(Setup::sqlite().await).await;
}

async fn last_use_is_noted_to_the_minute(setup: Setup) {
    let keyfold = setup.open().await;
    let token = create(&keyfold, &reader("billing")).await;
    let last_used = async || keyfold.service_tokens().list().await.unwrap()[0].last_used_at;
    assert_eq!(last_used().await, None);
    let first = keyfold::clock::Clock::now(&*setup.clock);
    service(&keyfold, &token).await;
    assert_eq!(last_used().await, None, "not on the way");
    keyfold.flush().await;
    assert_eq!(last_used().await, Some(first));
    setup.clock.advance(SignedDuration::from_secs(59));
    service(&keyfold, &token).await;
    keyfold.flush().await;
    assert_eq!(last_used().await, Some(first));
    setup.clock.advance(SignedDuration::from_secs(1));
    service(&keyfold, &token).await;
    keyfold.flush().await;
    assert_eq!(last_used().await, Some(first + SignedDuration::from_mins(1)));
    // A refused one is not used.
    setup.clock.advance(SignedDuration::from_mins(5));
    keyfold.service_tokens().revoke("billing").await.unwrap();
    let _ = keyfold.service_tokens().authenticate(token.expose()).await;
    keyfold.flush().await;
    assert_eq!(last_used().await, Some(first + SignedDuration::from_mins(1)));
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute_and_not_on_the_way() {
    last_use_is_noted_to_the_minute(Setup::postgres().await).await;
    last_use_is_noted_to_the_minute(Setup::sqlite().await).await;
}

#[tokio::test]
async fn a_token_for_the_gateway_reads_no_keys() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &NewToken { scopes: vec![Scope::Gateway], ..reader("billing") }).await;
    let service = service(&keyfold, &token).await;
    service.may(Scope::Gateway).unwrap();
    let refused = released(&keyfold, &service, "ann", None).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    assert!(refused.to_string().contains("keys:read"), "{refused}");
}

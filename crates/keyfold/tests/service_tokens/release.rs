use std::time::Duration;

use keyfold::Keyfold;
use keyfold::requester::{Actor, Requester};
use keyfold::service_tokens::{AuthenticatedService, NewToken};
use keyfold_standin::example_key;

use crate::setup::{Setup, create, reader, released, save, service, user};

fn pair(provider: &str, number: u32) -> (String, String) {
    (provider.to_owned(), example_key(provider, number))
}

async fn exactly_that_users_keys(setup: Setup) {
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    save(&keyfold, "ann", "exa", 2).await;
    save(&keyfold, "bob", "gemini", 3).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    let mut ann = released(&keyfold, &service, "ann", None).await.unwrap();
    ann.sort();
    assert_eq!(ann, [pair("exa", 2), pair("gemini", 1)]);
    assert_eq!(released(&keyfold, &service, "bob", None).await.unwrap(), [pair("gemini", 3)]);
    assert_eq!(released(&keyfold, &service, "ann", Some("exa")).await.unwrap(), [pair("exa", 2)]);
    let missing = released(&keyfold, &service, "bob", Some("exa")).await.unwrap_err();
    assert_eq!(missing.code(), "no_api_key");
    assert!(released(&keyfold, &service, "nobody", None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_service_gets_exactly_that_users_keys() {
    exactly_that_users_keys(Setup::postgres().await).await;
    exactly_that_users_keys(Setup::sqlite().await).await;
}

#[tokio::test]
async fn a_token_is_for_its_users_and_providers_only() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    for (id, number) in [("ann", 1), ("bob", 2)] {
        save(&keyfold, id, "gemini", number).await;
        save(&keyfold, id, "exa", number).await;
    }
    let new = NewToken { users: vec![user("ann")], providers: vec!["gemini".into()], ..reader("billing") };
    let token = create(&keyfold, &new).await;
    let service = service(&keyfold, &token).await;
    // What it is not for is left out where all are asked for, and refused where it is asked for by name.
    assert_eq!(released(&keyfold, &service, "ann", None).await.unwrap(), [pair("gemini", 1)]);
    assert_eq!(released(&keyfold, &service, "ann", Some("gemini")).await.unwrap(), [pair("gemini", 1)]);
    for (id, provider) in
        [("ann", Some("exa")), ("bob", None), ("bob", Some("gemini")), ("Ann", None), ("ann ", None)]
    {
        let refused = released(&keyfold, &service, id, provider).await.unwrap_err();
        assert_eq!(refused.code(), "forbidden", "{id} {provider:?}");
        assert!(refused.to_string().contains("limited to other"), "{refused}");
    }
}

#[tokio::test]
async fn a_suspended_users_keys_are_not_released() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    keyfold.users().suspend(&user("ann")).await.unwrap();
    for provider in [None, Some("gemini")] {
        let refused = released(&keyfold, &service, "ann", provider).await.unwrap_err();
        assert_eq!(refused.code(), "user_suspended");
    }
    keyfold.users().resume(&user("ann")).await.unwrap();
    assert_eq!(released(&keyfold, &service, "ann", None).await.unwrap().len(), 1);
}

async fn one_that_does_not_open(setup: Setup) {
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    save(&keyfold, "ann", "exa", 2).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    setup.sql("UPDATE api_keys SET version = 7 WHERE provider = 'exa'").await;
    // What the other replica sees: this one may still remember the row as it was.
    let other = setup.open().await;
    for provider in [None, Some("exa")] {
        let refused = released(&other, &service, "ann", provider).await.unwrap_err();
        assert_eq!(refused.code(), "key_unreadable", "{provider:?}");
    }
    assert_eq!(released(&other, &service, "ann", Some("gemini")).await.unwrap(), [pair("gemini", 1)]);
}

#[tokio::test]
async fn with_a_key_that_does_not_open_none_is_released() {
    one_that_does_not_open(Setup::postgres().await).await;
    one_that_does_not_open(Setup::sqlite().await).await;
}

#[tokio::test]
async fn a_released_key_counts_as_used() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    save(&keyfold, "ann", "exa", 2).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    released(&keyfold, &service, "ann", Some("gemini")).await.unwrap();
    let records = keyfold.user_api_keys("ann").await.unwrap().list().unwrap();
    let used = |provider: &str| {
        records.iter().find(|record| record.provider.as_str() == provider).unwrap().last_used_at.is_some()
    };
    assert!(used("gemini") && !used("exa"));
}

/// What the audit log has of this action, oldest first.
async fn audited(setup: &Setup, action: &str) -> Vec<String> {
    let columns =
        "actor || ' ' || COALESCE(user_id, '-') || ' ' || COALESCE(provider, '-') || ' ' || outcome";
    let query = format!("SELECT {columns} FROM audit_events WHERE action = '{action}' ORDER BY id");
    setup.column(&query).await
}

/// Waits for what is recorded without keeping anybody waiting.
async fn soon_audited(setup: &Setup, action: &str, expected: &[&str]) {
    let waiting = async {
        while audited(setup, action).await.len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert_eq!(audited(setup, action).await, expected);
}

async fn each_release_is_in_the_audit_log(setup: Setup) {
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    save(&keyfold, "ann", "exa", 2).await;
    let token = create(&keyfold, &NewToken { users: vec![user("ann")], ..reader("billing") }).await;
    assert_eq!(audited(&setup, "token.created").await, ["operator - - ok"]);
    let service = service(&keyfold, &token).await.in_request("request-1", Some([192, 0, 2, 7].into()));
    let ann = released(&keyfold, &service, "ann", None).await.unwrap();
    // No waiting: it is there when the keys are.
    let mut expected: Vec<String> =
        ann.iter().map(|(provider, _)| format!("service:billing ann {provider} ok")).collect();
    assert_eq!(audited(&setup, "key.released").await, expected);
    released(&keyfold, &service, "ann", Some("exa")).await.unwrap();
    expected.push("service:billing ann exa ok".into());
    assert_eq!(audited(&setup, "key.released").await, expected);
    let details = "request_id || ' ' || address || ' ' || purpose || ' ' || CAST(key_version AS VARCHAR(9))";
    let query = format!("SELECT {details} FROM audit_events WHERE action = 'key.released'");
    assert!(setup.column(&query).await.iter().all(|row| row == "request-1 192.0.2.7 service 1"));

    released(&keyfold, &service, "bob", Some("exa")).await.unwrap_err();
    soon_audited(&setup, "key.refused", &["service:billing bob exa forbidden"]).await;
    keyfold.service_tokens().revoke("billing").await.unwrap();
    assert_eq!(audited(&setup, "token.revoked").await, ["operator - - ok"]);
    let notes = setup.column("SELECT note FROM audit_events WHERE action LIKE 'token.%' ORDER BY id").await;
    assert!(notes.iter().all(|note| note.contains("\"name\":\"billing\"")), "{notes:?}");
    let everything = setup.column("SELECT COALESCE(note, '') || actor FROM audit_events").await.concat();
    assert!(!everything.contains(&token.expose()[4..14]) && !everything.contains(&ann[0].1));
}

#[tokio::test]
async fn each_release_is_in_the_audit_log_when_the_keys_are_there() {
    each_release_is_in_the_audit_log(Setup::postgres().await).await;
    each_release_is_in_the_audit_log(Setup::sqlite().await).await;
}

async fn no_release_without_the_audit_log(setup: Setup, refuse: &str, allow: &str) {
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    setup.sql(refuse).await;
    for provider in [None, Some("gemini")] {
        let refused = released(&keyfold, &service, "ann", provider).await.unwrap_err();
        assert_eq!(refused.code(), "audit_unavailable", "{refused:?}");
    }
    let refused = keyfold.service_tokens().create(&reader("other")).await.unwrap_err();
    assert!(["audit_unavailable", "database_unavailable"].contains(&refused.code()), "{refused:?}");
    assert!(keyfold.service_tokens().revoke("billing").await.is_err());
    let tokens = keyfold.service_tokens().list().await.unwrap();
    assert_eq!(tokens.len(), 1, "none was made");
    assert_eq!(tokens[0].revoked_at, None, "none was revoked");
    setup.sql(allow).await;
    assert_eq!(released(&keyfold, &service, "ann", None).await.unwrap(), [pair("gemini", 1)]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_released_made_or_revoked() {
    no_release_without_the_audit_log(
        Setup::postgres().await,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'; \
         CREATE TRIGGER refuse BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse()",
        "DROP TRIGGER refuse ON audit_events",
    )
    .await;
    no_release_without_the_audit_log(
        Setup::sqlite().await,
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no'); END",
        "DROP TRIGGER refuse",
    )
    .await;
}

#[tokio::test]
async fn while_the_audit_log_is_locked_it_is_the_log_that_is_unavailable() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    let locker = setup.client().await;
    locker.batch_execute("BEGIN; LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let refused = released(&keyfold, &service, "ann", None).await.unwrap_err();
    assert_eq!(refused.code(), "audit_unavailable", "{refused:?}");
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(released(&keyfold, &service, "ann", None).await.unwrap(), [pair("gemini", 1)]);
}

#[tokio::test]
async fn a_master_key_that_is_not_given_is_no_damage_and_is_in_the_audit_log() {
    let mut setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    let token = create(&keyfold, &reader("billing")).await;
    let service = service(&keyfold, &token).await;
    setup.use_another_master_key();
    let operator = setup.open().await;
    let requester = Requester::new(Actor::Operator);
    operator.master_keys().rotate(&requester, &mut |_| ()).await.unwrap();
    for provider in [None, Some("gemini")] {
        let refused = released_soon(&keyfold, &service, provider).await;
        assert_eq!(refused.code(), "master_key_unavailable", "{refused:?}");
        assert!(!refused.to_string().contains("Enter it again"), "{refused}");
    }
    let expected = ["service:billing ann - failed", "service:billing ann gemini failed"];
    soon_audited(&setup, "key.refused", &expected).await;
}

/// The refusal, once the replica heard of what was done elsewhere.
async fn released_soon(
    keyfold: &Keyfold,
    service: &AuthenticatedService,
    provider: Option<&str>,
) -> keyfold::Error {
    for _ in 0..3000 {
        if let Err(error) = released(keyfold, service, "ann", provider).await {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still released");
}

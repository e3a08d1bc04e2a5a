use std::path::Path;

use super::Role;
use crate::clock::SystemRandom;
use crate::envelope::{MasterKey, Sealed};
use crate::requester::{Actor, Requester};
use crate::settings::Environment;
use crate::storage::root_secrets;
use crate::{Error, Keyfold};

fn new_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

async fn open(dir: &Path, key: &str, others: &str) -> Result<Keyfold, Error> {
    let variables = [("DEBUG", "true"), ("KEYFOLD_MASTER_KEY", key), ("KEYFOLD_OTHER_MASTER_KEYS", others)];
    Keyfold::open_with(Environment::from_iter(variables), dir).await
}

/// Its stored form.
async fn put_secret(keyfold: &Keyfold, name: &str) -> String {
    let sealed = keyfold.keys().ring.new_root_secret(&SystemRandom, name).unwrap().to_string();
    root_secrets::insert_or_find(&keyfold.keys().database, name, &sealed).await.unwrap()
}

async fn value(keyfold: &Keyfold, name: &str) -> String {
    root_secrets::find(&keyfold.keys().database, name).await.unwrap().unwrap()
}

async fn rotate(keyfold: &Keyfold) -> super::Rotation {
    keyfold.master_keys().rotate(&Requester::new(Actor::Operator), &mut |_| ()).await.unwrap()
}

#[tokio::test]
async fn every_sealed_secret_of_the_database_is_wrapped_anew_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (new_key(), new_key());
    let keyfold = open(dir.path(), &old, "").await.unwrap();
    let secret = put_secret(&keyfold, "of_a_later_keyfold").await;
    let content =
        keyfold.keys().ring.open_root_secret("of_a_later_keyfold", &secret.parse().unwrap()).unwrap();
    // Names say what is left alone.
    let aside = put_secret(&keyfold, "damaged_data_key_7").await;
    let database = &keyfold.keys().database;
    root_secrets::insert_or_find(database, "database_id", "0011").await.unwrap();
    let of_kms = "awskms:arn:aws:kms:eu-central-1:111122223333:key/a";
    root_secrets::insert_or_find(database, of_kms, "awskms1.AAAA").await.unwrap();
    root_secrets::insert_or_find(database, "moved_here", &secret).await.unwrap();
    keyfold.close().await;

    let keyfold = open(dir.path(), &new, &old).await.unwrap();
    let rotation = rotate(&keyfold).await;
    assert!(rotation.root_secrets >= 1, "{rotation:?}");
    assert_eq!(rotation.left, 1, "the one that was moved does not open: {rotation:?}");
    let sealed: Sealed = value(&keyfold, "of_a_later_keyfold").await.parse().unwrap();
    let ring = &keyfold.keys().ring;
    assert_eq!(sealed.key_id(), ring.primary_id());
    assert_eq!(ring.open_root_secret("of_a_later_keyfold", &sealed).unwrap(), content);
    assert_eq!(value(&keyfold, "damaged_data_key_7").await, aside);
    assert_eq!(value(&keyfold, "database_id").await, "0011");
    assert_eq!(value(&keyfold, of_kms).await, "awskms1.AAAA");
    assert_eq!(value(&keyfold, "moved_here").await, secret);
    let status = keyfold.master_keys().status().await.unwrap();
    let old = status.keys.iter().find(|key| key.role == Role::Other).unwrap();
    assert_eq!((old.data_keys, old.root_secrets, old.put_aside, old.has_check), (0, 1, 1, true));
}

#[tokio::test]
async fn a_secret_of_the_database_keeps_its_master_key_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (new_key(), new_key());
    let keyfold = open(dir.path(), &old, "").await.unwrap();
    put_secret(&keyfold, "something").await;
    keyfold.close().await;
    open(dir.path(), &new, &old).await.unwrap().close().await;
    // No user is there, and the new one has its check value.
    let refused = open(dir.path(), &new, "").await.err().unwrap();
    assert_eq!(refused.code(), "master_key_unavailable");
    let id = MasterKey::parse(&old).unwrap().id().to_string();
    assert!(refused.to_string().contains(&id), "{refused}");
    let keyfold = open(dir.path(), &new, &old).await.unwrap();
    rotate(&keyfold).await;
    keyfold.close().await;
    open(dir.path(), &new, "").await.unwrap().close().await;
}

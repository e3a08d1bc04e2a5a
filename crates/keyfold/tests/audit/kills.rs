//! A process that is killed loses no use of a key.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use keyfold::audit::Selection;
use keyfold::{Environment, Keyfold};

use crate::setup::{Place, assert_sound, key};

/// How many lines the child says before it is killed, each time.
const KILLED_AFTER: [usize; 3] = [1, 40, 700];

#[tokio::test]
async fn uses_that_were_recorded_before_a_kill_are_in_the_log_once() {
    let place = Place::local().await;
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    keyfold.user_api_keys("local").await.unwrap().save(&gemini, key(1)).await.unwrap();
    keyfold.close().await;
    let mut acknowledged = 0;
    for lines in KILLED_AFTER {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::helper_that_uses_a_key", "--ignored", "--nocapture"])
            .env("KEYFOLD_TEST_DIR", place.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        acknowledged += said.filter(|line| line == "used").take(lines).count();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(acknowledged, KILLED_AFTER.iter().sum::<usize>());
    let keyfold = place.open().await;
    let log = keyfold.audit_log();
    let count = async || {
        let events = log.page(&Selection::default(), None, 100_000).await.unwrap();
        events.iter().filter(|event| event.action == "key.opened").count()
    };
    let taken = async {
        while count().await < acknowledged || std::fs::read_dir(place.spool()).unwrap().count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), taken).await.expect("uses are missing");
    let events = log.page(&Selection::default(), None, 100_000).await.unwrap();
    let mut calls: Vec<_> =
        events.iter().filter(|event| event.action == "key.opened").map(|event| &event.call_id).collect();
    let all = calls.len();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls.len(), all, "a use is there twice");
    assert_sound(&keyfold).await;
    drop(log);
    keyfold.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a helper that another test starts"]
#[expect(clippy::disallowed_methods, reason = "what the test that starts it says")]
async fn helper_that_uses_a_key() {
    let Some(dir) = std::env::var_os("KEYFOLD_TEST_DIR").map(PathBuf::from) else { return };
    let keyfold = Keyfold::open_with(Environment::default(), &dir).await.unwrap();
    let keys = Arc::new(keyfold.user_api_keys("local").await.unwrap());
    let opened = Arc::new(keys.get("gemini").unwrap());
    // On several threads, each of which may have a part of the spool.
    let users = (0..4).map(|_| {
        let (keys, opened) = (Arc::clone(&keys), Arc::clone(&opened));
        tokio::spawn(async move {
            loop {
                keys.record_a_call(&opened).await.unwrap();
                println!("used");
                tokio::task::yield_now().await;
            }
        })
    });
    futures_util::future::join_all(users).await;
}

//! What was read before a change is not remembered after it.

use std::sync::atomic::{AtomicBool, Ordering};

use keyfold_standin::example_key;

use crate::support::production::Production;

const CHANGES: usize = 150;
const USER: &str = "user_a";

/// Rolling back changes places, so the key is now the one, now the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_look_up_that_began_before_a_change_is_not_remembered_after_it() {
    let production = Production::start().await;
    let user = production.as_user(USER);
    for n in [1, 2] {
        user.has_example_key("gemini", n).await;
    }
    let keyfold = &production.keyfold;
    let provider = keyfold.provider("gemini").unwrap();
    let is_over = AtomicBool::new(false);

    // Without announcements nobody would look up anew, and so nobody just before a change.
    let announcing = async {
        let database = production.sql().await;
        while !is_over.load(Ordering::Relaxed) {
            let announce = "SELECT pg_notify('keyfold_changes', $1)";
            database.execute(announce, &[&USER]).await.unwrap();
        }
    };
    let looking_up = async || {
        while !is_over.load(Ordering::Relaxed) {
            keyfold.user_api_keys(USER).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let changing = async {
        for change in 0..CHANGES {
            let keys = keyfold.user_api_keys_read_anew(USER).await.unwrap();
            keys.roll_back(&provider).await.unwrap();
            let expected = example_key("gemini", u32::try_from(change % 2).unwrap() + 1);
            for _ in 0..20 {
                let keys = keyfold.user_api_keys(USER).await.unwrap();
                assert_eq!(keys.get("gemini").unwrap().expose(), expected, "change {change}");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(announcing, looking_up(), looking_up(), looking_up(), looking_up(), changing);
}

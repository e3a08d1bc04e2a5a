//! How far the other program's users got in their onboarding.

use keyfold::auth::AuthenticatedUser;
use keyfold::auth::local::{LocalGuard, RequestOrigin};
use keyfold::onboarding::Onboarding;
use keyfold::{Error, Keyfold};

use crate::setup::Old;

/// Of the only user whom a program may vouch for without a token.
async fn onboarding_of_local(keyfold: &Keyfold) -> Onboarding {
    let request = RequestOrigin { host: Some("localhost"), ..RequestOrigin::default() };
    let admitted = LocalGuard::new(vec![], vec![], None).admit(&request).unwrap();
    keyfold.onboarding(&AuthenticatedUser::of_local_access(&admitted)).await.unwrap()
}

/// The current step, percents, steps that are settled, and whether it is over.
async fn progress_of(onboarding: &Onboarding) -> (u32, f64, Vec<u32>, bool) {
    let progress = onboarding.progress().await.unwrap();
    let settled = progress.steps.iter().filter(|step| step.completed_at.is_some()).map(|step| step.number);
    (progress.current_step(), progress.percentage(), settled.collect(), progress.is_completed())
}

/// The tables as ALwrity makes them, with the user `local` this far.
async fn both_with_local_at(current_step: &str, progress: &str, preset: &'static str) -> [Old; 2] {
    let mut both = Old::both_like_alwrity().await;
    for old in &mut both {
        old.preset = preset;
        old.sql(&format!(
            "INSERT INTO onboarding_sessions (id, user_id, current_step, progress, started_at, updated_at) \
             VALUES (60, 'local', {current_step}, {progress}, '2025-01-01 10:00:00', '2025-01-03 10:00:00')"
        ))
        .await;
    }
    both
}

const ROW: &str = "SELECT current_step, progress FROM onboarding_sessions WHERE user_id = 'local'";

#[tokio::test(flavor = "multi_thread")]
async fn who_was_through_is_through_and_a_step_that_is_done_again_takes_nothing_back() {
    for old in both_with_local_at("6", "100.0", "alwrity").await {
        let keyfold = old.open().await;
        let onboarding = onboarding_of_local(&keyfold).await;
        let through = (6, 100.0, vec![1, 2, 3, 4, 5, 6], true);
        assert_eq!(progress_of(&onboarding).await, through);
        let ended = onboarding.progress().await.unwrap().completed_at.unwrap();
        assert_eq!(ended.to_string(), "2025-01-03T10:00:00Z");
        assert_eq!(old.rows(ROW).await, [["6", "100"]], "looking changes nothing");

        onboarding
            .complete_step(2, Some(serde_json::json!({ "website_url": "https://a.test" })))
            .await
            .unwrap();
        assert_eq!(progress_of(&onboarding).await, through);
        assert_eq!(onboarding.progress().await.unwrap().completed_at, Some(ended));
        assert_eq!(old.rows(ROW).await, [["6", "100"]]);

        // Beginning anew is what the user wants.
        onboarding.reset().await.unwrap();
        assert_eq!(progress_of(&onboarding).await, (1, 0.0, vec![], false));
        assert_eq!(old.rows(ROW).await, [["1", "0"]]);
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_halfway_goes_on_there() {
    let cases = [
        // As ALwrity counts: the last step that was completed, whole percents or not.
        ("4", "66.6", 5, vec![1, 2, 3, 4]),
        ("2", "33.0", 3, vec![1, 2]),
        // As others do: the next step.
        ("3", "33.333", 3, vec![1, 2]),
        ("3", "NULL", 3, vec![1, 2]),
        // By one of both; the end is only said by all of the progress.
        ("1", "50", 4, vec![1, 2, 3]),
        ("9", "0", 6, vec![1, 2, 3, 4, 5]),
        ("NULL", "NULL", 1, vec![]),
        ("1", "-5", 1, vec![]),
    ];
    for old in both_with_local_at("1", "0", "alwrity").await {
        let keyfold = old.open().await;
        let onboarding = onboarding_of_local(&keyfold).await;
        for (current_step, progress, next, settled) in &cases {
            old.sql(&format!(
                "UPDATE onboarding_sessions SET current_step = {current_step}, progress = {progress} \
                 WHERE user_id = 'local'"
            ))
            .await;
            let (found_next, _, found, is_completed) = progress_of(&onboarding).await;
            assert_eq!(
                (&found_next, &found, is_completed),
                (next, settled, false),
                "{current_step} {progress}"
            );
        }
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_program_writes_counts_until_a_step_is_taken_here() {
    for old in both_with_local_at("1", "16.67", "alwrity").await {
        let keyfold = old.open().await;
        let onboarding = onboarding_of_local(&keyfold).await;
        assert_eq!(progress_of(&onboarding).await.2, [1]);
        old.sql("UPDATE onboarding_sessions SET current_step = 2, progress = 33.33 WHERE user_id = 'local'")
            .await;
        assert_eq!(progress_of(&onboarding).await.2, [1, 2]);
        onboarding.skip_step(4).await.unwrap();
        assert_eq!(progress_of(&onboarding).await, (3, 50.0, vec![1, 2, 4], false));
        assert_eq!(old.rows(ROW).await, [["3", "50"]], "and it reads what was done here");
        // A required step is not taken for done because an optional one is.
        let refused = onboarding.complete().await.unwrap_err();
        assert!(matches!(&refused, Error::InvalidRequest { field, .. } if field == "steps"), "{refused}");
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_that_was_forgotten_at_first_loses_no_step() {
    for mut old in both_with_local_at("4", "66.67", "keyfold").await {
        let keyfold = old.open().await;
        let onboarding = onboarding_of_local(&keyfold).await;
        assert_eq!(progress_of(&onboarding).await, (3, 66.67, vec![1, 2], false));
        onboarding.skip_step(2).await.unwrap();
        keyfold.close().await;
        old.preset = "alwrity";
        let keyfold = old.open().await;
        assert_eq!(progress_of(&onboarding_of_local(&keyfold).await).await.2, [1, 2, 3, 4]);
        keyfold.close().await;
    }
}

//! The audit log agrees with what was acknowledged: each change is there once, and the chains are whole.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::Start;

const CHANGES: [&str; 4] = ["key.saved", "key.replaced", "key.rolled_back", "key.deleted"];
/// What was tried and changed nothing.
const WITHOUT_EFFECT: [&str; 3] = ["rejected", "conflict", "failed"];

/// How many changes the log tells of, by user and provider, once it was verified.
#[track_caller]
pub(crate) fn changes(keyfold: impl Fn(&[&str]) -> Start) -> BTreeMap<(String, String), usize> {
    keyfold(&["audit", "verify"]).run().ok();
    let export = keyfold(&["audit", "export"]).run();
    let mut changes = BTreeMap::new();
    for line in export.ok().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let is_one_of = |field: &str, words: &[&str]| words.contains(&event[field].as_str().unwrap_or(""));
        if is_one_of("action", &CHANGES) && !is_one_of("outcome", &WITHOUT_EFFECT) {
            let name = |field: &str| event[field].as_str().unwrap().to_owned();
            *changes.entry((name("user_id"), name("provider"))).or_default() += 1;
        }
    }
    changes
}

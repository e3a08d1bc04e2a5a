//! `make bench`: prints each figure and its ratio to a floor that is measured in the same run.
//!
//! Absolute figures depend on the machine and on what else it does; the ratios are what to look at.
//! Rounds of a figure and of its floor take turns, and the median round counts.

#![expect(clippy::print_stdout, reason = "it prints a report")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot run should stop")]

mod answers;
mod audit;
mod key_opening;
mod look_up;
mod program;
mod rate_limit;
mod remembered_token;
mod report;
mod rewrap;

#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let wanted = |name: &str| name.contains(only.as_str());
    if wanted("library") {
        key_opening::measure().await;
    }
    if wanted("token") {
        remembered_token::measure().await;
    }
    if wanted("look-up") {
        look_up::measure().await;
    }
    if wanted("rewrap") {
        rewrap::measure().await;
    }
    if wanted("answers") {
        answers::measure();
    }
    if wanted("limit") {
        rate_limit::measure().await;
    }
    if wanted("audit") {
        audit::measure().await;
    }
    if wanted("program") {
        program::measure().await;
    }
}

//! Rounds, medians and lines.

use std::time::{Duration, Instant};

/// Rounds of every figure; odd, so that the median is one of them.
pub(crate) const ROUNDS: usize = 15;

/// The median of all rounds.
pub(crate) fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Nanoseconds per call over many calls.
pub(crate) fn nanoseconds(calls: u32, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        call();
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

/// The share `part` (0 to 1) of sorted durations, in microseconds.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[index].as_secs_f64() * 1e6
}

pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}

/// A figure, its floor and the ratio of the two.
pub(crate) fn line(name: &str, figure: f64, floor: f64, unit: &str, aim: &str) {
    println!(
        "  {name:<44} {figure:>10.1} {unit:<3} floor {floor:>10.1} {unit:<3} ratio {:>6.2}   {aim}",
        figure / floor
    );
}

/// A figure that has no floor.
pub(crate) fn plain(name: &str, figure: f64, unit: &str, aim: &str) {
    println!("  {name:<44} {figure:>10.1} {unit:<3} {:>33}   {aim}", "");
}

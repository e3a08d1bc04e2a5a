//! What calls cost in tokens: read from the answers as they pass, and added up per user, day, provider and model.

mod answer_reader;
mod event_lines;
mod json_scanner;
mod model_name;
mod sums;
#[cfg(test)]
mod tests;

pub use answer_reader::{AnswerReader, AskedPath};
pub(crate) use sums::Usage;

pub use crate::storage::usage::UsageFigures;
use crate::storage::usage::UsageRow;

/// What an answer says of its tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// The model that answered.
    pub model: Option<String>,
    /// Tokens of the question.
    pub input: Option<u64>,
    /// Tokens of the answer.
    pub output: Option<u64>,
}

/// What a user's calls to one provider came to on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayOfUsage {
    /// The day in UTC, such as `2026-11-30`.
    pub day: String,
    /// The provider's id.
    pub provider: String,
    /// All calls together.
    pub figures: UsageFigures,
    /// The same by the models that answered; `None` where the provider did not say.
    pub models: Vec<(Option<String>, UsageFigures)>,
}

/// Rows that are sorted by day and provider, one entry for each of both.
fn by_day(rows: Vec<UsageRow>) -> Vec<DayOfUsage> {
    let mut days: Vec<DayOfUsage> = vec![];
    for UsageRow { day, provider, model, figures } in rows {
        let model = (!model.is_empty()).then_some(model);
        match days.last_mut() {
            Some(last) if last.day == day && last.provider == provider => {
                last.figures.add(figures);
                last.models.push((model, figures));
            }
            _ => days.push(DayOfUsage { day, provider, figures, models: vec![(model, figures)] }),
        }
    }
    days
}

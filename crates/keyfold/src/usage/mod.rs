//! What calls cost in tokens: read from the answers as they pass.

mod answer_reader;
mod event_lines;
mod json_scanner;
mod model_name;
#[cfg(test)]
mod tests;

pub use answer_reader::AnswerReader;

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

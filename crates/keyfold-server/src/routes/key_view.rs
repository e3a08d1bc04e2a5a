//! A key record as JSON. There is no field that could hold a key.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keyfold::keys::{KeyRecord, Saved};
use keyfold::provider::{ProviderId, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

/// What a user may know of a stored key.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    provider: String,
    /// The last four characters of a key of 12 or more, nothing of a shorter one.
    masked: String,
    /// `valid`, `limited`, `rejected`, `unverified` or `unreadable`
    status: &'static str,
    /// `database`, `env_file` or `environment`
    source: &'static str,
    /// Counts the replacements; null for a key that was never saved here.
    version: Option<i64>,
    created_at: Option<String>,
    updated_at: Option<String>,
    last_used_at: Option<String>,
    last_verified_at: Option<String>,
    /// Whether it can be rolled back.
    has_previous: bool,
    /// Local mode: the variable of the process that is used instead of what the files have.
    #[serde(skip_serializing_if = "Option::is_none")]
    overridden: Option<String>,
    /// Local mode: the `.env` files that a saved key stands in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
}

/// A key that was saved, and what the user should know.
#[derive(Serialize, ToSchema)]
pub(crate) struct SavedKeyView {
    #[serde(flatten)]
    key: KeyView,
    warnings: Vec<String>,
}

/// What a provider said of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct VerdictView {
    /// null if nothing can be said
    valid: Option<bool>,
    /// `valid`, `limited`, `rejected` or `unverified`
    status: &'static str,
    /// In plain words, with what to do.
    detail: String,
}

impl KeyView {
    /// Views of a user's keys; `with_previous` are those that can be rolled back.
    pub(crate) fn of_all(records: &[KeyRecord], with_previous: &BTreeSet<ProviderId>) -> Vec<Self> {
        records.iter().map(|record| Self::new(record, with_previous.contains(&record.provider))).collect()
    }

    /// The view of one.
    pub(crate) fn new(record: &KeyRecord, has_previous: bool) -> Self {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        Self {
            provider: record.provider.to_string(),
            masked: record.masked.clone(),
            status: record.status.as_str(),
            source: record.source.as_str(),
            version: record.version,
            created_at: text(record.created_at),
            updated_at: text(record.updated_at),
            last_used_at: text(record.last_used_at),
            last_verified_at: text(record.last_verified_at),
            has_previous,
            overridden: record.overridden_by.clone(),
            files: record.files.iter().map(|file| file.display().to_string()).collect(),
        }
    }
}

impl From<&Saved> for SavedKeyView {
    fn from(saved: &Saved) -> Self {
        Self {
            key: KeyView::new(&saved.record, saved.has_previous),
            warnings: saved.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

impl VerdictView {
    /// The verdict in words.
    pub(crate) fn new(verdict: &Verdict, name: &str, setup_url: &str) -> Self {
        let (valid, status, detail) = match verdict {
            Verdict::Valid => (Some(true), "valid", format!("{name} accepts this key.")),
            Verdict::Limited(why) => (Some(true), "limited", format!("The key is live, but limited: {why}.")),
            Verdict::Rejected => {
                (Some(false), "rejected", format!("{name} refuses this key. Get a new one at {setup_url}."))
            }
            Verdict::Unknown(why) => (
                None,
                "unverified",
                format!("Nothing can be said of the key: {why}. It can be used all the same."),
            ),
        };
        Self { valid, status, detail }
    }

    /// `valid`, `limited`, `rejected` or `unverified`
    pub(crate) fn status(&self) -> &'static str {
        self.status
    }

    /// null if nothing can be said
    pub(crate) fn valid(&self) -> Option<bool> {
        self.valid
    }

    /// In plain words.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

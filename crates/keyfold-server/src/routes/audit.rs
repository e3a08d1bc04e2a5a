//! A user's own part of the audit log.

use axum::Json;
use axum::extract::{RawQuery, State};
use keyfold::audit::{Action, ActionFilter, Entry, EntryFilter, Outcome};
use keyfold::provider::ProviderId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::CurrentUser;
use crate::problem::Problem;

/// Events of a page, unless the caller says otherwise.
const USUAL_LIMIT: u32 = 50;
/// The most events of a page.
const MOST: u32 = 200;
const PARAMETERS: [&str; 5] = ["limit", "cursor", "provider", "action", "outcome"];

#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// The newest first.
    events: Vec<AuditEvent>,
    /// For the next page, as `cursor`; null on the last one.
    next_cursor: Option<String>,
}

/// What was done with one of the user's keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEvent {
    id: i64,
    /// RFC 3339, UTC.
    at: String,
    /// What was done, such as `key.saved` or `key.opened`.
    action: String,
    /// Who did it: `user`, `act:ID`, `service:NAME`, `operator`, `application`, `issuer` or `keyfold`.
    actor: String,
    provider: Option<String>,
    /// What came of it, such as `ok` or `rejected`.
    outcome: String,
    request_id: Option<String>,
    /// Joins a key that was opened with the end of its call.
    call_id: Option<String>,
    /// What the key was opened for.
    purpose: Option<String>,
    key_version: Option<i64>,
    /// The same for equal keys; nothing can be guessed from it.
    fingerprint: Option<String>,
    /// The provider's own status.
    provider_status: Option<i64>,
    duration_ms: Option<i64>,
    /// Where the request came from.
    address: Option<String>,
    note: Option<String>,
}

impl From<Entry> for AuditEvent {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.to_string(),
            action: entry.action,
            actor: entry.actor,
            provider: entry.provider,
            outcome: entry.outcome,
            request_id: entry.request_id,
            call_id: entry.call_id,
            purpose: entry.purpose,
            key_version: entry.key_version,
            fingerprint: entry.fingerprint,
            provider_status: entry.provider_status,
            duration_ms: entry.duration_ms,
            address: entry.address,
            note: entry.note,
        }
    }
}

/// What was done with the user's keys, the newest first. The use of a key is there within about a second.
#[utoipa::path(get, path = "/api/audit", operation_id = "listAuditEvents", tag = "audit", params(
    ("limit" = Option<u32>, Query, description = "events of a page, 1 to 200; 50 without it"),
    ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before"),
    ("provider" = Option<String>, Query, description = "of this provider's keys only"),
    ("action" = Option<String>, Query, description = "this action only, such as `key.saved`; or a kind of them, such as `key.`"),
    ("outcome" = Option<String>, Query, description = "of which this came only, such as `ok`")
), responses(
    (status = 200, body = AuditPage, description = "done"),
    (status = 422, description = "`invalid_request`: names the parameter")
))]
pub(crate) async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    RawQuery(query): RawQuery,
) -> Result<Json<AuditPage>, Problem> {
    let query = PageQuery::parse(query.as_deref().unwrap_or_default())?;
    let page = app.keyfold.audit_of(&user, &query.filter, query.limit, query.cursor.as_deref()).await?;
    Ok(Json(AuditPage {
        events: page.entries.into_iter().map(AuditEvent::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

#[derive(Default)]
struct PageQuery {
    limit: u32,
    cursor: Option<String>,
    filter: EntryFilter,
}

impl PageQuery {
    /// What is not known is let pass: proxies and pages add parameters of their own.
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut found = Self { limit: USUAL_LIMIT, ..Self::default() };
        let mut seen: Vec<String> = vec![];
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if !PARAMETERS.contains(&&*name) {
                continue;
            }
            if seen.iter().any(|seen| *seen == name) {
                return Err(Problem::invalid_request(&name, "is there twice; send it once"));
            }
            found.take(&name, &value).map_err(|why| Problem::invalid_request(&name, why))?;
            seen.push(name.into_owned());
        }
        Ok(found)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "limit" => self.limit = limit(value)?,
            "cursor" => self.cursor = Some(value.to_owned()),
            "provider" => {
                let provider = ProviderId::parse(value).map_err(|why| format!("is no id: {why}"))?;
                self.filter.provider = Some(provider);
            }
            "action" => {
                let action = ActionFilter::parse(value).ok_or_else(|| {
                    let known = words(Action::ALL.iter().map(Action::to_string));
                    format!("must be one of {known}; or the first part of one up to its point, such as key.")
                })?;
                self.filter.action = Some(action);
            }
            _ => {
                let outcome = Outcome::parse(value).ok_or_else(|| {
                    format!("must be one of {}", words(Outcome::ALL.iter().map(Outcome::to_string)))
                })?;
                self.filter.outcome = Some(outcome);
            }
        }
        Ok(())
    }
}

fn limit(text: &str) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| text.parse().ok())
        .flatten()
        .filter(|limit| (1..=MOST).contains(limit))
        .ok_or_else(|| format!("must be a number from 1 to {MOST}"))
}

fn words(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

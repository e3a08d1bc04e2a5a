//! What a user's calls came to.

use axum::Json;
use axum::extract::{RawQuery, State};
use keyfold::{DayOfUsage, UsageFigures};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::CurrentUser;
use crate::problem::Problem;

/// Days, unless the caller says otherwise.
const USUAL_DAYS: u16 = 30;
/// The most days.
const MOST: u16 = 366;

#[derive(Serialize, ToSchema)]
pub(crate) struct UsageOfUser {
    /// One entry for each day and provider with calls, the newest day first.
    usage: Vec<UsageOfDay>,
}

/// What the calls of one day to one provider came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageOfDay {
    /// The day in UTC, such as `2026-11-30`.
    day: String,
    provider: String,
    #[serde(flatten)]
    figures: Figures,
    /// The same by model.
    models: Vec<UsageOfModel>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct UsageOfModel {
    /// As the provider names it; null where it did not say.
    model: Option<String>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize, ToSchema)]
struct Figures {
    requests: i64,
    /// Requests that failed.
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// Requests that went well and whose tokens are not known.
    unknown: i64,
}

impl From<UsageFigures> for Figures {
    fn from(figures: UsageFigures) -> Self {
        let UsageFigures { requests, errors, input_tokens, output_tokens, unknown } = figures;
        Self { requests, errors, input_tokens, output_tokens, unknown }
    }
}

impl From<DayOfUsage> for UsageOfDay {
    fn from(day: DayOfUsage) -> Self {
        let models = day.models.into_iter();
        Self {
            day: day.day,
            provider: day.provider,
            figures: day.figures.into(),
            models: models.map(|(model, figures)| UsageOfModel { model, figures: figures.into() }).collect(),
        }
    }
}

/// What the user's calls came to, per day and provider: requests, errors and tokens. Calls that just ended are in it;
/// those that another replica served, a few seconds later.
#[utoipa::path(get, path = "/api/usage", operation_id = "getUsage", tag = "usage", params(
    ("days" = Option<u16>, Query, description = "so many days, today included, 1 to 366; 30 without it")
), responses(
    (status = 200, body = UsageOfUser, description = "done"),
    (status = 422, description = "`invalid_request`: `days`")
))]
pub(crate) async fn of_user(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    RawQuery(query): RawQuery,
) -> Result<Json<UsageOfUser>, Problem> {
    let days = days_of(query.as_deref().unwrap_or_default())?;
    let usage = app.keyfold.usage_of(&user, days).await?;
    Ok(Json(UsageOfUser { usage: usage.into_iter().map(UsageOfDay::from).collect() }))
}

/// What else stands in the query is let pass: proxies and pages add parameters of their own.
fn days_of(query: &str) -> Result<u16, Problem> {
    let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "days");
    let Some((_, days)) = given.next() else { return Ok(USUAL_DAYS) };
    if given.next().is_some() {
        return Err(Problem::invalid_request("days", "is there twice; send it once"));
    }
    // `parse` alone would take a sign too.
    let is_number = days.bytes().all(|byte| byte.is_ascii_digit());
    let days = is_number.then(|| days.parse().ok()).flatten();
    days.filter(|days| (1..=MOST).contains(days))
        .ok_or_else(|| Problem::invalid_request("days", format!("must be a number from 1 to {MOST}")))
}

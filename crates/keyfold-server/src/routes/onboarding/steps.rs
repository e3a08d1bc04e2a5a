//! One step at a time.

use axum::Json;
use axum::extract::{Extension, State};
use keyfold::limit::Class;
use keyfold::onboarding::{KEYS_STEP, Step, StepStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Caller;
use crate::current_user::CurrentUser;
use crate::json_body::{OptionalJsonBody, PathPart};
use crate::problem::Problem;
use crate::rate_limit::count;

#[derive(Serialize, ToSchema)]
pub(crate) struct StepView {
    step_number: u32,
    title: &'static str,
    description: &'static str,
    /// `pending`, `in_progress`, `completed` or `skipped`
    status: &'static str,
    completed_at: Option<String>,
    /// What the step was told; never a key.
    data: Option<Value>,
    validation_errors: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StepAccess {
    can_proceed: bool,
    validation_errors: Vec<String>,
    /// `locked`, `available`, `completed` or `skipped`
    step_status: &'static str,
}

#[derive(Deserialize, Default, ToSchema)]
pub(crate) struct CompleteStep {
    /// Step 1: `{"api_keys": {provider: key}}`, or nothing if the keys were saved before.
    data: Option<Value>,
    /// What the caller itself found wrong; a step with errors is not completed.
    #[serde(default)]
    validation_errors: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StepCompleted {
    message: String,
    step_number: u32,
    data: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StepSkipped {
    message: String,
    step_number: u32,
}

/// A step with its state.
#[utoipa::path(get, path = "/api/onboarding/step/{n}", operation_id = "onboardingStep", tag = "onboarding", params(("n" = u32, Path, description = "counts from 1")), responses(
    (status = 200, body = StepView, description = "done"),
    (status = 404, description = "no such step")
))]
pub(crate) async fn step(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    PathPart(number): PathPart<u32>,
) -> Result<Json<StepView>, Problem> {
    Ok(Json(StepView::from(&app.keyfold.onboarding(&user).await?.step(number).await?)))
}

/// Whether the user may go to a step.
#[utoipa::path(get, path = "/api/onboarding/step/{n}/validate", operation_id = "onboardingStepAccess", tag = "onboarding", params(("n" = u32, Path, description = "counts from 1")), responses(
    (status = 200, body = StepAccess, description = "done"),
    (status = 404, description = "no such step")
))]
pub(crate) async fn access(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    PathPart(number): PathPart<u32>,
) -> Result<Json<StepAccess>, Problem> {
    let onboarding = app.keyfold.onboarding(&user).await?;
    let step = onboarding.step(number).await?;
    let open = onboarding.progress().await?.open_required_before(number);
    let validation_errors: Vec<String> =
        open.iter().map(|step| format!("Complete step {step} first.")).collect();
    Ok(Json(StepAccess {
        can_proceed: validation_errors.is_empty(),
        step_status: match step.status {
            StepStatus::Completed => "completed",
            StepStatus::Skipped => "skipped",
            _ if validation_errors.is_empty() => "available",
            _ => "locked",
        },
        validation_errors,
    }))
}

/// Completes a step.
#[utoipa::path(post, path = "/api/onboarding/step/{n}/complete", operation_id = "completeOnboardingStep", tag = "onboarding", request_body = Option<CompleteStep>, params(("n" = u32, Path, description = "counts from 1")), responses(
    (status = 200, body = StepCompleted, description = "done"),
    (status = 404, description = "no such step"),
    (status = 422, description = "required keys are missing, or a key is wrong; nothing was saved then")
))]
pub(crate) async fn complete(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    Extension(caller): Extension<Caller>,
    PathPart(number): PathPart<u32>,
    OptionalJsonBody(body): OptionalJsonBody<CompleteStep>,
) -> Result<Json<StepCompleted>, Problem> {
    if !body.validation_errors.is_empty() {
        return Err(Problem::invalid_request(
            "validation_errors",
            "is not empty: the step has errors of its own; correct them first",
        ));
    }
    if number == KEYS_STEP {
        // Each key is checked.
        count(&app, &caller, &user, Class::Keys, given_keys(body.data.as_ref())).await?;
    }
    let (step, warnings) = app.keyfold.onboarding(&user).await?.complete_step(number, body.data).await?;
    Ok(Json(StepCompleted {
        message: format!("Step {number} is complete"),
        step_number: number,
        data: step.data,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }))
}

/// How many keys this has; an empty field of a form is none.
fn given_keys(data: Option<&Value>) -> u32 {
    let keys = data.and_then(|data| data.get("api_keys")).and_then(Value::as_object);
    let given = keys.into_iter().flat_map(Map::values);
    let count = given.filter(|key| key.as_str().is_none_or(|key| !key.trim().is_empty())).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Passes over an optional step.
#[utoipa::path(post, path = "/api/onboarding/step/{n}/skip", operation_id = "skipOnboardingStep", tag = "onboarding", params(("n" = u32, Path, description = "counts from 1")), responses(
    (status = 200, body = StepSkipped, description = "done"),
    (status = 404, description = "no such step"),
    (status = 422, description = "the step is required")
))]
pub(crate) async fn skip(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    PathPart(number): PathPart<u32>,
) -> Result<Json<StepSkipped>, Problem> {
    app.keyfold.onboarding(&user).await?.skip_step(number).await?;
    Ok(Json(StepSkipped { message: format!("Step {number} was skipped"), step_number: number }))
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        Self {
            step_number: step.number,
            title: step.definition.title,
            description: step.definition.description,
            status: step.status.as_str(),
            completed_at: step.completed_at.map(|time| time.to_string()),
            data: step.data.clone(),
            validation_errors: vec![],
        }
    }
}

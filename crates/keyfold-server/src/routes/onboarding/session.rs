//! The session as a whole: where a user stands, beginning, beginning anew, ending.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use keyfold::auth::issuer::Issuer;
use keyfold::mode::Mode;
use keyfold::onboarding::{Preset, Progress};
use serde::Serialize;
use utoipa::ToSchema;

use super::steps::StepView;
use crate::app::App;
use crate::current_user::CurrentUser;
use crate::problem::Problem;

#[derive(Serialize, ToSchema)]
pub(crate) struct Init {
    user: UserView,
    onboarding: InitOnboarding,
    session: SessionView,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    id: String,
    /// Always null: of a token's claims only the user's id is kept.
    email: Option<String>,
    /// Always null, likewise.
    first_name: Option<String>,
    /// Always null, likewise.
    last_name: Option<String>,
    /// The user's id again, in production with Clerk as issuer; else null.
    clerk_user_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct InitOnboarding {
    #[serde(flatten)]
    status: Status,
    last_updated: String,
    steps: Vec<StepView>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    session_id: i64,
    initialized_at: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    is_completed: bool,
    /// Counts from 1.
    current_step: u32,
    /// 0 to 100
    completion_percentage: f64,
    next_step: Option<u32>,
    started_at: String,
    completed_at: Option<String>,
    can_proceed_to_final: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ProgressView {
    steps: Vec<StepView>,
    current_step: u32,
    /// 0 to 100
    progress: f64,
    total_steps: usize,
    /// 0 to 100
    completion_percentage: f64,
    started_at: String,
    last_updated: String,
    is_completed: bool,
    completed_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OnboardingConfig {
    total_steps: u32,
    required_steps: Vec<u32>,
    optional_steps: Vec<u32>,
    /// What each step asks for, by its number.
    step_requirements: BTreeMap<u32, Vec<&'static str>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Resume {
    can_resume: bool,
    resume_step: Option<u32>,
    current_step: u32,
    completion_percentage: f64,
    started_at: String,
    last_updated: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    user: UserView,
    /// `configured` or `missing`, by provider.
    api_keys: BTreeMap<String, &'static str>,
    steps: Vec<StepView>,
    is_completed: bool,
    current_step: u32,
    completion_percentage: f64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Begun {
    message: &'static str,
    current_step: u32,
    started_at: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    message: &'static str,
    completed_at: Option<String>,
}

/// Everything that a page needs when it opens.
///
/// Of a token's claims only the user's id is kept, so that `email`, `first_name` and `last_name` are always null;
/// `clerk_user_id` is that id again, in production with Clerk as issuer.
#[utoipa::path(get, path = "/api/onboarding/init", operation_id = "onboardingInit", tag = "onboarding", responses((status = 200, body = Init, description = "done")))]
pub(crate) async fn init(State(app): State<App>, user: CurrentUser) -> Result<Json<Init>, Problem> {
    let progress = app.keyfold.onboarding(&user.0).await?.progress().await?;
    Ok(Json(Init {
        session: SessionView {
            session_id: progress.session_id,
            initialized_at: progress.started_at.to_string(),
        },
        onboarding: InitOnboarding {
            status: Status::from(&progress),
            last_updated: progress.last_updated.to_string(),
            steps: steps(&progress),
        },
        user: UserView::of(&app, &user),
    }))
}

/// Where the user stands.
#[utoipa::path(get, path = "/api/onboarding/status", operation_id = "onboardingStatus", tag = "onboarding", responses((status = 200, body = Status, description = "done")))]
pub(crate) async fn status(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Status>, Problem> {
    Ok(Json(Status::from(&app.keyfold.onboarding(&user).await?.progress().await?)))
}

/// All steps with their state.
#[utoipa::path(get, path = "/api/onboarding/progress", operation_id = "onboardingProgress", tag = "onboarding", responses((status = 200, body = ProgressView, description = "done")))]
pub(crate) async fn progress(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<ProgressView>, Problem> {
    let progress = app.keyfold.onboarding(&user).await?.progress().await?;
    Ok(Json(ProgressView {
        steps: steps(&progress),
        current_step: progress.current_step(),
        progress: progress.percentage(),
        total_steps: progress.steps.len(),
        completion_percentage: progress.percentage(),
        started_at: progress.started_at.to_string(),
        last_updated: progress.last_updated.to_string(),
        is_completed: progress.is_completed(),
        completed_at: progress.completed_at.map(|time| time.to_string()),
    }))
}

/// The steps that there are.
#[utoipa::path(get, path = "/api/onboarding/config", operation_id = "onboardingConfig", tag = "onboarding", responses((status = 200, body = OnboardingConfig, description = "done")))]
pub(crate) async fn config(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<OnboardingConfig>, Problem> {
    // The same for everybody, but not for the suspended.
    app.keyfold.onboarding(&user).await?;
    let preset: Preset = app.keyfold.preset();
    let numbered = || preset.steps().iter().zip(1_u32..);
    let with = |required| {
        numbered().filter(|(step, _)| step.required == required).map(|(_, number)| number).collect()
    };
    Ok(Json(OnboardingConfig {
        total_steps: preset.total_steps(),
        required_steps: with(true),
        optional_steps: with(false),
        step_requirements: numbered().map(|(step, number)| (number, step.requirements.to_vec())).collect(),
    }))
}

/// Where to go on.
#[utoipa::path(get, path = "/api/onboarding/resume", operation_id = "onboardingResume", tag = "onboarding", responses((status = 200, body = Resume, description = "done")))]
pub(crate) async fn resume(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Resume>, Problem> {
    let progress = app.keyfold.onboarding(&user).await?.progress().await?;
    Ok(Json(Resume {
        can_resume: !progress.is_completed(),
        resume_step: (!progress.is_completed()).then(|| progress.current_step()),
        current_step: progress.current_step(),
        completion_percentage: progress.percentage(),
        started_at: progress.started_at.to_string(),
        last_updated: progress.last_updated.to_string(),
    }))
}

/// User, keys and steps on one page.
///
/// The user as in `/api/onboarding/init`.
#[utoipa::path(get, path = "/api/onboarding/summary", operation_id = "onboardingSummary", tag = "onboarding", responses((status = 200, body = Summary, description = "done")))]
pub(crate) async fn summary(State(app): State<App>, user: CurrentUser) -> Result<Json<Summary>, Problem> {
    let onboarding = app.keyfold.onboarding(&user.0).await?;
    let progress = onboarding.progress().await?;
    let keys = app.keyfold.keys_of(&user.0).await?;
    let records = keys.list()?;
    let mut api_keys: BTreeMap<String, &'static str> =
        records.iter().map(|record| (record.provider.to_string(), "configured")).collect();
    for missing in onboarding.missing_keys(&keys)? {
        api_keys.insert(missing.to_string(), "missing");
    }
    Ok(Json(Summary {
        user: UserView::of(&app, &user),
        api_keys,
        steps: steps(&progress),
        is_completed: progress.is_completed(),
        current_step: progress.current_step(),
        completion_percentage: progress.percentage(),
    }))
}

/// Begins; what was done before stays.
#[utoipa::path(post, path = "/api/onboarding/start", operation_id = "onboardingStart", tag = "onboarding", responses((status = 200, body = Begun, description = "done")))]
pub(crate) async fn start(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Begun>, Problem> {
    let progress = app.keyfold.onboarding(&user).await?.start().await?;
    Ok(Json(Begun::new("Onboarding has begun", &progress)))
}

/// Begins anew; keys stay.
#[utoipa::path(post, path = "/api/onboarding/reset", operation_id = "onboardingReset", tag = "onboarding", responses((status = 200, body = Begun, description = "done")))]
pub(crate) async fn reset(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Begun>, Problem> {
    let progress = app.keyfold.onboarding(&user).await?.reset().await?;
    Ok(Json(Begun::new("Onboarding begins anew; your keys are still there", &progress)))
}

/// Ends onboarding.
#[utoipa::path(post, path = "/api/onboarding/complete", operation_id = "onboardingComplete", tag = "onboarding", responses(
    (status = 200, body = Ended, description = "done"),
    (status = 422, description = "a required step is open; says which")
))]
pub(crate) async fn complete(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Ended>, Problem> {
    let progress = app.keyfold.onboarding(&user).await?.complete().await?;
    Ok(Json(Ended {
        message: "Onboarding is complete",
        completed_at: progress.completed_at.map(|time| time.to_string()),
    }))
}

fn steps(progress: &Progress) -> Vec<StepView> {
    progress.steps.iter().map(StepView::from).collect()
}

impl UserView {
    fn of(app: &App, user: &CurrentUser) -> Self {
        let id = user.0.user().to_string();
        let is_clerks =
            app.keyfold.mode() == Mode::Production && app.issuer.as_ref().is_some_and(Issuer::is_clerk);
        Self {
            clerk_user_id: is_clerks.then(|| id.clone()),
            id,
            email: None,
            first_name: None,
            last_name: None,
        }
    }
}

impl From<&Progress> for Status {
    fn from(progress: &Progress) -> Self {
        Self {
            is_completed: progress.is_completed(),
            current_step: progress.current_step(),
            completion_percentage: progress.percentage(),
            next_step: progress.next_step(),
            started_at: progress.started_at.to_string(),
            completed_at: progress.completed_at.map(|time| time.to_string()),
            can_proceed_to_final: progress.can_proceed_to_final(),
        }
    }
}

impl Begun {
    fn new(message: &'static str, progress: &Progress) -> Self {
        Self { message, current_step: progress.current_step(), started_at: progress.started_at.to_string() }
    }
}

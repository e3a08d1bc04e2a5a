//! Providers on the paths that ALwrity's front end calls.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use keyfold::onboarding::Preset;
use keyfold::provider::Provider;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::{ByKeys, CountedUser, CurrentUser};
use crate::json_body::{OptionalJsonBody, PathPart, SecretText};
use crate::problem::Problem;
use crate::routes::keys::ask;

#[derive(Serialize, ToSchema)]
pub(crate) struct SetupList {
    providers: BTreeMap<String, Setup>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Setup {
    name: String,
    description: String,
    setup_url: String,
    required: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SetupWithInstructions {
    #[serde(flatten)]
    setup: Setup,
    setup_instructions: Vec<String>,
}

#[derive(Deserialize, Default, ToSchema)]
pub(crate) struct ValidateOnboardingKey {
    /// A key that is not saved; without it the stored one is checked.
    #[schema(value_type = Option<String>, format = Password)]
    api_key: Option<SecretText>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Validated {
    /// null if nothing can be said
    valid: Option<bool>,
    /// `valid`, `limited`, `rejected` or `unverified`
    status: &'static str,
    provider: String,
    /// In plain words, with what to do.
    detail: String,
}

/// All providers with where to get a key.
#[utoipa::path(get, path = "/api/onboarding/providers", operation_id = "listOnboardingProviders", tag = "onboarding", responses((status = 200, body = SetupList, description = "done")))]
pub(crate) async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<SetupList>, Problem> {
    // The same for everybody, but not for the suspended.
    app.keyfold.onboarding(&user).await?;
    let preset = app.keyfold.preset();
    let providers = app.keyfold.registry().iter();
    Ok(Json(SetupList {
        providers: providers
            .map(|provider| (provider.id.to_string(), Setup::new(provider, preset)))
            .collect(),
    }))
}

/// A provider with how to get a key, step by step.
#[utoipa::path(get, path = "/api/onboarding/providers/{provider}", operation_id = "onboardingProvider", tag = "onboarding", params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 200, body = SetupWithInstructions, description = "done"),
    (status = 404, description = "`unknown_provider`")
))]
pub(crate) async fn one(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    PathPart(provider): PathPart<String>,
) -> Result<Json<SetupWithInstructions>, Problem> {
    app.keyfold.onboarding(&user).await?;
    let provider = app.keyfold.provider(&provider)?;
    Ok(Json(SetupWithInstructions {
        setup: Setup::new(&provider, app.keyfold.preset()),
        setup_instructions: provider.setup_instructions.clone(),
    }))
}

/// Asks the provider about a key.
#[utoipa::path(post, path = "/api/onboarding/providers/{provider}/validate", operation_id = "validateOnboardingProvider", tag = "onboarding", request_body = Option<ValidateOnboardingKey>, params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 200, body = Validated, description = "done"),
    (status = 404, description = "`no_api_key`, `unknown_provider`")
))]
pub(crate) async fn validate(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByKeys>,
    PathPart(provider): PathPart<String>,
    OptionalJsonBody(body): OptionalJsonBody<ValidateOnboardingKey>,
) -> Result<Json<Validated>, Problem> {
    let provider = app.keyfold.provider(&provider)?;
    let view = ask(&app, &user, &provider, body.api_key).await?;
    Ok(Json(Validated {
        valid: view.valid(),
        status: view.status(),
        detail: view.detail().to_owned(),
        provider: provider.id.to_string(),
    }))
}

impl Setup {
    fn new(provider: &Provider, preset: Preset) -> Self {
        Self {
            name: provider.name.clone(),
            description: provider.description.clone(),
            setup_url: provider.setup_url.clone(),
            required: preset.requires(&provider.id),
        }
    }
}

//! Keys on the paths that ALwrity's front end calls; masked everywhere.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use keyfold::auth::AuthenticatedUser;
use keyfold::limit::Class;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::Caller;
use crate::current_user::{ByKeys, CountedUser, CurrentUser};
use crate::json_body::{JsonBody, SecretText};
use crate::problem::Problem;
use crate::rate_limit::count;
use crate::routes::key_view::VerdictView;
use crate::routes::keys::parse_key;

#[derive(Serialize, ToSchema)]
pub(crate) struct MaskedKeys {
    /// Masked keys by provider.
    api_keys: BTreeMap<String, String>,
    total_providers: usize,
    configured_providers: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct SaveOnboardingKey {
    provider: String,
    #[schema(value_type = String, format = Password)]
    api_key: SecretText,
    #[expect(dead_code, reason = "ALwrity's front end sends it")]
    description: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct KeySaved {
    message: String,
    provider: String,
    /// `valid`, `limited` or `unverified`
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ValidationResults {
    validation_results: BTreeMap<String, ValidationResult>,
    all_valid: bool,
    total_providers: usize,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ValidationResult {
    /// null if nothing can be said
    valid: Option<bool>,
    /// `valid`, `limited`, `rejected`, `unverified` or `unreadable`
    status: &'static str,
}

/// The user's keys, masked.
#[utoipa::path(get, path = "/api/onboarding/api-keys", operation_id = "listOnboardingKeys", tag = "onboarding", responses((status = 200, body = MaskedKeys, description = "done")))]
pub(crate) async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<MaskedKeys>, Problem> {
    masked(&app, &user).await
}

/// The same; ALwrity's front end has two addresses for it.
#[utoipa::path(get, path = "/api/onboarding/api-keys/onboarding", operation_id = "listKeysForOnboarding", tag = "onboarding", responses((status = 200, body = MaskedKeys, description = "done")))]
pub(crate) async fn list_for_onboarding(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<MaskedKeys>, Problem> {
    masked(&app, &user).await
}

/// Checks a key and saves it.
#[utoipa::path(post, path = "/api/onboarding/api-keys", operation_id = "saveOnboardingKey", tag = "onboarding", request_body = SaveOnboardingKey, responses(
    (status = 200, body = KeySaved, description = "done"),
    (status = 422, description = "`invalid_key_format`, `key_rejected`")
))]
pub(crate) async fn save(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByKeys>,
    JsonBody(body): JsonBody<SaveOnboardingKey>,
) -> Result<Json<KeySaved>, Problem> {
    let provider = app.keyfold.provider(&body.provider)?;
    let key = parse_key(&provider, &body.api_key)?;
    let saved = app.keyfold.keys_to_change(&user).await?.save(&provider, key).await?;
    Ok(Json(KeySaved {
        message: format!("Your {} key was saved", provider.name),
        provider: provider.id.to_string(),
        status: saved.record.status.as_str(),
        warnings: saved.warnings.iter().map(ToString::to_string).collect(),
    }))
}

/// Asks every provider about the stored keys.
#[utoipa::path(get, path = "/api/onboarding/api-keys/validate", operation_id = "validateOnboardingKeys", tag = "onboarding", responses((status = 200, body = ValidationResults, description = "done")))]
pub(crate) async fn validate_all(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    Extension(caller): Extension<Caller>,
) -> Result<Json<ValidationResults>, Problem> {
    validated(&app, &user, &caller).await
}

/// Asks every provider about the stored keys.
#[utoipa::path(post, path = "/api/onboarding/api-keys/validate", operation_id = "postValidateOnboardingKeys", tag = "onboarding", responses((status = 200, body = ValidationResults, description = "done")))]
pub(crate) async fn validate_all_posted(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    Extension(caller): Extension<Caller>,
) -> Result<Json<ValidationResults>, Problem> {
    validated(&app, &user, &caller).await
}

async fn masked(app: &App, user: &AuthenticatedUser) -> Result<Json<MaskedKeys>, Problem> {
    let records = app.keyfold.keys_of(user).await?.list()?;
    let api_keys: BTreeMap<String, String> =
        records.into_iter().map(|record| (record.provider.to_string(), record.masked)).collect();
    Ok(Json(MaskedKeys {
        total_providers: api_keys.len(),
        configured_providers: api_keys.keys().cloned().collect(),
        api_keys,
    }))
}

/// Counts as many requests as there are keys.
async fn validated(
    app: &App,
    user: &AuthenticatedUser,
    caller: &Caller,
) -> Result<Json<ValidationResults>, Problem> {
    let keys = app.keyfold.keys_of(user).await?;
    let records = keys.list()?;
    let cost = u32::try_from(records.len()).unwrap_or(u32::MAX).max(1);
    count(app, caller, user, Class::Keys, cost).await?;
    let checks = records.into_iter().map(|record| {
        let keys = &keys;
        async move {
            let provider = app.keyfold.provider(record.provider.as_str())?;
            let result = match keys.validate(&provider).await {
                Ok(verdict) => {
                    let view = VerdictView::new(&verdict, &provider.name, &provider.setup_url);
                    ValidationResult { valid: view.valid(), status: view.status() }
                }
                Err(keyfold::Error::KeyUnreadable { .. }) => {
                    ValidationResult { valid: Some(false), status: "unreadable" }
                }
                Err(error) => return Err(Problem::from(error)),
            };
            Ok((record.provider.to_string(), result))
        }
    });
    let results = futures_util::future::try_join_all(checks).await?;
    let validation_results: BTreeMap<String, ValidationResult> = results.into_iter().collect();
    Ok(Json(ValidationResults {
        // Nobody could be asked about the others: they do not speak against it.
        all_valid: validation_results.values().all(|result| result.valid != Some(false)),
        total_providers: validation_results.len(),
        validation_results,
    }))
}

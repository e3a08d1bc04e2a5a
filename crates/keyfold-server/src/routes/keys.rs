//! A user's own keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use keyfold::Error;
use keyfold::auth::AuthenticatedUser;
use keyfold::provider::Provider;
use keyfold::secret::ApiKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key_view::{KeyView, SavedKeyView, VerdictView};
use crate::app::App;
use crate::current_user::{ByKeys, CountedUser, CurrentUser};
use crate::json_body::{JsonBody, OptionalJsonBody, PathPart, SecretText};
use crate::problem::Problem;

#[derive(Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
    /// Required providers without a key.
    missing: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct SaveKey {
    /// The key; white space around it does not count.
    #[schema(value_type = String, format = Password)]
    key: SecretText,
}

#[derive(Deserialize, Default, ToSchema)]
pub(crate) struct ValidateKey {
    /// A key that is not saved; without it the stored one is checked.
    #[schema(value_type = Option<String>, format = Password)]
    key: Option<SecretText>,
}

/// The user's keys, masked.
#[utoipa::path(get, path = "/api/keys", operation_id = "listKeys", tag = "keys", responses((status = 200, body = KeyList, description = "done")))]
pub(crate) async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<KeyList>, Problem> {
    let keys = app.keyfold.keys_of(&user).await?;
    let missing = app.keyfold.onboarding(&user).await?.missing_keys(&keys)?;
    Ok(Json(KeyList {
        keys: KeyView::of_all(&keys.list()?, &keys.with_previous().await?),
        missing: missing.iter().map(ToString::to_string).collect(),
    }))
}

/// Checks a key and saves it, over the old one if there is one.
#[utoipa::path(put, path = "/api/keys/{provider}", operation_id = "saveKey", tag = "keys", request_body = SaveKey, params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 200, body = SavedKeyView, description = "replaced"),
    (status = 201, body = SavedKeyView, description = "new"),
    (status = 409, description = "`conflict`"),
    (status = 422, description = "`invalid_key_format`, `key_rejected`")
))]
pub(crate) async fn save(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByKeys>,
    PathPart(provider): PathPart<String>,
    JsonBody(body): JsonBody<SaveKey>,
) -> Result<(StatusCode, Json<SavedKeyView>), Problem> {
    let provider = app.keyfold.provider(&provider)?;
    let key = parse_key(&provider, &body.key)?;
    let saved = app.keyfold.keys_to_change(&user).await?.save(&provider, key).await?;
    let status = if saved.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(SavedKeyView::from(&saved))))
}

/// Removes all versions of a key.
#[utoipa::path(delete, path = "/api/keys/{provider}", operation_id = "removeKey", tag = "keys", params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 204, description = "removed"),
    (status = 404, description = "`no_api_key`, `unknown_provider`")
))]
pub(crate) async fn remove(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    PathPart(provider): PathPart<String>,
) -> Result<StatusCode, Problem> {
    let provider = app.keyfold.provider(&provider)?;
    app.keyfold.keys_to_change(&user).await?.remove(&provider).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks the provider about the stored key, or about one that is not saved.
#[utoipa::path(post, path = "/api/keys/{provider}/validate", operation_id = "validateKey", tag = "keys", request_body = Option<ValidateKey>, params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 200, body = VerdictView, description = "done"),
    (status = 404, description = "`no_api_key`, `unknown_provider`")
))]
pub(crate) async fn validate(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByKeys>,
    PathPart(provider): PathPart<String>,
    OptionalJsonBody(body): OptionalJsonBody<ValidateKey>,
) -> Result<Json<VerdictView>, Problem> {
    let provider = app.keyfold.provider(&provider)?;
    Ok(Json(ask(&app, &user, &provider, body.key).await?))
}

/// Goes back to the version before the current one, while it is kept (24 hours).
#[utoipa::path(post, path = "/api/keys/{provider}/rollback", operation_id = "rollBackKey", tag = "keys", params(("provider" = String, Path, description = "the provider's id")), responses(
    (status = 200, body = KeyView, description = "done"),
    (status = 404, description = "`no_previous_version`, `unknown_provider`")
))]
pub(crate) async fn roll_back(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByKeys>,
    PathPart(provider): PathPart<String>,
) -> Result<Json<KeyView>, Problem> {
    let provider = app.keyfold.provider(&provider)?;
    let record = app.keyfold.keys_to_change(&user).await?.roll_back(&provider).await?;
    // What was current a moment ago is kept in its place.
    Ok(Json(KeyView::new(&record, true)))
}

/// What the provider says of the given key, or of the stored one if none is given.
pub(crate) async fn ask(
    app: &App,
    user: &AuthenticatedUser,
    provider: &Arc<Provider>,
    given: Option<SecretText>,
) -> Result<VerdictView, Problem> {
    let keys = app.keyfold.keys_of(user).await?;
    let verdict = match given {
        None => keys.validate(provider).await?,
        Some(text) => keys.check_unsaved(provider, parse_key(provider, &text)?).await?,
    };
    Ok(VerdictView::new(&verdict, &provider.name, &provider.setup_url))
}

/// The text as a key of this provider.
pub(crate) fn parse_key(provider: &Arc<Provider>, text: &SecretText) -> Result<ApiKey, Problem> {
    ApiKey::parse(&text.0).map_err(|why| {
        let error = Error::InvalidKeyFormat {
            provider: provider.id.clone(),
            name: provider.name.clone(),
            why: why.to_string(),
        };
        error.into()
    })
}

//! The registry, as a page needs it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::CurrentUser;
use crate::problem::Problem;

#[derive(Serialize, ToSchema)]
pub(crate) struct ProviderList {
    providers: Vec<ProviderView>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ProviderView {
    id: String,
    name: String,
    /// What it does for the user, in a sentence.
    description: String,
    /// Where a key is made.
    setup_url: String,
    /// Follows "a key …".
    format_hint: String,
    /// Whether onboarding needs it.
    required: bool,
    /// The variable in the backend `.env`.
    variable: String,
    /// Whether it generates text here.
    generates: bool,
    /// The model that generation uses unless another one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_model: Option<String>,
    /// Whether a key can be checked without cost.
    checkable: bool,
}

/// All providers.
#[utoipa::path(get, path = "/api/providers", operation_id = "listProviders", tag = "keys", responses((status = 200, body = ProviderList, description = "done")))]
pub(crate) async fn list(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<ProviderList>, Problem> {
    // The same for everybody, but not for the suspended.
    app.keyfold.onboarding(&user).await?;
    let preset = app.keyfold.preset();
    let providers = app.keyfold.registry().iter().map(|provider| ProviderView {
        id: provider.id.to_string(),
        name: provider.name.clone(),
        description: provider.description.clone(),
        setup_url: provider.setup_url.clone(),
        format_hint: provider.format_hint.clone(),
        required: preset.requires(&provider.id),
        variable: provider.variable.clone(),
        generates: provider.generate.is_some(),
        default_model: provider.generate.as_ref().map(|generate| generate.model.clone()),
        checkable: provider.check.is_some(),
    });
    Ok(Json(ProviderList { providers: providers.collect() }))
}

//! The registry, as a page needs it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use keyfold::gateway;
use keyfold::provider::key_shape::{RefusedShape, Shape};
use keyfold::provider::{KeyPlacement, Provider, research};
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
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the answer")]
pub(crate) struct ProviderView {
    id: String,
    name: String,
    /// What it does for the user, in a sentence.
    description: String,
    /// Where a key is made.
    setup_url: String,
    /// How a key is made, step by step.
    setup_instructions: Vec<String>,
    /// Follows "a key …".
    format_hint: String,
    /// Forms of its keys that are known. A key of another form may be right all the same.
    shapes: Vec<KeyShape>,
    /// Forms that are refused.
    refused: Vec<RefusedKeyShape>,
    /// Whether onboarding needs it.
    required: bool,
    /// The variable in the backend `.env`.
    variable: String,
    /// Further variables that its own libraries read.
    also_exported_as: Vec<String>,
    /// The variable in the frontend `.env`, for a key that browsers use.
    #[serde(skip_serializing_if = "Option::is_none")]
    frontend_variable: Option<String>,
    /// Where client libraries put the key, and on the gateway the caller's credential.
    key_header: KeyHeader,
    /// Where its own API begins on the gateway.
    gateway_path: String,
    /// Whether it generates text here.
    generates: bool,
    /// The form of that: `gemini`, `openai`, `openai_responses` or `anthropic`
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_api: Option<&'static str>,
    /// The endpoint of that (Gemini: of the models) on the gateway, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_path: Option<String>,
    /// The model that generation uses unless another one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_model: Option<String>,
    /// Whether research uses it.
    researches: bool,
    /// Whether a key can be checked without cost.
    checkable: bool,
}

/// The form of a key: a prefix, then so many characters of a kind.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyShape {
    /// How it begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    prefix: String,
    /// The kind of all characters after the prefix: `word` (letters, digits, - and _), `alphanumeric`, `hex`, `uuid` or
    /// `any`
    characters: &'static str,
    /// How many come after the prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    exactly: Option<usize>,
    /// How many come after the prefix at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<usize>,
    /// Whether no other provider's keys look like this.
    only_here: bool,
}

/// The beginning of a key that is refused.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefusedKeyShape {
    prefix: String,
    /// Says what to use instead.
    why: String,
}

/// A header with a key: the name, then the prefix and the key as its value.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyHeader {
    name: String,
    /// `Bearer ` with a space, or nothing.
    prefix: &'static str,
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
    let view = |provider: &Arc<Provider>| ProviderView::new(provider, preset.requires(&provider.id));
    Ok(Json(ProviderList { providers: app.keyfold.registry().iter().map(view).collect() }))
}

impl ProviderView {
    fn new(provider: &Provider, required: bool) -> Self {
        let gateway_path = format!("{}{}", gateway::PREFIX, provider.id);
        let generate = provider.generate.as_ref();
        Self {
            id: provider.id.to_string(),
            name: provider.name.clone(),
            description: provider.description.clone(),
            setup_url: provider.setup_url.clone(),
            setup_instructions: provider.setup_instructions.clone(),
            format_hint: provider.format_hint.clone(),
            shapes: provider.shapes.iter().map(KeyShape::from).collect(),
            refused: provider.refused.iter().map(RefusedKeyShape::from).collect(),
            required,
            variable: provider.variable.clone(),
            also_exported_as: provider.also_exported_as.clone(),
            frontend_variable: provider.frontend_variable.clone(),
            key_header: (&provider.key_placement).into(),
            generates: generate.is_some(),
            generate_api: generate.map(|generate| generate.api.as_str()),
            generate_path: generate
                .filter(|generate| generate.address == provider.address)
                .map(|generate| format!("{gateway_path}{}", generate.path)),
            default_model: generate.map(|generate| generate.model.clone()),
            gateway_path,
            researches: provider.id.as_str() == research::PROVIDER,
            checkable: provider.check.is_some(),
        }
    }
}

impl From<&Shape> for KeyShape {
    fn from(shape: &Shape) -> Self {
        Self {
            prefix: shape.prefix.clone(),
            characters: shape.characters.as_str(),
            exactly: shape.exactly,
            at_least: shape.at_least,
            only_here: shape.only_here,
        }
    }
}

impl From<&RefusedShape> for RefusedKeyShape {
    fn from(refused: &RefusedShape) -> Self {
        Self { prefix: refused.prefix.clone(), why: refused.why.clone() }
    }
}

impl From<&KeyPlacement> for KeyHeader {
    fn from(placement: &KeyPlacement) -> Self {
        let prefix = match placement {
            KeyPlacement::Bearer => "Bearer ",
            KeyPlacement::Header(_) => "",
        };
        Self { name: placement.header_name().into(), prefix }
    }
}

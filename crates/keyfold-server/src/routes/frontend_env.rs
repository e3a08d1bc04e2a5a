//! The frontend `.env` of local mode, as ALwrity's front end writes it.

use axum::Json;
use axum::extract::State;
use keyfold::mode::Mode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::CurrentUser;
use crate::json_body::{JsonBody, SecretText};
use crate::problem::Problem;

#[derive(Deserialize, ToSchema)]
pub(crate) struct FrontendVariable {
    /// One of the registry's frontend variables, such as `REACT_APP_COPILOTKIT_API_KEY`.
    key: String,
    #[schema(value_type = String)]
    value: SecretText,
    #[expect(dead_code, reason = "ALwrity's front end sends it")]
    description: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Written {
    success: bool,
    message: String,
    key: String,
}

/// Writes a variable that front ends need (local mode only).
#[utoipa::path(post, path = "/api/frontend-env/update", operation_id = "updateFrontendEnv", tag = "onboarding", request_body = FrontendVariable, responses(
    (status = 200, body = Written, description = "done"),
    (status = 404, description = "production, or there is no front end here"),
    (status = 422, description = "no variable of a front end")
))]
pub(crate) async fn update(
    State(app): State<App>,
    _: CurrentUser,
    JsonBody(body): JsonBody<FrontendVariable>,
) -> Result<Json<Written>, Problem> {
    if app.keyfold.mode() == Mode::Production {
        return Err(Problem::new("not_found", "There is no frontend .env in production."));
    }
    app.keyfold.set_frontend_variable(&body.key, &body.value.0).await?;
    Ok(Json(Written {
        success: true,
        message: format!("{} was written to the frontend .env", body.key),
        key: body.key,
    }))
}

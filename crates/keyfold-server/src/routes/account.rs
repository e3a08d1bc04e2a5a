//! The user's own account.

use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::current_user::CurrentUser;
use crate::problem::Problem;

/// Deletes everything that is kept for the user: all keys, their versions, the data key, onboarding.
///
/// Tokens that were issued before are refused from then on; a fresh sign-in starts anew.
#[utoipa::path(delete, path = "/api/me", operation_id = "deleteAccount", tag = "account", responses(
    (status = 204, description = "deleted"),
    (status = 410, description = "`user_deleted`: the token is from before an earlier deletion")
))]
pub(crate) async fn remove(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<StatusCode, Problem> {
    app.keyfold.account(&user).delete().await?;
    Ok(StatusCode::NO_CONTENT)
}

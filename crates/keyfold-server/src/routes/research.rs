//! Web search with the caller's own Exa key.

use axum::Json;
use axum::extract::State;
use keyfold::provider::research::MOST_RESULTS;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::current_user::{ByGenerate, CountedUser};
use crate::json_body::JsonBody;
use crate::problem::Problem;

#[derive(Deserialize, ToSchema)]
pub(crate) struct ResearchRequest {
    query: String,
    /// 1 to 100; Exa's own default without it.
    num_results: Option<u32>,
}

/// Searches the web; the answer is Exa's own.
#[utoipa::path(post, path = "/api/research", operation_id = "research", tag = "use", request_body = ResearchRequest, responses(
    (status = 200, body = Value, description = "Exa's answer: `results` with `title`, `url`, …"),
    (status = 404, description = "`no_api_key`"),
    (status = 424, description = "`key_rejected`")
))]
pub(crate) async fn research(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByGenerate>,
    JsonBody(body): JsonBody<ResearchRequest>,
) -> Result<Json<Value>, Problem> {
    if body.query.trim().is_empty() {
        return Err(Problem::invalid_request("query", "is empty; write what to look for"));
    }
    if body.num_results.is_some_and(|count| !(1..=MOST_RESULTS).contains(&count)) {
        return Err(Problem::invalid_request("num_results", format!("must be 1 to {MOST_RESULTS}")));
    }
    Ok(Json(app.keyfold.research(&user, &body.query, body.num_results).await?))
}

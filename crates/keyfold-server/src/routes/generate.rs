//! Text from a provider with the caller's own key, whole or as server-sent events.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue};
use keyfold::calls::DEFAULT_PROVIDER;
use keyfold::limit::StreamPlace;
use keyfold::provider::generate::{Part, Prompt, Usage};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::caller::{Caller, RequestId};
use crate::current_user::{ByGenerate, CountedUser};
use crate::json_body::JsonBody;
use crate::problem::Problem;
use crate::rate_limit::open_stream;

#[derive(Deserialize, ToSchema)]
pub(crate) struct GenerateRequest {
    prompt: String,
    /// `gemini` unless another one is named.
    provider: Option<String>,
    /// The provider's default unless another one is named.
    model: Option<String>,
    /// Instructions for the model.
    system: Option<String>,
    /// The most tokens that the answer may have.
    max_tokens: Option<u32>,
    /// Answer with server-sent events: `delta` with `text`, `done` with `usage`, `error` with a problem.
    #[serde(default)]
    stream: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct GenerateResponse {
    text: String,
    provider: String,
    model: String,
    usage: UsageView,
}

/// null where the provider did not say.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageView {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Generates a text.
#[utoipa::path(post, path = "/api/generate", operation_id = "generate", tag = "use", request_body = GenerateRequest, responses(
    (status = 200, description = "done; with `stream`, server-sent events", content((GenerateResponse = "application/json"), (String = "text/event-stream"))),
    (status = 404, description = "`no_api_key`, `unknown_provider`"),
    (status = 424, description = "`key_rejected`"),
    (status = 502, description = "`provider_error`, `provider_unreachable`"),
    (status = 504, description = "`provider_timeout`")
))]
pub(crate) async fn generate(
    State(app): State<App>,
    CountedUser(user, ..): CountedUser<ByGenerate>,
    Extension(caller): Extension<Caller>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(body): JsonBody<GenerateRequest>,
) -> Result<Response, Problem> {
    if body.prompt.trim().is_empty() {
        return Err(Problem::invalid_request("prompt", "is empty; write what the model should answer"));
    }
    if body.max_tokens == Some(0) {
        return Err(Problem::invalid_request("max_tokens", "must be 1 or more"));
    }
    let provider = body.provider.unwrap_or_else(|| DEFAULT_PROVIDER.into());
    let prompt =
        Prompt { text: body.prompt, system: body.system, model: body.model, max_tokens: body.max_tokens };
    if body.stream {
        let place = open_stream(&app, &caller, &user)?;
        let parts = app.keyfold.generate_streamed(&user, &provider, &prompt).await?;
        return Ok(events(parts, place, provider, request_id.0));
    }
    let answer = app.keyfold.generate(&user, &provider, &prompt).await?;
    let answer = GenerateResponse {
        text: answer.text,
        provider,
        model: answer.model,
        usage: UsageView::from(answer.usage),
    };
    Ok(Json(answer).into_response())
}

fn events(
    parts: impl Stream<Item = Result<Part, keyfold::Error>> + Send + 'static,
    place: StreamPlace,
    provider: String,
    request_id: std::sync::Arc<str>,
) -> Response {
    let events = parts.map(move |part| {
        // Given back with the stream, however that ends.
        let _place = &place;
        let (name, data) = match part {
            Ok(Part::Text(text)) => ("delta", json!({ "text": text })),
            Ok(Part::Done { model, usage }) => {
                ("done", json!({ "usage": UsageView::from(usage), "provider": provider, "model": model }))
            }
            Err(error) => {
                let problem = Problem::from(error);
                tracing::warn!(
                    request_id = &*request_id,
                    code = problem.code(),
                    cause = problem.cause(),
                    "a streamed answer failed"
                );
                ("error", problem.body(&request_id).into())
            }
        };
        Ok::<_, Infallible>(Event::default().event(name).data(data.to_string()))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // As everything else; the usual `no-cache` of streams would let it be kept.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Asks proxies in front (nginx) to pass each event on at once.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        Self { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }
    }
}

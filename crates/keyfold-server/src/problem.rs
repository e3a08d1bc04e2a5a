//! Errors as clients see them: `application/problem+json` (RFC 9457). The only place that knows status codes.

use std::borrow::Cow;
use std::fmt::Display;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use keyfold::Error;
use keyfold::auth::TokenRefusal;
use keyfold::gateway::ON_EVERY_ANSWER;
use keyfold::provider::ErrorShape;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::error_shape;

/// Every word that a client can find in `code`, with its usual status and title.
pub const CODES: &[(&str, StatusCode, &str)] = &[
    ("audit_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Audit unavailable"),
    ("cannot_start", StatusCode::INTERNAL_SERVER_ERROR, "Keyfold cannot start"),
    ("conflict", StatusCode::CONFLICT, "Changed at the same time"),
    ("database_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Database unavailable"),
    ("env_file_error", StatusCode::INTERNAL_SERVER_ERROR, "The .env file cannot be used"),
    ("forbidden", StatusCode::FORBIDDEN, "Not allowed"),
    ("headers_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large"),
    ("internal_error", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
    ("invalid_key_format", StatusCode::UNPROCESSABLE_ENTITY, "Not a key of this provider"),
    ("invalid_request", StatusCode::UNPROCESSABLE_ENTITY, "Invalid request"),
    ("invalid_settings", StatusCode::INTERNAL_SERVER_ERROR, "Invalid settings"),
    ("issuer_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Token issuer unavailable"),
    ("key_rejected", StatusCode::UNPROCESSABLE_ENTITY, "Key rejected"),
    ("key_unreadable", StatusCode::INTERNAL_SERVER_ERROR, "Stored key unreadable"),
    ("master_key_unavailable", StatusCode::SERVICE_UNAVAILABLE, "Master key unavailable"),
    ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
    ("no_api_key", StatusCode::NOT_FOUND, "No API key"),
    ("no_previous_version", StatusCode::NOT_FOUND, "No previous version"),
    ("not_found", StatusCode::NOT_FOUND, "Not found"),
    ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
    ("provider_error", StatusCode::BAD_GATEWAY, "The provider answered with an error"),
    ("provider_timeout", StatusCode::GATEWAY_TIMEOUT, "The provider took too long"),
    ("provider_unreachable", StatusCode::BAD_GATEWAY, "The provider cannot be reached"),
    ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    ("state_directory_error", StatusCode::INTERNAL_SERVER_ERROR, "The state directory cannot be used"),
    ("unauthenticated", StatusCode::UNAUTHORIZED, "Not signed in"),
    ("unknown_provider", StatusCode::NOT_FOUND, "Unknown provider"),
    ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
    ("user_deleted", StatusCode::GONE, "Deleted"),
    ("user_suspended", StatusCode::FORBIDDEN, "Suspended"),
];

/// On the gateway, an answer of Keyfold's own has its code there.
const KEYFOLD_ERROR: HeaderName = HeaderName::from_static("keyfold-error");
/// Seconds after which it is worth trying again when Keyfold's own parts are away.
const TRY_AGAIN_AFTER: &str = "2";

/// The body of every error, as the description of the API shows it.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ProblemBody {
    /// `urn:keyfold:problem:` and the code.
    r#type: String,
    /// The kind of error, in a few words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What happened and what to do about it.
    detail: String,
    /// A stable word for programs; some codes have fields of their own besides.
    code: String,
    /// The id of the request, also in `X-Request-Id`.
    request_id: String,
}

/// An error on its way to a client. Its body is written by the outermost middleware, which knows the request id.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    fields: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log; never sent.
    cause: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let known = CODES.iter().find(|(known, ..)| *known == code);
        let (status, title) = known
            .map_or((StatusCode::INTERNAL_SERVER_ERROR, "Internal error"), |(_, status, title)| {
                (*status, *title)
            });
        Self(Box::new(Parts {
            code,
            status,
            title,
            detail: detail.into().into_owned(),
            fields: Map::new(),
            headers: vec![],
            cause: None,
        }))
    }

    pub(crate) fn invalid_request(field: &str, why: impl Into<String>) -> Self {
        let detail = format!("`{field}` {}.", why.into().trim_end_matches('.'));
        Self::new("invalid_request", detail).with_field("field", field)
    }

    /// For a request that is not even readable.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("invalid_request", detail).with_status(StatusCode::BAD_REQUEST).with_field("field", "body")
    }

    /// For a request that is no HTTP, or more of it than is read at all.
    pub(crate) fn unreadable(status: StatusCode) -> Self {
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => Self::new(
                "headers_too_large",
                "The request's address or headers are too large to be read: at most 16 KiB of address, 100 headers and 32 KiB of headers are taken.",
            )
            .with_status(status),
            StatusCode::BAD_REQUEST => Self::new(
                "invalid_request",
                "The request cannot be read as HTTP/1.1: its first line, a header or its length is malformed.",
            )
            .with_status(status)
            .with_field("field", "headers"),
            _ => Self::internal("a request that cannot be read").with_status(status),
        }
    }

    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Error::Internal(cause.into()).into()
    }

    pub(crate) fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("unauthenticated", detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keyfold\""))
    }

    /// For a token that does not count, with the words that RFC 6750, section 3, has for it.
    pub(crate) fn invalid_token(refusal: impl Display) -> Self {
        let detail = refusal.to_string();
        let challenge =
            format!("Bearer realm=\"keyfold\", error=\"invalid_token\", error_description=\"{detail}\"");
        match HeaderValue::from_str(&challenge) {
            Ok(challenge) => Self::new("unauthenticated", detail).with_header(WWW_AUTHENTICATE, challenge),
            Err(_) => Self::unauthenticated(detail),
        }
    }

    /// For a token that may be good, while it cannot be checked.
    pub(crate) fn issuer_unavailable(refusal: TokenRefusal) -> Self {
        Self::new("issuer_unavailable", refusal.to_string())
            .with_header(RETRY_AFTER, HeaderValue::from_static(TRY_AGAIN_AFTER))
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    pub(crate) fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.fields.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The body, with the id of the request that it answers.
    pub(crate) fn body(&self, request_id: &str) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("type".into(), json!(format!("urn:keyfold:problem:{}", self.0.code)));
        body.insert("title".into(), json!(self.0.title));
        body.insert("status".into(), json!(self.0.status.as_u16()));
        body.insert("detail".into(), json!(self.0.detail));
        body.insert("code".into(), json!(self.0.code));
        body.insert("request_id".into(), json!(request_id));
        for (name, value) in &self.0.fields {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
        body
    }

    /// The whole response.
    pub(crate) fn respond(&self, request_id: &str) -> Response {
        self.with_body(Value::Object(self.body(request_id)))
    }

    /// The whole response on the gateway, where client libraries read it, and need to tell it from a provider's.
    pub(crate) fn respond_on_gateway(&self, request_id: &str, shape: ErrorShape) -> Response {
        let mut response = self.with_body(error_shape::body(shape, self.0.status, self.body(request_id)));
        let headers = response.headers_mut();
        headers.insert(KEYFOLD_ERROR, HeaderValue::from_static(self.0.code));
        for (name, value) in ON_EVERY_ANSWER {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    fn with_body(&self, body: Value) -> Response {
        let mut response = (self.0.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in &self.0.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// Leaves the body to the outermost middleware.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::new(error.code(), error.to_string());
        let mut problem = match &error {
            Error::NoApiKey { provider, .. }
            | Error::NoPreviousVersion { provider }
            | Error::InvalidKeyFormat { provider, .. }
            | Error::KeyRejectedOnSaving { provider, .. }
            | Error::ProviderUnreachable { provider, .. }
            | Error::ProviderTimeout { provider, .. }
            | Error::Conflict { provider }
            | Error::KeyUnreadable { provider, .. } => problem.with_field("provider", provider.as_str()),
            Error::KeyRejectedInUse { provider, .. } => {
                problem.with_field("provider", provider.as_str()).with_status(StatusCode::FAILED_DEPENDENCY)
            }
            Error::Provider { provider, status, retry_after, .. } => {
                let mut problem = problem.with_field("provider", provider.as_str());
                if let Some(status) = status {
                    problem = problem.with_field("provider_status", *status);
                    // What only the user can do something about keeps its status.
                    if let Ok(kept @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED)) =
                        StatusCode::from_u16(*status)
                    {
                        problem = problem.with_status(kept);
                    }
                }
                match retry_after.as_deref().and_then(|after| HeaderValue::from_str(after).ok()) {
                    Some(after) => problem.with_header(RETRY_AFTER, after),
                    None => problem,
                }
            }
            Error::ProviderAway { provider, retry_after, .. } => problem
                .with_field("provider", provider.as_str())
                .with_field("retry_after", retry_after.as_secs())
                .with_header(RETRY_AFTER, HeaderValue::from(retry_after.as_secs())),
            Error::RateLimited { retry_after, .. } => problem
                .with_field("retry_after", retry_after.as_secs())
                .with_header(RETRY_AFTER, HeaderValue::from(retry_after.as_secs())),
            Error::UnknownProvider { known } => {
                let known: Vec<&str> = known.iter().map(keyfold::provider::ProviderId::as_str).collect();
                problem.with_field("known_providers", known)
            }
            Error::InvalidRequest { field, why } => Self::invalid_request(field, why),
            _ => problem,
        };
        if problem.0.status == StatusCode::SERVICE_UNAVAILABLE {
            problem = problem.with_header(RETRY_AFTER, HeaderValue::from_static(TRY_AGAIN_AFTER));
        }
        problem.0.cause = Some(error.cause());
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_field_cannot_hide_a_standard_member() {
        let problem = Problem::new("conflict", "detail").with_field("status", 200).with_field("extra", 1);
        let body = problem.body("id");
        assert_eq!(body["status"], 409);
        assert_eq!(body["extra"], 1);
    }
}

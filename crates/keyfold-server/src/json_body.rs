//! Request bodies and path parameters, with refusals in the user's words. What the caller sent is never quoted
//! back: it may hold a key.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::app::App;
use crate::problem::Problem;

/// The largest request body outside the gateway, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
/// Room for a body whose length is not told, in bytes.
const USUAL_BODY: usize = 16 * 1024;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that may be left out.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

/// A body as it came, byte by byte.
pub(crate) struct RawBody(pub(crate) Zeroizing<Vec<u8>>);

/// A path parameter.
pub(crate) struct PathPart<T>(pub(crate) T);

/// A text that may be a key: not shown, wiped on drop.
pub(crate) struct SecretText(pub(crate) Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(unsupported());
        }
        let bytes = read(&parts.headers, body, app).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, app).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json(&parts.headers) {
            return Err(unsupported());
        }
        parse(&bytes).map(Self)
    }
}

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read(&parts.headers, body, app).await.map(Self)
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for PathPart<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::new("not_found", "There is nothing at this address.")),
        }
    }
}

async fn read(headers: &HeaderMap, mut body: Body, app: &App) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) {
        return Err(too_large());
    }
    // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.unwrap_or(USUAL_BODY)));
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::malformed("The request's body broke off. Send it again."))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > BODY_LIMIT {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    tokio::time::timeout(app.body_timeout, reading)
        .await
        .map_err(|_| Problem::malformed("The request's body did not arrive in time. Send it again."))??;
    Ok(bytes)
}

fn too_large() -> Problem {
    Problem::new("payload_too_large", "The request's body is larger than 1 MiB. Send less.")
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn unsupported() -> Problem {
    Problem::new(
        "unsupported_media_type",
        "Send the body as JSON, with the header `Content-Type: application/json`.",
    )
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would take a list for a structure, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let syntax = serde_json::from_slice::<IgnoredAny>(bytes);
        return Err(syntax.map_or_else(
            |error| explain(&error, "."),
            |_| Problem::invalid_request("body", "must be a JSON object"),
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    let value = parsed.map_err(|error| {
        let path = error.path().to_string();
        explain(error.inner(), &path)
    })?;
    deserializer.end().map_err(|error| explain(&error, "."))?;
    Ok(value)
}

fn explain(error: &serde_json::Error, path: &str) -> Problem {
    if error.classify() != Category::Data {
        return Problem::malformed(format!(
            "The body is not JSON (line {}, column {}). Correct it and send it again.",
            error.line(),
            error.column()
        ));
    }
    // serde names a field of ours in backticks here; everything else may quote what was sent.
    let text = error.to_string();
    let named = |beginning| text.strip_prefix(beginning).and_then(|rest| rest.split('`').next());
    if let Some(field) = named("missing field `") {
        Problem::invalid_request(field, "is missing")
    } else if let Some(field) = named("duplicate field `") {
        Problem::invalid_request(field, "is there twice; send it once")
    } else {
        Problem::invalid_request(path, "has a value of the wrong kind")
    }
}

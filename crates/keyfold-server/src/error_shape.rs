//! Keyfold's own errors on the gateway, as each provider's client libraries expect an error to look: they show its
//! words and raise the exception that their users catch. The members of every other error stay beside that.

use http::StatusCode;
use keyfold::provider::ErrorShape;
use serde_json::{Map, Value, json};

/// The body of an error, made of a problem's members.
pub(crate) fn body(shape: ErrorShape, status: StatusCode, problem: Map<String, Value>) -> Value {
    let words = problem.get("detail").cloned().unwrap_or_default();
    let code = problem.get("code").cloned().unwrap_or_default();
    let mut body = problem;
    match shape {
        ErrorShape::Anthropic => {
            let error = json!({"type": anthropic_type(status), "message": words});
            body.insert("type".into(), json!("error"));
            body.insert("error".into(), error);
        }
        ErrorShape::Detail => {
            body.insert("detail".into(), json!({"error": words, "message": words, "status": code}));
        }
        ErrorShape::Error => {
            body.insert("error".into(), words);
        }
        ErrorShape::Google => {
            let error = google_error(status, &words, &code, body.get("retry_after"));
            body.insert("error".into(), error);
        }
        // Some of these speak OpenAI's language too, at another path.
        ErrorShape::Message => {
            let error = openai_error(status, &words, &code, body.get("field"));
            body.insert("message".into(), words);
            body.insert("error".into(), error);
        }
        ErrorShape::Openai => {
            let error = openai_error(status, &words, &code, body.get("field"));
            body.insert("error".into(), error);
        }
    }
    Value::Object(body)
}

fn openai_error(status: StatusCode, words: &Value, code: &Value, field: Option<&Value>) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({"message": words, "type": kind, "param": field, "code": code})
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn google_error(status: StatusCode, words: &Value, code: &Value, retry_after: Option<&Value>) -> Value {
    let canonical = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 | 410 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let reason = code.as_str().map(str::to_uppercase);
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "keyfold",
    })];
    if let Some(seconds) = retry_after.and_then(Value::as_u64) {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
        }));
    }
    json!({"code": status.as_u16(), "message": words, "status": canonical, "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "There is no key for Acme. Save one in the settings.";
    const SHAPES: [ErrorShape; 6] = [
        ErrorShape::Anthropic,
        ErrorShape::Detail,
        ErrorShape::Error,
        ErrorShape::Google,
        ErrorShape::Message,
        ErrorShape::Openai,
    ];

    fn problem() -> Map<String, Value> {
        let problem = json!({
            "type": "urn:keyfold:problem:no_api_key", "title": "No API key", "status": 404, "detail": WORDS,
            "code": "no_api_key", "request_id": "r1", "provider": "acme",
        });
        problem.as_object().cloned().unwrap()
    }

    fn shaped(shape: ErrorShape, status: u16) -> Value {
        body(shape, StatusCode::from_u16(status).unwrap(), problem())
    }

    #[test]
    fn the_members_of_a_problem_stay_but_for_the_one_whose_place_the_provider_needs() {
        for shape in SHAPES {
            let shaped = shaped(shape, 404);
            for (name, value) in problem() {
                let taken = match shape {
                    ErrorShape::Anthropic => name == "type",
                    ErrorShape::Detail => name == "detail",
                    _ => false,
                };
                assert_eq!(shaped[&name] == value, !taken, "{shape:?} {name}: {shaped}");
            }
        }
    }

    #[test]
    fn the_words_stand_where_the_client_libraries_look_for_them() {
        for (shape, pointer) in SHAPES.into_iter().zip([
            "/error/message",
            "/detail/error",
            "/error",
            "/error/message",
            "/message",
            "/error/message",
        ]) {
            assert_eq!(shaped(shape, 404).pointer(pointer), Some(&json!(WORDS)), "{shape:?}");
        }
        assert_eq!(shaped(ErrorShape::Message, 404)["error"], shaped(ErrorShape::Openai, 404)["error"]);
    }

    #[test]
    fn a_status_has_each_provider_s_own_word() {
        let words = |status| {
            let of = |shape, pointer| shaped(shape, status).pointer(pointer).cloned().unwrap();
            [
                of(ErrorShape::Openai, "/error/type"),
                of(ErrorShape::Anthropic, "/error/type"),
                of(ErrorShape::Google, "/error/status"),
            ]
        };
        let table = [
            (400, ["invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"]),
            (401, ["authentication_error", "authentication_error", "UNAUTHENTICATED"]),
            (403, ["permission_error", "permission_error", "PERMISSION_DENIED"]),
            (404, ["invalid_request_error", "not_found_error", "NOT_FOUND"]),
            (410, ["invalid_request_error", "invalid_request_error", "NOT_FOUND"]),
            (413, ["invalid_request_error", "request_too_large", "INVALID_ARGUMENT"]),
            (429, ["rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"]),
            (500, ["server_error", "api_error", "INTERNAL"]),
            (502, ["server_error", "api_error", "UNAVAILABLE"]),
            (503, ["server_error", "api_error", "UNAVAILABLE"]),
            (504, ["server_error", "timeout_error", "DEADLINE_EXCEEDED"]),
        ];
        for (status, expected) in table {
            assert_eq!(words(status), expected, "{status}");
        }
    }

    #[test]
    fn fields_of_the_problem_go_to_the_provider_s_own_places() {
        let mut limited = problem();
        limited.insert("retry_after".into(), json!(7));
        let shaped = body(ErrorShape::Google, StatusCode::TOO_MANY_REQUESTS, limited);
        assert_eq!(shaped["error"]["details"][0]["reason"], "NO_API_KEY");
        assert_eq!(shaped["error"]["details"][1]["retryDelay"], "7s");

        let mut invalid = problem();
        invalid.insert("field".into(), json!("Keyfold-User"));
        let shaped = body(ErrorShape::Openai, StatusCode::BAD_REQUEST, invalid);
        assert_eq!(shaped["error"]["param"], "Keyfold-User");
        assert_eq!(self::shaped(ErrorShape::Openai, 404)["error"]["param"], Value::Null);
    }
}

//! Each provider's own way to say no.

use serde_json::{Value, json};

use crate::key::Standing;
use crate::provider::{Provider, is_openai_compatible};
use crate::reply::{Call, HTML, JSON, Payload, Reply, query_value};
use crate::wish::Wish;

/// Why a request is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Invalid,
    Denied,
    Quota,
    NoCredit,
    Broken,
}

/// The refusal of a request because of its key, if its key is one to refuse.
pub(crate) fn because_of_key(call: &Call<'_>) -> Option<Reply> {
    if call.provider == Provider::Gemini
        && let Some(reply) = gemini_credentials(call)
    {
        return Some(reply);
    }
    if call.key.is_empty() {
        return Some(refuse(call, Refusal::Missing));
    }
    let standing = match (crate::key::standing(call.provider, call.key), call.wish) {
        (Standing::Live, Some(Wish::Refusal(wished))) => wished,
        (standing, _) => standing,
    };
    let refusal = match standing {
        Standing::Live => return xai_shut(call),
        Standing::Nonsense => return Some(nonsense()),
        Standing::Invalid => Refusal::Invalid,
        Standing::Denied => Refusal::Denied,
        Standing::Quota => Refusal::Quota,
        Standing::NoCredit => Refusal::NoCredit,
        Standing::Broken => Refusal::Broken,
    };
    Some(refuse(call, refusal))
}

/// A key that xAI has blocked or disabled can still ask about itself, and do nothing else.
fn xai_shut(call: &Call<'_>) -> Option<Reply> {
    let shut = call.provider == Provider::Xai
        && call.path != "/v1/api-key"
        && (call.key.contains("BLOCKED") || call.key.contains("DISABLED"));
    shut.then(|| {
        Reply::json(
            403,
            &json!({
                "code": "The caller does not have permission to execute the specified operation",
                "error": "The API key is currently blocked or disabled.",
            }),
        )
    })
}

/// A page where JSON was expected, as a proxy in between or a maintenance mode would send.
pub(crate) fn nonsense() -> Reply {
    Reply::raw(
        200,
        HTML,
        "<!DOCTYPE html>\n<html><head><title>Scheduled maintenance</title></head>\n\
         <body><h1>We'll be back soon</h1></body></html>\n",
    )
}

pub(crate) fn refuse(call: &Call<'_>, why: Refusal) -> Reply {
    let reply = refusal(call, why);
    if why == Refusal::Quota { reply.with("retry-after", "7") } else { reply }
}

/// Gemini takes exactly one credential, and a bearer token only as OAuth's, except where it imitates OpenAI.
fn gemini_credentials(call: &Call<'_>) -> Option<Reply> {
    let bearer = call.headers.get_all(http::header::AUTHORIZATION).iter().count();
    let own = call.headers.get_all("x-goog-api-key").iter().count();
    let query = usize::from(query_value(call.query, "key").is_some());
    if bearer + own + query > 1 {
        let message = "Multiple authentication credentials received. Please pass only one.";
        return Some(gemini_error(call, 400, "INVALID_ARGUMENT", message, None));
    }
    if bearer == 1 && !is_openai_compatible(call.path) {
        return Some(gemini_error(
            call,
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or \
             other valid authentication credential. See \
             https://developers.google.com/identity/sign-in/web/devconsole-project.",
            Some(json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                "metadata": {"service": "generativelanguage.googleapis.com", "method": gemini_method(call)},
            }])),
        ));
    }
    None
}

fn gemini_method(call: &Call<'_>) -> &'static str {
    match call.path.rsplit_once(':').map(|(_, verb)| verb) {
        Some("generateContent") => "google.ai.generativelanguage.v1beta.GenerativeService.GenerateContent",
        Some("streamGenerateContent") => {
            "google.ai.generativelanguage.v1beta.GenerativeService.StreamGenerateContent"
        }
        _ => "google.ai.generativelanguage.v1beta.ModelService.ListModels",
    }
}

/// Google's error, in the pretty-printed form it really has, and in a list where the answer would be one.
pub(crate) fn gemini_error(
    call: &Call<'_>,
    code: u16,
    status: &str,
    message: &str,
    details: Option<Value>,
) -> Reply {
    let mut error = json!({"code": code, "message": message, "status": status});
    if let Some(details) = details {
        error["details"] = details;
    }
    let listed = is_openai_compatible(call.path)
        || (call.path.ends_with(":streamGenerateContent") && query_value(call.query, "alt") != Some("sse"));
    let body = if listed { json!([{"error": error}]) } else { json!({"error": error}) };
    let text = serde_json::to_string_pretty(&body).expect("a value is always JSON") + "\n";
    Reply::raw(code, "application/json; charset=UTF-8", text)
}

/// OpenAI's error, which many others imitate.
pub(crate) fn openai_error(
    status: u16,
    message: &str,
    kind: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": param, "code": code}}))
}

pub(crate) fn anthropic_error(call: &Call<'_>, status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": call.request_id()}),
    )
}

/// The beginning and end of a key, as providers show it in their errors.
fn shown(key: &str, beginning: usize, stars: &str, end: usize) -> String {
    let all: Vec<char> = key.chars().collect();
    if all.len() < beginning + end {
        return stars.to_owned();
    }
    let mut text: String = all[..beginning].iter().collect();
    text.push_str(stars);
    text.extend(&all[all.len() - end..]);
    text
}

fn refusal(call: &Call<'_>, why: Refusal) -> Reply {
    match call.provider {
        Provider::Gemini => gemini(call, why),
        Provider::Exa => exa(call, why),
        Provider::CopilotKit => copilotkit(why),
        Provider::OpenAi => openai(call, why),
        Provider::Anthropic => anthropic(call, why),
        Provider::Mistral => mistral(why),
        Provider::Groq => groq(why),
        Provider::DeepSeek => deepseek(call, why),
        Provider::Xai => xai(call, why),
        Provider::Cohere => cohere(call, why),
        Provider::Tavily => tavily(why),
        Provider::Serper => serper(why),
        Provider::Firecrawl => firecrawl(why),
        Provider::Perplexity => perplexity(why),
        Provider::OpenRouter => openrouter(why),
        Provider::Together => together(why),
        Provider::Stability => stability(call, why),
        Provider::ElevenLabs => elevenlabs(call, why),
        Provider::HuggingFace => huggingface(why),
    }
}

fn gemini(call: &Call<'_>, why: Refusal) -> Reply {
    const INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
    match why {
        Refusal::Missing => gemini_error(
            call,
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers (callers without established identity). Please use API \
             Key or other form of API consumer identity to call this API.",
            None,
        ),
        Refusal::Invalid => {
            let message = "API key not valid. Please pass a valid API key.";
            gemini_error(
                call,
                400,
                "INVALID_ARGUMENT",
                message,
                Some(json!([
                    {
                        "@type": INFO,
                        "reason": "API_KEY_INVALID",
                        "domain": "googleapis.com",
                        "metadata": {"service": "generativelanguage.googleapis.com"},
                    },
                    {
                        "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
                        "locale": "en-US",
                        "message": message,
                    },
                ])),
            )
        }
        Refusal::Denied => {
            let method = gemini_method(call);
            let (reason, message) = if call.key.contains("DENIEDREF") {
                ("API_KEY_HTTP_REFERRER_BLOCKED", "Requests from referer <empty> are blocked.".to_owned())
            } else if call.key.contains("DENIEDIP") {
                (
                    "API_KEY_IP_ADDRESS_BLOCKED",
                    "The provided API key has an IP address restriction. The originating IP address of the \
                     call (203.0.113.7) violates this restriction."
                        .to_owned(),
                )
            } else {
                (
                    "API_KEY_SERVICE_BLOCKED",
                    format!(
                        "Requests to this API generativelanguage.googleapis.com method {method} are blocked."
                    ),
                )
            };
            gemini_error(
                call,
                403,
                "PERMISSION_DENIED",
                &message,
                Some(json!([{
                    "@type": INFO,
                    "reason": reason,
                    "domain": "googleapis.com",
                    "metadata": {
                        "service": "generativelanguage.googleapis.com",
                        "apiName": "generativelanguage.googleapis.com",
                        "methodName": method,
                        "consumer": "projects/123456789012",
                    },
                }])),
            )
        }
        Refusal::Quota | Refusal::NoCredit => gemini_error(
            call,
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. For more \
             information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
            Some(json!([
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{
                        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                        "quotaValue": "20",
                    }],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"},
            ])),
        ),
        Refusal::Broken => gemini_error(
            call,
            500,
            "INTERNAL",
            "An internal error has occurred. Please retry or report in \
             https://developers.generativeai.google/guide/troubleshooting",
            None,
        ),
    }
}

fn exa(call: &Call<'_>, why: Refusal) -> Reply {
    let (status, message, tag) = match why {
        Refusal::Missing => (401, "x-api-key header is missing", "INVALID_API_KEY"),
        Refusal::Invalid => (401, "x-api-key header is invalid", "INVALID_API_KEY"),
        Refusal::Denied => (
            403,
            "Your API key does not have permission to use this feature. Contact your team's admin.",
            "ACCESS_DENIED",
        ),
        Refusal::NoCredit => (
            402,
            "You have exceeded your credits limit. Please top up to keep using Exa at dashboard.exa.ai",
            "NO_MORE_CREDITS",
        ),
        Refusal::Broken => (500, "An unexpected error occurred. Please try again.", "DEFAULT_ERROR"),
        Refusal::Quota => {
            return Reply::json(
                429,
                &json!({"error": "You've exceeded your Exa rate limit of 10 requests per second! Contact \
                                  hello@exa.ai for higher limits."}),
            );
        }
    };
    Reply::json(
        status,
        &json!({"requestId": format!("{:032x}", call.sequence), "error": message, "tag": tag}),
    )
}

fn copilotkit(why: Refusal) -> Reply {
    let (status, code, message) = match why {
        Refusal::Missing => (401, "MISSING_PUBLIC_API_KEY_ERROR", "Missing public API key"),
        Refusal::Invalid => (401, "AUTHENTICATION_ERROR", "Invalid public API key"),
        Refusal::Denied => (403, "AUTHENTICATION_ERROR", "This origin is not allowed for the public API key"),
        Refusal::NoCredit => (402, "UPGRADE_REQUIRED_ERROR", "This feature needs another plan"),
        Refusal::Quota => (429, "RATE_LIMITED", "Too many requests"),
        Refusal::Broken => (500, "INTERNAL_SERVER_ERROR", "Internal server error"),
    };
    Reply::json(
        status,
        &json!({"errors": [{"message": message, "extensions": {"code": code, "status": status}}]}),
    )
}

fn openai(call: &Call<'_>, why: Refusal) -> Reply {
    const KIND: &str = "invalid_request_error";
    match why {
        Refusal::Missing => openai_error(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using \
             Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) \
             if you're accessing the API from your browser and are prompted for a username and password. You \
             can obtain an API key from https://platform.openai.com/account/api-keys.",
            KIND,
            None,
            None,
        ),
        Refusal::Invalid => openai_error(
            401,
            &format!(
                "Incorrect API key provided: {}. You can find your API key at \
                 https://platform.openai.com/account/api-keys.",
                shown(call.key, 8, "********************", 4)
            ),
            KIND,
            None,
            Some("invalid_api_key"),
        ),
        Refusal::Denied => {
            let scope = if call.is_get() { "api.model.read" } else { "model.request" };
            openai_error(
                if call.key.contains("DENIED401") { 401 } else { 403 },
                &format!(
                    "You have insufficient permissions for this operation. Missing scopes: {scope}. Check that \
                     you have the correct role in your organization (Reader, Writer, Owner) and project \
                     (Member, Owner), and if you're using a restricted API key, that it has the necessary \
                     scopes."
                ),
                KIND,
                None,
                None,
            )
        }
        Refusal::Quota | Refusal::NoCredit => openai_error(
            429,
            "You exceeded your current quota, please check your plan and billing details. For more information \
             on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
            "insufficient_quota",
            None,
            Some("insufficient_quota"),
        ),
        Refusal::Broken => openai_error(
            500,
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            None,
            None,
        ),
    }
}

fn anthropic(call: &Call<'_>, why: Refusal) -> Reply {
    let (status, kind, message) = match why {
        Refusal::Missing => (401, "authentication_error", "x-api-key header is required"),
        Refusal::Invalid => (401, "authentication_error", "invalid x-api-key"),
        Refusal::Denied => {
            (403, "permission_error", "Your API key does not have permission to use the specified resource.")
        }
        Refusal::Quota => (
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute. For details, \
             refer to: https://docs.claude.com/en/api/rate-limits.",
        ),
        Refusal::NoCredit => (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to \
             upgrade or purchase credits.",
        ),
        Refusal::Broken => (500, "api_error", "Internal server error"),
    };
    anthropic_error(call, status, kind, message)
}

fn mistral(why: Refusal) -> Reply {
    let (status, message, kind, code) = match why {
        Refusal::Missing | Refusal::Invalid => return Reply::json(401, &json!({"detail": "Unauthorized"})),
        Refusal::Denied => (403, "This API key is not allowed to access this resource.", "forbidden", "1200"),
        Refusal::Quota | Refusal::NoCredit => (429, "Rate limit exceeded", "rate_limited", "1300"),
        Refusal::Broken => (500, "Internal server error", "internal_server_error", "3000"),
    };
    Reply::json(
        status,
        &json!({
            "object": "error", "message": message, "type": kind, "param": null, "code": code,
            "raw_status_code": status,
        }),
    )
}

fn groq(why: Refusal) -> Reply {
    let (status, message, kind, code) = match why {
        Refusal::Missing | Refusal::Invalid => {
            (401, "Invalid API Key", "invalid_request_error", "invalid_api_key")
        }
        Refusal::Denied => (
            403,
            "The model is blocked at the project level. Please have a project admin enable this model in the \
             project settings at https://console.groq.com/settings/project/limits",
            "permissions_error",
            "model_permission_blocked_project",
        ),
        Refusal::Quota | Refusal::NoCredit => (
            429,
            "Rate limit reached in organization on requests per day (RPD): Limit 1000, Used 1000, Requested 1. \
             Please try again in 7s. Need more tokens? Upgrade to Dev Tier today at \
             https://console.groq.com/settings/billing",
            "requests",
            "rate_limit_exceeded",
        ),
        Refusal::Broken => {
            return Reply::json(
                500,
                &json!({"error": {"message": "Internal Server Error", "type": "internal_server_error"}}),
            );
        }
    };
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "code": code}}))
}

fn deepseek(call: &Call<'_>, why: Refusal) -> Reply {
    let end = shown(call.key, 0, "****", 4);
    let (status, message, kind) = match why {
        Refusal::Missing => (
            401,
            "Authentication Fails (auth header format should be Bearer sk-...)".to_owned(),
            "authentication_error",
        ),
        Refusal::Invalid => {
            (401, format!("Authentication Fails, Your api key: {end} is invalid"), "authentication_error")
        }
        Refusal::Denied => (403, "This api key is not allowed to do this".to_owned(), "permission_error"),
        Refusal::Quota => (429, "Rate limit reached".to_owned(), "rate_limit_error"),
        Refusal::NoCredit => (402, "Insufficient Balance".to_owned(), "unknown_error"),
        Refusal::Broken => (500, "Internal server error".to_owned(), "server_error"),
    };
    openai_error(status, &message, kind, None, Some("invalid_request_error"))
}

fn xai(call: &Call<'_>, why: Refusal) -> Reply {
    let (status, code, message) = match why {
        Refusal::Missing => (
            401,
            "The request does not have valid authentication credentials for the operation",
            "No API key provided. Specify your API key in an Authorization header using Bearer auth (i.e. \
             Authorization: Bearer YOUR_KEY). You can obtain an API key from https://console.x.ai."
                .to_owned(),
        ),
        Refusal::Invalid => (
            400,
            "Client specified an invalid argument",
            format!(
                "Incorrect API key provided: {}. You can obtain an API key from https://console.x.ai.",
                shown(call.key, 2, "***", 2)
            ),
        ),
        Refusal::Denied => (
            403,
            "The caller does not have permission to execute the specified operation",
            "The API key does not have the ACL required for this endpoint.".to_owned(),
        ),
        Refusal::Quota => (
            429,
            "Some resource has been exhausted",
            "Your team has either used all available credits or reached its monthly spending limit."
                .to_owned(),
        ),
        Refusal::NoCredit => (
            403,
            "The caller does not have permission to execute the specified operation",
            "Your newly created team doesn't have any credits yet. You can purchase those on \
             https://console.x.ai."
                .to_owned(),
        ),
        Refusal::Broken => (500, "Internal error", "Internal server error".to_owned()),
    };
    Reply::json(status, &json!({"code": code, "error": message}))
}

fn cohere(call: &Call<'_>, why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing => (401, "no api key supplied"),
        Refusal::Invalid => (401, "invalid api token"),
        Refusal::Denied => (403, "this api key does not have permission to perform this operation"),
        Refusal::Quota => (
            429,
            "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use the \
             Trial key for free or upgrade to a Production key with higher rate limits at \
             'https://dashboard.cohere.com/api-keys'.",
        ),
        Refusal::NoCredit => (402, "Please add or update your payment method to continue"),
        Refusal::Broken => (500, "internal server error"),
    };
    Reply::json(status, &json!({"id": call.request_id(), "message": message}))
}

fn tavily(why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing | Refusal::Invalid => (401, "Unauthorized: missing or invalid API key."),
        Refusal::Denied => (403, "This API key is not allowed to use this endpoint."),
        Refusal::Quota => (
            429,
            "Your request has been blocked due to excessive requests. Please reduce the rate of requests.",
        ),
        Refusal::NoCredit => (
            432,
            "This request exceeds your plan's set usage limit. Please upgrade your plan or contact \
             support@tavily.com",
        ),
        Refusal::Broken => (500, "Internal Server Error"),
    };
    Reply::json(status, &json!({"detail": {"error": message}}))
}

fn serper(why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing | Refusal::Invalid => (403, "Unauthorized."),
        Refusal::Denied => (403, "This API key is not allowed to use this endpoint."),
        Refusal::Quota => (429, "Rate limit exceeded."),
        Refusal::NoCredit => (400, "Not enough credits"),
        Refusal::Broken => (500, "Internal server error."),
    };
    Reply::json(status, &json!({"message": message, "statusCode": status}))
}

fn firecrawl(why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing => (401, "Unauthorized"),
        Refusal::Invalid => (401, "Unauthorized: Invalid token"),
        Refusal::Denied => (403, "Forbidden: this API key has no access to this endpoint"),
        Refusal::Quota => (
            429,
            "Rate limit exceeded. Consumed (req/min): 11, Remaining (req/min): 0. Upgrade your plan at \
             https://firecrawl.dev/pricing for increased rate limits or please retry after 7s",
        ),
        Refusal::NoCredit => (
            402,
            "Insufficient credits to perform this request. For more credits, you can upgrade your plan at \
             https://firecrawl.dev/pricing or try changing the request limit to a lower value.",
        ),
        Refusal::Broken => (500, "An unexpected error occurred. Please contact help@firecrawl.com for help."),
    };
    Reply::json(status, &json!({"success": false, "error": message}))
}

fn perplexity(why: Refusal) -> Reply {
    let (status, message, kind) = match why {
        // Its proxy answers these, in HTML.
        Refusal::Missing | Refusal::Invalid => {
            return Reply::raw(
                401,
                "text/html",
                "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>\r\n\
                 <center><h1>401 Authorization Required</h1></center>\r\n\
                 <hr><center>openresty/1.27.4</center>\r\n</body>\r\n</html>\r\n",
            );
        }
        Refusal::Denied => (403, "This API key has no access to this resource.", "forbidden"),
        Refusal::Quota => {
            (429, "Request rate limit exceeded, please try again later.", "request_rate_limit_exceeded")
        }
        Refusal::NoCredit => (
            401,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        Refusal::Broken => (500, "Internal server error", "internal_server_error"),
    };
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "code": status}}))
}

fn openrouter(why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing => (401, "No auth credentials found"),
        Refusal::Invalid => (401, "User not found."),
        Refusal::Denied => {
            (403, "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys")
        }
        Refusal::Quota => (
            429,
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        ),
        Refusal::NoCredit => (
            402,
            "Insufficient credits. This account never purchased credits. Make sure your key is on the correct \
             account or org, and if so, purchase more at https://openrouter.ai/settings/credits",
        ),
        Refusal::Broken => (500, "Internal Server Error"),
    };
    Reply::json(status, &json!({"error": {"message": message, "code": status}}))
}

fn together(why: Refusal) -> Reply {
    let (status, message, kind, code) = match why {
        Refusal::Missing => (
            401,
            "Missing API key. You can find your API key at https://api.together.xyz/settings/api-keys.",
            "invalid_request_error",
            Some("invalid_api_key"),
        ),
        Refusal::Invalid => (
            401,
            "Invalid API key provided. You can find your API key at \
             https://api.together.xyz/settings/api-keys.",
            "invalid_request_error",
            Some("invalid_api_key"),
        ),
        Refusal::Denied => {
            (403, "This API key has no access to this resource.", "invalid_request_error", Some("forbidden"))
        }
        Refusal::Quota => (
            429,
            "You have reached the rate limit specific to this model. The maximum rate limit for this model is \
             60 queries per minute.",
            "model_rate_limit",
            None,
        ),
        Refusal::NoCredit => (
            402,
            "Credit limit exceeded, please navigate to https://api.together.xyz/settings/billing to add credits \
             to your account.",
            "credit_limit",
            None,
        ),
        Refusal::Broken => (500, "Internal server error", "server_error", None),
    };
    openai_error(status, message, kind, None, code)
}

fn stability(call: &Call<'_>, why: Refusal) -> Reply {
    let id = format!("{:032x}", call.sequence);
    let (status, name, message) = match why {
        Refusal::Missing | Refusal::Invalid => {
            let message = if why == Refusal::Missing {
                "missing authorization header"
            } else {
                "Incorrect API key provided"
            };
            return Reply::json(401, &json!({"id": id, "message": message, "name": "unauthorized"}));
        }
        Refusal::Denied => (403, "permission_denied", "You lack the necessary permissions to do this."),
        Refusal::Quota => (
            429,
            "rate_limit_exceeded",
            "You have exceeded the rate limit of 150 requests within a 10 second period, and have been timed \
             out for 60 seconds.",
        ),
        Refusal::NoCredit => (
            402,
            "payment_required",
            "You lack sufficient credits to make this request. Please purchase more credits at \
             https://platform.stability.ai/account/credits and try again.",
        ),
        Refusal::Broken => (500, "internal_error", "An unexpected server error has occurred."),
    };
    Reply::json(status, &json!({"id": id, "name": name, "errors": [message]}))
}

fn elevenlabs(call: &Call<'_>, why: Refusal) -> Reply {
    let (status, word, message) = match why {
        Refusal::Missing => (
            401,
            "needs_authorization",
            "Neither authorization header nor xi-api-key received, please provide one.",
        ),
        Refusal::Invalid => (401, "invalid_api_key", "Invalid API key"),
        Refusal::Denied if call.path.starts_with("/v1/user") => (
            401,
            "missing_permissions",
            "The API key you used is missing the permission user_read to execute this operation.",
        ),
        Refusal::Denied => (
            401,
            "missing_permissions",
            "The API key you used is missing the permission text_to_speech to execute this operation.",
        ),
        Refusal::Quota => (
            429,
            "too_many_concurrent_requests",
            "Too many concurrent requests. Your current subscription is associated with a maximum of 2 \
             concurrent requests (running in parallel).",
        ),
        Refusal::NoCredit => (
            401,
            "quota_exceeded",
            "This request exceeds your quota of 10000. You have 0 credits remaining, while 12 credits are \
             required for this request.",
        ),
        Refusal::Broken => (500, "internal_error", "Internal server error"),
    };
    Reply::json(status, &json!({"detail": {"status": word, "message": message}}))
}

fn huggingface(why: Refusal) -> Reply {
    let (status, message) = match why {
        Refusal::Missing => (401, "Invalid username or password."),
        Refusal::Invalid => (401, "Invalid user token."),
        Refusal::Denied => (
            403,
            "This authentication method does not have sufficient permissions to call Inference Providers on \
             behalf of user standin",
        ),
        Refusal::Quota => {
            (429, "You have hit the rate limit of this endpoint. Please retry in a few seconds.")
        }
        Refusal::NoCredit => (
            402,
            "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get \
             20x more monthly included credits.",
        ),
        Refusal::Broken => (500, "Internal Error - We're working hard to fix this as soon as possible!"),
    };
    Reply::json(status, &json!({"error": message}))
}

/// The provider's answer while it has too much to do.
pub(crate) fn overloaded(call: &Call<'_>) -> Reply {
    match call.provider {
        Provider::Anthropic => anthropic_error(call, 529, "overloaded_error", "Overloaded"),
        Provider::Gemini => {
            gemini_error(call, 503, "UNAVAILABLE", "The model is overloaded. Please try again later.", None)
        }
        _ => refusal(call, Refusal::Broken).status(503),
    }
}

/// The provider does not know the model.
pub(crate) fn no_such_model(call: &Call<'_>, model: &str) -> Reply {
    match call.provider {
        Provider::Gemini => gemini_error(
            call,
            404,
            "NOT_FOUND",
            &format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. \
                 Call ListModels to see the list of available models and their supported methods."
            ),
            None,
        ),
        Provider::Anthropic => anthropic_error(call, 404, "not_found_error", &format!("model: {model}")),
        Provider::Mistral => Reply::json(
            400,
            &json!({
                "object": "error", "message": format!("Invalid model: {model}"), "type": "invalid_model",
                "param": null, "code": "1500", "raw_status_code": 400,
            }),
        ),
        Provider::DeepSeek => {
            openai_error(400, "Model Not Exist", "invalid_request_error", None, Some("invalid_request_error"))
        }
        Provider::Xai => Reply::json(
            404,
            &json!({
                "code": "Some requested entity was not found",
                "error": format!("The model {model} does not exist or your team does not have access to it."),
            }),
        ),
        Provider::Cohere => Reply::json(
            404,
            &json!({
                "id": call.request_id(),
                "message": format!("model '{model}' not found, make sure the correct model ID was used and that \
                                    you have access to the model."),
            }),
        ),
        Provider::Perplexity => Reply::json(
            400,
            &json!({"error": {
                "message": format!("Invalid model '{model}'. Permitted models can be found in the documentation \
                                    at https://docs.perplexity.ai/docs/getting-started/models."),
                "type": "invalid_model",
                "code": 400,
            }}),
        ),
        Provider::OpenRouter => Reply::json(
            400,
            &json!({"error": {"message": format!("{model} is not a valid model ID"), "code": 400}}),
        ),
        Provider::Together => openai_error(
            404,
            &format!(
                "Unable to access model {model}. Please visit https://api.together.ai/models to view the list \
                 of supported models."
            ),
            "invalid_request_error",
            None,
            Some("model_not_available"),
        ),
        Provider::HuggingFace => openai_error(
            400,
            &format!("The requested model '{model}' does not exist"),
            "invalid_request_error",
            Some("model"),
            Some("model_not_found"),
        ),
        _ => openai_error(
            404,
            &format!("The model `{model}` does not exist or you do not have access to it."),
            "invalid_request_error",
            None,
            Some("model_not_found"),
        ),
    }
}

/// The provider wants the same request again in a second.
pub(crate) fn try_again(call: &Call<'_>) -> Reply {
    refusal(call, Refusal::Quota).with("retry-after", "1")
}

/// The provider cannot make sense of the request.
pub(crate) fn bad_request(call: &Call<'_>, message: &str) -> Reply {
    match call.provider {
        Provider::Gemini => gemini_error(call, 400, "INVALID_ARGUMENT", message, None),
        Provider::Anthropic => anthropic_error(call, 400, "invalid_request_error", message),
        Provider::Exa => Reply::json(
            400,
            &json!({
                "requestId": format!("{:032x}", call.sequence),
                "error": format!("Invalid request body | Validation error: {message}"),
                "tag": "INVALID_REQUEST_BODY",
            }),
        ),
        Provider::Mistral => Reply::json(
            422,
            &json!({
                "object": "error",
                "message": {"detail": [{"type": "missing", "loc": ["body"], "msg": message}]},
                "type": "invalid_request_error",
                "param": null,
                "code": null,
                "raw_status_code": 422,
            }),
        ),
        Provider::Xai => {
            Reply::json(400, &json!({"code": "Client specified an invalid argument", "error": message}))
        }
        Provider::Cohere => Reply::json(
            400,
            &json!({"id": call.request_id(), "message": format!("invalid request: {message}")}),
        ),
        Provider::Tavily => Reply::json(400, &json!({"detail": {"error": message}})),
        Provider::Serper => Reply::json(400, &json!({"message": message, "statusCode": 400})),
        Provider::Firecrawl => Reply::json(
            400,
            &json!({"success": false, "code": "BAD_REQUEST", "error": "Bad Request", "details": [{"message": message}]}),
        ),
        Provider::Perplexity | Provider::OpenRouter => {
            Reply::json(400, &json!({"error": {"message": message, "type": "bad_request", "code": 400}}))
        }
        Provider::CopilotKit => Reply::json(400, &json!({"errors": [{"message": message}]})),
        Provider::Stability => Reply::json(
            400,
            &json!({"id": format!("{:032x}", call.sequence), "name": "bad_request", "errors": [message]}),
        ),
        Provider::ElevenLabs => Reply::json(
            422,
            &json!({"detail": [{"type": "missing", "loc": ["body"], "msg": message, "input": null}]}),
        ),
        _ => openai_error(400, message, "invalid_request_error", None, None),
    }
}

/// The provider has no such address, or not for this method.
pub(crate) fn no_such_route(call: &Call<'_>) -> Reply {
    let (method, path) = (call.method, call.path);
    match call.provider {
        Provider::Gemini => gemini_error(call, 404, "NOT_FOUND", "Requested entity was not found.", None),
        Provider::Anthropic => anthropic_error(call, 404, "not_found_error", "Not Found"),
        Provider::Mistral => Reply::json(
            404,
            &json!({"message": "no Route matched with those values", "request_id": call.request_id()}),
        ),
        Provider::Exa => Reply::json(
            404,
            &json!({"requestId": format!("{:032x}", call.sequence), "error": format!("Cannot {method} {path}")}),
        ),
        Provider::Tavily | Provider::ElevenLabs => Reply::json(404, &json!({"detail": "Not Found"})),
        Provider::Serper => Reply::json(404, &json!({"message": "Not Found", "statusCode": 404})),
        Provider::Firecrawl | Provider::HuggingFace => {
            Reply::json(404, &json!({"success": false, "error": format!("Cannot {method} {path}")}))
        }
        Provider::Cohere | Provider::Stability | Provider::CopilotKit => {
            Reply::json(404, &json!({"id": call.request_id(), "message": "not found"}))
        }
        Provider::OpenRouter | Provider::Perplexity => {
            Reply::json(404, &json!({"error": {"message": "Not Found", "code": 404}}))
        }
        _ => {
            openai_error(404, &format!("Invalid URL ({method} {path})"), "invalid_request_error", None, None)
        }
    }
}

impl Reply {
    fn status(mut self, code: u16) -> Self {
        self.status = http::StatusCode::from_u16(code).expect("the stand-in's own status codes are in range");
        self
    }

    /// The first half of a plain answer (or of something like one): not JSON any more.
    pub(crate) fn cut_in_half(self) -> Self {
        let body = match self.payload {
            Payload::Whole(body) if body.len() > 2 => body.slice(..body.len() / 2),
            _ => "{\"id\": \"standin\", \"choices\": [{\"mess".into(),
        };
        Reply::raw(200, JSON, body)
    }
}

//! Which address of which provider gives which answer.

use http::HeaderValue;
use serde_json::{Value, json};

use crate::files;
use crate::generate::{self, GeminiVerb};
use crate::provider::{Provider, is_openai_compatible};
use crate::refusal::{because_of_key, no_such_model, no_such_route};
use crate::reply::{CREATED, Call, Reply};
use crate::research;

/// The provider's usual answer.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    let mut reply = usual(call);
    dress(call, &mut reply);
    reply
}

fn usual(call: &Call<'_>) -> Reply {
    // OpenRouter's list of models is public: it does not look at keys at all.
    if call.provider == Provider::OpenRouter && call.is_get() && call.path == "/v1/models" {
        return openai_models(call);
    }
    if let Some(refusal) = because_of_key(call) {
        return refusal;
    }
    let (get, post) = (call.is_get(), call.is_post());
    match (call.provider, call.path) {
        (Provider::Gemini, _) => gemini(call),
        _ if post && takes_chat(call) => generate::chat_completions(call),
        _ if get && lists_models(call) => openai_models(call),

        _ if post && takes_files(call) => files::upload(call),
        (Provider::OpenAi, "/v1/audio/transcriptions")
        | (Provider::Groq, "/openai/v1/audio/transcriptions")
            if post =>
        {
            files::transcription(call)
        }
        (Provider::Cohere, "/v1/datasets") if post => files::dataset(call),
        (Provider::OpenAi | Provider::Mistral, "/v1/embeddings") if post => generate::openai_embeddings(call),
        (Provider::Cohere, "/v2/embed") if post => generate::cohere_embeddings(call),

        (Provider::Exa, "/answer") if post => research::exa_answer(call),
        (Provider::Tavily, "/research") if post => research::tavily_research(call),
        (Provider::Exa, "/search") if post => research::exa_search(call),
        (Provider::Exa, "/contents") if post => research::exa_contents(call),
        (Provider::Tavily, "/search") if post => research::tavily_search(call),
        (Provider::Serper, "/search") if post => research::serper_search(call),
        (Provider::Firecrawl, "/v1/search") if post => research::firecrawl_search(call, false),
        (Provider::Firecrawl, "/v2/search") if post => research::firecrawl_search(call, true),
        (Provider::Firecrawl, "/v1/scrape" | "/v2/scrape") if post => research::firecrawl_scrape(call),

        (Provider::CopilotKit, _) => Reply::json(
            200,
            &json!({"data": {
                "availableAgents": {"agents": []},
                "standin": crate::reply::answer_text_for(call.fingerprint, call.path),
            }}),
        ),

        (Provider::Cohere, "/v2/chat") if post => generate::cohere_chat(call),
        (Provider::OpenAi, "/v1/responses") | (Provider::Perplexity, "/v1/responses" | "/v1/agent")
            if post =>
        {
            generate::responses(call)
        }

        (Provider::Anthropic, path) => match generate::anthropic_version(call) {
            Some(refusal) => refusal,
            None => match path {
                "/v1/messages" if post => generate::anthropic_messages(call),
                "/v1/messages/count_tokens" if post => generate::anthropic_count(call),
                "/v1/models" if get => anthropic_models(),
                "/v1/files" if post => files::upload(call),
                _ => match path.strip_prefix("/v1/models/") {
                    Some(model) if get => one_model(call, model),
                    _ => no_such_route(call),
                },
            },
        },

        (Provider::Together, "/v1/models") if get => together_models(),
        (Provider::Cohere, "/v1/models") if get => cohere_models(),

        _ => account(call).unwrap_or_else(|| match call.path.rsplit_once("/models/") {
            Some((_, model)) if get && is_openai_shaped(call.provider) => one_model(call, model),
            _ => no_such_route(call),
        }),
    }
}

/// Whether this is where the provider takes chat in OpenAI's shape.
fn takes_chat(call: &Call<'_>) -> bool {
    match call.path {
        "/v1/chat/completions" => matches!(
            call.provider,
            Provider::OpenAi
                | Provider::Mistral
                | Provider::Xai
                | Provider::OpenRouter
                | Provider::Together
                | Provider::HuggingFace
                | Provider::DeepSeek
                | Provider::Perplexity
        ),
        "/chat/completions" => matches!(call.provider, Provider::DeepSeek | Provider::Perplexity),
        "/openai/v1/chat/completions" => call.provider == Provider::Groq,
        "/compatibility/v1/chat/completions" => call.provider == Provider::Cohere,
        _ => false,
    }
}

/// Whether this is where the provider takes files.
fn takes_files(call: &Call<'_>) -> bool {
    call.path == "/v1/files" && matches!(call.provider, Provider::OpenAi | Provider::Mistral)
}

/// Whether this is where the provider lists its models in OpenAI's shape.
fn lists_models(call: &Call<'_>) -> bool {
    match call.path {
        "/v1/models" => matches!(
            call.provider,
            Provider::OpenAi
                | Provider::Mistral
                | Provider::Xai
                | Provider::Perplexity
                | Provider::HuggingFace
                | Provider::DeepSeek
        ),
        "/models" => call.provider == Provider::DeepSeek,
        "/openai/v1/models" => call.provider == Provider::Groq,
        _ => false,
    }
}

fn is_openai_shaped(provider: Provider) -> bool {
    matches!(provider, Provider::OpenAi | Provider::Mistral | Provider::Groq | Provider::Xai)
}

/// What a key may ask about itself and its account.
fn account(call: &Call<'_>) -> Option<Reply> {
    if call.provider == Provider::Cohere && call.path == "/v1/check-api-key" && call.is_post() {
        return Some(Reply::json(
            200,
            &json!({"valid": true, "organization_id": "standin-organization", "owner_id": "standin-owner"}),
        ));
    }
    if call.provider == Provider::ElevenLabs && call.is_post() && call.path.starts_with("/v1/text-to-speech/")
    {
        let sound = crate::reply::answer_text_for(call.fingerprint, "(sound)");
        return Some(Reply::raw(200, "audio/mpeg", [b"ID3\x04\x00\xff\xfb\x90", sound.as_bytes()].concat()));
    }
    if !call.is_get() {
        return None;
    }
    let body = match (call.provider, call.path) {
        (Provider::Xai, "/v1/api-key") => xai_key(call),
        (Provider::Tavily, "/usage") => json!({
            "key": {"usage": 150, "limit": 1000, "search_usage": 150, "extract_usage": 0, "crawl_usage": 0},
            "account": {
                "current_plan": "Researcher", "plan_usage": 150, "plan_limit": 1000, "paygo_usage": 0,
                "paygo_limit": null,
            },
        }),
        (Provider::Serper, "/account") => json!({"balance": 2400, "rateLimit": 5}),
        (Provider::Firecrawl, "/v1/team/credit-usage") => {
            json!({"success": true, "data": {"remaining_credits": 450}})
        }
        (Provider::Firecrawl, "/v2/team/credit-usage") => json!({
            "success": true,
            "data": {
                "remainingCredits": 450, "planCredits": 500,
                "billingPeriodStart": "2026-01-01T00:00:00Z", "billingPeriodEnd": "2026-01-31T23:59:59Z",
            },
        }),
        (Provider::DeepSeek, "/user/balance") => json!({
            "is_available": true,
            "balance_infos": [{
                "currency": "USD", "total_balance": "10.00", "granted_balance": "0.00",
                "topped_up_balance": "10.00",
            }],
        }),
        (Provider::OpenRouter, "/v1/key" | "/v1/auth/key") => json!({"data": {
            "label": "sk-or-v1-7e5...000", "limit": 100, "limit_remaining": 74.5, "usage": 25.5,
            "usage_daily": 1.5, "usage_weekly": 5, "usage_monthly": 25.5, "is_free_tier": false,
            "is_provisioning_key": false,
            "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        }}),
        (Provider::OpenRouter, "/v1/credits") => json!({"data": {"total_credits": 100, "total_usage": 25.5}}),
        (Provider::Stability, "/v1/user/balance") => json!({"credits": 25.5}),
        (Provider::Stability, "/v1/user/account") => json!({
            "email": "standin@standin.invalid", "id": "user-standin", "profile_picture": "",
            "organizations": [{"id": "org-standin", "name": "Test data", "role": "ADMIN", "is_default": true}],
        }),
        (Provider::Stability, "/v1/engines/list") => json!([{
            "description": "Stability-AI Stable Diffusion XL v1.0", "id": "stable-diffusion-xl-1024-v1-0",
            "name": "Stable Diffusion XL v1.0", "type": "PICTURE",
        }]),
        (Provider::ElevenLabs, "/v1/user") => json!({
            "user_id": "standin",
            "subscription": elevenlabs_subscription(),
            "is_new_user": false, "is_onboarding_completed": true, "can_use_delayed_payment_methods": false,
            "first_name": "Test", "created_at": CREATED,
        }),
        (Provider::ElevenLabs, "/v1/user/subscription") => elevenlabs_subscription(),
        (Provider::ElevenLabs, "/v1/models") => json!([{
            "model_id": "eleven_multilingual_v2", "name": "Eleven Multilingual v2", "can_do_text_to_speech": true,
            "languages": [{"language_id": "en", "name": "English"}],
        }]),
        (Provider::ElevenLabs, "/v1/voices") => {
            json!({"voices": [{"voice_id": "standin", "name": "Test data", "category": "premade"}]})
        }
        (Provider::HuggingFace, "/api/whoami-v2") => json!({
            "type": "user", "id": "7e57da7a7e57da7a7e57da7a", "name": "standin", "fullname": "Test Data",
            "email": "standin@standin.invalid", "emailVerified": true, "canPay": false, "isPro": false,
            "avatarUrl": "/avatars/standin.svg", "orgs": [],
            "auth": {"type": "access_token", "accessToken": {
                "displayName": "standin", "role": "read", "createdAt": "2026-01-01T00:00:00.000Z",
            }},
        }),
        _ => return None,
    };
    Some(Reply::json(200, &body))
}

fn elevenlabs_subscription() -> Value {
    json!({
        "tier": "free", "character_count": 120, "character_limit": 10000, "can_extend_character_limit": false,
        "voice_limit": 3, "status": "active", "next_character_count_reset_unix": CREATED + 2_592_000,
    })
}

/// xAI says in a successful answer that a key is blocked or disabled.
fn xai_key(call: &Call<'_>) -> Value {
    json!({
        "redacted_api_key": "xai-...0000",
        "user_id": "7e57da7a-0000-4000-8000-000000000001",
        "name": "Test data",
        "create_time": "2026-01-01T00:00:00.000000Z",
        "modify_time": "2026-01-01T00:00:00.000000Z",
        "modified_by": "7e57da7a-0000-4000-8000-000000000001",
        "team_id": "7e57da7a-0000-4000-8000-000000000002",
        "acls": ["api-key:model:*", "api-key:endpoint:*"],
        "api_key_id": "7e57da7a-0000-4000-8000-000000000003",
        "team_blocked": false,
        "api_key_blocked": call.key.contains("BLOCKED"),
        "api_key_disabled": call.key.contains("DISABLED"),
    })
}

fn gemini(call: &Call<'_>) -> Reply {
    if is_openai_compatible(call.path) {
        let mut reply = match &call.path["/v1beta/openai".len()..] {
            "/chat/completions" if call.is_post() => generate::chat_completions(call),
            "/models" if call.is_get() => openai_models(call),
            _ => no_such_route(call),
        };
        reply.headers.remove("cache-control");
        return reply;
    }
    if call.is_post() && call.path == "/upload/v1beta/files" {
        return files::resumable_upload(call);
    }
    let rest = ["/v1beta/models", "/v1/models", "/v1alpha/models"]
        .iter()
        .find_map(|start| call.path.strip_prefix(start));
    let Some(rest) = rest else { return no_such_route(call) };
    if call.is_get() {
        return match rest.strip_prefix('/') {
            None if rest.is_empty() => Reply::json(200, &json!({"models": GEMINI_MODELS.map(gemini_model)})),
            Some(model) if generate::is_unknown_model(model) => no_such_model(call, model),
            Some(model) if !model.is_empty() && !model.contains(':') => {
                Reply::json(200, &gemini_model(model))
            }
            _ => no_such_route(call),
        };
    }
    let decoded = rest.replace("%3A", ":");
    let target = decoded.strip_prefix('/').and_then(|rest| rest.rsplit_once(':'));
    match target.and_then(|(model, verb)| Some((model, GeminiVerb::named(verb)?))) {
        Some((model, verb)) if call.is_post() => generate::gemini(call, model, verb),
        _ => no_such_route(call),
    }
}

const GEMINI_MODELS: [&str; 3] = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-flash-latest"];

fn gemini_model(name: &str) -> Value {
    json!({
        "name": format!("models/{name}"), "version": "001", "displayName": name, "description": "Test data",
        "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "createCachedContent"],
        "temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": true,
    })
}

fn model_names(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Gemini => {
            &["models/gemini-flash-latest", "models/gemini-2.5-flash", "models/gemini-2.5-pro"]
        }
        Provider::OpenAi => &["gpt-6-luna", "gpt-5", "gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini"],
        Provider::Anthropic => &["claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"],
        Provider::Mistral => &["mistral-large-latest", "mistral-small-latest"],
        Provider::Groq => &["openai/gpt-oss-20b", "openai/gpt-oss-120b"],
        Provider::DeepSeek => &["deepseek-v4-flash", "deepseek-v4-pro"],
        Provider::Xai => &["grok-4.3", "grok-4.6"],
        Provider::Cohere => &["command-a-03-2025", "command-r7b-12-2024"],
        Provider::Perplexity => &["perplexity/sonar"],
        Provider::OpenRouter => &["openai/gpt-5-mini", "anthropic/claude-sonnet-4.5"],
        Provider::Together => &["meta-llama/Llama-3.3-70B-Instruct-Turbo", "openai/gpt-oss-20b"],
        Provider::HuggingFace => &["openai/gpt-oss-120b", "meta-llama/Llama-3.3-70B-Instruct"],
        _ => &[],
    }
}

fn openai_model(provider: Provider, name: &str) -> Value {
    if provider == Provider::OpenRouter {
        return json!({
            "id": name, "canonical_slug": name, "name": name, "created": CREATED, "context_length": 200_000,
            "architecture": {"modality": "text->text", "input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.000001", "completion": "0.000004"},
        });
    }
    if provider == Provider::Mistral {
        return json!({
            "id": name, "object": "model", "created": CREATED, "owned_by": "mistralai", "type": "base",
            "capabilities": {"completion_chat": true, "function_calling": true, "vision": false},
            "max_context_length": 131_072, "aliases": [],
        });
    }
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": provider.id()})
}

fn openai_models(call: &Call<'_>) -> Reply {
    let models: Vec<Value> =
        model_names(call.provider).iter().map(|name| openai_model(call.provider, name)).collect();
    if call.provider == Provider::OpenRouter {
        return Reply::json(200, &json!({"data": models}));
    }
    Reply::json(200, &json!({"object": "list", "data": models}))
}

fn anthropic_model(name: &str) -> Value {
    json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"})
}

fn anthropic_models() -> Reply {
    let names = model_names(Provider::Anthropic);
    let models: Vec<Value> = names.iter().map(|name| anthropic_model(name)).collect();
    Reply::json(
        200,
        &json!({"data": models, "has_more": false, "first_id": names.first(), "last_id": names.last()}),
    )
}

fn one_model(call: &Call<'_>, name: &str) -> Reply {
    if generate::is_unknown_model(name) {
        return no_such_model(call, name);
    }
    if call.provider == Provider::Anthropic {
        return Reply::json(200, &anthropic_model(name));
    }
    Reply::json(200, &openai_model(call.provider, name))
}

/// Together's list is bare.
fn together_models() -> Reply {
    let models: Vec<Value> = model_names(Provider::Together)
        .iter()
        .map(|name| {
            json!({
                "id": name, "object": "model", "created": CREATED, "type": "chat", "display_name": name,
                "organization": "Test data", "context_length": 131_072,
                "pricing": {"hourly": 0, "input": 0.88, "output": 0.88, "base": 0, "finetune": 0},
            })
        })
        .collect();
    Reply::json(200, &Value::from(models))
}

fn cohere_models() -> Reply {
    let models: Vec<Value> = model_names(Provider::Cohere)
        .iter()
        .map(|name| json!({"name": name, "endpoints": ["chat"], "finetuned": false, "context_length": 256_000}))
        .collect();
    Reply::json(200, &json!({"models": models, "next_page_token": ""}))
}

/// Headers the provider sends with everything, those a gateway must not pass on among them.
fn dress(call: &Call<'_>, reply: &mut Reply) {
    let headers = &mut reply.headers;
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    match call.provider {
        Provider::OpenAi => {
            set("openai-version", "2020-10-01");
            set("openai-organization", "standin-organization");
            set("openai-processing-ms", "12");
            set("x-ratelimit-limit-requests", "10000");
            set("x-ratelimit-remaining-requests", "9999");
            set("x-ratelimit-reset-requests", "6ms");
            set("strict-transport-security", "max-age=31536000; includeSubDomains; preload");
            set("alt-svc", "h3=\":443\"; ma=86400");
            set("set-cookie", "__cf_bm=standin; path=/; HttpOnly; Secure; SameSite=None");
        }
        Provider::Anthropic => {
            set("anthropic-organization-id", "7e57da7a-0000-4000-8000-000000000002");
            set("anthropic-ratelimit-requests-limit", "50");
            set("anthropic-ratelimit-requests-remaining", "49");
            set("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:07Z");
            set("strict-transport-security", "max-age=31536000; includeSubDomains; preload");
        }
        Provider::Gemini => {
            set("vary", "Origin, X-Origin, Referer");
            set("x-frame-options", "SAMEORIGIN");
            set("x-xss-protection", "0");
            set("x-content-type-options", "nosniff");
            set("alt-svc", "h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000");
        }
        Provider::OpenRouter | Provider::Exa => set("access-control-allow-origin", "*"),
        Provider::Groq => {
            set("x-ratelimit-limit-requests", "1000");
            set("x-ratelimit-remaining-requests", "999");
            set("x-groq-region", "standin");
        }
        _ => {}
    }
    let id_header = match call.provider {
        Provider::Gemini => return,
        Provider::Anthropic => "request-id",
        _ => "x-request-id",
    };
    if let Ok(id) = HeaderValue::from_str(&call.request_id()) {
        headers.insert(id_header, id);
    }
}

/// The provider at the root of the listener, or the one named by the first part of the path.
pub(crate) fn resolve(single: Option<Provider>, path: &str) -> Option<(Provider, &str)> {
    if let Some(provider) = single {
        return Some((provider, path));
    }
    let path = path.strip_prefix('/')?;
    let (id, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    Some((Provider::named(id)?, if rest.is_empty() { "/" } else { rest }))
}

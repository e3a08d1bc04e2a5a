//! Every route on one page.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use http::{HeaderMap, Method, Uri};
use keyfold::mode::Mode;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Description, Ref, RefOr, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::middleware::cors::{answer_preflight, share_with_allowed_origins};
use crate::middleware::header_limit::header_limit;
use crate::middleware::local_guard::{check_origin, check_token};
use crate::middleware::request_scope::request_scope;
use crate::middleware::security_headers::security_headers;
use crate::problem::{Problem, ProblemBody};
use crate::routes::{
    account, audit, config, frontend_env, gateway, generate, health, keys, onboarding, openapi, providers,
    research, service, usage, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    components(schemas(ProblemBody)),
    info(
        title = "Keyfold",
        description = "Each user brings their own provider keys, and every call made for a user uses exactly that user's key. Errors are `application/problem+json` (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    )
)]
struct Api;

/// The described part of the API: everything that programs call.
fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(config::config))
        .routes(routes!(providers::list))
        .routes(routes!(keys::list))
        .routes(routes!(keys::save, keys::remove))
        .routes(routes!(keys::validate))
        .routes(routes!(keys::roll_back))
        .routes(routes!(generate::generate))
        .routes(routes!(research::research))
        .routes(routes!(account::remove))
        .routes(routes!(audit::list))
        .routes(routes!(usage::of_user))
        .routes(routes!(webhooks::clerk))
        .routes(routes!(service::keys))
        .routes(routes!(service::key))
        .routes(routes!(frontend_env::update))
        .routes(routes!(onboarding::session::init))
        .routes(routes!(onboarding::session::status))
        .routes(routes!(onboarding::session::progress))
        .routes(routes!(onboarding::session::config))
        .routes(routes!(onboarding::session::resume))
        .routes(routes!(onboarding::session::summary))
        .routes(routes!(onboarding::session::start))
        .routes(routes!(onboarding::session::reset))
        .routes(routes!(onboarding::session::complete))
        .routes(routes!(onboarding::steps::step))
        .routes(routes!(onboarding::steps::access))
        .routes(routes!(onboarding::steps::complete))
        .routes(routes!(onboarding::steps::skip))
        .routes(routes!(onboarding::keys::list, onboarding::keys::save))
        .routes(routes!(onboarding::keys::list_for_onboarding))
        .routes(routes!(onboarding::keys::validate_all, onboarding::keys::validate_all_posted))
        .routes(routes!(onboarding::providers::list))
        .routes(routes!(onboarding::providers::one))
        .routes(routes!(onboarding::providers::validate))
}

/// What anybody may call.
const PUBLIC: [&str; 4] = ["/healthz", "/readyz", "/api/config", "/webhooks/clerk"];
/// The name of the bearer token in the description.
const TOKEN: &str = "token";
/// The name of a backend service's token there, and the addresses that take it.
const SERVICE_TOKEN: &str = "service_token";
const OF_SERVICES: &str = "/api/service/";

/// The description of the API.
pub fn description() -> Description {
    let mut description = api().split_for_parts().1;
    description.info.version = env!("CARGO_PKG_VERSION").into();
    let mut token = Http::new(HttpAuthScheme::Bearer);
    token.bearer_format = Some("JWT".into());
    token.description =
        Some("A token of the configured issuer. Local mode needs none, or its KEYFOLD_LOCAL_TOKEN.".into());
    let mut service_token = Http::new(HttpAuthScheme::Bearer);
    service_token.description =
        Some("A token of a backend service: kfs_…, made by `keyfold token create`.".into());
    let components = description.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    components.add_security_scheme(SERVICE_TOKEN, SecurityScheme::Http(service_token));
    for (path, item) in &mut description.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            describe_problems(operation);
            let token = if path.starts_with(OF_SERVICES) { SERVICE_TOKEN } else { TOKEN };
            let needed = (!PUBLIC.contains(&path.as_str()))
                .then(|| SecurityRequirement::new(token, std::iter::empty::<String>()));
            operation.security = Some(needed.into_iter().collect());
        }
    }
    description
}

/// Every operation can fail, and every failure has the same body.
fn describe_problems(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    responses.entry("default".into()).or_insert_with(|| RefOr::T(Response::new("any other error")));
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && !status.starts_with('2')
        {
            let body = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert("application/problem+json".into(), RefOr::T(body));
        }
    }
}

/// The whole service.
pub fn router(app: &App) -> Router {
    let (api, _) = api().split_for_parts();
    let text: Arc<str> = description().to_pretty_json().unwrap_or_default().into();
    let pages = Arc::clone(&app.pages);
    let service = api
        .merge(pages.routes())
        .route("/openapi.json", get(async move || openapi::openapi(&text)))
        // What is behind it is described by each provider.
        .route("/gateway/{provider}/{*path}", any(gateway::gateway))
        .route("/gateway/{provider}/", any(gateway::gateway))
        .fallback(async move |method: Method, uri: Uri, headers: HeaderMap| {
            let nothing = "There is nothing at this address. /docs lists what there is.";
            let problem = Problem::new("not_found", nothing).into_response();
            let page = pages.nothing_here(&method, uri.path(), &headers).await;
            let Some(mut page) = page else { return problem };
            *page.status_mut() = problem.status();
            page
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                "method_not_allowed",
                "This address exists, but not for this method. The Allow header lists those that work.",
            )
        });
    // A layer added later is further out.
    let preflight = from_fn_with_state(app.clone(), answer_preflight);
    let guarded = match app.keyfold.mode() {
        Mode::Local => service
            .layer(from_fn_with_state(app.clone(), check_token))
            .layer(preflight)
            .layer(from_fn_with_state(app.clone(), check_origin)),
        // No page can make a browser send a token that the page itself does not have.
        Mode::Production => service.layer(preflight),
    };
    guarded
        .layer(from_fn(header_limit))
        .layer(CatchPanicLayer::custom(|_| Problem::internal("a handler panicked").into_response()))
        .layer(from_fn_with_state(app.clone(), share_with_allowed_origins))
        .layer(from_fn_with_state(app.clone(), security_headers))
        .layer(from_fn_with_state(app.clone(), request_scope))
        .with_state(app.clone())
}

//! Any request of a provider's client library, with the caller's own key. Plain ones go through `lane.rs` instead, by
//! the same rules.

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::header::{ALLOW, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use keyfold::gateway::{Field, RequestHead, Target};

use crate::app::App;
use crate::caller::{Caller, ProvidersAnswer, RequestId};
use crate::current_user::request_origin;
use crate::gateway_caller::{AskedIn, admit, find_credential, refuse_in_address};
use crate::problem::Problem;
use crate::rate_limit;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// TRACE would send the key back (RFC 9110, section 9.3.8), and CONNECT leads elsewhere.
pub(crate) const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

pub(crate) async fn gateway(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if !METHODS.contains(&parts.method) {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return Err(Problem::new(
            "method_not_allowed",
            "The gateway does not pass on requests of this method.",
        )
        .with_header(ALLOW, allowed));
    }
    refuse_what_a_page_loads(&parts.headers)?;
    let address = parts.uri.to_string();
    let target = Target::parse(&address).map_err(|why| {
        Problem::malformed(format!("The address of the request {why}.")).with_field("field", "path")
    })?;
    refuse_in_address(&target)?;
    let upstream = app.keyfold.gateway().upstream(target.provider)?;
    let fields = fields(&parts.headers);
    let credential = find_credential(&fields, &target, upstream.provider())?;
    let asked = AskedIn { request_id: &request_id.0, address: caller.address, fields: &fields };
    let text = credential.map(|credential| credential.text);
    let origin = request_origin(&parts);
    if app.guard.has_token() {
        rate_limit::before_a_guess(&app, &parts)?;
    }
    let admitted = match admit(&app, text, &origin, upstream.provider(), &asked, Some(&caller)).await {
        Err(problem) if problem.code() == "unauthenticated" => {
            return Err(rate_limit::of_strange_caller(&app, &caller, problem).await);
        }
        admitted => admitted?,
    };
    rate_limit::note(&caller, app.keyfold.count_gateway(&admitted).await)?;
    let head = RequestHead {
        method: parts.method.clone(),
        target,
        fields: &fields,
        credential_is_in_query: credential.is_some_and(|credential| credential.is_in_query),
    };
    let body = body.map_err(Into::into).boxed_unsync();
    let answer = app.keyfold.gateway().forward(admitted, upstream, head, body).await?;
    let mut answer = answer.map(Body::new);
    answer.extensions_mut().insert(ProvidersAnswer);
    Ok(answer)
}

/// Programs call the gateway, pages by `fetch`. Nothing else that a browser does with an address is answered: what comes
/// from a provider is no page, script or frame of this origin.
fn refuse_what_a_page_loads(headers: &HeaderMap) -> Result<(), Problem> {
    let is_loaded =
        headers.get_all(SEC_FETCH_DEST).iter().any(|destination| destination.as_bytes() != b"empty");
    let is_navigation = headers.get_all(SEC_FETCH_MODE).iter().any(|mode| mode.as_bytes() == b"navigate");
    if is_loaded || is_navigation {
        return Err(Problem::new(
            "forbidden",
            "The gateway is for programs, and for pages that call it with fetch(). A browser cannot open it or load parts of a page from it.",
        ));
    }
    if headers.contains_key(UPGRADE) {
        return Err(Problem::malformed(
            "The gateway passes on requests and their answers; it cannot switch to another protocol, such as WebSocket.",
        )
        .with_field("field", "upgrade"));
    }
    Ok(())
}

fn fields(headers: &HeaderMap) -> Vec<Field<'_>> {
    headers.iter().map(|(name, value)| Field { name: name.as_str(), value: value.as_bytes() }).collect()
}

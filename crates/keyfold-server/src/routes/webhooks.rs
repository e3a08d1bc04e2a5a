//! Messages of the token issuer.

use axum::extract::{FromRequest, Request, State};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use keyfold::account::{IssuerMessages, Taken};
use keyfold::auth::webhook::{MessageHeaders, MessageRefusal, SigningSecret, VerifiedMessage};
use keyfold::requester::{Actor, Requester};

use crate::app::App;
use crate::caller::{Caller, RequestId};
use crate::json_body::RawBody;
use crate::problem::Problem;
use crate::rate_limit::of_strange_caller;

/// The names that Svix gives its headers, and those of Standard Webhooks.
const FAMILIES: [[&str; 3]; 2] = [
    ["svix-id", "svix-timestamp", "svix-signature"],
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
];

/// Takes a message of Clerk's webhook: a user who was deleted there is deleted here.
///
/// Signed by Svix instead of carrying a token. Events that do not concern Keyfold, and messages that were acted upon
/// before, are answered with success, so that they are not sent again.
#[utoipa::path(post, path = "/webhooks/clerk", operation_id = "clerkWebhook", tag = "account",
    request_body(content = Object, description = "an event of Clerk"),
    params(
        ("svix-id" = String, Header, description = "the message's id"),
        ("svix-timestamp" = String, Header, description = "when it was sent, in seconds since 1970"),
        ("svix-signature" = String, Header, description = "its signatures")
    ),
    responses(
        (status = 204, description = "taken"),
        (status = 401, description = "`unauthenticated`: the signature, or the time of the message"),
        (status = 404, description = "`not_found`: no signing secret is configured"),
        (status = 429, description = "`rate_limited`: too many messages from this address that Clerk did not sign")
    ))]
pub(crate) async fn clerk(State(app): State<App>, request: Request) -> Result<StatusCode, Problem> {
    let Some(secret) = &app.webhook else {
        return Err(Problem::new(
            "not_found",
            "There is no webhook here: set CLERK_WEBHOOK_SIGNING_SECRET to the endpoint's signing secret, and restart Keyfold.",
        ));
    };
    let (requester, caller) = (requester(&request), request.extensions().get::<Caller>().cloned());
    let messages = app.keyfold.issuer_messages();
    let message = match verified(&app, secret, &messages, request).await {
        // As with tokens: a good signature is never refused for what others do behind its address.
        Err(problem) if problem.code() == "unauthenticated" => {
            return Err(match caller {
                Some(caller) => of_strange_caller(&app, &caller, problem).await,
                None => problem,
            });
        }
        verified => verified?,
    };
    let taken = messages.take(&message, &requester).await?;
    if taken == Taken::Repeated {
        tracing::info!("a message of the webhook came again; it was acted upon before");
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn verified(
    app: &App,
    secret: &SigningSecret,
    messages: &IssuerMessages,
    request: Request,
) -> Result<VerifiedMessage, Problem> {
    let headers = request.headers().clone();
    let signed = message_headers(&headers)?;
    let RawBody(body) = RawBody::from_request(request, app).await?;
    messages.verify(secret, signed, &body).map_err(refusal)
}

fn requester(request: &Request) -> Requester {
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>().map_or_else(Default::default, |id| id.0.clone());
    let address = extensions.get::<Caller>().and_then(|caller| caller.address);
    Requester::new(Actor::Issuer).in_request(id, address)
}

fn message_headers(headers: &HeaderMap) -> Result<MessageHeaders<'_>, Problem> {
    let family = FAMILIES.into_iter().find(|[id, ..]| headers.contains_key(*id));
    let once = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    };
    let read = family.and_then(|[id, timestamp, signature]| {
        Some(MessageHeaders { id: once(id)?, timestamp: once(timestamp)?, signature: once(signature)? })
    });
    read.ok_or_else(|| {
        unsigned("The message is not signed: the headers svix-id, svix-timestamp and svix-signature belong to it, once each.")
    })
}

fn refusal(refusal: MessageRefusal) -> Problem {
    match refusal {
        MessageRefusal::Content => Problem::invalid_request(
            "body",
            "must be a JSON object with a `type`; a `user.deleted` event has the user's id in `data.id`",
        ),
        _ => unsigned(refusal.to_string()),
    }
}

fn unsigned(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new("unauthenticated", detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Svix realm=\"keyfold\""))
}

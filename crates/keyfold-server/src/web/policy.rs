//! What the pages may load and whom they may talk to. There is no inline script, so none is ever allowed.

use std::fmt::Write as _;

use http::HeaderValue;
use keyfold::auth::SignInOrigins;
use keyfold::auth::issuer::Issuer;
use url::Url;

/// `/docs` loads its own style, script and data, and nothing else.
pub(super) const OF_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Its bot protection, where Clerk says that it loads it from.
const CLERK_CHALLENGES: &str = "https://challenges.cloudflare.com";
/// Pictures of users and applications.
const CLERK_PICTURES: &str = "https://img.clerk.com";

/// Where CopilotKit's own component sends what is written to the assistant, whatever the registry says.
const COPILOTKIT_CLOUD: &str = "https://api.cloud.copilotkit.ai";

/// The same for the web page, which also talks to whoever signs its users in, and to CopilotKit's cloud.
///
/// `sign_in`: what an issuer other than Clerk says of itself. `framed_by`: `'none'`, but for the page's own address to
/// which the issuer leads back in a hidden frame.
pub(super) fn of_page(issuer: Option<&Issuer>, sign_in: &SignInOrigins, framed_by: &str) -> HeaderValue {
    let mut script = vec!["'self'".to_owned()];
    let mut style = script.clone();
    let mut pictures = vec!["'self'".to_owned(), "data:".into()];
    let mut connect = script.clone();
    let mut frame = vec![];
    let mut worker = vec![];
    let mut form = "'none'";
    // After the user's click only; the browser sends the user's own key there.
    connect.push(COPILOTKIT_CLOUD.into());
    if let Some((issuer, at)) = issuer.and_then(|issuer| Some((issuer, origin(&issuer.issuer)?))) {
        // Discovery and tokens.
        connect.push(at.clone());
        if issuer.is_clerk() {
            // Clerk's components come from its own host, put their styles into the page, and work in a worker.
            script.extend([at, CLERK_CHALLENGES.into()]);
            style.push("'unsafe-inline'".into());
            pictures.push(CLERK_PICTURES.into());
            frame.push(CLERK_CHALLENGES.into());
            worker.extend(["'self'".to_owned(), "blob:".into()]);
            form = "'self'";
        } else {
            add(&mut connect, sign_in.token.as_deref());
            // Silent renewal: the issuer in a hidden frame, which then leads back to the page's own address.
            frame.extend(["'self'".to_owned(), at]);
            add(&mut frame, sign_in.authorization.as_deref());
        }
    }
    let mut policy = String::from("default-src 'none'");
    for (directive, sources) in [
        ("script-src", script),
        ("style-src", style),
        ("img-src", pictures),
        ("font-src", vec!["'self'".to_owned()]),
        ("connect-src", connect),
        ("frame-src", frame),
        ("worker-src", worker),
        ("manifest-src", vec!["'self'".to_owned()]),
    ] {
        if !sources.is_empty() {
            // Writing into a string cannot fail.
            let _ = write!(policy, "; {directive} {}", sources.join(" "));
        }
    }
    let _ = write!(policy, "; form-action {form}; base-uri 'none'; frame-ancestors {framed_by}");
    // Origins are ASCII. Should one ever not be, the page is stricter, not looser.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(OF_DOCS))
}

fn add(sources: &mut Vec<String>, address: Option<&str>) {
    if let Some(origin) = address.and_then(origin)
        && !sources.contains(&origin)
    {
        sources.push(origin);
    }
}

/// Scheme, host and port of an address. Nothing that a policy would read as more than one host: host names may have
/// semicolons and asterisks.
fn origin(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    let text = origin.is_tuple().then(|| origin.ascii_serialization())?;
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-._:/[]".contains(&c);
    text.bytes().all(is_plain).then_some(text)
}

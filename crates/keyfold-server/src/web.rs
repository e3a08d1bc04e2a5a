//! The pages that come with the program: the web page, and the description of the API at `/docs`.

mod files;
mod policy;

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyfold::auth::issuer::Issuer;
use keyfold::auth::{SignInOrigins, SignInPlaces};

use files::{BUILT_IN, Files, PageFile};

/// Where the web page shows something of its own. Besides these there is `/keys/` with a provider.
const VIEWS: [&str; 8] = ["/", "/onboarding", "/keys", "/try", "/activity", "/account", "/sign-in", CALLBACK];
const CALLBACK: &str = "/callback";
const VIEW_OF_ONE_KEY: &str = "/keys/{provider}";
/// Who may reach a window that a page opened (<https://html.spec.whatwg.org/#cross-origin-opener-policies>).
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const DOCS: &str = "/docs";
/// What lies below these is for programs: what is not there is told in their way.
const OF_PROGRAMS: [&str; 6] = ["/api/", "/gateway/", "/assets/", "/webhooks/", "/openapi.json", "/healthz"];

const DOCS_FILES: [PageFile; 2] = [
    PageFile::plain("/assets/page.css", include_bytes!("../pages/page.css")),
    PageFile::plain("/assets/docs.js", include_bytes!("../pages/docs.js")),
];

/// The pages that a link elsewhere may lead to.
pub(crate) fn is_page(path: &str) -> bool {
    path == DOCS
        || VIEWS.contains(&path)
        || path.strip_prefix("/keys/").is_some_and(|provider| !provider.is_empty() && !provider.contains('/'))
}

/// The pages with their files, ready to be sent.
pub struct Pages {
    files: Files,
    /// Who signs people in, perhaps in a window beside the page.
    issuer: Option<Issuer>,
    /// Where, if the page has to ask.
    places: Option<SignInPlaces>,
    policies: RwLock<Arc<Policies>>,
}

/// What the page may do, as long as people sign in there.
struct Policies {
    sign_in: Arc<SignInOrigins>,
    page: HeaderValue,
    /// Of the address to which an issuer leads back, if it may do so in a frame of the page.
    in_frame: Option<HeaderValue>,
}

impl Policies {
    fn new(issuer: Option<&Issuer>, sign_in: Arc<SignInOrigins>) -> Arc<Self> {
        let policy = |framed_by| policy::of_page(issuer, &sign_in, framed_by);
        let page = policy("'none'");
        let in_frame = issuer.filter(|issuer| !issuer.is_clerk()).map(|_| policy("'self'"));
        Arc::new(Self { sign_in, page, in_frame })
    }
}

impl Pages {
    /// Those that were built in. `issuer` is whose tokens count, and `places` where people sign in on the page.
    pub fn built_in(issuer: Option<&Issuer>, places: Option<SignInPlaces>) -> Self {
        Self::of(BUILT_IN, issuer, places)
    }

    fn of(built: &[PageFile], issuer: Option<&Issuer>, places: Option<SignInPlaces>) -> Self {
        let files = built.iter().chain(&DOCS_FILES).copied();
        Self {
            files: Files::new(files),
            issuer: issuer.cloned(),
            places,
            policies: RwLock::new(Policies::new(issuer, Arc::default())),
        }
    }

    /// Asks what the page has to know, so that nobody waits for it later.
    pub(crate) fn prepare(&self) {
        if let (Some(places), true) = (&self.places, self.files.page().is_some()) {
            places.prepare();
        }
    }

    /// Their routes.
    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(self: &Arc<Self>) -> Router<S> {
        let mut router = Router::new().route(DOCS, get(docs));
        for view in VIEWS.into_iter().chain([VIEW_OF_ONE_KEY]) {
            let pages = Arc::clone(self);
            let is_callback = view == CALLBACK;
            let page =
                async move || if is_callback { pages.page_in_frame().await } else { pages.page().await };
            router = router.route(view, get(page));
        }
        for (path, file) in self.files.iter() {
            let file = file.clone();
            router = router.route(path, get(async move |headers: HeaderMap| file.send(&headers)));
        }
        router
    }

    /// The page for a browser that was led to an address where nothing is; `None` for programs.
    pub(crate) async fn nothing_here(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Response> {
        let wants_html = |kinds: &HeaderValue| kinds.to_str().is_ok_and(|kinds| kinds.contains("text/html"));
        let navigates = (method == Method::GET || method == Method::HEAD)
            && headers.get_all(ACCEPT).iter().any(wants_html)
            && !OF_PROGRAMS.iter().any(|begin| path.starts_with(begin));
        if navigates && self.files.page().is_some() { Some(self.page().await) } else { None }
    }

    async fn page_in_frame(&self) -> Response {
        let mut response = self.page().await;
        if let (Some(policy), true) = (&self.policies().in_frame, self.files.page().is_some()) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
            response.headers_mut().insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
            // It ends in the window that the page opened, and tells that page.
            response.headers_mut().insert(OPENER_POLICY, HeaderValue::from_static("unsafe-none"));
        }
        response
    }

    async fn page(&self) -> Response {
        let Some(html) = self.files.page() else { return of_docs(include_str!("../pages/notice.html")) };
        self.look_where_people_sign_in().await;
        let policy = self.policies().page.clone();
        let mut response = ([(CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response();
        if self.issuer.is_some() {
            let opener = HeaderValue::from_static("same-origin-allow-popups");
            response.headers_mut().insert(OPENER_POLICY, opener);
        }
        response
    }

    async fn look_where_people_sign_in(&self) {
        let Some(places) = &self.places else { return };
        let sign_in = places.known().await;
        if self.policies().sign_in != sign_in {
            let policies = Policies::new(self.issuer.as_ref(), sign_in);
            *self.policies.write().unwrap_or_else(PoisonError::into_inner) = policies;
        }
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn docs() -> Response {
    of_docs(include_str!("../pages/docs.html"))
}

fn of_docs(html: &'static str) -> Response {
    let policy = HeaderValue::from_static(policy::OF_DOCS);
    ([(CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
}

#[cfg(test)]
mod tests;

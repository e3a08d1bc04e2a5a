//! The short way through the gateway, for plain requests, which are nearly all: from the caller's connection to the
//! provider's in one task, without hyper, the router and its layers in between (`keyfold::gateway::direct`).
//!
//! It answers only what it understands to the last byte. For everything else, refusals of a credential included, the
//! connection goes to hyper with what was read of it, and stays there: the rules and the words are those of
//! `routes/gateway.rs`. Local mode has no lane: what it reads for each request costs more than the lane would save.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use axum::body::to_bytes;
use axum::response::Response;
use http::Method;
use http::header::STRICT_TRANSPORT_SECURITY;
use httparse::{ParserConfig, Status};
use keyfold::auth::local::RequestOrigin;
use keyfold::gateway::direct::{Added, CallerConnection, Passed, PlainRequest, read_length};
use keyfold::gateway::{Field, PREFIX, RequestHead, Target};
use keyfold::mode::Mode;
use keyfold::user::UserId;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant as TokioInstant;

use crate::app::App;
use crate::caller::{Caller, FORWARDED_FOR, client_address};
use crate::current_service::{KEYFOLD_USER, is_service_token};
use crate::gateway_caller::{AskedIn, admit, find_credential, refuse_in_address};
use crate::metrics::known_method;
use crate::middleware::header_limit::{LONGEST_TARGET, MOST_BYTES, MOST_HEADERS};
use crate::middleware::request_scope::{REQUEST_ID, RequestLine, callers_own, shape_of};
use crate::middleware::security_headers::{STAY_WITH_HTTPS, STAY_WITH_HTTPS_LINE, stays_with_https};
use crate::problem::Problem;
use crate::rate_limit::{self, put_lines};
use crate::router::router;
use crate::serve::{ConnectionThreads, FirstReader, Limits, Stopping, serve_with};

/// As the metrics and the log call it, like the other way.
const ROUTE: &str = "/gateway/{provider}/{*path}";
/// The longest body of an answer of Keyfold's own.
const LONGEST_PROBLEM: usize = 64 * 1024;
/// The methods that it takes.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The lane of an application in production.
#[derive(Clone)]
pub(crate) struct Lane {
    app: App,
}

/// Serves an application until `stop` is ready, then lets answers under way end.
///
/// # Errors
/// If there are no threads to be had for its connections.
pub async fn serve_app(
    listener: TcpListener,
    app: &App,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let lane = Lane::of(app);
    let threads = lane.as_ref().map(|_| ConnectionThreads::start()).transpose()?;
    serve_with(listener, router(app), lane.zip(threads.as_ref()), limits, stop).await;
    Ok(())
}

impl Lane {
    /// `None` in local mode.
    pub(crate) fn of(app: &App) -> Option<Self> {
        (app.keyfold.mode() == Mode::Production).then(|| Self { app: app.clone() })
    }
}

/// What the bytes of a connection are so far.
enum Look {
    /// Not a whole head.
    More,
    /// Nothing for the lane.
    Other,
    Plain(Plain),
}

/// A plain request.
struct Plain {
    request: PlainRequest,
    method: Method,
    /// Where in the head the credential stands.
    credential: Range<usize>,
    /// The value of `Keyfold-User`, likewise.
    user: Option<Range<usize>>,
    request_id: Arc<str>,
    id_is_callers_own: bool,
    address: IpAddr,
    closes: bool,
    /// Of head and body.
    length: u64,
}

impl FirstReader for Lane {
    async fn read(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        limits: &Limits,
        stopping: Stopping,
    ) -> Option<(TcpStream, Vec<u8>)> {
        let mut connection = CallerConnection::new(stream, limits.write);
        let mut head_until = None;
        let (mut stopped, mut is_listening) = (pin!(stopping.clone().asked()), false);
        loop {
            let plain = match self.look(&mut connection, peer) {
                Look::Plain(plain) => {
                    head_until = None;
                    plain
                }
                Look::Other => return Some(connection.into_parts()),
                Look::More => {
                    let is_idle = connection.unused().is_empty();
                    // From its first byte on, a head has so long, in however small pieces it comes.
                    let until = *head_until.get_or_insert_with(|| TokioInstant::now() + limits.head);
                    if is_idle {
                        head_until = None;
                    }
                    connection.wait_until(until);
                    let read = poll_fn(|context| {
                        // Told once whom to wake, it does so whatever the connection waits for then.
                        if !is_listening {
                            is_listening = true;
                            let _ = stopped.as_mut().poll(context);
                        }
                        if is_idle && stopping.is_asked() {
                            return Poll::Ready(Ok(false));
                        }
                        connection.poll_more(context)
                    });
                    match read.await {
                        Ok(true) => continue,
                        // Hyper has words for a head that does not come.
                        Err(error) if error.kind() == io::ErrorKind::TimedOut && !is_idle => {
                            return Some(connection.into_parts());
                        }
                        Ok(false) | Err(_) => return None,
                    }
                }
            };
            match self.serve(&mut connection, plain).await {
                Next::Request if !stopping.is_asked() => {}
                Next::Request | Next::Close => {
                    connection.end().await;
                    return None;
                }
                Next::Cut => {
                    connection.cut();
                    return None;
                }
                Next::HandOver => return Some(connection.into_parts()),
            }
        }
    }
}

/// What becomes of a connection after a request.
enum Next {
    Request,
    Close,
    Cut,
    HandOver,
}

impl Lane {
    fn look(&self, connection: &mut CallerConnection, peer: SocketAddr) -> Look {
        let (out, bytes) = connection.head_and_unused();
        if bytes.is_empty() {
            return Look::More;
        }
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut read = httparse::Request::new(&mut []);
        let parsed =
            ParserConfig::default().parse_request_with_uninit_headers(&mut read, bytes, &mut headers);
        let head_bytes = match parsed {
            Ok(Status::Complete(head_bytes)) => head_bytes,
            Ok(Status::Partial)
                if bytes.len() < MOST_BYTES && read.path.is_none_or(|path| path.starts_with(PREFIX)) =>
            {
                return Look::More;
            }
            _ => return Look::Other,
        };
        let (Some(method), Some(path), Some(1)) = (read.method, read.path, read.version) else {
            return Look::Other;
        };
        let Some(method) = METHODS.iter().find(|known| known.as_str() == method) else { return Look::Other };
        if head_bytes > MOST_BYTES || path.len() > LONGEST_TARGET {
            return Look::Other;
        }
        let Ok(target) = Target::parse(path) else { return Look::Other };
        let Ok(upstream) = self.app.keyfold.gateway().upstream(target.provider) else { return Look::Other };
        let Some(told) = Told::by(read.headers) else { return Look::Other };
        let fields = &*read.headers;
        let Ok(Some(credential)) = find_credential(fields, &target, upstream.provider()) else {
            return Look::Other;
        };
        let is_service = is_service_token(credential.text);
        if refuse_in_address(&target).is_err() || (told.user.is_some() && !is_service) {
            return Look::Other;
        }
        let place_of = |text: &[u8]| {
            let start = text.as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + text.len()
        };
        let (place, user) = (place_of(credential.text.as_bytes()), told.user.map(place_of));
        let own_id = told.request_id.and_then(|id| callers_own(&self.app, id));
        let id_is_callers_own = own_id.is_some();
        let request_id = own_id.map_or_else(|| self.app.request_ids.make(), Arc::from);
        let forwarded = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(FORWARDED_FOR));
        let address = client_address(
            peer.ip().to_canonical(),
            forwarded.map(|field| field.value),
            &self.app.trusted_proxies,
        );
        let head = RequestHead {
            method: method.clone(),
            target,
            fields,
            credential_is_in_query: credential.is_in_query,
        };
        let request = PlainRequest::begin(upstream, out, &head, head_bytes, told.length);
        let Some(request) = request else { return Look::Other };
        Look::Plain(Plain {
            request,
            method: method.clone(),
            credential: place,
            user,
            request_id,
            id_is_callers_own,
            address,
            closes: told.closes,
            length: head_bytes as u64 + told.length.unwrap_or(0),
        })
    }

    async fn serve(&self, connection: &mut CallerConnection, plain: Plain) -> Next {
        let Plain {
            request,
            method,
            credential,
            user,
            request_id,
            id_is_callers_own,
            address,
            closes,
            length,
        } = plain;
        let begun = now();
        connection.begin_request(length);
        let text = |range: &Range<usize>| std::str::from_utf8(&connection.unused()[range.clone()]).ok();
        let user = user.map(|range| Field { name: "keyfold-user", value: &connection.unused()[range] });
        let asked = AskedIn { request_id: &request_id, address: Some(address), fields: user.as_slice() };
        let provider = Arc::clone(request.upstream().provider());
        let origin = RequestOrigin::default();
        let admitted = admit(&self.app, text(&credential), &origin, &provider, &asked, None).await;
        // Hyper's way counts strangers and has the words.
        let Ok(caller) = admitted else { return Next::HandOver };
        let served =
            Served { id: &request_id, method: &method, provider: provider.id.as_str(), begun, closes };
        let (user, service) = (caller.user().clone(), caller.service().cloned());
        let counted = self.app.keyfold.count_gateway(&caller).await;
        let standing = match counted {
            Ok(standing) => standing,
            Err(refusal) => {
                let log = known(address, &user, service.as_ref());
                let problem = rate_limit::refused(&log, refusal);
                return self.refuse(connection, &problem, &log, &served).await;
            }
        };
        let mut lines = Vec::new();
        if let Some(standing) = &standing {
            put_lines(&mut lines, standing);
        }
        if stays_with_https(&self.app, false) {
            lines.extend_from_slice(STAY_WITH_HTTPS_LINE);
        }
        let added =
            Added { request_id: &request_id, is_callers_own: id_is_callers_own, lines: &lines, closes };
        match self.app.keyfold.gateway().pass(caller, connection, request, &added).await {
            Ok((passed, status)) => {
                self.app.metrics.passed(&method);
                if let Some(status) = status {
                    let caller = service.is_none().then_some(&user);
                    served.log(status.as_u16(), Some(address), caller, service.as_deref(), None);
                }
                match passed {
                    Passed::Whole => Next::Request,
                    Passed::Last | Passed::Broken => Next::Close,
                    Passed::Cut => Next::Cut,
                }
            }
            Err(error) => {
                let log = known(address, &user, service.as_ref());
                if let Some(standing) = standing {
                    log.note_limit(standing);
                }
                self.refuse(connection, &error.into(), &log, &served).await
            }
        }
    }

    /// Answers with a problem.
    async fn refuse(
        &self,
        connection: &mut CallerConnection,
        problem: &Problem,
        log: &Caller,
        served: &Served<'_>,
    ) -> Next {
        let Served { id, method, provider, begun, closes } = served;
        let mut response = problem.respond_on_gateway(id, shape_of(&self.app, provider));
        rate_limit::write_headers(log, response.headers_mut());
        if let Ok(id) = http::HeaderValue::from_str(id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if stays_with_https(&self.app, false) {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, STAY_WITH_HTTPS);
        }
        let status = response.status().as_u16();
        self.app.metrics.request(method, ROUTE, status, begun.elapsed());
        served.log(status, log.address, log.user(), log.service(), Some(problem));
        // What is left of the request would be taken for the next one.
        let closes = !connection.skip_request() || *closes;
        let bytes = as_bytes(response, closes).await;
        if connection.write(&bytes).await.is_err() {
            return Next::Cut;
        }
        if closes { Next::Close } else { Next::Request }
    }
}

/// What the log, and an answer of Keyfold's own, say of a request.
struct Served<'a> {
    id: &'a str,
    method: &'a Method,
    provider: &'a str,
    begun: Instant,
    closes: bool,
}

impl Served<'_> {
    fn log(
        &self,
        status: u16,
        client: Option<IpAddr>,
        user: Option<&UserId>,
        service: Option<&str>,
        problem: Option<&Problem>,
    ) {
        let line = RequestLine {
            id: self.id,
            method: known_method(self.method),
            route: ROUTE,
            status,
            duration: self.begun.elapsed(),
            client,
            user,
            service,
            problem,
        };
        line.write(problem.is_none());
    }
}

/// Who called, for the log of an answer of Keyfold's own.
fn known(address: IpAddr, user: &UserId, service: Option<&Arc<str>>) -> Caller {
    let caller = Caller::at(address);
    match service {
        Some(service) => caller.note_service(service),
        None => caller.note_user(user),
    }
    caller
}

/// A measured duration only: nothing is decided by it.
fn now() -> Instant {
    Instant::now()
}

async fn as_bytes(response: Response, closes: bool) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LONGEST_PROBLEM).await.unwrap_or_default();
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).into_bytes();
    for (name, value) in &parts.headers {
        if name != http::header::CONTENT_LENGTH {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
    let connection = if closes { "connection: close\r\n" } else { "" };
    bytes.extend_from_slice(format!("content-length: {}\r\n{connection}\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// What a head says besides where it goes.
struct Told<'a> {
    length: Option<u64>,
    closes: bool,
    request_id: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
}

impl<'a> Told<'a> {
    /// `None` for a head that is not plain: what is there twice, what asks for more than a request and an answer, and
    /// what a browser sends.
    fn by(headers: &[httparse::Header<'a>]) -> Option<Self> {
        let mut told = Self { length: None, closes: false, request_id: None, user: None };
        let (mut hosts, mut connections) = (0, 0);
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let is_plain = match header.name.as_bytes().first().map_or(0, u8::to_ascii_lowercase) {
                b'a' => !begins_with("access-control-", header.name),
                b'c' if is("content-length") => told.length.replace(read_length(header.value)?).is_none(),
                b'c' if is("connection") => {
                    connections += 1;
                    told.closes = header.value.eq_ignore_ascii_case(b"close");
                    told.closes || header.value.eq_ignore_ascii_case(b"keep-alive")
                }
                b'e' => !is("expect"),
                b'h' if is("host") => {
                    hosts += 1;
                    true
                }
                b'h' => !is("http2-settings"),
                b'k' if is(KEYFOLD_USER.as_str()) => told.user.replace(header.value).is_none(),
                b'o' => !is("origin"),
                b'p' => !begins_with("proxy-", header.name),
                b's' => !begins_with("sec-", header.name),
                b't' => !(is("te") || is("trailer") || is("transfer-encoding")),
                b'u' => !is("upgrade"),
                b'x' if is("x-request-id") => told.request_id.replace(header.value).is_none(),
                _ => true,
            };
            if !is_plain {
                return None;
            }
        }
        (hosts == 1 && connections <= 1).then_some(told)
    }
}

fn begins_with(prefix: &str, name: &str) -> bool {
    name.len() >= prefix.len() && name.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
}

//! A stand-in for a token issuer (Clerk, or any OpenID Connect provider): a discovery document and a key set over
//! HTTP on this machine, and tokens of every form.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use keyfold_standin::Issuer;
//! use keyfold_standin::issuer::{Answer, FOREIGN_RSA, KEY_SET_PATH, NEXT_RSA, RSA};
//!
//! let issuer = Issuer::start().await;
//! let settings = issuer.settings();             // what makes Keyfold trust it
//! let token = issuer.token_for("user_a");       // signed with `RSA`, for an hour
//!
//! let mut claims = issuer.claims_for("user_a");
//! claims["azp"] = "https://elsewhere.example".into();
//! let foreign_party = RSA.token(&claims);       // or any other key, and `token_with` any header
//!
//! issuer.publish(&[&NEXT_RSA]);                 // the key set is another one from now on
//! issuer.answer(KEY_SET_PATH, Answer::Hang);    // until `release`
//! issuer.go_away().await;                       // connections are refused, until `come_back`
//! # }
//! ```

mod signing_key;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Closed;
pub use signing_key::{ED25519, FOREIGN_RSA, NEXT_RSA, P256, RSA, SigningKey};

/// Where the key set is.
pub const KEY_SET_PATH: &str = "/.well-known/jwks.json";
/// Where the discovery document is (OpenID Connect Discovery 1.0, section 4).
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// `GET` of this and a user's id gives a fresh token for that user. No real issuer does that.
pub const TOKEN_PATH: &str = "/token/";
/// The front end that tokens are made for (`azp`).
pub const PARTY: &str = "https://app.example.com";

/// For how long tokens live, in seconds.
const LIFETIME: i64 = 3600;
const BACKLOG: u32 = 1024;

/// How an issuer answers on one path.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this document.
    Json(Value),
    /// With this status, these headers and this body.
    Raw(u16, Vec<(&'static str, String)>, String),
    /// By closing the connection.
    CloseWithoutAnswer,
    /// Not before [`Issuer::release`], and then as it does at that time.
    Hang,
}

/// A running token issuer. It stops when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    place: tokio::sync::Mutex<Place>,
}

#[derive(Debug)]
enum Place {
    Here(JoinHandle<()>),
    /// The port stays taken, and refuses.
    Away(TcpSocket),
    Between,
}

#[derive(Debug)]
struct Shared {
    url: String,
    answers: Mutex<BTreeMap<String, Answer>>,
    time: Mutex<Option<i64>>,
    requests: watch::Sender<Vec<String>>,
    released: watch::Sender<u64>,
}

impl Issuer {
    /// On a free port of 127.0.0.1, as tasks of the current runtime; publishes [`RSA`], [`P256`] and [`ED25519`].
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start() -> Self {
        Self::start_with(&[&RSA, &P256, &ED25519]).await
    }

    /// The same with these keys.
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn start_with(keys: &[&SigningKey]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_on(address, keys).await.expect("a free port on 127.0.0.1")
    }

    /// The same on this address.
    ///
    /// # Errors
    /// If it cannot be listened on.
    pub async fn start_on(address: SocketAddr, keys: &[&SigningKey]) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let shared = Arc::new(Shared {
            url: url.clone(),
            answers: Mutex::default(),
            time: Mutex::default(),
            requests: watch::Sender::default(),
            released: watch::Sender::default(),
        });
        let place = Place::Here(tokio::spawn(accept(listener, Arc::clone(&shared))));
        let issuer = Self { address, url, shared, place: tokio::sync::Mutex::new(place) };
        issuer.publish(keys);
        issuer.answer(DISCOVERY_PATH, Answer::Json(issuer.discovery_document()));
        Ok(issuer)
    }

    /// Its address, which is what its tokens say as `iss`. No slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of its key set.
    pub fn key_set_url(&self) -> String {
        format!("{}{KEY_SET_PATH}", self.url)
    }

    /// The settings that make Keyfold trust its tokens.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [("KEYFOLD_AUTH_ISSUER", self.url.clone()), ("KEYFOLD_AUTHORIZED_PARTIES", PARTY.to_owned())]
    }

    /// Its discovery document, as it is at first.
    pub fn discovery_document(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": self.key_set_url(),
            "authorization_endpoint": format!("{}/authorize", self.url),
            "token_endpoint": format!("{}/token", self.url),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        })
    }

    /// From now on it is this time for tokens, in seconds since 1970. Before, it is the system's.
    pub fn set_time(&self, seconds: i64) {
        *lock(&self.shared.time) = Some(seconds);
    }

    /// The claims of an ordinary token for this user, such as Clerk's: fresh, and for an hour.
    pub fn claims_for(&self, user: &str) -> Value {
        self.shared.claims_for(user)
    }

    /// An ordinary token for this user, signed with [`RSA`].
    pub fn token_for(&self, user: &str) -> String {
        RSA.token(&self.claims_for(user))
    }

    /// From now on the key set has these keys, and no others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_jwks(&keys.iter().map(|key| key.jwk()).collect::<Vec<_>>());
    }

    /// From now on the key set has these keys, whatever they are.
    pub fn publish_jwks(&self, keys: &[Value]) {
        self.answer(KEY_SET_PATH, Answer::Json(json!({ "keys": keys })));
    }

    /// How requests for this path (and query) are answered from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        lock(&self.shared.answers).insert(path.to_owned(), answer);
    }

    /// Lets everything go on that hangs now.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Closes the port and all connections: new ones are refused.
    ///
    /// # Panics
    /// If the port cannot be held.
    pub async fn go_away(&self) {
        let mut place = self.place.lock().await;
        match std::mem::replace(&mut *place, Place::Between) {
            Place::Here(task) => {
                task.abort();
                let _ = task.await;
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_reuseaddr(true).expect("a socket takes options");
                socket.bind(self.address).expect("the port that was just given up");
                *place = Place::Away(socket);
            }
            other => *place = other,
        }
    }

    /// Listens again after [`go_away`](Self::go_away).
    ///
    /// # Panics
    /// If it cannot.
    pub async fn come_back(&self) {
        let mut place = self.place.lock().await;
        match std::mem::replace(&mut *place, Place::Between) {
            Place::Away(socket) => {
                let listener = socket.listen(BACKLOG).expect("the port is still taken by us");
                *place = Place::Here(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
            }
            other => *place = other,
        }
    }

    /// The paths (and queries) that were asked for so far, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.borrow().clone()
    }

    /// How often the key set was asked for.
    pub fn key_set_requests(&self) -> usize {
        self.shared.requests.borrow().iter().filter(|path| *path == KEY_SET_PATH).count()
    }

    /// Waits until so many requests have come.
    pub async fn wait_for_requests(&self, n: usize) {
        let mut requests = self.shared.requests.subscribe();
        let _ = requests.wait_for(|requests| requests.len() >= n).await;
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Place::Here(task) = self.place.get_mut() {
            task.abort();
        }
    }
}

impl Shared {
    fn claims_for(&self, user: &str) -> Value {
        let now = lock(&self.time).unwrap_or_else(system_time);
        json!({
            "iss": self.url, "sub": user, "azp": PARTY, "iat": now, "nbf": now - 10, "exp": now + LIFETIME,
            "sid": "sess_standin", "sts": "active", "v": 2,
        })
    }

    async fn answer_to(&self, path: &str) -> Result<Response<Full<Bytes>>, Closed> {
        let mut released = self.released.subscribe();
        self.requests.send_modify(|requests| requests.push(path.to_owned()));
        loop {
            let answer = lock(&self.answers).get(path).cloned();
            return match answer {
                Some(Answer::Hang) => {
                    let _ = released.changed().await;
                    continue;
                }
                Some(Answer::CloseWithoutAnswer) => Err(Closed),
                Some(Answer::Json(document)) => {
                    Ok(response(200, &[("content-type", "application/json".into())], document.to_string()))
                }
                Some(Answer::Raw(status, headers, body)) => Ok(response(status, &headers, body)),
                None => Ok(match path.strip_prefix(TOKEN_PATH) {
                    Some(user) => {
                        let claims = self.claims_for(&percent_decoded(user));
                        response(200, &[("content-type", "text/plain".into())], RSA.token(&claims) + "\n")
                    }
                    None => response(404, &[], String::new()),
                }),
            };
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "tokens that people try by hand are for the present")]
fn system_time() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(now.as_secs()).expect("a time before the end of days")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            shared.answer_to(&path).await
        }
    });
    // An error is a connection that one of both sides closed in the middle, which tests do on purpose.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn response(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status code that HTTP has");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a value that HTTP allows");
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    response
}

/// `%20` and the like; what is none stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = code.filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

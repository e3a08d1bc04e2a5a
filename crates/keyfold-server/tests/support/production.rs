//! A Keyfold in production for one test: its own database on the shared PostgreSQL, its own token issuer, its own
//! providers' stand-in, its own port. Replicas share all but the port.

use std::net::SocketAddr;
use std::sync::Arc;

use keyfold::clock::{Clock, ManualClock, SystemRandom};
use keyfold::envelope::MasterKey;
use keyfold::provider::http::Timeouts;
use keyfold::settings::Environment;
use keyfold::{Keyfold, Parts};
use keyfold_server::app::App;
use keyfold_server::config::{Config, ServerConfig};
use keyfold_server::lane::serve_app;
use keyfold_server::metrics::Metrics;
use keyfold_server::serve::Limits;
use keyfold_standin::issuer::{Issuer, PARTY};
use keyfold_standin::{PROVIDERS, Standin, example_key};
use keyfold_test_servers::{PostgresServer, SqlClient};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Answer, Events, START};

/// The address that people use.
pub const PUBLIC_URL: &str = "https://keys.example.com";

/// How a test's Keyfold differs from the usual one.
#[derive(Default)]
pub struct Setup {
    variables: Vec<(String, String)>,
    timeouts: Timeouts,
    limits: Limits,
    issuer: Option<Arc<Issuer>>,
    standin: Option<Arc<Standin>>,
    clock: Option<Arc<ManualClock>>,
    files: Vec<(String, String)>,
}

/// A Keyfold that serves in production.
pub struct Production {
    /// Where it was started. It leaves nothing there.
    pub dir: TempDir,
    pub standin: Arc<Standin>,
    pub issuer: Arc<Issuer>,
    /// The settings that it was started with, for another replica.
    pub variables: Vec<(String, String)>,
    pub keyfold: Keyfold,
    pub clock: Arc<ManualClock>,
    pub metrics: Metrics,
    pub address: SocketAddr,
    client: reqwest::Client,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// Someone with a token.
pub struct User<'a> {
    production: &'a Production,
    token: String,
}

impl Setup {
    /// A further variable of the process, or another value of one.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// An issuer that is there already.
    pub fn issuer(mut self, issuer: Arc<Issuer>) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// A stand-in that is there already.
    pub fn standin(mut self, standin: Arc<Standin>) -> Self {
        self.standin = Some(standin);
        self
    }

    /// A file that is there, where it is started, before it is.
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    pub async fn start(self) -> Production {
        let standin = match self.standin {
            Some(standin) => standin,
            None => Arc::new(Standin::start().await),
        };
        let issuer = match self.issuer {
            Some(issuer) => issuer,
            None => Arc::new(Issuer::start().await),
        };
        let clock = self.clock.unwrap_or_else(|| Arc::new(ManualClock::at(START.parse().unwrap())));
        let database = match self.variables.iter().find(|(name, _)| name == "DATABASE_URL") {
            Some((_, database)) => database.clone(),
            None => PostgresServer::shared().empty_database().await,
        };
        let master_key = MasterKey::generate(&SystemRandom).unwrap().to_string();
        let mut variables: Vec<(String, String)> = vec![
            ("DEPLOY_ENV".into(), "render".into()),
            ("HOST".into(), "127.0.0.1".into()),
            ("PORT".into(), "0".into()),
            ("DATABASE_URL".into(), database),
            ("KEYFOLD_MASTER_KEY".into(), master_key),
            ("KEYFOLD_PUBLIC_URL".into(), PUBLIC_URL.into()),
            ("KEYFOLD_ALLOWED_ORIGINS".into(), PARTY.into()),
            ("KEYFOLD_METRICS_ADDR".into(), "off".into()),
        ];
        variables.extend(super::without_limits());
        variables.extend(issuer.settings().map(|(name, value)| (name.into(), value)));
        for provider in PROVIDERS {
            let name = format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase());
            variables.push((name, standin.base_url(provider)));
        }
        variables.extend(self.variables);
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let environment: Environment = variables.iter().cloned().collect();
        let Config { settings, server, process } = Config::for_serving(environment, dir.path()).unwrap();
        let parts = Parts { clock: clock.clone(), random: Arc::new(SystemRandom), timeouts: self.timeouts };
        let keyfold = Keyfold::open(&settings, process, parts).await.unwrap();
        keyfold.limits().connect().await;
        let listener = TcpListener::bind(server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app =
            App::new(keyfold.clone(), &ServerConfig { listen: address, ..server }, Arc::new(SystemRandom));
        let metrics = app.metrics.clone();
        let (stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
            serve_app(listener, &app, self.limits, stop).await.unwrap();
        });
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        Production {
            dir,
            standin,
            issuer,
            variables,
            keyfold,
            clock,
            metrics,
            address,
            client,
            stop,
            serving,
        }
    }
}

impl Production {
    /// The usual one.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// One that differs by this variable, and by what is added to that.
    pub fn with(name: &str, value: &str) -> Setup {
        Setup::default().with(name, value)
    }

    /// Another process with the same settings, issuer, stand-in and clock.
    pub fn replica(&self) -> Setup {
        Setup {
            variables: self.variables.clone(),
            issuer: Some(self.issuer.clone()),
            standin: Some(self.standin.clone()),
            clock: Some(self.clock.clone()),
            ..Setup::default()
        }
    }

    /// Someone with a fresh token of this user.
    pub fn as_user(&self, user: &str) -> User<'_> {
        User { production: self, token: self.token_for(user) }
    }

    /// A token for this user, made now by this Keyfold's clock, for an hour.
    pub fn token_for(&self, user: &str) -> String {
        self.issuer.set_time(self.seconds());
        self.issuer.token_for(user)
    }

    /// The claims of such a token, to be changed.
    pub fn claims_for(&self, user: &str) -> Value {
        self.issuer.set_time(self.seconds());
        self.issuer.claims_for(user)
    }

    /// The time by this Keyfold's clock, in seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.clock.now().as_second()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request without a token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// The answer without a token.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// The answer with this token.
    pub async fn get_with(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// A connection of the test's own to the database, as its superuser.
    pub async fn sql(&self) -> SqlClient {
        let (_, database) = self.variables.iter().rfind(|(name, _)| name == "DATABASE_URL").unwrap();
        let (_, name) = database.rsplit_once('/').unwrap();
        PostgresServer::shared().connect(name).await
    }

    /// Sends a request that was built by hand and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.unwrap()).await
    }

    /// Stops it, and waits for that.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        self.serving.await.unwrap();
        drop(self.metrics);
        self.keyfold.close().await;
    }
}

impl User<'_> {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.production.request(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.production.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.production.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.production.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.production.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// Generates as `body` says; the answer is read event by event.
    pub async fn stream(&self, mut body: Value) -> Events {
        body["stream"] = true.into();
        Events::of(self.request(Method::POST, "/api/generate").json(&body).send().await.unwrap())
    }

    /// What the list says of a provider's key; null if it is not there.
    pub async fn listed(&self, provider: &str) -> Value {
        let list = self.get("/api/keys").await.ok();
        let keys = list["keys"].as_array().unwrap();
        keys.iter().find(|key| key["provider"] == provider).cloned().unwrap_or_default()
    }

    /// Saves the n-th example key of a provider and returns it.
    pub async fn has_example_key(&self, provider: &str, n: u32) -> String {
        let key = example_key(provider, n);
        let answer = self.put(&format!("/api/keys/{provider}"), json!({ "key": key })).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        key
    }
}

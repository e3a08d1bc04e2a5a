//! The settings of the server, read with the library's from the same sources; all that is wrong is told at once.

mod networks;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use keyfold::auth::issuer::Issuer;
use keyfold::auth::webhook::SigningSecret;
use keyfold::mode::Mode;
use keyfold::provider::clerk::{ClerkApi, MalformedAccess};
use keyfold::settings::{Environment, Problems, Settings, SettingsError, Sources};
use url::Url;
use zeroize::Zeroizing;

pub use networks::{MalformedNetwork, Network};

/// Everything that was configured.
pub struct Config {
    /// The library's settings.
    pub settings: Settings,
    /// The server's settings.
    pub server: ServerConfig,
    /// The environment of the process, for local mode's keys.
    pub process: Environment,
}

/// The settings of the server.
#[derive(Clone)]
pub struct ServerConfig {
    /// Local or production.
    pub mode: Mode,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address that people use.
    pub public_url: Option<String>,
    /// Further browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Local mode: further host names that are answered.
    pub allowed_hosts: Vec<String>,
    /// Local mode: what every request must carry.
    pub local_token: Option<Zeroizing<String>>,
    /// Networks of proxies that may say whom they forward for.
    pub trusted_proxies: Vec<Network>,
    /// Whose tokens count.
    pub issuer: Option<Issuer>,
    /// What Clerk's webhook messages are signed with; without it there is no webhook.
    pub webhook: Option<SigningSecret>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// What is logged.
    pub log: LogConfig,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A `tracing` filter.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

impl LogConfig {
    /// For commands that run before, or without, settings.
    pub fn quiet() -> Self {
        Self { filter: "warn".into(), json: false }
    }
}

impl Config {
    /// Reads everything for `keyfold serve`.
    pub fn for_serving(process: Environment, dir: &Path) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let Some(sources) = Sources::read(process, dir, &mut problems) else {
            return Err(SettingsError(problems));
        };
        let settings = Settings::read(&sources, &mut problems);
        let server = ServerConfig::read(&sources, &mut problems);
        problems.into_result()?;
        match (settings, server) {
            (Some(settings), Some(server)) => {
                Ok(Self { settings, server, process: sources.process().clone() })
            }
            // A part is missing only if a problem was added.
            _ => Err(SettingsError(Problems::default())),
        }
    }
}

impl ServerConfig {
    /// Where a server with these settings listens, whatever else is wrong with them.
    pub(crate) fn listen_address(sources: &Sources) -> Option<SocketAddr> {
        read_listen(sources, true, &mut Problems::default())
    }

    pub(crate) fn read(sources: &Sources, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let local = sources.mode() == Mode::Local;
        let local_token = sources.get_or_problem("KEYFOLD_LOCAL_TOKEN", problems);
        let listen = read_listen(sources, local_token.is_some(), problems);
        let public_url = sources.get("KEYFOLD_PUBLIC_URL").and_then(|url| {
            read_origin(&url).or_else(|| {
                problems.add(
                    "KEYFOLD_PUBLIC_URL",
                    "is not a web address",
                    "write it like https://keys.example.com, without a path",
                );
                None
            })
        });
        let allowed_origins = read_allowed_origins(sources, problems);
        // In local mode people use the address that it listens on, unless told otherwise.
        let listens =
            listen.filter(|_| local && public_url.is_none()).map(|listen| format!("http://{listen}"));
        let origins: Vec<String> =
            public_url.iter().chain(&listens).chain(&allowed_origins).cloned().collect();
        let issuer = Issuer::read(sources, &origins, problems);
        let trusted_proxies = read_trusted_proxies(sources, problems);
        let webhook = read_webhook(sources, problems);
        let metrics = read_metrics(sources, local_token.is_some(), problems);
        let log = read_log(sources, problems);
        (problems.0.len() == before).then_some(())?;
        Some(Self {
            mode: sources.mode(),
            listen: listen?,
            public_url,
            allowed_origins,
            allowed_hosts: if local {
                sources.list("KEYFOLD_ALLOWED_HOSTS").unwrap_or_default()
            } else {
                vec![]
            },
            local_token,
            trusted_proxies,
            issuer,
            webhook,
            metrics,
            log,
            body_timeout: Duration::from_secs(30),
        })
    }

    /// The page's own origin and the allowed ones. In production it has no own one but the public address.
    pub fn origins(&self) -> Vec<String> {
        let listens = (self.mode == Mode::Local).then(|| format!("http://{}", self.listen));
        let own = self.public_url.clone().or(listens);
        own.into_iter().chain(self.allowed_origins.iter().cloned()).collect()
    }
}

fn read_listen(sources: &Sources, has_token: bool, problems: &mut Problems) -> Option<SocketAddr> {
    let local = sources.mode() == Mode::Local;
    let port = match sources.get("PORT") {
        None => Some(8000),
        Some(text) => {
            let port = text.parse::<u16>().ok();
            if port.is_none() {
                problems.add(
                    "PORT",
                    "is not a port number",
                    "use a number from 1 to 65535, or leave it out (8000)",
                );
            }
            port
        }
    };
    let host = match sources.get("HOST").as_ref().map(|host| host.as_str()) {
        None if local => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(text) => {
            let host = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
            if host.is_none() {
                problems.add(
                    "HOST",
                    "is not an address of this machine",
                    "use an IP address such as 127.0.0.1, or leave it out",
                );
            }
            host
        }
    };
    let (host, port) = (host?, port?);
    if local && !host.is_loopback() && !has_token {
        problems.add(
            "HOST",
            format!("is {host}, and local mode has no login: everyone on the network could use your keys"),
            "leave it out (127.0.0.1), or set KEYFOLD_LOCAL_TOKEN to a long random text that every request must then carry",
        );
        return None;
    }
    Some(SocketAddr::new(host, port))
}

fn read_allowed_origins(sources: &Sources, problems: &mut Problems) -> Vec<String> {
    const NAME: &str = "KEYFOLD_ALLOWED_ORIGINS";
    let Some(given) = sources.list(NAME) else {
        return match sources.mode() {
            Mode::Local => vec!["http://localhost:3000".into(), "http://localhost:5173".into()],
            Mode::Production => vec![],
        };
    };
    given
        .iter()
        .filter_map(|text| {
            let origin = read_origin(text);
            if origin.is_none() {
                problems.add(
                    NAME,
                    format!("contains `{text}`, which is no origin"),
                    "write origins like https://app.example.com, separated by commas; * is not allowed",
                );
            }
            origin
        })
        .collect()
}

/// Scheme, host and port of a web address that has nothing else.
fn read_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    plain.then(|| url.origin().ascii_serialization())
}

fn read_trusted_proxies(sources: &Sources, problems: &mut Problems) -> Vec<Network> {
    const NAME: &str = "KEYFOLD_TRUSTED_PROXIES";
    let given = sources.list(NAME).unwrap_or_default();
    let read = given.iter().filter_map(|text| {
        let network: Result<Network, MalformedNetwork> = text.parse();
        network
            .map_err(|why| problems.add(NAME, format!("contains `{text}`, which {why}"), why.remedy()))
            .ok()
    });
    read.collect()
}

/// The secret has two names: Clerk's own, and one that its older guides use.
fn read_webhook(sources: &Sources, problems: &mut Problems) -> Option<SigningSecret> {
    const NAMES: [&str; 2] = ["CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_WEBHOOK_SECRET"];
    let [first, second] = NAMES.map(|name| sources.get_or_problem(name, problems));
    if let (Some(first), Some(second)) = (&first, &second)
        && first != second
    {
        problems.add(
            NAMES[1],
            format!("is set, and so is {}, to another value; which one counts is unclear", NAMES[0]),
            "leave one of the two out",
        );
        return None;
    }
    let (name, secret) = match (first, second) {
        (Some(secret), _) => (NAMES[0], secret),
        (None, secret) => (NAMES[1], secret?),
    };
    SigningSecret::parse(&secret)
        .map_err(|why| {
            problems.add(
                name,
                why.to_string(),
                "copy the signing secret from the endpoint's page in the Clerk dashboard under “Webhooks”, or leave it out: then there is no webhook",
            );
        })
        .ok()
}

/// Access to Clerk's backend API, for the command that asks it; `None` without a secret key.
pub fn read_clerk_api(sources: &Sources, problems: &mut Problems) -> Option<ClerkApi> {
    let secret = sources.get_or_problem("CLERK_SECRET_KEY", problems)?;
    let double = sources.get("KEYFOLD_CLERK_API_URL");
    match ClerkApi::new(&secret, double.as_ref().map(|double| double.as_str())) {
        Ok(clerk) => return Some(clerk),
        Err(why @ MalformedAccess::Secret) => problems.add(
            "CLERK_SECRET_KEY",
            why.to_string(),
            "copy it from the Clerk dashboard under “API keys”; it begins with sk_test_ or sk_live_",
        ),
        Err(why @ MalformedAccess::Address) => problems.add(
            "KEYFOLD_CLERK_API_URL",
            why.to_string(),
            "leave it out: it is for a test double, like http://127.0.0.1:9000",
        ),
    }
    None
}

fn read_metrics(sources: &Sources, has_token: bool, problems: &mut Problems) -> Option<SocketAddr> {
    const NAME: &str = "KEYFOLD_METRICS_ADDR";
    let text = sources.get(NAME).map_or_else(|| "127.0.0.1:9464".to_owned(), |text| text.to_string());
    if text.eq_ignore_ascii_case("off") {
        return None;
    }
    let address: Option<SocketAddr> = text.parse().ok();
    match address {
        None => problems.add(NAME, "is not an address and port", "write it like 127.0.0.1:9464, or `off`"),
        Some(address) if sources.mode() == Mode::Local && !address.ip().is_loopback() && !has_token => {
            problems.add(
                NAME,
                "is an address that others can reach, and local mode listens on this machine only",
                "write it like 127.0.0.1:9464, or `off`",
            );
        }
        Some(_) => {}
    }
    address
}

fn read_log(sources: &Sources, problems: &mut Problems) -> LogConfig {
    let filter = sources.get("KEYFOLD_LOG").map_or_else(|| "info".to_owned(), |filter| filter.to_string());
    if filter.parse::<tracing_subscriber::filter::EnvFilter>().is_err() {
        problems.add(
            "KEYFOLD_LOG",
            "is no filter for logs",
            "use a level such as info, or keyfold=debug,warn",
        );
    }
    let json = match sources.get("KEYFOLD_LOG_FORMAT").as_ref().map(|format| format.as_str()) {
        None => sources.mode() == Mode::Production,
        Some("text") => false,
        Some("json") => true,
        Some(_) => {
            problems.add(
                "KEYFOLD_LOG_FORMAT",
                "is neither text nor json",
                "use one of the two, or leave it out",
            );
            false
        }
    };
    LogConfig { filter, json }
}

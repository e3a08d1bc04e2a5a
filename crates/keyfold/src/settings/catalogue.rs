//! Every setting there is: its name, kind, default and meaning. The reference in `docs/` is made from it.

use crate::provider::ProviderId;

/// How a setting is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Decides the mode; never in `keyfold.toml`.
    Mode,
    /// A text, number, path or list that may be shown.
    Plain,
    /// A secret: never shown, and also accepted as `…_FILE`.
    Secret,
}

/// A setting.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// How it is treated.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
    /// What happens without it.
    pub default: &'static str,
}

const fn plain(name: &'static str, meaning: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Plain, meaning, default }
}

const fn secret(name: &'static str, meaning: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Secret, meaning, default }
}

const fn mode(name: &'static str, meaning: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Mode, meaning, default }
}

/// All settings, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    mode("DEBUG", "true: local mode, wherever it runs", "false"),
    mode(
        "DEPLOY_ENV",
        "where it is deployed: render, railway, heroku, …; makes it production unless DEBUG is true",
        "local",
    ),
    plain("HOST", "the address to listen on", "127.0.0.1; production: 0.0.0.0"),
    plain("PORT", "the port to listen on", "8000"),
    secret(
        "DATABASE_URL",
        "sqlite://path or postgres://…",
        "local: SQLite in the state directory; production: required",
    ),
    plain(
        "KEYFOLD_STATE_DIR",
        "the folder of local mode's database and master key, and of the audit spool",
        ".keyfold",
    ),
    secret(
        "KEYFOLD_MASTER_KEY",
        "32 random bytes as base64 or 64 hex digits, or file:PATH, or awskms:KEY-ARN",
        "local: made on first start in the state directory; production: required",
    ),
    secret(
        "KEYFOLD_OTHER_MASTER_KEYS",
        "comma-separated further master keys that may decrypt: the one before, or the next one",
        "none",
    ),
    plain("KEYFOLD_BACKEND_ENV_FILE", "the backend .env", "backend/.env if backend/ exists, else .env"),
    plain(
        "KEYFOLD_FRONTEND_ENV_FILE",
        "the frontend .env",
        "frontend/.env if frontend/ exists, else ../frontend/.env if started inside backend/, else none",
    ),
    plain(
        "KEYFOLD_PUBLIC_URL",
        "the address that people use; its origin is always allowed",
        "local: the listen address",
    ),
    plain(
        "KEYFOLD_ALLOWED_ORIGINS",
        "further browser origins for CORS, comma-separated",
        "local: http://localhost:3000,http://localhost:5173; production: none",
    ),
    plain("KEYFOLD_ALLOWED_HOSTS", "local mode: further Host names that are answered", "none"),
    secret(
        "KEYFOLD_LOCAL_TOKEN",
        "local mode: every request must carry this token; then it may listen elsewhere than on loopback",
        "none",
    ),
    plain("KEYFOLD_TRUSTED_PROXIES", "networks whose X-Forwarded-For counts", "none"),
    plain("CLERK_PUBLISHABLE_KEY", "pk_test_… or pk_live_…; issuer and key set are derived from it", "none"),
    plain("KEYFOLD_AUTH_ISSUER", "any OpenID Connect issuer instead of Clerk", "none"),
    plain("KEYFOLD_AUTH_JWKS_URL", "the issuer's key set", "from the issuer's discovery document"),
    plain("KEYFOLD_AUTH_AUDIENCE", "the audience that tokens must name", "none"),
    plain("KEYFOLD_AUTH_CLIENT_ID", "the client id that the page signs in with", "none"),
    plain(
        "KEYFOLD_AUTHORIZED_PARTIES",
        "allowed azp values, comma-separated",
        "allowed origins, public URL and client id",
    ),
    secret("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_…, verifies POST /webhooks/clerk", "webhook off"),
    secret("CLERK_WEBHOOK_SECRET", "another name of CLERK_WEBHOOK_SIGNING_SECRET", "webhook off"),
    secret("CLERK_SECRET_KEY", "only for `keyfold users reconcile`", "none"),
    plain(
        "KEYFOLD_CLERK_API_URL",
        "a test double of Clerk's backend API, on this machine only",
        "https://api.clerk.com",
    ),
    secret(
        "REDIS_URL",
        "redis://… or rediss://…; rate limits shared by several replicas",
        "each process counts for itself",
    ),
    plain("KEYFOLD_PROVIDERS_FILE", "extra or changed providers", "none"),
    plain(
        "KEYFOLD_RATE_LIMIT_KEYS",
        "saving and checking keys, per user: N/second, N/minute, N/hour or off",
        "30/minute",
    ),
    plain("KEYFOLD_RATE_LIMIT_GENERATE", "generate and research, per user", "60/minute"),
    plain("KEYFOLD_RATE_LIMIT_GATEWAY", "the gateway, per user; service tokens, per token", "600/minute"),
    plain(
        "KEYFOLD_RATE_LIMIT_ANONYMOUS",
        "per address, for requests without a valid credential",
        "120/minute where the address is known, else off",
    ),
    plain("KEYFOLD_MAX_STREAMS", "open streams per user", "20"),
    plain("KEYFOLD_AUDIT", "database (always on), plus file:PATH, stdout", "database"),
    plain(
        "KEYFOLD_AUDIT_DURABILITY",
        "spool or strict",
        "spool; strict where the state directory cannot be written",
    ),
    plain(
        "KEYFOLD_AUDIT_RETENTION",
        "how long audit rows are kept: days or weeks, such as 400d or 52w, or keep",
        "keep",
    ),
    plain(
        "KEYFOLD_AUDIT_DELETED_USERS",
        "how long after a deletion the audit still says who it was: days or weeks, such as 30d, or keep",
        "keep",
    ),
    plain("KEYFOLD_RECHECK", "daily re-check of stored keys: on or off", "on"),
    plain("KEYFOLD_ONBOARDING", "the steps of onboarding: keyfold or alwrity", "keyfold"),
    plain("KEYFOLD_METRICS_ADDR", "where Prometheus metrics are served; a busy port warns", "127.0.0.1:9464"),
    plain("KEYFOLD_LOG", "what is logged: a filter such as info or keyfold=debug,warn", "info"),
    plain("KEYFOLD_LOG_FORMAT", "text or json", "local: text; production: json"),
];

/// The provider of `KEYFOLD_PROVIDER_<ID>_BASE_URL`; a `-` in an id is written `_`.
pub(super) fn base_address_provider(name: &str) -> Option<ProviderId> {
    let id = name.strip_prefix("KEYFOLD_PROVIDER_")?.strip_suffix("_BASE_URL")?;
    ProviderId::parse(&id.to_ascii_lowercase()).ok()
}

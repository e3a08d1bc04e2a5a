//! What can go wrong in the library, in words for the user; causes are for the log.

use std::time::Duration;

use crate::dotenv::DotenvError;
use crate::envelope::EnvelopeError;
use crate::provider::ProviderId;
use crate::settings::SettingsError;
use crate::storage::StorageError;

/// Every error of the library. `Display` says what happened and what to do, and never holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This user has no key for this provider.
    #[error("You have no {name} key. {remedy}")]
    NoApiKey {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// What to do in this mode.
        remedy: String,
    },
    /// No earlier version of the key is kept.
    #[error(
        "There is no earlier version of this key to go back to: a replaced key is kept for 24 hours. Save the key that you want instead."
    )]
    NoPreviousVersion {
        /// The provider.
        provider: ProviderId,
    },
    /// No provider has this id.
    #[error("There is no provider of that name. Use one of: {}.", join(known))]
    UnknownProvider {
        /// Those that there are.
        known: Vec<ProviderId>,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A field has a value that cannot be used.
    #[error("`{field}` {why}")]
    InvalidRequest {
        /// The field.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The text cannot be a key of this provider.
    #[error("This cannot be a key of {name}: {why}.")]
    InvalidKeyFormat {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The provider itself refused the key, before it was saved.
    #[error("{name} refused this key, so it was not saved. Get a working key at {setup_url} and try again.")]
    KeyRejectedOnSaving {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// Where keys are made.
        setup_url: String,
    },
    /// The provider itself refused the stored key.
    #[error("{name} refused your stored key. Get a new one at {setup_url} and save it.")]
    KeyRejectedInUse {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// Where keys are made.
        setup_url: String,
    },
    /// The provider answered with an error that is not about the key.
    #[error("{detail}")]
    Provider {
        /// The provider.
        provider: ProviderId,
        /// Its status, if it had one.
        status: Option<u16>,
        /// Its `Retry-After`.
        retry_after: Option<String>,
        /// What happened and what to do.
        detail: String,
    },
    /// No connection to the provider.
    #[error(
        "{name} could not be reached. Try again in a moment; if it lasts, check this server's connection and proxy settings."
    )]
    ProviderUnreachable {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// For the log.
        cause: String,
    },
    /// The provider could not be reached several times in a row, so it is not tried for a moment.
    #[error(
        "{name} could not be reached several times in a row, so this request was not tried. Try again in {} s; if it lasts, check this server's connection and proxy settings.",
        retry_after.as_secs()
    )]
    ProviderAway {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// Until the next attempt.
        retry_after: std::time::Duration,
    },
    /// The provider took too long.
    #[error("{name} did not answer in time. Try again, perhaps with a smaller request.")]
    ProviderTimeout {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
    },
    /// An operator suspended this user.
    #[error(
        "This account is suspended, so its keys cannot be used or changed. Ask the operator of this service."
    )]
    UserSuspended,
    /// This user was deleted, and the caller's credential is from before.
    #[error(
        "This account was deleted here, with all its keys. Sign in again to start anew; what was deleted cannot be brought back."
    )]
    UserDeleted,
    /// The caller's credential is good, but not for this; says what it is for.
    #[error("{0}")]
    Forbidden(String),
    /// More requests than this user, or this address, may make.
    #[error("Too many requests: {limit} are allowed. Try again in {} s.", retry_after.as_secs().max(1))]
    RateLimited {
        /// The limit, in words: `60 per minute`.
        limit: String,
        /// When the next request will be let through.
        retry_after: Duration,
    },
    /// What is done with keys cannot be recorded now, so no key is opened or changed.
    #[error(
        "Keyfold cannot record what is done with keys at the moment, so it does nothing with them. Try again shortly; the operator finds the cause in the log."
    )]
    AuditUnavailable(String),
    /// Another change of the same key won.
    #[error(
        "This key was changed elsewhere at the same time, and that change won. Look at the key and save again if needed."
    )]
    Conflict {
        /// The provider.
        provider: ProviderId,
    },
    /// The stored form does not open for this user and provider.
    #[error("Your stored {name} key cannot be read ({why}). Enter it again.")]
    KeyUnreadable {
        /// The provider.
        provider: ProviderId,
        /// Its name for people.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A `.env` file cannot be read or written.
    #[error("The .env file cannot be used: {0}. Nothing was changed.")]
    EnvFile(#[from] DotenvError),
    /// The database does not answer.
    #[error("{}", unavailable(.0))]
    DatabaseUnavailable(#[source] StorageError),
    /// The master key does not fit the database.
    #[error("{0}")]
    MasterKey(String),
    /// The settings do not allow a start.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The state directory cannot be used.
    #[error("{0}")]
    StateDirectory(String),
    /// The database cannot be opened, or something else keeps Keyfold from starting.
    #[error("{0}")]
    CannotStart(String),
    /// A fault of Keyfold's own.
    #[error("Something went wrong inside Keyfold. The operator finds the cause in the log.")]
    Internal(String),
}

impl Error {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoApiKey { .. } => "no_api_key",
            Self::NoPreviousVersion { .. } => "no_previous_version",
            Self::UnknownProvider { .. } => "unknown_provider",
            Self::NotFound(_) => "not_found",
            Self::InvalidRequest { .. } => "invalid_request",
            Self::InvalidKeyFormat { .. } => "invalid_key_format",
            Self::KeyRejectedOnSaving { .. } | Self::KeyRejectedInUse { .. } => "key_rejected",
            Self::Provider { .. } => "provider_error",
            Self::ProviderUnreachable { .. } | Self::ProviderAway { .. } => "provider_unreachable",
            Self::ProviderTimeout { .. } => "provider_timeout",
            Self::UserSuspended => "user_suspended",
            Self::UserDeleted => "user_deleted",
            Self::Forbidden(_) => "forbidden",
            Self::RateLimited { .. } => "rate_limited",
            Self::AuditUnavailable(_) => "audit_unavailable",
            Self::Conflict { .. } => "conflict",
            Self::KeyUnreadable { .. } => "key_unreadable",
            Self::EnvFile(_) => "env_file_error",
            Self::DatabaseUnavailable(_) => "database_unavailable",
            Self::MasterKey(_) => "master_key_unavailable",
            Self::Settings(_) => "invalid_settings",
            Self::StateDirectory(_) => "state_directory_error",
            Self::CannotStart(_) => "cannot_start",
            Self::Internal(_) => "internal_error",
        }
    }

    /// The cause, for the log; where `Display` says it all, the same.
    pub fn cause(&self) -> String {
        match self {
            Self::DatabaseUnavailable(error) => error.to_string(),
            Self::ProviderUnreachable { cause, .. }
            | Self::AuditUnavailable(cause)
            | Self::Internal(cause) => cause.clone(),
            other => other.to_string(),
        }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(_) | StorageError::Full | StorageError::ReadOnly(_) => {
                Self::DatabaseUnavailable(error)
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

/// For what Keyfold itself seals; a stored key that does not open is [`Error::KeyUnreadable`].
impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<crate::clock::NoRandomness> for Error {
    fn from(error: crate::clock::NoRandomness) -> Self {
        Self::Internal(error.to_string())
    }
}

/// A panic's words may hold what should not be written down, so they are left out.
impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(if error.is_panic() {
            "a task panicked".into()
        } else {
            "a task was cancelled".into()
        })
    }
}

fn unavailable(error: &StorageError) -> &'static str {
    match error {
        StorageError::Full => {
            "The disk that holds Keyfold's database is full. Nothing was saved. Make room there and try again."
        }
        StorageError::ReadOnly(_) => {
            "Keyfold's database cannot be written at the moment. Nothing was saved. Its operator makes it writable: SQLite's file and folder for the user that runs Keyfold; PostgreSQL may be set to read-only, or be a replica."
        }
        _ => {
            "The database cannot be used at the moment. Try again shortly; the operator finds the cause in the log."
        }
    }
}

fn join(ids: &[ProviderId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_panic_said_is_in_no_error() {
        let panicked = tokio::spawn(async { panic!("words that hold a secret") }).await;
        let error = Error::from(panicked.err().unwrap());
        assert!(!format!("{error} {error:?} {}", error.cause()).contains("secret"));
    }
}

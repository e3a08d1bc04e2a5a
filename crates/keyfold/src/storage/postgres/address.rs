//! Where a PostgreSQL database is: `DATABASE_URL`, read as libpq reads it.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::error::Error as _;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::Host;

use super::tls::{SslMode, UnknownSslMode};

/// To one of the addresses of a host.
const CONNECT: Duration = Duration::from_millis(1200);

/// Where a PostgreSQL database is, with its password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    config: Arc<tokio_postgres::Config>,
    ssl: SslMode,
}

/// Why a text is no address of a PostgreSQL database. Never contains the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedPostgresAddress {
    /// Not of the form, or with an option that is not known.
    #[error("cannot be understood ({0})")]
    Form(String),
    /// A word that `sslmode` does not have.
    #[error("has an sslmode that does not exist; use disable, prefer, require, verify-ca or verify-full")]
    SslMode,
}

impl FromStr for PostgresAddress {
    type Err = MalformedPostgresAddress;

    fn from_str(text: &str) -> Result<Self, MalformedPostgresAddress> {
        // What stands after the first one would be taken for the host: shown, and looked up. It may be half a password.
        if text.matches('@').count() > 1 {
            return Err(MalformedPostgresAddress::Form(
                "there is a second @; in a password, write %40".into(),
            ));
        }
        let (plain, ssl) =
            SslMode::take_from(text).map_err(|UnknownSslMode| MalformedPostgresAddress::SslMode)?;
        let mut config = tokio_postgres::Config::from_str(&plain).map_err(|error| {
            // The name of an option that is not known may be a part of a password, behind a `&`.
            let cause = error.source().filter(|_| !text.contains("password="));
            let cause = cause.map_or_else(|| "it is not of the form".to_owned(), ToString::to_string);
            MalformedPostgresAddress::Form(cause)
        })?;
        if config.get_hosts().is_empty() {
            return Err(MalformedPostgresAddress::Form("it names no host".into()));
        }
        config.ssl_mode(ssl.wire()).connect_timeout(CONNECT).application_name("keyfold");
        Ok(Self { config: Arc::new(config), ssl })
    }
}

impl PostgresAddress {
    pub(super) fn config(&self) -> &Arc<tokio_postgres::Config> {
        &self.config
    }

    pub(super) fn ssl(&self) -> &SslMode {
        &self.ssl
    }

    /// Whether it insists on TLS.
    pub(in crate::storage) fn requires_tls(&self) -> bool {
        self.ssl.wire() == tokio_postgres::config::SslMode::Require
    }

    /// Whether all its hosts are this machine.
    pub(in crate::storage) fn is_on_this_machine(&self) -> bool {
        self.config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        })
    }
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres");
        write!(formatter, "PostgreSQL {database} on {}", hosts.join(", "))
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PostgresAddress(not shown)")
    }
}

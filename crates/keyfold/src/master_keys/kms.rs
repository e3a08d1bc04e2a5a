//! A master key that AWS KMS keeps: 32 random bytes, of which the database has only what KMS made of them.
//!
//! The database alone is worth nothing without the right to ask KMS, and that right can be taken away. KMS is asked
//! once, at the start.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

use crate::clock::{Random, random_bytes};
use crate::envelope::{KEY_LEN, MasterKey};
use crate::error::Error;
use crate::provider::aws_http;
use crate::settings::KmsKey;
use crate::storage::{Database, root_secrets};

/// How the stored form begins: what KMS made of the key follows, as base64url.
const STORED: &str = "awskms1.";
/// A start waits for KMS this long at most, with all attempts.
const PATIENCE: Duration = Duration::from_secs(15);
const ATTEMPT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;

/// The master key that this key of KMS keeps for this database. The first start makes it, unless `may_make` says that
/// the database must have one already.
pub(super) async fn root_key(
    key: &KmsKey,
    database: &Database,
    random: &dyn Random,
    may_make: bool,
) -> Result<MasterKey, Error> {
    let name = format!("{}{key}", root_secrets::KEY_SERVICE);
    let service = Service::new(key, database_id(database, random).await?).await;
    let stored = match root_secrets::find(database, &name).await? {
        Some(stored) => stored,
        None if may_make => {
            let made = Zeroizing::new(random_bytes::<KEY_LEN>(random)?);
            let encrypted = service.encrypt(made.as_slice()).await?;
            let stored = format!("{STORED}{}", BASE64URL_NOPAD.encode(&encrypted));
            // Of replicas that start at once, the first one's counts.
            root_secrets::insert_or_find(database, &name, &stored).await?
        }
        None => {
            return Err(Error::MasterKey(format!(
                "The database has no master key that AWS KMS encrypted with {key}, and it was encrypted with another one. Give that one as KEYFOLD_MASTER_KEY or in KEYFOLD_OTHER_MASTER_KEYS; `keyfold master-key rotate` then moves to the one in KMS."
            )));
        }
    };
    let encrypted = stored
        .strip_prefix(STORED)
        .and_then(|encoded| BASE64URL_NOPAD.decode(encoded.as_bytes()).ok())
        .ok_or_else(|| {
            Error::MasterKey(format!(
                "What the database has of the master key in AWS KMS ({key}) is damaged. Restore the database from a backup."
            ))
        })?;
    let decrypted = Zeroizing::new(service.decrypt(encrypted).await?);
    MasterKey::from_keeper(&decrypted, &name)
        .map_err(|why| Error::MasterKey(format!("What AWS KMS decrypted with {key} {why}.")))
}

/// Binds what KMS encrypts to this database.
async fn database_id(database: &Database, random: &dyn Random) -> Result<String, Error> {
    let made = HEXLOWER.encode(&random_bytes::<16>(random)?);
    Ok(root_secrets::insert_or_find(database, root_secrets::DATABASE_ID, &made).await?)
}

struct Service<'a> {
    client: Client,
    key: &'a KmsKey,
    database_id: String,
}

impl<'a> Service<'a> {
    /// Credentials come from where AWS's own tools find them: variables, a profile, the machine's role.
    async fn new(key: &'a KmsKey, database_id: String) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(PATIENCE).build();
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(key.region().to_owned()))
            .http_client(aws_http::client())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .load()
            .await;
        Self { client: Client::new(&config), key, database_id }
    }

    async fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let asked = self
            .client
            .encrypt()
            .key_id(self.key.arn())
            .plaintext(Blob::new(plain))
            .encryption_context("keyfold:purpose", "master-key")
            .encryption_context("keyfold:database", &self.database_id)
            .send();
        let answer = asked.await.map_err(|error| self.failed("encrypt", &error))?;
        answer.ciphertext_blob.map(Blob::into_inner).ok_or_else(|| self.nonsense())
    }

    async fn decrypt(&self, encrypted: Vec<u8>) -> Result<Vec<u8>, Error> {
        let asked = self
            .client
            .decrypt()
            .key_id(self.key.arn())
            .ciphertext_blob(Blob::new(encrypted))
            .encryption_context("keyfold:purpose", "master-key")
            .encryption_context("keyfold:database", &self.database_id)
            .send();
        let answer = asked.await.map_err(|error| self.failed("decrypt", &error))?;
        answer.plaintext.map(Blob::into_inner).ok_or_else(|| self.nonsense())
    }

    fn failed<E, R>(&self, what: &str, error: &SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let key = self.key;
        let (why, remedy) = match error {
            SdkError::ServiceError(refused) => {
                let code = refused.err().code().unwrap_or("an unknown reason");
                let words = refused.err().message().unwrap_or_default();
                let remedy = match code {
                    "AccessDeniedException" => {
                        "Allow kms:Encrypt and kms:Decrypt on this key for the credentials that Keyfold has."
                    }
                    "NotFoundException" => "Check the ARN, its region and account.",
                    "DisabledException" | "KMSInvalidStateException" => {
                        "Enable the key, or cancel its deletion: without it no user's key can be opened."
                    }
                    "InvalidCiphertextException" | "IncorrectKeyException" => {
                        "The database's copy is another key's or another database's, or damaged: restore the database from a backup."
                    }
                    _ => "Check the credentials that Keyfold has, and try again.",
                };
                (format!("{code} {words}"), remedy)
            }
            SdkError::ConstructionFailure(_) => {
                (DisplayErrorContext(error).to_string(), "Check the settings for AWS in the environment.")
            }
            _ => (
                DisplayErrorContext(error).to_string(),
                "Check that this machine has credentials for AWS and may reach KMS, and start again.",
            ),
        };
        Error::MasterKey(format!(
            "AWS KMS did not {what} the master key with {key}: {}. {remedy}",
            why.trim().trim_end_matches('.')
        ))
    }

    fn nonsense(&self) -> Error {
        Error::MasterKey(format!("AWS KMS gave an answer for {} that makes no sense. Try again.", self.key))
    }
}

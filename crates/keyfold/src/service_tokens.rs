//! Tokens of backend services: what they may do, how they are made, recognised and revoked, and the keys that are
//! released for them.
//!
//! Only a token's hash is stored, and what it may do is signed, so that nobody makes or widens a token by writing
//! to the database. A token that was looked up counts for as long as it is known that nothing about tokens changed since
//! (`storage::changes`), so a revocation counts at once on every replica, and where that cannot be known, the database
//! is asked at every use.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use data_encoding::{BASE32_DNSSEC, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::audit::{Action, Event, Outcome, Purpose};
use crate::clock::{Random, random_bytes};
use crate::error::Error;
use crate::keys::Keys;
use crate::provider::{Provider, ProviderId};
use crate::recent::RecentMap;
use crate::requester::{Actor, Requester};
use crate::root_keys;
use crate::secret::{ApiKey, SERVICE_TOKEN_PREFIX};
use crate::storage::changes::{SERVICE_TOKENS, Stamp};
use crate::storage::service_tokens::{GrantRow, ServiceTokenRow};
use crate::storage::{self, StorageError};
use crate::user::UserId;

/// The longest name of a token, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The most users that a token can be limited to.
pub const MOST_USERS: usize = 1000;
/// The longest that a token with an end can count.
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);

/// Random bytes of a token.
const SECRET_LEN: usize = 32;
/// Bytes by which a mistyped or cut-off token is told from another one.
const CHECKSUM_LEN: usize = 5;
/// The name of the root secret that signs what tokens may do.
const SIGNING_KEY: &str = "service_token_key";
/// The time of last use is written at most so often, per token and process.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Services are few.
const MOST_REMEMBERED: usize = 10_000;
/// A floor under all else, as for users' keys.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// Reading users' keys in plain text.
    KeysRead,
    /// Calling providers through the gateway, with users' keys.
    Gateway,
}

impl Scope {
    /// Every one there is.
    pub const ALL: [Self; 2] = [Self::KeysRead, Self::Gateway];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeysRead => "keys:read",
            Self::Gateway => "gateway",
        }
    }

    /// The scope of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A token in plain text: `kfs_`, then 60 lower-case letters and digits. Shown once, when it is made; wiped on drop.
pub struct ServiceToken(Zeroizing<String>);

impl ServiceToken {
    fn generate(random: &dyn Random) -> Result<Self, Error> {
        let secret = Zeroizing::new(random_bytes::<SECRET_LEN>(random)?);
        let mut content = Zeroizing::new([0; SECRET_LEN + CHECKSUM_LEN]);
        content[..SECRET_LEN].copy_from_slice(secret.as_slice());
        content[SECRET_LEN..].copy_from_slice(&checksum(&secret));
        let encoded = Zeroizing::new(BASE32_DNSSEC.encode(content.as_slice()));
        Ok(Self(Zeroizing::new(format!("{SERVICE_TOKEN_PREFIX}{}", *encoded))))
    }

    /// The plain text, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceToken(redacted)")
    }
}

/// Whether `text` is a service token in form: complete, and its checksum fits. Says nothing of whether it counts.
pub fn is_well_formed(text: &str) -> bool {
    let Some(encoded) = text.strip_prefix(SERVICE_TOKEN_PREFIX) else { return false };
    // Upper-case letters mean the same to the decoder, and would be another token with the same checksum.
    if encoded.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let Ok(content) = BASE32_DNSSEC.decode(encoded.as_bytes()).map(Zeroizing::new) else { return false };
    content
        .split_first_chunk::<SECRET_LEN>()
        .is_some_and(|(secret, found)| verify_slices_are_equal(found, &checksum(secret)).is_ok())
}

fn checksum(secret: &[u8; SECRET_LEN]) -> [u8; CHECKSUM_LEN] {
    let mut content = Zeroizing::new(b"keyfold/1/service-token".to_vec());
    content.extend_from_slice(secret);
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&digest(&SHA256, &content).as_ref()[..CHECKSUM_LEN]);
    checksum
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// How it is called in lists and in the audit log.
    pub name: String,
    /// What it may be used for; at least one.
    pub scopes: Vec<Scope>,
    /// Whose keys; empty means everybody's.
    pub users: Vec<UserId>,
    /// The ids of the providers whose keys; empty means all.
    pub providers: Vec<String>,
    /// How long it counts; `None`: until it is revoked.
    pub lifetime: Option<SignedDuration>,
}

/// What may be known of a token that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRecord {
    /// Counts the tokens.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// Whose keys; `None` means everybody's.
    pub users: Option<Vec<String>>,
    /// Which providers' keys; `None` means all.
    pub providers: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How it stands now.
    pub standing: TokenStanding,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStanding {
    /// It counts.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Its row was changed by something other than Keyfold, so it does not count.
    Damaged,
}

impl TokenStanding {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Damaged => "damaged",
        }
    }
}

/// What a revocation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The token does not count any more.
    Revoked,
    /// It was revoked already, then.
    Already(Timestamp),
}

/// Why a service was not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceRefusal {
    /// Not the form of a service token, or cut off, or mistyped.
    #[error(
        "This is no service token, or not all of one: it begins with kfs_ and has 64 characters. Send it as `keyfold token create` printed it."
    )]
    Malformed,
    /// There is no such token.
    #[error("This service token is not known here. Make one with `keyfold token create`.")]
    Unknown,
    /// Its time is over.
    #[error("This service token has expired. Make another one with `keyfold token create`.")]
    Expired,
    /// It was revoked.
    #[error("This service token was revoked. Make another one with `keyfold token create`.")]
    Revoked,
    /// Whether it counts cannot be found out.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

impl From<StorageError> for ServiceRefusal {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// A backend service whose token was checked.
#[derive(Debug, Clone)]
pub struct AuthenticatedService {
    requester: Requester,
    grant: Arc<Grant>,
}

/// What a token allows.
#[derive(Debug)]
struct Grant {
    token_id: i64,
    name: Arc<str>,
    scopes: Vec<Scope>,
    users: Option<BTreeSet<String>>,
    providers: Option<BTreeSet<String>>,
    expires_at: Option<Timestamp>,
}

/// A token that counted when it was last looked up.
struct Remembered {
    grant: Arc<Grant>,
    stamp: Stamp,
    read_at: Instant,
    /// When its use was last noted, in microseconds (Unix time).
    noted_at: AtomicI64,
}

impl AuthenticatedService {
    fn of(grant: Arc<Grant>) -> Self {
        Self { requester: Requester::new(Actor::Service(Arc::clone(&grant.name))), grant }
    }

    /// The same service, in this request.
    #[must_use]
    pub fn in_request(mut self, request_id: impl Into<Arc<str>>, address: Option<IpAddr>) -> Self {
        self.requester = self.requester.in_request(request_id, address);
        self
    }

    /// The id of its token.
    pub fn token_id(&self) -> i64 {
        self.grant.token_id
    }

    /// The name of its token.
    pub fn name(&self) -> &Arc<str> {
        &self.grant.name
    }

    /// Who asks, and in which request.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Whether its token is for this.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with what it is for.
    pub fn may(&self, scope: Scope) -> Result<(), Error> {
        if self.grant.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "This service token is for {}, not for {scope}. Make one with `keyfold token create NAME --scope {scope}`.",
            join(&self.grant.scopes)
        )))
    }

    /// Whether its token is for this user and, if one is given, this provider.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn may_act_for(&self, user: &UserId, provider: Option<&ProviderId>) -> Result<(), Error> {
        if self.grant.users.as_ref().is_some_and(|users| !users.contains(user.as_str())) {
            return Err(Error::Forbidden(
                "This service token is limited to other users. Make one with `keyfold token create … --user ID` for this one.".into(),
            ));
        }
        match provider {
            Some(provider) if !self.allows_provider(provider) => Err(Error::Forbidden(format!(
                "This service token is limited to other providers than {provider}. Make one with `keyfold token create … --provider {provider}`."
            ))),
            _ => Ok(()),
        }
    }

    fn allows_provider(&self, provider: &ProviderId) -> bool {
        self.grant.providers.as_ref().is_none_or(|providers| providers.contains(provider.as_str()))
    }
}

/// A user's keys in plain text, whose release is in the audit log; wiped on drop.
pub struct ReleasedKeys(Vec<(ProviderId, ApiKey)>);

impl ReleasedKeys {
    /// Each provider with its key, in the order of the registry.
    pub fn iter(&self) -> impl Iterator<Item = (&ProviderId, &ApiKey)> {
        self.0.iter().map(|(provider, key)| (provider, key))
    }
}

impl fmt::Debug for ReleasedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReleasedKeys(redacted)")
    }
}

/// The service tokens of a Keyfold. One per process.
pub struct ServiceTokens {
    keys: Arc<Keys>,
    /// Read, or made, when it is first needed.
    signing_key: OnceCell<hmac::Key>,
    /// Those that were looked up lately; they count while it is known that nothing about tokens changed.
    remembered: RecentMap<[u8; 32], Arc<Remembered>>,
    uses: Mutex<HashMap<i64, Use>>,
}

/// When a token was last used, as far as it is written.
struct Use {
    noted_at: Timestamp,
    is_written: bool,
}

impl ServiceTokens {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            signing_key: OnceCell::new(),
            remembered: RecentMap::new(MOST_REMEMBERED),
            uses: Mutex::default(),
        }
    }

    /// Makes a token. Its plain text is returned here and never again.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for what cannot be, such as a name that another token has;
    /// [`Error::UnknownProvider`].
    pub async fn create(&self, new: &NewToken) -> Result<(TokenRecord, ServiceToken), Error> {
        let now = self.keys.clock.now();
        let token = ServiceToken::generate(&*self.keys.random)?;
        let granted = self.granted(new, &token, now)?;
        let signature = HEXLOWER.encode(hmac::sign(self.signing_key().await?, &signed(&granted)).as_ref());
        let transaction = self.keys.database.begin().await?;
        let id = match storage::service_tokens::insert(&transaction, &granted, &signature).await {
            Err(StorageError::Conflict) => {
                return Err(invalid(
                    "name",
                    "belongs to another service token; take another one, or revoke that one first".into(),
                ));
            }
            inserted => inserted?,
        };
        let row = ServiceTokenRow { id, granted, signature, last_used_at: None, revoked_at: None };
        let record = self.record(&row).await?;
        let note = json!({
            "id": id,
            "name": record.name,
            "scopes": record.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
            // How many: whoever is deleted is not to stay here by name.
            "users": record.users.as_ref().map(Vec::len),
            "providers": record.providers,
            "expires_at": record.expires_at.map(|at| at.to_string()),
        });
        let made = self.by_operator(Action::TokenCreated).with_note(note.to_string());
        self.keys.audit.commit(transaction, vec![made]).await?;
        Ok((record, token))
    }

    /// All tokens, revoked ones too, the oldest first.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, Error> {
        let mut records = vec![];
        for row in storage::service_tokens::list(&self.keys.database).await? {
            records.push(self.record(&row).await?);
        }
        Ok(records)
    }

    /// Revokes the token of this name or id; it counts no more from then on, on every replica.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke(&self, name_or_id: &str) -> Result<(TokenRecord, Revocation), Error> {
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        // No name begins with a digit.
        let found = match name_or_id.parse() {
            Ok(id) => storage::service_tokens::find_by_id(&transaction, id).await?,
            Err(_) => storage::service_tokens::find_named(&transaction, name_or_id).await?,
        };
        let found = found.ok_or_else(|| {
            Error::NotFound(format!(
                "There is no service token {}. `keyfold token list` shows those there are.",
                printable(name_or_id)
            ))
        })?;
        let record = self.record(&found).await?;
        if let Some(since) = found.revoked_at {
            return Ok((record, Revocation::Already(since)));
        }
        if !storage::service_tokens::revoke(&transaction, found.id, now).await? {
            // Somebody else came first.
            return Ok((record, Revocation::Already(now)));
        }
        let note = json!({ "id": found.id, "name": found.granted.name });
        let revoked = self.by_operator(Action::TokenRevoked).with_note(note.to_string());
        let committed = self.keys.audit.commit(transaction, vec![revoked]).await;
        // Whatever became of it.
        if let Some(changes) = self.keys.database.changes() {
            changes.announce(SERVICE_TOKENS);
        }
        committed?;
        Ok((record, Revocation::Revoked))
    }

    /// The service that has this token.
    pub async fn authenticate(&self, text: &str) -> Result<AuthenticatedService, ServiceRefusal> {
        // Guesses do not reach the database.
        if !is_well_formed(text) {
            return Err(ServiceRefusal::Malformed);
        }
        let hash = hash(text);
        if let Some(grant) = self.recall(&hash) {
            return Ok(AuthenticatedService::of(grant));
        }
        // Taken before the row is read, so that no change after it goes unnoticed.
        let stamp = self.keys.database.changes().map(|changes| changes.stamp_of(SERVICE_TOKENS));
        let written = HEXLOWER.encode(&hash);
        let row = storage::service_tokens::find(&self.keys.database, &written).await?;
        let row = row
            .filter(|row| {
                verify_slices_are_equal(row.granted.token_hash.as_bytes(), written.as_bytes()).is_ok()
            })
            .ok_or(ServiceRefusal::Unknown)?;
        let record = self.record(&row).await?;
        match record.standing {
            TokenStanding::Active => {}
            TokenStanding::Expired => return Err(ServiceRefusal::Expired),
            TokenStanding::Revoked => return Err(ServiceRefusal::Revoked),
            TokenStanding::Damaged => {
                tracing::error!(
                    token = row.id,
                    "the row of a service token was not written by Keyfold; it does not count"
                );
                return Err(ServiceRefusal::Unknown);
            }
        }
        self.note_use(row.id);
        let grant = Arc::new(Grant {
            token_id: row.id,
            name: record.name.into(),
            scopes: record.scopes,
            users: record.users.map(|users| users.into_iter().collect()),
            providers: record.providers.map(|providers| providers.into_iter().collect()),
            expires_at: record.expires_at,
        });
        if let Some(stamp) = stamp {
            let noted_at = AtomicI64::new(self.keys.clock.now().as_microsecond());
            let (grant, read_at) = (Arc::clone(&grant), Instant::now());
            self.remembered.insert(hash, Arc::new(Remembered { grant, stamp, read_at, noted_at }));
        }
        Ok(AuthenticatedService::of(grant))
    }

    /// What this token allows, if it was looked up lately and nothing about tokens changed since.
    fn recall(&self, hash: &[u8; 32]) -> Option<Arc<Grant>> {
        let changes = self.keys.database.changes()?;
        let remembered = self.remembered.get(hash, Arc::clone)?;
        let now = self.keys.clock.now();
        let Remembered { grant, stamp, read_at, noted_at } = &*remembered;
        let counts = changes.is_current(*stamp)
            && read_at.elapsed() < REMEMBERED_FOR
            && grant.expires_at.is_none_or(|end| now < end);
        if !counts {
            return None;
        }
        let now = now.as_microsecond();
        let noted = noted_at.load(Ordering::Relaxed);
        if now.abs_diff(noted) >= NOTE_EVERY.unsigned_abs().as_secs() * 1_000_000
            && noted_at.compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.note_use(grant.token_id);
        }
        Some(Arc::clone(grant))
    }

    /// Releases the user's key for `provider`, or all keys that the token is for; the release is in the audit log
    /// before they are returned.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for what the token is not for, [`Error::NoApiKey`] if the one key is not there, and
    /// [`Error::KeyUnreadable`] if one of them does not open: then none is released.
    pub async fn release(
        &self,
        service: &AuthenticatedService,
        user: &UserId,
        provider: Option<&Arc<Provider>>,
    ) -> Result<ReleasedKeys, Error> {
        let opened = self.open(service, user, provider).await;
        let (keys, events): (Vec<_>, Vec<_>) = match opened {
            Ok(opened) => opened.into_iter().unzip(),
            Err(error) => {
                self.record_refusal(service, user, provider, &error);
                return Err(error);
            }
        };
        // The keys were there: it is the log that is not, whatever keeps it from being written.
        let recorded = self.keys.audit.record(events).await;
        recorded.map_err(|error| Error::AuditUnavailable(error.cause()))?;
        Ok(ReleasedKeys(keys))
    }

    async fn open(
        &self,
        service: &AuthenticatedService,
        user: &UserId,
        provider: Option<&Arc<Provider>>,
    ) -> Result<Vec<((ProviderId, ApiKey), Event)>, Error> {
        service.may(Scope::KeysRead)?;
        service.may_act_for(user, provider.map(|provider| &provider.id))?;
        let keys = self.keys.of(user).await?;
        if keys.is_of_deleted_user() {
            return Err(Error::UserDeleted);
        }
        let wanted: Vec<&Arc<Provider>> = match provider {
            Some(provider) => vec![provider],
            None => self
                .keys
                .registry
                .iter()
                .filter(|provider| service.allows_provider(&provider.id) && keys.has(provider))
                .collect(),
        };
        let open = |provider: &Arc<Provider>| {
            let (key, event) = keys.open_to_release(provider, service.requester())?;
            Ok(((provider.id.clone(), key), event))
        };
        wanted.into_iter().map(open).collect()
    }

    fn record_refusal(
        &self,
        service: &AuthenticatedService,
        user: &UserId,
        provider: Option<&Arc<Provider>>,
        error: &Error,
    ) {
        let outcome = match error {
            Error::Forbidden(_) | Error::UserSuspended | Error::UserDeleted => Outcome::Forbidden,
            Error::NoApiKey { .. } => Outcome::NoKey,
            Error::KeyUnreadable { .. } => Outcome::Unreadable,
            Error::MasterKey(_) => Outcome::Failed,
            _ => return,
        };
        let mut event = Event::new(Action::KeyRefused, outcome, service.requester()).of_user(user);
        event.provider = provider.map(|provider| provider.id.clone());
        event.purpose = Some(Purpose::Service);
        self.keys.audit.refused(event);
    }

    /// Writes down when tokens were last used; what fails is written the next time.
    pub(crate) async fn flush(&self) {
        let unwritten: Vec<(i64, Timestamp)> = {
            let uses = self.uses();
            uses.iter().filter(|(_, used)| !used.is_written).map(|(id, used)| (*id, used.noted_at)).collect()
        };
        for (id, at) in unwritten {
            match storage::service_tokens::set_used(&self.keys.database, id, at).await {
                Ok(()) => {
                    if let Some(used) = self.uses().get_mut(&id).filter(|used| used.noted_at == at) {
                        used.is_written = true;
                    }
                }
                Err(error) => tracing::debug!(%error, "the time of a token's last use was not written"),
            }
        }
    }

    fn note_use(&self, id: i64) {
        let now = self.keys.clock.now();
        let mut uses = self.uses();
        let last = uses.entry(id).or_insert(Use { noted_at: Timestamp::MIN, is_written: true });
        if now.duration_since(last.noted_at).abs() >= NOTE_EVERY {
            *last = Use { noted_at: now, is_written: false };
        }
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::unused_self, reason = "reads as what it is")]
    fn by_operator(&self, action: Action) -> Event {
        Event::new(action, Outcome::Ok, &Requester::new(Actor::Operator))
    }

    fn granted(&self, new: &NewToken, token: &ServiceToken, now: Timestamp) -> Result<GrantRow, Error> {
        check_name(&new.name).map_err(|why| invalid("name", why.into()))?;
        if new.scopes.is_empty() {
            return Err(invalid("scope", format!("is missing; say {}", join(&Scope::ALL))));
        }
        if new.users.len() > MOST_USERS {
            return Err(invalid(
                "user",
                format!("is there too often; a token is limited to at most {MOST_USERS} users, or to none"),
            ));
        }
        let expires_at = match new.lifetime {
            None => None,
            Some(lifetime) if lifetime <= SignedDuration::ZERO || lifetime > LONGEST_LIFE => {
                return Err(invalid("expires", "must be more than nothing and at most ten years".into()));
            }
            Some(lifetime) => now.checked_add(lifetime).ok(),
        };
        let mut scopes = new.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        let users: BTreeSet<&str> = new.users.iter().map(UserId::as_str).collect();
        let mut providers = BTreeSet::new();
        for id in &new.providers {
            providers.insert(self.keys.provider(id)?.id.to_string());
        }
        Ok(GrantRow {
            name: new.name.clone(),
            token_hash: HEXLOWER.encode(&hash(token.expose())),
            scopes: scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
            users: (!users.is_empty()).then(|| json!(users).to_string()),
            providers: (!providers.is_empty()).then(|| json!(providers).to_string()),
            created_at: now,
            expires_at,
        })
    }

    /// What stands in a row. A row that Keyfold did not write is shown, and does not count.
    async fn record(&self, row: &ServiceTokenRow) -> Result<TokenRecord, Error> {
        let granted = &row.granted;
        let signature = HEXLOWER.decode(row.signature.as_bytes()).unwrap_or_default();
        let is_signed = hmac::verify(self.signing_key().await?, &signed(granted), &signature).is_ok();
        let list = |text: &Option<String>| -> Option<Option<Vec<String>>> {
            text.as_ref().map(|text| serde_json::from_str(text)).transpose().ok()
        };
        let (users, providers) = (list(&granted.users), list(&granted.providers));
        let is_expired = granted.expires_at.is_some_and(|end| end <= self.keys.clock.now());
        let standing = if !is_signed || users.is_none() || providers.is_none() {
            TokenStanding::Damaged
        } else if row.revoked_at.is_some() {
            TokenStanding::Revoked
        } else if is_expired {
            TokenStanding::Expired
        } else {
            TokenStanding::Active
        };
        Ok(TokenRecord {
            id: row.id,
            name: granted.name.clone(),
            // A word of a later Keyfold allows nothing here.
            scopes: granted.scopes.split(' ').filter_map(Scope::parse).collect(),
            // None at all, rather than all of them, where nothing can be read.
            users: users.unwrap_or_else(|| Some(vec![])),
            providers: providers.unwrap_or_else(|| Some(vec![])),
            created_at: granted.created_at,
            expires_at: granted.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            standing,
        })
    }

    async fn signing_key(&self) -> Result<&hmac::Key, Error> {
        let Keys { database, ring, random, .. } = &*self.keys;
        let read = async || {
            let key = match root_keys::find(database, ring, SIGNING_KEY).await? {
                Some(key) => key,
                None => root_keys::make(database, ring, &**random, SIGNING_KEY).await?.0,
            };
            Ok::<_, Error>(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
        };
        self.signing_key.get_or_try_init(read).await
    }
}

/// What is signed: every field with its length before it, so that no two rows give the same bytes.
fn signed(granted: &GrantRow) -> Vec<u8> {
    let GrantRow { name, token_hash, scopes, users, providers, created_at, expires_at } = granted;
    let mut content = vec![];
    let mut field = |bytes: Option<&[u8]>| {
        // One more than the length, so that nothing is told from an empty text.
        let length = bytes.map_or(0, |bytes| bytes.len() as u64 + 1);
        content.extend_from_slice(&length.to_be_bytes());
        content.extend_from_slice(bytes.unwrap_or_default());
    };
    field(Some(b"keyfold/1/service-token-grant"));
    field(Some(name.as_bytes()));
    field(Some(token_hash.as_bytes()));
    field(Some(scopes.as_bytes()));
    field(users.as_deref().map(str::as_bytes));
    field(providers.as_deref().map(str::as_bytes));
    field(Some(&created_at.as_microsecond().to_be_bytes()));
    field(expires_at.map(|at| at.as_microsecond().to_be_bytes()).as_ref().map(|bytes| &bytes[..]));
    content
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.starts_with(SERVICE_TOKEN_PREFIX) {
        return Err("looks like a service token; give a name such as billing");
    }
    if !begins || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
        return Err("must begin with a letter and have at most 64 letters, digits and . _ -");
    }
    Ok(())
}

/// A token that was given where a name belongs is not shown again.
fn printable(name: &str) -> String {
    if check_name(name).is_ok() { format!("`{name}`") } else { "of that name or id".into() }
}

fn join(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" and ")
}

fn invalid(field: &str, why: String) -> Error {
    Error::InvalidRequest { field: field.into(), why }
}

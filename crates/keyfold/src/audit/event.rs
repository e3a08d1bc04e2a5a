//! What is written into the audit log: who did what with which key, and what came of it. Never a key.

use std::fmt;
use std::time::Duration;

use crate::provider::ProviderId;
use crate::requester::Requester;
use crate::user::UserId;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A first key was saved.
    KeySaved,
    /// A key was saved over another one.
    KeyReplaced,
    /// The version before the current one was taken back.
    KeyRolledBack,
    /// All versions of a key were deleted.
    KeyDeleted,
    /// A provider was asked about a key.
    KeyChecked,
    /// A key was opened for a call; written before the provider is called.
    KeyOpened,
    /// The call that a key was opened for ended.
    KeyEnded,
    /// A key was handed out in plain text, to a service or to the program that uses the library.
    KeyReleased,
    /// A key was asked for and not given.
    KeyRefused,
    /// A key that another program had stored in plain text was sealed where it lay.
    KeyEncrypted,
    /// A key was turned to plain text where it lay, for leaving Keyfold.
    KeyDecrypted,
    /// The last key in plain text was sealed: from now on none counts.
    KeysEncrypted,
    /// All keys are to be plain text, which counts from now on.
    KeysDecrypted,
    /// A service token was made.
    TokenCreated,
    /// A service token was revoked.
    TokenRevoked,
    /// Data keys were wrapped anew under another master key.
    MasterKeyRotated,
    /// An operator keeps a user out.
    UserSuspended,
    /// A suspension ended.
    UserResumed,
    /// A user and all their keys were deleted.
    UserDeleted,
    /// What the audit log says of a deleted user was made anonymous.
    UserErased,
    /// Old rows of the audit log were removed, as its retention says.
    AuditPruned,
    /// A server started, with these settings.
    Started,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Done.
    Ok,
    /// Not done, or done with an error.
    Failed,
    /// The caller left, or the process ended, before it was over.
    Abandoned,
    /// The provider accepts the key.
    Valid,
    /// The key is live, but restricted.
    Limited,
    /// The provider refuses the key.
    Rejected,
    /// Nothing could be said of the key.
    Unverified,
    /// The user has no key for this provider.
    NoKey,
    /// What is stored does not open.
    Unreadable,
    /// More requests than are allowed.
    RateLimited,
    /// The caller may not do this.
    Forbidden,
    /// Another change came first.
    Conflict,
}

/// What a key was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Text for the user.
    Generate,
    /// A search for the user.
    Research,
    /// A request of a client library.
    Gateway,
    /// The program that uses the library, or a command that `keyfold run` starts.
    Application,
    /// A backend service that takes keys itself.
    Service,
    /// Asked by the user.
    Check,
    /// Asked by Keyfold itself, from time to time.
    Recheck,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $name {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that is stored.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one with this word; `None` for a word of a later Keyfold.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words!(Action {
    KeySaved = "key.saved",
    KeyReplaced = "key.replaced",
    KeyRolledBack = "key.rolled_back",
    KeyDeleted = "key.deleted",
    KeyChecked = "key.checked",
    KeyOpened = "key.opened",
    KeyEnded = "key.ended",
    KeyReleased = "key.released",
    KeyRefused = "key.refused",
    KeyEncrypted = "key.encrypted",
    KeyDecrypted = "key.decrypted",
    KeysEncrypted = "keys.encrypted",
    KeysDecrypted = "keys.decrypted",
    TokenCreated = "token.created",
    TokenRevoked = "token.revoked",
    MasterKeyRotated = "master_key.rotated",
    UserSuspended = "user.suspended",
    UserResumed = "user.resumed",
    UserDeleted = "user.deleted",
    UserErased = "user.erased",
    AuditPruned = "audit.pruned",
    Started = "keyfold.started",
});

words!(Outcome {
    Ok = "ok",
    Failed = "failed",
    Abandoned = "abandoned",
    Valid = "valid",
    Limited = "limited",
    Rejected = "rejected",
    Unverified = "unverified",
    NoKey = "no_key",
    Unreadable = "unreadable",
    RateLimited = "rate_limited",
    Forbidden = "forbidden",
    Conflict = "conflict",
});

words!(Purpose {
    Generate = "generate",
    Research = "research",
    Gateway = "gateway",
    Application = "application",
    Service = "service",
    Check = "check",
    Recheck = "recheck",
});

/// Recognises equal keys: a keyed hash, from which nothing can be guessed without the database's own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub(crate) [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// Joins what was opened for a call with its end: 8 random bytes of the process, and a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub(crate) [u8; 16]);

impl fmt::Display for CallId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// One event, before it has its place in the log. The log adds the time.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
    pub(crate) requester: Requester,
    /// Whose key, or who it was done to; `None` for what concerns no single user.
    pub(crate) user: Option<UserId>,
    pub(crate) provider: Option<ProviderId>,
    pub(crate) key_version: Option<i64>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) call_id: Option<CallId>,
    pub(crate) purpose: Option<Purpose>,
    /// The provider's own status.
    pub(crate) provider_status: Option<u16>,
    pub(crate) duration: Option<Duration>,
    /// A few words or a short JSON object of this action's own, such as the name of a token. Never a secret.
    pub(crate) note: Option<String>,
}

impl Event {
    /// That `requester` did this, with that outcome.
    pub(crate) fn new(action: Action, outcome: Outcome, requester: &Requester) -> Self {
        Self {
            action,
            outcome,
            requester: requester.clone(),
            user: None,
            provider: None,
            key_version: None,
            fingerprint: None,
            call_id: None,
            purpose: None,
            provider_status: None,
            duration: None,
            note: None,
        }
    }

    #[must_use]
    pub(crate) fn of_user(mut self, user: &UserId) -> Self {
        self.user = Some(user.clone());
        self
    }

    #[must_use]
    pub(crate) fn at_provider(mut self, provider: &ProviderId) -> Self {
        self.provider = Some(provider.clone());
        self
    }

    #[must_use]
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

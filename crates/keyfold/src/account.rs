//! A user's account: its deletion, by the user or by the token issuer.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::auth::AuthenticatedUser;
use crate::auth::webhook::{IssuerEvent, MessageHeaders, MessageRefusal, SigningSecret, VerifiedMessage};
use crate::error::Error;
use crate::keys::{AskedBy, Deletion, Keys, REFUSED_FOR};
use crate::requester::Requester;

/// The account of a user whose identity was checked.
pub struct Account {
    keys: Arc<Keys>,
    user: AuthenticatedUser,
}

/// What the token issuer tells by messages.
pub struct IssuerMessages {
    keys: Arc<Keys>,
}

/// What became of a message of the token issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was acted upon.
    Done,
    /// It was acted upon before.
    Repeated,
    /// It is about something that does not concern Keyfold.
    Ignored,
}

impl Account {
    pub(crate) fn new(keys: Arc<Keys>, user: AuthenticatedUser) -> Self {
        Self { keys, user }
    }

    /// Deletes the user's keys, versions, data key, onboarding and session, in one transaction; in local mode the
    /// user's lines in the `.env` files too. Tokens that were issued before are refused from then on; a fresh sign-in
    /// starts anew. A suspended user may go too, and is suspended still on coming back.
    ///
    /// # Errors
    /// [`Error::UserDeleted`] if the token is from before an earlier deletion.
    pub async fn delete(&self) -> Result<(), Error> {
        let deletion = Deletion {
            requester: self.user.requester().clone(),
            asked_by: AskedBy::token_of(&self.user),
            refused_for: SignedDuration::ZERO,
            message: None,
            note: None,
        };
        self.keys.delete_user(self.user.user(), deletion).await.map(drop)
    }
}

impl IssuerMessages {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// Reads a message, if the issuer wrote it, and wrote it now.
    pub fn verify(
        &self,
        secret: &SigningSecret,
        headers: MessageHeaders<'_>,
        body: &[u8],
    ) -> Result<VerifiedMessage, MessageRefusal> {
        secret.verify(headers, body, &*self.keys.clock)
    }

    /// Does what a message asks for: a user who was deleted at the issuer is deleted here and refused for a day,
    /// whatever the token. The message's id is remembered in the same transaction.
    pub async fn take(&self, message: &VerifiedMessage, requester: &Requester) -> Result<Taken, Error> {
        let IssuerEvent::UserDeleted(user) = message.event() else { return Ok(Taken::Ignored) };
        let deletion = Deletion {
            requester: requester.clone(),
            asked_by: AskedBy::Operator,
            refused_for: REFUSED_FOR,
            message: Some(message.id().to_owned()),
            note: None,
        };
        let is_new = self.keys.delete_user(user, deletion).await?;
        Ok(if is_new { Taken::Done } else { Taken::Repeated })
    }
}

//! Messages of the token issuer, as Clerk sends them through Svix (the same as Standard Webhooks): signed with a
//! shared secret, so that only the issuer can have written them, and dated, so that none counts later.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::user::UserId;

/// How far a message's time may be from now, in either direction.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// The longest id of a message (`webhook_messages.id VARCHAR(255)`).
const MAX_ID_BYTES: usize = 255;
/// Signatures that are looked at: one per secret while a secret is replaced.
const MOST_SIGNATURES: usize = 16;
/// Anything shorter can be guessed, or is not what the dashboard shows.
const MIN_SECRET_BYTES: usize = 16;

/// What messages are signed with.
#[derive(Clone)]
pub struct SigningSecret(hmac::Key);

/// Why a text is no signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a signing secret: whsec_ and then base64")]
pub struct MalformedSigningSecret;

/// The headers of a message.
#[derive(Debug, Clone, Copy)]
pub struct MessageHeaders<'a> {
    /// `svix-id` or `webhook-id`.
    pub id: &'a str,
    /// `svix-timestamp` or `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `svix-signature` or `webhook-signature`: `v1,` and base64, several separated by blanks.
    pub signature: &'a str,
}

/// Why a message does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageRefusal {
    /// An id or a time that is none.
    #[error("The message's id or timestamp header is malformed.")]
    Malformed,
    /// Not signed with this secret.
    #[error(
        "The message's signature is not that of this endpoint's signing secret. Copy the secret from the endpoint's page in the issuer's dashboard."
    )]
    Signature,
    /// Too old, or from the future.
    #[error(
        "The message's time is more than 5 minutes from now. Send it again, or correct the clock of this server."
    )]
    Time,
    /// Signed, and not what such messages look like.
    #[error("The message is signed, but is not an event with a type and the data that belong to it.")]
    Content,
}

/// A message whose signature and time were checked. Made by [`SigningSecret::verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedMessage {
    id: String,
    event: IssuerEvent,
}

/// What a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerEvent {
    /// A user was deleted at the issuer.
    UserDeleted(UserId),
    /// Something that does not concern Keyfold.
    Other,
}

impl SigningSecret {
    /// Reads a secret as the dashboard shows it: `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, MalformedSigningSecret> {
        let encoded = text.strip_prefix("whsec_").ok_or(MalformedSigningSecret)?;
        let secret = Zeroizing::new(BASE64.decode(encoded.as_bytes()).map_err(|_| MalformedSigningSecret)?);
        if secret.len() < MIN_SECRET_BYTES {
            return Err(MalformedSigningSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// Reads a message, if the issuer wrote it, and wrote it now. The body is to be given as it came, byte by byte.
    pub fn verify(
        &self,
        headers: MessageHeaders<'_>,
        body: &[u8],
        clock: &dyn Clock,
    ) -> Result<VerifiedMessage, MessageRefusal> {
        let MessageHeaders { id, timestamp, signature } = headers;
        let is_id =
            !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
        let is_number = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let sent_at = timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let Some(sent_at) = sent_at.filter(|_| is_id && is_number) else {
            return Err(MessageRefusal::Malformed);
        };
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        let expected = context.sign();
        let is_signed = signature
            .split_ascii_whitespace()
            .take(MOST_SIGNATURES)
            .filter_map(|signature| BASE64.decode(signature.strip_prefix("v1,")?.as_bytes()).ok())
            .any(|given| constant_time::verify_slices_are_equal(expected.as_ref(), &given).is_ok());
        if !is_signed {
            return Err(MessageRefusal::Signature);
        }
        if clock.now().duration_since(sent_at).abs() > WINDOW {
            return Err(MessageRefusal::Time);
        }
        Ok(VerifiedMessage { id: id.to_owned(), event: read(body)? })
    }
}

/// The secret is not shown.
impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningSecret")
    }
}

impl VerifiedMessage {
    /// Its id: the same whenever it is sent again.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it tells.
    pub fn event(&self) -> &IssuerEvent {
        &self.event
    }
}

#[derive(Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    data: Value,
}

fn read(body: &[u8]) -> Result<IssuerEvent, MessageRefusal> {
    let message: Message = serde_json::from_slice(body).map_err(|_| MessageRefusal::Content)?;
    if message.r#type != "user.deleted" {
        return Ok(IssuerEvent::Other);
    }
    let id = message.data.get("id").and_then(Value::as_str).and_then(|id| UserId::parse(id).ok());
    id.map(IssuerEvent::UserDeleted).ok_or(MessageRefusal::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    /// Test data: the secret and the message of Svix's own documentation.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verify(secret: &str, headers: MessageHeaders<'_>, body: &[u8], now: i64) -> Option<MessageRefusal> {
        let clock = ManualClock::at(Timestamp::from_second(now).unwrap());
        SigningSecret::parse(secret).unwrap().verify(headers, body, &clock).err()
    }

    fn headers<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> MessageHeaders<'a> {
        MessageHeaders { id, timestamp, signature }
    }

    #[test]
    fn the_signature_is_that_of_svix() {
        let now = 1_614_265_330;
        let good = headers(ID, TIMESTAMP, SIGNATURE);
        // The message of the documentation is no event of Clerk.
        assert_eq!(verify(SECRET, good, BODY, now), Some(MessageRefusal::Content));
        let others = format!("v1a,abc v1,AAAA v2,{} v1,*** {SIGNATURE} v1,AAAA", &SIGNATURE[3..]);
        let several = headers(ID, TIMESTAMP, &others);
        assert_eq!(verify(SECRET, several, BODY, now), Some(MessageRefusal::Content));

        let another = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(verify(another, good, BODY, now), Some(MessageRefusal::Signature));
        assert_eq!(verify(SECRET, good, br#"{"test": 2432232315}"#, now), Some(MessageRefusal::Signature));
        for (id, timestamp, signature, why) in [
            ("msg_other", TIMESTAMP, SIGNATURE, MessageRefusal::Signature),
            (ID, "1614265331", SIGNATURE, MessageRefusal::Signature),
            (ID, TIMESTAMP, "", MessageRefusal::Signature),
            (ID, TIMESTAMP, "v1,", MessageRefusal::Signature),
            (ID, TIMESTAMP, &SIGNATURE[3..], MessageRefusal::Signature),
            (ID, TIMESTAMP, &SIGNATURE.replace("v1", "v2"), MessageRefusal::Signature),
            (ID, TIMESTAMP, &SIGNATURE[..40], MessageRefusal::Signature),
            ("", TIMESTAMP, SIGNATURE, MessageRefusal::Malformed),
            (ID, "", SIGNATURE, MessageRefusal::Malformed),
            (ID, "+1614265330", SIGNATURE, MessageRefusal::Malformed),
            (ID, "1614265330.0", SIGNATURE, MessageRefusal::Malformed),
            (ID, "99999999999999999999", SIGNATURE, MessageRefusal::Malformed),
        ] {
            let refusal = verify(SECRET, headers(id, timestamp, signature), BODY, now);
            assert_eq!(refusal, Some(why), "{id} {timestamp} {signature}");
        }
    }

    #[test]
    fn a_message_counts_for_five_minutes_in_both_directions() {
        let sent = 1_614_265_330;
        let good = headers(ID, TIMESTAMP, SIGNATURE);
        for (now, refusal) in [
            (sent - 301, MessageRefusal::Time),
            (sent - 300, MessageRefusal::Content),
            (sent + 300, MessageRefusal::Content),
            (sent + 301, MessageRefusal::Time),
        ] {
            assert_eq!(verify(SECRET, good, BODY, now), Some(refusal), "{now}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        assert_eq!(format!("{:?}", SigningSecret::parse(SECRET).unwrap()), "SigningSecret");
        for bad in ["", "whsec_", "whsec_AAAA", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "sk_test_x"]
        {
            assert!(SigningSecret::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_deletion_of_a_user_concerns_keyfold() {
        let deleted = br#"{"type":"user.deleted","object":"event","data":{"id":"user_1","deleted":true}}"#;
        assert_eq!(read(deleted), Ok(IssuerEvent::UserDeleted(UserId::parse("user_1").unwrap())));
        assert_eq!(read(br#"{"type":"user.created","data":{"id":"user_1"}}"#), Ok(IssuerEvent::Other));
        assert_eq!(read(br#"{"type":"email.created"}"#), Ok(IssuerEvent::Other));
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            b"{\"type\":1}",
            b"{\"type\":\"user.deleted\"}",
            b"{\"type\":\"user.deleted\",\"data\":{\"id\":\"\"}}",
            b"{\"type\":\"user.deleted\",\"data\":{\"id\":7}}",
            b"{\"type\":\"user.deleted\",\"type\":\"user.created\",\"data\":{\"id\":\"user_1\"}}",
        ] {
            assert_eq!(read(bad), Err(MessageRefusal::Content));
        }
    }
}

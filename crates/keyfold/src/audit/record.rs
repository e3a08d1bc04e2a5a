//! The three forms of an event: as it happens, as a line of the spool, as a row of the log.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::requester::Actor;
use crate::storage::audit::AuditRow;

/// A line of the spool. Its names are short: it is written at every use of a key.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<'a> {
    /// Ascends within a spool, so that what is in the log already is known.
    pub(super) n: i64,
    /// Microseconds, Unix time.
    at: i64,
    #[serde(borrow)]
    who: Cow<'a, str>,
    #[serde(borrow)]
    what: Cow<'a, str>,
    #[serde(borrow)]
    out: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    call: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    address: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'a, str>>,
}

impl Line<'_> {
    /// Adds the event to `out` as the line of this number.
    pub(super) fn write(n: i64, at: Timestamp, event: &Event, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let (mut key, mut call) = ([0; 32], [0; 32]);
        let line = Line {
            n,
            at: at.as_microsecond(),
            who: actor(&event.requester.actor),
            what: event.action.as_str().into(),
            out: event.outcome.as_str().into(),
            user: event.user.as_ref().map(|user| user.as_str().into()),
            provider: event.provider.as_ref().map(|provider| provider.as_str().into()),
            request: event.requester.request_id.as_deref().map(Cow::Borrowed),
            version: event.key_version,
            key: event.fingerprint.as_ref().map(|fingerprint| hex(&fingerprint.0, &mut key).into()),
            call: event.call_id.as_ref().map(|call_id| hex(&call_id.0, &mut call).into()),
            purpose: event.purpose.map(|purpose| purpose.as_str().into()),
            status: event.provider_status.map(i64::from),
            ms: duration_ms(event),
            address: event.requester.address.map(|address| address.to_string().into()),
            note: event.note.as_deref().map(Cow::Borrowed),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.push(b'\n');
        Ok(())
    }

    /// Reads a line without its end; `None` for one that was not written whole.
    pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
        serde_json::from_slice(line).ok()
    }

    /// The row that it becomes, still without its place in a chain.
    pub(super) fn into_row(self) -> AuditRow {
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        AuditRow {
            at: Timestamp::from_microsecond(self.at).unwrap_or_default(),
            user: text(self.user),
            actor: self.who.into_owned(),
            action: self.what.into_owned(),
            provider: text(self.provider),
            outcome: self.out.into_owned(),
            request_id: text(self.request),
            key_version: self.version,
            fingerprint: text(self.key),
            call_id: text(self.call),
            purpose: text(self.purpose),
            provider_status: self.status,
            duration_ms: self.ms,
            address: text(self.address),
            note: text(self.note),
            id: 0,
            writer: 0,
            seq: 0,
            content_hash: String::new(),
            hash: String::new(),
            erased: None,
        }
    }
}

/// The row of an event that happened then, still without its place in a chain.
pub(super) fn row_of(event: &Event, at: Timestamp) -> AuditRow {
    AuditRow {
        at,
        user: event.user.as_ref().map(|user| user.as_str().to_owned()),
        actor: actor(&event.requester.actor).into_owned(),
        action: event.action.as_str().to_owned(),
        provider: event.provider.as_ref().map(|provider| provider.as_str().to_owned()),
        outcome: event.outcome.as_str().to_owned(),
        request_id: event.requester.request_id.as_deref().map(str::to_owned),
        key_version: event.key_version,
        fingerprint: event.fingerprint.map(|fingerprint| fingerprint.to_string()),
        call_id: event.call_id.map(|call_id| call_id.to_string()),
        purpose: event.purpose.map(|purpose| purpose.as_str().to_owned()),
        provider_status: event.provider_status.map(i64::from),
        duration_ms: duration_ms(event),
        address: event.requester.address.map(|address| address.to_string()),
        note: event.note.clone(),
        id: 0,
        writer: 0,
        seq: 0,
        content_hash: String::new(),
        hash: String::new(),
        erased: None,
    }
}

fn duration_ms(event: &Event) -> Option<i64> {
    event.duration.map(|duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The usual ones without an allocation.
fn actor(actor: &Actor) -> Cow<'static, str> {
    match actor {
        Actor::User => "user".into(),
        Actor::Application => "application".into(),
        other => other.to_string().into(),
    }
}

fn hex<'a>(bytes: &[u8; 16], out: &'a mut [u8; 32]) -> &'a str {
    HEXLOWER.encode_mut(bytes, out);
    std::str::from_utf8(out).unwrap_or_default()
}

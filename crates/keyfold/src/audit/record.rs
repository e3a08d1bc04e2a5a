//! The three forms of an event: as it happens, as a line of the spool, as a row of the log.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::event::{Action, Event, Outcome};
use crate::requester::Actor;
use crate::storage::audit::Told;
use crate::user::MAX_USER_ID_CHARS;

/// The characters that the columns take (migration `0003_audit`).
const ACTION_CHARS: usize = 40;
const PROVIDER_CHARS: usize = 50;
const WORD_CHARS: usize = 20;
const HEX_CHARS: usize = 32;
const ADDRESS_CHARS: usize = 45;
/// For columns that would take any length.
const TEXT_CHARS: usize = 64 * 1024;

/// A line of the spool: a JSON object. It is written by hand and has short names, since every use of a key pays for it;
/// [`about`] stands last, so that it is made once for both lines of a use.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    /// Ascends within a spool, so that what is in the log already is known.
    pub(super) n: i64,
    /// Microseconds, Unix time.
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "w", borrow)]
    actor: Text<'a>,
    #[serde(rename = "a", borrow)]
    action: Text<'a>,
    #[serde(rename = "o", borrow)]
    outcome: Text<'a>,
    #[serde(rename = "u", borrow, default)]
    user: Option<Text<'a>>,
    #[serde(rename = "p", borrow, default)]
    provider: Option<Text<'a>>,
    #[serde(rename = "r", borrow, default)]
    request_id: Option<Text<'a>>,
    #[serde(rename = "v", default)]
    key_version: Option<i64>,
    #[serde(rename = "f", borrow, default)]
    fingerprint: Option<Text<'a>>,
    #[serde(rename = "c", borrow, default)]
    call_id: Option<Text<'a>>,
    #[serde(rename = "b", borrow, default)]
    purpose: Option<Text<'a>>,
    #[serde(rename = "s", default)]
    provider_status: Option<i64>,
    #[serde(rename = "d", default)]
    duration_ms: Option<i64>,
    #[serde(rename = "i", borrow, default)]
    address: Option<Text<'a>>,
    #[serde(rename = "x", borrow, default)]
    note: Option<Text<'a>>,
}

/// When an event was and what came of it: in this the two lines of a use differ.
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) provider_status: Option<u16>,
    pub(super) duration: Option<Duration>,
}

impl Moment {
    pub(super) fn of(event: &Event, at: Timestamp) -> Self {
        let Event { action, outcome, provider_status, duration, .. } = *event;
        Self { at, action, outcome, provider_status, duration }
    }

    /// Adds the line of this number to `out`.
    pub(super) fn write_line(&self, n: i64, about: &[u8], out: &mut Vec<u8>) {
        out.reserve(128 + about.len());
        out.extend_from_slice(br#"{"n":"#);
        put_integer(out, n);
        out.extend_from_slice(br#","t":"#);
        put_integer(out, self.at.as_microsecond());
        out.extend_from_slice(br#","a":""#);
        out.extend_from_slice(self.action.as_str().as_bytes());
        out.extend_from_slice(br#"","o":""#);
        out.extend_from_slice(self.outcome.as_str().as_bytes());
        out.push(b'"');
        if let Some(status) = self.provider_status {
            out.extend_from_slice(br#","s":"#);
            put_integer(out, i64::from(status));
        }
        if let Some(duration) = duration_ms(self.duration) {
            out.extend_from_slice(br#","d":"#);
            put_integer(out, duration);
        }
        out.extend_from_slice(about);
        out.extend_from_slice(b"}\n");
    }
}

/// The rest of an event, as it stands in its line: who did it with which key, in which call.
pub(super) fn about(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.extend_from_slice(br#","w":"#);
    put_text(&mut out, &actor(&event.requester.actor));
    if let Some(user) = &event.user {
        out.extend_from_slice(br#","u":"#);
        put_text(&mut out, user.as_str());
    }
    if let Some(provider) = &event.provider {
        out.extend_from_slice(br#","p":"#);
        put_text(&mut out, provider.as_str());
    }
    if let Some(request_id) = &event.requester.request_id {
        out.extend_from_slice(br#","r":"#);
        put_text(&mut out, request_id);
    }
    if let Some(version) = event.key_version {
        out.extend_from_slice(br#","v":"#);
        put_integer(&mut out, version);
    }
    if let Some(fingerprint) = &event.fingerprint {
        out.extend_from_slice(br#","f":"#);
        put_hex(&mut out, fingerprint.0);
    }
    if let Some(call_id) = &event.call_id {
        out.extend_from_slice(br#","c":"#);
        put_hex(&mut out, call_id.0);
    }
    if let Some(purpose) = event.purpose {
        out.extend_from_slice(br#","b":"#);
        put_text(&mut out, purpose.as_str());
    }
    if let Some(address) = event.requester.address {
        out.extend_from_slice(br#","i":""#);
        put_address(&mut out, address);
        out.push(b'"');
    }
    if let Some(note) = &event.note {
        out.extend_from_slice(br#","x":"#);
        put_text(&mut out, note);
    }
    out
}

/// A text of a line, borrowed from it unless it had to be changed.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Line<'a> {
    /// Reads a line without its end; `None` for one that was not written whole.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        Self::read_plain(line).or_else(|| Self::read_any(line))
    }

    /// Reads a line in the order in which [`Moment::write_line`] and [`about`] write it, with nothing escaped. Most are,
    /// and no parser of JSON is as fast.
    pub(super) fn read_plain(line: &'a [u8]) -> Option<Self> {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'\\';
        // Without an early end, many bytes are looked at in one step.
        if !line.iter().fold(true, |so_far, byte| so_far & is_plain(*byte)) {
            return None;
        }
        let mut rest = Rest(str::from_utf8(line).ok()?);
        let read = Self::read_fields(&mut rest).ok()?;
        (rest.0 == "}").then(|| read.cut())
    }

    fn read_fields(rest: &mut Rest<'a>) -> Result<Self, NotPlain> {
        Ok(Self {
            n: rest.integer(r#"{"n":"#)?.ok_or(NotPlain)?,
            at: rest.integer(r#","t":"#)?.ok_or(NotPlain)?,
            action: rest.text(r#","a":""#)?.ok_or(NotPlain)?,
            outcome: rest.text(r#","o":""#)?.ok_or(NotPlain)?,
            provider_status: rest.integer(r#","s":"#)?,
            duration_ms: rest.integer(r#","d":"#)?,
            actor: rest.text(r#","w":""#)?.ok_or(NotPlain)?,
            user: rest.text(r#","u":""#)?,
            provider: rest.text(r#","p":""#)?,
            request_id: rest.text(r#","r":""#)?,
            key_version: rest.integer(r#","v":"#)?,
            fingerprint: rest.text(r#","f":""#)?,
            call_id: rest.text(r#","c":""#)?,
            purpose: rest.text(r#","b":""#)?,
            address: rest.text(r#","i":""#)?,
            note: rest.text(r#","x":""#)?,
        })
    }

    /// Reads a line as the JSON that it is.
    pub(super) fn read_any(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(line).ok().map(Self::fitted)
    }

    /// The line of an event that happened then and is in no spool.
    pub(super) fn of(event: &'a Event, at: Timestamp) -> Self {
        let text = |text: &'a str| Text(text.into());
        let made = |text: String| Text(text.into());
        Self {
            n: 0,
            at: at.as_microsecond(),
            actor: Text(actor(&event.requester.actor)),
            action: text(event.action.as_str()),
            outcome: text(event.outcome.as_str()),
            user: event.user.as_ref().map(|user| text(user.as_str())),
            provider: event.provider.as_ref().map(|provider| text(provider.as_str())),
            request_id: event.requester.request_id.as_deref().map(text),
            key_version: event.key_version,
            fingerprint: event.fingerprint.map(|fingerprint| made(fingerprint.to_string())),
            call_id: event.call_id.map(|call_id| made(call_id.to_string())),
            purpose: event.purpose.map(|purpose| text(purpose.as_str())),
            provider_status: event.provider_status.map(i64::from),
            duration_ms: duration_ms(event.duration),
            address: event.requester.address.map(|address| made(address.to_string())),
            note: event.note.as_deref().map(text),
        }
        .fitted()
    }

    /// What its row tells.
    pub(super) fn told(&self) -> Told<'_> {
        Told {
            at: Timestamp::from_microsecond(self.at).unwrap_or_default(),
            user: self.user.as_ref().map(Text::as_str),
            actor: &self.actor.0,
            action: &self.action.0,
            provider: self.provider.as_ref().map(Text::as_str),
            outcome: &self.outcome.0,
            request_id: self.request_id.as_ref().map(Text::as_str),
            key_version: self.key_version,
            fingerprint: self.fingerprint.as_ref().map(Text::as_str),
            call_id: self.call_id.as_ref().map(Text::as_str),
            purpose: self.purpose.as_ref().map(Text::as_str),
            provider_status: self.provider_status,
            duration_ms: self.duration_ms,
            address: self.address.as_ref().map(Text::as_str),
            note: self.note.as_ref().map(Text::as_str),
        }
    }

    /// As the database takes it: no NUL, which PostgreSQL refuses, and no text that is longer than its column. One row
    /// that is refused would keep all after it out of the log.
    fn fitted(mut self) -> Self {
        self.texts().for_each(|(text, _)| text.replace_nul());
        self.cut()
    }

    fn cut(mut self) -> Self {
        self.texts().for_each(|(text, most)| text.cut(most));
        self
    }

    /// Each with the most characters that its column takes.
    fn texts(&mut self) -> impl Iterator<Item = (&mut Text<'a>, usize)> {
        let texts = [
            (&mut self.actor, TEXT_CHARS),
            (&mut self.action, ACTION_CHARS),
            (&mut self.outcome, WORD_CHARS),
        ];
        let optional = [
            (&mut self.user, MAX_USER_ID_CHARS),
            (&mut self.provider, PROVIDER_CHARS),
            (&mut self.request_id, TEXT_CHARS),
            (&mut self.fingerprint, HEX_CHARS),
            (&mut self.call_id, HEX_CHARS),
            (&mut self.purpose, WORD_CHARS),
            (&mut self.address, ADDRESS_CHARS),
            (&mut self.note, TEXT_CHARS),
        ];
        let optional = optional.into_iter().filter_map(|(text, most)| text.as_mut().map(|text| (text, most)));
        texts.into_iter().chain(optional)
    }
}

/// A line must be read as JSON.
struct NotPlain;

/// What is left to read of a line in which nothing is escaped.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// The integer after `name`; `None` if `name` does not stand here.
    fn integer(&mut self, name: &str) -> Result<Option<i64>, NotPlain> {
        let Some(rest) = self.0.strip_prefix(name) else { return Ok(None) };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at(digits);
        // Whatever is negative, or could be too large, is read as JSON. So is what is no number there.
        if digits == 0 || digits > 18 || (digits > 1 && number.starts_with('0')) {
            return Err(NotPlain);
        }
        self.0 = rest;
        Ok(Some(number.bytes().fold(0, |so_far, digit| so_far * 10 + i64::from(digit - b'0'))))
    }

    /// The text after `name`; `None` if `name` does not stand here.
    fn text(&mut self, name: &str) -> Result<Option<Text<'a>>, NotPlain> {
        let Some(rest) = self.0.strip_prefix(name) else { return Ok(None) };
        let end = memchr::memchr(b'"', rest.as_bytes()).ok_or(NotPlain)?;
        let (text, rest) = (&rest[..end], &rest[end + 1..]);
        self.0 = rest;
        Ok(Some(Text(text.into())))
    }
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        &self.0
    }

    fn replace_nul(&mut self) {
        if self.0.contains('\0') {
            self.0 = self.0.replace('\0', "\u{fffd}").into();
        }
    }

    fn cut(&mut self, most: usize) {
        if self.0.len() > most
            && let Some((end, _)) = self.0.char_indices().nth(most)
        {
            self.0 = self.0[..end].to_owned().into();
        }
    }
}

fn duration_ms(duration: Option<Duration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The usual ones without an allocation.
fn actor(actor: &Actor) -> Cow<'static, str> {
    match actor {
        Actor::User => "user".into(),
        Actor::Application => "application".into(),
        other => other.to_string().into(),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    out.push(b'"');
    // Without an early end, many bytes are looked at in one step.
    if text.bytes().fold(true, |so_far, byte| so_far & is_plain(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                ..b' ' => {
                    out.extend_from_slice(br"\u00");
                    out.extend_from_slice(&hex_digits(byte));
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

fn put_hex(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let mut hex = [b'"'; 34];
    for (digits, byte) in hex[1..33].chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&hex_digits(byte));
    }
    out.extend_from_slice(&hex);
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Most are of four numbers, which are faster written one by one.
fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    if let IpAddr::V4(address) = address {
        let mut digits = itoa::Buffer::new();
        for (at, number) in address.octets().into_iter().enumerate() {
            if at > 0 {
                out.push(b'.');
            }
            out.extend_from_slice(digits.format(number).as_bytes());
        }
    } else {
        // Writing into memory cannot fail.
        let _ = write!(out, "{address}");
    }
}

fn put_integer(out: &mut Vec<u8>, integer: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
}

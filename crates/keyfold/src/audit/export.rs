//! Events as they leave Keyfold: JSON lines, CSV, pages.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::verify::{Report, verify};
use super::{Action, Outcome};
use crate::clock::Clock;
use crate::error::Error;
use crate::provider::ProviderId;
use crate::storage::audit::{AuditRow, Wanted, Writer};
use crate::storage::{self, Database};
use crate::user::UserId;

/// An event of the log, as it is stored. Words are texts: a later Keyfold may have written others than this one
/// knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Ascending in the order in which events came to the database.
    pub id: i64,
    /// When it was.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Whose key, or who it was done to.
    pub user_id: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// At which provider.
    pub provider: Option<String>,
    /// What came of it.
    pub outcome: String,
    /// In which request.
    pub request_id: Option<String>,
    /// Joins a key that was opened with the end of its call.
    pub call_id: Option<String>,
    /// What the key was opened for.
    pub purpose: Option<String>,
    /// Which version of the user's key.
    pub key_version: Option<i64>,
    /// The same for equal keys.
    pub fingerprint: Option<String>,
    /// The provider's own status.
    pub provider_status: Option<i64>,
    /// How long the call took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Where the request came from.
    pub address: Option<String>,
    /// Of this action's own.
    pub note: Option<String>,
    /// Who wrote it into the log: one of a process's chains.
    pub writer: i64,
    /// Its place in that chain.
    pub seq: i64,
    /// Whether it was about a user who was deleted, and no longer says so.
    pub erased: bool,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// The first line of CSV.
pub const CSV_HEADING: &str = "id,at,user_id,actor,action,provider,outcome,request_id,call_id,purpose,key_version,fingerprint,provider_status,duration_ms,address,note,writer,seq,erased\r\n";

impl Entry {
    /// One line, without its end.
    pub fn to_json(&self) -> String {
        // Texts and numbers only: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// One line of CSV (RFC 4180) with its end. A field that a spreadsheet would take for a formula begins with a
    /// `'`.
    pub fn to_csv(&self) -> String {
        let mut line = String::with_capacity(256);
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        for field in [
            Some(self.id.to_string()),
            Some(self.at.to_string()),
            self.user_id.clone(),
            Some(self.actor.clone()),
            Some(self.action.clone()),
            self.provider.clone(),
            Some(self.outcome.clone()),
            self.request_id.clone(),
            self.call_id.clone(),
            self.purpose.clone(),
            number(self.key_version),
            self.fingerprint.clone(),
            number(self.provider_status),
            number(self.duration_ms),
            self.address.clone(),
            self.note.clone(),
            Some(self.writer.to_string()),
            Some(self.seq.to_string()),
            Some(self.erased.to_string()),
        ] {
            if !line.is_empty() {
                line.push(',');
            }
            csv_field(&mut line, &field.unwrap_or_default());
        }
        line.push_str("\r\n");
        line
    }

    /// Its place in the order of times.
    pub fn place(&self) -> Place {
        Place { at: self.at, id: self.id }
    }
}

fn csv_field(line: &mut String, field: &str) {
    // What OWASP lists for CSV injection, and the full-width forms that some spreadsheets take for the same.
    const FORMULAS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    let is_formula = field.trim_start_matches([' ', '\n']).starts_with(FORMULAS);
    let needs_quotes = is_formula || field.contains([',', '"', '\n', '\r', ';', '\t', '\'']);
    if !needs_quotes {
        line.push_str(field);
        return;
    }
    line.push('"');
    if is_formula {
        line.push('\'');
    }
    line.push_str(&field.replace('"', "\"\""));
    line.push('"');
}

/// Where an event stands in the order of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) at: Timestamp,
    pub(crate) id: i64,
}

impl Place {
    /// As a cursor. It says nothing that its user does not see; whose events it goes on with is not in it.
    pub(crate) fn to_cursor(self) -> String {
        let mut bytes = vec![];
        bytes.extend_from_slice(&self.at.as_microsecond().to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    pub(crate) fn from_cursor(cursor: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
        let (at, id) = bytes.split_first_chunk::<8>()?;
        let id: [u8; 8] = id.try_into().ok()?;
        let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
        // No database has times of before our era.
        (at >= EARLIEST).then_some(Self { at, id: i64::from_be_bytes(id) })
    }
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this user only.
    pub user: Option<UserId>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// Which of a user's own events; all of them without anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// About keys of this provider.
    pub provider: Option<ProviderId>,
    /// About this, or about things of this kind.
    pub action: Option<ActionFilter>,
    /// Of which this came.
    pub outcome: Option<Outcome>,
}

/// An action, or all whose words begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionFilter {
    /// This one.
    One(Action),
    /// Those of one kind, such as `key.`
    Group(&'static str),
}

impl ActionFilter {
    /// Takes the word of an action, or the first part of one up to its point, such as `key.`
    pub fn parse(text: &str) -> Option<Self> {
        let group = |action: &Action| {
            let word = action.as_str();
            word.split_inclusive('.').next().filter(|group| *group == text)
        };
        Action::parse(text).map(Self::One).or_else(|| Action::ALL.iter().find_map(group).map(Self::Group))
    }
}

/// A page of a user's events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryPage {
    /// The newest first.
    pub entries: Vec<Entry>,
    /// Goes on with older ones; `None` if there are none.
    pub next_cursor: Option<String>,
}

/// The beginning and the end of every chain, signed: what a later verification is held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads(pub(crate) Vec<Writer>);

/// A head as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenHead {
    writer: i64,
    first_seq: i64,
    first_previous: String,
    first_signature: String,
    last_seq: i64,
    last_hash: String,
    last_at: String,
    spooled: i64,
    last_signature: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenHeads {
    heads: Vec<WrittenHead>,
}

impl Heads {
    /// One line, without its end.
    pub fn to_json(&self) -> String {
        let heads = self.0.iter().map(|head| WrittenHead {
            writer: head.id,
            first_seq: head.first_seq,
            first_previous: head.first_previous.clone(),
            first_signature: head.first_signature.clone(),
            last_seq: head.last_seq,
            last_hash: head.last_hash.clone(),
            last_at: head.last_at.to_string(),
            spooled: head.spooled,
            last_signature: head.last_signature.clone(),
        });
        // Texts and numbers only: it cannot fail.
        serde_json::to_string(&WrittenHeads { heads: heads.collect() }).unwrap_or_default()
    }

    /// Reads such a line; `None` if it is none. Signatures are looked at by the verification.
    pub fn from_json(line: &str) -> Option<Self> {
        let written: WrittenHeads = serde_json::from_str(line).ok()?;
        let heads = written.heads.into_iter().map(|head| {
            Some(Writer {
                id: head.writer,
                first_seq: head.first_seq,
                first_previous: head.first_previous,
                first_signature: head.first_signature,
                last_seq: head.last_seq,
                last_hash: head.last_hash,
                last_at: head.last_at.parse().ok()?,
                spooled: head.spooled,
                last_signature: head.last_signature,
            })
        });
        heads.collect::<Option<Vec<_>>>().map(Self)
    }
}

impl From<AuditRow> for Entry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            user_id: row.user,
            actor: row.actor,
            action: row.action,
            provider: row.provider,
            outcome: row.outcome,
            request_id: row.request_id,
            call_id: row.call_id,
            purpose: row.purpose,
            key_version: row.key_version,
            fingerprint: row.fingerprint,
            provider_status: row.provider_status,
            duration_ms: row.duration_ms,
            address: row.address,
            note: row.note,
            writer: row.writer,
            seq: row.seq,
            erased: row.erased.is_some(),
        }
    }
}

/// The audit log, for whoever reads it. It holds the database open: let it go before the Keyfold is closed.
#[derive(Clone)]
pub struct AuditLog {
    pub(super) database: Database,
    pub(super) chain: Chain,
    pub(super) clock: Arc<dyn Clock>,
}

impl AuditLog {
    pub(crate) fn new(database: Database, chain: Chain, clock: Arc<dyn Clock>) -> Self {
        Self { database, chain, clock }
    }

    /// The next events after this place, in the order of their times; from the beginning without one.
    pub async fn page(
        &self,
        selection: &Selection,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Entry>, Error> {
        let since = selection.since.unwrap_or(EARLIEST).max(EARLIEST);
        let place = after.map_or((since, i64::MIN), |place| (place.at, place.id));
        let until = selection.until.unwrap_or(Timestamp::MAX).max(EARLIEST);
        let rows =
            storage::audit::after(&self.database, selection.user(), place, until, limit.into()).await?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }

    /// The latest events, the newest last.
    pub async fn latest(&self, user: Option<&UserId>, count: u32) -> Result<Vec<Entry>, Error> {
        let place = (Timestamp::MAX, i64::MAX);
        let user = user.map(UserId::as_str);
        let rows = storage::audit::before(&self.database, user, place, count.into()).await?;
        Ok(rows.into_iter().rev().map(Entry::from).collect())
    }

    /// A page of a user's own events, the newest first. `cursor` is the `next_cursor` of the page before.
    pub(crate) async fn of_user(
        &self,
        user: &UserId,
        filter: &EntryFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<EntryPage, Error> {
        let place = match cursor.map(Place::from_cursor) {
            None => Place { at: Timestamp::MAX, id: i64::MAX },
            Some(Some(place)) => place,
            Some(None) => {
                return Err(Error::InvalidRequest {
                    field: "cursor".into(),
                    why: "is none that Keyfold gave out. Take the `next_cursor` of the page before, or leave it out."
                        .into(),
                });
            }
        };
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (action, group) = match filter.action {
            None => (None, None),
            Some(ActionFilter::One(action)) => (Some(action.as_str()), None),
            Some(ActionFilter::Group(group)) => (None, Some(group)),
        };
        let wanted_rows = Wanted {
            provider: filter.provider.as_ref().map(ProviderId::as_str),
            action,
            group,
            outcome: filter.outcome.map(Outcome::as_str),
        };
        let place = (place.at, place.id);
        // One more tells whether there are more.
        let most = i64::from(limit) + 1;
        let rows = storage::audit::of_user(&self.database, user, wanted_rows, place, most).await?;
        let has_more = rows.len() > wanted;
        let entries: Vec<Entry> = rows.into_iter().take(wanted).map(Entry::from).collect();
        let next_cursor = entries.last().filter(|_| has_more).map(|last| last.place().to_cursor());
        Ok(EntryPage { entries, next_cursor })
    }

    /// The beginning and the end of every chain as they stand now.
    pub async fn heads(&self) -> Result<Heads, Error> {
        Ok(Heads(storage::audit::writers(&self.database).await?))
    }

    /// Whether all of it is as Keyfold wrote it, also held against heads of an earlier export. `progress` hears from
    /// time to time how many rows were looked at.
    pub async fn verify(
        &self,
        exported: Option<&Heads>,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Report, Error> {
        verify(&self.database, &self.chain, self.clock.now(), exported, progress).await
    }

    /// What comes from now on.
    pub async fn follow(&self, user: Option<UserId>) -> Result<Follower, Error> {
        let seen = storage::audit::ends(&self.database).await?.into_iter().collect();
        Ok(Follower { database: self.database.clone(), user, seen })
    }
}

/// Before every event: no database has times of before.
pub(super) const EARLIEST: Timestamp = Timestamp::UNIX_EPOCH;
/// Rows of one chain that are read at once.
const FOLLOWED: i64 = 1000;

/// Says what came to the log since it was last asked. Each chain's rows come in order and one transaction after the
/// other, which ids and times of several writers do not, so nothing is missed.
pub struct Follower {
    database: Database,
    user: Option<UserId>,
    /// Of each writer, the last `seq` that was seen.
    seen: HashMap<i64, i64>,
}

impl Follower {
    /// These are known already.
    pub fn skip(&mut self, entries: &[Entry]) {
        for entry in entries {
            let seen = self.seen.entry(entry.writer).or_insert(entry.seq);
            *seen = entry.seq.max(*seen);
        }
    }

    /// What is new, in the order of times.
    pub async fn new_entries(&mut self) -> Result<Vec<Entry>, Error> {
        let mut found = vec![];
        for (writer, last) in storage::audit::ends(&self.database).await? {
            let seen = self.seen.get(&writer).copied().unwrap_or(0);
            if last <= seen {
                continue;
            }
            let mut next = seen + 1;
            while next <= last {
                let rows =
                    storage::audit::chains(&self.database, (writer, next), FOLLOWED.min(last - next + 1))
                        .await?;
                let rows: Vec<AuditRow> =
                    rows.iter().map(storage::audit::read_row).collect::<Result<_, _>>()?;
                let of_writer = rows.into_iter().take_while(|row| row.writer == writer);
                let before = next;
                for row in of_writer {
                    next = row.seq + 1;
                    found.push(Entry::from(row));
                }
                // Rows that are not there: not for this command to tell.
                if next == before {
                    break;
                }
            }
            self.seen.insert(writer, last.max(next - 1));
        }
        let user = self.user.as_ref().map(UserId::as_str);
        found.retain(|entry| user.is_none() || entry.user_id.as_deref() == user);
        found.sort_by_key(Entry::place);
        Ok(found)
    }
}

impl Selection {
    fn user(&self) -> Option<&str> {
        self.user.as_ref().map(UserId::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: 7,
            at: "2026-01-02T03:04:05.000006Z".parse().unwrap(),
            user_id: Some("user_a".into()),
            actor: "user".into(),
            action: "key.saved".into(),
            provider: Some("gemini".into()),
            outcome: "ok".into(),
            request_id: None,
            call_id: None,
            purpose: None,
            key_version: Some(1),
            fingerprint: None,
            provider_status: None,
            duration_ms: None,
            address: Some("192.0.2.1".into()),
            note: None,
            writer: 1,
            seq: 2,
            erased: false,
        }
    }

    #[test]
    fn an_action_is_selected_by_its_word_or_by_its_kind_and_by_nothing_else() {
        assert_eq!(ActionFilter::parse("key.saved"), Some(ActionFilter::One(Action::KeySaved)));
        for group in ["key.", "token.", "user.", "keyfold.", "audit.", "master_key."] {
            assert_eq!(ActionFilter::parse(group), Some(ActionFilter::Group(group)));
        }
        for text in ["", ".", "key", "key.s", "KEY.", "key.%", "key.saved.", "other."] {
            assert_eq!(ActionFilter::parse(text), None, "{text}");
        }
    }

    #[test]
    fn json_has_every_field_and_csv_the_same_columns() {
        let entry = entry();
        let json: serde_json::Value = serde_json::from_str(&entry.to_json()).unwrap();
        assert_eq!(json["at"], "2026-01-02T03:04:05.000006Z");
        assert_eq!((&json["note"], &json["key_version"]), (&serde_json::Value::Null, &1.into()));
        let mut columns: Vec<&str> = CSV_HEADING.trim_end().split(',').collect();
        assert_eq!(entry.to_csv().split(',').count(), columns.len());
        columns.sort_unstable();
        let mut fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, columns);
        assert_eq!(
            entry.to_csv(),
            "7,2026-01-02T03:04:05.000006Z,user_a,user,key.saved,gemini,ok,,,,1,,,,192.0.2.1,,1,2,false\r\n"
        );
    }

    #[test]
    fn no_field_of_csv_is_a_formula_or_leaves_its_column() {
        for (text, expected) in [
            ("plain", "plain"),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("＝1", "\"'＝1\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("\",=1", "\"\"\",=1\""),
            ("user=a", "user=a"),
            ("", ""),
        ] {
            let mut line = String::new();
            csv_field(&mut line, text);
            assert_eq!(line, expected, "{text:?}");
        }
    }

    #[test]
    fn cursors_come_back_as_they_were_and_nothing_else_is_one() {
        let place = entry().place();
        assert_eq!(Place::from_cursor(&place.to_cursor()), Some(place));
        for text in ["", "7", "AAAA", "=====", "____________________________", "\u{0}"] {
            assert_eq!(Place::from_cursor(text), None, "{text}");
        }
        let cursor = place.to_cursor();
        assert_eq!(Place::from_cursor(&cursor[1..]), None);
        assert_eq!(Place::from_cursor(&format!("{cursor}AA")), None);
    }
}

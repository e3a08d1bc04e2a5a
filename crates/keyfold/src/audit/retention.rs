//! Removing old rows, and making what the log says of deleted users anonymous, so that the rest still verifies.
//!
//! Both sign something anew, so both look first at what they are about to sign: nobody's changes are made good by it.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Audit;
use super::event::{Action, Event, Outcome};
use super::export::{AuditLog, EARLIEST};
use super::verify::{begins_as_signed, says_what_was_written};
use crate::error::Error;
use crate::requester::{Actor, Requester};
use crate::storage::audit::{AuditRow, Writer};
use crate::storage::{self, StorageError};
use crate::user::UserId;

/// Rows whose chains are looked at in one statement.
const CHUNK: i64 = 20_000;
/// Rows that are removed in one statement.
const REMOVED_AT_ONCE: i64 = 2_000;
/// Rows that are made anonymous in one transaction.
const ERASED_AT_ONCE: i64 = 200;
/// Deleted users that are looked at in one statement.
const USERS: i64 = 500;
/// By then the deletion itself stands in the log.
const END_OF_DELETION: SignedDuration = SignedDuration::from_mins(1);
/// The smallest step of a stored time.
const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

impl AuditLog {
    /// Removes rows that are older than this, and says how many. Several replicas may do so at once.
    ///
    /// The beginnings of the chains are moved first. Rows before them are no longer missed, so it does not matter
    /// where this is cut off.
    pub(crate) async fn prune(&self, keep: SignedDuration, audit: &Audit) -> Result<i64, Error> {
        let until = self.clock.now().saturating_sub(keep).map_or(EARLIEST, |until| until.max(EARLIEST));
        let pruned = self.move_beginnings(until).await?;
        // Told before they are gone.
        if pruned > 0 {
            let note = json!({ "rows": pruned, "before": until.to_string() }).to_string();
            audit.record(vec![of_keyfold(Action::AuditPruned).with_note(note)]).await?;
        }
        match storage::audit::drop_partitions(&self.database, until).await {
            Ok(_) => {}
            // The month is in use. Its rows are removed one by one, and the empty month goes the next time.
            Err(why @ (StorageError::Unavailable(_) | StorageError::Conflict)) => {
                tracing::debug!(%why, "no month of the audit log is dropped now");
            }
            Err(error) => return Err(error.into()),
        }
        while storage::audit::remove_pruned(&self.database, until, REMOVED_AT_ONCE).await? > 0 {}
        Ok(pruned)
    }

    /// Moves the beginning of each chain behind its last row of before `until`; says how many rows that leaves out.
    async fn move_beginnings(&self, until: Timestamp) -> Result<i64, Error> {
        let mut pruned = 0;
        let Some(mut from) = storage::audit::first_at(&self.database, until).await? else { return Ok(0) };
        while from < until {
            let nth = storage::audit::nth_at(&self.database, from, until, CHUNK).await?;
            let end = nth.map_or(until, |nth| nth.max(from.saturating_add(MICROSECOND).unwrap_or(until)));
            for (writer, seq) in storage::audit::last_of_writers(&self.database, from, end).await? {
                pruned += self.move_beginning(writer, seq, until).await?;
            }
            from = end;
        }
        Ok(pruned)
    }

    async fn move_beginning(&self, writer: i64, seq: i64, until: Timestamp) -> Result<i64, Error> {
        // Rows of a chain without a head are left for the verification to tell.
        let Some(head) = storage::audit::writer(&self.database, writer).await? else { return Ok(0) };
        if seq < head.first_seq {
            return Ok(0);
        }
        let Some(row) = self.last_that_is_over(&head, seq, until).await? else {
            tracing::warn!(
                writer,
                seq,
                "old rows of the audit log are kept: they are not as Keyfold wrote them; run `keyfold audit verify`"
            );
            return Ok(0);
        };
        let mut moved = Writer { first_seq: seq + 1, first_previous: row.hash, ..head.clone() };
        moved.first_signature = self.chain.first_signature(&moved);
        let is_moved = storage::audit::move_beginning(&self.database, head.first_seq, &moved).await?;
        // If not, another replica is at it.
        Ok(if is_moved { moved.first_seq - head.first_seq } else { 0 })
    }

    /// The row at this place, if it is genuine. Then all before it are as old at least, and nothing is lost that is
    /// not over.
    async fn last_that_is_over(
        &self,
        head: &Writer,
        seq: i64,
        until: Timestamp,
    ) -> Result<Option<AuditRow>, Error> {
        let rows = storage::audit::chains(&self.database, (head.id, seq - 1), 2).await?;
        let rows: Vec<AuditRow> = rows.iter().filter_map(|row| storage::audit::read_row(row).ok()).collect();
        let at = |seq| rows.iter().find(|row| (row.writer, row.seq) == (head.id, seq));
        let previous =
            if seq == head.first_seq { Some(&head.first_previous) } else { at(seq - 1).map(|row| &row.hash) };
        let (Some(row), Some(previous)) = (at(seq), previous) else { return Ok(None) };
        let is_genuine = begins_as_signed(&self.chain, head)
            && says_what_was_written(&self.chain, row)
            && self.chain.hash(row, previous) == row.hash
            && row.at < until
            && seq <= head.last_seq;
        Ok(is_genuine.then(|| row.clone()))
    }

    /// Makes the rows about users anonymous who were deleted longer ago than this; says how many rows.
    pub(crate) async fn erase_deleted_users(
        &self,
        keep: SignedDuration,
        audit: &Audit,
    ) -> Result<u64, Error> {
        let before = self.clock.now().saturating_sub(keep).map_or(EARLIEST, |before| before.max(EARLIEST));
        let mut erased = 0;
        let mut last = (EARLIEST, String::new());
        loop {
            let after = (last.0, last.1.as_str());
            let users = storage::audit::deleted_users(&self.database, before, after, USERS).await?;
            for (user, deleted_at) in &users {
                erased += self.erase(user, *deleted_at, audit).await?;
            }
            match users.into_iter().next_back() {
                Some((user, deleted_at)) => last = (deleted_at, user),
                None => return Ok(erased),
            }
        }
    }

    async fn erase(&self, user: &str, deleted_at: Timestamp, audit: &Audit) -> Result<u64, Error> {
        // Who came back is somebody new, from then on.
        let came_back = match UserId::parse(user) {
            Ok(id) => storage::sessions::find(&self.database, &id).await?.is_some(),
            Err(_) => false,
        };
        let until = match deleted_at.checked_add(END_OF_DELETION) {
            Ok(until) if came_back => until,
            _ => Timestamp::MAX,
        };
        let (mut erased, mut place) = (0, (EARLIEST, i64::MIN));
        loop {
            let rows =
                storage::audit::after(&self.database, Some(user), place, until, ERASED_AT_ONCE).await?;
            let Some(last) = rows.last() else { return Ok(erased) };
            place = (last.at, last.id);
            let transaction = self.database.begin().await?;
            let mut now = 0;
            for row in rows {
                if !says_what_was_written(&self.chain, &row) {
                    tracing::warn!(
                        writer = row.writer,
                        seq = row.seq,
                        "a row of the audit log is not made anonymous: it is not as Keyfold wrote it; run `keyfold audit verify`"
                    );
                    continue;
                }
                now += u64::from(storage::audit::erase(&transaction, &self.anonymous(row)).await?);
            }
            if now > 0 {
                let note = json!({ "rows": now }).to_string();
                audit.commit(transaction, vec![of_keyfold(Action::UserErased).with_note(note)]).await?;
                erased += now;
            }
        }
    }

    /// What is left of a row, signed.
    fn anonymous(&self, row: AuditRow) -> AuditRow {
        let actor = row.actor.split(':').next().unwrap_or_default().to_owned();
        let mut left = AuditRow {
            user: None,
            actor,
            request_id: None,
            fingerprint: None,
            address: None,
            note: None,
            erased: None,
            ..row
        };
        left.erased = Some(self.chain.erased(&left));
        left
    }
}

fn of_keyfold(action: Action) -> Event {
    Event::new(action, Outcome::Ok, &Requester::new(Actor::Keyfold))
}

#[cfg(test)]
mod tests;

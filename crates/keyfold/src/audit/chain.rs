//! How a row is bound to the one before it, how a head is signed, and how both are verified.
//!
//! All are HMAC-SHA-256 under the audit key, so that nobody without it can make one: who may write to the database
//! cannot change, insert, move or remove rows unnoticed. The labels stand in `envelope/derivation.rs`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::envelope::audit_labels as label;
use crate::storage::audit::{AuditRow, Writer, WriterCount};

/// What stands before the first row of a writer.
pub(crate) const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The audit key, ready to hash and verify.
#[derive(Clone)]
pub(crate) struct Chain(hmac::Key);

impl Chain {
    pub(crate) fn new(audit_key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, audit_key))
    }

    /// Over what the row tells and its place: [`AuditRow::content_hash`] when it was made. So a row fits nowhere else, even
    /// where the row before it is no longer there to tell.
    pub(crate) fn content_hash(&self, row: &AuditRow) -> String {
        let mut fields = Fields::labelled(label::CONTENT);
        fields.integer(row.writer);
        fields.integer(row.seq);
        fields.content(row);
        self.sign(&fields)
    }

    /// Over the row's place and its content: [`AuditRow::hash`]. `previous` is the hash of the row before it of the same
    /// writer, [`NOTHING_BEFORE`] for the first.
    pub(crate) fn hash(&self, row: &AuditRow, previous: &str) -> String {
        let mut fields = Fields::labelled(label::LINK);
        fields.integer(row.writer);
        fields.integer(row.seq);
        fields.text(previous);
        fields.text(&row.content_hash);
        self.sign(&fields)
    }

    /// Over what is left of a row that was made anonymous: [`AuditRow::erased`].
    pub(crate) fn erased(&self, row: &AuditRow) -> String {
        let mut fields = Fields::labelled(label::ERASED);
        fields.integer(row.writer);
        fields.integer(row.seq);
        fields.text(&row.content_hash);
        fields.content(row);
        self.sign(&fields)
    }

    /// Over the end of a chain: [`Writer::last_signature`].
    pub(crate) fn last_signature(&self, writer: &Writer) -> String {
        let mut fields = Fields::labelled(label::HEAD);
        fields.integer(writer.id);
        fields.integer(writer.last_seq);
        fields.text(&writer.last_hash);
        fields.integer(writer.last_at.as_microsecond());
        fields.integer(writer.spooled);
        self.sign(&fields)
    }

    /// Over the place where a chain now begins: [`Writer::first_signature`].
    pub(crate) fn first_signature(&self, writer: &Writer) -> String {
        let mut fields = Fields::labelled(label::ANCHOR);
        fields.integer(writer.id);
        fields.integer(writer.first_seq);
        fields.text(&writer.first_previous);
        self.sign(&fields)
    }

    /// Over how many writers there ever were: [`WriterCount::signature`].
    pub(crate) fn count_signature(&self, writers: i64) -> String {
        let mut fields = Fields::labelled(label::COUNT);
        fields.integer(writers);
        self.sign(&fields)
    }

    /// Whether the count is one that Keyfold signed.
    pub(crate) fn fits_count(&self, count: &WriterCount) -> bool {
        is_same(&self.count_signature(count.writers), &count.signature)
    }

    /// Names the database that this key belongs to, without saying anything of the key.
    pub(crate) fn database_tag(&self) -> String {
        let mut tag = self.sign(&Fields::labelled(label::SPOOL));
        tag.truncate(16);
        tag
    }

    fn sign(&self, fields: &Fields) -> String {
        HEXLOWER.encode(hmac::sign(&self.0, &fields.0).as_ref())
    }
}

/// Compares two hashes or signatures in constant time.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// Fields, each after its length (32 bits, big endian), so that no two lists of fields give the same bytes.
struct Fields(Vec<u8>);

impl Fields {
    fn labelled(label: &[u8]) -> Self {
        let mut fields = Self(Vec::with_capacity(512));
        fields.bytes(label);
        fields
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn integer(&mut self, integer: i64) {
        self.bytes(&integer.to_be_bytes());
    }

    /// A length that nothing has.
    fn nothing(&mut self) {
        self.0.extend_from_slice(&u32::MAX.to_be_bytes());
    }

    fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.nothing(),
        }
    }

    fn optional_integer(&mut self, integer: Option<i64>) {
        match integer {
            Some(integer) => self.integer(integer),
            None => self.nothing(),
        }
    }

    /// All that a row tells; a column that is added later is added at the end.
    fn content(&mut self, row: &AuditRow) {
        self.integer(row.at.as_microsecond());
        self.optional_text(row.user.as_deref());
        self.text(&row.actor);
        self.text(&row.action);
        self.optional_text(row.provider.as_deref());
        self.text(&row.outcome);
        self.optional_text(row.request_id.as_deref());
        self.optional_integer(row.key_version);
        self.optional_text(row.fingerprint.as_deref());
        self.optional_text(row.call_id.as_deref());
        self.optional_text(row.purpose.as_deref());
        self.optional_integer(row.provider_status);
        self.optional_integer(row.duration_ms);
        self.optional_text(row.address.as_deref());
        self.optional_text(row.note.as_deref());
    }
}

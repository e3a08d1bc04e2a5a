//! How a row is bound to the one before it, how a head is signed, and how both are verified.
//!
//! All are HMAC-SHA-256 under the audit key, so that nobody without it can make one: who may write to the database
//! cannot change, insert, move or remove rows unnoticed. The labels stand in `envelope/derivation.rs`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::envelope::audit_labels as label;
use crate::storage::audit::{AuditRow, NewRows, Told, Writer, WriterCount};

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
        let mut fields = Fields::default();
        fields.put_content((row.writer, row.seq), &row.told());
        self.sign(&fields).as_str().to_owned()
    }

    /// Over the row's place and its content: [`AuditRow::hash`]. `previous` is the hash of the row before it of the same
    /// writer, [`NOTHING_BEFORE`] for the first.
    pub(crate) fn hash(&self, row: &AuditRow, previous: &str) -> String {
        let mut fields = Fields::default();
        fields.put_link((row.writer, row.seq), previous, &row.content_hash);
        self.sign(&fields).as_str().to_owned()
    }

    /// Over what is left of a row that was made anonymous: [`AuditRow::erased`].
    pub(crate) fn erased(&self, row: &AuditRow) -> String {
        let mut fields = Fields::labelled(label::ERASED);
        fields.integer(row.writer);
        fields.integer(row.seq);
        fields.text(&row.content_hash);
        fields.told(&row.told());
        self.sign(&fields).as_str().to_owned()
    }

    /// Over the end of a chain: [`Writer::last_signature`].
    pub(crate) fn last_signature(&self, writer: &Writer) -> String {
        let mut fields = Fields::labelled(label::HEAD);
        fields.integer(writer.id);
        fields.integer(writer.last_seq);
        fields.text(&writer.last_hash);
        fields.integer(writer.last_at.as_microsecond());
        fields.integer(writer.spooled);
        self.sign(&fields).as_str().to_owned()
    }

    /// Over the place where a chain now begins: [`Writer::first_signature`].
    pub(crate) fn first_signature(&self, writer: &Writer) -> String {
        let mut fields = Fields::labelled(label::ANCHOR);
        fields.integer(writer.id);
        fields.integer(writer.first_seq);
        fields.text(&writer.first_previous);
        self.sign(&fields).as_str().to_owned()
    }

    /// Over how many writers there ever were: [`WriterCount::signature`].
    pub(crate) fn count_signature(&self, writers: i64) -> String {
        let mut fields = Fields::labelled(label::COUNT);
        fields.integer(writers);
        self.sign(&fields).as_str().to_owned()
    }

    /// Whether the count is one that Keyfold signed.
    pub(crate) fn fits_count(&self, count: &WriterCount) -> bool {
        is_same(&self.count_signature(count.writers), &count.signature)
    }

    /// Names the database that this key belongs to, without saying anything of the key.
    pub(crate) fn database_tag(&self) -> String {
        self.sign(&Fields::labelled(label::SPOOL)).as_str()[..16].to_owned()
    }

    fn sign(&self, fields: &Fields) -> Hash {
        let (mut hash, mut digits) = ([0; 32], [0; 64]);
        // It fails for a buffer that is too small only.
        let _ = hmac::sign_to_buffer(&self.0, &fields.0, &mut hash);
        HEXLOWER.encode_mut(&hash, &mut digits);
        Hash(digits)
    }
}

/// A hash as it is stored.
struct Hash([u8; 64]);

impl Hash {
    fn as_str(&self) -> &str {
        // Hex digits: it cannot fail.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Rows that are being added to the end of a chain.
pub(super) struct Addition<'a> {
    chain: &'a Chain,
    head: Writer,
    rows: NewRows,
    /// Used again for each row.
    fields: Fields,
}

impl<'a> Addition<'a> {
    /// Goes on from this head, with about so many rows.
    pub(super) fn after(chain: &'a Chain, head: &Writer, expected: usize) -> Self {
        let rows = NewRows::after(head.id, head.last_seq, expected);
        Self { chain, head: head.clone(), rows, fields: Fields::default() }
    }

    /// Gives a row its place.
    pub(super) fn push(&mut self, told: &Told<'_>) {
        let head = &mut self.head;
        // A clock that was set back does not make a row older than the one before it.
        head.last_at = head.last_at.max(told.at);
        head.last_seq += 1;
        let (place, told) = ((head.id, head.last_seq), Told { at: head.last_at, ..*told });
        self.fields.put_content(place, &told);
        let content = self.chain.sign(&self.fields);
        self.fields.put_link(place, &head.last_hash, content.as_str());
        let hash = self.chain.sign(&self.fields);
        self.rows.push(&told, content.as_str(), hash.as_str());
        head.last_hash.clear();
        head.last_hash.push_str(hash.as_str());
    }

    /// The rows, and the head that the chain has with them; `spooled` is its last line that is in the log then.
    pub(super) fn end(self, spooled: i64) -> (NewRows, Writer) {
        let mut head = Writer { spooled, ..self.head };
        head.last_signature = self.chain.last_signature(&head);
        (self.rows, head)
    }
}

/// Compares two hashes or signatures in constant time.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// Fields, each after its length (32 bits, big endian), so that no two lists of fields give the same bytes.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn labelled(label: &[u8]) -> Self {
        let mut fields = Self::default();
        fields.begin(label);
        fields
    }

    fn begin(&mut self, label: &[u8]) {
        self.0.clear();
        self.0.reserve(512);
        self.bytes(label);
    }

    /// Those of [`Chain::content_hash`].
    fn put_content(&mut self, (writer, seq): (i64, i64), told: &Told<'_>) {
        self.begin(label::CONTENT);
        self.integer(writer);
        self.integer(seq);
        self.told(told);
    }

    /// Those of [`Chain::hash`].
    fn put_link(&mut self, (writer, seq): (i64, i64), previous: &str, content_hash: &str) {
        self.begin(label::LINK);
        self.integer(writer);
        self.integer(seq);
        self.text(previous);
        self.text(content_hash);
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
    fn told(&mut self, told: &Told<'_>) {
        self.integer(told.at.as_microsecond());
        self.optional_text(told.user);
        self.text(told.actor);
        self.text(told.action);
        self.optional_text(told.provider);
        self.text(told.outcome);
        self.optional_text(told.request_id);
        self.optional_integer(told.key_version);
        self.optional_text(told.fingerprint);
        self.optional_text(told.call_id);
        self.optional_text(told.purpose);
        self.optional_integer(told.provider_status);
        self.optional_integer(told.duration_ms);
        self.optional_text(told.address);
        self.optional_text(told.note);
    }
}

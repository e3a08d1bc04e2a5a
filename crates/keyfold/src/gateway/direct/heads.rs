//! Heads: a request's as the provider gets it, and an answer's as the caller gets it.

use std::mem::MaybeUninit;
use std::sync::{Arc, LazyLock};

use http::{Method, StatusCode};
use httparse::{ParserConfig, Status};

use crate::error::Error;
use crate::gateway::call::AnswerHead;
use crate::gateway::crossing::{self, CREDENTIAL_IN_QUERY};
use crate::gateway::forward::RequestHead;
use crate::gateway::framing::{Chunks, Framing};
use crate::gateway::upstream::{Route, Upstream};
use crate::provider::{KeyPlacement, Provider};
use crate::secret::ApiKey;
use crate::usage::AskedPath;

/// The longest body that goes this way.
pub const LONGEST_BODY: u64 = 256 * 1024;
/// The most headers of an answer, and the most bytes of its head.
const MOST_HEADERS: usize = 128;

/// A request's head, rewritten for the provider up to where its key comes.
pub struct PlainRequest {
    pub(super) upstream: Arc<Upstream>,
    /// Which of the upstream's ways it goes, by its path.
    is_generation: bool,
    /// For the counts in its answer.
    pub(super) asked: AskedPath,
    pub(super) is_head: bool,
    /// Bytes of the caller's head, which are still unused.
    pub(super) head_bytes: usize,
    pub(super) body_bytes: u64,
}

/// What an answer of the provider carries besides its own headers.
pub struct Added<'a> {
    /// Keyfold's id of the request.
    pub request_id: &'a str,
    /// It is the caller's own: then it stands in place of the provider's.
    pub is_callers_own: bool,
    /// Further headers, each a whole line with its end.
    pub lines: &'a [u8],
    /// The caller wants no further answer on this connection.
    pub closes: bool,
}

impl PlainRequest {
    /// Writes a head for the provider, up to where the key comes, into `out`, the connection's own memory. The caller's
    /// head takes `head_bytes`, and its body `body_bytes` if it says so. `None`: this request is to go the other way.
    pub fn begin(
        upstream: &Arc<Upstream>,
        out: &mut Vec<u8>,
        head: &RequestHead<'_>,
        head_bytes: usize,
        body_bytes: Option<u64>,
    ) -> Option<Self> {
        let RequestHead { method, target, fields, credential_is_in_query } = head;
        let provider = &upstream.provider;
        // The other way finds out what was agreed on.
        if provider.http_2 || body_bytes.is_some_and(|length| length > LONGEST_BODY) {
            return None;
        }
        let route = upstream.route(target.path());
        out.clear();
        out.extend_from_slice(method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(route.address.path_prefix().as_bytes());
        out.extend_from_slice(target.path().as_bytes());
        if let Some(query) = target.query(credential_is_in_query.then_some(CREDENTIAL_IN_QUERY)) {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        put_line(out, "host", route.host.as_bytes());
        for field in *fields {
            if crossing::goes_to_provider(field.name) && !provider.key_placement.is_header(field.name) {
                put_line(out, field.name, field.value);
            }
        }
        for (name, value) in &provider.headers {
            if !fields.iter().any(|field| field.name.eq_ignore_ascii_case(name.as_str())) {
                put_line(out, name.as_str(), value.as_bytes());
            }
        }
        if let Some(length) = body_bytes {
            out.extend_from_slice(b"content-length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Some(Self {
            upstream: Arc::clone(upstream),
            is_generation: upstream.is_generation(target.path()),
            asked: target.path().into(),
            is_head: *method == Method::HEAD,
            head_bytes,
            body_bytes: body_bytes.unwrap_or(0),
        })
    }

    /// The provider that it goes to.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub(super) fn route(&self) -> &Route {
        self.upstream.route_of(self.is_generation)
    }
}

fn put_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[expect(clippy::disallowed_methods, reason = "the key enters the request that it was opened for")]
pub(super) fn put_key(out: &mut Vec<u8>, provider: &Provider, key: &ApiKey) {
    // All at once: memory that is given back while it grows would hold a part of the key.
    out.reserve(key.expose().len() + 80);
    match &provider.key_placement {
        KeyPlacement::Bearer => out.extend_from_slice(b"authorization: Bearer "),
        KeyPlacement::Header(name) => {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
        }
    }
    out.extend_from_slice(key.expose().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// The head of an answer, or of something before it.
pub(super) enum HeadRead {
    /// It takes so many bytes; the answer's own is still to come.
    Interim(usize),
    Answer(AnswerRead),
}

pub(super) struct AnswerRead {
    pub(super) status: StatusCode,
    pub(super) used: usize,
    /// `None`: there is no body.
    pub(super) framing: Option<Framing>,
    pub(super) is_reusable: bool,
    pub(super) must_mark: bool,
}

/// Reads the head of an answer, and writes the one that the caller gets. `None`: it is not whole yet.
pub(super) fn read_answer_head(
    bytes: &[u8],
    is_head: bool,
    added: &Added<'_>,
    closes: bool,
    out: &mut Vec<u8>,
    answered: impl FnOnce(StatusCode, AnswerHead<'_>) -> Result<bool, Error>,
) -> Result<Option<HeadRead>, NoAnswer> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut read = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut read, bytes, &mut fields);
    let used = match parsed {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(NoAnswer::Malformed("the answer's head is malformed")),
    };
    let (version, code) = (read.version.unwrap_or(0), read.code.unwrap_or(0));
    let status = StatusCode::from_u16(code).map_err(|_| NoAnswer::Malformed("the answer has no status"))?;
    if status.is_informational() {
        // Nobody asked for another protocol.
        return if status == StatusCode::SWITCHING_PROTOCOLS {
            Err(NoAnswer::Malformed("the provider switched to another protocol"))
        } else {
            Ok(Some(HeadRead::Interim(used)))
        };
    }
    let found = Found::in_fields(read.headers)?;
    if version == 0 && found.is_chunked {
        return Err(NoAnswer::Malformed("an answer of HTTP/1.0 has a transfer coding"));
    }
    let is_bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (is_bodiless, found.is_chunked, found.length) {
        (true, ..) | (false, false, Some(0)) => None,
        (false, true, _) => Some(Framing::Chunked(Chunks::default())),
        (false, false, Some(length)) => Some(Framing::Length(length)),
        (false, false, None) => Some(Framing::UntilClose),
    };
    let told = AnswerHead { content_type: found.content_type, content_encoding: found.content_encoding };
    let must_mark = answered(status, told).map_err(NoAnswer::Refused)?;

    out.reserve(used + added.lines.len() + 400);
    out.extend_from_slice(b"HTTP/1.1 ");
    put_number(out, code.into());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut has_request_id = false;
    for field in &*read.headers {
        if !crossing::goes_to_caller(field.name)
            || (found.names_others && is_hop_by_hop(field.name, read.headers))
        {
            continue;
        }
        if field.name.eq_ignore_ascii_case("x-request-id") {
            if added.is_callers_own {
                continue;
            }
            has_request_id = true;
        }
        put_line(out, field.name, field.value);
    }
    out.extend_from_slice(*EVERY_ANSWER);
    if !has_request_id {
        put_line(out, "x-request-id", added.request_id.as_bytes());
    }
    put_line(out, "keyfold-request-id", added.request_id.as_bytes());
    out.extend_from_slice(added.lines);
    match (&framing, found.length) {
        (Some(Framing::Chunked(_)), _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Some(Framing::Length(_)) | None, Some(length)) if status != StatusCode::NO_CONTENT => {
            out.extend_from_slice(b"content-length: ");
            put_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => {}
    }
    let closes = closes || matches!(framing, Some(Framing::UntilClose));
    out.extend_from_slice(if closes { b"connection: close\r\n\r\n" } else { b"\r\n" });
    // Some send a body where none may be.
    let has_none = is_head || status == StatusCode::NOT_MODIFIED || framing.is_some();
    let may_follow = !has_none && (found.is_chunked || found.length.is_some_and(|length| length > 0));
    let is_reusable =
        version == 1 && !found.closes && !may_follow && !matches!(framing, Some(Framing::UntilClose));
    Ok(Some(HeadRead::Answer(AnswerRead { status, used, framing, is_reusable, must_mark })))
}

/// Why an answer is none that can be passed on.
pub(super) enum NoAnswer {
    Malformed(&'static str),
    /// Keyfold does not pass it on.
    Refused(Error),
}

/// The lines of [`crossing::ON_EVERY_ANSWER`].
static EVERY_ANSWER: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let mut lines = Vec::new();
    for (name, value) in crossing::ON_EVERY_ANSWER {
        put_line(&mut lines, name, value.as_bytes());
    }
    lines.leak()
});

/// What of an answer's headers matters here.
#[derive(Default)]
struct Found<'a> {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    /// A `Connection` header names other headers.
    names_others: bool,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn in_fields(fields: &[httparse::Header<'a>]) -> Result<Self, NoAnswer> {
        let mut found = Self::default();
        for field in fields {
            match field.name.len() {
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    if field.value.eq_ignore_ascii_case(b"keep-alive") {
                        continue;
                    }
                    found.closes |= crossing::is_named_in(field.value, "close");
                    found.names_others = true;
                }
                12 if field.name.eq_ignore_ascii_case("content-type") => {
                    found.content_type = Some(field.value);
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    let length =
                        read_length(field.value).ok_or(NoAnswer::Malformed("the answer's length is none"))?;
                    if found.length.is_some_and(|other| other != length) {
                        return Err(NoAnswer::Malformed("the answer has two lengths"));
                    }
                    found.length = Some(length);
                }
                16 if field.name.eq_ignore_ascii_case("content-encoding") => {
                    found.content_encoding = Some(field.value);
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if found.is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(NoAnswer::Malformed(
                            "the answer has a transfer coding that is not known",
                        ));
                    }
                    found.is_chunked = true;
                }
                _ => {}
            }
        }
        if found.is_chunked && found.length.is_some() {
            return Err(NoAnswer::Malformed("the answer has both a length and a transfer coding"));
        }
        Ok(found)
    }
}

fn is_hop_by_hop(name: &str, fields: &[httparse::Header<'_>]) -> bool {
    let mut connection = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
    connection.any(|connection| crossing::is_named_in(connection.value, name))
}

/// A length as RFC 9110, section 8.6, writes it.
pub fn read_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0_u64, |so_far, digit| so_far.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

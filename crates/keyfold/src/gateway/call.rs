//! A call that is made through the gateway: for whom, with which key, and what came of it.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::upstream::Upstream;
use crate::audit::{Action, Event, Outcome, Purpose, UseRecord};
use crate::auth::AuthenticatedUser;
use crate::error::Error;
use crate::figures::{self, CallKind, CallOutcome};
use crate::keys::{AskedBy, KeyTicket, Keys};
use crate::limit::{Limits, StreamPlace};
use crate::provider::answer::{Answer, may_be_the_keys_fault, of_use};
use crate::provider::{Provider, Verdict};
use crate::requester::{Actor, Requester};
use crate::secret::ApiKey;
use crate::service_tokens::{AuthenticatedService, Scope};
use crate::usage::{AnswerReader, AskedPath};
use crate::user::UserId;

/// What is kept of a refusal to judge it by.
pub(crate) const REFUSAL_BYTES: usize = 64 * 1024;
/// How long an answer waits for its key's mark to be written.
const MARKING: Duration = Duration::from_millis(500);

/// Who calls the gateway, and for which user.
#[derive(Debug, Clone)]
pub struct GatewayCaller {
    user: UserId,
    asked_by: AskedBy,
    requester: Requester,
}

impl GatewayCaller {
    /// A user whose identity was checked.
    pub fn of_user(user: &AuthenticatedUser) -> Self {
        Self {
            user: user.user().clone(),
            asked_by: AskedBy::token_of(user),
            requester: user.requester().clone(),
        }
    }

    /// A backend service that acts for `user`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if its token is not for the gateway, this user or this provider.
    pub(super) fn of_service(
        service: &AuthenticatedService,
        user: &UserId,
        provider: &Provider,
    ) -> Result<Self, Error> {
        service.may(Scope::Gateway)?;
        service.may_act_for(user, Some(&provider.id))?;
        let user = user.clone();
        Ok(Self { user, asked_by: AskedBy::Application, requester: service.requester().clone() })
    }

    /// Whose key is used.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The name of the service that calls, if it is one.
    pub fn service(&self) -> Option<&Arc<str>> {
        match &self.requester.actor {
            Actor::Service(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn requester(&self) -> &Requester {
        &self.requester
    }
}

/// A call whose key is opened and whose beginning is recorded. The key leaves it into one request only.
pub(crate) struct Call {
    pub(super) key: ApiKey,
    pub(super) answering: Answering,
}

impl Call {
    /// Opens the user's key for this provider; the use is in the audit log when this returns.
    pub(super) async fn begin(
        keys: &Arc<Keys>,
        limits: &Arc<Limits>,
        caller: GatewayCaller,
        upstream: &Arc<Upstream>,
        asked: AskedPath,
    ) -> Result<Self, Error> {
        let GatewayCaller { user, asked_by, requester } = &caller;
        let context = keys.of_asked_by(user, *asked_by).await;
        if let Err(Error::UserSuspended | Error::UserDeleted) = context {
            let refused = Event::new(Action::KeyRefused, Outcome::Forbidden, requester);
            keys.audit.refused(refused.of_user(user));
        }
        let context = context?.asked_for(requester);
        // A service's token does not say when its user signed in. Who did so afresh has no key yet.
        if matches!(asked_by, AskedBy::Application) && context.is_of_deleted_user() {
            return Err(Error::UserDeleted);
        }
        let opened = context.open_for(&upstream.provider, Purpose::Gateway).await?;
        let (key, mut ticket) = opened.into_parts();
        let answering = Answering {
            keys: Arc::clone(keys),
            limits: Arc::clone(limits),
            caller,
            upstream: Arc::clone(upstream),
            record: ticket.take_call(),
            ticket: Some(ticket),
            call: Some(keys.figures.call(upstream.provider.id.as_str(), CallKind::Gateway)),
            status: None,
            refusal: None,
            reader: None,
            asked,
            is_counted: false,
            place: None,
        };
        Ok(Self { key, answering })
    }
}

/// A call that waits for its answer, or whose answer is under way. Dropped before its end, it counts as abandoned.
pub(crate) struct Answering {
    keys: Arc<Keys>,
    limits: Arc<Limits>,
    caller: GatewayCaller,
    upstream: Arc<Upstream>,
    ticket: Option<KeyTicket>,
    record: Option<UseRecord>,
    call: Option<figures::Call>,
    status: Option<StatusCode>,
    refusal: Option<Refusal>,
    /// Finds the token counts in the answer's body.
    reader: Option<AnswerReader>,
    asked: AskedPath,
    is_counted: bool,
    /// Of a stream; free again with the answer.
    place: Option<StreamPlace>,
}

/// What was used up to here counts, though nobody waited for the end.
impl Drop for Answering {
    fn drop(&mut self) {
        if !self.is_counted {
            self.count(self.keys.clock.now(), false);
        }
    }
}

/// A refusal's body, as far as it is kept.
#[derive(Default)]
struct Refusal {
    body: Vec<u8>,
    is_gzip: bool,
    verdict: Option<Verdict>,
}

/// The head of an answer, as far as it matters here.
#[derive(Clone, Copy, Default)]
pub(crate) struct AnswerHead<'a> {
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content_encoding: Option<&'a [u8]>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The answer was passed on to its end.
    Whole,
    /// The provider's answer broke off, or was none.
    Broken,
    /// There was no connection, or it broke before an answer came.
    Unreachable,
    /// The provider took too long.
    TimedOut,
}

impl Answering {
    /// The head of the answer is there. Whether the caller is to hear of the answer only after [`mark`](Self::mark):
    /// so that whoever looks at the key then finds what the provider said of it.
    ///
    /// # Errors
    /// [`Error::RateLimited`] if it is a stream, and the user has as many open as there may be.
    pub(crate) fn answered(&mut self, status: StatusCode, head: AnswerHead<'_>) -> Result<bool, Error> {
        self.upstream.breaker.succeeded();
        self.status = Some(status);
        if let Some(call) = &self.call {
            call.answered();
        }
        if status.is_client_error() {
            let is_gzip =
                head.content_encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"gzip"));
            self.refusal = Some(Refusal { is_gzip, ..Refusal::default() });
            return Ok(true);
        }
        if head.content_type.is_some_and(|kind| begins_with(kind, b"text/event-stream")) {
            self.place = Some(self.take_place()?);
        }
        let AnswerHead { content_type, content_encoding } = head;
        let reader = AnswerReader::for_answer(
            status.as_u16(),
            content_type,
            content_encoding,
            std::mem::take(&mut self.asked),
        );
        self.reader = Some(reader);
        // A web page is the answer of something in between.
        let is_page = head.content_type.is_some_and(|kind| begins_with(kind, b"text/html"));
        Ok(status.is_success() && !is_page && self.ticket.as_ref().is_some_and(KeyTicket::success_is_news))
    }

    /// Whether the provider refused the request.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    fn take_place(&self) -> Result<StreamPlace, Error> {
        let opened = self.limits.open_stream(&self.caller.user);
        let GatewayCaller { user, requester, .. } = &self.caller;
        let (place, _) = opened.inspect_err(|refusal| {
            self.keys.audit.refused_by_limit(user, requester, refusal.standing().class);
        })?;
        Ok(place)
    }

    /// The next bytes of the answer's body.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        if let Some(reader) = &mut self.reader {
            reader.read(bytes);
        }
        if let Some(refusal) = &mut self.refusal {
            let room = REFUSAL_BYTES.saturating_sub(refusal.body.len());
            refusal.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Remembers what the answer says of the key.
    pub(crate) async fn mark(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let Some(status) = self.status else { return };
        let marking = match &mut self.refusal {
            None => tokio::spawn(async move { ticket.note_success().await }),
            Some(refusal) => {
                let verdict = of_use(&self.upstream.provider, &Answer { status, body: &refusal.text() });
                let is_rejected = verdict == Verdict::Rejected;
                let may_be_the_key = may_be_the_keys_fault(status);
                refusal.verdict = Some(verdict);
                if !is_rejected && !may_be_the_key {
                    return;
                }
                tokio::spawn(async move {
                    if is_rejected { ticket.note_rejection().await } else { ticket.check_soon().await }
                })
            }
        };
        // It goes on by itself if that takes longer.
        let _ = tokio::time::timeout(MARKING, marking).await;
    }

    /// The call is over.
    pub(crate) fn end(mut self, ended: Ended) {
        let status = self.status;
        let outcome = match (ended, status) {
            (Ended::Whole, Some(status)) if status.is_success() || status.is_redirection() => CallOutcome::Ok,
            (Ended::Whole, Some(status)) => self.refused(status),
            (Ended::Whole | Ended::Broken, _) => CallOutcome::Unusable,
            (Ended::Unreachable, _) => CallOutcome::Unreachable,
            (Ended::TimedOut, _) => CallOutcome::TimedOut,
        };
        let now = self.keys.clock.now();
        if let Some(record) = self.record.take() {
            let told = if outcome == CallOutcome::Ok { Outcome::Ok } else { Outcome::Failed };
            record.end_at(now, told, status.map(|status| status.as_u16()));
        }
        if let Some(call) = self.call.take() {
            call.ended(outcome);
        }
        self.count(now, outcome != CallOutcome::Ok);
    }

    /// Counts the call in its user's usage, once.
    fn count(&mut self, now: Timestamp, is_error: bool) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let counts = self.reader.take().map(AnswerReader::finish).unwrap_or_default();
        let provider = &self.upstream.provider.id;
        self.keys.usage.record(now, &self.caller.user, provider, &counts, is_error);
    }

    fn refused(&self, status: StatusCode) -> CallOutcome {
        match self.refusal.as_ref().and_then(|refusal| refusal.verdict.as_ref()) {
            Some(Verdict::Rejected) => CallOutcome::KeyRejected,
            Some(Verdict::Limited(_)) => CallOutcome::Limited,
            _ if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED) => {
                CallOutcome::Limited
            }
            _ => CallOutcome::Refused,
        }
    }
}

fn begins_with(value: &[u8], beginning: &[u8]) -> bool {
    value.len() >= beginning.len() && value[..beginning.len()].eq_ignore_ascii_case(beginning)
}

impl Refusal {
    /// The beginning of the body in plain text; of a compressed one that cannot be read, nothing.
    fn text(&self) -> Vec<u8> {
        if !self.is_gzip {
            return self.body.clone();
        }
        let mut text = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(self.body.as_slice()).take(REFUSAL_BYTES as u64);
        // What comes before a broken end is as good as any beginning.
        let _ = reader.read_to_end(&mut text);
        text
    }
}

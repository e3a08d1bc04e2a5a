//! Asking a provider whether a key is live, with a request that costs nothing.

use http::StatusCode;

use super::Provider;
use super::answer::{self, Answer, Verdict};
use super::http::{CallError, HttpClient, Request};
use crate::secret::ApiKey;

/// A verdict needs the beginning of an answer only; model lists may be long, but hold their JSON together.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// Asks the provider. Troubles on the way, and answers that say nothing of the key, are
/// [`Verdict::Unknown`]: only the provider's own refusal of the key is a [`Verdict::Rejected`].
pub async fn check(http: &HttpClient, provider: &Provider, key: &ApiKey) -> Verdict {
    let name = &provider.name;
    let Some(check) = &provider.check else {
        return Verdict::Unknown(format!("{name} has no free way to check a key"));
    };
    let request = Request {
        address: &provider.address,
        method: check.method.clone(),
        path: &check.path,
        body: check.body.as_ref().map(|body| body.clone().into_bytes()),
        accept: "application/json",
    };
    let asked = async {
        let response = http.send(provider, request, key).await?;
        let status = response.status();
        if response.content_length().is_some_and(|length| length > ANSWER_LIMIT as u64) {
            return Err(CallError::TooLarge(ANSWER_LIMIT));
        }
        let body = http.read_beginning(response, ANSWER_LIMIT).await;
        Ok::<_, CallError>((status, body))
    };
    match tokio::time::timeout(http.timeouts().check, asked).await {
        Ok(Ok((status, body))) => match answer::of_check(provider, &Answer { status, body: &body }) {
            Verdict::Unknown(why) if status == StatusCode::OK && body.len() >= ANSWER_LIMIT => {
                tracing::debug!(provider = %provider.id, why, "answer to a key check was cut short");
                Verdict::Unknown(format!("{name} answered more than was asked for"))
            }
            verdict => verdict,
        },
        Ok(Err(error)) => {
            tracing::debug!(provider = %provider.id, %error, "key check failed");
            Verdict::Unknown(match error {
                CallError::TimedOut => format!("{name} did not answer in time"),
                CallError::TooLarge(_) => format!("{name} answered more than was asked for"),
                _ => format!("{name} could not be reached"),
            })
        }
        Err(_) => Verdict::Unknown(format!("{name} did not answer in time")),
    }
}

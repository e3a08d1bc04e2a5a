//! Searching the web through Exa. <https://docs.exa.ai/reference/search>

use http::Method;
use serde_json::{Value, json};

use super::Provider;
use super::http::{CallError, HttpClient, Request};
use crate::secret::ApiKey;

/// The provider that research uses.
pub const PROVIDER: &str = "exa";
/// How many results at most, as Exa limits them.
pub const MOST_RESULTS: u32 = 100;

const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Exa's answer to a search, as Exa gives it.
pub(crate) async fn search(
    http: &HttpClient,
    exa: &Provider,
    key: &ApiKey,
    query: &str,
    results: Option<u32>,
) -> Result<Value, CallError> {
    let mut body = json!({ "query": query });
    if let Some(results) = results {
        body["numResults"] = results.into();
    }
    let request = Request {
        address: &exa.address,
        method: Method::POST,
        path: "/search",
        body: Some(body.to_string().into_bytes()),
        accept: "application/json",
    };
    http.json(exa, request, key, ANSWER_LIMIT).await
}

//! Research: Exa, Tavily, Serper, Firecrawl.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::refusal::bad_request;
use crate::reply::{CREATED, Call, JSON, Reply, Said, Stream, answer_text_for, quoted, words};

fn text<'b>(body: &'b Value, name: &str) -> Option<&'b str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

fn number(body: &Value, name: &str, usual: u64) -> Option<u64> {
    body.get(name).map_or(Some(usual), Value::as_u64)
}

/// Invented addresses, on a name that cannot exist.
fn address(at: u64) -> String {
    format!("https://standin.invalid/articles/{at}")
}

/// Exa's `POST /search`. With an empty body: 400, which is how a key can be checked.
pub(crate) fn exa_search(call: &Call<'_>) -> Reply {
    let Ok(body) = call.json() else {
        return bad_request(call, "Required at \"query\"");
    };
    let Some(query) = text(&body, "query") else {
        return bad_request(call, "Required at \"query\"");
    };
    let Some(count) = number(&body, "numResults", 10).filter(|count| (1..=100).contains(count)) else {
        return Reply::json(
            400,
            &json!({
                "requestId": format!("{:032x}", call.sequence),
                "error": "numResults must be between 1 and 100",
                "tag": "INVALID_NUM_RESULTS",
            }),
        );
    };
    let contents = body.get("contents");
    let wanted = |name: &str| {
        contents.and_then(|contents| contents.get(name)).is_some_and(|wish| *wish != Value::Bool(false))
    };
    let said = answer_text_for(call.fingerprint, query);
    let mut results = String::with_capacity(usize::try_from(count).unwrap_or(0) * 320);
    for at in 1..=count {
        if at > 1 {
            results.push(',');
        }
        let url = address(at);
        let title = quoted(&format!("{said} (result {at})"));
        let (day, score) = (1 + at % 28, 900 - at * 5);
        results.push_str(&format!(
            r#"{{"id":"{url}","title":{title},"url":"{url}","publishedDate":"2026-01-{day:02}T00:00:00.000Z","author":"Test Data","score":0.{score:03}"#
        ));
        if wanted("text") {
            results.push_str(&format!(r#","text":{}"#, quoted(&format!("{said}\nThe text of result {at}."))));
        }
        if wanted("highlights") {
            results.push_str(&format!(r#","highlights":["Result {at}"],"highlightScores":[0.5]"#));
        }
        if wanted("summary") {
            results.push_str(&format!(r#","summary":"The summary of result {at}.""#));
        }
        results.push('}');
    }
    Reply::raw(
        200,
        JSON,
        format!(
            r#"{{"requestId":"{:032x}","resolvedSearchType":"neural","results":[{results}],"searchTime":12.5,"costDollars":{{"total":0.005,"search":{{"neural":0.005}}}}}}"#,
            call.sequence
        ),
    )
}

/// Exa's `POST /answer`.
pub(crate) fn exa_answer(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(query) = text(&body, "query") else {
        return bad_request(call, "Required at \"query\"");
    };
    let source = json!({"id": address(1), "url": address(1), "title": "Test data", "author": "Test Data"});
    let cost = json!({"total": 0.005});
    let said = Said::new(call, query, words(query));
    if body.get("stream").and_then(Value::as_bool) != Some(true) {
        let id = format!("{:032x}", call.sequence);
        return Reply::json(
            200,
            &json!({"requestId": id, "answer": said.text, "citations": [source], "costDollars": cost}),
        );
    }
    let data = |data: &Value| Bytes::from(format!("data: {data}\n\n"));
    let pieces = said.pieces(call.options).into_iter();
    let text = pieces
        .map(|piece| data(&json!({"choices": [{"delta": {"role": "assistant", "content": piece}}]})))
        .collect();
    let after = vec![data(&json!({"citations": [source], "costDollars": cost}))];
    let error = data(&json!({"error": "An unexpected error occurred. Please try again."}));
    Reply::sse(Stream { before: vec![], text, after, error })
}

/// Tavily's `POST /research`.
pub(crate) fn tavily_research(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(input) = text(&body, "input") else {
        return bad_request(call, "input is required.");
    };
    let id = format!("standin-{}", call.fingerprint);
    if body.get("stream").and_then(Value::as_bool) != Some(true) {
        return Reply::json(
            200,
            &json!({
                "request_id": id, "created_at": "2026-01-01T00:00:00Z", "status": "pending", "input": input,
                "model": "mini", "response_time": 0.5,
            }),
        );
    }
    let said = Said::new(call, input, words(input));
    let chunk = |delta: Value| {
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "model": "mini", "created": CREATED,
            "choices": [{"delta": delta}],
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let pieces = said.pieces(call.options).into_iter();
    let text = pieces.map(|piece| chunk(json!({"role": "assistant", "content": piece}))).collect();
    let sources = json!({"sources": [{"url": address(1), "title": "Test data"}]});
    let after = vec![chunk(sources), Bytes::from_static(b"event: done\n\n")];
    let error = Bytes::from_static(b"event: error\ndata: {\"error\":\"Internal Server Error\"}\n\n");
    Reply::sse(Stream { before: vec![], text, after, error })
}

/// Exa's `POST /contents`.
pub(crate) fn exa_contents(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let urls = ["urls", "ids"].iter().find_map(|name| body.get(name)?.as_array());
    let Some(urls) = urls.filter(|urls| !urls.is_empty()) else {
        return bad_request(call, "Required at \"urls\"");
    };
    let urls: Vec<&str> = urls.iter().filter_map(Value::as_str).collect();
    let results: Vec<Value> = urls
        .iter()
        .map(|url| {
            let text = answer_text_for(call.fingerprint, url);
            json!({"id": url, "url": url, "title": "Test data", "author": "Test Data", "text": text})
        })
        .collect();
    let statuses: Vec<Value> =
        urls.iter().map(|url| json!({"id": url, "status": "success", "source": "cached"})).collect();
    Reply::json(
        200,
        &json!({
            "requestId": format!("{:032x}", call.sequence), "results": results, "statuses": statuses,
            "costDollars": {"total": 0.001},
        }),
    )
}

/// Tavily's `POST /search`.
pub(crate) fn tavily_search(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(query) = text(&body, "query") else {
        return bad_request(call, "Query is missing.");
    };
    let Some(count) = number(&body, "max_results", 5).filter(|count| *count <= 20) else {
        return bad_request(call, "Invalid max results. Must be between 0 and 20.");
    };
    let said = answer_text_for(call.fingerprint, query);
    let results: Vec<Value> = (1..=count)
        .map(|at| {
            json!({
                "url": address(at), "title": format!("Result {at}"), "content": said, "score": 0.9,
                "raw_content": null,
            })
        })
        .collect();
    let answer = body.get("include_answer").is_some_and(|wish| *wish != Value::Bool(false)).then_some(&said);
    Reply::json(
        200,
        &json!({
            "query": query, "follow_up_questions": null, "answer": answer, "images": [], "results": results,
            "response_time": 0.12, "request_id": call.request_id(),
        }),
    )
}

/// Serper's `POST /search`.
pub(crate) fn serper_search(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(query) = text(&body, "q") else {
        return bad_request(call, "Missing query parameter");
    };
    let Some(count) = number(&body, "num", 10).filter(|count| (1..=100).contains(count)) else {
        return bad_request(call, "Invalid num parameter");
    };
    let said = answer_text_for(call.fingerprint, query);
    let organic: Vec<Value> = (1..=count)
        .map(|at| json!({"title": format!("Result {at}"), "link": address(at), "snippet": said, "position": at}))
        .collect();
    Reply::json(
        200,
        &json!({
            "searchParameters": {"q": query, "type": "search", "num": count, "engine": "google"},
            "organic": organic, "credits": 1,
        }),
    )
}

/// Firecrawl's `POST /v1/search` and `/v2/search`.
pub(crate) fn firecrawl_search(call: &Call<'_>, v2: bool) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(query) = text(&body, "query") else {
        return bad_request(call, "query: Required");
    };
    let Some(count) = number(&body, "limit", 5).filter(|count| (1..=100).contains(count)) else {
        return bad_request(call, "limit: Number must be between 1 and 100");
    };
    let said = answer_text_for(call.fingerprint, query);
    let found: Vec<Value> = (1..=count)
        .map(|at| json!({"url": address(at), "title": format!("Result {at}"), "description": said}))
        .collect();
    let data = if v2 { json!({"web": found}) } else { json!(found) };
    Reply::json(200, &json!({"success": true, "data": data}))
}

/// Firecrawl's `POST /v1/scrape` and `/v2/scrape`.
pub(crate) fn firecrawl_scrape(call: &Call<'_>) -> Reply {
    let body = call.json().unwrap_or_default();
    let Some(url) = text(&body, "url") else {
        return bad_request(call, "url: Required");
    };
    let mut metadata = Map::new();
    metadata.insert("title".into(), "Test data".into());
    metadata.insert("sourceURL".into(), url.into());
    metadata.insert("statusCode".into(), 200.into());
    Reply::json(
        200,
        &json!({
            "success": true,
            "data": {"markdown": answer_text_for(call.fingerprint, url), "metadata": metadata},
        }),
    )
}

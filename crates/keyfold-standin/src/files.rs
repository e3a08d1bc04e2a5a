//! Uploads of files, and what was in them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::provider::Provider;
use crate::refusal::bad_request;
use crate::reply::{CREATED, Call, Reply, answer_text_for};

/// One part of a `multipart/form-data` body.
struct Part {
    name: String,
    file_name: Option<String>,
    content: Bytes,
}

/// `POST …/files`: OpenAI's, Mistral's and Anthropic's. The file's id tells whose key it was.
pub(crate) fn upload(call: &Call<'_>) -> Reply {
    let Some(parts) = parts(call) else {
        return bad_request(call, "the body is no multipart/form-data");
    };
    let Some(file) = parts.iter().find(|part| part.name == "file") else {
        return bad_request(call, "file: Field required");
    };
    let (name, size) = (file.file_name.as_deref().unwrap_or("upload"), file.content.len());
    if call.provider == Provider::Anthropic {
        return Reply::json(
            200,
            &json!({
                "id": format!("file_{}", call.fingerprint), "type": "file", "filename": name,
                "mime_type": "application/octet-stream", "size_bytes": size,
                "created_at": "2026-01-01T00:00:00Z", "downloadable": false,
            }),
        );
    }
    let purpose = parts.iter().find(|part| part.name == "purpose");
    let purpose = purpose.map(|part| String::from_utf8_lossy(&part.content).into_owned());
    let Some(purpose) = purpose.or_else(|| (call.provider == Provider::Mistral).then(|| "fine-tune".into()))
    else {
        return bad_request(call, "'purpose' is a required property");
    };
    Reply::json(
        200,
        &json!({
            "id": format!("file-{}", call.fingerprint), "object": "file", "bytes": size, "created_at": CREATED,
            "filename": name, "purpose": purpose, "status": "processed", "sample_type": "pretrain",
            "source": "upload", "num_lines": 1, "mimetype": "application/jsonl",
        }),
    )
}

/// Gemini's `POST /upload/v1beta/files`: where the file itself is to go, which is an address of Google's.
pub(crate) fn resumable_upload(call: &Call<'_>) -> Reply {
    let address =
        format!("https://standin.invalid/upload/v1beta/files?upload_id=standin-{}", call.fingerprint);
    let mut reply = Reply::json(200, &json!({}));
    if let Ok(address) = HeaderValue::from_str(&address) {
        reply.headers.insert("x-goog-upload-url", address);
    }
    reply.with("x-goog-upload-status", "active")
}

/// `POST …/audio/transcriptions`: it hears the file's name and size.
pub(crate) fn transcription(call: &Call<'_>) -> Reply {
    match parts(call).and_then(|parts| parts.into_iter().find(|part| part.name == "file")) {
        None => bad_request(call, "file: Field required"),
        Some(file) => {
            let name = file.file_name.unwrap_or_default();
            let heard = format!("{name}, {} bytes", file.content.len());
            Reply::json(200, &json!({"text": answer_text_for(call.fingerprint, &heard)}))
        }
    }
}

/// Cohere's `POST /v1/datasets`.
pub(crate) fn dataset(call: &Call<'_>) -> Reply {
    if parts(call).is_some_and(|parts| parts.iter().any(|part| part.name == "data")) {
        Reply::json(200, &json!({"id": format!("standin-{}", call.fingerprint)}))
    } else {
        bad_request(call, "data is required")
    }
}

/// The parts of the body, or `None` if it has not that form from beginning to end.
fn parts(call: &Call<'_>) -> Option<Vec<Part>> {
    let kind = call.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let boundary = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    let delimiter = format!("\r\n--{boundary}");
    let first = format!("--{boundary}");
    let mut rest = call.body.strip_prefix(first.as_bytes())?;
    let mut parts = vec![];
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head_end = find(part, b"\r\n\r\n")?;
        let head = str::from_utf8(&part[..head_end]).ok()?;
        let content = &part[head_end + 4..];
        let end = find(content, delimiter.as_bytes())?;
        let disposition =
            head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
        parts.push(Part {
            name: parameter(disposition, "name")?,
            file_name: parameter(disposition, "filename"),
            content: call.body.slice_ref(&content[..end]),
        });
        rest = &content[end + delimiter.len()..];
    }
    rest.starts_with(b"--").then_some(parts)
}

fn parameter(line: &str, name: &str) -> Option<String> {
    let quoted = line.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(quoted.trim_matches('"').to_owned())
}

fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(at) = all.get(from..)?.iter().position(|byte| *byte == first) {
        if all[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

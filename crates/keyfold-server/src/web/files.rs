//! Files of the pages, and how they are sent: packed if the browser takes that, and not again if it has them.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A file of a page.
#[derive(Clone, Copy)]
pub(super) struct PageFile {
    pub(super) path: &'static str,
    pub(super) plain: &'static [u8],
    pub(super) brotli: Option<&'static [u8]>,
    pub(super) gzip: Option<&'static [u8]>,
}

/// The web page's, as `build.rs` found them.
pub(super) const BUILT_IN: &[PageFile] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

const INDEX: &str = "/index.html";
/// The build puts the hash of each file here into its name.
const HASHED: &str = "/assets/";
const FOREVER: &str = "public, max-age=31536000, immutable";
/// Kept, and asked for anew each time: a new program shows at once.
const ASK_EACH_TIME: &str = "no-cache";

impl PageFile {
    /// One that is not packed.
    pub(super) const fn plain(path: &'static str, plain: &'static [u8]) -> Self {
        Self { path, plain, brotli: None, gzip: None }
    }

    fn cache_control(&self) -> &'static str {
        if self.path.starts_with(HASHED) && has_hash(self.path) { FOREVER } else { ASK_EACH_TIME }
    }
}

/// All files by their paths.
pub(super) struct Files {
    page: Option<&'static str>,
    files: BTreeMap<&'static str, ReadyFile>,
}

/// A file with what a browser knows it by.
#[derive(Clone)]
pub(super) struct ReadyFile {
    file: PageFile,
    hash: String,
}

impl Files {
    pub(super) fn new(files: impl IntoIterator<Item = PageFile>) -> Self {
        let mut page = None;
        let mut by_path = BTreeMap::new();
        for file in files {
            if file.path == INDEX {
                page = std::str::from_utf8(file.plain).ok();
                continue;
            }
            let hash = BASE64URL_NOPAD.encode(&digest(&SHA256, file.plain).as_ref()[..16]);
            by_path.insert(file.path, ReadyFile { file, hash });
        }
        Self { page, files: by_path }
    }

    /// The page itself: small, and never kept by anybody.
    pub(super) fn page(&self) -> Option<&'static str> {
        self.page
    }

    /// All but the page, with their paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &ReadyFile)> {
        self.files.iter().map(|(path, file)| (*path, file))
    }
}

impl ReadyFile {
    /// The file, or that the browser's own is still right.
    pub(super) fn send(&self, headers: &HeaderMap) -> Response {
        let Self { file, hash } = self;
        let (coding, bytes) = best(file, headers);
        let etag = match coding {
            None => format!("\"{hash}\""),
            Some(coding) => format!("\"{hash}-{coding}\""),
        };
        let mut answer = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static(file.cache_control())),
            (VARY, HeaderValue::from_static("accept-encoding")),
        ]);
        answer.extend(HeaderValue::from_str(&etag).ok().map(|etag| (ETAG, etag)));
        if is_known(&etag, headers) {
            return (StatusCode::NOT_MODIFIED, answer).into_response();
        }
        answer.insert(CONTENT_TYPE, HeaderValue::from_static(kind(file.path)));
        if let Some(coding) = coding {
            answer.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        (answer, bytes).into_response()
    }
}

/// Whether the name has a hash of 8 characters before its end, as Vite writes it.
fn has_hash(path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem).as_bytes();
    stem.len() > 9 && stem[stem.len() - 9] == b'-'
}

/// The form that the browser likes best; of those that it likes as well, the smallest.
fn best(file: &PageFile, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = Accepted::of(headers);
    let packed = [("br", file.brotli), ("gzip", file.gzip)];
    let mut best = (accepted.plain(), None, file.plain);
    for (coding, bytes) in packed.into_iter().rev() {
        if let (Some(bytes), weight @ 1..) = (bytes, accepted.weight(coding).unwrap_or(0))
            && weight >= best.0
        {
            best = (weight, Some(coding), bytes);
        }
    }
    (best.1, best.2)
}

/// `Accept-Encoding` (RFC 9110, section 12.5.3): codings with their weights in thousandths.
struct Accepted(Vec<(String, u16)>);

impl Accepted {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| value.split(',')).filter_map(coding_and_weight).collect())
    }

    /// What is said of this coding, by its name or by `*`.
    fn weight(&self, coding: &str) -> Option<u16> {
        let named = |name: &str| self.0.iter().find(|(found, _)| found == name).map(|(_, weight)| *weight);
        named(coding).or_else(|| named("*"))
    }

    /// A file as it is may always be sent, and is liked least where nothing is said of it.
    fn plain(&self) -> u16 {
        self.weight("identity").unwrap_or(0)
    }
}

fn coding_and_weight(part: &str) -> Option<(String, u16)> {
    let mut parts = part.split(';').map(str::trim);
    let coding = parts.next().filter(|coding| !coding.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    Some((coding, weight.unwrap_or(1000)))
}

/// `0.5` as 500. What is no weight counts as none.
fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_weight = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if is_weight && rest.bytes().all(|byte| byte == b'0') => 1000,
        "0" if is_weight => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Whether the browser has this already (RFC 9110, section 13.1.2).
fn is_known(etag: &str, headers: &HeaderMap) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

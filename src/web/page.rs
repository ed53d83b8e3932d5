//! The page's own files: in the binary, with no step of building and nothing fetched from elsewhere.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("assets/", $name)).as_slice())),*]
    };
}

/// Every file below `assets/`, by its name there.
const FILES: &[(&str, &[u8])] = embed![
    "app.js",
    "call-file.js",
    "call-link.js",
    "call-media.js",
    "call-path.js",
    "call-peer.js",
    "call-view.js",
    "call.css",
    "call.js",
    "candidates.js",
    "choice.js",
    "dom.js",
    "door.js",
    "gather.js",
    "i18n.js",
    "icon.svg",
    "index.html",
    "lane.js",
    "look.js",
    "loop.js",
    "nat.css",
    "nat.js",
    "outside.js",
    "plot.js",
    "server-view.js",
    "server.css",
    "server.js",
    "servers.js",
    "sha256.js",
    "style.css",
    "test.css",
    "test.js",
    "words/call.json",
    "words/nat.json",
    "words/server.json",
    "words/servers.json",
    "words/shell.json",
    "words/test.json",
];

/// Where the page begins.
const FIRST: &str = "index.html";

/// What the browser keeps the page to: all of it comes from here, it speaks to nobody else (but, by WebRTC, to the servers
/// and peers of a call), and no other page frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page may ask the person for.
const PERMISSIONS: &str =
    "camera=(self), microphone=(self), display-capture=(self), geolocation=()";

/// What every file is sent with.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    // Kept and asked for again each time: another version of the server brings another page, whole.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The page: `/`, and what it loads, below `/page/`. There is no secret in it, and nobody is asked for anything.
pub fn page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(name, bytes)| {
        let tag = tag(bytes);
        let answer = get(move |asked: HeaderMap| {
            let answer = file(name, bytes, &tag, &asked);
            async move { answer }
        });
        let path = if name == FIRST { "/".to_owned() } else { format!("/page/{name}") };
        router.route(&path, answer)
    })
}

fn file(name: &str, bytes: &'static [u8], tag: &HeaderValue, asked: &HeaderMap) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|known| holds(known, tag));
    // RFC 9110 §15.4.5: the browser has what there is.
    let mut answer =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { bytes.into_response() };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content(name)));
    headers.insert(header::ETAG, tag.clone());
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

/// A tag that another content does not have.
fn tag(bytes: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(bytes);
    let half: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    // unwrap: hexadecimal digits between quotes.
    HeaderValue::try_from(format!("\"{half}\"")).expect("digits")
}

/// RFC 9110 §13.1.2: a list of tags, which something on the way may have made weak, or `*`.
fn holds(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let list = list.to_str().unwrap_or_default();
    list.split(',').map(str::trim).any(|known| {
        known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes()
    })
}

fn content(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

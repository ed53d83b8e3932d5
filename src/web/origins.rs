//! Whose scripts may ask: CORS (WHATWG Fetch).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Problem, Refused, Web};
use crate::auth::canonical_origin;

/// How long a browser may remember what it was told, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// Sites whose scripts may ask, beside those that this server has sent itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// None.
    #[default]
    None,
    /// These, in the form of [`canonical_origin`].
    Some(Vec<String>),
    /// Every one.
    All,
}

impl Origins {
    /// Whether a script of this origin may ask.
    fn admit(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::Some(all) => canonical_origin(origin).is_some_and(|origin| all.contains(&origin)),
            Self::All => true,
        }
    }
}

/// Whether the script was sent by the server that it asks, by the name that the browser knows this one by.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (Some((scheme, _)), Some(host)) = (origin.split_once("://"), host) else {
        return false;
    };
    let own = canonical_origin(&format!("{scheme}://{host}"));
    own.is_some() && own == canonical_origin(origin)
}

/// Answers a browser's question beforehand, keeps scripts of other sites out, and lets those of `web.origins` read what
/// is answered.
pub(super) async fn check(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let name = origin.to_str().unwrap_or_default();
    let admitted = web.settings().origins.admit(name);
    if !admitted && !is_own(name, request.headers()) {
        web.stats().refuse(Refused::Origin);
        let detail = format!("scripts of {name:?} may not ask here: add it to web.origins");
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { allow().into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn allow() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
    ];
    (StatusCode::NO_CONTENT, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_in_every_form() {
        let some = Origins::Some(vec!["https://meet.example.org:443".into()]);
        assert!(
            some.admit("https://meet.example.org") && some.admit("https://MEET.example.org:443")
        );
        for other in ["http://meet.example.org", "https://example.org", "null", ""] {
            assert!(!some.admit(other) && !Origins::None.admit(other), "{other}");
            assert!(Origins::All.admit(other));
        }
    }

    #[test]
    fn the_own_origin_has_the_own_host() {
        let headers =
            |host: &'static str| HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        assert!(is_own("http://localhost:3478", &headers("localhost:3478")));
        assert!(is_own("https://turn.example.org", &headers("turn.example.org")));
        assert!(!is_own("https://evil.example", &headers("turn.example.org")));
        assert!(!is_own("http://localhost:8080", &headers("localhost:3478")));
        assert!(!is_own("null", &headers("localhost")) && !is_own("http://a", &HeaderMap::new()));
    }
}

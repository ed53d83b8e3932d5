//! How requests are answered: JSON, and a sentence for what is wrong (RFC 9457).

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What stands above a body of this type: it is for nobody's cache, and nothing else than it says.
pub fn head(content: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

/// JSON that nobody may keep: credentials stand in it.
pub fn json(code: StatusCode, body: &Value) -> Response {
    (code, head("application/json"), format!("{body}\n")).into_response()
}

/// A request that is not granted, and a sentence for whoever sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    code: StatusCode,
    detail: String,
    /// How it would have to come (RFC 9110 §11.6.1).
    challenge: Option<&'static str>,
    /// When to come again, in seconds.
    later: Option<u64>,
}

impl Problem {
    /// With a status code of HTTP.
    pub fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), challenge: None, later: None }
    }

    /// The status code.
    pub(super) const fn code(&self) -> StatusCode {
        self.code
    }

    /// The sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What was sent cannot be understood.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// It came without what lets it in.
    pub fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// There were too many.
    pub fn too_many(seconds: u64, detail: impl Into<String>) -> Self {
        Self { later: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.code.canonical_reason().unwrap_or("Problem");
        let body = json!({ "status": self.code.as_u16(), "title": title, "detail": self.detail });
        let body = format!("{body}\n");
        let mut response = (self.code, head("application/problem+json"), body).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.later {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// No such path.
pub async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

/// A path, with another method.
pub async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} is not to be asked for with {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

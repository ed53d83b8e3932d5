//! How requests are answered: JSON, and a sentence for what is wrong (RFC 9457).

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// What stands above a body of this type: it is for nobody's cache, and nothing else than it says.
pub(super) fn head(content: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
}

/// A response with a body.
pub(super) fn page(code: StatusCode, content: &'static str, body: String) -> Response {
    (code, head(content), body).into_response()
}

/// The same with JSON.
pub(super) fn json(code: StatusCode, body: &Value) -> Response {
    page(code, "application/json", format!("{body}\n"))
}

/// A request that is not granted, and a sentence for whoever sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    code: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// What was sent cannot be understood.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.code.canonical_reason().unwrap_or("Problem");
        let body = json!({ "status": self.code.as_u16(), "title": title, "detail": self.detail });
        page(self.code, "application/problem+json", format!("{body}\n"))
    }
}

/// What the body of a request says, an object with none but these fields. No body says nothing.
pub(super) fn fields(
    body: Result<Bytes, BytesRejection>,
    known: &[&str],
) -> Result<Map<String, Value>, Problem> {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad(format!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(Problem::bad("the body must be a JSON object"));
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(fields),
        Some(other) => {
            let known = known.join(", ");
            Err(Problem::bad(format!("unknown field {other:?} in the body: there are {known}")))
        }
    }
}

/// No such path.
pub(super) async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

/// A path, with another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} is not to be asked for with {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

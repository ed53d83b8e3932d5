//! What requests bring, and how they are answered but for JSON.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::web::{Problem, head};

/// A response with a body.
pub(super) fn page(code: StatusCode, content: &'static str, body: String) -> Response {
    (code, head(content), body).into_response()
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

//! What changes the server: asked of the main loop.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Admin;
use super::page::fields;
use crate::config::Level;
use crate::control::wishes::{Answer, Wish};
use crate::web::{Problem, json};

/// A drain may last as long as this, in seconds: a month.
const LONGEST_DRAIN: u64 = 31 * 86400;

type Body = Result<Bytes, BytesRejection>;

/// `POST /v1/reload`
pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    body: Body,
) -> Result<Response, Problem> {
    fields(body, &[])?;
    told(admin.wisher.ask(Wish::Reload).await, StatusCode::OK)
}

/// `POST /v1/drain`
pub(super) async fn drain(
    State(admin): State<Arc<Admin>>,
    body: Body,
) -> Result<Response, Problem> {
    let deadline = match fields(body, &["deadline_seconds"])?.remove("deadline_seconds") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64().filter(|seconds| *seconds <= LONGEST_DRAIN) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => {
                let what = format!(
                    "deadline_seconds is {value}, and must be a whole number of at most {LONGEST_DRAIN}"
                );
                return Err(Problem::bad(what));
            }
        },
    };
    told(admin.wisher.ask(Wish::Drain(deadline)).await, StatusCode::ACCEPTED)
}

/// `PUT /v1/log-level`
pub(super) async fn log_level(
    State(admin): State<Arc<Admin>>,
    body: Body,
) -> Result<Response, Problem> {
    let level = fields(body, &["level"])?.remove("level");
    let level = level.as_ref().and_then(Value::as_str).and_then(Level::from_name);
    let Some(level) = level else {
        let names = Level::ALL.map(Level::name).join(", ");
        return Err(Problem::bad(format!("level must be one of {names}")));
    };
    told(admin.wisher.ask(Wish::LogLevel(level)).await, StatusCode::OK)
}

fn told(answer: Answer, done: StatusCode) -> Result<Response, Problem> {
    match answer {
        Ok(message) => Ok(json(done, &json!({ "message": message }))),
        Err(why) => Err(Problem::new(StatusCode::CONFLICT, why)),
    }
}

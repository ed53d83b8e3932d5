//! What the page shows: the reading half of the API for an operator with a token, and counts for a call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::{Admin, sessions, status, token};
use crate::turn::Cause;
use crate::web::{Carried, json};

impl Admin {
    /// What an operator may see from afar, on the listeners of TURN: with a token, and nothing that changes anything.
    pub(in crate::control) fn view<S: Clone + Send + Sync + 'static>(self: Arc<Self>) -> Router<S> {
        let authorize = from_fn_with_state(Arc::clone(&self), token::authorize);
        Router::new()
            .route("/status", get(status::status))
            .route("/counters", get(status::counters))
            .route("/sessions", get(sessions::list))
            .route("/sessions/{id}", get(sessions::show))
            .route("/causes", get(causes))
            .route_layer(authorize)
            .with_state(self)
    }
}

/// Every cause of a refusal, in words.
async fn causes() -> Response {
    let words = Cause::ENTRIES.iter().map(|entry| {
        json!({
            "cause": entry.label,
            "code": entry.code,
            "phrase": entry.phrase,
            "hint": entry.hint,
        })
    });
    json(StatusCode::OK, &json!({ "causes": words.collect::<Vec<_>>() }))
}

impl Carried for Admin {
    fn sessions(&self, owner: String) -> Pin<Box<dyn Future<Output = Vec<Value>> + Send + '_>> {
        Box::pin(sessions::of(self, owner))
    }
}

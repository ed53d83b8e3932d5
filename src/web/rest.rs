//! `/turn?service=turn`: the TURN REST API (draft-uberti-behave-turn-rest §2), which Matrix answers alike.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::admit::Presented;
use super::form::Form;
use super::key::bearer;
use super::{Client, Credential, Problem, Shape, Web, json};

/// With GET the fields stand in the query, with POST in a form as well: `service`, `username`, `key`, `ttl`.
pub(super) async fn turn(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let form = Form::of(query.as_deref(), body).map_err(|problem| web.malformed(problem))?;
    let secret = bearer(&headers).or_else(|| form.get("key").map(str::as_bytes));
    let key = web.admit(&settings, (&client, &headers), Presented::token(secret))?;
    match form.get("service") {
        Some("turn") | None => {}
        Some(other) => {
            let detail = format!("there is no service {other:?} here, only turn");
            return Err(web.malformed(Problem::bad(detail)));
        }
    }
    let asked = (form.get("ttl"), form.get("username"));
    let credential = web.give(&settings, key, asked, Shape::Rest)?;
    Ok(json(StatusCode::OK, &answer(&credential)))
}

/// Relays alone: the draft has no place for others.
fn answer(credential: &Credential<'_>) -> Value {
    json!({
        "username": credential.username,
        "password": credential.password,
        "ttl": credential.ttl.as_secs(),
        "uris": credential.relays().collect::<Vec<_>>(),
    })
}

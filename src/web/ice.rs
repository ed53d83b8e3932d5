//! `GET /ice`: what a browser's `RTCPeerConnection` takes.

use std::sync::Arc;

use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::admit::Presented;
use super::form::Form;
use super::key::bearer;
use super::{Client, Problem, Shape, Web, json};

/// `GET /ice?ttl=SECONDS&username=NAME`, with a key; both fields may be left out.
pub(super) async fn ice(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let form = Form::read(query.as_deref()).map_err(|problem| web.malformed(problem))?;
    let secret = bearer(&headers).or_else(|| form.get("key").map(str::as_bytes));
    let key = web.admit(&settings, (&client, &headers), Presented::token(secret))?;
    let asked = (form.get("ttl"), form.get("username"));
    let credential = web.give(&settings, key, asked, Shape::Ice)?;
    Ok(json(StatusCode::OK, &json!({ "iceServers": credential.ice_servers() })))
}

//! `GET /page/ice`: the page's own way to credentials.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::admit::Presented;
use super::key::bearer;
use super::{Client, Problem, Shape, Web, json};

/// How long they are good, in seconds: the page asks again.
const TTL: &str = "3600";

/// `{"iceServers": [...]}` for who has a key. An address says nothing: what this machine passes on for others comes from it, too.
pub(super) async fn ice(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let key = web.admit(&settings, (&client, &headers), Presented::token(bearer(&headers)))?;
    let credential = web.give(&settings, key, (Some(TTL), None), Shape::Page)?;
    Ok(json(StatusCode::OK, &json!({ "iceServers": credential.ice_servers() })))
}

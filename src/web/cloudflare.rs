//! `/v1/turn/keys/{id}/credentials/...`: for applications that were written for Cloudflare's TURN service.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::admit::Presented;
use super::key::bearer;
use super::{Client, Problem, Settings, Shape, Web, json};

/// What a request is made of.
type Request = (Arc<Web>, Client, String, HeaderMap, Result<Bytes, BytesRejection>);

/// `POST .../generate-ice-servers`: a list, with STUN in an entry of its own.
pub(super) async fn ice_servers(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let credential = credential(&settings, (Arc::clone(&web), client, id, headers, body))?;
    let answer = json!({ "iceServers": credential.ice_servers() });
    Ok(json(StatusCode::CREATED, &answer))
}

/// `POST .../generate`, the older one: all in one entry, and no list.
pub(super) async fn one_entry(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let credential = credential(&settings, (Arc::clone(&web), client, id, headers, body))?;
    let (urls, username) = (credential.uris, &credential.username);
    let entry = json!({ "urls": urls, "username": username, "credential": credential.password });
    Ok(json(StatusCode::CREATED, &json!({ "iceServers": entry })))
}

fn credential(
    settings: &Settings,
    (web, client, id, headers, body): Request,
) -> Result<super::Credential<'_>, Problem> {
    let presented = Presented { name: Some(&id), ..Presented::token(bearer(&headers)) };
    let key = web.admit(settings, (&client, &headers), presented)?;
    let (ttl, name) = fields(body).map_err(|problem| web.malformed(problem))?;
    web.give(settings, key, (ttl.as_deref(), name.as_deref()), Shape::Cloudflare)
}

/// `{"ttl": SECONDS, "customIdentifier": "NAME"}`; others are for others.
fn fields(
    body: Result<Bytes, BytesRejection>,
) -> Result<(Option<String>, Option<String>), Problem> {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    if body.is_empty() {
        return Ok((None, None));
    }
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad(format!("the body is not JSON: {error}")))?;
    let ttl = match &value["ttl"] {
        Value::Null => None,
        ttl => Some(ttl.to_string()),
    };
    let name = match &value["customIdentifier"] {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        _ => return Err(Problem::bad("customIdentifier must be a text")),
    };
    Ok((ttl, name))
}

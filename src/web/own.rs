//! `GET /page/ice`: the page's own way to credentials.

use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::admit::Presented;
use super::key::bearer;
use super::{Client, Key, Problem, Settings, Shape, Web, json};

/// How long they are good, in seconds: the page asks again.
const TTL: &str = "3600";

/// `{"iceServers": [...]}` for who has a key; where the page has a key of its own, for who is at this machine without one
/// as well.
pub(super) async fn ice(
    State(web): State<Arc<Web>>,
    ConnectInfo(client): ConnectInfo<Client>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let settings = web.settings();
    let key = web.admit_page(&settings, (&client, &headers), bearer(&headers))?;
    let credential = web.give(&settings, key, (Some(TTL), None), Shape::Page)?;
    Ok(json(StatusCode::OK, &json!({ "iceServers": credential.ice_servers() })))
}

impl Web {
    /// The key that lets the page have credentials: the one with this secret, or the page's own.
    ///
    /// # Errors
    /// There is none, or it came too often.
    pub(super) fn admit_page<'s>(
        &self,
        settings: &'s Settings,
        (client, headers): (&Client, &HeaderMap),
        secret: Option<&[u8]>,
    ) -> Result<&'s Key, Problem> {
        match (secret, &settings.own) {
            (None, Some(own)) if client.is_this_machine(headers) => {
                self.charge(client, headers, 1)?;
                Ok(own)
            }
            _ => self.admit(settings, (client, headers), Presented::token(secret)),
        }
    }
}

//! Credentials that are taken back while the server runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Admin;
use super::page::fields;
use super::query::Query;
use super::sessions::end;
use crate::auth::prepare;
use crate::turn::{EndReason, Filter, Revocation};
use crate::web::{Problem, json};

/// How long a credential is revoked, unless another time is given, and at most, in seconds: a day, a year.
const TIME: u64 = 86_400;
const LONGEST: u64 = 366 * 86_400;
/// RFC 8489 §14.3, §14.9
const LONGEST_NAME: usize = 763;

/// `POST /v1/credentials/revoke`: nobody of this name is let in any more, and its sessions end.
pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut fields = fields(body, &["user", "realm", "for_seconds"])?;
    let Some(user) = name(&mut fields, "user")? else {
        return Err(Problem::bad("user must be the name of one"));
    };
    let realm = name(&mut fields, "realm")?;
    let time = match fields.remove("for_seconds") {
        None | Some(Value::Null) => TIME,
        Some(value) => {
            value.as_u64().filter(|time| (1..=LONGEST).contains(time)).ok_or_else(|| {
                Problem::bad(format!(
                    "for_seconds is {value}, and must be a whole number from 1 to {LONGEST}"
                ))
            })?
        }
    };
    let now = admin.sources.clock.now().unix;
    let until = now.saturating_add(time);
    let revocation = Revocation { user: user.clone(), realm: realm.clone(), until };
    let added = admin.sources.ledger.revocations.add(revocation, now);
    added.map_err(|error| Problem::new(StatusCode::CONFLICT, error.to_string()))?;
    tracing::info!(
        event = "credential_revoked",
        user = user.as_str(),
        realm = realm.as_deref(),
        until,
        "a credential was revoked for {time} s",
    );
    // Only now: nobody comes back in between.
    let filter = Filter { user: Some(user), realm, ..Filter::default() };
    let ended = end(&admin, &filter, EndReason::CredentialRevoked).await?;
    Ok(json(StatusCode::OK, &json!({ "ended": ended, "until": until })))
}

/// `POST /v1/credentials/refresh`: somebody has written to a store, and it is asked now and not when its answers are out
/// of date.
pub(super) async fn refresh(
    State(admin): State<Arc<Admin>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut fields = fields(body, &["user", "realm"])?;
    let (user, realm) = (name(&mut fields, "user")?, name(&mut fields, "realm")?);
    let user = user.as_deref().map(|user| (user, realm.as_deref()));
    if !admin.sources.stores.look_again(user) {
        let detail = "the stores are being asked about too many users: try again";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let message = match user {
        Some((user, _)) => format!("the stores are asked about {user:?}, and for their secrets"),
        None => "the stores are asked for their secrets".to_owned(),
    };
    Ok(json(StatusCode::ACCEPTED, &json!({ "message": message })))
}

/// `GET /v1/credentials/revoked`
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Response {
    let now = admin.sources.clock.now().unix;
    let all = admin.sources.ledger.revocations.list(now).into_iter();
    let all = all.map(|it| json!({ "user": it.user, "realm": it.realm, "until": it.until }));
    json(StatusCode::OK, &json!({ "revoked": all.collect::<Vec<_>>() }))
}

/// `DELETE /v1/credentials/revoked`: it is as good again as the configuration says.
pub(super) async fn restore(
    State(admin): State<Arc<Admin>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::read(raw.as_deref(), &["user", "realm"])?;
    let Some(user) = query.text("user") else {
        return Err(Problem::bad("say whose credential it is: user=NAME"));
    };
    if !admin.sources.ledger.revocations.remove(user, query.text("realm")) {
        let detail =
            format!("nobody has revoked {user:?}, or it is over, or was for another realm");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    tracing::info!(event = "credential_restored", user, "a credential is revoked no more");
    let message = format!("{user:?} is let in again");
    Ok(json(StatusCode::OK, &json!({ "message": message })))
}

fn name(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, Problem> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if (1..=LONGEST_NAME).contains(&name.len()) => {
            // As clients send it: nobody would be found by a name in another form.
            let prepared = prepare(&name).map(|name| Some(name.into_owned()));
            prepared.ok_or_else(|| Problem::bad(format!("{field} must have no control characters")))
        }
        Some(_) => {
            Err(Problem::bad(format!("{field} must be a text of 1 to {LONGEST_NAME} bytes")))
        }
    }
}

//! Live allocations: listed, seen in depth, ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Admin;
use super::query::Query;
use crate::time::Mono;
use crate::turn::{
    Cause, Depth, EndReason, Filter, FiveTuple, Prefix, SessionId, Traffic, Transport, View, Where,
};
use crate::web::{Problem, json};
use crate::worker::Busy;

/// Sessions in a page, unless another number is asked for, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;
/// Sessions of one user at one worker, for whoever takes part in a call.
const FEW: usize = 16;
/// How long traffic may be measured.
const LONGEST_MEASURE: u64 = 5000;
/// How often all workers are asked: an allocation that is on its way from one to another is at none of them.
const ROUNDS: usize = 2;

type Answer = Result<Response, Problem>;

const FILTER: [&str; 4] = ["user", "realm", "address", "transport"];

/// `GET /v1/sessions`
pub(super) async fn list(State(admin): State<Arc<Admin>>, RawQuery(raw): RawQuery) -> Answer {
    let [user, realm, address, transport] = FILTER;
    let names = [user, realm, address, transport, "limit", "after"];
    let query = Query::read(raw.as_deref(), &names)?;
    let filter = filter(&query)?;
    let within = |limit: &usize| (1..=LONGEST_PAGE).contains(limit);
    let limit = query
        .parsed("limit", "a number from 1 to 1000", |text| text.parse().ok().filter(within))?;
    let limit = limit.unwrap_or(PAGE);
    let start = query.parsed("after", "what `next` of the page before was", |text| {
        let (worker, place) = text.split_once('.')?;
        Some((worker.parse::<u32>().ok()?, place.parse::<u32>().ok()?))
    })?;
    let (mut worker, mut from) = start.unwrap_or((0, 0));
    let mut sessions = Vec::new();
    let mut next = None;
    while worker < admin.remote.workers() {
        let (filter, left) = (filter.clone(), limit - sessions.len());
        let page = ask(|tell| admin.remote.list(worker, filter, from, left, tell)).await?;
        let now = admin.sources.clock.now().mono;
        sessions.extend(page.sessions.iter().map(|view| session(view, now)));
        (worker, from) = match page.next {
            Some(next) => (worker, next),
            None => (worker + 1, 0),
        };
        if sessions.len() >= limit {
            next = (worker < admin.remote.workers()).then(|| format!("{worker}.{from}"));
            break;
        }
    }
    Ok(json(StatusCode::OK, &json!({ "sessions": sessions, "next": next })))
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let id = name(&id)?;
    let query = Query::read(raw.as_deref(), &["measure_ms"])?;
    let form = "a number of milliseconds up to 5000";
    let measure = query.parsed("measure_ms", form, |text| {
        text.parse::<u64>().ok().filter(|time| (1..=LONGEST_MEASURE).contains(time))
    })?;
    let mut depth = find(&admin, id).await?;
    let mut rates = Value::Null;
    if let Some(time) = measure {
        let before = depth.view.clone();
        sleep(Duration::from_millis(time)).await;
        depth = find(&admin, id).await?;
        let passed = depth.view.age.saturating_sub(before.age);
        rates = per_second(&before.traffic, &depth.view.traffic, passed);
    }
    let now = admin.sources.clock.now().mono;
    Ok(json(StatusCode::OK, &in_depth(&depth, now, rates)))
}

/// `DELETE /v1/sessions/{id}`
pub(super) async fn end_one(State(admin): State<Arc<Admin>>, Path(id): Path<String>) -> Answer {
    let id = name(&id)?;
    let filter = Filter { id: Some(id), ..Filter::default() };
    match end(&admin, &filter, EndReason::Killed).await? {
        0 => Err(unknown(id)),
        ended => Ok(json(StatusCode::OK, &json!({ "ended": ended }))),
    }
}

/// `DELETE /v1/sessions`
pub(super) async fn end_many(State(admin): State<Arc<Admin>>, RawQuery(raw): RawQuery) -> Answer {
    let query = Query::read(raw.as_deref(), &FILTER)?;
    let filter = filter(&query)?;
    if filter == Filter::default() {
        let which = "say which sessions: by user, realm, address or transport";
        return Err(Problem::bad(which));
    }
    let ended = end(&admin, &filter, EndReason::Killed).await?;
    Ok(json(StatusCode::OK, &json!({ "ended": ended })))
}

/// A few live sessions of one user. A worker that takes no question now has none.
pub(super) async fn of(admin: &Admin, owner: String) -> Vec<Value> {
    let filter = Filter { user: Some(owner), ..Filter::default() };
    let mut found = Vec::new();
    for worker in 0..admin.remote.workers() {
        let filter = filter.clone();
        if let Ok(page) = ask(|tell| admin.remote.list(worker, filter, 0, FEW, tell)).await {
            let now = admin.sources.clock.now().mono;
            found.extend(page.sessions.iter().map(|view| session(view, now)));
        }
    }
    found
}

/// Ends what fits at all workers.
pub(super) async fn end(
    admin: &Admin,
    filter: &Filter,
    reason: EndReason,
) -> Result<usize, Problem> {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        for worker in 0..admin.remote.workers() {
            let filter = filter.clone();
            ended += ask(|tell| admin.remote.end(worker, filter, reason, tell)).await?;
        }
    }
    Ok(ended)
}

/// Looks for a session, first where it was made.
async fn find(admin: &Admin, id: SessionId) -> Result<Box<Depth>, Problem> {
    let workers = admin.remote.workers();
    for turn in 0..workers * ROUNDS as u32 {
        let worker = id.worker().wrapping_add(turn) % workers;
        let found = ask(|tell| admin.remote.show(worker, id, tell)).await?;
        if let Some(depth) = found {
            return Ok(depth);
        }
    }
    Err(unknown(id))
}

fn unknown(id: SessionId) -> Problem {
    let detail = format!("there is no session {id}: it has ended, or never was");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn name(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|error| Problem::bad(format!("{text:?}: {error}")))
}

/// Puts a question, and waits for its answer.
async fn ask<T: Send + 'static>(
    question: impl FnOnce(Box<dyn FnOnce(T) + Send>) -> Result<(), Busy>,
) -> Result<T, Problem> {
    let (tell, told) = oneshot::channel();
    // Who has gone meanwhile does not want to know.
    let asked = question(Box::new(|answer| drop(tell.send(answer))));
    let busy = |_| {
        let detail = "a worker takes no more questions now, or stops: try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    asked.map_err(busy)?;
    told.await.map_err(|_| busy(Busy))
}

fn filter(query: &Query) -> Result<Filter, Problem> {
    let owned = |name: &str| query.text(name).map(str::to_owned);
    let address =
        query.parsed("address", "like 192.0.2.1, 192.0.2.0/24 or 192.0.2.1:5000", |it| {
            let at = it.parse::<SocketAddr>().ok().map(Where::At);
            at.or_else(|| it.parse::<Prefix>().ok().map(Where::Within))
        })?;
    let transport = query.parsed("transport", "udp, tcp, tls or dtls", |text| {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls];
        all.into_iter().find(|transport| transport.label() == text)
    })?;
    Ok(Filter { id: None, user: owned("user"), realm: owned("realm"), address, transport })
}

fn session(view: &View, now: Mono) -> Value {
    let last = view.refusals.map(|refusals| {
        let cause = refusals.last;
        let denied = match cause {
            Cause::PeerDenied { peer, by } => Some((peer, by.to_string())),
            _ => None,
        };
        json!({
            "cause": cause.label(),
            "code": cause.code(),
            "phrase": cause.phrase(),
            "hint": cause.hint(),
            "peer": denied.as_ref().map(|(peer, _)| peer),
            "rule": denied.as_ref().map(|(_, rule)| rule),
            "seconds_ago": now.since(refusals.at).as_secs(),
        })
    });
    json!({
        "id": view.id.to_string(),
        "worker": view.worker,
        "realm": &*view.realm,
        "user": view.username,
        "owner": view.owner,
        "transport": view.client.transport.label(),
        "client": view.client.client,
        "server": view.client.server,
        "relayed": view.relayed.iter().flatten().collect::<Vec<_>>(),
        "relay_transport": view.protocol.label(),
        "age_seconds": view.age.as_secs(),
        "remaining_seconds": view.remaining.as_secs(),
        "to_peer_packets": view.traffic.to_peer_packets,
        "to_peer_bytes": view.traffic.to_peer_bytes,
        "to_client_packets": view.traffic.to_client_packets,
        "to_client_bytes": view.traffic.to_client_bytes,
        "permissions": view.permissions,
        "channels": view.channels,
        "connections": view.connections,
        "refusals": view.refusals.map_or(0, |refusals| refusals.count),
        "last_refusal": last,
    })
}

fn in_depth(depth: &Depth, now: Mono, rates: Value) -> Value {
    let tuple = |tuple: &FiveTuple| {
        let transport = tuple.transport.label();
        json!({ "transport": transport, "client": tuple.client, "server": tuple.server })
    };
    let permissions = depth.permissions.iter();
    let permissions = permissions
        .map(|(peer, left)| json!({ "peer": peer, "remaining_seconds": left.as_secs() }));
    let channels = depth.channels.iter().map(|it| {
        let left = it.remaining.as_secs();
        json!({ "number": it.number, "peer": it.peer, "remaining_seconds": left })
    });
    let connections = depth.connections.iter();
    let connections =
        connections.map(|it| json!({ "id": it.id, "peer": it.peer, "state": it.state }));
    json!({
        "session": session(&depth.view, now),
        "earlier": depth.earlier.iter().map(tuple).collect::<Vec<_>>(),
        "local": depth.local.iter().flatten().collect::<Vec<_>>(),
        "permissions": permissions.collect::<Vec<_>>(),
        "channels": channels.collect::<Vec<_>>(),
        "connections": connections.collect::<Vec<_>>(),
        "credential_expires": depth.credential_expires,
        "revoked": depth.revoked,
        "mobile": depth.mobile,
        "away": depth.away,
        "rates": rates,
    })
}

/// What was relayed from one look to another, for a second.
fn per_second(before: &Traffic, after: &Traffic, passed: Duration) -> Value {
    let rate = |before: u64, after: u64| {
        let micros = passed.as_micros().max(1);
        u64::try_from(u128::from(after.saturating_sub(before)) * 1_000_000 / micros)
            .unwrap_or(u64::MAX)
    };
    json!({
        "to_peer_packets": rate(before.to_peer_packets, after.to_peer_packets),
        "to_peer_bytes": rate(before.to_peer_bytes, after.to_peer_bytes),
        "to_client_packets": rate(before.to_client_packets, after.to_client_packets),
        "to_client_bytes": rate(before.to_client_bytes, after.to_client_bytes),
    })
}

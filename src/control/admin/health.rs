//! Alive, ready, and both in one: pages for whoever restarts this process, and whoever sends it clients.
//!
//! Kubernetes and load balancers look at the status, people at the lines; with `Accept: application/json` it is JSON.
//! Nobody needs a token for them, and they say nothing of anybody.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::Admin;
use super::page::page;
use crate::control::health::{Checked, Phase, Pulse};
use crate::control::watch;
use crate::web::json;

/// `/livez`: 200 unless something is stuck and only a restart helps.
pub(super) async fn live(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let sources = &admin.sources;
    let pulse = sources.health.pulse(sources.clock.now().mono);
    let (alive, why) = match &pulse {
        Pulse::Beats => {
            (true, "every worker and the main loop have looked for work lately".to_owned())
        }
        Pulse::Worker { number, silent } => {
            (false, format!("worker {number} has not looked for work for {} s", silent.as_secs()))
        }
        Pulse::MainLoop { silent } => {
            (false, format!("the main loop has not turned for {} s", silent.as_secs()))
        }
    };
    let lines = [if alive { "alive" } else { "stuck" }.to_owned(), why.clone()];
    answer(&headers, alive, &lines, &json!({ "alive": alive, "detail": why }))
}

/// `/readyz`: 200 while new clients are served: not at the end of its life, and it has lately relayed a packet to
/// itself.
pub(super) async fn ready(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let sources = &admin.sources;
    let phase = sources.health.phase();
    let checked = match phase {
        Phase::Running => sources.readiness.checked().await,
        // What is found now is no news.
        Phase::Draining | Phase::Stopping => sources.readiness.last(),
    };
    let now = sources.clock.now().mono;
    let ready = phase == Phase::Running && checked.is_good();
    let check = match &checked {
        Checked::Passed { at, took } => json!({
            "result": "passed",
            "age_seconds": now.since(*at).as_secs(),
            "took_ms": took.as_secs_f64() * 1e3,
        }),
        Checked::Failed { at, stage, why } => json!({
            "result": "failed",
            "age_seconds": now.since(*at).as_secs(),
            "stage": stage.label(),
            "detail": why,
        }),
        Checked::Nothing => json!({ "result": "none" }),
        Checked::Impossible => json!({ "result": "impossible" }),
    };
    let lines = [
        if ready { "ready" } else { "not ready" }.to_owned(),
        format!("phase: {}", phase.label()),
        format!("self-check: {}", checked.in_words(now)),
    ];
    answer(
        &headers,
        ready,
        &lines,
        &json!({ "ready": ready, "phase": phase.label(), "self_check": check }),
    )
}

/// `/healthz`: what it is doing, in JSON; 200 while it takes new clients.
pub(super) async fn summary(State(admin): State<Arc<Admin>>) -> Response {
    let sources = &admin.sources;
    let phase = sources.health.phase();
    let now = sources.clock.now().mono;
    let body = json!({
        "status": phase.label(),
        "allocations": watch::live(&sources.stats),
        "drain_seconds_left": sources.health.drain_left(now).map(|left| left.as_secs()),
        "uptime_seconds": now.as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    json(status(phase == Phase::Running), &body)
}

const fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn answer(headers: &HeaderMap, good: bool, lines: &[String], object: &Value) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepted.is_some_and(|types| types.contains("application/json")) {
        return json(status(good), object);
    }
    page(status(good), "text/plain; charset=utf-8", format!("{}\n", lines.join("\n")))
}

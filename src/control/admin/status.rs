//! How the server is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::control::metrics;
use crate::control::watch::{live, sum};
use crate::turn::FormerRelay;
use crate::web::{Problem, json};

/// `GET /v1/status`
pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let sources = &admin.sources;
    let (stats, now) = (&sources.stats, sources.clock.now().mono);
    let total = |pick: fn(&crate::turn::Stats) -> u64| -> u64 {
        stats.iter().map(|stats| pick(&stats.turn)).fold(0, u64::wrapping_add)
    };
    let ports = sources.ledger.free_ports().into_iter();
    let ports = ports.map(|(ip, free, all)| {
        let known_as = sources.ledger.known_as(ip);
        json!({ "address": ip, "known_as": known_as, "free": free, "all": all })
    });
    // Where nothing new is made, and what lives there.
    let former = sources.ledger.former().into_iter().map(|former| {
        let FormerRelay { relay, ports, held } = former;
        let ports = format!("{}-{}", ports.first, ports.last);
        json!({ "address": relay.local, "known_as": relay.advertised, "ports": ports, "held": held })
    });
    let body = json!({
        "status": sources.health.phase().label(),
        "drain_seconds_left": sources.health.drain_left(now).map(|left| left.as_secs()),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": now.as_secs(),
        "workers": stats.len(),
        "sessions": live(stats),
        "sessions_by_worker": stats.iter().map(|stats| stats.turn.live()).collect::<Vec<_>>(),
        "sessions_begun": sum(stats, |stats| &stats.turn.allocations),
        "requests_refused": total(|stats| stats.refused.iter().map(|it| it.get()).sum()),
        "packets_dropped": total(|stats| stats.dropped.iter().map(|it| it.get()).sum()),
        "to_peer_bytes": sum(stats, |stats| &stats.turn.to_peer_bytes),
        "to_client_bytes": sum(stats, |stats| &stats.turn.to_client_bytes),
        "relay_ports": ports.collect::<Vec<_>>(),
        "former_relay_ports": former.collect::<Vec<_>>(),
    });
    json(StatusCode::OK, &body)
}

/// `GET /v1/counters`: what `/metrics` has, series by series.
pub(super) async fn counters(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let text = metrics::render(&admin.registry).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the counters cannot be written")
    })?;
    Ok(json(StatusCode::OK, &json!({ "counters": series(&text) })))
}

/// `GET /v1/config`: what is in force, by section and key, without what is secret.
pub(super) async fn config(State(admin): State<Arc<Admin>>) -> Response {
    let mut sections = Map::new();
    for (key, value) in admin.settings.load().shown.entries() {
        let Some((section, name)) = key.rsplit_once('.') else {
            sections.insert(key.to_owned(), value.map_or(Value::Null, plain));
            continue;
        };
        let section = sections.entry(section).or_insert_with(|| json!({}));
        section[name] = value.map_or(Value::Null, plain);
    }
    json(StatusCode::OK, &json!({ "config": sections }))
}

fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(plain).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(name, value)| (name, plain(value))).collect()
        }
    }
}

/// The series of a page of metrics with their values.
fn series(text: &str) -> Map<String, Value> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter_map(|line| line.rsplit_once(' '));
    let value = |text: &str| match text.parse::<u64>() {
        Ok(whole) => json!(whole),
        Err(_) => text.parse::<f64>().map_or(Value::Null, |number| json!(number)),
    };
    lines.map(|(name, number)| (name.to_owned(), value(number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_keep_their_names() {
        let page = "# TYPE a counter\na_total{x=\"y z\"} 3\nb 0.5\nc NaN\n# EOF\n";
        let expected = json!({ "a_total{x=\"y z\"}": 3, "b": 0.5, "c": null });
        assert_eq!(Value::Object(series(page)), expected);
    }
}

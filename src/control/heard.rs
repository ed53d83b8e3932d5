//! What a follower hears, as JSON.

use serde_json::{Map, Value, json};

use crate::turn::{Case, Drops, Facets, Outcome, Session};
use crate::worker::Heard;

/// One line of it.
pub(super) fn json(heard: &Heard) -> Value {
    match heard {
        Heard::Case(case) => request(case),
        Heard::Drops(drops) => dropped(drops),
        Heard::Ended(session) => ended(session),
    }
}

fn request(case: &Case) -> Value {
    let mut line = json!({
        "event": "request",
        "unix": case.unix,
        "session": case.session.map(|id| id.to_string()),
        "client": case.client.client,
        "transport": case.client.transport.label(),
        "server": case.client.server,
        "user": case.user,
        "realm": case.realm,
        "address_proven": case.proven,
        "method": case.method.name(),
        "asked": facets(&case.asked),
    });
    match &case.outcome {
        Outcome::Granted(given) => {
            line["decision"] = json!("granted");
            line["given"] = facets(given);
        }
        Outcome::Pending => line["decision"] = json!("pending"),
        Outcome::Refused(refusal) => {
            line["decision"] = json!("refused");
            line["code"] = json!(refusal.cause.code());
            line["cause"] = json!(refusal.cause.label());
            line["reason"] = json!(refusal.words);
            line["hint"] = json!(refusal.hint);
        }
    }
    line
}

fn dropped(drops: &Drops) -> Value {
    let packets = drops.packets.iter();
    let packets: Map<_, _> =
        packets.map(|(reason, count)| (reason.label().to_owned(), json!(count))).collect();
    json!({
        "event": "dropped",
        "unix": drops.unix,
        "session": drops.session.map(|id| id.to_string()),
        "client": drops.client.client,
        "transport": drops.client.transport.label(),
        "user": drops.user,
        "from": if drops.from_peers { "peers" } else { "client" },
        "packets": packets,
    })
}

fn ended(session: &Session) -> Value {
    let traffic = session.traffic;
    json!({
        "event": "session_ended",
        "session": session.id.to_string(),
        "client": session.client.client,
        "transport": session.client.transport.label(),
        "user": session.username,
        "realm": &*session.realm,
        "reason": session.reason.label(),
        "duration_ms": u64::try_from(session.duration.as_millis()).unwrap_or(u64::MAX),
        "to_peer_packets": traffic.to_peer_packets,
        "to_peer_bytes": traffic.to_peer_bytes,
        "to_client_packets": traffic.to_client_packets,
        "to_client_bytes": traffic.to_client_bytes,
        "refusals": session.refusals.map_or(0, |refusals| refusals.count),
        "last_refusal": session.refusals.map(|refusals| refusals.last.label()),
    })
}

/// What stands there more than once becomes a list.
fn facets(facets: &Facets) -> Value {
    let mut all = Map::new();
    for (name, value) in facets {
        match all.get_mut(*name) {
            None => drop(all.insert((*name).to_owned(), json!(value))),
            Some(Value::Array(list)) => list.push(json!(value)),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(all)
}

//! The API's answers for people.

use std::time::SystemTime;

use serde_json::Value;

use super::table::{bytes, pairs, table, time};
use crate::text::printable;

/// What is not there is an empty text; a client chooses its name, for one.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn words(value: &Value) -> String {
    list(value).iter().map(word).collect::<Vec<_>>().join(", ")
}

/// An answer that is a sentence.
pub(super) fn message(answer: &Value) -> String {
    word(&answer["message"])
}

/// How many sessions were ended.
pub(super) fn ended(answer: &Value) -> String {
    match number(&answer["ended"]) {
        1 => "1 session ended".to_owned(),
        count => format!("{count} sessions ended"),
    }
}

/// What came of a revocation.
pub(super) fn revocation(answer: &Value) -> String {
    format!("revoked until {}; {}", date(&answer["until"]), ended(answer))
}

/// Who is revoked.
pub(super) fn revoked(answer: &Value) -> String {
    let line = |it: &Value| vec![word(&it["user"]), word(&it["realm"]), date(&it["until"])];
    match list(&answer["revoked"]) {
        [] => "nobody is revoked".to_owned(),
        all => {
            let lines: Vec<_> = all.iter().map(line).collect();
            table(&["USER", "REALM", "UNTIL"], &[false; 3], &lines)
        }
    }
}

/// Seconds since 1970, as how far away that is.
fn date(value: &Value) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let seconds = number(value);
    format!("{seconds} (in {})", time(seconds.saturating_sub(now)))
}

/// One line of a drain's progress.
pub(super) fn draining(status: &Value) -> String {
    let sessions = number(&status["sessions"]);
    format!("{sessions} sessions, {} left", time(number(&status["drain_seconds_left"])))
}

/// How the server is.
pub(super) fn status(answer: &Value) -> String {
    let state = match answer["drain_seconds_left"].as_u64() {
        Some(left) => format!("{}, {} left", word(&answer["status"]), time(left)),
        None => word(&answer["status"]),
    };
    let by_worker = words(&answer["sessions_by_worker"]);
    let mut lines = vec![
        ("status", state),
        ("version", word(&answer["version"])),
        ("process", word(&answer["pid"])),
        ("up for", time(number(&answer["uptime_seconds"]))),
        ("sessions", format!("{} (by worker: {by_worker})", number(&answer["sessions"]))),
        ("begun", word(&answer["sessions_begun"])),
        ("refused", format!("{} requests", number(&answer["requests_refused"]))),
        ("dropped", format!("{} packets", number(&answer["packets_dropped"]))),
        ("to peers", bytes(number(&answer["to_peer_bytes"]))),
        ("to clients", bytes(number(&answer["to_client_bytes"]))),
    ];
    for pool in list(&answer["relay_ports"]) {
        let (free, all) = (number(&pool["free"]), number(&pool["all"]));
        lines.push(("relay ports", format!("{}: {free} of {all} free", word(&pool["address"]))));
    }
    pairs(&lines)
}

/// A list of sessions.
pub(super) fn sessions(answer: &Value) -> String {
    let sessions = list(&answer["sessions"]);
    if sessions.is_empty() {
        return "no sessions".to_owned();
    }
    let head = [
        "SESSION",
        "USER",
        "REALM",
        "VIA",
        "CLIENT",
        "RELAYED",
        "AGE",
        "LEFT",
        "TO PEERS",
        "TO CLIENT",
        "PERMS",
        "CHANS",
    ];
    let right = [false, false, false, false, false, false, true, true, true, true, true, true];
    let lines: Vec<_> = sessions
        .iter()
        .map(|it| {
            vec![
                word(&it["id"]),
                word(&it["user"]),
                word(&it["realm"]),
                word(&it["transport"]),
                word(&it["client"]),
                words(&it["relayed"]),
                time(number(&it["age_seconds"])),
                time(number(&it["remaining_seconds"])),
                bytes(number(&it["to_peer_bytes"])),
                bytes(number(&it["to_client_bytes"])),
                word(&it["permissions"]),
                word(&it["channels"]),
            ]
        })
        .collect();
    let mut text = table(&head, &right, &lines);
    if let Some(next) = answer["next"].as_str() {
        text.push_str(&format!("there are more: go on with --after {}\n", printable(next)));
    }
    text
}

/// One session in depth.
pub(super) fn session(answer: &Value) -> String {
    let it = &answer["session"];
    let traffic = |packets: &str, volume: &str| {
        format!("{} in {} packets", bytes(number(&it[volume])), number(&it[packets]))
    };
    let mut lines = vec![
        ("session", word(&it["id"])),
        ("user", word(&it["user"])),
        ("realm", word(&it["realm"])),
        ("client", format!("{} over {}", word(&it["client"]), word(&it["transport"]))),
        ("server", word(&it["server"])),
    ];
    for tuple in list(&answer["earlier"]) {
        let (client, transport) = (word(&tuple["client"]), word(&tuple["transport"]));
        lines.push(("came from", format!("{client} over {transport}")));
    }
    lines
        .push(("relayed", format!("{} ({})", words(&it["relayed"]), word(&it["relay_transport"]))));
    lines.push(("here", words(&answer["local"])));
    lines.push(("worker", word(&it["worker"])));
    lines.push(("age", time(number(&it["age_seconds"]))));
    lines.push(("left", time(number(&it["remaining_seconds"]))));
    lines.push(("to peers", traffic("to_peer_packets", "to_peer_bytes")));
    lines.push(("to client", traffic("to_client_packets", "to_client_bytes")));
    if let Some(rates) = answer["rates"].as_object() {
        let rate = |packets: &str, volume: &str| {
            let (packets, volume) = (number(&rates[packets]), number(&rates[volume]));
            format!("{}/s, {packets} packets/s", bytes(volume))
        };
        lines.push(("rate", format!("{} to peers", rate("to_peer_packets", "to_peer_bytes"))));
        lines.push(("", format!("{} to client", rate("to_client_packets", "to_client_bytes"))));
    }
    refusals(it, &mut lines);
    peers(answer, &mut lines);
    let flags = [
        ("mobile", "may move"),
        ("away", "client is away"),
        ("revoked", "credential was taken back"),
    ];
    for (flag, text) in flags {
        if answer[flag] == Value::Bool(true) {
            lines.push(("note", text.to_owned()));
        }
    }
    pairs(&lines)
}

fn refusals(it: &Value, lines: &mut Vec<(&str, String)>) {
    let Some(refusal) = it["last_refusal"].as_object() else { return };
    let (phrase, ago) = (word(&refusal["phrase"]), time(number(&refusal["seconds_ago"])));
    let (count, code) = (word(&it["refusals"]), word(&refusal["code"]));
    let of = refusal.get("peer").and_then(Value::as_str).map_or(String::new(), |peer| {
        format!(", {} by {}", printable(peer), word(&refusal["rule"]))
    });
    lines.push(("refusals", format!("{count}, the last {ago} ago: {code} {phrase}{of}")));
    lines.push(("", word(&refusal["hint"])));
}

/// Whom it may exchange data with.
fn peers(answer: &Value, lines: &mut Vec<(&str, String)>) {
    let left = |value: &Value| time(number(&value["remaining_seconds"]));
    for it in list(&answer["permissions"]) {
        lines.push(("permission", format!("{}, {} left", word(&it["peer"]), left(it))));
    }
    for it in list(&answer["channels"]) {
        let number = number(&it["number"]);
        lines.push((
            "channel",
            format!("{number:#06x} to {}, {} left", word(&it["peer"]), left(it)),
        ));
    }
    for it in list(&answer["connections"]) {
        lines.push(("connection", format!("to {}, {}", word(&it["peer"]), word(&it["state"]))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_has_a_line_for_each_and_says_how_to_go_on() {
        assert_eq!(sessions(&json!({ "sessions": [], "next": null })), "no sessions");
        let one = json!({
            "id": "0-17", "user": "al\u{1B}[31mice", "realm": "example.org", "transport": "udp",
            "client": "192.0.2.1:5000", "relayed": ["203.0.113.1:49152", "[2001:db8::1]:49152"],
            "age_seconds": 61, "remaining_seconds": 539, "to_peer_bytes": 1234, "to_client_bytes": 0,
            "permissions": 2, "channels": 1,
        });
        let text = sessions(&json!({ "sessions": [one], "next": "0.18" }));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("SESSION  USER"), "{text}");
        let cells = ["0-17", "al\\u{1b}[31mice", "49152, [2001:db8::1]:49152", "1m01s", "1.23 kB"];
        assert!(cells.iter().all(|cell| lines[1].contains(cell)), "{text}");
        assert_eq!(lines[2], "there are more: go on with --after 0.18");
    }
}

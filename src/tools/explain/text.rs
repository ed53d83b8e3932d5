//! What is heard of a client, for people.

use serde_json::{Map, Value};

use crate::text::printable;

const RED: &str = "\x1B[31m";
const GREEN: &str = "\x1B[32m";
const DIM: &str = "\x1B[2m";
const PLAIN: &str = "\x1B[0m";

/// A line of the API in one line or a few.
pub(super) fn heard(line: &Value, color: bool) -> String {
    let paint = |what: &str, text: &str| {
        if color { format!("{what}{text}{PLAIN}") } else { text.to_owned() }
    };
    match line["event"].as_str().unwrap_or_default() {
        "following" => {
            let whom = ["user", "address", "realm"].map(|name| (name, text(line, name)));
            let whom = whom.iter().filter(|(_, value)| !value.is_empty());
            let whom: Vec<_> = whom.map(|(name, value)| format!("{name} {value}")).collect();
            let seconds = &line["seconds"];
            paint(DIM, &format!("following {} for {seconds} s", whom.join(", ")))
        }
        "request" => request(line, paint),
        "dropped" => {
            let packets = pairs(&line["packets"]);
            let (whose, from) = (whose(line), text(line, "from"));
            format!("{} {whose} dropped from the {from} in a second: {packets}", clock(line))
        }
        "session_ended" => format!(
            "-------- {} session ended: {}, after {} s, {} bytes to peers, {} bytes to the client",
            whose(line),
            text(line, "reason"),
            line["duration_ms"].as_u64().unwrap_or(0) / 1000,
            line["to_peer_bytes"],
            line["to_client_bytes"],
        ),
        "lost" => paint(
            RED,
            &format!("{} lines were left out: they were not read in time", line["lines"]),
        ),
        "over" => paint(DIM, &text(line, "why")),
        _ => printable(&line.to_string()),
    }
}

fn request(line: &Value, paint: impl Fn(&str, &str) -> String) -> String {
    let method = text(line, "method");
    let asked = pairs(&line["asked"]);
    let head = format!("{} {} {method}", clock(line), whose(line));
    let mut lines = match text(line, "decision").as_str() {
        "granted" => {
            format!("{head}: {} {}", paint(GREEN, "granted"), pairs(&line["given"]))
        }
        "refused" => {
            let (code, cause) = (&line["code"], text(line, "cause"));
            let refused = paint(RED, &format!("{code} {cause}"));
            format!(
                "{head}: {refused}: {}\n         hint: {}",
                text(line, "reason"),
                text(line, "hint")
            )
        }
        other => format!("{head}: {other}"),
    };
    if line["address_proven"] == false {
        lines.push_str("\n         nothing proves its address: anybody may have sent it");
    }
    if !asked.is_empty() {
        lines.push_str(&paint(DIM, &format!("\n         asked: {asked}")));
    }
    lines
}

/// User, client and session, as far as they are known.
fn whose(line: &Value) -> String {
    let (user, session) = (text(line, "user"), text(line, "session"));
    let user = if user.is_empty() { "(no name)".to_owned() } else { user };
    let client = format!("{}/{}", text(line, "client"), text(line, "transport"));
    if session.is_empty() {
        format!("{user} {client}")
    } else {
        format!("{user} {client} {session}")
    }
}

/// The time of day in UTC.
fn clock(line: &Value) -> String {
    let unix = line["unix"].as_u64().unwrap_or(0);
    format!("{:02}:{:02}:{:02}", unix / 3600 % 24, unix / 60 % 60, unix % 60)
}

fn pairs(object: &Value) -> String {
    let none = Map::new();
    let pairs = object.as_object().unwrap_or(&none).iter();
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    pairs.join(", ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// What a client has written may be in any of them.
fn text(line: &Value, name: &str) -> String {
    printable(line[name].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_is_told_with_its_hint() {
        let line = json!({
            "event": "request", "unix": 1_700_000_000, "client": "198.51.100.7:4000",
            "transport": "udp", "user": "al\u{1B}ice", "session": "0-1", "method": "CreatePermission",
            "asked": { "peer": ["10.0.0.1:5", "10.0.0.2:5"] }, "decision": "refused", "code": 403,
            "cause": "peer_denied", "reason": "peer 10.0.0.1 \u{202E}denied", "hint": "do this",
            "address_proven": true,
        });
        let expected = "22:13:20 al\\u{1b}ice 198.51.100.7:4000/udp 0-1 CreatePermission: 403 peer_denied: \
                        peer 10.0.0.1 \\u{202e}denied\n         hint: do this\n         asked: peer 10.0.0.1:5 10.0.0.2:5";
        assert_eq!(heard(&line, false), expected);
        assert!(heard(&line, true).contains("\x1B[31m403 peer_denied\x1B[0m"));
    }

    #[test]
    fn what_was_dropped_is_told_by_reason() {
        let line = json!({
            "event": "dropped", "unix": 0, "client": "[2001:db8::1]:9", "transport": "tcp",
            "from": "client", "packets": { "no_permission": 50 },
        });
        let expected = "00:00:00 (no name) [2001:db8::1]:9/tcp dropped from the client in a second: \
                        no_permission 50";
        assert_eq!(heard(&line, false), expected);
    }
}

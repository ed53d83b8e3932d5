//! A record as a line of JSON.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Mono;
use crate::turn::{FiveTuple, Progress, Protocol, Session, Traffic, Usage};
use crate::worker::{Record, RecordKind, What};

/// The version of the fields. New fields come without a new version.
const VERSION: u32 = 1;

/// Makes lines of records, and gives them their names.
pub(super) struct Scribe {
    /// Tells this process from those before and after it.
    boot: String,
    refusals: u64,
}

impl Scribe {
    pub(super) fn new(boot: [u8; 8]) -> Self {
        let boot = boot.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { boot, refusals: 0 }
    }

    /// The line, with its end. `age` is how long ago it happened.
    pub(super) fn line(&mut self, record: &Record, unix: Duration) -> String {
        let mut line = Line::new(record.what.kind());
        match &record.what {
            What::Began(progress) | What::Usage(progress) => {
                line.id(&self.boot, progress.id, progress.usage.sequence, unix);
                line.progress(progress, record.what.kind() == RecordKind::Began);
            }
            What::Ended(session) => {
                line.id(&self.boot, session.id, session.usage.sequence, unix);
                line.session(session);
            }
            What::Refused { client, cause, left_out } => {
                self.refusals += 1;
                line.text("id", &format!("{}.r.{}", self.boot, self.refusals));
                line.plain("time", format_args!("\"{}\"", Date(unix)));
                line.tuple(client);
                line.plain("code", cause.code());
                line.text("cause", cause.label());
                line.plain("left_out", left_out);
            }
        }
        line.finish()
    }
}

/// When something happened, as the time since 1970.
pub(super) fn unix(at: Mono, now: Mono) -> Duration {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    unix.saturating_sub(now.since(at))
}

/// The kind of a line of ours.
pub(super) fn kind_of(line: &str) -> Option<RecordKind> {
    let rest = line.strip_prefix(BEGIN)?;
    let word = rest.split('"').next()?;
    RecordKind::ALL.into_iter().find(|kind| kind.label() == word)
}

/// The id of a line of ours.
#[cfg(feature = "redis")]
pub(super) fn id_of(line: &str) -> &str {
    let rest = line.split_once(",\"id\":\"").map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}

const BEGIN: &str = "{\"v\":1,\"kind\":\"";

struct Line(String);

impl Line {
    fn new(kind: RecordKind) -> Self {
        let mut text = String::with_capacity(640);
        debug_assert!(BEGIN.contains(&VERSION.to_string()));
        text.push_str(BEGIN);
        text.push_str(kind.label());
        text.push('"');
        Self(text)
    }

    /// A number, or JSON already.
    fn plain(&mut self, name: &str, value: impl Display) {
        // Writing into a string cannot fail.
        let _ = write!(self.0, ",\"{name}\":{value}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.plain(name, serde_json::Value::from(value));
    }

    fn id(&mut self, boot: &str, session: impl Display, sequence: u32, unix: Duration) {
        self.plain("id", format_args!("\"{boot}.{session}.{sequence}\""));
        self.plain("time", format_args!("\"{}\"", Date(unix)));
        self.plain("session", format_args!("\"{session}\""));
        self.plain("sequence", sequence);
    }

    fn tuple(&mut self, tuple: &FiveTuple) {
        self.plain("client", format_args!("\"{}\"", tuple.client));
        self.plain("server", format_args!("\"{}\"", tuple.server));
        self.text("transport", tuple.transport.label());
    }

    fn addresses(&mut self, name: &str, addresses: impl Iterator<Item = SocketAddr>) {
        let list: Vec<_> = addresses.map(|address| format!("\"{address}\"")).collect();
        self.plain(name, format_args!("[{}]", list.join(",")));
    }

    fn who(&mut self, realm: &str, user: &str) {
        self.text("realm", realm);
        self.text("user", user);
    }

    fn relays(&mut self, relayed: &[Option<SocketAddr>; 2], protocol: Protocol) {
        self.addresses("relayed", relayed.iter().flatten().copied());
        self.text("relay_transport", protocol.label());
    }

    fn progress(&mut self, progress: &Progress, began: bool) {
        self.who(&progress.realm, &progress.username);
        self.tuple(&progress.client);
        self.relays(&progress.relayed, progress.protocol);
        if began {
            self.plain("lifetime", progress.lifetime);
            return;
        }
        self.plain("duration_ms", progress.age.as_millis());
        self.usage(&progress.usage, &progress.traffic);
    }

    fn session(&mut self, session: &Session) {
        self.who(&session.realm, &session.username);
        self.tuple(&session.client);
        self.addresses("earlier", session.earlier.iter().map(|tuple| tuple.client));
        self.relays(&session.relayed, session.protocol);
        self.text("reason", session.reason.label());
        self.plain("duration_ms", session.duration.as_millis());
        self.usage(&session.usage, &session.traffic);
    }

    fn usage(&mut self, usage: &Usage, total: &Traffic) {
        self.plain("interval_ms", usage.span.as_millis());
        self.traffic("interval", &usage.traffic);
        self.traffic("total", total);
    }

    fn traffic(&mut self, name: &str, traffic: &Traffic) {
        let Traffic { to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes } =
            traffic;
        self.plain(
            name,
            format_args!(
                "{{\"to_peer_packets\":{to_peer_packets},\"to_peer_bytes\":{to_peer_bytes},\
                 \"to_client_packets\":{to_client_packets},\"to_client_bytes\":{to_client_bytes}}}"
            ),
        );
    }

    fn finish(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// A time since 1970 as RFC 3339 has it, in UTC with milliseconds.
struct Date(Duration);

impl Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, second) = (self.0.as_secs() / 86400, self.0.as_secs() % 86400);
        // Howard Hinnant's civil_from_days: years begin in March, eras have 400 of them.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        let (hour, minute, milli) = (second / 3600, second / 60 % 60, self.0.subsec_millis());
        let second = second % 60;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Cause, EndReason, SessionId, Transport};
    use std::sync::Arc;

    fn tuple() -> FiveTuple {
        let (client, server) = ("192.0.2.1:1000".parse().unwrap(), "[::1]:3478".parse().unwrap());
        FiveTuple { client, server, transport: Transport::Tls }
    }

    fn traffic(one: u64) -> Traffic {
        Traffic {
            to_peer_packets: one,
            to_peer_bytes: one + 1,
            to_client_packets: one + 2,
            to_client_bytes: one + 3,
        }
    }

    fn written(what: What) -> (String, serde_json::Value) {
        let mut scribe = Scribe::new([0, 1, 2, 3, 4, 5, 6, 0xFF]);
        let record = Record { at: Mono::from_secs(1), what };
        let line = scribe.line(&record, Duration::from_millis(1_792_500_000_042));
        assert_eq!(line.matches('\n').count(), 1);
        let value = serde_json::from_str(line.trim_end()).unwrap();
        (line, value)
    }

    #[test]
    fn a_record_is_one_line_of_json_with_all_that_a_book_needs() {
        let progress = Progress {
            id: SessionId::new(3, 17),
            realm: Arc::from("example.org"),
            username: "a\"\n\u{1}\u{2028}é".to_owned(),
            client: tuple(),
            relayed: [Some("192.0.2.9:50000".parse().unwrap()), None],
            protocol: Protocol::Udp,
            lifetime: 600,
            age: Duration::from_millis(61_500),
            traffic: traffic(100),
            usage: Usage { sequence: 2, span: Duration::from_secs(60), traffic: traffic(10) },
        };
        let (line, value) = written(What::Usage(Box::new(progress.clone())));
        assert_eq!(kind_of(&line), Some(RecordKind::Usage));
        #[cfg(feature = "redis")]
        assert_eq!(id_of(&line), "00010203040506ff.3-17.2");
        assert_eq!((&value["v"], &value["id"]), (&1.into(), &"00010203040506ff.3-17.2".into()));
        assert_eq!((&value["session"], &value["sequence"]), (&"3-17".into(), &2.into()));
        assert_eq!(value["time"], "2026-10-20T12:40:00.042Z");
        assert_eq!(
            (&value["user"], &value["realm"]),
            (&progress.username.into(), &"example.org".into())
        );
        assert_eq!(
            (&value["client"], &value["transport"]),
            (&"192.0.2.1:1000".into(), &"tls".into())
        );
        assert_eq!(value["relayed"], serde_json::json!(["192.0.2.9:50000"]));
        assert_eq!(
            (&value["duration_ms"], &value["interval_ms"]),
            (&61_500.into(), &60_000.into())
        );
        assert_eq!(value["interval"]["to_client_bytes"], 13);
        assert_eq!(value["total"]["to_peer_packets"], 100);
    }

    #[test]
    fn the_last_record_and_a_refusal_say_why() {
        let session = Session {
            id: SessionId::new(0, 1),
            realm: Arc::from("r"),
            username: "u".to_owned(),
            client: tuple(),
            earlier: vec![tuple()],
            relayed: [None; 2],
            protocol: Protocol::Tcp,
            duration: Duration::from_secs(1),
            traffic: traffic(5),
            usage: Usage { sequence: 1, span: Duration::from_secs(1), traffic: traffic(5) },
            reason: EndReason::Deleted,
            refusals: None,
        };
        let (line, value) = written(What::Ended(Box::new(session)));
        assert_eq!(kind_of(&line), Some(RecordKind::Ended));
        assert_eq!(
            (&value["reason"], &value["relay_transport"]),
            (&"deleted".into(), &"tcp".into())
        );
        assert_eq!(value["earlier"], serde_json::json!(["192.0.2.1:1000"]));
        let cause = Cause::NoSocket;
        let (line, value) = written(What::Refused { client: tuple(), cause, left_out: 4 });
        assert_eq!(kind_of(&line), Some(RecordKind::Refused));
        assert_eq!((&value["code"], &value["cause"]), (&508.into(), &"no_socket".into()));
        assert_eq!((&value["left_out"], &value["id"]), (&4.into(), &"00010203040506ff.r.1".into()));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(Date(Duration::from_secs(unix)).to_string(), date);
        }
        assert_eq!(kind_of("{\"v\":2,\"kind\":\"usage\"}"), None);
        assert_eq!(kind_of(""), None);
    }
}

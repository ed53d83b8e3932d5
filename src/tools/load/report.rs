//! What a run has found, as data and as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::churn::Cycles;
use super::errand::Trouble;
use super::fleet::Losses;
use super::options::{Mode, Options, Rate};
use super::setup::SetUp;
use super::tally::{Leg, Tally};
use crate::client::Failure;
use crate::stun::Method;

/// All of a run.
pub(super) struct Report<'a> {
    pub(super) options: &'a Options,
    pub(super) server: SocketAddr,
    /// The version of TLS and the cipher that were agreed on.
    pub(super) tls: Option<String>,
    /// Where the mode has allocations to make before the load.
    pub(super) set_up: Option<SetUp>,
    pub(super) figures: Option<Figures>,
    pub(super) cycles: Option<Cycles>,
    pub(super) causes: BTreeMap<Trouble, u64>,
    /// The server's resident memory before and after the clients came, in bytes, when its process is known.
    pub(super) resident: Option<(u64, u64)>,
}

/// What has become of the packets of a run.
pub(super) struct Figures {
    pub(super) measured: Measured,
    /// Of all of the run, what came after its end included.
    pub(super) tally: Tally,
    /// In all of the run.
    pub(super) losses: Losses,
    pub(super) lost: u64,
    pub(super) skipped: u64,
    /// Not taken by this host's kernel.
    pub(super) unsent: u64,
    /// Lost in this process's own sockets.
    pub(super) receive_drops: u64,
    /// In nanoseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) flood: Option<Flood>,
    pub(super) handshakes: Option<Handshakes>,
}

/// TLS handshakes that were made beside the load.
pub(super) struct Handshakes {
    /// In the measured time.
    pub(super) done: u64,
    /// In all of the run.
    pub(super) failed: u64,
    /// In all of the run.
    pub(super) skipped: u64,
    /// When it ended.
    pub(super) under_way: usize,
    /// From when each was due, in nanoseconds.
    pub(super) times: Histogram<u64>,
}

/// What the client that floods has sent, which is in no other figure but the server's.
pub(super) struct Flood {
    /// In the measured time.
    pub(super) sent: u64,
    /// In the measured time.
    pub(super) finished: u64,
    pub(super) tally: Tally,
    pub(super) skipped: u64,
}

/// Figures of the measured time: the run without its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    pub(super) sent: u64,
    pub(super) finished: u64,
    /// Packets that have passed the server; an echo passes twice.
    pub(super) passed: u64,
    /// The server's, for everything.
    pub(super) cpu: Duration,
}

impl Measured {
    /// So many, per second.
    pub(super) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The server's CPU seconds per million packets that have passed it.
    pub(super) fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.passed.max(1) as f64
    }
}

impl Cycles {
    pub(super) fn per_second(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The server's CPU seconds per thousand cycles.
    pub(super) fn cpu_per_thousand(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.done.max(1) as f64
    }
}

impl Report<'_> {
    /// Whether the server has done what was asked of it: everything set up and kept, something delivered, nothing
    /// spoilt. Packets that are lost are no fault in themselves: with enough load every server loses some.
    pub(super) fn is_ok(&self) -> bool {
        let set_up = self.set_up.as_ref().is_none_or(|it| it.succeeded == it.wanted);
        let figures = self.figures.as_ref().is_none_or(|it| {
            let flood = it.flood.as_ref().map_or(0, |flood| flood.tally.bad());
            let kept = it.losses == Losses::default();
            kept && it.tally.finished > 0 && it.tally.bad() + flood == 0
        });
        let cycles = self.cycles.as_ref().is_none_or(|it| it.done > 0 && it.failed == 0);
        set_up && figures && cycles && (self.figures.is_some() || self.cycles.is_some())
    }

    /// Resident bytes that each allocation has cost, or each client's socket where there are no allocations.
    pub(super) fn resident_each(&self) -> Option<u64> {
        let (before, after) = self.resident?;
        let made = self.set_up.as_ref().map_or(self.options.clients, |it| it.succeeded);
        Some(after.saturating_sub(before) / u64::from(made.max(1)))
    }

    /// The report with stable keys. Times are in microseconds where their keys say so.
    pub(super) fn to_json(&self) -> Value {
        let options = self.options;
        let mut all = json!({
            "uri": options.uri.to_string(),
            "server": self.server.to_string(),
            "transport": options.way(),
            "tls": self.tls,
            "mode": options.mode.label(),
            "clients": options.clients,
            "rate": match options.rate {
                Rate::Fixed(rate) => json!(rate),
                Rate::Max => json!("max"),
            },
            "ok": self.is_ok(),
            "failures": self.causes.iter().map(failure).collect::<Vec<_>>(),
        });
        let object = all.as_object_mut();
        // unwrap: it was made as an object just now.
        let object = object.expect("an object");
        if options.mode != Mode::Churn {
            object.insert("train".to_owned(), json!(options.train));
            object.insert("offload".to_owned(), json!(options.offload));
            object.insert("window".to_owned(), json!(options.window));
        }
        if matches!(options.mode, Mode::Channel | Mode::Send) {
            object.insert("size".to_owned(), json!(options.size));
            object.insert("direction".to_owned(), json!(options.direction.label()));
        }
        if let Some(set_up) = &self.set_up {
            object.insert("set_up".to_owned(), set_up_json(set_up));
        }
        if let Some(figures) = &self.figures {
            object.insert("load".to_owned(), self.load_json(figures));
        }
        if let Some(cycles) = &self.cycles {
            object.insert("churn".to_owned(), self.churn_json(cycles));
        }
        if let (Some(each), Some((before, after))) = (self.resident_each(), self.resident) {
            let memory = json!({
                "before_bytes": before,
                "after_set_up_bytes": after,
                (format!("bytes_per_{}", options.mode.holds())): each,
            });
            object.insert("server_memory".to_owned(), memory);
        }
        all
    }

    fn load_json(&self, figures: &Figures) -> Value {
        let Figures { measured, tally, .. } = figures;
        let both = |of: fn(&Leg) -> u64| of(&tally.to_peer) + of(&tally.to_client);
        let mut load = json!({
            "seconds": measured.elapsed.as_secs_f64(),
            "sent_per_second": measured.per_second(measured.sent),
            "delivered_per_second": measured.per_second(measured.finished),
            "relayed_per_second": measured.per_second(measured.passed),
            "sent": tally.sent,
            "delivered": tally.finished,
            "lost": figures.lost,
            "duplicated": both(|leg| leg.duplicated),
            "reordered": both(|leg| leg.reordered),
            "corrupted": both(|leg| leg.corrupted),
            "misrouted": both(|leg| leg.misrouted),
            "stray": tally.stray,
            "skipped": figures.skipped,
            "clients_lost": figures.losses.links,
            "not_prolonged": figures.losses.not_prolonged,
            "unsent": figures.unsent,
            "receive_drops": figures.receive_drops,
            "to_peer": leg_json(&tally.to_peer),
            "to_client": leg_json(&tally.to_client),
            "latency_us": times_json(&figures.latency),
        });
        if self.options.pid.is_some() {
            load["server_cpu_seconds"] = json!(measured.cpu.as_secs_f64());
            load["server_cores"] =
                json!(measured.cpu.as_secs_f64() / measured.elapsed.as_secs_f64().max(1e-9));
            load["server_cpu_seconds_per_million"] = json!(measured.cpu_per_million());
        }
        if let Some(handshakes) = &figures.handshakes {
            load["handshakes"] = json!({
                "per_second": measured.per_second(handshakes.done),
                "done": handshakes.done,
                "failed": handshakes.failed,
                "skipped": handshakes.skipped,
                "under_way": handshakes.under_way,
                "time_us": times_json(&handshakes.times),
            });
        }
        if let Some(flood) = &figures.flood {
            load["flood"] = json!({
                "sent_per_second": measured.per_second(flood.sent),
                "delivered_per_second": measured.per_second(flood.finished),
                "sent": flood.tally.sent,
                "delivered": flood.tally.finished,
                "skipped": flood.skipped,
                "to_peer": leg_json(&flood.tally.to_peer),
                "to_client": leg_json(&flood.tally.to_client),
            });
        }
        load
    }

    fn churn_json(&self, cycles: &Cycles) -> Value {
        let mut churn = json!({
            "seconds": cycles.elapsed.as_secs_f64(),
            "cycles": cycles.done,
            "cycles_per_second": cycles.per_second(),
            "failed": cycles.failed,
            "skipped": cycles.skipped,
            "retransmitted": cycles.retransmitted,
            "cycle_us": times_json(&cycles.times),
        });
        if self.options.pid.is_some() {
            churn["server_cpu_seconds"] = json!(cycles.cpu.as_secs_f64());
            churn["server_cpu_seconds_per_thousand"] = json!(cycles.cpu_per_thousand());
        }
        churn
    }
}

/// The percentiles that are shown, in microseconds, with their names.
pub(super) fn percentiles(times: &Histogram<u64>) -> [(&'static str, f64); 5] {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    [
        ("p50", at(0.5)),
        ("p90", at(0.9)),
        ("p99", at(0.99)),
        ("p99.9", at(0.999)),
        ("max", times.max() as f64 / 1e3),
    ]
}

fn times_json(times: &Histogram<u64>) -> Value {
    let named = percentiles(times).map(|(name, value)| (name.replace('.', "_"), json!(value)));
    let mut object: Map<String, Value> = named.into_iter().collect();
    object.insert("count".to_owned(), json!(times.len()));
    Value::Object(object)
}

fn set_up_json(set_up: &SetUp) -> Value {
    let seconds = set_up.elapsed.as_secs_f64();
    json!({
        "wanted": set_up.wanted,
        "succeeded": set_up.succeeded,
        "failed": set_up.wanted - set_up.succeeded,
        "retransmitted": set_up.retransmitted,
        "seconds": seconds,
        "per_second": f64::from(set_up.succeeded) / seconds.max(1e-9),
        "time_us": times_json(&set_up.times),
    })
}

fn leg_json(leg: &Leg) -> Value {
    json!({
        "received": leg.received,
        "duplicated": leg.duplicated,
        "reordered": leg.reordered,
        "corrupted": leg.corrupted,
        "misrouted": leg.misrouted,
    })
}

fn failure((trouble, count): (&Trouble, &u64)) -> Value {
    let mut object = json!({ "cause": trouble.to_string(), "count": count });
    if let Trouble::Request(Failure::Refused { method, code, reason }) = trouble {
        object["method"] = json!(Method(*method).name());
        object["code"] = json!(code);
        object["reason"] = json!(reason);
    }
    object
}

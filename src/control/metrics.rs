//! What the workers have counted, as OpenMetrics text. The counters are read at a scrape and at
//! no other time; every label comes from a fixed set.

mod load;
mod records;
mod sessions;
mod stores;
mod web;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::certificates::{Entry, Report};
use super::health::{Health, Phase, Readiness};
use super::stores::Stores;
use super::watch::{Lost, live, sum};
use crate::events;
use crate::tls;
use crate::turn::{Alternates, Cause, Counter, Dropped, EndReason, Ledger};
use crate::web::Web;
use crate::worker::{Clock, Stats, Unfit};

/// What [`render`] answers with.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the numbers come from.
pub(super) struct Sources {
    pub(super) stats: Vec<Arc<Stats>>,
    pub(super) ledger: Arc<Ledger>,
    /// Other servers that clients are sent to.
    pub(super) alternates: Arc<ArcSwap<Alternates>>,
    /// Events that found no place in the queue to the log.
    pub(super) lost: Lost,
    pub(super) clock: Clock,
    /// The certificates.
    pub(super) certificates: Arc<Report>,
    /// What becomes of records of sessions.
    pub(super) records: Option<events::Stats>,
    /// What the process is doing.
    pub(super) health: Health,
    /// Whether it relays.
    pub(super) readiness: Readiness,
    /// Where users live besides the configuration.
    pub(super) stores: Arc<Stores>,
    /// Credentials over HTTP.
    pub(super) web: Arc<Web>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("workers", &self.stats.len()).finish_non_exhaustive()
    }
}

/// A registry of all metrics.
pub(super) fn registry(sources: Arc<Sources>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sources));
    registry
}

/// The text of a scrape.
///
/// # Errors
/// None in practice: formatting into a string does not fail.
pub(super) fn render(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder, stats: &self.stats };
        page.allocations()?;
        page.kinds()?;
        page.histograms()?;
        page.traffic()?;
        page.troubles()?;
        page.streams()?;
        page.backend()?;
        page.tls()?;
        page.dtls()?;
        page.peers()?;
        page.gauges("relay_ports_free", "Relay ports that can be given out", self.ports(true))?;
        page.gauges("relay_ports", "Relay ports in all", self.ports(false))?;
        let help = "Allocations alive now, by realm";
        page.gauges("realm_allocations", help, self.realms())?;
        page.alternates(&self.alternates.load())?;
        page.stores(&self.stores)?;
        page.web(self.web.stats())?;
        page.count(
            "log_events_lost",
            "Log lines dropped because the log is slow",
            self.lost.get(),
        )?;
        page.workers()?;
        page.process(&self.clock)?;
        if let Some(records) = &self.records {
            page.records(records)?;
        }
        page.gauge("workers", "Worker threads", self.stats.len() as u64)?;
        page.gauge("uptime_seconds", "Since the start", self.clock.now().mono.as_secs())?;
        let draining = u64::from(self.health.phase() == Phase::Draining);
        page.gauge(
            "draining",
            "Whether it takes no new allocations since it is about to end",
            draining,
        )?;
        let checks = [
            ([("result", "passed")], self.readiness.passed()),
            ([("result", "failed")], self.readiness.failed()),
        ];
        page.counts(
            "self_checks",
            "Packets relayed to itself while /readyz is asked, by result",
            checks,
        )?;
        if !self.certificates.entries().is_empty() {
            page.certificates(&self.certificates, self.clock.now().unix)?;
        }
        page.build()
    }
}

impl Sources {
    /// There are as many as the operator has configured.
    fn realms(&self) -> Vec<([(&'static str, String); 1], u64)> {
        let realms = self.ledger.by_realm().into_iter();
        let mut all: Vec<_> = realms
            .map(|(name, count)| ([("realm", name.as_ref().to_owned())], u64::from(count)))
            .collect();
        all.sort_unstable();
        all
    }

    fn ports(&self, free: bool) -> Vec<([(&'static str, String); 1], u64)> {
        let ports = self.ledger.free_ports().into_iter();
        let pick = |left, all| if free { left } else { all };
        ports
            .map(|(ip, left, all)| ([("address", ip.to_string())], pick(left, all) as u64))
            .collect()
    }
}

/// One scrape.
struct Page<'a, 'e> {
    encoder: DescriptorEncoder<'e>,
    stats: &'a [Arc<Stats>],
}

impl Page<'_, '_> {
    fn allocations(&mut self) -> fmt::Result {
        self.count("bindings", "Binding requests answered", self.sum(|s| &s.turn.bindings))?;
        let discovery = [
            ([("request", "change_request")], self.sum(|s| &s.turn.change_requests)),
            ([("request", "response_port")], self.sum(|s| &s.turn.response_ports)),
            ([("request", "padding")], self.sum(|s| &s.turn.paddings)),
        ];
        let help = "NAT discovery requests answered, by what they asked for";
        self.counts("nat_discovery", help, discovery)?;
        self.gauge("allocations_live", "Allocations alive", live(self.stats))?;
        self.count("allocations", "Allocations made", self.sum(|s| &s.turn.allocations))?;
        let ended = EndReason::ALL.map(|reason| {
            ([("reason", reason.label())], self.sum(|s| &s.turn.ended[reason as usize]))
        });
        self.counts("allocations_ended", "Allocations ended, by reason", ended)?;
        let moves = self.sum(|s| &s.turn.moves);
        self.count("allocations_moved", "Clients that came to a new address (RFC 8016)", moves)?;
        let between = self.sum(|s| &s.turn.moved_in);
        self.count("allocations_handed_over", "Allocations that changed the worker", between)
    }

    fn traffic(&mut self) -> fmt::Result {
        let packets = [
            ([("direction", "to_peer")], self.sum(|s| &s.turn.to_peer_packets)),
            ([("direction", "to_client")], self.sum(|s| &s.turn.to_client_packets)),
        ];
        self.counts("relayed_packets", "Packets relayed", packets)?;
        let bytes = [
            ([("direction", "to_peer")], self.sum(|s| &s.turn.to_peer_bytes)),
            ([("direction", "to_client")], self.sum(|s| &s.turn.to_client_bytes)),
        ];
        self.counts("relayed_bytes", "Application bytes relayed", bytes)?;
        let trains = self.sum(|s| &s.trains);
        self.count("trains_sent", "Trains sent: several datagrams at once", trains)
    }

    fn troubles(&mut self) -> fmt::Result {
        let refused = Cause::labels().enumerate().map(|(i, (cause, code))| {
            let labels = [("cause", cause.to_owned()), ("code", code.to_string())];
            (labels, self.sum(|s| &s.turn.refused[i]))
        });
        let refused: Vec<_> = refused.collect();
        self.counts("refusals", "Requests refused, by cause and error code", refused)?;
        let core = Dropped::ALL
            .map(|reason| (reason.label(), self.sum(|s| &s.turn.dropped[reason as usize])));
        let datapath = [
            ("receive_full", self.sum(|s| &s.receive_full)),
            ("send_full", self.sum(|s| &s.send_full)),
            ("send_unreachable", self.sum(|s| &s.send_unreachable)),
            ("send_too_big", self.sum(|s| &s.send_too_big)),
            ("send_other", self.sum(|s| &s.send_other)),
            ("queue_full", self.sum(|s| &s.queue_full)),
            ("dtls_unknown", self.sum(|s| &s.dtls.unknown)),
            ("dtls_forged", self.sum(|s| &s.dtls.forged)),
            ("dtls_replayed", self.sum(|s| &s.dtls.replayed)),
            ("handover_full", self.sum(|s| &s.handover_full)),
        ];
        let drops = core.into_iter().chain(datapath);
        let drops = drops.map(|(reason, count)| ([("reason", reason)], count));
        self.counts("drops", "Packets dropped without an answer, by reason", drops)?;
        self.count("icmp_indications", "ICMP errors told to clients", self.sum(|s| &s.turn.icmp))
    }

    fn streams(&mut self) -> fmt::Result {
        let accepted = self.sum(|s| &s.streams_accepted);
        let closed = self.sum(|s| &s.streams_closed);
        let refused = self.sum(|s| &s.streams_refused);
        self.count("streams_accepted", "TCP connections accepted", accepted)?;
        self.count("streams_refused", "TCP connections refused by a limit", refused)?;
        let gone = self.sum(|s| &s.listener_gone);
        let help = "Datagrams without an allocation to a listener that is configured no more";
        self.count("listener_gone", help, gone)?;
        let idle = self.sum(|s| &s.streams_idle);
        self.count("streams_idle", "TCP connections closed without an allocation", idle)?;
        let unfit = Unfit::LABELS.iter().enumerate();
        let unfit = unfit.map(|(i, cause)| ([("cause", *cause)], self.sum(|s| &s.unfit[i])));
        let unfit: Vec<_> = unfit.collect();
        self.counts("streams_unfit", "TCP connections closed for what they said", unfit)?;
        let http = self.sum(|s| &s.http_requests);
        self.count("streams_http", "TCP connections that spoke HTTP", http)?;
        let live = accepted.saturating_sub(closed);
        self.gauge("streams_live", "TCP connections open", live)
    }

    /// HTTP connections for the backend.
    fn backend(&mut self) -> fmt::Result {
        let passed = self.sum(|s| &s.web_passed);
        let outcomes = [
            ([("result", "passed")], passed),
            ([("result", "unreachable")], self.sum(|s| &s.web_failed)),
            ([("result", "full")], self.sum(|s| &s.web_refused)),
            ([("result", "abandoned")], self.sum(|s| &s.web_abandoned)),
        ];
        let help = "HTTP connections for the backend, by what became of them";
        self.counts("backend_connections", help, outcomes)?;
        let live = passed.saturating_sub(self.sum(|s| &s.web_ended));
        self.gauge("backend_connections_live", "HTTP connections that are passed on", live)?;
        let idle = self.sum(|s| &s.web_idle);
        self.count("backend_connections_idle", "Those closed because they were silent", idle)?;
        let bytes = [
            ([("direction", "to_backend")], self.sum(|s| &s.web_bytes[0])),
            ([("direction", "to_client")], self.sum(|s| &s.web_bytes[1])),
        ];
        self.counts("backend_bytes", "Bytes passed on, without TLS", bytes)
    }

    fn certificates(&mut self, report: &Report, unix: u64) -> fmt::Result {
        let left = |entry: Entry| {
            let seconds = entry.not_after.saturating_sub_unsigned(unix);
            ([("file", entry.file), ("name", entry.name)], seconds as f64 / 86400.0)
        };
        let help = "Days until a certificate expires";
        self.gauges("certificate_days_left", help, report.entries().into_iter().map(left))?;
        let end = |entry: Entry| ([("file", entry.file), ("name", entry.name)], entry.not_after);
        let help = "When a certificate expires, since 1970";
        let ends = report.entries().into_iter().map(end);
        self.gauges("certificate_expiry_timestamp_seconds", help, ends)?;
        let reloads = [
            ([("result", "ok")], report.reloads.load(Ordering::Relaxed)),
            ([("result", "failed")], report.failures.load(Ordering::Relaxed)),
        ];
        self.counts("certificate_reloads", "Changed certificates, by what came of them", reloads)
    }

    fn tls(&mut self) -> fmt::Result {
        let made = [
            ([("version", "1.2")], self.sum(|s| &s.tls_handshakes[0])),
            ([("version", "1.3")], self.sum(|s| &s.tls_handshakes[1])),
        ];
        self.counts("tls_handshakes", "TLS handshakes completed", made)?;
        let resumed = self.sum(|s| &s.tls_resumed);
        self.count("tls_handshakes_resumed", "Those that a ticket has made short", resumed)?;
        let failed = tls::Cause::ALL.map(|cause| {
            ([("cause", cause.label())], self.sum(|s| &s.tls_failures[cause.index()]))
        });
        self.counts("tls_failures", "TLS that has failed, by cause", failed)
    }

    fn dtls(&mut self) -> fmt::Result {
        let cookies = self.sum(|s| &s.dtls.cookies);
        self.count("dtls_cookies_sent", "HelloVerifyRequests sent over DTLS", cookies)?;
        let begun = self.sum(|s| &s.dtls.begun);
        let completed = self.sum(|s| &s.dtls.completed);
        self.count("dtls_handshakes_begun", "DTLS handshakes begun", begun)?;
        self.count("dtls_handshakes_completed", "DTLS handshakes completed", completed)?;
        let causes = tls::Cause::ALL
            .map(|cause| (cause.label(), self.sum(|s| &s.dtls.failed[cause.index()])));
        let crowded_out = ("crowded_out", self.sum(|s| &s.dtls.crowded_out));
        let failed: Vec<_> = causes.into_iter().chain([crowded_out]).collect();
        let ended = completed + failed.iter().map(|(_, count)| count).sum::<u64>();
        let failed = failed.into_iter().map(|(cause, count)| ([("cause", cause)], count));
        self.counts("dtls_handshakes_failed", "DTLS handshakes failed, by cause", failed)?;
        let refused = [
            ([("limit", "per_address")], self.sum(|s| &s.dtls.refused)),
            ([("limit", "handshakes_per_second")], self.sum(|s| &s.dtls.hasty)),
        ];
        self.counts("dtls_refused", "DTLS handshakes refused, by limit", refused)?;
        let half_open = begun.saturating_sub(ended);
        self.gauge("dtls_half_open", "DTLS handshakes under way", half_open)?;
        let idle = self.sum(|s| &s.dtls.idle);
        self.count("dtls_idle", "DTLS associations closed without an allocation", idle)?;
        let live = completed.saturating_sub(self.sum(|s| &s.dtls.closed));
        self.gauge("dtls_associations_live", "DTLS associations", live)
    }

    /// TCP connections with peers (RFC 6062).
    fn peers(&mut self) -> fmt::Result {
        let made = [
            ([("direction", "out")], self.sum(|s| &s.turn.connections_out)),
            ([("direction", "in")], self.sum(|s| &s.turn.connections_in)),
        ];
        let ended = self.sum(|s| &s.turn.connections_ended);
        let live = made.iter().map(|(_, count)| count).sum::<u64>().saturating_sub(ended);
        self.counts("peer_connections", "TCP connections with peers", made)?;
        let bound = self.sum(|s| &s.turn.connections_bound);
        self.count("peer_connections_bound", "Those that a client has bound", bound)?;
        self.gauge("peer_connections_live", "TCP connections with peers open", live)
    }

    fn alternates(&mut self, all: &Alternates) -> fmt::Result {
        let sent = all.members.iter().map(|it| ([("server", it.name.clone())], it.sent()));
        self.counts("redirects", "Clients sent to another server", sent.collect::<Vec<_>>())?;
        let places = all.members.iter().flat_map(|member| {
            member.places.iter().map(|place| {
                let labels = [
                    ("server", member.name.clone()),
                    ("address", place.address.to_string()),
                    ("transport", place.transport.label().to_owned()),
                ];
                (labels, u64::from(place.is_alive()))
            })
        });
        let help = "Whether another server answers there";
        self.gauges("alternate_alive", help, places.collect::<Vec<_>>())
    }

    fn build(&mut self) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        let help = "The version that runs";
        let dtls = if cfg!(feature = "dtls") { "true" } else { "false" };
        self.encoder
            .encode_descriptor("turnwire_build", help, None, MetricType::Info)?
            .encode_info(&[("version", version), ("dtls", dtls)])
    }

    fn sum(&self, pick: impl Fn(&Stats) -> &Counter) -> u64 {
        sum(self.stats, pick)
    }

    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = full(name);
        self.encoder
            .encode_descriptor(&name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A counter of each label set; the encoder appends `_total` to its name.
    fn counts<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let name = full(name);
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = full(name);
        self.encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet, N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, N)>,
    ) -> fmt::Result {
        let name = full(name);
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn full(name: &str) -> String {
    format!("turnwire_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::turn::{PortRange, Settings};
    use crate::worker::Events;

    fn page(change: impl Fn(&Stats)) -> String {
        let stats = vec![Arc::new(Stats::default()), Arc::new(Stats::default())];
        stats.iter().for_each(|stats| change(stats));
        let ip = "127.0.0.1".parse().unwrap();
        let relay = crate::turn::RelayAddress { local: ip, advertised: ip };
        let settings = Settings { relays: vec![relay], ..Settings::default() };
        let ledger = Arc::new(Ledger::new(&settings));
        let sources = Sources {
            stats,
            ledger,
            alternates: Arc::default(),
            lost: Lost::of(Events::queue(1).0),
            clock: Clock::start(),
            certificates: Arc::default(),
            health: Health::new(2),
            readiness: Readiness::unasked(),
            records: None,
            stores: Stores::new(&Config::default()),
            web: Web::new(move || Clock::start().now()),
        };
        render(&registry(Arc::new(sources))).unwrap()
    }

    #[test]
    fn counters_are_summed_over_workers_under_their_labels() {
        let page = page(|stats| {
            stats.turn.to_peer_bytes.add(21);
            stats.turn.refused[Cause::NoPort(PortRange::default()).index()].add(2);
            stats.turn.dropped[Dropped::Bandwidth as usize].add(3);
            stats.turn.allocations.add(5);
            stats.turn.ended[EndReason::Expired as usize].add(1);
        });
        for line in [
            "turnwire_relayed_bytes_total{direction=\"to_peer\"} 42",
            "turnwire_refusals_total{cause=\"no_port\",code=\"508\"} 4",
            "turnwire_drops_total{reason=\"bandwidth\"} 6",
            "turnwire_allocations_total 10",
            "turnwire_allocations_live 8",
            "turnwire_allocations_ended_total{reason=\"expired\"} 2",
            "turnwire_relay_ports_free{address=\"127.0.0.1\"} 16384",
            "turnwire_workers 2",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn the_same_lines_stand_there_whatever_was_counted() {
        // Label values come from fixed sets: nothing that a stranger does makes a new series.
        let names = |page: String| -> Vec<String> {
            page.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
        };
        let busy = page(|stats| {
            stats.turn.refused.iter().for_each(|counter| counter.add(1));
            stats.turn.dropped.iter().for_each(|counter| counter.add(1));
        });
        assert_eq!(names(page(|_| ())), names(busy));
    }
}

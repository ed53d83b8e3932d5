//! How many sessions were made, and of which kind; how long they last, how much they relay, and how soon they begin to.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::{Page, full};
use crate::turn::{Histogram, Spread};
use crate::worker::Stats;

impl Page<'_, '_> {
    /// Allocations by the client's transport, what is relayed, and the families of the relayed addresses.
    pub(super) fn kinds(&mut self) -> fmt::Result {
        let mut kinds: Vec<_> =
            Stats::default().turn.made().map(|(labels, _)| (labels, 0)).collect();
        for stats in self.stats {
            for (kind, (_, count)) in kinds.iter_mut().zip(stats.turn.made()) {
                kind.1 += count.get();
            }
        }
        let kinds = kinds.into_iter().map(|([transport, relayed, family], count)| {
            ([("transport", transport), ("relayed", relayed), ("family", family)], count)
        });
        let help = "Allocations made, by the client's transport, what is relayed, and the family of its address";
        self.counts("allocations_by_kind", help, kinds)
    }

    pub(super) fn histograms(&mut self) -> fmt::Result {
        let help = "How long sessions have lasted, counted at their end";
        self.histogram("session_duration_seconds", help, 1e3, |stats| &stats.turn.durations)?;
        let help =
            "Application bytes that sessions have relayed in both directions, counted at their end";
        self.histogram("session_bytes", help, 1.0, |stats| &stats.turn.session_bytes)?;
        let help =
            "From the allocation to its first datagram for a peer, which is the first check of ICE";
        self.histogram("session_setup_seconds", help, 1e3, |stats| &stats.turn.setups)
    }

    /// One over all workers; `per_unit` of what is counted make one of what is told.
    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        per_unit: f64,
        pick: impl Fn(&Stats) -> &Histogram,
    ) -> fmt::Result {
        let mut spread = Spread::default();
        self.stats.iter().for_each(|stats| pick(stats).collect(&mut spread));
        let count = spread.steps.iter().map(|(_, count)| count).sum::<u64>() + spread.above;
        let scale = |value: u64| value as f64 / per_unit;
        let mut steps: Vec<_> =
            spread.steps.iter().map(|(end, count)| (scale(*end), *count)).collect();
        steps.push((f64::INFINITY, spread.above));
        self.encoder
            .encode_descriptor(&full(name), help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(scale(spread.sum), count, &steps, None)
    }
}

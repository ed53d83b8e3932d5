//! Records of sessions and their sinks.

use std::fmt;

use super::Page;
use crate::events::{self, Sink};

impl Page<'_, '_> {
    pub(super) fn records(&mut self, stats: &events::Stats) -> fmt::Result {
        let each = |pick: fn(&events::Stats, Sink) -> u64| {
            Sink::ALL.map(|sink| ([("sink", sink.label())], pick(stats, sink)))
        };
        self.counts("events_sent", "Records that a sink has taken", each(events::Stats::sent))?;
        self.counts(
            "events_retries",
            "Writes or deliveries of records that failed and were tried again",
            each(events::Stats::retries),
        )?;
        self.counts(
            "events_dropped",
            "Records that a sink will never get",
            each(events::Stats::dropped),
        )?;
        self.gauges(
            "events_waiting_bytes",
            "Bytes of records that wait for a sink",
            each(events::Stats::waiting),
        )?;
        self.count(
            "events_lost",
            "Records that found no room on their way from the workers",
            stats.lost(),
        )
    }
}

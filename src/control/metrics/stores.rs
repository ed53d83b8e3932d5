//! What the stores are asked, and how they do.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::super::stores::Stores;
use super::{Page, full};
use crate::store::{CLASSES, Outcome};

impl Page<'_, '_> {
    /// The stores' names are the operator's: there are as many series as there are stores.
    pub(super) fn stores(&mut self, stores: &Stores) -> fmt::Result {
        let (parked, unparked) =
            (self.sum(|stats| &stats.turn.parked), self.sum(|stats| &stats.turn.unparked));
        self.count("requests_parked", "Requests that had to wait for a store", parked)?;
        let waiting = parked.saturating_sub(unparked);
        self.gauge("requests_waiting", "Requests that wait for a store", waiting)?;
        let (users, strangers) = stores.directory.counts();
        self.gauge("store_users_known", "Users whom stores know, in memory", users as u64)?;
        let help = "Names that no store knows, in memory";
        self.gauge("store_strangers_known", help, strangers as u64)?;
        let (hits, misses) = stores.directory.asked();
        let help = "Requests of users who are not configured, by whether memory knew them";
        let asked = [([("memory", "hit")], hits), ([("memory", "miss")], misses)];
        self.counts("store_memory", help, asked)?;
        let all = stores.stats();
        let outcomes = all.iter().flat_map(|(name, stats)| {
            let labels = |outcome| [("outcome", outcome), ("store", name.clone())];
            let one = move |(outcome, word): (Outcome, &str)| {
                (labels(word.to_owned()), stats.get(outcome))
            };
            Outcome::ALL.into_iter().map(one)
        });
        self.counts("store_lookups", "Questions about users, by store and outcome", outcomes)?;
        let (name, help) = (full("store_answer_seconds"), "How long stores take to answer");
        let mut metric =
            self.encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for (name, stats) in &all {
            let bounds = CLASSES.iter().map(|millis| *millis as f64 / 1000.0);
            let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(stats.classes()).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_family(&[("store", name.as_str())])?.encode_histogram::<NoLabelSet>(
                stats.took().as_secs_f64(),
                count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

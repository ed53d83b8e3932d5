//! What has become of records, by sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::worker::Demand;

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The file.
    File,
    /// The webhook.
    Webhook,
    /// Redis.
    Redis,
}

impl Sink {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::File, Self::Webhook, Self::Redis];

    /// The metric label and log word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Webhook => "webhook",
            Self::Redis => "redis",
        }
    }
}

/// What became of the records, since the start of the process.
#[derive(Clone)]
pub struct Stats {
    sinks: Arc<[Counts; 3]>,
    demand: Demand,
}

/// What became of one sink's records.
#[derive(Default)]
pub(super) struct Counts {
    sent: AtomicU64,
    retries: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicU64,
}

impl Stats {
    pub(super) fn new(demand: Demand) -> Self {
        Self { sinks: Arc::default(), demand }
    }

    /// Records that a sink has taken.
    pub fn sent(&self, sink: Sink) -> u64 {
        self.sinks[sink as usize].sent.load(Ordering::Relaxed)
    }

    /// How often something had to be tried again.
    pub fn retries(&self, sink: Sink) -> u64 {
        self.sinks[sink as usize].retries.load(Ordering::Relaxed)
    }

    /// Records that a sink will never get.
    pub fn dropped(&self, sink: Sink) -> u64 {
        self.sinks[sink as usize].dropped.load(Ordering::Relaxed)
    }

    /// Bytes that wait for a sink.
    pub fn waiting(&self, sink: Sink) -> u64 {
        self.sinks[sink as usize].waiting.load(Ordering::Relaxed)
    }

    /// Records that found no room on their way from the workers.
    pub fn lost(&self) -> u64 {
        self.demand.lost()
    }

    pub(super) fn count_sent(&self, sink: Sink, records: u64) {
        self.sinks[sink as usize].sent.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn count_retry(&self, sink: Sink) {
        self.sinks[sink as usize].retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self, sink: Sink, records: u64) {
        self.sinks[sink as usize].dropped.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn set_waiting(&self, sink: Sink, bytes: u64) {
        self.sinks[sink as usize].waiting.store(bytes, Ordering::Relaxed);
    }
}

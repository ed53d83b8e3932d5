//! How busy the workers are, and what the process takes of this host. Read when it is asked for; nobody counts.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::Page;
use crate::worker::{Clock, Stats};

/// Ticks in a second.
const TICKS: f64 = 100.0;

impl Page<'_, '_> {
    /// Of each worker: the processor's time, wake-ups, packets.
    pub(super) fn workers(&mut self) -> fmt::Result {
        let used = |stats: &Stats| stats.cpu.get().and_then(|clock| clock.read());
        let used = self.stats.iter().map(|stats| used(stats).unwrap_or_default().as_secs_f64());
        let used: Vec<_> = used.enumerate().collect();
        let help = "CPU time of each worker thread; its rate is the share of a core that is busy";
        let mut metric = self.encoder.encode_descriptor(
            "turnwire_worker_cpu_seconds",
            help,
            None,
            MetricType::Counter,
        )?;
        for (worker, seconds) in used {
            let labels = [("worker", worker.to_string())];
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        }
        let each = |pick: fn(&Stats) -> u64| -> Vec<_> {
            let values = self.stats.iter().map(|stats| pick(stats)).enumerate();
            values.map(|(worker, value)| ([("worker", worker.to_string())], value)).collect()
        };
        let wake_ups = each(|stats| stats.wake_ups.get());
        let packets =
            each(|stats| stats.turn.to_peer_packets.get() + stats.turn.to_client_packets.get());
        let live = each(|stats| stats.turn.live());
        self.counts("worker_wake_ups", "Times that each worker has looked for work", wake_ups)?;
        self.counts("worker_relayed_packets", "Packets relayed by each worker", packets)?;
        self.gauges("worker_allocations_live", "Allocations that each worker holds", live)
    }

    /// What Prometheus's own clients tell of their process, under the same names.
    pub(super) fn process(&mut self, clock: &Clock) -> fmt::Result {
        let now = clock.now();
        let start = now.unix.saturating_sub(now.mono.as_secs());
        self.process_gauge("process_start_time_seconds", "When it was started, since 1970", start)?;
        // A sandbox or an odd system may keep these from us: what is not known is not told.
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim_start_matches(':').split_ascii_whitespace().next()?.parse::<u64>().ok()
            };
            if let Some(kib) = field("VmRSS") {
                self.process_gauge("process_resident_memory_bytes", "Memory in use", kib * 1024)?;
            }
            if let Some(kib) = field("VmSize") {
                self.process_gauge("process_virtual_memory_bytes", "Memory mapped", kib * 1024)?;
            }
            if let Some(threads) = field("Threads") {
                self.process_gauge("process_threads", "Threads", threads)?;
            }
        }
        if let Some(open) = open_descriptors() {
            self.process_gauge("process_open_fds", "Open descriptors", open)?;
        }
        if let Ok((most, _)) = crate::net::raise_descriptor_limit() {
            self.process_gauge("process_max_fds", "Descriptors that may be open", most)?;
        }
        if let Some(seconds) = cpu_seconds() {
            self.encoder
                .encode_descriptor("process_cpu_seconds", "CPU time", None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)?;
        }
        Ok(())
    }

    fn process_gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }
}

/// The kernel tells their number as the directory's size (Linux 6.2); older ones make us count.
fn open_descriptors() -> Option<u64> {
    let told = fs::metadata("/proc/self/fd").ok()?.size();
    if told > 0 { Some(told) } else { Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64) }
}

/// utime and stime of proc(5), in ticks that are a hundredth of a second wherever Linux runs.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = |field: Option<&str>| field?.parse::<u64>().ok();
    Some((ticks(fields.next())? + ticks(fields.next())?) as f64 / TICKS)
}

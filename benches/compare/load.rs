use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::server::{Running, alone, turnwire};

/// What one run has found.
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Server CPU microseconds for each packet, request or cycle.
    pub(crate) cpu_micros: f64,
    pub(crate) lost: u64,
    /// Corrupted, misrouted or failed.
    pub(crate) bad: u64,
}

/// Runs `turnwire load` on core 1 against the server; `None` when it says nothing that can be used.
pub(crate) fn run(server: &Running, words: &str) -> Option<Value> {
    let mut command = alone("1");
    command.arg(turnwire()).args(["load", "--json", "--quiet"]);
    command.args(["--user", "alice", "--password", "secret", "--pid", &server.pid().to_string()]);
    command.arg(format!("turn:{}", server.address())).args(words.split_whitespace());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().ok()?;
    come_first(child.id());
    let output = child.wait_with_output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The figures of a report.
pub(crate) fn outcome(report: &Value) -> Option<Outcome> {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let (load, churn) = (&report["load"], &report["churn"]);
    if churn.is_object() {
        return Some(Outcome {
            per_second: churn["cycles_per_second"].as_f64()?,
            cpu_micros: churn["server_cpu_seconds_per_thousand"].as_f64()? * 1e3,
            lost: 0,
            bad: count(&churn["failed"]),
        });
    }
    Some(Outcome {
        per_second: load["relayed_per_second"].as_f64()?,
        cpu_micros: load["server_cpu_seconds_per_million"].as_f64()?,
        lost: count(&load["lost"]),
        bad: count(&load["corrupted"]) + count(&load["misrouted"]),
    })
}

/// Puts the session of a process before others on its core, where the system has such groups and lets us.
pub(crate) fn come_first(pid: u32) {
    // Without it the figures are noisier, and that is all.
    let _ = fs::write(format!("/proc/{pid}/autogroup"), "-15");
}

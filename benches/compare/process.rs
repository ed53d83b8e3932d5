//! Processes, and what the kernel tells of them.

use std::fs;
use std::process::Command;

/// The beginning of a command that has a core, a session and so a scheduler's group for itself, and ends with this
/// process.
pub(crate) fn alone(core: &str) -> Command {
    let mut command = mortal();
    command.args(["setsid", "taskset", "-c", core]);
    command
}

/// The beginning of a command that ends with this process, however that ends.
pub(crate) fn mortal() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command
}

/// Puts the session of a process before others on its core, where the system has such groups and lets us.
pub(crate) fn come_first(pid: u32) {
    // Without it the figures are noisier, and that is all.
    let _ = fs::write(format!("/proc/{pid}/autogroup"), "-15");
}

/// Seconds that the host has taken away from the first two cores so far, where this is a virtual machine.
pub(crate) fn stolen_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = text.lines().filter(|line| line.starts_with("cpu0 ") || line.starts_with("cpu1 "));
    let ticks = cores.filter_map(|line| line.split_whitespace().nth(8)?.parse::<f64>().ok());
    // A tick is a hundredth of a second for user space, whatever the kernel counts in.
    ticks.sum::<f64>() / 100.0
}

/// CPU seconds of a thread so far; 0 when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}

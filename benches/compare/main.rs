//! What a relayed packet costs the server: Turnwire and coturn side by side, in turn, in one run.
//!
//! `cargo bench --bench compare` prints, for each load, the server's CPU seconds per million
//! relayed packets (medians of the rounds) with the ratio to coturn's of the same round, and the
//! resident memory per idle allocation. Everything stays on 127.0.0.1; each server is pinned to
//! core 0, this program to core 1. coturn's rows need Debian's package `coturn`.
//!
//! A packet counts when it arrives whole: its header, number and body are compared. An echo is
//! two relayed packets.

mod load;
mod server;
mod session;

use std::time::Duration;

use load::{Load, Outcome};
use server::{Kind, Running};

/// One row of the table.
struct Scenario {
    name: &'static str,
    clients: usize,
    size: usize,
    /// Send indications instead of channels.
    indications: bool,
}

const fn scenario(name: &'static str, clients: usize, size: usize, indications: bool) -> Scenario {
    Scenario { name, clients, size, indications }
}

const SCENARIOS: [Scenario; 5] = [
    scenario("channels 1 x 1200 B", 1, 1200, false),
    scenario("channels 50 x 1200 B", 50, 1200, false),
    scenario("channels 1000 x 1200 B", 1000, 1200, false),
    scenario("channels 50 x 160 B", 50, 160, false),
    scenario("indications 50 x 1200 B", 50, 1200, true),
];

fn main() {
    let rounds = number("ROUNDS", 3);
    let window = Duration::from_millis(number("MILLISECONDS", 2000) as u64);
    server::pin_to_core(1);
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    println!(
        "{:26} {:>9} {:>12} {:>12} {:>7}  lost bad",
        "echo, saturated", "server", "packets/s", "CPU us/pkt", "ratio"
    );
    for scenario in &SCENARIOS {
        compare(scenario, rounds, window);
    }
    for kind in [Kind::Coturn, Kind::Turnwire] {
        memory(kind);
    }
}

fn compare(scenario: &Scenario, rounds: usize, window: Duration) {
    let kinds = [Kind::Coturn, Kind::Turnwire];
    let mut rows: [Vec<Outcome>; 2] = Default::default();
    for round in 0..rounds {
        // A B, then B A: what drifts hits both alike.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            if let Some(outcome) = measure(kinds[place], scenario, window) {
                rows[place].push(outcome);
            }
        }
    }
    let base: Vec<f64> = rows[0].iter().map(|outcome| outcome.cpu_micros).collect();
    for (kind, row) in kinds.iter().zip(&rows) {
        if row.is_empty() {
            println!("{:26} {:>9} not measured", scenario.name, kind.name());
            continue;
        }
        let ratios = row.iter().zip(&base).map(|(outcome, base)| outcome.cpu_micros / base);
        println!(
            "{:26} {:>9} {:>12.0} {:>12.3} {:>7.2}  {} {}",
            scenario.name,
            kind.name(),
            median(row.iter().map(|outcome| outcome.per_second)),
            median(row.iter().map(|outcome| outcome.cpu_micros)),
            median(ratios),
            row.iter().map(|outcome| outcome.lost).sum::<u64>(),
            row.iter().map(|outcome| outcome.bad).sum::<u64>(),
        );
    }
}

fn measure(kind: Kind, scenario: &Scenario, window: Duration) -> Option<Outcome> {
    let server = Running::start(kind)?;
    let mut load =
        Load::start(server.address(), scenario.clients, scenario.size, scenario.indications);
    load.run(Duration::from_millis(400), &server);
    Some(load.run(window, &server))
}

/// Resident memory per idle allocation with one permission and one channel.
fn memory(kind: Kind) {
    let count = number("ALLOCATIONS", 10_000);
    let Some(server) = Running::start(kind) else {
        return;
    };
    let before = server.resident_bytes();
    let (made, took) = session::make_idle(server.address(), count);
    let after = server.resident_bytes();
    println!(
        "{:9} {made} idle allocations in {:.2} s, {:.0} bytes resident each",
        kind.name(),
        took.as_secs_f64(),
        (after.saturating_sub(before)) as f64 / made.max(1) as f64
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A setting from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

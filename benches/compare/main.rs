//! What a server pays for its work: Turnwire and coturn side by side, in turn, in one run.
//!
//! `cargo bench --bench compare` runs `turnwire load` against both and prints, for each load, how
//! much was done in a second and the server's CPU microseconds for each packet, request or cycle
//! (medians of the rounds), with the ratio to coturn's of the same round and its spread, and the
//! resident memory per idle allocation. Everything stays on 127.0.0.1; each server is pinned to
//! core 0, the load to core 1. coturn's rows need Debian's package `coturn`.
//!
//! A packet counts when it arrives whole and at its place. An echo is two relayed packets.
//!
//! Settings are taken from the environment: ROUNDS (3), MILLISECONDS (2000) and ALLOCATIONS
//! (10000); an argument picks the loads whose names contain it.

mod load;
mod server;

use load::Outcome;
use server::{Kind, Running};

/// The loads, with their flags of `turnwire load`.
const SCENARIOS: [(&str, &str); 11] = [
    // Debian's coturn loses packets of one flow when more are on their way: its socket buffers hold 56.
    ("channels 1 x 1200 B", "--clients 1 --rate max --window 32"),
    ("channels 50 x 1200 B", "--clients 50 --rate max"),
    ("channels 1000 x 1200 B", "--clients 1000 --rate max"),
    ("channels 50 x 160 B", "--clients 50 --rate max --size 160"),
    ("indications 50 x 1200 B", "--clients 50 --rate max --mode send"),
    ("channels 50 x 1200 B, TCP", "--clients 50 --rate max --transport tcp"),
    ("50,000/s", "--clients 50 --rate 50000"),
    ("50,000/s up, trains", "--clients 50 --rate 50000 --direction up --train 10"),
    ("50,000/s up, offloaded", "--clients 50 --rate 50000 --direction up --train 10 --offload"),
    ("Binding requests", "--mode binding --rate max"),
    ("allocation cycles", "--mode churn --rate max"),
];

fn main() {
    let (rounds, milliseconds) = (number("ROUNDS", 3), number("MILLISECONDS", 2000));
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    println!(
        "{:26} {:>9} {:>12} {:>12} {:>7} {:>13}  lost bad",
        "echo, or as it says", "server", "per second", "CPU us each", "ratio", "spread"
    );
    // Cargo passes flags of its own.
    let picked = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    for (name, words) in &SCENARIOS {
        if picked.as_ref().is_none_or(|part| name.contains(part)) {
            compare(name, &format!("{words} --duration {milliseconds}ms"), rounds);
        }
    }
    if picked.is_none() {
        [Kind::Coturn, Kind::Turnwire].into_iter().for_each(memory);
    }
}

fn compare(name: &str, words: &str, rounds: usize) {
    let kinds = [Kind::Coturn, Kind::Turnwire];
    let mut rows: [Vec<Outcome>; 2] = Default::default();
    for round in 0..rounds {
        // A B, then B A: what drifts hits both alike.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            if let Some(outcome) = measure(kinds[place], words) {
                rows[place].push(outcome);
            }
        }
    }
    let base: Vec<f64> = rows[0].iter().map(|outcome| outcome.cpu_micros).collect();
    for (kind, row) in kinds.iter().zip(&rows) {
        if row.is_empty() {
            println!("{name:26} {:>9} not measured", kind.name());
            continue;
        }
        let ratios = sorted(row.iter().zip(&base).map(|(outcome, base)| outcome.cpu_micros / base));
        let spread = match (ratios.first(), ratios.last()) {
            (Some(least), Some(most)) => format!("{least:.2}-{most:.2}"),
            _ => String::new(),
        };
        println!(
            "{name:26} {:>9} {:>12.0} {:>12.3} {:>7.2} {spread:>13}  {} {}",
            kind.name(),
            median(&sorted(row.iter().map(|outcome| outcome.per_second))),
            median(&sorted(row.iter().map(|outcome| outcome.cpu_micros))),
            median(&ratios),
            row.iter().map(|outcome| outcome.lost).sum::<u64>(),
            row.iter().map(|outcome| outcome.bad).sum::<u64>(),
        );
    }
}

fn measure(kind: Kind, words: &str) -> Option<Outcome> {
    let server = Running::start(kind)?;
    load::outcome(&load::run(&server, words)?)
}

/// Resident memory per idle allocation with one permission and one channel.
fn memory(kind: Kind) {
    let count = number("ALLOCATIONS", 10_000);
    let words = format!("--clients {count} --rate 1 --direction up --duration 100ms");
    let report = Running::start(kind).and_then(|server| load::run(&server, &words));
    let Some(report) = report else {
        return println!("{:9} memory not measured", kind.name());
    };
    println!(
        "{:9} {} idle allocations in {:.2} s, {} bytes resident each",
        kind.name(),
        report["set_up"]["succeeded"],
        report["set_up"]["seconds"].as_f64().unwrap_or(f64::NAN),
        report["server_memory"]["bytes_per_allocation"],
    );
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A setting from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
